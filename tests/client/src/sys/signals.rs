// SPDX-License-Identifier: GPL-2.0

//! Signals: SIGUSR1 and SIGALRM wake a thread out of the kernel, SIGTERM asks the program to end.

use std::{
    io, mem,
    os::unix::thread::JoinHandleExt,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether SIGTERM (or SIGINT) came since [`catch_end`].
pub fn end_was_asked() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// From now on SIGTERM and SIGINT do not kill: they are remembered.
pub fn catch_end() -> io::Result<()> {
    catch(libc::SIGTERM, remember)?;
    catch(libc::SIGINT, remember)
}

/// From now on SIGUSR1 and SIGALRM do nothing but interrupt a system call.
pub fn catch_kicks() -> io::Result<()> {
    catch(libc::SIGUSR1, ignore)?;
    catch(libc::SIGALRM, ignore)
}

/// Interrupts the system call that the thread is in, if it is in one.
pub fn kick<T>(thread: &thread::JoinHandle<T>) {
    // SAFETY: the handle keeps the thread's identity valid until it is joined.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
}

/// Interrupts the system call of this process after `seconds`; 0 calls that off.
pub fn alarm(seconds: u32) {
    // SAFETY: `catch_kicks` has made SIGALRM harmless; without it the program ends.
    unsafe { libc::alarm(seconds) };
}

extern "C" fn remember(_signal: libc::c_int) {
    ENDING.store(true, Ordering::Relaxed);
}

extern "C" fn ignore(_signal: libc::c_int) {}

fn catch(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction: no flags (so no SA_RESTART), an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: both handlers do nothing but store to an atomic, which is allowed in one.
    match unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
