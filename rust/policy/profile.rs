// SPDX-License-Identifier: GPL-2.0

//! Profiles: `profile NAME`, and `match WHAT VALUE, ...`, which says whom it speaks for.

use crate::caller::By;
use crate::compile::Beginning;
use crate::diagnosis::{Fault, Mistake};
use crate::lexer::{Lexer, Sign, Token, TokenKind};
use crate::limit::Quantity;
use crate::parser::{expected, line_end, name, Parser, Seen};
use crate::{limits, number, Expected, Grow, Kind, Match, OutOfMemory, Range, Span};

/// The profile that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    name: Span,
    is_other: bool,
    /// Where its default was.
    pub(crate) default: Seen,
    /// The lines of its `match`, in the order of [`By::ALL`].
    matched: [Option<u32>; By::ALL.len()],
    /// The lines of its limits, in the order of [`Quantity::ALL`]: of each VM, and of all together.
    pub(crate) limited: [[Option<u32>; 2]; Quantity::ALL.len()],
    /// Whether it has a `match`, be it one with a mistake.
    has_match: bool,
    /// Whether it has a rule or a default.
    has_rules: bool,
    /// Whether a mistake has been noted that makes others likely: one is enough.
    pub(crate) is_assumed: bool,
}

impl Open {
    /// In the place of one that should be there.
    fn assumed() -> Self {
        Self {
            name: Span::default(),
            is_other: false,
            default: Seen::No,
            matched: [None; By::ALL.len()],
            limited: [[None; 2]; Quantity::ALL.len()],
            has_match: false,
            has_rules: false,
            is_assumed: true,
        }
    }
}

impl<'t, S: Grow> Parser<'t, S> {
    /// `profile NAME`
    pub(crate) fn profile(&mut self, lexer: &mut Lexer<'t>) -> Result<(), Fault> {
        // A default in front of the first profile was meant for it.
        let is_first = !core::mem::replace(&mut self.has_profile, true);
        let default = match self.open {
            Some(open) if is_first => open.default,
            _ => Seen::No,
        };
        self.close_profile()?;
        self.open = Some(Open::assumed());
        let name = name(
            lexer,
            Expected::ProfileName,
            limits::NAME_BYTES,
            Kind::NameCharacter,
            Kind::NameTooLong,
        )?;
        let mistake = |kind| Err(Mistake::new(name, kind).into());
        let is_called = |other: &&Beginning| self.str(other.name) == self.str(name);
        if let Some(&Beginning { line, .. }) = self.draft.profiles.iter().find(is_called) {
            return mistake(Kind::ProfileAgain { line });
        }
        let last = self.draft.profiles.last();
        if let Some(last) = last.filter(|last| self.str(last.name) == "other") {
            return mistake(Kind::ProfileBehindOther { line: last.line });
        }
        if self.draft.profiles.len() >= limits::PROFILES {
            return mistake(Kind::TooManyProfiles);
        }
        line_end(lexer)?;
        let is_other = self.str(name) == "other";
        let start = self.draft.matches.len();
        let rates = self.draft.rates.len();
        let beginning = Beginning {
            name,
            line: self.line(),
            matches: Span::between(start, start),
            rates: Span::between(rates, rates),
            default: None,
        };
        S::push(&mut self.draft.profiles, beginning)?;
        self.open = Some(Open {
            name,
            is_other,
            default,
            is_assumed: false,
            ..Open::assumed()
        });
        Ok(())
    }

    /// What the profile that is being read is in the table: its place there.
    pub(crate) fn profile_id(&self) -> u16 {
        match self.open {
            Some(open) if open.is_other => 0,
            // `limits` keeps it within 16 bits.
            _ => u16::try_from(self.draft.profiles.len()).unwrap_or(u16::MAX),
        }
    }

