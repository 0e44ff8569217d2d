// SPDX-License-Identifier: GPL-2.0

//! What a hostile program may try on the window in which a judged argument lies.

mod devices;
pub mod fresh;
mod mapping;
mod others;
pub mod stand;

use crate::{answer::Answer, failure::Failure, sys::victim::Victim};

pub use stand::Stand;

/// What came of an attack.
pub enum Outcome {
    /// How the kernel answered: the window must be as it was.
    Answered(String),
    /// What was possible that must not be.
    Done(String),
    /// Why it could not be tried here.
    Skipped(String),
}

/// An attack by name.
pub struct Attack {
    pub name: &'static str,
    /// Whether it may be tried while a call waits for memory of this process.
    pub held: bool,
    pub run: fn(&Stand) -> Result<Outcome, Failure>,
}

pub fn all() -> impl Iterator<Item = &'static Attack> {
    [mapping::ATTACKS, others::ATTACKS, devices::ATTACKS]
        .into_iter()
        .flatten()
}

pub fn named(name: &str) -> Option<&'static Attack> {
    all().find(|attack| attack.name == name)
}

/// A call that must fail.
fn must_fail(what: &str, answer: Answer) -> Outcome {
    match answer {
        Answer::Ok(_) => Outcome::Done(format!("{what}: {answer}")),
        Answer::Errno(_) => Outcome::Answered(format!("{what}: {answer}")),
    }
}

/// A call that may succeed, as long as nothing comes of it.
fn may_succeed(what: &str, answer: Answer) -> Outcome {
    Outcome::Answered(format!("{what}: {answer}"))
}

/// The whole of a mapping, as most calls name it.
fn range(victim: Victim, rest: [u64; 4]) -> [u64; 6] {
    let [c, d, e, f] = rest;
    [victim.start, victim.size_bytes, c, d, e, f]
}
