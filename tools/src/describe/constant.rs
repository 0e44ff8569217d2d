// SPDX-License-Identifier: GPL-2.0

//! Explaining a constant.

use std::io::{self, Write};

use portcullis_policy::schema::{self, Argument, Constant};

use super::{aspect, title};
use crate::{fields, words};

/// Explains a constant: its value, and the fields that it belongs to.
pub(super) fn describe(out: &mut dyn Write, constant: &'static Constant) -> io::Result<()> {
    title(out, constant.name, "a constant")?;
    aspect(out, "value", &words::number(constant.value))?;
    let mut is_somewhere = false;
    for name in users(constant) {
        is_somewhere = true;
        aspect(out, "belongs to", &name)?;
    }
    if !is_somewhere {
        aspect(out, "belongs to", "no field in particular")?;
    }
    Ok(())
}

/// What it belongs to: `COMMAND.FIELD`, or `COMMAND, arg`.
fn users(constant: &'static Constant) -> impl Iterator<Item = String> {
    let is_it = |other: &Constant| other.name == constant.name;
    schema::commands().iter().flat_map(move |command| {
        let arg = match command.argument {
            Argument::Scalar { constants, .. } => fields::named(constants).any(is_it),
            _ => false,
        };
        let arg = arg.then(|| format!("{}, arg", command.name));
        let members = fields::of_command(command).into_iter();
        let having =
            members.filter(move |member| !member.is_element && member.constants().any(is_it));
        arg.into_iter()
            .chain(having.map(|member| format!("{}.{}", command.name, member.path)))
            .collect::<Vec<String>>()
    })
}
