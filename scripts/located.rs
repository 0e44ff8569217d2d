// SPDX-License-Identifier: GPL-2.0

//! Diagnoses as compilers write them, `FILE:LINE:COLUMN: error:` first, so that editors find the place.
//! A part of both host programs: compile-policy and `portcullis`.

use std::fmt::{self, Display, Formatter};

use portcullis_policy::{Diagnoses, Diagnosis, Heap};

/// The diagnoses of a file.
pub(crate) struct Located<'a> {
    /// The name of the file.
    pub(crate) file: &'a str,
    /// What stands in it.
    pub(crate) text: &'a [u8],
    /// What is wrong or odd.
    pub(crate) diagnoses: &'a Diagnoses<Heap>,
    /// How it looks.
    pub(crate) colours: &'a Colours,
}

/// What is written where a colour begins, and where it ends: nothing, unless somebody says so.
#[derive(Default)]
pub(crate) struct Colours {
    /// Of the place.
    pub(crate) place: String,
    /// Of the word `error`.
    pub(crate) error: String,
    /// Of the word `warning`.
    pub(crate) warning: String,
    /// Of the marks under the line.
    pub(crate) mark: String,
    /// The end of any.
    pub(crate) end: String,
}

impl Display for Located<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for diagnosis in &self.diagnoses.list {
            self.one(f, diagnosis)?;
        }
        if self.diagnoses.more == 0 {
            return Ok(());
        }
        // The engine has the words for it.
        let rest = Diagnoses::<Heap> {
            list: Vec::new(),
            more: self.diagnoses.more,
        };
        let Colours {
            place, error, end, ..
        } = self.colours;
        let file = self.file;
        write!(
            f,
            "{place}{file}:{end} {error}error:{end} {}",
            rest.report(self.text)
        )
    }
}

impl Located<'_> {
    fn one(&self, f: &mut Formatter<'_>, diagnosis: &Diagnosis) -> fmt::Result {
        let Colours {
            place,
            error,
            warning,
            mark,
            end,
        } = self.colours;
        let (file, line, column) = (self.file, diagnosis.line, diagnosis.column);
        let (colour, severity) = match diagnosis.kind.is_warning() {
            true => (warning, "warning"),
            false => (error, "error"),
        };
        let message = diagnosis.message(self.text);
        writeln!(
            f,
            "{place}{file}:{line}:{column}:{end} {colour}{severity}:{end} {message}"
        )?;
        let excerpt = diagnosis.excerpt(self.text).to_string();
        match excerpt.split_once('\n') {
            Some((shown, marks)) => write!(f, "{shown}\n{mark}{}{end}\n", marks.trim_end()),
            None => Ok(()),
        }
    }
}
