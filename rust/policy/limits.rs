// SPDX-License-Identifier: GPL-2.0

//! Every limit of the language, each with its own diagnosis.

/// Bytes of a text.
pub const TEXT_BYTES: usize = 1 << 20;
/// Rules of a policy.
pub const RULES: usize = 4096;
/// Profiles of a policy, `other` included.
pub const PROFILES: usize = 32;
/// Values of a `match` line.
pub const MATCH_VALUES: usize = 16;
/// Bytes of a path or a name in a `match` line.
pub const PATTERN_BYTES: usize = 255;
/// Comparisons of a rule, those in parentheses included.
pub const CONDITIONS: usize = 16;
/// Terms of a sum.
pub const TERMS: usize = 4;
/// Values and ranges of a set.
pub const SET_VALUES: usize = 64;
/// Conditions of a compiled policy: a rule for several commands has its own for each layout that
/// their arguments have.
pub const POLICY_CONDITIONS: usize = 65536;
/// Values and ranges of all sets of a compiled policy.
pub const POLICY_SET_VALUES: usize = 65536;
/// Pairs of a rule and a command that it speaks about; the links of a compiled policy. Where a profile
/// tells phases apart, a rule for both is in two.
pub const LINKS: usize = 32768;
/// Different commands and variants of some that `vm.did()` asks for in a policy.
pub const DIDS: usize = 32;
/// Rates of a profile.
pub const RATES: usize = 16;
/// Bytes of a policy's name.
pub const NAME_BYTES: usize = 64;
/// Bytes of a policy's version.
pub const VERSION_BYTES: usize = 32;
/// Bytes of the text after `reason`.
pub const REASON_BYTES: usize = 200;
/// Diagnoses that are kept; further ones are counted.
pub const DIAGNOSES: usize = 20;

// The table numbers rules and the entries of a section in 16 bits. Each target has a link in each
// section; each of the 256 buckets of a surface may add one more entry.
const _: () = {
    assert!(RULES + PROFILES < u16::MAX as usize);
    assert!(LINKS + 256 * crate::Surface::ALL.len() < u16::MAX as usize);
};
