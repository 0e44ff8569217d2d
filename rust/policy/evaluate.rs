// SPDX-License-Identifier: GPL-2.0

//! The verdict about one call. This runs inside a probe: no loop here is longer than the policy
//! and the argument made it, and nothing is written.
//!
//! `None` means that the table does not hang together. No text compiles to such a table; a caller
//! that sees it denies.

use crate::fetch::{number, selects, size, tail_bytes, Bytes};
use crate::table::{bucket, BUCKETS};
use crate::{
    Action, Check, Condition, Elements, Entry, FieldAt, Head, Phase, Policy, ProfileId, Quantifier,
    Rate, Rule, Section, Space, Span, Storage, Surface, Term, Test, Within,
};

/// One intercepted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The kind of file.
    pub surface: Surface,
    /// The number of the ioctl.
    pub command: u32,
    /// The raw third argument.
    pub arg: u64,
    /// Whether the caller is a 32-bit one.
    pub compat: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes through.
    Allow,
    /// It is answered with an error.
    Deny {
        /// The positive error number.
        errno: u16,
    },
}

/// A verdict and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The link that decided: [`Policy::rule`] and [`Policy::target`] tell more.
    pub link: u32,
    /// What becomes of the call.
    pub verdict: Verdict,
}

/// Whether a command is allowed without a look at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// By this link.
    Allow(u32),
    /// It is not.
    No,
    /// That depends on who calls: see [`Policy::knows_callers`].
    ByCaller,
}

/// What conditions look at: a slice for each [`Space`], in their order. Behind the bytes of each
/// stand [`PADDING`](crate::PADDING) more, so that every number can be read as 64 bits.
type Spaces<'a> = [&'a [u8]; 5];

/// The bytes of [`Space::Call`].
#[inline]
fn call(request: &Request) -> [u8; 16] {
    let arg = u128::from(request.arg);
    (arg | (u128::from(request.compat) << 64)).to_le_bytes()
}

impl<S: Storage> Policy<S> {
    /// The link that allows a command without looking at the call; first on the path of every call.
    /// Without one, [`Policy::head`] and [`Policy::decide`] are next.
    #[inline]
    pub fn plain_allow(&self, surface: Surface, command: u32) -> Option<u32> {
        self.plain_allow_in_register(surface, command.into())
    }

    /// The same for the register that a command comes in. None is allowed that has something in its
    /// upper half.
    #[inline]
    pub fn plain_allow_in_register(&self, surface: Surface, register: u64) -> Option<u32> {
        match self.plain_in_register(surface, register) {
            Plain::Allow(link) => Some(link),
            Plain::No | Plain::ByCaller => None,
        }
    }

    /// The same, for who asks [`Self::plain_allow_in`] where that may say more.
    #[inline]
    pub fn plain_in_register(&self, surface: Surface, register: u64) -> Plain {
        // CAST: the low half is looked up, the whole compared.
        match self.shortcuts.get(bucket(surface, register as u32)) {
            Some(shortcut) if u64::from(shortcut.command) == register => {
                Plain::Allow(shortcut.link)
            }
            Some(_) => Plain::No,
            None => Plain::ByCaller,
        }
    }

    /// The same for the callers of a section, in a policy that [`Self::knows_callers`].
    #[inline]
    pub fn plain_allow_in(&self, section: Section, surface: Surface, register: u64) -> Option<u32> {
        // CAST: the low half is looked up, the whole compared.
        let place = usize::from(section.0) * BUCKETS + bucket(surface, register as u32);
        let shortcut = self.section_shortcuts.get(place)?;
        (u64::from(shortcut.command) == register).then_some(shortcut.link)
    }

    /// Whether it must be known of each call who makes it, and what his VM has done: there is more than
    /// one section, or a rule looks at vCPUs.
    #[inline]
    pub fn knows_callers(&self) -> bool {
        self.shortcuts.is_empty()
    }

    /// How many sections there are.
    pub fn sections(&self) -> usize {
        let last = self.profiles.iter().map(|profile| profile.running.0).max();
        usize::from(last.unwrap_or(0)) + 1
    }

