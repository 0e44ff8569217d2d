// SPDX-License-Identifier: GPL-2.0

//! `portcullis`: checks policies before they are loaded, explains what they can name, and shows the VMs
//! that the module knows.
//!
//! It has the engine of the kernel module in it, and says word for word what the module would say.

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, rust_2018_idioms)]

mod attempt;
mod check;
mod cli;
mod completions;
mod describe;
mod document;
mod example;
mod explain;
mod fields;
#[path = "../../scripts/located.rs"]
mod located;
mod man;
mod name;
mod outcome;
mod schema;
mod style;
mod suggest;
mod vms;
mod words;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::Parser;
use outcome::Outcome;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().action {
        cli::Action::Explain(options) => explain::run(&options),
        cli::Action::Check(options) => check::run(&options),
        cli::Action::Try(options) => attempt::run(&options),
        cli::Action::Vms(options) => vms::run(&options),
        cli::Action::Schema(options) => schema::run(&options),
        cli::Action::Completions(options) => completions::run(&options),
        cli::Action::Man(options) => man::run(&options),
    };
    match done {
        Ok(outcome) => outcome.into(),
        // `portcullis schema | head`: who reads has had enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Outcome::Fine.into(),
        Err(error) => {
            complain(&error.to_string());
            Outcome::Trouble.into()
        }
    }
}

/// Says what is wrong, where neither a file nor a line is to blame.
fn complain(what: &str) {
    use io::Write;
    let error = style::ERROR;
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(
        anstream::stderr(),
        "portcullis: {error}error:{error:#} {what}"
    );
}
