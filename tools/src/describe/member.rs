// SPDX-License-Identifier: GPL-2.0

//! Explaining a field.

use std::io::{self, Write};

use portcullis_policy::schema::{Argument, Command, Field, FieldKind, Len};
use portcullis_policy::Surface;

use super::{aspect, example, part, table, title};
use crate::fields::{self, Member};
use crate::{example, words};

/// Explains the chosen members: a field, an array and below it the fields of its elements, or those of
/// a nested struct.
pub(super) fn describe(
    out: &mut dyn Write,
    command: &'static Command,
    surface: Option<Surface>,
    all: &[Member],
    chosen: &[usize],
    path: &str,
) -> io::Result<()> {
    let chosen: Vec<&Member> = chosen.iter().filter_map(|&index| all.get(index)).collect();
    let below = match chosen.as_slice() {
        [first, below @ ..] if first.path == path => {
            one(out, command, surface, all, first)?;
            below
        }
        below => {
            title(
                out,
                &format!("{}.{path}", command.name),
                "a struct in the argument",
            )?;
            below
        }
    };
    if below.iter().any(|member| !member.is_element) {
        table::members(out, command, below)?;
    }
    let is_struct = below.len() == chosen.len();
    let best = below
        .iter()
        .rev()
        .max_by_key(|member| example::telling(member));
    let rule = best.and_then(|best| example::of_member(command, surface, all, best));
    match rule.filter(|_| is_struct) {
        Some(rule) => example(out, &rule),
        None => Ok(()),
    }
}

fn one(
    out: &mut dyn Write,
    command: &'static Command,
    surface: Option<Surface>,
    all: &[Member],
    member: &Member,
) -> io::Result<()> {
    let name = format!("{}.{}", command.name, member.path);
    title(out, &name, "a field")?;
    let argument: &'static [Field] = match command.argument {
        Argument::Struct(found) => found.fields,
        _ => &[],
    };
    aspect(out, "type", &kind(argument, member.field))?;
    let bytes = words::width(member.field);
    let of = match member.field.kind {
        FieldKind::Array(_) => " of an element",
        _ => "",
    };
    aspect(out, "width", &format!("{bytes} bytes{of}"))?;
    let of = match (member.depth, member.variant) {
        (0, None) => "in the argument".to_string(),
        (0, Some(variant)) => format!("in struct {}", variant.struct_name),
        _ => "in the element".to_string(),
    };
    aspect(out, "offset", &format!("{} {of}", member.field.offset))?;
    if let Some(variant) = member.variant {
        let selector = variant.selector;
        let when = format!(
            "only if {} == {}, {}",
            fields::name_at(argument, selector.place),
            selector.constant,
            fields::position(argument, variant.at)
        );
        aspect(out, "there", &when)?;
    }
    if let Argument::Struct(found) = command.argument {
        let compat = found
            .compat
            .map_or(Vec::new(), |compat| fields::of_fields(compat.fields));
        if let Some(other) = compat.iter().find(|other| other.path == member.path) {
            let text = format!(
                "{} at offset {}, {} bytes",
                words::kind(other.field),
                other.field.offset,
                words::width(other.field)
            );
            aspect(out, "32-bit", &text)?;
        }
    }
    if member.constants().next().is_some() {
        part(out, "Constants")?;
        table::constants(out, member.constants())?;
    }
    match example::of_member(command, surface, all, member) {
        Some(rule) => example(out, &rule),
        None if command.handled.is_empty() => Ok(()),
        None => aspect(
            out,
            "conditions",
            "none can look at it: the kernel writes it and does not read it",
        ),
    }
}

fn kind(argument: &'static [Field], field: &'static Field) -> String {
    let word = words::kind(field);
    match field.kind {
        FieldKind::Value { signed: true, .. } => format!("{word}, a number that may be negative"),
        FieldKind::Value { .. } => format!("{word}, an unsigned number"),
        FieldKind::Pointer { .. } => {
            format!("{word}: an address of the caller's, an unsigned number in conditions")
        }
        FieldKind::Array(array) => match array.len {
            Len::Fixed(count) => format!("{word}, an array of {count} elements"),
            len => format!(
                "{word}, an array of elements: {}",
                fields::length(argument, len)
            ),
        },
    }
}
