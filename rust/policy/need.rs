// SPDX-License-Identifier: GPL-2.0

//! What the rules of a chain look at: which bytes of the caller's memory, and what of the VM's state.

use crate::compile::Draft;
use crate::noted::slot_bytes;
use crate::schema::{Argument, Command, Direction, Len};
use crate::state::{StateNeed, EXCEEDED};
use crate::{
    Check, Condition, Conditions, FieldAt, Follow, Grow, Link, Need, OutOfMemory, Reads, Space,
    Span, Tail, Term, Whole, Within,
};

/// What a chain looks at, while it is being put together.
#[derive(Clone, Copy)]
pub(crate) struct Needed {
    /// Of a 64-bit caller's argument, and of a 32-bit caller's.
    wholes: [Whole; 2],
    need: Need,
}

impl Needed {
    /// For the chain of a command.
    pub(crate) fn new(command: Option<&'static Command>) -> Self {
        let whole = |compat| command.map_or_else(Whole::default, |it| Whole::of(it, compat));
        Self {
            wholes: [whole(false), whole(true)],
            need: Need::default(),
        }
    }

    /// Adds what the conditions of one link look at.
    pub(crate) fn add<S: Grow>(&mut self, draft: &Draft<S>, conditions: Conditions) {
        let [native, compat] = self.wholes;
        for (reads, whole, tests) in [
            (&mut self.need.native, native, conditions.native),
            (&mut self.need.compat, compat, conditions.compat),
        ] {
            for check in tests.checks.of(&draft.checks).unwrap_or_default() {
                reads.look_at_check(check);
            }
            for condition in tests.others.of(&draft.conditions).unwrap_or_default() {
                reads.look_at(condition, &draft.terms);
            }
            reads.sized(whole);
        }
    }

    /// For the chain of a command that may set a memory slot: where it matters which one, or how much it adds
    /// to what a profile has, that is read, whether or not a rule looks at it.
    pub(crate) fn add_slot(&mut self, command: Option<&'static Command>) {
        let Some(bytes) = command.and_then(slot_bytes) else {
            return;
        };
        let [native, compat] = self.wholes;
        for (reads, whole) in [
            (&mut self.need.native, native),
            (&mut self.need.compat, compat),
        ] {
            if reads.state.has(StateNeed::SLOT.and(StateNeed::PROFILE)) {
                reads.state = reads.state.and(StateNeed::SLOT);
                reads.up_to(0, bytes);
                reads.sized(whole);
            }
        }
    }

    /// For the chain of a command that changes what is known: its struct is read, whether or not a rule
    /// looks at it, so that it is known what was carried out.
    pub(crate) fn add_noted(&mut self, command: &'static Command, number: u32) {
        let [native, compat] = self.wholes;
        let tells = command.number != command.compat_number;
        for (reads, whole, is_compat) in [
            (&mut self.need.native, native, false),
            (&mut self.need.compat, compat, true),
        ] {
            reads.noted = true;
            match command.argument {
                Argument::Struct(found) if found.direction != Direction::Out => {
                    let is_compat = match tells {
                        true => number == command.compat_number,
                        false => is_compat,
                    };
                    let layout = found.compat.filter(|_| is_compat);
                    reads.up_to(0, layout.map_or(found.size, |layout| layout.size));
                }
                _ => {}
            }
            reads.sized(whole);
        }
    }

    /// Notes it behind those of other chains; returns its place.
    pub(crate) fn note<S: Grow>(
        mut self,
        draft: &Draft<S>,
        links: &[Link],
        needs: &mut S::List<Need>,
        follows: &mut S::List<Follow>,
    ) -> Result<u16, OutOfMemory> {
        if self.need == Need::default() {
            return Ok(0);
        }
        let start = follows.len();
        for link in links {
            for tests in [link.conditions.native, link.conditions.compat] {
                for condition in tests.others.of(&draft.conditions).unwrap_or_default() {
                    let Condition::When {
                        selector,
                        behind: Some(behind),
                    } = *condition
                    else {
                        continue;
                    };
                    let follow = Follow { selector, behind };
                    let mut known = S::items(follows).iter_mut().skip(start);
                    match known.find(|known| known.is_where(&follow)) {
                        Some(known) => {
                            known.behind.bytes = known.behind.bytes.max(follow.behind.bytes);
                        }
                        None => S::push(follows, follow)?,
                    }
                }
            }
        }
        let span = Span::between(start, follows.len());
        for reads in [&mut self.need.native, &mut self.need.compat] {
            reads.follows = span;
            let more = !reads.state.is_empty() || reads.rates != 0 || reads.noted;
            reads.at_once = reads.one_piece().filter(|_| !more).unwrap_or(0);
            reads.anything = more || reads.is_of_memory();
        }
        if needs.last() != Some(&self.need) {
            S::push(needs, self.need)?;
        }
        // There are no more of them than entries, and one.
        Ok(u16::try_from(needs.len() - 1).unwrap_or(u16::MAX))
    }
}

