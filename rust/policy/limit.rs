// SPDX-License-Identifier: GPL-2.0

//! Limits: `limit WHAT COUNT [per profile] ...` and `limit [SURFACE] COMMAND, ... COUNT/s ...`, both with
//! `[errno NAME] [reason "TEXT"]`.
//!
//! Each becomes a rule that denies the calls which would go beyond it, in front of all rules of its
//! profile.

use crate::compile::{Read, Turn};
use crate::diagnosis::{Fault, Mistake};
use crate::lexer::{Lexer, Token, TokenKind};
use crate::parser::{expected, Parser};
use crate::rule::{self, Layout};
use crate::schema::notation::constant;
use crate::schema::{self, Argument, Command, FieldKind};
use crate::state::{self, EXCEEDED};
use crate::{
    limits, number, Action, Check, Condition, Conditions, Expected, FieldAt, Grow, Kind, Rate,
    Rule, Space, Span, Surface, Term, Test, Tests,
};

const ENOMEM: u16 = 12;
const EAGAIN: u16 = 11;
const ENOSPC: u16 = 28;

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// VMs of a profile.
    Vms,
    /// vCPUs.
    Vcpus,
    /// Bytes in memory slots.
    Memory,
    /// Memory slots.
    Memslots,
    /// Interrupts that are bound to eventfds.
    Irqfds,
    /// Addresses that are.
    Ioeventfds,
    /// Zones of coalesced MMIO and ports.
    Zones,
    /// Devices in the kernel.
    Devices,
    /// DMA mappings of a file.
    Mappings,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Vms,
        Self::Vcpus,
        Self::Memory,
        Self::Memslots,
        Self::Irqfds,
        Self::Ioeventfds,
        Self::Zones,
        Self::Devices,
        Self::Mappings,
    ];

    /// Its word in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vms => "vms",
            Self::Vcpus => "vcpus",
            Self::Memory => "memory",
            Self::Memslots => "memslots",
            Self::Irqfds => "irqfds",
            Self::Ioeventfds => "ioeventfds",
            Self::Zones => "zones",
            Self::Devices => "devices",
            Self::Mappings => "mappings",
        }
    }

    /// What of the state says how many there are.
    const fn counted_by(self, whole_profile: bool) -> Option<&'static str> {
        Some(match (self, whole_profile) {
            (Self::Vms, false) => "profile.vms",
            (Self::Vcpus, false) => "vm.vcpus",
            (Self::Vcpus, true) => "profile.vcpus",
            (Self::Memory, false) => "vm.memory",
            (Self::Memory, true) => "profile.memory",
            (Self::Memslots, false) => "vm.memslots",
            (Self::Irqfds, false) => "vm.irqfds",
            (Self::Ioeventfds, false) => "vm.ioeventfds",
            (Self::Zones, false) => "vm.zones",
            (Self::Devices, false) => "vm.devices",
            (Self::Mappings, false) => "file.mappings",
            (_, true) => return None,
        })
    }

    /// The calls that make more of it, if they succeed.
    const fn made_by(self) -> &'static [(Surface, &'static str)] {
        use Surface::{Iommufd, Kvm, KvmVm, VfioContainer};
        match self {
            Self::Vms => &[(Kvm, "KVM_CREATE_VM")],
            Self::Vcpus => &[(KvmVm, "KVM_CREATE_VCPU")],
            Self::Memory | Self::Memslots => &[
                (KvmVm, "KVM_SET_USER_MEMORY_REGION"),
                (KvmVm, "KVM_SET_USER_MEMORY_REGION2"),
            ],
            Self::Irqfds => &[(KvmVm, "KVM_IRQFD")],
            Self::Ioeventfds => &[(KvmVm, "KVM_IOEVENTFD")],
            Self::Zones => &[(KvmVm, "KVM_REGISTER_COALESCED_MMIO")],
            Self::Devices => &[(KvmVm, "KVM_CREATE_DEVICE")],
            Self::Mappings => &[
                (VfioContainer, "VFIO_IOMMU_MAP_DMA"),
                (Iommufd, "IOMMU_IOAS_MAP"),
                (Iommufd, "IOMMU_IOAS_MAP_FILE"),
            ],
        }
    }

    /// The calls that a limit of it refuses however little there is: by them, or after them, there can
    /// be more of it than is counted.
    const fn escaped_by(self) -> &'static [Escape] {
        const MAPPINGS: &[Escape] = &[
            // One for each that lies in the range, however many those are. C: `iopt_get_pages()`
            Escape::new(Surface::Iommufd, "IOMMU_IOAS_COPY", &[]),
            // What VFIO's commands map and unmap would lie in another space, and they do not say in which.
            Escape::new(
                Surface::Iommufd,
                "IOMMU_VFIO_IOAS",
                &[("op", Test::NotEqual(constant("IOMMU_VFIO_IOAS_GET")))],
            ),
            // Without large pages, VFIO_IOMMU_UNMAP_DMA cuts one mapping into several. C: `iopt_cut_iova()`
            Escape::new(
                Surface::Iommufd,
                "IOMMU_OPTION",
                &[
                    (
                        "option_id",
                        Test::Equal(constant("IOMMU_OPTION_HUGE_PAGES")),
                    ),
                    ("op", Test::NotEqual(constant("IOMMU_OPTION_OP_GET"))),
                    ("val64", Test::Equal(0)),
                ],
            ),
            // Version 1 does that to iommufd, and lets VFIO itself say that it has unmapped what it has not.
            // C: `iommufd_vfio_set_iommu()`, `vfio_dma_do_unmap()`
            Escape::new(
                Surface::VfioContainer,
                "VFIO_SET_IOMMU",
                &[("arg", Test::Equal(constant("VFIO_TYPE1_IOMMU")))],
            ),
        ];
        match self {
            Self::Mappings => MAPPINGS,
            _ => &[],
        }
    }

    /// Whether a limit of it refuses some calls of a command.
    pub fn limits(self, command: &Command) -> bool {
        let mut makers = self.made_by().iter();
        let mut escapes = self.escaped_by().iter();
        makers.any(|(_, maker)| *maker == command.name)
            || escapes.any(|escape| escape.command == command.name)
    }

    /// A bit of the argument that makes such a call do something else.
    const fn unless(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Irqfds => Some(("flags", "KVM_IRQFD_FLAG_DEASSIGN")),
            Self::Ioeventfds => Some(("flags", "KVM_IOEVENTFD_FLAG_DEASSIGN")),
            Self::Devices => Some(("flags", "KVM_CREATE_DEVICE_TEST")),
            _ => None,
        }
    }

    /// What the kernel answers where it has no room for more of it.
    const fn errno(self) -> u16 {
        match self {
            Self::Memory => ENOMEM,
            _ => ENOSPC,
        }
    }
}

