// SPDX-License-Identifier: GPL-2.0

//! KVM's own view of a VM.
//!
//! C header: [`include/linux/kvm_host.h`](srctree/include/linux/kvm_host.h)

use super::{bindings, call::current};
use core::ptr::NonNull;
use kernel::prelude::*;
use portcullis_policy::Irqchip;

/// A VM: its `struct kvm`. It says which VM it is for as long as the VM is there; afterwards another
/// one may be in the same place.
///
/// Who looks into it has to know that it is there: with a reference to one of its files, or before
/// KVM destroys it (`kvm_arch_destroy_vm()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kvm(NonNull<c_void>);

/// A vCPU: its `struct kvm_vcpu`, which is there as long as its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vcpu(NonNull<c_void>);

// SAFETY: they are names; what is looked at is locked by KVM's rules.
unsafe impl Send for Kvm {}
// SAFETY: as above.
unsafe impl Sync for Kvm {}
// SAFETY: as above.
unsafe impl Send for Vcpu {}
// SAFETY: as above.
unsafe impl Sync for Vcpu {}

/// What kind of KVM's files a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum FileKind {
    /// A VM's.
    Vm = 0,
    /// A vCPU's.
    Vcpu = 1,
    /// A device's.
    Device = 2,
}

/// What to look at: parts of [`Looks`], to be joined by `|`.
pub(crate) mod what {
    pub(crate) const VCPUS: u32 = 1 << 0;
    pub(crate) const MEMORY: u32 = 1 << 1;
    pub(crate) const MEMSLOTS: u32 = 1 << 2;
    pub(crate) const TYPE: u32 = 1 << 3;
    pub(crate) const IRQCHIP: u32 = 1 << 4;
    pub(crate) const RUNNING: u32 = 1 << 5;
    pub(crate) const IRQFDS: u32 = 1 << 6;
    pub(crate) const IOEVENTFDS: u32 = 1 << 7;
    pub(crate) const DEVICES: u32 = 1 << 8;
    /// All of them.
    pub(crate) const ALL: u32 = (1 << 9) - 1;
}

/// What a VM looks like. Each number was right at some moment of the look.
///
/// In the layout of `kvm.c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Looks {
    /// The bytes of memory in its slots, without those that KVM makes for itself. In both address
    /// spaces, if the VM has one for system management mode.
    pub(crate) memory: u64,
    /// vCPUs that were made, or are being made.
    pub(crate) vcpus: u32,
    /// Its slots, as above. Takes time that grows with them.
    pub(crate) memslots: u32,
    /// The argument of `KVM_CREATE_VM`.
    pub(crate) kind: u32,
    /// Its interrupt controller: 0 not in the kernel, 1 wholly, 2 split.
    irqchip: u32,
    /// Eventfds that raise interrupts. Takes time that grows with them, with interrupts off.
    pub(crate) irqfds: u32,
    /// Eventfds that are signalled by writes of the guest.
    pub(crate) ioeventfds: u32,
    /// Devices of `KVM_CREATE_DEVICE` that are there.
    pub(crate) devices: u32,
    /// Whether a vCPU has been in the guest, and has come back.
    pub(crate) has_entered: bool,
    /// Whether a vCPU is on its way into the guest, or in it.
    pub(crate) is_in_run: bool,
}

impl Looks {
    /// Whether a vCPU has been in its guest, or is on its way there.
    pub(crate) fn is_running(&self) -> bool {
        self.has_entered || self.is_in_run
    }

    /// Its interrupt controller.
    pub(crate) fn irqchip(&self) -> Irqchip {
        match self.irqchip {
            0 => Irqchip::None,
            1 => Irqchip::Kernel,
            _ => Irqchip::Split,
        }
    }
}

extern "C" {
    /// See `kvm.c`.
    fn portcullis_kvm_of(file: *const c_void, kind: c_uint) -> *mut c_void;
    fn portcullis_kvm_is_one(kvm: *const c_void) -> bool;
    fn portcullis_kvm_vcpu_is_one(vcpu: *const c_void) -> bool;
    fn portcullis_kvm_look(kvm: *mut c_void, what: u32, to: *mut Looks);
    fn portcullis_kvm_slot(kvm: *mut c_void, slot: u32) -> u64;
    fn portcullis_kvm_zones(kvm: *mut c_void, wait: bool) -> i64;
    fn portcullis_kvm_runs(kvm: *mut c_void, task: *mut c_void) -> bool;
    fn portcullis_kvm_mm(kvm: *const c_void) -> *const c_void;
    fn portcullis_kvm_vcpu_has_entered(vcpu: *const c_void) -> bool;
    fn portcullis_kvm_vcpu_is_in_run(vcpu: *const c_void) -> bool;
    fn portcullis_kvm_vcpu_thread(vcpu: *mut c_void) -> *mut c_void;
}

impl Kvm {
    /// The VM that a file belongs to.
    ///
    /// # Safety
    ///
    /// The file must be there, and of that kind.
    #[inline]
    pub(super) unsafe fn of(file: *const bindings::file, kind: FileKind) -> Option<Self> {
        // SAFETY: the caller says so.
        NonNull::new(unsafe { portcullis_kvm_of(file.cast(), kind as c_uint) }).map(Self)
    }

