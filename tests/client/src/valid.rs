// SPDX-License-Identifier: GPL-2.0

//! Arguments that a handler accepts, for the commands that have a natural one.
//!
//! The structs come from kvm-bindings. Those with a pointer in them look the same to a 32-bit
//! caller as long as it lies below 4 GiB, which all memory here does.

use std::os::fd::{AsRawFd, RawFd};

use kvm_bindings::*;

use crate::{
    answer::Answer,
    argument::{Argument, ZEROED_BYTES},
    call::Call,
    command::Command,
    guest,
    machine::{Machine, Stage},
    sys::{file, ioctl, pages::Pages},
};

/// Where the memory of the second slot lies in the guest.
const SECOND_SLOT_START: u64 = 0x20_0000;

/// A valid argument for `call`, which goes to `fd`.
pub fn argument(call: &Call, machine: &Machine, fd: RawFd) -> Stage<Argument> {
    if let Some(getter) = getter(&call.command) {
        return got(getter, fd, nothing);
    }
    // The number leads, so that a command given as 0xNUMBER has the same argument.
    match name(&call.command) {
        "KVM_CREATE_VM" | "KVM_RUN" | "KVM_SET_BOOT_CPU_ID" => Ok(Argument::number(0)),
        "KVM_CHECK_EXTENSION" => Ok(Argument::number(KVM_CAP_NR_VCPUS.into())),
        "KVM_CREATE_VCPU" => Ok(Argument::number(machine.next_vcpu())),
        // Three pages just under 4 GiB, where QEMU has them, and one below.
        "KVM_SET_TSS_ADDR" => Ok(Argument::number(0xfffb_d000)),
        "KVM_SET_IDENTITY_MAP_ADDR" => with(0xfffb_c000_u64),
        "KVM_SET_NR_MMU_PAGES" => Ok(Argument::number(1024)),
        "KVM_SET_TSC_KHZ" => Ok(Argument::number(0)),
        "KVM_GET_SUPPORTED_CPUID"
        | "KVM_GET_EMULATED_CPUID"
        | "KVM_GET_SUPPORTED_HV_CPUID"
        | "KVM_GET_CPUID2" => with(256_u32),
        "KVM_GET_MSR_INDEX_LIST" | "KVM_GET_MSR_FEATURE_INDEX_LIST" => with(4096_u32),
        "KVM_GET_MSRS" | "KVM_SET_MSRS" => one_msr(call),
        "KVM_SET_CPUID2" => {
            let kvm = machine.kvm.as_ref().map_err(String::clone)?;
            got("KVM_GET_SUPPORTED_CPUID", kvm.as_raw_fd(), |pages| {
                pages.put(0, 256_u32)
            })
        }
        "KVM_GET_NESTED_STATE" => {
            let mut pages = room()?;
            pages.put(0, nested_state_room());
            Ok(Argument::from_pages(pages))
        }
        "KVM_SET_NESTED_STATE" => got("KVM_GET_NESTED_STATE", fd, |pages| {
            pages.put(0, nested_state_room())
        }),
        "KVM_SET_USER_MEMORY_REGION" => with(second_slot(machine)),
        "KVM_SET_USER_MEMORY_REGION2" => {
            let slot = second_slot(machine);
            with(kvm_userspace_memory_region2 {
                slot: slot.slot,
                guest_phys_addr: slot.guest_phys_addr,
                memory_size: slot.memory_size,
                userspace_addr: slot.userspace_addr,
                ..Default::default()
            })
        }
        "KVM_GET_DIRTY_LOG" => dirty_log(0, |bitmap| {
            let mut log = kvm_dirty_log::default();
            log.__bindgen_anon_1.padding2 = bitmap;
            log
        }),
        "KVM_CLEAR_DIRTY_LOG" => dirty_log(0, |bitmap| {
            let mut log = kvm_clear_dirty_log {
                num_pages: (guest::MEMORY_BYTES / guest::PAGE_BYTES) as u32,
                ..Default::default()
            };
            log.__bindgen_anon_1.padding2 = bitmap;
            log
        }),
        "KVM_IRQ_LINE"
        | "KVM_IRQ_LINE_STATUS"
        | "KVM_CREATE_PIT2"
        | "KVM_X86_SET_MSR_FILTER"
        | "KVM_X86_SET_MSR_FILTER_COMPAT"
        | "KVM_SET_PMU_EVENT_FILTER"
        | "KVM_TRANSLATE"
        | "KVM_SET_GUEST_DEBUG" => with(0_u32),
        "KVM_IRQFD" => with_eventfd(|fd| kvm_irqfd {
            fd,
            gsi: 5,
            ..Default::default()
        }),
        "KVM_IOEVENTFD" => with_eventfd(|fd| kvm_ioeventfd {
            addr: 0x500,
            len: 2,
            fd: fd as i32,
            flags: 1 << kvm_ioeventfd_flag_nr_pio,
            ..Default::default()
        }),
        "KVM_SET_GSI_ROUTING" => msi_route(),
        "KVM_SIGNAL_MSI" => with(kvm_msi {
            address_lo: 0xfee0_0000,
            data: 0x20,
            ..Default::default()
        }),
        "KVM_CREATE_DEVICE" => with(kvm_create_device {
            type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
            flags: KVM_CREATE_DEVICE_TEST,
            ..Default::default()
        }),
        "KVM_HAS_DEVICE_ATTR" => has_attribute(call),
        // Its argument 0 asks for nothing, which any kernel grants.
        "KVM_ENABLE_CAP" => with(kvm_enable_cap {
            cap: KVM_CAP_X86_USER_SPACE_MSR,
            ..Default::default()
        }),
        "KVM_SET_CLOCK" => with(kvm_clock_data {
            clock: 1_000_000_000,
            ..Default::default()
        }),
        "KVM_REGISTER_COALESCED_MMIO" | "KVM_UNREGISTER_COALESCED_MMIO" => {
            let mut zone = kvm_coalesced_mmio_zone {
                addr: 0x30_0000,
                size: 4096,
                ..Default::default()
            };
            zone.__bindgen_anon_1.pad = 0;
            with(zone)
        }
        "KVM_CREATE_GUEST_MEMFD" => with(kvm_create_guest_memfd {
            size: 64 * 1024,
            ..Default::default()
        }),
        "KVM_PRE_FAULT_MEMORY" => with(kvm_pre_fault_memory {
            size: guest::PAGE_BYTES as u64,
            ..Default::default()
        }),
        // The length in bytes of a signal set, and an empty one behind it.
        "KVM_SET_SIGNAL_MASK" => with([8_u32, 0, 0]),
        "KVM_INTERRUPT" => with(0x20_u32),
        "KVM_X86_SETUP_MCE" => with(1_u64),
        // Their argument is nothing, or room for the answer.
        name if !call.command.takes_pointer() || name.starts_with("KVM_GET_") => {
            call.default_argument()
        }
        _ => Err(format!("no valid argument is known for {}", call.command)),
    }
}

