// SPDX-License-Identifier: GPL-2.0

//! What the engine takes for granted about the schema, because every kernel so far is like that:
//! fetch.rs and need.rs read one array at the end of an argument and one struct behind a pointer.

use portcullis_policy::schema::{self, Argument, At, Field, FieldKind, Len, Struct, Variant};

fn structs() -> impl Iterator<Item = (&'static str, &'static Struct)> {
    let all = schema::commands().iter();
    all.filter_map(|command| match command.argument {
        Argument::Struct(whole) => Some((command.name, whole)),
        _ => None,
    })
}

/// Where the arrays at the end of a struct begin, and what says how long they are.
fn tails(fields: &'static [Field]) -> impl Iterator<Item = (u32, Option<schema::Place>)> {
    fields.iter().filter_map(|field| match field.kind {
        FieldKind::Array(array) => match array.len {
            Len::Fixed(_) => None,
            Len::Counted { count: place, .. } | Len::Rest { size: place, .. } => {
                Some((field.offset, Some(place)))
            }
        },
        _ => None,
    })
}

#[test]
fn arrays_at_the_end_begin_together_and_are_as_long() {
    for (name, whole) in structs() {
        for fields in [Some(whole.fields), whole.compat.map(|compat| compat.fields)] {
            let mut tails = tails(fields.unwrap_or_default());
            if let Some(first) = tails.next() {
                assert!(tails.all(|other| other == first), "{name}");
                // Nothing else is read from there: no byte twice.
                let inside = |variant: &Variant| matches!(variant.at, At::Inline(_));
                assert!(!whole.variants.iter().any(inside), "{name}");
            }
        }
    }
}

#[test]
fn arrays_in_variants_and_elements_have_a_fixed_length() {
    fn check(name: &str, fields: &[Field]) {
        for field in fields {
            if let FieldKind::Array(array) = field.kind {
                assert!(matches!(array.len, Len::Fixed(_)), "{name}: {}", field.name);
                check(name, array.fields);
            }
        }
    }
    for (name, whole) in structs() {
        for variant in whole.variants {
            check(name, variant.fields);
        }
        for field in whole.fields {
            if let FieldKind::Array(array) = field.kind {
                check(name, array.fields);
            }
        }
    }
}

#[test]
fn no_pointer_leads_to_two_structs_unless_one_number_means_both() {
    for (name, whole) in structs() {
        for one in whole.variants {
            for other in whole.variants {
                let (a, b) = (one.selector, other.selector);
                let exclusive = a.place == b.place && (a.value ^ b.value) & a.mask & b.mask != 0;
                let same =
                    (a.place, a.mask, a.value, one.at) == (b.place, b.mask, b.value, other.at);
                assert!(exclusive || same, "{name}: {} and {}", one.name, other.name);
            }
        }
    }
}

#[test]
fn other_layouts_have_neither_variants_nor_sizes() {
    // Their places are those of the native layout.
    for (name, whole) in structs() {
        if whole.compat.is_some() {
            assert!(
                whole.variants.is_empty() && whole.sized_by.is_none(),
                "{name}"
            );
        }
    }
}
