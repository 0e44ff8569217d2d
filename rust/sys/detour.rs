// SPDX-License-Identifier: GPL-2.0

//! Where a call goes that does not go straight into its handler: to a function that returns an
//! errno, or to one that may sleep, judges the call there, and calls the handler itself.
//!
//! Both are functions of this module that run in the caller's context, long after the probe: the
//! module's text may go only after [`wait_for_calls_on_detours`].

use super::{
    bindings,
    call::{current, Call},
    kprobe::{OnHit, Probe},
    open_file::OpenFile,
    window::{self, Slot}, //
};
use core::{
    ptr::{addr_of_mut, null_mut, NonNull},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering}, //
};
use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta}, //
};

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The handler runs as if nothing stood here.
    Continue,
    /// The handler is not entered: the call returns this errno, a positive number as in `EPERM`.
    Refuse(u16),
}

/// A call that was deferred. It is refused, or its handler is called, once.
pub(crate) struct Waiting<'a> {
    entry: usize,
    /// The canary has none.
    file: Option<OpenFile<'a>>,
    command: c_uint,
    argument: c_ulong,
}

/// What a call returns.
pub(crate) struct Returned {
    result: c_long,
    /// What the handler has returned; there may have been no way to tell the caller all of it.
    of_handler: c_long,
}

impl Returned {
    const fn early(result: c_long) -> Self {
        Self {
            result,
            of_handler: result,
        }
    }

    /// The number that the handler answered with; `None` for an error.
    pub(crate) fn success(&self) -> Option<u64> {
        u64::try_from(self.of_handler).ok()
    }
}

impl<'a> Waiting<'a> {
    /// What it is made on.
    pub(crate) fn file(&self) -> Option<OpenFile<'a>> {
        self.file
    }

    /// Its command.
    pub(crate) fn command(&self) -> u32 {
        self.command
    }

    /// Its argument.
    pub(crate) fn argument(&self) -> u64 {
        self.argument as u64
    }

    /// It returns this errno.
    pub(crate) fn refuse(self, errno: u16) -> Returned {
        // CAST: an errno fits.
        Returned::early(-(errno as c_long))
    }

    /// The system call begins anew, and nobody sees that: `restart_syscall()` of
    /// `include/linux/sched/signal.h`.
    pub(crate) fn restart(self) -> Returned {
        // SAFETY: the current task is there, and its flags are changed by single instructions alone.
        let flags =
            unsafe { AtomicU64::from_ptr(addr_of_mut!((*current()).thread_info.flags).cast()) };
        // On its way to user mode the task looks for a signal, and begins the call anew if there is none.
        flags.fetch_or(1 << bindings::TIF_SIGPENDING, Ordering::Relaxed);
        // CAST: an errno fits.
        Returned::early(-(bindings::ERESTARTNOINTR as c_long))
    }

    /// Calls the handler.
    pub(crate) fn proceed(self) -> Returned {
        Returned::early(self.call(self.argument))
    }

    #[inline(always)]
    fn call(&self, argument: c_ulong) -> c_long {
        let file = self.file.map_or(null_mut(), OpenFile::as_ptr);
        // SAFETY: but for the argument, these are those of an intercepted call of that very handler,
        // whose module stays while its caller has the file open; any argument may be tried.
        unsafe { call_judged(self.entry, file, self.command, argument) }
    }

    /// Calls the handler with the argument that was judged; then the caller's own argument gets what
    /// the handler wrote.
    #[inline(always)]
    pub(crate) fn proceed_sealed(self, slot: Slot) -> Returned {
        // For the races, which are to show what this is good for.
        let argument = if cfg!(portcullis_unsealed) {
            slot.original()
        } else {
            slot.argument()
        };
        // CAST: 64 bits.
        let of_handler = self.call(argument as c_ulong);
        Returned {
            result: slot.finish(of_handler),
            of_handler,
        }
    }
}

/// What a probe knows about a call.
pub(crate) enum Outcome {
    /// What becomes of it.
    Decided(Answer),
    /// The handler is called with the argument that was judged.
    Sealed(Slot),
    /// That it can be judged only where one may sleep.
    Defer,
}

