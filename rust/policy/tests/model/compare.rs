// SPDX-License-Identifier: GPL-2.0

//! The engine's answer against the reference's, and the engine's reads against its contract: each
//! byte at most once, none that no rule for the call looks at, none that is missing.

use super::judge::{asks_for_vcpus, is_about_vcpus, judge, Outcome, Pages};
use super::{is_of_a_vm, Lines, Policy, Who, DIDS};
use portcullis_policy::{
    parse, Bytes, Caller, Heap, InList, Memory, Phase, Rejection, Request, State, StateNeed,
    Verdict,
};
use std::collections::BTreeSet;

/// The caller's memory, with a record of what was read.
struct Recorder<'a> {
    pages: &'a Pages,
    read: Vec<(u128, u128)>,
}

impl Memory for Recorder<'_> {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        let (address, len) = (u128::from(address), into.len() as u128);
        self.read.push((address, len));
        match self.pages.bytes(address, len) {
            Some(bytes) => {
                into.copy_from_slice(&bytes);
                true
            }
            None => false,
        }
    }
}

/// A policy that the engine has compiled.
pub struct Compiled {
    pub engine: portcullis_policy::Policy<Heap>,
    pub text: String,
    lines: Vec<Lines>,
}

/// The engine's own form of a policy that has no mistake.
pub fn compile(policy: &Policy) -> Result<Compiled, String> {
    let (text, lines) = policy.text();
    match parse::<Heap>(text.as_bytes()) {
        Ok(engine) => Ok(Compiled {
            engine,
            text,
            lines,
        }),
        Err(Rejection::Mistakes(mistakes)) => Err(format!(
            "a policy without a mistake was rejected:\n{}",
            mistakes.report(text.as_bytes())
        )),
        Err(Rejection::OutOfMemory) => Err("out of memory".into()),
    }
}

/// Pieces that touch become one: where each begins and ends.
fn joined(pieces: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut pieces = pieces.to_vec();
    pieces.sort();
    let mut joined: Vec<(u128, u128)> = Vec::new();
    for (start, len) in pieces.into_iter().filter(|piece| piece.1 > 0) {
        match joined.last_mut() {
            Some(last) if last.1 >= start => last.1 = last.1.max(start + len),
            _ => joined.push((start, start + len)),
        }
    }
    joined
}

/// Whether some byte is in two of the pieces.
fn overlap(pieces: &[(u128, u128)]) -> bool {
    let all: u128 = pieces.iter().map(|piece| piece.1).sum();
    let once: u128 = joined(pieces).iter().map(|piece| piece.1 - piece.0).sum();
    all != once
}

