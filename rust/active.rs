// SPDX-License-Identifier: GPL-2.0

//! The policy in force: judging calls by it, counting what it decided, replacing it.

use crate::{
    heap::Heap,
    load::LastLoad,
    sys::{
        kprobe::{Call, Outcome},
        locks::LEDGER,
        per_cpu::{PerCpuCounters, Which},
        published::Published, //
    },
};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{prelude::*, sync::GlobalGuard};
use portcullis_policy::{Action, Link, Policy, Request, Surface, Verdict};

/// The policy in force. It is there before the first site is armed and after the last is gone.
static ACTIVE: Published<Active, LEDGER> = Published::empty();

/// Whether denials are carried out (enforcing), or only counted (permissive).
static ENFORCING: AtomicBool = AtomicBool::new(true);

/// A policy, its text, and the counters of its links.
pub(crate) struct Active {
    pub(crate) policy: Policy<Heap>,
    pub(crate) text: KVVec<u8>,
    counters: PerCpuCounters,
}

/// What has come of the calls that one link decided, or an audit rule noted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Calls.
    pub(crate) calls: u64,
    /// Calls that were refused.
    pub(crate) denied: u64,
    /// Calls that would have been refused if the mode had been enforcing.
    pub(crate) would_deny: u64,
}

impl core::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.wrapping_add(other.calls);
        self.denied = self.denied.wrapping_add(other.denied);
        self.would_deny = self.would_deny.wrapping_add(other.would_deny);
    }
}

/// What a call is refused with where no rule says so.
const EPERM_NUMBER: u16 = 1;

/// The two counters of a link: what was carried out, and what was held back in permissive mode.
const CARRIED_OUT: Which = Which::First;
const HELD_BACK: Which = Which::Second;

impl Active {
    /// Makes a policy ready to be put in force.
    pub(crate) fn new(policy: Policy<Heap>, text: KVVec<u8>) -> Result<Self> {
        Ok(Self {
            counters: PerCpuCounters::new(policy.links.len())?,
            policy,
            text,
        })
    }

    /// Whether a command is allowed whatever the call is like; if so, counts the call.
    #[inline]
    fn plainly_allows(&self, surface: Surface, call: &Call<'_>) -> bool {
        let link = self.policy.plain_allow(surface, call.command());
        if let Some(link) = link {
            self.add(link, CARRIED_OUT, call);
        }
        link.is_some()
    }

    /// Judges a call, and counts it.
    pub(crate) fn judge(&self, request: &Request, call: &Call<'_>) -> Outcome {
        let note = |link| self.add(link, CARRIED_OUT, call);
        let head = self.policy.head(request.surface, request.command);
        let Some(decision) = head.and_then(|head| self.policy.decide(head, request, note)) else {
            // A table that leads nowhere: a mistake of ours, and no reason to let a call through.
            return Outcome::Refuse(EPERM_NUMBER);
        };
        let enforcing = is_enforcing();
        let (counter, outcome) = match decision.verdict {
            Verdict::Allow => (CARRIED_OUT, Outcome::Continue),
            Verdict::Deny { errno } if enforcing => (CARRIED_OUT, Outcome::Refuse(errno)),
            Verdict::Deny { .. } => (HELD_BACK, Outcome::Continue),
        };
        self.add(decision.link, counter, call);
        outcome
    }

    #[inline]
    fn add(&self, link: u32, counter: Which, call: &Call<'_>) {
        // CAST: 32 bits fit.
        self.counters.add(link as usize, counter, call);
    }

    /// What came of the calls that a link decided.
    pub(crate) fn count(&self, link: u32) -> Count {
        // CAST: 32 bits fit.
        let [done, held] = self.counters.sum(link as usize);
        let denies = self.policy.rule(link).map(|rule| rule.action);
        Count {
            calls: done.wrapping_add(held),
            denied: match denies {
                Some(Action::Deny { .. }) => done,
                _ => 0,
            },
            would_deny: held,
        }
    }

