// SPDX-License-Identifier: GPL-2.0

//! `portcullis check`.

mod record;
mod summary;

use std::io::{self, Read, Write};
use std::path::Path;
use std::{fmt, fs};

use anstyle::Reset;
use portcullis_policy::{check, Checked, Diagnoses, Heap, Rejection};

use crate::located::{Colours, Located};
use crate::outcome::Outcome;
use crate::{cli, complain, style};
use summary::Summary;

/// Checks each file. One that cannot be read does not keep the others from it.
pub(crate) fn run(options: &cli::Check) -> io::Result<Outcome> {
    let mut outcome = Outcome::Fine;
    for file in &options.files {
        let is_stdin = file == Path::new("-");
        let name = match is_stdin {
            true => "<stdin>".to_string(),
            false => file.display().to_string(),
        };
        let text = match is_stdin {
            true => read_stdin(),
            false => fs::read(file),
        };
        let this = match text {
            Ok(text) => one(options, &name, &text)?,
            Err(error) => {
                complain(&format!("{name}: {error}"));
                Outcome::Trouble
            }
        };
        outcome = outcome.max(this);
    }
    Ok(outcome)
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

fn one(options: &cli::Check, name: &str, text: &[u8]) -> io::Result<Outcome> {
    let (diagnoses, policy) = match check::<Heap>(text) {
        Ok(Checked { policy, warnings }) => (warnings, Some(policy)),
        Err(Rejection::Mistakes(mistakes)) => (mistakes, None),
        Err(Rejection::OutOfMemory) => return Err(io::ErrorKind::OutOfMemory.into()),
    };
    let summary = policy.map(|policy| Summary::new(&policy, text));
    if options.json {
        json(name, text, &diagnoses, summary.as_ref())?;
    } else {
        people(name, text, &diagnoses, summary.as_ref())?;
    }
    let has_warnings = !diagnoses.list.is_empty();
    Ok(match summary {
        Some(_) if !(options.deny_warnings && has_warnings) => Outcome::Fine,
        _ => Outcome::Wrong,
    })
}

/// What is wrong to standard error, and what a policy has to standard output.
fn people(
    name: &str,
    text: &[u8],
    diagnoses: &Diagnoses<Heap>,
    summary: Option<&Summary<'_>>,
) -> io::Result<()> {
    let code = |style: anstyle::Style| style.render().to_string();
    let colours = Colours {
        place: code(style::TITLE),
        error: code(style::ERROR),
        warning: code(style::WARNING),
        mark: code(style::MARK),
        end: Reset.render().to_string(),
    };
    let located = Located {
        file: name,
        text,
        diagnoses,
        colours: &colours,
    };
    write!(anstream::stderr(), "{located}")?;
    match summary {
        Some(summary) => writeln!(anstream::stdout(), "{name}: {summary}"),
        None => Ok(()),
    }
}

/// A line for each diagnosis, and one for the file.
fn json(
    name: &str,
    text: &[u8],
    diagnoses: &Diagnoses<Heap>,
    summary: Option<&Summary<'_>>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for diagnosis in &diagnoses.list {
        line(&mut out, &record::Diagnosis::new(name, text, diagnosis))?;
    }
    line(&mut out, &record::File::new(name, diagnoses, summary))
}

fn line(out: &mut dyn Write, record: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    writeln!(out)
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            name,
            version,
            rules,
            conditions,
            surfaces,
        } = self;
        let surfaces = match surfaces.is_empty() {
            true => "no surface".to_string(),
            false => surfaces.join(", "),
        };
        write!(
            f,
            "policy {name} version {version}: {rules} rules with {conditions} conditions, on {surfaces}"
        )
    }
}
