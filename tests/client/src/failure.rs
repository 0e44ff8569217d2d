// SPDX-License-Identifier: GPL-2.0

//! Why a subcommand ends without success, and the exit code that says so.

use std::fmt;

#[derive(Debug)]
pub enum Failure {
    /// It ran, and the result is not the one hoped for.
    Unexpected(String),
    /// The command line asks for something that does not exist.
    Usage(String),
    /// This machine has no /dev/kvm.
    NoKvm(String),
    /// This machine has no such device.
    Absent(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Unexpected(_) => 1,
            Failure::Usage(_) => 2,
            Failure::NoKvm(_) | Failure::Absent(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unexpected(text)
            | Failure::Usage(text)
            | Failure::NoKvm(text)
            | Failure::Absent(text) => f.write_str(text),
        }
    }
}

/// Turns a system error into a failure that says what was being done.
pub fn while_doing(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::Unexpected(format!("{what}: {error}"))
}
