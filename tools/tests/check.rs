// SPDX-License-Identifier: GPL-2.0

//! `portcullis check`: what the engine says, as compilers say it.

mod common;

use std::fs;
use std::path::Path;

use common::{command, policies, portcullis, with_input, Answer};
use serde_json::Value;

fn check(file: &Path, more: &[&str]) -> Answer {
    portcullis(&[&["check", file.to_str().unwrap()], more].concat())
}

/// The report of the engine, from what compilers would write.
fn without_file(file: &Path, report: &str) -> String {
    let prefix = format!("{}:", file.display());
    let line = |line: &str| match line.strip_prefix(&prefix) {
        Some(rest) => match rest.strip_prefix(" error: ") {
            Some(rest) => format!("{rest}\n"),
            None => format!("{}\n", rest.replacen(": error: ", ": ", 1)),
        },
        None => format!("{line}\n"),
    };
    report.lines().map(line).collect()
}

fn expected(file: &Path) -> String {
    fs::read_to_string(file.with_extension("expected")).unwrap()
}

/// The objects of an answer in JSON.
fn objects(answer: &Answer) -> Vec<Value> {
    let lines = answer.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn bad_policies_are_told_as_the_engine_tells_them() {
    for file in policies("bad") {
        let answer = check(&file, &[]);
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (1, ""),
            "{}",
            file.display()
        );
        assert_eq!(
            without_file(&file, &answer.err),
            expected(&file),
            "{}",
            file.display()
        );
    }
}

#[test]
fn odd_policies_are_taken_unless_warnings_are_denied() {
    for file in policies("odd") {
        let answer = check(&file, &[]);
        assert_eq!(answer.code, 0, "{}", file.display());
        assert_eq!(
            without_file(&file, &answer.err),
            expected(&file),
            "{}",
            file.display()
        );
        let denied = check(&file, &["--deny-warnings"]);
        assert_eq!(
            (denied.code, denied.err),
            (1, answer.err),
            "{}",
            file.display()
        );
    }
}

#[test]
fn good_policies_are_summed_up() {
    for file in policies("good") {
        let answer = check(&file, &["--deny-warnings"]);
        assert_eq!(
            (answer.code, answer.err.as_str()),
            (0, ""),
            "{}",
            file.display()
        );
        let begin = format!("{}: policy ", file.display());
        assert!(answer.out.starts_with(&begin), "{}", answer.out);
    }
}

