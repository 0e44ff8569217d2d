// SPDX-License-Identifier: GPL-2.0

//! The module's locks. They live here because a static lock has to be initialised at run time,
//! once, before its first use.
//!
//! Order: [`LEDGER`] before [`REGISTRATION`]; [`LIFE`] before [`REGISTRATION`], and never together with
//! [`LEDGER`]. [`LEDGER`] and that of a VM, [`Subject::doing`](super::registry::Subject), before [`PROFILES`];
//! none of these is taken inside [`PROFILES`] or [`REGISTRY`].

use super::registry::Expected;
use crate::{ledger::Ledger, life::Life};
use core::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering}, //
};
use kernel::prelude::KVec;

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// Held while a probe is registered or taken away.
    pub(crate) unsafe(uninit) static REGISTRATION: Mutex<()> = ();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// Held while a policy is put in force, and by whoever reports about it.
    pub(crate) unsafe(uninit) static LEDGER: Mutex<Ledger> = Ledger::new();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// Held while a window becomes known or is forgotten; perhaps inside the lock of its address
    /// space, whose lock must not be taken inside this one.
    pub(crate) unsafe(uninit) static WINDOWS: Mutex<()> = ();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// The address spaces in which a window is being made. Held while that begins and ends.
    pub(crate) unsafe(uninit) static MAKERS: Mutex<KVec<usize>> = KVec::new();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// Held while the gate is looked at.
    pub(crate) unsafe(uninit) static LIFE: Mutex<Life> = Life::new();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// Held while a node becomes known or is taken out.
    pub(crate) unsafe(uninit) static REGISTRY: Mutex<()> = ();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// Held while it is summed up what a profile has, and while that changes: until what VMs have has been
    /// looked at, which takes longer the more files there are. No memory of a caller's is waited for
    /// meanwhile.
    pub(crate) unsafe(uninit) static PROFILES: Mutex<()> = ();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is the first thing that the module does.
    /// The VMs that are being made. Held by an observer as well, which cannot sleep.
    pub(crate) unsafe(uninit) static BIRTHS: SpinLock<KVec<Expected>> = KVec::new();
}

/// Makes the locks ready. Only the first call does something.
pub(crate) fn init() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        // SAFETY: called once, before the first probe, notifier or file of this module exists, so
        // nobody else can be using the locks.
        unsafe {
            REGISTRATION.init();
            LEDGER.init();
            WINDOWS.init();
            MAKERS.init();
            LIFE.init();
            REGISTRY.init();
            PROFILES.init();
            BIRTHS.init();
        }
    }
}
