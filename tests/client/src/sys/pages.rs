// SPDX-License-Identifier: GPL-2.0

//! Memory below 2 GiB, so that 32-bit and 64-bit system calls can name it alike.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use super::{
    file::{self, check},
    userfault::Stuck, //
};

/// A private anonymous mapping.
///
/// # Invariants
///
/// `start` is the address of a mapping of `size_bytes` bytes that belongs to this value alone;
/// it is readable and writable when `usable`. The kernel and a guest may write to it at any time,
/// so no reference into it is ever made.
pub struct Pages {
    start: *mut u8,
    size_bytes: usize,
    usable: bool,
    stuck: Option<Stuck>,
}

/// What is behind the first bytes of something that was [moved](Pages::moved).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Memory that is brought in when it is touched.
    Absent,
    /// Nothing.
    Unmapped,
    /// Memory that does not come before it is served.
    Stuck,
}

/// What is moved of a mapping.
const MOVED_BYTES: usize = 32 * 1024;
const PAGE: usize = 4096;

// SAFETY: the mapping belongs to the process, not to a thread, and nothing else refers to it.
unsafe impl Send for Pages {}
// SAFETY: what can be done with a shared reference only copies bytes out.
unsafe impl Sync for Pages {}

/// Maps a part of a file, shared, for reading and writing, and unmaps it again.
pub fn can_be_mapped(file: &impl AsRawFd, offset: i64, size_bytes: usize) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let fd = file.as_raw_fd();
    // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_bytes,
            protection,
            libc::MAP_SHARED,
            fd,
            offset,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is ours, and nothing refers to it.
    check(unsafe { libc::munmap(start, size_bytes) })
}

impl Pages {
    pub fn zeroed(size_bytes: usize) -> io::Result<Self> {
        Self::map(size_bytes, libc::PROT_READ | libc::PROT_WRITE, true)
    }

    /// An address at which nothing can be read or written, kept so that nobody else maps it.
    pub fn inaccessible() -> io::Result<Self> {
        Self::map(4096, libc::PROT_NONE, false)
    }

    pub fn address(&self) -> u64 {
        self.start as u64
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes as u64
    }

    /// Copies `value` to `offset`.
    ///
    /// # Panics
    ///
    /// If it does not fit there.
    pub fn put<T: Copy>(&mut self, offset: usize, value: T) {
        let place = self.place(offset, size_of::<T>());
        // SAFETY: `place` checked that the bytes lie in the mapping, and `&mut self` that no
        // other thread of ours writes there.
        unsafe { ptr::copy_nonoverlapping((&raw const value).cast(), place, size_of::<T>()) };
    }

    /// Copies `bytes` to `offset`; panics like [`Self::put`].
    pub fn put_bytes(&mut self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: as in `put`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    /// A copy whose first bytes are the last of a page, `first` of them, and whose rest is on the
    /// pages behind it; and its address. The first page is resident only if that is asked for.
    pub fn moved(&self, first: usize, rest: Rest, resident: bool) -> io::Result<(Self, u64)> {
        let contents = self.bytes_at(0, MOVED_BYTES);
        let mut bytes = vec![0; PAGE - first];
        bytes.extend_from_slice(&contents);
        bytes.resize(PAGE + MOVED_BYTES, 0);
        // What a file has is read in when it is touched, and not before.
        let file = file::in_memory(&bytes)?;
        let mut moved = Self::map_file(bytes.len(), &file)?;
        let behind = moved.start.wrapping_add(PAGE);
        let behind_bytes = bytes.len() - PAGE;
        if resident {
            // A write, because reading would bring in the neighbours as well.
            moved.put(0, 0_u8);
        }
        match rest {
            Rest::Absent => {}
            Rest::Unmapped => {
                // SAFETY: the range is part of our mapping, and no reference into it exists. Nobody
                // fills the hole: all memory here is mapped once, before the calls.
                check(unsafe { libc::munmap(behind.cast(), behind_bytes) })?;
                moved.size_bytes = PAGE;
            }
            Rest::Stuck => {
                let stuck = bytes.get(PAGE..).unwrap_or_default();
                moved.stuck = Some(Stuck::new(behind, stuck)?);
            }
        }
        let address = moved.address() + (PAGE - first) as u64;
        Ok((moved, address))
    }

    /// The part that does not come before it is served.
    pub fn stuck(&self) -> Option<&Stuck> {
        self.stuck.as_ref()
    }

    /// A copy of the bytes at `offset`; panics like [`Self::put`].
    pub fn bytes_at(&self, offset: usize, length: usize) -> Vec<u8> {
        let place = self.place(offset, length);
        let mut copy = vec![0; length];
        // SAFETY: `place` checked that the bytes lie in the mapping; whoever writes there meanwhile
        // spoils the copy and nothing else.
        unsafe { ptr::copy_nonoverlapping(place, copy.as_mut_ptr(), length) };
        copy
    }

    /// The number at `offset`, which a guest may be changing; panics like [`Self::put`].
    pub fn number_at(&self, offset: usize) -> u32 {
        let place = self.place(offset, size_of::<u32>()).cast::<u32>();
        assert!(place.is_aligned());
        // SAFETY: `place` checked that the bytes lie in the mapping; volatile because another
        // writer may be at work, and any value is a valid u32.
        unsafe { place.read_volatile() }
    }

    fn map(size_bytes: usize, protection: libc::c_int, usable: bool) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::map_any(size_bytes, protection, flags, -1, usable)
    }

    fn map_file(size_bytes: usize, file: &impl AsRawFd) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        Self::map_any(
            size_bytes,
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            true,
        )
    }

    fn map_any(
        size_bytes: usize,
        protection: libc::c_int,
        flags: libc::c_int,
        file: RawFd,
        usable: bool,
    ) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_bytes,
                protection,
                flags | libc::MAP_32BIT,
                file,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Pages {
            start: start.cast(),
            size_bytes,
            usable,
            stuck: None,
        })
    }

    fn place(&self, offset: usize, length: usize) -> *mut u8 {
        let end = offset.checked_add(length);
        assert!(self.usable && end.is_some_and(|end| end <= self.size_bytes));
        self.start.wrapping_add(offset)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: by the invariant the mapping is ours, and it is never used again. A VM that has
        // it as a memslot notices the unmapping and loses the pages.
        unsafe { libc::munmap(self.start.cast(), self.size_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn pages_lie_below_4_gib_and_hold_what_was_put() {
        let mut pages = Pages::zeroed(65536).unwrap();
        assert!(pages.address() + pages.size_bytes() <= 1 << 32);
        assert_eq!(pages.address() % 4096, 0);
        pages.put(8, 0x1234_5678_u32);
        pages.put_bytes(12, b"\x01\0\0\0");
        assert_eq!((pages.number_at(8), pages.number_at(12)), (0x1234_5678, 1));
        assert_eq!(pages.number_at(65532), 0);
    }

    #[test]
    #[should_panic]
    fn nothing_is_put_behind_the_end() {
        Pages::zeroed(4096).unwrap().put(4093, 0_u32);
    }
}