/// The command that reads what `setter` writes, where writing it back is always legal.
fn getter(setter: &Command) -> Option<&'static str> {
    const PAIRS: [(&str, &str); 13] = [
        ("KVM_SET_REGS", "KVM_GET_REGS"),
        ("KVM_SET_SREGS", "KVM_GET_SREGS"),
        ("KVM_SET_SREGS2", "KVM_GET_SREGS2"),
        ("KVM_SET_FPU", "KVM_GET_FPU"),
        ("KVM_SET_LAPIC", "KVM_GET_LAPIC"),
        ("KVM_SET_MP_STATE", "KVM_GET_MP_STATE"),
        ("KVM_SET_VCPU_EVENTS", "KVM_GET_VCPU_EVENTS"),
        ("KVM_SET_DEBUGREGS", "KVM_GET_DEBUGREGS"),
        ("KVM_SET_XSAVE", "KVM_GET_XSAVE"),
        ("KVM_SET_XCRS", "KVM_GET_XCRS"),
        ("KVM_SET_IRQCHIP", "KVM_GET_IRQCHIP"),
        ("KVM_SET_PIT", "KVM_GET_PIT"),
        ("KVM_SET_PIT2", "KVM_GET_PIT2"),
    ];
    PAIRS
        .iter()
        .find(|(name, _)| setter.is(name))
        .map(|(_, getter)| *getter)
}

