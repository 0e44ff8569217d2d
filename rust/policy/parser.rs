// SPDX-License-Identifier: GPL-2.0

//! Statements: one a line, from `policy` to `end`. Rules are read in [`crate::rule`], limits in
//! [`crate::limit`].
//!
//! A line with a mistake is noted and left; the next line is read as if nothing had happened, so
//! that one run tells all mistakes. Nothing is compiled when there is one.

use crate::compile::{compile, Draft, Idle, Unfit, Why};
use crate::diagnosis::{Fault, Mistake};
use crate::lexer::{Lexer, Token, TokenKind};
use crate::profile::Open;
use crate::{
    limits, text, Action, Diagnoses, Expected, Grow, Kind, OutOfMemory, Policy, Rejection, Rule,
    Span, Storage,
};

/// The error number of a `deny` that names none: `EPERM`.
pub(crate) const DEFAULT_ERRNO: u16 = 1;

/// Words that only a later version understands, at the beginning of a line or further on.
const RESERVED: [&str; 1] = ["on"];

/// A policy, and what is odd about its text.
pub struct Checked<S: Storage> {
    /// The compiled policy.
    pub policy: Policy<S>,
    /// What is allowed and probably not meant, in the order of lines.
    pub warnings: Diagnoses<S>,
}

/// Compiles a text.
pub fn parse<S: Grow>(text: &[u8]) -> Result<Policy<S>, Rejection<S>> {
    check(text).map(|checked| checked.policy)
}

/// Compiles a text and keeps the warnings.
pub fn check<S: Grow>(text: &[u8]) -> Result<Checked<S>, Rejection<S>> {
    let mut diagnoses = Diagnoses::none();
    let checked = match text::check(text) {
        Ok(checked) => checked,
        Err(mistake) => {
            diagnoses.note(text, mistake)?;
            return Err(Rejection::Mistakes(diagnoses));
        }
    };
    let mut parser = Parser::<S>::new(checked, diagnoses);
    parser.statements()?;
    parser.diagnoses.sort();
    if !parser.diagnoses.list.is_empty() {
        return Err(Rejection::Mistakes(parser.diagnoses));
    }
    let Parser {
        draft,
        mut diagnoses,
        mut warnings,
        ..
    } = parser;
    let last_rule = draft.rules.last().map_or(1, |rule| rule.line);
    match compile(draft) {
        Ok((policy, idle)) => {
            for &Idle { line, why } in idle.iter() {
                let kind = match why {
                    Why::Shadowed(line) => Kind::Unreachable { line },
                    Why::Denied => Kind::LimitOfDenied,
                };
                warnings.note(text, Mistake::new(line_of(checked, line), kind))?;
            }
            warnings.sort();
            Ok(Checked { policy, warnings })
        }
        Err(Unfit::OutOfMemory) => Err(Rejection::OutOfMemory),
        Err(Unfit::TooManyLinks) => {
            let mistake = Mistake::new(line_of(checked, last_rule), Kind::TooManyLinks);
            diagnoses.note(text, mistake)?;
            Err(Rejection::Mistakes(diagnoses))
        }
    }
}

/// A statement that is expected once.
#[derive(Clone, Copy)]
pub(crate) enum Seen {
    No,
    /// Its absence, or a mistake in it, has been noted: that is enough.
    Assumed,
    At(u32),
}

/// What has been read so far.
pub(crate) struct Parser<'t, S: Grow> {
    text: &'t str,
    diagnoses: Diagnoses<S>,
    warnings: Diagnoses<S>,
    line: u32,
    /// The last line with a warning.
    warned_line: u32,
    policy: Seen,
    /// The profile that is being read.
    pub(crate) open: Option<Open>,
    /// Whether there has been one at all.
    pub(crate) has_profile: bool,
    ended: bool,
    pub(crate) draft: Draft<S>,
}

impl<'t, S: Grow> Parser<'t, S> {
    fn new(text: &'t str, diagnoses: Diagnoses<S>) -> Self {
        Self {
            text,
            diagnoses,
            warnings: Diagnoses::none(),
            line: 0,
            warned_line: 0,
            policy: Seen::No,
            open: None,
            has_profile: false,
            ended: false,
            draft: Draft::new(),
        }
    }

    pub(crate) fn note(&mut self, fault: Fault) -> Result<(), OutOfMemory> {
        match fault {
            Fault::Mistake(mistake) => self.diagnoses.note(self.text.as_bytes(), mistake),
            Fault::OutOfMemory => Err(OutOfMemory),
        }
    }

