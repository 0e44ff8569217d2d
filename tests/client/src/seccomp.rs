// SPDX-License-Identifier: GPL-2.0

//! A seccomp filter that compares many command numbers, to measure against.
//!
//! It is written by hand as a straight line of compares, so that a call that is none of them pays
//! for every single one. A filter generator might sort them into a tree.

use seccompiler::{apply_filter, sock_filter, BpfProgram};

use crate::command::TABLE;

/// Offsets in struct seccomp_data, C header `include/uapi/linux/seccomp.h`.
const NR: u32 = 0;
/// The low half of the second argument: the command.
const COMMAND: u32 = 24;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// The kernel takes 4096 instructions, of which four are not compares.
pub const MOST_COMPARES: usize = 2000;

/// Refuses the first `count` of [`numbers`] with EPERM, allows every other ioctl and every other
/// system call.
pub fn filter(count: usize, own: u32) -> BpfProgram {
    let mut program = vec![
        step(LOAD, 0, 0, NR),
        // An ioctl goes on behind the next line, anything else is allowed by it.
        step(JUMP_EQUAL, 1, 0, libc::SYS_ioctl as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(LOAD, 0, 0, COMMAND),
    ];
    for number in numbers(own).take(count) {
        program.push(step(JUMP_EQUAL, 0, 1, number));
        program.push(step(RETURN, 0, 0, EPERM));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// Puts `program` in front of this thread, and of no other process, for good.
pub fn install(program: &BpfProgram) -> Result<(), String> {
    apply_filter(program).map_err(|error| format!("cannot install the seccomp filter: {error}"))
}

/// The numbers of the table and then made-up ones, `own` never among them.
fn numbers(own: u32) -> impl Iterator<Item = u32> {
    const UNUSED_TYPE: u32 = 0xdead_0000;
    (TABLE.iter().map(|entry| entry.number))
        .chain((0..).map(|index| UNUSED_TYPE + index))
        .filter(move |number| *number != own)
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would; returns its verdict and the compares it took.
    fn run(program: &BpfProgram, nr: u32, command: u32) -> (u32, usize) {
        let (mut at, mut loaded, mut compares) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                LOAD => loaded = if k == NR { nr } else { command },
                JUMP_EQUAL => {
                    compares += 1;
                    at += usize::from(if loaded == k { jt } else { jf });
                }
                RETURN => return (k, compares),
                _ => panic!("an instruction that the filter never has"),
            }
        }
    }

    #[test]
    fn every_compare_really_runs() {
        let ioctl = libc::SYS_ioctl as u32;
        let own = TABLE[3].number;
        for count in [1, 7, 24, 64, 200, MOST_COMPARES] {
            let program = filter(count, own);
            assert!(program.len() <= 4096);
            assert_eq!(
                run(&program, ioctl, own),
                (libc::SECCOMP_RET_ALLOW, count + 1)
            );
            assert_eq!(run(&program, ioctl, TABLE[0].number), (EPERM, 2));
            assert_eq!(
                run(&program, 0, TABLE[0].number),
                (libc::SECCOMP_RET_ALLOW, 1)
            );
        }
    }

    /// In a thread of its own, which takes the filter with it when it ends.
    #[test]
    fn the_kernel_takes_it_and_obeys_it() {
        use crate::{answer::Answer, argument::Argument, sys::ioctl};

        std::thread::spawn(|| {
            install(&filter(64, libc::TIOCGWINSZ as u32)).unwrap();
            let null = std::fs::File::open("/dev/null").unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&null);
            let zero = Argument::number(0);
            let answer = ioctl::native(fd, TABLE[0].number, &zero);
            assert_eq!(answer, Answer::Errno(libc::EPERM));
            let answer = ioctl::native(fd, libc::TIOCGWINSZ as u32, &zero);
            assert_eq!(answer, Answer::Errno(libc::ENOTTY));
        })
        .join()
        .unwrap();
    }
}
