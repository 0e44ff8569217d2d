// SPDX-License-Identifier: GPL-2.0

//! Names in conditions: from the path of a field to the place where it stands.

use crate::diagnosis::{Fault, Mistake};
use crate::did::{self, Did};
use crate::fetch::size;
use crate::lexer::{Lexer, Sign, Token, TokenKind};
use crate::parser::expected;
use crate::rule::Surfaces;
use crate::schema::{
    self, Argument, Array, At, Command, Direction, Field, FieldKind, Len, Variant,
};
use crate::state::{self, Like, Scope, DID};
use crate::{
    number, Behind, Condition, Elements, Expected, FieldAt, Kind, Space, Span, State, Tail, Term,
    Test, Within,
};

/// What the conditions of a rule may name, for one command and one word size of the caller.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// The command; none for `*` and for numbers that have no name.
    command: Option<&'static Command>,
    fields: &'static [Field],
    variants: &'static [Variant],
    /// The surfaces that the rule speaks about: not each has a VM.
    surfaces: Surfaces,
    /// Whether these are the fields of an array's element.
    inside: bool,
}

/// What a condition looks at.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    Field(FieldAt),
    /// Terms, in the draft's list.
    Sum(Span),
    /// A single one of them that is no field.
    Term(Term),
}

/// What stands on the left of an operator.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) subject: Subject,
    /// Its bytes.
    pub(crate) width: u8,
    pub(crate) signed: bool,
    pub(crate) what: What,
    /// The constants that belong to it, as places in the schema's list.
    pub(crate) constants: &'static [u16],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Number,
    Count,
    Compat,
    /// Something that is so, 1, or not, 0.
    Flag,
    /// The same, as one bit of a byte.
    Bit(u8),
    /// One of a few words, by its place.
    Word(&'static [&'static str]),
    /// Whether this was done: its place among what the policy asks for is not known yet.
    Did(Did),
    Sum,
}

/// An operand, and what must hold for it to be there.
pub(crate) struct Found {
    pub(crate) operand: Operand,
    pub(crate) when: Option<Condition>,
}

/// An array, the fields of its elements, and what must hold for it to be there.
pub(crate) struct FoundArray {
    pub(crate) elements: Elements,
    pub(crate) fields: &'static [Field],
    pub(crate) when: Option<Condition>,
}

/// A field and where it is.
struct Place {
    field: &'static Field,
    space: Space,
    /// Where the struct that has the field begins.
    base: u32,
    when: Option<Condition>,
}

impl Names {
    /// For a command and callers of one word size.
    pub(crate) fn new(command: Option<&'static Command>, compat: bool, surfaces: Surfaces) -> Self {
        let (fields, variants) = match command.map(|command| &command.argument) {
            Some(Argument::Struct(found)) => match found.compat {
                Some(layout) if compat => (layout.fields, found.variants),
                _ => (found.fields, found.variants),
            },
            _ => (&[][..], &[][..]),
        };
        Self {
            command,
            fields,
            variants,
            surfaces,
            inside: false,
        }
    }

    /// For an element of an array.
    pub(crate) fn inside(&self, fields: &'static [Field]) -> Self {
        Self {
            command: self.command,
            fields,
            variants: &[],
            surfaces: self.surfaces,
            inside: true,
        }
    }

    /// `arg`, `compat`, `count(ARRAY)`, a part of the VM's state or a field.
    pub(crate) fn operand(&self, lexer: &mut Lexer<'_>) -> Result<Found, Fault> {
        let token = lexer.next();
        let word = lexer.str(token);
        let calls = lexer.peek().kind == TokenKind::Sign(Sign::OpenParenthesis);
        let operand = match word {
            "arg" if !self.inside => {
                let (width, constants) = match self.command.map(|command| &command.argument) {
                    Some(&Argument::Scalar { width, constants }) => (width, constants),
                    _ => (8, &[][..]),
                };
                Operand {
                    subject: Subject::Field(FieldAt::new(Space::Call, Space::ARG, width, false)),
                    width,
                    signed: false,
                    what: What::Number,
                    constants,
                }
            }
            "compat" if !self.inside => Operand {
                subject: Subject::Field(FieldAt::new(Space::Call, Space::COMPAT, 1, false)),
                width: 1,
                signed: false,
                what: What::Compat,
                constants: &[],
            },
            "count" if calls => return self.count(lexer),
            _ if state::is_meant(word) && !self.inside => self.state(lexer, token)?,
            _ => return self.field(lexer, token),
        };
        Ok(Found {
            operand,
            when: None,
        })
    }

