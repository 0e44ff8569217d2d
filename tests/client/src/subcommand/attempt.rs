// SPDX-License-Identifier: GPL-2.0

//! `client try`: one call on fresh fds.

use crate::{
    answer::Expect,
    argument::Wish,
    call::Call,
    command::Command,
    failure::Failure,
    guest::Guest,
    machine::{Machine, Wanted},
    surface::Surface,
};

/// Make one ioctl on a fresh fd and print the answer
///
/// Only what SURFACE needs is opened first: nothing for tty, /dev/kvm for kvm, a VM with 1 MiB of
/// memory for kvm-vm, a vCPU for kvm-vcpu, a kvm-vfio device for kvm-device.
#[derive(clap::Args)]
pub struct Options {
    /// kvm, kvm-vm, kvm-vcpu, kvm-device or tty
    surface: Surface,
    /// A name out of `client commands`, or 0xNUMBER
    command: Command,
    /// A number, zero (a pointer to 64 KiB of zeroes), bad (a pointer to nothing) or valid
    ///
    /// Behind zero and valid: `,OFFSET.BYTES=NUMBER` writes a number into it, any number of times;
    /// `@PLACE` moves it: `@absent` (to memory that comes when it is touched), `@half-absent.N` (all
    /// but the first N bytes), `@unmapped`, `@half-unmapped.N`.
    #[arg(default_value = "default", hide_default_value = true, value_parser = wish)]
    argument: Wish,
    /// Make the call as a 32-bit process does, by int 0x80
    #[arg(long)]
    compat: bool,
    /// Make the VM's interrupt controller before its vCPU, as VMMs do
    #[arg(long)]
    irqchip: bool,
    /// The answer that is hoped for: ok, ENAME, not:ok or not:ENAME
    #[arg(long)]
    expect: Option<Expect>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let call = Call {
        surface: options.surface,
        command: options.command.clone(),
        wish: options.argument.clone(),
        compat: options.compat,
    };
    call.check().map_err(Failure::Usage)?;
    let wanted = Wanted {
        irqchip: options.irqchip,
        ..Wanted::by([call.surface], 1)
    };
    let machine = Machine::open(&wanted, |_| Guest::Halt)?;
    let answer = call.perform(&machine).map_err(Failure::Unexpected)?;
    println!("{answer}");
    options.expect.map_or(Ok(()), |expect| expect.judge(answer))
}

fn wish(text: &str) -> Result<Wish, String> {
    match text {
        "default" => Ok(Wish::default()),
        _ => text.parse(),
    }
}
