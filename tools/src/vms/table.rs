// SPDX-License-Identifier: GPL-2.0

//! VMs as a table for people.

use std::fmt::{self, Write as _};

use anstyle::Style;

use super::entry::Entry;
use crate::style;

/// A title and a line for each VM; nothing where there are none.
pub(super) struct Table<'a> {
    pub(super) entries: &'a [Entry],
    /// Seconds since the kernel was booted, now.
    pub(super) uptime: Option<f64>,
}

/// What is in a column, and how it stands there.
struct Column {
    title: &'static str,
    is_number: bool,
    cell: fn(&Table<'_>, &Entry) -> String,
}

const fn text(title: &'static str, cell: fn(&Table<'_>, &Entry) -> String) -> Column {
    Column {
        title,
        is_number: false,
        cell,
    }
}

const fn number(title: &'static str, cell: fn(&Table<'_>, &Entry) -> String) -> Column {
    Column {
        title,
        is_number: true,
        cell,
    }
}

/// The program comes last, because nobody knows how long it is.
const COLUMNS: [Column; 15] = [
    number("VM", |_, entry| plain(entry, "vm")),
    number("PID", |_, entry| plain(entry, "pid")),
    number("UID", |_, entry| plain(entry, "uid")),
    text("PROFILE", |_, entry| plain(entry, "profile")),
    text("PHASE", |_, entry| plain(entry, "phase")),
    number("VCPUS", |_, entry| plain(entry, "vcpus")),
    number("MEMORY", |_, entry| {
        or_dash(entry.number("memory").map(bytes))
    }),
    number("DEVICES", |_, entry| plain(entry, "devices")),
    number("CALLS", |_, entry| plain(entry, "calls")),
    number("DENIED", |_, entry| plain(entry, "denied")),
    number("WOULD-DENY", |_, entry| plain(entry, "would-deny")),
    text("CREATED", |table, entry| table.age(entry, "created")),
    text("LAST-CALL", |table, entry| table.age(entry, "last-call")),
    text("LAST-DENIAL", |table, entry| {
        table.age(entry, "last-denial")
    }),
    text("PROGRAM", |_, entry| program(entry)),
];

const UNKNOWN: &str = "-";

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.to_string())
}

fn plain(entry: &Entry, key: &str) -> String {
    or_dash(entry.printable(key))
}

/// The path of the program, or in parentheses the name that the process gave itself.
fn program(entry: &Entry) -> String {
    let name = || entry.printable("comm").map(|name| format!("({name})"));
    or_dash(entry.printable("exe").or_else(name))
}

/// A size with the suffixes that a policy has, to one decimal.
fn bytes(size: u64) -> String {
    const SUFFIXES: [&str; 5] = ["", "K", "M", "G", "T"];
    let mut tenths = u128::from(size) * 10;
    let mut power = 0;
    while tenths >= 10240 && power < SUFFIXES.len() - 1 {
        // Rounded up from a half; what becomes 1024 by that is 1 of the next.
        tenths = (tenths + 512) / 1024;
        power += 1;
    }
    let suffix = SUFFIXES.get(power).copied().unwrap_or_default();
    match tenths % 10 {
        0 => format!("{}{suffix}", tenths / 10),
        tenth => format!("{}.{tenth}{suffix}", tenths / 10),
    }
}

/// How long ago something was.
fn ago(seconds: f64) -> String {
    // Whoever reads the file first and the clock later sees no negative ones, but for rounding.
    let seconds = seconds.max(0.0) as u64;
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{count} {unit} ago")
}

