// SPDX-License-Identifier: GPL-2.0

//! The language said a second time: slowly, plainly, and without a line of the engine's code.
//!
//! A policy is data here and is written out as text for the engine. `draw` makes policies and calls
//! of whatever chooses ([`Choices`]: a random generator, a fuzzer's bytes), `judge` says what a
//! plain reading of the rules makes of a call, and `compare` holds both against each other. Only the
//! schema's tables are shared.

#![allow(dead_code, unreachable_pub)]

pub mod compare;
pub mod draw;
pub mod judge;

use portcullis_policy::schema::{
    self, Argument, Array, Command, Direction, Field, FieldKind, Len, Struct, Variant,
};
use portcullis_policy::Surface;

/// Where decisions come from.
pub trait Choices {
    /// Any number.
    fn number(&mut self) -> u64;

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64;

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// xorshift64*
pub struct Random(pub u64);

impl Choices for Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.number() >> 8) % limit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Allow,
    Deny(u16),
    Audit,
}

/// The last profile is `other`.
#[derive(Clone, Debug)]
pub struct Policy {
    pub profiles: Vec<Profile>,
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub matches: Vec<Match>,
    pub default: Action,
    pub default_text: String,
    /// In the order of the text.
    pub limits: Vec<Limit>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct Limit {
    /// The place of the rule in front of which it stands.
    pub at: usize,
    pub what: Limited,
    pub errno: u16,
    /// `errno` and `reason`.
    pub behind: String,
}

#[derive(Clone, Debug)]
pub enum Limited {
    Count {
        word: &'static str,
        most: u64,
        /// How it is written.
        text: String,
        per_profile: bool,
    },
    Rate {
        surface: Option<Surface>,
        targets: Vec<Target>,
        count: u32,
        per_minute: bool,
    },
}

/// What can be counted; the commands that make more of it, with their surface; and the part of the
/// state that says how many there are.
type Counts = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

pub const COUNTS: [Counts; 9] = [
    ("vms", &[("kvm", "KVM_CREATE_VM")], "profile.vms"),
    ("vcpus", &[("kvm-vm", "KVM_CREATE_VCPU")], "vm.vcpus"),
    (
        "memory",
        &[
            ("kvm-vm", "KVM_SET_USER_MEMORY_REGION"),
            ("kvm-vm", "KVM_SET_USER_MEMORY_REGION2"),
        ],
        "vm.memory",
    ),
    (
        "memslots",
        &[
            ("kvm-vm", "KVM_SET_USER_MEMORY_REGION"),
            ("kvm-vm", "KVM_SET_USER_MEMORY_REGION2"),
        ],
        "vm.memslots",
    ),
    ("irqfds", &[("kvm-vm", "KVM_IRQFD")], "vm.irqfds"),
    (
        "ioeventfds",
        &[("kvm-vm", "KVM_IOEVENTFD")],
        "vm.ioeventfds",
    ),
    (
        "zones",
        &[("kvm-vm", "KVM_REGISTER_COALESCED_MMIO")],
        "vm.zones",
    ),
    ("devices", &[("kvm-vm", "KVM_CREATE_DEVICE")], "vm.devices"),
    (
        "mappings",
        &[
            ("vfio-container", "VFIO_IOMMU_MAP_DMA"),
            ("iommufd", "IOMMU_IOAS_MAP"),
            ("iommufd", "IOMMU_IOAS_MAP_FILE"),
        ],
        "file.mappings",
    ),
];

/// A command of a surface that a limit of mappings refuses always, if all of this holds of its fields.
type Escape = (
    &'static str,
    &'static str,
    &'static [(&'static str, fn(u64) -> bool)],
);

pub const ESCAPES: [Escape; 4] = [
    ("iommufd", "IOMMU_IOAS_COPY", &[]),
    ("iommufd", "IOMMU_VFIO_IOAS", &[("op", |op| op != 0)]),
    (
        "iommufd",
        "IOMMU_OPTION",
        &[
            ("option_id", |id| id == 1),
            ("op", |op| op != 1),
            ("val64", |value| value == 0),
        ],
    ),
    (
        "vfio-container",
        "VFIO_SET_IOMMU",
        &[("arg", |kind| kind == 1)],
    ),
];

