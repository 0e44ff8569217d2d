// SPDX-License-Identifier: GPL-2.0

//! The name that was probably meant.

/// Longer words get no suggestion: no name is that long.
const LONGEST: usize = 48;

type Row = [u8; LONGEST + 1];

/// The name nearest to a word, if it is near: about a third of the letters may differ, whatever
/// their case. Of two that are equally near it is the first.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let limit = (word.len() / 3).max(1);
    let mut best = None;
    for name in names {
        let distance = distance_of(word, name);
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

fn distance_of(word: &str, name: &str) -> usize {
    // `CREATE_VM` for `KVM_CREATE_VM`: half of the name is missing, and yet it is clear.
    if word.len() >= 4 && ends_with(name, word) && name.len() > word.len() {
        return 1;
    }
    edits(word.as_bytes(), name.as_bytes())
}

fn ends_with(name: &str, word: &str) -> bool {
    let start = name.len().checked_sub(word.len());
    start
        .and_then(|start| name.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(word))
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour.
fn edits(word: &[u8], name: &[u8]) -> usize {
    if word.len() > LONGEST || name.len() > LONGEST {
        return usize::MAX;
    }
    // Rows of the usual table: row[j] is the distance from the letters of `word` so far to the
    // first j letters of `name`.
    let mut before: Row = [u8::MAX; LONGEST + 1];
    let mut above: Row = core::array::from_fn(|j| u8::try_from(j).unwrap_or(u8::MAX));
    let mut previous = None;
    for (i, letter) in word.iter().map(u8::to_ascii_lowercase).enumerate() {
        let mut row: Row = [u8::MAX; LONGEST + 1];
        let mut left = u8::try_from(i + 1).unwrap_or(u8::MAX);
        put(&mut row, 0, left);
        let mut previous_other = None;
        for (j, other) in name.iter().map(u8::to_ascii_lowercase).enumerate() {
            let replaced = at(&above, j).saturating_add(u8::from(letter != other));
            let taken_out = at(&above, j + 1).saturating_add(1);
            let put_in = left.saturating_add(1);
            left = replaced.min(taken_out).min(put_in);
            if previous == Some(other) && previous_other == Some(letter) && j > 0 {
                left = left.min(at(&before, j - 1).saturating_add(1));
            }
            put(&mut row, j + 1, left);
            previous_other = Some(other);
        }
        previous = Some(letter);
        before = above;
        above = row;
    }
    usize::from(at(&above, name.len()))
}

fn at(row: &Row, j: usize) -> u8 {
    row.get(j).copied().unwrap_or(u8::MAX)
}

fn put(row: &mut Row, j: usize, value: u8) {
    if let Some(slot) = row.get_mut(j) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (word, name, expected) in [
            ("deny", "deny", 0),
            ("Deny", "deny", 0),
            ("dney", "deny", 1),
            ("denyy", "deny", 1),
            ("dny", "deny", 1),
            ("dent", "deny", 1),
            ("", "deny", 4),
            ("kitten", "sitting", 3),
        ] {
            let found = edits(word.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{word} {name}");
        }
    }

    #[test]
    fn the_nearest_name() {
        let names = ["allow", "deny", "audit", "KVM_CREATE_VM", "KVM_CREATE_VCPU"];
        for (word, expected) in [
            ("alow", Some("allow")),
            ("KVM_CREATE_VMM", Some("KVM_CREATE_VM")),
            ("kvm_create_vcpu", Some("KVM_CREATE_VCPU")),
            ("CREATE_VM", Some("KVM_CREATE_VM")),
            ("forbid", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
        let long = "x".repeat(1000);
        assert_eq!(nearest(&long, names), None);
    }
}
