// SPDX-License-Identifier: GPL-2.0

//! The entry sites: every ioctl handler that is guarded, one row each.
//!
//! A site follows its module. It is armed when the module is there, before the module's init runs,
//! and taken away when the module goes.

use crate::{
    active::{self, Active},
    sys::{
        call::{is_compat, Call},
        detour::{wait_for_calls_on_detours, Answer, Outcome, Probes, Returned, Waiting},
        kprobe::{c_str, Armed, Handler, OnHit, Passes, Probe, Pulse},
        module_notifier::{is_loaded, ModuleEvents, ModuleNotifier},
        observer::Observer,
        open_file::OpenFile,
        preemption::NoPreemption,
        registry::OBSERVERS, //
    },
    text::Errno,
    trouble::why, //
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
    /// Where it says that it stands in [`SITES`], for a test.
    #[cfg(CONFIG_KUNIT)]
    pub(crate) place: usize,
    /// The symbol that its module has while it is loaded.
    this_module: &'static CStr,
    /// Why the last attempt to arm it failed: a negative errno, or 0. `ENOENT` only where the module
    /// is loaded.
    error: AtomicI32,
}

/// What `status` says of a site.
pub(crate) enum State {
    /// The probe is in place.
    Armed,
    /// The probe is in place beside somebody else's.
    Shared,
    /// The probe is in place, and somebody else's user of ftrace is at the function as well.
    Traced,
    /// The probe was put in place, and does not fire: calls pass unseen.
    Disarmed,
    /// Its module is not loaded, and the kernel has no such function of its own.
    Absent,
    /// Its module is loaded, and has no such function.
    Missing,
    /// The function is there, and the probe could not be put at it: calls pass unseen.
    Failed(Error),
}

/// A row of [`SITES`].
macro_rules! site {
    ($place:literal, $module:literal, $symbol:literal, $surface:ident, $callers:expr) => {
        Probe::new::<Doors, $place>(
            Handler::new(
                concat!($module, "\0"),
                concat!($symbol, "\0"),
                concat!($module, ":", $symbol, "\0"),
            ),
            Site {
                surface: Surface::$surface,
                callers: $callers,
                #[cfg(CONFIG_KUNIT)]
                place: $place,
                this_module: c_str(concat!($module, ":__this_module\0")),
                error: AtomicI32::new(0),
            },
        )
    };
}

/// The doors. Each row begins with its place.
pub(crate) static SITES: [Probe<Site>; 15] = [
    site!(0, "kvm", "kvm_dev_ioctl", Kvm, Callers::All),
    site!(1, "kvm", "kvm_vm_compat_ioctl", KvmVm, Callers::Compat),
    site!(2, "kvm", "kvm_vm_ioctl", KvmVm, Callers::BehindCompat(1)),
    site!(3, "kvm", "kvm_vcpu_compat_ioctl", KvmVcpu, Callers::Compat),
    site!(
        4,
        "kvm",
        "kvm_vcpu_ioctl",
        KvmVcpu,
        Callers::BehindCompat(3)
    ),
    site!(5, "kvm", "kvm_device_ioctl", KvmDevice, Callers::All),
    // 32-bit callers of all of these come through `compat_ptr_ioctl()` to the same function, or not
    // at all.
    site!(
        6,
        "vfio",
        "vfio_fops_unl_ioctl",
        VfioContainer,
        Callers::All
    ),
    site!(
        7,
        "vfio",
        "vfio_group_fops_unl_ioctl",
        VfioGroup,
        Callers::All
    ),
    site!(
        8,
        "vfio",
        "vfio_device_fops_unl_ioctl",
        VfioDevice,
        Callers::All
    ),
    site!(9, "iommufd", "iommufd_fops_ioctl", Iommufd, Callers::All),
    site!(10, "vhost_net", "vhost_net_ioctl", VhostNet, Callers::All),
    site!(
        11,
        "vhost_vsock",
        "vhost_vsock_dev_ioctl",
        VhostVsock,
        Callers::All
    ),
    site!(
        12,
        "vhost_scsi",
        "vhost_scsi_ioctl",
        VhostScsi,
        Callers::All
    ),
    site!(
        13,
        "vhost_vdpa",
        "vhost_vdpa_unlocked_ioctl",
        VhostVdpa,
        Callers::All
    ),
    site!(14, "ccp", "sev_ioctl", Sev, Callers::All),
];

/// [`SITES`], for the calls that are deferred there.
enum Doors {}

impl Probes for Doors {
    type Judge = Site;

    fn at(place: usize) -> Option<&'static Probe<Site>> {
        SITES.get(place)
    }
}

/// What a file of a VM is; `None` for all others.
pub(crate) fn surface_of_vm(file: OpenFile<'_>) -> Option<Surface> {
    SITES
        .iter()
        .filter(|probe| probe.judge().callers != Callers::Compat && file.is_of(probe))
        .map(|probe| probe.judge().surface)
        .find(|surface| {
            matches!(
                surface,
                Surface::KvmVm | Surface::KvmVcpu | Surface::KvmDevice
            )
        })
}

/// Whether a surface has a site at all.
pub(crate) fn guards(surface: Surface) -> bool {
    SITES.iter().any(|probe| probe.judge().surface == surface)
}