    /// What begins with `vm.`, `vcpu.`, `thread.`, `profile.` or `file.`.
    fn state(&self, lexer: &mut Lexer<'_>, token: Token) -> Result<Operand, Fault> {
        let Some(field) = state::named(lexer.str(token)) else {
            return Err(Mistake::new(token.span, Kind::UnknownState).into());
        };
        if let Some(surface) = self.surfaces.without(field.scope) {
            let alone = self.surfaces.are_alike();
            let scope = field.scope;
            let kind = Kind::NotThere {
                scope,
                surface,
                alone,
            };
            return Err(Mistake::new(token.span, kind).into());
        }
        if field.scope == Scope::Slot && !self.command.is_some_and(sets_slot) {
            return Err(Mistake::new(token.span, Kind::NoSlot).into());
        }
        let mut offset = field.offset;
        let mut constants = &[][..];
        let what = match field.like {
            Like::Number => What::Number,
            Like::Flag => What::Flag,
            Like::Word(words) => What::Word(words),
            Like::Type => {
                constants = state::types_of_vms();
                What::Number
            }
            Like::Caps => {
                let number = capability(lexer)?;
                offset = offset.saturating_add(number / 8);
                What::Bit(1 << (number % 8))
            }
            Like::Dids => What::Did(did::did(lexer)?),
        };
        Ok(Operand {
            subject: Subject::Field(FieldAt::new(Space::State, offset, field.width, false)),
            width: field.width,
            signed: false,
            what,
            constants,
        })
    }

    /// `(ARRAY)` behind `count`.
    fn count(&self, lexer: &mut Lexer<'_>) -> Result<Found, Fault> {
        lexer.next();
        let token = lexer.next();
        let place = self.place(lexer, token)?;
        let mistake = |kind| Err(Mistake::new(token.span, kind).into());
        let FieldKind::Array(array) = place.field.kind else {
            return mistake(Kind::NotAnArray);
        };
        let (subject, width) = match array.len {
            Len::Fixed(count) => return mistake(Kind::CountIsFixed { count }),
            Len::Counted { count, .. } => {
                let at = FieldAt::new(Space::Argument, count.offset, count.width, false);
                (Subject::Field(at), count.width)
            }
            Len::Rest { size, .. } => {
                let remaining = Term::Remaining {
                    size,
                    from: place.base.saturating_add(place.field.offset),
                    stride: array.stride,
                };
                (Subject::Term(remaining), 8)
            }
        };
        let close = lexer.next();
        if close.kind != TokenKind::Sign(Sign::CloseParenthesis) {
            return Err(expected(close, Expected::CloseParenthesis));
        }
        Ok(Found {
            operand: Operand {
                subject,
                width,
                signed: false,
                what: What::Count,
                constants: &[],
            },
            when: place.when,
        })
    }

    /// A field that is a number, or one element of an array that is named by its index.
    fn field(&self, lexer: &mut Lexer<'_>, token: Token) -> Result<Found, Fault> {
        let mut place = self.place(lexer, token)?;
        if let FieldKind::Array(array) = place.field.kind {
            if lexer.peek().kind != TokenKind::Sign(Sign::OpenBracket) {
                let has_index = matches!(array.len, Len::Fixed(_));
                return Err(Mistake::new(token.span, Kind::ArrayAlone { has_index }).into());
            }
            place = indexed(lexer, token, place, array)?;
        } else if lexer.peek().kind == TokenKind::Sign(Sign::OpenBracket) {
            return Err(Mistake::new(token.span, Kind::NotAnArray).into());
        }
        // An address is compared with one of 64 bits, even where 32-bit callers pass a shorter one.
        let (width, signed, widest) = match place.field.kind {
            FieldKind::Value { width, signed } => (width, signed, width),
            FieldKind::Pointer { width } => (width, false, 8),
            FieldKind::Array(_) => {
                return Err(
                    Mistake::new(token.span.up_to(lexer.last()), Kind::ArrayInElement).into(),
                )
            }
        };
        Ok(Found {
            operand: Operand {
                subject: Subject::Field(FieldAt::new(
                    place.space,
                    place.base.saturating_add(place.field.offset),
                    width,
                    signed,
                )),
                width: widest,
                signed,
                what: What::Number,
                constants: place.field.constants,
            },
            when: place.when,
        })
    }

    /// An array behind a quantifier.
    pub(crate) fn array(&self, lexer: &mut Lexer<'_>) -> Result<FoundArray, Fault> {
        let token = lexer.next();
        let place = self.place(lexer, token)?;
        let FieldKind::Array(array) = place.field.kind else {
            return Err(Mistake::new(token.span, Kind::NotAnArray).into());
        };
        let offset = place.base.saturating_add(place.field.offset);
        let within = match array.len {
            Len::Fixed(count) => Within::Inside {
                space: place.space,
                offset,
                count,
            },
            len => Within::AtEnd(Tail {
                offset,
                stride: array.stride,
                len,
            }),
        };
        Ok(FoundArray {
            elements: Elements {
                within,
                stride: array.stride,
            },
            fields: array.fields,
            when: place.when,
        })
    }

