// SPDX-License-Identifier: GPL-2.0

//! `portcullis man`: what `make tools` calls for the man pages.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::roff::{bold, roman, Roff};
use clap_mangen::Man;

use crate::cli;
use crate::outcome::{Outcome, MEANINGS};

/// Writes `portcullis.1` and a page for each subcommand.
pub(crate) fn run(options: &cli::Man) -> io::Result<Outcome> {
    fs::create_dir_all(&options.folder)?;
    let mut command = cli::Cli::command().disable_help_subcommand(true);
    // From here on the subcommands know the whole of their names.
    command.build();
    for subcommand in command.get_subcommands() {
        if !subcommand.is_hide_set() {
            page(subcommand, &options.folder)?;
        }
    }
    page(&command, &options.folder)?;
    Ok(Outcome::Fine)
}

fn page(command: &Command, folder: &Path) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut file = File::create(folder.join(man.get_filename()))?;
    man.render_title(&mut file)?;
    man.render_name_section(&mut file)?;
    man.render_synopsis_section(&mut file)?;
    man.render_description_section(&mut file)?;
    man.render_options_section(&mut file)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut file)?;
    }
    let mut status = Roff::new();
    status.control("SH", ["EXIT STATUS"]);
    for (outcome, meaning) in MEANINGS {
        status.control("TP", []);
        status.text([bold(outcome.code().to_string())]);
        status.text([roman(meaning)]);
    }
    status.to_writer(&mut file)?;
    file.flush()
}
