// SPDX-License-Identifier: GPL-2.0

//! A kprobe at the entry of an ioctl handler, which may refuse the call.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::bindings;
use core::sync::atomic::{AtomicU8, Ordering};
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

    /// Whether the system call was made through the 32-bit entry, as `in_ia32_syscall()` says,
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
                options(readonly, nostack, preserves_flags),
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
                options(readonly, nostack, preserves_flags),
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

/// An ioctl handler, by name.
///
/// # Invariants
///
/// A function of this name has the signature `long (struct file *, unsigned int, unsigned long)`.
pub(crate) struct Handler {
    /// The module that it lives in, where it is not built in.
    pub(crate) module: &'static CStr,
    /// Its symbol.
    pub(crate) symbol: &'static CStr,
    /// `module:symbol`, which finds it in that module and nowhere else.
    qualified: &'static CStr,
}

impl Handler {
    /// Each argument ends in a NUL; `qualified` is `module:symbol`. Evaluated by the compiler: what
    /// is not called an ioctl handler does not compile, because a probe on any other function would
    /// return an errno in the place of who knows what.
    pub(crate) const fn new(
        module: &'static str,
        symbol: &'static str,
        qualified: &'static str,
    ) -> Self {
        // INVARIANT: the kernel gives this name to such functions alone.
        assert!(ends_with(symbol.as_bytes(), b"_ioctl\0"));
        Self {
            module: c_str(module),
            symbol: c_str(symbol),
            qualified: c_str(qualified),
        }
    }
}

const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a name must end with its only NUL"),
    }
}

const fn ends_with(text: &[u8], end: &[u8]) -> bool {
    match text.split_at_checked(text.len().saturating_sub(end.len())) {
        Some((_, last)) => {
            let mut index = 0;
            while index < end.len() {
                if index >= last.len() || last[index] != end[index] {
                    return false;
                }
                index += 1;
            }
            true
        }
        None => false,
    }
}

/// How a probe stands at its handler.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Armed {
    /// It does not.
    No = 0,
    /// It sees every call, and what it changes holds: see [`Probe::arm`].
    Yes = 1,
    /// It sees every call, but somebody else's probe was there first: a tracing program that BPF
    /// attaches to the function's exit would run the handler of a refused call.
    Shared = 2,
}

/// A probe that can be armed and disarmed, and who decides about its calls.
///
/// # Invariants
///
/// `kprobe` is registered with the kernel exactly while `armed` is not [`Armed::No`]; both change
/// only under [`REGISTRATION`](super::locks::REGISTRATION).
#[repr(C)]
pub(crate) struct Probe<T: 'static> {
    kprobe: Opaque<bindings::kprobe>,
    armed: AtomicU8,
    at: Handler,
    judge: T,
}

// SAFETY: `kprobe` is written only under a lock, by this type and by the kernel's own rules, and
// `T` is shared between the CPUs whose calls it judges.
unsafe impl<T: Sync> Sync for Probe<T> {}

