// SPDX-License-Identifier: GPL-2.0

//! The whole of an argument: what its handler reads and writes, whether or not a rule looks at it.
//!
//! A call that was judged on a copy goes on with that copy. So the copy must have everything that the
//! handler may look for, and not only what the rules looked at.

use crate::fetch::{number, size, Buffer, Fetched, Memory, ALIGNMENT, PADDING};
use crate::schema::{Argument, At, Command, Direction, Field, FieldKind, Len, Place, Struct};
use crate::{OutOfMemory, Tail};
use core::ops::Range;

/// How far an argument goes.
///
/// It may be more than there is: what cannot be read is left out, and its handler will not find it
/// either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Its bytes without an array at the end.
    pub fixed: u32,
    /// The array at its end.
    pub tail: Option<Tail>,
    /// Where the caller says how many bytes it has.
    pub sized_by: Option<Place>,
    /// Whether the handler writes to it.
    pub written: bool,
}

/// More than this of an argument is never copied. The largest that the kernel takes is
/// `VHOST_SET_MEM_TABLE`'s with 65,535 regions of 32 bytes.
pub const WHOLE_BYTES: usize = 65_536 * 32;

/// So much may stand behind a struct whose end only the handler knows: a `KVM_SET_XSAVE` with all
/// of AMX has 11,008 bytes, a `KVM_GET_CPUID2` with 256 entries 10,248.
const OPEN_END_BYTES: u32 = 16_384;

impl Whole {
    /// Of a command's argument, in the layout of 64-bit or of 32-bit callers.
    pub(crate) fn of(command: &Command, compat: bool) -> Self {
        let Argument::Struct(argument) = command.argument else {
            return Self::default();
        };
        let (bytes, fields) = match argument.compat {
            Some(layout) if compat => (layout.size, layout.fields),
            _ => (argument.size, argument.fields),
        };
        // The size that the number of the command tells, for those that have one.
        let told = (command.number >> 16) & 0x3fff;
        Self {
            fixed: bytes.max(told).saturating_add(behind(argument)),
            tail: fields.iter().filter_map(tail).reduce(Tail::and),
            sized_by: argument.sized_by,
            written: argument.direction != Direction::In,
        }
    }
}

/// The most bytes that may stand behind a struct.
fn behind(argument: &Struct) -> u32 {
    let inline = argument
        .variants
        .iter()
        .filter_map(|variant| match variant.at {
            At::Inline(_) => Some(variant.size),
            At::Pointer(_) => None,
        });
    let open = argument.open_ended.then_some(OPEN_END_BYTES);
    inline.chain(open).max().unwrap_or(0)
}

/// A field that is an array whose end another field tells.
fn tail(field: &Field) -> Option<Tail> {
    match field.kind {
        FieldKind::Array(array) if !matches!(array.len, Len::Fixed(_)) => Some(Tail {
            offset: field.offset,
            stride: array.stride,
            len: array.len,
        }),
        _ => None,
    }
}

/// Where a part of the caller's memory is in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// In the buffer.
    pub range: Range<usize>,
    /// In the caller's memory.
    pub address: u64,
}

/// The copy of an argument, as its handler is to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complete {
    /// The argument itself.
    pub argument: Part,
    /// What a pointer in it leads to.
    pub followed: Option<Part>,
}

impl Complete {
    /// Of nothing.
    pub const NOTHING: Self = Self::of(0, 0);

    /// Of an argument that is all at the beginning of the buffer.
    #[inline]
    pub const fn of(address: u64, bytes: usize) -> Self {
        Self {
            argument: Part {
                range: 0..bytes,
                address,
            },
            followed: None,
        }
    }
}