    /// Every link of the policy with what it is for, its rule, and what came of its calls.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&Link, Count)> {
        self.policy
            .links
            .iter()
            .zip(0..)
            .map(|(link, index)| (link, self.count(index)))
    }
}

/// Whether the policy in force allows a command whatever the call is like; if so, counts the call.
#[inline]
pub(crate) fn plainly_allows(surface: Surface, call: &Call<'_>) -> bool {
    ACTIVE
        .read(call)
        .is_some_and(|active| active.plainly_allows(surface, call))
}

/// Judges a call by the policy in force, and counts it.
pub(crate) fn judge(request: &Request, call: &Call<'_>) -> Outcome {
    match ACTIVE.read(call) {
        Some(active) => active.judge(request, call),
        // Not reached: no site is armed without a policy. No reason to let a call through.
        None => Outcome::Refuse(EPERM_NUMBER),
    }
}

/// Whether denials are carried out.
pub(crate) fn is_enforcing() -> bool {
    ENFORCING.load(Ordering::Relaxed)
}

/// Changes the mode.
pub(crate) fn set_enforcing(enforcing: bool) {
    if ENFORCING.swap(enforcing, Ordering::Relaxed) != enforcing {
        pr_notice!("mode: {}\n", mode());
    }
}

/// The mode's name.
pub(crate) fn mode() -> &'static str {
    if is_enforcing() {
        "enforcing"
    } else {
        "permissive"
    }
}

/// What is kept over policies, under the lock of the same name.
pub(crate) struct Ledger {
    /// How many policies have been put in force.
    pub(crate) revision: u64,
    /// How the last attempt to load a policy went.
    pub(crate) last: LastLoad,
    /// What came of each command's calls under the policies of the past.
    past: KVVec<Past>,
}

struct Past {
    surface: Surface,
    /// `None` for all commands that the schema does not know: policies come and go, and the
    /// numbers that they name with them.
    command: Option<u32>,
    count: Count,
}

impl Ledger {
    pub(crate) const fn new() -> Self {
        Self {
            revision: 0,
            last: LastLoad::builtin(),
            past: KVVec::new(),
        }
    }

    /// What came of a command's calls under the policies of the past.
    pub(crate) fn past(&self, surface: Surface, command: Option<u32>) -> Count {
        let is_it = |past: &&Past| past.surface == surface && past.command == command;
        self.past
            .iter()
            .find(is_it)
            .map_or_else(Count::default, |past| past.count)
    }

    /// Adds the counts of a policy that nobody uses any more.
    fn close(&mut self, old: &Active) {
        for (link, count) in old.links() {
            let (Some(target), Some(rule)) = (
                old.policy.targets.get(usize::from(link.target)),
                old.policy.rules.get(usize::from(link.rule)),
            ) else {
                continue;
            };
            if rule.action == Action::Audit || count == Count::default() {
                continue;
            }
            let surface = target.surface;
            let command = target.command.filter(|_| target.name().is_some());
            let is_it = |past: &&mut Past| past.surface == surface && past.command == command;
            match self.past.iter_mut().find(is_it) {
                Some(past) => past.count += count,
                None => {
                    let past = Past {
                        surface,
                        command,
                        count,
                    };
                    // Without memory for a row the count is lost, not the host.
                    let _ = self.past.push(past, GFP_KERNEL);
                }
            }
        }
    }
}

/// The policy in force, for one who holds the ledger.
pub(crate) fn current<'a>(ledger: &'a GlobalGuard<LEDGER>) -> Option<&'a Active> {
    ACTIVE.locked(ledger)
}

/// Puts a policy in force, at once and for all sites, and frees the one before when no call can be
/// under judgement by it. Sleeps for a grace period.
pub(crate) fn replace(ledger: &mut GlobalGuard<LEDGER>, active: Option<KBox<Active>>) {
    if active.is_some() {
        ledger.revision = ledger.revision.wrapping_add(1);
    }
    if let Some(old) = ACTIVE.replace(ledger, active) {
        ledger.close(&old);
    }
}
