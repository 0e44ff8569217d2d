// SPDX-License-Identifier: GPL-2.0

//! A kprobe at the entry of an ioctl handler, which may refuse the call.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::bindings;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// What becomes of an intercepted call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The handler runs as if nothing stood here.
    Continue,
    /// The handler is not entered: the call returns this errno, a positive number as in `EPERM`.
    Refuse(u16),
}

/// Decides about the calls that reach a probe. Both run with preemption off, in the context of the
/// caller: they must not sleep, allocate or take a lock.
pub(crate) trait OnHit: Sync {
    /// Whether the call goes through without further ado. Every call pays for this.
    fn passes(&self, call: &Call<'_>) -> bool;

    /// What becomes of a call that does not.
    fn judge(&self, call: &Call<'_>) -> Outcome;
}

/// A call that has just entered `long handler(struct file *, unsigned int, unsigned long)`.
///
/// # Invariants
///
/// While a `Call` exists, preemption is off and its registers are those of the intercepted
/// function's entry.
pub(crate) struct Call<'a> {
    registers: &'a bindings::pt_regs,
}

#[cfg(target_arch = "x86_64")]
impl Call<'_> {
    /// The second argument, the command: 32 bits, as the handler's `unsigned int` has them.
    #[inline]
    pub(crate) fn command(&self) -> u32 {
        // CAST: the upper half of the register is not part of an `unsigned int`.
        self.registers.si as u32
    }

    /// The third argument.
    #[inline]
    pub(crate) fn argument(&self) -> u64 {
        // CAST: a register of 64 bits.
        self.registers.dx as u64
    }

