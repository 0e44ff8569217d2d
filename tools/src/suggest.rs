// SPDX-License-Identifier: GPL-2.0

//! The names that were probably meant.

use portcullis_policy::nearest;

use crate::words;

/// More would be a list, and not a suggestion.
const MOST: usize = 3;

/// `; did you mean ...?`: the nearest by the measure of the engine, then those that have the word in
/// them. Nothing if there is none.
pub(crate) fn did_you_mean<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let mut left: Vec<&str> = names.collect();
    let mut found: Vec<String> = Vec::new();
    while let (true, Some(name)) = (found.len() < MOST, nearest(word, left.iter().copied())) {
        found.push(format!("`{name}`"));
        left.retain(|other| *other != name);
    }
    let upper = word.to_ascii_uppercase();
    for name in left {
        if found.len() >= MOST || upper.len() < 3 {
            break;
        }
        if name.to_ascii_uppercase().contains(&upper) {
            found.push(format!("`{name}`"));
        }
    }
    match found.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", words::choice(&found, "or")),
    }
}
