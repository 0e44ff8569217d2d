// SPDX-License-Identifier: GPL-2.0

//! `client churn`: VMs that come and go.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::{while_doing, Failure},
    guest::{self, Guest},
    machine::{Machine, Wanted},
    subcommand::boot::until_halt,
    sys::signals,
};

/// Make and destroy VMs, each with memory and a vCPU, and print how many there were
#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// So many VMs in each thread, however long that takes
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    vms: Option<u64>,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=guest::MOST_VCPUS as i64))]
    vcpus: u16,
    /// Run each guest until it halts
    #[arg(long)]
    run: bool,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    signals::catch_end().map_err(while_doing("sigaction"))?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let total = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|_| scope.spawn(|| churn(options, end)))
            .collect();
        let mut total = 0;
        for thread in threads {
            total += (thread.join())
                .map_err(|_| Failure::Unexpected("a thread of the churn panicked".to_owned()))??;
        }
        Ok(total)
    })?;
    println!("{total} VMs");
    Ok(())
}

/// At least one VM, then more until there were enough.
fn churn(options: &Options, end: Instant) -> Result<u64, Failure> {
    let wanted = Wanted {
        kvm: true,
        vm: true,
        vcpus: usize::from(options.vcpus),
        ..Wanted::default()
    };
    let mut count = 0;
    loop {
        let (mut vcpus, _memory) = Machine::open(&wanted, |_| Guest::Halt)?.ready_vcpus()?;
        for vcpu in vcpus.iter_mut().filter(|_| options.run) {
            until_halt(vcpu, false).map_err(Failure::Unexpected)?;
        }
        count += 1;
        let enough = match options.vms {
            Some(vms) => count >= vms,
            None => Instant::now() >= end,
        };
        if enough || signals::end_was_asked() {
            return Ok(count);
        }
    }
}
