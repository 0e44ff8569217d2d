// SPDX-License-Identifier: GPL-2.0

//! A field that one thread rewrites while another passes it to the kernel.

use std::{
    io, mem, ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{file::check, pages::Pages};

/// A number inside an argument.
///
/// # Invariants
///
/// `place` is the aligned address of `bytes` bytes, 1, 2, 4 or 8, in pages that outlive it: whoever
/// makes one keeps the pages beside it. No reference to them exists, so that any thread may read and
/// write them at any time with single accesses.
#[derive(Clone, Copy)]
pub struct Field {
    place: *mut u8,
    bytes: usize,
}

// SAFETY: by the invariant any thread may access the bytes at any time.
unsafe impl Send for Field {}
// SAFETY: as above.
unsafe impl Sync for Field {}

impl Field {
    /// The number of `bytes` bytes at `offset` of `pages`, which must be kept as long.
    ///
    /// # Panics
    ///
    /// If it does not lie there, or is not aligned.
    pub fn of(pages: &Pages, offset: usize, bytes: usize) -> Self {
        assert!(matches!(bytes, 1 | 2 | 4 | 8) && offset % bytes == 0);
        assert!((offset + bytes) as u64 <= pages.size_bytes());
        Field {
            place: (pages.address() as *mut u8).wrapping_add(offset),
            bytes,
        }
    }

    pub fn set(self, value: u64) {
        // SAFETY: by the invariant; each access is one instruction, whoever else is at work.
        unsafe {
            match self.bytes {
                1 => self.place.write_volatile(value as u8),
                2 => self.place.cast::<u16>().write_volatile(value as u16),
                4 => self.place.cast::<u32>().write_volatile(value as u32),
                _ => self.place.cast::<u64>().write_volatile(value),
            }
        }
    }

    pub fn get(self) -> u64 {
        // SAFETY: as in `set`.
        unsafe {
            match self.bytes {
                1 => self.place.read_volatile().into(),
                2 => self.place.cast::<u16>().read_volatile().into(),
                4 => self.place.cast::<u32>().read_volatile().into(),
                _ => self.place.cast::<u64>().read_volatile(),
            }
        }
    }

    /// Writes the one and the other value in turn until `ending`, with pauses of a length that
    /// nothing else is in step with, and counts how often.
    pub fn flip(self, values: [u64; 2], count: &AtomicU64, ending: &AtomicBool) {
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        while !ending.load(Ordering::Relaxed) {
            for value in values {
                self.set(value);
                count.fetch_add(1, Ordering::Relaxed);
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                // Not spin_loop(): an emulated CPU that is told to pause lets the others go first.
                for turn in 0..dice % 256 {
                    std::hint::black_box(turn);
                }
            }
        }
    }
}

/// Keeps this thread on one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all zeroes is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the macro panics rather than write outside of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel reads one set; 0 is this thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), ptr::from_ref(&set)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_of_two_values() {
        let pages = Pages::zeroed(4096).unwrap();
        let ending = AtomicBool::new(false);
        for bytes in [1, 2, 4, 8] {
            let field = Field::of(&pages, 16, bytes);
            field.set(7);
            ending.store(false, Ordering::Relaxed);
            std::thread::scope(|scope| {
                scope.spawn(|| field.flip([7, 9], &AtomicU64::new(0), &ending));
                while field.get() != 9 {
                    assert!(matches!(field.get(), 7 | 9));
                }
                ending.store(true, Ordering::Relaxed);
            });
            assert_eq!(pages.bytes_at(16 + bytes, 8), [0; 8]);
        }
    }

    #[test]
    #[should_panic]
    fn a_field_is_aligned() {
        Field::of(&Pages::zeroed(4096).unwrap(), 2, 4);
    }
}
