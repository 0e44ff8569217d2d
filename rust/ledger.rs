// SPDX-License-Identifier: GPL-2.0

//! What is counted, and what is kept of it when policies come and go.

use crate::{active::Active, load::LastLoad};
use kernel::prelude::*;
use portcullis_policy::{Action, Surface, Unread};

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

impl Count {
    const NONE: Self = Self {
        calls: 0,
        denied: 0,
        would_deny: 0,
    };
}

impl core::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.wrapping_add(other.calls);
        self.denied = self.denied.wrapping_add(other.denied);
        self.would_deny = self.would_deny.wrapping_add(other.would_deny);
    }
}

/// What there is to say about the reading of arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A call was sent to where one may sleep.
    Deferred,
    /// Its argument could not be read.
    Unreadable,
    /// Its argument has more elements than the kernel takes.
    TooBig,
    /// There was no memory for a copy of its argument.
    NoMemory,
}

impl Reading {
    pub(crate) const ALL: [Self; 4] = [
        Self::Deferred,
        Self::Unreadable,
        Self::TooBig,
        Self::NoMemory,
    ];

    /// Its word in `counters`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Unreadable => "unreadable",
            Self::TooBig => "too-big",
            Self::NoMemory => "no-memory",
        }
    }
}

impl From<Unread> for Reading {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Fault => Self::Unreadable,
            Unread::TooBig => Self::TooBig,
            Unread::OutOfMemory => Self::NoMemory,
        }
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
    /// And of the reading of their arguments.
    past_reading: [Count; Reading::ALL.len()],
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
            past_reading: [Count::NONE; Reading::ALL.len()],
        }
    }

    /// What came of the reading of arguments under the policies of the past.
    pub(crate) fn past_reading(&self, reading: Reading) -> Count {
        self.past_reading
            .get(reading as usize)
            .copied()
            .unwrap_or_default()
    }

    /// What came of a command's calls under the policies of the past.
    pub(crate) fn past(&self, surface: Surface, command: Option<u32>) -> Count {
        let is_it = |past: &&Past| past.surface == surface && past.command == command;
        self.past
            .iter()
            .find(is_it)
            .map_or_else(Count::default, |past| past.count)
    }

    /// Adds the counts of a policy that nobody uses any more.
    pub(crate) fn close(&mut self, old: &Active) {
        for (past, reading) in self.past_reading.iter_mut().zip(Reading::ALL) {
            *past += old.reading(reading);
        }
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
