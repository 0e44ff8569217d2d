// SPDX-License-Identifier: GPL-2.0

//! `client commands`: the table.

use crate::{command::TABLE, failure::Failure};

/// Print the commands known by name, as `SURFACE NAME 0xNUMBER`
#[derive(clap::Args)]
pub struct Options {}

pub fn run(_: &Options) -> Result<(), Failure> {
    for entry in TABLE {
        for surface in entry.surfaces {
            println!("{surface} {} {:#010x}", entry.name, entry.number);
        }
    }
    Ok(())
}
