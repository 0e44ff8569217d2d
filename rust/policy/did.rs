// SPDX-License-Identifier: GPL-2.0

//! `vm.did(NAME)`: which commands have succeeded on a VM.
//!
//! NAME is a command of a VM, its vCPUs or devices, or a variant of one: `KVM_SEV_SNP_LAUNCH_FINISH` is
//! a `KVM_MEMORY_ENCRYPT_OP`. SEV and TDX number their variants alike, and a VM is of one kind alone: two
//! names of one number are the same.

use crate::diagnosis::{Fault, Mistake};
use crate::fetch::{selects, Bytes};
use crate::lexer::{Lexer, Sign, Token, TokenKind};
use crate::parser::{expected, Parser};
use crate::schema::{self, Argument, Command, Field, Selector};
use crate::state::Scope;
use crate::{limits, Expected, Grow, Kind, Policy, Request, Storage, Surface};

/// A command that a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Did {
    /// The command: its place in [`schema::commands`].
    pub command: u16,
    /// Which variant, if not any.
    pub variant: Option<Selector>,
}

/// What was done, whatever policy asked for it: what is kept of a VM outlives the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DidKey {
    command: u16,
    variant: Option<u64>,
}

impl DidKey {
    /// A number that no other has, and that is not 0.
    pub const fn bits(self) -> u64 {
        let command = ((self.command as u64) << 40) | (1 << 63);
        match self.variant {
            // The variants of a command have numbers of 32 bits.
            Some(variant) => command | (1 << 32) | (variant & 0xffff_ffff),
            None => command,
        }
    }
}

impl Did {
    /// What has this name, which is not `KVM_RUN`.
    pub fn from_name(name: &str) -> Option<Self> {
        match schema::command(name) {
            Some(command) if can_be_asked_for(command) => Some(Self {
                command: schema::index_of(command)?,
                variant: None,
            }),
            Some(_) => None,
            None => variant(name),
        }
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let commands = schema::commands().iter().filter(|it| can_be_asked_for(it));
        commands.flat_map(|command| {
            let told_by = told_by(command);
            let constants = told_by.map_or(&[][..], |(_, field)| field.constants);
            let all = schema::constants();
            let at = move |place: &u16| all.get(usize::from(*place));
            let variants = constants.iter().filter_map(at);
            core::iter::once(command.name).chain(variants.map(|variant| variant.name))
        })
    }

    /// What stays the same from policy to policy.
    pub fn key(&self) -> DidKey {
        DidKey {
            command: self.command,
            variant: self.variant.map(|variant| variant.value),
        }
    }

    /// The command.
    pub fn command(&self) -> Option<&'static Command> {
        schema::commands().get(usize::from(self.command))
    }

    fn is_by(&self, request: &Request, bytes: Bytes<'_>) -> bool {
        let is_it = self.command().is_some_and(|command| {
            command.has_number(request.command) && command.is_on(request.surface)
        });
        is_it
            && Scope::Vm.has(request.surface)
            && self
                .variant
                .is_none_or(|variant| selects(&variant, bytes.argument))
    }
}

impl<S: Storage> Policy<S> {
    /// What a call has done for [`Self::dids`] if it succeeds: places there, and what to keep. `bytes`
    /// are those that it was judged by.
    pub fn dids_of<'a>(
        &'a self,
        request: &'a Request,
        bytes: Bytes<'a>,
    ) -> impl Iterator<Item = (usize, DidKey)> + 'a {
        let all = self.dids.iter().enumerate();
        all.filter(move |(_, did)| did.is_by(request, bytes))
            .map(|(place, did)| (place, did.key()))
    }
}

/// `(NAME)` behind `vm.did`.
pub(crate) fn did(lexer: &mut Lexer<'_>) -> Result<Did, Fault> {
    let open = lexer.next();
    if open.kind != TokenKind::Sign(Sign::OpenParenthesis) {
        return Err(expected(open, Expected::Did));
    }
    let token = lexer.next();
    let did = named(token, lexer.str(token))?;
    let close = lexer.next();
    if close.kind != TokenKind::Sign(Sign::CloseParenthesis) {
        return Err(expected(close, Expected::CloseParenthesis));
    }
    Ok(did)
}

fn named(token: Token, name: &str) -> Result<Did, Fault> {
    let mistake = |kind| Err(Mistake::new(token.span, kind).into());
    if token.kind != TokenKind::Word || crate::number::is_meant(name) {
        return Err(expected(token, Expected::DidName));
    }
    if name == "KVM_RUN" {
        return mistake(Kind::DidRun);
    }
    match Did::from_name(name) {
        Some(did) => Ok(did),
        None if schema::command(name).is_some() => mistake(Kind::DidElsewhere),
        None => mistake(Kind::UnknownDid),
    }
}

/// The variant of that name: a value of the field that a command's variants are told by.
fn variant(name: &str) -> Option<Did> {
    let (constant, value) = schema::constant(name)?;
    let commands = (0..).zip(schema::commands());
    let name = schema::constants().get(usize::from(constant))?.name;
    let mut variants = commands.filter_map(|(command, it)| {
        let (selector, field) = told_by(it)?;
        let is_it = field.constants.contains(&constant) && value & selector.mask == value;
        is_it.then_some(Did {
            command,
            variant: Some(Selector {
                value,
                constant: name,
                ..selector
            }),
        })
    });
    variants.next()
}

/// Whether it is a command of a VM or a part of one. `KVM_RUN` is called too often to be noted.
fn can_be_asked_for(command: &Command) -> bool {
    let mut surfaces = command.surfaces();
    command.name != "KVM_RUN" && surfaces.any(|surface| Scope::Vm.has(surface))
}

/// What the variants of such a command are told by.
fn told_by(command: &Command) -> Option<(Selector, &'static Field)> {
    let Argument::Struct(found) = command.argument else {
        return None;
    };
    let first = found
        .variants
        .first()
        .filter(|_| can_be_asked_for(command))?;
    let selector = first.selector;
    let is_it = |field: &&Field| field.offset == selector.place.offset;
    Some((selector, found.fields.iter().find(is_it)?))
}

impl<S: Grow> Parser<'_, S> {
    /// The place in [`Policy::dids`] of what is asked for.
    pub(crate) fn place_of_did(&mut self, did: Did, at: Token) -> Result<u32, Fault> {
        let known = self.draft.dids.iter();
        let place = known.clone().position(|other| other.key() == did.key());
        if place.is_none() && self.draft.dids.len() >= limits::DIDS {
            return Err(Mistake::new(at.span, Kind::TooManyDids).into());
        }
        let place = match place {
            Some(place) => place,
            None => {
                S::push(&mut self.draft.dids, did)?;
                self.draft.dids.len() - 1
            }
        };
        Ok(crate::span::saturated(place))
    }
}

/// The command, if it or a variant of it is asked for.
pub(crate) fn asked_for(dids: &[Did], surface: Surface, number: u32) -> Option<&'static Command> {
    dids.iter()
        .filter_map(Did::command)
        .find(|command| command.has_number(number) && command.is_on(surface))
        .filter(|_| Scope::Vm.has(surface))
}
