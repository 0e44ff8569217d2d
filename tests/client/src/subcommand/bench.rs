// SPDX-License-Identifier: GPL-2.0

//! `client bench`: what one ioctl costs.

use kvm_ioctls::{Kvm, VmFd};

use crate::{
    answer::Answer,
    call::Call,
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Wanted},
    seccomp,
    subcommand::boot::until_halt,
    sys::{ioctl, process},
};

/// Measure one ioctl in ticks of the time stamp counter
///
/// Prints `NAME TICKS TENTHS`: the fastest of all batches divided by the calls in it, rounded to
/// the nearest whole number (a half goes up) and the same with one decimal. Under QEMU's
/// `-icount shift=0` a tick is one instruction. Of each call's ticks, six are the loop's own.
#[derive(clap::Args)]
pub struct Options {
    /// What the line of the result begins with
    #[arg(long)]
    name: String,
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    batches: u64,
    /// Calls in a batch
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// The call; `tty` is one on a file that nobody guards
    #[arg(
        long = "ioctl",
        alias = "on",
        value_name = "SURFACE:COMMAND[:ARG]",
        default_value = "kvm-vm:KVM_CHECK_EXTENSION:0"
    )]
    call: Call,
    /// Install a seccomp filter first that compares the command with this many others, one by one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=seccomp::MOST_COMPARES as u64))]
    seccomp: Option<u64>,
    /// Of KVM_RUN: the guest has run, and is not entered again, so that each call ends with EINTR
    #[arg(long)]
    leave: bool,
    /// Make so many other VMs first, which stay
    #[arg(long, value_name = "N", default_value_t = 0)]
    vms: usize,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let call = &options.call;
    if call.compat || (call.surface != crate::surface::Surface::Tty && call.command.returns_fd()) {
        return Err(Failure::Usage(format!(
            "`{call}` cannot be measured: no compat calls, none that return an fd"
        )));
    }
    process::allow_many_files().map_err(while_doing("setrlimit"))?;
    let _others = others(options.vms)?;
    let mut machine = Machine::open(&Wanted::by([call.surface], 1), |_| Guest::Halt)?;
    if options.leave {
        leave_at_once(&mut machine)?;
    }
    let prepared = call.prepare(&machine, 0).map_err(Failure::Unexpected)?;
    if let Some(count) = options.seccomp {
        let filter = seccomp::filter(count as usize, prepared.number);
        seccomp::install(&filter).map_err(Failure::Unexpected)?;
    }

    let mut fastest = u64::MAX;
    let mut answer: Option<Answer> = None;
    for _ in 0..options.batches {
        let (ticks, last) = ioctl::timed(
            prepared.fd,
            prepared.number,
            &prepared.argument,
            options.batch,
        );
        fastest = fastest.min(ticks);
        if let Some(before) = answer.filter(|before| *before != last) {
            return Err(Failure::Unexpected(format!(
                "the answer changed from {before} to {last}: that is not one thing to measure"
            )));
        }
        answer = Some(last);
    }
    println!("{} {}", options.name, result(fastest, options.batch));
    if let Some(answer) = answer {
        eprintln!(
            "client: {}: {call} was answered with {answer}; fastest of {} batches of {}: {fastest} ticks",
            options.name, options.batches, options.batch
        );
    }
    Ok(())
}

/// VMs that nothing is done with.
fn others(count: usize) -> Result<Vec<VmFd>, Failure> {
    let refused = |error: kvm_ioctls::Error| {
        let answer = Answer::Errno(error.errno());
        Failure::Unexpected(format!("one of {count} other VMs: {answer}"))
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let kvm = Kvm::new().map_err(refused)?;
    (0..count)
        .map(|_| kvm.create_vm().map_err(refused))
        .collect()
}

/// Runs the guest, then lets each further KVM_RUN end before it enters it.
fn leave_at_once(machine: &mut Machine) -> Result<(), Failure> {
    let vcpu = (machine.vcpus.first_mut())
        .ok_or_else(|| Failure::Usage("--leave is for calls on kvm-vcpu".to_owned()))?;
    let vcpu = vcpu
        .as_mut()
        .map_err(|reason| Failure::Unexpected(reason.clone()))?;
    until_halt(&mut vcpu.fd, false).map_err(Failure::Unexpected)?;
    vcpu.fd.set_kvm_immediate_exit(1);
    Ok(())
}

/// The quotient as a whole number and with one decimal, each rounded half up on its own.
fn result(ticks: u64, calls: u64) -> String {
    let tenths = rounded(ticks.saturating_mul(10), calls);
    format!("{} {}.{}", rounded(ticks, calls), tenths / 10, tenths % 10)
}

fn rounded(dividend: u64, divisor: u64) -> u64 {
    dividend.saturating_add(divisor / 2) / divisor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_rounded_half_up() {
        assert_eq!(result(34650, 50), "693 693.0");
        assert_eq!(result(34675, 50), "694 693.5");
        assert_eq!(result(34674, 50), "693 693.5");
        assert_eq!(result(1, 3), "0 0.3");
        assert_eq!(result(5, 1), "5 5.0");
    }
}
