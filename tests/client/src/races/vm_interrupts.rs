// SPDX-License-Identifier: GPL-2.0

//! Races on the interrupt controllers and timers of a virtual machine.

use std::{fs::File, io::Write, mem::offset_of, os::fd::AsRawFd};

use kvm_bindings::*;

use super::{
    track::{
        ask, either, laid, number, on_vcpu, on_vm, read_back, refused_with, step, with, Track,
        Used, Vm,
    },
    Made, Race, VCPU, VM,
};
use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    sys::{file, flip::Field, pages::Pages},
};

const LAST_IRR: usize = 8;
const IMR: usize = 10;
const LINE: u64 = 5;

pub const RACES: &[Race] = &[
    VM.race("KVM_IRQ_LINE", "level", "level == 1", || {
        irq_line("KVM_IRQ_LINE")
    }),
    VM.race("KVM_IRQ_LINE_STATUS", "level", "level == 1", || {
        irq_line("KVM_IRQ_LINE_STATUS")
    }),
    VM.slow_race("KVM_IRQFD", "gsi", "gsi == 6 and flags == 0", irqfd),
    VM.slow_race(
        "KVM_SET_GSI_ROUTING",
        "entries.gsi",
        "any entries (gsi == 6)",
        routing,
    ),
    VM.race(
        "KVM_SET_IRQCHIP",
        "chip.pic.imr",
        "chip_id == 0 and chip.pic.imr == 2",
        || {
            let vm = Vm::new(true)?;
            let getter = (vm.fd()?, number("KVM_GET_IRQCHIP")?);
            let pages = with(0_u32)?;
            step("KVM_GET_IRQCHIP", getter.0, getter.1, &pages)?;
            let seen = read_back(getter, with(0_u32)?, (IMR, 1), [1, 2]);
            on_vm(vm, "KVM_SET_IRQCHIP", (IMR, 1), [1, 2], pages, seen)
        },
    ),
    VM.race("KVM_GET_IRQCHIP", "chip_id", "chip_id == 9", || {
        let seen = refused_with(libc::EINVAL);
        on_vm(
            Vm::new(true)?,
            "KVM_GET_IRQCHIP",
            (0, 4),
            [0, 9],
            with(0_u32)?,
            seen,
        )
    }),
    VM.race(
        "KVM_SET_PIT",
        "channels.count",
        "any channels (count == 0x200)",
        || pit("KVM_SET_PIT", "KVM_GET_PIT"),
    ),
    VM.race(
        "KVM_SET_PIT2",
        "channels.count",
        "any channels (count == 0x200)",
        || pit("KVM_SET_PIT2", "KVM_GET_PIT2"),
    ),
    VM.race("KVM_SIGNAL_MSI", "data", "data == 0x30", msi),
    // The task priority.
    VCPU.race("KVM_SET_LAPIC", "regs", "regs[128] == 0x20", || {
        with_lapic("KVM_SET_LAPIC", "KVM_GET_LAPIC", (0x80, 1), [0x10, 0x20])
    }),
    VCPU.race(
        "KVM_SET_MP_STATE",
        "mp_state",
        "mp_state == KVM_MP_STATE_HALTED",
        || {
            let values = [KVM_MP_STATE_RUNNABLE.into(), KVM_MP_STATE_HALTED.into()];
            with_lapic("KVM_SET_MP_STATE", "KVM_GET_MP_STATE", (0, 4), values)
        },
    ),
    // A page that the guest does not have.
    VCPU.race(
        "KVM_SET_VAPIC_ADDR",
        "vapic_addr",
        "vapic_addr != 0",
        || {
            let (vm, values) = (Vm::with_vcpu(true)?, [0, 0x7f00_0000]);
            let seen = refused_with(libc::EINVAL);
            on_vcpu(vm, "KVM_SET_VAPIC_ADDR", (0, 8), values, with(0_u64)?, seen)
        },
    ),
];

/// To lower a line is legal, to raise it is not. The answer of one of the two commands comes back
/// in the place of the line's number, which is written anew each time.
fn irq_line(command: &str) -> Made {
    let vm = Vm::new(true)?;
    let getter = (vm.fd()?, number("KVM_GET_IRQCHIP")?);
    let pic = with(0_u32)?;
    let lines = Field::of(&pic, LAST_IRR, 1);
    let pages = with([LINE as u32, 0])?;
    let line = Field::of(&pages, 0, 4);
    let seen = move |answer| match (answer, ask(getter.0, getter.1, &pic)) {
        (Answer::Ok(_), Answer::Ok(_)) => either(lines.get() & (1 << LINE), [0, 1 << LINE]),
        (answer, got) => Used::Unclear(format!("{answer}, then {got}")),
    };
    let track = on_vm(vm, command, (4, 4), [0, 1], pages, seen)?;
    Ok(track.before(move || line.set(LINE)))
}

