// SPDX-License-Identifier: GPL-2.0

//! Exit codes.

use std::process::ExitCode;

/// What the exit code says. Of several files or names, the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// All is well.
    Fine,
    /// A file is no policy, or a name is unknown.
    Wrong,
    /// Wrong usage (clap answers that with the same code), or a file that could not be read or written.
    Trouble,
}

/// What the codes mean, for the help and the man pages.
pub(crate) const MEANINGS: [(Outcome, &str); 3] = [
    (Outcome::Fine, "all is well"),
    (Outcome::Wrong, "a file is no policy, or a name is unknown"),
    (
        Outcome::Trouble,
        "wrong usage, or a file could not be read or written",
    ),
];

impl Outcome {
    /// Its number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// The end of the help.
pub(crate) fn help() -> String {
    let mut text = "Exit codes:".to_string();
    for (outcome, meaning) in MEANINGS {
        text += &format!("\n  {}  {meaning}", outcome.code());
    }
    text
}
