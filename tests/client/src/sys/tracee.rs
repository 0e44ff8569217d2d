// SPDX-License-Identifier: GPL-2.0

//! A thread of another process that is made to call the kernel, as code that has taken it over would.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    ptr,
};

use libc::{c_int, c_uint, pid_t, user_regs_struct};

use crate::answer::Answer;

/// `syscall`, by which a thread came to where it waits.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// What a call that was interrupted leaves for the kernel, which then makes it again.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;
const RESTART_BLOCK: i64 = -516;
/// What the kernel says of a stop that PTRACE_INTERRUPT made.
const INTERRUPTED: c_int = libc::SIGTRAP | (libc::PTRACE_EVENT_STOP << 8);
/// A stop at a system call, with PTRACE_O_TRACESYSGOOD.
const AT_CALL: c_int = libc::SIGTRAP | 0x80;

/// A stopped thread, which goes on where it was when this is dropped.
///
/// # Invariants
///
/// `tid` is traced by this thread, stopped, and `saved` are the registers that it was found with,
/// behind a `syscall` instruction.
pub struct Tracee {
    tid: pid_t,
    saved: user_regs_struct,
    memory: File,
    /// A signal that came meanwhile, for when it goes on.
    signal: c_int,
}

impl Tracee {
    /// Stops a thread of process `pid`. `None` if it was not in a system call.
    pub fn stop(pid: u32, tid: u32) -> io::Result<Option<Self>> {
        let tid = tid as pid_t;
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))?;
        request(
            libc::PTRACE_SEIZE,
            tid,
            libc::PTRACE_O_TRACESYSGOOD as usize,
        )?;
        let mut tracee = Tracee {
            tid,
            // SAFETY: a struct of numbers.
            saved: unsafe { std::mem::zeroed() },
            memory,
            signal: 0,
        };
        request(libc::PTRACE_INTERRUPT, tid, 0)?;
        while tracee.wait()? != INTERRUPTED {
            request(libc::PTRACE_CONT, tid, 0)?;
        }
        tracee.saved = tracee.registers()?;
        let mut before = [0; 2];
        tracee
            .memory
            .read_exact_at(&mut before, tracee.saved.rip - 2)?;
        Ok((before == SYSCALL && (tracee.saved.orig_rax as i64) >= 0).then_some(tracee))
    }

    /// The call that it was in: its number and first two arguments.
    pub fn was_in(&self) -> (u64, u64, u64) {
        (self.saved.orig_rax, self.saved.rdi, self.saved.rsi)
    }

    /// Makes a system call there.
    pub fn call(&mut self, number: i64, arguments: [u64; 6]) -> io::Result<Answer> {
        let mut registers = self.saved;
        registers.rip -= 2;
        registers.rax = number as u64;
        // Otherwise the kernel would make the interrupted call again.
        registers.orig_rax = u64::MAX;
        [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ] = arguments;
        self.set_registers(&registers)?;
        // On the way in, and on the way out.
        for _ in 0..2 {
            request(libc::PTRACE_SYSCALL, self.tid, 0)?;
            while self.wait()? != AT_CALL {
                request(libc::PTRACE_SYSCALL, self.tid, 0)?;
            }
        }
        Ok(Answer::from_return(self.registers()?.rax as i64))
    }

    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, address)
    }

    /// Waits for it to stop; says why. Signals are kept for later.
    fn wait(&mut self) -> io::Result<c_int> {
        let mut status = 0;
        // SAFETY: `status` is ours.
        let waited = unsafe { libc::waitpid(self.tid, &mut status, libc::__WALL) };
        if waited == -1 {
            return Err(io::Error::last_os_error());
        }
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::other("the thread has ended"));
        }
        let why = status >> 8;
        if why != INTERRUPTED && why != AT_CALL {
            self.signal = why & 0x7f;
        }
        Ok(why)
    }

    fn registers(&self) -> io::Result<user_regs_struct> {
        // SAFETY: a struct of numbers.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        request(
            libc::PTRACE_GETREGS,
            self.tid,
            ptr::from_mut(&mut registers) as usize,
        )?;
        Ok(registers)
    }

    fn set_registers(&self, registers: &user_regs_struct) -> io::Result<()> {
        request(
            libc::PTRACE_SETREGS,
            self.tid,
            ptr::from_ref(registers) as usize,
        )
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if self.saved.rip != 0 {
            let mut registers = self.saved;
            let left = registers.rax as i64;
            // The kernel no longer knows that the call was interrupted: the thread makes it again.
            if RESTARTS.contains(&left) {
                registers.rip -= 2;
                registers.rax = match left {
                    RESTART_BLOCK => libc::SYS_restart_syscall as u64,
                    _ => registers.orig_rax,
                };
            }
            registers.orig_rax = u64::MAX;
            // If the thread is gone, there is nothing to restore.
            let _ = self.set_registers(&registers);
        }
        let _ = request(libc::PTRACE_DETACH, self.tid, self.signal as usize);
    }
}

/// The threads of process `pid` that run its code. Those that the kernel runs for it do not.
pub fn threads(pid: u32) -> io::Result<Vec<u32>> {
    /// PF_IO_WORKER and PF_USER_WORKER (include/linux/sched.h).
    const WORKERS: u64 = 0x10 | 0x4000;
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        let Some(tid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))?;
        // The ninth field; the second is in parentheses.
        let flags = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(6)?.parse().ok());
        if flags.is_some_and(|flags: u64| flags & WORKERS == 0) {
            threads.push(tid);
        }
    }
    Ok(threads)
}

/// A request to ptrace(2) about a thread, with its last argument; no request here uses the third.
fn request(request: c_uint, tid: pid_t, data: usize) -> io::Result<()> {
    // SAFETY: `data` is a number, or the address of registers that the caller holds, as the request
    // asks for; nothing else of this process's memory is touched.
    let answer = unsafe { libc::ptrace(request, tid, ptr::null_mut::<u8>(), data) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
