// SPDX-License-Identifier: GPL-2.0

//! Calls that are judged where one may sleep: what takes memory that is not at hand, asks what was done
//! before, or changes it.

use super::{
    is_run,
    of_unknown_kvm,
    Active,
    ACTIVE,
    LOST,
    NOT_YOURS, //
};
use crate::{
    doing::Taken,
    known::{self, Mappings},
    sys::{
        detour::{Answer, Returned, Waiting},
        locks::PROFILES,
        open_file::OpenFile,
        preemption::NoPreemption,
        published::ReadSide,
        registry::{self, Node, Subject},
        user_memory::OfCaller,
        window::Slot, //
    },
};
use kernel::{
    prelude::*,
    sync::{rcu, GlobalGuard},
    time::{delay::fsleep, Delta}, //
};
use portcullis_policy::{
    effect, growth, Bytes, DidKey, Effect, Fetched, Growth, OutOfMemory, Piece, Request, Section,
    StateNeed, Surface, Unread, Whole,
};

impl Active {
    /// The next step of a call that may sleep between its steps.
    fn next(
        &self,
        call: (&Request, &Node, OpenFile<'_>),
        fetched: Option<&Fetched<Slot>>,
        held: &Held<'_>,
        inside: &impl ReadSide,
    ) -> Option<Next> {
        let (request, node, file) = call;
        let subject = &node.subject;
        let places = self.bound(subject)?;
        if is_run(request) {
            return Some(Next::Restart);
        }
        let section = if self.policy.knows_callers() {
            Section(
                places
                    .section(subject.is_running(file, request.surface))
                    .into(),
            )
        } else {
            Section::FIRST
        };
        let head = self
            .policy
            .head_in(section, request.surface, request.command)?;
        let reads = self.policy.reads(head, request.compat)?;
        let seals = reads.is_of_memory().then_some(reads.whole);
        let mut bytes = Bytes::default();
        if seals.is_some() {
            let Some(fetched) = fetched else {
                return Some(Next::TakeSlot);
            };
            match self.policy.wants(head, request, fetched) {
                Ok(Some(piece)) => return Some(Next::Read(piece, reads.ahead())),
                Ok(None) if !fetched.has_rest() => return Some(Next::ReadRest(reads.whole)),
                Ok(None) => bytes = fetched.bytes(),
                Err(unread) => {
                    return Some(Next::refuse(self.refuse_unread(unread, Some(subject))));
                }
            }
        }
        if held.doing.is_none() && (reads.noted || reads.state.changes()) {
            return Some(Next::Lock);
        }
        let asks_profiles = reads.state.has(StateNeed::PROFILE);
        if asks_profiles && held.profiles.is_none() {
            return Some(Next::LockProfiles);
        }
        let mut decided = Decided::new(Answer::Continue);
        let state;
        if reads.asks_more() {
            let summing = held.profiles.as_ref();
            let seen = self.state(call, reads, places, bytes, summing, inside);
            if asks_profiles {
                decided.growth = growth(request, bytes, seen.slot);
            }
            if reads.noted {
                decided.effect = effect(request, bytes);
                let dids = self.policy.dids_of(request, bytes);
                for (to, (_, key)) in decided.dids.iter_mut().zip(dids) {
                    *to = Some(key);
                }
            }
            state = seen.bytes();
            bytes.state = &state;
        }
        let count = |link, counter| NoPreemption::during(|on| self.add(link, counter, on));
        let denial = |counter| subject.count_denial(counter);
        decided.answer = self.decide(head, request, bytes, count, denial);
        decided.seals = seals;
        Some(Next::Answer(decided))
    }
}

/// What to do next about a deferred call.
enum Next {
    /// There is to be room for the argument.
    TakeSlot,
    /// So many bytes of the argument can be read ahead.
    Read(Piece, usize),
    /// All else that the handler may look at is to be read.
    ReadRest(Whole),
    /// The call is to be made anew: everything is there for a probe to judge it.
    Restart,
    /// The subject is to be taken.
    Lock,
    /// That of all profiles is.
    LockProfiles,
    Answer(Decided),
}

impl Next {
    fn refuse(answer: Answer) -> Self {
        Self::Answer(Decided::new(answer))
    }
}

/// What becomes of a deferred call.
struct Decided {
    answer: Answer,
    /// If the rules looked at the argument: how far it goes.
    seals: Option<Whole>,
    /// What it does, if it succeeds, that is to be noted.
    effect: Effect,
    dids: [Option<DidKey>; 4],
    /// What it adds to what its profile has.
    growth: Growth,
}

impl Decided {
    fn new(answer: Answer) -> Self {
        Self {
            answer,
            seals: None,
            effect: Effect::None,
            dids: [None; 4],
            growth: Growth::default(),
        }
    }
}

/// The locks that a deferred call holds.
#[derive(Default)]
struct Held<'a> {
    /// Held while the call is carried out as well, so that no other one comes between its verdict and
    /// what is noted of it.
    doing: Option<Taken<'a, Mappings>>,
    profiles: Option<GlobalGuard<PROFILES>>,
}

