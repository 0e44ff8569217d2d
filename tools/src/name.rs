// SPDX-License-Identifier: GPL-2.0

//! What a name means: `KVM_RUN`, `kvm-vm:0x4020ae46`, `KVM_SET_CPUID2.entries.function`, ...

use portcullis_policy::schema::{self, Argument, Command, Constant, Struct};
use portcullis_policy::state::{self, StateField};
use portcullis_policy::Surface;

use crate::fields::{self, Member};
use crate::suggest::did_you_mean;
use crate::words;

/// What can be explained.
pub(crate) enum Subject {
    /// A kind of file.
    Surface(Surface),
    /// A command, perhaps of one surface only.
    Command(&'static Command, Option<Surface>),
    /// The fields of a command that a path leads to: one, or those of a nested struct.
    Members {
        command: &'static Command,
        surface: Option<Surface>,
        /// All that the command has.
        all: Vec<Member>,
        /// Those that are meant.
        chosen: Vec<usize>,
        /// The path, without indexes.
        path: String,
    },
    /// A number without a name on a surface.
    Number(Surface, u32),
    /// A constant.
    Constant(&'static Constant),
    /// A part of what a VM has done.
    State(&'static StateField),
    /// A struct that commands take.
    Struct(&'static Struct),
}

/// What a name stands for; more than one thing where surfaces share a number. Otherwise what is wrong
/// with it, in a sentence.
pub(crate) fn resolve(name: &str) -> Result<Vec<Subject>, String> {
    let (surface, rest) = match name.split_once(':') {
        Some((surface, rest)) => (Some(surface_of(surface)?), rest),
        None => (None, name),
    };
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        return by_number(surface, rest);
    }
    if let Some(field) = state::FIELDS.iter().find(|field| field.name == name) {
        return Ok(vec![Subject::State(field)]);
    }
    let (word, path) = match rest.split_once('.') {
        Some((word, path)) => (word, Some(path)),
        None => (rest, None),
    };
    if let Some(command) = schema::command(word) {
        if let Some(surface) = surface.filter(|surface| !command.is_on(*surface)) {
            return Err(not_on(command, surface));
        }
        return match path {
            None => Ok(vec![Subject::Command(command, surface)]),
            Some(path) => members(command, surface, path).map(|found| vec![found]),
        };
    }
    if surface.is_none() && path.is_none() {
        if let Some(surface) = Surface::from_name(word) {
            return Ok(vec![Subject::Surface(surface)]);
        }
        let found = schema::constant(word)
            .and_then(|(place, _)| schema::constants().get(usize::from(place)));
        if let Some(constant) = found {
            return Ok(vec![Subject::Constant(constant)]);
        }
        // Commands that only write it, or that do not read its array, have a shorter one.
        let same_name = structs().filter(|found| found.name == word);
        if let Some(found) = same_name.max_by_key(|found| found.fields.len()) {
            return Ok(vec![Subject::Struct(found)]);
        }
    }
    Err(unknown(word, surface, path.is_some()))
}

/// Every struct that a command takes; one that several take comes several times.
pub(crate) fn structs() -> impl Iterator<Item = &'static Struct> {
    schema::commands()
        .iter()
        .filter_map(|command| match command.argument {
            Argument::Struct(found) => Some(found),
            _ => None,
        })
}

fn surface_of(word: &str) -> Result<Surface, String> {
    Surface::from_name(word).ok_or_else(|| {
        let names = Surface::ALL.iter().map(|surface| surface.name());
        format!("unknown surface `{word}`{}", did_you_mean(word, names))
    })
}

fn by_number(surface: Option<Surface>, digits: &str) -> Result<Vec<Subject>, String> {
    let parsed = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    let Ok(number) = parsed else {
        return Err(format!(
            "`{digits}` is no number of a command: those have 32 bits, in decimal or after 0x"
        ));
    };
    if let Some(surface) = surface {
        return Ok(vec![match schema::command_by_number(surface, number) {
            Some(command) => Subject::Command(command, Some(surface)),
            None => Subject::Number(surface, number),
        }]);
    }
    let found: Vec<Subject> = schema::commands()
        .iter()
        .filter(|command| !command.handled.is_empty())
        .filter(|command| command.number == number || command.compat_number == number)
        .map(|command| Subject::Command(command, None))
        .collect();
    if found.is_empty() {
        return Err(format!(
            "no command has the number {number:#x}; a rule can still name it behind a surface, and \
             `explain kvm-vm:{number:#x}` says how"
        ));
    }
    Ok(found)
}

fn members(
    command: &'static Command,
    surface: Option<Surface>,
    path: &str,
) -> Result<Subject, String> {
    let all = fields::of_command(command);
    let path = without_indexes(path);
    let inside = format!("{path}.");
    let mut chosen: Vec<usize> = Vec::new();
    for (index, member) in all.iter().enumerate() {
        if member.path == path || member.path.starts_with(&inside) {
            chosen.push(index);
        }
    }
    if chosen.is_empty() {
        return Err(if all.is_empty() {
            let what = match command.argument {
                Argument::Scalar { .. } => "its argument is a plain number, `arg`",
                Argument::None => "it has no argument",
                _ => "nobody here knows its argument",
            };
            format!("{} has no field `{path}`: {what}", command.name)
        } else {
            let names = all.iter().map(|member| member.path.as_str());
            let near = did_you_mean(&path, names);
            format!("{} has no field `{path}`{near}", command.name)
        });
    }
    Ok(Subject::Members {
        command,
        surface,
        all,
        chosen,
        path,
    })
}

/// `ranges.base` for `ranges[3].base`.
fn without_indexes(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|&character| {
            let kept = !inside && character != '[';
            match character {
                '[' => inside = true,
                ']' => inside = false,
                _ => {}
            }
            kept
        })
        .collect()
}

fn not_on(command: &Command, surface: Surface) -> String {
    let others: Vec<String> = command
        .surfaces()
        .map(|surface| format!("`{}`", surface.name()))
        .collect();
    let name = command.name;
    let here = surface.name();
    match others.len() {
        0 => format!("{name} is no command of `{here}`, nor of any other surface of this kernel"),
        1 => format!(
            "{name} is no command of `{here}`; {} has it",
            others.concat()
        ),
        _ => format!(
            "{name} is no command of `{here}`; {} have it",
            words::choice(&others, "and")
        ),
    }
}

fn unknown(word: &str, surface: Option<Surface>, is_command: bool) -> String {
    let commands = schema::commands()
        .iter()
        .filter(|command| surface.is_none_or(|surface| command.is_on(surface)))
        .map(|command| command.name);
    if let Some(surface) = surface {
        let near = did_you_mean(word, commands);
        return format!("`{}` has no command `{word}`{near}", surface.name());
    }
    if is_command {
        return format!("unknown command `{word}`{}", did_you_mean(word, commands));
    }
    let surfaces = Surface::ALL.iter().map(|surface| surface.name());
    let constants = schema::constants().iter().map(|constant| constant.name);
    let structs = structs().map(|found| found.name);
    let names = commands.chain(surfaces).chain(constants).chain(structs);
    format!("unknown name `{word}`{}", did_you_mean(word, names))
}
