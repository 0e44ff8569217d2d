// SPDX-License-Identifier: GPL-2.0

//! Text that grows as it is written, without a panic when memory runs out.

use core::fmt::Write;
use kernel::{fmt, prelude::*};
use portcullis_policy::schema::errno_name;

/// A growing text.
pub(crate) struct Text(KVVec<u8>);

impl Text {
    /// An empty text.
    pub(crate) const fn new() -> Self {
        Self(KVVec::new())
    }

    /// What has been written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What has been written, line by line; bytes that are not UTF-8 end it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        core::str::from_utf8(&self.0).unwrap_or_default().lines()
    }

    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result {
        Ok(self.0.extend_from_slice(bytes, GFP_KERNEL)?)
    }

    /// Adds formatted text; `ENOMEM` where there is no memory for it.
    pub(crate) fn put(&mut self, arguments: fmt::Arguments<'_>) -> Result {
        self.write_fmt(arguments).map_err(|_| ENOMEM)
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// An errno by name. The kernel has such names only with `CONFIG_SYMBOLIC_ERRNAME`.
pub(crate) struct Errno(pub(crate) Error);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.to_errno();
        match u16::try_from(number.unsigned_abs())
            .ok()
            .and_then(errno_name)
        {
            Some(name) => f.write_str(name),
            None => write!(f, "{number}"),
        }
    }
}
