// SPDX-License-Identifier: GPL-2.0

//! The schema as one JSON document. Numbers that people write in hexadecimal are strings.

use portcullis_policy::schema::{self, Argument, At, Command, Field, FieldKind, Len, Variant};
use portcullis_policy::Surface;
use serde::Serialize;

use crate::{example, fields, words};

/// All of it.
#[derive(Serialize)]
pub(crate) struct Document {
    version: &'static str,
    surfaces: Vec<SurfaceEntry>,
    commands: Vec<CommandEntry>,
    constants: Vec<ConstantEntry>,
}

#[derive(Serialize)]
struct SurfaceEntry {
    name: &'static str,
    file: &'static str,
}

#[derive(Serialize)]
struct ConstantEntry {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct CommandEntry {
    name: &'static str,
    number: String,
    compat_number: String,
    handled: Vec<HandledEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_on: Option<&'static str>,
    argument: ArgumentEntry,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_judged: Vec<&'static str>,
    example: Option<String>,
}

#[derive(Serialize)]
struct HandledEntry {
    surface: &'static str,
    function: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum ArgumentEntry {
    None,
    Unknown,
    Scalar {
        width: u8,
        constants: Vec<&'static str>,
    },
    Struct {
        name: &'static str,
        size: u32,
        direction: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sized_by: Option<&'static str>,
        fields: Vec<FieldEntry>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        variants: Vec<VariantEntry>,
        #[serde(skip_serializing_if = "Option::is_none")]
        compat: Option<CompatEntry>,
    },
}

#[derive(Serialize)]
struct CompatEntry {
    size: u32,
    fields: Vec<FieldEntry>,
}

#[derive(Serialize)]
struct FieldEntry {
    name: &'static str,
    offset: u32,
    r#type: String,
    /// Of an array, that of an element.
    width: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constants: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<LengthEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    elements: Vec<FieldEntry>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum LengthEntry {
    Fixed { count: u32 },
    Counted { by: &'static str, limit: u32 },
    Rest { of: &'static str, limit: u32 },
}

#[derive(Serialize)]
struct VariantEntry {
    name: &'static str,
    struct_name: &'static str,
    selected_by: &'static str,
    mask: String,
    value: String,
    constant: &'static str,
    /// Behind a pointer, the offset is that of the pointer.
    behind_pointer: bool,
    offset: u32,
    size: u32,
    fields: Vec<FieldEntry>,
}

impl Document {
    /// The schema of this build.
    pub(crate) fn new() -> Self {
        let surface = |surface: Surface| SurfaceEntry {
            name: surface.name(),
            file: words::surface(surface),
        };
        let constants = schema::constants().iter().map(|constant| ConstantEntry {
            name: constant.name,
            value: format!("{:#x}", constant.value),
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            surfaces: Surface::ALL.into_iter().map(surface).collect(),
            commands: schema::commands().iter().map(CommandEntry::new).collect(),
            constants: constants.collect(),
        }
    }
}

impl CommandEntry {
    fn new(command: &'static Command) -> Self {
        let handled = command.handled.iter().map(|handled| HandledEntry {
            surface: handled.surface.name(),
            function: handled.function,
        });
        Self {
            name: command.name,
            number: format!("{:#010x}", command.number),
            compat_number: format!("{:#010x}", command.compat_number),
            handled: handled.collect(),
            judged_on: command.judged().map(schema::Judged::name),
            argument: ArgumentEntry::new(&command.argument),
            not_judged: command.unfollowed().map(|field| field.name).collect(),
            example: example::of_command(command, None),
        }
    }
}

impl ArgumentEntry {
    fn new(argument: &'static Argument) -> Self {
        match *argument {
            Argument::None => Self::None,
            Argument::Unknown => Self::Unknown,
            Argument::Scalar { width, constants } => Self::Scalar {
                width,
                constants: names(constants),
            },
            Argument::Struct(found) => Self::Struct {
                name: found.name,
                size: found.size,
                direction: words::direction(found.direction),
                sized_by: found
                    .sized_by
                    .map(|place| fields::name_at(found.fields, place)),
                fields: entries(found.fields, found.fields),
                variants: found
                    .variants
                    .iter()
                    .map(|variant| VariantEntry::new(found.fields, variant))
                    .collect(),
                compat: found.compat.map(|compat| CompatEntry {
                    size: compat.size,
                    fields: entries(compat.fields, compat.fields),
                }),
            },
        }
    }
}

impl VariantEntry {
    fn new(argument: &'static [Field], variant: &'static Variant) -> Self {
        let selector = variant.selector;
        let (behind_pointer, offset) = match variant.at {
            At::Inline(offset) => (false, offset),
            At::Pointer(offset) => (true, offset),
        };
        Self {
            name: variant.name,
            struct_name: variant.struct_name,
            selected_by: fields::name_at(argument, selector.place),
            mask: format!("{:#x}", selector.mask),
            value: format!("{:#x}", selector.value),
            constant: selector.constant,
            behind_pointer,
            offset,
            size: variant.size,
            fields: entries(argument, variant.fields),
        }
    }
}

/// `of`: the fields of a struct with the whole argument `argument`.
fn entries(argument: &'static [Field], of: &'static [Field]) -> Vec<FieldEntry> {
    let entry = |field: &'static Field| {
        let (length, elements) = match field.kind {
            FieldKind::Array(array) => {
                let length = match array.len {
                    Len::Fixed(count) => LengthEntry::Fixed { count },
                    Len::Counted { count, limit } => LengthEntry::Counted {
                        by: fields::name_at(argument, count),
                        limit,
                    },
                    Len::Rest { size, limit } => LengthEntry::Rest {
                        of: fields::name_at(argument, size),
                        limit,
                    },
                };
                (Some(length), entries(argument, array.fields))
            }
            _ => (None, Vec::new()),
        };
        FieldEntry {
            name: field.name,
            offset: field.offset,
            r#type: words::kind(field),
            width: words::width(field),
            constants: names(field.constants),
            length,
            elements,
        }
    };
    of.iter().map(entry).collect()
}

fn names(places: &'static [u16]) -> Vec<&'static str> {
    fields::named(places)
        .map(|constant| constant.name)
        .collect()
}
