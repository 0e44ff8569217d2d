// SPDX-License-Identifier: GPL-2.0

//! How the tables write down what they have most of. Nothing of it is left when they are compiled.

#![expect(
    clippy::indexing_slicing,
    reason = "it runs in the compiler, which tells of a panic as of any error"
)]

use super::{
    commands::COMMANDS, constants::CONSTANTS, Argument, Array, Command, Field, FieldKind, Place,
    Struct,
};
use core::cmp::Ordering;

pub(super) const fn unsigned(
    name: &'static str,
    offset: u32,
    width: u8,
    constants: &'static [u16],
) -> Field {
    Field {
        name,
        offset,
        kind: FieldKind::Value {
            width,
            signed: false,
        },
        constants,
    }
}

pub(super) const fn signed(
    name: &'static str,
    offset: u32,
    width: u8,
    constants: &'static [u16],
) -> Field {
    Field {
        name,
        offset,
        kind: FieldKind::Value {
            width,
            signed: true,
        },
        constants,
    }
}

pub(super) const fn pointer(name: &'static str, offset: u32, width: u8) -> Field {
    Field {
        name,
        offset,
        kind: FieldKind::Pointer { width },
        constants: &[],
    }
}

pub(super) const fn array(name: &'static str, offset: u32, array: &'static Array) -> Field {
    Field {
        name,
        offset,
        kind: FieldKind::Array(array),
        constants: &[],
    }
}

pub(super) const fn place(offset: u32, width: u8) -> Place {
    Place { offset, width }
}

/// The places of constants: a name that is not there does not compile.
pub(super) const fn places<const N: usize>(names: [&str; N]) -> [u16; N] {
    let mut places = [0; N];
    let mut at = 0;
    while at < N {
        places[at] = place_of(names[at]);
        at += 1;
    }
    places
}

const fn place_of(name: &str) -> u16 {
    let (mut low, mut high) = (0, CONSTANTS.len());
    while low < high {
        let middle = (low + high) / 2;
        match compare(CONSTANTS[middle].name, name) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return middle as u16,
            Ordering::Greater => high = middle,
        }
    }
    panic!("a table names a constant that is not there")
}

/// A command of the engine's own tables: a name that is not there does not compile.
pub(crate) const fn command(name: &str) -> &'static Command {
    let mut at = 0;
    while at < COMMANDS.len() {
        if let Ordering::Equal = compare(COMMANDS[at].name, name) {
            return &COMMANDS[at];
        }
        at += 1;
    }
    panic!("a table names a command that is not there")
}

/// Where a field of such a command is, which callers of both word sizes pass at the same place.
pub(crate) const fn field(name: &str, path: &str) -> Place {
    let Argument::Struct(Struct {
        fields,
        compat: None,
        ..
    }) = command(name).argument
    else {
        panic!("a table names a field of what is no struct, or has two layouts")
    };
    let mut at = 0;
    while at < fields.len() {
        if let (Ordering::Equal, FieldKind::Value { width, .. }) =
            (compare(fields[at].name, path), fields[at].kind)
        {
            return place(fields[at].offset, width);
        }
        at += 1;
    }
    panic!("a table names a field that is not there, or that is no number")
}

/// The value of a constant.
pub(crate) const fn constant(name: &str) -> u64 {
    CONSTANTS[place_of(name) as usize].value
}

const fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] < right[at] {
            return Ordering::Less;
        }
        if left[at] > right[at] {
            return Ordering::Greater;
        }
        at += 1;
    }
    match (left.len() > at, right.len() > at) {
        (false, false) => Ordering::Equal,
        (false, true) => Ordering::Less,
        _ => Ordering::Greater,
    }
}
