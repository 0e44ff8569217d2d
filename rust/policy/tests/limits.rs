// SPDX-License-Identifier: GPL-2.0

//! Every limit of the language, met exactly and passed by one; and that no text makes the parser
//! work longer than in proportion to its length.
//!
//! The limits on bytes, rules and links are met in corpus.rs.

use portcullis_policy::{
    check, limits, parse, schema, Diagnoses, Grow, Heap, Kind, OutOfMemory, Rejection, Storage,
    Surface,
};
use std::cell::Cell;
use std::fs;

fn with_rules(rules: &str) -> String {
    format!("policy big version 1\nprofile other\ndefault deny\n{rules}end\n")
}

fn diagnoses(text: &str) -> Option<Diagnoses<Heap>> {
    match parse::<Heap>(text.as_bytes()) {
        Ok(_) => None,
        Err(Rejection::Mistakes(diagnoses)) => Some(diagnoses),
        Err(Rejection::OutOfMemory) => panic!("out of memory"),
    }
}

/// The first mistake of a text: its line and kind.
fn mistake(text: &str) -> Option<(u32, Kind)> {
    let first = diagnoses(text)?.list[0];
    Some((first.line, first.kind))
}

/// `count` of these, with what joins them.
fn many(item: &str, joint: &str, count: usize) -> String {
    vec![item; count].join(joint)
}

/// Whether `text(limit)` is a policy, and `text(limit + 1)` is told that it has one too many.
fn is_met_exactly(limit: usize, kind: Kind, text: impl Fn(usize) -> String) {
    let found = mistake(&text(limit));
    assert!(found.is_none(), "{limit}: {found:?}");
    let found = mistake(&text(limit + 1)).map(|found| found.1);
    assert_eq!(found, Some(kind), "{}", limit + 1);
}

#[test]
fn bytes_of_names() {
    is_met_exactly(limits::NAME_BYTES, Kind::NameTooLong, |len| {
        let name = "n".repeat(len);
        format!("policy {name} version 1\nprofile other\ndefault deny\nend\n")
    });
    is_met_exactly(limits::VERSION_BYTES, Kind::VersionTooLong, |len| {
        let version = "9".repeat(len);
        format!("policy n version {version}\nprofile other\ndefault deny\nend\n")
    });
    is_met_exactly(limits::REASON_BYTES, Kind::ReasonTooLong, |len| {
        with_rules(&format!("deny KVM_RUN reason \"{}\"\n", "r".repeat(len)))
    });
    // Bytes, not characters.
    is_met_exactly(limits::REASON_BYTES / 2, Kind::ReasonTooLong, |len| {
        with_rules(&format!("deny KVM_RUN reason \"{}\"\n", "é".repeat(len)))
    });
}

/// A policy whose first profile matches so.
fn with_match(line: &str) -> String {
    format!(
        "policy p version 1\nprofile vmm\n{line}\nmatch uid 1\ndefault deny\nprofile other\n\
         default deny\nend\n"
    )
}

#[test]
fn profiles_and_what_they_match() {
    is_met_exactly(limits::PROFILES, Kind::TooManyProfiles, |count| {
        let mut text = String::from("policy p version 1\n");
        for number in 1..count {
            text += &format!("profile p{number}\nmatch uid {number}\ndefault deny\n");
        }
        text + "profile other\ndefault deny\nend\n"
    });
    is_met_exactly(limits::NAME_BYTES, Kind::NameTooLong, |len| {
        let text = with_match("match gid 1");
        text.replace("profile vmm", &format!("profile {}", "n".repeat(len)))
    });
    is_met_exactly(limits::MATCH_VALUES, Kind::TooManyValues, |count| {
        with_match(&format!("match gid {}", many("1..5", ", ", count)))
    });
    is_met_exactly(limits::MATCH_VALUES, Kind::TooManyValues, |count| {
        with_match(&format!("match exe {}", many("/usr/bin/*", ",", count)))
    });
    is_met_exactly(limits::PATTERN_BYTES, Kind::PatternTooLong, |len| {
        with_match(&format!("match exe /{}", "x".repeat(len - 1)))
    });
    is_met_exactly(limits::PATTERN_BYTES, Kind::PatternTooLong, |len| {
        with_match(&format!("match label \"{}\"", "x".repeat(len)))
    });
    is_met_exactly(15, Kind::CommTooLong, |len| {
        with_match(&format!("match comm {}", "x".repeat(len)))
    });
}

