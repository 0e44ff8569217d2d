// SPDX-License-Identifier: GPL-2.0

//! What a plain reading of the rules makes of a call, and what of the caller's memory it looks at.

use super::{is_of_a_vm, known, resolve, Action, Comparison, Condition, Layout, Lines, Policy};
use super::{Escape, Limited, Quantifier, Rule, Spot, Target, Term, Test, Wanted, Who, ESCAPES};
use super::{COUNTS, DIDS, NOTED};
use portcullis_policy::schema::{Array, At, FieldKind, Len, Place, Variant};
use portcullis_policy::{Irqchip, Request, State, Surface, Unread, Verdict};
use std::collections::BTreeSet;

/// The caller's memory: pieces that do not overlap.
#[derive(Clone, Debug, Default)]
pub struct Pages(pub Vec<(u64, Vec<u8>)>);

impl Pages {
    /// The bytes, if all of them can be read and none is beyond the end of all addresses.
    pub fn bytes(&self, address: u128, len: u128) -> Option<Vec<u8>> {
        if len == 0 {
            return Some(Vec::new());
        }
        let mut found = Vec::new();
        // Pieces may follow one another.
        while (found.len() as u128) < len {
            let at = address + found.len() as u128;
            let (start, piece) = self.0.iter().find(|(start, piece)| {
                u128::from(*start) <= at && at < u128::from(*start) + piece.len() as u128
            })?;
            let from = (at - u128::from(*start)) as usize;
            let missing = (len - found.len() as u128) as usize;
            found.extend(piece[from..].iter().take(missing));
        }
        (address + len <= 1 << 64).then_some(found)
    }
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Judged {
        /// The profile that spoke.
        profile: String,
        verdict: Verdict,
        /// The line of the rule that decided.
        line: u32,
        /// Whether it is the default.
        is_default: bool,
        /// Whether it is a limit.
        is_limit: bool,
        /// The lines of the `audit` rules in front of it that match.
        audits: Vec<u32>,
    },
    Unread(Unread),
}

/// And what is read for it, in pieces: address and length.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub outcome: Outcome,
    /// Those that could not be read as well.
    pub read: Vec<(u128, u128)>,
    /// What of the state of the VM is looked at.
    pub state: BTreeSet<&'static str>,
    /// The rates that the call uses up.
    pub rates: BTreeSet<usize>,
    /// Whether its success changes what is known.
    pub noted: bool,
    /// The places in [`DIDS`] of what it has done if it succeeds.
    pub did: BTreeSet<usize>,
}