impl Site {
    /// What a policy is asked about a call.
    #[inline]
    fn request(&self, command: u32, argument: u64) -> Request {
        let compat = is_compat() || self.callers == Callers::Compat;
        Request {
            surface: self.surface.judged_as(command),
            command,
            arg: if compat {
                // What `compat_ptr()` makes of it.
                argument & 0xffff_ffff
            } else {
                argument
            },
            compat,
        }
    }
}

impl Site {
    /// Whether a call of a 32-bit caller has been judged at another site.
    #[cold]
    #[inline(never)]
    fn has_been_judged(&self) -> bool {
        self.callers.have_judged(true, |site| {
            SITES
                .get(site)
                .is_some_and(|site: &Probe<Site>| site.fires())
        })
    }
}

impl OnHit for Site {
    type Rules = Active;

    #[inline]
    fn passes<'a>(&self, call: &Call<'_>, on: &'a NoPreemption) -> Passes<'a, Active> {
        if is_compat() {
            return Passes::No;
        }
        // No rule about iommufd can name a command that is judged as another surface's.
        active::plainly_allows(self.surface, call, on)
    }

    #[inline]
    fn passes_for_caller(&self, call: &Call<'_>, active: &Active) -> bool {
        active.plainly_allows_caller(self.surface, call)
    }

    #[inline(always)]
    fn judge(&self, call: &Call<'_>) -> Outcome {
        let request = self.request(call.command(), call.argument());
        if request.compat && self.has_been_judged() {
            return Outcome::Decided(Answer::Continue);
        }
        active::judge(&request, call)
    }

    fn judge_deferred(&self, call: Waiting<'_>) -> Returned {
        active::judge_deferred(&self.request(call.command(), call.argument()), call)
    }
}

/// Arms a site if its function is there. `is_here`: whether its module is loaded.
fn arm(probe: &'static Probe<Site>, is_here: impl FnOnce(&Site) -> bool) {
    let site = probe.judge();
    match probe.arm() {
        Ok(()) => {}
        Err(error) if error == ENOENT && !is_here(site) => {}
        // Only a failure is noted, and `Follow::coming` forgets the last one: when the gate is
        // closed while the module comes, two are here at once, and the later must not hide what
        // the other has found.
        Err(error) => site.error.store(error.to_errno(), Ordering::Relaxed),
    }
    let (module, symbol) = (probe.at().module, probe.at().symbol);
    match state(probe) {
        State::Failed(error) => pr_err!(
            "{}: the probe could not be put in place ({}): its calls pass unseen; {}\n",
            symbol,
            Errno(error),
            why(error)
        ),
        State::Missing => pr_warn!("{}:{}: {}\n", module, symbol, why(ENOENT)),
        State::Shared => pr_warn!(
            "{}: another kprobe was here first: see `shared` in the admin guide\n",
            symbol
        ),
        State::Armed | State::Traced | State::Disarmed | State::Absent => {}
    }
}

/// What has become of a site.
pub(crate) fn state(probe: &Probe<Site>) -> State {
    match (probe.armed(), probe.judge().error.load(Ordering::Relaxed)) {
        (Armed::Yes | Armed::Shared, _) => match (probe.pulse(), probe.armed()) {
            (Pulse::Silent, _) => State::Disarmed,
            (Pulse::Traced, _) => State::Traced,
            (Pulse::Fires, Armed::Yes) if !probe.is_in_company() => State::Armed,
            (Pulse::Fires, _) => State::Shared,
        },
        (Armed::No, 0) => State::Absent,
        (Armed::No, error) if error == ENOENT.to_errno() => State::Missing,
        (Armed::No, error) => State::Failed(Error::from_errno(error)),
    }
}

/// The sites of a module.
fn of_module(module: &CStr) -> impl Iterator<Item = &'static Probe<Site>> + '_ {
    SITES
        .iter()
        .filter(move |probe| probe.at().module == module)
}

enum Follow {}

/// The observers of a module.
fn watching(module: &CStr) -> impl Iterator<Item = &'static Observer> + '_ {
    OBSERVERS
        .iter()
        .filter(move |observer| observer.module == module)
}

impl ModuleEvents for Follow {
    fn coming(module: &CStr) {
        for observer in watching(module) {
            observer.disarm();
            observer.arm();
        }
        for probe in of_module(module) {
            // The gate may have been closed just before ftrace knew the module: begin afresh.
            probe.disarm();
            probe.judge().error.store(0, Ordering::Relaxed);
            arm(probe, |_| true);
        }
    }

    fn going(module: &CStr) {
        for probe in of_module(module) {
            probe.disarm();
            probe.judge().error.store(0, Ordering::Relaxed);
        }
        watching(module).for_each(Observer::disarm);
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
        OBSERVERS.iter().for_each(Observer::arm);
        for probe in &SITES {
            arm(probe, |site| is_loaded(site.this_module));
        }
        let count = |wanted: fn(&State) -> bool| SITES.iter().map(state).filter(wanted).count();
        pr_info!(
            "sites: {} armed, {} absent, {} failed; {}\n",
            count(|state| matches!(state, State::Armed | State::Shared)),
            count(|state| matches!(state, State::Absent | State::Missing)),
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
        wait_for_calls_on_detours();
    }
}