#[test]
fn rates_of_a_profile() {
    is_met_exactly(limits::RATES, Kind::TooManyRates, |count| {
        with_rules(&"limit KVM_RUN 10/s\n".repeat(count))
    });
    // Each profile has as many.
    let rates = "limit KVM_RUN 10/min\n".repeat(limits::RATES);
    let text = format!(
        "policy p version 1\nprofile a\nmatch uid 1\ndefault allow\n{rates}\
         profile other\ndefault allow\n{rates}end\n"
    );
    assert!(diagnoses(&text).is_none());
}

#[test]
fn what_is_asked_for_of_a_policy() {
    let of_a_vm = |command: &&schema::Command| {
        command.is_on(Surface::KvmVm) && !command.is_on(Surface::KvmVcpu)
    };
    let names: Vec<_> = schema::commands().iter().filter(of_a_vm).collect();
    is_met_exactly(limits::DIDS, Kind::TooManyDids, |count| {
        let rule = |command: &&schema::Command| {
            format!("deny kvm-vm KVM_IRQFD if vm.did({}) == 1\n", command.name)
        };
        let rules: String = names.iter().take(count).map(rule).collect();
        // Once more is the same.
        with_rules(&format!("{rules}{rules}"))
    });
}

/// As many profiles as there may be, each with both phases, and as many rules: within what 16 bits
/// number.
#[test]
fn the_largest_table() {
    let mut text = String::from("policy p version 1\n");
    for number in 0..limits::PROFILES {
        match number + 1 < limits::PROFILES {
            true => text += &format!("profile p{number}\nmatch uid {number}\ndefault deny\n"),
            false => text += "profile other\ndefault deny\n",
        }
        let rules = limits::RULES / limits::PROFILES;
        text += &"deny kvm-vm KVM_CREATE_VCPU while setup if arg == 1\n".repeat(rules / 2);
        text += &"allow kvm-vm KVM_CREATE_VCPU while running if arg == 1\n".repeat(rules / 2);
    }
    text += "end\n";
    let Ok(policy) = parse::<Heap>(text.as_bytes()) else {
        panic!("{}", diagnoses(&text).unwrap().report(text.as_bytes()));
    };
    assert_eq!(policy.profiles.len(), limits::PROFILES);
    assert!(policy.links.len() <= limits::LINKS);
    let sections = 2 * limits::PROFILES;
    let buckets = Surface::ALL.len() * 256;
    assert_eq!(policy.dispatch.len(), buckets);
    assert!(policy.shortcuts.is_empty());
    assert_eq!(policy.section_shortcuts.len(), sections * buckets);
    assert_eq!(policy.sections(), sections);
    assert_eq!(
        policy.entries.len(),
        sections * policy.section_entries as usize
    );
    let last = policy
        .profiles
        .iter()
        .map(|profile| profile.running.0)
        .max();
    assert_eq!(usize::from(last.unwrap()), sections - 1);
}

#[test]
fn conditions_of_a_rule() {
    is_met_exactly(limits::CONDITIONS, Kind::TooManyConditions, |count| {
        let conditions = many("arg != 1", " and ", count);
        with_rules(&format!("deny KVM_RUN if {conditions}\n"))
    });
    // Those in parentheses count, wherever these stand.
    is_met_exactly(limits::CONDITIONS - 3, Kind::TooManyConditions, |count| {
        let inner = many("eax != 1", " and ", count);
        let two = "any entries (eax == 1 and ebx == 1)";
        with_rules(&format!(
            "deny KVM_SET_CPUID2 if nent > 1 and {two} and no entries ({inner})\n"
        ))
    });
}

