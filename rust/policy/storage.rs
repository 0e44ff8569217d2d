// SPDX-License-Identifier: GPL-2.0

//! Where lists live: the kernel's vectors, a host program's, or static data.
//!
//! The methods stand on the storage and not on its lists, so that a storage can hand out a vector
//! type of another crate as it is.

use crate::fetch::Buffer;
use core::ops::Deref;

/// There is no memory for another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A kind of list that can be read.
pub trait Storage {
    /// The list.
    type List<T: Copy + 'static>: Deref<Target = [T]>;
}

/// A storage whose lists grow.
pub trait Grow: Storage {
    /// An empty list.
    fn empty<T: Copy + 'static>() -> Self::List<T>;

    /// Adds an item at the end.
    fn push<T: Copy + 'static>(list: &mut Self::List<T>, item: T) -> Result<(), OutOfMemory>;

    /// A list of so many zeros.
    fn zeroed(len: usize) -> Result<Self::List<u8>, OutOfMemory> {
        let mut list = Self::empty();
        for _ in 0..len {
            Self::push(&mut list, 0)?;
        }
        Ok(list)
    }

    /// The items, to be changed in place.
    fn items<T: Copy + 'static>(list: &mut Self::List<T>) -> &mut [T];

    /// A list with the same items as a slice.
    fn copy<T: Copy + 'static>(items: &[T]) -> Result<Self::List<T>, OutOfMemory> {
        let mut list = Self::empty();
        for &item in items {
            Self::push(&mut list, item)?;
        }
        Ok(list)
    }
}

/// Lists that are part of the program: what `scripts/compile-policy.rs` writes.
pub enum Static {}

impl Storage for Static {
    type List<T: Copy + 'static> = &'static [T];
}

/// A [`Buffer`] in a list.
pub struct InList<S: Grow>(S::List<u8>);

impl<S: Grow> InList<S> {
    /// With nothing in it.
    pub fn new() -> Self {
        Self(S::empty())
    }
}

impl<S: Grow> Default for InList<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Grow> Buffer for InList<S> {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        S::items(&mut self.0)
    }

    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory> {
        while self.0.len() < len {
            S::push(&mut self.0, 0)?;
        }
        Ok(())
    }
}
