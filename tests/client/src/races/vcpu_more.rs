// SPDX-License-Identifier: GPL-2.0

//! Races on a virtual CPU and on /dev/kvm where the handler's own answer tells, and those of
//! commands that answer in their argument.

use std::{mem::offset_of, os::fd::AsRawFd};

use kvm_bindings::*;

use super::{
    track::{
        ask, by_answer, either, laid, number, on_vcpu, refused_with, step, with, Track, Used, Vm,
    },
    vcpu::{msr, one_reg, supported_cpuid, SYSENTER_CS, SYSENTER_ESP},
    Made, On, Race, KVM, VCPU,
};
use crate::{
    answer::{Answer, Kind},
    failure::{while_doing, Failure},
    surface::Surface,
    sys::{file, flip::Field, pages::Pages},
};

const DEVICE: On = On("kvm-device");

pub const RACES: &[Race] = &[
    VCPU.race(
        "KVM_GET_MSRS",
        "entries.index",
        "any entries (index == 0x175)",
        || {
            let vm = Vm::with_vcpu(false)?;
            two_msrs(&vm)?;
            let pages = msr(SYSENTER_CS, 0)?;
            let seen = answered(&pages, 16, [0x11, 0x22]);
            on_vcpu(
                vm,
                "KVM_GET_MSRS",
                (8, 4),
                [SYSENTER_CS, SYSENTER_ESP].map(u64::from),
                pages,
                seen,
            )
        },
    ),
    VCPU.race("KVM_GET_ONE_REG", "id", "id == 0x2030000200000175", || {
        let vm = Vm::with_vcpu(false)?;
        two_msrs(&vm)?;
        let pages = laid(|pages| pages.put(8, pages.address() + 4096))?;
        let seen = answered(&pages, 4096, [0x11, 0x22]);
        let values = [SYSENTER_CS, SYSENTER_ESP].map(one_reg);
        on_vcpu(vm, "KVM_GET_ONE_REG", (0, 8), values, pages, seen)
    }),
    VCPU.race(
        "KVM_TRANSLATE",
        "linear_address",
        "linear_address == 0x2000",
        || {
            let pages = with(kvm_translation::default())?;
            let seen = answered(
                &pages,
                offset_of!(kvm_translation, physical_address),
                [0x1000, 0x2000],
            );
            let vm = Vm::with_vcpu(false)?;
            on_vcpu(vm, "KVM_TRANSLATE", (0, 8), [0x1000, 0x2000], pages, seen)
        },
    ),
    VCPU.race("KVM_TPR_ACCESS_REPORTING", "flags", "flags == 1", || {
        let seen = refused_with(libc::EINVAL);
        let vm = Vm::with_vcpu(false)?;
        on_vcpu(
            vm,
            "KVM_TPR_ACCESS_REPORTING",
            (4, 4),
            [0, 1],
            with([0_u32; 10])?,
            seen,
        )
    }),
    VCPU.race("KVM_GET_CPUID2", "nent", "nent == 0", || {
        let vm = Vm::with_vcpu(false)?;
        supported_cpuid(&vm)?;
        let seen = refused_with(libc::E2BIG);
        on_vcpu(vm, "KVM_GET_CPUID2", (0, 4), [200, 0], with(0_u32)?, seen)
    }),
    VCPU.race(
        "KVM_SET_GUEST_DEBUG",
        "control",
        "control == 0x80001",
        debug,
    ),
    VCPU.race("KVM_SET_SIGNAL_MASK", "len", "len == 4", || {
        let (vm, seen) = (Vm::with_vcpu(false)?, refused_with(libc::EINVAL));
        on_vcpu(
            vm,
            "KVM_SET_SIGNAL_MASK",
            (0, 4),
            [8, 4],
            with([8_u32, 0, 0])?,
            seen,
        )
    }),
    VCPU.race("KVM_SET_NESTED_STATE", "format", "format == 0", || {
        let vm = Vm::with_vcpu(false)?;
        let pages = with([0_u32, 128 + 4096])?;
        step(
            "KVM_GET_NESTED_STATE",
            vm.vcpu()?.as_raw_fd(),
            number("KVM_GET_NESTED_STATE")?,
            &pages,
        )?;
        let seen = refused_with(libc::EINVAL);
        on_vcpu(vm, "KVM_SET_NESTED_STATE", (2, 2), [1, 0], pages, seen)
    }),
    VCPU.race("KVM_HAS_DEVICE_ATTR", "attr", "attr == 1", || {
        let (vm, seen) = (Vm::with_vcpu(false)?, refused_with(libc::ENXIO));
        on_vcpu(
            vm,
            "KVM_HAS_DEVICE_ATTR",
            (8, 8),
            [0, 1],
            with([0_u64; 3])?,
            seen,
        )
    }),
    VCPU.race("KVM_GET_DEVICE_ATTR", "attr", "attr == 1", || {
        let pages = laid(|pages| pages.put(16, pages.address() + 4096))?;
        let (vm, seen) = (Vm::with_vcpu(false)?, refused_with(libc::ENXIO));
        on_vcpu(vm, "KVM_GET_DEVICE_ATTR", (8, 8), [0, 1], pages, seen)
    }),
    VCPU.race("KVM_PRE_FAULT_MEMORY", "flags", "flags == 1", || {
        let pages = with(kvm_pre_fault_memory::default())?;
        let (start, size) = (Field::of(&pages, 0, 8), Field::of(&pages, 8, 8));
        let (vm, seen) = (Vm::with_vcpu(true)?, refused_with(libc::EINVAL));
        let track = on_vcpu(vm, "KVM_PRE_FAULT_MEMORY", (16, 8), [0, 1], pages, seen)?;
        // The handler writes how far it came.
        Ok(track.before(move || {
            start.set(0);
            size.set(4096);
        }))
    }),
    // Behind a pointer: a file that is none of vfio's, and one that is not there.
    DEVICE.race(
        "KVM_SET_DEVICE_ATTR",
        "addr.fd",
        "group == KVM_DEV_VFIO_FILE and addr.fd > 255",
        device_file,
    ),
    KVM.race("KVM_GET_SUPPORTED_CPUID", "nent", "nent == 1", || {
        on_kvm("KVM_GET_SUPPORTED_CPUID", [0x101, 1])
    }),
    KVM.race("KVM_GET_MSR_INDEX_LIST", "nmsrs", "nmsrs == 1", || {
        on_kvm("KVM_GET_MSR_INDEX_LIST", [0x1001, 1])
    }),
    KVM.race(
        "KVM_GET_MSR_FEATURE_INDEX_LIST",
        "nmsrs",
        "nmsrs == 1",
        || on_kvm("KVM_GET_MSR_FEATURE_INDEX_LIST", [0x1001, 1]),
    ),
];

