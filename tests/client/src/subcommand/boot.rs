// SPDX-License-Identifier: GPL-2.0

//! `client boot`: a VM that runs, prints and halts.

use std::{io::Write, thread};

use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::{
    answer::Answer,
    failure::Failure,
    guest::{self, Guest},
    machine::{Machine, Wanted},
};

/// Boot a VM whose guest prints a text and halts
///
/// Each line that the guest prints comes out as `guest: LINE`. With several vCPUs each prints the
/// text and its own number. Succeeds when every vCPU has printed all of its text and halted.
#[derive(clap::Args)]
pub struct Options {
    /// What the guest prints
    #[arg(long, default_value = "hello")]
    text: String,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=guest::MOST_VCPUS as i64))]
    vcpus: u16,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let count = usize::from(options.vcpus);
    let texts: Vec<String> = (0..count)
        .map(|index| match count {
            1 => options.text.clone(),
            _ => format!("{} from vCPU {index}", options.text),
        })
        .collect();
    for text in &texts {
        Guest::print(text).map_err(Failure::Usage)?;
    }
    let wanted = Wanted {
        kvm: true,
        vm: true,
        vcpus: count,
        ..Wanted::default()
    };
    let machine = Machine::open(&wanted, |index| {
        Guest::Print(texts[index].as_bytes().to_vec())
    })?;
    let (vcpus, _memory) = machine.ready_vcpus()?;

    let ends: Vec<Result<Vec<u8>, String>> = thread::scope(|scope| {
        let threads: Vec<_> = vcpus
            .into_iter()
            .map(|mut vcpu| scope.spawn(move || until_halt(&mut vcpu, true)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or(Err("its thread panicked".to_owned()))
        };
        threads.into_iter().map(join).collect()
    });

    for (index, (end, text)) in ends.iter().zip(&texts).enumerate() {
        match end {
            Ok(printed) if printed == text.as_bytes() => {}
            Ok(printed) => {
                return Err(Failure::Unexpected(format!(
                    "vCPU {index} halted after printing {:?} instead of {text:?}",
                    String::from_utf8_lossy(printed)
                )))
            }
            Err(reason) => return Err(Failure::Unexpected(format!("vCPU {index}: {reason}"))),
        }
    }
    Ok(())
}

/// Runs `vcpu` until its guest halts; returns what it printed.
pub fn until_halt(vcpu: &mut VcpuFd, show: bool) -> Result<Vec<u8>, String> {
    let (mut printed, mut shown) = (Vec::new(), 0);
    loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(guest::PORT, [byte])) => {
                printed.push(*byte);
                if show && *byte == b'\n' {
                    print_line(&printed[shown..printed.len() - 1]);
                    shown = printed.len();
                }
            }
            Ok(VcpuExit::Hlt) => {
                if show && shown < printed.len() {
                    print_line(&printed[shown..]);
                }
                return Ok(printed);
            }
            Ok(exit) => return Err(format!("KVM_RUN ended with {exit:?}")),
            Err(error) => {
                return Err(format!(
                    "KVM_RUN was answered with {}",
                    Answer::Errno(error.errno())
                ))
            }
        }
    }
}

/// One line in one piece: other vCPUs print too.
fn print_line(line: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no concern of the guest's.
    let _ = writeln!(out, "guest: {}", String::from_utf8_lossy(line)).and_then(|()| out.flush());
}
