// SPDX-License-Identifier: GPL-2.0

//! Explaining a command, or the struct of several.

use std::io::{self, Write};

use portcullis_policy::schema::{Argument, Command, Direction, FieldKind, Handled, Len, Struct};
use portcullis_policy::{schema, Quantity, Surface};

use super::{aspect, example, part, table, title};
use crate::{example, fields, words};

/// Explains a command; only as it is on one surface, if there is one.
pub(super) fn describe(
    out: &mut dyn Write,
    command: &'static Command,
    surface: Option<Surface>,
) -> io::Result<()> {
    let what = match command.argument {
        Argument::Struct(found) if found.direction == Direction::Out => {
            "an ioctl that reads something out"
        }
        _ => "an ioctl",
    };
    title(out, command.name, what)?;
    if command.handled.is_empty() {
        let nobody = "none: it is for another architecture, or nothing handles it any more";
        aspect(out, "surface", nobody)?;
    }
    for handled in command.handled {
        if surface.is_none_or(|surface| surface == handled.surface) {
            let Handled { surface, function } = handled;
            let handled = format!("{}, handled by {function}()", surface.name());
            aspect(out, "surface", &handled)?;
        }
    }
    let mut number = format!("{:#010x}", command.number);
    if command.compat_number != command.number {
        number += &format!("; 32-bit callers pass {:#010x}", command.compat_number);
    }
    if !command.handled.is_empty() {
        aspect(out, "number", &number)?;
    }
    argument(out, &command.argument)?;
    if let Some(judged) = command.judged() {
        aspect(out, "judged on", &words::judged(judged))?;
    }
    let limits: Vec<_> = Quantity::ALL
        .into_iter()
        .filter(|quantity| quantity.limits(command))
        .map(|quantity| format!("`limit {}`", quantity.name()))
        .collect();
    if !limits.is_empty() {
        aspect(out, "limited by", &limits.join(", "))?;
    }
    let unfollowed: Vec<_> = command
        .unfollowed()
        .map(|field| format!("`{}`", field.name))
        .collect();
    if !unfollowed.is_empty() {
        let what = format!("what {} leads to: no rule sees it", unfollowed.join(", "));
        aspect(out, "not judged", &what)?;
    }
    if let Argument::Struct(found) = command.argument {
        table::fields(out, found)?;
    }
    match example::of_command(command, surface) {
        Some(rule) => example(out, &rule),
        None => Ok(()),
    }
}

fn argument(out: &mut dyn Write, argument: &'static Argument) -> io::Result<()> {
    match *argument {
        Argument::None => aspect(out, "argument", "none"),
        Argument::Unknown => Ok(()),
        Argument::Scalar { width, constants } => {
            let bits = u32::from(width) * 8;
            let what = format!("a number of {bits} bits: `arg` in conditions");
            aspect(out, "argument", &what)?;
            if constants.is_empty() {
                return Ok(());
            }
            part(out, "Constants of arg")?;
            table::constants(out, fields::named(constants))
        }
        Argument::Struct(found) => about_struct(out, found),
    }
}

fn about_struct(out: &mut dyn Write, found: &'static Struct) -> io::Result<()> {
    let name = match found.name {
        name if is_struct(found) => format!("struct {name}"),
        name => name.to_string(),
    };
    aspect(out, "argument", &format!("{name}, {}", size(found)))?;
    let direction = match found.direction {
        Direction::In => "in: the kernel reads it",
        Direction::Out => {
            "out: the kernel writes it and reads nothing, so that no condition can look at it"
        }
        Direction::InOut => "in and out: the kernel reads it, and writes its answer there",
    };
    aspect(out, "direction", direction)?;
    if let Some(place) = found.sized_by {
        let size = format!(
            "the caller says in {} how many bytes there are; what lies beyond counts as 0",
            fields::name_at(found.fields, place)
        );
        aspect(out, "size", &size)?;
    }
    Ok(())
}

/// Whether it is a C struct, and not a number that is passed by its address.
fn is_struct(found: &Struct) -> bool {
    !matches!(found.fields, [only] if only.name == "value")
}

/// Explains a struct: its fields, and the commands that take it.
pub(super) fn of_struct(out: &mut dyn Write, found: &'static Struct) -> io::Result<()> {
    title(out, found.name, "the argument of ioctls")?;
    for command in schema::commands() {
        if let Argument::Struct(argument) = command.argument {
            if argument.name == found.name {
                let way = words::direction(argument.direction);
                aspect(out, "command", &format!("{} ({way})", command.name))?;
            }
        }
    }
    aspect(out, "size", &size(found))?;
    table::fields(out, found)
}

/// Its bytes, and what may follow them.
fn size(found: &Struct) -> String {
    let bytes = match found.size {
        1 => "1 byte".to_string(),
        size => format!("{size} bytes"),
    };
    let has_tail = found.fields.last().is_some_and(|field| match field.kind {
        FieldKind::Array(array) => !matches!(array.len, Len::Fixed(_)),
        _ => false,
    });
    match (has_tail, found.open_ended) {
        (true, _) => format!("{bytes} and an array"),
        (false, true) => {
            format!("{bytes}, and more on machines that have more: no condition can look at that")
        }
        (false, false) => bytes,
    }
}