/// Whether the engine does with a call what the reference does; what it did.
pub fn compare(
    policy: &Policy,
    compiled: &Compiled,
    request: &Request,
    pages: &Pages,
    who: &Who,
    state: &State,
) -> Result<Outcome, String> {
    let engine = &compiled.engine;
    // What bit stands for what was done is the engine's own affair.
    let bit_of = |place: usize| {
        let (_, command, variant) = DIDS[place];
        engine.dids.iter().position(|did| {
            did.command().is_some_and(|did| did.name == command)
                && did.variant.map(|variant| variant.value) == variant.map(|variant| variant.1)
        })
    };
    let did =
        std::array::from_fn(|place| bit_of(place).is_some_and(|bit| (state.did >> bit) & 1 == 1));
    let expected = judge(policy, &compiled.lines, request, pages, who, state, did);
    let text = |by| who.text(by).map(str::as_bytes);
    let caller = Caller {
        exe: text("exe"),
        uid: who.id("uid"),
        gid: who.id("gid"),
        cgroup: text("cgroup"),
        comm: text("comm"),
        label: text("label"),
    };
    let id = engine.profile_of(&caller).ok_or("there is no profile")?;
    let profile = engine.profiles[id.index()];
    let name = profile
        .name
        .of(compiled.text.as_bytes())
        .unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let phase = match state.is_running && is_of_a_vm(request.surface) {
        true => Phase::Running,
        false => Phase::Setup,
    };
    let section = engine.section(id, phase).ok_or("there is no section")?;
    let head = engine
        .head_in(section, request.surface, request.command)
        .ok_or("there is no head")?;
    if profile.name.is_empty() || (policy.profiles.len() == 1 && section.0 > 1) {
        return Err("a single profile has sections to spare".into());
    }
    let reads = engine
        .reads(head, request.compat)
        .ok_or("there are no reads")?;
    // What is not asked for is not there.
    let state = state.bytes();
    let state = match reads.state.is_empty() {
        false => &state[..],
        true => &[],
    };
    let parts = expected.state.iter().map(|name| part_of(name));
    let parts = parts.fold(StateNeed::NOTHING, StateNeed::and);
    if reads.state != parts {
        let parts = &expected.state;
        return Err(format!("looked at: {parts:?}\nneeded: {:?}", reads.state));
    }
    let changing =
        |name: &&str| !["vm.type", "thread.traced", "thread.vcpu", "rate"].contains(name);
    if reads.state.changes() != expected.state.iter().any(changing) {
        return Err("what changes is not told".into());
    }
    let rates = expected
        .rates
        .iter()
        .fold(0, |rates, rate| rates | (1 << rate));
    if (reads.rates, reads.noted) != (rates, expected.noted) {
        return Err(format!(
            "rates {:#x}, noted {}; and not {:#x}, {}",
            reads.rates, reads.noted, rates, expected.noted
        ));
    }
    let knows = engine.knows_callers();
    // A rule that no call reaches asks for nothing.
    let must = engine.sections() > 1 || expected.state.iter().any(|name| is_about_vcpus(name));
    let may = engine.sections() > 1 || asks_for_vcpus(policy);
    if (must && !knows) || (knows && !may) || knows == engine.section_shortcuts.is_empty() {
        return Err("it is not told whether callers must be known".into());
    }
    let mut memory = Recorder {
        pages,
        read: Vec::new(),
    };
    let fetched = engine.fetch(head, request, InList::<Heap>::new(), &mut memory);
    let decide = |bytes: Bytes<'_>| {
        let bytes = Bytes { state, ..bytes };
        let mut audits = Vec::new();
        let mut lost = false;
        let decision = engine.decide(head, request, bytes, |link| match engine.rule(link) {
            Some(rule) => audits.push(rule.line),
            None => lost = true,
        });
        let decision = decision.ok_or("the table does not hang together")?;
        let rule = engine.rule(decision.link).ok_or("a link without a rule")?;
        let target = engine
            .target(decision.link)
            .ok_or("a link without a target")?;
        // Calls are counted under the right command.
        let is_counted = target.surface == request.surface
            && target
                .command
                .is_none_or(|command| command == request.command);
        if lost || !is_counted {
            return Err(format!("the link {} is for {target:?}", decision.link));
        }
        if usize::from(rule.profile) != id.index() {
            return Err(format!("a rule of profile {}", rule.profile));
        }
        let outcome = Outcome::Judged {
            profile: name.clone(),
            verdict: decision.verdict,
            line: rule.line,
            is_default: rule.is_default,
            is_limit: rule.is_limit,
            audits,
        };
        Ok((outcome, decision.link))
    };
    let found = match &fetched {
        Ok(fetched) => {
            let (outcome, link) = decide(fetched.bytes())?;
            let done = engine.dids_of(request, fetched.bytes());
            // Nobody asks where nothing is noted.
            let done: BTreeSet<usize> = done.filter(|_| reads.noted).map(|(bit, _)| bit).collect();
            let expected: BTreeSet<_> = expected.did.iter().filter_map(|at| bit_of(*at)).collect();
            if done != expected {
                return Err(format!("done: {done:?}, and not {expected:?}"));
            }
            let (surface, command) = (request.surface, request.command.into());
            let short = match knows {
                true => engine.plain_allow_in(section, surface, command),
                false => engine.plain_allow_in_register(surface, command),
            };
            if knows && engine.plain_allow_in_register(surface, command).is_some() {
                return Err("somebody is let through unasked".into());
            }
            if short.is_some() && !reads.is_nothing() {
                return Err("a shortcut leads around what must be looked at".into());
            }
            match short {
                Some(short) if short != link => {
                    return Err(format!("the shortcut is link {short}, the long way {link}"))
                }
                _ => outcome,
            }
        }
        Err(unread) => Outcome::Unread(*unread),
    };
    if found != expected.outcome {
        return Err(format!(
            "the engine: {found:?}\nthe reference: {:?}",
            expected.outcome
        ));
    }

    // A pointer into the argument itself has its bytes read once for each.
    if overlap(&memory.read) && !overlap(&expected.read) {
        return Err(format!("a byte was read twice: {:x?}", memory.read));
    }
    let (read, wanted) = (joined(&memory.read), joined(&expected.read));
    let within = |piece: &(u128, u128)| {
        wanted
            .iter()
            .any(|all| all.0 <= piece.0 && piece.1 <= all.1)
    };
    let right = match found {
        Outcome::Judged { .. } => read == wanted,
        // Where it stops is the engine's own affair.
        Outcome::Unread(_) => read.iter().all(within),
    };
    if !right {
        return Err(format!("read: {read:x?}\nlooked at: {wanted:x?}"));
    }

    Ok(found)
}

