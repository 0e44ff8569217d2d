// SPDX-License-Identifier: GPL-2.0

//! The state of a vCPU, as a snapshot keeps it.

use kvm_bindings::{
    kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs, kvm_xsave, Msrs, KVM_MAX_CPUID_ENTRIES,
};
use kvm_ioctls::VcpuFd;

use crate::refused;

pub struct State {
    mp_state: kvm_mp_state,
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: kvm_xsave,
    xcrs: kvm_xcrs,
    debug_regs: kvm_debugregs,
    lapic: kvm_lapic_state,
    events: kvm_vcpu_events,
    msrs: Msrs,
    tsc_khz: u32,
}

impl State {
    /// Reads it; the MSRs as far as KVM tells those of `indices`. Hyper-V's do not exist for the guest.
    pub fn take(vcpu: &VcpuFd, indices: &[u32]) -> Result<Self, String> {
        let entries: Vec<_> = indices
            .iter()
            .filter(|index| !(0x4000_0000..0x4000_0100).contains(*index))
            .map(|index| kvm_msr_entry {
                index: *index,
                ..Default::default()
            })
            .collect();
        let mut msrs = Msrs::from_entries(&entries).map_err(|error| format!("MSRs: {error:?}"))?;
        // The CPUID is part of a snapshot, and is not put back: KVM_SET_CPUID2 does that.
        vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES)
            .map_err(refused("KVM_GET_CPUID2"))?;
        let known = vcpu.get_msrs(&mut msrs).map_err(refused("KVM_GET_MSRS"))?;
        let msrs = Msrs::from_entries(&msrs.as_slice()[..known])
            .map_err(|error| format!("MSRs: {error:?}"))?;
        Ok(State {
            mp_state: vcpu.get_mp_state().map_err(refused("KVM_GET_MP_STATE"))?,
            regs: vcpu.get_regs().map_err(refused("KVM_GET_REGS"))?,
            sregs: vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?,
            xsave: vcpu.get_xsave().map_err(refused("KVM_GET_XSAVE"))?,
            xcrs: vcpu.get_xcrs().map_err(refused("KVM_GET_XCRS"))?,
            debug_regs: (vcpu.get_debug_regs()).map_err(refused("KVM_GET_DEBUGREGS"))?,
            lapic: vcpu.get_lapic().map_err(refused("KVM_GET_LAPIC"))?,
            events: (vcpu.get_vcpu_events()).map_err(refused("KVM_GET_VCPU_EVENTS"))?,
            msrs,
            tsc_khz: vcpu.get_tsc_khz().map_err(refused("KVM_GET_TSC_KHZ"))?,
        })
    }

    /// Writes it, in the order that KVM asks for: the mode before what depends on it.
    pub fn put(&self, vcpu: &VcpuFd) -> Result<(), String> {
        vcpu.set_mp_state(self.mp_state)
            .map_err(refused("KVM_SET_MP_STATE"))?;
        vcpu.set_tsc_khz(self.tsc_khz)
            .map_err(refused("KVM_SET_TSC_KHZ"))?;
        vcpu.set_regs(&self.regs).map_err(refused("KVM_SET_REGS"))?;
        vcpu.set_sregs(&self.sregs)
            .map_err(refused("KVM_SET_SREGS"))?;
        // SAFETY: no feature is enabled whose state is longer than the struct.
        unsafe { vcpu.set_xsave(&self.xsave) }.map_err(refused("KVM_SET_XSAVE"))?;
        vcpu.set_xcrs(&self.xcrs).map_err(refused("KVM_SET_XCRS"))?;
        vcpu.set_debug_regs(&self.debug_regs)
            .map_err(refused("KVM_SET_DEBUGREGS"))?;
        vcpu.set_lapic(&self.lapic)
            .map_err(refused("KVM_SET_LAPIC"))?;
        // Some MSRs can only be read; KVM stops at the first.
        vcpu.set_msrs(&self.msrs).map_err(refused("KVM_SET_MSRS"))?;
        vcpu.set_vcpu_events(&self.events)
            .map_err(refused("KVM_SET_VCPU_EVENTS"))
    }
}