impl<B: Buffer> Fetched<B> {
    /// Reads what the rules do not look at, unless that has been done. What they look at stays where it is:
    /// it can be judged before and after.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    pub fn read_rest(
        &mut self,
        whole: &Whole,
        address: u64,
        memory: &mut impl Memory,
    ) -> Result<(), OutOfMemory> {
        if self.rest.is_none() {
            self.rest = Some(self.fill_all(whole, address, memory)?);
        }
        Ok(())
    }

    /// Puts the copy in the handler's order: reads what the rules did not look at, if nobody has, and makes
    /// the pointer to what was followed lead to the copy. Behind all that there are zeros.
    ///
    /// Where the caller's memory ends before the argument does, the buffer ends there as well: the
    /// handler finds what it would have found, and fails where it would have failed. So the argument may
    /// have moved: it can be judged no more.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    pub fn complete(
        mut self,
        whole: &Whole,
        address: u64,
        memory: &mut impl Memory,
    ) -> Result<(B, Complete), OutOfMemory> {
        self.read_rest(whole, address, memory)?;
        let len = self.argument;
        let mut start = 0;
        if self.rest != Some(true) {
            let bytes = self.buffer.bytes_mut();
            start = bytes.len().saturating_sub(len);
            bytes.rotate_right(start);
            if let Some(followed) = &mut self.followed {
                followed.start = followed.start.saturating_sub(len);
            }
        }
        let followed = self.followed;
        let last = followed.map_or(0, |it| it.start.saturating_add(it.len));
        let last = last.max(start.saturating_add(len));
        if let Some(rest) = self.buffer.bytes_mut().get_mut(last..) {
            rest.fill(0);
        }
        let base = self.buffer.address();
        if let Some(followed) = followed {
            let lead = base.wrapping_add(u64::try_from(followed.start).unwrap_or(0));
            let at = start.saturating_add(size(followed.pointer));
            if let Some(pointer) = self.buffer.bytes_mut().get_mut(at..at.saturating_add(8)) {
                pointer.copy_from_slice(&lead.to_le_bytes());
            }
        }
        let complete = Complete {
            argument: Part {
                range: start..start.saturating_add(len),
                address,
            },
            followed: followed.map(|it| Part {
                range: it.start..it.start.saturating_add(it.len),
                address: it.address,
            }),
        };
        Ok((self.buffer, complete))
    }

    /// Reads on to the end of the whole; whether all of it is there.
    fn fill_all(
        &mut self,
        whole: &Whole,
        address: u64,
        memory: &mut impl Memory,
    ) -> Result<bool, OutOfMemory> {
        let mut end = size(whole.fixed);
        let mut all = true;
        if let Some(place) = whole.sized_by {
            let known = size(place.offset.saturating_add(place.width.into()));
            all = self.fill(known, address, memory)?;
            // Beyond the kernel's own idea of the struct, it looks whether there are zeros.
            let said = number(self.argument(), place).unwrap_or(0);
            end = end.max(
                usize::try_from(said)
                    .unwrap_or(WHOLE_BYTES)
                    .min(WHOLE_BYTES),
            );
        }
        all = all && self.fill(end, address, memory)?;
        if let Some(tail) = whole.tail {
            let bytes = tail_extent(&tail, whole.written, self.argument());
            let tail_end = size(tail.offset).saturating_add(bytes).min(WHOLE_BYTES);
            all = all && self.fill(tail_end, address, memory)?;
        }
        Ok(all)
    }

    /// Reads on until `end`, leaving out what has been read; whether it got there.
    fn fill(
        &mut self,
        end: usize,
        address: u64,
        memory: &mut impl Memory,
    ) -> Result<bool, OutOfMemory> {
        self.make_room(end)?;
        loop {
            let start = self.argument;
            let mut until = end;
            match &self.tail {
                Some(tail) if tail.contains(&start) => {
                    self.argument = tail.end;
                    continue;
                }
                Some(tail) if tail.start > start => until = until.min(tail.start),
                _ => {}
            }
            if self.ahead > start {
                self.argument = self.ahead.min(until.max(start));
                if self.argument > start {
                    continue;
                }
            }
            if start >= until {
                return Ok(true);
            }
            let Some(new) = self.buffer.bytes_mut().get_mut(start..until) else {
                return Ok(false);
            };
            let from = u64::try_from(start)
                .ok()
                .and_then(|start| address.checked_add(start));
            let read = from.map_or(0, |from| memory.read_some(from, new));
            self.argument = start.saturating_add(read);
            if self.argument < until {
                return Ok(false);
            }
        }
    }

    /// Makes the buffer long enough, with [`PADDING`], and moves what was followed out of the way.
    fn make_room(&mut self, end: usize) -> Result<(), OutOfMemory> {
        let padded = |end: usize| end.checked_add(PADDING).ok_or(OutOfMemory);
        let Some(followed) = self.followed.filter(|followed| followed.start < end) else {
            return self.buffer.grow(padded(end)?);
        };
        let to = end.next_multiple_of(ALIGNMENT);
        let to_end = to.checked_add(followed.len).ok_or(OutOfMemory)?;
        self.buffer.grow(padded(to_end)?)?;
        let from = followed.start..followed.start.saturating_add(followed.len);
        let bytes = self.buffer.bytes_mut();
        if from.end <= bytes.len() && to_end <= bytes.len() {
            bytes.copy_within(from, to);
        }
        self.followed = Some(crate::fetch::Followed {
            start: to,
            ..followed
        });
        Ok(())
    }
}

/// The bytes of the array at the end: as many as the caller says. Where the kernel writes an array it
/// stops at its own limit; where it reads one, it may look behind it whether there are zeros.
fn tail_extent(tail: &Tail, written: bool, argument: &[u8]) -> usize {
    let (count, limit) = match tail.len {
        Len::Fixed(count) => (u64::from(count), count),
        Len::Counted { count, limit } => (number(argument, count).unwrap_or(0), limit),
        // Part of what the caller says the whole has.
        Len::Rest { .. } => (0, 0),
    };
    let count = if written {
        count.min(u64::from(limit))
    } else {
        count
    };
    usize::try_from(count.saturating_mul(u64::from(tail.stride))).unwrap_or(usize::MAX)
}