    /// A rate of a profile: what bit `index` of [`Reads::rates`](crate::Reads::rates) stands for.
    pub fn rate(&self, profile: ProfileId, index: usize) -> Option<Rate> {
        let rates = self.profiles.get(profile.index())?.rates;
        rates.of(&self.rates)?.get(index).copied()
    }

    /// What the calls of a profile are looked up in. Those on a file that belongs to no VM are in
    /// setup.
    pub fn section(&self, profile: ProfileId, phase: Phase) -> Option<Section> {
        let profile = self.profiles.get(profile.index())?;
        Some(match phase {
            Phase::Setup => profile.setup,
            Phase::Running => profile.running,
        })
    }

    /// The rules of `other` for a command.
    #[inline]
    pub fn head(&self, surface: Surface, command: u32) -> Option<Head> {
        self.head_in(Section::FIRST, surface, command)
    }

    /// The rules of a section for a command.
    #[inline(always)]
    pub fn head_in(&self, section: Section, surface: Surface, command: u32) -> Option<Head> {
        let bucket = self.dispatch.get(bucket(surface, command))?;
        let place = usize::from(section.0) * size(self.section_entries) + usize::from(bucket.first);
        let first = self.entries.get(place)?;
        // Most buckets have one.
        let entry = if bucket.len > 0 && first.command == command {
            first
        } else {
            self.entry_behind(place, usize::from(bucket.len), command)?
        };
        Some(entry.head)
    }

    /// The entry for a command that is not the first of its bucket, which begins at `place`.
    #[inline(never)]
    fn entry_behind(&self, place: usize, len: usize, command: u32) -> Option<&Entry> {
        let (own, rest) = self.entries.get(place..)?.split_at_checked(len)?;
        let found = own.binary_search_by_key(&command, |entry| entry.command);
        let entry = found.ok().and_then(|index| own.get(index));
        entry.or(rest.first())
    }

    /// The verdict of the rules behind a head. `bytes` is what [`Policy::reads`] says of the
    /// argument, padded. `audit` is told the links of the `audit` rules that match on the way.
    #[inline]
    pub fn decide(
        &self,
        head: Head,
        request: &Request,
        bytes: Bytes<'_>,
        audit: impl FnMut(u32),
    ) -> Option<Decision> {
        let (link, rule) = self.deciding_rule(head, request, bytes, audit)?;
        let verdict = match rule.action {
            Action::Allow => Verdict::Allow,
            Action::Deny { errno } => Verdict::Deny { errno },
            // It decides nothing.
            Action::Audit => return None,
        };
        Some(Decision { link, verdict })
    }

    /// The link that [`Policy::decide`] finds, and its rule: for who cannot afford to have a
    /// [`Decision`] put together and taken apart.
    #[inline(always)]
    pub fn deciding_rule(
        &self,
        head: Head,
        request: &Request,
        bytes: Bytes<'_>,
        mut audit: impl FnMut(u32),
    ) -> Option<(u32, &Rule)> {
        let (link, rule) = self.first_match(head.link, request, bytes)?;
        if rule.action != Action::Audit {
            return Some((link, rule));
        }
        audit(link);
        self.deciding_rule_behind(link, request, bytes, audit)
    }

    /// The same behind the link of an `audit` rule that has matched.
    #[inline(never)]
    fn deciding_rule_behind(
        &self,
        mut link: u32,
        request: &Request,
        bytes: Bytes<'_>,
        mut audit: impl FnMut(u32),
    ) -> Option<(u32, &Rule)> {
        loop {
            let rule;
            (link, rule) = self.first_match(link.checked_add(1)?, request, bytes)?;
            if rule.action != Action::Audit {
                return Some((link, rule));
            }
            audit(link);
        }
    }

    /// The first link from `from` on whose conditions hold, and its rule.
    #[inline(always)]
    fn first_match(&self, from: u32, request: &Request, bytes: Bytes<'_>) -> Option<(u32, &Rule)> {
        let call = call(request);
        let mut link = from;
        for candidate in self.links.get(size(from)..)? {
            let tests = candidate.conditions.of(request.compat);
            if all_pass(tests.checks.of(&self.checks)?, &call, bytes)?
                && (tests.others.is_empty() || self.all_hold(tests.others, &call, bytes)?)
            {
                return Some((link, self.rules.get(usize::from(candidate.rule))?));
            }
            link = link.wrapping_add(1);
        }
        None
    }

