// SPDX-License-Identifier: GPL-2.0

//! Rules: `ACTION [SURFACE] COMMAND, ... [while PHASE] [if ...] [errno NAME] [reason "TEXT"]`.

use crate::compile::{Pair, Read, Turn};
use crate::diagnosis::{Fault, Mistake};
use crate::lexer::{Lexer, Sign, Token, TokenKind};
use crate::operand::Names;
use crate::parser::{expected, is_reserved, Parser};
use crate::schema::{self, Argument, Command};
use crate::state::Scope;
use crate::{limits, number, Action, Conditions, Expected, Grow, Kind, Phase, Rule, Span, Surface};

/// The parts behind the commands, in the order in which they stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Commands,
    While,
    If,
    Errno,
    Reason,
}

impl<'t, S: Grow> Parser<'t, S> {
    pub(crate) fn rule(
        &mut self,
        lexer: &mut Lexer<'t>,
        first: Token,
        action: Action,
    ) -> Result<(), Fault> {
        self.inside_profile(first)?;
        if self.draft.rules.len() >= limits::RULES {
            return Err(Mistake::new(first.span, Kind::TooManyRules).into());
        }
        let mut rule = Rule {
            action,
            line: self.line(),
            is_conditional: false,
            reason: Span::default(),
            is_default: false,
            is_limit: false,
            profile: self.profile_id(),
        };
        let pairs = self.draft.pairs.len();
        let turn = Turn::of_rule(self.next_rule());
        self.commands(lexer, turn)?;
        let mut done = Part::Commands;
        loop {
            let token = lexer.next();
            if token.kind == TokenKind::End {
                break;
            }
            let part = match lexer.str(token) {
                "while" => Part::While,
                "if" => Part::If,
                "errno" => Part::Errno,
                "reason" => Part::Reason,
                word => return Err(unexpected(token, word, done)),
            };
            if part <= done {
                let again = part == done;
                let kind = if again {
                    Kind::PartAgain
                } else {
                    Kind::PartOrder
                };
                return Err(Mistake::new(token.span, kind).into());
            }
            done = part;
            match part {
                Part::Commands => {}
                Part::While => self.phase_of_pairs(lexer, token, pairs)?,
                Part::If => {
                    self.conditions_of_pairs(lexer, pairs)?;
                    rule.is_conditional = true;
                }
                Part::Errno => match rule.action {
                    Action::Deny { .. } => {
                        rule.action = Action::Deny {
                            errno: errno(lexer)?,
                        }
                    }
                    _ => return Err(Mistake::new(token.span, Kind::ErrnoNotOnDeny).into()),
                },
                Part::Reason => rule.reason = reason(lexer)?,
            }
        }
        Ok(S::push(&mut self.draft.rules, rule)?)
    }

    /// `setup` or `running`, for the pairs of this rule, which begin at `first`.
    fn phase_of_pairs(
        &mut self,
        lexer: &mut Lexer<'t>,
        word: Token,
        first: usize,
    ) -> Result<(), Fault> {
        let token = lexer.next();
        let mut phases = Phase::ALL.into_iter();
        let Some(phase) = phases.find(|phase| phase.name() == lexer.str(token)) else {
            return Err(expected(token, Expected::Phase));
        };
        if let Some(surface) = self.surfaces(first).without(Scope::Vm) {
            let alone = self.surfaces(first).are_alike();
            return Err(Mistake::new(word.span, Kind::NoPhase { surface, alone }).into());
        }
        for pair in S::items(&mut self.draft.pairs).iter_mut().skip(first) {
            pair.set_phase(phase);
        }
        Ok(())
    }

    /// The place of the rule that is being read. `limits` keeps it within 16 bits.
    pub(crate) fn next_rule(&self) -> u16 {
        u16::try_from(self.draft.rules.len()).unwrap_or(u16::MAX)
    }

