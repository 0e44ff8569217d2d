// SPDX-License-Identifier: GPL-2.0

//! What bytes must be before they are read as a policy: a text without surprises.
//!
//! A policy is reviewed by people: nothing in it may look other than it is, and nothing may be
//! hidden behind a byte at which some reader stops.

use crate::diagnosis::Mistake;
use crate::{limits, Kind, Span};

/// The bytes as a text of printable characters, tabs and line feeds.
pub(crate) fn check(bytes: &[u8]) -> Result<&str, Mistake> {
    let mistake = |start, len, kind| Err(Mistake::new(Span::between(start, start + len), kind));
    if bytes.len() > limits::TEXT_BYTES {
        return mistake(0, 0, Kind::TextTooLong { bytes: bytes.len() });
    }
    let (text, broken) = match core::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let text = core::str::from_utf8(valid).unwrap_or_default();
            (text, Some(error.valid_up_to()))
        }
    };
    if text.starts_with('\u{feff}') {
        return mistake(0, '\u{feff}'.len_utf8(), Kind::ByteOrderMark);
    }
    for (at, character) in text.char_indices() {
        if let Some(kind) = forbidden(character) {
            return mistake(at, character.len_utf8(), kind);
        }
    }
    match broken {
        Some(at) => mistake(at, 1, Kind::NotUtf8),
        None => Ok(text),
    }
}

/// Why a character has no place in a policy.
fn forbidden(character: char) -> Option<Kind> {
    match character {
        '\n' | '\t' => None,
        '\0' => Some(Kind::Nul),
        '\r' => Some(Kind::CarriageReturn),
        _ if character.is_control() => Some(Kind::ControlCharacter),
        _ if is_invisible(character) => Some(Kind::InvisibleCharacter),
        _ => None,
    }
}

/// Characters that show nothing themselves and change how, or on which line, others appear.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}
