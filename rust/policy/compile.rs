// SPDX-License-Identifier: GPL-2.0

//! From rules in the order of the text to chains in the order of commands.
//!
//! Limits are rules in front of all others of their profile. Each rule comes with its pairs: one for each command that it names. Sorted, the pairs of one
//! profile and surface begin with those of `*`, and those of one command stand together in the order of
//! the rules. So each chain is the merger of two sorted runs: the command's own pairs and the `*` of
//! its surface. The work is that of sorting, plus one step for each link.
//!
//! Every section has every command that the schema or some profile names, so that a call is found at
//! the same place, and counted under the same command, whoever makes it.

use crate::need::Needed;
use crate::rule::Layout;
use crate::schema::{self, Command};
use crate::table::{bucket, BUCKETS};
use crate::{did, noted};
use crate::{
    limits, span::saturated, Action, Bucket, Check, Condition, Conditions, Did, Entry, Follow,
    Grow, Head, Link, Match, Need, OutOfMemory, Phase, Policy, Profile, ProfileId, Range, Rate,
    Rule, Section, Shortcut, Span, Surface, Target, Term,
};

/// What the parser has read.
pub(crate) struct Draft<S: Grow> {
    pub(crate) name: Span,
    pub(crate) version: Span,
    /// In the order of the text, `other` being the last.
    pub(crate) profiles: S::List<Beginning>,
    pub(crate) matches: S::List<Match>,
    pub(crate) ids: S::List<Range>,
    pub(crate) patterns: S::List<Span>,
    pub(crate) pattern_bytes: S::List<u8>,
    pub(crate) rates: S::List<Rate>,
    pub(crate) dids: S::List<Did>,
    pub(crate) rules: S::List<Rule>,
    pub(crate) pairs: S::List<Pair>,
    pub(crate) tests: S::List<Read>,
    pub(crate) checks: S::List<Check>,
    pub(crate) conditions: S::List<Condition>,
    pub(crate) ranges: S::List<Range>,
    pub(crate) terms: S::List<Term>,
}

/// A profile, and what becomes of calls that none of its rules decides about.
#[derive(Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) name: Span,
    pub(crate) line: u32,
    pub(crate) matches: Span,
    pub(crate) rates: Span,
    pub(crate) default: Option<Rule>,
}

/// The conditions of a rule, read for one layout of the argument.
#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub(crate) layout: Layout,
    pub(crate) conditions: Conditions,
}

impl<S: Grow> Draft<S> {
    pub(crate) fn new() -> Self {
        Self {
            name: Span::default(),
            version: Span::default(),
            profiles: S::empty(),
            matches: S::empty(),
            ids: S::empty(),
            patterns: S::empty(),
            pattern_bytes: S::empty(),
            rates: S::empty(),
            dids: S::empty(),
            rules: S::empty(),
            pairs: S::empty(),
            tests: S::empty(),
            checks: S::empty(),
            conditions: S::empty(),
            ranges: S::empty(),
            terms: S::empty(),
        }
    }
}

/// A command and a rule that names it. The order of the fields is the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    profile: u16,
    target: Key,
    turn: Turn,
    /// The phase that the rule is for; without one, it is for both.
    phase: Option<Phase>,
    /// The command, where the number has a name: its place in the schema.
    command: Option<u16>,
    /// The conditions, in [`Draft::tests`].
    tests: Option<u32>,
}

/// When a rule has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    is_behind_limits: bool,
    rule: u16,
}

impl Turn {
    pub(crate) fn of_rule(rule: u16) -> Self {
        Self {
            is_behind_limits: true,
            rule,
        }
    }

    pub(crate) fn of_limit(rule: u16) -> Self {
        Self {
            is_behind_limits: false,
            rule,
        }
    }
}

/// What a chain is for, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    surface: Surface,
    /// `None`: every command of the surface.
    number: Option<Number>,
}

/// The number of a command, in the order of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    low: u8,
    command: u32,
}

impl Key {
    fn new(surface: Surface, number: Option<u32>) -> Self {
        let number = number.map(|command| {
            let [low, ..] = command.to_le_bytes();
            Number { low, command }
        });
        Self { surface, number }
    }

