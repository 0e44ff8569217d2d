// SPDX-License-Identifier: GPL-2.0

//! The corpus in tests/policies: every good policy loads, every bad one is told exactly why not.
//!
//! Beside `NAME.policy` in `bad/` stands `NAME.expected`, the report of its mistakes. With
//! UPDATE_EXPECTED=1 in the environment these files are written instead of compared: read them.

use portcullis_policy::{
    check, limits, parse, Bytes, Diagnosis, Heap, Kind, Rejection, Request, Surface,
};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn policies(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/policies")
        .join(folder);
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut policies: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "policy"))
        .collect();
    policies.sort();
    policies
}

fn report(text: &[u8]) -> Option<String> {
    match parse::<Heap>(text) {
        Ok(_) => None,
        Err(Rejection::Mistakes(diagnoses)) => Some(diagnoses.report(text).to_string()),
        Err(Rejection::OutOfMemory) => panic!("out of memory"),
    }
}

#[test]
fn good_policies_load() {
    let policies = policies("good");
    assert!(policies.len() >= 8, "only {} good policies", policies.len());
    for path in policies {
        let text = fs::read(&path).unwrap();
        if let Some(report) = report(&text) {
            panic!("{} was rejected:\n{report}", path.display());
        }
    }
}

#[test]
fn bad_policies_are_told_why() {
    compare("bad", 220, report);
}

#[test]
fn odd_policies_are_taken_with_a_warning() {
    compare("odd", 6, |text| match check::<Heap>(text) {
        Ok(checked) if checked.warnings.list.is_empty() => None,
        Ok(checked) => Some(checked.warnings.report(text).to_string()),
        Err(_) => None,
    });
}

/// Those of the corpus, and those that are shipped.
#[test]
fn good_policies_have_no_warning() {
    let shipped = policies("../../policy/virtual-patches");
    assert!(
        shipped.len() >= 20,
        "only {} virtual patches",
        shipped.len()
    );
    let others = policies("good").into_iter().chain(policies("../../policy"));
    for path in shipped.into_iter().chain(others) {
        let text = fs::read(&path).unwrap();
        let Ok(checked) = check::<Heap>(&text) else {
            panic!("{}:\n{}", path.display(), report(&text).unwrap());
        };
        let warnings = checked.warnings.report(&text).to_string();
        assert_eq!(warnings, "", "{}", path.display());
    }
}

/// Compares what is said of each policy in a folder with the file beside it.
fn compare(folder: &str, least: usize, said: impl Fn(&[u8]) -> Option<String>) {
    let update = env::var_os("UPDATE_EXPECTED").is_some_and(|value| value == "1");
    let policies = policies(folder);
    assert!(
        policies.len() >= least,
        "only {} in {folder}",
        policies.len()
    );
    let mut wrong = 0;
    for path in policies {
        let text = fs::read(&path).unwrap();
        let Some(found) = said(&text) else {
            eprintln!("nothing is said of {}", path.display());
            wrong += 1;
            continue;
        };
        let expected = path.with_extension("expected");
        if update {
            fs::write(&expected, found).unwrap();
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&found) {
            eprintln!("{} does not say:\n{found}", expected.display());
            wrong += 1;
        }
    }
    assert_eq!(
        wrong, 0,
        "UPDATE_EXPECTED=1 writes what is said now; then read it"
    );
}

/// The mistakes of a text.
fn mistakes(text: &str) -> Vec<Diagnosis> {
    match parse::<Heap>(text.as_bytes()) {
        Err(Rejection::Mistakes(diagnoses)) => diagnoses.list,
        _ => panic!("the text was not rejected"),
    }
}

fn with_rules(rules: &str) -> String {
    format!("policy big version 1\nprofile other\ndefault deny\n{rules}end\n")
}

#[test]
fn a_text_up_to_the_limit() {
    let mut text = with_rules("");
    while text.len() < limits::TEXT_BYTES {
        let room = limits::TEXT_BYTES - text.len();
        text.push_str(&"#".repeat(room.min(100) - 1));
        text.push('\n');
    }
    assert_eq!(text.len(), limits::TEXT_BYTES);
    assert_eq!(report(text.as_bytes()), None);
    text.push('\n');
    assert_eq!(
        report(text.as_bytes()).unwrap(),
        "1:1: the text has 1048577 bytes; a policy has at most 1048576\n    \
         | policy big version 1\n    | ^\n"
    );
}

#[test]
fn rules_up_to_the_limit() {
    let rules = "allow KVM_RUN\n".repeat(limits::RULES);
    assert_eq!(report(with_rules(&rules).as_bytes()), None);
    let found = mistakes(&with_rules(&(rules + "allow KVM_RUN\nnonsense\n")));
    assert_eq!(found.len(), 1, "what follows is not judged");
    assert_eq!((found[0].line, found[0].kind), (4100, Kind::TooManyRules));
}