impl<T: OnHit + 'static> Probe<T> {
    /// A probe that is not armed yet.
    pub(crate) const fn new(at: Handler, judge: T) -> Self {
        Self {
            kprobe: Opaque::zeroed(),
            armed: AtomicU8::new(Armed::No as u8),
            at,
            judge,
        }
    }

    /// Where it stands, or will.
    pub(crate) const fn at(&self) -> &Handler {
        &self.at
    }

    /// Who decides.
    pub(crate) const fn judge(&self) -> &T {
        &self.judge
    }

    /// Whether the probe is registered.
    #[inline]
    pub(crate) fn armed(&self) -> Armed {
        match self.armed.load(Ordering::Relaxed) {
            0 => Armed::No,
            1 => Armed::Yes,
            _ => Armed::Shared,
        }
    }

    /// How many calls passed unseen because a kprobe was already being handled on their CPU.
    pub(crate) fn missed(&self) -> usize {
        // SAFETY: `kprobe` is valid for reads as long as `self`; the counter may change meanwhile,
        // as every counter may.
        unsafe { core::ptr::addr_of!((*self.kprobe.get()).nmissed).read_volatile() }
    }

    /// Puts the probe at the handler's entry. Arming an armed probe changes nothing.
    ///
    /// A probe with a post-handler, even an empty one, is an `IPMODIFY` user of ftrace: a livepatch
    /// or a BPF trampoline at the same function then either respects the changed address or is
    /// refused. It also keeps a probe that is not on ftrace from being jump-optimised. But where
    /// somebody else's probe without one was there first, the kernel would take the post-handler
    /// and not re-arm, and lose its way when one of the two goes (`add_new_kprobe()`). So the first
    /// registration goes without, and looks whether the probe is alone. Who puts a kprobe at the
    /// same function between the two registrations gets to see that bug.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the kernel has no such function; `EBUSY` if ftrace refused to send its calls
    /// here; else what `register_kprobe()` says.
    pub(crate) fn arm(&'static self) -> Result {
        let _lock = super::locks::REGISTRATION.lock();
        if self.armed() != Armed::No {
            return Ok(());
        }
        let qualified = self.at.qualified;
        let symbol = match self.register(qualified, None) {
            // No such module: the handler may be built in.
            Err(ENOENT) => {
                self.register(self.at.symbol, None)?;
                self.at.symbol
            }
            result => {
                result?;
                qualified
            }
        };
        let kprobe = self.kprobe.get();
        // SAFETY: it is registered; who else comes to its list now is of no consequence.
        let alone = unsafe {
            let list = core::ptr::addr_of_mut!((*kprobe).list);
            (*list).next == list
        };
        if alone {
            // SAFETY: it is registered.
            unsafe { bindings::unregister_kprobe(kprobe) };
            self.register(symbol, Some(passed))?;
        }
        // INVARIANT: it has just been registered, under the lock.
        let armed = if alone { Armed::Yes } else { Armed::Shared };
        self.armed.store(armed as u8, Ordering::Relaxed);
        Ok(())
    }

    /// Registers the kprobe, which must not be, under the lock; on an error it is not.
    fn register(
        &'static self,
        symbol: &'static CStr,
        post_handler: bindings::kprobe_post_handler_t,
    ) -> Result {
        let kprobe = self.kprobe.get();
        // SAFETY: the kernel does not know this kprobe now, and the caller's lock keeps others from
        // changing that, so it may be filled in: all zero is valid, as in C.
        unsafe {
            kprobe.write_bytes(0, 1);
            (*kprobe).symbol_name = symbol.as_char_ptr();
            (*kprobe).pre_handler = Some(hit::<T>);
            (*kprobe).post_handler = post_handler;
        }
        // SAFETY: it is filled in, and part of a `static`, which never moves.
        to_result(unsafe { bindings::register_kprobe(kprobe) })?;
        // `register_kprobe()` says nothing when ftrace refuses to arm it, and forgets the kprobe;
        // enabling what is enabled is refused only then.
        // SAFETY: any kprobe may be asked about.
        to_result(unsafe { bindings::enable_kprobe(kprobe) }).map_err(|_| EBUSY)
    }

    /// Takes the probe away. When this returns, no CPU is inside its handler.
    pub(crate) fn disarm(&'static self) {
        let _lock = super::locks::REGISTRATION.lock();
        // INVARIANT: it is unregistered below, under the lock.
        if self.armed.swap(Armed::No as u8, Ordering::Relaxed) != Armed::No as u8 {
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
    if probe.judge.passes(&Call { registers }) {
        return 0;
    }
    judge(&probe.judge, registers)
}

/// The rest of [`hit`], for the calls that do not simply pass: they alone need a stack frame.
#[cold]
#[inline(never)]
fn judge<T: OnHit>(judge: &T, registers: &mut bindings::pt_regs) -> c_int {
    // INVARIANT: as in `hit`.
    match judge.judge(&Call { registers }) {
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

/// The post-handler of a probe that is alone: see [`Probe::arm`] for why it is there.
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
