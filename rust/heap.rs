// SPDX-License-Identifier: GPL-2.0

//! The policy engine's lists in kernel memory.

use kernel::prelude::*;
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
