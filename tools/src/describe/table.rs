// SPDX-License-Identifier: GPL-2.0

//! The table of a struct's fields.

use std::io::{self, Write};

use portcullis_policy::schema::{Argument, Command, Constant, Field, FieldKind, Len, Struct};

use super::part;
use crate::fields::{self, Member};
use crate::words;

/// Constants of a field that are listed in the table; `explain COMMAND.FIELD` has all.
const LISTED: usize = 8;

/// The fields of a struct, of its variants, and of 32-bit callers where those have others.
pub(super) fn fields(out: &mut dyn Write, found: &'static Struct) -> io::Result<()> {
    part(out, "Fields")?;
    head(out)?;
    for member in fields::of_fields(found.fields) {
        row(out, found.fields, &member, true)?;
    }
    for variant in found.variants {
        let selector = variant.selector;
        let masked = match selector.mask {
            mask if mask == bits(selector.place.width) => String::new(),
            mask => format!(" & {mask:#x}"),
        };
        let when = format!(
            "Fields of {}, if {}{masked} == {} ({}): struct {}, {} bytes",
            variant.name,
            fields::name_at(found.fields, selector.place),
            selector.constant,
            fields::position(found.fields, variant.at),
            variant.struct_name,
            variant.size
        );
        part(out, &when)?;
        for mut member in fields::of_fields(variant.fields) {
            if member.depth == 0 {
                member.name = format!("{}.{}", variant.name, member.name);
            }
            row(out, found.fields, &member, true)?;
        }
    }
    if let Some(compat) = found.compat {
        let what = format!("Fields of 32-bit callers, {} bytes", compat.size);
        part(out, &what)?;
        head(out)?;
        for member in fields::of_fields(compat.fields) {
            row(out, compat.fields, &member, false)?;
        }
    }
    Ok(())
}

/// Some members of a command's argument.
pub(super) fn members(
    out: &mut dyn Write,
    command: &'static Command,
    members: &[&Member],
) -> io::Result<()> {
    let all: &[Field] = match command.argument {
        Argument::Struct(found) => found.fields,
        _ => &[],
    };
    part(out, "Fields")?;
    head(out)?;
    for member in members {
        row(out, all, member, true)?;
    }
    Ok(())
}

fn head(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "        offset  bytes  type        name")
}

fn bits(width: u8) -> u64 {
    u64::MAX >> (64 - u32::from(width) * 8)
}

/// One line, and the constants below it.
fn row(
    out: &mut dyn Write,
    all: &'static [Field],
    member: &Member,
    with_constants: bool,
) -> io::Result<()> {
    if member.is_element {
        return Ok(());
    }
    let field = member.field;
    let plus = if member.depth > 0 { "+" } else { "" };
    let offset = format!("{plus}{}", field.offset);
    let shift = 2 * member.depth;
    let name = if member.depth > 0 {
        field.name
    } else {
        &member.name
    };
    let kind = words::kind(field);
    let bytes = words::width(field);
    write!(
        out,
        "        {offset:>6}  {bytes:>5}  {kind:<10}  {:shift$}{name}",
        ""
    )?;
    if let FieldKind::Array(array) = field.kind {
        if !matches!(array.len, Len::Fixed(_)) {
            write!(out, ": {}", fields::length(all, array.len))?;
        }
    }
    writeln!(out)?;
    if !with_constants {
        return Ok(());
    }
    let constants = member.constants();
    let indent = 37 + shift;
    for constant in constants.clone().take(LISTED) {
        let value = words::number(constant.value);
        writeln!(out, "{:indent$}{} = {value}", "", constant.name)?;
    }
    match constants.skip(LISTED).count() {
        0 => Ok(()),
        more => writeln!(out, "{:indent$}and {more} more: explain the field", ""),
    }
}

/// All of some constants.
pub(super) fn constants(
    out: &mut dyn Write,
    constants: impl Iterator<Item = &'static Constant>,
) -> io::Result<()> {
    for constant in constants {
        let value = words::number(constant.value);
        writeln!(out, "        {:<40}  {value}", constant.name)?;
    }
    Ok(())
}
