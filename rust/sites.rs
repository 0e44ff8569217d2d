// SPDX-License-Identifier: GPL-2.0

//! The entry sites: every ioctl handler that is guarded, one row each.
//!
//! A site follows its module. It is armed when the module is there, before the module's init runs,
//! and taken away when the module goes.

use crate::{
    active,
    sys::{
        kprobe::{wait_for_refused_calls, Armed, Call, Handler, OnHit, Outcome, Probe},
        module_notifier::{ModuleEvents, ModuleNotifier},
    },
    text::Errno, //
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

impl Callers {
    /// Whether a call has been judged at another site on its way here: a 32-bit call of most
    /// commands runs through both handlers, and is one call. If the other site is not armed, it has
    /// not.
    pub(crate) fn have_judged(self, compat: bool, is_armed: impl Fn(usize) -> bool) -> bool {
        match self {
            Self::BehindCompat(first) => compat && is_armed(first),
            Self::All | Self::Compat => false,
        }
    }
}

/// A guarded ioctl handler.
pub(crate) struct Site {
    /// What its commands are judged as.
    pub(crate) surface: Surface,
    pub(crate) callers: Callers,
    /// Why the last attempt to arm it failed: a negative errno, or 0.
    error: AtomicI32,
}

/// What `status` says of a site.
pub(crate) enum State {
    /// The probe is in place.
    Armed,
    /// The probe is in place beside somebody else's.
    Shared,
    /// The kernel has no such function now: its module is not loaded, or was built without it.
    Absent,
    /// The function is there, and the probe could not be put at it: calls pass unseen.
    Failed(Error),
}

/// A row of [`SITES`].
macro_rules! site {
    ($module:literal, $symbol:literal, $surface:ident, $callers:expr) => {
        Probe::new(
            Handler::new(
                concat!($module, "\0"),
                concat!($symbol, "\0"),
                concat!($module, ":", $symbol, "\0"),
            ),
            Site {
                surface: Surface::$surface,
                callers: $callers,
                error: AtomicI32::new(0),
            },
        )
    };
}

/// The doors. The order of rows matters only to `BehindCompat`.
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
        let compat = call.is_compat() || self.callers == Callers::Compat;
        let is_armed = |site| {
            SITES
                .get(site)
                .is_some_and(|site: &Probe<Site>| site.armed() != Armed::No)
        };
        if self.callers.have_judged(compat, is_armed) {
            return Outcome::Continue;
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
    let error = probe.arm().map_or_else(Error::to_errno, |()| 0);
    probe.judge().error.store(error, Ordering::Relaxed);
    let symbol = probe.at().symbol;
    match state(probe) {
        State::Failed(error) => pr_err!(
            "{}: the probe could not be put in place ({}): its calls pass unseen\n",
            symbol,
            Errno(error)
        ),
        State::Shared => pr_warn!(
            "{}: another kprobe was here first: see `shared` in the admin guide\n",
            symbol
        ),
        State::Armed | State::Absent => {}
    }
}

/// What has become of a site.
pub(crate) fn state(probe: &Probe<Site>) -> State {
    match (probe.armed(), probe.judge().error.load(Ordering::Relaxed)) {
        (Armed::Yes, _) => State::Armed,
        (Armed::Shared, _) => State::Shared,
        (Armed::No, 0) => State::Absent,
        (Armed::No, error) if error == ENOENT.to_errno() => State::Absent,
        (Armed::No, error) => State::Failed(Error::from_errno(error)),
    }
}

/// The sites of a module.
fn of_module(module: &CStr) -> impl Iterator<Item = &'static Probe<Site>> + '_ {
    SITES
        .iter()
        .filter(move |probe| probe.at().module == module)
}

/// Says where a module of which some handlers were found lacks others: nobody guards what has
/// another name in this kernel.
fn complain_of_missing(module: &CStr) {
    let is_absent = |probe: &&'static Probe<Site>| matches!(state(probe), State::Absent);
    if of_module(module).all(|probe| is_absent(&probe)) {
        return;
    }
    for probe in of_module(module).filter(is_absent) {
        let symbol = probe.at().symbol;
        pr_warn!("{module} has no {symbol}: if the handler has another name, it is not guarded\n");
    }
}

enum Follow {}

impl ModuleEvents for Follow {
    fn coming(module: &CStr) {
        for probe in of_module(module) {
            // The gate may have been closed just before ftrace knew the module: begin afresh.
            probe.disarm();
            arm(probe);
        }
        complain_of_missing(module);
    }

    fn going(module: &CStr) {
        for probe in of_module(module) {
            probe.disarm();
            probe.judge().error.store(0, Ordering::Relaxed);
        }
    }
}

/// The guard at all sites, from [`Gate::close`] until it is dropped.
pub(crate) struct Gate {
    // In order: no module may bring a site back while the sites are being taken away.
    _notifier: ModuleNotifier<Follow>,
    _sites: ArmedSites,
}

/// Takes all sites away when it is dropped.
struct ArmedSites;

impl Gate {
    /// Arms every site whose module is there, and those of modules to come.
    pub(crate) fn close() -> Result<Self> {
        let sites = ArmedSites;
        let notifier = ModuleNotifier::new()?;
        SITES.iter().for_each(arm);
        complain_of_missing(c"kvm");
        let count = |wanted: fn(&State) -> bool| SITES.iter().map(state).filter(wanted).count();
        pr_info!(
            "sites: {} armed, {} absent, {} failed; {}\n",
            count(|state| matches!(state, State::Armed | State::Shared)),
            count(|state| matches!(state, State::Absent)),
            count(|state| matches!(state, State::Failed(_))),
            active::mode()
        );
        Ok(Self {
            _notifier: notifier,
            _sites: sites,
        })
    }
}

impl Drop for ArmedSites {
    fn drop(&mut self) {
        SITES.iter().for_each(Probe::disarm);
        wait_for_refused_calls();
    }
}