    /// The command, if it changes what is known.
    fn noted(&self, dids: &[Did]) -> Option<&'static Command> {
        let number = self.number?.command;
        noted::find(self.surface, number).or_else(|| did::asked_for(dids, self.surface, number))
    }
}

impl Pair {
    pub(crate) fn new(
        profile: u16,
        surface: Surface,
        number: Option<u32>,
        turn: Turn,
        command: Option<&'static Command>,
    ) -> Self {
        Self {
            profile,
            target: Key::new(surface, number),
            turn,
            phase: None,
            command: command.and_then(schema::index_of),
            tests: None,
        }
    }

    pub(crate) fn surface(&self) -> Surface {
        self.target.surface
    }

    fn rule(&self) -> usize {
        usize::from(self.turn.rule)
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.phase = Some(phase);
    }

    pub(crate) fn set_tests(&mut self, tests: usize) {
        self.tests = Some(saturated(tests));
    }

    pub(crate) fn command(&self) -> Option<&'static Command> {
        schema::commands().get(usize::from(self.command?))
    }

    pub(crate) fn is(&self, number: u32) -> bool {
        self.target.number.is_some_and(|own| own.command == number)
    }
}

/// Why rules without a mistake make no table.
pub(crate) enum Unfit {
    OutOfMemory,
    /// More than [`limits::LINKS`].
    TooManyLinks,
}

impl From<OutOfMemory> for Unfit {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// A rule that does nothing.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    /// Its line.
    pub(crate) line: u32,
    pub(crate) why: Why,
}

/// Why a rule does nothing.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    /// No call reaches it: the rule on this line decides about all of them.
    Shadowed(u32),
    /// It limits calls that are denied anyway.
    Denied,
}

/// Makes the table. Tells of the first rules that do nothing.
pub(crate) fn compile<S: Grow>(mut draft: Draft<S>) -> Result<(Policy<S>, S::List<Idle>), Unfit> {
    defaults(&mut draft)?;
    crate::sort::sort(S::items(&mut draft.pairs));
    let keys = keys::<S>(&draft.pairs)?;

    let mut table = Table::<S> {
        shortcuts: S::empty(),
        dispatch: S::empty(),
        entries: S::empty(),
        links: S::empty(),
        targets: S::empty(),
        needs: S::empty(),
        follows: S::empty(),
        useful: S::zeroed(draft.rules.len())?,
        section: Section::FIRST,
        section_entries: 0,
    };
    S::push(&mut table.needs, Need::default())?;
    for key in keys.iter() {
        let (surface, command) = (key.surface, key.number.map(|number| number.command));
        S::push(&mut table.targets, Target { surface, command })?;
    }
    let mut profiles = S::empty();
    let mut rest = &draft.pairs[..];
    for id in 0..draft.profiles.len() {
        // `other` is the last of the text and the first of the table.
        let place = id.checked_sub(1).unwrap_or(draft.profiles.len() - 1);
        let Some(&Beginning {
            name,
            line,
            matches,
            rates,
            ..
        }) = draft.profiles.get(place)
        else {
            break;
        };
        let pairs = take_while(&mut rest, |pair| usize::from(pair.profile) == id);
        let setup;
        let running;
        if pairs.iter().any(|pair| pair.phase.is_some()) {
            setup = table.section(&in_phase::<S>(pairs, Phase::Setup)?, &keys, &draft)?;
            running = table.section(&in_phase::<S>(pairs, Phase::Running)?, &keys, &draft)?;
        } else {
            setup = table.section(pairs, &keys, &draft)?;
            running = setup;
        }
        let profile = Profile {
            name,
            line,
            matches,
            rates,
            setup,
            running,
        };
        S::push(&mut profiles, profile)?;
    }
    // Who runs a vCPU is seen only where no `KVM_RUN` passes unseen.
    let asks_for_vcpus = table.needs.iter().any(Need::asks_for_vcpus);
    let (shortcuts, section_shortcuts) = if table.section.0 > 1 || asks_for_vcpus {
        (S::empty(), table.shortcuts)
    } else {
        (table.shortcuts, S::empty())
    };
    let policy = Policy {
        name: draft.name,
        version: draft.version,
        profiles,
        matches: draft.matches,
        ids: draft.ids,
        patterns: draft.patterns,
        pattern_bytes: draft.pattern_bytes,
        rates: draft.rates,
        dids: draft.dids,
        shortcuts,
        section_shortcuts,
        dispatch: table.dispatch,
        section_entries: table.section_entries,
        entries: table.entries,
        links: table.links,
        targets: table.targets,
        rules: draft.rules,
        checks: draft.checks,
        conditions: draft.conditions,
        ranges: draft.ranges,
        terms: draft.terms,
        needs: table.needs,
        follows: table.follows,
    };
    let idle = idle(&policy, &draft.pairs, &mut table.useful)?;
    Ok((policy, idle))
}

