// SPDX-License-Identifier: GPL-2.0

//! Which parts of the language whoever embeds the engine can carry out.
//!
//! A policy that says more than that is refused: no word of a policy may be ignored.

/// A part of the language that needs more than the calls themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Other profiles than `other`: somebody must know who calls.
    Profiles,
    /// `while`: somebody must know how far a VM is.
    Phases,
    /// Conditions on `vm.`, `vcpu.` and `thread.`: somebody must know what a VM has done.
    State,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Profiles, Self::Phases, Self::State];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self::NONE
        .and(Feature::Profiles)
        .and(Feature::Phases)
        .and(Feature::State);
    /// What the kernel module of this version can carry out. This is the one switch.
    pub const MODULE: Self = Self::NONE;

    /// The set, and one more.
    pub const fn and(self, feature: Feature) -> Self {
        Self(self.0 | feature.bit())
    }

    /// Whether one is in it.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }
}
