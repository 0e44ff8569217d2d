// SPDX-License-Identifier: GPL-2.0

//! The compiled form: plain data, made for one question, "which rules speak about this call?".
//!
//! ```text
//! profiles -> a section for each phase of a VM's life
//! dispatch[surface][low byte] -> entries[section]: command, command, ... any    (one bucket)
//!                                   |
//!                                   head -> links: rule, rule, ... the last one is unconditional
//! shortcuts[surface][low byte] -> the link that allows the bucket's first plainly allowed command
//! section_shortcuts[section][surface][low byte] -> the same where there are several sections
//! links -> conditions: with the offsets of this very command's argument
//! head -> needs: which bytes of the caller's memory the conditions of the chain look at
//! ```
//!
//! A bucket holds the commands of one surface that share a low byte, in order, and behind them an
//! entry for every other number. A chain holds, in the order of the text, the rules for one command; it
//! is cut behind the first that decides without a condition, at last the default.
//!
//! Each profile has tables of its own, two of them if it tells the phases of a VM's life apart: who
//! calls, and when, costs a look-up nothing but another place to begin at. All of them have the same
//! commands, so that one dispatch serves all.

use crate::schema::{Len, Place, Selector};
use crate::{By, Did, Grow, OutOfMemory, Span, StateNeed, Storage, Surface, Whole};

/// A compiled policy. Its text stays with its owner: [`Span`]s of `name`, `version` and `reason`
/// point into it.
pub struct Policy<S: Storage> {
    /// The name, in the text.
    pub name: Span,
    /// The version, in the text.
    pub version: Span,
    /// The profiles: `other`, then the others in the order of the text.
    pub profiles: S::List<Profile>,
    /// The `match` lines of all profiles.
    pub matches: S::List<Match>,
    /// The numbers in them.
    pub ids: S::List<Range>,
    /// The patterns in them, each a piece of [`Self::pattern_bytes`].
    pub patterns: S::List<Span>,
    /// The patterns' bytes.
    pub pattern_bytes: S::List<u8>,
    /// The rates of all profiles.
    pub rates: S::List<Rate>,
    /// What `vm.did()` asks for, each once.
    pub dids: S::List<Did>,
    /// For each surface and low byte, 256 a surface, a command that is plainly allowed. Nothing in a
    /// policy of several sections: who calls, and when, must be asked first.
    pub shortcuts: S::List<Shortcut>,
    /// The same for each section of such a policy.
    pub section_shortcuts: S::List<Shortcut>,
    /// For each surface and low byte, 256 a surface, the bucket.
    pub dispatch: S::List<Bucket>,
    /// How many entries a section has.
    pub section_entries: u32,
    /// For each section the buckets, one behind the other.
    pub entries: S::List<Entry>,
    /// The chains, one behind the other.
    pub links: S::List<Link>,
    /// What the chains are for.
    pub targets: S::List<Target>,
    /// The rules in the order of the text, the default behind them.
    pub rules: S::List<Rule>,
    /// The plain conditions of all links.
    pub checks: S::List<Check>,
    /// The other conditions of all links.
    pub conditions: S::List<Condition>,
    /// The sets of all conditions.
    pub ranges: S::List<Range>,
    /// The terms of all sums.
    pub terms: S::List<Term>,
    /// What the chains look at. The first is nothing.
    pub needs: S::List<Need>,
    /// What they look at behind pointers.
    pub follows: S::List<Follow>,
}

impl<S: Storage> Policy<S> {
    /// The rule of a link.
    pub fn rule(&self, link: u32) -> Option<&Rule> {
        let link = self.links.get(usize::try_from(link).ok()?)?;
        self.rules.get(usize::from(link.rule))
    }

    /// The command that a link is for.
    pub fn target(&self, link: u32) -> Option<&Target> {
        let link = self.links.get(usize::try_from(link).ok()?)?;
        self.targets.get(usize::from(link.target))
    }

