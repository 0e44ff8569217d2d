// SPDX-License-Identifier: GPL-2.0

//! Memory in a process from which a handler reads an argument that nobody can change any more.
//!
//! A window is a mapping of this module's in a process that makes calls whose arguments are judged:
//! one as a rule, made at the first such call, gone with the process or with the module. It has a few
//! slots, one for each call that is on its way.
//!
//! A page of a slot has two sides. The kernel writes it through an address of its own. The process
//! reads it, and nobody writes it: not a thread in user mode, not a system call that was told to put
//! something there, not ptrace, not a device. The only exception are the pages that take what a
//! handler writes back: see `window/faults.rs`.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

mod answer;
mod bucket;
mod faults;
mod kind;
mod mapping;
mod slot;

use super::{bindings, call::current, locks::WINDOWS};
use bucket::{Bucket, BUCKETS};
use core::{
    cell::UnsafeCell,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering},
};
use kernel::{
    alloc::{
        flags::{GFP_KERNEL_ACCOUNT, __GFP_NOWARN, __GFP_ZERO},
        Flags, //
    },
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::{new_mutex, Mutex}, //
};
use kind::{Kind, SLOTS};
use portcullis_policy::{Complete, OutOfMemory, WHOLE_BYTES};

pub(crate) use mapping::{init, remove_all, Backing};
pub(crate) use slot::Slot;

/// A VMM that asks for more than there is gets `ENOMEM`, and writes nothing into the kernel's log.
fn accounted() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NOWARN
}

/// A page of memory, as the kernel sees it.
#[repr(C, align(4096))]
struct PageBytes([u8; PAGE_SIZE]);

const _: () = assert!(size_of::<PageBytes>() == PAGE_SIZE);

/// So many pages of zeros, one behind the other in the kernel's eyes.
fn zeroed_pages(count: usize) -> Result<VVec<PageBytes>, OutOfMemory> {
    let flags = accounted() | __GFP_ZERO;
    let mut pages = VVec::with_capacity(count, flags).map_err(|_| OutOfMemory)?;
    // SAFETY: there is room for so many, and all of their bytes are 0.
    unsafe { pages.inc_len(count) };
    Ok(pages)
}

/// A window.
///
/// # Invariants
///
/// While it is in [`BUCKETS`] it is mapped at `base` in the address space `mm`, which therefore
/// exists. Of a slot,
///
/// * `small` is set by whoever holds its bit in `busy`, once, and `complete` belongs to them;
/// * `large` and `writing` are changed by whoever holds its bit, with `lock` held, and pages are put
///   into the page table with `lock` held;
/// * `outs` belongs to the task in `owner`, and without one to whoever holds the bit.
#[pin_data]
struct Window {
    /// Whose it is.
    mm: *mut bindings::mm_struct,
    kind: Kind,
    /// Where it begins.
    base: AtomicUsize,
    /// A bit for each slot that is taken.
    busy: AtomicU32,
    /// The next window of the bucket.
    next: AtomicPtr<Window>,
    slots: [SlotState; SLOTS],
    #[pin]
    lock: Mutex<()>,
    /// For its end.
    rcu: UnsafeCell<bindings::callback_head>,
}

/// A slot of a window.
struct SlotState {
    /// Its bit in `busy`.
    bit: u32,
    /// Where it begins in the window.
    offset: usize,
    small: UnsafeCell<VVec<PageBytes>>,
    /// Instead of `small`, for one long argument.
    large: UnsafeCell<VVec<PageBytes>>,
    /// The task whose handler is reading.
    owner: AtomicPtr<bindings::task_struct>,
    /// Whether that handler may write.
    written: AtomicBool,
    /// Whether it has begun to: then `outs` are in the page table, and nothing else is.
    writing: AtomicBool,
    /// What the handler is to find.
    complete: UnsafeCell<Complete>,
    /// Pages that it has written to, by their place in the slot.
    outs: UnsafeCell<KVec<(usize, Page)>>,
}

