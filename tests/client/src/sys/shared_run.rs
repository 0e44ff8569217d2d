// SPDX-License-Identifier: GPL-2.0

//! The page that a vCPU shares with its VMM: `struct kvm_run`.

use std::{
    io,
    mem::offset_of,
    os::fd::AsRawFd,
    ptr,
    sync::atomic::{AtomicU32, AtomicU8, Ordering},
};

use kvm_bindings::kvm_run;

/// # Invariants
///
/// `start` is the address of a mapping of one page that belongs to this value alone. The kernel writes
/// to it at any time, so it is looked at by atomics alone.
pub struct SharedRun {
    start: *mut u8,
}

const PAGE: usize = 4096;

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for SharedRun {}
// SAFETY: by the invariant it is looked at by atomics alone.
unsafe impl Sync for SharedRun {}

impl SharedRun {
    /// Of a vCPU's fd.
    pub fn new(vcpu: &impl AsRawFd) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(SharedRun {
            start: start.cast(),
        })
    }

    /// Whether KVM_RUN returns with EINTR before it enters the guest.
    pub fn set_immediate_exit(&self, on: bool) {
        let place = self.start.wrapping_add(offset_of!(kvm_run, immediate_exit));
        // SAFETY: by the invariant the byte is there, and nobody of ours has a reference to it.
        unsafe { AtomicU8::from_ptr(place) }.store(on.into(), Ordering::Relaxed);
    }

    /// Why the last KVM_RUN that succeeded has returned: KVM_EXIT_*.
    pub fn exit_reason(&self) -> u32 {
        let place = self.start.wrapping_add(offset_of!(kvm_run, exit_reason));
        // SAFETY: as above; the place is a multiple of four in a page.
        unsafe { AtomicU32::from_ptr(place.cast()) }.load(Ordering::Relaxed)
    }
}

impl Drop for SharedRun {
    fn drop(&mut self) {
        // SAFETY: by the invariant the mapping is ours, and it is never used again.
        unsafe { libc::munmap(self.start.cast(), PAGE) };
    }
}