    /// Whether the system call was made through the 32-bit entry, as `in_compat_syscall()` says,
    /// whatever the word size of the process is.
    #[inline]
    pub(crate) fn is_compat(&self) -> bool {
        let current: *const bindings::task_struct;
        // SAFETY: reads a per-CPU variable, as `get_current()` does, without the helper's call.
        unsafe {
            core::arch::asm!(
                "mov {current}, qword ptr gs:[rip + {variable}]",
                current = out(reg) current,
                variable = sym current_task,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        // SAFETY: the current task is there for as long as this runs on its behalf, and nobody else
        // writes the flag that the system call's entry has set.
        let status = unsafe { (*current).thread_info.status };
        status & bindings::TS_COMPAT != 0
    }

    /// The number of this CPU, below `nr_cpu_ids`.
    #[inline]
    pub(crate) fn cpu(&self) -> usize {
        let cpu: usize;
        // SAFETY: reads a per-CPU variable, as `raw_smp_processor_id()` does, without the helper's
        // call. Preemption is off by the type invariants, so the number stays right.
        unsafe {
            core::arch::asm!(
                "mov {cpu:e}, dword ptr gs:[rip + {variable}]",
                cpu = out(reg) cpu,
                variable = sym cpu_number,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        // Writing the lower half of a register has cleared the upper one.
        cpu
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" {
    /// Per CPU: the running task. Only its place is wanted.
    static current_task: u8;
    /// Per CPU: its number. Only its place is wanted.
    static cpu_number: u8;
}

/// Makes the intercepted function return `-errno`.
#[cfg(target_arch = "x86_64")]
#[inline]
fn redirect(registers: &mut bindings::pt_regs, errno: u16) {
    // CAST: a function's address.
    registers.ip = refused as *const () as usize;
    // CAST: an errno fits.
    registers.di = (errno as usize).wrapping_neg();
}

/// Stands in for the handler of a refused call: returns its first argument.
///
/// A task can be preempted in here, so the module's text may go only after
/// [`wait_for_refused_calls`].
extern "C" fn refused(result: c_long) -> c_long {
    result
}

/// Waits until no task is inside [`refused`] or on its way to it, given that no probe is armed.
pub(crate) fn wait_for_refused_calls() {
    // A refused call runs in a task that has not slept since its probe was hit. Tasks RCU waits
    // until each task has slept on its own account, or was seen in user mode, or idle.
    #[cfg(CONFIG_TASKS_RCU)]
    // SAFETY: called from the module's exit, which may sleep.
    unsafe {
        bindings::synchronize_rcu_tasks()
    };
    // Without Tasks RCU the kernel cannot preempt a task in kernel mode.
    #[cfg(not(CONFIG_TASKS_RCU))]
    kernel::sync::rcu::synchronize_rcu();
}

/// A probe that can be armed and disarmed, and what it tells its calls to.
///
/// # Invariants
///
/// `kprobe` is registered with the kernel exactly while `armed` is true; both change only under
/// [`REGISTRATION`](super::locks::REGISTRATION).
#[repr(C)]
pub(crate) struct Probe<T: 'static> {
    kprobe: Opaque<bindings::kprobe>,
    armed: AtomicBool,
    handler: T,
}

// SAFETY: `kprobe` is written only under a lock, by this type and by the kernel's own rules, and
// `T` is shared between the CPUs whose calls it judges.
unsafe impl<T: Sync> Sync for Probe<T> {}

impl<T: OnHit + 'static> Probe<T> {
    /// A probe that is not armed yet.
    pub(crate) const fn new(handler: T) -> Self {
        Self {
            kprobe: Opaque::zeroed(),
            armed: AtomicBool::new(false),
            handler,
        }
    }

    /// The handler.
    pub(crate) const fn handler(&self) -> &T {
        &self.handler
    }

    /// Whether the probe is registered.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// How many calls passed unseen because a kprobe was already being handled on their CPU.
    pub(crate) fn missed(&self) -> usize {
        // SAFETY: `kprobe` is valid for reads as long as `self`; the counter may change meanwhile,
        // as every counter may.
        unsafe { core::ptr::addr_of!((*self.kprobe.get()).nmissed).read_volatile() }
    }

    /// Puts the probe at the entry of `symbol`: a name, or `module:name`. Arming an armed probe
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the kernel has no such symbol, else what `register_kprobe()` says.
    pub(crate) fn arm(&'static self, symbol: &'static CStr) -> Result {
        let _lock = super::locks::REGISTRATION.lock();
        if self.is_armed() {
            return Ok(());
        }
        let kprobe = self.kprobe.get();
        // SAFETY: by the type invariants the kernel does not know this kprobe now, and the lock
        // keeps others from changing that, so it may be filled in: all zero is valid, as in C.
        unsafe {
            kprobe.write_bytes(0, 1);
            (*kprobe).symbol_name = symbol.as_char_ptr();
            (*kprobe).pre_handler = Some(hit::<T>);
            // Makes the probe an IPMODIFY user of ftrace: a livepatch or a BPF trampoline at the
            // same function then either respects the changed address or is refused. It also keeps
            // a probe that is not on ftrace from being jump-optimised.
            (*kprobe).post_handler = Some(passed);
        }
        // SAFETY: it is filled in, and part of a `static`, which never moves.
        to_result(unsafe { bindings::register_kprobe(kprobe) })?;
        // INVARIANT: it has just been registered, under the lock.
        self.armed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the probe away. When this returns, no CPU is inside its handler.
    pub(crate) fn disarm(&'static self) {
        let _lock = super::locks::REGISTRATION.lock();
        // INVARIANT: it is unregistered below, under the lock.
        if self.armed.swap(false, Ordering::Relaxed) {
            // SAFETY: by the type invariants it is registered. A probe that is gone with its
            // module may be unregistered all the same.
            unsafe { bindings::unregister_kprobe(self.kprobe.get()) };
        }
    }
}

/// The pre-handler of every probe.
///
/// # Safety
///
/// To be called by the kernel alone, for a kprobe within a [`Probe<T>`].
unsafe extern "C" fn hit<T: OnHit + 'static>(
    kprobe: *mut bindings::kprobe,
    registers: *mut bindings::pt_regs,
) -> c_int {
    // SAFETY: the kprobe is the field of a `Probe<T>`, which is a `static`.
    let probe = unsafe { &*container_of!(Opaque::cast_from(kprobe), Probe<T>, kprobe) };
    // SAFETY: the kernel hands over the registers of the intercepted function for the time of this
    // call, and nobody else uses them meanwhile.
    let registers = unsafe { &mut *registers };
    // INVARIANT: the kernel runs pre-handlers with preemption off, at the function's entry.
    if probe.handler.passes(&Call { registers }) {
        return 0;
    }
    judge(&probe.handler, registers)
}

/// The rest of [`hit`], for the calls that do not simply pass: they alone need a stack frame.
#[cold]
#[inline(never)]
fn judge<T: OnHit>(handler: &T, registers: &mut bindings::pt_regs) -> c_int {
    // INVARIANT: as in `hit`.
    match handler.judge(&Call { registers }) {
        Outcome::Continue => 0,
        Outcome::Refuse(errno) => {
            redirect(registers, errno);
            1
        }
    }
}

/// Runs `body` with a call as a probe would have it, registers all zero. For tests.
#[cfg(CONFIG_KUNIT)]
pub(crate) fn with_fake_call<R>(body: impl FnOnce(&Call<'_>) -> R) -> R {
    let registers = pin_init::zeroed();
    let _guard = kernel::interrupt::local_interrupt_disable();
    // INVARIANT: without interrupts nothing preempts `body`.
    body(&Call {
        registers: &registers,
    })
}

/// The post-handler of every probe: see [`Probe::arm`] for why it is there.
///
/// # Safety
///
/// To be called by the kernel alone.
unsafe extern "C" fn passed(
    _: *mut bindings::kprobe,
    _: *mut bindings::pt_regs,
    _: kernel::ffi::c_ulong,
) {
}
