// SPDX-License-Identifier: GPL-2.0

//! Memory of every kind that an argument may lie in.

use std::{fs::File, io, os::fd::AsRawFd, ptr};

use super::{
    file::{self, check},
    userfault::Stuck,
};

pub const PAGE: usize = 4096;

/// # Invariants
///
/// A mapping of `bytes` bytes at `start` that belongs to this value alone, whatever it was made into
/// since. No reference into it exists.
pub struct Place {
    start: *mut u8,
    bytes: usize,
    /// The file that is mapped, if any.
    file: Option<File>,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Place {}
// SAFETY: what can be done with a shared reference is a system call on a mapping that no reference
// points into.
unsafe impl Sync for Place {}

impl Place {
    pub fn anonymous(bytes: usize) -> io::Result<Self> {
        Self::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)
    }

    /// 2 MiB pages out of the pool that root has filled.
    pub fn huge(bytes: usize) -> io::Result<Self> {
        Self::map(
            bytes,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB,
            None,
        )
    }

    /// A file in memory; nothing is read in before it is touched.
    pub fn file(contents: &[u8], flags: libc::c_int) -> io::Result<Self> {
        let file = file::in_memory(contents)?;
        Self::map(contents.len(), flags, Some(file))
    }

    fn map(bytes: usize, flags: libc::c_int, file: Option<File>) -> io::Result<Self> {
        let fd = file.as_ref().map_or(-1, |file| file.as_raw_fd());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Place {
            start: start.cast(),
            bytes,
            file,
        })
    }

    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Copies `contents` to `offset`, which must be writable memory.
    pub fn put(&mut self, offset: usize, contents: &[u8]) {
        assert!(offset + contents.len() <= self.bytes);
        // SAFETY: the bytes lie in the mapping, and `&mut self` is the only way to them.
        unsafe {
            ptr::copy_nonoverlapping(
                contents.as_ptr(),
                self.start.wrapping_add(offset),
                contents.len(),
            );
        }
    }

    pub fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: by the invariant nobody relies on what is there.
        check(unsafe { libc::madvise(self.start.cast(), self.bytes, advice) })
    }

    /// Changes the protection of a part.
    pub fn protect(&self, offset: usize, bytes: usize, protection: libc::c_int) -> io::Result<()> {
        assert!(offset + bytes <= self.bytes);
        // SAFETY: as in `advise`; who touches it then asks for the fault.
        check(unsafe { libc::mprotect(self.start.wrapping_add(offset).cast(), bytes, protection) })
    }

    /// Takes away a part. Nobody maps anything there: all memory of a case is mapped before.
    pub fn unmap(&self, offset: usize, bytes: usize) -> io::Result<()> {
        assert!(offset + bytes <= self.bytes);
        // SAFETY: as in `advise`.
        check(unsafe { libc::munmap(self.start.wrapping_add(offset).cast(), bytes) })
    }

    /// Moves a part elsewhere, for good.
    pub fn move_away(&self, offset: usize, bytes: usize) -> io::Result<()> {
        assert!(offset + bytes <= self.bytes);
        // SAFETY: as in `advise`; what has moved is never named again.
        let moved = unsafe {
            let room = libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let part = self.start.wrapping_add(offset);
            libc::mremap(part.cast(), bytes, bytes, flags, room)
        };
        match moved == libc::MAP_FAILED {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }

    /// Cuts the file that is mapped.
    pub fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file
            .as_ref()
            .map_or(Ok(()), |file| file.set_len(bytes))
    }

    /// Makes the pages from `offset` on such that they do not come before they are served.
    pub fn stuck(&self, offset: usize, contents: &[u8]) -> io::Result<Stuck> {
        assert!(offset % PAGE == 0 && contents.len() % PAGE == 0);
        assert!(offset + contents.len() <= self.bytes);
        Stuck::new(self.start.wrapping_add(offset), contents)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: by the invariant the mapping is ours, and it is never used again.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}
