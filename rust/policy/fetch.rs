// SPDX-License-Identifier: GPL-2.0

//! What has to be read of a call's argument before it can be judged, and how: each byte once, and
//! nothing that no rule looks at.

use crate::schema::{Len, Place, Selector};
use crate::{Head, OutOfMemory, Policy, Reads, Request, Storage, Tail};
use core::ops::Range;

/// Bytes that stand behind those of each slice of [`Bytes`], whatever they are: the evaluator reads
/// every number as one of 64 bits, and throws away what is not part of it.
pub const PADDING: usize = 8;

/// The caller's memory.
pub trait Memory {
    /// Copies the bytes at `address`; false if they cannot be read.
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool;

    /// Copies as many of the bytes at `address` as can be read, from the first on; how many.
    fn read_some(&mut self, address: u64, into: &mut [u8]) -> usize {
        if self.read(address, into) {
            into.len()
        } else {
            0
        }
    }
}

/// Where the copy of an argument is put together.
pub trait Buffer {
    /// What is there.
    fn bytes(&self) -> &[u8];

    /// What is there, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Makes it `len` bytes long at least; what is there stays, and what is new may be anything.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory>;

    /// Where the handler will find it; growing may change that.
    fn address(&self) -> u64 {
        0
    }
}

/// Why an argument cannot be judged: the call must not go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Some of it cannot be read: `EFAULT`.
    Fault,
    /// It has more elements than the kernel takes: `E2BIG`.
    TooBig,
    /// There is no memory for a copy: `ENOMEM`.
    OutOfMemory,
}

impl From<OutOfMemory> for Unread {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl Unread {
    /// The positive number of the error that such a call is answered with.
    pub const fn errno(self) -> u16 {
        match self {
            Self::Fault => 14,
            Self::TooBig => 7,
            Self::OutOfMemory => 12,
        }
    }
}

/// The caller's memory as it was when it was read.
///
/// It is filled piece by piece: [`Policy::wants`] says which is next, and [`Fetched::take`] reads it.
/// In between, nothing of the policy needs to be held.
pub struct Fetched<B> {
    /// The argument from its beginning, the array at its end at the array's own place, and, behind
    /// both, what a pointer leads to.
    pub(crate) buffer: B,
    /// So many bytes from the beginning are there already, and need not be read.
    pub(crate) ahead: usize,
    /// So many bytes of the argument have been read.
    pub(crate) argument: usize,
    pub(crate) tail: Option<Range<usize>>,
    pub(crate) followed: Option<Followed>,
    /// Whether all of the rest was there, once that has been read: see [`Self::read_rest`].
    pub(crate) rest: Option<bool>,
}

/// What has been read behind a pointer.
#[derive(Clone, Copy)]
pub(crate) struct Followed {
    /// Where it is in the buffer.
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Where it is in the caller's memory.
    pub(crate) address: u64,
    /// Where the pointer is in the argument.
    pub(crate) pointer: u32,
}

/// A piece of the caller's memory that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    part: Part,
    address: Option<u64>,
    /// How many bytes.
    len: usize,
    /// How many zeros stand behind them.
    zeros: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Behind what has been read of the argument.
    Argument,
    /// This far from the argument's beginning.
    Tail(u32),
    /// Behind the pointer at this place of the argument.
    Followed(u32),
}

/// Bytes that what is followed stands aligned to: the fields of the kernel's structs have 8 at most.
pub(crate) const ALIGNMENT: usize = 16;

impl<B: Buffer> Fetched<B> {
    /// Nothing has been read.
    pub fn nothing(buffer: B) -> Self {
        Self {
            buffer,
            ahead: 0,
            argument: 0,
            tail: None,
            followed: None,
            rest: None,
        }
    }

    /// Throws away what has been read.
    pub fn forget(&mut self) {
        self.ahead = 0;
        self.argument = 0;
        self.tail = None;
        self.followed = None;
        self.rest = None;
    }

    /// Reads what is there of the argument's first bytes, if nothing has been read yet: at one go, as its
    /// handler would. [`Self::take`] finds them there.
    pub fn read_ahead(&mut self, bytes: usize, address: u64, memory: &mut impl Memory) {
        if self.argument > 0 || self.ahead > 0 || self.buffer.grow(bytes).is_err() {
            return;
        }
        if let Some(new) = self.buffer.bytes_mut().get_mut(..bytes) {
            self.ahead = memory.read_some(address, new);
        }
    }

