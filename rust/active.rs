// SPDX-License-Identifier: GPL-2.0

//! The policy in force: judging calls by it, counting what it decided, replacing it.

use crate::{
    heap::Heap,
    known::{self, Asked},
    ledger::{Count, Reading},
    sys::{
        call::Call,
        detour::{Answer, Outcome},
        kprobe::Passes,
        locks::{LEDGER, PROFILES},
        open_file::OpenFile,
        per_cpu::{PerCpuCounters, Which},
        preemption::NoPreemption,
        published::{Published, ReadSide},
        registry::{self, Bound, Generation, Node, Places, Subject},
        user_memory::peek,
        window::Slot, //
    },
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use kernel::{
    prelude::*,
    sync::GlobalGuard, //
};
use portcullis_policy::{
    slot_named, Action, Bytes, Complete, Head, Link, Phase, Plain, Policy, ProfileId, Reads,
    Request, Section, State, StateNeed, Surface, Unread, PADDING,
};

mod deferred;

pub(crate) use deferred::judge_deferred;

/// The policy in force. It is there before the first site is armed and after the last is gone.
static ACTIVE: Published<Active, LEDGER> = Published::empty();

/// Whether denials are carried out (enforcing), or only counted (permissive).
static ENFORCING: AtomicBool = AtomicBool::new(true);

/// A policy, its text, and the counters of its links.
pub(crate) struct Active {
    pub(crate) policy: Policy<Heap>,
    pub(crate) text: KVVec<u8>,
    /// No two that were ever made have the same: an address might come again.
    generation: Generation,
    /// A pair for each link, then one for each [`Reading`].
    counters: PerCpuCounters,
}

/// The answer where there is no policy, or its table leads nowhere: a mistake of ours that no call
/// has shown yet, and no reason to let one through. `EPERM`.
const LOST: Answer = Answer::Refuse(1);

/// What KVM answers a process that did not make the VM, whatever it calls: `EIO`. Nothing that such a
/// one does counts for the VM.
const NOT_YOURS: Answer = Answer::Refuse(5);

/// The command that runs a vCPU.
const KVM_RUN: u32 = kernel::ioctl::_IO(0xae, 0x80);

/// The longest argument that is judged in a probe, where preemption is off: most structs that VMMs set
/// often are shorter.
const PEEK_BYTES: usize = 512;

/// The two counters of a link: what was carried out, and what was held back in permissive mode.
const CARRIED_OUT: Which = Which::First;
const HELD_BACK: Which = Which::Second;

impl Active {
    /// Makes a policy ready to be put in force.
    pub(crate) fn new(policy: Policy<Heap>, text: KVVec<u8>) -> Result<Self> {
        // Nothing is bound by the generation 0.
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        Ok(Self {
            counters: PerCpuCounters::new(policy.links.len() + Reading::ALL.len())?,
            generation: Generation::new(GENERATION.fetch_add(1, Ordering::Relaxed)),
            policy,
            text,
        })
    }

    /// Whether a command is allowed whatever the call is like; if so, counts the call.
    #[inline]
    fn plainly_allows<'a>(
        &'a self,
        surface: Surface,
        call: &Call<'_>,
        on: &NoPreemption,
    ) -> Passes<'a, Self> {
        let register = call.command_register();
        match self.policy.plain_in_register(surface, register) {
            Plain::Allow(link) => {
                self.add(link, CARRIED_OUT, on);
                Passes::Yes
            }
            Plain::ByCaller => Passes::Perhaps(self),
            Plain::No => Passes::No,
        }
    }

    /// The same where it matters who calls, for a VM and a vCPU that have run: nothing else is called so
    /// often.
    #[inline]
    pub(crate) fn plainly_allows_caller(&self, surface: Surface, call: &Call<'_>) -> bool {
        if !matches!(surface, Surface::KvmVcpu | Surface::KvmVm) {
            return false;
        }
        let on = call.no_preemption();
        let Some(node) = registry::newest_of_vm(call.key_of_vm(), on) else {
            return false;
        };
        let Some(places) = node.subject.bound().places(self.generation) else {
            return false;
        };
        // In setup KVM has to be asked.
        if !node.ran() {
            return false;
        }
        let section = Section(places.section(true).into());
        let register = call.command_register();
        let link = self.policy.plain_allow_in(section, surface, register);
        if let Some(link) = link {
            self.add(link, CARRIED_OUT, on);
            node.count();
        }
        link.is_some()
    }

    /// Judges a call, and counts it, if what its rules look at is at hand.
    #[inline(always)]
    pub(crate) fn judge(
        &self,
        request: &Request,
        file: Option<OpenFile<'_>>,
        on: &NoPreemption,
    ) -> Outcome {
        let outcome = if self.policy.knows_callers() {
            self.judge_caller(request, file, on)
        } else {
            self.judge_in(Section::FIRST, request, file, on)
        };
        outcome.unwrap_or(Outcome::Defer)
    }

    /// The same where it matters who calls.
    #[inline(never)]
    fn judge_caller(
        &self,
        request: &Request,
        file: Option<OpenFile<'_>>,
        on: &NoPreemption,
    ) -> Option<Outcome> {
        let open = file?;
        let (node, places) = match self.caller(request, open, on) {
            Ok(caller) => caller,
            Err(outcome) => return outcome,
        };
        // The call that makes a VM run is still one of its setup.
        let is_running = node.subject.is_running(open, request.surface);
        if node.subject.ran() && request.surface == Surface::KvmVm {
            node.has_run();
        }
        let section = Section(places.section(is_running).into());
        let outcome = self.judge_in(section, request, file, on);
        if outcome.is_some() {
            node.count();
        }
        outcome
    }

    /// Who calls, and what the policy says about him; or, where that does not matter or cannot be told in
    /// a probe, what becomes of the call.
    fn caller<'a>(
        &self,
        request: &Request,
        file: OpenFile<'_>,
        on: &'a NoPreemption,
    ) -> Result<(&'a Node, Places), Option<Outcome>> {
        let node = registry::find(file, request.surface, on);
        if !known::is_known(node, file, request.surface) {
            return Err(Some(Outcome::Decided(of_unknown_kvm())));
        }
        if !file.is_of_current(request.surface) {
            return Err(Some(Outcome::Decided(NOT_YOURS)));
        }
        let node = node.ok_or(None)?;
        let places = node.subject.bound().places(self.generation).ok_or(None)?;
        Ok((node, places))
    }

    #[inline(always)]
    fn judge_in(
        &self,
        section: Section,
        request: &Request,
        file: Option<OpenFile<'_>>,
        on: &NoPreemption,
    ) -> Option<Outcome> {
        let Some(head) = self
            .policy
            .head_in(section, request.surface, request.command)
        else {
            return Some(Outcome::Decided(LOST));
        };
        let Some(reads) = self.policy.reads(head, request.compat) else {
            return Some(Outcome::Decided(LOST));
        };
        if is_run(request) {
            return self.judge_run(head, reads, request, file?, on);
        }
        let here = match reads.at_once {
            0 if reads.is_nothing() => {
                return Some(Outcome::Decided(self.judge_call(head, request, file, on)));
            }
            0 => None,
            // What state things are in, and what becomes of it, is not for a probe.
            _ if reads.asks_more() => None,
            _ => self.judge_here(head, reads, request, file, on),
        };
        if here.is_none() && reads.is_of_memory() {
            self.note(Reading::Deferred, CARRIED_OUT, on);
        }
        here
    }

    /// Judges a call of which nothing has to be read.
    #[inline(never)]
    fn judge_call(
        &self,
        head: Head,
        request: &Request,
        file: Option<OpenFile<'_>>,
        on: &NoPreemption,
    ) -> Answer {
        let count = |link, counter| self.add(link, counter, on);
        let denial = |counter| note_denial(request, file, counter, on);
        self.decide(head, request, Bytes::default(), count, denial)
    }

    /// Judges a `KVM_RUN`, which may last as long as it likes: never where the module would have to wait
    /// for it. It has no argument that could be read.
    #[inline(never)]
    fn judge_run(
        &self,
        head: Head,
        reads: &Reads,
        request: &Request,
        file: OpenFile<'_>,
        on: &NoPreemption,
    ) -> Option<Outcome> {
        let count = |link, counter| self.add(link, counter, on);
        let denial = |counter| note_denial(request, Some(file), counter, on);
        if reads.is_nothing() && !self.policy.knows_callers() {
            let bytes = Bytes::default();
            return Some(Outcome::Decided(
                self.decide(head, request, bytes, count, denial),
            ));
        }
        let (node, places) = match self.caller(request, file, on) {
            Ok(caller) => caller,
            Err(outcome) => return outcome,
        };
        // Of two who try at once one was the first, before either is judged.
        if !node.ran() {
            node.is_tried(file);
        }
        let call = (request, node, file);
        let state = self
            .state(call, reads, places, Bytes::default(), None, on)
            .bytes();
        let bytes = Bytes {
            state: &state,
            ..Bytes::default()
        };
        let answer = self.decide(head, request, bytes, count, denial);
        Some(Outcome::Decided(answer))
    }

    /// Judges a call whose argument is short and at hand, as those of most calls are.
    #[inline(always)]
    fn judge_here(
        &self,
        head: Head,
        reads: &Reads,
        request: &Request,
        file: Option<OpenFile<'_>>,
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
        let denial = |counter| note_denial(request, file, counter, on);
        Some(match self.decide(head, request, bytes, count, denial) {
            Answer::Continue => {
                let complete = Complete::of(request.arg, len);
                Outcome::Sealed(slot.open(complete, reads.whole.written))
            }
            refusal => Outcome::Decided(refusal),
        })
    }

    /// Judges a call whose argument has been read, and counts it. `denial` is told of one that is
    /// refused, or would be.
    #[inline(always)]
    fn decide(
        &self,
        head: Head,
        request: &Request,
        bytes: Bytes<'_>,
        count: impl Fn(u32, Which) + Copy,
        denial: impl FnOnce(Which),
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
                denial(counter);
                answer
            }
            // An `audit` rule decides nothing.
            Some((_, Action::Audit)) | None => LOST,
        }
    }

    /// What the policy says about a subject.
    fn bound(&self, subject: &Subject) -> Option<Places> {
        if let Some(places) = subject.bound().places(self.generation) {
            return Some(places);
        }
        let profile = self.policy.profile_of(&subject.facts.caller())?;
        let place = |phase| {
            let section = self.policy.section(profile, phase)?;
            u8::try_from(section.0).ok()
        };
        let places = Places::new(
            u8::try_from(profile.index()).ok()?,
            place(Phase::Setup)?,
            place(Phase::Running)?,
        );
        subject.bind(Bound::new(self.generation, places));
        Some(places)
    }

    /// The name of the profile that speaks for a subject.
    pub(crate) fn profile_name(&self, subject: &Subject) -> Option<&[u8]> {
        let place = self.bound(subject)?.profile();
        let profile = self.policy.profiles.get(usize::from(place))?;
        profile.name.of(&self.text)
    }

    /// What the rules for a call see of the state of things. What uses up a rate is counted.
    fn state(
        &self,
        (request, node, file): (&Request, &Node, OpenFile<'_>),
        reads: &Reads,
        places: Places,
        bytes: Bytes<'_>,
        summing: Option<&GlobalGuard<PROFILES>>,
        inside: &impl ReadSide,
    ) -> State {
        let asked = Asked {
            need: reads.state,
            node,
            file,
            surface: request.surface,
            slot: slot_named(request, bytes),
            profile: places.profile(),
            place_of: &|subject| Some(self.bound(subject)?.profile()),
            summing,
        };
        let mut state = asked.state(inside);
        let seen = &node.subject.seen;
        if reads.state.has(StateNeed::DID) {
            for (index, did) in self.policy.dids.iter().enumerate() {
                state.did |= u32::from(seen.did(did.key())) << index;
            }
        }
        let profile = ProfileId::at(places.profile().into());
        let rate = |index| self.policy.rate(profile, index);
        state.exceeded = seen.exceeded(self.generation.number(), reads.rates, rate);
        state
    }

    /// Judges a call whose argument is none that could be read, and counts it.
    fn refuse_unread(&self, unread: Unread, subject: Option<&Subject>) -> Answer {
        let (counter, answer) = refusal(unread.errno());
        if let Some(subject) = subject {
            subject.count_denial(counter);
        }
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
pub(crate) fn plainly_allows<'a>(
    surface: Surface,
    call: &Call<'_>,
    on: &'a NoPreemption,
) -> Passes<'a, Active> {
    match ACTIVE.read(on) {
        Some(active) => active.plainly_allows(surface, call, on),
        None => Passes::No,
    }
}

/// Judges a call by the policy in force, and counts it, if what its rules look at is at hand.
#[inline(always)]
pub(crate) fn judge(request: &Request, call: &Call<'_>) -> Outcome {
    let on = call.no_preemption();
    match ACTIVE.read(on) {
        Some(active) => active.judge(request, call.file(), on),
        None => Outcome::Decided(LOST),
    }
}

/// Whether a call runs a vCPU.
#[inline]
fn is_run(request: &Request) -> bool {
    request.surface == Surface::KvmVcpu && request.command == KVM_RUN
}

/// Counts a call that is refused, or would be, with the VM that it is made on.
#[cold]
#[inline(never)]
fn note_denial(request: &Request, file: Option<OpenFile<'_>>, counter: Which, on: &NoPreemption) {
    let node = file.and_then(|file| registry::find(file, request.surface, on));
    if let Some(node) = node {
        node.subject.count_denial(counter);
    }
}

/// What becomes of a call whose verdict would have to look into a KVM that this module does not know:
/// `EBADF`.
#[cold]
fn of_unknown_kvm() -> Answer {
    refusal(9).1
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
