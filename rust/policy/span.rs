// SPDX-License-Identifier: GPL-2.0

//! A piece of a text or of a list.

/// Where a piece begins and how many items (of a text: bytes) it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first item.
    pub start: u32,
    /// How many.
    pub len: u32,
}

impl Span {
    /// The piece of `items`; `None` where they do not reach that far.
    pub fn of<T>(self, items: &[T]) -> Option<&[T]> {
        let start = usize::try_from(self.start).ok()?;
        let len = usize::try_from(self.len).ok()?;
        items.get(start..start.checked_add(len)?)
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// From the item at `start` up to the one before `end`. [`crate::limits`] keeps both far below
    /// 32 bits.
    pub(crate) fn between(start: usize, end: usize) -> Self {
        Self {
            start: saturated(start),
            len: saturated(end.saturating_sub(start)),
        }
    }

    /// From the beginning of this piece to the end of a later one.
    pub(crate) fn up_to(self, last: Self) -> Self {
        let end = last.start.saturating_add(last.len);
        Self {
            start: self.start,
            len: end.saturating_sub(self.start),
        }
    }

    /// The empty piece behind this one.
    pub(crate) fn behind(self) -> Self {
        Self {
            start: self.start.saturating_add(self.len),
            len: 0,
        }
    }
}

/// A number of items in 32 bits.
pub(crate) fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
