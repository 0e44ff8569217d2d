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

mod faults;
mod mapping;

use super::{
    bindings,
    call::current,
    locks::WINDOWS,
    preemption::NoPreemption,
    published::ReadSide,
    user_memory::OfCaller, //
};
use core::{
    cell::UnsafeCell,
    mem::ManuallyDrop,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering},
};
use kernel::{
    alloc::{
        flags::{GFP_KERNEL_ACCOUNT, __GFP_NOWARN, __GFP_ZERO},
        Flags, //
    },
    mm::MmWithUser,
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::{new_mutex, rcu, GlobalGuard, Mutex}, //
};
use portcullis_policy::{Buffer, Complete, OutOfMemory, Part, WHOLE_BYTES};

pub(crate) use mapping::{init, remove_all, Backing};

/// Calls that can be on their way in one window at most; a process that has more gets another.
const SLOTS: usize = 8;

/// Which calls a window is for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind(u8);

/// For arguments of each length: slots, and how many times the page size they double from one to the
/// next. The last page of a slot is never there: whoever reads on behind an argument that ends with
/// its page finds nothing.
const SIZES: [(usize, u32); 3] = [
    (SLOTS, 1),
    (4, 4),
    // WHOLE_BYTES, what a pointer leads to, and nothing.
    (2, 10),
];

const _: () = assert!(PAGE_SIZE << 10 == 2 * WHOLE_BYTES);

impl Kind {
    /// The bytes of the largest.
    const MOST_BYTES: usize = Self::of(false, 2).bytes();

    /// Of callers of a word size and the arguments of one length.
    const fn of(low: bool, size: u8) -> Self {
        Self(size << 1 | low as u8)
    }

    /// The smallest for an argument that long.
    fn for_bytes(low: bool, bytes: usize) -> Option<Self> {
        let kinds = (0_u8..).zip(SIZES).map(|(size, _)| Self::of(low, size));
        kinds.into_iter().find(|kind| bytes <= kind.most())
    }

    /// Whether it is for 32-bit callers: below 4 GiB.
    const fn is_low(self) -> bool {
        self.0 & 1 != 0
    }

    const fn slots_and_doublings(self) -> (usize, u32) {
        match self.0 >> 1 {
            0 => SIZES[0],
            1 => SIZES[1],
            _ => SIZES[2],
        }
    }

    /// Bits of the bytes from one slot to the next.
    const fn shift(self) -> u32 {
        let (_, doublings) = self.slots_and_doublings();
        PAGE_SIZE.trailing_zeros() + doublings
    }

    /// Bytes from one slot to the next.
    const fn stride(self) -> usize {
        1 << self.shift()
    }

    /// Bytes that an argument may have at most.
    const fn most(self) -> usize {
        self.stride() - PAGE_SIZE
    }

    /// Bytes of the address space that a window takes.
    const fn bytes(self) -> usize {
        let (slots, _) = self.slots_and_doublings();
        slots * self.stride()
    }
}

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

/// The windows of some address spaces.
///
/// # Invariants
///
/// `mm` is null or that of the window `first`. A window that is the first stays it until it is
/// forgotten: whoever finds their own address space in `mm` may take what is in `first` for theirs.
struct Bucket {
    mm: AtomicPtr<bindings::mm_struct>,
    first: AtomicPtr<Window>,
}

/// All windows, by address space. They change under [`WINDOWS`].
static BUCKETS: [Bucket; 256] = [const {
    Bucket {
        mm: AtomicPtr::new(null_mut()),
        first: AtomicPtr::new(null_mut()),
    }
}; 256];