/// What the rules for a call look at.
#[derive(Default)]
struct Looked {
    /// So many bytes of the argument.
    argument: u32,
    tails: Vec<(u32, &'static Array)>,
    /// What may stand behind pointers.
    behind: Vec<(u32, &'static Variant)>,
    state: BTreeSet<&'static str>,
    rates: BTreeSet<usize>,
}

impl Looked {
    fn up_to(&mut self, end: u32) {
        self.argument = self.argument.max(end);
    }

    fn at_variant(&mut self, variant: &'static Variant) {
        let place = variant.selector.place;
        self.up_to(place.offset + u32::from(place.width));
        if let At::Pointer(pointer) = variant.at {
            self.up_to(pointer + 8);
            self.behind.push((pointer, variant));
        }
    }

    fn at(&mut self, comparison: &Comparison, layout: Option<Layout>) {
        for term in &comparison.terms {
            match resolve(term, layout, None).expect("a term that is there").0 {
                Spot::Arg { .. } | Spot::Compat | Spot::Number(_) => {}
                Spot::State(name) => drop(self.state.insert(name)),
                Spot::Cap(_) => drop(self.state.insert("vm.cap")),
                Spot::Did(_) => drop(self.state.insert("vm.did")),
                Spot::At {
                    variant,
                    offset,
                    width,
                    ..
                } => {
                    if let Some(variant) = variant {
                        self.at_variant(variant);
                    }
                    match variant.map(|variant| variant.at) {
                        None => self.up_to(offset + u32::from(width)),
                        Some(At::Inline(base)) => self.up_to(base + offset + u32::from(width)),
                        Some(At::Pointer(_)) => {}
                    }
                }
                Spot::Rest { size, .. } => self.up_to(size.offset + u32::from(size.width)),
            }
        }
    }

    fn at_field(&mut self, name: &str, layout: Layout) {
        if let Some((None, field)) = layout.find(name) {
            if let FieldKind::Value { width, .. } = field.kind {
                self.up_to(field.offset + u32::from(width));
            }
        }
    }

    fn at_limit(
        &mut self,
        limit: &Limited,
        rate: usize,
        request: &Request,
        layout: Option<Layout>,
    ) {
        let Limited::Count {
            word, per_profile, ..
        } = limit
        else {
            self.state.insert("rate");
            self.rates.insert(rate);
            return;
        };
        let layout = layout.expect("a command that is known");
        if let Some((_, _, fields)) = escape(word, request) {
            for (name, _) in *fields {
                self.at_field(name, layout);
            }
            return;
        }
        self.state.insert(counted_by(word, *per_profile));
        match *word {
            "memory" | "memslots" => {
                self.state.insert("vm.slot");
                self.at_field("memory_size", layout);
            }
            "irqfds" | "ioeventfds" | "devices" => self.at_field("flags", layout),
            _ => {}
        }
    }

    fn at_array(&mut self, path: &str, layout: Layout) {
        let (variant, array, base) = array(path, layout);
        if let Some(variant) = variant {
            self.at_variant(variant);
        }
        match (array.len, variant.map(|variant| variant.at)) {
            (Len::Fixed(_), Some(At::Pointer(_))) => {}
            (Len::Fixed(count), _) => self.up_to(base + count * array.stride),
            (Len::Counted { count: place, .. } | Len::Rest { size: place, .. }, _) => {
                self.up_to(place.offset + u32::from(place.width));
                self.tails.push((base, array));
            }
        }
    }
}

/// The part of the state that says how many there are.
fn counted_by(word: &str, per_profile: bool) -> &'static str {
    match (word, per_profile) {
        ("vcpus", true) => "profile.vcpus",
        ("memory", true) => "profile.memory",
        _ => COUNTS.iter().find(|row| row.0 == word).unwrap().2,
    }
}

/// Whether a limit is about a call.
fn is_limited(limit: &Limited, request: &Request) -> bool {
    match limit {
        Limited::Rate {
            surface, targets, ..
        } => speaks_about(*surface, targets, request),
        Limited::Count { word, .. } => {
            let makers = COUNTS.iter().find(|row| row.0 == *word).unwrap().1;
            let name = known(request.surface, request.command).map(|command| command.name);
            let here = request.surface.name();
            let mut makers = makers.iter();
            makers.any(|maker| Some(maker.1) == name && maker.0 == here)
                || escape(word, request).is_some()
        }
    }
}

/// What a limit refuses of such calls always.
fn escape(word: &str, request: &Request) -> Option<&'static Escape> {
    let name = known(request.surface, request.command).map(|command| command.name);
    let here = request.surface.name();
    let mut escapes = ESCAPES.iter().filter(|_| word == "mappings");
    escapes.find(|escape| escape.0 == here && Some(escape.1) == name)
}

/// Whether a call goes beyond a limit.
fn is_beyond(limit: &Limited, rate: usize, call: &Call<'_>) -> bool {
    let Limited::Count {
        word,
        most,
        per_profile,
        ..
    } = limit
    else {
        return (call.state.exceeded >> rate) & 1 == 1;
    };
    let layout = call.layout.expect("a command that is known");
    let field = |name| match layout.find(name) {
        Some((None, field)) => match field.kind {
            FieldKind::Value { width, .. } => number(&call.memory.argument, field.offset, width),
            _ => panic!("{name} is a number"),
        },
        _ => panic!("{name} is a field"),
    };
    if let Some((_, _, fields)) = escape(word, call.request) {
        return fields.iter().all(|(name, holds)| match *name {
            "arg" => holds(call.request.arg),
            name => holds(field(name)),
        });
    }
    let there = state_of(call.state, counted_by(word, *per_profile));
    let most = i128::from(*most);
    match *word {
        // A slot that is there does not grow, and one of no size is deleted.
        "memory" | "memslots" if call.state.slot != 0 || field("memory_size") == 0 => false,
        "memory" => there + i128::from(field("memory_size")) > most,
        "irqfds" | "devices" if field("flags") & 1 != 0 => false,
        "ioeventfds" if field("flags") & 4 != 0 => false,
        _ => there >= most,
    }
}

