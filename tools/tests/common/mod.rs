// SPDX-License-Identifier: GPL-2.0

//! Running the command, as a shell would.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What it answered.
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The command, in a terminal's absence and without a say in colours.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// Runs it with some arguments.
pub fn portcullis(arguments: &[&str]) -> Answer {
    with_input(command().args(arguments), b"")
}

/// Runs it with something on standard input.
pub fn with_input(command: &mut Command, input: &[u8]) -> Answer {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code().expect("it was killed by a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The policies of a folder of tests/policies, sorted.
pub fn policies(folder: &str) -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/policies");
    let entries = fs::read_dir(all.join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "policy"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no policies");
    files
}
