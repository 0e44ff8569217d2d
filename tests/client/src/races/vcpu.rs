// SPDX-License-Identifier: GPL-2.0

//! Races on a virtual CPU: what one command sets and another reads back.

use std::os::fd::AsRawFd;

use kvm_bindings::*;

use super::{
    track::{ask, either, laid, number, on_vcpu, read_back, step, with, Track, Used, Vm},
    Made, Race, VCPU,
};
use crate::{
    answer::Answer,
    failure::Failure,
    sys::{flip::Field, pages::Pages},
};

pub const SYSENTER_CS: u32 = 0x174;
pub const SYSENTER_ESP: u32 = 0x175;
const MC0_STATUS: u32 = 0x401;
const MCG_CAP: u32 = 0x179;
/// What the handler has before the race, in the struct that a getter fills.
const NOTHING: fn(&mut Pages) = |_| ();

pub const RACES: &[Race] = &[
    VCPU.race("KVM_SET_REGS", "rax", "rax == 0x2000", || {
        register(
            "KVM_SET_REGS",
            "KVM_GET_REGS",
            (0, 8),
            [0x1000, 0x2000],
            NOTHING,
        )
    }),
    VCPU.race("KVM_SET_SREGS", "cr2", "cr2 == 0x2000", || {
        register(
            "KVM_SET_SREGS",
            "KVM_GET_SREGS",
            (232, 8),
            [0x1000, 0x2000],
            NOTHING,
        )
    }),
    VCPU.race("KVM_SET_SREGS2", "cr2", "cr2 == 0x2000", || {
        register(
            "KVM_SET_SREGS2",
            "KVM_GET_SREGS2",
            (232, 8),
            [0x1000, 0x2000],
            NOTHING,
        )
    }),
    VCPU.race("KVM_SET_DEBUGREGS", "db", "db[1] == 0x2000", || {
        register(
            "KVM_SET_DEBUGREGS",
            "KVM_GET_DEBUGREGS",
            (8, 8),
            [0x1000, 0x2000],
            NOTHING,
        )
    }),
    VCPU.race("KVM_SET_FPU", "fcw", "fcw == 0x27f", || {
        register(
            "KVM_SET_FPU",
            "KVM_GET_FPU",
            (128, 2),
            [0x37f, 0x27f],
            NOTHING,
        )
    }),
    // The same control word; behind 512 bytes stands which parts there are.
    VCPU.race("KVM_SET_XSAVE", "region", "region[0] == 0x27f", || {
        let x87 = |pages: &mut Pages| pages.put(512, 3_u64);
        register(
            "KVM_SET_XSAVE",
            "KVM_GET_XSAVE",
            (0, 4),
            [0x37f, 0x27f],
            x87,
        )
    }),
    VCPU.race(
        "KVM_SET_XCRS",
        "xcrs.value",
        "any xcrs (value == 3)",
        || register("KVM_SET_XCRS", "KVM_GET_XCRS", (16, 8), [1, 3], NOTHING),
    ),
    VCPU.race(
        "KVM_SET_VCPU_EVENTS",
        "nmi.masked",
        "nmi.masked == 1",
        || {
            register(
                "KVM_SET_VCPU_EVENTS",
                "KVM_GET_VCPU_EVENTS",
                (14, 1),
                [0, 1],
                NOTHING,
            )
        },
    ),
    VCPU.race("KVM_INTERRUPT", "irq", "irq == 0x30", || {
        let vm = Vm::with_vcpu(false)?;
        let getter = (vm.vcpu()?.as_raw_fd(), number("KVM_GET_VCPU_EVENTS")?);
        let seen = read_back(getter, with(0_u32)?, (9, 1), [0x20, 0x30]);
        on_vcpu(
            vm,
            "KVM_INTERRUPT",
            (0, 4),
            [0x20, 0x30],
            with(0_u32)?,
            seen,
        )
    }),
    VCPU.race(
        "KVM_SET_CPUID",
        "entries.ebx",
        "any entries (ebx == 2)",
        || cpuid("KVM_SET_CPUID", 16),
    ),
    VCPU.race(
        "KVM_SET_CPUID2",
        "entries.ebx",
        "any entries (ebx == 2)",
        || cpuid("KVM_SET_CPUID2", 24),
    ),
    VCPU.race(
        "KVM_SET_MSRS",
        "entries.data",
        "any entries (index == 0x174 and data == 0x20)",
        || {
            let vm = Vm::with_vcpu(false)?;
            let seen = msr_is(&vm, SYSENTER_CS, u64::MAX, [0x10, 0x20])?;
            on_vcpu(
                vm,
                "KVM_SET_MSRS",
                (16, 8),
                [0x10, 0x20],
                msr(SYSENTER_CS, 0)?,
                seen,
            )
        },
    ),
    VCPU.race(
        "KVM_SET_MSRS",
        "nmsrs",
        "any entries (index == 0x175)",
        || {
            second_msr(
                |pages| pages.put(24, u64::from(SYSENTER_ESP)),
                (0, 4),
                [1, 2],
            )
        },
    ),
    VCPU.race(
        "KVM_SET_MSRS",
        "entries.index",
        "any entries (index == 0x175)",
        || {
            let cs_cs = |pages: &mut Pages| {
                pages.put(0, 2_u32);
                pages.put(24, u64::from(SYSENTER_CS));
            };
            second_msr(cs_cs, (24, 4), [SYSENTER_CS.into(), SYSENTER_ESP.into()])
        },
    ),
    VCPU.race("KVM_SET_ONE_REG", "id", "id == 0x2030000200000175", || {
        let vm = Vm::with_vcpu(false)?;
        let pages = laid(|pages| {
            pages.put(8, pages.address() + 4096);
            pages.put(4096, 0x77_u64);
        })?;
        let seen = untouched(&vm)?;
        let values = [SYSENTER_CS, SYSENTER_ESP].map(one_reg);
        on_vcpu(vm, "KVM_SET_ONE_REG", (0, 8), values, pages, seen)
    }),
    VCPU.race("KVM_X86_SETUP_MCE", "value", "value == 6", || {
        let vm = Vm::with_vcpu(false)?;
        let seen = msr_is(&vm, MCG_CAP, 0xff, [5, 6])?;
        on_vcpu(vm, "KVM_X86_SETUP_MCE", (0, 8), [5, 6], with(0_u64)?, seen)
    }),
    VCPU.race(
        "KVM_X86_SET_MCE",
        "status",
        "status == 0x8000000000000002",
        || {
            let vm = Vm::with_vcpu(false)?;
            step(
                "KVM_X86_SETUP_MCE",
                vm.vcpu()?.as_raw_fd(),
                number("KVM_X86_SETUP_MCE")?,
                &with(5_u64)?,
            )?;
            let seen = msr_is(&vm, MC0_STATUS, 0xff, [1, 2])?;
            let values = [(1 << 63) | 1, (1 << 63) | 2];
            on_vcpu(
                vm,
                "KVM_X86_SET_MCE",
                (0, 8),
                values,
                with([0_u64; 8])?,
                seen,
            )
        },
    ),
    VCPU.race(
        "KVM_XEN_VCPU_SET_ATTR",
        "u.vcpu_id",
        "type == 6 and u.vcpu_id == 5",
        || {
            let vm = Vm::with_vcpu(false)?;
            let id = KVM_XEN_VCPU_ATTR_TYPE_VCPU_ID as u16;
            let getter = (vm.vcpu()?.as_raw_fd(), number("KVM_XEN_VCPU_GET_ATTR")?);
            let seen = read_back(getter, with(id)?, (8, 4), [3, 5]);
            on_vcpu(vm, "KVM_XEN_VCPU_SET_ATTR", (8, 4), [3, 5], with(id)?, seen)
        },
    ),
    // Behind a pointer.
    VCPU.race(
        "KVM_SET_DEVICE_ATTR",
        "addr.tsc_offset",
        "group == KVM_VCPU_TSC_CTRL and addr.tsc_offset == 0x2000",
        || {
            let vm = Vm::with_vcpu(false)?;
            let attribute = || laid(|pages| pages.put(16, pages.address() + 4096));
            let getter = (vm.vcpu()?.as_raw_fd(), number("KVM_GET_DEVICE_ATTR")?);
            let (place, values) = ((4096, 8), [0x1000, 0x2000]);
            let seen = read_back(getter, attribute()?, place, values);
            on_vcpu(vm, "KVM_SET_DEVICE_ATTR", place, values, attribute()?, seen)
        },
    ),
];