    /// The surfaces of the pairs from `first` on.
    fn surfaces(&self, first: usize) -> Surfaces {
        let mut surfaces = Surfaces::default();
        for pair in self.draft.pairs.iter().skip(first) {
            surfaces.add(pair.surface());
        }
        surfaces
    }

    /// Reads the conditions for the pairs of this rule, which begin at `first`: once for each layout
    /// that the arguments of its commands have.
    fn conditions_of_pairs(&mut self, lexer: &mut Lexer<'t>, first: usize) -> Result<(), Fault> {
        let begin = *lexer;
        let surfaces = self.surfaces(first);
        let known = self.draft.tests.len();
        for index in first..self.draft.pairs.len() {
            let Some(pair) = self.draft.pairs.get(index).copied() else {
                break;
            };
            let layout = Layout::of(&pair);
            let same = |tests: &Read| tests.layout.is_same_as(layout);
            let seen = self.draft.tests.iter().skip(known).position(same);
            let tests = match seen {
                Some(place) => known + place,
                None => {
                    *lexer = begin;
                    let tests = self.conditions_of_layout(lexer, layout, surfaces)?;
                    S::push(&mut self.draft.tests, tests)?;
                    self.draft.tests.len() - 1
                }
            };
            if let Some(pair) = S::items(&mut self.draft.pairs).get_mut(index) {
                pair.set_tests(tests);
            }
        }
        Ok(())
    }

