// SPDX-License-Identifier: GPL-2.0

//! The sizes of windows.

use super::{PAGE_SIZE, WHOLE_BYTES};

/// Calls that can be on their way in one window at most; a process that has more gets another.
pub(super) const SLOTS: usize = 8;

/// Which calls a window is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

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
    pub(super) const MOST_BYTES: usize = Self::of(false, 2).bytes();

    /// Of callers of a word size and the arguments of one length.
    pub(super) const fn of(low: bool, size: u8) -> Self {
        Self(size << 1 | low as u8)
    }

    /// The smallest for an argument that long.
    pub(super) fn for_bytes(low: bool, bytes: usize) -> Option<Self> {
        let kinds = (0_u8..).zip(SIZES).map(|(size, _)| Self::of(low, size));
        kinds.into_iter().find(|kind| bytes <= kind.most())
    }

    /// Whether it is for 32-bit callers: below 4 GiB.
    pub(super) const fn is_low(self) -> bool {
        self.0 & 1 != 0
    }

    pub(super) const fn slots_and_doublings(self) -> (usize, u32) {
        match self.0 >> 1 {
            0 => SIZES[0],
            1 => SIZES[1],
            _ => SIZES[2],
        }
    }

    /// Bits of the bytes from one slot to the next.
    pub(super) const fn shift(self) -> u32 {
        let (_, doublings) = self.slots_and_doublings();
        PAGE_SIZE.trailing_zeros() + doublings
    }

    /// Bytes from one slot to the next.
    pub(super) const fn stride(self) -> usize {
        1 << self.shift()
    }

    /// Bytes that an argument may have at most.
    pub(super) const fn most(self) -> usize {
        self.stride() - PAGE_SIZE
    }

    /// Bytes of the address space that a window takes.
    pub(super) const fn bytes(self) -> usize {
        let (slots, _) = self.slots_and_doublings();
        slots * self.stride()
    }
}
