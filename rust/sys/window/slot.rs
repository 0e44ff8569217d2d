// SPDX-License-Identifier: GPL-2.0

//! A slot in the hands of the call that uses it.

use super::{
    bindings,
    bucket::Bucket,
    current,
    kind::Kind,
    mapping,
    zeroed_pages,
    SlotState,
    Window, //
};
use crate::sys::{preemption::NoPreemption, published::ReadSide};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::Ordering, //
};
use kernel::{
    mm::MmWithUser,
    page::PAGE_SIZE,
    prelude::*,
    sync::rcu, //
};
use portcullis_policy::{Buffer, Complete, OutOfMemory};

/// A slot of the current process, for one call.
///
/// # Invariants
///
/// `state` is a slot of `window`; this call holds it.
/// A window goes with its address space, which is the current task's own, or with the module, which
/// waits for this call.
pub(crate) struct Slot {
    window: NonNull<Window>,
    state: NonNull<SlotState>,
}

impl Slot {
    /// Takes a slot that is ready, if there is one.
    #[inline(always)]
    pub(crate) fn take_ready(on: &NoPreemption, compat: bool) -> Option<Self> {
        // SAFETY: the current task is there, and nobody else changes this field.
        let mm = unsafe { (*current()).mm };
        if mm.is_null() {
            return None;
        }
        Self::find(on, mm, Kind::of(compat, 0))
    }

    /// The page of a slot that has been taken just now. A new slot has none, and no slot that is free
    /// has more: dropping it does not sleep.
    #[inline]
    pub(crate) fn page_mut(&mut self) -> Option<&mut [u8; PAGE_SIZE]> {
        // SAFETY: this call holds the slot.
        let pages = unsafe { &*self.state().small.get() };
        if pages.is_empty() {
            return None;
        }
        // SAFETY: there is a first page, which has so many bytes; else as in `bytes_mut`.
        Some(unsafe { &mut *pages.as_ptr().cast_mut().cast() })
    }

    /// Takes a slot that this call can use; a 32-bit caller's handler looks for it below 4 GiB.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room for a window in the process, or no memory.
    #[inline]
    pub(crate) fn take(compat: bool) -> Result<Self> {
        let slot = Self::take_of(Kind::of(compat, 0))?;
        // SAFETY: this call holds the slot.
        if unsafe { (*slot.state().small.get()).is_empty() } {
            let page = zeroed_pages(1).map_err(|OutOfMemory| ENOMEM)?;
            let _lock = slot.window().lock.lock();
            // SAFETY: this call holds the slot and the lock.
            unsafe { *slot.state().small.get() = page };
        }
        Ok(slot)
    }

    fn take_of(kind: Kind) -> Result<Self> {
        // SAFETY: the current task is there, and nobody else changes this field.
        let mm = unsafe { (*current()).mm };
        // A kernel thread that has taken on nobody's address space.
        let owner = NonNull::new(mm).ok_or(ENOMEM)?;
        loop {
            let found = Self::find(&rcu::read_lock(), mm, kind);
            if let Some(slot) = found {
                return Ok(slot);
            }
            mapping::make(owner, kind)?;
        }
    }

    #[inline(always)]
    fn find(inside: &impl ReadSide, mm: *mut bindings::mm_struct, kind: Kind) -> Option<Self> {
        match Bucket::of(mm)
            .own_first(mm)
            .and_then(|first| first.take(kind))
        {
            None => Self::find_behind(inside, mm, kind),
            found => found,
        }
    }

    /// The rest of [`Self::find`], which few calls need.
    #[cold]
    #[inline(never)]
    fn find_behind(
        inside: &impl ReadSide,
        mm: *mut bindings::mm_struct,
        kind: Kind,
    ) -> Option<Self> {
        let own = |window: &&Window| window.mm == mm;
        let mut windows = Bucket::of(mm).windows(inside).filter(own);
        windows.find_map(|window| window.take(kind))
    }

    /// INVARIANT: the caller says that this call holds it.
    #[inline]
    pub(super) fn of(window: &Window, state: &SlotState) -> Self {
        Self {
            window: NonNull::from(window),
            state: NonNull::from(state),
        }
    }

    #[inline]
    fn window(&self) -> &Window {
        // SAFETY: by the type invariants it is there.
        unsafe { self.window.as_ref() }
    }

    #[inline]
    pub(super) fn state(&self) -> &SlotState {
        // SAFETY: by the type invariants it is there.
        unsafe { self.state.as_ref() }
    }

    /// Where the process sees it.
    #[inline]
    fn start(&self) -> usize {
        let base = self.window().base.load(Ordering::Relaxed);
        base.wrapping_add(self.state().offset)
    }

    /// Changes what stands behind the addresses of this slot.
    pub(super) fn change(&self, change: impl FnOnce(&SlotState)) {
        // SAFETY: the current task is there, and nobody else changes this field; it is not null,
        // because the slot is in it.
        let mm = unsafe { MmWithUser::from_raw((*current()).mm) };
        let memory = mm.mmap_read_lock();
        let _lock = self.window().lock.lock();
        change(self.state());
        if let Some(vma) = memory.vma_lookup(self.start()) {
            vma.zap_vma_range(self.start(), self.window().kind.stride());
        }
    }

