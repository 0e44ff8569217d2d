// SPDX-License-Identifier: GPL-2.0

//! `portcullis explain`.

use std::io::{self, Write};

use crate::name::resolve;
use crate::outcome::Outcome;
use crate::{cli, complain, describe};

/// Explains each name. One that is unknown does not keep the others from it.
pub(crate) fn run(options: &cli::Explain) -> io::Result<Outcome> {
    let mut out = anstream::stdout().lock();
    let mut outcome = Outcome::Fine;
    let mut is_first = true;
    for name in &options.names {
        let subjects = match resolve(name) {
            Ok(subjects) => subjects,
            Err(what) => {
                out.flush()?;
                complain(&what);
                outcome = Outcome::Wrong;
                continue;
            }
        };
        for subject in subjects {
            if !is_first {
                writeln!(out)?;
            }
            is_first = false;
            describe::subject(&mut out, &subject)?;
        }
    }
    out.flush()?;
    Ok(outcome)
}
