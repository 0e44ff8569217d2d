// SPDX-License-Identifier: GPL-2.0

//! The policy in force: judging calls by it, counting what it decided, replacing it.

use crate::{
    heap::Heap,
    ledger::{Count, Reading},
    sys::{
        call::Call,
        detour::{Answer, Deferred, Outcome},
        locks::LEDGER,
        per_cpu::{PerCpuCounters, Which},
        preemption::NoPreemption,
        published::Published,
        user_memory::{peek, OfCaller},
        window::Slot, //
    },
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use kernel::{
    prelude::*,
    sync::{rcu, GlobalGuard}, //
};
use portcullis_policy::{
    Action, Bytes, Complete, Fetched, Head, Link, OutOfMemory, Piece, Policy, Reads, Request,
    Surface, Unread, Whole, PADDING,
};

/// The policy in force. It is there before the first site is armed and after the last is gone.
static ACTIVE: Published<Active, LEDGER> = Published::empty();

/// Whether denials are carried out (enforcing), or only counted (permissive).
static ENFORCING: AtomicBool = AtomicBool::new(true);

/// A policy, its text, and the counters of its links.
pub(crate) struct Active {
    pub(crate) policy: Policy<Heap>,
    pub(crate) text: KVVec<u8>,
    /// No two that were ever made have the same: an address might come again.
    generation: u64,
    /// A pair for each link, then one for each [`Reading`].
    counters: PerCpuCounters,
}

/// The answer where there is no policy, or its table leads nowhere: a mistake of ours that no call
/// has shown yet, and no reason to let one through. `EPERM`.
const LOST: Answer = Answer::Refuse(1);

/// The longest argument that is judged in a probe, where preemption is off: most structs that VMMs set
/// often are shorter.
const PEEK_BYTES: usize = 512;

/// The two counters of a link: what was carried out, and what was held back in permissive mode.
const CARRIED_OUT: Which = Which::First;
const HELD_BACK: Which = Which::Second;

impl Active {
    /// Makes a policy ready to be put in force.
    pub(crate) fn new(policy: Policy<Heap>, text: KVVec<u8>) -> Result<Self> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            counters: PerCpuCounters::new(policy.links.len() + Reading::ALL.len())?,
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            policy,
            text,
        })
    }

    /// Whether a command is allowed whatever the call is like; if so, counts the call.
    #[inline]
    fn plainly_allows(&self, surface: Surface, call: &Call<'_>) -> bool {
        let register = call.command_register();
        let link = self.policy.plain_allow_in_register(surface, register);
        if let Some(link) = link {
            self.add(link, CARRIED_OUT, call.no_preemption());
        }
        link.is_some()
    }

    /// Judges a call, and counts it, if what its rules look at is at hand.
    #[inline(always)]
    pub(crate) fn judge(&self, request: &Request, on: &NoPreemption) -> Outcome {
        let Some(head) = self.policy.head(request.surface, request.command) else {
            return Outcome::Decided(LOST);
        };
        let Some(reads) = self.policy.reads(head, request.compat) else {
            return Outcome::Decided(LOST);
        };
        let here = match reads.at_once {
            0 if reads.is_nothing() => {
                return Outcome::Decided(self.judge_call(head, request, on));
            }
            0 => None,
            _ => self.judge_here(head, reads, request, on),
        };
        here.unwrap_or_else(|| {
            self.note(Reading::Deferred, CARRIED_OUT, on);
            Outcome::Defer
        })
    }

    /// Judges a call of which nothing has to be read.
    #[inline(never)]
    fn judge_call(&self, head: Head, request: &Request, on: &NoPreemption) -> Answer {
        let count = |link, counter| self.add(link, counter, on);
        self.decide(head, request, Bytes::default(), count)
    }

    /// Judges a call whose argument is short and at hand, as those of most calls are.
    #[inline(always)]
    fn judge_here(
        &self,
        head: Head,
        reads: &Reads,
        request: &Request,
        on: &NoPreemption,
    ) -> Option<Outcome> {
        // CAST: 32 bits fit.
        let len = reads.at_once as usize;
        if len > PEEK_BYTES {
            return None;
        }
        let mut slot = Slot::take_ready(on, request.compat)?;
        let page = slot.page_mut()?;
        if !peek(on, request.arg, page.get_mut(..len)?) {
            return None;
        }
        let bytes = Bytes {
            argument: page.get(..len + PADDING)?,
            ..Bytes::default()
        };
        let count = |link, counter| self.add(link, counter, on);
        Some(match self.decide(head, request, bytes, count) {
            Answer::Continue => {
                let complete = Complete::of(request.arg, len);
                Outcome::Sealed(slot.open(complete, reads.whole.written))
            }
            refusal => Outcome::Decided(refusal),
        })
    }

    /// Judges a call whose argument has been read, and counts it.
    #[inline(always)]
    fn decide(
        &self,
        head: Head,
        request: &Request,
        bytes: Bytes<'_>,
        count: impl Fn(u32, Which) + Copy,
    ) -> Answer {
        let note = move |link| count(link, CARRIED_OUT);
        let decided = self.policy.deciding_rule(head, request, bytes, note);
        match decided.map(|(link, rule)| (link, rule.action)) {
            Some((link, Action::Allow)) => {
                count(link, CARRIED_OUT);
                Answer::Continue
            }
            Some((link, Action::Deny { errno })) => {
                let (counter, answer) = refusal(errno);
                count(link, counter);
                answer
            }
            // An `audit` rule decides nothing.
            Some((_, Action::Audit)) | None => LOST,
        }
    }

    /// The next step of a call that may sleep between its steps.
    fn next(&self, request: &Request, fetched: &Fetched<Slot>) -> Next {
        let Some(head) = self.policy.head(request.surface, request.command) else {
            return Next::Answer(LOST, None);
        };
        match self.policy.wants(head, request, fetched) {
            Ok(Some(piece)) => {
                let reads = self.policy.reads(head, request.compat);
                Next::Read(piece, reads.map_or(0, Reads::ahead))
            }
            Ok(None) => {
                let count = |link, counter| NoPreemption::during(|on| self.add(link, counter, on));
                let answer = self.decide(head, request, fetched.bytes(), count);
                let reads = self.policy.reads(head, request.compat);
                let looked = reads.filter(|reads| reads.is_of_memory());
                Next::Answer(answer, looked.map(|reads| reads.whole))
            }
            Err(unread) => Next::Answer(self.refuse_unread(unread), None),
        }
    }

    /// Judges a call whose argument is none that could be read, and counts it.
    fn refuse_unread(&self, unread: Unread) -> Answer {
        let (counter, answer) = refusal(unread.errno());
        NoPreemption::during(|on| self.note(unread.into(), counter, on));
        answer
    }

    #[inline]
    fn add(&self, link: u32, counter: Which, on: &NoPreemption) {
        // CAST: 32 bits fit.
        self.counters.add(link as usize, counter, on);
    }

    fn note(&self, reading: Reading, counter: Which, on: &NoPreemption) {
        let behind_links = self.policy.links.len() + reading as usize;
        self.counters.add(behind_links, counter, on);
    }

    /// What came of the reading of arguments.
    pub(crate) fn reading(&self, reading: Reading) -> Count {
        let [done, held] = self
            .counters
            .sum(self.policy.links.len() + reading as usize);
        Count {
            calls: done.wrapping_add(held),
            denied: done,
            would_deny: held,
        }
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
        .read(call.no_preemption())
        .is_some_and(|active| active.plainly_allows(surface, call))
}

