// SPDX-License-Identifier: GPL-2.0

//! A mapping that is attacked by its address alone.

use std::{
    arch::asm,
    io, mem, ptr,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::answer::Answer;

/// # Invariants
///
/// A mapping into which Rust has no reference and will have none: whatever becomes of it, and
/// whatever is mapped there instead, nothing of ours is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    pub start: u64,
    pub size_bytes: u64,
}

impl Victim {
    /// A mapping that /proc/self/maps tells of and that this program did not make.
    pub fn foreign(start: u64, end: u64) -> Self {
        Victim {
            start,
            size_bytes: end.saturating_sub(start),
        }
    }

    /// A page of our own that lies apart and that nothing protects: what is an attack on another
    /// mapping must succeed here.
    pub fn ordinary() -> io::Result<Self> {
        const PAGE: usize = 4096;
        // SAFETY: a new mapping at an address that the kernel chooses; its neighbours stay empty,
        // because nothing is mapped into the middle of what was mapped whole and cut out again.
        let whole = unsafe {
            libc::mmap(
                ptr::null_mut(),
                9 * PAGE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if whole == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = whole as u64 + 4 * PAGE as u64;
        let page = Victim {
            start,
            size_bytes: PAGE as u64,
        };
        // Of that page alone, as a file of its own, or it would be one mapping with its neighbours.
        page.call(libc::SYS_mprotect, [start, PAGE as u64, 3, 0, 0, 0]);
        page.call(
            libc::SYS_munmap,
            [whole as u64, 4 * PAGE as u64, 0, 0, 0, 0],
        );
        page.call(
            libc::SYS_munmap,
            [start + PAGE as u64, 4 * PAGE as u64, 0, 0, 0, 0],
        );
        Ok(page)
    }

    /// Any system call at all. Its arguments name this mapping, memory of the caller that the
    /// caller lets the kernel write to, or nothing.
    pub fn call(&self, number: libc::c_long, args: [u64; 6]) -> Answer {
        let [a, b, c, d, e, f] = args;
        // SAFETY: by the invariant and by what callers promise, no memory that Rust relies on is
        // changed behind its back.
        match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
            -1 => Answer::last_errno(),
            value => Answer::Ok(value),
        }
    }

    /// Stores a byte there as a program does; whether that was possible.
    pub fn store(&self) -> bool {
        let before = FAULTS.load(Ordering::Relaxed);
        // SAFETY: the mapping is nobody's; where the store faults, the handler of
        // `survive_faults()` goes on behind the instruction, which is two bytes long.
        unsafe {
            asm!("mov byte ptr [rdi], al", in("rdi") self.start, in("al") 0xff_u8, options(nostack));
        }
        FAULTS.load(Ordering::Relaxed) == before
    }

    /// Loads a byte from there as a program does; whether that was possible.
    pub fn load(&self) -> bool {
        let before = FAULTS.load(Ordering::Relaxed);
        // SAFETY: as in `store`.
        unsafe {
            asm!("mov al, byte ptr [rdi]", in("rdi") self.start, out("al") _, options(nostack));
        }
        FAULTS.load(Ordering::Relaxed) == before
    }
}

static FAULTS: AtomicU64 = AtomicU64::new(0);

/// From now on a fault of [`Victim::store`] or [`Victim::load`] is counted. Any other is fatal, as
/// ever.
pub fn survive_faults() -> io::Result<()> {
    extern "C" fn count(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        const STORE: [u8; 2] = [0x88, 0x07];
        const LOAD: [u8; 2] = [0x8a, 0x07];
        // SAFETY: the kernel hands over a context that is ours as long as the handler runs, and
        // its rip is the address of an instruction of this program.
        unsafe {
            let context = context.cast::<libc::ucontext_t>();
            let rip = &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize];
            let code = *(*rip as *const [u8; 2]);
            if code != STORE && code != LOAD {
                libc::abort();
            }
            *rip += 2;
        }
        FAULTS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: all zeroes is a valid sigaction; the handler is one of three arguments, as is said.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        action.sa_sigaction = count as *const () as usize;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            super::file::check(libc::sigaction(signal, &action, ptr::null_mut()))?;
        }
    }
    Ok(())
}

/// Runs `work` in a child that shares nothing but what fork(2) copies, and returns its exit code;
/// -1 if a signal ended it. This process must have one thread.
pub fn forked(work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the process has one thread, so the child may go on with everything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = work();
            // SAFETY: ends the child without touching what it shares with the parent.
            unsafe { libc::_exit(code) }
        }
        child => Ok(waited(child)),
    }
}

/// Runs `work` in a process of its own that shares this one's memory and waits for it, as vfork(2)
/// does, and returns its exit code.
pub fn in_shared_memory(work: &mut dyn FnMut() -> i32) -> io::Result<i32> {
    extern "C" fn start(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the pointer is to the reference below, which its owner does not use meanwhile.
        unsafe { (*work.cast::<&mut dyn FnMut() -> i32>())() }
    }
    let mut work = work;
    let mut stack = vec![0_u8; 256 * 1024];
    let end = stack.as_mut_ptr_range().end;
    // SAFETY: the child has a stack of its own, and this thread sleeps until it has ended.
    let child = unsafe {
        libc::clone(
            start,
            end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            ptr::from_mut(&mut work).cast(),
        )
    };
    match child {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(waited(child)),
    }
}

fn waited(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    unsafe { libc::waitpid(child, &mut status, libc::__WALL) };
    if libc::WIFEXITED(status) {
        return libc::WEXITSTATUS(status);
    }
    -1
}

/// pipe(2).
pub fn pipe(ends: &mut [i32; 2]) -> libc::c_int {
    // SAFETY: the kernel writes two numbers.
    unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }
}

/// Limits a resource of this process, for good.
pub fn limit(resource: libc::__rlimit_resource_t, bytes: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: the kernel reads one struct.
    super::file::check(unsafe { libc::setrlimit(resource, &limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_page_is_anybodys() {
        survive_faults().unwrap();
        let page = Victim::ordinary().unwrap();
        assert!(page.store() && page.load());
        assert_eq!(
            page.call(
                libc::SYS_mprotect,
                [page.start, page.size_bytes, 0, 0, 0, 0]
            ),
            Answer::Ok(0)
        );
        assert!(!page.store() && !page.load());
        assert_eq!(
            page.call(libc::SYS_munmap, [page.start, page.size_bytes, 0, 0, 0, 0]),
            Answer::Ok(0)
        );
    }
}