    /// Notes what is allowed and probably not meant, once a line: a long line is read again for each
    /// layout, and to find a place takes as long as the text before it.
    pub(crate) fn warn(&mut self, mistake: Mistake) -> Result<(), OutOfMemory> {
        if self.warned_line == self.line {
            return Ok(());
        }
        self.warned_line = self.line;
        self.warnings.note(self.text.as_bytes(), mistake)
    }

    /// Notes what is odd about a line that was read long ago.
    pub(crate) fn odd(&mut self, mistake: Mistake) -> Result<(), OutOfMemory> {
        self.warnings.note(self.text.as_bytes(), mistake)
    }

    /// A piece of the text.
    pub(crate) fn str(&self, span: Span) -> &'t str {
        let start = usize::try_from(span.start).unwrap_or(usize::MAX);
        let len = usize::try_from(span.len).unwrap_or(usize::MAX);
        self.text
            .get(start..start.saturating_add(len))
            .unwrap_or_default()
    }

    fn statements(&mut self) -> Result<(), OutOfMemory> {
        let mut start = 0;
        while let Some(rest) = self.text.get(start..).filter(|rest| !rest.is_empty()) {
            self.line = self.line.saturating_add(1);
            let end = start + rest.find('\n').unwrap_or(rest.len());
            let mut lexer = Lexer::new(self.text, start, end);
            let done = if end < self.text.len() {
                self.statement(&mut lexer)
            } else {
                self.unclosed_line(&mut lexer)
            };
            if let Err(fault) = done {
                let last = matches!(fault, Fault::Mistake(mistake) if mistake.kind.is_last());
                self.note(fault)?;
                if last {
                    return Ok(());
                }
            }
            start = end + 1;
        }
        if self.ended {
            return Ok(());
        }
        let nothing = matches!(self.policy, Seen::No);
        let kind = if nothing { Kind::Empty } else { Kind::CutOff };
        let at = Span::between(self.text.len(), self.text.len());
        self.note(Mistake::new(at, kind).into())
    }

    /// The last line, where no line feed closes it. Whatever it says, more may have been meant.
    fn unclosed_line(&mut self, lexer: &mut Lexer<'t>) -> Result<(), Fault> {
        let first = lexer.next();
        if first.kind == TokenKind::End {
            return Ok(());
        }
        if self.ended {
            return Err(Mistake::new(first.span, Kind::AfterEnd).into());
        }
        self.ended = true;
        let mut last = first;
        while lexer.peek().kind != TokenKind::End {
            last = lexer.next();
        }
        let kind = match lexer.str(first) {
            "end" if first == last => Kind::EndUnclosed,
            _ => Kind::CutOffInLine,
        };
        Err(Mistake::new(last.span.behind(), kind).into())
    }

    fn statement(&mut self, lexer: &mut Lexer<'t>) -> Result<(), Fault> {
        let first = lexer.next();
        let word = lexer.str(first);
        let mistake = |kind| Err(Mistake::new(first.span, kind).into());
        if first.kind == TokenKind::End {
            return Ok(());
        }
        if self.ended {
            return mistake(Kind::AfterEnd);
        }
        if matches!(self.policy, Seen::No) && word != "policy" {
            self.policy = Seen::Assumed;
            self.note(Mistake::new(first.span, Kind::PolicyFirst).into())?;
        }
        match word {
            "policy" => self.policy(lexer, first),
            "profile" => self.profile(lexer),
            "match" => self.matching(lexer, first),
            "default" => self.default(lexer, first),
            "allow" => self.rule(lexer, first, Action::Allow),
            "deny" => self.rule(
                lexer,
                first,
                Action::Deny {
                    errno: DEFAULT_ERRNO,
                },
            ),
            "audit" => self.rule(lexer, first, Action::Audit),
            "limit" => self.limit(lexer, first),
            "end" => self.end(lexer, first),
            _ if is_reserved(word) => mistake(Kind::Reserved),
            _ => mistake(Kind::UnknownStatement),
        }
    }

    /// `policy NAME version VERSION`
    fn policy(&mut self, lexer: &mut Lexer<'t>, first: Token) -> Result<(), Fault> {
        match self.policy {
            Seen::At(line) => {
                return Err(Mistake::new(first.span, Kind::PolicyAgain { line }).into())
            }
            Seen::No | Seen::Assumed => self.policy = Seen::At(self.line),
        }
        self.draft.name = name(
            lexer,
            Expected::Name,
            limits::NAME_BYTES,
            Kind::NameCharacter,
            Kind::NameTooLong,
        )?;
        let word = lexer.next();
        if lexer.str(word) != "version" {
            return Err(expected(word, Expected::VersionWord));
        }
        self.draft.version = name(
            lexer,
            Expected::Version,
            limits::VERSION_BYTES,
            Kind::VersionCharacter,
            Kind::VersionTooLong,
        )?;
        line_end(lexer)
    }

    /// `default allow` or `default deny [errno NAME]`
    fn default(&mut self, lexer: &mut Lexer<'t>, first: Token) -> Result<(), Fault> {
        self.inside_profile(first)?;
        let line = self.line;
        if let Some(open) = &mut self.open {
            if let Seen::At(line) = open.default {
                return Err(Mistake::new(first.span, Kind::DefaultAgain { line }).into());
            }
            open.default = Seen::At(line);
        }
        let word = lexer.next();
        let action = match lexer.str(word) {
            "allow" => Action::Allow,
            "deny" => Action::Deny {
                errno: DEFAULT_ERRNO,
            },
            "audit" => return Err(Mistake::new(word.span, Kind::DefaultAudit).into()),
            _ => return Err(expected(word, Expected::DefaultAction)),
        };
        let next = lexer.next();
        let action = match (lexer.str(next), action) {
            _ if next.kind == TokenKind::End => action,
            ("errno", Action::Deny { .. }) => Action::Deny {
                errno: crate::rule::errno(lexer)?,
            },
            ("errno", _) => return Err(Mistake::new(next.span, Kind::ErrnoNotOnDeny).into()),
            (_, Action::Deny { .. }) => return Err(expected(next, Expected::DefaultPart)),
            _ => return Err(expected(next, Expected::LineEnd)),
        };
        let profile = self.profile_id();
        if let Some(last) = S::items(&mut self.draft.profiles).last_mut() {
            last.default = Some(Rule {
                action,
                line,
                is_conditional: false,
                reason: Span::default(),
                is_default: true,
                is_limit: false,
                profile,
            });
        }
        line_end(lexer)
    }

    /// `end`
    fn end(&mut self, lexer: &mut Lexer<'t>, first: Token) -> Result<(), Fault> {
        self.ended = true;
        line_end(lexer)?;
        let is_assumed = self.open.is_some_and(|open| open.is_assumed);
        self.close_profile()?;
        let last = self.draft.profiles.last();
        let kind = match last.map(|last| self.str(last.name)) {
            Some("other") => return Ok(()),
            // It was there, and had a mistake.
            _ if is_assumed => return Ok(()),
            None if !self.has_profile => Kind::ProfileMissing,
            _ => Kind::OtherMissing,
        };
        Err(Mistake::new(first.span, kind).into())
    }

    /// The line that is being read.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }
}