/// What a call may add to what its profile has, counted as long as it is not known whether it has.
struct Reservation<'a> {
    subject: &'a Subject,
    file: OpenFile<'a>,
    surface: Surface,
    growth: Growth,
}

impl<'a> Reservation<'a> {
    /// Only for who keeps others from summing up.
    fn new(
        subject: &'a Subject,
        (file, surface): (OpenFile<'a>, Surface),
        growth: Growth,
        _summing: &GlobalGuard<PROFILES>,
    ) -> Self {
        subject.reserved.add(growth);
        Self {
            subject,
            file,
            surface,
            growth,
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        // Whoever sums up finds it here or there.
        let summing = PROFILES.lock();
        if self.subject.is_vm() {
            // VMs may have been looked for anew meanwhile.
            if let Some(node) = registry::keep(self.file, self.file.key(self.surface)) {
                node.subject.take_stock(self.file, self.surface, &summing);
            }
        }
        self.subject.reserved.sub(self.growth);
    }
}

/// Judges a call by the policy in force, counts it, and carries it out if it may be. First it reads what
/// its rules look at, which may sleep for as long as a page does not come, and everything else that the
/// handler may look at: it is to find the bytes that were judged, and nobody is to wait between the
/// verdict and the deed.
///
/// Nothing of the policy is held meanwhile: it may be replaced. Then what has been read for the one
/// before is thrown away. So the verdict is that of one whole policy, on one copy of the argument.
pub(crate) fn judge_deferred(request: &Request, call: Waiting<'_>) -> Returned {
    let refuse = |call: Waiting<'_>, answer| match answer {
        Answer::Refuse(errno) => call.refuse(errno),
        // Nothing waits for a guest. The next time there may be memory.
        Answer::Continue if is_run(request) => {
            fsleep(Delta::from_millis(1));
            call.restart()
        }
        Answer::Continue => call.proceed(),
    };
    let Some(file) = call.file() else {
        return refuse(call, LOST);
    };
    let node = match known::of(file, request.surface) {
        Ok(node) => node,
        Err(EIO) => return refuse(call, NOT_YOURS),
        Err(ENOMEM) => return refuse(call, without_memory(None)),
        Err(_) => return refuse(call, of_unknown_kvm()),
    };
    let subject = &node.subject;
    let mut held = Held::default();
    let mut fetched = None;
    let mut generation = None;
    let mut trouble = None;
    let decided = loop {
        let next = {
            let rcu = rcu::read_lock();
            let Some(active) = ACTIVE.read(&rcu) else {
                return refuse(call, LOST);
            };
            if generation.replace(active.generation) != Some(active.generation) {
                fetched.as_mut().map(Fetched::forget);
                trouble = None;
            }
            match trouble {
                Some(unread) => Some(Next::refuse(active.refuse_unread(unread, Some(subject)))),
                None => active.next((request, &node, file), fetched.as_ref(), &held, &rcu),
            }
        };
        match (next, &mut fetched) {
            (Some(Next::TakeSlot), place) => {
                held = Held::default();
                match Slot::take(request.compat) {
                    Ok(slot) => *place = Some(Fetched::nothing(slot)),
                    Err(_) => return refuse(call, without_memory(Some(subject))),
                }
            }
            (Some(Next::Read(piece, ahead)), Some(fetched)) => {
                // Nobody else's call may have to wait for this caller's memory.
                held = Held::default();
                fetched.read_ahead(ahead, request.arg, &mut OfCaller);
                trouble = fetched.take(piece, &mut OfCaller).err();
            }
            (Some(Next::Restart), _) => return call.restart(),
            (Some(Next::ReadRest(whole)), Some(fetched)) => {
                held = Held::default();
                let read = fetched.read_rest(&whole, request.arg, &mut OfCaller);
                trouble = read.err().map(Unread::from);
            }
            (Some(Next::Lock), _) => match subject.doing.take() {
                Ok(taken) => held.doing = Some(taken),
                Err(_) => return call.restart(),
            },
            (Some(Next::LockProfiles), _) => held.profiles = Some(PROFILES.lock()),
            (Some(Next::Answer(decided)), _) => break decided,
            (Some(Next::Read(..) | Next::ReadRest(_)) | None, _) => return refuse(call, LOST),
        }
    };
    node.count();
    let is_allowed = decided.answer == Answer::Continue;
    let reservation = held.profiles.as_ref().filter(|_| is_allowed);
    let _reservation = reservation
        .map(|summing| Reservation::new(subject, (file, request.surface), decided.growth, summing));
    held.profiles = None;
    if !is_allowed {
        return refuse(call, decided.answer);
    }
    // A call on a vCPU may wait until that comes out of its guest: nothing waits for such a call.
    if request.surface == Surface::KvmVcpu {
        held.doing = None;
    }
    let birth = match decided.effect {
        Effect::VmMade => match known::expect_vm(subject) {
            Ok(birth) => Some(birth),
            Err(_) => return refuse(call, without_memory(Some(subject))),
        },
        _ => None,
    };
    let returned = match (decided.seals, fetched) {
        (None, _) => call.proceed(),
        // There is room for what has been judged.
        (Some(_), None) => refuse(call, LOST),
        (Some(whole), Some(fetched)) => {
            match fetched.complete(&whole, request.arg, &mut OfCaller) {
                Ok((slot, complete)) => call.proceed_sealed(slot.open(complete, whole.written)),
                Err(OutOfMemory) => refuse(call, without_memory(Some(subject))),
            }
        }
    };
    let is_done = returned.success().is_some();
    if let Some(birth) = birth {
        birth.end(is_done);
    }
    if is_done {
        note(&decided, subject, &held, file, request.surface);
    }
    returned
}

/// Notes what a call has done.
fn note(
    decided: &Decided,
    subject: &Subject,
    held: &Held<'_>,
    file: OpenFile<'_>,
    surface: Surface,
) {
    let seen = &subject.seen;
    if decided.effect == Effect::ZonesChanged {
        seen.catch_up(file, surface, true);
    }
    if decided.effect == Effect::None && decided.dids.iter().all(Option::is_none) {
        return;
    }
    let is_asked = |bits| {
        let rcu = rcu::read_lock();
        let active = ACTIVE.read(&rcu);
        active.is_some_and(|active| {
            active
                .policy
                .dids
                .iter()
                .any(|did| did.key().bits() == bits)
        })
    };
    let note = |mappings: &mut Mappings| {
        seen.note(decided.effect, mappings);
        let dids = decided.dids.into_iter().flatten();
        dids.for_each(|did| seen.note_did(did, is_asked));
    };
    match &held.doing {
        Some(taken) => taken.with(note),
        None => subject.doing.with(note),
    }
}

/// What becomes of a call for whose argument there is no room.
#[cold]
fn without_memory(subject: Option<&Subject>) -> Answer {
    let rcu = rcu::read_lock();
    ACTIVE.read(&rcu).map_or(LOST, |active| {
        active.refuse_unread(Unread::OutOfMemory, subject)
    })
}
