// SPDX-License-Identifier: GPL-2.0

//! Conditions: what stands between `if` and the next part of a rule.

use crate::diagnosis::{Fault, Mistake};
use crate::lexer::{Lexer, Sign, Token, TokenKind};
use crate::parser::{expected, is_reserved, Parser};
use crate::{limits, number, Condition, Expected, Grow, Kind, Range, Span, Subject, Test};

impl<'t, S: Grow> Parser<'t, S> {
    /// `CONDITION {and CONDITION}`
    pub(crate) fn conditions(&mut self, lexer: &mut Lexer<'t>) -> Result<Span, Fault> {
        let start = self.draft.conditions.len();
        loop {
            let first = lexer.peek();
            if self.draft.conditions.len() - start >= limits::CONDITIONS {
                return Err(Mistake::new(first.span, Kind::TooManyConditions).into());
            }
            let condition = self.condition(lexer)?;
            S::push(&mut self.draft.conditions, condition)?;
            let next = lexer.peek();
            match lexer.str(next) {
                "and" => lexer.next(),
                "or" => return Err(Mistake::new(next.span, Kind::Or).into()),
                _ => match next.kind {
                    TokenKind::Sign(Sign::DotDot) => {
                        return Err(Mistake::new(next.span, Kind::RangeOutsideSet).into())
                    }
                    TokenKind::Sign(Sign::Plus) => {
                        return Err(Mistake::new(next.span, Kind::SumLater).into())
                    }
                    _ => return Ok(Span::between(start, self.draft.conditions.len())),
                },
            };
        }
    }

    /// `SUBJECT OPERATOR VALUE`
    fn condition(&mut self, lexer: &mut Lexer<'t>) -> Result<Condition, Fault> {
        let field = lexer.next();
        let subject = subject(lexer, field)?;
        let operator = lexer.next();
        let test = self.test(lexer, operator)?;
        let whole = field.span.up_to(lexer.last());
        match (subject, test) {
            (Subject::Arg, _) => {}
            (Subject::Compat, Test::Equal(0 | 1) | Test::NotEqual(0 | 1)) => {}
            (Subject::Compat, Test::Equal(_) | Test::NotEqual(_)) => {
                return Err(Mistake::new(whole, Kind::CompatValue).into())
            }
            (Subject::Compat, _) => {
                return Err(Mistake::new(operator.span, Kind::CompatOperator).into())
            }
        }
        match test {
            Test::Below(0) | Test::Above(u64::MAX) | Test::AnyOf(0) => {
                Err(Mistake::new(whole, Kind::NeverTrue).into())
            }
            Test::AtLeast(0) | Test::AtMost(u64::MAX) | Test::Has(0) | Test::Subset(u64::MAX) => {
                Err(Mistake::new(whole, Kind::AlwaysTrue).into())
            }
            Test::Aligned(1) => Err(Mistake::new(whole, Kind::AlwaysTrue).into()),
            _ => Ok(Condition { subject, test }),
        }
    }

    fn test(&mut self, lexer: &mut Lexer<'t>, operator: Token) -> Result<Test, Fault> {
        Ok(match (operator.kind, lexer.str(operator)) {
            (TokenKind::Sign(Sign::Equal), _) => Test::Equal(value(lexer)?),
            (TokenKind::Sign(Sign::NotEqual), _) => Test::NotEqual(value(lexer)?),
            (TokenKind::Sign(Sign::Below), _) => Test::Below(value(lexer)?),
            (TokenKind::Sign(Sign::AtMost), _) => Test::AtMost(value(lexer)?),
            (TokenKind::Sign(Sign::Above), _) => Test::Above(value(lexer)?),
            (TokenKind::Sign(Sign::AtLeast), _) => Test::AtLeast(value(lexer)?),
            (_, "in") => Test::In(self.set(lexer)?),
            (_, "has") => Test::Has(value(lexer)?),
            (_, "any-of") => Test::AnyOf(value(lexer)?),
            (_, "subset") => Test::Subset(value(lexer)?),
            (_, "aligned") => Test::Aligned(power_of_two(lexer)?),
            (TokenKind::Sign(Sign::Assign), _) => {
                return Err(Mistake::new(operator.span, Kind::SingleEquals).into())
            }
            (TokenKind::Sign(Sign::Plus), _) => {
                return Err(Mistake::new(operator.span, Kind::SumLater).into())
            }
            (TokenKind::Sign(Sign::Parenthesis), _) => {
                return Err(Mistake::new(operator.span, Kind::ParenthesisLater).into())
            }
            (TokenKind::End, _) => return Err(expected(operator, Expected::Operator)),
            _ => return Err(Mistake::new(operator.span, Kind::UnknownOperator).into()),
        })
    }

