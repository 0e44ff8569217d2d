// SPDX-License-Identifier: GPL-2.0

//! Encrypted guests. The emulated processor has none: the kernel refuses what the policy lets by.

use kvm_bindings::*;

use super::{laid, machine, with, Made, Ready, Shape};
use crate::{argument::Argument, surface::Surface};

pub const SHAPES: &[Shape] = &[
    Shape {
        cves: &["CVE-2022-0171"],
        way: "create-sev",
        surface: "kvm",
        make: |side| create(side.pick(KVM_X86_SEV_VM, KVM_X86_DEFAULT_VM)),
    },
    Shape {
        cves: &["CVE-2022-0171"],
        way: "create-es",
        surface: "kvm",
        make: |side| create(side.pick(KVM_X86_SEV_ES_VM, KVM_X86_SW_PROTECTED_VM)),
    },
    Shape {
        cves: &["CVE-2022-0171"],
        way: "create-snp",
        surface: "kvm",
        make: |side| create(side.pick(KVM_X86_SNP_VM, KVM_X86_TDX_VM)),
    },
    Shape {
        cves: &["CVE-2022-0171"],
        way: "init",
        surface: "kvm-vm",
        make: |side| op(side.pick(sev_cmd_id_KVM_SEV_INIT, sev_cmd_id_KVM_SEV_LAUNCH_START)),
    },
    Shape {
        cves: &["CVE-2022-0171"],
        way: "es-init",
        surface: "kvm-vm",
        make: |side| op(side.pick(sev_cmd_id_KVM_SEV_ES_INIT, sev_cmd_id_KVM_SEV_LAUNCH_START)),
    },
    Shape {
        cves: &["CVE-2022-0171"],
        way: "init2",
        surface: "kvm-vm",
        make: |side| op(side.pick(sev_cmd_id_KVM_SEV_INIT2, sev_cmd_id_KVM_SEV_SEND_CANCEL)),
    },
    Shape {
        cves: &["CVE-2023-4155"],
        way: "create-es",
        surface: "kvm",
        make: |side| create(side.pick(KVM_X86_SEV_ES_VM, KVM_X86_SEV_VM)),
    },
    Shape {
        cves: &["CVE-2023-4155"],
        way: "create-snp",
        surface: "kvm",
        make: |side| create(side.pick(KVM_X86_SNP_VM, KVM_X86_DEFAULT_VM)),
    },
    Shape {
        cves: &["CVE-2023-4155"],
        way: "es-init",
        surface: "kvm-vm",
        make: |side| op(side.pick(sev_cmd_id_KVM_SEV_ES_INIT, sev_cmd_id_KVM_SEV_INIT)),
    },
    Shape {
        cves: &["CVE-2024-35791"],
        way: "unregister",
        surface: "kvm-vm",
        make: |side| {
            let command = side.pick(
                "KVM_MEMORY_ENCRYPT_UNREG_REGION",
                "KVM_MEMORY_ENCRYPT_REG_REGION",
            );
            let argument = laid(|pages| {
                let region = kvm_enc_region {
                    addr: pages.address(),
                    size: 4096,
                };
                pages.put(0, region);
            })?;
            Ready::on(machine(Surface::Vm)?, Surface::Vm, command, argument)
        },
    },
    Shape {
        cves: &["CVE-2024-35791", "CVE-2025-38455"],
        way: "move",
        surface: "kvm-vm",
        make: |side| {
            let mut cap = kvm_enable_cap {
                cap: side.pick(
                    KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM,
                    KVM_CAP_VM_COPY_ENC_CONTEXT_FROM,
                ),
                ..Default::default()
            };
            // From no file at all.
            cap.args[0] = u32::MAX.into();
            Ready::on(
                machine(Surface::Vm)?,
                Surface::Vm,
                "KVM_ENABLE_CAP",
                with(cap)?,
            )
        },
    },
];

fn create(kind: u32) -> Made {
    Ready::on(
        machine(Surface::Kvm)?,
        Surface::Kvm,
        "KVM_CREATE_VM",
        Argument::number(kind.into()),
    )
}

fn op(id: u32) -> Made {
    let command = kvm_sev_cmd {
        id,
        ..Default::default()
    };
    Ready::on(
        machine(Surface::Vm)?,
        Surface::Vm,
        "KVM_MEMORY_ENCRYPT_OP",
        with(command)?,
    )
}
