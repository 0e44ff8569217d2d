// SPDX-License-Identifier: GPL-2.0

//! Races on the devices of a virtual machine: zones, eventfds, Xen's attributes.

use std::{mem::offset_of, os::fd::AsRawFd};

use kvm_bindings::*;

use super::{
    track::{
        ask, either, laid, number, on_vm, read_back, refused_with, step, with, Track, Used, Vm,
    },
    Made, Race, VM,
};
use crate::{
    answer::Answer,
    failure::while_doing,
    sys::{file, flip::Field, pages::Pages},
};

pub const RACES: &[Race] = &[
    VM.slow_race("KVM_CREATE_DEVICE", "flags", "flags == 0", device_is_made),
    VM.race("KVM_CREATE_DEVICE", "type", "type == 1", || {
        let pages = with(kvm_create_device {
            type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
            flags: KVM_CREATE_DEVICE_TEST,
            ..Default::default()
        })?;
        let values = [kvm_device_type_KVM_DEV_TYPE_VFIO.into(), 1];
        let seen = refused_with(libc::ENODEV);
        on_vm(
            Vm::new(false)?,
            "KVM_CREATE_DEVICE",
            (0, 4),
            values,
            pages,
            seen,
        )
    }),
    VM.slow_race(
        "KVM_IOEVENTFD",
        "addr",
        "addr == 0x600 and flags == 2",
        ioeventfd,
    ),
    VM.slow_race(
        "KVM_HYPERV_EVENTFD",
        "conn_id",
        "conn_id == 2 and flags == 0",
        hyperv_eventfd,
    ),
    VM.slow_race(
        "KVM_REGISTER_COALESCED_MMIO",
        "pio",
        "pio == 2",
        coalesced_mmio,
    ),
    VM.race("KVM_UNREGISTER_COALESCED_MMIO", "pio", "pio == 2", || {
        let pages = with(kvm_coalesced_mmio_zone {
            size: 4096,
            ..Default::default()
        })?;
        let seen = refused_with(libc::EINVAL);
        on_vm(
            Vm::new(false)?,
            "KVM_UNREGISTER_COALESCED_MMIO",
            (12, 4),
            [0, 2],
            pages,
            seen,
        )
    }),
    VM.race("KVM_XEN_HVM_CONFIG", "flags", "flags == 0x8000", || {
        let pages = with(kvm_xen_hvm_config::default())?;
        let seen = refused_with(libc::EINVAL);
        on_vm(
            Vm::new(false)?,
            "KVM_XEN_HVM_CONFIG",
            (0, 4),
            [0, 0x8000],
            pages,
            seen,
        )
    }),
    VM.race(
        "KVM_XEN_HVM_SET_ATTR",
        "u.vector",
        "u.vector == 0x30",
        || {
            let vm = Vm::new(false)?;
            let attr = with(KVM_XEN_ATTR_TYPE_UPCALL_VECTOR as u16)?;
            let question = with(KVM_XEN_ATTR_TYPE_UPCALL_VECTOR as u16)?;
            let getter = (vm.fd()?, number("KVM_XEN_HVM_GET_ATTR")?);
            let seen = read_back(getter, question, (8, 1), [0x20, 0x30]);
            on_vm(vm, "KVM_XEN_HVM_SET_ATTR", (8, 1), [0x20, 0x30], attr, seen)
        },
    ),
    VM.race("KVM_XEN_HVM_GET_ATTR", "type", "type == 2", xen_attribute),
];

/// Legal is the question whether there is such a device; forbidden, to make it.
fn device_is_made() -> Made {
    let pages = with(kvm_create_device {
        type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
        ..Default::default()
    })?;
    let fd = Field::of(&pages, offset_of!(kvm_create_device, fd), 4);
    let nothing = u64::from(u32::MAX);
    let seen = move |answer| match (answer, fd.get()) {
        (Answer::Ok(_), fd) if fd == nothing => Used::Legal,
        (Answer::Ok(_), fd) => {
            // There can be one at a time.
            file::close_returned(fd as i64);
            Used::Forbidden
        }
        (refusal, _) => Used::Unclear(refusal.to_string()),
    };
    let place = (offset_of!(kvm_create_device, flags), 4);
    let values = [KVM_CREATE_DEVICE_TEST.into(), 0];
    let track = on_vm(
        Vm::new(false)?,
        "KVM_CREATE_DEVICE",
        place,
        values,
        pages,
        seen,
    )?;
    Ok(track.before(move || fd.set(nothing)))
}