/// Puts the defaults behind the rules, in the order of the text: each speaks about every command,
/// known or not.
fn defaults<S: Grow>(draft: &mut Draft<S>) -> Result<(), OutOfMemory> {
    for place in 0..draft.profiles.len() {
        let is_other = place + 1 == draft.profiles.len();
        let profile = if is_other { 0 } else { place + 1 };
        // `limits` keeps both within 16 bits.
        let profile = u16::try_from(profile).unwrap_or(u16::MAX);
        let rule = u16::try_from(draft.rules.len()).unwrap_or(u16::MAX);
        let beginning = draft.profiles.get(place);
        // The parser has seen to it that there is one; without one, deny.
        let default = beginning.and_then(|beginning| beginning.default);
        let default = default.unwrap_or(Rule {
            action: Action::Deny {
                errno: crate::parser::DEFAULT_ERRNO,
            },
            line: 0,
            is_conditional: false,
            reason: Span::default(),
            is_default: true,
            is_limit: false,
            profile,
        });
        S::push(&mut draft.rules, default)?;
        for surface in Surface::ALL {
            let pair = Pair::new(profile, surface, None, Turn::of_rule(rule), None);
            S::push(&mut draft.pairs, pair)?;
        }
    }
    Ok(())
}

/// What there must be a chain for: every command that the schema or a rule names, each once, in the
/// order of the table; and for each surface all others.
fn keys<S: Grow>(pairs: &[Pair]) -> Result<S::List<Key>, OutOfMemory> {
    let mut all = S::empty();
    // Those of a profile are sorted: equal ones are neighbours.
    let mut last = None;
    for pair in pairs {
        if last != Some(pair.target) {
            S::push(&mut all, pair.target)?;
            last = Some(pair.target);
        }
    }
    for surface in Surface::ALL {
        S::push(&mut all, Key::new(surface, None))?;
    }
    for command in schema::commands() {
        for surface in command.surfaces() {
            for number in [command.number, command.compat_number] {
                S::push(&mut all, Key::new(surface, Some(number)))?;
            }
        }
    }
    crate::sort::sort(S::items(&mut all));
    let mut once = S::empty();
    for &key in all.iter() {
        if once.last() != Some(&key) {
            S::push(&mut once, key)?;
        }
    }
    Ok(once)
}

/// The pairs that count in a phase.
fn in_phase<S: Grow>(pairs: &[Pair], phase: Phase) -> Result<S::List<Pair>, OutOfMemory> {
    let mut list = S::empty();
    for &pair in pairs {
        if pair.phase.is_none_or(|own| own == phase) {
            S::push(&mut list, pair)?;
        }
    }
    Ok(list)
}

/// The first rules that stand in no chain, and limits in front of none that allows something, in any
/// order.
fn idle<S: Grow>(
    policy: &Policy<S>,
    pairs: &[Pair],
    useful: &mut S::List<u8>,
) -> Result<S::List<Idle>, OutOfMemory> {
    let mut list = S::empty();
    for pair in pairs {
        let Some(useful) = S::items(useful).get_mut(pair.rule()) else {
            continue;
        };
        let Some(rule) = policy.rules.get(pair.rule()) else {
            continue;
        };
        if *useful != 0 || list.len() > limits::DIAGNOSES {
            continue;
        }
        *useful = 1;
        let line = rule.line;
        if rule.is_limit {
            let why = Why::Denied;
            S::push(&mut list, Idle { line, why })?;
            continue;
        }
        let command = pair.target.number.map_or(u32::MAX, |number| number.command);
        let phase = pair.phase.unwrap_or(Phase::Setup);
        let section = policy.section(ProfileId(pair.profile), phase);
        let head = section.and_then(|section| policy.head_in(section, pair.surface(), command));
        let last = head.and_then(|head| {
            let chain = policy.links.get(crate::fetch::size(head.link)..)?;
            chain.iter().find_map(|link| {
                policy
                    .rules
                    .get(usize::from(link.rule))
                    .filter(|rule| rule.is_final())
            })
        });
        if let Some(last) = last {
            let why = Why::Shadowed(last.line);
            S::push(&mut list, Idle { line, why })?;
        }
    }
    Ok(list)
}

