// SPDX-License-Identifier: GPL-2.0

//! Reading the caller's memory, with and without sleeping.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use super::{bindings, call::current, preemption::NoPreemption};
use core::{
    mem::MaybeUninit,
    sync::atomic::{compiler_fence, Ordering}, //
};
use kernel::{
    alloc::{flags::__GFP_ZERO, Flags},
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};
use portcullis_policy::{Memory, PADDING};

/// The most bytes that [`peek`] copies: what a probe's stack frame can hold. It has room for all
/// structs of KVM that VMMs set often (`kvm_userspace_memory_region2` has 112 bytes).
pub(crate) const PEEK_BYTES: usize = 128;

#[repr(align(8))]
struct Buffer([MaybeUninit<u8>; PEEK_BYTES + PADDING]);

/// Copies `len` bytes of the caller's memory to the stack and shows them to `look`, with [`PADDING`]
/// behind them. `None` if that would take sleeping, or never succeeds, or there are more than
/// [`PEEK_BYTES`].
#[inline]
pub(crate) fn peek<R>(
    _: &NoPreemption,
    address: u64,
    len: usize,
    look: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    let mut buffer = Buffer([const { MaybeUninit::uninit() }; PEEK_BYTES + PADDING]);
    let padded = buffer.0.get_mut(..len.checked_add(PADDING)?)?;
    let (into, padding) = padded.split_at_mut_checked(len)?;
    if !peek_words(usize::try_from(address).ok()?, into) {
        return None;
    }
    padding.fill(MaybeUninit::new(0));
    // SAFETY: every byte of `padded` has just been written: both of its parts.
    Some(look(unsafe {
        core::slice::from_raw_parts(padded.as_ptr().cast(), padded.len())
    }))
}

/// Fills `into` with the caller's bytes from `address` on; false if that would take sleeping, or
/// never succeeds. Then some of it may be written.
///
/// It is `copy_from_user_nofault()` for short and fixed lengths: that function looks each time at
/// what kind of memory it copies to, which costs more than copying.
#[cfg(target_arch = "x86_64")]
#[inline]
fn peek_words(mut address: usize, into: &mut [MaybeUninit<u8>]) -> bool {
    let disabled = PageFaultsDisabled::new();
    let mut words = into.chunks_exact_mut(size_of::<u64>());
    for word in &mut words {
        let Some(bytes) = get_user_8(address, &disabled) else {
            return false;
        };
        word.copy_from_slice(&bytes.to_ne_bytes().map(MaybeUninit::new));
        address = address.wrapping_add(size_of::<u64>());
    }
    for byte in words.into_remainder() {
        let Some(read) = get_user_1(address, &disabled) else {
            return false;
        };
        byte.write(read);
        address = address.wrapping_add(1);
    }
    true
}

/// Proof that a page fault is not handled, and does not sleep.
#[cfg(target_arch = "x86_64")]
struct PageFaultsDisabled(*mut bindings::task_struct);

#[cfg(target_arch = "x86_64")]
impl PageFaultsDisabled {
    /// `pagefault_disable()`
    #[inline]
    fn new() -> Self {
        let current = current();
        // SAFETY: the task is there for as long as it runs, and nobody else writes this field.
        unsafe { (*current).pagefault_disabled += 1 };
        compiler_fence(Ordering::SeqCst);
        Self(current)
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for PageFaultsDisabled {
    #[inline]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as in `new`, on the same task: the value does not leave it.
        unsafe { (*self.0).pagefault_disabled -= 1 };
    }
}

/// Reads 8 bytes of the caller's memory. Where they begin outside of it, nothing is read.
#[cfg(target_arch = "x86_64")]
#[inline]
fn get_user_8(address: usize, _: &PageFaultsDisabled) -> Option<u64> {
    let (error, value): (usize, u64);
    // SAFETY: `__get_user_8()` takes any address in rax, keeps it within user space, and returns an
    // error in rax and the value in rdx; it changes no other register but the flags.
    unsafe {
        core::arch::asm!(
            "call {function}",
            function = sym __get_user_8,
            inlateout("rax") address => error,
            lateout("rdx") value,
        );
    }
    (error == 0).then_some(value)
}

/// Reads one byte in the same way.
#[cfg(target_arch = "x86_64")]
#[inline]
fn get_user_1(address: usize, _: &PageFaultsDisabled) -> Option<u8> {
    let (error, value): (usize, u32);
    // SAFETY: as above; the value is in edx.
    unsafe {
        core::arch::asm!(
            "call {function}",
            function = sym __get_user_1,
            inlateout("rax") address => error,
            lateout("rdx") value,
        );
    }
    let [value, ..] = value.to_le_bytes();
    (error == 0).then_some(value)
}

#[cfg(target_arch = "x86_64")]
extern "C" {
    // Not functions as C or Rust have them: see `arch/x86/lib/getuser.S`.
    static __get_user_8: u8;
    static __get_user_1: u8;
}

/// So many zeros, which the allocator writes at once; `KVVec::from_elem()` does so byte by byte.
pub(crate) fn zeroed_bytes(len: usize, flags: Flags) -> Result<KVVec<u8>> {
    let mut bytes = KVVec::with_capacity(len, flags | __GFP_ZERO)?;
    // SAFETY: there is room for `len` bytes, and all of them are 0.
    unsafe { bytes.inc_len(len) };
    Ok(bytes)
}

/// The memory of the current task, brought in where it is not resident: reading sleeps.
pub(crate) struct OfCaller;

impl Memory for OfCaller {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        let Ok(address) = usize::try_from(address) else {
            return false;
        };
        let source = UserSlice::new(UserPtr::from_addr(address), into.len());
        source.reader().read_slice(into).is_ok()
    }
}
