// SPDX-License-Identifier: GPL-2.0

//! The policy engine's lists in kernel memory.

use crate::sys::user_memory::zeroed_bytes;
use kernel::{
    alloc::{
        flags::{GFP_KERNEL_ACCOUNT, __GFP_NOWARN},
        Flags, //
    },
    prelude::*, //
};
use portcullis_policy::{Grow, OutOfMemory, Storage};

/// Lists in memory from `kvmalloc()`.
pub(crate) enum Heap {}

impl Storage for Heap {
    type List<T: Copy + 'static> = KVVec<T>;
}

impl Grow for Heap {
    fn empty<T: Copy + 'static>() -> KVVec<T> {
        KVVec::new()
    }

    fn push<T: Copy + 'static>(list: &mut KVVec<T>, item: T) -> Result<(), OutOfMemory> {
        list.push(item, GFP_KERNEL).map_err(|_| OutOfMemory)
    }

    fn items<T: Copy + 'static>(list: &mut KVVec<T>) -> &mut [T] {
        list
    }
}

/// Lists in memory that the calling task's cgroup pays for: what a VMM makes us allocate.
pub(crate) enum Accounted {}

/// A VMM that asks for more than there is gets `ENOMEM`, and writes nothing into the kernel's log.
fn accounted() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NOWARN
}

impl Storage for Accounted {
    type List<T: Copy + 'static> = KVVec<T>;
}

impl Grow for Accounted {
    fn empty<T: Copy + 'static>() -> KVVec<T> {
        KVVec::new()
    }

    fn push<T: Copy + 'static>(list: &mut KVVec<T>, item: T) -> Result<(), OutOfMemory> {
        list.push(item, accounted()).map_err(|_| OutOfMemory)
    }

    fn zeroed(len: usize) -> Result<KVVec<u8>, OutOfMemory> {
        zeroed_bytes(len, accounted()).map_err(|_| OutOfMemory)
    }

    fn items<T: Copy + 'static>(list: &mut KVVec<T>) -> &mut [T] {
        list
    }
}
