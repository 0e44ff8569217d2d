// SPDX-License-Identifier: GPL-2.0

//! Conditions: what stands between `if` and the next part of a rule.
//!
//! They are read once for every layout that the arguments of the rule's commands have: a name
//! becomes an offset here.

use crate::diagnosis::{Fault, Mistake};
use crate::lexer::{Lexer, Sign, Token, TokenKind};
use crate::operand::{Names, Operand, Subject, What};
use crate::parser::{expected, is_reserved, Parser};
use crate::value::value;
use crate::{
    limits, number, Check, Condition, Elements, Expected, Grow, Kind, Quantifier, Range, Space,
    Span, Term, Test, Tests,
};

impl<'t, S: Grow> Parser<'t, S> {
    /// `CONDITION {and CONDITION}`, with what `names` knows.
    pub(crate) fn conditions(
        &mut self,
        lexer: &mut Lexer<'t>,
        names: &Names,
    ) -> Result<Tests, Fault> {
        let (checks, others) = (self.draft.checks.len(), self.draft.conditions.len());
        let mut count = 0;
        loop {
            let first = lexer.peek();
            let mut ahead = *lexer;
            ahead.next();
            // A field may have one of these names: only in front of a word it is a quantifier.
            let quantifier = quantifier(lexer.str(first))
                .filter(|_| matches!(ahead.peek().kind, TokenKind::Word));
            match quantifier {
                Some(quantifier) => self.each(lexer, names, quantifier, &mut count)?,
                None => self.comparison(lexer, names, &mut count)?,
            }
            if !and(lexer, false)? {
                return Ok(Tests {
                    checks: Span::between(checks, self.draft.checks.len()),
                    others: Span::between(others, self.draft.conditions.len()),
                });
            }
        }
    }

    /// `any ARRAY (CONDITION {and CONDITION})`
    fn each(
        &mut self,
        lexer: &mut Lexer<'t>,
        names: &Names,
        quantifier: Quantifier,
        count: &mut usize,
    ) -> Result<(), Fault> {
        lexer.next();
        let array = names.array(lexer)?;
        if let Some(when) = array.when {
            self.push(lexer.last(), when)?;
        }
        let open = lexer.next();
        if open.kind != TokenKind::Sign(Sign::OpenParenthesis) {
            return Err(expected(open, Expected::OpenParenthesis));
        }
        let at = self.draft.conditions.len();
        self.push(open.span, each(quantifier, array.elements, 0))?;
        let inside = names.inside(array.fields);
        loop {
            let first = lexer.peek();
            let mut ahead = *lexer;
            ahead.next();
            if quantifier_word(lexer.str(first)) && ahead.peek().kind == TokenKind::Word {
                return Err(Mistake::new(first.span, Kind::QuantifierInside).into());
            }
            self.comparison(lexer, &inside, count)?;
            if !and(lexer, true)? {
                break;
            }
        }
        let close = lexer.next();
        if close.kind != TokenKind::Sign(Sign::CloseParenthesis) {
            return Err(expected(close, Expected::AndOrParenthesis));
        }
        // `limits` keeps it within 16 bits.
        let inner = u16::try_from(self.draft.conditions.len() - at - 1).unwrap_or(u16::MAX);
        if let Some(slot) = S::items(&mut self.draft.conditions).get_mut(at) {
            *slot = each(quantifier, array.elements, inner);
        }
        Ok(())
    }

    /// `SUM OPERATOR VALUE`
    fn comparison(
        &mut self,
        lexer: &mut Lexer<'t>,
        names: &Names,
        count: &mut usize,
    ) -> Result<(), Fault> {
        let first = lexer.peek();
        if *count >= limits::CONDITIONS {
            return Err(Mistake::new(first.span, Kind::TooManyConditions).into());
        }
        *count += 1;
        let operand = self.sum(lexer, names)?;
        let operator = lexer.next();
        let test = self.test(lexer, operator, &operand)?;
        let whole = first.span.up_to(lexer.last());
        if let Some(kind) = operand.needless(&test) {
            let at = match kind {
                Kind::CompatOperator | Kind::FlagOperator | Kind::WordOperator => operator.span,
                _ => whole,
            };
            return Err(Mistake::new(at, kind).into());
        }
        let test = match operand.what {
            What::Bit(bit) => test_of_bit(test, bit),
            _ => test,
        };
        let condition = match operand.subject {
            Subject::Field(at) => match (Check::new(at, test), test) {
                // What stands in the argument itself needs nothing else to be read or looked at.
                (Some(check), _)
                    if matches!(at.space, Space::Call | Space::Argument | Space::State) =>
                {
                    return self.push_check(whole, check)
                }
                (Some(check), _) => Condition::Check(check),
                (None, Test::In(ranges)) => Condition::Among { at, ranges },
                // Nothing but a set has no check.
                (None, _) => return Err(Mistake::new(whole, Kind::NeverTrue).into()),
            },
            Subject::Sum(terms) => Condition::Sum { terms, test },
            Subject::Term(term) => {
                let start = self.draft.terms.len();
                self.push_term(whole, term)?;
                let terms = Span::between(start, self.draft.terms.len());
                Condition::Sum { terms, test }
            }
        };
        self.push(whole, condition)
    }

