// SPDX-License-Identifier: GPL-2.0

//! How long a verdict takes, and how long a policy.

use criterion::{criterion_group, criterion_main, Criterion};
use portcullis_policy::{
    parse, Fetched, Heap, InList, Memory, Policy, Rejection, Request, Surface,
};
use std::fmt::Write;
use std::hint::black_box;

const SET_USER_MEMORY_REGION: u32 = 0x4020_ae46;
const SET_CPUID2: u32 = 0x4008_ae90;
const RUN: u32 = 0xae80;
const ENTRIES: usize = 40;

/// Five conditions, all of which hold; no element is like the one that is looked for.
const RULES: &str = "
    allow kvm-vcpu KVM_RUN
    deny  kvm-vcpu KVM_SET_CPUID2 if any entries (function == 0x80000001 and ecx has 0x4)
    allow kvm-vm KVM_SET_USER_MEMORY_REGION if slot < 512 and flags subset KVM_MEM_LOG_DIRTY_PAGES|KVM_MEM_READONLY and guest_phys_addr + memory_size <= 64G and memory_size aligned 4K and userspace_addr aligned 4K
";

/// A policy with so many rules; the others are about other commands.
fn text(rules: usize) -> String {
    let mut text = String::from("policy bench version 1\nprofile other\ndefault deny\n");
    for number in 0..rules - 3 {
        let number = (number as u32).wrapping_mul(0x9e37_79b9) | 1;
        writeln!(text, "allow kvm-vm {number:#x} if arg < 4096").expect("a string has room");
    }
    text + RULES.trim_start_matches('\n') + "end\n"
}

fn policy(rules: usize) -> Policy<Heap> {
    let text = text(rules);
    match parse::<Heap>(text.as_bytes()) {
        Ok(policy) => policy,
        Err(Rejection::Mistakes(mistakes)) => panic!("{}", mistakes.report(text.as_bytes())),
        Err(Rejection::OutOfMemory) => panic!("out of memory"),
    }
}

struct Caller(Vec<u8>);

impl Memory for Caller {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        let from = self.0.get(address as usize..);
        match from.and_then(|from| from.get(..into.len())) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

fn request(surface: Surface, command: u32) -> Request {
    Request {
        surface,
        command,
        arg: 0,
        compat: false,
    }
}

/// A region of 1 GiB.
fn region() -> Caller {
    let slot_and_flags = 3_u64 | (1 << 32);
    let numbers = [slot_and_flags, 4 << 30, 1 << 30, 0x7f00_0000_0000];
    Caller(
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect(),
    )
}

fn cpuid() -> Caller {
    let mut bytes = vec![0; 8 + ENTRIES * 40];
    bytes[0] = ENTRIES as u8;
    Caller(bytes)
}

/// What a probe does when the bytes are there.
fn judge(policy: &Policy<Heap>, request: &Request, fetched: &Fetched<InList<Heap>>) -> bool {
    if policy
        .plain_allow(request.surface, request.command)
        .is_some()
    {
        return true;
    }
    let decision = policy
        .head(request.surface, request.command)
        .and_then(|head| policy.decide(head, request, fetched.bytes(), |_| {}));
    decision.is_some_and(|decision| decision.verdict == portcullis_policy::Verdict::Allow)
}

fn verdicts(criterion: &mut Criterion) {
    for (size, rules) in [("10", 10), ("4096", 4096)] {
        let policy = policy(rules);
        for (name, request, mut caller, allowed) in [
            (
                "plain-allow",
                request(Surface::KvmVcpu, RUN),
                Caller(Vec::new()),
                true,
            ),
            (
                "five-conditions",
                request(Surface::KvmVm, SET_USER_MEMORY_REGION),
                region(),
                true,
            ),
            (
                "any-of-40-entries",
                request(Surface::KvmVcpu, SET_CPUID2),
                cpuid(),
                false,
            ),
        ] {
            let head = policy
                .head(request.surface, request.command)
                .expect("a head");
            let fetch =
                |caller: &mut Caller| policy.fetch(head, &request, InList::<Heap>::new(), caller);
            let fetched = match fetch(&mut caller) {
                Ok(fetched) => fetched,
                Err(unread) => panic!("{name}: {unread:?}"),
            };
            assert_eq!(judge(&policy, &request, &fetched), allowed, "{name}");
            criterion.bench_function(&format!("{name}-{size}"), |bencher| {
                bencher.iter(|| {
                    let (policy, request) = (black_box(&policy), black_box(&request));
                    judge(policy, request, black_box(&fetched))
                })
            });
        }
    }
}

fn policies(criterion: &mut Criterion) {
    for size in [10, 4096] {
        let text = text(size);
        criterion.bench_function(&format!("compile-{size}"), |bencher| {
            bencher.iter(|| parse::<Heap>(black_box(text.as_bytes())).is_ok())
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().sample_size(200);
    targets = verdicts, policies
}
criterion_main!(benches);
