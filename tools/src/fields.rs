// SPDX-License-Identifier: GPL-2.0

//! The fields of an argument, one behind the other, with those of array elements and of variants.

use portcullis_policy::schema::{constants, At};
use portcullis_policy::schema::{
    Argument, Array, Command, Constant, Field, FieldKind, Len, Place, Struct, Variant,
};

/// A field, and how it is reached.
pub(crate) struct Member {
    /// Its path from the argument, names joined by dots.
    pub(crate) path: String,
    /// What the schema says.
    pub(crate) field: &'static Field,
    /// The array whose elements have it, as a condition names it.
    pub(crate) array: Option<String>,
    /// How a condition names it: inside the parentheses, if it is in an array.
    pub(crate) name: String,
    /// In how many arrays it is.
    pub(crate) depth: usize,
    /// The variant that has it.
    pub(crate) variant: Option<&'static Variant>,
    /// Whether it stands for the elements of an array of plain numbers.
    pub(crate) is_element: bool,
}

/// The members of a command's argument.
pub(crate) fn of_command(command: &Command) -> Vec<Member> {
    match command.argument {
        Argument::Struct(found) => of_struct(found),
        _ => Vec::new(),
    }
}

/// The members of a struct, those of its variants behind its own.
pub(crate) fn of_struct(found: &'static Struct) -> Vec<Member> {
    let mut members = of_fields(found.fields);
    for variant in found.variants {
        let from = Reached {
            prefix: format!("{}.", variant.name),
            names: format!("{}.", variant.name),
            variant: Some(variant),
            ..Reached::default()
        };
        walk(variant.fields, &from, &mut members);
    }
    members
}

/// The members that some fields lead to.
pub(crate) fn of_fields(fields: &'static [Field]) -> Vec<Member> {
    let mut members = Vec::new();
    walk(fields, &Reached::default(), &mut members);
    members
}

/// Where a walk has come to.
#[derive(Default)]
struct Reached {
    prefix: String,
    names: String,
    array: Option<String>,
    depth: usize,
    variant: Option<&'static Variant>,
}

fn walk(fields: &'static [Field], from: &Reached, members: &mut Vec<Member>) {
    for field in fields {
        let member = Member {
            path: format!("{}{}", from.prefix, field.name),
            field,
            array: from.array.clone(),
            name: format!("{}{}", from.names, field.name),
            depth: from.depth,
            variant: from.variant,
            is_element: false,
        };
        let inside = member.elements();
        members.push(member);
        let FieldKind::Array(array) = field.kind else {
            continue;
        };
        let first = members.len();
        walk(array.fields, &inside, members);
        if let (true, Some(element)) = (is_of_numbers(array), members.get_mut(first)) {
            element.is_element = true;
            if element.depth > 1 {
                element.name = inside.names.trim_end_matches('.').to_string();
            }
        }
    }
}

impl Member {
    /// What the fields of its elements begin with. Conditions on elements do not nest: of an array in
    /// an array, a condition names one element.
    fn elements(&self) -> Reached {
        let (array, names) = match &self.array {
            None => (self.name.clone(), String::new()),
            Some(outer) => (outer.clone(), format!("{}[0].", self.name)),
        };
        Reached {
            prefix: format!("{}.", self.path),
            names,
            array: Some(array),
            depth: self.depth + 1,
            variant: self.variant,
        }
    }

    /// The constants that belong to it, or to its elements if they are plain numbers.
    pub(crate) fn constants(&self) -> impl Iterator<Item = &'static Constant> + Clone {
        let places = match self.field.kind {
            FieldKind::Array(array) if is_of_numbers(array) => array
                .fields
                .first()
                .map_or(&[][..], |field| field.constants),
            _ => self.field.constants,
        };
        named(places)
    }
}

/// Constants by their places.
pub(crate) fn named(places: &'static [u16]) -> impl Iterator<Item = &'static Constant> + Clone {
    let at = |place: &u16| constants().get(usize::from(*place));
    places.iter().filter_map(at)
}

/// Whether the elements are plain numbers.
pub(crate) fn is_of_numbers(array: &Array) -> bool {
    matches!(array.fields, [only] if only.name == "element")
}

/// The name of the field that stands at a place.
pub(crate) fn name_at(fields: &'static [Field], place: Place) -> &'static str {
    let found = fields.iter().find(|field| {
        let width = match field.kind {
            FieldKind::Value { width, .. } | FieldKind::Pointer { width } => width,
            FieldKind::Array(_) => 0,
        };
        field.offset == place.offset && width == place.width
    });
    found.map_or("?", |field| field.name)
}

/// How many elements an array has, in words.
pub(crate) fn length(fields: &'static [Field], len: Len) -> String {
    match len {
        Len::Fixed(count) => format!("{count}"),
        Len::Counted { count, limit } => {
            format!(
                "as many as {} says, {limit} at most",
                name_at(fields, count)
            )
        }
        Len::Rest { size, limit } => format!(
            "as many as the bytes of {} have room for, {limit} at most",
            name_at(fields, size)
        ),
    }
}

/// Where a variant stands, in words.
pub(crate) fn position(fields: &'static [Field], at: At) -> String {
    match at {
        At::Inline(offset) => format!("at offset {offset}"),
        At::Pointer(offset) => {
            let pointer = fields.iter().find(|field| field.offset == offset);
            format!("behind {}", pointer.map_or("a pointer", |field| field.name))
        }
    }
}
