// SPDX-License-Identifier: GPL-2.0

//! The third argument of an ioctl: how it is asked for, and the thing itself.

use std::{fmt, io, os::fd::OwnedFd, str::FromStr};

use crate::{
    failure::{while_doing, Failure},
    sys::{
        pages::{Pages, Rest},
        userfault::Stuck, //
    },
};

/// What was asked for, before it exists: `WHAT[,OFFSET.BYTES=NUMBER]...[@PLACE]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub what: What,
    /// Written over it.
    pub patches: Vec<Patch>,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// `zero` for a command that takes a pointer, the number 0 for any other.
    #[default]
    Default,
    Number(u64),
    Zero,
    Bad,
    Valid,
}

/// A number of 1, 2, 4 or 8 bytes that is written into the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    pub offset: usize,
    pub bytes: usize,
    pub number: u64,
}

/// Where an argument lies that is not a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In memory that is there.
    #[default]
    Resident,
    /// In memory that is brought in when it is first touched.
    Absent,
    /// Its first bytes, this many, in memory that is there; the rest on a page that is brought in
    /// when it is first touched.
    HalfAbsent(usize),
    /// Its first bytes, this many, in memory; behind them nothing is mapped.
    HalfUnmapped(usize),
    /// Where nothing is mapped.
    Unmapped,
    /// On a page that does not come before somebody serves it; the first bytes, this many, on one
    /// before, which is brought in when it is touched.
    Stuck(usize),
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, place) = match text.split_once('@') {
            Some((rest, place)) => (rest, place.parse()?),
            None => (text, Place::Resident),
        };
        let mut parts = rest.split(',');
        let what = parts.next().unwrap_or_default().parse()?;
        let patches = parts.map(str::parse).collect::<Result<Vec<Patch>, _>>()?;
        let fixed = patches.is_empty() && place == Place::Resident;
        if !fixed && !matches!(what, What::Zero | What::Valid) {
            return Err(format!(
                "`{text}`: only zero and valid are patched or placed"
            ));
        }
        Ok(Wish {
            what,
            patches,
            place,
        })
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Default => Ok(()),
            What::Number(number) => write!(f, "{number}"),
            What::Zero => f.write_str("zero"),
            What::Bad => f.write_str("bad"),
            What::Valid => f.write_str("valid"),
        }?;
        for patch in &self.patches {
            write!(f, ",{}.{}={}", patch.offset, patch.bytes, patch.number)?;
        }
        match self.place {
            Place::Resident => Ok(()),
            Place::Absent => f.write_str("@absent"),
            Place::HalfAbsent(bytes) => write!(f, "@half-absent.{bytes}"),
            Place::HalfUnmapped(bytes) => write!(f, "@half-unmapped.{bytes}"),
            Place::Unmapped => f.write_str("@unmapped"),
            Place::Stuck(bytes) => write!(f, "@stuck.{bytes}"),
        }
    }
}

/// A number, decimal or 0x.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, number(text)) {
            ("zero", _) => Ok(What::Zero),
            ("bad", _) => Ok(What::Bad),
            ("valid", _) => Ok(What::Valid),
            (_, Some(number)) => Ok(What::Number(number)),
            (_, None) => Err(format!(
                "`{text}` is no argument: a number, zero, bad or valid"
            )),
        }
    }
}

impl FromStr for Patch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (place, value) = text.split_once('=')?;
            let (offset, bytes) = place.split_once('.')?;
            let patch = Patch {
                offset: offset.parse().ok()?,
                bytes: bytes.parse().ok()?,
                number: number(value)?,
            };
            let fits = matches!(patch.bytes, 1 | 2 | 4 | 8) && patch.offset < ZEROED_BYTES - 8;
            fits.then_some(patch)
        };
        parsed().ok_or_else(|| format!("`{text}` is no patch: OFFSET.BYTES=NUMBER"))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, first) = match text.split_once('.') {
            Some((word, first)) => (word, first.parse().ok().filter(|first| *first <= PAGE)),
            None => (text, Some(0)),
        };
        match (word, first) {
            ("absent", Some(0)) => Ok(Place::Absent),
            ("unmapped", Some(0)) => Ok(Place::Unmapped),
            ("half-absent", Some(first)) => Ok(Place::HalfAbsent(first)),
            ("half-unmapped", Some(first)) => Ok(Place::HalfUnmapped(first)),
            ("stuck", Some(first)) => Ok(Place::Stuck(first)),
            _ => Err(format!(
                "`{text}` is no place: absent, unmapped, half-absent.BYTES, half-unmapped.BYTES or stuck.BYTES"
            )),
        }
    }
}

const PAGE: usize = 4096;

/// What a call passes: a number, or the address of memory that it keeps.
///
/// # Invariants
///
/// When `pages` is there, `value` lies in it, and nothing else in the program uses it.
pub struct Argument {
    value: u64,
    pages: Option<Pages>,
    /// What a struct that was moved may still point to.
    before: Option<Pages>,
    /// Files that the struct names and that must stay open while it is used.
    files: Vec<OwnedFd>,
}

