// SPDX-License-Identifier: GPL-2.0

//! Explaining a surface, or a number on it.

use std::io::{self, Write};

use portcullis_policy::{schema, Surface};

use super::{aspect, example, part, title};
use crate::words;

/// Explains a surface: its commands.
pub(super) fn describe(out: &mut dyn Write, surface: Surface) -> io::Result<()> {
    title(out, surface.name(), words::surface(surface))?;
    part(out, "Commands")?;
    for command in schema::commands()
        .iter()
        .filter(|command| command.is_on(surface))
    {
        writeln!(out, "        {:#010x}  {}", command.number, command.name)?;
    }
    example(out, &format!("deny {} * if compat == 1", surface.name()))
}

/// Explains a number that has no name on a surface.
pub(super) fn number(out: &mut dyn Write, surface: Surface, number: u32) -> io::Result<()> {
    let name = format!("{}:{number:#010x}", surface.name());
    title(
        out,
        &name,
        "no command that is known here, and ruled on all the same",
    )?;
    let [command, family, ..] = number.to_le_bytes();
    let (size, direction) = ((number >> 16) & 0x3fff, number >> 30);
    let direction = match direction {
        0 => "no argument",
        1 => "argument in",
        2 => "argument out",
        _ => "argument in and out",
    };
    let number_of =
        format!("type {family:#04x}, command {command:#04x}, {direction}, {size} bytes");
    aspect(out, "number", &number_of)?;
    example(
        out,
        &format!("deny {} {number:#010x} errno ENOTTY", surface.name()),
    )
}