impl Follow {
    /// Whether both are read at the same place of the same calls. They need not be as long: SEV and
    /// TDX number their commands alike.
    fn is_where(&self, other: &Self) -> bool {
        self.selector.place == other.selector.place
            && self.selector.mask == other.selector.mask
            && self.selector.value == other.selector.value
            && self.behind.pointer == other.behind.pointer
    }
}

impl Tail {
    /// Both of two arrays that begin at the same place and have as many elements, such as those of
    /// `VFIO_DEVICE_SET_IRQS`: whatever one of them needs.
    pub(crate) fn and(self, other: Self) -> Self {
        let limit_of = |tail: Self| match tail.len {
            Len::Fixed(limit) | Len::Counted { limit, .. } | Len::Rest { limit, .. } => limit,
        };
        let strict = if limit_of(other) < limit_of(self) {
            other
        } else {
            self
        };
        Self {
            stride: self.stride.max(other.stride),
            ..strict
        }
    }
}

impl Need {
    /// Whether something about vCPUs and who runs them is looked at.
    pub(crate) fn asks_for_vcpus(&self) -> bool {
        [self.native, self.compat]
            .iter()
            .any(|reads| reads.state.has(StateNeed::VCPU.and(StateNeed::THREAD_VCPU)))
    }
}

impl Reads {
    /// See [`Reads::at_once`].
    fn one_piece(&self) -> Option<u32> {
        (self.argument > 0
            && self.whole.tail.is_none()
            && self.sized_by.is_none()
            && self.tail.is_none()
            && self.follows.is_empty())
        .then_some(self.whole.fixed)
    }

    /// What is looked at of an argument is a part of it.
    fn sized(&mut self, whole: Whole) {
        if self.argument > 0 {
            self.whole = whole;
            self.sized_by = whole.sized_by;
            if let Some(place) = whole.sized_by {
                self.up_to(place.offset, place.width.into());
            }
        }
    }

    fn up_to(&mut self, offset: u32, bytes: u32) {
        self.argument = self.argument.max(offset.saturating_add(bytes));
    }

    fn look_at(&mut self, condition: &Condition, terms: &[Term]) {
        match condition {
            Condition::Check(check) => self.look_at_check(check),
            Condition::Among { at, .. } => self.look_at_field(*at),
            Condition::Sum { terms: sum, .. } => {
                for term in sum.of(terms).unwrap_or_default() {
                    match term {
                        Term::Field(at) => self.look_at_field(*at),
                        Term::Remaining { size, .. } => self.up_to(size.offset, size.width.into()),
                        Term::Number(_) => {}
                    }
                }
            }
            Condition::When { selector, behind } => {
                self.up_to(selector.place.offset, selector.place.width.into());
                if let Some(behind) = behind {
                    self.up_to(behind.pointer, 8);
                }
            }
            Condition::Each { array, .. } => match array.within {
                Within::Inside {
                    space: Space::Argument,
                    offset,
                    count,
                } => self.up_to(offset, count.saturating_mul(array.stride)),
                Within::Inside { .. } => {}
                Within::AtEnd(tail) => {
                    self.tail = Some(self.tail.map_or(tail, |other| other.and(tail)));
                    let place = match tail.len {
                        Len::Counted { count, .. } => count,
                        Len::Rest { size, .. } => size,
                        Len::Fixed(_) => return,
                    };
                    self.up_to(place.offset, place.width.into());
                }
            },
        }
    }

    fn look_at_check(&mut self, check: &Check) {
        match check.space {
            Space::Argument => self.up_to(check.offset, check.width.into()),
            Space::State => {
                self.state = self.state.and(StateNeed::at(check.offset));
                if check.offset == EXCEEDED {
                    let [low, high, ..] = check.mask.to_le_bytes();
                    self.rates |= u16::from_le_bytes([low, high]);
                }
            }
            Space::Call | Space::Followed | Space::Element => {}
        }
    }

    /// What is behind a pointer is read because of the `When` in front of it, and elements because
    /// of the `Each`.
    fn look_at_field(&mut self, at: FieldAt) {
        match at.space {
            Space::Argument => self.up_to(at.offset, at.width().into()),
            Space::State => self.state = self.state.and(StateNeed::at(at.offset)),
            Space::Call | Space::Followed | Space::Element => {}
        }
    }
}
