// SPDX-License-Identifier: GPL-2.0

//! The caller's memory, with and without sleeping.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use super::{bindings, call::current, preemption::NoPreemption};
use core::sync::atomic::{compiler_fence, Ordering};
use kernel::{
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};
use portcullis_policy::Memory;

/// Fills `into` with the caller's bytes from `address` on; false if that would take sleeping, or
/// never succeeds. Then some of it may be written.
///
/// It is `copy_from_user_nofault()` for memory that is known to be ours: that function looks each time
/// at what kind of memory it copies to, which costs more than copying.
#[inline(always)]
pub(crate) fn peek(_: &NoPreemption, address: u64, into: &mut [u8]) -> bool {
    let _disabled = PageFaultsDisabled::new();
    OfCaller.read(address, into)
}

/// Proof that a page fault is not handled, and does not sleep.
struct PageFaultsDisabled(*mut bindings::task_struct);

impl PageFaultsDisabled {
    /// `pagefault_disable()`
    #[inline]
    fn new() -> Self {
        let current = current();
        // SAFETY: the task is there for as long as it runs, and nobody else writes this field.
        let depth = unsafe { &mut (*current).pagefault_disabled };
        *depth = depth.wrapping_add(1);
        compiler_fence(Ordering::SeqCst);
        Self(current)
    }
}

impl Drop for PageFaultsDisabled {
    #[inline]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as in `new`, on the same task: the value does not leave it.
        let depth = unsafe { &mut (*self.0).pagefault_disabled };
        *depth = depth.wrapping_sub(1);
    }
}

/// The memory of the current task, brought in where it is not resident: reading and writing sleep.
pub(crate) struct OfCaller;

impl OfCaller {
    /// Fills `into` from its beginning on; how many bytes at its end could not be read.
    #[inline(always)]
    fn missing(address: u64, into: &mut [u8]) -> usize {
        let from = core::ptr::without_provenance(address as usize);
        // SAFETY: `into` has so many bytes; any address may be asked for.
        unsafe { bindings::_copy_from_user(into.as_mut_ptr().cast(), from, into.len()) }
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of them can be written.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result {
        let address = usize::try_from(address).map_err(|_| EFAULT)?;
        let target = UserSlice::new(UserPtr::from_addr(address), bytes.len());
        target.writer().write_slice(bytes)
    }
}

impl Memory for OfCaller {
    #[inline]
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        Self::missing(address, into) == 0
    }

    /// As `UserSlice` does, which says only whether all could be read, and looks each time at what
    /// kind of memory it reads into.
    #[inline]
    fn read_some(&mut self, address: u64, into: &mut [u8]) -> usize {
        into.len().saturating_sub(Self::missing(address, into))
    }
}