    /// Whether what the rules do not look at has been read: see [`Self::read_rest`].
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// What [`Policy::decide`] looks at.
    pub fn bytes(&self) -> Bytes<'_> {
        let bytes = self.buffer.bytes();
        let part = |range: Range<usize>| bytes.get(range.start..range.end + PADDING);
        let some = |range: Option<Range<usize>>| range.and_then(part).unwrap_or_default();
        Bytes {
            argument: some((self.argument > 0).then_some(0..self.argument)),
            tail: some(self.tail.clone()),
            followed: some(self.followed.map(|it| it.start..it.start + it.len)),
            state: &[],
        }
    }

    /// What has been read of the argument, without padding.
    pub(crate) fn argument(&self) -> &[u8] {
        self.buffer.bytes().get(..self.argument).unwrap_or_default()
    }

    /// Where the bytes end that have been read, asked for or ahead.
    fn end(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, |tail| tail.end);
        self.argument.max(self.ahead).max(tail)
    }

    /// Reads a piece.
    ///
    /// # Errors
    ///
    /// See [`Unread`].
    pub fn take(&mut self, piece: Piece, memory: &mut impl Memory) -> Result<(), Unread> {
        let start = match piece.part {
            Part::Argument => self.argument,
            // An array that is part of what has been read is not read again.
            Part::Tail(offset) => size(offset),
            Part::Followed(_) => self.end().next_multiple_of(ALIGNMENT),
        };
        let known = match piece.part {
            Part::Argument | Part::Tail(_) => self.argument.max(self.ahead),
            Part::Followed(_) => 0,
        };
        let known = known.saturating_sub(start).min(piece.len);
        let read_end = start.checked_add(piece.len).ok_or(Unread::TooBig)?;
        let end = read_end.checked_add(piece.zeros).ok_or(Unread::TooBig)?;
        self.buffer
            .grow(end.checked_add(PADDING).ok_or(Unread::TooBig)?)?;
        let bytes = self.buffer.bytes_mut();
        let new = bytes
            .get_mut(start + known..read_end)
            .ok_or(Unread::Fault)?;
        let behind = u64::try_from(known).map_err(|_| Unread::Fault)?;
        let address = piece
            .address
            .and_then(|address| address.checked_add(behind));
        read(memory, address, new)?;
        bytes.get_mut(read_end..end).ok_or(Unread::Fault)?.fill(0);
        match piece.part {
            Part::Argument => self.argument = end,
            Part::Tail(_) => self.tail = Some(start..end),
            Part::Followed(pointer) => {
                self.followed = Some(Followed {
                    start,
                    len: piece.len,
                    address: piece.address.ok_or(Unread::Fault)?,
                    pointer,
                });
            }
        }
        Ok(())
    }
}

/// What was read of an argument, and the state of the VM, with [`PADDING`] behind each piece that is
/// there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes<'a> {
    /// The argument, from its beginning.
    pub argument: &'a [u8],
    /// The array at its end.
    pub tail: &'a [u8],
    /// What a pointer in it leads to.
    pub followed: &'a [u8],
    /// The [`State`](crate::State) of the VM; empty where the rules do not look at it, as
    /// [`Reads::state`] says.
    pub state: &'a [u8],
}

impl Reads {
    /// How many bytes of the argument the handler looks at in any case; none, if its first ones say so.
    pub fn ahead(&self) -> usize {
        match self.sized_by {
            None => size(self.whole.fixed),
            Some(_) => 0,
        }
    }

    /// Whether nothing is looked at but the call itself, and nothing noted.
    #[inline]
    pub fn is_nothing(&self) -> bool {
        !self.anything
    }

    /// Whether more is looked at than the call and the caller's memory, or something noted.
    #[inline]
    pub fn asks_more(&self) -> bool {
        self.noted || self.rates != 0 || !self.state.is_empty()
    }

    /// Whether something of the caller's memory is looked at.
    #[inline]
    pub fn is_of_memory(&self) -> bool {
        self.argument > 0 || self.tail.is_some() || !self.follows.is_empty()
    }
}

impl<S: Storage> Policy<S> {
    /// What the rules for a call look at.
    #[inline]
    pub fn reads(&self, head: Head, compat: bool) -> Option<&Reads> {
        let need = self.needs.get(usize::from(head.need))?;
        Some(if compat { &need.compat } else { &need.native })
    }

