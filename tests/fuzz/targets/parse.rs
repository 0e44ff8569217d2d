// SPDX-License-Identifier: GPL-2.0

//! Any bytes are answered: by a table that decides about every call, or by a report.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_policy::{
    check, effect, Bytes, Caller, Diagnoses, Heap, InList, Memory, Phase, Rejection, Request,
    State, Surface,
};

/// Memory without an end, of bytes that come from the input; each seventh page is missing.
struct Mist<'a>(&'a [u8]);

impl Memory for Mist<'_> {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        let Some(last) = address.checked_add(into.len() as u64) else {
            return false;
        };
        for (byte, at) in into.iter_mut().zip(address..last) {
            if (at >> 12) % 7 == 3 {
                return false;
            }
            // Small numbers, so that counts and sizes are small now and then.
            let source = self.0[at as usize % self.0.len()];
            *byte = if at % 4 == 0 {
                source & 0x3f
            } else {
                source >> 7
            };
        }
        true
    }
}

/// What is said of a text is made of lines that read as they look, whatever the text.
fn report(diagnoses: &Diagnoses<Heap>, text: &[u8]) {
    let report = diagnoses.report(text).to_string();
    let hides = |character: char| {
        (character.is_control() && character != '\n')
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    assert!(!report.contains(hides), "{report:?}");
}

fuzz_target!(|text: &[u8]| {
    let policy = match check::<Heap>(text) {
        Ok(checked) => {
            report(&checked.warnings, text);
            checked.policy
        }
        Err(Rejection::Mistakes(diagnoses)) => {
            assert!(!diagnoses.list.is_empty());
            return report(&diagnoses, text);
        }
        Err(Rejection::OutOfMemory) => panic!("out of memory"),
    };
    // A process that is called by a piece of the text, and whose numbers are bytes of it.
    let byte = |at: usize| u32::from(text[at % text.len()]);
    let name = &text[text.len() / 3..text.len() / 2];
    let caller = Caller {
        exe: Some(name),
        uid: Some(byte(7)),
        gid: Some(byte(11)),
        cgroup: Some(name),
        comm: Some(name),
        label: Some(name),
    };
    let profile = policy.profile_of(&caller).expect("a profile");
    let phase = Phase::ALL[byte(5) as usize % 2];
    let section = policy.section(profile, phase).expect("a section");
    let state = State {
        vcpus: byte(13),
        memory: u64::from(byte(17)) << 30,
        is_running: phase == Phase::Running,
        slot: u64::from(byte(19)) & 1,
        memslots: byte(23),
        irqfds: byte(29),
        did: byte(31),
        profile_vms: byte(37),
        mappings: byte(41),
        exceeded: byte(43) as u16,
        ..State::NEW
    };
    let state = state.bytes();
    for place in 0..17 {
        let rates = policy.profiles[profile.index()].rates;
        let rate = policy.rate(profile, place);
        assert_eq!(rate.is_some(), place < rates.len as usize);
        assert!(rate.is_none_or(|rate| rate.count > 0 && rate.per_ms > 0));
    }
    // Or a rule looks at vCPUs, which may be one that no call reaches.
    assert!(policy.knows_callers() || policy.sections() == 1);
    assert_eq!(policy.knows_callers(), !policy.section_shortcuts.is_empty());
    // One call for each command that a rule with a condition is about.
    let mut calls: Vec<(Surface, u32)> = policy
        .targets
        .iter()
        .filter_map(|target| Some((target.surface, target.command?)))
        .filter(|&(surface, command)| {
            policy
                .head_in(section, surface, command)
                .is_some_and(|head| head.need != 0)
        })
        .collect();
    calls.truncate(64);
    calls.extend(Surface::ALL.map(|surface| (surface, 0xffff_fffe)));
    for (surface, command) in calls {
        for compat in [false, true] {
            let request = Request {
                surface,
                command,
                arg: 0x1000 + u64::from(command >> 3),
                compat,
            };
            let head = policy.head_in(section, surface, command).expect("a head");
            if let Ok(fetched) =
                policy.fetch(head, &request, InList::<Heap>::new(), &mut Mist(text))
            {
                let bytes = Bytes {
                    state: &state,
                    ..fetched.bytes()
                };
                let decision = policy.decide(head, &request, bytes, |link| {
                    policy.rule(link).expect("a rule that audits");
                });
                let decision = decision.expect("a decision");
                policy.rule(decision.link).expect("a rule that decides");
                effect(&request, bytes);
                for (place, key) in policy.dids_of(&request, bytes) {
                    assert_eq!(policy.dids[place].key(), key);
                }
            }
        }
    }
});