#[test]
fn pairs_named_in_the_text_up_to_the_limit() {
    let numbers = |count: usize| {
        let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        with_rules(&format!("allow kvm-vm {}\n", numbers.join(",")))
    };
    let links = |text: &str| {
        parse::<Heap>(text.as_bytes())
            .ok()
            .map(|policy| policy.links.len())
    };
    // Each number that a policy names adds a link to those of the default.
    let free = limits::LINKS - links(&with_rules("")).unwrap();
    assert_eq!(links(&numbers(free)), Some(limits::LINKS));
    let found = mistakes(&numbers(free + 1));
    assert_eq!(
        (found[0].line, found[0].column, found[0].kind),
        (4, 1, Kind::TooManyLinks)
    );
    let found = mistakes(&numbers(limits::LINKS + 1));
    assert_eq!((found[0].line, found[0].kind), (4, Kind::TooManyLinks));
    assert!(
        found[0].column > 100_000,
        "the number that is one too many is meant"
    );
}

#[test]
fn pairs_behind_stars_up_to_the_limit() {
    // Each is a link of every vCPU command.
    assert_eq!(
        report(with_rules(&"audit kvm-vcpu *\n".repeat(500)).as_bytes()),
        None
    );
    let text = with_rules(&"  audit kvm-vcpu * # all\n".repeat(4000));
    let found = mistakes(&text);
    assert_eq!(
        (found[0].line, found[0].column),
        (4003, 3),
        "the last rule is meant"
    );
    assert_eq!(found[0].kind, Kind::TooManyLinks);
    assert_eq!(found[0].at.len, 22);
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let text = with_rules(&format!(
        "allow kvm-vm {}x, {}\n",
        "1, ".repeat(60),
        "2, ".repeat(9999)
    ));
    let report = report(text.as_bytes()).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    assert!(
        lines.len() == 3 && lines.iter().all(|line| line.len() < 160),
        "{report}"
    );
    let caret = lines[2].find('^').unwrap();
    assert_eq!(&lines[1][caret..caret + 1], "x");
}

#[test]
fn nothing_of_a_bad_text_can_forge_a_line_of_a_report() {
    let token = "x".repeat(100_000);
    for hostile in [
        "\u{1b}[2J",
        "\u{2028}4:1: fine",
        "\u{202e}",
        "\u{9b}2J",
        "\u{0}",
        "\r4:1: fine",
        &token,
    ] {
        for line in [
            format!("deny {hostile}"),
            format!("deny kvm-vm {hostile}"),
            format!("{hostile} deny"),
            format!("deny KVM_RUN if {hostile} == 1"),
            format!("deny KVM_RUN errno {hostile}"),
            format!("policy {hostile}"),
            format!("profile {hostile}"),
        ] {
            let text = with_rules(&format!("{line}\n"));
            let found = report(text.as_bytes()).unwrap();
            assert!(found.lines().count() <= 6, "{found}");
            assert!(found.len() < 900, "{found}");
            let printable = |character: char| character == '\n' || (' '..='~').contains(&character);
            assert!(found.chars().all(printable), "{found:?}");
        }
    }
}

#[test]
fn any_bytes_are_answered() {
    // Binary noise, and noise made of the language's own pieces.
    let pieces: &[&[u8]] = &[
        b"policy ",
        b"x ",
        b"version ",
        b"1 ",
        b"\n",
        b"\n",
        b"profile other",
        b"default ",
        b"deny ",
        b"allow ",
        b"audit ",
        b"kvm-vm ",
        b"KVM_RUN ",
        b"* ",
        b", ",
        b"if ",
        b"arg ",
        b"in {",
        b"..",
        b"}",
        b"== ",
        b"|",
        b"errno EINVAL ",
        b"reason ",
        b"\"",
        b"end\n",
        b"#",
        b"\xff",
        b"\0",
        b"\xc3\xa9",
        b"0x",
        b"18446744073709551616",
        b"16777216T",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let mut text = Vec::new();
        for _ in 0..random.below(40) {
            match round % 2 {
                0 => text.push(random.below(256) as u8),
                _ => text.extend_from_slice(pieces[random.below(pieces.len() as u64) as usize]),
            }
        }
        if let Ok(policy) = parse::<Heap>(&text) {
            for surface in Surface::ALL {
                let request = Request {
                    surface,
                    command: 0xae80,
                    arg: 0,
                    compat: false,
                };
                let head = policy.head(surface, 0xae80).unwrap();
                policy
                    .decide(head, &request, Bytes::default(), |_| {})
                    .unwrap();
            }
        } else {
            assert!(!report(&text).unwrap().is_empty());
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
