// SPDX-License-Identifier: GPL-2.0

//! The compiled table against a plain reading of the rules, on random policies and requests.
//!
//! The reference walks the rules in their order and asks each "do you speak about this command, and
//! do your conditions hold?". It shares no code with the engine: rules are drawn at random, kept
//! here as they are, and written out as text for the engine.

use portcullis_policy::{parse, schema, Heap, Rejection, Request, Surface, Verdict};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, ops::RangeInclusive};

const POLICIES: u32 = 2_000;
const REQUESTS: u32 = 100;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 8) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Values at which operators change their minds.
const VALUES: [u64; 12] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    4095,
    4096,
    1 << 32,
    u64::MAX - 1,
    u64::MAX,
];
const ERRNOS: [(&str, u16); 3] = [("EPERM", 1), ("EINVAL", 22), ("EACCES", 13)];
/// Few, so that rules and requests meet; some share their low byte with commands of the schema.
const NUMBERS: [u32; 6] = [0, 0x80, 0xffff_ff80, 0x1234_5678, 0x67, u32::MAX];

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Allow,
    Deny(u16),
    Audit,
}

enum Command {
    Name(&'static schema::Command),
    Number(u32),
    Star,
}

enum Operator {
    Compare(&'static str, u64),
    In(Vec<RangeInclusive<u64>>),
}

struct Rule {
    action: Action,
    surface: Option<Surface>,
    commands: Vec<Command>,
    /// Whether `compat` is looked at, and the operator.
    conditions: Vec<(bool, Operator)>,
}

fn main_commands() -> Vec<&'static schema::Command> {
    let all = schema::commands().iter();
    let mut few: Vec<_> = all.filter(|command| !command.surfaces.is_empty()).collect();
    // A few of them, with all that is special: two surfaces, two numbers, a shared low byte.
    few.retain(|command| {
        matches!(
            command.name,
            "KVM_RUN"
                | "KVM_CHECK_EXTENSION"
                | "KVM_GET_TSC_KHZ"
                | "KVM_ENABLE_CAP"
                | "KVM_X86_SET_MSR_FILTER"
                | "KVM_MEMORY_ENCRYPT_OP"
                | "KVM_IRQ_LINE_STATUS"
                | "KVM_REGISTER_COALESCED_MMIO"
                | "KVM_SET_DEVICE_ATTR"
        )
    });
    assert_eq!(few.len(), 9);
    few
}

fn random_rule(random: &mut Random, names: &[&'static schema::Command]) -> Rule {
    let action = match random.below(4) {
        0 => Action::Allow,
        1 => Action::Audit,
        _ => Action::Deny(random.pick(&ERRNOS).1),
    };
    let mut surface = None;
    let mut commands = Vec::new();
    if random.one_in(5) {
        surface = Some(random.pick(&Surface::ALL));
        commands.push(Command::Star);
    } else if random.one_in(3) {
        let here = random.pick(&Surface::ALL);
        surface = Some(here);
        for _ in 0..=random.below(3) {
            let name = random.pick(names);
            commands.push(match random.below(3) {
                0 if name.surfaces.contains(&here) => Command::Name(name),
                1 => Command::Number(random.pick(&[name.number, name.compat_number])),
                _ => Command::Number(random.pick(&NUMBERS)),
            });
        }
    } else {
        for _ in 0..=random.below(3) {
            commands.push(Command::Name(random.pick(names)));
        }
    }
    let mut conditions = Vec::new();
    while random.below(3) > 0 && conditions.len() < 4 {
        conditions.push(random_condition(random));
    }
    Rule {
        action,
        surface,
        commands,
        conditions,
    }
}

fn random_condition(random: &mut Random) -> (bool, Operator) {
    if random.one_in(5) {
        let operator = random.pick(&["==", "!="]);
        return (true, Operator::Compare(operator, random.below(2)));
    }
    if random.one_in(4) {
        let mut ranges = Vec::new();
        for _ in 0..=random.below(4) {
            let (a, b) = (random.pick(&VALUES), random.pick(&VALUES));
            ranges.push(a.min(b)..=a.max(b));
        }
        return (false, Operator::In(ranges));
    }
    let operators = [
        "==", "!=", "<", "<=", ">", ">=", "has", "any-of", "subset", "aligned",
    ];
    loop {
        let (operator, value) = (random.pick(&operators), random.pick(&VALUES));
        // What the language refuses: conditions that never vary, odd alignments.
        let refused = match operator {
            "<" | "any-of" | "has" | ">=" => value == 0,
            ">" | "<=" | "subset" => value == u64::MAX,
            "aligned" => value < 2 || !value.is_power_of_two(),
            _ => false,
        };
        if !refused {
            return (false, Operator::Compare(operator, value));
        }
    }
}

fn write_rule(text: &mut String, rule: &Rule, random: &mut Random) {
    let number = |text: &mut String, value: u64, hex: bool| match hex {
        true => write!(text, "{value:#x}").unwrap(),
        false => write!(text, "{value}").unwrap(),
    };
    text.push_str(match rule.action {
        Action::Allow => "allow",
        Action::Deny(_) => "deny",
        Action::Audit => "audit",
    });
    if let Some(surface) = rule.surface {
        write!(text, " {}", surface.name()).unwrap();
    }
    for (index, command) in rule.commands.iter().enumerate() {
        text.push_str(if index == 0 { " " } else { ", " });
        match command {
            Command::Name(command) => text.push_str(command.name),
            Command::Number(value) => number(text, u64::from(*value), random.one_in(2)),
            Command::Star => text.push('*'),
        }
    }
    for (index, (compat, operator)) in rule.conditions.iter().enumerate() {
        text.push_str(if index == 0 { " if " } else { " and " });
        text.push_str(if *compat { "compat" } else { "arg" });
        match operator {
            Operator::Compare(operator, value) => {
                write!(text, " {operator} ").unwrap();
                number(text, *value, random.one_in(2));
            }
            Operator::In(ranges) => {
                text.push_str(" in {");
                for (index, range) in ranges.iter().enumerate() {
                    text.push_str(if index == 0 { "" } else { ", " });
                    number(text, *range.start(), random.one_in(2));
                    if range.start() != range.end() || random.one_in(2) {
                        text.push_str("..");
                        number(text, *range.end(), random.one_in(2));
                    }
                }
                text.push('}');
            }
        }
    }
    if let Action::Deny(errno) = rule.action {
        let name = ERRNOS.iter().find(|row| row.1 == errno).unwrap().0;
        if errno != 1 || random.one_in(2) {
            write!(text, " errno {name}").unwrap();
        }
    }
    text.push('\n');
}

/// Whether a rule speaks about a command, said as the documentation says it.
fn speaks_about(rule: &Rule, request: &Request) -> bool {
    if rule
        .surface
        .is_some_and(|surface| surface != request.surface)
    {
        return false;
    }
    let is = |command: &schema::Command| {
        command.surfaces.contains(&request.surface)
            && [command.number, command.compat_number].contains(&request.command)
    };
    rule.commands.iter().any(|command| match command {
        Command::Star => true,
        Command::Name(command) => is(command),
        Command::Number(number) => {
            let here = |command: &&schema::Command| {
                command.surfaces.contains(&request.surface)
                    && [command.number, command.compat_number].contains(number)
            };
            match schema::commands().iter().find(here) {
                Some(command) => is(command),
                None => *number == request.command,
            }
        }
    })
}

fn holds(operator: &Operator, value: u64) -> bool {
    let bit = |of: u64, n: u32| (of >> n) % 2 == 1;
    match operator {
        Operator::In(ranges) => ranges.iter().any(|range| range.contains(&value)),
        Operator::Compare(operator, other) => match *operator {
            "==" => value == *other,
            "!=" => value != *other,
            "<" => value < *other,
            "<=" => value <= *other,
            ">" => value > *other,
            ">=" => value >= *other,
            "has" => (0..64).all(|n| !bit(*other, n) || bit(value, n)),
            "any-of" => (0..64).any(|n| bit(*other, n) && bit(value, n)),
            "subset" => (0..64).all(|n| bit(*other, n) || !bit(value, n)),
            "aligned" => value % other == 0,
            _ => unreachable!(),
        },
    }
}

/// The verdict, the line that decides, and the lines that report.
fn reference(rules: &[Rule], default: Action, request: &Request) -> (Verdict, u32, Vec<u32>) {
    let mut audits = Vec::new();
    let verdict = |action| match action {
        Action::Allow => Some(Verdict::Allow),
        Action::Deny(errno) => Some(Verdict::Deny { errno }),
        Action::Audit => None,
    };
    for (line, rule) in (4..).zip(rules) {
        let matches = speaks_about(rule, request)
            && rule.conditions.iter().all(|(compat, operator)| {
                let value = if *compat {
                    u64::from(request.compat)
                } else {
                    request.arg
                };
                holds(operator, value)
            });
        match verdict(rule.action) {
            _ if !matches => {}
            Some(verdict) => return (verdict, line, audits),
            None => audits.push(line),
        }
    }
    (verdict(default).unwrap(), 3, audits)
}

#[test]
fn the_table_decides_as_a_plain_reading_does() {
    let seed = match env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64
                | 1
        }
    };
    println!("SEED={seed} runs this again");
    let mut random = Random(seed);
    let names = main_commands();
    let mut denied = 0;
    for _ in 0..POLICIES {
        let default = random.pick(&[Action::Allow, Action::Deny(1), Action::Deny(13)]);
        let rules: Vec<Rule> = (0..random.below(20))
            .map(|_| random_rule(&mut random, &names))
            .collect();
        let mut text = String::from("policy random version 1\nprofile other\n");
        text.push_str(match default {
            Action::Allow => "default allow\n",
            Action::Deny(1) => "default deny\n",
            _ => "default deny errno EACCES\n",
        });
        for rule in &rules {
            write_rule(&mut text, rule, &mut random);
        }
        text.push_str("end\n");
        let policy = match parse::<Heap>(text.as_bytes()) {
            Ok(policy) => policy,
            Err(Rejection::Mistakes(diagnoses)) => {
                panic!("SEED={seed}\n{text}\n{}", diagnoses.report(text.as_bytes()))
            }
            Err(Rejection::OutOfMemory) => panic!("out of memory"),
        };
        for _ in 0..REQUESTS {
            let name = random.pick(&names);
            let command = match random.below(3) {
                0 => random.pick(&NUMBERS),
                1 => name.compat_number,
                _ => name.number,
            };
            let flipped = u64::from(random.one_in(4)) << random.below(64);
            let request = Request {
                surface: match random.one_in(2) {
                    true => random.pick(name.surfaces),
                    false => random.pick(&Surface::ALL),
                },
                command,
                arg: random.pick(&VALUES) ^ flipped,
                compat: random.one_in(2),
            };
            let expected = reference(&rules, default, &request);
            let mut audits = Vec::new();
            let head = policy.head(request.surface, request.command).unwrap();
            let decision = policy.decide(head, &request, |link| {
                audits.push(policy.rule(link).unwrap().line);
            });
            let decision = decision.unwrap();
            let line = policy.rule(decision.link).unwrap().line;
            let found = (decision.verdict, line, audits);
            assert_eq!(found, expected, "SEED={seed}\n{request:x?}\n{text}");
            if let Some(link) = policy.plain_allow(request.surface, request.command) {
                assert_eq!((link, Verdict::Allow), (decision.link, decision.verdict));
            }
            // Calls are counted under the right command.
            let target = policy.target(decision.link).unwrap();
            assert_eq!(target.surface, request.surface, "SEED={seed}");
            assert!(target
                .command
                .is_none_or(|command| command == request.command));
            denied += u32::from(decision.verdict != Verdict::Allow);
        }
    }
    let total = POLICIES * REQUESTS;
    println!("{total} requests, {denied} denied");
    assert!(
        denied > total / 10 && denied < total / 10 * 9,
        "the requests are all alike"
    );
}
