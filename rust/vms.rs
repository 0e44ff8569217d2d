// SPDX-License-Identifier: GPL-2.0

//! The file `vms`: a line for each VM.

use crate::{
    active,
    known::for_each_known_vm,
    sys::{
        kvm::{what, Looks},
        locks::LEDGER,
        registry::{self, Subject}, //
    },
    text::Text, //
};
use kernel::{
    prelude::*,
    sync::{rcu, Arc}, //
};
use portcullis_policy::sort;

/// The calls on a VM itself, or on one of its vCPUs.
struct Calls {
    subject: Arc<Subject>,
    calls: u64,
    last: u64,
}

impl Calls {
    fn number(&self) -> u64 {
        self.subject.number
    }
}

impl PartialEq for Calls {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Calls {}

impl PartialOrd for Calls {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Calls {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}

/// Writes it. The oldest VM is the first.
pub(crate) fn write(out: &mut Text) -> Result {
    let calls = calls()?;
    let looks = looks(&calls)?;
    let ledger = LEDGER.lock();
    let Some(active) = active::current(&ledger) else {
        return Ok(());
    };
    let mut rest = calls.iter().zip(&looks).peekable();
    while let Some((first, looks)) = rest.next() {
        let subject = &first.subject;
        let (mut calls, mut last) = (first.calls, first.last);
        while let Some((other, _)) = rest.next_if(|(other, _)| other.number() == subject.number) {
            calls += other.calls;
            last = last.max(other.last);
        }
        if subject.is_gone() {
            continue;
        }
        let profile = active.profile_name(subject).unwrap_or_default();
        let calls = active.policy.knows_callers().then_some((calls, last));
        line(out, subject, profile, calls, looks.as_ref())?;
    }
    Ok(())
}

/// What each VM looks like, beside the first of its calls; nothing for one whose files no process has open:
/// they are on their way to one. Nobody else keeps KVM from freeing it meanwhile.
fn looks(calls: &[Calls]) -> Result<KVVec<Option<Looks>>> {
    let mut looks = KVVec::from_elem(None, calls.len(), GFP_KERNEL)?;
    for_each_known_vm(|subject, file, surface| {
        let first = calls.partition_point(|calls| calls.number() < subject.number);
        // One that has just been made is not among them.
        let is_it = |calls: &Calls| calls.number() == subject.number;
        if let (true, Some(looks @ None)) =
            (calls.get(first).is_some_and(is_it), looks.get_mut(first))
        {
            *looks = Some(file.look(surface, what::ALL));
        }
    });
    Ok(looks)
}

/// The calls on all VMs; those on one stand together.
fn calls() -> Result<KVVec<Calls>> {
    let mut list = KVVec::new();
    loop {
        let mut is_short = false;
        let mut count = 0_usize;
        registry::all(
            |node| {
                if !node.subject.is_vm() {
                    return;
                }
                count += 1;
                let (calls, last) = node.calls();
                let entry = Calls {
                    subject: node.subject.clone(),
                    calls,
                    last,
                };
                // No memory can be waited for here.
                is_short |= list.push_within_capacity(entry).is_err();
            },
            &rcu::read_lock(),
        );
        if !is_short {
            break;
        }
        list.clear();
        list.reserve(count + count / 8 + 8, GFP_KERNEL)?;
    }
    sort(&mut list);
    Ok(list)
}

fn line(
    out: &mut Text,
    subject: &Subject,
    profile: &[u8],
    calls: Option<(u64, u64)>,
    looks: Option<&Looks>,
) -> Result {
    let facts = &subject.facts;
    let (denied, would_deny, last_denial) = subject.denials();
    let (zones, vfio_files) = subject.seen.zones_and_files();
    out.put(fmt!("vm={} pid={}", subject.number, subject.maker))?;
    word(out, "comm", Some(&facts.comm))?;
    word(out, "exe", facts.exe.as_deref())?;
    out.put(fmt!(" uid={} gid={}", facts.uid, facts.gid))?;
    word(out, "cgroup", facts.cgroup.as_deref())?;
    word(out, "label", facts.label.as_deref())?;
    word(out, "profile", Some(profile))?;
    let runs = subject.ran() || looks.is_some_and(Looks::is_running);
    out.put(fmt!(" phase={}", if runs { "running" } else { "setup" }))?;
    number(out, "type", looks.map(|looks| looks.kind.into()))?;
    number(out, "vcpus", looks.map(|looks| looks.vcpus.into()))?;
    number(out, "memslots", looks.map(|looks| looks.memslots.into()))?;
    number(out, "memory", looks.map(|looks| looks.memory))?;
    word(
        out,
        "irqchip",
        looks.map(|looks| looks.irqchip().name().as_bytes()),
    )?;
    number(out, "devices", looks.map(|looks| looks.devices.into()))?;
    out.put(fmt!(" vfio-files={vfio_files}"))?;
    number(out, "irqfds", looks.map(|looks| looks.irqfds.into()))?;
    number(
        out,
        "ioeventfds",
        looks.map(|looks| looks.ioeventfds.into()),
    )?;
    out.put(fmt!(" zones={zones}"))?;
    number(out, "calls", calls.map(|(calls, _)| calls))?;
    out.put(fmt!(" denied={denied} would-deny={would_deny}"))?;
    time(out, "created", subject.created)?;
    let last = calls.map_or(0, |(_, last)| last);
    time(
        out,
        "last-call",
        if last == 0 { 0 } else { registry::in_ms(last) },
    )?;
    time(out, "last-denial", last_denial)?;
    out.put(fmt!("\n"))
}

/// A value that a process may have chosen: what could be taken for the end of it is written as
/// `/proc/mounts` writes it.
fn word(out: &mut Text, name: &str, value: Option<&[u8]>) -> Result {
    out.put(fmt!(" {name}="))?;
    let Some(value) = value else {
        return out.put(fmt!("-"));
    };
    for &byte in value {
        match byte {
            b'\\' => out.put(fmt!("\\134"))?,
            0x21..=0x7e => out.push(&[byte])?,
            _ => out.put(fmt!("\\{byte:03o}"))?,
        }
    }
    Ok(())
}

fn number(out: &mut Text, name: &str, value: Option<u64>) -> Result {
    match value {
        Some(value) => out.put(fmt!(" {name}={value}")),
        None => out.put(fmt!(" {name}=-")),
    }
}

/// A time in seconds since the kernel was booted, from milliseconds; 0 for what has not been.
fn time(out: &mut Text, name: &str, ms: u64) -> Result {
    if ms == 0 {
        return out.put(fmt!(" {name}=-"));
    }
    out.put(fmt!(" {name}={}.{:03}", ms / 1000, ms % 1000))
}