    fn conditions_of_layout(
        &mut self,
        lexer: &mut Lexer<'t>,
        layout: Layout,
        surfaces: Surfaces,
    ) -> Result<Read, Fault> {
        let begin = *lexer;
        let mut read = |lexer: &mut Lexer<'t>, compat| {
            *lexer = begin;
            self.conditions(lexer, &Names::new(layout.command, compat, surfaces))
        };
        let native = read(lexer, layout.callers == Callers::Compat)?;
        let compat = match layout.callers {
            Callers::Both => read(lexer, true)?,
            Callers::Native | Callers::Compat => native,
        };
        Ok(Read {
            layout,
            conditions: Conditions { native, compat },
        })
    }

    /// `[SURFACE] COMMAND, ...`, noted as pairs of the rule that is being read and a command.
    pub(crate) fn commands(&mut self, lexer: &mut Lexer<'t>, turn: Turn) -> Result<(), Fault> {
        let first = lexer.peek();
        let surface = Surface::from_name(lexer.str(first));
        if surface.is_some() {
            lexer.next();
            let next = lexer.peek();
            let second = match next.kind {
                TokenKind::Sign(Sign::Comma) => true,
                _ => Surface::from_name(lexer.str(next)).is_some(),
            };
            if second {
                return Err(Mistake::new(next.span, Kind::SecondSurface).into());
            }
        }
        let mut alone = true;
        loop {
            let token = lexer.next();
            let star = self.command(lexer, token, turn, surface, alone)?;
            let more = lexer.peek().kind == TokenKind::Sign(Sign::Comma);
            if star && (more || !alone) {
                return Err(Mistake::new(token.span, Kind::StarNotAlone).into());
            }
            if !more {
                return Ok(());
            }
            lexer.next();
            alone = false;
        }
    }

    /// One command; tells whether it is `*`.
    fn command(
        &mut self,
        lexer: &Lexer<'t>,
        token: Token,
        turn: Turn,
        surface: Option<Surface>,
        first: bool,
    ) -> Result<bool, Fault> {
        let mistake = |kind| Err(Mistake::new(token.span, kind).into());
        let word = lexer.str(token);
        match token.kind {
            TokenKind::Sign(Sign::Star) => match surface {
                Some(surface) => self.pair(token, turn, surface, None, None)?,
                None => return mistake(Kind::NeedsSurface),
            },
            TokenKind::Word if number::is_meant(word) => {
                let number = match number::parse_command(word) {
                    Ok(number) => number,
                    Err(Kind::NumberTooLarge) => return mistake(Kind::CommandNumberTooLarge),
                    Err(kind) => return mistake(kind),
                };
                match surface {
                    Some(surface) => self.number(token, turn, surface, number)?,
                    None => return mistake(Kind::NeedsSurface),
                }
            }
            TokenKind::Word if matches!(word, "while" | "if" | "errno" | "reason") => {
                return mistake(Kind::Expected(match surface {
                    None if first => Expected::Target,
                    _ => Expected::Command,
                }))
            }
            TokenKind::Word if Surface::from_name(word).is_some() => {
                return mistake(Kind::SecondSurface)
            }
            TokenKind::Word => {
                let Some(command) = schema::command(word) else {
                    return mistake(match surface {
                        None if first && !looks_like_command(word) => Kind::UnknownTarget,
                        _ => Kind::UnknownCommand { surface },
                    });
                };
                if command.handled.is_empty() {
                    return mistake(Kind::OtherArchitecture);
                }
                match surface {
                    None => {
                        for surface in command.surfaces() {
                            self.known(token, turn, surface, command)?;
                        }
                    }
                    Some(surface) if command.is_on(surface) => {
                        self.known(token, turn, surface, command)?;
                    }
                    Some(surface) => return mistake(Kind::NotOnSurface { surface }),
                }
            }
            _ if first && surface.is_none() => return Err(expected(token, Expected::Target)),
            _ => return Err(expected(token, Expected::Command)),
        }
        Ok(token.kind == TokenKind::Sign(Sign::Star))
    }

    /// A number that the schema knows is the command of that name.
    fn number(
        &mut self,
        token: Token,
        turn: Turn,
        surface: Surface,
        number: u32,
    ) -> Result<(), Fault> {
        let judged_as = surface.judged_as(number);
        if judged_as != surface {
            let kind = Kind::JudgedAs { surface, judged_as };
            return Err(Mistake::new(token.span, kind).into());
        }
        match schema::command_by_number(surface, number) {
            Some(command) => self.known(token, turn, surface, command),
            None => self.pair(token, turn, surface, Some(number), None),
        }
    }

    /// A command has two numbers where 32-bit callers pass another one.
    pub(crate) fn known(
        &mut self,
        token: Token,
        turn: Turn,
        surface: Surface,
        command: &'static Command,
    ) -> Result<(), Fault> {
        self.pair(token, turn, surface, Some(command.number), Some(command))?;
        if command.compat_number != command.number {
            let number = Some(command.compat_number);
            self.pair(token, turn, surface, number, Some(command))?;
        }
        Ok(())
    }

    fn pair(
        &mut self,
        token: Token,
        turn: Turn,
        surface: Surface,
        number: Option<u32>,
        command: Option<&'static Command>,
    ) -> Result<(), Fault> {
        if self.draft.pairs.len() >= limits::LINKS {
            return Err(Mistake::new(token.span, Kind::TooManyLinks).into());
        }
        let profile = self.profile_id();
        Ok(S::push(
            &mut self.draft.pairs,
            Pair::new(profile, surface, number, turn, command),
        )?)
    }
}

/// The surfaces that a rule speaks about: a bit for each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Surfaces(u32);

impl Surfaces {
    fn add(&mut self, surface: Surface) {
        self.0 |= 1 << surface.index();
    }

    fn has(self, surface: Surface) -> bool {
        self.0 & (1 << surface.index()) != 0
    }

    /// The first of them whose calls do not have what `scope` is about.
    pub(crate) fn without(self, scope: Scope) -> Option<Surface> {
        let mut all = Surface::ALL.into_iter();
        all.find(|surface| self.has(*surface) && !scope.has(*surface))
    }

    /// Whether there is one alone.
    pub(crate) fn are_alike(self) -> bool {
        self.0.is_power_of_two()
    }
}

