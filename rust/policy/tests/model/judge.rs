// SPDX-License-Identifier: GPL-2.0

//! What a plain reading of the rules makes of a call, and what of the caller's memory it looks at.

use super::{is_of_a_vm, known, resolve, Action, Comparison, Condition, Layout, Lines, Policy};
use super::{Quantifier, Rule, Spot, Target, Test, Wanted, Who};
use portcullis_policy::schema::{Array, At, FieldKind, Len, Place, Variant};
use portcullis_policy::{Irqchip, Request, State, Unread, Verdict};

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
    /// Whether the state of the VM is looked at.
    pub state: bool,
}

/// What the rules for a call look at.
#[derive(Default)]
struct Looked {
    /// So many bytes of the argument.
    argument: u32,
    tails: Vec<(u32, &'static Array)>,
    /// What may stand behind pointers.
    behind: Vec<(u32, &'static Variant)>,
    state: bool,
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
                Spot::State(_) | Spot::Cap(_) => self.state = true,
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
pub fn speaks_about(rule: &Rule, request: &Request) -> bool {
    if rule
        .surface
        .is_some_and(|surface| surface != request.surface)
    {
        return false;
    }
    let here = known(request.surface, request.command);
    rule.targets.iter().any(|target| match target {
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
) -> Judgement {
    let place = profile_of(policy, who);
    let (policy, lines) = (&policy.profiles[place], &lines[place]);
    let mut chain = Vec::new();
    for (rule, line) in policy.rules.iter().zip(&lines.rules) {
        if speaks_about(rule, request) && is_time_for(rule, request, state) {
            chain.push((rule, *line));
            if rule.conditions.is_empty() && rule.action != Action::Audit {
                break;
            }
        }
    }
    let mut looked = Looked::default();
    for (rule, _) in &chain {
        let layout = layout_for(rule, request);
        for condition in &rule.conditions {
            match condition {
                Condition::Compare(comparison) => looked.at(comparison, layout),
                Condition::Each(_, path, _) => looked.at_array(path, layout.unwrap()),
            }
        }
    }
    let command = known(request.surface, request.command);
    let own = command.map(|command| Layout::of(command, request.command, request.compat));
    let mut log = Vec::new();
    let memory = match read(pages, request, &looked, own, &mut log) {
        Ok(memory) => memory,
        Err(unread) => {
            return Judgement {
                outcome: Outcome::Unread(unread),
                read: log,
                state: looked.state,
            }
        }
    };
    let mut call = Call {
        request,
        state,
        layout: None,
        memory,
    };
    let mut audits = Vec::new();
    let mut decided = (policy.default, lines.default);
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
            audits,
        },
        read: log,
        state: looked.state,
    }
}
