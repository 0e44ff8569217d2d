// SPDX-License-Identifier: GPL-2.0

//! Proof of life: whether the probes fire that are said to be in place.
//!
//! Root of the host, a fault in ftrace or another module can take them away without a word. So the
//! module looks again and again: it calls the [`canary`], and it looks at each site, whether what leads
//! to the canary's probe leads to the site's as well.

use crate::{
    canary::{self, Canary},
    known, module_parameters,
    sites::{self, Site, State, SITES},
    sys::{
        beat::{Beat, OnBeat},
        kprobe::{Armed, Probe, Pulse},
        locks::LIFE,
        observer::Observer,
        panic::stop_the_host,
        registry::{self, OBSERVERS},
        sight::{wait_for_changes, Sight}, //
    },
    text::Errno,
};
use kernel::{
    fmt,
    prelude::*,
    time::{delay::fsleep, Delta}, //
};

/// What is counted since the module was loaded.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// How often the canary stopped answering.
    unanswered: u64,
    /// How often a site stopped firing: all do when the canary does.
    disarmed: u64,
    /// How often somebody else's user of ftrace came to a site.
    traced: u64,
    /// How often somebody else's kprobe came to a site.
    shared: u64,
    /// Calls that passed unseen because their CPU was handling a kprobe already.
    missed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            unanswered,
            disarmed,
            traced,
            shared,
            missed,
        } = self;
        write!(
            f,
            "unanswered={unanswered} disarmed={disarmed} traced={traced} \
             shared={shared} missed={missed}"
        )
    }
}

/// How the gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Gate {
    /// Every site fires whose handler is there.
    Alive,
    /// So many do not.
    Open(usize),
    /// The canary is not intercepted: nothing is.
    Dead,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("alive"),
            Self::Open(1) => f.write_str("dead: calls pass unseen at 1 site"),
            Self::Open(sites) => write!(f, "dead: calls pass unseen at {sites} sites"),
            Self::Dead => f.write_str("dead: no probe fires, no ioctl is checked"),
        }
    }
}

/// What was seen, under the lock of the same name.
pub(crate) struct Life {
    canary: Canary,
    gate: Gate,
    counts: Counts,
    /// How many calls each site had missed.
    missed: [usize; SITES.len()],
    /// How often the observers had missed something.
    unseen: usize,
    /// Whether VMs may have come and gone that nobody saw, since they were last looked for.
    is_behind: bool,
}

impl Life {
    pub(crate) const fn new() -> Self {
        Self {
            canary: Canary::new(),
            gate: Gate::Alive,
            counts: Counts {
                unanswered: 0,
                disarmed: 0,
                traced: 0,
                shared: 0,
                missed: 0,
            },
            missed: [0; SITES.len()],
            unseen: 0,
            is_behind: false,
        }
    }
}

/// Looks at the whole gate, and says what has changed. May sleep.
pub(crate) fn check() -> (Gate, Counts) {
    let mut life = LIFE.lock();
    life.canary.look();
    if life.gate == Gate::Dead && life.canary.answers {
        // The canary was put back; the sites are about to be.
        wait_for_changes();
    }
    for (place, site) in SITES.iter().enumerate() {
        life.take_in(place, site);
    }
    life.conclude();
    let unseen = OBSERVERS.iter().map(Observer::missed).sum();
    // It is less where one was armed anew.
    if unseen > core::mem::replace(&mut life.unseen, unseen) || !life.canary.answers {
        life.is_behind = true;
    }
    (life.gate, life.counts)
}

/// Whether VMs must be looked for anew, now that they are seen again. Only once.
fn catches_up() -> bool {
    let mut life = LIFE.lock();
    life.canary.answers && core::mem::take(&mut life.is_behind)
}

impl Life {
    /// Looks at a site; again, where it looks worse than before, because something may just be changing.
    fn look_at(&mut self, site: &Probe<Site>) -> Option<(Sight, Pulse)> {
        let before = site.pulse();
        let mut rounds = 0..3;
        loop {
            let sight = site.sight()?;
            let pulse = match self.canary.pulse_of(&sight).unwrap_or(before) {
                // What was taken away is believed to be back only where that can be seen: a livepatch
                // may have come meanwhile, and the kernel have failed to put the probe back.
                Pulse::Traced if before == Pulse::Silent => Pulse::Silent,
                pulse => pulse,
            };
            if pulse <= before || rounds.next().is_none() {
                return Some((sight, pulse));
            }
            if pulse == Pulse::Silent {
                // Its module may be going, and the kernel be about to say so.
                wait_for_changes();
            } else {
                // Tracers come to many functions, one after the other.
                fsleep(Delta::from_millis(20));
            }
            self.canary.look();
        }
    }