/// A number at one place of the struct that `setter` takes and `getter` fills.
fn register(
    setter: &str,
    getter: &str,
    place: (usize, usize),
    values: [u64; 2],
    more: fn(&mut Pages),
) -> Made {
    let vm = Vm::with_vcpu(false)?;
    supported_cpuid(&vm)?;
    let getter = (vm.vcpu()?.as_raw_fd(), number(getter)?);
    let mut pages = with(0_u32)?;
    step("reading", getter.0, getter.1, &pages)?;
    more(&mut pages);
    let seen = read_back(getter, with(0_u32)?, place, values);
    on_vcpu(vm, setter, place, values, pages, seen)
}

/// Lets the guest have what the kernel can offer.
pub fn supported_cpuid(vm: &Vm) -> Result<(), Failure> {
    let pages = with(256_u32)?;
    let kvm = vm
        .machine
        .fd(crate::surface::Surface::Kvm, 0)
        .map_err(Failure::Unexpected)?;
    step(
        "KVM_GET_SUPPORTED_CPUID",
        kvm,
        number("KVM_GET_SUPPORTED_CPUID")?,
        &pages,
    )?;
    step(
        "KVM_SET_CPUID2",
        vm.vcpu()?.as_raw_fd(),
        number("KVM_SET_CPUID2")?,
        &pages,
    )?;
    Ok(())
}