/// Larger than any struct of KVM, its flexible array included.
pub const ZEROED_BYTES: usize = 64 * 1024;

impl Argument {
    pub fn number(value: u64) -> Self {
        Argument {
            value,
            pages: None,
            before: None,
            files: Vec::new(),
        }
    }

    /// A pointer to 64 KiB of zeroes.
    pub fn zeroed() -> io::Result<Self> {
        Ok(Self::from_pages(Pages::zeroed(ZEROED_BYTES)?))
    }

    /// A pointer to nothing.
    pub fn bad() -> io::Result<Self> {
        Ok(Self::from_pages(Pages::inaccessible()?))
    }

    pub fn from_pages(pages: Pages) -> Self {
        Argument {
            value: pages.address(),
            pages: Some(pages),
            before: None,
            files: Vec::new(),
        }
    }

    pub fn keeping(mut self, file: OwnedFd) -> Self {
        self.files.push(file);
        self
    }

    /// Writes numbers over it, and moves it where it was wanted.
    pub fn fitted(mut self, wish: &Wish) -> io::Result<Self> {
        let Some(pages) = &mut self.pages else {
            return Ok(self);
        };
        for patch in &wish.patches {
            pages.put_bytes(patch.offset, &patch.number.to_le_bytes()[..patch.bytes]);
        }
        let (first, rest) = match wish.place {
            Place::Resident => return Ok(self),
            Place::Absent => (0, Rest::Absent),
            Place::HalfAbsent(bytes) => (bytes, Rest::Absent),
            Place::HalfUnmapped(bytes) => (bytes, Rest::Unmapped),
            Place::Unmapped => (0, Rest::Unmapped),
            Place::Stuck(bytes) => (bytes, Rest::Stuck),
        };
        let (moved, value) = pages.moved(first, rest, wish.place == Place::HalfAbsent(first))?;
        self.before = self.pages.replace(moved);
        self.value = value;
        Ok(self)
    }

    /// The page that does not come, of an argument at [`Place::Stuck`].
    pub fn stuck(&self) -> Option<&Stuck> {
        self.pages.as_ref()?.stuck()
    }

    pub fn value(&self) -> u64 {
        self.value
    }

    /// The memory that it points to, if it is no number.
    pub fn pages(&self) -> Option<&Pages> {
        self.pages.as_ref()
    }

    /// The number of 4 bytes at `offset` of the memory, as the handler has left it.
    pub fn u32_at(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes_at(offset))
    }

    /// The same, of 8 bytes.
    pub fn u64_at(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes_at(offset))
    }

    /// The bytes at `offset`; zeroes of a number.
    fn bytes_at<const N: usize>(&self, offset: usize) -> [u8; N] {
        let bytes = self.pages.as_ref().map(|pages| pages.bytes_at(offset, N));
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or([0; N])
    }
}

/// Zeroes, and what `put` lays over them.
pub fn laid(put: impl FnOnce(&mut Pages)) -> Result<Argument, Failure> {
    let mut pages = Pages::zeroed(ZEROED_BYTES).map_err(while_doing("mmap"))?;
    put(&mut pages);
    Ok(Argument::from_pages(pages))
}

/// One struct.
pub fn with<T: Copy>(value: T) -> Result<Argument, Failure> {
    laid(|pages| pages.put(0, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let cases = [
            ("0", What::Number(0)),
            ("12", What::Number(12)),
            ("0xfffbd000", What::Number(0xfffb_d000)),
            ("zero", What::Zero),
            ("bad", What::Bad),
            ("valid", What::Valid),
        ];
        for (text, what) in cases {
            assert_eq!(text.parse::<Wish>().map(|wish| wish.what), Ok(what));
        }
        let wish: Wish = "valid,4.4=0x2,16.8=1@half-absent.16".parse().unwrap();
        assert_eq!(wish.patches.len(), 2);
        assert_eq!(wish.place, Place::HalfAbsent(16));
        assert_eq!(wish.to_string(), "valid,4.4=2,16.8=1@half-absent.16");
        let wrong = [
            "",
            "-1",
            "0x",
            "Zero",
            "1x",
            "zero,",
            "zero,1=1",
            "zero,0.3=1",
            "zero@",
            "zero@here",
            "zero@absent.1",
            "zero@stuck.4097",
            "7@absent",
            "bad,0.4=1",
        ];
        for text in wrong {
            assert!(text.parse::<Wish>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_moved_says_the_same() {
        let wish: Wish = "zero,0.4=7,8.2=9@half-absent.6".parse().unwrap();
        let moved = Argument::zeroed().unwrap().fitted(&wish).unwrap();
        assert_eq!(moved.value() % 4096, 4090);
        let pages = moved.pages().unwrap();
        assert_eq!(pages.bytes_at(4090, 10), [7, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
    }
}