impl Table<'_> {
    fn age(&self, entry: &Entry, key: &str) -> String {
        let age = |(now, then): (f64, f64)| ago(now - then);
        or_dash(self.uptime.zip(entry.time(key)).map(age))
    }

    /// What stands out in a cell.
    fn style(column: &Column, cell: &str) -> Option<Style> {
        match column.title {
            "DENIED" if cell != "0" => Some(style::ERROR),
            "WOULD-DENY" if cell != "0" => Some(style::WARNING),
            _ => None,
        }
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return Ok(());
        }
        let cells = |entry| COLUMNS.iter().map(move |column| (column.cell)(self, entry));
        let rows: Vec<Vec<String>> = self
            .entries
            .iter()
            .map(|entry| cells(entry).collect())
            .collect();
        let titles: Vec<String> = COLUMNS
            .iter()
            .map(|column| column.title.to_string())
            .collect();
        let mut widths = [0; COLUMNS.len()];
        for row in rows.iter().chain([&titles]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        row(f, &widths, &titles, |_, _| Some(style::TITLE))?;
        for cells in &rows {
            row(f, &widths, cells, Self::style)?;
        }
        Ok(())
    }
}

/// One line. Spaces are outside of what has a style, and there are none at its end.
fn row(
    f: &mut fmt::Formatter<'_>,
    widths: &[usize],
    cells: &[String],
    style: impl Fn(&Column, &str) -> Option<Style>,
) -> fmt::Result {
    let mut owed = 0;
    for ((column, width), cell) in COLUMNS.iter().zip(widths).zip(cells) {
        let room = width - cell.chars().count();
        if column.is_number {
            owed += room;
        }
        for _ in 0..owed {
            f.write_char(' ')?;
        }
        match style(column, cell) {
            Some(style) => write!(f, "{style}{cell}{style:#}")?,
            None => f.write_str(cell)?,
        }
        owed = if column.is_number { 2 } else { room + 2 };
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (size, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1K"),
            (1536, "1.5K"),
            (1 << 20, "1M"),
            ((1 << 20) - 1, "1M"),
            (5 << 30, "5G"),
            (3 << 39, "1.5T"),
            (u64::MAX, "16777216T"),
        ] {
            assert_eq!(bytes(size), text, "{size}");
        }
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (-0.5, "0 s ago"),
            (0.9, "0 s ago"),
            (3.2, "3 s ago"),
            (59.9, "59 s ago"),
            (60.0, "1 min ago"),
            (3599.0, "59 min ago"),
            (3600.0, "1 h ago"),
            (172_799.0, "47 h ago"),
            (172_800.0, "2 d ago"),
        ] {
            assert_eq!(ago(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_table_is_aligned() {
        let lines = [
            "vm=9 pid=7 comm=x exe=/usr/bin/qemu uid=0 profile=qemu phase=running vcpus=2 memory=1572864 devices=1 \
             calls=1000 denied=0 would-deny=0 created=10.000 last-call=99.500 last-denial=-",
            "vm=10 pid=12345 comm=a\\040b exe=- uid=64055 profile=other phase=setup vcpus=0 memory=0 devices=0 \
             calls=- denied=3 would-deny=0 created=- last-call=- last-denial=40.000",
        ];
        let entries: Vec<Entry> = lines
            .iter()
            .map(|line| Entry::of_line(line.as_bytes()).unwrap())
            .collect();
        let table = Table {
            entries: &entries,
            uptime: Some(100.0),
        };
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(
            plain,
            "\
VM    PID    UID  PROFILE  PHASE    VCPUS  MEMORY  DEVICES  CALLS  DENIED  WOULD-DENY  CREATED    LAST-CALL  LAST-DENIAL  PROGRAM
 9      7      0  qemu     running      2    1.5M        1   1000       0           0  1 min ago  0 s ago    -            /usr/bin/qemu
10  12345  64055  other    setup        0       0        0      -       3           0  -          -          1 min ago    (a b)
"
        );
        let denied = format!("{}3", style::ERROR);
        assert_eq!(table.to_string().matches(&denied).count(), 1);
    }

    #[test]
    fn no_vm_is_no_table() {
        let table = Table {
            entries: &[],
            uptime: None,
        };
        assert_eq!(table.to_string(), "");
    }
}
