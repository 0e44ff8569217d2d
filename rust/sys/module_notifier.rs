// SPDX-License-Identifier: GPL-2.0

//! Other modules: hearing of those that come and go, and whether one is there.
//!
//! C headers: [`include/linux/module.h`](srctree/include/linux/module.h),
//! [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// What to do when another module comes or goes.
pub(crate) trait ModuleEvents: 'static {
    /// The module is in memory and its functions can be probed; its init has not run yet.
    fn coming(module: &CStr);
    /// The module's exit has run; its text is about to be freed.
    fn going(module: &CStr);
}

/// A subscription, until it is dropped.
///
/// # Invariants
///
/// `block` is registered with the kernel and does not move.
pub(crate) struct ModuleNotifier<E: ModuleEvents> {
    block: Pin<KBox<Opaque<bindings::notifier_block>>>,
    _events: PhantomData<fn() -> E>,
}

// SAFETY: the block is the kernel's until `drop`, which may run on any thread.
unsafe impl<E: ModuleEvents> Send for ModuleNotifier<E> {}
// SAFETY: a shared reference gives no access to anything.
unsafe impl<E: ModuleEvents> Sync for ModuleNotifier<E> {}

impl<E: ModuleEvents> ModuleNotifier<E> {
    /// Subscribes. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let block = KBox::pin(
            Opaque::new(bindings::notifier_block {
                notifier_call: Some(called::<E>),
                // After the kprobes' own notifier, which marks the probes of a module that goes.
                priority: -1,
                ..pin_init::zeroed()
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: the block is pinned, and `drop` unregisters it before it is freed.
        to_result(unsafe { bindings::register_module_notifier(block.get()) })?;
        // INVARIANT: it has just been registered, and it is pinned.
        Ok(Self {
            block,
            _events: PhantomData,
        })
    }
}

impl<E: ModuleEvents> Drop for ModuleNotifier<E> {
    fn drop(&mut self) {
        // SAFETY: by the type invariants it is registered. This waits for running callbacks.
        unsafe { bindings::unregister_module_notifier(self.block.get()) };
    }
}

/// Whether a module is loaded, by `NAME:__this_module`, the symbol of its `struct module`.
///
/// Modules may not ask `find_module()`. But `register_kprobe()` answers with `ENOENT` where there is no
/// such symbol, and with `EINVAL` where it is one of data, as this one is. A kernel that keeps no
/// symbols of data (no `CONFIG_KALLSYMS_ALL`) says no. May sleep.
pub(crate) fn is_loaded(this_module: &'static CStr) -> bool {
    let probe = Opaque::new(bindings::kprobe {
        symbol_name: this_module.as_char_ptr(),
        ..pin_init::zeroed()
    });
    let Ok(probe) = KBox::pin(probe, GFP_KERNEL) else {
        return false;
    };
    // SAFETY: it is filled in, and does not move before it is freed; the kernel keeps it only if it
    // answers with 0.
    match to_result(unsafe { bindings::register_kprobe(probe.get()) }) {
        Ok(()) => {
            // SAFETY: it has just been registered.
            unsafe { bindings::unregister_kprobe(probe.get()) };
            true
        }
        Err(error) => error == EINVAL,
    }
}

/// # Safety
///
/// To be called by the kernel's chain of module notifiers alone: `data` is the `struct module`.
unsafe extern "C" fn called<E: ModuleEvents>(
    _: *mut bindings::notifier_block,
    event: kernel::ffi::c_ulong,
    data: *mut c_void,
) -> c_int {
    let module = data.cast::<bindings::module>();
    // SAFETY: the chain keeps the module alive for the call, and its name is a C string.
    let name = unsafe { CStr::from_char_ptr((*module).name.as_ptr()) };
    match u32::try_from(event) {
        Ok(bindings::module_state_MODULE_STATE_COMING) => E::coming(name),
        Ok(bindings::module_state_MODULE_STATE_GOING) => E::going(name),
        _ => {}
    }
    0 // NOTIFY_DONE
}
