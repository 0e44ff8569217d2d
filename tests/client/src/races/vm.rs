// SPDX-License-Identifier: GPL-2.0

//! Races on a virtual machine: its memory, clock and filters.

use std::{fs::File, mem::offset_of};

use kvm_bindings::*;

use super::{
    track::{ask, either, laid, number, on_vm, refused_with, step, with, Used, Vm},
    Made, Race, VM,
};
use crate::{
    answer::Answer,
    failure::Failure,
    sys::{file, flip::Field, pages::Pages},
};

pub const RACES: &[Race] = &[
    VM.slow_race(
        "KVM_SET_USER_MEMORY_REGION",
        "flags",
        "slot == 1 and flags != 0",
        || memory_region("KVM_SET_USER_MEMORY_REGION"),
    ),
    VM.slow_race(
        "KVM_SET_USER_MEMORY_REGION2",
        "flags",
        "slot == 1 and flags != 0",
        || memory_region("KVM_SET_USER_MEMORY_REGION2"),
    ),
    VM.race("KVM_GET_DIRTY_LOG", "slot", "slot == 3", || {
        let pages = dirty_log(0)?;
        let seen = refused_with(libc::ENOENT);
        on_vm(
            Vm::new(false)?,
            "KVM_GET_DIRTY_LOG",
            (0, 4),
            [0, 3],
            pages,
            seen,
        )
    }),
    VM.race(
        "KVM_CLEAR_DIRTY_LOG",
        "first_page",
        "first_page == 1",
        || {
            let pages = laid(|pages| {
                let mut log = kvm_clear_dirty_log {
                    num_pages: 256,
                    ..Default::default()
                };
                log.__bindgen_anon_1.padding2 = pages.address() + 4096;
                pages.put(0, log);
            })?;
            let place = (offset_of!(kvm_clear_dirty_log, first_page), 8);
            let seen = refused_with(libc::EINVAL);
            on_vm(
                Vm::new(false)?,
                "KVM_CLEAR_DIRTY_LOG",
                place,
                [0, 1],
                pages,
                seen,
            )
        },
    ),
    VM.race(
        "KVM_SET_CLOCK",
        "clock",
        "clock > 0x0400000000000000",
        clock,
    ),
    VM.race("KVM_CREATE_GUEST_MEMFD", "size", "size == 0x20000", || {
        let seen = |answer| match answer {
            Answer::Ok(fd) => {
                let length = file::owned(fd).and_then(|fd| File::from(fd).metadata().ok());
                either(length.map_or(0, |file| file.len()), [0x10000, 0x20000])
            }
            refusal => Used::Unclear(refusal.to_string()),
        };
        let pages = with(kvm_create_guest_memfd::default())?;
        let values = [0x10000, 0x20000];
        on_vm(
            Vm::new(false)?,
            "KVM_CREATE_GUEST_MEMFD",
            (0, 8),
            values,
            pages,
            seen,
        )
    }),
    // A mask of reasons; no kernel knows the highest.
    VM.race(
        "KVM_ENABLE_CAP",
        "args",
        "args[0] == 0x8000000000000000",
        || {
            let pages = with(kvm_enable_cap {
                cap: KVM_CAP_X86_USER_SPACE_MSR,
                ..Default::default()
            })?;
            let place = (offset_of!(kvm_enable_cap, args), 8);
            let seen = refused_with(libc::EINVAL);
            on_vm(
                Vm::new(false)?,
                "KVM_ENABLE_CAP",
                place,
                [0, 1 << 63],
                pages,
                seen,
            )
        },
    ),
    VM.slow_race("KVM_SET_PMU_EVENT_FILTER", "action", "action == 2", || {
        let pages = with(0_u32)?;
        let seen = refused_with(libc::EINVAL);
        on_vm(
            Vm::new(false)?,
            "KVM_SET_PMU_EVENT_FILTER",
            (0, 4),
            [0, 2],
            pages,
            seen,
        )
    }),
    // The second range of sixteen, which the handler looks at one by one.
    VM.slow_race(
        "KVM_X86_SET_MSR_FILTER",
        "ranges.flags",
        "any ranges (flags == 4)",
        || {
            let pages = laid(|pages| {
                let bitmap = pages.address() + 4096;
                for start in [8, 32] {
                    pages.put(start, [KVM_MSR_FILTER_READ, 8, 0x174]);
                    pages.put(start + 16, bitmap);
                }
            })?;
            let seen = refused_with(libc::EINVAL);
            on_vm(
                Vm::new(false)?,
                "KVM_X86_SET_MSR_FILTER",
                (32, 4),
                [1, 4],
                pages,
                seen,
            )
        },
    ),
];

/// A second slot, whose log of dirty pages is forbidden: a slot that has one can be asked for it.
fn memory_region(command: &str) -> Made {
    let vm = Vm::new(false)?;
    let memory = &vm.machine.second_memory;
    let pages = with(kvm_userspace_memory_region2 {
        slot: 1,
        flags: 0,
        guest_phys_addr: 0x20_0000,
        memory_size: memory.size_bytes(),
        userspace_addr: memory.address(),
        ..Default::default()
    })?;
    step("the second slot", vm.fd()?, number(command)?, &pages)?;
    let question = dirty_log(1)?;
    let getter = (vm.fd()?, number("KVM_GET_DIRTY_LOG")?);
    let seen = move |answer| match (answer, ask(getter.0, getter.1, &question)) {
        (Answer::Ok(_), Answer::Errno(libc::ENOENT)) => Used::Legal,
        (Answer::Ok(_), Answer::Ok(_)) => Used::Forbidden,
        (answer, log) => Used::Unclear(format!("{answer}, then {log}")),
    };
    on_vm(
        vm,
        command,
        (4, 4),
        [0, KVM_MEM_LOG_DIRTY_PAGES.into()],
        pages,
        seen,
    )
}

fn dirty_log(slot: u32) -> Result<Pages, Failure> {
    laid(|pages| {
        let mut log = kvm_dirty_log {
            slot,
            ..Default::default()
        };
        log.__bindgen_anon_1.padding2 = pages.address() + 4096;
        pages.put(0, log);
    })
}

/// The clock goes on, so it is told which of the two it began from.
fn clock() -> Made {
    const EARLY: u64 = 1_000_000_000;
    const LATE: u64 = EARLY | (1 << 59);
    let vm = Vm::new(false)?;
    let getter = (vm.fd()?, number("KVM_GET_CLOCK")?);
    let now = with(kvm_clock_data::default())?;
    let clock = Field::of(&now, 0, 8);
    let seen = move |answer| match (answer, ask(getter.0, getter.1, &now)) {
        (Answer::Ok(_), Answer::Ok(_)) if clock.get() < LATE / 2 => Used::Legal,
        (Answer::Ok(_), Answer::Ok(_)) => Used::Forbidden,
        (answer, got) => Used::Unclear(format!("{answer}, then {got}")),
    };
    let pages = with(kvm_clock_data::default())?;
    on_vm(vm, "KVM_SET_CLOCK", (0, 8), [EARLY, LATE], pages, seen)
}
