// SPDX-License-Identifier: GPL-2.0

//! `portcullis completions`.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::cli;
use crate::outcome::Outcome;

/// Prints the completions for a shell.
pub(crate) fn run(options: &cli::Completions) -> io::Result<Outcome> {
    // clap_complete panics where it cannot write: it writes to memory.
    let mut script = Vec::new();
    let mut command = cli::Cli::command();
    clap_complete::generate(options.shell, &mut command, "portcullis", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Outcome::Fine)
}
