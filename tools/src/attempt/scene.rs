// SPDX-License-Identifier: GPL-2.0

//! The circumstances of a call, as the command line tells them.

use std::fmt;
use std::os::unix::ffi::OsStrExt;

use portcullis_policy::schema::{self, Argument as Takes, Command, FieldKind};
use portcullis_policy::state::{self, Like, Scope};
use portcullis_policy::{Caller, Did, Heap, Irqchip, Memory, Policy, State, Surface};

use crate::cli;
use crate::name::{resolve, Subject};
use crate::suggest::did_you_mean;

/// Where the argument of a call is that takes a struct.
const HERE: u64 = 0x7f00_0000_0000;

/// Who calls, and what the VM has done so far.
pub(super) struct Scene {
    pub(super) state: State,
}

impl Scene {
    pub(super) fn new(options: &cli::Try, policy: &Policy<Heap>) -> Result<Self, String> {
        let mut state = State::NEW;
        if options.exceeded {
            state.exceeded = u16::MAX;
        }
        for (family, all) in [
            ("vm", &options.vm),
            ("vcpu", &options.vcpu),
            ("thread", &options.thread),
            ("profile", &options.profile),
            ("file", &options.of_file),
        ] {
            for one in all {
                let (name, value) = one.split_once('=').unwrap_or((one, "1"));
                set(&mut state, policy, &format!("{family}.{name}"), value)?;
            }
        }
        Ok(Self { state })
    }

    pub(super) fn caller<'a>(&self, options: &'a cli::Try) -> Caller<'a> {
        let text = |text: &'a Option<std::ffi::OsString>| text.as_ref().map(|text| text.as_bytes());
        Caller {
            exe: text(&options.exe),
            uid: options.uid,
            gid: options.gid,
            cgroup: text(&options.cgroup),
            comm: text(&options.comm),
            label: text(&options.label),
        }
    }
}

/// Makes a part of the state what it is said to be.
fn set(state: &mut State, policy: &Policy<Heap>, name: &str, value: &str) -> Result<(), String> {
    let mut names = state::FIELDS.iter().map(|field| field.name);
    let Some(field) = state::FIELDS.iter().find(|field| field.name == name) else {
        let near = did_you_mean(name, &mut names);
        return Err(format!("nothing is known of `{name}`{near}"));
    };
    if field.like == Like::Caps {
        let number = schema::constant(value).filter(|_| value.starts_with("KVM_CAP_"));
        let number = number.and_then(|(_, number)| usize::try_from(number).ok());
        let word = number.and_then(|number| state.caps.get_mut(number / 64).zip(Some(number)));
        let Some((word, number)) = word else {
            return Err(format!("unknown capability `{value}`"));
        };
        *word |= 1 << (number % 64);
        return Ok(());
    }
    if field.like == Like::Dids {
        let Some(done) = Did::from_name(value) else {
            let near = did_you_mean(value, Did::names());
            return Err(format!("`{value}` is no command of a VM{near}"));
        };
        // What the policy does not ask for makes no difference.
        let place = policy.dids.iter().position(|did| did.key() == done.key());
        state.did |= place.map_or(0, |place| 1 << place);
        return Ok(());
    }
    let number = match field.like {
        Like::Word(words) => words
            .iter()
            .position(|word| *word == value)
            .map(|at| at as u64),
        Like::Flag => value.parse().ok().filter(|flag| *flag <= 1),
        _ => number(value),
    };
    let bad = || {
        let expected = match field.like {
            Like::Word(words) => words.join(", "),
            Like::Flag => "1 or 0".to_string(),
            _ => "a number or a constant".to_string(),
        };
        format!("`{name}={value}`: expected {expected}")
    };
    let number = number.ok_or_else(bad)?;
    let short = u32::try_from(number).map_err(|_| bad());
    match name {
        "vm.vcpus" => state.vcpus = short?,
        "vm.memslots" => state.memslots = short?,
        "vm.memory" => state.memory = number,
        "vm.slot" => state.slot = number,
        "vm.irqfds" => state.irqfds = short?,
        "vm.ioeventfds" => state.ioeventfds = short?,
        "vm.zones" => state.zones = short?,
        "vm.devices" => state.devices = short?,
        "profile.vms" => state.profile_vms = short?,
        "profile.vcpus" => state.profile_vcpus = short?,
        "profile.memory" => state.profile_memory = number,
        "file.mappings" => state.mappings = short?,
        "vm.type" => state.kind = number,
        "vm.irqchip" => {
            state.irqchip = match number {
                0 => Irqchip::None,
                1 => Irqchip::Kernel,
                _ => Irqchip::Split,
            }
        }
        "vm.running" => state.is_running = number == 1,
        "vcpu.ran" => state.vcpu_ran = number == 1,
        "vcpu.foreign" => state.vcpu_is_foreign = number == 1,
        "thread.vcpu" => state.thread_runs_vcpu = number == 1,
        "thread.traced" => state.thread_is_traced = number == 1,
        _ => return Err(format!("`{name}` cannot be set")),
    }
    Ok(())
}