#[test]
fn terms_of_a_sum() {
    is_met_exactly(limits::TERMS, Kind::TooManyTerms, |count| {
        let terms = many("arg", " + ", count);
        with_rules(&format!("deny KVM_RUN if {terms} > 5\n"))
    });
}

#[test]
fn values_of_a_set() {
    is_met_exactly(limits::SET_VALUES, Kind::SetTooLong, |count| {
        let values = many("1..3", ", ", count);
        with_rules(&format!("deny KVM_RUN if arg in {{{values}}}\n"))
    });
}

#[test]
fn conditions_of_a_policy() {
    // 32-bit callers of KVM_GET_DIRTY_LOG have a layout of their own: each condition counts twice.
    let sixteen = many("slot != 1", " and ", limits::CONDITIONS);
    let rule = format!("audit KVM_GET_DIRTY_LOG if {sixteen}\n");
    let rules = limits::POLICY_CONDITIONS / limits::CONDITIONS / 2;
    let full = rule.repeat(rules);
    assert_eq!(mistake(&with_rules(&full)), None);
    let more = full + "deny KVM_RUN if arg != 1\n";
    let line = 4 + rules as u32;
    assert_eq!(
        mistake(&with_rules(&more)),
        Some((line, Kind::PolicyTooLarge))
    );
}

#[test]
fn terms_of_a_policy() {
    let sum = format!("{} > 5", many("arg", "+", limits::TERMS));
    let sixteen = many(&sum, " and ", limits::CONDITIONS);
    let rules = limits::POLICY_CONDITIONS / limits::CONDITIONS / limits::TERMS;
    let full = format!("audit KVM_RUN if {sixteen}\n").repeat(rules);
    assert_eq!(mistake(&with_rules(&full)), None);
    let more = full + "deny KVM_RUN if arg + 1 != 1\n";
    let line = 4 + rules as u32;
    assert_eq!(
        mistake(&with_rules(&more)),
        Some((line, Kind::PolicyTooLarge))
    );
}

#[test]
fn set_values_of_a_policy() {
    let set = many("1", ",", limits::SET_VALUES);
    let rules = limits::POLICY_SET_VALUES / limits::SET_VALUES;
    let full = format!("audit KVM_RUN if arg in {{{set}}}\n").repeat(rules);
    assert_eq!(mistake(&with_rules(&full)), None);
    let more = full + "deny KVM_RUN if arg in {1}\n";
    let line = 4 + rules as u32;
    assert_eq!(
        mistake(&with_rules(&more)),
        Some((line, Kind::PolicyTooLarge))
    );
}

#[test]
fn diagnoses_that_are_kept() {
    for count in [limits::DIAGNOSES, limits::DIAGNOSES + 1, 1000] {
        let found = diagnoses(&with_rules(&"nonsense\n".repeat(count))).unwrap();
        assert_eq!(found.list.len(), limits::DIAGNOSES);
        assert_eq!(found.more as usize, count - limits::DIAGNOSES);
    }
}

thread_local! {
    static PUSHES: Cell<u64> = const { Cell::new(0) };
}

/// A storage that counts what is put into its lists.
enum Counting {}

impl Storage for Counting {
    type List<T: Copy + 'static> = Vec<T>;
}

impl Grow for Counting {
    fn empty<T: Copy + 'static>() -> Vec<T> {
        Vec::new()
    }

    fn push<T: Copy + 'static>(list: &mut Vec<T>, item: T) -> Result<(), OutOfMemory> {
        PUSHES.set(PUSHES.get() + 1);
        list.push(item);
        Ok(())
    }

    fn items<T: Copy + 'static>(list: &mut Vec<T>) -> &mut [T] {
        list
    }
}

/// The nanoseconds that this thread has had a CPU: what others do meanwhile does not count.
fn on_cpu() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    text.split(' ').next().unwrap().parse().unwrap()
}

/// What the kernel counts in: no run that is shorter than some of these tells anything.
const TICK: u64 = 4_000_000;