/// The probes that calls can be deferred at, by their places.
pub(crate) trait Probes: 'static {
    /// Who decides.
    type Judge: OnHit + 'static;

    /// The probe at that place.
    fn at(place: usize) -> Option<&'static Probe<Self::Judge>>;
}

/// The signature of an ioctl handler.
pub(crate) type IoctlFn = extern "C" fn(*mut bindings::file, c_uint, c_ulong) -> c_long;

/// Makes the intercepted function return `-errno`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn refuse(registers: &mut bindings::pt_regs, errno: u16) {
    // CAST: a function's address.
    registers.ip = refused as *const () as usize;
    registers.di = usize::from(errno).wrapping_neg();
}

/// Stands in for the handler of a refused call: returns its first argument.
extern "C" fn refused(result: c_long) -> c_long {
    result
}

/// How many calls are on their way into [`deferred`], in it, or in a handler that it has called.
/// A probe adds them, so that none is in the gap between both.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

/// Where the calls at a probe go that do not go straight into their handler. The arguments that they
/// have are all that gets there: a BPF trampoline at the same function, which runs on the way, keeps
/// no other register.
pub(crate) struct Detours {
    deferred: IoctlFn,
    sealed: IoctlFn,
}

impl Detours {
    /// Of the probe that stands at `PLACE` in `P`.
    pub(crate) const fn of<P: Probes, const PLACE: usize>() -> Self {
        Self {
            deferred: deferred::<P, PLACE>,
            sealed: sealed::<P, PLACE>,
        }
    }

    /// Sends a call to where it is judged.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn defer(&self, registers: &mut bindings::pt_regs) {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        // CAST: a function's address.
        registers.ip = self.deferred as *const () as usize;
    }

    /// Sends a call to its handler with what was judged in the place of its argument.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn seal(&self, registers: &mut bindings::pt_regs, slot: Slot) {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        // CAST: 64 bits; a function's address.
        registers.dx = slot.into_argument() as usize;
        registers.ip = self.sealed as *const () as usize;
    }
}

/// Stands in for the handler of a call that has to be judged where one may sleep.
///
/// Never inlined and never in a tail call: whatever it calls, it has to count itself out.
extern "C" fn deferred<P: Probes, const PLACE: usize>(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // There is a probe, or nobody would have come here.
    let result = match waiting::<P, PLACE>(file, command, argument) {
        Some((judge, call)) => judge.judge_deferred(call).result,
        None => NOBODY,
    };
    IN_FLIGHT.fetch_sub(1, Ordering::Release);
    result
}

/// Stands in for the handler of a call that has been judged in the probe.
#[inline(never)]
extern "C" fn sealed<P: Probes, const PLACE: usize>(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // CAST: 64 bits.
    let result = match (
        waiting::<P, PLACE>(file, command, argument),
        Slot::from_argument(argument as u64),
    ) {
        (Some((_, call)), Some(slot)) => call.proceed_sealed(slot).result,
        _ => sealed_anywhere::<P, PLACE>(file, command, argument),
    };
    IN_FLIGHT.fetch_sub(1, Ordering::Release);
    result
}

/// The rest of [`sealed`], for the calls of a process with so many at a time that it has windows
/// behind the first, or one that shares its bucket.
#[cold]
#[inline(never)]
fn sealed_anywhere<P: Probes, const PLACE: usize>(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // CAST: 64 bits.
    match (
        waiting::<P, PLACE>(file, command, argument),
        Slot::from_argument_anywhere(argument as u64),
    ) {
        (Some((_, call)), Some(slot)) => call.proceed_sealed(slot).result,
        _ => NOBODY,
    }
}

/// A call on a detour, and who judges it.
#[inline(always)]
fn waiting<'a, P: Probes, const PLACE: usize>(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> Option<(&'static P::Judge, Waiting<'a>)> {
    let probe = P::at(PLACE)?;
    // SAFETY: whoever calls an ioctl keeps its file open for as long as the call lasts.
    let file = NonNull::new(file).map(|file| unsafe { OpenFile::assume(file) });
    let call = Waiting {
        entry: probe.entry(),
        file,
        command,
        argument,
    };
    Some((probe.judge(), call))
}

