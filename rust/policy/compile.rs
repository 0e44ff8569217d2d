// SPDX-License-Identifier: GPL-2.0

//! From rules in the order of the text to chains in the order of commands.
//!
//! Each rule comes with its pairs: one for each command that it names. Sorted, the pairs of one
//! surface begin with those of `*`, and those of one command stand together in the order of the
//! rules. So each chain is the merger of two sorted runs: the command's own pairs and the `*` of
//! its surface. The work is that of sorting, plus one step for each link.

use crate::table::bucket;
use crate::{
    limits, schema, span::saturated, Action, Bucket, Condition, Entry, Grow, Head, Link,
    OutOfMemory, Policy, Range, Rule, Shortcut, Span, Surface, Target,
};

/// What the parser has read.
pub(crate) struct Draft<S: Grow> {
    pub(crate) name: Span,
    pub(crate) version: Span,
    pub(crate) rules: S::List<Rule>,
    pub(crate) default: Option<Rule>,
    pub(crate) pairs: S::List<Pair>,
    pub(crate) conditions: S::List<Condition>,
    pub(crate) ranges: S::List<Range>,
}

impl<S: Grow> Draft<S> {
    pub(crate) fn new() -> Self {
        Self {
            name: Span::default(),
            version: Span::default(),
            rules: S::empty(),
            default: None,
            pairs: S::empty(),
            conditions: S::empty(),
            ranges: S::empty(),
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
}

/// The number of a command, in the order of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    low: u8,
    command: u32,
}

impl Pair {
    pub(crate) fn new(surface: Surface, command: Option<u32>, rule: u16) -> Self {
        let number = command.map(|command| {
            let [low, ..] = command.to_le_bytes();
            Number { low, command }
        });
        Self {
            surface,
            number,
            rule,
        }
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

/// Makes the table.
pub(crate) fn compile<S: Grow>(mut draft: Draft<S>) -> Result<Policy<S>, Unfit> {
    // The parser has seen to it that there is one; without one, deny.
    let default = draft.default.unwrap_or(Rule {
        action: Action::Deny {
            errno: crate::parser::DEFAULT_ERRNO,
        },
        line: 0,
        conditions: Span::default(),
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
    };
    let mut rest = &draft.pairs[..];
    for surface in Surface::ALL {
        let pairs = take_while(&mut rest, |pair| pair.surface == surface);
        table.surface(surface, pairs, &draft.rules)?;
    }
    Ok(Policy {
        name: draft.name,
        version: draft.version,
        shortcuts: table.shortcuts,
        dispatch: table.dispatch,
        entries: table.entries,
        links: table.links,
        targets: table.targets,
        rules: draft.rules,
        conditions: draft.conditions,
        ranges: draft.ranges,
    })
}

/// The default speaks about every command, known or not.
fn pair_everything_with<S: Grow>(pairs: &mut S::List<Pair>, rule: u16) -> Result<(), OutOfMemory> {
    for surface in Surface::ALL {
        S::push(pairs, Pair::new(surface, None, rule))?;
    }
    for command in schema::commands() {
        for &surface in command.surfaces {
            for number in [command.number, command.compat_number] {
                S::push(pairs, Pair::new(surface, Some(number), rule))?;
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
}

impl<S: Grow> Table<S> {
    /// The 256 buckets of a surface.
    fn surface(&mut self, surface: Surface, pairs: &[Pair], rules: &[Rule]) -> Result<(), Unfit> {
        let mut commands = pairs;
        let stars = take_while(&mut commands, |pair| pair.number.is_none());

        // Empty buckets share this entry; the others end with a copy of it.
        let empty = Bucket {
            first: self.next_entry(),
            len: 0,
        };
        let any = self.entry(surface, None, &[], stars, rules)?;
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
                self.entry(surface, Some(number.command), own, stars, rules)?;
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
        rules: &[Rule],
    ) -> Result<Entry, Unfit> {
        let target = u16::try_from(self.targets.len()).unwrap_or(u16::MAX);
        S::push(&mut self.targets, Target { surface, command })?;
        let start = self.links.len();
        for (index, rule) in Merged::new(own, stars) {
            let Some(found) = rules.get(usize::from(rule)) else {
                break;
            };
            if self.links.len() >= limits::LINKS {
                return Err(Unfit::TooManyLinks);
            }
            S::push(&mut self.links, Link { rule, target })?;
            if index == 0 && found.is_plain_allow() {
                self.offer_shortcut(surface, command, start);
            }
            if found.is_final() {
                break;
            }
        }
        let entry = Entry {
            command: command.unwrap_or(0),
            head: Head(saturated(start)),
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

impl Iterator for Merged<'_> {
    type Item = (usize, u16);

    fn next(&mut self) -> Option<Self::Item> {
        let rule = match (self.own.first(), self.stars.first()) {
            (Some(own), Some(star)) => own.rule.min(star.rule),
            (Some(only), None) | (None, Some(only)) => only.rule,
            (None, None) => return None,
        };
        // A command that a rule names twice is there twice.
        take_while(&mut self.own, |pair| pair.rule == rule);
        take_while(&mut self.stars, |pair| pair.rule == rule);
        self.count += 1;
        Some((self.count - 1, rule))
    }
}

/// Takes the first pairs that belong together off the front.
fn take_while<'p>(pairs: &mut &'p [Pair], belongs: impl Fn(&Pair) -> bool) -> &'p [Pair] {
    let len = pairs.iter().take_while(|pair| belongs(pair)).count();
    let (front, rest) = pairs.split_at_checked(len).unwrap_or((pairs, &[]));
    *pairs = rest;
    front
}
