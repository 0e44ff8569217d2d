// SPDX-License-Identifier: GPL-2.0

//! The policy in force: judging calls by it, counting what it decided, replacing it.

use crate::{
    heap::Heap,
    load::LastLoad,
    sys::{
        kprobe::{Call, Outcome},
        locks::LEDGER,
        per_cpu::PerCpuCounters,
        published::Published, //
    },
};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{prelude::*, sync::GlobalGuard};
use portcullis_policy::{Action, Head, Link, Policy, Request, Surface, Verdict};

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

/// The two counters of a link: what was carried out, and what was held back in permissive mode.
const COUNTERS_PER_LINK: usize = 2;

impl Active {
    /// Makes a policy ready to be put in force.
    pub(crate) fn new(policy: Policy<Heap>, text: KVVec<u8>) -> Result<Self> {
        Ok(Self {
            counters: PerCpuCounters::new(policy.links.len().saturating_mul(COUNTERS_PER_LINK))?,
            policy,
            text,
        })
    }

    /// Judges a call, and counts it.
    #[inline]
    pub(crate) fn judge(&self, request: &Request, call: &Call<'_>) -> Outcome {
        let head = self.policy.head(request.surface, request.command);
        match head.and_then(Head::plain_allow) {
            Some(link) => {
                self.counters.add(carried_out(link), call);
                Outcome::Continue
            }
            None => self.judge_by_rules(head, request, call),
        }
    }

    /// Judges a call that is not plainly allowed.
    #[cold]
    #[inline(never)]
    fn judge_by_rules(&self, head: Option<Head>, request: &Request, call: &Call<'_>) -> Outcome {
        let note = |link| self.counters.add(carried_out(link), call);
        let decision = head.and_then(|head| self.policy.decide(head, request, note));
        let enforcing = is_enforcing();
        let (link, verdict) = match decision {
            Some(decision) => (Some(decision.link), decision.verdict),
            // A table that leads nowhere: a mistake of ours, and no reason to let a call through.
            None => (None, Verdict::Deny { errno: 1 }),
        };
        let (counter, outcome) = match verdict {
            Verdict::Allow => (carried_out as fn(u32) -> usize, Outcome::Continue),
            Verdict::Deny { errno } if enforcing => (carried_out as _, Outcome::Refuse(errno)),
            Verdict::Deny { .. } => (held_back as _, Outcome::Continue),
        };
        if let Some(link) = link {
            self.counters.add(counter(link), call);
        }
        outcome
    }

    /// What came of the calls that a link decided.
    pub(crate) fn count(&self, link: u32) -> Count {
        let done = self.counters.sum(carried_out(link));
        let held = self.counters.sum(held_back(link));
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

#[inline]
fn carried_out(link: u32) -> usize {
    // CAST: 32 bits fit.
    (link as usize).wrapping_mul(COUNTERS_PER_LINK)
}

fn held_back(link: u32) -> usize {
    carried_out(link).wrapping_add(1)
}

/// Judges a call by the policy in force, and counts it. Called with preemption off.
#[inline]
pub(crate) fn judge(request: &Request, call: &Call<'_>) -> Outcome {
    let Some(active) = ACTIVE.read(call) else {
        // Not reached: no site is armed without a policy. No reason to let a call through.
        return Outcome::Refuse(1);
    };
    active.judge(request, call)
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
        self.past.iter().find(is_it).map_or_else(Count::default, |past| past.count)
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
