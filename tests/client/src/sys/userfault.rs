// SPDX-License-Identifier: GPL-2.0

//! Memory that does not come before somebody serves it.
//!
//! C header: `include/uapi/linux/userfaultfd.h`

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd},
    ptr,
};

/// struct uffdio_api
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// struct uffdio_register
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// struct uffdio_copy
#[repr(C)]
struct Copy {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copy: i64,
}

const fn iowr<T>(number: u64) -> u64 {
    (3 << 30) | ((size_of::<T>() as u64) << 16) | (0xaa << 8) | number
}

const UFFDIO_API: u64 = iowr::<Api>(0x3f);
const UFFDIO_REGISTER: u64 = iowr::<Register>(0x00);
const UFFDIO_COPY: u64 = iowr::<Copy>(0x03);
const UFFD_API: u64 = 0xaa;
const MODE_MISSING: u64 = 1;
/// sizeof(struct uffd_msg)
const MESSAGE_BYTES: usize = 32;

/// A range of anonymous memory in which whoever touches it waits.
pub struct Stuck {
    uffd: File,
    start: u64,
    bytes: Vec<u8>,
}

impl Stuck {
    /// Puts it at `start`, over what is mapped there, to become `bytes` when it is served. The range
    /// is the caller's, page by page, and no reference into it exists.
    pub(super) fn new(start: *mut u8, bytes: &[u8]) -> io::Result<Self> {
        // SAFETY: replaces a mapping of the caller's, into which nobody has a reference.
        let mapped = unsafe {
            libc::mmap(
                start.cast(),
                bytes.len(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: makes an fd and touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let stuck = Stuck {
            // SAFETY: the kernel made this fd just now for us.
            uffd: unsafe { File::from_raw_fd(fd as i32) },
            start: start as u64,
            bytes: bytes.to_vec(),
        };
        stuck.ask(
            UFFDIO_API,
            Api {
                api: UFFD_API,
                features: 0,
                ioctls: 0,
            },
        )?;
        stuck.ask(
            UFFDIO_REGISTER,
            Register {
                start: stuck.start,
                len: stuck.bytes.len() as u64,
                mode: MODE_MISSING,
                ioctls: 0,
            },
        )?;
        Ok(stuck)
    }

    /// Waits until somebody has touched it.
    pub fn wait(&self) -> io::Result<()> {
        (&self.uffd).read_exact(&mut [0; MESSAGE_BYTES])
    }

    /// Lets it come, all of it.
    pub fn serve(&self) -> io::Result<()> {
        self.ask(
            UFFDIO_COPY,
            Copy {
                dst: self.start,
                src: self.bytes.as_ptr() as u64,
                len: self.bytes.len() as u64,
                mode: 0,
                copy: 0,
            },
        )
    }

    fn ask<T>(&self, number: u64, mut question: T) -> io::Result<()> {
        // SAFETY: `number` takes a `T`, and writes no more than that; UFFDIO_COPY writes to a range
        // of ours into which no reference exists.
        super::file::check(unsafe {
            libc::ioctl(self.uffd.as_raw_fd(), number, ptr::from_mut(&mut question))
        })
    }
}
