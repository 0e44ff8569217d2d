// SPDX-License-Identifier: GPL-2.0

//! Everything before a vCPU runs: the VM, its memory, its interrupt controller, its vCPUs, the device.
//!
//! The calls are those of Firecracker, in its order.

use kvm_bindings::{
    kvm_irqchip, kvm_pit_config, kvm_regs, kvm_segment, kvm_userspace_memory_region, CpuId, Msrs,
    KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES, KVM_PIT_SPEAKER_DUMMY,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::{
    guest::{self, Entry},
    refused, State,
};

/// What is asked for before anything is made.
const NEEDED: [Cap; 13] = [
    Cap::Irqchip,
    Cap::Ioeventfd,
    Cap::Irqfd,
    Cap::UserMemory,
    Cap::SetTssAddr,
    Cap::Pit2,
    Cap::PitState2,
    Cap::AdjustClock,
    Cap::MpState,
    Cap::VcpuEvents,
    Cap::Xsave,
    Cap::ExtCpuid,
    Cap::ImmediateExit,
];

/// Three pages below the end of 32-bit memory, which no PC has memory at.
const TSS: usize = 0xfffb_d000;

/// The guest's memory: (where, bytes).
const MEMORY: [(u64, usize); 2] = [(0, 640 << 10), (1 << 20, 15 << 20)];

pub const SLOTS: [(u32, usize); 2] = [(0, MEMORY[0].1), (1, MEMORY[1].1)];

pub struct Machine {
    /// Open as long as the VM is, as a VMM keeps it.
    pub kvm: Kvm,
    pub vm: VmFd,
    #[expect(dead_code, reason = "the guest uses it, as long as it is mapped")]
    memory: GuestMemoryMmap,
    pub vcpus: Vec<VcpuFd>,
    /// The guest writes to [`guest::DOORBELL`].
    pub doorbell: EventFd,
    /// Raises [`guest::LINE`].
    pub interrupt: EventFd,
}

/// Makes all of it. With `restore`, the state of each vCPU and of the VM is read and written back, as
/// when it comes out of a snapshot.
pub fn set_up(vcpus: u8, restore: bool) -> Result<Machine, String> {
    let kvm = Kvm::new().map_err(refused("/dev/kvm"))?;
    if kvm.get_api_version() != 12 {
        return Err("KVM_GET_API_VERSION is not 12".to_owned());
    }
    if let Some(cap) = NEEDED.into_iter().find(|cap| !kvm.check_extension(*cap)) {
        return Err(format!("KVM_CHECK_EXTENSION: no {cap:?}"));
    }
    let cpuid = (kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES))
        .map_err(refused("KVM_GET_SUPPORTED_CPUID"))?;
    let msrs = kvm
        .get_msr_index_list()
        .map_err(refused("KVM_GET_MSR_INDEX_LIST"))?;

    let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
    let memory = give_memory(&vm)?;
    vm.set_tss_address(TSS)
        .map_err(refused("KVM_SET_TSS_ADDR"))?;
    vm.create_irq_chip()
        .map_err(refused("KVM_CREATE_IRQCHIP"))?;
    let pit = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..Default::default()
    };
    vm.create_pit2(pit).map_err(refused("KVM_CREATE_PIT2"))?;

    let doorbell = EventFd::new(0).map_err(|error| format!("eventfd: {error}"))?;
    let interrupt = EventFd::new(EFD_NONBLOCK).map_err(|error| format!("eventfd: {error}"))?;
    let place = IoEventAddress::Mmio(guest::DOORBELL);
    vm.register_ioevent(&doorbell, &place, kvm_ioctls::NoDatamatch)
        .map_err(refused("KVM_IOEVENTFD"))?;
    vm.register_irqfd(&interrupt, guest::LINE)
        .map_err(refused("KVM_IRQFD"))?;

    let entry = guest::load(&memory).map_err(|error| format!("the guest's memory: {error}"))?;
    let vcpus = (0..vcpus)
        .map(|index| {
            let vcpu = vm
                .create_vcpu(u64::from(index))
                .map_err(refused("KVM_CREATE_VCPU"))?;
            configure(&vcpu, index, cpuid.clone(), &entry)?;
            if restore {
                State::take(&vcpu, msrs.as_slice())?.put(&vcpu)?;
            }
            Ok(vcpu)
        })
        .collect::<Result<Vec<_>, String>>()?;
    if restore {
        restore_vm(&vm)?;
    }
    Ok(Machine {
        kvm,
        vm,
        memory,
        vcpus,
        doorbell,
        interrupt,
    })
}

fn give_memory(vm: &VmFd) -> Result<GuestMemoryMmap, String> {
    let ranges = MEMORY.map(|(start, bytes)| (GuestAddress(start), bytes));
    let memory = GuestMemoryMmap::from_ranges(&ranges).map_err(|error| format!("mmap: {error}"))?;
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: KVM_MEM_LOG_DIRTY_PAGES,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is mapped as long as `memory` lives, which is returned beside the VM and
        // used by nobody but the guest and this crate's volatile reads and writes.
        unsafe { vm.set_user_memory_region(region) }
            .map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
    }
    Ok(memory)
}