/// What `vm.did()` can name, and the command; of a variant, the field that tells it and its value.
type Done = (&'static str, &'static str, Option<(&'static str, u64)>);

pub const DIDS: [Done; 15] = [
    // A command of /dev/kvm as well, where no VM is called.
    ("KVM_CHECK_EXTENSION", "KVM_CHECK_EXTENSION", None),
    ("KVM_IRQFD", "KVM_IRQFD", None),
    ("KVM_CREATE_VCPU", "KVM_CREATE_VCPU", None),
    ("KVM_ENABLE_CAP", "KVM_ENABLE_CAP", None),
    ("KVM_SET_CPUID2", "KVM_SET_CPUID2", None),
    ("KVM_GET_DIRTY_LOG", "KVM_GET_DIRTY_LOG", None),
    ("KVM_X86_SET_MSR_FILTER", "KVM_X86_SET_MSR_FILTER", None),
    ("KVM_GET_STATS_FD", "KVM_GET_STATS_FD", None),
    ("KVM_MEMORY_ENCRYPT_OP", "KVM_MEMORY_ENCRYPT_OP", None),
    (
        "KVM_SEV_LAUNCH_START",
        "KVM_MEMORY_ENCRYPT_OP",
        Some(("id", 2)),
    ),
    // The same number.
    (
        "KVM_TDX_INIT_VCPU",
        "KVM_MEMORY_ENCRYPT_OP",
        Some(("id", 2)),
    ),
    (
        "KVM_SEV_SNP_LAUNCH_FINISH",
        "KVM_MEMORY_ENCRYPT_OP",
        Some(("id", 102)),
    ),
    ("KVM_SET_DEVICE_ATTR", "KVM_SET_DEVICE_ATTR", None),
    (
        "KVM_DEV_VFIO_FILE",
        "KVM_SET_DEVICE_ATTR",
        Some(("group", 1)),
    ),
    (
        "KVM_STATE_NESTED_FORMAT_SVM",
        "KVM_SET_NESTED_STATE",
        Some(("format", 1)),
    ),
];

/// Commands whose success changes what is known, whatever a policy says.
pub const NOTED: [(&str, &str); 13] = [
    ("kvm", "KVM_CREATE_VM"),
    ("kvm-vm", "KVM_ENABLE_CAP"),
    ("kvm-vcpu", "KVM_ENABLE_CAP"),
    ("kvm-vm", "KVM_REGISTER_COALESCED_MMIO"),
    ("kvm-vm", "KVM_UNREGISTER_COALESCED_MMIO"),
    ("kvm-device", "KVM_SET_DEVICE_ATTR"),
    ("vfio-container", "VFIO_IOMMU_MAP_DMA"),
    ("vfio-container", "VFIO_IOMMU_UNMAP_DMA"),
    ("iommufd", "IOMMU_IOAS_MAP"),
    ("iommufd", "IOMMU_IOAS_MAP_FILE"),
    ("iommufd", "IOMMU_IOAS_COPY"),
    ("iommufd", "IOMMU_IOAS_UNMAP"),
    ("iommufd", "IOMMU_DESTROY"),
];

#[derive(Clone, Debug)]
pub struct Match {
    pub by: &'static str,
    pub values: Vec<Wanted>,
}

/// A value of a `match` line.
#[derive(Clone, Debug)]
pub enum Wanted {
    Ids(u32, u32),
    Pattern(String),
}

/// A process, by the words of `match`.
#[derive(Clone, Debug, Default)]
pub struct Who {
    pub texts: Vec<(&'static str, String)>,
    pub ids: Vec<(&'static str, u32)>,
}

impl Who {
    pub fn text(&self, by: &str) -> Option<&str> {
        let found = self.texts.iter().find(|(name, _)| *name == by);
        found.map(|(_, text)| text.as_str())
    }

    pub fn id(&self, by: &str) -> Option<u32> {
        let found = self.ids.iter().find(|(name, _)| *name == by);
        found.map(|(_, id)| *id)
    }
}

/// Where the lines of a profile are.
#[derive(Clone, Debug)]
pub struct Lines {
    pub default: u32,
    pub limits: Vec<u32>,
    pub rules: Vec<u32>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    /// Comments and blank lines in front of it.
    pub before: String,
    pub action: Action,
    pub surface: Option<Surface>,
    pub targets: Vec<Target>,
    /// The word behind `while`.
    pub phase: Option<&'static str>,
    pub conditions: Vec<Condition>,
    /// `errno` and `reason`.
    pub behind: String,
}

#[derive(Clone, Debug)]
pub enum Target {
    Name(&'static Command),
    /// And how it is written.
    Number(u32, String),
    Star,
}

#[derive(Clone, Debug)]
pub enum Condition {
    Compare(Comparison),
    Each(Quantifier, String, Vec<Comparison>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    Any,
    All,
    No,
}

/// The sum of the terms is compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub terms: Vec<Term>,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Term {
    Arg,
    Compat,
    /// What begins with `vm.`, `vcpu.`, `thread.`, `profile.` or `file.`.
    State(&'static str),
    /// `vm.did()`: a place in [`DIDS`].
    Did(usize),
    /// `vm.cap()`: the name of a capability and its number.
    Cap(&'static str, u32),
    Number(u64),
    Field(String),
    /// `array[index]` or `array[index].field`
    Item(String, u32, Option<String>),
    Count(String),
}

#[derive(Clone, Debug)]
pub enum Test {
    Compare(&'static str, Value),
    In(Vec<(Value, Value)>),
}

/// A value, and how it is written.
#[derive(Clone, Debug)]
pub struct Value {
    pub value: i128,
    pub text: String,
}

impl Policy {
    /// The text, and where the lines of each profile are.
    pub fn text(&self) -> (String, Vec<Lines>) {
        let mut text = String::from("policy random version 1\n");
        let mut all = Vec::new();
        for profile in &self.profiles {
            let here = |text: &String| text.matches('\n').count() as u32 + 1;
            text += &format!("profile {}\n", profile.name);
            for line in &profile.matches {
                text += &line.text();
            }
            let mut lines = Lines {
                default: here(&text),
                limits: Vec::new(),
                rules: Vec::new(),
            };
            text += &profile.default_text;
            text.push('\n');
            let mut limits = profile.limits.iter().peekable();
            for place in 0..=profile.rules.len() {
                let is_last = place == profile.rules.len();
                while let Some(limit) = limits.next_if(|limit| limit.at <= place || is_last) {
                    lines.limits.push(here(&text));
                    text += &limit.text();
                    text.push('\n');
                }
                if let Some(rule) = profile.rules.get(place) {
                    text += &rule.before;
                    lines.rules.push(here(&text));
                    text += &rule.text();
                    text.push('\n');
                }
            }
            all.push(lines);
        }
        text += "end\n";
        (text, all)
    }
}

impl Match {
    fn text(&self) -> String {
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| match value {
                Wanted::Ids(first, last) if first == last => first.to_string(),
                Wanted::Ids(first, last) => format!("{first}..{last}"),
                Wanted::Pattern(text) if text.contains([' ', ',', '#']) || text.len() % 5 == 0 => {
                    format!("\"{text}\"")
                }
                Wanted::Pattern(text) => text.clone(),
            })
            .collect();
        format!("    match {} {}\n", self.by, values.join(", "))
    }
}

impl Limit {
    fn text(&self) -> String {
        let text = match &self.what {
            Limited::Count {
                word,
                text,
                per_profile,
                ..
            } => {
                let per = if *per_profile { " per profile" } else { "" };
                format!(" {word} {text}{per}")
            }
            Limited::Rate {
                surface,
                targets,
                count,
                per_minute,
            } => {
                let unit = if *per_minute { "min" } else { "s" };
                format!("{} {count}/{unit}", targets_text(*surface, targets))
            }
        };
        format!("limit{text}{}", self.behind)
    }
}

fn targets_text(surface: Option<Surface>, targets: &[Target]) -> String {
    let mut text = String::new();
    if let Some(surface) = surface {
        text += " ";
        text += surface.name();
    }
    for (index, target) in targets.iter().enumerate() {
        text += if index == 0 { " " } else { ", " };
        text += match target {
            Target::Name(command) => command.name,
            Target::Number(_, text) => text,
            Target::Star => "*",
        };
    }
    text
}

impl Rule {
    pub fn text(&self) -> String {
        let mut text = String::from(match self.action {
            Action::Allow => "allow",
            Action::Deny(_) => "deny",
            Action::Audit => "audit",
        });
        text += &targets_text(self.surface, &self.targets);
        if let Some(phase) = self.phase {
            text += " while ";
            text += phase;
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            text += if index == 0 { " if " } else { " and " };
            text += &condition.text();
        }
        text + &self.behind
    }
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Compare(comparison) => comparison.text(),
            Self::Each(quantifier, array, inner) => {
                let word = match quantifier {
                    Quantifier::Any => "any",
                    Quantifier::All => "all",
                    Quantifier::No => "no",
                };
                let inner: Vec<String> = inner.iter().map(Comparison::text).collect();
                format!("{word} {array} ({})", inner.join(" and "))
            }
        }
    }
}

impl Comparison {
    fn text(&self) -> String {
        let terms: Vec<String> = self.terms.iter().map(Term::text).collect();
        format!("{} {}", terms.join(" + "), self.test.text())
    }
}

impl Term {
    fn text(&self) -> String {
        match self {
            Self::Arg => "arg".into(),
            Self::Compat => "compat".into(),
            Self::State(name) => (*name).into(),
            Self::Cap(name, _) => format!("vm.cap({name})"),
            Self::Did(place) => format!("vm.did({})", DIDS[*place].0),
            Self::Number(number) => number.to_string(),
            Self::Field(path) => path.clone(),
            Self::Item(array, index, None) => format!("{array}[{index}]"),
            Self::Item(array, index, Some(field)) => format!("{array}[{index}].{field}"),
            Self::Count(array) => format!("count({array})"),
        }
    }
}

impl Test {
    fn text(&self) -> String {
        match self {
            Self::Compare(operator, value) => format!("{operator} {}", value.text),
            Self::In(ranges) => {
                let ranges: Vec<String> = ranges
                    .iter()
                    .map(|(first, last)| match first.value == last.value {
                        true => first.text.clone(),
                        false => format!("{}..{}", first.text, last.text),
                    })
                    .collect();
                format!("in {{{}}}", ranges.join(", "))
            }
        }
    }
}

/// A command as callers of one word size call it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub command: &'static Command,
    /// Whether the struct is laid out as 32-bit callers do.
    pub compat: bool,
}

impl Layout {
    /// The layouts that rules about a command must be read for.
    pub fn all(command: &'static Command) -> Vec<Self> {
        let native = Self {
            command,
            compat: false,
        };
        match native.whole() {
            Some(whole) if whole.compat.is_some() => vec![
                native,
                Self {
                    command,
                    compat: true,
                },
            ],
            _ => vec![native],
        }
    }

    /// The one of a call.
    pub fn of(command: &'static Command, number: u32, caller_is_compat: bool) -> Self {
        let compat = match command.number == command.compat_number {
            true => caller_is_compat,
            false => number == command.compat_number,
        };
        let layouts = Self::all(command);
        layouts[usize::from(compat && layouts.len() > 1)]
    }

    pub fn whole(&self) -> Option<&'static Struct> {
        match self.command.argument {
            Argument::Struct(whole) => Some(whole),
            _ => None,
        }
    }

    pub fn fields(&self) -> &'static [Field] {
        match self.whole() {
            // There is nothing to be compared in what the kernel only writes.
            None => &[],
            Some(whole) if whole.direction == Direction::Out => &[],
            Some(whole) => match whole.compat {
                Some(compat) if self.compat => compat.fields,
                _ => whole.fields,
            },
        }
    }

    pub fn variants(&self) -> &'static [Variant] {
        match self.whole() {
            Some(whole) if whole.direction != Direction::Out => whole.variants,
            _ => &[],
        }
    }

    /// How many bytes the struct has, without an array at its end.
    pub fn size(&self) -> u32 {
        match self.whole() {
            Some(whole) => match whole.compat {
                Some(compat) if self.compat => compat.size,
                _ => whole.size,
            },
            None => 0,
        }
    }

    /// The field of that path, and the variant that it belongs to.
    pub fn find(&self, path: &str) -> Option<(Option<&'static Variant>, &'static Field)> {
        if let Some(field) = self.fields().iter().find(|field| field.name == path) {
            return Some((None, field));
        }
        self.variants().iter().find_map(|variant| {
            let field = variant.fields.iter().find(|field| {
                path.len() == variant.name.len() + 1 + field.name.len()
                    && path.starts_with(variant.name)
                    && path.ends_with(field.name)
            });
            Some((Some(variant), field?))
        })
    }
}

/// The command that a surface knows by a number.
pub fn known(surface: Surface, number: u32) -> Option<&'static Command> {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    static KNOWN: OnceLock<HashMap<(usize, u32), &'static Command>> = OnceLock::new();
    let all = KNOWN.get_or_init(|| {
        let mut all = HashMap::new();
        for command in schema::commands() {
            for surface in command.surfaces() {
                for number in [command.number, command.compat_number] {
                    all.insert((surface as usize, number), command);
                }
            }
        }
        all
    });
    all.get(&(surface as usize, number)).copied()
}