/// The places in [`DIDS`] of what some rule asks for.
pub fn asked_for(policy: &Policy) -> BTreeSet<usize> {
    let place = |term: &Term| match term {
        Term::Did(place) => Some(*place),
        _ => None,
    };
    terms(policy).filter_map(place).collect()
}

/// Whether some rule asks for vCPUs and who runs them.
pub fn asks_for_vcpus(policy: &Policy) -> bool {
    terms(policy).any(|term| match term {
        Term::State(name) => is_about_vcpus(name),
        _ => false,
    })
}

/// Whether a part of the state is about vCPUs and who runs them.
pub fn is_about_vcpus(name: &str) -> bool {
    ["vcpu.ran", "vcpu.foreign", "thread.vcpu"].contains(&name)
}

/// What the rules compare.
fn terms(policy: &Policy) -> impl Iterator<Item = &Term> {
    let rules = policy.profiles.iter().flat_map(|profile| &profile.rules);
    let conditions = rules.flat_map(|rule| &rule.conditions);
    let comparisons = conditions.flat_map(|condition| match condition {
        Condition::Compare(comparison) => std::slice::from_ref(comparison),
        Condition::Each(_, _, inner) => inner,
    });
    comparisons.flat_map(|comparison| &comparison.terms)
}

/// An array and where it begins: in the argument, or behind the pointer.
fn array(path: &str, layout: Layout) -> (Option<&'static Variant>, &'static Array, u32) {
    let (variant, field) = layout.find(path).expect("a field that is there");
    let FieldKind::Array(array) = field.kind else {
        panic!("{path} is no array");
    };
    let base = match variant.map(|variant| variant.at) {
        Some(At::Inline(base)) => base,
        _ => 0,
    };
    (variant, array, base + field.offset)
}

/// What was read.
#[derive(Default)]
struct Memory {
    argument: Vec<u8>,
    tail: Vec<u8>,
    behind: Vec<u8>,
}