    /// The same policy in another storage.
    pub fn copy_into<T: Grow>(&self) -> Result<Policy<T>, OutOfMemory> {
        Ok(Policy {
            name: self.name,
            version: self.version,
            profiles: T::copy(&self.profiles)?,
            matches: T::copy(&self.matches)?,
            ids: T::copy(&self.ids)?,
            patterns: T::copy(&self.patterns)?,
            pattern_bytes: T::copy(&self.pattern_bytes)?,
            rates: T::copy(&self.rates)?,
            dids: T::copy(&self.dids)?,
            shortcuts: T::copy(&self.shortcuts)?,
            section_shortcuts: T::copy(&self.section_shortcuts)?,
            dispatch: T::copy(&self.dispatch)?,
            section_entries: self.section_entries,
            entries: T::copy(&self.entries)?,
            links: T::copy(&self.links)?,
            targets: T::copy(&self.targets)?,
            rules: T::copy(&self.rules)?,
            checks: T::copy(&self.checks)?,
            conditions: T::copy(&self.conditions)?,
            ranges: T::copy(&self.ranges)?,
            terms: T::copy(&self.terms)?,
            needs: T::copy(&self.needs)?,
            follows: T::copy(&self.follows)?,
        })
    }

    /// Whether both are the same table.
    pub fn equals<T: Storage>(&self, other: &Policy<T>) -> bool {
        self.name == other.name
            && self.version == other.version
            && *self.profiles == *other.profiles
            && *self.matches == *other.matches
            && *self.ids == *other.ids
            && *self.patterns == *other.patterns
            && *self.pattern_bytes == *other.pattern_bytes
            && *self.rates == *other.rates
            && *self.dids == *other.dids
            && *self.shortcuts == *other.shortcuts
            && *self.section_shortcuts == *other.section_shortcuts
            && *self.dispatch == *other.dispatch
            && self.section_entries == other.section_entries
            && *self.entries == *other.entries
            && *self.links == *other.links
            && *self.targets == *other.targets
            && *self.rules == *other.rules
            && *self.checks == *other.checks
            && *self.conditions == *other.conditions
            && *self.ranges == *other.ranges
            && *self.terms == *other.terms
            && *self.needs == *other.needs
            && *self.follows == *other.follows
    }
}

/// A profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, in the text.
    pub name: Span,
    /// Its line in the text, from 1.
    pub line: u32,
    /// What must hold of a caller that it speaks for, in [`Policy::matches`]; nothing for `other`.
    pub matches: Span,
    /// Its rates, in [`Policy::rates`].
    pub rates: Span,
    /// Its tables until a vCPU of the VM has run, and for calls that are on no VM.
    pub setup: Section,
    /// Its tables from then on; the same where no rule tells both apart.
    pub running: Section,
}

/// So many calls in some time, of those that a `limit` line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how many milliseconds.
    pub per_ms: u32,
}

/// The tables of a profile in a phase: what a call is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section(pub u16);

impl Section {
    /// That of `other` in setup, which is the only one of a policy with one profile and no phases.
    pub const FIRST: Self = Self(0);
}

/// How far a VM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// None of its vCPUs has run yet.
    Setup,
    /// One has.
    Running,
}

impl Phase {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Setup, Self::Running];

    /// Its word in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Running => "running",
        }
    }
}

/// A `match` line: one of its values must be the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// What it looks at.
    pub by: By,
    /// Its values, in [`Policy::ids`] or [`Policy::patterns`].
    pub any_of: Span,
}

/// Where a command stands in [`Policy::shortcuts`], in those of a section and in
/// [`Policy::dispatch`].
#[inline]
pub(crate) fn bucket(surface: Surface, command: u32) -> usize {
    let [low, ..] = command.to_le_bytes();
    (surface.index() << 8) | usize::from(low)
}

/// How many places there are for commands in each section.
pub(crate) const BUCKETS: usize = Surface::ALL.len() << 8;