/// A call that would let there be more of something than is counted.
struct Escape {
    surface: Surface,
    command: &'static str,
    /// What makes it one: all of this holds of its argument.
    when: &'static [(&'static str, Test)],
}

impl Escape {
    const fn new(
        surface: Surface,
        command: &'static str,
        when: &'static [(&'static str, Test)],
    ) -> Self {
        Self {
            surface,
            command,
            when,
        }
    }
}

impl<'t, S: Grow> Parser<'t, S> {
    /// A `limit` line, behind that word.
    pub(crate) fn limit(&mut self, lexer: &mut Lexer<'t>, first: Token) -> Result<(), Fault> {
        self.inside_profile(first)?;
        if self.draft.rules.len() >= limits::RULES {
            return Err(Mistake::new(first.span, Kind::TooManyRules).into());
        }
        let word = lexer.peek();
        let mut all = Quantity::ALL.into_iter();
        let quantity = all.find(|quantity| quantity.name() == lexer.str(word));
        let is_counted = quantity.is_some();
        let mut errno = match quantity {
            Some(quantity) => self.quantity(lexer, quantity)?,
            None => self.rate(lexer)?,
        };
        let mut reason = Span::default();
        let mut done = 0;
        loop {
            let token = lexer.next();
            let part = match (token.kind, lexer.str(token)) {
                (TokenKind::End, _) => break,
                (_, "errno") => 1,
                (_, "reason") => 2,
                (_, "per") if done == 0 && !is_counted => {
                    return Err(Mistake::new(token.span, Kind::RatePerProfile).into())
                }
                (_, "while" | "if") => {
                    return Err(Mistake::new(token.span, Kind::LimitWithCondition).into())
                }
                _ => {
                    return Err(expected(
                        token,
                        match done {
                            0 => Expected::AfterLimit,
                            1 => Expected::AfterErrno,
                            _ => Expected::LineEnd,
                        },
                    ))
                }
            };
            if part <= done {
                let kind = match part == done {
                    true => Kind::PartAgain,
                    false => Kind::PartOrder,
                };
                return Err(Mistake::new(token.span, kind).into());
            }
            done = part;
            match part {
                1 => errno = rule::errno(lexer)?,
                _ => reason = rule::reason(lexer)?,
            }
        }
        let rule = Rule {
            action: Action::Deny { errno },
            line: self.line(),
            is_conditional: true,
            reason,
            is_default: false,
            is_limit: true,
            profile: self.profile_id(),
        };
        Ok(S::push(&mut self.draft.rules, rule)?)
    }