/// What a number that a rule can name is like.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub least: i128,
    pub greatest: i128,
    pub constants: &'static [u16],
}

impl Spec {
    pub fn new(width: u8, signed: bool, constants: &'static [u16]) -> Self {
        let bits = u32::from(width) * 8;
        Self {
            least: if signed { -(1 << (bits - 1)) } else { 0 },
            greatest: (1 << (bits - u32::from(signed))) - 1,
            constants,
        }
    }
}

/// Where a term stands in a layout.
#[derive(Clone, Copy, Debug)]
pub enum Spot {
    Arg {
        width: u8,
    },
    Compat,
    State(&'static str),
    Cap(u32),
    Did(usize),
    Number(u64),
    /// In the struct, or in what a variant has in its stead, or in an element.
    At {
        variant: Option<&'static Variant>,
        offset: u32,
        width: u8,
        signed: bool,
    },
    /// What is left of the bytes that the field at `size` tells, in elements.
    Rest {
        variant: Option<&'static Variant>,
        size: schema::Place,
        from: u32,
        stride: u32,
    },
}

fn types_of_vms() -> &'static [u16] {
    let all = schema::commands().iter();
    let mut named = all.filter(|command| command.name == "KVM_CREATE_VM");
    match named.next().map(|command| &command.argument) {
        Some(Argument::Scalar { constants, .. }) => constants,
        _ => panic!("KVM_CREATE_VM takes a number"),
    }
}

