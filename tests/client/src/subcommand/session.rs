// SPDX-License-Identifier: GPL-2.0

//! `client session`: calls on fds that stay open while the world around them changes.

use std::io::{self, Write};

use crate::{
    answer::Answer,
    call::Call,
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Stage, Wanted},
    subcommand::boot::until_halt,
    sys::signals,
};

/// Read commands from stdin, one a line, and answer each with one line
///
/// open                                  opens /dev/kvm, a VM, memory, vCPU 0 and a kvm-vfio
///                                       device, and says which of them exist
/// try SURFACE COMMAND [ARG] [compat]    makes one ioctl on those fds: `ok RET` or
///                                       `errno ENAME (number)`; ARG as in `client try`
/// run                                   runs the guest on vCPU 0 until it halts: `ok 0 hlt` and
///                                       what it printed
/// quit                                  ends, as the end of the input does
///
/// A line that cannot be carried out is answered with `error` and a sentence.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {}

const TEXT: &str = "hello";
/// A guest whose registers were spoilt may never halt.
const RUN_LIMIT_SECONDS: u32 = 60;

pub fn run(_: &Options) -> Result<(), Failure> {
    signals::catch_kicks().map_err(while_doing("sigaction"))?;
    let mut machine = None;
    for line in io::stdin().lines() {
        let line = line.map_err(while_doing("cannot read stdin"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let reply = match (&words[..], &mut machine) {
            ([], _) => continue,
            (["quit"], _) => return Ok(()),
            (["open"], Some(_)) => Err("it is open already".to_owned()),
            (["open"], slot @ None) => Ok(describe(slot.insert(open()?))),
            (["try" | "run", ..], None) => Err("say open first".to_owned()),
            (["try", call @ ..], Some(machine)) => attempt(call, machine),
            (["run"], Some(machine)) => run_guest(machine),
            ([word, ..], _) => Err(format!("`{word}` is none of open, try, run and quit")),
        };
        let reply = reply.unwrap_or_else(|sentence| format!("error {sentence}"));
        let mut out = io::stdout().lock();
        writeln!(out, "{reply}")
            .and_then(|()| out.flush())
            .map_err(while_doing("cannot write to stdout"))?;
    }
    Ok(())
}

fn open() -> Result<Machine, Failure> {
    let wanted = Wanted {
        kvm: true,
        vm: true,
        vcpus: 1,
        device: true,
        dirty_log: true,
        ..Wanted::default()
    };
    Machine::open(&wanted, |_| Guest::Print(TEXT.into()))
}

/// `ok kvm kvm-vm memory kvm-vcpu kvm-device`, then for each that is missing why.
fn describe(machine: &Machine) -> String {
    let ready = machine.vcpus.first().map(|vcpu| match vcpu {
        Ok(vcpu) => (Ok(()), vcpu.ready.clone()),
        Err(reason) => (Err(reason.clone()), Err(reason.clone())),
    });
    let (vcpu, registers) = ready.unwrap_or((Ok(()), Ok(())));
    let parts = [
        ("kvm", reason(&machine.kvm)),
        ("kvm-vm", reason(&machine.vm)),
        ("memory", reason(&machine.memory)),
        ("kvm-vcpu", vcpu),
        ("registers", registers),
        ("kvm-device", reason(&machine.device)),
    ];
    let mut reply = "ok".to_owned();
    for (name, _) in parts.iter().filter(|(_, stage)| stage.is_ok()) {
        reply += &format!(" {name}");
    }
    for (name, stage) in &parts {
        if let Err(reason) = stage {
            reply += &format!("; no {name}: {reason}");
        }
    }
    reply
}

fn reason<T>(stage: &Stage<T>) -> Stage<()> {
    stage.as_ref().map(|_| ()).map_err(String::clone)
}

fn attempt(words: &[&str], machine: &Machine) -> Stage<String> {
    let answer = Call::from_words(words)?.perform(machine)?;
    Ok(answer.to_string())
}

fn run_guest(machine: &mut Machine) -> Stage<String> {
    let vcpu = match machine.vcpus.first_mut() {
        Some(Ok(vcpu)) => vcpu,
        Some(Err(reason)) => return Err(reason.clone()),
        None => return Err("there is no vCPU".to_owned()),
    };
    vcpu.ready.clone()?;
    signals::alarm(RUN_LIMIT_SECONDS);
    let end = until_halt(&mut vcpu.fd, false);
    signals::alarm(0);
    let printed = end?;
    Ok(format!(
        "{} hlt {:?}",
        Answer::Ok(0),
        String::from_utf8_lossy(&printed)
    ))
}