impl Bucket {
    /// The bucket of an address space.
    #[inline]
    fn of(mm: *mut bindings::mm_struct) -> &'static Self {
        // The struct has more than 1 KiB: the bits above that tell one from another.
        let hash = (mm.addr() >> 10) ^ (mm.addr() >> 18);
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
        &BUCKETS[hash & 0xff]
    }

    /// The first window, if it is the current task's, whose address space `mm` is.
    #[inline]
    fn own_first(&self, mm: *mut bindings::mm_struct) -> Option<&Window> {
        if self.mm.load(Ordering::Acquire) != mm {
            return None;
        }
        // SAFETY: by the invariants it is this task's, whose address space is there.
        unsafe { self.first.load(Ordering::Relaxed).as_ref() }
    }

    /// The windows.
    #[inline]
    fn windows<'a>(&self, _inside: &'a impl ReadSide) -> impl Iterator<Item = &'a Window> {
        let mut next = self.first.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: windows are freed after a grace period.
            let window: &'a Window = unsafe { next.as_ref() }?;
            next = window.next.load(Ordering::Acquire);
            Some(window)
        })
    }

    /// Adds a window.
    fn add(&self, _locked: &GlobalGuard<WINDOWS>, window: &'static Window) {
        let new = core::ptr::from_ref(window).cast_mut();
        // SAFETY: with the lock held, what the list has is there.
        match unsafe { self.first.load(Ordering::Relaxed).as_ref() } {
            Some(first) => {
                let behind = first.next.load(Ordering::Relaxed);
                window.next.store(behind, Ordering::Relaxed);
                first.next.store(new, Ordering::Release);
            }
            None => self.begin_with(new, window.mm),
        }
    }

    /// INVARIANT: nobody takes the first for theirs while it changes.
    fn begin_with(&self, first: *mut Window, mm: *mut bindings::mm_struct) {
        self.mm.store(null_mut(), Ordering::Relaxed);
        self.first.store(first, Ordering::Release);
        self.mm.store(mm, Ordering::Release);
    }

    /// Removes a window.
    fn remove(&self, _locked: &GlobalGuard<WINDOWS>, window: &Window) {
        let old = core::ptr::from_ref(window).cast_mut();
        let behind = window.next.load(Ordering::Relaxed);
        let mut here = self.first.load(Ordering::Relaxed);
        if here == old {
            // SAFETY: with the lock held, what the list has is there.
            let mm = unsafe { behind.as_ref() }.map_or(null_mut(), |next| next.mm);
            return self.begin_with(behind, mm);
        }
        // SAFETY: as above.
        while let Some(other) = unsafe { here.as_ref() } {
            here = other.next.load(Ordering::Relaxed);
            if here == old {
                return other.next.store(behind, Ordering::Release);
            }
        }
    }
}

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
    fn of(window: &Window, state: &SlotState) -> Self {
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
    fn state(&self) -> &SlotState {
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
    fn change(&self, change: impl FnOnce(&SlotState)) {
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

    fn complete(&self) -> &Complete {
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

    /// Takes it back, and writes to the caller's memory what the handler wrote here. What the call
    /// returns, given what the handler has returned: `-EFAULT` if that cannot be written.
    #[inline]
    pub(crate) fn finish(self, result: c_long) -> c_long {
        let state = self.state();
        state.owner.store(null_mut(), Ordering::Release);
        // SAFETY: this call holds the slot.
        let is_long = unsafe { !(*state.large.get()).is_empty() };
        if state.writing.load(Ordering::Relaxed) || is_long {
            return self.finish_behind(result);
        }
        result
    }

    /// The rest of [`Self::finish`], which few calls need.
    #[cold]
    #[inline(never)]
    fn finish_behind(self, result: c_long) -> c_long {
        if !self.state().writing.load(Ordering::Relaxed) {
            return result;
        }
        match self.write_all_back() {
            // CAST: an errno fits.
            Err(error) if result >= 0 => error.to_errno() as c_long,
            _ => result,
        }
    }

    /// The same slot, for the rare work on it: what is passed by value need not be in memory.
    #[inline]
    fn alias(&self) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self {
            window: self.window,
            state: self.state,
        })
    }

    fn write_all_back(&self) -> Result {
        let complete = self.complete();
        let parts = [Some(&complete.argument), complete.followed.as_ref()];
        let mut parts = parts.into_iter().flatten();
        let mut result = parts.try_fold(0, |sum, part| Ok(sum + self.write_back(part)?));
        if let (Ok(0), Some(first)) = (&result, self.bytes().get(complete.argument.range.start)) {
            // What was written is what was there. It would have failed all the same where nothing can
            // be written.
            let first = core::slice::from_ref(first);
            result = OfCaller.write(complete.argument.address, first).map(|()| 0);
        }
        self.change(|state| {
            state.writing.store(false, Ordering::Relaxed);
            // SAFETY: there is no owner, and this call holds the slot.
            unsafe { (*state.outs.get()).clear() };
        });
        result.map(|_| ())
    }

    /// Writes what the handler has changed of a part; how many bytes.
    fn write_back(&self, part: &Part) -> Result<usize> {
        // SAFETY: there is no owner, and this call holds the slot.
        let outs = unsafe { &*self.state().outs.get() };
        let mut written = 0;
        for (place, page) in outs {
            let from = place * PAGE_SIZE;
            let start = part.range.start.max(from);
            let end = part.range.end.min(from + PAGE_SIZE);
            let mut at = start;
            while at < end {
                let mut chunk = [0_u8; 256];
                let len = chunk.len().min(end - at);
                // SAFETY: `chunk` has so many bytes. Another thread may write to the page: then
                // any bytes come out, which are the process's own affair.
                unsafe { page.read_raw(chunk.as_mut_ptr(), at - from, len)? };
                let chunk = chunk.get(..len).ok_or(EFAULT)?;
                let before = self.bytes().get(at..at + len).ok_or(EFAULT)?;
                let to = part.address.wrapping_add((at - part.range.start) as u64);
                written += write_changes(before, chunk, to)?;
                at += len;
            }
        }
        Ok(written)
    }
}

impl Slot {
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

/// Writes to the caller's memory at `to` the runs of bytes that differ; how many bytes.
fn write_changes(before: &[u8], after: &[u8], to: u64) -> Result<usize> {
    let (mut at, mut written) = (0, 0);
    while let Some(from) = differs_from(before, after, at) {
        let same = before
            .iter()
            .zip(after)
            .skip(from)
            .position(|(a, b)| a == b);
        let end = same.map_or(after.len(), |same| from + same);
        let bytes = after.get(from..end).ok_or(EFAULT)?;
        OfCaller.write(to.wrapping_add(from as u64), bytes)?;
        written += bytes.len();
        at = end;
    }
    Ok(written)
}

/// The first place from `at` on where both differ.
fn differs_from(before: &[u8], after: &[u8], at: usize) -> Option<usize> {
    let differ = |(a, b): (&u8, &u8)| a != b;
    let found = before.iter().zip(after).skip(at).position(differ)?;
    Some(at + found)
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