/// CPUID, MSRs, registers, interrupt controller of one vCPU.
fn configure(vcpu: &VcpuFd, index: u8, mut cpuid: CpuId, entry: &Entry) -> Result<(), String> {
    for leaf in cpuid.as_mut_slice() {
        match leaf.function {
            // The number of this vCPU; no VMX.
            1 => {
                leaf.ebx = (leaf.ebx & 0x00ff_ffff) | (u32::from(index) << 24);
                leaf.ecx &= !(1 << 5);
            }
            0xb | 0x1f => leaf.edx = u32::from(index),
            // No SVM.
            0x8000_0001 => leaf.ecx &= !(1 << 2),
            _ => {}
        }
    }
    vcpu.set_cpuid2(&cpuid).map_err(refused("KVM_SET_CPUID2"))?;
    vcpu.set_msrs(&boot_msrs()?)
        .map_err(refused("KVM_SET_MSRS"))?;
    let regs = kvm_regs {
        rip: entry.rip,
        rsp: entry.rsp,
        // Bit 1 is always set.
        rflags: 2,
        ..Default::default()
    };
    vcpu.set_regs(&regs).map_err(refused("KVM_SET_REGS"))?;
    let fpu = vcpu.get_fpu().map_err(refused("KVM_GET_FPU"))?;
    vcpu.set_fpu(&fpu).map_err(refused("KVM_SET_FPU"))?;

    let mut sregs = vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
    sregs.cs = segment(2, 0xb);
    for register in [&mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
        *register = segment(3, 0x3);
    }
    (sregs.gdt.base, sregs.gdt.limit) = entry.gdt;
    (sregs.idt.base, sregs.idt.limit) = entry.idt;
    sregs.cr3 = entry.cr3;
    // PE and PG; PAE; LME and LMA.
    sregs.cr0 |= 1 | (1 << 31);
    sregs.cr4 |= 1 << 5;
    sregs.efer |= (1 << 8) | (1 << 10);
    vcpu.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))?;

    let mut lapic = vcpu.get_lapic().map_err(refused("KVM_GET_LAPIC"))?;
    // The local lines: the interrupt controller's, and the NMI.
    for (offset, mode) in [(0x350, 7 << 8), (0x360, 4 << 8)] {
        let bytes = u32::to_le_bytes(mode).map(|byte| byte as i8);
        lapic.regs[offset..offset + 4].copy_from_slice(&bytes);
    }
    vcpu.set_lapic(&lapic).map_err(refused("KVM_SET_LAPIC"))
}

/// A flat segment of the table's entry `index`: 64-bit code, or data.
fn segment(index: u16, kind: u8) -> kvm_segment {
    let code = u8::from(kind & 8 != 0);
    kvm_segment {
        limit: u32::MAX,
        selector: index << 3,
        type_: kind,
        present: 1,
        db: 1 - code,
        s: 1,
        l: code,
        g: 1,
        ..Default::default()
    }
}

/// What a kernel finds in the MSRs that a PC's firmware has set.
fn boot_msrs() -> Result<Msrs, String> {
    const MSR_IA32_MISC_ENABLE: u32 = 0x1a0;
    const MSR_IA32_TSC: u32 = 0x10;
    const MSR_MTRR_DEF_TYPE: u32 = 0x2ff;
    let entry = |index, data| kvm_bindings::kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    Msrs::from_entries(&[
        entry(MSR_IA32_TSC, 0),
        entry(MSR_IA32_MISC_ENABLE, 1),
        // Write back, enabled.
        entry(MSR_MTRR_DEF_TYPE, 6 | (1 << 11)),
    ])
    .map_err(|error| format!("MSRs: {error:?}"))
}

/// The state of an interrupt controller: the PICs are 0 and 1, the IO-APIC is 2.
pub fn irqchip(vm: &VmFd, chip_id: u32) -> Result<kvm_irqchip, String> {
    let mut chip = kvm_irqchip {
        chip_id,
        ..Default::default()
    };
    vm.get_irqchip(&mut chip)
        .map_err(refused("KVM_GET_IRQCHIP"))?;
    Ok(chip)
}

fn restore_vm(vm: &VmFd) -> Result<(), String> {
    for chip_id in 0..3 {
        let chip = irqchip(vm, chip_id)?;
        vm.set_irqchip(&chip).map_err(refused("KVM_SET_IRQCHIP"))?;
    }
    let pit = vm.get_pit2().map_err(refused("KVM_GET_PIT2"))?;
    vm.set_pit2(&pit).map_err(refused("KVM_SET_PIT2"))?;
    let mut clock = vm.get_clock().map_err(refused("KVM_GET_CLOCK"))?;
    clock.flags = 0;
    vm.set_clock(&clock).map_err(refused("KVM_SET_CLOCK"))
}