    /// Where it is: another number than those of all VMs that are there.
    #[inline]
    pub(crate) fn address(self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Whether its `struct kvm` is what this module was built for: KVM may have been built from other
    /// source. Nothing else may be looked at if not. `KVM_CREATE_VM` must have returned.
    ///
    /// # Safety
    ///
    /// The VM must be there.
    pub(super) unsafe fn is_one(self) -> bool {
        // SAFETY: the caller says that it is there; what is not is not read.
        unsafe { portcullis_kvm_is_one(self.0.as_ptr()) }
    }

    /// Looks at it. Does not sleep; on a kernel with `CONFIG_PREEMPT_RT` it may, for `IRQFDS`.
    ///
    /// # Safety
    ///
    /// The VM must be there.
    pub(super) unsafe fn look(self, what: u32) -> Looks {
        let mut looks = Looks::default();
        // SAFETY: the caller says that it is there; the layout is the same on both sides.
        unsafe { portcullis_kvm_look(self.0.as_ptr(), what, &mut looks) };
        looks
    }

    /// The bytes of the slot that the field `slot` of `KVM_SET_USER_MEMORY_REGION` names, 0 if there
    /// is none. Does not sleep.
    ///
    /// # Safety
    ///
    /// The VM must be there.
    pub(super) unsafe fn slot(self, slot: u32) -> u64 {
        // SAFETY: the caller says that it is there.
        unsafe { portcullis_kvm_slot(self.0.as_ptr(), slot) }
    }

    /// How many coalesced zones it has; `None` where somebody holds the lock of its slots, which one of
    /// its callers can do for as long as he likes: only another of them may `wait`.
    ///
    /// # Safety
    ///
    /// The VM must be there.
    pub(super) unsafe fn zones(self, wait: bool) -> Option<u32> {
        // SAFETY: the caller says that it is there.
        u32::try_from(unsafe { portcullis_kvm_zones(self.0.as_ptr(), wait) }).ok()
    }

    /// Whether the current thread was the last to run one of its vCPUs. Does not sleep.
    ///
    /// # Safety
    ///
    /// The VM must be there.
    pub(super) unsafe fn is_run_by_current(self) -> bool {
        // SAFETY: the caller says that it is there, and the current task is.
        unsafe { portcullis_kvm_runs(self.0.as_ptr(), current().cast()) }
    }

    /// The only address space that it may be called from. Not to be followed: the VM has no reference
    /// to its users.
    ///
    /// # Safety
    ///
    /// The VM must be there.
    #[inline]
    pub(super) unsafe fn mm(self) -> *const bindings::mm_struct {
        // SAFETY: the caller says that it is there.
        unsafe { portcullis_kvm_mm(self.0.as_ptr()) }.cast()
    }
}

impl Vcpu {
    /// The vCPU that a file is.
    ///
    /// # Safety
    ///
    /// The file must be there, and a vCPU's.
    #[inline]
    pub(super) unsafe fn of(file: *const bindings::file) -> Option<Self> {
        // SAFETY: the caller says so; nobody changes it.
        NonNull::new(unsafe { (*file).private_data }).map(Self)
    }

    /// [`Kvm::is_one`], of its `struct kvm_vcpu`.
    ///
    /// # Safety
    ///
    /// Its VM must be there.
    pub(super) unsafe fn is_one(self) -> bool {
        // SAFETY: the caller says that it is there; what is not is not read.
        unsafe { portcullis_kvm_vcpu_is_one(self.0.as_ptr()) }
    }

    /// Whether it has been in the guest, and has come back. Does not sleep.
    ///
    /// Who may write to KVM's files in debugfs can make that forgotten.
    ///
    /// # Safety
    ///
    /// Its VM must be there.
    pub(super) unsafe fn has_entered(self) -> bool {
        // SAFETY: the caller says that it is there.
        unsafe { portcullis_kvm_vcpu_has_entered(self.0.as_ptr()) }
    }

    /// Whether it is in its guest, or on its way there.
    ///
    /// # Safety
    ///
    /// Its VM must be there.
    pub(super) unsafe fn is_in_run(self) -> bool {
        // SAFETY: the caller says that it is there.
        unsafe { portcullis_kvm_vcpu_is_in_run(self.0.as_ptr()) }
    }

    /// The thread that was the last to make a `KVM_RUN` of it. Does not sleep, but may on a kernel with
    /// `CONFIG_PREEMPT_RT`.
    ///
    /// # Safety
    ///
    /// Its VM must be there.
    pub(super) unsafe fn thread(self) -> Option<Thread> {
        // SAFETY: the caller says that it is there. INVARIANT: the reference comes with it.
        NonNull::new(unsafe { portcullis_kvm_vcpu_thread(self.0.as_ptr()) }.cast()).map(Thread)
    }
}

/// A thread, told from all others that there ever are while this is kept.
///
/// # Invariants
///
/// Has a reference.
pub(crate) struct Thread(NonNull<bindings::pid>);

// SAFETY: a reference may be given back anywhere.
unsafe impl Send for Thread {}
// SAFETY: nothing of it changes.
unsafe impl Sync for Thread {}

impl Thread {
    /// The one that runs this.
    pub(crate) fn current() -> Option<Self> {
        // SAFETY: the current task is there. INVARIANT: the reference comes with it.
        NonNull::new(unsafe { bindings::get_task_pid(current(), bindings::pid_type_PIDTYPE_PID) })
            .map(Self)
    }

    /// Whether it is the one that runs this. Does not sleep.
    pub(crate) fn is_current(&self) -> bool {
        // SAFETY: the current task is there, and only it changes which thread it is.
        let current = unsafe { (*current()).thread_pid };
        self.0.as_ptr() == current
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant there is a reference to give back.
        unsafe { bindings::put_pid(self.0.as_ptr()) };
    }
}
