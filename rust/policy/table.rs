// SPDX-License-Identifier: GPL-2.0

//! The compiled form: plain data, made for one question, "which rules speak about this call?".
//!
//! ```text
//! dispatch[surface][low byte] -> entries: command, command, ... any    (one bucket)
//!                                   |
//!                                   head -> links: rule, rule, ... the last one is unconditional
//! shortcuts[surface][low byte] -> the link that allows the bucket's first plainly allowed command
//! ```
//!
//! A bucket holds the commands of one surface that share a low byte, in order, and behind them an
//! entry for every other number. A chain holds, in the order of the text, the rules for one command; it
//! is cut behind the first that decides without a condition, at last the default.

use crate::{Grow, OutOfMemory, Span, Storage, Surface};

/// A compiled policy. Its text stays with its owner: [`Span`]s of `name`, `version` and `reason`
/// point into it.
pub struct Policy<S: Storage> {
    /// The name, in the text.
    pub name: Span,
    /// The version, in the text.
    pub version: Span,
    /// For each surface and low byte, 256 a surface, a command that is plainly allowed.
    pub shortcuts: S::List<Shortcut>,
    /// For each surface and low byte, 256 a surface, the bucket.
    pub dispatch: S::List<Bucket>,
    /// The buckets, one behind the other.
    pub entries: S::List<Entry>,
    /// The chains, one behind the other.
    pub links: S::List<Link>,
    /// What the chains are for.
    pub targets: S::List<Target>,
    /// The rules in the order of the text, the default behind them.
    pub rules: S::List<Rule>,
    /// The conditions of all rules.
    pub conditions: S::List<Condition>,
    /// The sets of all conditions.
    pub ranges: S::List<Range>,
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
            shortcuts: T::copy(&self.shortcuts)?,
            dispatch: T::copy(&self.dispatch)?,
            entries: T::copy(&self.entries)?,
            links: T::copy(&self.links)?,
            targets: T::copy(&self.targets)?,
            rules: T::copy(&self.rules)?,
            conditions: T::copy(&self.conditions)?,
            ranges: T::copy(&self.ranges)?,
        })
    }

    /// Whether both are the same table.
    pub fn equals<T: Storage>(&self, other: &Policy<T>) -> bool {
        self.name == other.name
            && self.version == other.version
            && *self.shortcuts == *other.shortcuts
            && *self.dispatch == *other.dispatch
            && *self.entries == *other.entries
            && *self.links == *other.links
            && *self.targets == *other.targets
            && *self.rules == *other.rules
            && *self.conditions == *other.conditions
            && *self.ranges == *other.ranges
    }
}

/// Where a command stands in [`Policy::shortcuts`] and [`Policy::dispatch`].
#[inline]
pub(crate) fn bucket(surface: Surface, command: u32) -> usize {
    let [low, ..] = command.to_le_bytes();
    (surface.index() << 8) | usize::from(low)
}

/// The commands of one surface that share a low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The first of its entries, which are sorted by their numbers.
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

/// Where a chain begins: the index of its first link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head(pub u32);

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
    /// Its conditions, in [`Policy::conditions`].
    pub conditions: Span,
    /// Its reason, in the text, without the quotes; empty if it has none.
    pub reason: Span,
    /// Whether it is the `default` of its profile.
    pub is_default: bool,
}

impl Rule {
    /// Whether it decides about every call that reaches it.
    pub(crate) fn is_final(&self) -> bool {
        self.conditions.is_empty() && self.action != Action::Audit
    }

    /// Whether it allows every call that reaches it.
    pub(crate) fn is_plain_allow(&self) -> bool {
        self.conditions.is_empty() && self.action == Action::Allow
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

/// One condition; all of a rule must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub subject: Subject,
    /// What must be true of it.
    pub test: Test,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The raw third argument of the call.
    Arg,
    /// 1 if the caller is a 32-bit one, else 0.
    Compat,
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
