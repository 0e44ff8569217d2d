// SPDX-License-Identifier: GPL-2.0

//! `client spin`: vCPUs that stay inside KVM_RUN.

use std::{
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use crate::{
    answer::Answer,
    argument::Argument,
    command::Command,
    failure::{while_doing, Failure},
    guest::{self, Guest},
    machine::{Machine, Wanted},
    sys::{file, ioctl, pages::Pages, signals},
};

/// Sit in KVM_RUN while the guest loops, then be kicked out by a signal
///
/// Prints `spinning` once every guest is seen to count. Succeeds when every vCPU, at the end or on
/// SIGTERM, left KVM_RUN with EINTR and for no other reason.
#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=guest::MOST_VCPUS as i64))]
    vcpus: u16,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    signals::catch_kicks().map_err(while_doing("sigaction"))?;
    signals::catch_end().map_err(while_doing("sigaction"))?;
    let wanted = Wanted {
        kvm: true,
        vm: true,
        vcpus: usize::from(options.vcpus),
        ..Wanted::default()
    };
    let machine = Machine::open(&wanted, |_| Guest::Count)?;
    let (mut vcpus, memory) = machine.ready_vcpus()?;
    let run: Command = "KVM_RUN".parse().map_err(Failure::Unexpected)?;

    let mut threads = Vec::new();
    for vcpu in &vcpus {
        // The thread has the fd to itself, so that immediate_exit can be set from here.
        let fd = file::duplicate(vcpu).map_err(while_doing("cannot duplicate a vCPU's fd"))?;
        let number = run.number;
        threads.push(thread::spawn(move || {
            ioctl::native(fd.as_raw_fd(), number, &Argument::number(0))
        }));
    }

    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut told = false;
    while Instant::now() < end && !signals::end_was_asked() {
        if threads.iter().any(|thread| thread.is_finished()) {
            break;
        }
        if !told && (0..vcpus.len()).all(|index| counted(&memory, index)) {
            println!("spinning");
            told = true;
        }
        thread::sleep(Duration::from_millis(20));
    }

    for vcpu in &mut vcpus {
        vcpu.set_kvm_immediate_exit(1);
    }
    let mut wrong = None;
    for (index, thread) in threads.into_iter().enumerate() {
        while !thread.is_finished() {
            signals::kick(&thread);
            thread::sleep(Duration::from_millis(5));
        }
        match thread.join() {
            Ok(Answer::Errno(libc::EINTR)) => {}
            Ok(answer) => wrong = Some(format!("vCPU {index} left KVM_RUN with {answer}")),
            Err(_) => wrong = Some(format!("the thread of vCPU {index} panicked")),
        }
    }
    match wrong {
        Some(sentence) => Err(Failure::Unexpected(sentence)),
        None if told => Ok(()),
        None => Err(Failure::Unexpected(
            "it ended before every guest was seen to count".to_owned(),
        )),
    }
}

/// Whether the guest on vCPU `index` has come to count: then the vCPU is inside KVM_RUN, because
/// this guest never leaves it.
fn counted(memory: &Pages, index: usize) -> bool {
    memory.number_at(guest::page_start(index) + guest::COUNTER_OFFSET) > 0
}