/// The commands of one surface that share a low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The first of its entries in each section, which are sorted by their numbers.
    pub first: u16,
    /// How many; the entry behind them is for every other number.
    pub len: u16,
}

/// One number of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number; 0 in the entry for every other one.
    pub command: u32,
    /// Its rules.
    pub head: Head,
}

/// The rules for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first link of its chain.
    pub link: u32,
    /// What the chain looks at, in [`Policy::needs`].
    pub need: u16,
}

/// A command whose first rule allows it without a condition: most calls are decided here, with one
/// comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// The command; a number of another low byte where the bucket has no such command.
    pub command: u32,
    /// The link that allows it.
    pub link: u32,
}

impl Shortcut {
    /// What stands in a bucket without a command that is plainly allowed.
    pub(crate) fn none(low: u8) -> Self {
        Self {
            command: u32::from(!low),
            link: 0,
        }
    }
}

/// One rule of a chain: what calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The rule.
    pub rule: u16,
    /// What the chain is for.
    pub target: u16,
    /// What must hold.
    pub conditions: Conditions,
}

/// What must hold of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Of a 64-bit caller's.
    pub native: Tests,
    /// Of a 32-bit caller's: the same, but where such callers pass another layout.
    pub compat: Tests,
}

/// Conditions, all of which must hold. Their order is that of the effort: it changes no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tests {
    /// The plain ones, in [`Policy::checks`].
    pub checks: Span,
    /// The others, in [`Policy::conditions`].
    pub others: Span,
}

impl Conditions {
    /// Those for a caller.
    #[inline]
    pub const fn of(&self, compat: bool) -> &Tests {
        if compat {
            &self.compat
        } else {
            &self.native
        }
    }
}

/// What a chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind of file.
    pub surface: Surface,
    /// The number; without one, every number that has no target of its own.
    pub command: Option<u32>,
}

impl Target {
    /// The name of the command, where the schema has one.
    pub fn name(&self) -> Option<&'static str> {
        let command = crate::schema::command_by_number(self.surface, self.command?)?;
        Some(command.name)
    }
}

/// A rule, or the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does with a call that it matches.
    pub action: Action,
    /// Its line in the text, from 1.
    pub line: u32,
    /// Whether it has conditions.
    pub is_conditional: bool,
    /// Its reason, in the text, without the quotes; empty if it has none.
    pub reason: Span,
    /// Whether it is the `default` of its profile.
    pub is_default: bool,
    /// Whether it is a `limit`.
    pub is_limit: bool,
    /// The profile that it is a part of, in [`Policy::profiles`].
    pub profile: u16,
}

impl Rule {
    /// Whether it decides about every call that reaches it.
    pub(crate) fn is_final(&self) -> bool {
        !self.is_conditional && self.action != Action::Audit
    }

    /// Whether it allows every call that reaches it.
    pub(crate) fn is_plain_allow(&self) -> bool {
        !self.is_conditional && self.action == Action::Allow
    }
}

/// What a rule does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it through.
    Allow,
    /// Answers it with an error.
    Deny {
        /// The positive error number.
        errno: u16,
    },
    /// Reports it and leaves the decision to the rules behind.
    Audit,
}

impl Action {
    /// Its word in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny { .. } => "deny",
            Self::Audit => "audit",
        }
    }
}

/// One condition that is more than a check of a number in the argument; all of a link must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A check of a number behind a pointer or in an array's element.
    Check(Check),
    /// A number is in a set.
    Among {
        /// Where the number is.
        at: FieldAt,
        /// The set, in [`Policy::ranges`].
        ranges: Span,
    },
    /// A sum passes a test.
    Sum {
        /// What is added, in [`Policy::terms`].
        terms: Span,
        /// What must be true of it.
        test: Test,
    },
    /// A field selects a variant of the argument; stands before conditions on that variant's fields.
    When {
        /// The field and its value.
        selector: Selector,
        /// Where the variant is, if it is behind a pointer.
        behind: Option<Behind>,
    },
    /// So many of an array's elements fulfil the conditions that follow.
    Each {
        /// How many must.
        quantifier: Quantifier,
        /// The array.
        array: Elements,
        /// How many of the conditions that follow are about an element.
        inner: u16,
    },
}

