// SPDX-License-Identifier: GPL-2.0

//! The entry sites: every ioctl handler that is guarded, one row each.
//!
//! A site follows its module. It is armed when the module is there, before the module's init runs,
//! and taken away when the module goes.

use crate::{
    active,
    sys::{
        kprobe::{wait_for_refused_calls, Call, OnHit, Outcome, Probe},
        module_notifier::{ModuleEvents, ModuleNotifier},
    },
};
use core::sync::atomic::{AtomicI32, Ordering};
use kernel::{prelude::*, str::CStr};
use portcullis_policy::{Request, Surface};

/// Who calls the handler of a site.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Callers of both word sizes.
    All,
    /// Callers of both word sizes, but 32-bit ones come through the compat handler, which stands
    /// in [`SITES`] at this index and has judged them already.
    BehindCompat(usize),
    /// 32-bit callers alone.
    Compat,
}

/// An ioctl handler of `long (*)(struct file *, unsigned int, unsigned long)`.
pub(crate) struct Site {
    /// The module that the handler lives in, where it is not built in.
    pub(crate) module: &'static CStr,
    /// The handler's symbol.
    pub(crate) symbol: &'static CStr,
    /// `module:symbol`, which finds the handler in that module and nowhere else.
    qualified: &'static CStr,
    /// What its commands are judged as.
    pub(crate) surface: Surface,
    pub(crate) callers: Callers,
    /// Why the last attempt to arm it failed: a negative errno, or 0.
    error: AtomicI32,
}

/// What `status` says of a site.
pub(crate) enum State {
    /// Every call is judged.
    Armed,
    /// The kernel has no such function now: its module is not loaded, or was built without it.
    Absent,
    /// The function is there, and the probe could not be put at it: calls pass unseen.
    Failed(Error),
}

/// A row of [`SITES`].
macro_rules! site {
    ($module:literal, $symbol:literal, $surface:ident, $callers:expr) => {
        Probe::new(Site {
            module: c_str(concat!($module, "\0")),
            symbol: c_str(concat!($symbol, "\0")),
            qualified: c_str(concat!($module, ":", $symbol, "\0")),
            surface: Surface::$surface,
            callers: $callers,
            error: AtomicI32::new(0),
        })
    };
}

const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"", // cannot be: `site!` ends each with one NUL
    }
}

/// The doors. An order of rows matters only to `BehindCompat`.
pub(crate) static SITES: [Probe<Site>; 6] = [
    site!("kvm", "kvm_dev_ioctl", Kvm, Callers::All),
    site!("kvm", "kvm_vm_compat_ioctl", KvmVm, Callers::Compat),
    site!("kvm", "kvm_vm_ioctl", KvmVm, Callers::BehindCompat(1)),
    site!("kvm", "kvm_vcpu_compat_ioctl", KvmVcpu, Callers::Compat),
    site!("kvm", "kvm_vcpu_ioctl", KvmVcpu, Callers::BehindCompat(3)),
    site!("kvm", "kvm_device_ioctl", KvmDevice, Callers::All),
];

impl OnHit for Site {
    #[inline]
    fn passes(&self, call: &Call<'_>) -> bool {
        !call.is_compat() && active::plainly_allows(self.surface, call)
    }

    fn judge(&self, call: &Call<'_>) -> Outcome {
        let compat = call.is_compat();
        if let Callers::BehindCompat(first) = self.callers {
            // A 32-bit call of most commands runs through both handlers, and is one call.
            if compat && SITES.get(first).is_some_and(Probe::is_armed) {
                return Outcome::Continue;
            }
        }
        active::judge(
            &Request {
                surface: self.surface,
                command: call.command(),
                arg: call.argument(),
                compat,
            },
            call,
        )
    }
}

/// Arms a site if its function is there.
fn arm(probe: &'static Probe<Site>) {
    let site = probe.handler();
    let result = match probe.arm(site.qualified) {
        // No such module: the handler may be built in.
        Err(ENOENT) => probe.arm(site.symbol),
        result => result,
    };
    let error = result.map_or_else(Error::to_errno, |()| 0);
    site.error.store(error, Ordering::Relaxed);
    if let State::Failed(error) = state(probe) {
        pr_err!(
            "{}: the probe could not be put in place: {:?}; its calls pass unseen\n",
            site.symbol,
            error
        );
    }
}

/// What has become of a site.
pub(crate) fn state(probe: &Probe<Site>) -> State {
    if probe.is_armed() {
        return State::Armed;
    }
    match probe.handler().error.load(Ordering::Relaxed) {
        0 => State::Absent,
        error if error == ENOENT.to_errno() => State::Absent,
        error => State::Failed(Error::from_errno(error)),
    }
}

/// The sites of a module.
fn of_module(module: &CStr) -> impl Iterator<Item = &'static Probe<Site>> + '_ {
    let is_its = move |probe: &&'static Probe<Site>| probe.handler().module == module;
    SITES.iter().filter(is_its)
}

enum Follow {}

impl ModuleEvents for Follow {
    fn coming(module: &CStr) {
        of_module(module).for_each(arm);
    }

    fn going(module: &CStr) {
        for probe in of_module(module) {
            probe.disarm();
            probe.handler().error.store(0, Ordering::Relaxed);
        }
    }
}

/// The guard at all sites, from [`Gate::close`] until it is dropped.
pub(crate) struct Gate {
    // In order: no module may bring a site back while the sites are being taken away.
    _notifier: ModuleNotifier<Follow>,
    _armed: Armed,
}

/// Takes all sites away when it is dropped.
struct Armed;

impl Gate {
    /// Arms every site whose module is there, and those of modules to come.
    pub(crate) fn close() -> Result<Self> {
        let armed = Armed;
        let notifier = ModuleNotifier::new()?;
        SITES.iter().for_each(arm);
        Ok(Self {
            _notifier: notifier,
            _armed: armed,
        })
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        SITES.iter().for_each(Probe::disarm);
        wait_for_refused_calls();
    }
}
