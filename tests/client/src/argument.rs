// SPDX-License-Identifier: GPL-2.0

//! The third argument of an ioctl: how it is asked for, and the thing itself.

use std::{io, os::fd::OwnedFd, str::FromStr};

use crate::sys::pages::Pages;

/// What was asked for, before it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// `zero` for a command that takes a pointer, the number 0 for any other.
    #[default]
    Default,
    Number(u64),
    Zero,
    Bad,
    Valid,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        match (text, number) {
            ("zero", _) => Ok(Wish::Zero),
            ("bad", _) => Ok(Wish::Bad),
            ("valid", _) => Ok(Wish::Valid),
            (_, Ok(number)) => Ok(Wish::Number(number)),
            (_, Err(_)) => Err(format!(
                "`{text}` is no argument: a number, zero, bad or valid"
            )),
        }
    }
}

/// What a call passes: a number, or the address of memory that it keeps.
///
/// # Invariants
///
/// When `pages` is there, `value` is its address, and nothing else in the program uses it.
pub struct Argument {
    value: u64,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "kept so that the address stays good")
    )]
    pages: Option<Pages>,
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
            files: Vec::new(),
        }
    }

    pub fn keeping(mut self, file: OwnedFd) -> Self {
        self.files.push(file);
        self
    }

    pub fn value(&self) -> u64 {
        self.value
    }

    #[cfg(test)]
    pub fn pages(&self) -> Option<&Pages> {
        self.pages.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let cases = [
            ("0", Wish::Number(0)),
            ("12", Wish::Number(12)),
            ("0xfffbd000", Wish::Number(0xfffb_d000)),
            ("zero", Wish::Zero),
            ("bad", Wish::Bad),
            ("valid", Wish::Valid),
        ];
        for (text, wish) in cases {
            assert_eq!(text.parse(), Ok(wish));
        }
        for text in ["", "-1", "0x", "Zero", "1x"] {
            assert!(text.parse::<Wish>().is_err(), "{text}");
        }
    }
}
