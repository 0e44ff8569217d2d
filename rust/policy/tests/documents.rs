// SPDX-License-Identifier: GPL-2.0

//! Every policy and every rule that the documents show must compile.

use std::path::{Path, PathBuf};

use portcullis_policy::{check, Heap, Rejection};

fn documents() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<PathBuf> = std::fs::read_dir(top.join("Documentation"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "rst"))
        .collect();
    files.push(top.join("README.md"));
    files
}

fn must_compile(place: &str, text: &str) {
    match check::<Heap>(text.as_bytes()) {
        Ok(checked) => {
            let warnings = checked.warnings.report(text.as_bytes()).to_string();
            assert_eq!(warnings, "", "{place}:\n{text}");
        }
        Err(Rejection::Mistakes(mistakes)) => {
            panic!("{place}:\n{}{text}", mistakes.report(text.as_bytes()))
        }
        Err(Rejection::OutOfMemory) => panic!("out of memory"),
    }
}

/// Whole policies, from `policy` to `end`, and rules that stand alone; returns how many of each.
fn examples(path: &Path) -> (u32, u32) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut policy: Option<String> = None;
    let (mut policies, mut rules) = (0, 0);
    for (index, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), index + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(whole) = &mut policy {
            *whole += line;
            *whole += "\n";
            if words == ["end"] {
                must_compile(&place, whole);
                policies += 1;
                policy = None;
            }
            continue;
        }
        match words[..] {
            ["policy", _, "version", version] if version != "VERSION" && version != "word," => {
                policy = Some(format!("{line}\n"));
            }
            // A line of the grammar.
            ["limit", "=", ..] => {}
            // Only lines of literal blocks are indented; those with a caret's bar are diagnoses.
            ["allow" | "deny" | "audit" | "limit", ..] if line.starts_with("    ") => {
                let text =
                    format!("policy t version 1\nprofile other\ndefault allow\n{line}\nend\n");
                must_compile(&place, &text);
                rules += 1;
            }
            _ => {}
        }
    }
    assert!(policy.is_none(), "{}: a policy without end", path.display());
    (policies, rules)
}

#[test]
fn what_the_documents_show_compiles() {
    let (mut policies, mut rules) = (0, 0);
    for path in documents() {
        let (more_policies, more_rules) = examples(&path);
        policies += more_policies;
        rules += more_rules;
    }
    // The README's, the language page's; and the rules of the language page and the admin guide.
    assert!(policies >= 2, "only {policies} policies were found");
    assert!(rules >= 10, "only {rules} rules were found");
}