    #[inline(never)]
    fn all_hold(&self, others: Span, call: &[u8; 16], bytes: Bytes<'_>) -> Option<bool> {
        let spaces = &[&call[..], bytes.argument, bytes.followed, &[], bytes.state];
        let tail = bytes.tail;
        let mut rest = others.of(&self.conditions)?.iter();
        while let Some(condition) = rest.next() {
            let holds = match condition {
                Condition::Each {
                    quantifier,
                    array,
                    inner,
                } => {
                    let (inner, behind) = rest.as_slice().split_at_checked(usize::from(*inner))?;
                    rest = behind.iter();
                    self.each(*quantifier, array, inner, spaces, tail)?
                }
                other => self.holds(other, spaces, 0)?,
            };
            if !holds {
                return Some(false);
            }
        }
        Some(true)
    }

    /// A condition that is about no array, or about one element of it.
    #[inline(never)]
    fn holds(&self, condition: &Condition, spaces: &Spaces<'_>, base: usize) -> Option<bool> {
        match condition {
            Condition::Among { at, ranges } => self.is_in(load_in(*at, spaces, base)?, *ranges),
            Condition::Sum { terms, test } => self.sum_is(*terms, test, spaces, base),
            Condition::When { selector, .. } => {
                Some(selects(selector, spaces.get(Space::Argument as usize)?))
            }
            Condition::Check(check) => passes(check, spaces.get(check.space as usize)?, base),
            // It has a way of its own, and does not nest.
            Condition::Each { .. } => None,
        }
    }

    #[inline(never)]
    fn each(
        &self,
        quantifier: Quantifier,
        array: &Elements,
        inner: &[Condition],
        spaces: &Spaces<'_>,
        tail: &[u8],
    ) -> Option<bool> {
        let stride = size(array.stride);
        let (elements, first, count) = match array.within {
            // What was read may be a longer array at the same place.
            Within::AtEnd(array) => {
                let bytes = tail_bytes(&array, spaces.get(Space::Argument as usize)?).ok()?;
                (tail, 0, size(bytes).checked_div(stride)?)
            }
            Within::Inside {
                space,
                offset,
                count,
            } => (*spaces.get(space as usize)?, size(offset), size(count)),
        };
        let [call, argument, followed, _, state] = *spaces;
        let spaces = [call, argument, followed, elements, state];
        // Whoever finds such an element is done.
        let (wanted, found) = match quantifier {
            Quantifier::Any => (true, true),
            Quantifier::All => (false, false),
            Quantifier::No => (true, false),
        };
        let mut base = first;
        // An element that is looked for is mostly not there: then its first condition fails.
        if let (true, Some((&Condition::Check(check), rest))) = (wanted, inner.split_first()) {
            for _ in 0..count {
                if passes(&check, elements, base)? && self.element(rest, &spaces, base)? {
                    return Some(found);
                }
                base = base.checked_add(stride)?;
            }
            return Some(!found);
        }
        for _ in 0..count {
            if self.element(inner, &spaces, base)? == wanted {
                return Some(found);
            }
            base = base.checked_add(stride)?;
        }
        Some(!found)
    }

    /// Whether the element at `base` fulfils all conditions.
    #[inline(always)]
    fn element(&self, inner: &[Condition], spaces: &Spaces<'_>, base: usize) -> Option<bool> {
        let [.., elements, _] = spaces;
        for condition in inner {
            let holds = match condition {
                Condition::Check(check) => passes(check, elements, base)?,
                other => self.holds(other, spaces, base)?,
            };
            if !holds {
                return Some(false);
            }
        }
        Some(true)
    }

    fn is_in(&self, value: u64, set: Span) -> Option<bool> {
        let mut ranges = set.of(&self.ranges)?.iter();
        Some(ranges.any(|range| range.first <= value && value <= range.last))
    }