/// The part of the state that a name stands for.
fn part_of(name: &str) -> StateNeed {
    match name {
        "vm.vcpus" => StateNeed::VCPUS,
        "vm.memory" => StateNeed::MEMORY,
        "vm.memslots" => StateNeed::MEMSLOTS,
        "vm.slot" => StateNeed::SLOT,
        "vm.irqchip" => StateNeed::IRQCHIP,
        "vm.irqfds" => StateNeed::IRQFDS,
        "vm.ioeventfds" => StateNeed::IOEVENTFDS,
        "vm.zones" => StateNeed::ZONES,
        "vm.devices" => StateNeed::DEVICES,
        "vm.running" => StateNeed::RUNNING,
        "vm.cap" => StateNeed::CAPS,
        "vm.did" => StateNeed::DID,
        "vm.type" => StateNeed::TYPE,
        "vcpu.ran" | "vcpu.foreign" => StateNeed::VCPU,
        "thread.vcpu" => StateNeed::THREAD_VCPU,
        "thread.traced" => StateNeed::THREAD_TRACED,
        "profile.vms" | "profile.vcpus" | "profile.memory" => StateNeed::PROFILE,
        "file.mappings" => StateNeed::MAPPINGS,
        "rate" => StateNeed::RATE,
        _ => panic!("{name}"),
    }
}

/// Whether a call went through.
pub fn is_allowed(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Judged {
            verdict: Verdict::Allow,
            ..
        }
    )
}

/// What of a policy is needed for it to fail with a call: rules and conditions are left out while it
/// still does.
pub fn shrink(policy: &Policy, fails: impl Fn(&Policy) -> bool) -> Policy {
    let mut least = policy.clone();
    loop {
        let before = least.text().0.len();
        for profile in (0..least.profiles.len()).rev() {
            let mut less = least.clone();
            less.profiles.remove(profile);
            // `other` must be there.
            if profile + 1 < least.profiles.len() && fails(&less) {
                least = less;
                continue;
            }
            shrink_profile(&mut least, profile, &fails);
        }
        if least.text().0.len() == before {
            return least;
        }
    }
}

fn shrink_profile(least: &mut Policy, profile: usize, fails: &impl Fn(&Policy) -> bool) {
    let try_without = |least: &mut Policy, change: &dyn Fn(&mut super::Profile)| {
        let mut less = least.clone();
        change(&mut less.profiles[profile]);
        let is_less = fails(&less);
        if is_less {
            *least = less;
        }
        is_less
    };
    for index in (0..least.profiles[profile].limits.len()).rev() {
        try_without(least, &|profile| drop(profile.limits.remove(index)));
    }
    for index in (0..least.profiles[profile].rules.len()).rev() {
        if try_without(least, &|profile| drop(profile.rules.remove(index))) {
            continue;
        }
        try_without(least, &|profile| profile.rules[index].before.clear());
        try_without(least, &|profile| profile.rules[index].phase = None);
        for target in (0..least.profiles[profile].rules[index].targets.len()).rev() {
            if least.profiles[profile].rules[index].targets.len() > 1 {
                try_without(least, &|profile| {
                    drop(profile.rules[index].targets.remove(target))
                });
            }
        }
        for condition in (0..least.profiles[profile].rules[index].conditions.len()).rev() {
            try_without(least, &|profile| {
                drop(profile.rules[index].conditions.remove(condition))
            });
        }
    }
}
