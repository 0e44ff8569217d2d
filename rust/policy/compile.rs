// SPDX-License-Identifier: GPL-2.0

//! From rules in the order of the text to chains in the order of commands.
//!
//! Each rule comes with its pairs: one for each command that it names. Sorted, the pairs of one
//! surface begin with those of `*`, and those of one command stand together in the order of the
//! rules. So each chain is the merger of two sorted runs: the command's own pairs and the `*` of
//! its surface. The work is that of sorting, plus one step for each link.

use crate::need::Needed;
use crate::rule::Layout;
use crate::schema::{self, Command};
use crate::table::bucket;
use crate::{
    limits, span::saturated, Action, Bucket, Check, Condition, Conditions, Entry, Follow, Grow,
    Head, Link, Need, OutOfMemory, Policy, Range, Rule, Shortcut, Span, Surface, Target, Term,
};

/// What the parser has read.
pub(crate) struct Draft<S: Grow> {
    pub(crate) name: Span,
    pub(crate) version: Span,
    pub(crate) rules: S::List<Rule>,
    pub(crate) default: Option<Rule>,
    pub(crate) pairs: S::List<Pair>,
    pub(crate) tests: S::List<Read>,
    pub(crate) checks: S::List<Check>,
    pub(crate) conditions: S::List<Condition>,
    pub(crate) ranges: S::List<Range>,
    pub(crate) terms: S::List<Term>,
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
            rules: S::empty(),
            default: None,
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
    surface: Surface,
    /// `None`: every command of the surface.
    number: Option<Number>,
    rule: u16,
    /// The command, where the number has a name: its place in the schema.
    command: Option<u16>,
    /// The conditions, in [`Draft::tests`].
    tests: Option<u32>,
}

/// The number of a command, in the order of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    low: u8,
    command: u32,
}

impl Pair {
    pub(crate) fn new(
        surface: Surface,
        number: Option<u32>,
        rule: u16,
        command: Option<&'static Command>,
    ) -> Self {
        let number = number.map(|command| {
            let [low, ..] = command.to_le_bytes();
            Number { low, command }
        });
        Self {
            surface,
            number,
            rule,
            command: command.and_then(schema::index_of),
            tests: None,
        }
    }

    pub(crate) fn set_tests(&mut self, tests: usize) {
        self.tests = Some(saturated(tests));
    }

