// SPDX-License-Identifier: GPL-2.0

//! Who calls: what `match` lines look at, and which profile speaks for a caller.
//!
//! It is asked when a file is opened or a VM is made, and the answer kept with it: never by a probe
//! on the path of a call.

use crate::glob::{self, Separator};
use crate::{Policy, Storage};

/// A process as the host sees it, at the moment in which its profile is decided.
///
/// What is not known matches nothing: a caller whose path cannot be told never gets a profile by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The path of the program that it runs, from the root of the host.
    pub exe: Option<&'a [u8]>,
    /// Its effective user.
    pub uid: Option<u32>,
    /// Its effective group.
    pub gid: Option<u32>,
    /// The path of its control group in the unified hierarchy, as in `/proc/PID/cgroup`.
    pub cgroup: Option<&'a [u8]>,
    /// The name that it gives itself.
    pub comm: Option<&'a [u8]>,
    /// The label that the host's security module has for it.
    pub label: Option<&'a [u8]>,
}

/// What a `match` line looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// [`Caller::exe`]
    Exe,
    /// [`Caller::uid`]
    Uid,
    /// [`Caller::gid`]
    Gid,
    /// [`Caller::cgroup`]
    Cgroup,
    /// [`Caller::comm`]
    Comm,
    /// [`Caller::label`]
    Label,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Exe,
        Self::Uid,
        Self::Gid,
        Self::Cgroup,
        Self::Comm,
        Self::Label,
    ];

    /// Its word in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exe => "exe",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Cgroup => "cgroup",
            Self::Comm => "comm",
            Self::Label => "label",
        }
    }

    /// What has this word.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }

    /// Whether its values are numbers; else they are patterns.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Uid | Self::Gid)
    }

    /// Whether its values are paths.
    pub(crate) const fn is_path(self) -> bool {
        matches!(self, Self::Exe | Self::Cgroup)
    }

    const fn separator(self) -> Separator {
        if self.is_path() {
            Separator::Slash
        } else {
            Separator::None
        }
    }
}

/// Which profile: its place in [`Policy::profiles`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileId(pub(crate) u16);

impl ProfileId {
    /// The profile for all whom no other speaks for.
    pub const OTHER: Self = Self(0);

    /// The one at a place.
    pub const fn at(place: u16) -> Self {
        Self(place)
    }

    /// Its place.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl<S: Storage> Policy<S> {
    /// The profile that speaks for a caller: the first whose `match` lines all hold, else `other`.
    ///
    /// `None` means that the table does not hang together, as in [`Policy::decide`].
    pub fn profile_of(&self, caller: &Caller<'_>) -> Option<ProfileId> {
        for (profile, id) in self.profiles.iter().zip(0..).skip(1) {
            let mut speaks = true;
            for line in profile.matches.of(&self.matches)? {
                if !self.holds_of(line, caller)? {
                    speaks = false;
                    break;
                }
            }
            if speaks {
                return Some(ProfileId(id));
            }
        }
        Some(ProfileId::OTHER)
    }

    /// Whether one of a line's values is the caller's.
    fn holds_of(&self, line: &crate::Match, caller: &Caller<'_>) -> Option<bool> {
        let (number, text) = match line.by {
            By::Exe => (None, caller.exe),
            By::Uid => (caller.uid, None),
            By::Gid => (caller.gid, None),
            By::Cgroup => (None, caller.cgroup),
            By::Comm => (None, caller.comm),
            By::Label => (None, caller.label),
        };
        if line.by.is_number() {
            let mut ids = line.any_of.of(&self.ids)?.iter();
            return Some(number.is_some_and(|number| {
                ids.any(|range| {
                    let number = u64::from(number);
                    range.first <= number && number <= range.last
                })
            }));
        }
        let Some(text) = text else {
            return Some(false);
        };
        for pattern in line.any_of.of(&self.patterns)? {
            let pattern = pattern.of(&self.pattern_bytes)?;
            if glob::matches(pattern, text, line.by.separator()) {
                return Some(true);
            }
        }
        Some(false)
    }
}