    /// What has to be read next before a call can be judged; `None` if everything is there.
    ///
    /// # Errors
    ///
    /// See [`Unread`].
    pub fn wants<B: Buffer>(
        &self,
        head: Head,
        request: &Request,
        fetched: &Fetched<B>,
    ) -> Result<Option<Piece>, Unread> {
        let reads = self.reads(head, request.compat).ok_or(Unread::Fault)?;
        if fetched.argument().len() < size(reads.argument) {
            return Ok(Some(
                reads.next_of_argument(request.arg, fetched.argument()),
            ));
        }
        if let (Some(tail), None) = (&reads.tail, &fetched.tail) {
            let len = size(tail_bytes(tail, fetched.argument())?);
            // Behind the end that the caller tells, there is nothing to read.
            let there = match reads.sized_by {
                None => len,
                Some(place) => {
                    let whole = number(fetched.argument(), place).ok_or(Unread::Fault)?;
                    let there = whole.saturating_sub(u64::from(tail.offset));
                    usize::try_from(there).unwrap_or(len).min(len)
                }
            };
            return Ok(Some(Piece {
                part: Part::Tail(tail.offset),
                address: request.arg.checked_add(u64::from(tail.offset)),
                len: there,
                zeros: len - there,
            }));
        }
        if fetched.followed.is_some() {
            return Ok(None);
        }
        let follows = reads.follows.of(&self.follows).ok_or(Unread::Fault)?;
        let there = follows
            .iter()
            .find(|follow| selects(&follow.selector, fetched.argument()));
        Ok(there.map(|follow| {
            let pointer = Place {
                offset: follow.behind.pointer,
                width: 8,
            };
            Piece {
                part: Part::Followed(pointer.offset),
                address: number(fetched.argument(), pointer),
                len: size(follow.behind.bytes),
                zeros: 0,
            }
        }))
    }

    /// Reads all that the rules for a call look at.
    ///
    /// # Errors
    ///
    /// See [`Unread`].
    pub fn fetch<B: Buffer>(
        &self,
        head: Head,
        request: &Request,
        buffer: B,
        memory: &mut impl Memory,
    ) -> Result<Fetched<B>, Unread> {
        let mut fetched = Fetched::nothing(buffer);
        while let Some(piece) = self.wants(head, request, &fetched)? {
            fetched.take(piece, memory)?;
        }
        Ok(fetched)
    }
}

impl Reads {
    /// The next piece of the argument, `read` being what is there. Of one whose size the caller
    /// tells, no more than that is read, and the rest is 0.
    fn next_of_argument(&self, address: u64, read: &[u8]) -> Piece {
        let missing = size(self.argument).saturating_sub(read.len());
        let len = match self.sized_by {
            None => missing,
            Some(place) => match number(read, place) {
                None => size(place.offset.saturating_add(place.width.into())).min(missing),
                Some(said) => usize::try_from(said)
                    .unwrap_or(usize::MAX)
                    .saturating_sub(read.len())
                    .min(missing),
            },
        };
        let behind = u64::try_from(read.len()).unwrap_or(u64::MAX);
        // Until its size is known, the rest is not 0 but not there.
        let complete = self
            .sized_by
            .is_none_or(|place| number(read, place).is_some());
        Piece {
            part: Part::Argument,
            address: address.checked_add(behind),
            len,
            zeros: if complete { missing - len } else { 0 },
        }
    }
}

/// The bytes of the array at the end.
pub(crate) fn tail_bytes(tail: &Tail, argument: &[u8]) -> Result<u32, Unread> {
    let (count, limit) = match tail.len {
        Len::Fixed(count) => (u64::from(count), count),
        Len::Counted { count, limit } => (number(argument, count).ok_or(Unread::Fault)?, limit),
        Len::Rest { size, limit } => {
            let whole = number(argument, size).ok_or(Unread::Fault)?;
            let bytes = whole.saturating_sub(u64::from(tail.offset));
            let count = bytes.checked_div(u64::from(tail.stride)).unwrap_or(0);
            (count, limit)
        }
    };
    let count = u32::try_from(count).map_err(|_| Unread::TooBig)?;
    if count > limit {
        return Err(Unread::TooBig);
    }
    count.checked_mul(tail.stride).ok_or(Unread::TooBig)
}

fn read(memory: &mut impl Memory, address: Option<u64>, into: &mut [u8]) -> Result<(), Unread> {
    match address {
        _ if into.is_empty() => Ok(()),
        Some(address) if memory.read(address, into) => Ok(()),
        _ => Err(Unread::Fault),
    }
}

/// Whether a field of the argument selects a variant.
pub(crate) fn selects(selector: &Selector, argument: &[u8]) -> bool {
    number(argument, selector.place).is_some_and(|found| found & selector.mask == selector.value)
}

/// The number at a place.
#[inline]
pub(crate) fn number(bytes: &[u8], place: Place) -> Option<u64> {
    let bytes = bytes.get(size(place.offset)..)?;
    Some(match place.width {
        1 => u64::from(*bytes.first()?),
        2 => u64::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        4 => u64::from(u32::from_le_bytes(*bytes.first_chunk()?)),
        8 => u64::from_le_bytes(*bytes.first_chunk()?),
        _ => return None,
    })
}

/// 32 bits fit in the addresses of every kernel that this is for.
#[inline]
pub(crate) fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