/// An eventfd that is written to raises its line, which waits in the PIC.
fn irqfd() -> Made {
    const IRR: usize = 9;
    let vm = Vm::new(true)?;
    let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
    let raise = file::duplicate(&eventfd).map_err(while_doing("eventfd"))?;
    let mut raise = File::from(raise);
    let irqfd = |gsi: u64, flags| {
        with(kvm_irqfd {
            fd: eventfd.as_raw_fd() as u32,
            gsi: gsi as u32,
            flags,
            ..Default::default()
        })
    };
    let call = (vm.fd()?, number("KVM_IRQFD")?);
    let away = [
        irqfd(LINE, KVM_IRQFD_FLAG_DEASSIGN)?,
        irqfd(6, KVM_IRQFD_FLAG_DEASSIGN)?,
    ];
    let (get, set) = (number("KVM_GET_IRQCHIP")?, number("KVM_SET_IRQCHIP")?);
    let (now, clean) = (with(0_u32)?, with(0_u32)?);
    step("KVM_GET_IRQCHIP", call.0, get, &clean)?;
    let lines = Field::of(&now, IRR, 1);
    let seen = move |answer| {
        let raised = raise.write(&1_u64.to_ne_bytes());
        // Waits until the line was raised; what is not there can be taken away as well.
        let gone = away.each_ref().map(|away| ask(call.0, call.1, away));
        let got = ask(call.0, get, &now);
        ask(call.0, set, &clean);
        match (answer, got) {
            (Answer::Ok(_), Answer::Ok(_)) if raised.is_ok() => {
                either(lines.get(), [1 << LINE, 1 << 6])
            }
            (answer, got) => Used::Unclear(format!("{answer}, then {gone:?} and {got}")),
        }
    };
    let (pages, place) = (irqfd(LINE, 0)?, (offset_of!(kvm_irqfd, gsi), 4));
    Ok(Track::new(
        (vm, eventfd),
        call,
        pages,
        place,
        [LINE, 6],
        seen,
    ))
}

/// A table of one route. A line without a route says so when it is lowered.
fn routing() -> Made {
    let vm = Vm::new(true)?;
    let asks = (vm.fd()?, number("KVM_IRQ_LINE_STATUS")?);
    let line = with([0_u32; 2])?;
    let status = Field::of(&line, 0, 4);
    let seen = move |answer| {
        status.set(6);
        match (answer, ask(asks.0, asks.1, &line)) {
            (Answer::Ok(_), Answer::Ok(_)) if status.get() == u32::MAX.into() => Used::Legal,
            (Answer::Ok(_), Answer::Ok(_)) => Used::Forbidden,
            (answer, lowered) => Used::Unclear(format!("{answer}, then {lowered}")),
        }
    };
    let pages = laid(|pages| {
        pages.put(0, 1_u32);
        let entry = kvm_irq_routing_entry {
            type_: KVM_IRQ_ROUTING_IRQCHIP,
            ..Default::default()
        };
        pages.put(size_of::<kvm_irq_routing>(), entry);
        // The first PIC's pin.
        pages.put(28, LINE as u32);
    })?;
    on_vm(vm, "KVM_SET_GSI_ROUTING", (8, 4), [LINE, 6], pages, seen)
}

/// The count of the third channel, which interrupts nobody.
fn pit(setter: &str, getter: &str) -> Made {
    let vm = Vm::new(true)?;
    let config = with(kvm_pit_config::default())?;
    step(
        "KVM_CREATE_PIT2",
        vm.fd()?,
        number("KVM_CREATE_PIT2")?,
        &config,
    )?;
    let getter = (vm.fd()?, number(getter)?);
    let pages = with(0_u32)?;
    step("the state of the timer", getter.0, getter.1, &pages)?;
    let (place, values) = ((2 * size_of::<kvm_pit_channel_state>(), 4), [0x100, 0x200]);
    let seen = read_back(getter, with(0_u32)?, place, values);
    on_vm(vm, setter, place, values, pages, seen)
}

/// What a command of the local APIC sets, and another reads.
fn with_lapic(setter: &str, getter: &str, place: (usize, usize), values: [u64; 2]) -> Made {
    let vm = Vm::with_vcpu(true)?;
    let getter = (vm.vcpu()?.as_raw_fd(), number(getter)?);
    let pages = with(0_u32)?;
    step("reading", getter.0, getter.1, &pages)?;
    let seen = read_back(getter, with(0_u32)?, place, values);
    on_vcpu(vm, setter, place, values, pages, seen)
}

/// An interrupt that the local APIC has got waits there, because nobody runs the guest.
fn msi() -> Made {
    const SPIV: usize = 0xf0;
    /// The request bits of vectors 0x20 to 0x3f.
    const IRR: usize = 0x210;
    let vm = Vm::with_vcpu(true)?;
    let fd = vm.vcpu()?.as_raw_fd();
    let (get, set) = (number("KVM_GET_LAPIC")?, number("KVM_SET_LAPIC")?);
    let mut clean = with(0_u32)?;
    step("KVM_GET_LAPIC", fd, get, &clean)?;
    clean.put(SPIV, 0x1ff_u32);
    step("KVM_SET_LAPIC", fd, set, &clean)?;
    let now = room()?;
    let requests = Field::of(&now, IRR, 4);
    let used = move |answer| match (answer, ask(fd, get, &now)) {
        (Answer::Ok(_), Answer::Ok(_)) => either(requests.get(), [1, 1 << 16]),
        (answer, got) => Used::Unclear(format!("{answer}, then {got}")),
    };
    let seen = move |answer| {
        let used = used(answer);
        ask(fd, set, &clean);
        used
    };
    let pages = with(kvm_msi {
        address_lo: 0xfee0_0000,
        ..Default::default()
    })?;
    let place = (offset_of!(kvm_msi, data), 4);
    on_vm(vm, "KVM_SIGNAL_MSI", place, [0x20, 0x30], pages, seen)
}

fn room() -> Result<Pages, Failure> {
    laid(|_| ())
}
