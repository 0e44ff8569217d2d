// SPDX-License-Identifier: GPL-2.0

//! What `portcullis explain` says.

mod command;
mod constant;
mod member;
mod state;
mod surface;
mod table;

use std::io::{self, Write};

use crate::name::Subject;
use crate::style::{CODE, TITLE};

/// Explains one thing.
pub(crate) fn subject(out: &mut dyn Write, subject: &Subject) -> io::Result<()> {
    match subject {
        Subject::Surface(surface) => surface::describe(out, *surface),
        Subject::Command(command, surface) => command::describe(out, command, *surface),
        Subject::Members {
            command,
            surface,
            all,
            chosen,
            path,
        } => member::describe(out, command, *surface, all, chosen, path),
        Subject::Number(surface, number) => surface::number(out, *surface, *number),
        Subject::Constant(found) => constant::describe(out, found),
        Subject::State(field) => state::describe(out, field),
        Subject::Struct(found) => command::of_struct(out, found),
    }
}

/// The first line.
fn title(out: &mut dyn Write, name: &str, what: &str) -> io::Result<()> {
    writeln!(out, "{TITLE}{name}{TITLE:#}: {what}")
}

/// A line about one aspect of it.
fn aspect(out: &mut dyn Write, name: &str, what: &str) -> io::Result<()> {
    writeln!(out, "    {name:<12}{what}")
}

/// The title of a part.
fn part(out: &mut dyn Write, name: &str) -> io::Result<()> {
    writeln!(out, "\n    {TITLE}{name}{TITLE:#}")
}

/// A rule to start from.
fn example(out: &mut dyn Write, rule: &str) -> io::Result<()> {
    part(out, "Example")?;
    writeln!(out, "        {CODE}{rule}{CODE:#}")
}
