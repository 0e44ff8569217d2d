// SPDX-License-Identifier: GPL-2.0

//! `client churn`: VMs that come and go.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Wanted},
    sys::signals,
};

/// Make and destroy VMs, each with memory and a vCPU, and print how many there were
#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    signals::catch_end().map_err(while_doing("sigaction"))?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let threads: Vec<_> = (0..options.threads)
        .map(|_| thread::spawn(move || churn(end)))
        .collect();
    let mut total = 0;
    for thread in threads {
        total += (thread.join())
            .map_err(|_| Failure::Unexpected("a thread of the churn panicked".to_owned()))??;
    }
    println!("{total} VMs");
    Ok(())
}

/// At least one VM, then more until `end`.
fn churn(end: Instant) -> Result<u64, Failure> {
    let wanted = Wanted {
        kvm: true,
        vm: true,
        vcpus: 1,
        ..Wanted::default()
    };
    let mut count = 0;
    loop {
        Machine::open(&wanted, |_| Guest::Halt)?.ready_vcpus()?;
        count += 1;
        if Instant::now() >= end || signals::end_was_asked() {
            return Ok(count);
        }
    }
}
