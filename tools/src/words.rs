// SPDX-License-Identifier: GPL-2.0

//! What the schema's types are called.

use portcullis_policy::schema::{Direction, Field, FieldKind, Judged, Len};
use portcullis_policy::Surface;

use crate::fields::is_of_numbers;

/// The type of a field, in one word: `u32`, `s64`, `pointer`, `u8[16]`, `array`.
pub(crate) fn kind(field: &Field) -> String {
    match field.kind {
        FieldKind::Value { width, signed } => {
            let letter = if signed { 's' } else { 'u' };
            format!("{letter}{}", u32::from(width) * 8)
        }
        FieldKind::Pointer { .. } => "pointer".to_string(),
        FieldKind::Array(array) => {
            let of = match array.fields {
                [only] if is_of_numbers(array) => kind(only),
                _ => "struct".to_string(),
            };
            match array.len {
                Len::Fixed(count) => format!("{of}[{count}]"),
                Len::Counted { .. } | Len::Rest { .. } => format!("{of}[]"),
            }
        }
    }
}

/// Its bytes: of an array, those of an element.
pub(crate) fn width(field: &Field) -> u32 {
    match field.kind {
        FieldKind::Value { width, .. } | FieldKind::Pointer { width } => u32::from(width),
        FieldKind::Array(array) => array.stride,
    }
}

/// Which way an argument goes, in one word.
pub(crate) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::InOut => "inout",
    }
}

/// What a verdict rests on.
pub(crate) fn judged(judged: Judged) -> String {
    let why = match judged {
        Judged::Command => "the handler reads no argument",
        Judged::Scalar => "the argument itself, which no other thread can change",
        Judged::Sealed => "the handler gets the bytes that were judged, whatever other threads do",
    };
    format!("{}: {why}", judged.name())
}

/// What a surface is.
pub(crate) fn surface(surface: Surface) -> &'static str {
    match surface {
        Surface::Kvm => "/dev/kvm",
        Surface::KvmVm => "a virtual machine, from KVM_CREATE_VM",
        Surface::KvmVcpu => "a virtual CPU, from KVM_CREATE_VCPU",
        Surface::KvmDevice => "a device inside a VM, from KVM_CREATE_DEVICE",
        Surface::VfioContainer => "/dev/vfio/vfio",
        Surface::VfioGroup => "/dev/vfio/GROUP",
        Surface::VfioDevice => "a device that is passed through, from VFIO_GROUP_GET_DEVICE_FD",
        Surface::Iommufd => "/dev/iommu",
        Surface::VhostNet => "/dev/vhost-net",
        Surface::VhostVsock => "/dev/vhost-vsock",
        Surface::VhostScsi => "/dev/vhost-scsi",
        Surface::VhostVdpa => "/dev/vhost-vdpa-N",
        Surface::Sev => "/dev/sev",
    }
}

/// A number as a policy writes it; larger ones with what people count in beside it.
pub(crate) fn number(value: u64) -> String {
    match value {
        0..=9 => format!("{value}"),
        10..=0xffff_ffff => format!("{value:#x} ({value})"),
        _ => format!("{value:#x}"),
    }
}

/// "a", "a or b", "a, b or c".
pub(crate) fn choice(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [before @ .., end] => format!("{} {last} {end}", before.join(", ")),
    }
}