    /// The field of a path.
    fn place(&self, lexer: &Lexer<'_>, token: Token) -> Result<Place, Fault> {
        let mistake = |kind| Err(Mistake::new(token.span, kind).into());
        if token.kind != TokenKind::Word {
            return Err(expected(token, Expected::Field));
        }
        let word = lexer.str(token);
        let space = if self.inside {
            Space::Element
        } else {
            Space::Argument
        };
        if let Some(field) = named(self.fields, word) {
            if self.is_written_only() {
                return mistake(Kind::WrittenOnly);
            }
            return Ok(Place {
                field,
                space,
                base: 0,
                when: None,
            });
        }
        for variant in self.variants {
            let rest = word
                .strip_prefix(variant.name)
                .and_then(|rest| rest.strip_prefix('.'));
            let Some(field) = rest.and_then(|rest| named(variant.fields, rest)) else {
                continue;
            };
            let (space, base, behind) = match variant.at {
                At::Inline(base) => (Space::Argument, base, None),
                At::Pointer(pointer) => {
                    let bytes = variant.size;
                    (Space::Followed, 0, Some(Behind { pointer, bytes }))
                }
            };
            return Ok(Place {
                field,
                space,
                base,
                when: Some(Condition::When {
                    selector: variant.selector,
                    behind,
                }),
            });
        }
        let Some(command) = self.command else {
            return mistake(Kind::FieldWithoutCommand);
        };
        match command.argument {
            _ if self.inside => mistake(Kind::UnknownElementField {
                fields: self.fields,
            }),
            Argument::Struct(_) => mistake(Kind::UnknownField { command }),
            _ => mistake(Kind::NoFields { command }),
        }
    }

    /// Whether the kernel reads nothing of the struct, so that a condition would look at leftovers.
    fn is_written_only(&self) -> bool {
        matches!(
            self.command.map(|command| &command.argument),
            Some(Argument::Struct(found)) if found.direction == Direction::Out
        )
    }
}

/// Whether a command sets a memory slot.
pub(crate) fn sets_slot(command: &Command) -> bool {
    matches!(
        command.name,
        "KVM_SET_USER_MEMORY_REGION" | "KVM_SET_USER_MEMORY_REGION2"
    )
}

/// `(NAME)` behind `vm.cap`: the number of a capability.
fn capability(lexer: &mut Lexer<'_>) -> Result<u32, Fault> {
    let open = lexer.next();
    if open.kind != TokenKind::Sign(Sign::OpenParenthesis) {
        return Err(expected(open, Expected::Capability));
    }
    let token = lexer.next();
    let word = lexer.str(token);
    let mistake = |kind| Err(Mistake::new(token.span, kind).into());
    if token.kind != TokenKind::Word || number::is_meant(word) {
        return Err(expected(token, Expected::CapabilityName));
    }
    let number = schema::constant(word).filter(|_| word.starts_with("KVM_CAP_"));
    let Some(number) = number.and_then(|(_, number)| u32::try_from(number).ok()) else {
        return mistake(Kind::UnknownCapability);
    };
    // A test sees to it that the schema has none beyond.
    if size(number) >= State::CAPS {
        return mistake(Kind::UnknownCapability);
    }
    let close = lexer.next();
    if close.kind != TokenKind::Sign(Sign::CloseParenthesis) {
        return Err(expected(close, Expected::CloseParenthesis));
    }
    Ok(number)
}

