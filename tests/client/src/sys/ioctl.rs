// SPDX-License-Identifier: GPL-2.0

//! ioctl(2), by both of the doors that Linux has on x86: `syscall` and `int 0x80`.
//!
//! Every call goes through here as bare instructions, with nothing of libc or kvm-ioctls that
//! could repeat, refuse or reinterpret it.

use std::{
    arch::{asm, x86_64::_rdtsc},
    os::fd::RawFd,
};

use crate::{answer::Answer, argument::Argument};

/// ioctl(2) in the table of 32-bit system calls.
const IOCTL_32: u64 = 54;

/// The call of a 64-bit process.
pub fn native(fd: RawFd, number: u32, argument: &Argument) -> Answer {
    // SAFETY: `Argument` is a plain number, inaccessible, or the address of pages of its own, and
    // no reference into those pages exists: whatever the handler writes, it is not Rust's.
    let value = unsafe { libc::syscall(libc::SYS_ioctl, fd, number, argument.value()) };
    if value == -1 {
        return Answer::last_errno();
    }
    Answer::from_return(value)
}

/// The call of a 32-bit process: the kernel takes its compat handlers for it, whatever kind of
/// process it is. The argument is cut to 32 bits.
pub fn compat(fd: RawFd, number: u32, argument: &Argument) -> Answer {
    let value: u64;
    // SAFETY: as in `native`. rbx belongs to the compiler, so it is swapped in and back.
    unsafe {
        asm!(
            "xchg {fd}, rbx",
            "int 0x80",
            "xchg {fd}, rbx",
            fd = inout(reg) fd as u32 as u64 => _,
            inlateout("rax") IOCTL_32 => value,
            in("rcx") u64::from(number),
            in("rdx") argument.value() & 0xffff_ffff,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    Answer::from_return(i64::from(value as i32))
}

/// Makes the same native call `times` times and returns the ticks that all of them took together,
/// and the last answer.
///
/// Between the two readings of the clock stand the calls, six more instructions for each of them
/// (four moves, a decrement, a jump) and a handful for the readings themselves.
pub fn timed(fd: RawFd, number: u32, argument: &Argument, times: u64) -> (u64, Answer) {
    assert!(times > 0);
    let value: i64;
    // SAFETY: as in `native`; `syscall` itself overwrites rcx and r11. Reading the clock is
    // harmless, and the fences keep the calls between the readings.
    let ticks = unsafe {
        std::arch::x86_64::_mm_lfence();
        let began = _rdtsc();
        std::arch::x86_64::_mm_lfence();
        asm!(
            "2:",
            "mov eax, {ioctl}",
            "mov edi, {fd:e}",
            "mov esi, {number:e}",
            "mov rdx, {argument}",
            "syscall",
            "dec {times}",
            "jnz 2b",
            ioctl = const libc::SYS_ioctl,
            fd = in(reg) fd,
            number = in(reg) number,
            argument = in(reg) argument.value(),
            times = inout(reg) times => _,
            out("rax") value,
            out("rcx") _,
            out("rdx") _,
            out("rsi") _,
            out("rdi") _,
            out("r11") _,
            options(nostack),
        );
        std::arch::x86_64::_mm_lfence();
        _rdtsc().wrapping_sub(began)
    };
    (ticks, Answer::from_return(value))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::*;

    const TIOCGWINSZ: u32 = libc::TIOCGWINSZ as u32;

    #[test]
    fn all_doors_lead_to_the_same_answers() {
        let null = File::open("/dev/null").unwrap();
        let zero = Argument::number(0);
        for (fd, answer) in [
            (null.as_raw_fd(), Answer::Errno(libc::ENOTTY)),
            (-1, Answer::Errno(libc::EBADF)),
        ] {
            assert_eq!(native(fd, TIOCGWINSZ, &zero), answer);
            assert_eq!(compat(fd, TIOCGWINSZ, &zero), answer);
            assert_eq!(timed(fd, TIOCGWINSZ, &zero, 3).1, answer);
        }
    }

    #[test]
    fn all_doors_carry_the_argument() {
        let (mut ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut ours, b"three").unwrap();
        let reader = _theirs.as_raw_fd();
        for door in [native, compat] {
            let argument = Argument::zeroed().unwrap();
            assert_eq!(
                door(reader, libc::FIONREAD as u32, &argument),
                Answer::Ok(0)
            );
            assert_eq!(argument.pages().unwrap().number_at(0), 5);
            let bad = Argument::bad().unwrap();
            assert_eq!(
                door(reader, libc::FIONREAD as u32, &bad),
                Answer::Errno(libc::EFAULT)
            );
        }
    }
}