/// The lists of the table that grow from section to section.
struct Table<S: Grow> {
    shortcuts: S::List<Shortcut>,
    dispatch: S::List<Bucket>,
    entries: S::List<Entry>,
    links: S::List<Link>,
    targets: S::List<Target>,
    needs: S::List<Need>,
    follows: S::List<Follow>,
    /// Which rules stand in some chain; of limits, in one that allows something.
    useful: S::List<u8>,
    /// The section that is being made.
    section: Section,
    /// How many entries each of those before it has.
    section_entries: u32,
}

/// The keys that are left, and the pairs of a section that are.
struct Left<'d> {
    keys: &'d [Key],
    /// The place of the first of the keys, which is that of its target.
    place: u16,
    pairs: &'d [Pair],
}

impl<S: Grow> Table<S> {
    /// The chains of a profile, or of one of its phases.
    fn section(
        &mut self,
        pairs: &[Pair],
        keys: &[Key],
        draft: &Draft<S>,
    ) -> Result<Section, Unfit> {
        let section = self.section;
        let first = self.entries.len();
        let mut left = Left {
            keys,
            place: 0,
            pairs,
        };
        for surface in Surface::ALL {
            self.surface(surface, &mut left, draft)?;
        }
        self.section_entries = saturated(self.entries.len() - first);
        // `limits` keeps it within 16 bits.
        self.section = Section(section.0.saturating_add(1));
        Ok(section)
    }

    /// The 256 buckets of a surface.
    fn surface(
        &mut self,
        surface: Surface,
        left: &mut Left<'_>,
        draft: &Draft<S>,
    ) -> Result<(), Unfit> {
        let stars = take_while(&mut left.pairs, |pair| {
            pair.surface() == surface && pair.target.number.is_none()
        });
        // Empty buckets share this entry; the others end with a copy of it.
        let empty = Bucket {
            first: self.next_entry(),
            len: 0,
        };
        let any = self.entry(left, &[], stars, draft)?;
        let first_bucket = self.dispatch.len();
        let is_first = self.section == Section::FIRST;
        for low in 0..=u8::MAX {
            S::push(&mut self.shortcuts, Shortcut::none(low))?;
        }
        let number_of = |key: &Key| key.number.filter(|_| key.surface == surface);
        while let Some(first) = left.keys.first().and_then(number_of) {
            while is_first && self.dispatch.len() - first_bucket < usize::from(first.low) {
                S::push(&mut self.dispatch, empty)?;
            }
            let start = self.next_entry();
            while let Some(number) = left.keys.first().and_then(number_of) {
                if number.low != first.low {
                    break;
                }
                let own = take_while(&mut left.pairs, |pair| {
                    pair.surface() == surface && pair.target.number == Some(number)
                });
                self.entry(left, own, stars, draft)?;
            }
            if is_first {
                let len = self.next_entry().saturating_sub(start);
                S::push(&mut self.dispatch, Bucket { first: start, len })?;
            }
            S::push(&mut self.entries, any)?;
        }
        while is_first && self.dispatch.len() - first_bucket < 256 {
            S::push(&mut self.dispatch, empty)?;
        }
        Ok(())
    }

