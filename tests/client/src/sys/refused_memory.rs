// SPDX-License-Identifier: GPL-2.0

//! Memory that the kernel refuses itself: `Documentation/fault-injection/fault-injection.rst`. The test
//! kernel can.

use std::{fs::File, io, os::unix::fs::FileExt};

/// One request for memory that the calling thread's system calls make is refused.
pub struct RefusedMemory(File);

impl RefusedMemory {
    /// The `nth` from now on, from 1.
    pub fn at(nth: u64) -> io::Result<Self> {
        let file = super::file::open("/proc/thread-self/fail-nth".as_ref())?;
        file.write_at(nth.to_string().as_bytes(), 0)?;
        Ok(Self(file))
    }

    /// From now on none is; whether it has been.
    pub fn end(self) -> io::Result<bool> {
        let mut left = [0; 16];
        let length = self.0.read_at(&mut left, 0)?;
        self.0.write_at(b"0", 0)?;
        Ok(left[..length].trim_ascii() == b"0")
    }
}
