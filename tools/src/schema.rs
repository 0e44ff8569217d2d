// SPDX-License-Identifier: GPL-2.0

//! `portcullis schema`: everything that a policy can name, one thing a line.

use std::io::{self, BufWriter, Write};

use portcullis_policy::schema::{self, Argument, Command, FieldKind, Struct};
use portcullis_policy::Surface;

use crate::document::Document;
use crate::fields::{self, Member};
use crate::outcome::Outcome;
use crate::{cli, words};

/// Prints it.
pub(crate) fn run(options: &cli::Schema) -> io::Result<Outcome> {
    let mut out = BufWriter::new(io::stdout().lock());
    if options.json {
        serde_json::to_writer_pretty(&mut out, &Document::new())?;
        writeln!(out)?;
    } else {
        lines(&mut out)?;
    }
    out.flush()?;
    Ok(Outcome::Fine)
}

fn lines(out: &mut dyn Write) -> io::Result<()> {
    for surface in Surface::ALL {
        writeln!(
            out,
            "surface {}: {}",
            surface.name(),
            words::surface(surface)
        )?;
    }
    for found in schema::commands() {
        command(out, found)?;
    }
    for constant in schema::constants() {
        writeln!(out, "constant {} {:#x}", constant.name, constant.value)?;
    }
    Ok(())
}

fn command(out: &mut dyn Write, command: &'static Command) -> io::Result<()> {
    let Command { name, number, .. } = command;
    let mut about = match command.argument {
        Argument::None => "none".to_string(),
        Argument::Unknown => "unknown".to_string(),
        Argument::Scalar { width, .. } => format!("u{}", u32::from(width) * 8),
        Argument::Struct(found) => format!(
            "{} size={} direction={}",
            found.name,
            found.size,
            words::direction(found.direction)
        ),
    };
    if command.compat_number != *number {
        about += &format!(" compat-number={:#010x}", command.compat_number);
    }
    if let Some(judged) = command.judged() {
        about += &format!(" judged={}", judged.name());
    }
    if command.handled.is_empty() {
        return writeln!(out, "command - {name} {number:#010x} argument={about}");
    }
    for handled in command.handled {
        let (surface, function) = (handled.surface.name(), handled.function);
        writeln!(
            out,
            "command {surface} {name} {number:#010x} argument={about} handler={function}"
        )?;
    }
    match command.argument {
        Argument::Struct(found) => of_struct(out, name, found),
        Argument::Scalar { width, constants } if !constants.is_empty() => {
            let bits = u32::from(width) * 8;
            write!(out, "field {name}.arg u{bits}")?;
            list(out, fields::named(constants).map(|constant| constant.name))
        }
        _ => Ok(()),
    }
}

fn of_struct(out: &mut dyn Write, command: &str, found: &'static Struct) -> io::Result<()> {
    for member in fields::of_struct(found) {
        field(out, "field", command, found, &member)?;
    }
    for variant in found.variants {
        let selector = variant.selector;
        writeln!(
            out,
            "variant {command}.{} {} size={} if {}=={} {}",
            variant.name,
            variant.struct_name,
            variant.size,
            fields::name_at(found.fields, selector.place),
            selector.constant,
            fields::position(found.fields, variant.at)
        )?;
    }
    let compat = found.compat.map_or(&[][..], |compat| compat.fields);
    for member in fields::of_fields(compat) {
        field(out, "compat-field", command, found, &member)?;
    }
    Ok(())
}

fn field(
    out: &mut dyn Write,
    word: &str,
    command: &str,
    found: &'static Struct,
    member: &Member,
) -> io::Result<()> {
    if member.is_element {
        return Ok(());
    }
    let kind = words::kind(member.field);
    let offset = member.field.offset;
    write!(
        out,
        "{word} {command}.{} {kind} offset={offset}",
        member.path
    )?;
    if let FieldKind::Array(array) = member.field.kind {
        let length = fields::length(found.fields, array.len);
        write!(out, " stride={} length=\"{length}\"", array.stride)?;
    }
    list(out, member.constants().map(|constant| constant.name))
}

/// The constants of a field, and the end of its line.
fn list(out: &mut dyn Write, names: impl Iterator<Item = &'static str>) -> io::Result<()> {
    for (index, name) in names.enumerate() {
        let before = if index == 0 { " constants=" } else { "|" };
        write!(out, "{before}{name}")?;
    }
    writeln!(out)
}
