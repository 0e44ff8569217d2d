// SPDX-License-Identifier: GPL-2.0

//! The parts that messages are made of: tokens that cannot forge a line, lists of names, and what
//! was expected, in words.

use core::fmt::{self, Display, Formatter, Write};

use crate::{text, Expected, Surface};

/// Characters of a token that are quoted.
const QUOTED: usize = 40;

/// Names that are listed where one of them was expected.
const LISTED: usize = 12;

/// What was expected.
pub(crate) fn expected_text(expected: Expected) -> &'static str {
    match expected {
        Expected::Name => "the name of the policy",
        Expected::VersionWord => "`version`",
        Expected::Version => "a version such as 1.0.0",
        Expected::ProfileName => "the name of the profile, or `other` for all other callers",
        Expected::By => "`exe`, `uid`, `gid`, `cgroup`, `comm` or `label`",
        Expected::Exe => "the path of a program, such as /usr/bin/qemu-system-x86_64",
        Expected::Cgroup => "the path of a control group, such as /machine.slice/**",
        Expected::Comm => "the name of a process, such as qemu-system-x86",
        Expected::Label => "a label in quotes, such as \"libvirt-*\"",
        Expected::Id => "a number such as 1000, or a range such as 1000..1999",
        Expected::AfterMatchValue => "`,` and another value, or the end of the line",
        Expected::Phase => "`setup` (no vCPU of the VM has run yet) or `running` (from then on)",
        Expected::AfterPhase => "`if`, `errno`, `reason` or the end of the line",
        Expected::Capability => "a capability in parentheses: `vm.cap(KVM_CAP_SPLIT_IRQCHIP)`",
        Expected::CapabilityName => "the name of a capability, such as KVM_CAP_SPLIT_IRQCHIP",
        Expected::Did => {
            "a command in parentheses: `vm.did(KVM_CREATE_IRQCHIP)`"
        }
        Expected::DidName => "the name of a command, such as KVM_CREATE_IRQCHIP",
        Expected::Limited => {
            "what is limited: a number of something such as `vcpus`, or how often a command is called"
        }
        Expected::Count => "a number such as 64 or 4G",
        Expected::Rate => "a rate such as 1000/s or 10/min",
        Expected::Profile => "`profile`",
        Expected::AfterLimit => "`per profile`, `errno`, `reason` or the end of the line",
        Expected::DefaultAction => "`allow` or `deny`",
        Expected::LineEnd => "the end of the line",
        Expected::DefaultPart => "`errno` or the end of the line",
        Expected::Target => "a surface or a command",
        Expected::Command => "a command: a name, a number or `*`",
        Expected::AfterCommand => "`,`, `while`, `if`, `errno`, `reason` or the end of the line",
        Expected::AfterCondition => "`and`, `errno`, `reason` or the end of the line",
        Expected::AfterErrno => "`reason` or the end of the line",
        Expected::Field => "a field, `arg`, `compat` or the state of a VM such as `vm.vcpus`",
        Expected::OpenParenthesis => "conditions on an element in parentheses: `(index == 0x10)`",
        Expected::AndOrParenthesis => "`and` or `)`",
        Expected::CloseParenthesis => "`)`",
        Expected::Index => "the index of an element, a number",
        Expected::CloseBracket => "`]`",
        Expected::Operator => {
            "`==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `has`, `any-of`, `subset` or `aligned`"
        }
        Expected::Value => "a number such as 4096, 0x1000 or 4K, or a constant",
        Expected::OpenBrace => "a set in braces such as `{1, 4..8}`",
        Expected::CommaOrBrace => "`,` or `}`",
        Expected::Errno => "the name of an error, such as `EPERM`",
        Expected::Quoted => "text in double quotes",
    }
}

/// The words that could stand there.
pub(crate) fn expected_words(expected: Expected) -> &'static [&'static str] {
    match expected {
        Expected::VersionWord => &["version"],
        Expected::DefaultAction => &["allow", "deny"],
        Expected::DefaultPart => &["errno"],
        Expected::By => &["exe", "uid", "gid", "cgroup", "comm", "label"],
        Expected::Phase => &["setup", "running"],
        Expected::Profile => &["profile"],
        Expected::AfterLimit => &["per", "errno", "reason"],
        Expected::AfterPhase => &["if", "errno", "reason"],
        Expected::AfterCommand => &["while", "if", "errno", "reason"],
        Expected::AfterCondition => &["and", "errno", "reason"],
        Expected::AfterErrno => &["reason"],
        _ => &[],
    }
}

/// A token, cut to a size and with nothing in it that could pass for something else.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('`')?;
        for (count, character) in self.0.chars().enumerate() {
            if count == QUOTED {
                f.write_str("...")?;
                break;
            }
            match character {
                '\t' => f.write_char(' ')?,
                _ if character.is_control() || text::is_invisible(character) => {
                    Code(character).fmt(f)?
                }
                _ => f.write_char(character)?,
            }
        }
        f.write_char('`')
    }
}

/// A character by its number.
pub(crate) struct Code(pub(crate) char);

impl Display for Code {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))
    }
}

/// Words to choose from: "`a`, `b` or `c`".
pub(crate) struct Choice<'a>(pub(crate) &'a [&'a str]);

impl Display for Choice<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, self.0.iter().copied(), " or ")
    }
}

/// Names of which the first are shown.
pub(crate) struct Names<I>(pub(crate) I);

impl<'n, I: Iterator<Item = &'n str> + Clone> Display for Names<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.clone().take(LISTED).enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            write!(f, "`{name}`")?;
        }
        match self.0.clone().skip(LISTED).count() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Surfaces by name, with what stands before the last.
pub(crate) struct Surfaces<'a>(pub(crate) &'a [Surface], pub(crate) &'a str);

impl Display for Surfaces<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, self.0.iter().map(|surface| surface.name()), self.1)
    }
}

pub(crate) fn list<'n>(
    f: &mut Formatter<'_>,
    names: impl ExactSizeIterator<Item = &'n str>,
    last: &str,
) -> fmt::Result {
    let len = names.len();
    for (index, name) in names.enumerate() {
        f.write_str(match index {
            0 => "",
            _ if index + 1 == len => last,
            _ => ", ",
        })?;
        write!(f, "`{name}`")?;
    }
    Ok(())
}
