// SPDX-License-Identifier: GPL-2.0

//! compile-policy: turns a policy into a static table of the module, at build time.
//!
//! Prints a Rust file with `TEXT`, the exact text, and `POLICY`, its table. A mistake in the policy
//! fails the build, with file, line and column.

mod located;

use std::fmt::{self, Formatter};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use located::{Colours, Located};
use portcullis_policy::{parse, Diagnoses, Entry, Heap, Policy, Rejection, Target};

const USAGE: &str = "usage: compile-policy FILE

Compiles the policy in FILE and prints the table as a Rust file.
Exit code 1: FILE is no policy or cannot be read. 2: wrong usage.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if file == "-h" || file == "--help" {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{file}: error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match parse::<Heap>(&text) {
        Ok(policy) => {
            let name = Path::new(file).file_name().unwrap_or_default();
            let name = name.to_string_lossy();
            print!("{}", Generated(&name, &text, &policy));
            ExitCode::SUCCESS
        }
        Err(Rejection::Mistakes(diagnoses)) => {
            explain(file, &text, &diagnoses);
            ExitCode::FAILURE
        }
        Err(Rejection::OutOfMemory) => {
            eprintln!("{file}: error: out of memory");
            ExitCode::FAILURE
        }
    }
}

/// Without colours: this goes to the log of a build.
fn explain(file: &str, text: &[u8], diagnoses: &Diagnoses<Heap>) {
    let located = Located {
        file,
        text,
        diagnoses,
        colours: &Colours::default(),
    };
    eprint!("{located}");
}

/// The Rust file.
struct Generated<'a>(&'a str, &'a [u8], &'a Policy<Heap>);

impl fmt::Display for Generated<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Generated(name, text, policy) = self;
        f.write_str("// SPDX-License-Identifier: GPL-2.0\n\n")?;
        writeln!(
            f,
            "// Generated from {name} by scripts/compile-policy.rs: do not edit.\n"
        )?;
        f.write_str(USES)?;
        f.write_str("\n/// The text.\n#[rustfmt::skip]\npub static TEXT: &[u8] = concat!(\n")?;
        // A policy is UTF-8: that is how it came to be one.
        for line in String::from_utf8_lossy(text).split_inclusive('\n') {
            writeln!(f, "    {line:?},")?;
        }
        f.write_str(")\n.as_bytes();\n\n/// The table.\n#[rustfmt::skip]\n")?;
        f.write_str("pub static POLICY: Policy<Static> = Policy {\n")?;
        writeln!(f, "    name: {:?},", policy.name)?;
        writeln!(f, "    version: {:?},", policy.version)?;
        list(f, "profiles", &policy.profiles, 1, |profile| {
            format!("{profile:?}")
        })?;
        list(f, "matches", &policy.matches, 1, |line| format!("{line:?}"))?;
        list(f, "ids", &policy.ids, 1, |range| format!("{range:?}"))?;
        list(f, "patterns", &policy.patterns, 1, |span| {
            format!("{span:?}")
        })?;
        list(f, "pattern_bytes", &policy.pattern_bytes, 16, |byte| {
            format!("{byte:#x}")
        })?;
        list(f, "rates", &policy.rates, 1, |rate| format!("{rate:?}"))?;
        list(f, "dids", &policy.dids, 1, |did| format!("{did:?}"))?;
        for (name, shortcuts) in [
            ("shortcuts", &policy.shortcuts),
            ("section_shortcuts", &policy.section_shortcuts),
        ] {
            list(f, name, shortcuts, 2, |shortcut| format!("{shortcut:?}"))?;
        }
        list(f, "dispatch", &policy.dispatch, 4, |bucket| {
            format!("{bucket:?}")
        })?;
        writeln!(f, "    section_entries: {},", policy.section_entries)?;
        list(
            f,
            "entries",
            &policy.entries,
            1,
            |Entry { command, head }| format!("Entry {{ command: {command:#x}, head: {head:?} }}"),
        )?;
        list(f, "links", &policy.links, 1, |link| format!("{link:?}"))?;
        list(f, "targets", &policy.targets, 1, |target| {
            let command = match target.command {
                Some(command) => format!("Some({command:#x})"),
                None => "None".to_string(),
            };
            let Target { surface, .. } = target;
            format!("Target {{ surface: {surface:?}, command: {command} }}")
        })?;
        list(f, "rules", &policy.rules, 1, |rule| format!("{rule:?}"))?;
        list(f, "checks", &policy.checks, 1, |check| format!("{check:?}"))?;
        list(f, "conditions", &policy.conditions, 1, |condition| {
            format!("{condition:?}")
        })?;
        list(f, "ranges", &policy.ranges, 1, |range| format!("{range:?}"))?;
        list(f, "terms", &policy.terms, 1, |term| format!("{term:?}"))?;
        list(f, "needs", &policy.needs, 1, |need| format!("{need:?}"))?;
        list(f, "follows", &policy.follows, 1, |follow| {
            format!("{follow:?}")
        })?;
        f.write_str("};\n")
    }
}

// The names of these types' variants are what `Debug` prints.
const USES: &str = "#[rustfmt::skip]
#[allow(unused_imports)]
use portcullis_policy::{
    schema::{Len::*, Place, Selector},
    Action::*, Behind, Bucket, By::*, Check, Condition::*, Conditions, Did, Elements, Entry, FieldAt,
    Follow, Head, Link, Match, Need, Policy, Profile, Quantifier::*, Range, Rate, Reads, Rule, Section,
    Shortcut, Space::*, Span, StateNeed, Static, Surface::*, Tail, Target, Term::*, Test::*, Tests, Whole,
    Within::*,
};
";

fn list<T>(
    f: &mut Formatter<'_>,
    name: &str,
    items: &[T],
    per_line: usize,
    item: impl Fn(&T) -> String,
) -> fmt::Result {
    writeln!(f, "    {name}: &[")?;
    for row in items.chunks(per_line) {
        let row: Vec<String> = row.iter().map(&item).collect();
        writeln!(f, "        {},", row.join(", "))?;
    }
    writeln!(f, "    ],")
}