    /// The entry of the first key that is left, with its chain.
    fn entry(
        &mut self,
        left: &mut Left<'_>,
        own: &[Pair],
        stars: &[Pair],
        draft: &Draft<S>,
    ) -> Result<Entry, Unfit> {
        let target = left.place;
        let key = left.keys.first().copied();
        left.keys = left.keys.get(1..).unwrap_or_default();
        left.place = left.place.saturating_add(1);
        let command = key.and_then(|key| key.number).map(|number| number.command);
        let start = self.links.len();
        let noted = key.and_then(|key| key.noted(&draft.dids));
        let mut need = Needed::new(own.first().and_then(Pair::command).or(noted));
        let mut named = None;
        for (index, pair) in Merged::new(own, stars) {
            let Some(found) = draft.rules.get(pair.rule()) else {
                break;
            };
            if self.links.len() >= limits::LINKS {
                return Err(Unfit::TooManyLinks);
            }
            let tests = pair
                .tests
                .and_then(|tests| draft.tests.get(crate::fetch::size(tests)));
            let conditions = tests.map_or_else(Conditions::default, |tests| tests.conditions);
            S::push(
                &mut self.links,
                Link {
                    rule: pair.turn.rule,
                    target,
                    conditions,
                },
            )?;
            need.add::<S>(draft, conditions);
            named = named.or(pair.command());
            if let (0, true, Some(key), None) = (index, found.is_plain_allow(), key, noted) {
                self.offer_shortcut(key, start);
            }
            if found.is_final() {
                break;
            }
        }
        let links = self.links.get(start..).unwrap_or_default();
        let rule_of = |link: &Link| draft.rules.get(usize::from(link.rule));
        let mut rules = links.iter().filter_map(rule_of);
        let allows = rules.any(|rule| rule.action == Action::Allow);
        for link in links {
            if rule_of(link).is_some_and(|rule| allows || !rule.is_limit) {
                if let Some(useful) = S::items(&mut self.useful).get_mut(usize::from(link.rule)) {
                    *useful = 1;
                }
            }
        }
        need.add_slot(named);
        // What is refused in any case does nothing that could be noted.
        if let (Some(noted), Some(number), true) = (noted, command, allows) {
            need.add_noted(noted, number);
        }
        let entry = Entry {
            command: command.unwrap_or(0),
            head: Head {
                link: saturated(start),
                need: need.note(draft, links, &mut self.needs, &mut self.follows)?,
            },
        };
        S::push(&mut self.entries, entry)?;
        Ok(entry)
    }

    /// Lets a plainly allowed command have the shortcut of its bucket, if it is the first.
    fn offer_shortcut(&mut self, key: Key, link: usize) {
        let Some(Number { low, command }) = key.number else {
            return;
        };
        let place = usize::from(self.section.0) * BUCKETS + bucket(key.surface, command);
        if let Some(shortcut) = S::items(&mut self.shortcuts).get_mut(place) {
            if *shortcut == Shortcut::none(low) {
                *shortcut = Shortcut {
                    command,
                    link: saturated(link),
                };
            }
        }
    }

    /// The place of the next entry in its section. `limits` keeps it within 16 bits.
    fn next_entry(&self) -> u16 {
        let before = usize::from(self.section.0) * crate::fetch::size(self.section_entries);
        u16::try_from(self.entries.len().saturating_sub(before)).unwrap_or(u16::MAX)
    }
}

/// The rules of two sorted runs of pairs in their order, each once, counted from 0.
struct Merged<'p> {
    own: &'p [Pair],
    stars: &'p [Pair],
    count: usize,
}

impl<'p> Merged<'p> {
    fn new(own: &'p [Pair], stars: &'p [Pair]) -> Self {
        Self {
            own,
            stars,
            count: 0,
        }
    }
}

impl<'p> Iterator for Merged<'p> {
    type Item = (usize, &'p Pair);

    fn next(&mut self) -> Option<Self::Item> {
        let pair = match (self.own.first(), self.stars.first()) {
            (Some(own), Some(star)) if star.turn < own.turn => star,
            (Some(own), _) => own,
            (None, Some(star)) => star,
            (None, None) => return None,
        };
        // A command that a rule names twice is there twice; the default is in both.
        take_while(&mut self.own, |own| own.turn == pair.turn);
        take_while(&mut self.stars, |star| star.turn == pair.turn);
        self.count += 1;
        Some((self.count - 1, pair))
    }
}

/// Takes the first pairs that belong together off the front.
fn take_while<'p>(pairs: &mut &'p [Pair], belongs: impl Fn(&Pair) -> bool) -> &'p [Pair] {
    let len = pairs.iter().take_while(|pair| belongs(pair)).count();
    let (front, rest) = pairs.split_at_checked(len).unwrap_or((pairs, &[]));
    *pairs = rest;
    front
}