    /// `WHAT COUNT [per profile]`; returns the errno that suits.
    fn quantity(&mut self, lexer: &mut Lexer<'t>, quantity: Quantity) -> Result<u16, Fault> {
        let word = lexer.next();
        let token = lexer.next();
        let mistake = |at: Token, kind| Err(Mistake::new(at.span, kind).into());
        let text = lexer.str(token);
        let most = match token.kind {
            TokenKind::Word if number::is_meant(text) => match number::parse(text) {
                Ok(0) => return mistake(token, Kind::LimitOfNothing),
                Ok(most) => most,
                Err(kind) => return mistake(token, kind),
            },
            _ => return Err(expected(token, Expected::Count)),
        };
        let next = lexer.peek();
        let mut whole_profile = false;
        if lexer.str(next) == "per" {
            lexer.next();
            let token = lexer.next();
            if lexer.str(token) != "profile" {
                return Err(expected(token, Expected::Profile));
            }
            whole_profile = true;
        } else if lexer.str(next) == "/" {
            return mistake(next, Kind::RateOfQuantity { quantity });
        }
        let field = quantity.counted_by(whole_profile).and_then(state::named);
        let Some(field) = field else {
            let at = next.span.up_to(lexer.last());
            return Err(Mistake::new(at, Kind::NotPerProfile { quantity }).into());
        };
        if field.width < 8 && most > u64::from(u32::MAX) {
            return mistake(token, Kind::LimitTooLarge);
        }
        let line = self.line();
        let seen = self.open.as_mut();
        let seen = seen.and_then(|open| open.limited.get_mut(quantity as usize));
        let seen = seen.and_then(|lines| lines.get_mut(usize::from(whole_profile)));
        if let Some(line) = seen.and_then(|seen| seen.replace(line)) {
            return mistake(word, Kind::LimitAgain { line });
        }
        let counted = FieldAt::new(Space::State, field.offset, field.width, false);
        let turn = Turn::of_limit(self.next_rule());
        for &(surface, name) in quantity.made_by() {
            // A test sees to it that the schema has them.
            let Some(command) = schema::command(name) else {
                continue;
            };
            let pairs = self.draft.pairs.len();
            self.known(word, turn, surface, command)?;
            let tests = self.beyond(word.span, quantity, command, counted, most)?;
            self.set_tests(pairs, tests)?;
        }
        self.no_escape(word, turn, quantity)?;
        Ok(quantity.errno())
    }

    /// The limit refuses what leads around it as well.
    fn no_escape(&mut self, word: Token, turn: Turn, quantity: Quantity) -> Result<(), Fault> {
        for escape in quantity.escaped_by() {
            // A test sees to it that the schema has them.
            let Some(command) = schema::command(escape.command) else {
                continue;
            };
            let (pairs, checks) = (self.draft.pairs.len(), self.draft.checks.len());
            self.known(word, turn, escape.surface, command)?;
            for &(name, test) in escape.when {
                if let Some(field) = field(command, name) {
                    self.check_that(word.span, field, test)?;
                }
            }
            let tests = Tests {
                checks: Span::between(checks, self.draft.checks.len()),
                others: Span::default(),
            };
            self.set_tests(pairs, tests)?;
        }
        Ok(())
    }

    /// What holds of a call of the command that would make more than so much.
    fn beyond(
        &mut self,
        at: Span,
        quantity: Quantity,
        command: &'static Command,
        counted: FieldAt,
        most: u64,
    ) -> Result<Tests, Fault> {
        let (checks, others) = (self.draft.checks.len(), self.draft.conditions.len());
        let field = |name| field(command, name);
        if let Some((name, bit)) = quantity.unless() {
            let bit = schema::constant(bit).map_or(0, |(_, bit)| bit);
            if let Some(flags) = field(name) {
                self.check_that(at, flags, Test::Subset(!bit))?;
            }
        }
        let size = field("memory_size").filter(|_| {
            // A slot that is there can be changed and deleted, but not grow. C: `kvm_set_memory_region()`
            matches!(quantity, Quantity::Memory | Quantity::Memslots)
        });
        if let Some(size) = size {
            self.check_that(at, size, Test::NotEqual(0))?;
            if let Some(slot) = state::named("vm.slot") {
                let slot = FieldAt::new(Space::State, slot.offset, slot.width, false);
                self.check_that(at, slot, Test::Equal(0))?;
            }
        }
        match size.filter(|_| quantity == Quantity::Memory) {
            Some(size) => {
                let terms = self.draft.terms.len();
                self.push_term(at, Term::Field(counted))?;
                self.push_term(at, Term::Field(size))?;
                let terms = Span::between(terms, self.draft.terms.len());
                let test = Test::Above(most);
                self.push(at, Condition::Sum { terms, test })?;
            }
            None => self.check_that(at, counted, Test::AtLeast(most))?,
        }
        Ok(Tests {
            checks: Span::between(checks, self.draft.checks.len()),
            others: Span::between(others, self.draft.conditions.len()),
        })
    }