/// A number is within a range, to which every operator but `in` with several values comes down:
/// `(number ^ flip) & mask` is from `low` on, up to `low + span`; or is not.
///
/// One form for all operators and widths keeps the evaluator short: it runs inside a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// What the number stands in.
    pub space: Space,
    /// Its bytes.
    pub width: u8,
    /// Where the 64 bits begin that the number is a part of.
    pub offset: u32,
    /// The sign of a number that may be negative. Turned over, the order of such numbers is that of
    /// unsigned ones.
    pub flip: u64,
    /// The bits of the number that count.
    pub mask: u64,
    /// The least value.
    pub low: u64,
    /// How much more the greatest one is.
    pub span: u64,
}

impl Check {
    /// A test of a number; none for a test of a set.
    pub(crate) fn new(at: FieldAt, test: Test) -> Option<Self> {
        let unused = u32::from(at.unused_bits);
        let all = u64::MAX.wrapping_shr(unused);
        let flip = if at.signed { all ^ (all >> 1) } else { 0 };
        // What is compared with a number that may be negative has 2^63 added: here it is half of the
        // numbers of its width.
        let value = |value: u64| match at.signed {
            true => value.wrapping_sub((1 << 63) - flip),
            false => value,
        };
        let (mask, low, high) = match test {
            Test::Equal(other) => (all, value(other), value(other)),
            // All numbers but one are consecutive, if one begins behind it and goes round the end.
            Test::NotEqual(other) => {
                let other = value(other);
                return Some(Self::between(
                    at,
                    flip,
                    all,
                    other.wrapping_add(1),
                    u64::MAX - 1,
                ));
            }
            Test::Below(other) => (all, 0, value(other).wrapping_sub(1)),
            Test::AtMost(other) => (all, 0, value(other)),
            Test::Above(other) => (all, value(other).wrapping_add(1), all),
            Test::AtLeast(other) => (all, value(other), all),
            Test::Has(bits) => (all & bits, bits, bits),
            Test::AnyOf(bits) => (all & bits, 1, u64::MAX),
            Test::Subset(bits) => (all & !bits, 0, 0),
            Test::Aligned(unit) => (all & unit.wrapping_sub(1), 0, 0),
            Test::In(_) => return None,
        };
        // A pointer of a 32-bit caller may be compared with what has more bits: nothing is between.
        let (mask, low, high) = if low > high {
            (0, 1, 1)
        } else {
            (mask, low, high)
        };
        Some(Self::between(at, flip, mask, low, high.wrapping_sub(low)))
    }

    fn between(at: FieldAt, flip: u64, mask: u64, low: u64, span: u64) -> Self {
        Self {
            space: at.space,
            width: at.width(),
            offset: at.offset,
            flip,
            mask,
            low,
            span,
        }
    }
}

/// A struct behind a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Where the pointer stands in the argument; it has 8 bytes.
    pub pointer: u32,
    /// The bytes of the struct.
    pub bytes: u32,
}

/// How many elements must fulfil a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// At least one.
    Any,
    /// Each; an empty array has none that does not.
    All,
    /// None.
    No,
}

/// The elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements {
    /// Where they are.
    pub within: Within,
    /// Bytes from one to the next.
    pub stride: u32,
}

/// Where the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// A fixed number of them in the argument or in what a pointer leads to.
    Inside {
        /// Which of both.
        space: Space,
        /// Where the first is.
        offset: u32,
        /// How many there are.
        count: u32,
    },
    /// At the end of the argument, as many as it says.
    AtEnd(Tail),
}