    /// `FIELD {+ FIELD}`
    fn sum(&mut self, lexer: &mut Lexer<'t>, names: &Names) -> Result<Operand, Fault> {
        let begin = lexer.peek();
        let first = self.term(lexer, names)?;
        if lexer.peek().kind != TokenKind::Sign(Sign::Plus) {
            return match first {
                Ok(operand) => Ok(operand),
                Err(_) => Err(Mistake::new(begin.span, Kind::NumberAlone).into()),
            };
        }
        let start = self.draft.terms.len();
        let mut at = begin.span;
        let mut term = first;
        loop {
            let whole = at.up_to(lexer.last());
            if self.draft.terms.len() - start >= limits::TERMS {
                return Err(Mistake::new(whole, Kind::TooManyTerms).into());
            }
            let term_of = match term {
                Err(number) => Term::Number(number),
                Ok(operand) if !operand.is_addable() => {
                    return Err(Mistake::new(whole, Kind::SumOfSigned).into())
                }
                Ok(operand) => match operand.subject {
                    Subject::Field(at) => Term::Field(at),
                    Subject::Term(term) => term,
                    // A term is never a sum.
                    Subject::Sum(_) => return Err(Mistake::new(whole, Kind::SumOfSigned).into()),
                },
            };
            self.push_term(whole, term_of)?;
            if lexer.peek().kind != TokenKind::Sign(Sign::Plus) {
                let terms = Span::between(start, self.draft.terms.len());
                let is_number = |term: &Term| matches!(term, Term::Number(_));
                if terms
                    .of(&self.draft.terms)
                    .is_some_and(|terms| terms.iter().all(is_number))
                {
                    let whole = begin.span.up_to(lexer.last());
                    return Err(Mistake::new(whole, Kind::NumberAlone).into());
                }
                return Ok(Operand::sum(terms));
            }
            lexer.next();
            at = lexer.peek().span;
            term = self.term(lexer, names)?;
        }
    }

    /// A field, or (on the right) a number. What must hold for the field to be there is noted.
    fn term(
        &mut self,
        lexer: &mut Lexer<'t>,
        names: &Names,
    ) -> Result<Result<Operand, u64>, Fault> {
        let token = lexer.peek();
        let word = lexer.str(token);
        match token.kind {
            TokenKind::Word if number::is_meant(word) => {
                lexer.next();
                match number::parse(word) {
                    Ok(number) => Ok(Err(number)),
                    Err(kind) => Err(Mistake::new(token.span, kind).into()),
                }
            }
            TokenKind::Word if matches!(word, "and" | "errno" | "reason") => {
                Err(expected(token, Expected::Field))
            }
            TokenKind::Word if is_reserved(word) => {
                Err(Mistake::new(token.span, Kind::Reserved).into())
            }
            TokenKind::Word => {
                let found = names.operand(lexer)?;
                if let Some(when) = found.when {
                    self.push(token.span, when)?;
                }
                if let What::Did(did) = found.operand.what {
                    let place = self.place_of_did(did, token)?;
                    return Ok(Ok(found.operand.of_did(place)));
                }
                Ok(Ok(found.operand))
            }
            TokenKind::Sign(Sign::OpenParenthesis) => {
                Err(Mistake::new(token.span, Kind::ParenthesisAlone).into())
            }
            _ => Err(expected(token, Expected::Field)),
        }
    }

