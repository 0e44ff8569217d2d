// SPDX-License-Identifier: GPL-2.0

//! What is forbidden for what a VM has done before: sequences of calls, the last of which counts.

use crate::{act::Actor, answer::Answer, failure::Failure};

use super::{Made, Ready, Shape, Side, Target};

/// The steps of `client act`, to the call that is refused and to the nearest that is not.
macro_rules! shapes {
    ($($cve:literal $way:literal $surface:literal [$($forbidden:literal),+] [$($legal:literal),+];)*) => {
        pub const SHAPES: &[Shape] = &[$(Shape {
            cves: &[$cve],
            way: $way,
            surface: $surface,
            make: |side| sequence(side, &[$($forbidden),+], &[$($legal),+]),
        },)*];
    };
}

shapes! {
    "CVE-2018-19406" "vcpu" "kvm-vm"
        ["kvm", "vm", "vcpu"]
        ["kvm", "vm", "split", "vcpu"];
    "CVE-2018-19406" "vcpu-of-a-pc" "kvm-vm"
        ["kvm", "vm", "vcpu 1"]
        ["kvm", "vm", "irqchip", "vcpu 1"];

    // The kernel's own limit is the same: what tells them apart is who refuses.
    "CVE-2019-3882" "map" "vfio-container"
        ["container", "times 65535 map 0x1%000", "map 0x900000000"]
        ["container", "times 65535 map 0x1%000", "unmap 0x10000", "map 0x900000000"];

    "CVE-2020-36310" "never-any" "kvm-vcpu"
        ["kvm", "vm", "vcpu", "call kvm-vcpu KVM_RUN"]
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "call kvm-vcpu KVM_RUN"];
    "CVE-2020-36310" "take-away" "kvm-vm"
        ["kvm", "vm", "memory 0 1M", "memory 1 1M", "vcpu", "ready 0", "run 0", "memory 0 0"]
        ["kvm", "vm", "memory 0 1M", "memory 1 1M", "vcpu", "ready 0", "run 0", "memory 1 0"];
    "CVE-2020-36310" "take-away-in-setup" "kvm-vm"
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "run 0", "memory2 0 0"]
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "memory2 0 0"];
    "CVE-2020-36310" "move" "kvm-vm"
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "run 0", "memory 0 1M 0x200000"]
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "run 0", "memory 0 1M"];

    // 1 and 6 are the shared page, by number and by address; 0 is the mode.
    "CVE-2021-4095" "ring" "kvm-vm"
        ["kvm", "vm", "cap 192 64K", "call kvm-vm KVM_XEN_HVM_SET_ATTR zero,0.2=1"]
        ["kvm", "vm", "cap 192 64K", "call kvm-vm KVM_XEN_HVM_SET_ATTR zero,0.2=0"];
    "CVE-2021-4095" "ring-by-address" "kvm-vm"
        ["kvm", "vm", "cap 192 64K", "call kvm-vm KVM_XEN_HVM_SET_ATTR zero,0.2=6"]
        ["kvm", "vm", "call kvm-vm KVM_XEN_HVM_SET_ATTR zero,0.2=6"];
    "CVE-2021-4095" "ordered-ring" "kvm-vm"
        ["kvm", "vm", "cap 223 64K", "call kvm-vm KVM_XEN_HVM_SET_ATTR zero,0.2=1"]
        ["kvm", "vm", "call kvm-vm KVM_XEN_HVM_SET_ATTR zero,0.2=1"];

    // SCONTROL, the first register of the synthetic interrupt controller.
    "CVE-2022-2153" "without-apic" "kvm-vcpu"
        ["kvm", "vm", "vcpu", "call kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0x40000080,16.8=1"]
        ["kvm", "vm", "split", "vcpu", "call kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0x40000080,16.8=1"];

    // The leaf that says that Hyper-V is there.
    "CVE-2025-21779" "without-apic" "kvm-vcpu"
        ["kvm", "vm", "vcpu", "call kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x40000001,20.4=0x31237648"]
        ["kvm", "vm", "split", "vcpu", "call kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x40000001,20.4=0x31237648"];

    "CVE-2026-31588" "another-thread" "kvm-vcpu"
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "run-elsewhere 0", "call kvm-vcpu KVM_RUN"]
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "run 0", "call kvm-vcpu KVM_RUN"];

    // Of type KVM_X86_SNP_VM, which the emulated processor has not.
    "CVE-2026-31591" "run" "kvm-vcpu"
        ["kvm", "vm 4", "vcpu", "call kvm-vcpu KVM_RUN"]
        ["kvm", "vm", "memory 0 1M", "vcpu", "ready 0", "call kvm-vcpu KVM_RUN"];
    "CVE-2026-31593" "finish" "kvm-vm"
        ["kvm", "vm 4", "call kvm-vm KVM_MEMORY_ENCRYPT_OP zero,0.4=102", "call kvm-vm KVM_MEMORY_ENCRYPT_OP zero,0.4=102"]
        ["kvm", "vm 4", "call kvm-vm KVM_MEMORY_ENCRYPT_OP zero,0.4=102"];
    "CVE-2026-31593" "vcpu" "kvm-vm"
        ["kvm", "vm 4", "call kvm-vm KVM_MEMORY_ENCRYPT_OP zero,0.4=102", "vcpu"]
        ["kvm", "vm 4", "vcpu"];
}

fn sequence(side: Side, forbidden: &[&str], legal: &[&str]) -> Made {
    let mut actor = Box::new(Actor::default());
    let (last, before) = side
        .pick(forbidden, legal)
        .split_last()
        .ok_or_else(|| Failure::Unexpected("a sequence has no calls".to_owned()))?;
    for step in before {
        let words: Vec<&str> = step.split(' ').collect();
        let answer = actor.take(&words, &[]);
        match (answer, &words[..]) {
            (Ok(Answer::Ok(count)), ["times", times, ..]) if count.to_string() != *times => {
                return Err(Failure::Unexpected(format!("{step}: {count} succeeded")))
            }
            (Ok(Answer::Ok(_)), _) => {}
            (Ok(_), ["vm", kind]) => {
                return Err(Failure::Absent(format!(
                    "this machine has no VMs of type {kind}"
                )))
            }
            (Ok(answer), _) => {
                return Err(Failure::Unexpected(format!(
                    "{step} was answered with {answer}"
                )))
            }
            (Err(sentence), _) => return Err(Failure::Unexpected(format!("{step}: {sentence}"))),
        }
    }
    let words: Vec<&str> = last.split(' ').collect();
    let planned = actor.plan(&words).map_err(Failure::Unexpected)?;
    let (fd, number, argument) = planned.into_parts();
    Ok(Ready {
        target: Target::Opened { _by: actor, fd },
        number,
        argument,
    })
}
