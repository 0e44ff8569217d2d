// SPDX-License-Identifier: GPL-2.0

//! `client shape`: what a virtual patch forbids, and what it lets through.

use crate::{
    answer::Expect,
    failure::Failure,
    shapes::{all, named, Side},
};

/// Make the call that a virtual patch forbids, or the nearest legal one, and print the answer
///
/// Exits with 3 where this machine lacks the device for it.
#[derive(clap::Args)]
pub struct Options {
    /// Print the names of all shapes, each with its kind of file
    #[arg(long, exclusive = true)]
    list: bool,
    /// CVE.WAY, as --list has it
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    #[arg(required_unless_present = "list")]
    side: Option<Side>,
    /// The answer that is hoped for: ok, ENAME, not:ok or not:ENAME
    #[arg(long)]
    expect: Option<Expect>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let (Some(name), Some(side)) = (&options.name, options.side) else {
        list();
        return Ok(());
    };
    let shape = named(name)
        .ok_or_else(|| Failure::Usage(format!("there is no shape {name}: see --list")))?;
    let answer = (shape.make)(side)?.perform()?;
    println!("{answer}");
    options.expect.map_or(Ok(()), |expect| expect.judge(answer))
}

fn list() {
    for shape in all() {
        for cve in shape.cves {
            println!("{cve}.{} {}", shape.way, shape.surface);
        }
    }
}
