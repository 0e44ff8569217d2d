// SPDX-License-Identifier: GPL-2.0

//! The lines of `portcullis check --json`.

use portcullis_policy::{self as policy, Diagnoses, Heap};
use serde::Serialize;

use super::Summary;

/// What is wrong or odd.
#[derive(Serialize)]
pub(super) struct Diagnosis<'a> {
    r#type: &'static str,
    file: &'a str,
    line: u32,
    column: u32,
    /// The column behind it. Absent where nothing of the text is meant, but the end of a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_column: Option<u32>,
    severity: &'static str,
    message: String,
}

/// A file, behind its diagnoses.
#[derive(Serialize)]
pub(super) struct File<'a> {
    r#type: &'static str,
    file: &'a str,
    /// Whether it is a policy.
    valid: bool,
    errors: usize,
    warnings: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy<'a>>,
}

#[derive(Serialize)]
struct Policy<'a> {
    name: &'a str,
    version: &'a str,
    rules: usize,
    conditions: usize,
    surfaces: &'a [&'static str],
}

impl<'a> Diagnosis<'a> {
    pub(super) fn new(file: &'a str, text: &[u8], diagnosis: &policy::Diagnosis) -> Self {
        let meant = diagnosis.at.of(text).unwrap_or_default();
        let meant = meant.split(|&byte| byte == b'\n').next();
        // A byte that is no character counts as one.
        let characters = String::from_utf8_lossy(meant.unwrap_or_default())
            .chars()
            .count();
        let end_column = u32::try_from(characters)
            .ok()
            .filter(|&characters| characters > 0)
            .map(|characters| diagnosis.column.saturating_add(characters));
        Self {
            r#type: "diagnosis",
            file,
            line: diagnosis.line,
            column: diagnosis.column,
            end_column,
            severity: match diagnosis.kind.is_warning() {
                true => "warning",
                false => "error",
            },
            message: diagnosis.message(text).to_string(),
        }
    }
}

impl<'a> File<'a> {
    pub(super) fn new(
        file: &'a str,
        diagnoses: &Diagnoses<Heap>,
        summary: Option<&'a Summary<'a>>,
    ) -> Self {
        // Those that the engine counted without keeping them are of the same severity.
        let more = usize::try_from(diagnoses.more).unwrap_or(usize::MAX);
        let count = diagnoses.list.len().saturating_add(more);
        let (errors, warnings) = match summary {
            Some(_) => (0, count),
            None => (count, 0),
        };
        Self {
            r#type: "file",
            file,
            valid: summary.is_some(),
            errors,
            warnings,
            policy: summary.map(|summary| Policy {
                name: summary.name,
                version: summary.version,
                rules: summary.rules,
                conditions: summary.conditions,
                surfaces: &summary.surfaces,
            }),
        }
    }
}