    /// Takes in what has become of a site.
    fn take_in(&mut self, place: usize, site: &Probe<Site>) {
        let symbol = site.at().symbol;
        let missed = site.missed();
        if let Some(before) = self.missed.get_mut(place) {
            // It is 0 again when the site is armed anew.
            let more = missed.checked_sub(*before).unwrap_or(missed);
            if *before == 0 && more > 0 {
                pr_warn!(
                    "{symbol}: a call passed unseen while its CPU was handling another kprobe\n"
                );
            }
            *before = missed;
            self.counts.missed = self.counts.missed.wrapping_add(more as u64);
        }
        let (before, was_in_company) = (site.pulse(), site.is_in_company());
        let Some((sight, pulse)) = self.look_at(site) else {
            return;
        };
        site.note(pulse, sight.others > 0);
        if sight.others > 0 && !was_in_company {
            count(&mut self.counts.shared);
            if sight.armed == Armed::Yes {
                pr_warn!(
                    "{symbol}: another kprobe has come, which sees calls first and can hide them\n"
                );
            }
        }
        match (before, pulse) {
            (Pulse::Fires | Pulse::Traced, Pulse::Silent) => {
                count(&mut self.counts.disarmed);
                if self.canary.answers {
                    pr_err!("{symbol}: the probe fires no more: its calls pass unseen\n");
                }
            }
            (Pulse::Fires, Pulse::Traced) => {
                count(&mut self.counts.traced);
                pr_warn!("{symbol}: somebody else has come through ftrace: see `traced` in the admin guide\n");
            }
            (Pulse::Silent, Pulse::Fires) if self.gate != Gate::Dead => {
                pr_notice!("{symbol}: the probe fires again\n");
            }
            _ => {}
        }
    }

    /// Draws the sum, and says so where it is another one.
    fn conclude(&mut self) {
        let is_open =
            |site: &&Probe<Site>| matches!(sites::state(site), State::Disarmed | State::Failed(_));
        let gate = match SITES.iter().filter(is_open).count() {
            _ if !self.canary.answers => Gate::Dead,
            0 => Gate::Alive,
            open => Gate::Open(open),
        };
        let before = core::mem::replace(&mut self.gate, gate);
        match gate {
            _ if gate == before => {}
            Gate::Alive => pr_notice!("the gate is alive again\n"),
            _ => pr_err!("the gate is {gate}\n"),
        }
        if gate == Gate::Dead && before != Gate::Dead {
            count(&mut self.counts.unanswered);
        }
        if gate != Gate::Alive && module_parameters::panic_if_dead.value() {
            stop_the_host(match gate {
                Gate::Dead => c"the gate is dead: no probe fires, no ioctl is checked",
                _ => c"the gate is dead: the calls of a site pass unseen",
            });
        }
    }
}

fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}

/// The gate is looked at, until this is dropped.
pub(crate) struct Watch {
    // In order: nobody calls the canary any more when its probe is taken away.
    _beat: Beat<Look>,
    _canary: Option<canary::InPlace>,
}

enum Look {}

impl OnBeat for Look {
    /// With the second looks, and the time that a work may have to wait, well within a second.
    const PAUSE_MS: u32 = 400;

    fn beat() {
        check();
        if catches_up() {
            known::begin_anew();
        }
        registry::reap();
    }
}

/// Puts the canary in its place. The kernel finds the probe that came last first, where two share a list:
/// let that be one of the sites.
pub(crate) fn put_canary() -> Option<canary::InPlace> {
    // Without the canary the gate is taken for dead, which is no reason to have none.
    canary::InPlace::new()
        .inspect_err(|error| pr_err!("the canary has no probe: {}\n", Errno(*error)))
        .ok()
}

impl Watch {
    /// Looks for the first time, and again and again from then on.
    pub(crate) fn begin(canary: Option<canary::InPlace>) -> Result<Self> {
        check();
        Ok(Self {
            _beat: Beat::new()?,
            _canary: canary,
        })
    }
}
