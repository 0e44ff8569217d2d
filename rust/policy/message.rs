// SPDX-License-Identifier: GPL-2.0

//! What is wrong, in words: what was found, what was expected, what was probably meant.

use core::fmt::{self, Display, Formatter};

use crate::schema::{self, Argument, Command, Field, Variant};
use crate::state::{self, Scope};
use crate::suggest::nearest;
use crate::wording::{expected_text, expected_words, list, Choice, Code, Names, Quoted, Surfaces};
use crate::{limits, By, Diagnosis, Did, Expected, Kind, Quantity, Surface};

const STATEMENTS: [&str; 9] = [
    "policy", "profile", "match", "limit", "default", "allow", "deny", "audit", "end",
];
const OPERATORS: [&str; 5] = ["in", "has", "any-of", "subset", "aligned"];

/// One mistake in one line of text.
pub struct Message<'a> {
    text: &'a [u8],
    diagnosis: &'a Diagnosis,
}

impl<'a> Message<'a> {
    pub(crate) fn new(text: &'a [u8], diagnosis: &'a Diagnosis) -> Self {
        Self { text, diagnosis }
    }
}

impl Display for Message<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bytes = self.diagnosis.at.of(self.text).unwrap_or_default();
        let word = core::str::from_utf8(bytes).unwrap_or_default();
        let found = Quoted(word);
        let first_character = Code(word.chars().next().unwrap_or_default());
        match self.diagnosis.kind {
            Kind::TextTooLong { bytes } => write!(
                f,
                "the text has {bytes} bytes; a policy has at most {}",
                limits::TEXT_BYTES
            ),
            Kind::NotUtf8 => write!(
                f,
                "byte 0x{:02x} is not UTF-8; a policy is a plain text",
                bytes.first().unwrap_or(&0)
            ),
            Kind::Nul => f.write_str("a byte of value 0; a policy is a plain text"),
            Kind::CarriageReturn => f.write_str(
                "a carriage return; lines end with a line feed alone (dos2unix changes that)",
            ),
            Kind::ByteOrderMark => {
                f.write_str("the text begins with a byte order mark; save it as UTF-8 without one")
            }
            Kind::ControlCharacter => write!(
                f,
                "control character {first_character}; besides printable characters, a policy has \
                 only tabs and line feeds"
            ),
            Kind::InvisibleCharacter => write!(
                f,
                "character {first_character} is invisible or changes how others appear; a policy \
                 must read as it looks"
            ),

            Kind::Empty => f.write_str(
                "the text has no statement; a policy begins with `policy NAME version VERSION` \
                 and closes with `end`",
            ),
            Kind::CutOff => f.write_str(
                "the text is cut off: it ends without `end`, the last line of every policy",
            ),
            Kind::CutOffInLine => f.write_str(
                "the text is cut off: it ends within this line, without `end` as its last line",
            ),
            Kind::EndUnclosed => f.write_str(
                "the text is cut off: `end` must be closed by a line feed, like every line",
            ),
            Kind::AfterEnd => write!(
                f,
                "{found} stands after `end`; only comments and blank lines may follow it"
            ),
            Kind::PolicyFirst => {
                write!(
                    f,
                    "expected `policy NAME version VERSION` as the first statement, found {found}"
                )?;
                suggest(f, nearest(word, ["policy"]).filter(|_| word != "policy"))
            }
            Kind::PolicyAgain { line } => {
                write!(f, "a second `policy`; the first is on line {line}")
            }
            Kind::NameCharacter => write!(
                f,
                "{found} is no name: it has other characters than letters, digits, `.`, `_` and `-`"
            ),
            Kind::NameTooLong => write!(
                f,
                "the name has {} bytes; at most {} are allowed",
                bytes.len(),
                limits::NAME_BYTES
            ),
            Kind::VersionCharacter => write!(
                f,
                "{found} is no version: it has other characters than letters, digits, `.`, `_` \
                 and `-`"
            ),
            Kind::VersionTooLong => write!(
                f,
                "the version has {} bytes; at most {} are allowed",
                bytes.len(),
                limits::VERSION_BYTES
            ),
            Kind::ProfileMissing => f.write_str(
                "the policy has no profile; add `profile other` and a default after `policy`",
            ),
            Kind::OtherMissing => f.write_str(
                "the policy has no `profile other`; add it as the last profile, with a default, to say \
                 what becomes of the calls of all other callers",
            ),
            Kind::ProfileAgain { line } => {
                write!(f, "a second profile {found}; the first is on line {line}")
            }
            Kind::ProfileBehindOther { line } => write!(
                f,
                "profile {found} stands behind `other`, which speaks for all who are left; put it \
                 before line {line}"
            ),
            Kind::TooManyProfiles => write!(
                f,
                "too many profiles; a policy has at most {}",
                limits::PROFILES
            ),
            Kind::OutsideProfile => write!(
                f,
                "{found} stands before any profile; put the line `profile other` before it"
            ),
            Kind::DefaultMissing => write!(
                f,
                "profile {found} has no default; add `default allow` or `default deny` to say \
                 what becomes of calls that no rule decides about"
            ),
            Kind::MatchMissing => write!(
                f,
                "profile {found} does not say whom it speaks for; add a line such as `match exe \
                 /usr/bin/qemu-system-*` below its name"
            ),
            Kind::MatchInOther => f.write_str(
                "`other` speaks for all whom no profile above it matches, and has no `match`; give \
                 the profile a name of its own",
            ),
            Kind::MatchBehindRules => f.write_str(
                "`match` stands too late: put it below the name of the profile, above its rules and \
                 its default",
            ),
            Kind::MatchAgain { line } => write!(
                f,
                "a second `match {word}`; the first is on line {line}, and all `match` lines of a \
                 profile must hold; write values of which one must do on one line: `match {word} A, B`"
            ),
            Kind::UnknownBy => {
                write!(f, "`match` cannot look at {found}")?;
                let names = By::ALL.map(By::name);
                suggest_or(f, nearest(word, names), |f| {
                    write!(f, "; expected {}", Choice(&names))
                })
            }
            Kind::TooManyValues => write!(
                f,
                "too many values; a `match` has at most {}",
                limits::MATCH_VALUES
            ),
            Kind::PathNotWhole { by } => {
                write!(
                    f,
                    "{found} does not begin with `/`: `match {}` takes the whole path",
                    by.name()
                )?;
                f.write_str(match by {
                    By::Exe => ", such as /usr/bin/qemu-system-x86_64",
                    _ => ", as in /proc/PID/cgroup behind `0::`",
                })
            }
            Kind::PathOfFolder => write!(
                f,
                "{found} is a folder; what is in it is `/*` at its end, and with all folders below \
                 `/**`"
            ),
            Kind::PathWithSteps => write!(
                f,
                "{found} can never match: the paths that the kernel tells have no `//`, `/./` or \
                 `/../` in them"
            ),
            Kind::PatternTooLong => write!(
                f,
                "the value has {} bytes; at most {} are allowed",
                bytes.len(),
                limits::PATTERN_BYTES
            ),
            Kind::PatternEmpty => f.write_str("nothing stands between the quotes"),
            Kind::ThreeStars => write!(
                f,
                "{found} has three `*` in a row; `*` is anything but `/`, and `**` anything at all"
            ),
            Kind::CommTooLong => {
                write!(
                    f,
                    "{found} can never match: the kernel keeps 15 bytes of a process's name"
                )?;
                match word.get(..15) {
                    Some(kept) if !word.contains('*') => write!(f, ", `{kept}`"),
                    _ => Ok(()),
                }
            }
            Kind::IdByName { by } => {
                let (what, tool) = match by {
                    By::Gid => ("groups", "getent group"),
                    _ => ("users", "id -u"),
                };
                write!(
                    f,
                    "{found} is a name, and the kernel knows {what} by their numbers alone; \
                     `{tool} {word}` tells it"
                )
            }
            Kind::IdTooLarge => write!(
                f,
                "{found} is too large: the numbers of users and groups go up to 4294967294"
            ),
            Kind::DefaultAgain { line } => {
                write!(f, "a second `default`; the first is on line {line}")
            }
            Kind::DefaultAudit => {
                f.write_str("`audit` decides nothing; a default is `allow` or `deny`")
            }
            Kind::Reserved => write!(f, "{found} is reserved for a later version"),
            Kind::UnknownStatement => {
                write!(f, "unknown statement {found}")?;
                suggest_or(f, nearest(word, STATEMENTS), |f| {
                    write!(f, "; expected {}", Choice(&STATEMENTS))
                })
            }
            Kind::TooManyRules => {
                write!(f, "too many rules; a policy has at most {}", limits::RULES)
            }
            Kind::TooManyLinks => write!(
                f,
                "the rules up to this one speak about too many commands: a policy has at most {} \
                 pairs of a rule and a command",
                limits::LINKS
            ),
            Kind::Expected(expected) => {
                write!(f, "expected {}, found ", expected_text(expected))?;
                if word.is_empty() {
                    return f.write_str("the end of the line");
                }
                write!(f, "{found}")?;
                let words = expected_words(expected).iter().copied();
                if word == "&" && expected == Expected::AfterCondition {
                    return suggest(f, Some("and"));
                }
                suggest(f, nearest(word, words))
            }

            Kind::UnknownTarget => {
                write!(f, "{found} is neither a surface nor a command")?;
                let names = Surface::ALL.into_iter().map(Surface::name);
                suggest_or(f, nearest(word, names.chain(handled(None))), |f| {
                    write!(f, "; the surfaces are {}", Surfaces(&Surface::ALL, " and "))
                })
            }
            Kind::UnknownCommand { surface } => {
                write!(f, "unknown command {found}")?;
                // Of two names that are equally near, the one on this surface comes first.
                let near = nearest(word, handled(surface).chain(handled(None)));
                suggest_or(f, near, |f| {
                    f.write_str("; a command that has no name here is written ")?;
                    f.write_str(match surface {
                        Some(_) => "by its number, such as 0x4010ae42",
                        None => "by surface and number, such as `kvm-vm 0x4010ae42`",
                    })
                })
            }
            Kind::NotOnSurface { surface } => {
                let handled = schema::command(word).map_or(&[][..], |command| command.handled);
                let here = surface.name();
                write!(f, "{found} is no command of `{here}`; ")?;
                list(
                    f,
                    handled.iter().map(|handled| handled.surface.name()),
                    " and ",
                )?;
                f.write_str(if handled.len() == 1 {
                    " has it"
                } else {
                    " have it"
                })
            }
            Kind::JudgedAs { surface, judged_as } => write!(
                f,
                "{found} is judged as a command of `{}`, on a file of `{}` too",
                judged_as.name(),
                surface.name()
            ),
            Kind::OtherArchitecture => write!(
                f,
                "{found} is not handled on this architecture; no caller can use it"
            ),
            Kind::NeedsSurface => write!(
                f,
                "{found} needs a surface before it: {}",
                Surfaces(&Surface::ALL, " or ")
            ),
            Kind::StarNotAlone => f.write_str(
                "`*` is every command of the surface; nothing can stand beside it in the list",
            ),
            Kind::SecondSurface => f.write_str(
                "a rule has one surface; write another rule for the next, or the command alone \
                 for every surface that has it",
            ),
            Kind::MissingComma => write!(f, "expected `,` between two commands, found {found}"),
            Kind::NotACommandNumber => write!(
                f,
                "{found} is not the number of a command; write it as 0x4010ae42 or in decimal \
                 digits"
            ),
            Kind::CommandNumberTooLarge => {
                write!(
                    f,
                    "{found} is too large: the number of a command has 32 bits"
                )
            }

            Kind::PartAgain => write!(f, "a second {found} in one rule"),
            Kind::PartOrder => write!(
                f,
                "{found} stands too late: the order is `while`, `if`, `errno`, `reason`"
            ),
            Kind::ErrnoNotOnDeny => {
                f.write_str("`errno` belongs to `deny`; nothing is denied here")
            }
            Kind::UnknownErrno => {
                write!(f, "unknown error {found}")?;
                let names = schema::errnos().iter().map(|(name, _)| *name);
                suggest_or(f, nearest(word, names), |f| {
                    f.write_str("; expected a name such as `EPERM`, `EACCES` or `EINVAL`")
                })
            }
            Kind::ErrnoNumber => {
                write!(f, "expected the name of an error, found {found}")?;
                let name = word.parse().ok().and_then(schema::errno_name);
                suggest(f, name)
            }
            Kind::UnclosedQuote => f.write_str("the quote is not closed on this line"),
            Kind::ReasonEmpty => f.write_str("the reason is empty; leave `reason` out or give one"),
            Kind::ReasonTooLong => write!(
                f,
                "the reason has {} bytes; at most {} are allowed",
                bytes.len().saturating_sub(2),
                limits::REASON_BYTES
            ),

            Kind::NoPhase { surface, alone } => write!(
                f,
                "`while` is about the life of a VM, and a call on `{}` belongs to none; {}",
                surface.name(),
                Elsewhere(Scope::Vm, alone)
            ),
            Kind::NotThere {
                scope,
                surface,
                alone,
            } => {
                let (about, none) = match scope {
                    Scope::Vm => ("a VM", "belongs to none"),
                    Scope::Vcpu => ("a vCPU", "is on none"),
                    Scope::Slot => ("a memory slot", "sets none"),
                    Scope::Profile => ("the VMs of a profile", "makes them no more"),
                    Scope::Dma => ("DMA mappings", "makes none"),
                    // All calls have it.
                    Scope::All => ("calls", "is none"),
                };
                write!(
                    f,
                    "{found} is about {about}, and a call on `{}` {none}; {}",
                    surface.name(),
                    Elsewhere(scope, alone)
                )
            }
            Kind::NoSlot => write!(
                f,
                "{found} is the size of the slot that a call sets, and only \
                 KVM_SET_USER_MEMORY_REGION and KVM_SET_USER_MEMORY_REGION2 set one"
            ),
            Kind::UnknownDid => {
                write!(f, "unknown command {found}")?;
                suggest_or(f, nearest(word, Did::names()), |f| {
                    f.write_str(
                        "; expected a command of a VM, its vCPUs or devices, or a variant of one",
                    )
                })
            }
            Kind::DidElsewhere => write!(
                f,
                "{found} is called on no VM; `vm.did` knows what was done on a VM, its vCPUs and \
                 its devices"
            ),
            Kind::DidRun => f.write_str("whether a vCPU of the VM has run is `vm.running`"),
            Kind::TooManyDids => write!(
                f,
                "too many different commands in `vm.did`; a policy has at most {}",
                limits::DIDS
            ),

            Kind::UnknownLimit => {
                write!(f, "there is no limit of {found}")?;
                let names = Quantity::ALL.map(Quantity::name);
                suggest_or(f, nearest(word, names), |f| {
                    write!(f, "; expected {} or a command", Names(names.iter().copied()))
                })
            }
            Kind::LimitAgain { line } => {
                write!(f, "a second limit of {found}; the first is on line {line}")
            }
            Kind::LimitOfNothing => {
                f.write_str("a limit of 0 would refuse every such call; write `deny` and the command")
            }
            Kind::LimitTooLarge => write!(
                f,
                "{found} is too large: nothing can reach it, these are numbers of 32 bits"
            ),
            Kind::NotPerProfile {
                quantity: Quantity::Vms,
            } => f.write_str("`vms` are those of the profile in any case; leave `per profile` out"),
            Kind::NotPerProfile { quantity } => write!(
                f,
                "`{}` are not summed up over the VMs of a profile; `vcpus` and `memory` are",
                quantity.name()
            ),
            Kind::RateOfQuantity { quantity } => write!(
                f,
                "`{}` are counted and not called: a rate is one of a command, such as `limit \
                 KVM_SET_USER_MEMORY_REGION 1000/s`",
                quantity.name()
            ),
            Kind::RateUnit => write!(
                f,
                "{found} is no rate: calls are counted by the second, `/s`, or the minute, `/min`"
            ),
            Kind::RatePerProfile => {
                f.write_str("a rate is that of each VM or file; leave `per profile` out")
            }
            Kind::TooManyRates => write!(
                f,
                "too many rates; a profile has at most {}",
                limits::RATES
            ),
            Kind::LimitWithCondition => write!(
                f,
                "{found} has no place in a limit, which holds for every call; write a rule, such as \
                 `deny KVM_CREATE_VCPU if vm.vcpus >= 64 and ...`"
            ),
            Kind::UnknownState => {
                let names = || state::FIELDS.iter().map(|field| field.name);
                write!(f, "nothing is known of {found}")?;
                suggest_or(f, nearest(word, names()), |f| {
                    write!(f, "; there are {}", Names(names()))
                })
            }
            Kind::UnknownCapability => {
                write!(f, "unknown capability {found}")?;
                let names = schema::constants().iter().map(|constant| constant.name);
                let mut names = names.filter(|name| name.starts_with("KVM_CAP_"));
                suggest_or(f, nearest(word, &mut names), |f| {
                    f.write_str("; the names of capabilities begin with `KVM_CAP_`")
                })
            }
            Kind::FlagOperator => write!(
                f,
                "operator {found} says nothing about what is so or not; write `== 1` or `== 0`"
            ),
            Kind::FlagAlone => {
                f.write_str("expected `== 1` (where it is so) or `== 0` (where not), found ")?;
                match word.is_empty() {
                    true => f.write_str("the end of the line"),
                    false => write!(f, "{found}"),
                }
            }
            Kind::FlagValue => write!(f, "{found}: it is 1 where it is so, and 0 where not"),
            Kind::WordOperator => write!(
                f,
                "operator {found} says nothing about words; write `==`, `!=` or `in {{...}}`"
            ),
            Kind::UnknownWord { words } => {
                write!(f, "expected {}, found ", Choice(words))?;
                if word.is_empty() {
                    return f.write_str("the end of the line");
                }
                write!(f, "{found}")?;
                suggest(f, nearest(word, words.iter().copied()))
            }

            Kind::UnknownField { command } => {
                write!(f, "{} has no field {found}", command.name)?;
                let near = nearest(word, paths(command));
                let near = near.or_else(|| nearest(word, ["arg", "compat"]));
                suggest_or(f, near, |f| {
                    write!(f, "; it has {}", Names(paths(command)))?;
                    f.write_str(", and for each call there are `arg` and `compat`")
                })
            }
            Kind::UnknownElementField { fields } => {
                write!(f, "an element has no field {found}")?;
                let names = || fields.iter().map(|field| field.name);
                suggest_or(f, nearest(word, names()), |f| {
                    write!(f, "; it has {}", Names(names()))
                })
            }
            Kind::NoFields { command } => {
                let what = match command.argument {
                    Argument::Scalar { .. } => "its argument is a plain number, `arg`",
                    _ => "it has no argument",
                };
                write!(f, "{} has no field {found}: {what}", command.name)?;
                suggest(f, nearest(word, ["arg", "compat"]))
            }
            Kind::FieldWithoutCommand => {
                write!(
                    f,
                    "{found} is a field of some commands; this rule is for every command, or \
                     for one without a name, and can look at `arg` and `compat`"
                )?;
                suggest(f, nearest(word, ["arg", "compat"]))
            }
            Kind::WrittenOnly => write!(
                f,
                "the kernel writes {found} and does not read it: before the call there is nothing \
                 to look at"
            ),
            Kind::ArrayAlone { has_index } => {
                write!(
                    f,
                    "{found} is an array: write `any {word} (...)`, `all {word} (...)` or \
                     `no {word} (...)`, or "
                )?;
                match has_index {
                    true => write!(f, "`{word}[0]` for one of its elements"),
                    false => write!(f, "`count({word})` for their number"),
                }
            }
            Kind::ArrayInElement => {
                write!(f, "{found} is an array itself; its elements cannot be named here")
            }
            Kind::NotAnArray => write!(f, "{found} is a single number, not an array"),
            Kind::CountIsFixed { count } => {
                write!(
                    f,
                    "{found} always has {count} elements; leave the condition out"
                )
            }
            Kind::IndexOfFlexible => write!(
                f,
                "{found} has as many elements as the caller says; write `any {word} (...)` or \
                 `all {word} (...)` in the place of an index"
            ),
            Kind::IndexTooLarge { count } => write!(
                f,
                "there is no element {found}: the array has {count}, counted from 0"
            ),
            Kind::QuantifierInside => write!(
                f,
                "{found} inside of parentheses: conditions on elements do not nest"
            ),
            Kind::UnknownConstant { constants } => {
                write!(f, "unknown constant {found}")?;
                let near = nearest(word, named(constants));
                let all = || schema::constants().iter().map(|constant| constant.name);
                suggest_or(f, near.or_else(|| nearest(word, all())), |f| {
                    if constants.is_empty() {
                        return f.write_str(
                            "; expected a number or a constant of the kernel's headers",
                        );
                    }
                    write!(f, "; this field has {}", Names(named(constants)))
                })
            }
            Kind::ValueTooWide { width, signed } => {
                let bits = u32::from(width) * 8;
                let kind = if signed { "signed" } else { "unsigned" };
                write!(
                    f,
                    "{found} does not fit: the field is an {kind} number of {bits} bits"
                )?;
                if word.starts_with('-') {
                    return f.write_str(", which is never negative");
                }
                Ok(())
            }
            Kind::BitsOfSigned => write!(
                f,
                "operator {found} looks at bits, and this field is a signed number; compare it \
                 with `==`, `<`, `in {{...}}`"
            ),
            Kind::BitsOfCount => write!(
                f,
                "operator {found} looks at bits, and a count has none; compare it with `==`, `<`, \
                 `in {{...}}`"
            ),
            Kind::BitsOfSum => write!(
                f,
                "operator {found} looks at bits, and a sum has none; compare it with `==`, `<`, \
                 `in {{...}}` or `aligned`"
            ),
            Kind::SumOfSigned => write!(
                f,
                "{found} cannot be a part of a sum: the terms of a sum are unsigned numbers"
            ),
            Kind::TooManyTerms => {
                write!(f, "too many terms; a sum has at most {}", limits::TERMS)
            }
            Kind::SumOnTheRight => f.write_str(
                "a sum stands on the left of the operator: `guest_phys_addr + memory_size <= 64G`",
            ),
            Kind::NumberAlone => write!(
                f,
                "expected a field, found {found}; the number stands on the right of the operator"
            ),
            Kind::ParenthesisAlone => write!(
                f,
                "{found} does not belong here: parentheses follow `any`, `all`, `no` and `count`"
            ),
            Kind::PolicyTooLarge => write!(
                f,
                "the rules up to this one have too many conditions, counted for each layout of an \
                 argument: a policy has at most {} conditions and {} values in sets",
                limits::POLICY_CONDITIONS,
                limits::POLICY_SET_VALUES
            ),
            Kind::Unreachable { line } => write!(
                f,
                "no call reaches this rule: the one on line {line} decides about all of them"
            ),
            Kind::LimitOfDenied => {
                f.write_str("this limit does nothing: no rule of the profile allows such a call")
            }
            Kind::ConstantOfOther { constants } => {
                write!(f, "{found} belongs to other fields; this one has ")?;
                Names(named(constants)).fmt(f)
            }
            Kind::EqualToBits => write!(
                f,
                "`==` holds only where all bits of {found} are set and no other; where some of them \
                 may be missing, write `subset`"
            ),
            Kind::OnlyComm => write!(
                f,
                "every process can call itself as profile {found} asks for; add `match exe` or \
                 `match uid`"
            ),
            Kind::Or => f.write_str("there is no `or`: write another rule for the other case"),
            Kind::UnknownOperator => {
                write!(f, "unknown operator {found}")?;
                suggest_or(f, nearest(word, OPERATORS), |f| {
                    write!(f, "; expected {}", expected_text(Expected::Operator))
                })
            }
            Kind::SingleEquals => f.write_str("unknown operator `=`; did you mean `==`?"),
            Kind::CompatOperator => write!(
                f,
                "operator {found} says nothing about `compat`; write `compat == 1` for 32-bit \
                 callers, `compat == 0` for others"
            ),
            Kind::CompatValue => write!(
                f,
                "{found}: `compat` is 1 for 32-bit callers and 0 for others, nothing else"
            ),
            Kind::NotANumber => write!(
                f,
                "{found} is not a number; expected decimal or 0x and hexadecimal digits, then \
                 perhaps one of `K`, `M`, `G`, `T` (powers of 1024)"
            ),
            Kind::LeadingZero => write!(
                f,
                "{found} begins with 0: decimal numbers do not, and octal ones do not exist here"
            ),
            Kind::Negative => write!(
                f,
                "{found} is negative, and what it is compared with is an unsigned number"
            ),
            Kind::NumberTooLarge => write!(f, "{found} is too large: values have 64 bits"),
            Kind::RangeOutsideSet => {
                f.write_str("a range is written in braces after `in`: `arg in {1..5}`")
            }
            Kind::RangeUpsideDown => write!(
                f,
                "range {found} is upside down: its end is smaller than its beginning"
            ),
            Kind::SetEmpty => f.write_str("the set is empty; nothing can be in it"),
            Kind::SetTooLong => write!(
                f,
                "too many values; a set has at most {}, ranges included",
                limits::SET_VALUES
            ),
            Kind::NotPowerOfTwo { value } => {
                write!(f, "{found} is not a power of two")?;
                if value == 0 {
                    return f.write_str("; expected one such as 4K");
                }
                let below = 1u64 << value.ilog2();
                match below.checked_mul(2) {
                    Some(above) => write!(f, "; the nearest are {below} and {above}"),
                    None => write!(f, "; the nearest is {below}"),
                }
            }
            Kind::AlwaysTrue => write!(f, "{found} holds for every value; leave it out"),
            Kind::NeverTrue => write!(
                f,
                "{found} holds for no value (values are unsigned); the rule would do nothing"
            ),
            Kind::TooManyConditions => write!(
                f,
                "too many conditions; a rule has at most {}",
                limits::CONDITIONS
            ),
        }
    }
}

