// SPDX-License-Identifier: GPL-2.0

//! Explaining a part of what a VM has done.

use std::io::{self, Write};

use portcullis_policy::state::{Like, Scope, StateField};
use portcullis_policy::Surface;

use super::{aspect, example, title};
use crate::words;

/// Explains it: its values, the surfaces whose calls have it, and a rule to start from.
pub(super) fn describe(out: &mut dyn Write, field: &'static StateField) -> io::Result<()> {
    title(out, field.name, "what a VM has done, or who of it calls")?;
    let (values, condition) = match field.like {
        Like::Number => ("a number".to_string(), format!("{} > 4", field.name)),
        Like::Flag => (
            "1 where it is so, and 0 where not".to_string(),
            format!("{} == 1", field.name),
        ),
        Like::Word(all) => {
            let quoted: Vec<String> = all.iter().map(|word| format!("`{word}`")).collect();
            let first = all.first().copied().unwrap_or_default();
            (
                words::choice(&quoted, "or"),
                format!("{} == {first}", field.name),
            )
        }
        Like::Type => (
            "a kind of VM, such as KVM_X86_DEFAULT_VM".to_string(),
            format!("{} != KVM_X86_DEFAULT_VM", field.name),
        ),
        Like::Caps => (
            "1 for a capability that was enabled, and 0 for others".to_string(),
            format!("{}(KVM_CAP_SPLIT_IRQCHIP) == 1", field.name),
        ),
        Like::Dids => (
            "1 for a command or a variant of one that has succeeded on the VM, and 0 for others"
                .to_string(),
            format!("{}(KVM_CREATE_IRQCHIP) == 1", field.name),
        ),
    };
    aspect(out, "values", &values)?;
    let surfaces = Surface::ALL.into_iter();
    let surfaces = surfaces.filter(|surface| field.scope.has(*surface));
    let names: Vec<&str> = surfaces.map(Surface::name).collect();
    match names.len() == Surface::ALL.len() {
        true => aspect(out, "calls on", "every surface")?,
        false => aspect(out, "calls on", &names.join(", "))?,
    }
    let call = match field.scope {
        Scope::Slot => "kvm-vm KVM_SET_USER_MEMORY_REGION",
        Scope::Profile => "kvm KVM_CREATE_VM",
        Scope::Dma => "vfio-container VFIO_IOMMU_MAP_DMA",
        Scope::Vm | Scope::Vcpu | Scope::All => "kvm-vcpu KVM_RUN",
    };
    example(out, &format!("deny {call} if {condition}"))
}
