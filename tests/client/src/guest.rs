// SPDX-License-Identifier: GPL-2.0

//! The programs that run inside the VM: real mode, a handful of bytes each.
//!
//! Each vCPU has one page of guest memory for itself, at 4 KiB times its index plus one: the
//! program at offset 0, its text at [`TEXT_OFFSET`], its counter at [`COUNTER_OFFSET`]. CS and DS
//! begin at that page, so that every program is the same bytes on every vCPU.

use kvm_bindings::{kvm_regs, kvm_sregs};

/// The port of a PC's first serial line.
pub const PORT: u16 = 0x3f8;
pub const PAGE_BYTES: usize = 4096;
pub const MEMORY_BYTES: usize = 1024 * 1024;
pub const MOST_VCPUS: usize = MEMORY_BYTES / PAGE_BYTES - 1;
pub const COUNTER_OFFSET: usize = 0x800;
const TEXT_OFFSET: usize = 0x100;
const MOST_TEXT_BYTES: usize = PAGE_BYTES - TEXT_OFFSET - 1;

/// Prints the text, halts, begins again when it is run again.
const PRINT: &[u8] = &[
    0xbe, 0x00, 0x01, // 00  mov si, TEXT_OFFSET
    0xba, 0xf8, 0x03, // 03  mov dx, PORT
    0xac, //             06  lodsb
    0x84, 0xc0, //       07  test al, al
    0x74, 0x03, //       09  jz 0e
    0xee, //             0b  out dx, al
    0xeb, 0xf8, //       0c  jmp 06
    0xf4, //             0e  hlt
    0xeb, 0xef, //       0f  jmp 00
];

/// Counts for ever and never leaves by itself.
const COUNT: &[u8] = &[
    0x66, 0xff, 0x06, 0x00, 0x08, // 00  inc dword [COUNTER_OFFSET]
    0xeb, 0xf9, //                   05  jmp 00
];

/// Halts, again and again.
const HALT: &[u8] = &[
    0xf4, //       00  hlt
    0xeb, 0xfd, // 01  jmp 00
];

pub enum Guest {
    Print(Vec<u8>),
    Count,
    Halt,
}

impl Guest {
    /// A guest that prints `text`.
    pub fn print(text: &str) -> Result<Self, String> {
        if text.contains('\0') || text.len() > MOST_TEXT_BYTES {
            return Err(format!(
                "a guest's text has no NUL and at most {MOST_TEXT_BYTES} bytes"
            ));
        }
        Ok(Guest::Print(text.as_bytes().to_vec()))
    }

    /// What goes into guest memory, and at which offset of the page.
    pub fn contents(&self) -> Vec<(usize, &[u8])> {
        match self {
            Guest::Print(text) => vec![(0, PRINT), (TEXT_OFFSET, text)],
            Guest::Count => vec![(0, COUNT)],
            Guest::Halt => vec![(0, HALT)],
        }
    }
}

/// Where the page of vCPU `index` begins in guest memory.
pub fn page_start(index: usize) -> usize {
    (index + 1) * PAGE_BYTES
}

/// The registers with which a vCPU begins at the start of its page, made out of those after reset.
pub fn registers(mut sregs: kvm_sregs, index: usize) -> (kvm_sregs, kvm_regs) {
    let base = page_start(index) as u64;
    for segment in [&mut sregs.cs, &mut sregs.ds] {
        segment.base = base;
        segment.selector = (base >> 4) as u16;
    }
    let regs = kvm_regs {
        rip: 0,
        // Bit 1 is always set.
        rflags: 2,
        ..Default::default()
    };
    (sregs, regs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The target of the two-byte jump that ends at `end`.
    fn target(code: &[u8], end: usize) -> isize {
        end as isize + code[end - 1] as i8 as isize
    }

    #[test]
    fn jumps_go_where_the_comments_say() {
        assert_eq!(target(PRINT, 0x0b), 0x0e);
        assert_eq!(target(PRINT, 0x0e), 0x06);
        assert_eq!(target(PRINT, 0x11), 0x00);
        assert_eq!(target(COUNT, 0x07), 0x00);
        assert_eq!(target(HALT, 0x03), 0x00);
        assert_eq!(PRINT[1..3], (TEXT_OFFSET as u16).to_le_bytes());
        assert_eq!(PRINT[4..6], PORT.to_le_bytes());
        assert_eq!(COUNT[3..5], (COUNTER_OFFSET as u16).to_le_bytes());
    }

    #[test]
    fn texts_have_a_limit() {
        assert!(Guest::print(&"x".repeat(MOST_TEXT_BYTES)).is_ok());
        assert!(Guest::print(&"x".repeat(MOST_TEXT_BYTES + 1)).is_err());
        assert!(Guest::print("a\0b").is_err());
        assert!(page_start(MOST_VCPUS - 1) + PAGE_BYTES <= MEMORY_BYTES);
    }
}
