// SPDX-License-Identifier: GPL-2.0

//! A rule to start from, made from what the schema knows. A test compiles that of every command.

use portcullis_policy::schema::{Argument, Command, Constant, Direction, FieldKind};
use portcullis_policy::Surface;

use crate::fields::{self, Member};

/// A rule on a command: about its most telling field, if it has one. None for commands that nothing
/// handles: no rule can name them.
pub(crate) fn of_command(command: &Command, surface: Option<Surface>) -> Option<String> {
    let condition = match command.argument {
        Argument::Scalar { width, constants } => {
            let number = Number {
                name: "arg",
                width: u32::from(width),
                signed: false,
            };
            Some(number.compared(fields::named(constants)))
        }
        Argument::Struct(found) if found.direction != Direction::Out => {
            let members = fields::of_struct(found);
            let best = members.iter().rev().max_by_key(|member| telling(member));
            best.filter(|best| telling(best) > 0).and_then(condition)
        }
        _ => None,
    };
    rule(command, surface, condition)
}

/// A rule on a field of a command. None where no condition can look at it.
pub(crate) fn of_member(
    command: &Command,
    surface: Option<Surface>,
    members: &[Member],
    member: &Member,
) -> Option<String> {
    let out =
        matches!(command.argument, Argument::Struct(found) if found.direction == Direction::Out);
    if out && member.variant.is_none() {
        return None;
    }
    let inside = format!("{}.", member.path);
    let of_elements = || members.iter().find(|other| other.path.starts_with(&inside));
    let condition = condition(member).or_else(|| of_elements().and_then(condition));
    rule(command, surface, Some(condition?))
}

fn rule(command: &Command, surface: Option<Surface>, condition: Option<String>) -> Option<String> {
    let surface = match (surface, command.handled) {
        (_, []) => return None,
        (Some(surface), _) => format!("{} ", surface.name()),
        (None, [only]) => format!("{} ", only.surface.name()),
        // The name alone means all of them.
        (None, _) => String::new(),
    };
    let condition = condition.map(|condition| format!(" if {condition}"));
    let condition = condition.unwrap_or_default();
    Some(format!("deny {surface}{}{condition}", command.name))
}

/// A condition on a member that is a number.
fn condition(member: &Member) -> Option<String> {
    let (width, signed) = match member.field.kind {
        FieldKind::Value { width, signed } => (width, signed),
        FieldKind::Pointer { width } => (width, false),
        FieldKind::Array(_) => return None,
    };
    let number = Number {
        name: &member.name,
        width: u32::from(width),
        signed,
    };
    let test = match member.field.kind {
        FieldKind::Pointer { .. } => format!("{} != 0", member.name),
        _ => number.compared(member.constants()),
    };
    Some(match &member.array {
        Some(array) => format!("any {array} ({test})"),
        None => test,
    })
}

/// What a condition looks at.
struct Number<'a> {
    name: &'a str,
    width: u32,
    signed: bool,
}

impl Number<'_> {
    /// `NAME OPERATOR VALUE`, with a constant if one fits.
    fn compared(&self, constants: impl Iterator<Item = &'static Constant> + Clone) -> String {
        let name = self.name;
        let mut fitting = constants.filter(|constant| self.has_room_for(constant.value));
        let mut bits = fitting.clone().filter(|bit| bit.value.is_power_of_two());
        let is_mask = !self.signed && has_any(name, &["flags", "mask", "features"]);
        if let (true, Some(bit)) = (is_mask, bits.next()) {
            return format!("{name} has {}", bit.name);
        }
        if let Some(constant) = fitting.next() {
            return format!("{name} == {}", constant.name);
        }
        let (gigabytes, amount) = match self.width {
            1 | 2 => ("64", "64"),
            4 => ("1G", "1024"),
            _ => ("64G", "1024"),
        };
        match () {
            () if self.signed => format!("{name} < 0"),
            () if is_mask => format!("{name} != 0"),
            () if name == "arg" => format!("{name} >= 64"),
            () if name == "memory_size" => format!("{name} >= {gigabytes}"),
            () if is_amount(name) => format!("{name} >= {amount}"),
            () if is_address(name) => format!("{name} >= {gigabytes}"),
            () if is_filler(name) => format!("{name} != 0"),
            () => format!("{name} == 1"),
        }
    }

    fn has_room_for(&self, value: u64) -> bool {
        let bits = self.width * 8 - u32::from(self.signed);
        bits >= 64 || value >> bits == 0
    }
}

/// How much a field says about a call.
pub(crate) fn telling(member: &Member) -> u32 {
    let name = member.field.name;
    let of_kind: u32 = match member.field.kind {
        FieldKind::Array(_) => return 0,
        FieldKind::Pointer { .. } => 20,
        FieldKind::Value { .. } if is_filler(name) => 2,
        FieldKind::Value { .. } if member.constants().next().is_some() => 90,
        FieldKind::Value { .. } if matches!(name, "argsz" | "size") => 10,
        FieldKind::Value { .. } if is_amount(name) => 60,
        FieldKind::Value { .. } if is_address(name) => 70,
        FieldKind::Value { .. } => 40,
    };
    let farther: u32 = match (member.variant, &member.array) {
        (Some(_), _) => 50,
        (None, Some(_)) => 15,
        (None, None) => 0,
    };
    of_kind.saturating_sub(farther).max(1)
}

fn is_address(name: &str) -> bool {
    has_any(name, &["addr", "base", "iova", "gpa"])
}

fn is_amount(name: &str) -> bool {
    let amounts = ["size", "len", "bytes", "count", "num", "nr_", "pages"];
    has_any(name, &amounts) || matches!(last(name), "nr" | "nent" | "nmsrs" | "n")
}

fn is_filler(name: &str) -> bool {
    ["pad", "reserved", "rsvd", "__"]
        .iter()
        .any(|filler| last(name).starts_with(filler))
}

fn has_any(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| last(name).contains(part))
}

/// The last name of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    static MINUS_ONE: Constant = Constant {
        name: "MINUS_ONE",
        value: u64::MAX,
    };
    static BIT: Constant = Constant {
        name: "BIT",
        value: 1 << 31,
    };

    fn compared(name: &str, width: u32, signed: bool, constant: &'static Constant) -> String {
        let number = Number {
            name,
            width,
            signed,
        };
        number.compared([constant].into_iter())
    }

    #[test]
    fn constants_have_room_in_their_field() {
        assert_eq!(compared("id", 8, false, &MINUS_ONE), "id == MINUS_ONE");
        assert_eq!(compared("id", 4, false, &MINUS_ONE), "id == 1");
        assert_eq!(compared("id", 4, false, &BIT), "id == BIT");
        assert_eq!(compared("id", 4, true, &BIT), "id < 0");
    }

    #[test]
    fn bits_are_those_of_unsigned_flags() {
        assert_eq!(compared("flags", 4, false, &BIT), "flags has BIT");
        assert_eq!(compared("flags", 8, true, &BIT), "flags == BIT");
        assert_eq!(
            compared("a.flags", 8, false, &MINUS_ONE),
            "a.flags == MINUS_ONE"
        );
    }
}