/// SYSENTER_CS is 0x11 and SYSENTER_ESP 0x22.
fn two_msrs(vm: &Vm) -> Result<(), Failure> {
    for (index, data) in [(SYSENTER_CS, 0x11), (SYSENTER_ESP, 0x22)] {
        let pages = msr(index, data)?;
        step(
            "KVM_SET_MSRS",
            vm.vcpu()?.as_raw_fd(),
            number("KVM_SET_MSRS")?,
            &pages,
        )?;
    }
    Ok(())
}

/// The handler answers in the argument itself, 8 bytes at `offset`.
fn answered(pages: &Pages, offset: usize, values: [u64; 2]) -> impl FnMut(Answer) -> Used {
    let place = Field::of(pages, offset, 8);
    move |answer| match answer {
        Answer::Ok(_) => either(place.get(), values),
        refusal => Used::Unclear(refusal.to_string()),
    }
}

/// Where an exception is injected already, the handler has no place for the debugger's.
fn debug() -> Made {
    const INJECT_BP: u32 = 0x8_0000;
    let vm = Vm::with_vcpu(false)?;
    let mut events = kvm_vcpu_events::default();
    (events.exception.injected, events.exception.nr) = (1, 3);
    let vcpu = vm.vcpu()?.as_raw_fd();
    step(
        "KVM_SET_VCPU_EVENTS",
        vcpu,
        number("KVM_SET_VCPU_EVENTS")?,
        &with(events)?,
    )?;
    let values = [KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_ENABLE | INJECT_BP].map(u64::from);
    let pages = with(kvm_guest_debug::default())?;
    on_vcpu(
        vm,
        "KVM_SET_GUEST_DEBUG",
        (0, 4),
        values,
        pages,
        refused_with(libc::EBUSY),
    )
}

fn device_file() -> Made {
    let vm = Vm::new(false)?;
    let mut wanted = kvm_create_device {
        type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
        ..Default::default()
    };
    let fd = vm
        .machine
        .vm
        .as_ref()
        .map_err(|reason| Failure::Unexpected(reason.clone()))?;
    let device = fd
        .create_device(&mut wanted)
        .map_err(|error| Failure::Unexpected(format!("KVM_CREATE_DEVICE: {error}")))?;
    let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
    let pages = laid(|pages| {
        let attribute = kvm_device_attr {
            group: KVM_DEV_VFIO_FILE,
            attr: KVM_DEV_VFIO_FILE_ADD.into(),
            addr: pages.address() + 4096,
            ..Default::default()
        };
        pages.put(0, attribute);
    })?;
    let call = (device.as_raw_fd(), number("KVM_SET_DEVICE_ATTR")?);
    let seen = by_answer(Kind::Errno(libc::EINVAL), Kind::Errno(libc::EBADF));
    let fd = eventfd.as_raw_fd() as u64;
    let values = [fd, fd | 0x300];
    Ok(Track::new(
        (vm, device, eventfd),
        call,
        pages,
        (4096, 4),
        values,
        seen,
    ))
}

/// A list that is asked for with enough room, or with too little.
fn on_kvm(command: &str, values: [u64; 2]) -> Made {
    let vm = Vm::new(false)?;
    let fd = vm
        .machine
        .fd(Surface::Kvm, 0)
        .map_err(Failure::Unexpected)?;
    let pages = with(0_u32)?;
    // What it says must be more than what it is forbidden to offer.
    if ask(fd, number(command)?, &pages) != Answer::Errno(libc::E2BIG) {
        return Err(Failure::Unexpected(format!(
            "{command} has nothing to list"
        )));
    }
    Ok(Track::new(
        vm,
        (fd, number(command)?),
        pages,
        (0, 4),
        values,
        refused_with(libc::E2BIG),
    ))
}
