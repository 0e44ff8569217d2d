// SPDX-License-Identifier: GPL-2.0

//! What a condition compares with: numbers and constants, checked against the field they are for.

use crate::diagnosis::{Fault, Mistake};
use crate::evaluate::biased;
use crate::lexer::{Lexer, Sign, TokenKind};
use crate::operand::{Operand, What};
use crate::parser::{expected, Parser};
use crate::{number, schema, Expected, Grow, Kind};

/// `a` or `a|b|c`, as [`crate::Test`] has it. `equal`: it is compared with `==`, where somebody may
/// have meant a set of bits.
pub(crate) fn value<'t, S: Grow>(
    parser: &mut Parser<'t, S>,
    lexer: &mut Lexer<'t>,
    operand: &Operand,
    equal: bool,
) -> Result<u64, Fault> {
    let first = lexer.peek();
    let mut sum = 0;
    let mut bars = 0;
    if let What::Word(words) = operand.what {
        return word_of(lexer, words);
    }
    loop {
        let token = lexer.next();
        let word = lexer.str(token);
        let mistake = |kind| Err(Mistake::new(token.span, kind).into());
        match token.kind {
            TokenKind::Word if number::is_meant(word) => match number::parse(word) {
                Ok(value) => sum |= fit(operand, value, false).or_else(mistake)?,
                Err(Kind::Negative) if operand.signed => {
                    let magnitude = word.get(1..).unwrap_or_default();
                    match number::parse(magnitude) {
                        Ok(value) => {
                            let value = value.wrapping_neg();
                            sum |= fit(operand, value, true).or_else(mistake)?;
                        }
                        Err(kind) => return mistake(kind),
                    }
                }
                Err(kind) => return mistake(kind),
            },
            // `||` is how other languages write it.
            TokenKind::Sign(Sign::Bar) if bars > 0 => return mistake(Kind::Or),
            TokenKind::Sign(Sign::OpenParenthesis) => return mistake(Kind::ParenthesisAlone),
            TokenKind::Word if matches!(word, "and" | "or" | "if" | "errno" | "reason") => {
                return Err(expected(token, Expected::Value))
            }
            TokenKind::Word if word.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                let Some((place, value)) = schema::constant(word) else {
                    return mistake(Kind::UnknownConstant {
                        constants: operand.constants,
                    });
                };
                // CAST: a constant below zero is kept sign-extended. An unsigned number of 64 bits has
                // the same bits in C.
                let negative = (value as i64) < 0 && (operand.signed || operand.width < 8);
                sum |= fit(operand, value, negative).or_else(mistake)?;
                if !operand.constants.is_empty() && !operand.constants.contains(&place) {
                    let constants = operand.constants;
                    let kind = Kind::ConstantOfOther { constants };
                    parser.warn(Mistake::new(token.span, kind))?;
                }
            }
            _ => return Err(expected(token, Expected::Value)),
        }
        if lexer.peek().kind != TokenKind::Sign(Sign::Bar) {
            break;
        }
        lexer.next();
        bars += 1;
    }
    if equal && bars > 0 && sum.count_ones() > 1 {
        let whole = first.span.up_to(lexer.last());
        parser.warn(Mistake::new(whole, Kind::EqualToBits))?;
    }
    Ok(if operand.signed {
        biased(sum, operand.width)
    } else {
        sum
    })
}

/// One of a few words: its place is the value.
fn word_of(lexer: &mut Lexer<'_>, words: &'static [&'static str]) -> Result<u64, Fault> {
    let token = lexer.next();
    let mut known = (0..).zip(words);
    match known.find(|(_, word)| **word == lexer.str(token)) {
        Some((place, _)) => Ok(place),
        None => Err(Mistake::new(token.span, Kind::UnknownWord { words }).into()),
    }
}

/// The value, if the operand can have it.
fn fit(operand: &Operand, value: u64, negative: bool) -> Result<u64, Kind> {
    let bits = u32::from(operand.width) * 8;
    let fits = match (operand.signed, negative) {
        (false, false) => bits >= 64 || value >> bits == 0,
        (false, true) => false,
        (true, false) => value >> (bits - 1) == 0,
        // All the bits above the sign are 1, and so is the sign.
        (true, true) => !value >> (bits - 1) == 0,
    };
    if fits {
        return Ok(value);
    }
    Err(Kind::ValueTooWide {
        width: operand.width,
        signed: operand.signed,
    })
}
