// SPDX-License-Identifier: GPL-2.0

//! Policies and calls at random, such that they meet: a policy speaks about few commands, and what a
//! rule compares with is put into the caller's memory more often than not.

use super::judge::{layout_for, speaks_about, Pages};
use super::{is_of_a_vm, known, resolve, Action, Choices, Comparison, Condition, Layout, Match};
use super::{Limit, Limited, COUNTED, COUNTS, DIDS, ESCAPES};
use super::{
    Policy, Profile, Quantifier, Rule, Spec, Spot, Target, Term, Test, Value, Wanted, Who,
};
use portcullis_policy::schema::{
    self, Argument, Array, At, Command, Field, FieldKind, Len, Place, Variant,
};
use portcullis_policy::{Irqchip, Request, State, Surface};

const ERRNOS: [(&str, u16); 3] = [("EPERM", 1), ("EINVAL", 22), ("EACCES", 13)];
/// Some share their low byte with commands of the schema.
const NUMBERS: [u32; 6] = [0, 0x80, 0xffff_ff80, 0x1234_5678, 0x67, u32::MAX];

/// The commands that some surface has.
pub fn commands() -> &'static [&'static Command] {
    use std::sync::OnceLock;
    static COMMANDS: OnceLock<Vec<&'static Command>> = OnceLock::new();
    COMMANDS.get_or_init(|| {
        let all = schema::commands().iter();
        all.filter(|command| !command.handled.is_empty()).collect()
    })
}

/// A few commands that a policy is about; some have the same struct.
fn pool(choices: &mut impl Choices) -> Vec<&'static Command> {
    let mut pool = Vec::new();
    // Some that are limited, or noted.
    for _ in 0..choices.below(3) {
        let makers = choices.pick(&COUNTS).1;
        let name = match choices.below(8) {
            0..=2 => choices.pick(&DIDS).1,
            3 => choices.pick(&ESCAPES).1,
            _ => choices.pick(makers).1,
        };
        pool.push(schema::command(name).unwrap());
    }
    for _ in 0..=choices.below(4) {
        let command = choices.pick(commands());
        pool.push(command);
        if let (Argument::Struct(one), true) = (&command.argument, choices.one_in(2)) {
            let all = commands().iter().copied();
            let same: Vec<_> = all
                .filter(|other| {
                    matches!(other.argument, Argument::Struct(two) if std::ptr::eq(*one, two))
                })
                .collect();
            pool.push(choices.pick(&same));
        }
    }
    pool
}

/// A policy, and the commands that it is about. Half of them have `other` alone.
pub fn policy(choices: &mut impl Choices) -> (Policy, Vec<&'static Command>) {
    let pool = pool(choices);
    let others = match choices.below(8) {
        0..=3 => 0,
        4..=6 => 1 + choices.below(3),
        _ => choices.below(32),
    };
    let mut profiles: Vec<Profile> = (0..others)
        .map(|number| {
            let name = format!("profile-{number}");
            profile(choices, &pool, name, false)
        })
        .collect();
    profiles.push(profile(choices, &pool, "other".into(), true));
    (Policy { profiles }, pool)
}