/// What a call returns that comes from nowhere.
// CAST: an errno fits.
const NOBODY: c_long = -(bindings::EPERM as c_long);

/// What the fourth argument's register holds in the calls of [`call_judged`]: a random number.
static PASS: AtomicU64 = AtomicU64::new(0);

/// Chooses a [`PASS`]; before the first probe is armed.
pub(crate) fn init() {
    // SAFETY: may be called at any time. A process has been started: the generator is ready.
    let random = unsafe { bindings::get_random_u64() };
    // Zero is what an unused register is likely to hold.
    PASS.store(random | 1 << 63, Ordering::Relaxed);
}

/// Calls a handler so that the probe at its entry knows that the call has been judged.
///
/// The handler is called at its symbol, through the probe, and not behind it: others who trace the
/// function see what they would see without us. So the probe must tell this call from every other,
/// and an attacker in user space must not be able to make one that looks the same:
///
/// * It has [`PASS`] in the register of the fourth argument, which a handler with three never looks
///   at. Nobody outside the kernel knows that number or chooses what this register holds.
/// * It has a bit in the upper half of the command's register, which is no part of an
///   `unsigned int`. An attacker may manage that as well; it proves nothing, and only keeps such
///   calls off the fast path, so that the others do not pay for the look at the pass.
///
/// The return address would tell as much, but not always: kretprobes and the function graph tracer
/// put an address of their own in its place before our probe looks, and a call that is not
/// recognised is deferred again, and again, until the stack is full.
///
/// # Safety
///
/// `entry` must be the address of an ioctl handler that stays there, and the others arguments that
/// it may be called with.
unsafe fn call_judged(
    entry: usize,
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // As the C compiler sees it: with the whole register of the second argument, and a fourth.
    type Marked = unsafe extern "C" fn(*mut bindings::file, u64, c_ulong, u64) -> c_long;
    #[cfg(CONFIG_CFI)]
    compile_error!("kCFI takes a call through another signature for an attack");
    // SAFETY: the caller says that a handler is there. In the calling convention of C a function
    // does not see the upper half of a 32-bit argument, nor an argument that it does not have.
    let handler = unsafe { core::mem::transmute::<usize, Marked>(entry) };
    let marked = u64::from(command) | 1 << 32;
    // SAFETY: as above.
    unsafe { handler(file, marked, argument, PASS.load(Ordering::Relaxed)) }
}

/// Takes the pass away from a call that has shown it, so that it proves nothing further down.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn take_pass(registers: &mut bindings::pt_regs) {
    registers.cx = 0;
    // CAST: the lower half is the command.
    registers.si = registers.si as u32 as usize;
}

#[cfg(target_arch = "x86_64")]
impl Call<'_> {
    /// Whether this is a call of [`call_judged`].
    #[inline]
    pub(super) fn has_been_judged(&self) -> bool {
        self.registers.cx as u64 == PASS.load(Ordering::Relaxed)
    }
}

/// Waits until no task is on a detour or on its way to one, given that no probe is armed.
///
/// However long that takes: a task may sleep in [`deferred`] because of memory that does not come,
/// or in the handler that it has called. It is waited for in small pieces, which no watchdog of
/// hung tasks minds.
pub(crate) fn wait_for_calls_on_detours() {
    // No probe is armed, and taking one away waits for its running handlers: nobody adds any more.
    while IN_FLIGHT.load(Ordering::Acquire) != 0 {
        fsleep(Delta::from_millis(10));
    }
    // Nobody reads through a window any more, nor makes one.
    window::remove_all();
    // What is left are calls that have not slept since their probe was hit, or since they counted
    // themselves out. Tasks RCU waits until each task has slept on its own account, or was seen in
    // user mode, or idle.
    #[cfg(CONFIG_TASKS_RCU)]
    // SAFETY: called from the module's exit, which may sleep.
    unsafe {
        bindings::synchronize_rcu_tasks()
    };
    // Without Tasks RCU the kernel cannot preempt a task in kernel mode.
    #[cfg(not(CONFIG_TASKS_RCU))]
    kernel::sync::rcu::synchronize_rcu();
}