    /// A sum never wraps: one that has no room in 64 bits is greater than every value.
    fn sum_is(&self, terms: Span, test: &Test, spaces: &Spaces<'_>, base: usize) -> Option<bool> {
        let mut sum = 0_u64;
        let mut beyond = false;
        for term in terms.of(&self.terms)? {
            let value = match term {
                Term::Number(number) => *number,
                Term::Field(at) => load_in(*at, spaces, base)?,
                Term::Remaining {
                    size: place,
                    from,
                    stride,
                } => {
                    let whole = number(spaces.get(Space::Argument as usize)?, *place)?;
                    let bytes = whole.saturating_sub(u64::from(*from));
                    bytes.checked_div(u64::from(*stride))?
                }
            };
            let (more, carried) = sum.overflowing_add(value);
            sum = more;
            beyond |= carried;
        }
        Some(match *test {
            Test::NotEqual(_) | Test::Above(_) | Test::AtLeast(_) if beyond => true,
            // 2^64 is a multiple of every unit, so what is left of the sum tells.
            Test::Aligned(unit) => sum & unit.wrapping_sub(1) == 0,
            _ if beyond => false,
            Test::Equal(other) => sum == other,
            Test::NotEqual(other) => sum != other,
            Test::Below(other) => sum < other,
            Test::AtMost(other) => sum <= other,
            Test::Above(other) => sum > other,
            Test::AtLeast(other) => sum >= other,
            Test::In(ranges) => self.is_in(sum, ranges)?,
            // The parser refuses tests of a sum's bits.
            Test::Has(_) | Test::AnyOf(_) | Test::Subset(_) => return None,
        })
    }
}

/// The loop that most calls with conditions are judged by. Most checks look at the argument, and those
/// of one rule at the same.
#[inline(always)]
fn all_pass(checks: &[Check], call: &[u8; 16], bytes: Bytes<'_>) -> Option<bool> {
    let mut space = Space::Argument;
    let mut from = bytes.argument;
    for check in checks {
        if check.space != space {
            space = check.space;
            from = match space {
                Space::Call => call,
                Space::Argument => bytes.argument,
                Space::Followed => bytes.followed,
                Space::State => bytes.state,
                Space::Element => return None,
            };
        }
        if !passes(check, from, 0)? {
            return Some(false);
        }
    }
    Some(true)
}

// Once in the loop over conditions and once in that over elements: a call of its own would cost more
// than what it does. What is rare and long is kept out of both.
#[inline(always)]
fn passes(check: &Check, bytes: &[u8], base: usize) -> Option<bool> {
    let number = (load(bytes, base.wrapping_add(size(check.offset)))? ^ check.flip) & check.mask;
    Some(number.wrapping_sub(check.low) <= check.span)
}

/// The 64 bits at an offset.
#[inline(always)]
fn load(bytes: &[u8], offset: usize) -> Option<u64> {
    let number = bytes.get(offset..offset.checked_add(size_of::<u64>())?)?;
    Some(u64::from_le_bytes(*number.first_chunk()?))
}

/// A number, with 2^63 added if it may be negative. Elements begin at `base`.
fn load_in(at: FieldAt, spaces: &Spaces<'_>, base: usize) -> Option<u64> {
    let base = if at.space == Space::Element { base } else { 0 };
    let bytes = spaces.get(at.space as usize)?;
    let all = load(bytes, base.wrapping_add(size(at.offset)))?;
    let used = all.wrapping_shl(at.unused_bits.into());
    Some(match at.signed {
        true => biased(used.wrapping_shr(at.unused_bits.into()), at.width()),
        false => used.wrapping_shr(at.unused_bits.into()),
    })
}

/// A negative number of some width in the order of unsigned ones.
pub(crate) fn biased(value: u64, width: u8) -> u64 {
    let unused = 64_u32.saturating_sub(u32::from(width) * 8);
    // CAST: to and from the same width; the shift to the right repeats the sign.
    (value.wrapping_shl(unused) as i64).wrapping_shr(unused) as u64 ^ (1 << 63)
}
