// SPDX-License-Identifier: GPL-2.0

//! scripts/compile-policy.rs: what it prints is a table that compiles and equals the parsed one.
//!
//! `static/generated.rs` is its output for `static/sample.policy`, compiled as a part of this test.
//! UPDATE_EXPECTED=1 in the environment writes it again.

use portcullis_policy::{parse, Heap};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

#[rustfmt::skip]
#[path = "static/generated.rs"]
mod generated;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/static")
        .join(name)
}

fn compile_policy(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compile-policy"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_static_table_equals_the_parsed_one() {
    let text = fs::read(file("sample.policy")).unwrap();
    assert_eq!(generated::TEXT, text);
    let Ok(parsed) = parse::<Heap>(&text) else {
        panic!("sample.policy does not load");
    };
    assert!(generated::POLICY.equals(&parsed));
    let copy = generated::POLICY.copy_into::<Heap>().unwrap();
    assert!(copy.equals(&parsed));
}

#[test]
fn the_output_is_the_checked_in_one() {
    let output = compile_policy(&[&file("sample.policy")]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    if env::var_os("UPDATE_EXPECTED").is_some_and(|value| value == "1") {
        fs::write(file("generated.rs"), &output.stdout).unwrap();
    }
    let expected = fs::read(file("generated.rs")).unwrap();
    assert!(
        output.stdout == expected,
        "UPDATE_EXPECTED=1 writes static/generated.rs again"
    );
}

#[test]
fn a_mistake_is_told_as_compilers_do() {
    let bad = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/policies/bad/unknown-command.policy");
    let output = compile_policy(&[&bad]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let expected = format!(
        "{}:3:14: error: unknown command `KVM_CREATE_VMM`; did you mean `KVM_CREATE_VM`?\n    \
         |     deny kvm KVM_CREATE_VMM\n    |              ^~~~~~~~~~~~~~\n",
        bad.display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn exit_codes() {
    assert_eq!(compile_policy(&[]).status.code(), Some(2));
    assert_eq!(
        compile_policy(&[&file("a"), &file("b")]).status.code(),
        Some(2)
    );
    assert_eq!(
        compile_policy(&[&file("missing.policy")]).status.code(),
        Some(1)
    );
    assert_eq!(
        compile_policy(&[Path::new("--help")]).status.code(),
        Some(0)
    );
}
