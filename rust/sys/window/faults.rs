// SPDX-License-Identifier: GPL-2.0

//! Which page the processor finds behind an address of a window.
//!
//! As long as a handler reads, the pages with the judged bytes are there, read only. Whoever else
//! wants to write to them is refused, in user mode as in a system call.
//!
//! A handler that writes back does so after it has read everything (`Documentation/design.rst` has
//! the list). Its first write faults, and only its own: the task is the slot's owner. From then on
//! there are other pages in the slot, copies of the judged ones, which may be written, and which are
//! never used again. So what can be written by a process is never what a handler reads as judged, not
//! even if somebody else holds a reference to the page beyond the call.

use super::{bindings, current, Window, PAGE_SIZE};
use core::sync::atomic::Ordering;
use kernel::{mm::virt::VmaRef, page::Page, prelude::*};

type VmFault = bindings::vm_fault_t;

const REFUSED: VmFault = bindings::vm_fault_reason_VM_FAULT_SIGBUS;
const NO_MEMORY: VmFault = bindings::vm_fault_reason_VM_FAULT_OOM;
/// The page table is as it should be: try again.
const DONE: VmFault = bindings::vm_fault_reason_VM_FAULT_NOPAGE;

pub(super) struct Operations(pub(super) bindings::vm_operations_struct);

// SAFETY: nobody writes to it.
unsafe impl Sync for Operations {}

/// What the kernel asks about a window.
pub(super) static OPERATIONS: Operations = Operations(bindings::vm_operations_struct {
    fault: Some(fault),
    page_mkwrite: Some(page_mkwrite),
    close: Some(close),
    may_split: Some(may_split),
    ..pin_init::zeroed()
});

/// Nothing is there.
///
/// # Safety
///
/// To be called by the kernel alone, for a window's VMA, with the address space locked for reading.
unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> VmFault {
    // SAFETY: the kernel hands over a valid fault in a window of ours, which is there as long as
    // its mapping is.
    let (window, offset) = unsafe { at(vmf) };
    let stride = window.kind.stride();
    let Some(slot) = window.slots.get(offset >> window.kind.shift()) else {
        return REFUSED;
    };
    let place = (offset & (stride - 1)) / PAGE_SIZE;
    let _lock = window.lock.lock();
    // SAFETY: the lock is held.
    let Some(page) = (unsafe { slot.pages() }).get(place) else {
        return REFUSED;
    };
    if !slot.writing.load(Ordering::Relaxed) {
        // SAFETY: the page is one of `vmalloc()`; the fault is as above, and the lock is held.
        return unsafe {
            let page = bindings::vmalloc_to_page(core::ptr::from_ref(page).cast());
            bindings::vmf_insert_page_mkwrite(vmf, page, false)
        };
    }
    if slot.owner.load(Ordering::Relaxed) != current() {
        return REFUSED;
    }
    // SAFETY: the current task is the owner.
    let outs = unsafe { &mut *slot.outs.get() };
    if !outs.iter().any(|(known, _)| *known == place) {
        let Ok(out) = Page::alloc_page(super::accounted()) else {
            return NO_MEMORY;
        };
        // SAFETY: a page has so many bytes, and nobody else has seen this one.
        let copied = unsafe { out.write_raw(page.0.as_ptr(), 0, PAGE_SIZE) };
        if copied.is_err() || outs.push((place, out), GFP_KERNEL).is_err() {
            return NO_MEMORY;
        }
    }
    match outs.iter().find(|(known, _)| *known == place) {
        // Nothing is there but pages from `outs`: another one was taken out under the lock.
        // SAFETY: the fault is as above, and the lock is held.
        Some((_, out)) => unsafe { bindings::vmf_insert_page_mkwrite(vmf, out.as_ptr(), true) },
        None => REFUSED,
    }
}

/// A page is there, and somebody wants to write to it.
///
/// # Safety
///
/// As for [`fault`].
unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> VmFault {
    // SAFETY: as in `fault`.
    let (window, offset) = unsafe { at(vmf) };
    let Some(slot) = window.slots.get(offset >> window.kind.shift()) else {
        return REFUSED;
    };
    let _lock = window.lock.lock();
    let is_owner = slot.owner.load(Ordering::Relaxed) == current();
    if !is_owner || !slot.written.load(Ordering::Relaxed) {
        return REFUSED;
    }
    if !slot.writing.swap(true, Ordering::Relaxed) {
        let base = window.base.load(Ordering::Relaxed);
        // SAFETY: the address space is locked for reading.
        let vma = unsafe { VmaRef::from_raw((*vmf).__bindgen_anon_1.vma) };
        vma.zap_vma_range(base + slot.offset, window.kind.stride());
    }
    DONE
}

/// The window of a fault, and how far into it the address is.
///
/// # Safety
///
/// As for [`fault`].
unsafe fn at<'a>(vmf: *mut bindings::vm_fault) -> (&'a Window, usize) {
    // SAFETY: the caller says that all of this is there.
    let (window, address) = unsafe {
        let fault = &(*vmf).__bindgen_anon_1;
        let window: *const Window = (*fault.vma).vm_private_data.cast_const().cast();
        (&*window, fault.address)
    };
    let offset = address.wrapping_sub(window.base.load(Ordering::Relaxed));
    (window, offset)
}

/// The mapping goes, with its address space or with the module.
///
/// # Safety
///
/// To be called by the kernel alone, for a window's VMA.
unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
    // SAFETY: the VMA is a window's; it is closed once, because it is never copied nor split.
    unsafe {
        if let Some(window) = core::ptr::NonNull::new((*vma).vm_private_data.cast()) {
            Window::forget(window);
        }
    }
}

/// Half a window is none.
///
/// # Safety
///
/// Safe to be called by anybody.
unsafe extern "C" fn may_split(_: *mut bindings::vm_area_struct, _: c_ulong) -> c_int {
    EPERM.to_errno()
}