/// The table's name for `command`; none of the names above twice has one number.
fn name(command: &Command) -> &'static str {
    let mut known = crate::command::TABLE.iter();
    known
        .find(|entry| command.is(entry.name))
        .map_or("", |entry| entry.name)
}

/// What `getter` writes when it is called with what `ask` puts there.
fn got(getter: &str, fd: RawFd, ask: impl Fn(&mut Pages)) -> Stage<Argument> {
    let command: Command = getter.parse()?;
    let mut pages = room()?;
    ask(&mut pages);
    let argument = Argument::from_pages(pages);
    match ioctl::native(fd, command.number, &argument) {
        Answer::Ok(_) => Ok(argument),
        refusal => Err(format!(
            "no valid argument, because {getter} was answered with {refusal}"
        )),
    }
}

fn nothing(_: &mut Pages) {}

fn room() -> Stage<Pages> {
    Pages::zeroed(ZEROED_BYTES).map_err(|error| format!("mmap: {error}"))
}

/// `value`, and zeroes behind it.
fn with<T: Copy>(value: T) -> Stage<Argument> {
    let mut pages = room()?;
    pages.put(0, value);
    Ok(Argument::from_pages(pages))
}

fn with_eventfd<T: Copy>(make: impl Fn(u32) -> T) -> Stage<Argument> {
    let eventfd = file::eventfd().map_err(|error| format!("eventfd: {error}"))?;
    let argument = with(make(eventfd.as_raw_fd() as u32))?;
    Ok(argument.keeping(eventfd))
}

/// One MSR that every CPU has: the time stamp counter of a vCPU, or for /dev/kvm the microcode
/// revision, which is among its feature MSRs.
fn one_msr(call: &Call) -> Stage<Argument> {
    const TSC: u32 = 0x10;
    const UCODE_REV: u32 = 0x8b;
    let index = match call.surface {
        crate::surface::Surface::Kvm => UCODE_REV,
        _ => TSC,
    };
    let mut pages = room()?;
    pages.put(
        0,
        kvm_msrs {
            nmsrs: 1,
            ..Default::default()
        }
        .nmsrs,
    );
    pages.put(
        size_of::<kvm_msrs>(),
        kvm_msr_entry {
            index,
            ..Default::default()
        },
    );
    Ok(Argument::from_pages(pages))
}

fn nested_state_room() -> [u32; 2] {
    // flags and format, then the bytes that there are: 128 and a page for SVM.
    [0, 128 + 4096]
}

fn second_slot(machine: &Machine) -> kvm_userspace_memory_region {
    kvm_userspace_memory_region {
        slot: 1,
        flags: 0,
        guest_phys_addr: SECOND_SLOT_START,
        memory_size: machine.second_memory.size_bytes(),
        userspace_addr: machine.second_memory.address(),
    }
}

/// A struct at the start of the pages that points to the bitmap behind it.
fn dirty_log<T: Copy>(start: usize, make: impl Fn(u64) -> T) -> Stage<Argument> {
    let mut pages = room()?;
    let bitmap = pages.address() + guest::PAGE_BYTES as u64;
    pages.put(start, make(bitmap));
    Ok(Argument::from_pages(pages))
}

fn msi_route() -> Stage<Argument> {
    let mut entry = kvm_irq_routing_entry {
        gsi: 24,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi = kvm_irq_routing_msi {
        address_lo: 0xfee0_0000,
        data: 0x20,
        ..Default::default()
    };
    let mut pages = room()?;
    pages.put(0, 1_u32);
    pages.put(size_of::<kvm_irq_routing>(), entry);
    Ok(Argument::from_pages(pages))
}

/// On a vCPU the offset of its time stamp counter; on a kvm-vfio device, the adding of a file.
fn has_attribute(call: &Call) -> Stage<Argument> {
    let (group, attr) = match call.surface {
        crate::surface::Surface::Vcpu => (KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET),
        crate::surface::Surface::Kvm => (0, KVM_X86_XCOMP_GUEST_SUPP),
        _ => (KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD),
    };
    with(kvm_device_attr {
        group,
        attr: attr.into(),
        ..Default::default()
    })
}
