// SPDX-License-Identifier: GPL-2.0

//! What is made from the command line's definition: help, completions, man pages.

mod common;

use std::{env, fs, process};

use common::portcullis;

const SUBCOMMANDS: [&str; 6] = ["explain", "check", "try", "vms", "schema", "completions"];

#[test]
fn the_help_names_subcommands_and_exit_codes() {
    let answer = portcullis(&["--help"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    for word in SUBCOMMANDS {
        assert!(answer.out.contains(&format!("\n  {word}")), "{word}");
    }
    assert!(answer.out.contains("Exit codes:"));
    assert!(!answer.out.contains("\n  man"));
}

#[test]
fn the_version_is_that_of_the_workspace() {
    let answer = portcullis(&["--version"]);
    let expected = format!("portcullis {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((answer.code, answer.out), (0, expected));
}

#[test]
fn wrong_usage_is_told_with_the_usage() {
    for arguments in [
        &[][..],
        &["explian"],
        &["explain"],
        &["check", "--jsno", "x"],
        &["schema", "x"],
        &["vms", "x"],
        &["vms", "--pid", "x"],
        &["completions", "command.com"],
    ] {
        let answer = portcullis(arguments);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{arguments:?}");
        let told = answer.err.contains("Usage:") || answer.err.contains("--help");
        assert!(told, "{arguments:?}: {}", answer.err);
    }
}

#[test]
fn shells_get_completions() {
    for (shell, sign) in [
        ("bash", "complete -F _portcullis"),
        ("zsh", "#compdef portcullis"),
        ("fish", "complete -c portcullis"),
    ] {
        let answer = portcullis(&["completions", shell]);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{shell}");
        assert!(answer.out.contains(sign), "{shell}");
        for word in SUBCOMMANDS.into_iter().chain(["deny-warnings"]) {
            assert!(answer.out.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn there_is_a_man_page_for_each_subcommand() {
    let folder = env::temp_dir().join(format!("portcullis-man-{}", process::id()));
    let made = portcullis(&["man", folder.join("man1").to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(folder.join("man1").join(name)).unwrap();
    let pages: Vec<String> = SUBCOMMANDS
        .iter()
        .map(|word| page(&format!("portcullis-{word}.1")))
        .collect();
    let first = page("portcullis.1");
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert!(first.contains(".SH \"EXIT STATUS\""), "{first}");
    for (word, page) in SUBCOMMANDS.iter().zip(pages) {
        assert!(page.contains(".SH SYNOPSIS"), "{word}");
        assert!(page.contains(".SH \"EXIT STATUS\""), "{word}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_trouble() {
    let answer = portcullis(&["man", "/proc/nowhere"]);
    assert_eq!(answer.code, 2);
    assert!(
        answer.err.starts_with("portcullis: error: "),
        "{}",
        answer.err
    );
}
