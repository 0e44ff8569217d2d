// SPDX-License-Identifier: GPL-2.0

//! A kprobe at the entry of an ioctl handler, which may refuse the call.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::{
    bindings,
    call::Call,
    detour::{self, Answer, Detours, Outcome, Probes, Returned, Waiting},
    preemption::NoPreemption, //
};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// Decides about the calls that reach a probe. The first two run with preemption off, in the context
/// of the caller: they must not sleep, allocate or take a lock.
pub(crate) trait OnHit: Sync {
    /// What calls are judged by.
    type Rules;

    /// Whether the call goes through without further ado. Every call pays for this. One that
    /// has something in the upper half of its [command's register](Call::command_register) must not.
    fn passes<'a>(&self, call: &Call<'_>, on: &'a NoPreemption) -> Passes<'a, Self::Rules>;

    /// The same where it matters who calls, if [`Self::passes`] does not say no already.
    fn passes_for_caller(&self, call: &Call<'_>, rules: &Self::Rules) -> bool;

    /// What becomes of a call that does not.
    fn judge(&self, call: &Call<'_>) -> Outcome;

    /// What becomes of a call that was deferred. Runs in the context of the caller, and may sleep.
    fn judge_deferred(&self, call: Waiting<'_>) -> Returned;
}

/// Whether a call goes through.
pub(crate) enum Passes<'a, R> {
    /// It does.
    Yes,
    /// By these rules it may, if it matters who calls.
    Perhaps(&'a R),
    /// That has to be found out.
    No,
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

/// A name that ends with its only NUL.
pub(crate) const fn c_str(text: &'static str) -> &'static CStr {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Whether a probe that is registered fires, as far as was seen when it was last
/// [looked at](super::sight).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Pulse {
    /// It does.
    Fires = 0,
    /// Somebody else's user of ftrace is at the function as well: one cannot tell from outside.
    Traced = 1,
    /// It does not: calls pass unseen.
    Silent = 2,
}

/// A probe that can be armed and disarmed, and who decides about its calls.
///
/// # Invariants
///
/// `kprobe` is registered with the kernel exactly while `armed` is not [`Armed::No`]; both change
/// only under [`REGISTRATION`](super::locks::REGISTRATION).
#[repr(C)]
pub(crate) struct Probe<T: 'static> {
    pub(super) kprobe: Opaque<bindings::kprobe>,
    armed: AtomicU8,
    /// The last [`Pulse`].
    pulse: AtomicU8,
    /// Whether somebody else's kprobe was at the same place then.
    in_company: AtomicBool,
    /// The handler's entry, once the probe has been armed.
    entry: AtomicUsize,
    at: Handler,
    judge: T,
    /// Where calls go instead.
    detours: Detours,
}

// SAFETY: `kprobe` is written only under a lock, by this type and by the kernel's own rules, and
// `T` is shared between the CPUs whose calls it judges.
unsafe impl<T: Sync> Sync for Probe<T> {}

impl<T: OnHit + 'static> Probe<T> {
    /// A probe that is not armed yet.
    ///
    /// It stands at `PLACE` in `P`.
    pub(crate) const fn new<P: Probes<Judge = T>, const PLACE: usize>(
        at: Handler,
        judge: T,
    ) -> Self {
        Self {
            kprobe: Opaque::zeroed(),
            armed: AtomicU8::new(Armed::No as u8),
            pulse: AtomicU8::new(Pulse::Fires as u8),
            in_company: AtomicBool::new(false),
            entry: AtomicUsize::new(0),
            at,
            judge,
            detours: Detours::of::<P, PLACE>(),
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

    /// Whether it is registered, and has not been seen not to fire.
    #[inline]
    pub(crate) fn fires(&self) -> bool {
        self.armed() != Armed::No && self.pulse() != Pulse::Silent
    }

    /// Whether it fires, if it is registered.
    pub(crate) fn pulse(&self) -> Pulse {
        match self.pulse.load(Ordering::Relaxed) {
            0 => Pulse::Fires,
            1 => Pulse::Traced,
            _ => Pulse::Silent,
        }
    }

    /// Whether somebody else's kprobe was at the same place when it was last looked at.
    pub(crate) fn is_in_company(&self) -> bool {
        self.in_company.load(Ordering::Relaxed)
    }

    /// Keeps what has been seen.
    pub(crate) fn note(&self, pulse: Pulse, in_company: bool) {
        self.pulse.store(pulse as u8, Ordering::Relaxed);
        self.in_company.store(in_company, Ordering::Relaxed);
    }

    /// How many calls passed unseen because a kprobe was already being handled on their CPU.
    pub(crate) fn missed(&self) -> usize {
        // SAFETY: `kprobe` is valid for reads as long as `self`; the counter may change meanwhile,
        // as every counter may.
        unsafe { core::ptr::addr_of!((*self.kprobe.get()).nmissed).read_volatile() }
    }

    /// The address of the handler: where to call it. Known once the probe has been armed.
    pub(super) fn entry(&self) -> usize {
        self.entry.load(Ordering::Relaxed)
    }

    /// Keeps the handler's address, given that the kprobe is registered. The kprobe itself does not:
    /// it is filled in anew when it is armed anew, perhaps while a deferred call waits for a page.
    fn note_entry(&self) {
        // SAFETY: the kprobe is registered; the kernel has filled it in.
        let probed = unsafe { (*self.kprobe.get()).addr }.cast_const();
        // With `CONFIG_X86_KERNEL_IBT` a function that is called through a pointer begins with
        // `endbr64`, its probe stands behind that (`arch_adjust_kprobe_addr()`), and calling it
        // anywhere else is a fault.
        #[cfg(CONFIG_X86_KERNEL_IBT)]
        let probed = {
            const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
            let before = probed.wrapping_sub(ENDBR64.len());
            // SAFETY: where there is no `endbr64`, there is the padding that stands before each
            // function of such a kernel.
            match unsafe { before.cast::<[u8; 4]>().read() } {
                ENDBR64 => before,
                _ => probed,
            }
        };
        self.entry
            .store(probed.expose_provenance(), Ordering::Relaxed);
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
        self.note_entry();
        if alone {
            // SAFETY: it is registered.
            unsafe { bindings::unregister_kprobe(kprobe) };
            self.register(symbol, Some(passed))?;
        }
        self.note(Pulse::Fires, false);
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
    let call = Call {
        // INVARIANT: the kernel runs pre-handlers at the function's entry.
        registers,
        // SAFETY: the kernel runs pre-handlers with preemption off.
        no_preemption: unsafe { NoPreemption::assume() },
    };
    // SAFETY: as above.
    let on = unsafe { NoPreemption::assume() };
    match probe.judge.passes(&call, &on) {
        Passes::Yes => 0,
        Passes::Perhaps(rules) => ask(probe, registers, rules),
        Passes::No => judge(probe, registers),
    }
}

/// The rest of [`hit`], for the calls that it matters who makes. Neither needs a stack frame.
#[inline(never)]
fn ask<T: OnHit>(probe: &Probe<T>, registers: &mut bindings::pt_regs, rules: &T::Rules) -> c_int {
    let call = Call {
        // INVARIANT: as in `hit`.
        registers,
        // SAFETY: as in `hit`.
        no_preemption: unsafe { NoPreemption::assume() },
    };
    if probe.judge.passes_for_caller(&call, rules) {
        return 0;
    }
    judge(probe, registers)
}

/// The rest of both, for all other calls.
#[cold]
#[inline(never)]
fn judge<T: OnHit>(probe: &Probe<T>, registers: &mut bindings::pt_regs) -> c_int {
    let call = Call {
        // INVARIANT: as in `hit`.
        registers,
        // SAFETY: as in `hit`.
        no_preemption: unsafe { NoPreemption::assume() },
    };
    if call.has_been_judged() {
        detour::take_pass(registers);
        return 0;
    }
    match probe.judge.judge(&call) {
        Outcome::Decided(Answer::Continue) => return 0,
        Outcome::Decided(Answer::Refuse(errno)) => detour::refuse(registers, errno),
        Outcome::Sealed(slot) => probe.detours.seal(registers, slot),
        Outcome::Defer => probe.detours.defer(registers),
    }
    1
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