#[test]
fn the_shipped_policies_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy");
    let answer = check(&folder.join("builtin.policy"), &["--deny-warnings"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
}

#[test]
fn a_place_is_written_as_compilers_do() {
    let text = b"policy p version 1\nprofile other\n default denny\nend\n";
    let answer = with_input(command().args(["check", "-"]), text);
    let expected = "<stdin>:3:10: error: expected `allow` or `deny`, found `denny`; did you mean \
                    `deny`?\n    |  default denny\n    |          ^~~~~\n";
    assert_eq!((answer.code, answer.err.as_str()), (1, expected));
}

#[test]
fn the_summary_counts_what_there_is() {
    let text = b"policy my-host version 1.4\nprofile other\n\
        deny kvm-vm KVM_IRQFD if gsi == 1 and flags == 1\n\
        deny KVM_GET_STATS_FD\n\
        deny vhost-vsock * if compat == 1\n\
        default allow\nend\n";
    let people = with_input(command().args(["check", "-"]), text);
    let expected = "<stdin>: policy my-host version 1.4: 3 rules with 3 conditions, on kvm-vm, \
                    kvm-vcpu, vhost-vsock\n";
    assert_eq!(people.out, expected);

    let answer = with_input(command().args(["check", "--json", "-"]), text);
    assert_eq!(answer.code, 0);
    let [file] = &objects(&answer)[..] else {
        panic!("{}", answer.out);
    };
    let expected = serde_json::json!({
        "type": "file", "file": "<stdin>", "valid": true, "errors": 0, "warnings": 0,
        "policy": {
            "name": "my-host", "version": "1.4", "rules": 3, "conditions": 3,
            "surfaces": ["kvm-vm", "kvm-vcpu", "vhost-vsock"],
        },
    });
    assert_eq!(*file, expected);
}

#[test]
fn json_says_the_same() {
    for (folder, code) in [("bad", 1), ("odd", 0), ("good", 0)] {
        for file in policies(folder) {
            let answer = check(&file, &["--json"]);
            assert_eq!(
                (answer.code, answer.err.as_str()),
                (code, ""),
                "{}",
                file.display()
            );
            let objects = objects(&answer);
            let (end, diagnoses) = objects.split_last().unwrap();
            assert_eq!(
                (&end["type"], &end["valid"]),
                (&"file".into(), &(code == 0).into())
            );
            let report = match folder {
                "good" => String::new(),
                _ => expected(&file),
            };
            let mut places = report
                .lines()
                .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
            for diagnosis in diagnoses {
                let severity = diagnosis["severity"].as_str().unwrap();
                let severity = if severity == "warning" {
                    "warning: "
                } else {
                    ""
                };
                let (line, column) = (&diagnosis["line"], &diagnosis["column"]);
                let message = diagnosis["message"].as_str().unwrap();
                let told = format!("{line}:{column}: {severity}{message}");
                assert_eq!(places.next(), Some(told.as_str()), "{}", file.display());
                if let Some(end) = diagnosis["end_column"].as_u64() {
                    assert!(end > column.as_u64().unwrap());
                }
            }
            assert_eq!(places.next(), None, "{}", file.display());
        }
    }
}

#[test]
fn json_counts_what_the_report_leaves_out() {
    let file = &policies("bad")[0].with_file_name("more-than-twenty.policy");
    let objects = objects(&check(file, &["--json"]));
    let (end, diagnoses) = objects.split_last().unwrap();
    assert!(end["errors"].as_u64().unwrap() > diagnoses.len() as u64);
}

#[test]
fn the_worst_exit_code_counts() {
    let good = policies("good")[0].to_str().unwrap().to_string();
    let bad = policies("bad")[0].to_str().unwrap().to_string();
    for (files, code) in [
        (vec![good.as_str()], 0),
        (vec![&good, &good], 0),
        (vec![&bad, &good], 1),
        (vec![&good, &bad], 1),
        (vec!["/nowhere/x.policy", &good], 2),
        (vec!["/nowhere/x.policy", &bad], 2),
        (vec!["/"], 2),
        (vec![], 2),
        (vec!["--no-such-option", &good], 2),
    ] {
        let answer = portcullis(&[&["check"], &files[..]].concat());
        assert_eq!(answer.code, code, "{files:?}");
    }
    let answer = portcullis(&["check", "/nowhere/x.policy", &bad]);
    assert!(
        answer.err.contains("/nowhere/x.policy: No such file"),
        "{}",
        answer.err
    );
    assert!(answer.err.contains(&format!("{bad}:")), "{}", answer.err);
}

#[test]
fn colours_only_where_they_are_wanted() {
    let file = &policies("bad")[0];
    let run = |set: &[&str]| {
        let mut command = command();
        command.arg("check").arg(file);
        for name in set {
            command.env(name, "1");
        }
        with_input(&mut command, b"").err
    };
    let plain = run(&[]);
    assert!(!plain.contains('\x1b'));
    let coloured = run(&["CLICOLOR_FORCE"]);
    // The place, the word and the marks, each with an end.
    let lines: Vec<&str> = coloured.lines().collect();
    assert!(lines[0].starts_with('\x1b'), "{coloured}");
    assert!(lines[0].contains("merror:\x1b[0m "), "{coloured}");
    assert!(
        lines[2].starts_with('\x1b') && lines[2].ends_with("\x1b[0m"),
        "{coloured}"
    );
    assert_eq!(run(&["CLICOLOR_FORCE", "NO_COLOR"]), plain);
}