/// A name or a version.
pub(crate) fn name(
    lexer: &mut Lexer<'_>,
    what: Expected,
    most: usize,
    bad_character: Kind,
    too_long: Kind,
) -> Result<Span, Fault> {
    let run = lexer.next_run();
    let text = lexer.str(run);
    if run.kind == TokenKind::End || (what == Expected::Name && text == "version") {
        return Err(expected(run, what));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !text.bytes().all(good) {
        return Err(Mistake::new(run.span, bad_character).into());
    }
    if text.len() > most {
        return Err(Mistake::new(run.span, too_long).into());
    }
    Ok(run.span)
}

/// What stands on a line, without the blanks around it.
fn line_of(text: &str, line: u32) -> Span {
    let mut start = 0;
    for (number, content) in (1..).zip(text.split('\n')) {
        if number == line {
            let blank = content.len() - content.trim_start().len();
            return Span::between(start + blank, start + content.trim_end().len());
        }
        start += content.len() + 1;
    }
    Span::default()
}

/// Nothing but a comment may follow.
pub(crate) fn line_end(lexer: &mut Lexer<'_>) -> Result<(), Fault> {
    let token = lexer.next();
    match token.kind {
        TokenKind::End => Ok(()),
        _ => Err(expected(token, Expected::LineEnd)),
    }
}

/// The mistake of a token that stands where something else should.
pub(crate) fn expected(token: Token, what: Expected) -> Fault {
    Mistake::new(token.span, Kind::Expected(what)).into()
}

/// Whether a word is kept for a later version.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}