/// Where a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldAt {
    /// In what.
    pub space: Space,
    /// Bytes from its beginning.
    pub offset: u32,
    /// How many of the 64 bits that stand there are not part of it: the highest ones.
    pub unused_bits: u8,
    /// Whether it may be negative. Then 2^63 is added to it and to whatever it is compared with,
    /// which keeps their order and makes both unsigned.
    pub signed: bool,
}

impl FieldAt {
    /// A number of `width` bytes.
    pub(crate) fn new(space: Space, offset: u32, width: u8, signed: bool) -> Self {
        Self {
            space,
            offset,
            unused_bits: 64_u8.saturating_sub(width.saturating_mul(8)),
            signed,
        }
    }

    /// Its bytes.
    pub fn width(self) -> u8 {
        8_u8.saturating_sub(self.unused_bits / 8)
    }
}

/// What numbers stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Space {
    /// The call itself: 8 bytes of the third argument, then a byte that is 1 for a 32-bit caller.
    Call,
    /// What the third argument points to.
    Argument,
    /// What a pointer in it points to.
    Followed,
    /// The element of an array that is being looked at.
    Element,
    /// What the VM has done so far, and who of it calls: [`State::bytes`](crate::State::bytes).
    State,
}

impl Space {
    /// Where the third argument stands in [`Self::Call`].
    pub(crate) const ARG: u32 = 0;
    /// Where it stands whether the caller is a 32-bit one.
    pub(crate) const COMPAT: u32 = 8;
}

/// A term of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// A number of the call's.
    Field(FieldAt),
    /// How many elements fit in what is left of the bytes that the caller says the argument has.
    Remaining {
        /// Where it says so.
        size: Place,
        /// Where the elements begin.
        from: u32,
        /// The bytes of one.
        stride: u32,
    },
    /// A number in the policy.
    Number(u64),
}

/// Which bytes of the caller's memory a chain looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Of a 64-bit caller's.
    pub native: Reads,
    /// Of a 32-bit caller's.
    pub compat: Reads,
}

/// Which bytes are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// So many bytes of the argument from its beginning.
    pub argument: u32,
    /// If the caller says how many bytes the argument has: where. What lies beyond counts as 0.
    pub sized_by: Option<Place>,
    /// The array at its end.
    pub tail: Option<Tail>,
    /// What pointers in it may lead to, in [`Policy::follows`].
    pub follows: Span,
    /// How far the argument goes, whatever the rules look at.
    pub whole: Whole,
    /// The bytes of the whole argument, if they are looked at and nothing else is, and no field tells
    /// how many there are; else 0.
    pub at_once: u32,
    /// What of the state of the VM is looked at.
    pub state: StateNeed,
    /// The rates of the profile that a call uses up, a bit for each.
    pub rates: u16,
    /// Whether the command changes what is known, if it succeeds: see [`effect`](crate::effect) and
    /// [`Policy::dids_of`].
    pub noted: bool,
    /// Whether there is anything of all this.
    pub anything: bool,
}

/// An array at the end of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Where it begins.
    pub offset: u32,
    /// The bytes of an element.
    pub stride: u32,
    /// How many there are.
    pub len: Len,
}

/// A struct behind a pointer, which is there when a field has some value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The field and its value.
    pub selector: Selector,
    /// Where it is.
    pub behind: Behind,
}

/// What a condition asks of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `==`
    Equal(u64),
    /// `!=`
    NotEqual(u64),
    /// `<`
    Below(u64),
    /// `<=`
    AtMost(u64),
    /// `>`
    Above(u64),
    /// `>=`
    AtLeast(u64),
    /// `in`: within one of these, in [`Policy::ranges`].
    In(Span),
    /// `has`: every bit of the mask.
    Has(u64),
    /// `any-of`: at least one bit of the mask.
    AnyOf(u64),
    /// `subset`: no bit outside the mask.
    Subset(u64),
    /// `aligned`: a multiple of this power of two.
    Aligned(u64),
}

/// An element of a set: a value (then both are the same), or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The smallest value in it.
    pub first: u64,
    /// The largest value in it.
    pub last: u64,
}
