// SPDX-License-Identifier: GPL-2.0

//! The program that runs in the VM, and the tables that it finds there.
//!
//! vCPU 0 begins in 64-bit mode, as a kernel does that Firecracker loads. It programs the interrupt
//! controller, starts vCPU 1, rings the doorbell and waits for the interrupt that answers, reads a
//! register of the device, and resets the machine. vCPU 1 counts up once and halts.

use std::arch::global_asm;

use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

/// Ports: a PC's first serial line, and its keyboard controller, which resets the machine.
pub const SERIAL: u16 = 0x3f8;
pub const KEYBOARD: u16 = 0x64;
/// Written to [`SERIAL`] when half of the work is done: the VMM may pause the VM and look at it.
pub const HALF_TIME: u8 = b'/';

/// Where the device has its registers. Nothing is mapped there.
pub const DOORBELL: u64 = 0xd000_0000;
pub const REGISTER: u64 = DOORBELL + 4;
/// What the device answers to a read of [`REGISTER`].
pub const ANSWER: u32 = 0x6d76_6d6d;
/// The line of the interrupt controller by which the device answers the doorbell.
pub const LINE: u32 = 5;
/// How often the doorbell is rung: half of it before [`HALF_TIME`].
const RINGS: u32 = 16;

/// The parts of the guest's memory. The program of vCPU 1 is on the page that its vector names.
const GDT: u64 = 0x500;
const IDT: u64 = 0x1000;
const SECOND: u64 = 0x8000;
const PAGE_TABLES: u64 = 0x9000;
const FIRST: u64 = 0x1_0000;
const STACK_TOP: u64 = 0x2_0000;

/// The vectors of the interrupt controller's lines begin here.
const VECTORS: u64 = 0x20;

global_asm!(
    ".pushsection .rodata.guest, \"a\"",
    // vCPU 0, at FIRST.
    ".code64",
    "guest_first:",
    // The interrupt controller (8259): vectors from 0x20, only line 5.
    "mov al, 0x11",
    "out 0x20, al",
    "mov al, 0x20",
    "out 0x21, al",
    "mov al, 4",
    "out 0x21, al",
    "mov al, 1",
    "out 0x21, al",
    "mov al, 0xdf",
    "out 0x21, al",
    // vCPU 1 is started as an operating system does: INIT, then a start-up interrupt with its page.
    "mov rbx, 0xfee00000",
    "mov dword ptr [rbx + 0x310], 0x01000000",
    "mov dword ptr [rbx + 0x300], 0x4500",
    "mov dword ptr [rbx + 0x310], 0x01000000",
    "mov dword ptr [rbx + 0x300], 0x4608",
    "2: pause",
    "cmp byte ptr [0x7000], 1",
    "jne 2b",
    "mov al, 0x31",
    "mov dx, 0x3f8",
    "out dx, al",
    // The doorbell: each ring is answered by an interrupt.
    "mov rbx, 0xd0000000",
    "xor ecx, ecx",
    "3: inc ecx",
    "mov dword ptr [rbx], ecx",
    "4: cli",
    "cmp dword ptr [0x7008], ecx",
    "je 5f",
    "sti",
    "hlt",
    "jmp 4b",
    "5: cmp ecx, {rings} / 2",
    "jne 6f",
    "mov al, 0x2f",
    "out dx, al",
    "6: cmp ecx, {rings}",
    "jne 3b",
    "mov al, 0x32",
    "out dx, al",
    // The register.
    "mov eax, dword ptr [rbx + 4]",
    "cmp eax, 0x6d766d6d",
    "jne 7f",
    "mov al, 0x33",
    "out dx, al",
    // The end: the keyboard controller pulls the reset line.
    "7: mov al, 0xfe",
    "out 0x64, al",
    "hlt",
    "jmp 7b",
    "guest_interrupt:",
    "push rax",
    "inc dword ptr [0x7008]",
    "mov al, 0x20",
    "out 0x20, al",
    "pop rax",
    "iretq",
    "guest_first_end:",
    // vCPU 1, at SECOND.
    ".code16",
    "guest_second:",
    "xor ax, ax",
    "mov ds, ax",
    "mov byte ptr [0x7000], 1",
    "8: cli",
    "hlt",
    "jmp 8b",
    "guest_second_end:",
    ".code64",
    ".popsection",
    rings = const RINGS,
);

extern "C" {
    static guest_first: u8;
    static guest_interrupt: u8;
    static guest_first_end: u8;
    static guest_second: u8;
    static guest_second_end: u8;
}

/// What the serial line says of a guest that went through all of it.
pub const SAYS: &[u8] = b"1/23";

/// The bytes from `begin` to `end`.
fn between(begin: &'static u8, end: &'static u8) -> &'static [u8] {
    let bytes = std::ptr::from_ref(end) as usize - std::ptr::from_ref(begin) as usize;
    // SAFETY: both are labels of the block above, `end` behind `begin`, in memory that nothing writes.
    unsafe { std::slice::from_raw_parts(begin, bytes) }
}

/// Where vCPU 0 begins, and what its special registers point to.
pub struct Entry {
    pub rip: u64,
    pub rsp: u64,
    pub cr3: u64,
    pub gdt: (u64, u16),
    pub idt: (u64, u16),
}

/// Lays the program and its tables into the guest's memory.
pub fn load(memory: &GuestMemoryMmap) -> Result<Entry, GuestMemoryError> {
    // SAFETY: the labels of the block above; nothing writes there.
    let (first, interrupt, first_end, second, second_end) = unsafe {
        (
            &guest_first,
            &guest_interrupt,
            &guest_first_end,
            &guest_second,
            &guest_second_end,
        )
    };
    memory.write_slice(between(first, first_end), GuestAddress(FIRST))?;
    memory.write_slice(between(second, second_end), GuestAddress(SECOND))?;

    // Null, null, code, data.
    let gdt: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    for (index, entry) in (0..).zip(gdt) {
        memory.write_obj(entry, GuestAddress(GDT + 8 * index))?;
    }
    // One interrupt gate of 16 bytes.
    let handler = FIRST + between(first, interrupt).len() as u64;
    let gate =
        (handler & 0xffff) | (0x10 << 16) | (0x8e00 << 32) | (((handler >> 16) & 0xffff) << 48);
    let place = IDT + 16 * (VECTORS + u64::from(LINE));
    memory.write_obj(gate, GuestAddress(place))?;
    memory.write_obj(handler >> 32, GuestAddress(place + 8))?;
    // The first 4 GiB onto themselves, in pages of 2 MiB.
    memory.write_obj((PAGE_TABLES + 0x1000) | 3, GuestAddress(PAGE_TABLES))?;
    for gib in 0..4 {
        let table = PAGE_TABLES + 0x2000 + 0x1000 * gib;
        memory.write_obj(table | 3, GuestAddress(PAGE_TABLES + 0x1000 + 8 * gib))?;
        for index in 0..512 {
            let page = (gib << 30) | (index << 21);
            memory.write_obj(page | 0x83, GuestAddress(table + 8 * index))?;
        }
    }
    Ok(Entry {
        rip: FIRST,
        rsp: STACK_TOP,
        cr3: PAGE_TABLES,
        gdt: (GDT, 31),
        idt: (IDT, 0xfff),
    })
}
