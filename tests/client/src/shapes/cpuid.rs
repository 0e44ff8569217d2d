// SPDX-License-Identifier: GPL-2.0

//! The CPUID of a vCPU, which both KVM_SET_CPUID and KVM_SET_CPUID2 set.
//!
//! The forbidden leaf is never the first, and the legal ones have the forbidden bits in a
//! neighbouring leaf, and all others in the leaf itself.

use kvm_bindings::{kvm_cpuid2, kvm_cpuid_entry, kvm_cpuid_entry2};

use super::{laid, machine, Made, Ready, Shape, Side, NESTED};
use crate::surface::Surface;

pub const SHAPES: &[Shape] = &[
    Shape {
        cves: NESTED,
        way: "vmx-cpuid2",
        surface: "kvm-vcpu",
        make: |side| set_cpuid2(&vmx(side)),
    },
    Shape {
        cves: NESTED,
        way: "vmx-cpuid",
        surface: "kvm-vcpu",
        make: |side| set_cpuid(&vmx(side)),
    },
    Shape {
        cves: NESTED,
        way: "svm-cpuid2",
        surface: "kvm-vcpu",
        make: |side| set_cpuid2(&svm(side)),
    },
    Shape {
        cves: NESTED,
        way: "svm-cpuid",
        surface: "kvm-vcpu",
        make: |side| set_cpuid(&svm(side)),
    },
    Shape {
        cves: &["CVE-2025-21779"],
        way: "hyperv-cpuid2",
        surface: "kvm-vcpu",
        make: |side| set_cpuid2(&hyperv(side)),
    },
    Shape {
        cves: &["CVE-2025-21779"],
        way: "hyperv-cpuid",
        surface: "kvm-vcpu",
        make: |side| set_cpuid(&hyperv(side)),
    },
    Shape {
        cves: &["CVE-2026-23005"],
        way: "amx-cpuid2",
        surface: "kvm-vcpu",
        make: |side| set_cpuid2(&amx(side)),
    },
    Shape {
        cves: &["CVE-2026-23005"],
        way: "amx-cpuid",
        surface: "kvm-vcpu",
        make: |side| set_cpuid(&amx(side)),
    },
];

#[derive(Clone, Copy, Default)]
struct Leaf {
    function: u32,
    /// KVM_SET_CPUID has no place for it; without KVM_CPUID_FLAG_SIGNIFCANT_INDEX it means nothing.
    index: u32,
    eax: u32,
    ecx: u32,
}

const fn leaf(function: u32) -> Leaf {
    Leaf {
        function,
        index: 0,
        eax: 0,
        ecx: 0,
    }
}

fn vmx(side: Side) -> [Leaf; 2] {
    const VMX: u32 = 1 << 5;
    in_ecx(side, 1, VMX)
}

fn svm(side: Side) -> [Leaf; 2] {
    const SVM: u32 = 1 << 2;
    in_ecx(side, 0x8000_0001, SVM)
}

fn in_ecx(side: Side, function: u32, bit: u32) -> [Leaf; 2] {
    let with = |function, ecx| Leaf {
        ecx,
        ..leaf(function)
    };
    side.pick(
        [with(function + 1, 0), with(function, bit)],
        [with(function, !bit), with(function + 1, bit)],
    )
}

/// "Hv#1" (HYPERV_CPUID_SIGNATURE_EAX), without any of the leaves that list features.
fn hyperv(side: Side) -> [Leaf; 2] {
    const INTERFACE: u32 = 0x4000_0001;
    let signature = u32::from_le_bytes(*b"Hv#1");
    let with = |function, eax| Leaf {
        eax,
        ..leaf(function)
    };
    side.pick(
        [leaf(INTERFACE - 1), with(INTERFACE, signature)],
        [
            with(INTERFACE, signature + 1),
            with(INTERFACE - 1, signature),
        ],
    )
}

/// XTILEDATA in the leaf of XCR0, hidden behind a subleaf that does not count.
fn amx(side: Side) -> [Leaf; 2] {
    const TILES: u32 = 1 << 18;
    let with = |function, index, eax| Leaf {
        index,
        eax,
        ..leaf(function)
    };
    side.pick(
        [leaf(0xc), with(0xd, 9, TILES)],
        [with(0xd, 0, !TILES), with(0xc, 0, TILES)],
    )
}

fn set_cpuid2(leaves: &[Leaf]) -> Made {
    let entry = |leaf: &Leaf| kvm_cpuid_entry2 {
        function: leaf.function,
        index: leaf.index,
        eax: leaf.eax,
        ecx: leaf.ecx,
        ..Default::default()
    };
    set("KVM_SET_CPUID2", leaves, entry)
}

fn set_cpuid(leaves: &[Leaf]) -> Made {
    let entry = |leaf: &Leaf| kvm_cpuid_entry {
        function: leaf.function,
        eax: leaf.eax,
        ecx: leaf.ecx,
        ..Default::default()
    };
    set("KVM_SET_CPUID", leaves, entry)
}

/// The two commands differ in the entries; the header before them is the same.
fn set<T: Copy>(command: &str, leaves: &[Leaf], entry: impl Fn(&Leaf) -> T) -> Made {
    let argument = laid(|pages| {
        pages.put(0, leaves.len() as u32);
        for (at, leaf) in leaves.iter().enumerate() {
            pages.put(size_of::<kvm_cpuid2>() + at * size_of::<T>(), entry(leaf));
        }
    })?;
    Ready::on(machine(Surface::Vcpu)?, Surface::Vcpu, command, argument)
}