fn number(bytes: &[u8], offset: u32, width: u8) -> u64 {
    let bytes = &bytes[offset as usize..][..usize::from(width)];
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn at_place(bytes: &[u8], place: Place) -> u64 {
    number(bytes, place.offset, place.width)
}

fn is_selected(variant: &Variant, argument: &[u8]) -> bool {
    let selector = variant.selector;
    at_place(argument, selector.place) & selector.mask == selector.value
}

/// How many elements the caller says there are.
fn said(array: &Array, offset: u32, argument: &[u8]) -> u64 {
    match array.len {
        Len::Fixed(count) => u64::from(count),
        Len::Counted { count, .. } => at_place(argument, count),
        Len::Rest { size, .. } => {
            let whole = at_place(argument, size);
            if whole < u64::from(offset) {
                0
            } else {
                (whole - u64::from(offset)) / u64::from(array.stride)
            }
        }
    }
}

fn read(
    pages: &Pages,
    request: &Request,
    looked: &Looked,
    layout: Option<Layout>,
    log: &mut Vec<(u128, u128)>,
) -> Result<Memory, Unread> {
    let mut read = |address: u128, len: u128| {
        if len > 0 {
            log.push((address, len));
        }
        pages.bytes(address, len).ok_or(Unread::Fault)
    };
    let mut memory = Memory::default();
    let arg = u128::from(request.arg);
    let all = looked.argument;
    let sized_by = layout.and_then(|layout| layout.whole()?.sized_by);
    if let (true, Some(place)) = (all > 0, sized_by) {
        let head = place.offset + u32::from(place.width);
        let all = all.max(head);
        // The size itself is read whatever it says.
        let bytes = read(arg, u128::from(head))?;
        let len = u64::from(all)
            .min(at_place(&bytes, place))
            .max(u64::from(head));
        let rest = read(arg + u128::from(head), u128::from(len - u64::from(head)))?;
        memory.argument = [bytes, rest].concat();
        memory.argument.resize(all as usize, 0);
    } else {
        memory.argument = read(arg, u128::from(all))?;
    }
    for (offset, array) in &looked.tails {
        let count = said(array, *offset, &memory.argument);
        let (Len::Counted { limit, .. } | Len::Rest { limit, .. }) = array.len else {
            panic!("an array at the end has a length");
        };
        if count > u64::from(limit) {
            return Err(Unread::TooBig);
        }
    }
    // Of several at the same place the longest is read.
    let tails = looked.tails.iter().map(|(offset, array)| {
        let count = said(array, *offset, &memory.argument);
        (u128::from(count) * u128::from(array.stride), *offset)
    });
    if let Some((len, offset)) = tails.max() {
        // What lies behind the size that the caller tells is 0.
        let there = match sized_by {
            Some(place) => {
                let whole = u128::from(at_place(&memory.argument, place));
                len.min(whole.saturating_sub(u128::from(offset)))
            }
            None => len,
        };
        memory.tail = read(arg + u128::from(offset), there)?;
        memory.tail.resize(len as usize, 0);
    }
    // Of several that may be there, all of which are looked at, the longest is read.
    let there = looked
        .behind
        .iter()
        .filter(|(_, variant)| is_selected(variant, &memory.argument));
    if let Some((pointer, longest)) = there.max_by_key(|(_, variant)| variant.size) {
        let address = number(&memory.argument, *pointer, 8);
        memory.behind = read(u128::from(address), u128::from(longest.size))?;
    }
    Ok(memory)
}

fn holds(
    comparison: &Comparison,
    call: &Call<'_>,
    element: Option<(&'static Array, &[u8])>,
) -> bool {
    let mut sum = 0_i128;
    for term in &comparison.terms {
        let (spot, _) = resolve(term, call.layout, element.map(|element| element.0)).unwrap();
        sum += match spot {
            Spot::Arg { width: 4 } => i128::from(call.request.arg as u32),
            Spot::Arg { .. } => i128::from(call.request.arg),
            Spot::Compat => i128::from(call.request.compat),
            Spot::State(name) => state_of(call.state, name),
            Spot::Cap(number) => {
                let word = call.state.caps[number as usize / 64];
                i128::from((word >> (number % 64)) & 1)
            }
            Spot::Did(place) => i128::from(call.did[place]),
            Spot::Number(number) => i128::from(number),
            Spot::At {
                variant,
                offset,
                width,
                signed,
            } => {
                if variant.is_some_and(|variant| !is_selected(variant, &call.memory.argument)) {
                    return false;
                }
                let value = match (element, variant.map(|variant| variant.at)) {
                    (Some((_, bytes)), _) => number(bytes, offset, width),
                    (_, None) => number(&call.memory.argument, offset, width),
                    (_, Some(At::Inline(base))) => {
                        number(&call.memory.argument, base + offset, width)
                    }
                    (_, Some(At::Pointer(_))) => number(&call.memory.behind, offset, width),
                };
                let modulus = 1_i128 << (u32::from(width) * 8);
                match i128::from(value) {
                    value if signed && value >= modulus / 2 => value - modulus,
                    value => value,
                }
            }
            Spot::Rest {
                variant: _,
                size,
                from,
                stride,
            } => {
                let whole = i128::from(at_place(&call.memory.argument, size));
                (whole - i128::from(from)).max(0) / i128::from(stride)
            }
        };
    }
    let bit = |of: i128, n: u32| (of >> n) & 1 == 1;
    match &comparison.test {
        Test::In(ranges) => ranges
            .iter()
            .any(|(first, last)| first.value <= sum && sum <= last.value),
        Test::Compare(operator, other) => match (*operator, other.value) {
            ("==", other) => sum == other,
            ("!=", other) => sum != other,
            ("<", other) => sum < other,
            ("<=", other) => sum <= other,
            (">", other) => sum > other,
            (">=", other) => sum >= other,
            ("has", mask) => (0..64).all(|n| !bit(mask, n) || bit(sum, n)),
            ("any-of", mask) => (0..64).any(|n| bit(mask, n) && bit(sum, n)),
            ("subset", mask) => (0..64).all(|n| bit(mask, n) || !bit(sum, n)),
            ("aligned", unit) => sum % unit == 0,
            _ => unreachable!("{operator}"),
        },
    }
}

/// What a part of the state is.
fn state_of(state: &State, name: &str) -> i128 {
    match name {
        "vm.vcpus" => state.vcpus.into(),
        "vm.memslots" => state.memslots.into(),
        "vm.slot" => state.slot.into(),
        "vm.irqfds" => state.irqfds.into(),
        "vm.ioeventfds" => state.ioeventfds.into(),
        "vm.zones" => state.zones.into(),
        "vm.devices" => state.devices.into(),
        "profile.vms" => state.profile_vms.into(),
        "profile.vcpus" => state.profile_vcpus.into(),
        "profile.memory" => state.profile_memory.into(),
        "file.mappings" => state.mappings.into(),
        "vm.memory" => state.memory.into(),
        "vm.type" => state.kind.into(),
        "vm.irqchip" => match state.irqchip {
            Irqchip::None => 0,
            Irqchip::Kernel => 1,
            Irqchip::Split => 2,
        },
        "vm.running" => state.is_running.into(),
        "vcpu.ran" => state.vcpu_ran.into(),
        "vcpu.foreign" => state.vcpu_is_foreign.into(),
        "thread.vcpu" => state.thread_runs_vcpu.into(),
        "thread.traced" => state.thread_is_traced.into(),
        _ => panic!("{name}"),
    }
}

/// Whether a pattern stands for a text, as the documentation says it.
fn stands_for(pattern: &[u8], text: &[u8], is_path: bool) -> bool {
    let may = |byte: u8| !is_path || byte != b'/';
    match (pattern, text) {
        ([], []) => true,
        ([b'*', b'*', rest @ ..], _) => {
            (0..=text.len()).any(|len| stands_for(rest, &text[len..], is_path))
        }
        ([b'*', rest @ ..], _) => (0..=text.len())
            .take_while(|len| text[..*len].iter().all(|byte| may(*byte)))
            .any(|len| stands_for(rest, &text[len..], is_path)),
        ([b'?', rest @ ..], [byte, behind @ ..]) if may(*byte) => stands_for(rest, behind, is_path),
        ([one, rest @ ..], [byte, behind @ ..]) => one == byte && stands_for(rest, behind, is_path),
        _ => false,
    }
}

/// The place of the profile that speaks for a process.
pub fn profile_of(policy: &Policy, who: &Who) -> usize {
    let speaks = |profile: &super::Profile| {
        profile.matches.iter().all(|line| {
            line.values.iter().any(|value| match value {
                Wanted::Ids(first, last) => who
                    .id(line.by)
                    .is_some_and(|id| *first <= id && id <= *last),
                Wanted::Pattern(pattern) => who.text(line.by).is_some_and(|text| {
                    let is_path = ["exe", "cgroup"].contains(&line.by);
                    stands_for(pattern.as_bytes(), text.as_bytes(), is_path)
                }),
            })
        })
    };
    // Nothing matches less than `other`, which has no line that could fail.
    policy.profiles.iter().position(speaks).unwrap()
}

struct Call<'a> {
    request: &'a Request,
    state: &'a State,
    /// Whether each of [`DIDS`] was done.
    did: [bool; DIDS.len()],
    layout: Option<Layout>,
    memory: Memory,
}

fn fulfils(condition: &Condition, call: &Call<'_>) -> bool {
    let (quantifier, path, inner) = match condition {
        Condition::Compare(comparison) => return holds(comparison, call, None),
        Condition::Each(quantifier, path, inner) => (quantifier, path, inner),
    };
    let (variant, array, base) = array(path, call.layout.unwrap());
    if variant.is_some_and(|variant| !is_selected(variant, &call.memory.argument)) {
        return false;
    }
    let bytes = match (array.len, variant.map(|variant| variant.at)) {
        (Len::Fixed(_), Some(At::Pointer(_))) => &call.memory.behind[base as usize..],
        (Len::Fixed(_), _) => &call.memory.argument[base as usize..],
        _ => &call.memory.tail,
    };
    let count = said(array, base, &call.memory.argument) as usize;
    let stride = array.stride as usize;
    let matching = (0..count)
        .filter(|index| {
            let element = &bytes[index * stride..][..stride];
            inner
                .iter()
                .all(|comparison| holds(comparison, call, Some((array, element))))
        })
        .count();
    match quantifier {
        Quantifier::Any => matching > 0,
        Quantifier::All => matching == count,
        Quantifier::No => matching == 0,
    }
}

/// Whether a rule speaks about a command, said as the documentation says it.
pub fn speaks_about(surface: Option<Surface>, targets: &[Target], request: &Request) -> bool {
    if surface.is_some_and(|surface| surface != request.surface) {
        return false;
    }
    let here = known(request.surface, request.command);
    targets.iter().any(|target| match target {
        Target::Star => true,
        Target::Name(command) => here.is_some_and(|here| here.name == command.name),
        Target::Number(number, _) => match known(request.surface, *number) {
            Some(command) => here.is_some_and(|here| here.name == command.name),
            None => *number == request.command,
        },
    })
}

/// The layout by which the conditions of a rule are read for a call: those of `*` and of numbers
/// without a name know no fields.
pub fn layout_for(rule: &Rule, request: &Request) -> Option<Layout> {
    if rule
        .targets
        .iter()
        .all(|target| matches!(target, Target::Star))
    {
        return None;
    }
    let command = known(request.surface, request.command)?;
    Some(Layout::of(command, request.command, request.compat))
}

/// Whether a call comes when a rule counts.
fn is_time_for(rule: &Rule, request: &Request, state: &State) -> bool {
    match rule.phase {
        Some("setup") => !state.is_running,
        Some(_) => state.is_running && is_of_a_vm(request.surface),
        None => true,
    }
}

/// The verdict about a call.
pub fn judge(
    policy: &Policy,
    lines: &[Lines],
    request: &Request,
    pages: &Pages,
    who: &Who,
    state: &State,
    did: [bool; DIDS.len()],
) -> Judgement {
    let asked = asked_for(policy);
    let place = profile_of(policy, who);
    let (policy, lines) = (&policy.profiles[place], &lines[place]);
    let mut chain = Vec::new();
    for (rule, line) in policy.rules.iter().zip(&lines.rules) {
        if speaks_about(rule.surface, &rule.targets, request) && is_time_for(rule, request, state) {
            chain.push((rule, *line));
            if rule.conditions.is_empty() && rule.action != Action::Audit {
                break;
            }
        }
    }
    let command = known(request.surface, request.command);
    let own = command.map(|command| Layout::of(command, request.command, request.compat));
    let mut looked = Looked::default();
    // Limits come first.
    let mut rates = 0;
    let mut limits = Vec::new();
    for (limit, line) in policy.limits.iter().zip(&lines.limits) {
        if is_limited(&limit.what, request) {
            looked.at_limit(&limit.what, rates, request, own);
            limits.push((limit, rates, *line));
        }
        rates += usize::from(matches!(limit.what, Limited::Rate { .. }));
    }
    for (rule, _) in &chain {
        let layout = layout_for(rule, request);
        for condition in &rule.conditions {
            match condition {
                Condition::Compare(comparison) => looked.at(comparison, layout),
                Condition::Each(_, path, _) => looked.at_array(path, layout.unwrap()),
            }
        }
    }
    // Which slot a call sets is read where it matters.
    let names = |targets: &[Target]| {
        let mut named = targets.to_vec();
        named.retain(|target| !matches!(target, Target::Star));
        speaks_about(None, &named, request)
    };
    let is_named = chain.iter().any(|(rule, _)| names(&rule.targets))
        || limits.iter().any(|(limit, ..)| match &limit.what {
            Limited::Rate { targets, .. } => names(targets),
            Limited::Count { .. } => true,
        });
    let sets_slot = command.is_some_and(|command| {
        ["KVM_SET_USER_MEMORY_REGION", "KVM_SET_USER_MEMORY_REGION2"].contains(&command.name)
    });
    let matters = |name: &&str| *name == "vm.slot" || name.starts_with("profile.");
    if is_named && sets_slot && looked.state.iter().any(matters) {
        looked.state.insert("vm.slot");
        // Up to the end of memory_size.
        looked.up_to(24);
    }
    // What is noted is read as far as its struct goes.
    let name = command.map(|command| command.name);
    let is_did = |place: &usize| is_of_a_vm(request.surface) && Some(DIDS[*place].1) == name;
    let here = request.surface.name();
    // What is refused in any case does nothing.
    let ends =
        |(rule, _): &&(&Rule, u32)| rule.conditions.is_empty() && rule.action != Action::Audit;
    let may_be_allowed = chain.iter().any(|(rule, _)| rule.action == Action::Allow)
        || !chain.iter().any(|link| ends(&link)) && policy.default == Action::Allow;
    let noted = may_be_allowed
        && (NOTED.iter().any(|row| row.0 == here && Some(row.1) == name)
            || asked.iter().any(is_did));
    if let (true, Some(layout)) = (noted, own) {
        if !layout.fields().is_empty() {
            looked.up_to(layout.size());
        }
    }
    let mut log = Vec::new();
    let memory = match read(pages, request, &looked, own, &mut log) {
        Ok(memory) => memory,
        Err(unread) => {
            return Judgement {
                outcome: Outcome::Unread(unread),
                read: log,
                state: looked.state,
                rates: looked.rates,
                noted,
                did: BTreeSet::new(),
            }
        }
    };
    let is_noted = |place: &usize| noted && is_did(place);
    let does = asked.iter().copied().filter(is_noted).filter(|place| {
        DIDS[*place].2.is_none_or(|(field, value)| {
            let (_, field) = own.unwrap().find(field).expect("a field that is there");
            let FieldKind::Value { width, .. } = field.kind else {
                panic!("variants are told by a number");
            };
            number(&memory.argument, field.offset, width) == value
        })
    });
    let does = does.collect();
    let mut call = Call {
        request,
        state,
        did,
        layout: own,
        memory,
    };
    let mut audits = Vec::new();
    let mut decided = (policy.default, lines.default);
    let beyond = limits
        .iter()
        .find(|(limit, rate, _)| is_beyond(&limit.what, *rate, &call));
    let is_limit = beyond.is_some();
    if let Some((limit, _, line)) = beyond {
        decided = (Action::Deny(limit.errno), *line);
        chain.clear();
    }
    for (rule, line) in chain {
        call.layout = layout_for(rule, request);
        if rule
            .conditions
            .iter()
            .all(|condition| fulfils(condition, &call))
        {
            if rule.action == Action::Audit {
                audits.push(line);
            } else {
                decided = (rule.action, line);
                break;
            }
        }
    }
    let verdict = match decided.0 {
        Action::Deny(errno) => Verdict::Deny { errno },
        _ => Verdict::Allow,
    };
    Judgement {
        outcome: Outcome::Judged {
            profile: policy.name.clone(),
            verdict,
            line: decided.1,
            is_default: decided.1 == lines.default,
            is_limit,
            audits,
        },
        read: log,
        state: looked.state,
        rates: looked.rates,
        noted,
        did: does,
    }
}
