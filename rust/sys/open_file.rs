// SPDX-License-Identifier: GPL-2.0

//! The open file that a call is made on.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    call::current,
    kprobe::{OnHit, Probe},
    kvm::{FileKind, Kvm, Looks, Thread, Vcpu}, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::{addr_of, NonNull}, //
};
use kernel::{pr_err_once, prelude::*, task::Task};
use portcullis_policy::Surface;

/// A file that is open for as long as the value exists.
///
/// # Invariants
///
/// `file` has a reference meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct OpenFile<'a> {
    file: NonNull<bindings::file>,
    _open: PhantomData<&'a bindings::file>,
}

/// What a file is known by: see [`OpenFile::key`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(usize);

impl Key {
    /// From the address of a VM or a vCPU.
    #[inline]
    pub(super) const fn of_vm(address: usize) -> Self {
        Self(address)
    }

    /// From that of any other file. All are even.
    #[inline]
    pub(super) const fn of_file(address: usize) -> Self {
        Self(address | 1)
    }

    /// Whether it is a file that is neither a VM nor a vCPU.
    #[inline]
    pub(super) const fn is_of_file(self) -> bool {
        self.0 & 1 != 0
    }

    /// A number that no other has.
    #[inline]
    pub(super) const fn number(self) -> usize {
        self.0
    }

    /// From that number.
    #[inline]
    pub(super) const fn from_number(number: usize) -> Self {
        Self(number)
    }
}

impl<'a> OpenFile<'a> {
    /// A file that somebody keeps open.
    ///
    /// # Safety
    ///
    /// It must have a reference for as long as the value exists.
    #[inline]
    pub(super) const unsafe fn assume(file: NonNull<bindings::file>) -> Self {
        // INVARIANT: the caller says so.
        Self {
            file,
            _open: PhantomData,
        }
    }

    /// The file.
    #[inline]
    pub(super) fn as_ptr(self) -> *mut bindings::file {
        self.file.as_ptr()
    }

    /// What its driver has put into it.
    #[inline]
    pub(super) fn private_data(self) -> usize {
        // SAFETY: by the type invariants the file is there. Those that are guarded get their private
        // data before anybody can call an ioctl on them; VFIO's change it only in one that is new.
        unsafe { (*self.file.as_ptr()).private_data }.addr()
    }

    /// What the registry knows it by. For a VM and a vCPU that is KVM's own object, whichever file
    /// leads there; else the file.
    #[inline]
    pub(crate) fn key(self, surface: Surface) -> Key {
        match surface {
            Surface::KvmVm | Surface::KvmVcpu => Key::of_vm(self.private_data()),
            Surface::KvmDevice => Key::of_vm(self.kvm(surface).map_or(0, Kvm::address)),
            _ => Key::of_file(self.file.as_ptr().addr()),
        }
    }

    /// The VM that it belongs to, if calls on such a file belong to one.
    pub(super) fn kvm(self, surface: Surface) -> Option<Kvm> {
        let kind = match surface {
            Surface::KvmVm => FileKind::Vm,
            Surface::KvmVcpu => FileKind::Vcpu,
            Surface::KvmDevice => FileKind::Device,
            _ => return None,
        };
        // SAFETY: by the type invariants the file is there; that its calls come to a site of the
        // surface tells that it is of that kind.
        unsafe { Kvm::of(self.as_ptr(), kind) }
    }

    /// The vCPU that it is.
    pub(super) fn vcpu(self, surface: Surface) -> Option<Vcpu> {
        // SAFETY: as above.
        (surface == Surface::KvmVcpu).then(|| unsafe { Vcpu::of(self.as_ptr()) })?
    }

    /// Whether its VM and its vCPU, if it has any, are what this module was built for. If they are not,
    /// nothing else may be asked about them. Does not sleep.
    pub(crate) fn is_known(self, surface: Surface) -> bool {
        // SAFETY: the file is open, and so its VM is there.
        let is_known = self.kvm(surface).is_none_or(|kvm| unsafe { kvm.is_one() })
            // SAFETY: and so is its vCPU.
            && self.vcpu(surface).is_none_or(|vcpu| unsafe { vcpu.is_one() });
        if !is_known {
            pr_err_once!(
                "KVM was built from other headers than this module: nothing is known of its VMs\n"
            );
        }
        is_known
    }

    /// Looks at its VM: at what `what` asks for. Of what is none everything is 0. Does not sleep.
    pub(crate) fn look(self, surface: Surface, what: u32) -> Looks {
        match self.kvm(surface) {
            // SAFETY: the file is open, and so its VM is there.
            Some(kvm) if what != 0 => unsafe { kvm.look(what) },
            _ => Looks::default(),
        }
    }

    /// The bytes of one of its VM's memory slots; 0 if there is no such slot.
    pub(crate) fn slot(self, surface: Surface, slot: u32) -> u64 {
        // SAFETY: as above.
        self.kvm(surface).map_or(0, |kvm| unsafe { kvm.slot(slot) })
    }

