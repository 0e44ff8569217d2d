// SPDX-License-Identifier: GPL-2.0

//! Patterns of paths and names: `?`, `*` and `**`.
//!
//! A pattern is walked as the set of all places that it may have got to, so that none takes longer
//! than its length times that of the text, whatever both are made of.

use crate::limits;

/// What `*` and `?` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Separator {
    /// In a path: anything but `/`, which takes `**`.
    Slash,
    /// In a name that is no path: anything.
    None,
}

/// The places of a pattern, and the one behind its end.
type Places = [bool; limits::PATTERN_BYTES + 1];

/// Whether a text is one that a pattern stands for; both are bytes, and `?` is one of them.
pub(crate) fn matches(pattern: &[u8], text: &[u8], separator: Separator) -> bool {
    if pattern.len() > limits::PATTERN_BYTES {
        return false;
    }
    let mut here: Places = [false; limits::PATTERN_BYTES + 1];
    enter(&mut here, pattern, 0);
    for &byte in text {
        let mut next: Places = [false; limits::PATTERN_BYTES + 1];
        let mut is_lost = true;
        for (at, piece) in pattern.iter().enumerate() {
            if here.get(at) != Some(&true) {
                continue;
            }
            let is_plain = byte != b'/' || separator == Separator::None;
            let goes_to = match piece {
                b'*' if is_plain || is_double(pattern, at) => at,
                b'*' => continue,
                b'?' if is_plain => at + 1,
                other if *other == byte => at + 1,
                _ => continue,
            };
            enter(&mut next, pattern, goes_to);
            is_lost = false;
        }
        if is_lost {
            return false;
        }
        here = next;
    }
    here.get(pattern.len()) == Some(&true)
}

/// Notes a place, and those behind stars, which may stand for nothing.
fn enter(places: &mut Places, pattern: &[u8], mut at: usize) {
    loop {
        match places.get_mut(at) {
            // Whoever was here has noted those behind.
            Some(true) | None => return,
            Some(place) => *place = true,
        }
        at += match pattern.get(at) {
            Some(b'*') if is_double(pattern, at) => 2,
            Some(b'*') => 1,
            _ => return,
        };
    }
}

/// Whether a star is the first of two.
fn is_double(pattern: &[u8], at: usize) -> bool {
    pattern.get(at + 1) == Some(&b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// What the words of the documentation say, without a thought of how long it takes.
    fn plainly(pattern: &[u8], text: &[u8], separator: Separator) -> bool {
        let is_plain = |byte: &u8| *byte != b'/' || separator == Separator::None;
        let runs = |rest: &[u8], may: &dyn Fn(&u8) -> bool| {
            let longest = text.iter().take_while(|byte| may(byte)).count();
            (0..=longest).any(|len| plainly(rest, &text[len..], separator))
        };
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', b'*', rest @ ..], _) => runs(rest, &|_| true),
            ([b'*', rest @ ..], _) => runs(rest, &is_plain),
            ([b'?', rest @ ..], [byte, behind @ ..]) => {
                // A question mark stands for itself as well.
                is_plain(byte) && plainly(rest, behind, separator)
            }
            ([piece, rest @ ..], [byte, behind @ ..]) => {
                piece == byte && plainly(rest, behind, separator)
            }
            (_, []) => false,
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("/usr/bin/qemu", "/usr/bin/qemu", true),
            ("/usr/bin/qemu", "/usr/bin/qemu2", false),
            ("/usr/bin/qemu", "/usr/bin/qem", false),
            ("/usr/bin/qemu-*", "/usr/bin/qemu-system-x86_64", true),
            ("/usr/bin/qemu-*", "/usr/bin/qemu-", true),
            ("/usr/bin/qemu-*", "/usr/bin/qemu-/../sh", false),
            ("/opt/*/vmm", "/opt/a/vmm", true),
            ("/opt/*/vmm", "/opt/a/b/vmm", false),
            ("/opt/**/vmm", "/opt/a/b/vmm", true),
            ("/opt/**vmm", "/opt/vmm", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", false),
            ("/**", "/", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes(), Separator::Slash);
            assert_eq!(found, expected, "{pattern} {text}");
        }
        assert!(matches(b"a*c", b"a/b/c", Separator::None));
        assert!(matches(b"a?c", b"a/c", Separator::None));
        assert!(matches(b"*\xff", b"\xfe\xff", Separator::Slash));
    }

    #[test]
    fn every_short_pattern_is_read_plainly() {
        let words = |letters: &[u8], longest: u32| -> Vec<Vec<u8>> {
            let mut all = Vec::new();
            for len in 0..=longest {
                for number in 0..letters.len().pow(len) {
                    let digit = |n: u32| letters[number / letters.len().pow(n) % letters.len()];
                    all.push((0..len).map(digit).collect());
                }
            }
            all
        };
        let texts = words(b"ab/", 5);
        for pattern in words(b"ab/*?", 5) {
            // The parser refuses more than two in a row.
            if pattern.windows(3).any(|three| three == b"***") {
                continue;
            }
            for text in &texts {
                for separator in [Separator::Slash, Separator::None] {
                    let found = matches(&pattern, text, separator);
                    let expected = plainly(&pattern, text, separator);
                    assert_eq!(found, expected, "{pattern:?} {text:?} {separator:?}");
                }
            }
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern: Vec<u8> = b"**a".iter().copied().cycle().take(255).collect();
        let text = std::vec![b'a'; 4095];
        assert!(matches(&pattern, &text, Separator::Slash));
        let text = [text, std::vec![b'b']].concat();
        assert!(!matches(&pattern, &text, Separator::Slash));
        assert!(!matches(&[b'a'; 256], &[b'a'; 256], Separator::Slash));
    }
}