    pub(crate) fn command(&self) -> Option<&'static Command> {
        schema::commands().get(usize::from(self.command?))
    }

    pub(crate) fn is(&self, number: u32) -> bool {
        self.number.is_some_and(|own| own.command == number)
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

/// A rule that no call reaches, and the rule in front of it that decides about all of them.
#[derive(Clone, Copy)]
pub(crate) struct Shadowed {
    pub(crate) rule: u32,
    pub(crate) by: u32,
}

/// Makes the table. Tells of the first rules that no call reaches, by their lines.
pub(crate) fn compile<S: Grow>(
    mut draft: Draft<S>,
) -> Result<(Policy<S>, S::List<Shadowed>), Unfit> {
    // The parser has seen to it that there is one; without one, deny.
    let default = draft.default.unwrap_or(Rule {
        action: Action::Deny {
            errno: crate::parser::DEFAULT_ERRNO,
        },
        line: 0,
        is_conditional: false,
        reason: Span::default(),
        is_default: true,
    });
    let default_index = u16::try_from(draft.rules.len()).unwrap_or(u16::MAX);
    S::push(&mut draft.rules, default)?;
    pair_everything_with::<S>(&mut draft.pairs, default_index)?;
    crate::sort::sort(S::items(&mut draft.pairs));

    let mut table = Table::<S> {
        shortcuts: S::empty(),
        dispatch: S::empty(),
        entries: S::empty(),
        links: S::empty(),
        targets: S::empty(),
        needs: S::empty(),
        follows: S::empty(),
        reached: S::zeroed(draft.rules.len())?,
    };
    S::push(&mut table.needs, Need::default())?;
    let mut rest = &draft.pairs[..];
    for surface in Surface::ALL {
        let pairs = take_while(&mut rest, |pair| pair.surface == surface);
        table.surface(surface, pairs, &draft)?;
    }
    let policy = Policy {
        name: draft.name,
        version: draft.version,
        shortcuts: table.shortcuts,
        dispatch: table.dispatch,
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
    let shadowed = shadowed(&policy, &draft.pairs, &mut table.reached)?;
    Ok((policy, shadowed))
}

/// The first rules that stand in no chain, in any order.
fn shadowed<S: Grow>(
    policy: &Policy<S>,
    pairs: &[Pair],
    reached: &mut S::List<u8>,
) -> Result<S::List<Shadowed>, OutOfMemory> {
    let mut list = S::empty();
    for pair in pairs {
        let Some(reached) = S::items(reached).get_mut(usize::from(pair.rule)) else {
            continue;
        };
        if *reached != 0 || list.len() > limits::DIAGNOSES {
            continue;
        }
        *reached = 1;
        let command = pair.number.map_or(u32::MAX, |number| number.command);
        let last = policy.head(pair.surface, command).and_then(|head| {
            let chain = policy.links.get(crate::fetch::size(head.link)..)?;
            chain.iter().find_map(|link| {
                policy
                    .rules
                    .get(usize::from(link.rule))
                    .filter(|rule| rule.is_final())
            })
        });
        if let (Some(rule), Some(last)) = (policy.rules.get(usize::from(pair.rule)), last) {
            S::push(
                &mut list,
                Shadowed {
                    rule: rule.line,
                    by: last.line,
                },
            )?;
        }
    }
    Ok(list)
}

/// The default speaks about every command, known or not.
fn pair_everything_with<S: Grow>(pairs: &mut S::List<Pair>, rule: u16) -> Result<(), OutOfMemory> {
    for surface in Surface::ALL {
        S::push(pairs, Pair::new(surface, None, rule, None))?;
    }
    for command in schema::commands() {
        for surface in command.surfaces() {
            for number in [command.number, command.compat_number] {
                S::push(pairs, Pair::new(surface, Some(number), rule, Some(command)))?;
            }
        }
    }
    Ok(())
}

/// The lists of the table that grow from surface to surface.
struct Table<S: Grow> {
    shortcuts: S::List<Shortcut>,
    dispatch: S::List<Bucket>,
    entries: S::List<Entry>,
    links: S::List<Link>,
    targets: S::List<Target>,
    needs: S::List<Need>,
    follows: S::List<Follow>,
    /// Which rules stand in some chain.
    reached: S::List<u8>,
}

impl<S: Grow> Table<S> {
    /// The 256 buckets of a surface.
    fn surface(&mut self, surface: Surface, pairs: &[Pair], draft: &Draft<S>) -> Result<(), Unfit> {
        let mut commands = pairs;
        let stars = take_while(&mut commands, |pair| pair.number.is_none());

        // Empty buckets share this entry; the others end with a copy of it.
        let empty = Bucket {
            first: self.next_entry(),
            len: 0,
        };
        let any = self.entry(surface, None, &[], stars, draft)?;
        let first_bucket = self.dispatch.len();
        for low in 0..=u8::MAX {
            S::push(&mut self.shortcuts, Shortcut::none(low))?;
        }
        while let Some(first) = commands.first().and_then(|pair| pair.number) {
            let mut bucket = take_while(&mut commands, |pair| {
                pair.number.is_some_and(|number| number.low == first.low)
            });
            while self.dispatch.len() - first_bucket < usize::from(first.low) {
                S::push(&mut self.dispatch, empty)?;
            }
            let start = self.next_entry();
            while let Some(number) = bucket.first().and_then(|pair| pair.number) {
                let own = take_while(&mut bucket, |pair| pair.number == Some(number));
                self.entry(surface, Some(number.command), own, stars, draft)?;
            }
            let len = self.next_entry().saturating_sub(start);
            S::push(&mut self.dispatch, Bucket { first: start, len })?;
            S::push(&mut self.entries, any)?;
        }
        while self.dispatch.len() - first_bucket < 256 {
            S::push(&mut self.dispatch, empty)?;
        }
        Ok(())
    }

    /// The entry of one command, with its chain.
    fn entry(
        &mut self,
        surface: Surface,
        command: Option<u32>,
        own: &[Pair],
        stars: &[Pair],
        draft: &Draft<S>,
    ) -> Result<Entry, Unfit> {
        let target = u16::try_from(self.targets.len()).unwrap_or(u16::MAX);
        S::push(&mut self.targets, Target { surface, command })?;
        let start = self.links.len();
        let mut need = Needed::new(own.first().and_then(Pair::command));
        for (index, pair) in Merged::new(own, stars) {
            let Some(found) = draft.rules.get(usize::from(pair.rule)) else {
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
                    rule: pair.rule,
                    target,
                    conditions,
                },
            )?;
            need.add::<S>(draft, conditions);
            if let Some(reached) = S::items(&mut self.reached).get_mut(usize::from(pair.rule)) {
                *reached = 1;
            }
            if index == 0 && found.is_plain_allow() {
                self.offer_shortcut(surface, command, start);
            }
            if found.is_final() {
                break;
            }
        }
        let links = self.links.get(start..).unwrap_or_default();
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
    fn offer_shortcut(&mut self, surface: Surface, command: Option<u32>, link: usize) {
        let Some(command) = command else { return };
        let [low, ..] = command.to_le_bytes();
        let bucket = bucket(surface, command);
        if let Some(shortcut) = S::items(&mut self.shortcuts).get_mut(bucket) {
            if *shortcut == Shortcut::none(low) {
                *shortcut = Shortcut {
                    command,
                    link: saturated(link),
                };
            }
        }
    }

    /// `limits` keeps entries within 16 bits.
    fn next_entry(&self) -> u16 {
        u16::try_from(self.entries.len()).unwrap_or(u16::MAX)
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
            (Some(own), Some(star)) if star.rule < own.rule => star,
            (Some(own), _) => own,
            (None, Some(star)) => star,
            (None, None) => return None,
        };
        // A command that a rule names twice is there twice; the default is in both.
        take_while(&mut self.own, |own| own.rule == pair.rule);
        take_while(&mut self.stars, |star| star.rule == pair.rule);
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