/// The parts of the state that are numbers of 32 bits.
pub const COUNTED: [&str; 9] = [
    "vm.vcpus",
    "vm.memslots",
    "vm.irqfds",
    "vm.ioeventfds",
    "vm.zones",
    "vm.devices",
    "profile.vms",
    "profile.vcpus",
    "file.mappings",
];

/// Whether calls on a surface are on a VM or a part of it.
pub fn is_of_a_vm(surface: Surface) -> bool {
    ["kvm-vm", "kvm-vcpu", "kvm-device"].contains(&surface.name())
}

/// Where a term stands, and what it is like. `element`: it is one of an array's element.
pub fn resolve(
    term: &Term,
    layout: Option<Layout>,
    element: Option<&'static Array>,
) -> Option<(Spot, Spec)> {
    let find = |path: &str| match (element, layout) {
        (Some(array), _) => {
            let field = array.fields.iter().find(|field| field.name == path)?;
            Some((None, field))
        }
        (None, Some(layout)) => layout.find(path),
        (None, None) => None,
    };
    let at = |variant, offset, field: &'static Field| {
        let (width, signed) = match field.kind {
            FieldKind::Value { width, signed } => (width, signed),
            FieldKind::Pointer { width } => (width, false),
            FieldKind::Array(_) => return None,
        };
        let spot = Spot::At {
            variant,
            offset,
            width,
            signed,
        };
        Some((spot, Spec::new(width, signed, field.constants)))
    };
    match term {
        Term::Number(number) => Some((Spot::Number(*number), Spec::new(8, false, &[]))),
        Term::Arg if element.is_none() => {
            let (width, constants) = match layout.map(|layout| &layout.command.argument) {
                Some(Argument::Scalar { width, constants }) => (*width, *constants),
                _ => (8, &[][..]),
            };
            Some((Spot::Arg { width }, Spec::new(width, false, constants)))
        }
        Term::Compat if element.is_none() => {
            let spec = Spec {
                least: 0,
                greatest: 1,
                constants: &[],
            };
            Some((Spot::Compat, spec))
        }
        Term::State(name) if element.is_none() => {
            let (greatest, constants) = match *name {
                "vm.memory" | "vm.slot" | "profile.memory" => (u64::MAX.into(), &[][..]),
                name if COUNTED.contains(&name) => (u32::MAX.into(), &[][..]),
                "vm.type" => (u64::MAX.into(), types_of_vms()),
                "vm.irqchip" => (2, &[][..]),
                _ => (1, &[][..]),
            };
            let spec = Spec {
                least: 0,
                greatest,
                constants,
            };
            Some((Spot::State(name), spec))
        }
        Term::Cap(..) | Term::Did(_) if element.is_none() => {
            let spec = Spec {
                least: 0,
                greatest: 1,
                constants: &[],
            };
            let spot = match term {
                Term::Did(place) => Spot::Did(*place),
                Term::Cap(_, number) => Spot::Cap(*number),
                _ => unreachable!(),
            };
            Some((spot, spec))
        }
        Term::Arg | Term::Compat | Term::State(_) | Term::Cap(..) | Term::Did(_) => None,
        Term::Field(path) => {
            let (variant, field) = find(path)?;
            at(variant, field.offset, field)
        }
        Term::Item(path, index, inner) => {
            let (variant, field) = find(path)?;
            let FieldKind::Array(array) = field.kind else {
                return None;
            };
            let Len::Fixed(count) = array.len else {
                return None;
            };
            let name = inner.as_deref().unwrap_or("element");
            let inner = array.fields.iter().find(|field| field.name == name)?;
            if *index >= count || (name == "element" && array.fields.len() > 1) {
                return None;
            }
            at(
                variant,
                field.offset + index * array.stride + inner.offset,
                inner,
            )
        }
        Term::Count(path) => {
            let (variant, field) = find(path)?;
            let FieldKind::Array(array) = field.kind else {
                return None;
            };
            match array.len {
                Len::Fixed(_) => None,
                Len::Counted { count, .. } => Some((
                    Spot::At {
                        variant,
                        offset: count.offset,
                        width: count.width,
                        signed: false,
                    },
                    Spec::new(count.width, false, &[]),
                )),
                Len::Rest { size, .. } => Some((
                    Spot::Rest {
                        variant,
                        size,
                        from: field.offset,
                        stride: array.stride,
                    },
                    Spec::new(8, false, &[]),
                )),
            }
        }
    }
}