/// How the conditions of a rule are read for a command: commands with the same layout share them.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    command: Option<&'static Command>,
    callers: Callers,
}

/// Whose layouts the conditions are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Callers {
    /// All callers pass the native one.
    Native,
    /// 32-bit callers alone use this number, and pass another one.
    Compat,
    /// 32-bit callers pass another one under the same number.
    Both,
}

impl Layout {
    pub(crate) fn of(pair: &Pair) -> Self {
        let command = pair.command();
        let another = matches!(
            command.map(|command| &command.argument),
            Some(Argument::Struct(found)) if found.compat.is_some()
        );
        let callers = match command {
            Some(command) if another => {
                if command.number == command.compat_number {
                    Callers::Both
                } else if pair.is(command.compat_number) {
                    Callers::Compat
                } else {
                    Callers::Native
                }
            }
            _ => Callers::Native,
        };
        Self { command, callers }
    }

    fn is_same_as(&self, other: Self) -> bool {
        let same = match (self.argument(), other.argument()) {
            (Some(Argument::Struct(one)), Some(Argument::Struct(two))) => core::ptr::eq(*one, *two),
            (one, two) => one == two,
        };
        same && self.callers == other.callers
    }

    pub(crate) fn argument(&self) -> Option<&'static Argument> {
        self.command.map(|command| &command.argument)
    }
}

/// Whether a word is written as the names of commands are.
pub(crate) fn looks_like_command(word: &str) -> bool {
    word.split_once('_').is_some_and(|(family, _)| {
        matches!(
            family,
            "KVM" | "VFIO" | "IOMMU" | "IOMMUFD" | "VHOST" | "SEV"
        )
    })
}

/// A word that opens no part: what was meant?
fn unexpected(token: Token, word: &str, done: Part) -> Fault {
    let looks_like_command = matches!(done, Part::Commands)
        && token.kind == TokenKind::Word
        && (number::is_meant(word) || schema::command(word).is_some());
    let kind = match word {
        _ if looks_like_command => Kind::MissingComma,
        "or" => Kind::Or,
        _ if token.kind == TokenKind::Word && is_reserved(word) => Kind::Reserved,
        _ => Kind::Expected(match done {
            Part::Commands => Expected::AfterCommand,
            Part::While => Expected::AfterPhase,
            Part::If => Expected::AfterCondition,
            Part::Errno => Expected::AfterErrno,
            Part::Reason => Expected::LineEnd,
        }),
    };
    Mistake::new(token.span, kind).into()
}

/// What follows `errno`.
pub(crate) fn errno(lexer: &mut Lexer<'_>) -> Result<u16, Fault> {
    let token = lexer.next();
    let word = lexer.str(token);
    if token.kind != TokenKind::Word {
        return Err(expected(token, Expected::Errno));
    }
    match schema::errno(word) {
        Some(errno) => Ok(errno),
        None if number::is_meant(word) => Err(Mistake::new(token.span, Kind::ErrnoNumber).into()),
        None => Err(Mistake::new(token.span, Kind::UnknownErrno).into()),
    }
}

/// What follows `reason`, without its quotes.
pub(crate) fn reason(lexer: &mut Lexer<'_>) -> Result<Span, Fault> {
    let token = lexer.next();
    let inside = Span {
        start: token.span.start.saturating_add(1),
        len: token.span.len.saturating_sub(2),
    };
    let kind = match token.kind {
        TokenKind::Quoted if lexer.str(token).trim_matches(['"', ' ', '\t']).is_empty() => {
            Kind::ReasonEmpty
        }
        TokenKind::Quoted if lexer.str(token).len() - 2 > limits::REASON_BYTES => {
            Kind::ReasonTooLong
        }
        TokenKind::Quoted => return Ok(inside),
        TokenKind::Unclosed => Kind::UnclosedQuote,
        _ => Kind::Expected(Expected::Quoted),
    };
    Err(Mistake::new(token.span, kind).into())
}