fn profile(
    choices: &mut impl Choices,
    pool: &[&'static Command],
    name: String,
    is_other: bool,
) -> Profile {
    let (default, default_text) = choices.pick(&[
        (Action::Allow, "default allow"),
        (Action::Deny(1), "default deny"),
        (Action::Deny(13), "default deny errno EACCES # why"),
    ]);
    let count = match choices.below(8) {
        0 => choices.below(40),
        _ => 1 + choices.below(8),
    };
    let phases = choices.one_in(2);
    let rules: Vec<_> = (0..count).map(|_| rule(choices, pool, phases)).collect();
    let limits = limits(choices, pool, rules.len());
    let matches = if is_other {
        Vec::new()
    } else {
        matches(choices)
    };
    Profile {
        name,
        matches,
        default,
        default_text: default_text.into(),
        limits,
        rules,
    }
}

/// The limits of a profile with so many rules.
fn limits(choices: &mut impl Choices, pool: &[&'static Command], rules: usize) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    let mut rates = 0;
    let count = match choices.below(4) {
        0 => choices.below(24),
        1 => choices.below(4),
        _ => 0,
    };
    for _ in 0..count {
        let what = match choices.one_in(2) && rates < 16 {
            true => {
                rates += 1;
                let (surface, targets) = targets(choices, pool);
                Limited::Rate {
                    surface,
                    targets,
                    count: 1 + choices.below(1000) as u32,
                    per_minute: choices.one_in(2),
                }
            }
            false => {
                let (word, ..) = choices.pick(&COUNTS);
                let most = match choices.below(4) {
                    0 if word == "memory" => 1 + (choices.number() >> 1),
                    0 => 1 + choices.below(u64::from(u32::MAX)),
                    _ => 1 + choices.below(4),
                };
                let per_profile = ["vcpus", "memory"].contains(&word) && choices.one_in(2);
                let is_again = |limit: &Limit| {
                    matches!(&limit.what, Limited::Count { word: other, per_profile: per, .. }
                        if *other == word && *per == per_profile)
                };
                if limits.iter().any(is_again) {
                    continue;
                }
                Limited::Count {
                    word,
                    most,
                    text: written(choices, most, true),
                    per_profile,
                }
            }
        };
        let mut errno = match &what {
            Limited::Rate { .. } => 11,
            Limited::Count { word: "memory", .. } => 12,
            Limited::Count { .. } => 28,
        };
        let mut behind = String::new();
        if choices.one_in(3) {
            let name;
            (name, errno) = choices.pick(&ERRNOS);
            behind = format!(" errno {name}");
        }
        if choices.one_in(4) {
            behind += " reason \"enough\" # of it";
        }
        let at = choices.below(rules as u64 + 1) as usize;
        limits.push(Limit {
            at,
            what,
            errno,
            behind,
        });
    }
    limits.sort_by_key(|limit| limit.at);
    limits
}

const TEXTS: [&str; 4] = ["exe", "cgroup", "comm", "label"];
const IDS: [&str; 2] = ["uid", "gid"];
const PATHS: [&str; 8] = [
    "/usr/bin/qemu-system-x86_64",
    "/usr/bin/vmm",
    "/usr/local/bin/vmm",
    "/opt/a,b/vmm #1",
    "/",
    "/machine.slice/machine-qemu\\x2d1.scope",
    "/a/b/a/b",
    "/aa/ab",
];
const NAMES: [&str; 5] = [
    "vmm",
    "qemu-system-x86",
    "a b",
    "a/b/a",
    "system_u:svirt:c1,c2",
];

fn matches(choices: &mut impl Choices) -> Vec<Match> {
    let mut lines = Vec::new();
    let first = choices.below(6) as usize;
    for turn in 0..=choices.below(3) as usize {
        let by = [TEXTS.as_slice(), IDS.as_slice()].concat()[(first + turn) % 6];
        let count = match choices.below(6) {
            0 => choices.below(16),
            _ => choices.below(2),
        };
        let value = |choices: &mut _| match IDS.contains(&by) {
            true => {
                let first = id(choices);
                let last = match Choices::one_in(choices, 2) {
                    true => first,
                    false => id(choices).max(first),
                };
                Wanted::Ids(first, last)
            }
            false => Wanted::Pattern(pattern(choices, by)),
        };
        let values = (0..=count).map(|_| value(choices)).collect();
        lines.push(Match { by, values });
    }
    lines
}

fn id(choices: &mut impl Choices) -> u32 {
    match choices.below(6) {
        0 => u32::MAX - 1,
        1 => choices.below(u64::from(u32::MAX)) as u32,
        _ => choices.below(4) as u32,
    }
}

/// Some text of a caller with stars and question marks in it; and texts that are a little different.
fn pattern(choices: &mut impl Choices, by: &str) -> String {
    let is_path = ["exe", "cgroup"].contains(&by);
    let text = match is_path {
        true => choices.pick(&PATHS),
        false => choices.pick(&NAMES),
    };
    let mut pattern = text.as_bytes().to_vec();
    for _ in 0..choices.below(4) {
        let from = choices.below(pattern.len() as u64 + 1) as usize;
        let len = choices.below(6) as usize;
        let until = (from + len).min(pattern.len());
        let instead = choices.pick(&["*", "**", "?", "", "*/", "a"]);
        pattern.splice(from..until, instead.bytes());
    }
    let mut pattern = String::from_utf8(pattern).unwrap_or_else(|_| text.into());
    while pattern.contains("***") {
        pattern = pattern.replace("***", "**");
    }
    // What the language refuses.
    let is_refused = match by {
        "exe" | "cgroup" => {
            let steps = pattern.split('/').skip(1);
            !pattern.starts_with('/')
                || (pattern.len() > 1
                    && steps
                        .into_iter()
                        .any(|part| ["", ".", ".."].contains(&part)))
                || (by == "exe" && pattern == "/")
        }
        "comm" => pattern.bytes().filter(|byte| *byte != b'*').count() > 15,
        _ => false,
    };
    match is_refused || pattern.is_empty() {
        true if is_path => "/usr/bin/**".into(),
        true => "*".into(),
        false => pattern,
    }
}

/// A process, of which not everything may be known.
pub fn who(choices: &mut impl Choices) -> Who {
    let mut who = Who::default();
    for by in TEXTS {
        if !choices.one_in(6) {
            let text = match ["exe", "cgroup"].contains(&by) {
                true => choices.pick(&PATHS),
                false => choices.pick(&NAMES),
            };
            who.texts.push((by, text.into()));
        }
    }
    for by in IDS {
        if !choices.one_in(6) {
            who.ids.push((by, id(choices)));
        }
    }
    who
}

/// What a VM has done.
pub fn state(choices: &mut impl Choices) -> State {
    let small = |choices: &mut _| match Choices::below(choices, 4) {
        0 => Choices::number(choices),
        _ => Choices::below(choices, 4),
    };
    let mut caps = [0; State::CAPS / 64];
    for word in caps.iter_mut().take(4) {
        *word = choices.number();
    }
    State {
        vcpus: small(choices) as u32,
        memslots: small(choices) as u32,
        memory: small(choices),
        kind: small(choices),
        irqchip: choices.pick(&[Irqchip::None, Irqchip::Kernel, Irqchip::Split]),
        is_running: choices.one_in(2),
        caps,
        vcpu_ran: choices.one_in(2),
        vcpu_is_foreign: choices.one_in(2),
        thread_runs_vcpu: choices.one_in(2),
        thread_is_traced: choices.one_in(2),
        slot: match choices.one_in(2) {
            true => 0,
            false => small(choices),
        },
        irqfds: small(choices) as u32,
        ioeventfds: small(choices) as u32,
        zones: small(choices) as u32,
        devices: small(choices) as u32,
        did: choices.number() as u32,
        profile_vms: small(choices) as u32,
        profile_vcpus: small(choices) as u32,
        profile_memory: small(choices),
        mappings: small(choices) as u32,
        exceeded: (choices.number() & choices.number()) as u16,
    }
}

fn rule(choices: &mut impl Choices, pool: &[&'static Command], phases: bool) -> Rule {
    let before = choices.pick(&[
        "",
        "",
        "",
        "\n",
        "# a comment, if arg == 1\n",
        " \t\n  # end\n",
    ]);
    let action = match choices.below(4) {
        0 => Action::Allow,
        1 => Action::Audit,
        _ => Action::Deny(choices.pick(&ERRNOS).1),
    };
    let (surface, targets) = targets(choices, pool);
    let surfaces = surfaces(surface, &targets);
    let phase = match phases && surfaces.iter().all(|surface| is_of_a_vm(*surface)) {
        true => choices.pick(&[None, Some("setup"), Some("running")]),
        false => None,
    };
    let layouts = layouts(surface, &targets);
    let mut conditions = Vec::new();
    let mut left = match choices.below(6) {
        0 => 0,
        1 => 16,
        _ => 3,
    };
    while left > 0 && choices.below(4) > 0 {
        if let Some(condition) = condition(choices, &layouts, &surfaces, left) {
            left -= match &condition {
                Condition::Compare(_) => 1,
                Condition::Each(_, _, inner) => inner.len(),
            };
            conditions.push(condition);
        }
    }
    let mut behind = String::new();
    if let Action::Deny(errno) = action {
        let name = ERRNOS.iter().find(|row| row.1 == errno).unwrap().0;
        if errno != 1 || choices.one_in(2) {
            behind = format!(" errno {name}");
        }
    }
    if choices.one_in(8) {
        behind += " reason \"if arg == 1 # no comment\"";
    }
    if choices.one_in(8) {
        behind += "\t # a comment";
    }
    Rule {
        before: before.into(),
        action,
        surface,
        targets,
        phase,
        conditions,
        behind,
    }
}

/// The surfaces that a rule speaks about.
fn surfaces(surface: Option<Surface>, targets: &[Target]) -> Vec<Surface> {
    if let Some(surface) = surface {
        return vec![surface];
    }
    let of = |target: &Target| match target {
        Target::Name(command) => command.surfaces().collect(),
        _ => Vec::new(),
    };
    targets.iter().flat_map(of).collect()
}

fn targets(
    choices: &mut impl Choices,
    pool: &[&'static Command],
) -> (Option<Surface>, Vec<Target>) {
    let number = |choices: &mut _, number: u32| {
        Target::Number(number, written(choices, u64::from(number), false))
    };
    let command = choices.pick(pool);
    let surfaces: Vec<Surface> = command.surfaces().collect();
    let surface = choices.pick(&surfaces);
    let many = match choices.below(3) {
        0 => choices.below(4),
        _ => 0,
    };
    match choices.below(8) {
        0 => (Some(surface), vec![Target::Star]),
        1 => {
            let surface = match choices.one_in(2) {
                true => surface,
                false => choices.pick(&Surface::ALL),
            };
            let some = (0..=many).map(|_| {
                let found = choices.pick(pool);
                match choices.below(3) {
                    0 if found.is_on(surface) => Target::Name(found),
                    1 => {
                        let known = choices.pick(&[found.number, found.compat_number]);
                        // A container's number is no number of iommufd's.
                        let refused = surface == Surface::Iommufd && known >> 8 == 0x3b;
                        match refused && known & 0x80 == 0 {
                            true => number(choices, NUMBERS[3]),
                            false => number(choices, known),
                        }
                    }
                    _ => {
                        let unknown = choices.pick(&NUMBERS);
                        number(choices, unknown)
                    }
                }
            });
            (Some(surface), some.collect())
        }
        2 | 3 => {
            let mut some = vec![Target::Name(command)];
            for _ in 0..many {
                let other = choices.pick(pool);
                if other.is_on(surface) {
                    some.push(Target::Name(other));
                }
            }
            (Some(surface), some)
        }
        _ => {
            let mut some = vec![Target::Name(command)];
            some.extend((0..many).map(|_| Target::Name(choices.pick(pool))));
            (None, some)
        }
    }
}

/// For each layout that the conditions of a rule are read for; `None` where no field is known.
fn layouts(surface: Option<Surface>, targets: &[Target]) -> Vec<Option<Layout>> {
    let mut all = Vec::new();
    for target in targets {
        let command = match target {
            Target::Star => None,
            Target::Name(command) => Some(*command),
            Target::Number(number, _) => known(surface.unwrap(), *number),
        };
        match command {
            None => all.push(None),
            Some(command) => all.extend(Layout::all(command).into_iter().map(Some)),
        }
    }
    all
}

fn condition(
    choices: &mut impl Choices,
    layouts: &[Option<Layout>],
    surfaces: &[Surface],
    left: usize,
) -> Option<Condition> {
    if let (Some(layout), true) = (layouts[0], choices.one_in(3)) {
        let path = any_path(choices, layout, |kind| matches!(kind, FieldKind::Array(_)))?;
        let mut arrays = Vec::new();
        for layout in layouts {
            match layout.as_ref()?.find(&path)?.1.kind {
                FieldKind::Array(array) => arrays.push(array),
                _ => return None,
            }
        }
        let mut inner = Vec::new();
        for _ in 0..=choices.below(3).min(left as u64 - 1) {
            inner.extend(comparison(choices, layouts, surfaces, Some(&arrays)));
        }
        if inner.is_empty() {
            return None;
        }
        let quantifier = choices.pick(&[Quantifier::Any, Quantifier::All, Quantifier::No]);
        return Some(Condition::Each(quantifier, path, inner));
    }
    comparison(choices, layouts, surfaces, None).map(Condition::Compare)
}

/// The path of some field of that kind.
fn any_path(
    choices: &mut impl Choices,
    layout: Layout,
    wanted: impl Fn(FieldKind) -> bool,
) -> Option<String> {
    let variants = layout.variants();
    let (prefix, fields) = match choices.below(2) {
        0 if !variants.is_empty() => {
            let variant = &variants[choices.below(variants.len() as u64) as usize];
            (format!("{}.", variant.name), variant.fields)
        }
        _ => (String::new(), layout.fields()),
    };
    let fields: Vec<&Field> = fields.iter().filter(|field| wanted(field.kind)).collect();
    if fields.is_empty() {
        return None;
    }
    Some(prefix + choices.pick(&fields).name)
}

/// A term that each of the layouts has, and what it is like in each.
fn term(
    choices: &mut impl Choices,
    layouts: &[Option<Layout>],
    surfaces: &[Surface],
    arrays: Option<&[&'static Array]>,
) -> Option<(Term, Vec<Spec>)> {
    let index = |choices: &mut _, path: String, array: &Array| {
        let Len::Fixed(count) = array.len else {
            return Some(Term::Count(path));
        };
        if count == 0 {
            return None;
        }
        let index = u64::from(count - 1) & Choices::number(choices);
        let inner = Choices::below(choices, array.fields.len() as u64) as usize;
        let inner = match array.fields[inner].name {
            "element" if array.fields.len() == 1 => None,
            name => Some(name.into()),
        };
        Some(Term::Item(path, index as u32, inner))
    };
    let term = match (arrays, layouts[0]) {
        (Some(arrays), _) => {
            let fields = arrays[0].fields;
            let field = &fields[choices.below(fields.len() as u64) as usize];
            match field.kind {
                FieldKind::Array(array) => index(choices, field.name.into(), array)?,
                _ => Term::Field(field.name.into()),
            }
        }
        (None, _) if choices.one_in(6) => state_term(choices, layouts, surfaces),
        (None, Some(layout)) if !layout.fields().is_empty() && !choices.one_in(12) => match choices
            .below(8)
        {
            0..=4 => {
                let path = any_path(choices, layout, |kind| !matches!(kind, FieldKind::Array(_)));
                Term::Field(path?)
            }
            _ => {
                let path = any_path(choices, layout, |kind| matches!(kind, FieldKind::Array(_)))?;
                match layout.find(&path)?.1.kind {
                    FieldKind::Array(array) => index(choices, path, array)?,
                    _ => return None,
                }
            }
        },
        _ if choices.one_in(4) => Term::Compat,
        _ => Term::Arg,
    };
    let mut specs = Vec::new();
    for (at, layout) in layouts.iter().enumerate() {
        let array = arrays.map(|arrays| arrays[at]);
        specs.push(resolve(&term, *layout, array)?.1);
    }
    Some((term, specs))
}

/// A part of the state that calls on all of the surfaces have.
fn state_term(
    choices: &mut impl Choices,
    layouts: &[Option<Layout>],
    surfaces: &[Surface],
) -> Term {
    let sets_slot = |layout: &Option<Layout>| {
        layout.is_some_and(|layout| {
            let name = layout.command.name;
            name.starts_with("KVM_SET_USER_MEMORY_REGION")
        })
    };
    let is_one_of = |names: &[&str]| {
        let mut all = surfaces.iter();
        all.all(|surface| names.contains(&surface.name()))
    };
    let names: &[&'static str] = match () {
        () if layouts.iter().all(sets_slot) && choices.one_in(2) => &["vm.slot"],
        () if is_one_of(&["vfio-container", "iommufd"]) && choices.one_in(2) => &["file.mappings"],
        () if is_one_of(&["kvm", "kvm-vm"]) && choices.one_in(3) => {
            &["profile.vms", "profile.vcpus", "profile.memory"]
        }
        () if surfaces.iter().all(|surface| surface.name() == "kvm-vcpu") => &[
            "vcpu.ran",
            "vcpu.foreign",
            "vm.running",
            "thread.vcpu",
            "vm.vcpus",
            "did",
        ],
        () if surfaces.iter().all(|surface| is_of_a_vm(*surface)) => &[
            "vm.vcpus",
            "vm.memory",
            "vm.memslots",
            "vm.irqchip",
            "vm.running",
            "vm.type",
            "vm.irqfds",
            "vm.ioeventfds",
            "vm.zones",
            "vm.devices",
            "did",
            "did",
            "",
            "thread.traced",
        ],
        () => &["thread.vcpu", "thread.traced"],
    };
    match choices.pick(names) {
        "did" => Term::Did(choices.below(DIDS.len() as u64) as usize),
        "" => {
            let caps = schema::constants().iter();
            let caps: Vec<_> = caps
                .filter(|constant| constant.name.starts_with("KVM_CAP_"))
                .map(|constant| (constant.name, constant.value as u32))
                .collect();
            let (name, number) = choices.pick(&caps);
            Term::Cap(name, number)
        }
        name => Term::State(name),
    }
}

/// Whether a term is 1 or 0.
fn is_flag(term: &Term) -> bool {
    match term {
        Term::Compat | Term::Cap(..) | Term::Did(_) => true,
        Term::State(name) => {
            let others = [
                "vm.memory",
                "vm.slot",
                "vm.irqchip",
                "vm.type",
                "profile.memory",
            ];
            !others.contains(name) && !COUNTED.contains(name)
        }
        _ => false,
    }
}

fn comparison(
    choices: &mut impl Choices,
    layouts: &[Option<Layout>],
    surfaces: &[Surface],
    arrays: Option<&[&'static Array]>,
) -> Option<Comparison> {
    let (first, mut specs) = term(choices, layouts, surfaces, arrays)?;
    let may_be_added = |term: &Term, specs: &[Spec]| {
        !is_flag(term)
            && !matches!(term, Term::State("vm.irqchip"))
            && specs.iter().all(|spec| spec.least == 0)
    };
    let mut terms = vec![first];
    if may_be_added(&terms[0], &specs) && choices.one_in(4) {
        for _ in 0..=choices.below(3) {
            if choices.one_in(3) {
                let number = match choices.below(3) {
                    0 => u64::MAX - choices.below(3),
                    1 => choices.below(5000),
                    _ => choices.number(),
                };
                let at = choices.below(terms.len() as u64 + 1) as usize;
                terms.insert(at, Term::Number(number));
            } else if let Some((more, its)) = term(choices, layouts, surfaces, arrays) {
                if may_be_added(&more, &its) {
                    terms.push(more);
                }
            }
        }
    }
    let is_sum = terms.len() > 1;
    let is_count = !is_sum && matches!(terms[0], Term::Count(_));
    if is_sum {
        specs = vec![Spec::new(8, false, &[])];
    }
    if let (false, Term::State("vm.irqchip")) = (is_sum, &terms[0]) {
        let (value, text) = choices.pick(&[(0, "none"), (1, "kernel"), (2, "split")]);
        let text = text.into();
        let value = Value { value, text };
        let test = match choices.below(3) {
            0 => Test::In(vec![(value.clone(), value)]),
            1 => Test::Compare("==", value),
            _ => Test::Compare("!=", value),
        };
        return Some(Comparison { terms, test });
    }
    if !is_sum && is_flag(&terms[0]) {
        let value = i128::from(choices.below(2));
        let text = value.to_string();
        let test = Test::Compare(choices.pick(&["==", "!="]), Value { value, text });
        return Some(Comparison { terms, test });
    }
    let is_signed = specs.iter().any(|spec| spec.least < 0);
    let operators: &[&'static str] = match () {
        () if is_sum => &["==", "!=", "<", "<=", ">", ">=", "aligned", "in"],
        () if is_signed || is_count => &["==", "!=", "<", "<=", ">", ">=", "in"],
        () => &[
            "==", "!=", "<", "<=", ">", ">=", "has", "any-of", "subset", "aligned", "in",
        ],
    };
    let operator = choices.pick(operators);
    if operator == "in" {
        let mut ranges = Vec::new();
        let count = match choices.below(10) {
            0 => choices.below(64),
            _ => choices.below(4),
        };
        for _ in 0..=count {
            let first = value(choices, &specs);
            let last = match choices.one_in(2) {
                true => first.clone(),
                false => value(choices, &specs),
            };
            ranges.push(match first.value <= last.value {
                true => (first, last),
                false => (last, first),
            });
        }
        let test = Test::In(ranges);
        return Some(Comparison { terms, test });
    }
    let value = match operator {
        "aligned" => {
            let greatest = specs.iter().map(|spec| spec.greatest).min()?;
            let bits = u64::from(128 - greatest.leading_zeros());
            let value = 1_i128 << choices.below(bits).max(1);
            let text = written(choices, value as u64, true);
            Value { value, text }
        }
        _ => value(choices, &specs),
    };
    // What the language refuses: conditions that never vary.
    let is_refused = specs.iter().any(|spec| match operator {
        "<" | ">=" => value.value == spec.least,
        ">" | "<=" => value.value == spec.greatest && !is_sum,
        "any-of" | "has" => value.value == 0,
        "subset" => value.value == spec.greatest,
        _ => false,
    });
    if is_refused {
        return None;
    }
    let test = Test::Compare(operator, value);
    Some(Comparison { terms, test })
}

/// A number as some people write it.
fn written(choices: &mut impl Choices, number: u64, suffixes: bool) -> String {
    let (mut number, mut suffix) = (number, "");
    if suffixes && number > 0 && choices.one_in(2) {
        for unit in ["K", "M", "G", "T"] {
            if number % 1024 == 0 {
                (number, suffix) = (number / 1024, unit);
            }
        }
    }
    match choices.below(3) {
        0 => format!("{number:#x}{suffix}"),
        1 => format!("0x{number:016X}{suffix}"),
        _ => format!("{number}{suffix}"),
    }
}

/// A constant as a number that is at most `greatest`: the bits of a negative one may be meant.
fn constant(place: u16, greatest: i128) -> (i128, &'static str) {
    let constant = &schema::constants()[usize::from(place)];
    let value = match greatest == i128::from(u64::MAX) {
        true => i128::from(constant.value),
        false => i128::from(constant.value as i64),
    };
    (value, constant.name)
}

/// A value that all of them can have.
fn value(choices: &mut impl Choices, specs: &[Spec]) -> Value {
    let least = specs.iter().map(|spec| spec.least).max().unwrap();
    let greatest = specs.iter().map(|spec| spec.greatest).min().unwrap();
    let fits = |value: i128| (least..=greatest).contains(&value);
    let constants = specs[choices.below(specs.len() as u64) as usize].constants;
    let all = schema::constants().len() as u64;
    if all > 0 && choices.one_in(3) {
        let place = match constants.is_empty() || choices.one_in(4) {
            true => choices.below(all) as u16,
            false => choices.pick(constants),
        };
        let (mut value, name) = constant(place, greatest);
        if fits(value) {
            let mut text = String::from(name);
            for _ in 0..choices.below(3) {
                if constants.is_empty() || value < 0 {
                    break;
                }
                let (more, name) = constant(choices.pick(constants), greatest);
                if more >= 0 && fits(value | more) {
                    value |= more;
                    text = format!("{text}|{name}");
                }
            }
            return Value { value, text };
        }
    }
    let value = match choices.below(8) {
        0 => least,
        1 => greatest,
        2 => greatest - i128::from(choices.below(3)),
        3 => least + i128::from(choices.below(3)),
        4 => i128::from(choices.below(10)),
        5 => 1 << choices.below(64),
        6 => i128::from(choices.number() as i64) >> choices.below(64),
        _ => i128::from(choices.number()) >> choices.below(64),
    };
    let value = match fits(value) {
        true => value,
        false => value.rem_euclid(greatest.min(1 << 64) + 1),
    };
    let text = match value < 0 {
        true => format!("-{}", written(choices, value.unsigned_abs() as u64, true)),
        false => {
            let bits = value as u64;
            match choices.below(6) {
                0 => {
                    let mask = choices.number();
                    let (one, two) = (bits & mask, bits & !mask);
                    let one = written(choices, one, true);
                    format!("{one} | {}", written(choices, two, true))
                }
                _ => written(choices, bits, true),
            }
        }
    };
    Value { value, text }
}

/// A call, and the memory of the caller.
pub fn call(
    choices: &mut impl Choices,
    policy: &Policy,
    pool: &[&'static Command],
) -> (Request, Pages) {
    let command = choices.pick(pool);
    let number = match choices.below(16) {
        0 => choices.pick(&NUMBERS),
        1 => command.number ^ (1 << choices.below(32)),
        2..=4 => command.compat_number,
        _ => command.number,
    };
    let surfaces: Vec<Surface> = command.surfaces().collect();
    let surface = match choices.one_in(16) {
        true => choices.pick(&Surface::ALL),
        false => choices.pick(&surfaces),
    };
    let mut request = Request {
        surface,
        command: number,
        arg: match choices.below(8) {
            0 => 0,
            1 => u64::MAX - choices.below(300),
            2 => choices.number() >> choices.below(64),
            _ => 0x7fff_0000_1000 + choices.below(4096),
        },
        compat: choices.one_in(3),
    };
    let mut scene = Scene {
        request,
        argument: Vec::new(),
        behind: Vec::new(),
        pointer: 0x6000_0000_0000,
        pointer_at: None,
    };
    let layout =
        known(surface, number).map(|command| Layout::of(command, request.command, request.compat));
    let whole = layout.and_then(|layout| layout.whole());
    if let (Some(layout), Some(whole)) = (layout, whole) {
        scene.lay_out(choices, layout, whole);
    }
    // What some of the rules compare with.
    let rules: Vec<&Rule> = policy
        .profiles
        .iter()
        .flat_map(|profile| &profile.rules)
        .filter(|rule| speaks_about(rule.surface, &rule.targets, &request))
        .collect();
    if !rules.is_empty() {
        for _ in 0..choices.below(3) {
            let rule = choices.pick(&rules);
            scene.aim(choices, rule, layout_for(rule, &request));
        }
    }
    scene.aim_at_limits(choices, policy, layout);
    request = scene.request;
    let mut pages = Pages::default();
    if !scene.argument.is_empty() {
        // Nothing lies beyond the last address.
        let room = u64::MAX - request.arg;
        scene
            .argument
            .truncate(room.saturating_add(1).min(1 << 30) as usize);
        if choices.one_in(16) {
            let len = choices.below(scene.argument.len() as u64 + 1);
            scene.argument.truncate(len as usize);
        }
        let end = u128::from(request.arg) + scene.argument.len() as u128;
        let pointer = u128::from(scene.pointer);
        let apart = pointer >= end || pointer + 4096 <= u128::from(request.arg);
        // Pieces that follow one another, as pages do.
        let cut = choices.below(scene.argument.len() as u64 + 1) as usize;
        let rest = scene.argument.split_off(cut);
        let middle = request.arg.wrapping_add(cut as u64);
        pages.0.push((request.arg, scene.argument));
        pages.0.push((middle, rest));
        if !scene.behind.is_empty() && apart && !choices.one_in(16) {
            pages.0.push((scene.pointer, scene.behind));
        }
        pages.0.retain(|piece| !piece.1.is_empty());
    }
    (request, pages)
}

struct Scene {
    request: Request,
    argument: Vec<u8>,
    behind: Vec<u8>,
    /// Where `behind` is.
    pointer: u64,
    /// Where the argument has the pointer to it.
    pointer_at: Option<u32>,
}

fn put(bytes: &mut [u8], offset: u32, width: u8, value: u64) {
    let offset = offset as usize;
    if let Some(place) = bytes.get_mut(offset..offset + usize::from(width)) {
        place.copy_from_slice(&value.to_le_bytes()[..usize::from(width)]);
    }
}

impl Scene {
    fn place(&mut self, place: Place, value: u64) {
        put(&mut self.argument, place.offset, place.width, value);
    }

    /// An argument such as this command has, of whatever is left in the caller's memory.
    fn lay_out(&mut self, choices: &mut impl Choices, layout: Layout, whole: &schema::Struct) {
        let inline = layout.variants().iter().map(|variant| match variant.at {
            At::Inline(base) => base + variant.size,
            At::Pointer(pointer) => pointer + 8,
        });
        let len = inline.fold(layout.size(), u32::max);
        let mut tail = 0;
        let mut count_at = None;
        for field in layout.fields() {
            let FieldKind::Array(array) = field.kind else {
                continue;
            };
            let (Len::Counted { limit, .. } | Len::Rest { limit, .. }) = array.len else {
                continue;
            };
            let count = match choices.below(64) {
                0 => u64::from(limit),
                1 => u64::from(limit) + 1,
                2 => choices.number() >> choices.below(64),
                _ => choices.below(4),
            };
            let there = (count.min(u64::from(limit)) as u32) * array.stride;
            tail = field.offset + there;
            count_at = Some(match array.len {
                Len::Counted { count: place, .. } => (place, count),
                Len::Rest { size, .. } => {
                    let said = count.wrapping_mul(u64::from(array.stride));
                    let odd = choices.below(u64::from(array.stride));
                    let said = said.wrapping_add(odd);
                    (size, said.wrapping_add(u64::from(field.offset)))
                }
                Len::Fixed(_) => unreachable!(),
            });
        }
        let len = len.max(tail) as usize;
        self.argument = match choices.below(4) {
            0 => vec![0; len],
            1 => vec![0xff; len],
            2 => (0..len).map(|at| (at % 3 == 0) as u8).collect(),
            _ => (0..len.div_ceil(8))
                .flat_map(|_| choices.number().to_le_bytes())
                .take(len)
                .collect(),
        };
        if let Some(place) = whole.sized_by {
            let said = match choices.below(4) {
                0 => choices.below(len as u64 + 1),
                1 => u64::MAX,
                _ => len as u64,
            };
            self.place(place, said);
        }
        if let Some((place, said)) = count_at {
            self.place(place, said);
        }
        for variant in layout.variants() {
            if let At::Pointer(pointer) = variant.at {
                self.pointer_at = Some(pointer);
                self.behind
                    .resize(self.behind.len().max(variant.size as usize), 0);
            }
        }
        for at in 0..self.behind.len().div_ceil(8) {
            put(&mut self.behind, at as u32 * 8, 8, choices.number());
        }
        if let Some(pointer) = self.pointer_at {
            let to = match choices.below(16) {
                0 => 0,
                1 => self.request.arg,
                2 => choices.number(),
                _ => self.pointer,
            };
            put(&mut self.argument, pointer, 8, to);
        }
        if !layout.variants().is_empty() {
            let variant = choices.below(layout.variants().len() as u64) as usize;
            self.select(choices, &layout.variants()[variant]);
        }
    }

    fn select(&mut self, choices: &mut impl Choices, variant: &Variant) {
        if !choices.one_in(8) {
            let selector = variant.selector;
            let others = choices.number() & !selector.mask;
            self.place(selector.place, selector.value | others);
        }
    }

    /// Makes the call one that some limit is about, or nearly.
    fn aim_at_limits(
        &mut self,
        choices: &mut impl Choices,
        policy: &Policy,
        layout: Option<Layout>,
    ) {
        let Some(layout) = layout.filter(|_| choices.one_in(2)) else {
            return;
        };
        let mut limits = policy.profiles.iter().flat_map(|profile| &profile.limits);
        let most = limits.find_map(|limit| match limit.what {
            Limited::Count {
                word: "memory",
                most,
                ..
            } => Some(most),
            _ => None,
        });
        for (name, value) in [
            (
                "memory_size",
                most.unwrap_or(1).wrapping_sub(choices.below(3)),
            ),
            ("flags", choices.pick(&[0, 1, 2, 4, 6])),
            ("option_id", choices.below(2)),
            ("op", choices.below(3)),
            ("val64", choices.below(2)),
        ] {
            if let Some((None, field)) = layout.find(name) {
                if let FieldKind::Value { width, .. } = field.kind {
                    put(&mut self.argument, field.offset, width, value);
                }
            }
        }
    }

    /// Makes some of a rule's conditions hold, or nearly.
    fn aim(&mut self, choices: &mut impl Choices, rule: &Rule, layout: Option<Layout>) {
        for condition in &rule.conditions {
            if choices.one_in(8) {
                continue;
            }
            match condition {
                Condition::Compare(comparison) => self.hit(choices, comparison, layout, None),
                Condition::Each(quantifier, path, inner) => {
                    let Some((variant, field)) = layout.and_then(|layout| layout.find(path)) else {
                        continue;
                    };
                    let FieldKind::Array(array) = field.kind else {
                        continue;
                    };
                    if let Some(variant) = variant {
                        self.select(choices, variant);
                    }
                    let len = match variant.map(|variant| variant.at) {
                        Some(At::Pointer(_)) => self.behind.len(),
                        _ => self.argument.len(),
                    } as u32;
                    let base = field.offset
                        + match variant.map(|variant| variant.at) {
                            Some(At::Inline(base)) => base,
                            _ => 0,
                        };
                    let there = match array.len {
                        Len::Fixed(count) => count,
                        _ => len.saturating_sub(base) / array.stride,
                    };
                    let all = *quantifier == Quantifier::All && there <= 16;
                    for index in 0..there.min(if all { 16 } else { 1 }) {
                        let index = match all {
                            true => index,
                            false => choices.below(u64::from(there)) as u32,
                        };
                        let base = base + index * array.stride;
                        for comparison in inner {
                            self.hit(choices, comparison, layout, Some((array, base, variant)));
                        }
                    }
                }
            }
        }
    }

    fn hit(
        &mut self,
        choices: &mut impl Choices,
        comparison: &Comparison,
        layout: Option<Layout>,
        element: Option<(&'static Array, u32, Option<&'static Variant>)>,
    ) {
        let wanted = match &comparison.test {
            Test::Compare(_, value) => value.value,
            Test::In(ranges) => {
                let (first, last) = &ranges[choices.below(ranges.len() as u64) as usize];
                if choices.one_in(2) {
                    first.value
                } else {
                    last.value
                }
            }
        };
        let mut wanted = wanted
            + match choices.below(4) {
                0 => i128::from(choices.below(3)) - 1,
                _ => 0,
            };
        let one = choices.below(comparison.terms.len() as u64) as usize;
        if comparison.terms.len() > 1 {
            for (index, term) in comparison.terms.iter().enumerate() {
                match term {
                    Term::Number(number) if index != one => wanted -= i128::from(*number),
                    _ => {}
                }
            }
        }
        for (index, term) in comparison.terms.iter().enumerate() {
            let value = match index == one {
                true => wanted as u64,
                false => 0,
            };
            let array = element.map(|element| element.0);
            let Some((spot, _)) = resolve(term, layout, array) else {
                continue;
            };
            match spot {
                Spot::Arg { .. } => self.request.arg = value,
                Spot::Compat | Spot::Number(_) | Spot::State(_) | Spot::Cap(_) | Spot::Did(_) => {}
                Spot::Rest {
                    size, from, stride, ..
                } => {
                    let said = value.wrapping_mul(u64::from(stride));
                    self.place(size, said.wrapping_add(u64::from(from)));
                }
                Spot::At {
                    variant,
                    offset,
                    width,
                    ..
                } => {
                    if let Some(variant) = variant {
                        self.select(choices, variant);
                    }
                    let base = element.map_or(0, |element| element.1);
                    let variant = element.map_or(variant, |element| element.2);
                    match variant.map(|variant| variant.at) {
                        Some(At::Pointer(_)) => put(&mut self.behind, base + offset, width, value),
                        Some(At::Inline(at)) if element.is_none() => {
                            put(&mut self.argument, at + offset, width, value);
                        }
                        _ => put(&mut self.argument, base + offset, width, value),
                    }
                }
            }
        }
    }
}
