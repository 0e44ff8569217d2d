// SPDX-License-Identifier: GPL-2.0

//! The verdict about one call. This runs inside a probe: no loop here is longer than the policy
//! made it, and nothing is written.
//!
//! `None` means that the table does not hang together. No text compiles to such a table; a caller
//! that sees it denies.

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
    /// The rules for a command. First on the path of every call: [`Head::plain_allow`] is next.
    #[inline]
    pub fn head(&self, surface: Surface, command: u32) -> Option<Head> {
        let [low, ..] = command.to_le_bytes();
        let bucket = surface.index() * 256 + usize::from(low);
        let mut at = usize::from(*self.dispatch.get(bucket)?);
        loop {
            let entry = self.entries.get(at)?;
            if entry.command == command || entry.head.is_any() {
                return Some(entry.head);
            }
            at += 1;
        }
    }

    /// The verdict of the rules behind a head. `audit` is told the links of the `audit` rules that
    /// match on the way.
    pub fn decide(
        &self,
        head: Head,
        request: &Request,
        mut audit: impl FnMut(u32),
    ) -> Option<Decision> {
        let mut at = head.link();
        loop {
            let rule = self.rule(at)?;
            let mut holds = true;
            for condition in rule.conditions.of(&self.conditions)? {
                if !self.holds(condition, request)? {
                    holds = false;
                    break;
                }
            }
            let verdict = match rule.action {
                Action::Allow => Verdict::Allow,
                Action::Deny { errno } => Verdict::Deny { errno },
                Action::Audit => {
                    if holds {
                        audit(at);
                    }
                    at += 1;
                    continue;
                }
            };
            if holds {
                return Some(Decision { link: at, verdict });
            }
            at += 1;
        }
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