/// One entry, with ebx at `offset`; what is read back has it at 24.
fn cpuid(setter: &str, offset: usize) -> Made {
    let vm = Vm::with_vcpu(false)?;
    let pages = with([1_u32, 0, 0x4000_0000])?;
    let getter = (vm.vcpu()?.as_raw_fd(), number("KVM_GET_CPUID2")?);
    let seen = read_back(getter, with(9_u32)?, (24, 4), [1, 2]);
    on_vcpu(vm, setter, (offset, 4), [1, 2], pages, seen)
}

/// The argument that sets or asks for one MSR.
pub fn msr(index: u32, data: u64) -> Result<Pages, Failure> {
    laid(|pages| {
        pages.put(0, 1_u32);
        pages.put(
            size_of::<kvm_msrs>(),
            kvm_msr_entry {
                index,
                data,
                ..Default::default()
            },
        );
    })
}

/// The call succeeds, and the bits of `mask` in an MSR then say which value was used.
fn msr_is(
    vm: &Vm,
    index: u32,
    mask: u64,
    values: [u64; 2],
) -> Result<impl FnMut(Answer) -> Used, Failure> {
    let (fd, get) = (vm.vcpu()?.as_raw_fd(), number("KVM_GET_MSRS")?);
    let question = msr(index, 0)?;
    let data = Field::of(&question, 16, 8);
    Ok(move |answer| match (answer, ask(fd, get, &question)) {
        (Answer::Ok(_), Answer::Ok(1)) => either(data.get() & mask, values),
        (answer, got) => Used::Unclear(format!("{answer}, then {got}")),
    })
}

/// The call succeeds, and SYSENTER_ESP is then still 0; if it is 0x77, it becomes 0 again, by the one
/// of two commands that this race has no rule about.
fn untouched(vm: &Vm) -> Result<impl FnMut(Answer) -> Used, Failure> {
    let (fd, one, many) = (
        vm.vcpu()?.as_raw_fd(),
        number("KVM_SET_ONE_REG")?,
        number("KVM_SET_MSRS")?,
    );
    let zero = laid(|pages| {
        pages.put(0, one_reg(SYSENTER_ESP));
        pages.put(8, pages.address() + 4096);
    })?;
    let clear = msr(SYSENTER_ESP, 0)?;
    let mut is = msr_is(vm, SYSENTER_ESP, u64::MAX, [0, 0x77])?;
    Ok(move |answer| {
        let used = is(answer);
        if used == Used::Forbidden {
            ask(fd, one, &zero);
            ask(fd, many, &clear);
        }
        used
    })
}

/// Two entries, of which one may not be SYSENTER_ESP.
fn second_msr(more: fn(&mut Pages), place: (usize, usize), values: [u64; 2]) -> Made {
    let vm = Vm::with_vcpu(false)?;
    let mut pages = msr(SYSENTER_CS, 0)?;
    more(&mut pages);
    pages.put(32, 0x77_u64);
    let seen = untouched(&vm)?;
    let call = (vm.vcpu()?.as_raw_fd(), number("KVM_SET_MSRS")?);
    Ok(Track::new(vm, call, pages, place, values, seen))
}

/// KVM_X86_REG_MSR().
pub fn one_reg(index: u32) -> u64 {
    const MSR: u64 = 2;
    KVM_REG_X86 | KVM_REG_SIZE_U64 | (MSR << 32) | u64::from(index)
}