/// Takes away what the call has registered: what can be taken away was there.
fn taken_away(call: (i32, u32), forbidden: Pages, legal: Pages) -> impl FnMut(Answer) -> Used {
    move |answer| match (
        answer,
        ask(call.0, call.1, &forbidden),
        ask(call.0, call.1, &legal),
    ) {
        (Answer::Ok(_), Answer::Errno(libc::ENOENT), Answer::Ok(_)) => Used::Legal,
        (Answer::Ok(_), Answer::Ok(_), Answer::Errno(libc::ENOENT)) => Used::Forbidden,
        (answer, one, other) => Used::Unclear(format!("{answer}, then {one} and {other}")),
    }
}

fn ioeventfd() -> Made {
    let vm = Vm::new(false)?;
    let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
    let pio = 1 << kvm_ioeventfd_flag_nr_pio;
    let zone = |addr, flags| {
        with(kvm_ioeventfd {
            addr,
            len: 2,
            fd: eventfd.as_raw_fd(),
            flags,
            ..Default::default()
        })
    };
    let call = (vm.fd()?, number("KVM_IOEVENTFD")?);
    let deassign = pio | (1 << kvm_ioeventfd_flag_nr_deassign);
    let seen = taken_away(call, zone(0x600, deassign)?, zone(0x500, deassign)?);
    let (pages, place) = (zone(0x500, pio)?, (offset_of!(kvm_ioeventfd, addr), 8));
    Ok(Track::new(
        (vm, eventfd),
        call,
        pages,
        place,
        [0x500, 0x600],
        seen,
    ))
}

fn hyperv_eventfd() -> Made {
    let vm = Vm::new(false)?;
    let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
    let port = |conn_id, flags| {
        with(kvm_hyperv_eventfd {
            conn_id,
            fd: eventfd.as_raw_fd(),
            flags,
            ..Default::default()
        })
    };
    let call = (vm.fd()?, number("KVM_HYPERV_EVENTFD")?);
    let seen = taken_away(
        call,
        port(2, KVM_HYPERV_EVENTFD_DEASSIGN)?,
        port(1, KVM_HYPERV_EVENTFD_DEASSIGN)?,
    );
    let pages = port(1, 0)?;
    Ok(Track::new((vm, eventfd), call, pages, (0, 4), [1, 2], seen))
}

/// Each zone is taken away again: a bus has room for a thousand.
fn coalesced_mmio() -> Made {
    let vm = Vm::new(false)?;
    let zone = |addr, pio| {
        let mut zone = kvm_coalesced_mmio_zone {
            addr,
            size: 4096,
            ..Default::default()
        };
        zone.__bindgen_anon_1.pio = pio;
        with(zone)
    };
    let (fd, unregister) = (vm.fd()?, number("KVM_UNREGISTER_COALESCED_MMIO")?);
    let (one, other) = (zone(0x30_0000, 0)?, zone(0x31_0000, 0)?);
    let seen = move |answer| {
        for zone in [&one, &other] {
            ask(fd, unregister, zone);
        }
        match answer {
            Answer::Ok(_) => Used::Legal,
            Answer::Errno(libc::EINVAL) => Used::Forbidden,
            refusal => Used::Unclear(refusal.to_string()),
        }
    };
    on_vm(
        vm,
        "KVM_REGISTER_COALESCED_MMIO",
        (12, 4),
        [0, 2],
        zone(0x30_0000, 0)?,
        seen,
    )
}

/// Two attributes that differ.
fn xen_attribute() -> Made {
    let vm = Vm::new(false)?;
    let vector = laid(|pages| {
        pages.put(0, KVM_XEN_ATTR_TYPE_UPCALL_VECTOR as u16);
        pages.put(8, 0x30_u8);
    })?;
    step(
        "the vector",
        vm.fd()?,
        number("KVM_XEN_HVM_SET_ATTR")?,
        &vector,
    )?;
    let pages = with(0_u64)?;
    let value = Field::of(&pages, 8, 1);
    let seen = move |answer| match answer {
        Answer::Ok(_) => either(value.get(), [0, 0x30]),
        refusal => Used::Unclear(refusal.to_string()),
    };
    let values = [
        KVM_XEN_ATTR_TYPE_LONG_MODE.into(),
        KVM_XEN_ATTR_TYPE_UPCALL_VECTOR.into(),
    ];
    on_vm(vm, "KVM_XEN_HVM_GET_ATTR", (0, 2), values, pages, seen)
}
