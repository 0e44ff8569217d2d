// SPDX-License-Identifier: GPL-2.0

//! A value that probes read without a lock while it may be replaced: RCU with one pointer.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::preemption::NoPreemption;
use core::{
    marker::PhantomData,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{
    prelude::*,
    sync::{lock::GlobalLockBackend, rcu, GlobalGuard}, //
};

/// Proof of an RCU read-side critical section.
///
/// # Safety
///
/// No grace period that begins while a value exists ends before it is gone.
pub(crate) unsafe trait ReadSide {}

// SAFETY: that is what the lock is.
unsafe impl ReadSide for rcu::Guard {}
// SAFETY: so is code with preemption off.
unsafe impl ReadSide for NoPreemption {}

/// A place for a value of which readers see either all of the old one or all of the new one.
///
/// It is replaced only under the lock `L`.
///
/// # Invariants
///
/// The pointer is null or comes from [`KBox::into_raw`]; it changes only under `L`, and a value
/// that was taken out is not freed before a grace period has passed.
pub(crate) struct Published<T, L> {
    value: AtomicPtr<T>,
    _lock: PhantomData<fn(L)>,
}

impl<T: Send + Sync, L: GlobalLockBackend> Published<T, L> {
    /// A place with nothing in it.
    pub(crate) const fn empty() -> Self {
        Self {
            value: AtomicPtr::new(null_mut()),
            _lock: PhantomData,
        }
    }

    /// The value in force, for as long as the critical section lasts.
    #[inline]
    pub(crate) fn read<'a>(&'a self, _inside: &'a impl ReadSide) -> Option<&'a T> {
        // SAFETY: by the type invariants the pointer is null or valid, and it stays so until a
        // grace period has passed, which cannot happen inside the critical section.
        unsafe { self.value.load(Ordering::Acquire).as_ref() }
    }

    /// The value in force, for one who holds the lock and may sleep.
    pub(crate) fn locked<'a>(&'a self, _guard: &'a GlobalGuard<L>) -> Option<&'a T> {
        // SAFETY: by the type invariants the pointer is null or valid, and nobody can replace it
        // while the lock is held.
        unsafe { self.value.load(Ordering::Acquire).as_ref() }
    }

    /// Puts a value in force, or none, and returns the one before when nobody can be reading it
    /// any more. Sleeps for a grace period.
    pub(crate) fn replace(
        &self,
        _guard: &mut GlobalGuard<L>,
        value: Option<KBox<T>>,
    ) -> Option<KBox<T>> {
        let new = value.map_or(null_mut(), KBox::into_raw);
        // INVARIANT: the lock is held, and the old value is handed out after a grace period.
        let old = self.value.swap(new, Ordering::AcqRel);
        if old.is_null() {
            return None;
        }
        rcu::synchronize_rcu();
        // SAFETY: by the type invariants it comes from `KBox::into_raw`; the swap took it out and
        // the grace period has passed, so this is the only pointer to it.
        Some(unsafe { KBox::from_raw(old) })
    }
}