    /// Whether the calling thread was the last to run one of its VM's vCPUs.
    pub(crate) fn is_run_by_current(self, surface: Surface) -> bool {
        let kvm = self.kvm(surface);
        // SAFETY: as above.
        kvm.is_some_and(|kvm| unsafe { kvm.is_run_by_current() })
    }

    /// The thread that was the last to try to run the vCPU that it is.
    pub(super) fn runner(self, surface: Surface) -> Option<Thread> {
        // SAFETY: the file is open, and so its vCPU is there.
        unsafe { self.vcpu(surface)?.thread() }
    }

    /// Whether KVM lets the calling process call it.
    pub(crate) fn is_of_current(self, surface: Surface) -> bool {
        self.is_of_process(current(), surface)
    }

    /// Whether KVM lets a process call it: only the one that made the VM may. Everybody may use what
    /// belongs to no VM.
    pub(crate) fn may_be_used_by(self, task: &Task, surface: Surface) -> bool {
        self.is_of_process(task.as_ptr(), surface)
    }

    fn is_of_process(self, task: *mut bindings::task_struct, surface: Surface) -> bool {
        let Some(kvm) = self.kvm(surface) else {
            return true;
        };
        // SAFETY: the task is there; the address space is compared, not followed.
        let mm = unsafe { addr_of!((*task).mm).read_volatile() };
        // SAFETY: the file is open, and so its VM is there.
        core::ptr::eq(mm, unsafe { kvm.mm() })
    }

    /// How many zones of coalesced MMIO its VM has; `None` where somebody keeps them locked. Only one of
    /// the VM's callers may `wait`, for he waits for the others.
    pub(crate) fn zones(self, surface: Surface, wait: bool) -> Option<u32> {
        // SAFETY: the file is open, and so its VM is there.
        unsafe { self.kvm(surface)?.zones(wait) }
    }

    /// Whether it is a vCPU that is in its guest, or on its way there.
    pub(crate) fn is_in_run(self, surface: Surface) -> bool {
        let vcpu = self.vcpu(surface);
        // SAFETY: the file is open, and so its vCPU is there.
        vcpu.is_some_and(|vcpu| unsafe { vcpu.is_in_run() })
    }

    /// Whether it is a vCPU that has entered its guest.
    pub(crate) fn has_entered_guest(self, surface: Surface) -> bool {
        let vcpu = self.vcpu(surface);
        // SAFETY: the file is open, and so its vCPU is there.
        vcpu.is_some_and(|vcpu| unsafe { vcpu.has_entered() })
    }

    /// Whether its ioctls are those of a handler.
    pub(crate) fn is_of<T: OnHit>(self, probe: &Probe<T>) -> bool {
        // SAFETY: by the type invariants the file is there, and with it its operations.
        let handler = unsafe { (*(*self.file.as_ptr()).f_op).unlocked_ioctl };
        // CAST: a function's address.
        handler.is_some_and(|handler| handler as usize == probe.entry())
    }
}

/// What a file looked like that was open: by this one sees whether it still is, without having it. All are
/// addresses, which nobody follows.
#[derive(Clone, Copy)]
pub(super) struct Trace {
    file: usize,
    operations: usize,
    opener: usize,
}

impl Trace {
    /// Of a file that is open.
    pub(super) fn of(file: OpenFile<'_>) -> Self {
        let raw = file.as_ptr();
        // SAFETY: by its type invariants the file is there.
        let (operations, opener) = unsafe { ((*raw).f_op, (*raw).f_cred) };
        Self {
            file: raw.addr(),
            operations: operations.addr(),
            opener: opener.addr(),
        }
    }

    /// Whether it is that of a file which is open.
    pub(super) fn is_of(self, file: OpenFile<'_>) -> bool {
        let Self {
            operations, opener, ..
        } = Self::of(file);
        self.operations == operations && self.opener == opener
    }

    /// Whether the file is open still. One that is always looks so; one that is not may, for a while:
    /// the memory may have become that of another file, or of anything else.
    ///
    /// `/dev/kvm` and `/dev/sev` have no function that is called when they are closed.
    pub(super) fn is_open(self) -> bool {
        let peek = |offset| peek(self.file.wrapping_add(offset));
        let (Some(operations), Some(opener), Some(references)) = (
            peek(offset_of!(bindings::file, f_op)),
            peek(offset_of!(bindings::file, f_cred)),
            peek(offset_of!(bindings::file, f_ref)),
        ) else {
            return false;
        };
        // CAST: the sign of the count of references: see `include/linux/file_ref.h`.
        operations == self.operations && opener == self.opener && (references as isize) >= 0
    }
}

/// A word of the kernel's memory, if there is some.
fn peek(address: usize) -> Option<usize> {
    let mut value = 0_usize;
    // SAFETY: the destination has room; any address may be tried.
    let result = unsafe {
        bindings::copy_from_kernel_nofault(
            core::ptr::from_mut(&mut value).cast(),
            core::ptr::without_provenance(address),
            size_of::<usize>(),
        )
    };
    (result == 0).then_some(value)
}
