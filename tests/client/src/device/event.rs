// SPDX-License-Identifier: GPL-2.0

//! An eventfd: a kick to a queue, a call from it, an interrupt.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsRawFd, RawFd},
};

use super::{comes, comes_soon};
use crate::{
    failure::{while_doing, Failure},
    sys::file,
};

pub struct Event(File);

impl Event {
    pub fn new() -> Result<Self, Failure> {
        let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
        Ok(Event(eventfd.into()))
    }

    pub fn signal(&self) -> Result<(), Failure> {
        let written = (&self.0).write_all(&1_u64.to_ne_bytes());
        written.map_err(while_doing("cannot signal an eventfd"))
    }

    /// Whether it is signalled within the time that this may take. Takes the signal.
    pub fn comes(&self) -> bool {
        comes(|| self.take())
    }

    /// Whether it is signalled although it should not be.
    pub fn comes_soon(&self) -> bool {
        comes_soon(|| self.take())
    }

    fn take(&self) -> bool {
        // It never blocks.
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}

impl AsRawFd for Event {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
