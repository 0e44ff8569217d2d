// SPDX-License-Identifier: GPL-2.0

//! Cuts one line into tokens.

use crate::Span;

/// A piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Letters, digits, `_`, `-` and single `.`.
    Word,
    /// Text in quotes; the span has them.
    Quoted,
    /// A quote that is not closed, up to the end of the line.
    Unclosed,
    /// A sign of the language.
    Sign(Sign),
    /// A character that is none of these.
    Other,
    /// The end of the line, or the beginning of its comment.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Comma,
    Star,
    Bar,
    Plus,
    OpenBrace,
    CloseBrace,
    OpenParenthesis,
    CloseParenthesis,
    OpenBracket,
    CloseBracket,
    DotDot,
    Assign,
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Two characters before one: the first that fits is taken.
const SIGNS: [(&str, Sign); 18] = [
    ("==", Sign::Equal),
    ("!=", Sign::NotEqual),
    ("<=", Sign::AtMost),
    (">=", Sign::AtLeast),
    ("..", Sign::DotDot),
    (",", Sign::Comma),
    ("*", Sign::Star),
    ("|", Sign::Bar),
    ("+", Sign::Plus),
    ("{", Sign::OpenBrace),
    ("}", Sign::CloseBrace),
    ("(", Sign::OpenParenthesis),
    (")", Sign::CloseParenthesis),
    ("[", Sign::OpenBracket),
    ("]", Sign::CloseBracket),
    ("=", Sign::Assign),
    ("<", Sign::Below),
    (">", Sign::Above),
];

/// Reads the tokens of one line. A copy of it looks ahead.
#[derive(Clone, Copy)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    /// Behind the last token.
    at: usize,
    end: usize,
    last: Span,
}

impl<'t> Lexer<'t> {
    /// For the line of `text` between two positions, without its line feed.
    pub(crate) fn new(text: &'t str, start: usize, end: usize) -> Self {
        Self {
            text,
            at: start,
            end,
            last: Span::between(start, start),
        }
    }

    /// The next token; [`TokenKind::End`] again and again when there is none.
    pub(crate) fn next(&mut self) -> Token {
        let rest = self.rest();
        let skipped = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let rest = rest.get(skipped..).unwrap_or_default();
        let (kind, len) = match rest.chars().next() {
            // It stands behind the last token and not behind the blanks that follow it.
            None | Some('#') => {
                let span = Span::between(self.at, self.at);
                return Token {
                    kind: TokenKind::End,
                    span,
                };
            }
            Some('"') => quoted(rest),
            Some(first) => match word(rest) {
                0 => sign(rest).unwrap_or((TokenKind::Other, first.len_utf8())),
                len => (TokenKind::Word, len),
            },
        };
        let start = self.at + skipped;
        self.at = start + len;
        self.last = Span::between(start, self.at);
        Token {
            kind,
            span: self.last,
        }
    }

    /// The next token, which stays where it is.
    pub(crate) fn peek(&self) -> Token {
        let mut ahead = *self;
        ahead.next()
    }

    /// Everything up to the next blank, whatever it is.
    pub(crate) fn next_run(&mut self) -> Token {
        self.up_to(&[' ', '\t', '#'])
    }

    /// Everything up to the next blank or comma.
    pub(crate) fn next_item(&mut self) -> Token {
        self.up_to(&[' ', '\t', '#', ','])
    }

    fn up_to(&mut self, ends: &[char]) -> Token {
        let first = self.peek();
        if first.kind == TokenKind::End {
            return first;
        }
        let start = usize::try_from(first.span.start).unwrap_or(self.end);
        let run = self.text.get(start..self.end).unwrap_or_default();
        let len = run.find(ends).unwrap_or(run.len());
        self.at = start + len;
        self.last = Span::between(start, self.at);
        Token {
            kind: TokenKind::Word,
            span: self.last,
        }
    }

    /// Where the last token stood.
    pub(crate) fn last(&self) -> Span {
        self.last
    }

    /// The characters of a token.
    pub(crate) fn str(&self, token: Token) -> &'t str {
        let start = usize::try_from(token.span.start).unwrap_or_default();
        let len = usize::try_from(token.span.len).unwrap_or_default();
        self.text
            .get(start..start.saturating_add(len))
            .unwrap_or_default()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..self.end).unwrap_or_default()
    }
}

/// The quoted text at the beginning of `rest`.
fn quoted(rest: &str) -> (TokenKind, usize) {
    match rest.get(1..).and_then(|inside| inside.find('"')) {
        Some(len) => (TokenKind::Quoted, len + 2),
        None => (TokenKind::Unclosed, rest.trim_end().len()),
    }
}

/// The length of the word at the beginning of `rest`. Two dots are a range, not part of a word.
fn word(rest: &str) -> usize {
    let mut bytes = rest.bytes().peekable();
    let mut len = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' if bytes.peek() == Some(&b'.') => break,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => len += 1,
            _ => break,
        }
    }
    len
}

/// The sign at the beginning of `rest`.
fn sign(rest: &str) -> Option<(TokenKind, usize)> {
    let (text, sign) = SIGNS.iter().find(|(text, _)| rest.starts_with(text))?;
    Some((TokenKind::Sign(*sign), text.len()))
}