    fn test(
        &mut self,
        lexer: &mut Lexer<'t>,
        operator: Token,
        operand: &Operand,
    ) -> Result<Test, Fault> {
        let mistake = |kind| Err(Mistake::new(operator.span, kind).into());
        let sign = match operator.kind {
            TokenKind::Sign(sign) => Some(sign),
            _ => None,
        };
        let word = lexer.str(operator);
        if matches!(word, "has" | "any-of" | "subset" | "aligned") {
            if let Some(kind) = operand.no_bits(word == "aligned") {
                return mistake(kind);
            }
        }
        let compare = |parser: &mut Self, lexer: &mut Lexer<'t>| -> Result<u64, Fault> {
            value(parser, lexer, operand, false)
        };
        Ok(match (sign, word) {
            (Some(Sign::Equal), _) => Test::Equal(value(self, lexer, operand, true)?),
            (Some(Sign::NotEqual), _) => Test::NotEqual(compare(self, lexer)?),
            (Some(Sign::Below), _) => Test::Below(compare(self, lexer)?),
            (Some(Sign::AtMost), _) => Test::AtMost(compare(self, lexer)?),
            (Some(Sign::Above), _) => Test::Above(compare(self, lexer)?),
            (Some(Sign::AtLeast), _) => Test::AtLeast(compare(self, lexer)?),
            (_, "in") => Test::In(self.set(lexer, operand)?),
            (_, "has") => Test::Has(compare(self, lexer)?),
            (_, "any-of") => Test::AnyOf(compare(self, lexer)?),
            (_, "subset") => Test::Subset(compare(self, lexer)?),
            (_, "aligned") => Test::Aligned(self.power_of_two(lexer, operand)?),
            (Some(Sign::Assign), _) => return mistake(Kind::SingleEquals),
            (Some(Sign::OpenParenthesis), _) => return mistake(Kind::ParenthesisAlone),
            (None, "" | "and" | "errno" | "reason")
                if matches!(operand.what, What::Flag | What::Bit(_)) =>
            {
                return mistake(Kind::FlagAlone)
            }
            _ if operator.kind == TokenKind::End => {
                return Err(expected(operator, Expected::Operator))
            }
            _ => return mistake(Kind::UnknownOperator),
        })
    }

    /// `{a, b, c..d}`
    fn set(&mut self, lexer: &mut Lexer<'t>, operand: &Operand) -> Result<Span, Fault> {
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
            if self.draft.ranges.len() >= limits::POLICY_SET_VALUES {
                return Err(Mistake::new(item.span, Kind::PolicyTooLarge).into());
            }
            let first = value(self, lexer, operand, false)?;
            let mut last = first;
            if lexer.peek().kind == TokenKind::Sign(Sign::DotDot) {
                lexer.next();
                last = value(self, lexer, operand, false)?;
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

    fn power_of_two(&mut self, lexer: &mut Lexer<'t>, operand: &Operand) -> Result<u64, Fault> {
        let first = lexer.peek();
        let value = value(self, lexer, operand, false)?;
        if value.is_power_of_two() {
            return Ok(value);
        }
        let whole = first.span.up_to(lexer.last());
        Err(Mistake::new(whole, Kind::NotPowerOfTwo { value }).into())
    }

    pub(crate) fn push_check(&mut self, at: Span, check: Check) -> Result<(), Fault> {
        if self.draft.checks.len() >= limits::POLICY_CONDITIONS {
            return Err(Mistake::new(at, Kind::PolicyTooLarge).into());
        }
        Ok(S::push(&mut self.draft.checks, check)?)
    }

    pub(crate) fn push_term(&mut self, at: Span, term: Term) -> Result<(), Fault> {
        if self.draft.terms.len() >= limits::POLICY_CONDITIONS {
            return Err(Mistake::new(at, Kind::PolicyTooLarge).into());
        }
        Ok(S::push(&mut self.draft.terms, term)?)
    }

    pub(crate) fn push(&mut self, at: Span, condition: Condition) -> Result<(), Fault> {
        if self.draft.conditions.len() >= limits::POLICY_CONDITIONS {
            return Err(Mistake::new(at, Kind::PolicyTooLarge).into());
        }
        Ok(S::push(&mut self.draft.conditions, condition)?)
    }
}

/// Whether a bit of a byte is set, for whether it is 1.
fn test_of_bit(test: Test, bit: u8) -> Test {
    match test {
        Test::Equal(1) | Test::NotEqual(0) => Test::Has(bit.into()),
        _ => Test::Subset((!bit).into()),
    }
}

fn each(quantifier: Quantifier, array: Elements, inner: u16) -> Condition {
    Condition::Each {
        quantifier,
        array,
        inner,
    }
}

fn quantifier(word: &str) -> Option<Quantifier> {
    match word {
        "any" => Some(Quantifier::Any),
        "all" => Some(Quantifier::All),
        "no" => Some(Quantifier::No),
        _ => None,
    }
}

fn quantifier_word(word: &str) -> bool {
    quantifier(word).is_some()
}

/// Whether another condition follows.
fn and(lexer: &mut Lexer<'_>, inside: bool) -> Result<bool, Fault> {
    let next = lexer.peek();
    let mistake = |kind| Err(Mistake::new(next.span, kind).into());
    match (lexer.str(next), next.kind) {
        ("and", _) => {
            lexer.next();
            Ok(true)
        }
        ("or", _) => mistake(Kind::Or),
        (_, TokenKind::Sign(Sign::DotDot)) => mistake(Kind::RangeOutsideSet),
        (_, TokenKind::Sign(Sign::Plus)) => mistake(Kind::SumOnTheRight),
        (_, TokenKind::Sign(Sign::CloseParenthesis)) if !inside => mistake(Kind::ParenthesisAlone),
        _ => Ok(false),
    }
}
