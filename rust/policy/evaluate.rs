// SPDX-License-Identifier: GPL-2.0

//! The verdict about one call. This runs inside a probe: no loop here is longer than the policy
//! made it, and nothing is written.
//!
//! `None` means that the table does not hang together. No text compiles to such a table; a caller
//! that sees it denies.

use crate::table::bucket;
use crate::{Action, Condition, Head, Policy, Storage, Subject, Surface, Test};

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

impl<S: Storage> Policy<S> {
    /// The link that allows a command without looking at the call; first on the path of every call.
    /// Without one, [`Policy::head`] and [`Policy::decide`] are next.
    #[inline]
    pub fn plain_allow(&self, surface: Surface, command: u32) -> Option<u32> {
        let shortcut = self.shortcuts.get(bucket(surface, command))?;
        (shortcut.command == command).then_some(shortcut.link)
    }

    /// The rules for a command.
    pub fn head(&self, surface: Surface, command: u32) -> Option<Head> {
        let bucket = self.dispatch.get(bucket(surface, command))?;
        let rest = self.entries.get(usize::from(bucket.first)..)?;
        let (own, rest) = rest.split_at_checked(usize::from(bucket.len))?;
        let found = own.binary_search_by_key(&command, |entry| entry.command);
        let entry = found.ok().and_then(|index| own.get(index));
        Some(entry.or(rest.first())?.head)
    }

    /// The verdict of the rules behind a head. `audit` is told the links of the `audit` rules that
    /// match on the way.
    pub fn decide(
        &self,
        head: Head,
        request: &Request,
        mut audit: impl FnMut(u32),
    ) -> Option<Decision> {
        let chain = self.links.get(usize::try_from(head.0).ok()?..)?;
        for (link, index) in chain.iter().zip(head.0..) {
            let rule = self.rules.get(usize::from(link.rule))?;
            if !self.all_hold(rule.conditions.of(&self.conditions)?, request)? {
                continue;
            }
            let verdict = match rule.action {
                Action::Allow => Verdict::Allow,
                Action::Deny { errno } => Verdict::Deny { errno },
                Action::Audit => {
                    audit(index);
                    continue;
                }
            };
            return Some(Decision {
                link: index,
                verdict,
            });
        }
        None
    }

    fn all_hold(&self, conditions: &[Condition], request: &Request) -> Option<bool> {
        for condition in conditions {
            if !self.holds(condition, request)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn holds(&self, condition: &Condition, request: &Request) -> Option<bool> {
        let value = match condition.subject {
            Subject::Arg => request.arg,
            Subject::Compat => u64::from(request.compat),
        };
        Some(match condition.test {
            Test::Equal(other) => value == other,
            Test::NotEqual(other) => value != other,
            Test::Below(other) => value < other,
            Test::AtMost(other) => value <= other,
            Test::Above(other) => value > other,
            Test::AtLeast(other) => value >= other,
            Test::In(set) => set
                .of(&self.ranges)?
                .iter()
                .any(|range| range.first <= value && value <= range.last),
            Test::Has(mask) => value & mask == mask,
            Test::AnyOf(mask) => value & mask != 0,
            Test::Subset(mask) => value & !mask == 0,
            Test::Aligned(unit) => value & unit.wrapping_sub(1) == 0,
        })
    }
}
