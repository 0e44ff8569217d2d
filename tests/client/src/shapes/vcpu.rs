// SPDX-License-Identifier: GPL-2.0

//! The registers of a vCPU.

use kvm_bindings::{
    kvm_msr_entry, kvm_msrs, kvm_nested_state, kvm_one_reg, KVM_STATE_NESTED_FORMAT_SVM,
};

use super::{laid, machine, with, Made, Ready, Shape, Side, NESTED};
use crate::{
    failure::Failure,
    machine::{Machine, Stage},
    surface::Surface,
};

pub const SHAPES: &[Shape] = &[
    Shape {
        cves: NESTED,
        way: "efer-msr",
        surface: "kvm-vcpu",
        make: |side| {
            const SVME: u64 = 1 << 12;
            const SCE: u64 = 1;
            let forbidden = [(TSC, 0), (EFER, SVME)];
            set_msrs(&side.pick(forbidden, [(EFER, SCE), (TSC, SVME)]))
        },
    },
    Shape {
        cves: NESTED,
        way: "efer-one-reg",
        surface: "kvm-vcpu",
        make: |side| set_one_msr(side.pick(EFER, TSC)),
    },
    Shape {
        cves: NESTED,
        way: "nested-state",
        surface: "kvm-vcpu",
        make: nested_state,
    },
    Shape {
        cves: &["CVE-2022-2153"],
        way: "scontrol-msr",
        surface: "kvm-vcpu",
        make: |side| set_msrs(&[(TSC, 1), (SCONTROL, side.pick(1, 0))]),
    },
    Shape {
        cves: &["CVE-2022-2153"],
        way: "sint-msr",
        surface: "kvm-vcpu",
        make: |side| set_msrs(&[(TSC, 1), (SINT15, side.pick(0x20, 0))]),
    },
    Shape {
        cves: &["CVE-2022-2153"],
        way: "stimer-msr",
        surface: "kvm-vcpu",
        make: |side| set_msrs(&[(TSC, 1), (STIMER0_CONFIG, side.pick(1, 0))]),
    },
    Shape {
        cves: &["CVE-2022-2153"],
        way: "synic-one-reg",
        surface: "kvm-vcpu",
        make: |side| set_one_msr(side.pick(STIMER0_CONFIG, TSC)),
    },
    Shape {
        cves: &["CVE-2023-1513"],
        way: "get",
        surface: "kvm-vcpu",
        make: |side| {
            let command = side.pick("KVM_GET_DEBUGREGS", "KVM_GET_VCPU_EVENTS");
            let room = laid(|_| ())?;
            Ready::on(machine(Surface::Vcpu)?, Surface::Vcpu, command, room)
        },
    },
    Shape {
        cves: &["CVE-2026-23005"],
        way: "xsave",
        surface: "kvm-vcpu",
        make: xsave,
    },
];

// Of arch/x86/include/asm/msr-index.h and include/hyperv/hvgdk.h.
const TSC: u32 = 0x10;
const EFER: u32 = 0xc000_0080;
const SCONTROL: u32 = 0x4000_0080;
const SINT15: u32 = 0x4000_009f;
const STIMER0_CONFIG: u32 = 0x4000_00b0;

fn set_msrs(msrs: &[(u32, u64)]) -> Made {
    let argument = laid(|pages| {
        pages.put(0, msrs.len() as u32);
        for (at, (index, data)) in msrs.iter().enumerate() {
            let entry = kvm_msr_entry {
                index: *index,
                data: *data,
                ..Default::default()
            };
            pages.put(size_of::<kvm_msrs>() + at * size_of_val(&entry), entry);
        }
    })?;
    Ready::on(
        machine(Surface::Vcpu)?,
        Surface::Vcpu,
        "KVM_SET_MSRS",
        argument,
    )
}

/// An MSR by the other door, with 0 as its value.
fn set_one_msr(index: u32) -> Made {
    // KVM_X86_REG_MSR(index) of arch/x86/include/uapi/asm/kvm.h.
    const KVM_REG_X86: u64 = 0x2000_0000_0000_0000;
    const KVM_REG_SIZE_U64: u64 = 0x0030_0000_0000_0000;
    const KVM_X86_REG_TYPE_MSR: u64 = 2 << 32;
    let argument = laid(|pages| {
        let addr = pages.address() + 4096;
        let id = KVM_REG_X86 | KVM_REG_SIZE_U64 | KVM_X86_REG_TYPE_MSR | u64::from(index);
        pages.put(0, kvm_one_reg { id, addr });
    })?;
    Ready::on(
        machine(Surface::Vcpu)?,
        Surface::Vcpu,
        "KVM_SET_ONE_REG",
        argument,
    )
}

/// Writing the state of a nested guest, and reading it.
fn nested_state(side: Side) -> Made {
    let command = side.pick("KVM_SET_NESTED_STATE", "KVM_GET_NESTED_STATE");
    let argument = laid(|pages| {
        let format = KVM_STATE_NESTED_FORMAT_SVM as u16;
        pages.put(std::mem::offset_of!(kvm_nested_state, format), format);
        let size = (size_of::<kvm_nested_state>() + 4096) as u32;
        pages.put(std::mem::offset_of!(kvm_nested_state, size), size);
    })?;
    Ready::on(machine(Surface::Vcpu)?, Surface::Vcpu, command, argument)
}

/// The image that KVM_GET_XSAVE gives, with the tiles in use, and as it is.
fn xsave(side: Side) -> Made {
    /// Of XSTATE_BV, the eight bytes behind the 512 of FXSAVE.
    const XTILEDATA: u32 = 1 << 18;
    let machine = machine(Surface::Vcpu)?;
    let mut region = got_xsave(&machine).map_err(Failure::Unexpected)?;
    region[512 / size_of::<u32>()] |= side.pick(XTILEDATA, 0);
    let argument = with(region)?;
    Ready::on(machine, Surface::Vcpu, "KVM_SET_XSAVE", argument)
}

fn got_xsave(machine: &Machine) -> Stage<[u32; 1024]> {
    let vcpu = machine.vcpus.first().ok_or("there is no vCPU")?;
    let vcpu = vcpu.as_ref().map_err(String::clone)?;
    let xsave = vcpu.fd.get_xsave();
    xsave
        .map(|xsave| xsave.region)
        .map_err(|error| format!("KVM_GET_XSAVE: {error}"))
}
