// SPDX-License-Identifier: GPL-2.0

//! The canary: an ioctl of the module's own, by which it sees whether its probes fire.
//!
//! It has a probe as every site has, by the same code and by the same mechanism of the kernel, and one
//! who judges its calls without a policy.

use crate::sys::{
    call::Call,
    canary,
    detour::{Answer, Outcome, Probes, Returned, Waiting},
    kprobe::{Armed, Handler, OnHit, Passes, Probe, Pulse},
    preemption::NoPreemption,
    sight::{Sight, Text}, //
};
use core::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering}, //
};
use kernel::prelude::*;

/// A call that the probe refuses.
const TO_REFUSE: u32 = 1;
/// A call that the probe defers, and that is let through then.
const TO_DEFER: u32 = 2;

/// What the first is refused with, and nobody else would answer: `EKEYREJECTED`.
const REFUSED: u16 = 129;
/// What the handler itself answers: `ENOTTY`.
const LET_THROUGH: u16 = 25;

/// The probe.
static PROBE: Probe<Judge> = Probe::new::<Cage, 0>(
    Handler::new(canary::MODULE, canary::SYMBOL, canary::QUALIFIED),
    Judge {
        seen: AtomicU64::new(0),
    },
);

/// The one probe, for the calls that are deferred there.
enum Cage {}

impl Probes for Cage {
    type Judge = Judge;

    fn at(_: usize) -> Option<&'static Probe<Judge>> {
        Some(&PROBE)
    }
}

/// Who judges the canary's calls.
pub(crate) struct Judge {
    /// The argument of the last call that was judged to its end.
    seen: AtomicU64,
}

impl OnHit for Judge {
    /// There are none.
    type Rules = Infallible;

    #[inline]
    fn passes<'a>(&self, _: &Call<'_>, _: &'a NoPreemption) -> Passes<'a, Infallible> {
        Passes::No
    }

    #[inline]
    fn passes_for_caller(&self, _: &Call<'_>, _: &Infallible) -> bool {
        false
    }

    fn judge(&self, call: &Call<'_>) -> Outcome {
        match call.command() {
            TO_REFUSE => {
                self.seen.store(call.argument(), Ordering::Relaxed);
                Outcome::Decided(Answer::Refuse(REFUSED))
            }
            TO_DEFER => Outcome::Defer,
            _ => Outcome::Decided(Answer::Continue),
        }
    }

    fn judge_deferred(&self, call: Waiting<'_>) -> Returned {
        self.seen.store(call.argument(), Ordering::Relaxed);
        call.proceed()
    }
}

/// The canary's probe is armed, until this is dropped. Nobody may be inside [`answers`] then.
pub(crate) struct InPlace(());

impl InPlace {
    /// Arms it.
    pub(crate) fn new() -> Result<Self> {
        PROBE.arm()?;
        Ok(Self(()))
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        PROBE.disarm();
    }
}

/// What was seen of the canary.
pub(crate) struct Canary {
    pub(crate) answers: bool,
    pub(crate) on_ftrace: bool,
    /// Where the calls at its entry led when it answered: now, and before that was another place.
    pub(crate) led: [usize; 2],
}

impl Canary {
    /// Before anything was seen.
    pub(crate) const fn new() -> Self {
        Self {
            answers: true,
            on_ftrace: false,
            led: [0; 2],
        }
    }

    /// Calls it, and sees where the call went.
    pub(crate) fn look(&mut self) {
        self.answers = answers();
        let Some(sight) = PROBE.sight() else {
            return;
        };
        self.on_ftrace = sight.on_ftrace;
        if let (true, Text::Call(target)) = (self.answers, sight.text) {
            let [last, _] = self.led;
            if target != last {
                self.led = [target, last];
            }
        }
    }

    /// Whether a probe fires that looks like this; `None` if the code is just being changed, or about
    /// to go with its module.
    ///
    /// All probes on ftrace that may change the instruction pointer have one user of ftrace, so that
    /// the calls at their functions lead to one place, until others trace a function too. A call
    /// there that leads where the canary's does is proven by the canary, which has just been called.
    pub(crate) fn pulse_of(&self, sight: &Sight) -> Option<Pulse> {
        if sight.gone {
            return None;
        }
        let is_like_canary = sight.on_ftrace == self.on_ftrace;
        if sight.disabled || is_like_canary && !self.answers {
            return Some(Pulse::Silent);
        }
        match (sight.on_ftrace, sight.text, sight.armed) {
            // Without a post-handler it has another user of ftrace than the canary has.
            (true, Text::Call(_), Armed::Shared) => Some(Pulse::Fires),
            (true, Text::Call(target), _) if self.led.contains(&target) => Some(Pulse::Fires),
            (true, Text::Call(_) | Text::Jump, _) => Some(Pulse::Traced),
            (true, Text::Breakpoint, _) => None,
            (false, Text::Breakpoint, _) => Some(Pulse::Fires),
            // Only a probe without a post-handler can have been optimised.
            (false, Text::Jump, Armed::Shared) => Some(Pulse::Fires),
            _ => Some(Pulse::Silent),
        }
    }
}

/// Whether calls are intercepted: one that is to be refused, and one that is to be deferred. Only one
/// at a time may ask.
fn answers() -> bool {
    let is_seen = |command, answer| {
        // Another one each time: an old answer does not count.
        let argument = PROBE.judge().seen.load(Ordering::Relaxed).wrapping_add(1);
        canary::call(command, argument) == Some(answer)
            && PROBE.judge().seen.load(Ordering::Relaxed) == argument
    };
    is_seen(TO_REFUSE, REFUSED) && is_seen(TO_DEFER, LET_THROUGH)
}