/// `[INDEX]` or `[INDEX].FIELD` behind an array of fixed length.
fn indexed(
    lexer: &mut Lexer<'_>,
    name: Token,
    place: Place,
    array: &'static Array,
) -> Result<Place, Fault> {
    lexer.next();
    let token = lexer.next();
    let word = lexer.str(token);
    if !(token.kind == TokenKind::Word && number::is_meant(word)) {
        return Err(expected(token, Expected::Index));
    }
    let index = match number::parse(word) {
        Ok(index) => index,
        Err(kind) => return Err(Mistake::new(token.span, kind).into()),
    };
    let Len::Fixed(count) = array.len else {
        return Err(Mistake::new(name.span, Kind::IndexOfFlexible).into());
    };
    let index = match u32::try_from(index) {
        Ok(index) if index < count => index,
        _ => return Err(Mistake::new(token.span, Kind::IndexTooLarge { count }).into()),
    };
    let close = lexer.next();
    if close.kind != TokenKind::Sign(Sign::CloseBracket) {
        return Err(expected(close, Expected::CloseBracket));
    }
    let rest = lexer.peek();
    let path = match rest.kind {
        TokenKind::Word => lexer.str(rest).strip_prefix('.'),
        _ => None,
    };
    let field = match path {
        Some(path) => {
            lexer.next();
            named(array.fields, path)
        }
        None => array.fields.first().filter(|_| is_of_numbers(array)),
    };
    let Some(field) = field else {
        let at = if path.is_some() { rest.span } else { name.span };
        let fields = array.fields;
        return Err(Mistake::new(at, Kind::UnknownElementField { fields }).into());
    };
    Ok(Place {
        field,
        base: place
            .base
            .saturating_add(place.field.offset)
            .saturating_add(index.saturating_mul(array.stride)),
        ..place
    })
}

/// Whether the elements are plain numbers.
pub(crate) fn is_of_numbers(array: &Array) -> bool {
    matches!(array.fields, [only] if only.name == "element")
}

fn named(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.name == name)
}

impl Operand {
    /// The sum of some terms.
    pub(crate) fn sum(terms: Span) -> Self {
        Self {
            subject: Subject::Sum(terms),
            width: 8,
            signed: false,
            what: What::Sum,
            constants: &[],
        }
    }

    /// Whether what was asked for last was done: bit `place` of those.
    pub(crate) fn of_did(self, place: u32) -> Self {
        let offset = DID.saturating_add(place / 8);
        Self {
            subject: Subject::Field(FieldAt::new(Space::State, offset, 1, false)),
            what: What::Bit(1 << (place % 8)),
            ..self
        }
    }

    /// Whether numbers can be added to it.
    pub(crate) fn is_addable(&self) -> bool {
        !self.signed && matches!(self.what, What::Number | What::Count)
    }

    /// Why an operator on bits makes no sense here.
    pub(crate) fn no_bits(&self, aligned: bool) -> Option<Kind> {
        match self.what {
            What::Compat => Some(Kind::CompatOperator),
            What::Flag | What::Bit(_) | What::Did(_) => Some(Kind::FlagOperator),
            What::Word(_) => Some(Kind::WordOperator),
            What::Count => Some(Kind::BitsOfCount),
            What::Sum if !aligned => Some(Kind::BitsOfSum),
            What::Number if self.signed => Some(Kind::BitsOfSigned),
            What::Sum | What::Number => None,
        }
    }

    /// Why a test has no place in a rule: it cannot hold, or cannot fail.
    pub(crate) fn needless(&self, test: &Test) -> Option<Kind> {
        if self.what == What::Compat {
            return match test {
                Test::Equal(0 | 1) | Test::NotEqual(0 | 1) => None,
                Test::Equal(_) | Test::NotEqual(_) => Some(Kind::CompatValue),
                _ => Some(Kind::CompatOperator),
            };
        }
        if matches!(self.what, What::Flag | What::Bit(_) | What::Did(_)) {
            return match test {
                Test::Equal(0 | 1) | Test::NotEqual(0 | 1) => None,
                Test::Equal(_) | Test::NotEqual(_) => Some(Kind::FlagValue),
                _ => Some(Kind::FlagOperator),
            };
        }
        if matches!(self.what, What::Word(_)) {
            return match test {
                Test::Equal(_) | Test::NotEqual(_) | Test::In(_) => None,
                _ => Some(Kind::WordOperator),
            };
        }
        // The order of values that may be negative is that of unsigned ones: see `FieldAt`.
        let half = 1 << 63;
        let bits = u32::from(self.width) * 8;
        let largest = u64::MAX >> 64_u32.saturating_sub(bits);
        let (low, high) = match self.signed {
            true => (half - (largest >> 1) - 1, half + (largest >> 1)),
            false => (0, largest),
        };
        // A sum has no greatest value.
        let bounded = self.what != What::Sum;
        match *test {
            Test::Below(value) if value == low => Some(Kind::NeverTrue),
            Test::Above(value) if bounded && value == high => Some(Kind::NeverTrue),
            Test::AtLeast(value) if value == low => Some(Kind::AlwaysTrue),
            Test::AtMost(value) if bounded && value == high => Some(Kind::AlwaysTrue),
            Test::AnyOf(0) => Some(Kind::NeverTrue),
            Test::Has(0) | Test::Aligned(1) => Some(Kind::AlwaysTrue),
            Test::Subset(mask) if mask == largest => Some(Kind::AlwaysTrue),
            _ => None,
        }
    }
}