/// What it takes to parse a text and to write a report about it: pushes, and nanoseconds.
fn work(text: &str) -> (u64, u64) {
    PUSHES.set(0);
    let parse = || {
        let said = match check::<Counting>(text.as_bytes()) {
            Ok(checked) => checked.warnings.report(text.as_bytes()).to_string(),
            Err(Rejection::Mistakes(found)) => found.report(text.as_bytes()).to_string(),
            Err(Rejection::OutOfMemory) => panic!("out of memory"),
        };
        assert!(said.len() < 20_000, "{} bytes are said", said.len());
    };
    parse();
    let pushes = PUSHES.get();
    let mut least = u64::MAX;
    for _ in 0..3 {
        // What takes long is not disturbed by much.
        if (25 * TICK..u64::MAX).contains(&least) {
            break;
        }
        let began = on_cpu();
        let mut runs = 0;
        while on_cpu() - began < 6 * TICK {
            parse();
            runs += 1;
        }
        least = least.min((on_cpu() - began) / runs);
    }
    (pushes, least)
}

/// As many of a line as a text of that size has room for, but not more than `most` in the greatest.
fn lines(size: usize, most: usize, line: &str) -> String {
    let count = (size / line.len()).min(most * size / limits::TEXT_BYTES);
    let mut text = line.repeat(count);
    // The rest is blank, so that the text has its size all the same.
    while text.len() < size {
        text += &" ".repeat((size - text.len()).min(100) - 1);
        text += "\n";
    }
    text
}

/// One line, filled up with a piece.
fn line(size: usize, begin: &str, piece: &str, end: &str) -> String {
    let count = size.saturating_sub(begin.len() + end.len()) / piece.len();
    format!("{begin}{}{end}\n", piece.repeat(count))
}

/// Texts of a kind and about a size.
type Make = fn(usize) -> String;