    fn check_that(&mut self, at: Span, field: FieldAt, test: Test) -> Result<(), Fault> {
        match Check::new(field, test) {
            Some(check) => self.push_check(at, check),
            None => Ok(()),
        }
    }

    /// Gives these conditions to the pairs from `first` on.
    fn set_tests(&mut self, first: usize, tests: Tests) -> Result<(), Fault> {
        let Some(pair) = self.draft.pairs.get(first) else {
            return Ok(());
        };
        let read = Read {
            layout: Layout::of(pair),
            conditions: Conditions {
                native: tests,
                compat: tests,
            },
        };
        S::push(&mut self.draft.tests, read)?;
        let place = self.draft.tests.len() - 1;
        for pair in S::items(&mut self.draft.pairs).iter_mut().skip(first) {
            pair.set_tests(place);
        }
        Ok(())
    }

    /// `[SURFACE] COMMAND, ... COUNT/s`; returns the errno that suits.
    fn rate(&mut self, lexer: &mut Lexer<'t>) -> Result<u16, Fault> {
        let first = lexer.peek();
        let word = lexer.str(first);
        let mut ahead = *lexer;
        let run = ahead.next_run();
        let is_rate = |run: &str| number::is_meant(run) && run.contains('/');
        if first.kind == TokenKind::End || is_rate(lexer.str(run)) {
            return Err(expected(first, Expected::Limited));
        }
        let is_word = first.kind == TokenKind::Word && !number::is_meant(word);
        let is_known = Surface::from_name(word).is_some() || schema::command(word).is_some();
        if is_word && !is_known && !rule::looks_like_command(word) {
            return Err(Mistake::new(first.span, Kind::UnknownLimit).into());
        }
        let pairs = self.draft.pairs.len();
        self.commands(lexer, Turn::of_limit(self.next_rule()))?;
        let rate = rate(lexer)?;
        let profile = self.draft.profiles.last().copied();
        let begin = profile.map_or(0, |profile| crate::fetch::size(profile.rates.start));
        let place = self.draft.rates.len().saturating_sub(begin);
        if place >= limits::RATES {
            return Err(Mistake::new(first.span, Kind::TooManyRates).into());
        }
        S::push(&mut self.draft.rates, rate)?;
        let end = self.draft.rates.len();
        if let Some(profile) = S::items(&mut self.draft.profiles).last_mut() {
            profile.rates = Span::between(begin, end);
        }
        let checks = self.draft.checks.len();
        let exceeded = FieldAt::new(Space::State, EXCEEDED, 2, false);
        self.check_that(first.span, exceeded, Test::Has(1 << place))?;
        let tests = Tests {
            checks: Span::between(checks, self.draft.checks.len()),
            others: Span::default(),
        };
        self.set_tests(pairs, tests)?;
        Ok(EAGAIN)
    }
}

/// `COUNT/s` or `COUNT/min`
fn rate(lexer: &mut Lexer<'_>) -> Result<Rate, Fault> {
    let last = lexer.last();
    let token = lexer.next_run();
    let text = lexer.str(token);
    let mistake = |kind| Err(Mistake::new(token.span, kind).into());
    // What was meant to be the rate was read as the number of a command.
    if text.starts_with('/') {
        return Err(Mistake::new(last, Kind::Expected(Expected::Command)).into());
    }
    let Some((count, unit)) = text.split_once('/').filter(|_| number::is_meant(text)) else {
        return Err(expected(token, Expected::Rate));
    };
    let per_ms = match unit {
        "s" => 1000,
        "min" => 60_000,
        _ => return mistake(Kind::RateUnit),
    };
    let count = match number::parse(count) {
        Ok(0) => return mistake(Kind::LimitOfNothing),
        Ok(count) => u32::try_from(count),
        Err(kind) => return mistake(kind),
    };
    match count {
        Ok(count) => Ok(Rate { count, per_ms }),
        Err(_) => mistake(Kind::LimitTooLarge),
    }
}

/// A number in the struct that a command takes; `arg`: what it takes in the place of one.
fn field(command: &Command, name: &str) -> Option<FieldAt> {
    let found = match command.argument {
        Argument::Struct(found) => found,
        Argument::Scalar { width, .. } if name == "arg" => {
            return Some(FieldAt::new(Space::Call, Space::ARG, width, false));
        }
        _ => return None,
    };
    let field = found.fields.iter().find(|field| field.name == name)?;
    match field.kind {
        FieldKind::Value { width, signed } => {
            Some(FieldAt::new(Space::Argument, field.offset, width, signed))
        }
        _ => None,
    }
}
