// SPDX-License-Identifier: GPL-2.0

//! `client trace`: somebody who traces a VMM.

use std::io::{self, Read};

use crate::{
    failure::{while_doing, Failure},
    sys::process,
};

/// Trace all threads of a process, which go on meanwhile, until stdin ends
///
/// Prints `tracing` when it does.
#[derive(clap::Args)]
pub struct Options {
    pid: i32,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    process::trace(options.pid).map_err(while_doing("PTRACE_SEIZE"))?;
    println!("tracing");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map(drop)
        .map_err(while_doing("cannot read stdin"))
}
