// SPDX-License-Identifier: GPL-2.0

//! The storage of host programs and tests.

use crate::{Grow, OutOfMemory, Storage};
use std::vec::Vec;

/// Lists that are vectors of the standard library.
pub enum Heap {}

impl Storage for Heap {
    type List<T: Copy + 'static> = Vec<T>;
}

impl Grow for Heap {
    fn empty<T: Copy + 'static>() -> Vec<T> {
        Vec::new()
    }

    fn push<T: Copy + 'static>(list: &mut Vec<T>, item: T) -> Result<(), OutOfMemory> {
        list.try_reserve(1).map_err(|_| OutOfMemory)?;
        list.push(item);
        Ok(())
    }

    fn items<T: Copy + 'static>(list: &mut Vec<T>) -> &mut [T] {
        list
    }
}