const KINDS: [(&str, Make); 31] = [
    ("many limits", |size| {
        lines(size, 4000, "limit KVM_RUN 1/s\n")
    }),
    ("rates of many commands", |size| {
        line(size, "limit KVM_RUN", ", KVM_IRQFD", " 1/s")
    }),
    ("what was done", |size| {
        let names = many("vm.did(KVM_SEV_LAUNCH_START) == 1", " and ", 16);
        lines(size, 4000, &format!("deny KVM_IRQFD if {names}\n"))
    }),
    ("many rules of a phase", |size| {
        lines(size, 4000, "deny kvm-vm KVM_CREATE_VCPU while running\n")
    }),
    ("names of profiles", |size| {
        lines(size, 4096, "profile vmm\n")
    }),
    ("values of a match", |size| {
        line(size, "match exe /", "*,/", "")
    }),
    ("stars of a pattern", |size| {
        line(size, "match exe /", "*?", "")
    }),
    ("many rules", |size| {
        lines(size, limits::RULES, "deny kvm-vm KVM_CREATE_VCPU\n")
    }),
    ("many rules with a list", |size| {
        lines(
            size,
            2048,
            "deny kvm-vm KVM_CREATE_VCPU, 1, 2, 3, 4, 5, KVM_IRQFD if arg == 1\n",
        )
    }),
    ("many stars", |size| lines(size, 400, "audit kvm-vcpu *\n")),
    ("too many stars", |size| {
        lines(size, 4096, "audit kvm-vcpu *\n")
    }),
    ("many rules of another order", |size| {
        let mut text = String::new();
        for number in 0..size / 64 {
            let number = (number as u32).wrapping_mul(0x9e37_79b9);
            text += &format!("{:62}\n", format!("deny kvm-vm {number}"));
        }
        lines(size, 0, "\n") + &text[..text.len().min(63 * 4096)]
    }),
    ("one long list", |size| {
        let numbers = size / 40;
        let mut text = String::from("deny kvm-vm 0");
        for number in 0..numbers {
            text += &format!(", {:38}", number);
        }
        text + "\n"
    }),
    ("a list of one command", |size| {
        line(size, "deny KVM_RUN", ", KVM_RUN", "")
    }),
    ("sets", |size| {
        let set = many("18446744073709551615", ",", 48);
        lines(size, 1024, &format!("deny KVM_RUN if arg in {{{set}}}\n"))
    }),
    ("an endless set", |size| {
        line(size, "deny KVM_RUN if arg in {1", ", 1", "}")
    }),
    ("an endless range", |size| {
        line(size, "deny KVM_RUN if arg in {1", "..1", "}")
    }),
    ("conditions", |size| {
        let sixteen = many("arg != 0x123", " and ", 16);
        lines(size, 4096, &format!("deny KVM_RUN if {sixteen}\n"))
    }),
    ("conditions for two layouts", |size| {
        let sixteen = many("dirty_bitmap != 0x1", " and ", 16);
        lines(
            size,
            2048,
            &format!("deny KVM_GET_DIRTY_LOG if {sixteen}\n"),
        )
    }),
    ("conditions of elements", |size| {
        let fifteen = many("ebx == 0x1", " and ", 15);
        lines(
            size,
            4096,
            &format!("deny KVM_SET_CPUID2 if any entries ({fifteen})\n"),
        )
    }),
    ("bars", |size| {
        line(size, "deny KVM_RUN if arg has 1", "|1", "")
    }),
    ("bars for many layouts", |size| {
        let all = schema::commands().iter();
        let handled = all.filter(|command| !command.handled.is_empty());
        let names: Vec<&str> = handled.map(|command| command.name).collect();
        line(
            size,
            &format!("deny {} if arg has 1", names.join(",")),
            "|1",
            "",
        )
    }),
    ("constants of other fields", |size| {
        let field = "deny KVM_SET_USER_MEMORY_REGION if flags has 1";
        line(size, field, "|KVM_CAP_IRQCHIP", "")
    }),
    ("a warning on each line", |size| {
        let rule = "deny KVM_SET_USER_MEMORY_REGION if flags has KVM_CAP_IRQCHIP\n";
        lines(size, 4096, rule)
    }),
    ("rules that no call reaches", |size| {
        String::from("deny kvm *\n") + &lines(size, 4000, "allow kvm *\n")
    }),
    ("comments", |size| {
        lines(
            size,
            usize::MAX / limits::TEXT_BYTES,
            "# a comment, if arg == 1\n",
        )
    }),
    ("one comment", |size| line(size, "# ", "a comment ", "")),
    ("blanks", |size| line(size, "", " \t", "")),
    ("mistakes", |size| {
        lines(size, usize::MAX / limits::TEXT_BYTES, "deny KVM_RUNN\n")
    }),
    ("one long word", |size| line(size, "deny KVM_", "RUN", "")),
    ("one long quote", |size| {
        line(size, "deny KVM_RUN reason \"", "no ", "")
    }),
];

#[test]
fn work_is_in_proportion_to_the_text() {
    let sizes = [64 << 10, 256 << 10, limits::TEXT_BYTES];
    let mut wrong = Vec::new();
    for (name, make) in KINDS {
        let mut done = Vec::new();
        for size in sizes {
            let mut text = with_rules(&make(size - 200));
            if text.len() > limits::TEXT_BYTES {
                text = with_rules(&make(size - (text.len() - limits::TEXT_BYTES) - 200));
            }
            assert!(text.len() <= limits::TEXT_BYTES, "{name}: {}", text.len());
            assert!(text.len() > size / 8, "{name}: {}", text.len());
            done.push(work(&text));
        }
        println!("{name:30} {done:?}");
        for (less, more) in [(done[0], done[1]), (done[1], done[2])] {
            // Four times the text. Sorting takes a little more than that, and the table has a part
            // that does not grow.
            let pushes = more.0 > less.0 * 5 + 100;
            let time = more.1 > less.1 * 9 && more.1 > TICK / 4;
            if pushes || time {
                wrong.push(format!("{name}: {less:?}, then {more:?}"));
            }
        }
        // The factor counts as well, even in a debug build.
        if done[2].1 > 10_000_000_000 {
            wrong.push(format!("{name}: {} ms", done[2].1 / 1_000_000));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
