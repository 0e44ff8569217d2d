// SPDX-License-Identifier: GPL-2.0

//! Finding the windows of an address space.

use super::{bindings, Window};
use crate::sys::{locks::WINDOWS, published::ReadSide};
use core::{
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering}, //
};
use kernel::sync::GlobalGuard;

/// The windows of some address spaces.
///
/// # Invariants
///
/// `mm` is null or that of the window `first`. A window that is the first stays it until it is
/// forgotten: whoever finds their own address space in `mm` may take what is in `first` for theirs.
pub(super) struct Bucket {
    mm: AtomicPtr<bindings::mm_struct>,
    pub(super) first: AtomicPtr<Window>,
}

/// All windows, by address space. They change under [`WINDOWS`].
pub(super) static BUCKETS: [Bucket; 256] = [const {
    Bucket {
        mm: AtomicPtr::new(null_mut()),
        first: AtomicPtr::new(null_mut()),
    }
}; 256];

impl Bucket {
    /// The bucket of an address space.
    #[inline]
    pub(super) fn of(mm: *mut bindings::mm_struct) -> &'static Self {
        // The struct has more than 1 KiB: the bits above that tell one from another.
        let hash = (mm.addr() >> 10) ^ (mm.addr() >> 18);
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
        &BUCKETS[hash & 0xff]
    }

    /// The first window, if it is the current task's, whose address space `mm` is.
    #[inline]
    pub(super) fn own_first(&self, mm: *mut bindings::mm_struct) -> Option<&Window> {
        if self.mm.load(Ordering::Acquire) != mm {
            return None;
        }
        // SAFETY: by the invariants it is this task's, whose address space is there.
        unsafe { self.first.load(Ordering::Relaxed).as_ref() }
    }

    /// The windows.
    #[inline]
    pub(super) fn windows<'a>(
        &self,
        _inside: &'a impl ReadSide,
    ) -> impl Iterator<Item = &'a Window> {
        let mut next = self.first.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: windows are freed after a grace period.
            let window: &'a Window = unsafe { next.as_ref() }?;
            next = window.next.load(Ordering::Acquire);
            Some(window)
        })
    }

    /// Adds a window.
    pub(super) fn add(&self, _locked: &GlobalGuard<WINDOWS>, window: &'static Window) {
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
    pub(super) fn remove(&self, _locked: &GlobalGuard<WINDOWS>, window: &Window) {
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
