// SPDX-License-Identifier: GPL-2.0

//! `portcullis schema`: all of the schema, in both forms.

mod common;

use std::process::Stdio;

use common::{command, portcullis};
use portcullis_policy::schema::{self, Argument, Field, FieldKind};
use portcullis_policy::Surface;
use serde_json::Value;

#[test]
fn lines_have_all_commands_fields_and_constants() {
    let answer = portcullis(&["schema"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let lines: Vec<&str> = answer.out.lines().collect();
    let has = |begin: String| {
        let found = lines.iter().any(|line| line.starts_with(&begin));
        assert!(found, "{begin}");
    };
    for surface in Surface::ALL {
        has(format!("surface {}: ", surface.name()));
    }
    for command in schema::commands() {
        for surface in command.surfaces() {
            let (name, number) = (command.name, command.number);
            has(format!(
                "command {} {name} {number:#010x} argument=",
                surface.name()
            ));
        }
        if let (Argument::Struct(found), false) = (&command.argument, command.handled.is_empty()) {
            for field in found.fields {
                has(format!("field {}.{} ", command.name, field.name));
            }
            for variant in found.variants {
                has(format!("variant {}.{} ", command.name, variant.name));
            }
        }
    }
    for constant in schema::constants() {
        has(format!("constant {} {:#x}", constant.name, constant.value));
    }
    let words = [
        "surface ",
        "command ",
        "field ",
        "variant ",
        "compat-field ",
        "constant ",
    ];
    for line in lines {
        assert!(words.iter().any(|word| line.starts_with(word)), "{line}");
    }
}

#[test]
fn json_has_the_same() {
    let answer = portcullis(&["schema", "--json"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(
        document["surfaces"].as_array().unwrap().len(),
        Surface::ALL.len()
    );
    let commands = document["commands"].as_array().unwrap();
    assert_eq!(commands.len(), schema::commands().len());
    for (told, command) in commands.iter().zip(schema::commands()) {
        assert_eq!(told["name"], command.name);
        assert_eq!(told["number"], format!("{:#010x}", command.number));
        let handled = told["handled"].as_array().unwrap();
        assert_eq!(handled.len(), command.handled.len());
        assert_eq!(told["example"].is_null(), handled.is_empty());
        if let Argument::Struct(found) = command.argument {
            let argument = &told["argument"];
            assert_eq!(argument["size"], found.size);
            compare(&argument["fields"], found.fields);
            for (told, variant) in list(&argument["variants"]).iter().zip(found.variants) {
                compare(&told["fields"], variant.fields);
            }
            assert_eq!(list(&argument["variants"]).len(), found.variants.len());
            let compat = found.compat.map_or(&[][..], |compat| compat.fields);
            compare(&argument["compat"]["fields"], compat);
        }
    }
    let constants = document["constants"].as_array().unwrap();
    assert_eq!(constants.len(), schema::constants().len());
    for (told, constant) in constants.iter().zip(schema::constants()) {
        assert_eq!(told["name"], constant.name);
        assert_eq!(told["value"], format!("{:#x}", constant.value));
    }
}

/// A list; none is an empty one.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn compare(told: &Value, fields: &[Field]) {
    let told = list(told);
    assert_eq!(told.len(), fields.len());
    for (told, field) in told.iter().zip(fields) {
        assert_eq!(told["name"], field.name);
        assert_eq!(told["offset"], field.offset);
        assert_eq!(list(&told["constants"]).len(), field.constants.len());
        match field.kind {
            FieldKind::Value { width, signed } => {
                let sign = if signed { 's' } else { 'u' };
                assert_eq!(told["type"], format!("{sign}{}", u32::from(width) * 8));
                assert_eq!(told["width"], width);
            }
            FieldKind::Pointer { width } => {
                assert_eq!(told["type"], "pointer");
                assert_eq!(told["width"], width);
            }
            FieldKind::Array(array) => {
                assert_eq!(told["width"], array.stride);
                compare(&told["elements"], array.fields);
            }
        }
    }
}

#[test]
fn a_reader_may_have_enough() {
    for arguments in [
        &["schema"][..],
        &["schema", "--json"],
        &["explain", "kvm-vm"],
    ] {
        let mut child = command()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}