    /// A rule or default that stands before the profile is one mistake, not one for each of them.
    pub(crate) fn inside_profile(&mut self, first: Token) -> Result<(), Fault> {
        if self.open.is_none() {
            self.open = Some(Open::assumed());
            self.note(Mistake::new(first.span, Kind::OutsideProfile).into())?;
        }
        if let Some(open) = &mut self.open {
            open.has_rules = true;
        }
        Ok(())
    }

    /// Looks whether the profile that has been read has what it needs.
    pub(crate) fn close_profile(&mut self) -> Result<(), OutOfMemory> {
        let Some(open) = self.open.take().filter(|open| !open.is_assumed) else {
            return Ok(());
        };
        let note = |parser: &mut Self, kind| parser.note(Mistake::new(open.name, kind).into());
        if !open.is_other && !open.has_match {
            note(self, Kind::MatchMissing)?;
        }
        if matches!(open.default, Seen::No) {
            note(self, Kind::DefaultMissing)?;
        }
        let is_by = |by: &By| open.matched.get(*by as usize).is_some_and(Option::is_some);
        let mut by = By::ALL.into_iter().filter(is_by);
        match (by.next(), by.next()) {
            (Some(By::Comm), None) => self.odd(Mistake::new(open.name, Kind::OnlyComm)),
            _ => Ok(()),
        }
    }

    /// `match WHAT VALUE, ...`
    pub(crate) fn matching(&mut self, lexer: &mut Lexer<'t>, first: Token) -> Result<(), Fault> {
        let mistake = |kind| Err(Mistake::new(first.span, kind).into());
        let Some(open) = &mut self.open else {
            self.open = Some(Open::assumed());
            return mistake(Kind::OutsideProfile);
        };
        open.has_match = true;
        let has_rules = open.has_rules;
        if open.is_other {
            return mistake(Kind::MatchInOther);
        }
        let word = lexer.next();
        let Some(by) = By::from_name(lexer.str(word)) else {
            return Err(match word.kind {
                TokenKind::Word => Mistake::new(word.span, Kind::UnknownBy).into(),
                _ => expected(word, Expected::By),
            });
        };
        let line = self.line();
        let seen = self.open.as_mut();
        let seen = seen.and_then(|open| open.matched.get_mut(by as usize));
        if let Some(line) = seen.and_then(|seen| seen.replace(line)) {
            return Err(Mistake::new(word.span, Kind::MatchAgain { line }).into());
        }
        if has_rules {
            return mistake(Kind::MatchBehindRules);
        }
        let ids = self.draft.ids.len();
        let patterns = self.draft.patterns.len();
        for count in 0.. {
            let value = self.value_of(lexer, by)?;
            if count >= limits::MATCH_VALUES {
                return Err(Mistake::new(value, Kind::TooManyValues).into());
            }
            let next = lexer.next();
            match next.kind {
                TokenKind::End => break,
                TokenKind::Sign(Sign::Comma) => {}
                _ => return Err(expected(next, Expected::AfterMatchValue)),
            }
        }
        let any_of = match by.is_number() {
            true => Span::between(ids, self.draft.ids.len()),
            false => Span::between(patterns, self.draft.patterns.len()),
        };
        S::push(&mut self.draft.matches, Match { by, any_of })?;
        let end = self.draft.matches.len();
        if let Some(profile) = S::items(&mut self.draft.profiles).last_mut() {
            let start = profile.matches.start as usize;
            profile.matches = Span::between(start, end);
        }
        Ok(())
    }

    /// One value; returns where it stands.
    fn value_of(&mut self, lexer: &mut Lexer<'t>, by: By) -> Result<Span, Fault> {
        if by.is_number() {
            return self.ids(lexer, by);
        }
        let (whole, span) = pattern(lexer, by)?;
        let text = self.str(span);
        if let Some(kind) = flaw(text, by) {
            return Err(Mistake::new(whole, kind).into());
        }
        let start = self.draft.pattern_bytes.len();
        for &byte in text.as_bytes() {
            S::push(&mut self.draft.pattern_bytes, byte)?;
        }
        let end = self.draft.pattern_bytes.len();
        S::push(&mut self.draft.patterns, Span::between(start, end))?;
        Ok(whole)
    }