/// Where calls have what a rule asks for.
struct Elsewhere(Scope, bool);

impl Display for Elsewhere {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let &Self(scope, alone) = self;
        if !alone {
            // The rule has other surfaces as well: it only has to say which it means.
            f.write_str("name the surface that is meant: ")?;
        }
        let mut names = [""; Surface::ALL.len()];
        let having = Surface::ALL
            .into_iter()
            .filter(|surface| scope.has(*surface));
        let mut count = 0;
        for (slot, surface) in names.iter_mut().zip(having) {
            *slot = surface.name();
            count += 1;
        }
        let names = names.get(..count).unwrap_or_default();
        list(
            f,
            names.iter().copied(),
            if alone { " and " } else { " or " },
        )?;
        match (alone, count) {
            (false, _) => Ok(()),
            (true, 1) => f.write_str(" has it"),
            (true, _) => f.write_str(" have it"),
        }
    }
}

/// The paths of the fields of a command's argument; of variants, what their paths begin with.
fn paths(command: &'static Command) -> impl Iterator<Item = &'static str> + Clone {
    let (fields, variants) = match command.argument {
        Argument::Struct(found) => (found.fields, found.variants),
        _ => (&[][..], &[][..]),
    };
    let fields = fields.iter().map(|field: &Field| field.name);
    fields.chain(variants.iter().map(|variant: &Variant| variant.name))
}

/// The names of some constants.
fn named(places: &'static [u16]) -> impl Iterator<Item = &'static str> + Clone {
    let constants = schema::constants();
    let at = |place: &u16| constants.get(usize::from(*place));
    places.iter().filter_map(at).map(|constant| constant.name)
}

fn suggest(f: &mut Formatter<'_>, name: Option<&str>) -> fmt::Result {
    suggest_or(f, name, |_| Ok(()))
}

fn suggest_or(
    f: &mut Formatter<'_>,
    name: Option<&str>,
    otherwise: impl Fn(&mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    match name {
        Some(name) => write!(f, "; did you mean `{name}`?"),
        None => otherwise(f),
    }
}

/// The names of the commands that some surface, or this one, handles.
fn handled(surface: Option<Surface>) -> impl Iterator<Item = &'static str> {
    let here = move |command: &&Command| match surface {
        Some(surface) => command.is_on(surface),
        None => !command.handled.is_empty(),
    };
    schema::commands()
        .iter()
        .filter(here)
        .map(|command| command.name)
}
