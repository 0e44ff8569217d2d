// SPDX-License-Identifier: GPL-2.0

//! Showing a mistake: the line, and carets under what is meant.
//!
//! Nothing of a rejected text gets out of here as it is: whatever is not printable becomes `?`, and
//! long lines are cut.

use core::fmt::{self, Display, Formatter, Write};

use crate::{text, Diagnoses, Diagnosis, Message, Storage};

/// Characters of a line that are shown.
const WIDTH: usize = 96;

/// The line of a mistake and its carets: two lines of text, or none where there is no line.
pub struct Excerpt<'a> {
    text: &'a [u8],
    diagnosis: &'a Diagnosis,
}

/// All mistakes of a text, each with its place, its message and its excerpt.
pub struct Report<'a> {
    text: &'a [u8],
    list: &'a [Diagnosis],
    more: u32,
}

impl Diagnosis {
    /// What is wrong, in one line without its place. `text` is the rejected text.
    pub fn message<'a>(&'a self, text: &'a [u8]) -> Message<'a> {
        Message::new(text, self)
    }

    /// The line with the mistake, and carets under it. `text` is the rejected text.
    pub fn excerpt<'a>(&'a self, text: &'a [u8]) -> Excerpt<'a> {
        Excerpt {
            text,
            diagnosis: self,
        }
    }
}

impl<S: Storage> Diagnoses<S> {
    /// All of it, for people. `text` is the rejected text.
    pub fn report<'a>(&'a self, text: &'a [u8]) -> Report<'a> {
        Report {
            text,
            list: &self.list,
            more: self.more,
        }
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for diagnosis in self.list {
            let warning = if diagnosis.kind.is_warning() {
                "warning: "
            } else {
                ""
            };
            writeln!(
                f,
                "{}:{}: {warning}{}",
                diagnosis.line,
                diagnosis.column,
                diagnosis.message(self.text)
            )?;
            diagnosis.excerpt(self.text).fmt(f)?;
        }
        match self.more {
            0 => Ok(()),
            1 => writeln!(f, "and 1 more line with a mistake"),
            more => writeln!(f, "and {more} more lines with a mistake"),
        }
    }
}

impl Display for Excerpt<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let start = usize::try_from(self.diagnosis.at.start).unwrap_or(usize::MAX);
        let (before, behind) = self.text.split_at_checked(start).unwrap_or_default();
        let line_start = before.rsplit(|&byte| byte == b'\n').next();
        let line_start = before.len() - line_start.unwrap_or_default().len();
        let line_rest = behind.split(|&byte| byte == b'\n').next();
        let line_end = start + line_rest.unwrap_or_default().len();
        let line = self.text.get(line_start..line_end).unwrap_or_default();
        if line.is_empty() {
            return Ok(());
        }

        // In characters of the line: where the mistake is, and which part of the line is shown.
        let column = characters(before.get(line_start..).unwrap_or_default()).count();
        let marked = self.diagnosis.at.of(self.text).unwrap_or_default();
        let marked = characters(marked).count().max(1);
        let length = characters(line).count();
        let first = if length <= WIDTH {
            0
        } else {
            column.saturating_sub(WIDTH / 2).min(length - WIDTH)
        };
        let left = if first > 0 { "..." } else { "" };
        let right = if first + WIDTH < length { "..." } else { "" };

        write!(f, "    | {left}")?;
        for character in characters(line).skip(first).take(WIDTH) {
            f.write_char(character)?;
        }
        let margin = left.len() + column - first;
        write!(f, "{right}\n    | {:margin$}^", "")?;
        for _ in 1..marked.min(first + WIDTH - column.min(first + WIDTH - 1)) {
            f.write_char('~')?;
        }
        f.write_char('\n')
    }
}

/// The characters of some bytes as they may be shown, one for one.
fn characters(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    bytes.utf8_chunks().flat_map(|chunk| {
        let broken = chunk.invalid().iter().map(|_| '?');
        chunk.valid().chars().map(shown).chain(broken)
    })
}

fn shown(character: char) -> char {
    match character {
        '\t' => ' ',
        _ if character.is_control() || text::is_invisible(character) => '?',
        _ => character,
    }
}
