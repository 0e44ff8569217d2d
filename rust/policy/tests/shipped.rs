// SPDX-License-Identifier: GPL-2.0

//! The policies that are shipped compile, without a warning.

use portcullis_policy::{check, Heap, Rejection};
use std::{fs, path::Path};

#[test]
fn every_policy_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy");
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "policy") {
            continue;
        }
        let text = fs::read(&path).unwrap();
        match check::<Heap>(&text) {
            Ok(checked) => {
                let warnings = checked.warnings.report(&text).to_string();
                assert_eq!(warnings, "", "{}", path.display());
            }
            Err(Rejection::Mistakes(mistakes)) => {
                panic!("{}:\n{}", path.display(), mistakes.report(&text))
            }
            Err(Rejection::OutOfMemory) => panic!("out of memory"),
        }
        seen.push(path.file_stem().unwrap().to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["builtin", "microvm", "qemu"]);
}
