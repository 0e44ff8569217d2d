// SPDX-License-Identifier: GPL-2.0

//! What is in a policy, in short.

use portcullis_policy::{Condition, Heap, Policy, Rule, Span, Surface};

/// What is in a policy.
pub(super) struct Summary<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its version.
    pub(super) version: &'a str,
    /// How many rules, without the default.
    pub(super) rules: usize,
    /// How many comparisons, as compiled: those of a rule for several commands count once for each
    /// layout of their arguments.
    pub(super) conditions: usize,
    /// The surfaces that rules speak about. Those of rules that no call reaches are not among them.
    pub(super) surfaces: Vec<&'static str>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(policy: &Policy<Heap>, text: &'a [u8]) -> Self {
        let word = |span: Span| {
            let bytes = span.of(text).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or_default()
        };
        let rules = policy.rules.iter();
        let conditions = policy.conditions.iter();
        Self {
            name: word(policy.name),
            version: word(policy.version),
            rules: rules.filter(|rule| !rule.is_default).count(),
            conditions: policy.checks.len()
                + conditions
                    .filter(|condition| {
                        !matches!(condition, Condition::When { .. } | Condition::Each { .. })
                    })
                    .count(),
            surfaces: surfaces(policy),
        }
    }
}

fn surfaces(policy: &Policy<Heap>) -> Vec<&'static str> {
    let used = |surface: &Surface| {
        policy.links.iter().any(|link| {
            let rule: Option<&Rule> = policy.rules.get(usize::from(link.rule));
            let target = policy.targets.get(usize::from(link.target));
            rule.is_some_and(|rule| !rule.is_default)
                && target.is_some_and(|target| target.surface == *surface)
        })
    };
    let used = Surface::ALL.into_iter().filter(used);
    used.map(Surface::name).collect()
}