/// A number as a policy writes it, or a constant.
fn number(text: &str) -> Option<u64> {
    if let Some((_, value)) = schema::constant(text) {
        return Some(value);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let found = units
        .iter()
        .find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let (digits, bits) = found.unwrap_or((text, 0));
    digits.parse::<u64>().ok()?.checked_mul(1 << bits)
}

/// A call that is tried.
pub(super) struct Call {
    pub(super) surface: Surface,
    pub(super) number: u32,
    name: Option<&'static str>,
    pub(super) arg: u64,
    pub(super) compat: bool,
    /// What the argument points to.
    bytes: Vec<u8>,
}

impl Call {
    /// Whether it is on a VM, or on a part of one.
    pub(super) fn is_on_a_vm(&self) -> bool {
        Scope::Vm.has(self.surface)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.surface.name())?;
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.number),
        }
    }
}

/// The calls that a name stands for: on every surface that has the command.
pub(super) fn calls(name: &str, options: &cli::Try) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    for subject in resolve(name)? {
        match subject {
            Subject::Command(command, surface) => {
                let surfaces: Vec<Surface> = match surface {
                    Some(surface) => vec![surface],
                    None => command.surfaces().collect(),
                };
                for surface in surfaces {
                    calls.push(call(surface, command, options)?);
                }
            }
            Subject::Number(surface, number) => calls.push(Call {
                surface,
                number,
                name: None,
                arg: argument(options)?.unwrap_or(0),
                compat: options.compat,
                bytes: Vec::new(),
            }),
            _ => return Err(format!("`{name}` is no command")),
        }
    }
    Ok(calls)
}

/// What `--arg` says.
fn argument(options: &cli::Try) -> Result<Option<u64>, String> {
    let Some(text) = &options.arg else {
        return Ok(None);
    };
    match number(text) {
        Some(number) => Ok(Some(number)),
        None => Err(format!("`{text}` is neither a number nor a constant")),
    }
}

fn call(surface: Surface, command: &'static Command, options: &cli::Try) -> Result<Call, String> {
    let mut bytes = Vec::new();
    for one in &options.field {
        let Some((name, value)) = one.split_once('=') else {
            return Err(format!("`{one}`: expected NAME=VALUE"));
        };
        let fields = match command.argument {
            Takes::Struct(found) => match found.compat {
                Some(layout) if options.compat => layout.fields,
                _ => found.fields,
            },
            _ => &[],
        };
        let field = fields.iter().find(|field| field.name == name);
        let width = match field.map(|field| field.kind) {
            Some(FieldKind::Value { width, .. } | FieldKind::Pointer { width }) => width,
            Some(FieldKind::Array(_)) => {
                return Err(format!("`{name}` is an array; only numbers can be set"))
            }
            None => {
                let near = did_you_mean(name, fields.iter().map(|field| field.name));
                return Err(format!("{} has no field `{name}`{near}", command.name));
            }
        };
        let Some(value) = number(value) else {
            return Err(format!("`{value}` is neither a number nor a constant"));
        };
        let (at, width) = (field.map_or(0, |field| field.offset) as usize, width.into());
        if bytes.len() < at + width {
            bytes.resize(at + width, 0);
        }
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    let takes_struct = matches!(command.argument, Takes::Struct(_));
    Ok(Call {
        surface,
        number: match options.compat {
            true => command.compat_number,
            false => command.number,
        },
        name: Some(command.name),
        arg: argument(options)?.unwrap_or(if takes_struct { HERE } else { 0 }),
        compat: options.compat,
        bytes,
    })
}

/// The memory of a call: what is not said is 0.
pub(super) struct Argument<'a>(pub(super) &'a Call);

impl Memory for Argument<'_> {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        for (byte, at) in into.iter_mut().zip(address..) {
            let place = at.checked_sub(self.0.arg);
            let place = place.and_then(|place| self.0.bytes.get(usize::try_from(place).ok()?));
            *byte = place.copied().unwrap_or(0);
        }
        true
    }
}