/// Judges a call by the policy in force, and counts it, if what its rules look at is at hand.
#[inline(always)]
pub(crate) fn judge(request: &Request, call: &Call<'_>) -> Outcome {
    let on = call.no_preemption();
    match ACTIVE.read(on) {
        Some(active) => active.judge(request, on),
        None => Outcome::Decided(LOST),
    }
}

/// What to do next about a deferred call.
enum Next {
    /// So many bytes of the argument can be read ahead.
    Read(Piece, usize),
    /// If the rules looked at the argument: how far it goes.
    Answer(Answer, Option<Whole>),
}

/// Judges a call by the policy in force, and counts it. Reads what its rules look at, which may
/// sleep for as long as a page does not come, and then everything else that the handler may look at:
/// it is to find the bytes that were judged.
///
/// No lock is held meanwhile, and nothing of the policy: it may be replaced. Then what has been read
/// for the one before is thrown away. So the verdict is that of one whole policy, on one copy of the
/// argument.
pub(crate) fn judge_deferred(request: &Request) -> Deferred {
    let Ok(slot) = Slot::take(request.compat) else {
        return without_memory();
    };
    let mut fetched = Fetched::nothing(slot);
    let mut generation = None;
    let mut trouble = None;
    loop {
        let next = {
            let rcu = rcu::read_lock();
            let Some(active) = ACTIVE.read(&rcu) else {
                return LOST.into();
            };
            if generation.replace(active.generation) != Some(active.generation) {
                fetched.forget();
                trouble = None;
            }
            match trouble {
                Some(unread) => Next::Answer(active.refuse_unread(unread), None),
                None => active.next(request, &fetched),
            }
        };
        match next {
            Next::Read(piece, ahead) => {
                fetched.read_ahead(ahead, request.arg, &mut OfCaller);
                trouble = fetched.take(piece, &mut OfCaller).err();
            }
            Next::Answer(Answer::Continue, Some(whole)) => {
                return match fetched.complete(&whole, request.arg, &mut OfCaller) {
                    Ok(complete) => {
                        let slot = fetched.into_buffer();
                        Deferred::Sealed(slot.open(complete, whole.written))
                    }
                    Err(OutOfMemory) => without_memory(),
                }
            }
            Next::Answer(answer, _) => return answer.into(),
        }
    }
}

/// What becomes of a call for whose argument there is no room.
#[cold]
fn without_memory() -> Deferred {
    let rcu = rcu::read_lock();
    ACTIVE
        .read(&rcu)
        .map_or(LOST, |active| active.refuse_unread(Unread::OutOfMemory))
        .into()
}

impl From<Answer> for Deferred {
    fn from(answer: Answer) -> Self {
        Self::Decided(answer)
    }
}

/// What becomes of a call that is to be refused, and which counter it is for.
fn refusal(errno: u16) -> (Which, Answer) {
    if is_enforcing() {
        (CARRIED_OUT, Answer::Refuse(errno))
    } else {
        (HELD_BACK, Answer::Continue)
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
