// SPDX-License-Identifier: GPL-2.0

//! A kprobe at a function that is no ioctl handler: it sees that the function is called, and lets it be.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::{bindings, call::Call, module_notifier::is_loaded, preemption::NoPreemption};
use crate::text::Errno;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// The arguments of a function that has just been entered.
pub(crate) struct Arguments<'a> {
    call: Call<'a>,
}

#[cfg(target_arch = "x86_64")]
impl Arguments<'_> {
    /// The first.
    pub(super) fn first(&self) -> usize {
        self.call.registers.di
    }

    /// The second.
    pub(super) fn second(&self) -> usize {
        self.call.registers.si
    }

    /// The proof that comes with a call.
    pub(super) fn no_preemption(&self) -> &NoPreemption {
        self.call.no_preemption()
    }
}

/// What is done when the function is called. Runs with preemption off, in the caller's context: it must
/// not sleep or allocate.
pub(crate) type Saw = fn(&Arguments<'_>);

/// A function that is watched.
///
/// # Invariants
///
/// `kprobe` is registered exactly while `armed`; both change only under
/// [`REGISTRATION`](super::locks::REGISTRATION).
#[repr(C)]
pub(crate) struct Observer {
    kprobe: Opaque<bindings::kprobe>,
    armed: AtomicBool,
    /// Why the last attempt to arm it failed: a negative errno, or 0. `ENOENT` only where its module is
    /// loaded.
    error: AtomicI32,
    /// The module that it lives in; empty for the kernel itself.
    pub(crate) module: &'static CStr,
    /// Its name.
    pub(crate) symbol: &'static CStr,
    /// `module:symbol`
    qualified: &'static CStr,
    /// `module:__this_module`
    this_module: &'static CStr,
    saw: Saw,
}

// SAFETY: `kprobe` is written only under a lock, by this type and by the kernel's own rules.
unsafe impl Sync for Observer {}

impl Observer {
    /// One that is not armed yet. `saw` takes its arguments for what `symbol` has.
    pub(super) const fn new(
        module: &'static CStr,
        symbol: &'static CStr,
        qualified: &'static CStr,
        this_module: &'static CStr,
        saw: Saw,
    ) -> Self {
        Self {
            kprobe: Opaque::zeroed(),
            armed: AtomicBool::new(false),
            error: AtomicI32::new(0),
            module,
            symbol,
            qualified,
            this_module,
            saw,
        }
    }

    /// Whether it is in place; an error if it could not be put there, though the function may be.
    pub(crate) fn armed(&self) -> Result<bool> {
        match self.error.load(Ordering::Relaxed) {
            0 => Ok(self.armed.load(Ordering::Relaxed)),
            error => Err(Error::from_errno(error)),
        }
    }

    /// How often it was not seen because its CPU was handling another kprobe.
    pub(crate) fn missed(&self) -> usize {
        // SAFETY: `kprobe` is valid for reads as long as `self`; the counter may change meanwhile.
        unsafe { core::ptr::addr_of!((*self.kprobe.get()).nmissed).read_volatile() }
    }

    /// Puts it at the function's entry, if its module is there.
    pub(crate) fn arm(&'static self) {
        let _lock = super::locks::REGISTRATION.lock();
        if self.armed.load(Ordering::Relaxed) {
            return;
        }
        let result = match self.register(self.qualified) {
            // No such module: the function may be built in.
            Err(ENOENT) => self.register(self.symbol),
            result => result,
        };
        // INVARIANT: registered or not, under the lock.
        self.armed.store(result.is_ok(), Ordering::Relaxed);
        let error = match result {
            Ok(()) => 0,
            Err(ENOENT) if !is_loaded(self.this_module) => 0,
            Err(error) => {
                pr_err!(
                    "{}: it could not be watched ({}): VMs, files or programs may be taken for others\n",
                    self.symbol,
                    Errno(error)
                );
                error.to_errno()
            }
        };
        self.error.store(error, Ordering::Relaxed);
    }

    fn register(&'static self, symbol: &'static CStr) -> Result {
        let kprobe = self.kprobe.get();
        // SAFETY: the kernel does not know this kprobe now, and the caller's lock keeps others from
        // changing that: all zero is valid, as in C.
        unsafe {
            kprobe.write_bytes(0, 1);
            (*kprobe).symbol_name = symbol.as_char_ptr();
            (*kprobe).pre_handler = Some(hit);
        }
        // SAFETY: it is filled in, and part of a `static`, which never moves.
        to_result(unsafe { bindings::register_kprobe(kprobe) })?;
        // `register_kprobe()` says nothing when ftrace refuses to arm it, and forgets the kprobe;
        // enabling what is enabled is refused only then.
        // SAFETY: any kprobe may be asked about.
        to_result(unsafe { bindings::enable_kprobe(kprobe) }).map_err(|_| EBUSY)
    }

    /// Takes it away. When this returns, no CPU is inside its handler.
    pub(crate) fn disarm(&'static self) {
        let _lock = super::locks::REGISTRATION.lock();
        self.error.store(0, Ordering::Relaxed);
        // INVARIANT: it is unregistered below, under the lock.
        if self.armed.swap(false, Ordering::Relaxed) {
            // SAFETY: by the type invariants it is registered.
            unsafe { bindings::unregister_kprobe(self.kprobe.get()) };
        }
    }
}

/// The pre-handler of every observer.
///
/// # Safety
///
/// To be called by the kernel alone, for a kprobe within an [`Observer`].
unsafe extern "C" fn hit(
    kprobe: *mut bindings::kprobe,
    registers: *mut bindings::pt_regs,
) -> c_int {
    // SAFETY: the kprobe is the field of an `Observer`, which is a `static`.
    let observer = unsafe { &*container_of!(Opaque::cast_from(kprobe), Observer, kprobe) };
    let arguments = Arguments {
        call: Call {
            // SAFETY: the kernel hands over the registers for the time of this call.
            // INVARIANT: the kernel runs pre-handlers at the function's entry.
            registers: unsafe { &*registers },
            // SAFETY: the kernel runs pre-handlers with preemption off.
            no_preemption: unsafe { NoPreemption::assume() },
        },
    };
    (observer.saw)(&arguments);
    0
}
