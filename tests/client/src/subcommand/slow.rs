// SPDX-License-Identifier: GPL-2.0

//! `client slow`: calls whose argument the kernel does not find where it looks, or not yet.

use crate::{
    failure::{while_doing, Failure},
    slow,
    sys::signals,
};

/// Make calls with an argument in every kind of memory, and print how each was answered
///
/// One line each. What is printed with the module and a policy that allows these calls must be what
/// is printed without it.
#[derive(clap::Args)]
pub struct Options {
    /// The calls to make; without names, all
    names: Vec<String>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    signals::catch_kicks().map_err(while_doing("sigaction"))?;
    let chosen =
        |name: &str| options.names.is_empty() || options.names.iter().any(|one| one == name);
    for case in slow::all().filter(|case| chosen(case.name)) {
        match (case.run)() {
            Ok(text) => println!("{}: {text}", case.name),
            Err(Failure::Absent(text)) => println!("{}: skipped: {text}", case.name),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
