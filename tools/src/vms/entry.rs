// SPDX-License-Identifier: GPL-2.0

//! A line of the file `vms`: what is known of one VM.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// What a value is. What is not here is a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    /// Seconds since the kernel was booted, with three decimals.
    Time,
    /// A text that is always known: of these a `-` is one.
    Name,
    Text,
}

fn kind(key: &str) -> Kind {
    match key {
        "vm" | "pid" | "uid" | "gid" | "type" | "vcpus" | "memslots" | "memory" | "devices"
        | "vfio-files" | "irqfds" | "ioeventfds" | "zones" | "calls" | "denied" | "would-deny" => {
            Kind::Number
        }
        "created" | "last-call" | "last-denial" => Kind::Time,
        "comm" | "profile" => Kind::Name,
        _ => Kind::Text,
    }
}

/// The keys and values of a line, in its order. Keys that this version does not know are kept.
pub(super) struct Entry {
    pairs: Vec<(String, String)>,
}

impl Entry {
    /// Nothing, if a word of the line is no `KEY=VALUE`, or if it does not begin with the VM's number.
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let pairs = line.split(' ').map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_string(), value.to_string()))
        });
        let pairs: Vec<_> = pairs.collect::<Option<_>>()?;
        let entry = Self { pairs };
        let first = entry.pairs.first()?;
        (first.0 == "vm" && entry.number("vm").is_some()).then_some(entry)
    }

    /// A value as it stands in the file; nothing, if it is not known.
    pub(super) fn raw(&self, key: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        let (_, value) = pairs.find(|(name, _)| name == key)?;
        (value != "-" || kind(key) == Kind::Name).then_some(value)
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.raw(key)?.parse().ok()
    }

    /// A time.
    pub(super) fn time(&self, key: &str) -> Option<f64> {
        self.raw(key)?
            .parse()
            .ok()
            .filter(|time: &f64| time.is_finite())
    }

    /// The bytes of a text.
    pub(super) fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.raw(key).map(unescaped)
    }

    /// A text for people: as it is where that can be printed, else as the file has it.
    pub(super) fn printable(&self, key: &str) -> Option<String> {
        let raw = self.raw(key)?;
        let text = String::from_utf8(unescaped(raw)).ok();
        let text = text.filter(|text| text.chars().all(is_printable));
        Some(text.unwrap_or_else(|| raw.to_string()))
    }
}

/// Bytes of which `\040` and the like are written for those that end a word or cannot be printed.
fn unescaped(raw: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let byte = match first {
            b'\\' => octal(behind),
            _ => None,
        };
        bytes.push(byte.unwrap_or(first));
        rest = match byte {
            Some(_) => behind.get(3..).unwrap_or_default(),
            None => behind,
        };
    }
    bytes
}

/// The byte that three octal digits stand for.
fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    let digits = std::str::from_utf8(digits).ok()?;
    match digits.bytes().all(|digit| digit.is_ascii_digit()) {
        true => u8::from_str_radix(digits, 8).ok(),
        false => None,
    }
}

/// Whether a terminal shows a character and does nothing else with it, and a reader sees it. What is not
/// ASCII may be invisible or change the direction: only letters and digits of other scripts are taken.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~') || (!character.is_ascii() && character.is_alphanumeric())
}

/// Numbers are numbers, what is not known is null, and texts are what they stand for; those that are not
/// UTF-8 stand there as in the file, and `escaped` has their keys.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut escaped = Vec::new();
        for (key, _) in &self.pairs {
            let name = key.replace('-', "_");
            match kind(key) {
                Kind::Number => map.serialize_entry(&name, &self.number(key))?,
                Kind::Time => map.serialize_entry(&name, &self.time(key))?,
                Kind::Name | Kind::Text => {
                    let text = self.bytes(key).map(String::from_utf8);
                    if let Some(Err(_)) = text {
                        escaped.push(name.clone());
                        map.serialize_entry(&name, &self.raw(key))?;
                    } else {
                        map.serialize_entry(&name, &text.and_then(Result::ok))?;
                    }
                }
            }
        }
        map.serialize_entry("escaped", &escaped)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        Entry::of_line(line.as_bytes()).unwrap()
    }

    #[test]
    fn values_are_what_they_stand_for() {
        let entry =
            entry(r"vm=3 comm=- exe=- uid=0 cgroup=/a\040b\134c profile=x created=1.050 label=-");
        assert_eq!(entry.number("vm"), Some(3));
        assert_eq!(entry.raw("comm"), Some("-"));
        assert_eq!(entry.raw("exe"), None);
        assert_eq!(entry.raw("label"), None);
        assert_eq!(entry.bytes("cgroup").unwrap(), br"/a b\c");
        assert_eq!(entry.time("created"), Some(1.05));
        assert_eq!(entry.number("nothing"), None);
    }

    #[test]
    fn other_lines_are_none_of_them() {
        for line in [
            "x",
            "",
            "vm",
            "vm=",
            "vm=x",
            "vm=1 comm",
            "pid=1 vm=1",
            "vm=1  pid=2",
            "vm=-",
        ] {
            assert!(Entry::of_line(line.as_bytes()).is_none(), "{line}");
        }
        assert!(Entry::of_line(b"vm=1 comm=\xff").is_none());
    }

    #[test]
    fn escapes_are_read() {
        for (raw, bytes) in [
            (r"a\040b", &b"a b"[..]),
            (r"\377\000", b"\xff\0"),
            (r"\134040", br"\040"),
            (r"\04", br"\04"),
            (r"\400", br"\400"),
            (r"\+12", br"\+12"),
            (r"\", br"\"),
        ] {
            assert_eq!(unescaped(raw), bytes, "{raw}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let comm = |raw: &str| {
            entry(&format!("vm=1 comm={raw}"))
                .printable("comm")
                .unwrap()
        };
        assert_eq!(comm(r"a\040b"), "a b");
        assert_eq!(comm(r"gr\303\274n"), "grün");
        assert_eq!(comm(r"\033[2J"), r"\033[2J");
        assert_eq!(comm(r"a\012b"), r"a\012b");
        assert_eq!(comm(r"\377"), r"\377");
        // Right-to-left override.
        assert_eq!(comm(r"\342\200\256x"), r"\342\200\256x");
    }

    #[test]
    fn json_has_numbers_nulls_and_texts() {
        let entry =
            entry(r"vm=1 comm=\377 exe=/a\040b uid=0 calls=- last-call=2.500 label=- new-key=7");
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"vm":1,"comm":"\\377","exe":"/a b","uid":0,"calls":null,"last_call":2.5,"label":null,"new_key":"7","escaped":["comm"]}"#
        );
    }
}