    /// `{a, b, c..d}`
    fn set(&mut self, lexer: &mut Lexer<'t>) -> Result<Span, Fault> {
        let open = lexer.next();
        if open.kind != TokenKind::Sign(Sign::OpenBrace) {
            return Err(expected(open, Expected::OpenBrace));
        }
        let start = self.draft.ranges.len();
        if lexer.peek().kind == TokenKind::Sign(Sign::CloseBrace) {
            let close = lexer.next();
            let both = open.span.up_to(close.span);
            return Err(Mistake::new(both, Kind::SetEmpty).into());
        }
        loop {
            let item = lexer.peek();
            if self.draft.ranges.len() - start >= limits::SET_VALUES {
                return Err(Mistake::new(item.span, Kind::SetTooLong).into());
            }
            let first = value(lexer)?;
            let mut last = first;
            if lexer.peek().kind == TokenKind::Sign(Sign::DotDot) {
                lexer.next();
                last = value(lexer)?;
            }
            if last < first {
                let whole = item.span.up_to(lexer.last());
                return Err(Mistake::new(whole, Kind::RangeUpsideDown).into());
            }
            S::push(&mut self.draft.ranges, Range { first, last })?;
            let next = lexer.next();
            match next.kind {
                TokenKind::Sign(Sign::Comma) => {}
                TokenKind::Sign(Sign::CloseBrace) => {
                    return Ok(Span::between(start, self.draft.ranges.len()))
                }
                _ => return Err(expected(next, Expected::CommaOrBrace)),
            }
        }
    }
}

fn subject(lexer: &Lexer<'_>, token: Token) -> Result<Subject, Fault> {
    let kind = match (token.kind, lexer.str(token)) {
        (TokenKind::Word, "arg") => return Ok(Subject::Arg),
        (TokenKind::Word, "compat") => return Ok(Subject::Compat),
        (TokenKind::Word, word) if is_reserved(word) => Kind::Reserved,
        (TokenKind::Word, "and" | "errno" | "reason") => Kind::Expected(Expected::Field),
        (TokenKind::Word, word) if number::is_meant(word) => Kind::Expected(Expected::Field),
        (TokenKind::Word, _) => Kind::FieldLater,
        (TokenKind::Sign(Sign::Parenthesis), _) => Kind::ParenthesisLater,
        _ => Kind::Expected(Expected::Field),
    };
    Err(Mistake::new(token.span, kind).into())
}

/// `a` or `a|b|c`
fn value(lexer: &mut Lexer<'_>) -> Result<u64, Fault> {
    let mut sum = 0;
    loop {
        let token = lexer.next();
        let word = lexer.str(token);
        let kind = match token.kind {
            TokenKind::Word if number::is_meant(word) => match number::parse(word) {
                Ok(value) => {
                    sum |= value;
                    if lexer.peek().kind != TokenKind::Sign(Sign::Bar) {
                        return Ok(sum);
                    }
                    lexer.next();
                    continue;
                }
                Err(kind) => kind,
            },
            // `||` is how other languages write it.
            TokenKind::Sign(Sign::Bar) => Kind::Or,
            TokenKind::Sign(Sign::Parenthesis) => Kind::ParenthesisLater,
            TokenKind::Word if word.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                match word {
                    "and" | "or" | "if" | "errno" | "reason" => Kind::Expected(Expected::Value),
                    _ => Kind::ConstantLater,
                }
            }
            _ => Kind::Expected(Expected::Value),
        };
        return Err(Mistake::new(token.span, kind).into());
    }
}

fn power_of_two(lexer: &mut Lexer<'_>) -> Result<u64, Fault> {
    let first = lexer.peek();
    let value = value(lexer)?;
    if value.is_power_of_two() {
        return Ok(value);
    }
    let whole = first.span.up_to(lexer.last());
    Err(Mistake::new(whole, Kind::NotPowerOfTwo { value }).into())
}
