// SPDX-License-Identifier: GPL-2.0

//! A split virtqueue, as the driver in a guest has it, and the memory of that guest.
//!
//! C header: `include/uapi/linux/virtio_ring.h`

use super::{comes, comes_soon};
use crate::{
    failure::{while_doing, Failure},
    sys::pages::Pages,
};

/// A range of the guest's memory.
pub struct Memory {
    pub pages: Pages,
    /// Where the guest has it: not where the VMM does.
    pub guest_address: u64,
}

impl Memory {
    pub fn new(guest_address: u64, size_bytes: usize) -> Result<Self, Failure> {
        let pages = Pages::zeroed(size_bytes).map_err(while_doing("mmap"))?;
        Ok(Memory {
            pages,
            guest_address,
        })
    }

    /// What the VMM calls the byte at `offset`.
    pub fn address(&self, offset: usize) -> u64 {
        self.pages.address() + offset as u64
    }

    /// `struct vhost_memory_region`.
    pub fn region(&self) -> [u64; 4] {
        [
            self.guest_address,
            self.pages.size_bytes(),
            self.pages.address(),
            0,
        ]
    }
}

pub const ENTRIES: u16 = 16;
const DESCRIPTOR_BYTES: usize = 16;
const NEXT_INDEX: usize = 2;
const FIRST_ENTRY: usize = 4;
const USED_ENTRY_BYTES: usize = 8;
/// What a descriptor says of a buffer that the device writes to.
const DESCRIPTOR_WRITE: u16 = 2;

/// `struct vring`: three tables on a page each, at `offset` of some memory.
pub struct Ring {
    offset: usize,
    /// Buffers offered, and buffers taken back.
    offered: u16,
    taken: u16,
}

/// Bytes of memory that a ring takes.
pub const RING_BYTES: usize = 3 * 4096;

impl Ring {
    pub fn new(offset: usize) -> Self {
        Ring {
            offset,
            offered: 0,
            taken: 0,
        }
    }

    pub fn descriptors(&self) -> usize {
        self.offset
    }

    pub fn available(&self) -> usize {
        self.offset + 4096
    }

    pub fn used(&self) -> usize {
        self.offset + 8192
    }

    /// Offers a buffer: its place in the guest, its bytes, and whether the device is to fill it.
    pub fn offer(&mut self, memory: &mut Memory, address: u64, bytes: u32, fill: bool) {
        let slot = self.offered % ENTRIES;
        let descriptor = self.descriptors() + usize::from(slot) * DESCRIPTOR_BYTES;
        let flags = if fill { DESCRIPTOR_WRITE } else { 0 };
        memory.pages.put(descriptor, address);
        memory.pages.put(descriptor + 8, bytes);
        memory.pages.put(descriptor + 12, flags);
        let entry = self.available() + FIRST_ENTRY + 2 * usize::from(slot);
        memory.pages.put(entry, slot);
        self.offered = self.offered.wrapping_add(1);
        // x86 keeps the order of stores.
        memory
            .pages
            .put(self.available() + NEXT_INDEX, self.offered);
    }

    /// The next buffer that the device is done with: its slot, and the bytes that were written to it.
    pub fn take(&mut self, memory: &Memory) -> Option<(u16, u32)> {
        let done = memory.pages.number_at(self.used()) >> 16;
        if done as u16 == self.taken {
            return None;
        }
        let entry = usize::from(self.taken % ENTRIES) * USED_ENTRY_BYTES;
        let entry = self.used() + FIRST_ENTRY + entry;
        let slot = memory.pages.number_at(entry) as u16;
        let bytes = memory.pages.number_at(entry + 4);
        self.taken = self.taken.wrapping_add(1);
        Some((slot, bytes))
    }

    /// Waits for it.
    pub fn await_one(&mut self, memory: &Memory) -> Option<(u16, u32)> {
        let mut found = None;
        comes(|| {
            found = self.take(memory);
            found.is_some()
        });
        found
    }

    /// Whether the device takes one although it should not.
    pub fn moves_soon(&mut self, memory: &Memory) -> bool {
        comes_soon(|| self.take(memory).is_some())
    }

    /// How many buffers were offered so far: where a device that is stopped says that it was.
    pub fn offered(&self) -> u16 {
        self.offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_laid_out_as_the_header_says() {
        let mut memory = Memory::new(0x10_0000, 65536).unwrap();
        let mut ring = Ring::new(4096);
        ring.offer(&mut memory, 0x10_8000, 12, false);
        ring.offer(&mut memory, 0x10_9000, 99, true);
        let descriptor = memory.pages.bytes_at(4096 + 16, 16);
        assert_eq!(
            descriptor,
            [0, 0x90, 0x10, 0, 0, 0, 0, 0, 99, 0, 0, 0, 2, 0, 0, 0]
        );
        assert_eq!(memory.pages.bytes_at(8192, 8), [0, 0, 2, 0, 0, 0, 1, 0]);
        assert_eq!(ring.take(&memory), None);
        memory.pages.put(12288 + 4, [1_u32, 5]);
        memory.pages.put(12288 + 2, 1_u16);
        assert_eq!(ring.take(&memory), Some((1, 5)));
        assert_eq!(ring.take(&memory), None);
        assert_eq!(ring.offered(), 2);
    }
}
