// SPDX-License-Identifier: GPL-2.0

//! The policy engine of Portcullis: text in, verdicts out, nothing of the kernel in between.
//!
//! A text walks through this crate from left to right:
//!
//! ```text
//! text.rs -> lexer.rs -> parser.rs, profile.rs, rule.rs, limit.rs -> condition.rs, operand.rs, value.rs -> compile.rs, need.rs -> table.rs
//!               mistakes -> diagnosis.rs -> message.rs, excerpt.rs
//! a caller -> caller.rs, glob.rs (its profile, once); its VM -> state.rs, did.rs
//! a call -> fetch.rs (what must be read of its argument) -> evaluate.rs (the verdict),
//!     noted.rs (what it changes, if it succeeds)
//! ```
//!
//! One source serves the kernel module (Kbuild) and host programs (Cargo). There is no allocator
//! here: whoever calls [`parse`] brings a [`Storage`]. No text may make the engine panic, recurse
//! or work longer than its size and the [`limits`] allow.

// Kbuild says `no_std` of every crate of a module by itself.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, rust_2018_idioms)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod caller;
mod compile;
mod condition;
mod diagnosis;
mod did;
mod evaluate;
mod excerpt;
mod fetch;
mod glob;
#[cfg(any(test, feature = "std"))]
mod heap;
mod lexer;
mod limit;
pub mod limits;
mod message;
mod need;
mod noted;
mod number;
mod operand;
mod parser;
mod profile;
mod rule;
pub mod schema;
#[cfg(any(test, CONFIG_KUNIT))]
pub mod selftest;
mod sort;
mod span;
pub mod state;
mod storage;
mod suggest;
mod table;
mod text;
mod value;
mod whole;
mod wording;

pub use caller::{By, Caller, ProfileId};
pub use diagnosis::{Diagnoses, Diagnosis, Expected, Kind, Rejection};
pub use did::{Did, DidKey};
pub use evaluate::{Decision, Plain, Request, Verdict};
pub use excerpt::{Excerpt, Report};
pub use fetch::{Buffer, Bytes, Fetched, Memory, Piece, Unread, PADDING};
#[cfg(any(test, feature = "std"))]
pub use heap::Heap;
pub use limit::Quantity;
pub use message::Message;
pub use noted::{effect, growth, slot_named, Effect, Growth, Iova};
pub use parser::{check, parse, Checked};
pub use schema::Surface;
pub use sort::sort;
pub use span::Span;
pub use state::{Irqchip, State, StateNeed};
pub use storage::{Grow, InList, OutOfMemory, Static, Storage};
pub use suggest::nearest;
pub use table::{
    Action, Behind, Bucket, Check, Condition, Conditions, Elements, Entry, FieldAt, Follow, Head,
    Link, Match, Need, Phase, Policy, Profile, Quantifier, Range, Rate, Reads, Rule, Section,
    Shortcut, Space, Tail, Target, Term, Test, Tests, Within,
};
pub use whole::{Complete, Part, Whole, WHOLE_BYTES};