impl SlotState {
    const fn new(index: usize, kind: Kind) -> Self {
        Self {
            bit: 1 << index,
            offset: index * kind.stride(),
            small: UnsafeCell::new(VVec::new()),
            large: UnsafeCell::new(VVec::new()),
            owner: AtomicPtr::new(null_mut()),
            written: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            complete: UnsafeCell::new(Complete::NOTHING),
            outs: UnsafeCell::new(KVec::new()),
        }
    }

    /// The pages in use.
    ///
    /// # Safety
    ///
    /// The caller holds the slot or the window's lock, and keeps it for `'a`.
    unsafe fn pages<'a>(&self) -> &'a [PageBytes] {
        // SAFETY: by the invariants of `Window`, neither changes meanwhile.
        let (small, large) = unsafe { (&*self.small.get(), &*self.large.get()) };
        if large.is_empty() {
            small
        } else {
            large
        }
    }
}

// SAFETY: what is in it is shared by its own rules, which the invariants state.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    fn new(mm: *mut bindings::mm_struct, kind: Kind) -> Result<Pin<KBox<Self>>> {
        let (count, _) = kind.slots_and_doublings();
        let slots = core::array::from_fn(|index| SlotState::new(index, kind));
        KBox::pin_init(
            pin_init!(Self {
                mm,
                kind,
                base: AtomicUsize::new(0),
                // What is not there is never free.
                busy: AtomicU32::new(u32::MAX << count),
                next: AtomicPtr::new(null_mut()),
                slots,
                lock <- new_mutex!((), "portcullis::window"),
                rcu: UnsafeCell::new(pin_init::zeroed()),
            }),
            accounted(),
        )
    }

    /// Takes a slot that is free, if this window is of that kind.
    #[inline]
    fn take(&self, kind: Kind) -> Option<Slot> {
        if self.kind != kind {
            return None;
        }
        let mut busy = self.busy.load(Ordering::Relaxed);
        loop {
            // CAST: a number of bits.
            let state = self.slots.get((!busy).trailing_zeros() as usize)?;
            match self.busy.compare_exchange_weak(
                busy,
                busy | state.bit,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                // INVARIANT: its bit has just been set.
                Ok(_) => return Some(Slot::of(self, state)),
                Err(now) => busy = now,
            }
        }
    }

    /// The slot that has this address, if it is the current task's.
    #[inline]
    fn slot_of_mine(&self, address: usize) -> Option<Slot> {
        let offset = address.wrapping_sub(self.base.load(Ordering::Relaxed));
        let state = self.slots.get(offset >> self.kind.shift())?;
        let is_mine = state.owner.load(Ordering::Relaxed) == current();
        // INVARIANT: the owner of a slot is the task whose call holds it.
        is_mine.then(|| Slot::of(self, state))
    }

    /// Makes it known.
    fn publish(this: Pin<KBox<Self>>) {
        // SAFETY: it is not moved until it is freed.
        let window: &'static Self = KBox::leak(unsafe { Pin::into_inner_unchecked(this) });
        Bucket::of(window.mm).add(&WINDOWS.lock(), window);
    }

    /// Takes it out of the list, and frees it when nobody can be walking over it any more.
    ///
    /// # Safety
    ///
    /// It must have been published, and its mapping is going.
    unsafe fn forget(window: NonNull<Self>) {
        // SAFETY: the caller says that it is there.
        let this = unsafe { window.as_ref() };
        for slot in &this.slots {
            // SAFETY: no task of the address space is in a call any more, so nobody holds a slot;
            // its mapping is gone, so nobody faults.
            unsafe {
                drop(core::mem::replace(&mut *slot.small.get(), VVec::new()));
                drop(core::mem::replace(&mut *slot.large.get(), VVec::new()));
                drop(core::mem::replace(&mut *slot.outs.get(), KVec::new()));
            }
        }
        // Last, because the module's text may go when there are no windows any more, and nobody who
        // sleeps behind this is waited for.
        Bucket::of(this.mm).remove(&WINDOWS.lock(), this);
        // SAFETY: it was made by `KBox`, is in no list any more, and has nothing left that would
        // have to be dropped; walkers are gone after a grace period.
        unsafe { bindings::kvfree_call_rcu(this.rcu.get().cast(), window.as_ptr().cast()) };
    }
}