    /// `1000` or `1000..1999`
    fn ids(&mut self, lexer: &mut Lexer<'t>, by: By) -> Result<Span, Fault> {
        let first = lexer.peek();
        let low = id(lexer, by)?;
        let mut high = low;
        if lexer.peek().kind == TokenKind::Sign(Sign::DotDot) {
            lexer.next();
            high = id(lexer, by)?;
        }
        let whole = first.span.up_to(lexer.last());
        if high < low {
            return Err(Mistake::new(whole, Kind::RangeUpsideDown).into());
        }
        let range = Range {
            first: low,
            last: high,
        };
        S::push(&mut self.draft.ids, range)?;
        Ok(whole)
    }
}

/// The number of a user or a group. The greatest of 32 bits is nobody's.
fn id(lexer: &mut Lexer<'_>, by: By) -> Result<u64, Fault> {
    let token = lexer.next();
    let word = lexer.str(token);
    let mistake = |kind| Err(Mistake::new(token.span, kind).into());
    match token.kind {
        TokenKind::Word if number::is_meant(word) => match number::parse(word) {
            Ok(id) if id < u64::from(u32::MAX) => Ok(id),
            Ok(_) | Err(Kind::NumberTooLarge) => mistake(Kind::IdTooLarge),
            Err(kind) => mistake(kind),
        },
        TokenKind::Word => mistake(Kind::IdByName { by }),
        _ => Err(expected(token, Expected::Id)),
    }
}

/// A path or a name: where it stands, and what it is without quotes.
fn pattern(lexer: &mut Lexer<'_>, by: By) -> Result<(Span, Span), Fault> {
    let what = match by {
        By::Exe => Expected::Exe,
        By::Cgroup => Expected::Cgroup,
        By::Label => Expected::Label,
        _ => Expected::Comm,
    };
    let token = lexer.peek();
    match token.kind {
        TokenKind::Quoted => {
            lexer.next();
            let inside = Span {
                start: token.span.start.saturating_add(1),
                len: token.span.len.saturating_sub(2),
            };
            match inside.is_empty() {
                true => Err(Mistake::new(token.span, Kind::PatternEmpty).into()),
                false => Ok((token.span, inside)),
            }
        }
        TokenKind::Unclosed => Err(Mistake::new(token.span, Kind::UnclosedQuote).into()),
        TokenKind::End | TokenKind::Sign(Sign::Comma) => Err(expected(token, what)),
        _ => {
            let run = lexer.next_item();
            Ok((run.span, run.span))
        }
    }
}

/// Why a pattern can match nothing, or not what was meant.
fn flaw(pattern: &str, by: By) -> Option<Kind> {
    if pattern.len() > limits::PATTERN_BYTES {
        return Some(Kind::PatternTooLong);
    }
    if pattern.contains("***") {
        return Some(Kind::ThreeStars);
    }
    match by {
        By::Exe | By::Cgroup if !pattern.starts_with('/') => Some(Kind::PathNotWhole { by }),
        By::Exe | By::Cgroup if pattern.len() > 1 && pattern.ends_with('/') => {
            Some(Kind::PathOfFolder)
        }
        By::Exe if pattern == "/" => Some(Kind::PathOfFolder),
        By::Exe | By::Cgroup if has_steps(pattern) => Some(Kind::PathWithSteps),
        // What the kernel keeps of a name: TASK_COMM_LEN, without the byte that ends it.
        By::Comm if pattern.bytes().filter(|byte| *byte != b'*').count() > 15 => {
            Some(Kind::CommTooLong)
        }
        _ => None,
    }
}

/// Whether a path has parts that no path has which the kernel tells.
fn has_steps(path: &str) -> bool {
    let parts = path.split('/').skip(1);
    path.len() > 1
        && parts
            .into_iter()
            .any(|part| matches!(part, "" | "." | ".."))
}