    /// Lets the handler of the current task read what was judged. `written`: and write to it, which
    /// goes to the caller's own memory afterwards.
    #[inline]
    pub(crate) fn open(self, complete: Complete, written: bool) -> Self {
        let state = self.state();
        // SAFETY: this call holds the slot.
        let place = unsafe { &mut *state.complete.get() };
        place.argument = complete.argument;
        // Mostly nothing, which is one word to write.
        match complete.followed {
            None => place.followed = None,
            followed => place.followed = followed,
        }
        state.written.store(written, Ordering::Relaxed);
        state.owner.store(current(), Ordering::Release);
        self
    }

    pub(super) fn complete(&self) -> &Complete {
        // SAFETY: this call holds the slot.
        unsafe { &*self.state().complete.get() }
    }

    /// What the handler is to be called with.
    #[inline]
    pub(crate) fn argument(&self) -> u64 {
        // CAST: 64 bits fit.
        let start = self.complete().argument.range.start;
        self.start().wrapping_add(start) as u64
    }

    /// What the caller has called the handler with.
    pub(crate) fn original(&self) -> u64 {
        self.complete().argument.address
    }

    /// Leaves it to [`Self::from_argument`].
    #[inline]
    pub(crate) fn into_argument(self) -> u64 {
        let argument = self.argument();
        core::mem::forget(self);
        argument
    }

    /// The slot of the current task that somebody left with [`Self::into_argument`], if it is in the
    /// first window, as most are.
    #[inline(always)]
    pub(crate) fn from_argument(argument: u64) -> Option<Self> {
        // SAFETY: the current task is there, and nobody else changes this field.
        let mm = unsafe { (*current()).mm };
        // CAST: 64 bits.
        let address = argument as usize;
        let first = Bucket::of(mm).own_first(mm);
        first?.slot_of_mine(address)
    }

    /// The slot of the current task that somebody left with [`Self::into_argument`].
    pub(crate) fn from_argument_anywhere(argument: u64) -> Option<Self> {
        // SAFETY: the current task is there, and nobody else changes this field.
        let mm = unsafe { (*current()).mm };
        // CAST: 64 bits.
        let address = argument as usize;
        let rcu = rcu::read_lock();
        let own = |window: &&Window| window.mm == mm;
        let mut windows = Bucket::of(mm).windows(&rcu).filter(own);
        windows.find_map(|window| window.slot_of_mine(address))
    }
}

impl Slot {
    /// The same slot, for the rare work on it: what is passed by value need not be in memory.
    #[inline]
    fn alias(&self) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self {
            window: self.window,
            state: self.state,
        })
    }

    /// Gives back the pages of a long argument.
    #[cold]
    #[inline(never)]
    fn shrink(slot: ManuallyDrop<Self>) {
        slot.change(|state| {
            // SAFETY: this call holds the slot and the lock.
            let large = unsafe { &mut *state.large.get() };
            drop(core::mem::replace(large, VVec::new()));
        });
    }
}

impl Buffer for Slot {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: this call holds the slot.
        let pages = unsafe { self.state().pages() };
        // SAFETY: they are bytes, one page behind the other; only this call writes them.
        unsafe { core::slice::from_raw_parts(pages.as_ptr().cast(), size_of_val(pages)) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: this call holds the slot.
        let pages = unsafe { self.state().pages() };
        let len = size_of_val(pages);
        // SAFETY: as above; they are written through this reference alone, which is unique because
        // the slot is borrowed. That they are also in a page table makes no difference: from there
        // they are only read, by the processor.
        unsafe { core::slice::from_raw_parts_mut(pages.as_ptr().cast_mut().cast(), len) }
    }

    #[inline]
    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory> {
        if len <= self.bytes().len() {
            return Ok(());
        }
        let mut pages = zeroed_pages(len.div_ceil(PAGE_SIZE))?;
        // SAFETY: this call holds the slot.
        for (new, old) in pages.iter_mut().zip(unsafe { self.state().pages() }) {
            new.0 = old.0;
        }
        let kind = self.window().kind;
        if len > kind.most() {
            let longer = Kind::for_bytes(kind.is_low(), len).ok_or(OutOfMemory)?;
            *self = Self::take_of(longer).map_err(|_| OutOfMemory)?;
        }
        self.change(|state| {
            // SAFETY: this call holds the slot and the lock; nothing refers to the pages before.
            let large = unsafe { &mut *state.large.get() };
            drop(core::mem::replace(large, pages));
        });
        Ok(())
    }

    fn address(&self) -> u64 {
        // CAST: 64 bits fit.
        self.start() as u64
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this call holds the slot.
        if unsafe { !(*self.state().large.get()).is_empty() } {
            Self::shrink(self.alias());
        }
        self.window()
            .busy
            .fetch_and(!self.state().bit, Ordering::Release);
    }
}
