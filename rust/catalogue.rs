// SPDX-License-Identifier: GPL-2.0

//! What `schema` tells: every surface, command, field and constant that a policy can name. The
//! format is documented in Documentation/admin-guide.rst.

use crate::sites;
use core::fmt::Write;
use kernel::fmt;
use portcullis_policy::{
    schema::{
        commands,
        constants,
        Argument,
        Array,
        At,
        Command,
        Direction,
        Field,
        FieldKind,
        Len,
        Place,
        Variant, //
    },
    Surface, //
};

/// Writes the whole schema, a line a thing.
pub(crate) fn write(out: &mut dyn Write) -> fmt::Result {
    for surface in Surface::ALL {
        let guarded = if sites::guards(surface) { "yes" } else { "no" };
        writeln!(out, "surface {} guarded={guarded}", surface.name())?;
    }
    for found in commands() {
        command(out, found)?;
    }
    for constant in constants() {
        writeln!(
            out,
            "constant {} value={:#x}",
            constant.name, constant.value
        )?;
    }
    Ok(())
}

/// A line for each surface, then what the argument has.
fn command(out: &mut dyn Write, command: &Command) -> fmt::Result {
    let Command {
        name,
        number,
        compat_number,
        ..
    } = command;
    for handled in command.handled {
        write!(
            out,
            "command {name} surface={} number={number:#010x} compat-number={compat_number:#010x} \
             handler={} ",
            handled.surface.name(),
            handled.function
        )?;
        if let Some(judged) = command.judged() {
            write!(out, "judged={} ", judged.name())?;
        }
        argument(out, &command.argument)?;
    }
    if command.handled.is_empty() {
        return writeln!(
            out,
            "command {name} surface=none number={number:#010x} \
             compat-number={compat_number:#010x} handler=none argument=unknown"
        );
    }
    match &command.argument {
        Argument::Scalar { width, constants } => {
            write!(
                out,
                "field {name} arg layout=register offset=0 width={width} kind=unsigned"
            )?;
            names(out, constants)?;
            writeln!(out)
        }
        Argument::Struct(found) => {
            let layout = if found.compat.is_some() {
                "native"
            } else {
                "all"
            };
            let of = Owner { name, layout };
            fields(out, &of, "", found.fields)?;
            for variant in found.variants {
                variant_of(out, &of, variant)?;
            }
            let Some(compat) = found.compat else {
                return Ok(());
            };
            let of = Owner {
                name,
                layout: "compat",
            };
            fields(out, &of, "", compat.fields)
        }
        Argument::None | Argument::Unknown => Ok(()),
    }
}

/// The end of a command's line.
fn argument(out: &mut dyn Write, argument: &Argument) -> fmt::Result {
    match argument {
        Argument::None => writeln!(out, "argument=none"),
        Argument::Unknown => writeln!(out, "argument=unknown"),
        Argument::Scalar { width, .. } => writeln!(out, "argument=scalar size={width}"),
        Argument::Struct(found) => {
            let direction = match found.direction {
                Direction::In => "in",
                Direction::Out => "out",
                Direction::InOut => "inout",
            };
            let (name, size) = (found.name, found.size);
            write!(
                out,
                "argument=struct size={size} struct={name} direction={direction}"
            )?;
            if let Some(compat) = found.compat {
                write!(out, " compat-size={}", compat.size)?;
            }
            if let Some(place) = found.sized_by {
                write!(out, " sized-by=")?;
                at(out, place)?;
            }
            if found.open_ended {
                write!(out, " open-ended=yes")?;
            }
            writeln!(out)
        }
    }
}

/// Whose fields they are.
struct Owner<'a> {
    /// The command.
    name: &'a str,
    /// The callers that pass them so.
    layout: &'a str,
}

/// A line for each field, and for each of an element where it is an array. Their paths begin with
/// `inside`.
fn fields(out: &mut dyn Write, of: &Owner<'_>, inside: &str, list: &[Field]) -> fmt::Result {
    for field in list {
        line(out, of, inside, field)?;
        if let FieldKind::Array(array) = field.kind {
            for element in array.fields {
                write!(out, "element")?;
                whose(out, of, inside, field.name)?;
                write!(out, ".{}", element.name)?;
                kind(out, of, element)?;
            }
        }
    }
    Ok(())
}

fn line(out: &mut dyn Write, of: &Owner<'_>, inside: &str, field: &Field) -> fmt::Result {
    write!(out, "field")?;
    whose(out, of, inside, field.name)?;
    kind(out, of, field)
}

/// The command and the path of a field.
fn whose(out: &mut dyn Write, of: &Owner<'_>, inside: &str, field: &str) -> fmt::Result {
    let dot = if inside.is_empty() { "" } else { "." };
    write!(out, " {} {inside}{dot}{field}", of.name)
}

/// The end of a field's line.
fn kind(out: &mut dyn Write, of: &Owner<'_>, field: &Field) -> fmt::Result {
    write!(out, " layout={} offset={}", of.layout, field.offset)?;
    match field.kind {
        FieldKind::Value { width, signed } => {
            let sign = if signed { "signed" } else { "unsigned" };
            write!(out, " width={width} kind={sign}")?;
        }
        FieldKind::Pointer { width } => write!(out, " width={width} kind=pointer")?,
        FieldKind::Array(array) => elements(out, array)?,
    }
    names(out, field.constants)?;
    writeln!(out)
}

fn elements(out: &mut dyn Write, array: &Array) -> fmt::Result {
    write!(out, " kind=array stride={}", array.stride)?;
    match array.len {
        Len::Fixed(count) => write!(out, " count={count}"),
        Len::Counted { count, limit } => {
            write!(out, " counted-by=")?;
            at(out, count)?;
            write!(out, " limit={limit}")
        }
        Len::Rest { size, limit } => {
            write!(out, " rest-of=")?;
            at(out, size)?;
            write!(out, " limit={limit}")
        }
    }
}

/// A number's place: its offset and its bytes.
fn at(out: &mut dyn Write, place: Place) -> fmt::Result {
    write!(out, "{}:{}", place.offset, place.width)
}

/// The constants that belong to a field.
fn names(out: &mut dyn Write, places: &[u16]) -> fmt::Result {
    let found = places
        .iter()
        .filter_map(|&place| constants().get(usize::from(place)));
    for (index, constant) in found.enumerate() {
        let before = if index == 0 { " constants=" } else { "," };
        write!(out, "{before}{}", constant.name)?;
    }
    Ok(())
}

/// A line for a variant, then its fields.
fn variant_of(out: &mut dyn Write, of: &Owner<'_>, variant: &Variant) -> fmt::Result {
    let (path, name, size) = (variant.name, variant.struct_name, variant.size);
    let (kind, offset) = match variant.at {
        At::Inline(offset) => ("inline", offset),
        At::Pointer(offset) => ("pointer", offset),
    };
    write!(
        out,
        "variant {} {path} layout={} offset={offset} kind={kind} size={size} struct={name} if=",
        of.name, of.layout
    )?;
    let selector = &variant.selector;
    at(out, selector.place)?;
    writeln!(
        out,
        " mask={:#x} value={:#x} constant={}",
        selector.mask, selector.value, selector.constant
    )?;
    fields(out, of, path, variant.fields)
}
