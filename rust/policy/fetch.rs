// SPDX-License-Identifier: GPL-2.0

//! What has to be read of a call's argument before it can be judged, and how: each byte once, and
//! nothing that no rule looks at.

use crate::schema::{Len, Place, Selector};
use crate::{Grow, Head, OutOfMemory, Policy, Reads, Request, Storage, Tail};

/// Bytes that stand behind those of each slice of [`Bytes`], whatever they are: the evaluator reads
/// every number as one of 64 bits, and throws away what is not part of it.
pub const PADDING: usize = 8;

/// The caller's memory.
pub trait Memory {
    /// Copies the bytes at `address`; false if they cannot be read.
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool;
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
pub struct Fetched<S: Storage> {
    argument: S::List<u8>,
    tail: Option<S::List<u8>>,
    followed: Option<S::List<u8>>,
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
    Tail,
    Followed,
}

impl<S: Grow> Fetched<S> {
    /// Nothing has been read.
    pub fn nothing() -> Self {
        Self {
            argument: S::empty(),
            tail: None,
            followed: None,
        }
    }

    /// What [`Policy::decide`] looks at.
    pub fn bytes(&self) -> Bytes<'_> {
        Bytes {
            argument: &self.argument,
            tail: self.tail.as_deref().unwrap_or_default(),
            followed: self.followed.as_deref().unwrap_or_default(),
        }
    }

    /// What has been read of the argument, without padding.
    fn argument(&self) -> &[u8] {
        let len = self.argument.len().saturating_sub(PADDING);
        self.argument.get(..len).unwrap_or_default()
    }

    /// Reads a piece.
    ///
    /// # Errors
    ///
    /// See [`Unread`].
    pub fn take(&mut self, piece: Piece, memory: &mut impl Memory) -> Result<(), Unread> {
        let before = match piece.part {
            Part::Argument => self.argument().len(),
            Part::Tail | Part::Followed => 0,
        };
        let mut list = S::zeroed(before + piece.len + piece.zeros + PADDING)?;
        let items = S::items(&mut list);
        if let (Some(old), Some(read)) = (items.get_mut(..before), self.argument.get(..before)) {
            old.copy_from_slice(read);
        }
        let new = items
            .get_mut(before..before + piece.len)
            .ok_or(Unread::Fault)?;
        read(memory, piece.address, new)?;
        match piece.part {
            Part::Argument => self.argument = list,
            Part::Tail => self.tail = Some(list),
            Part::Followed => self.followed = Some(list),
        }
        Ok(())
    }
}

/// What was read of an argument, with [`PADDING`] behind each piece that was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes<'a> {
    /// The argument, from its beginning.
    pub argument: &'a [u8],
    /// The array at its end.
    pub tail: &'a [u8],
    /// What a pointer in it leads to.
    pub followed: &'a [u8],
}

impl Reads {
    /// The bytes of the argument, if one piece of known size (or nothing, 0) is all that is looked at.
    #[inline]
    pub fn one_piece(&self) -> Option<u32> {
        (self.tail.is_none() && self.sized_by.is_none() && self.follows.is_empty())
            .then_some(self.argument)
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
    pub fn wants<T: Grow>(
        &self,
        head: Head,
        request: &Request,
        fetched: &Fetched<T>,
    ) -> Result<Option<Piece>, Unread> {
        let reads = self.reads(head, request.compat).ok_or(Unread::Fault)?;
        if fetched.argument().len() < size(reads.argument) {
            return Ok(Some(
                reads.next_of_argument(request.arg, fetched.argument()),
            ));
        }
        if let (Some(tail), None) = (&reads.tail, &fetched.tail) {
            let len = size(tail_bytes(tail, &fetched.argument)?);
            // Behind the end that the caller tells, there is nothing to read.
            let there = match reads.sized_by {
                None => len,
                Some(place) => {
                    let whole = number(&fetched.argument, place).ok_or(Unread::Fault)?;
                    let there = whole.saturating_sub(u64::from(tail.offset));
                    usize::try_from(there).unwrap_or(len).min(len)
                }
            };
            return Ok(Some(Piece {
                part: Part::Tail,
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
            .find(|follow| selects(&follow.selector, &fetched.argument));
        Ok(there.map(|follow| {
            let pointer = Place {
                offset: follow.behind.pointer,
                width: 8,
            };
            Piece {
                part: Part::Followed,
                address: number(&fetched.argument, pointer),
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
    pub fn fetch<T: Grow>(
        &self,
        head: Head,
        request: &Request,
        memory: &mut impl Memory,
    ) -> Result<Fetched<T>, Unread> {
        let mut fetched = Fetched::nothing();
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
