// SPDX-License-Identifier: GPL-2.0

//! Loading a policy: text in, policy in force or a diagnosis out.

use crate::{
    active::{self, Active},
    heap::Heap,
    known,
    ledger::Ledger,
    sys::locks::{LEDGER, PROFILES},
    text::{Errno, Text}, //
};
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::{fmt, prelude::*};
use portcullis_policy::{check, limits, Check, Checked, Policy, Rejection, Space, StateNeed};

/// The longest text in bytes that is taken from a writer.
pub(crate) const LIMIT: usize = limits::TEXT_BYTES;

/// How the last attempt to load a policy went.
pub(crate) enum LastLoad {
    /// The policy that the module was built with.
    Builtin,
    /// A text that was written, and is in force.
    Accepted(Warnings),
    /// A text that was refused; the policy before stayed in force.
    Refused {
        /// What `write(2)` answered.
        errno: Error,
        /// Why, in lines.
        diagnosis: Text,
    },
}

impl LastLoad {
    pub(crate) const fn builtin() -> Self {
        Self::Builtin
    }
}

/// What is odd about a policy that is none the worse for it, in lines.
pub(crate) struct Warnings {
    /// How many there are; each may have several lines.
    pub(crate) count: usize,
    pub(crate) text: Text,
}

/// A policy is in force, until this is dropped.
pub(crate) struct InForce(());

impl Drop for InForce {
    fn drop(&mut self) {
        let mut ledger = LEDGER.lock();
        active::replace(&mut ledger, None);
        // A static is never dropped: what it has gathered goes now.
        *ledger = Ledger::new();
    }
}

/// Puts the policy that the module was built with in force.
pub(crate) fn builtin() -> Result<InForce> {
    let policy = crate::builtin::POLICY
        .copy_into::<Heap>()
        .map_err(|_| ENOMEM)?;
    let mut text = KVVec::new();
    text.extend_from_slice(crate::builtin::TEXT, GFP_KERNEL)?;
    let active = KBox::new(Active::new(policy, text)?, GFP_KERNEL)?;
    active::replace(&mut LEDGER.lock(), Some(active));
    Ok(InForce(()))
}

/// Puts a text in force, whole or not at all.
///
/// # Errors
///
/// `EBADMSG` if the text is not a policy, `ENOMEM` if there is no room for it. The policy before
/// stays in force, and the diagnosis is kept for `status`.
pub(crate) fn text(text: KVVec<u8>) -> Result {
    // Parsed outside the lock: a long text holds nobody up.
    let checked = check::<Heap>(&text).map_err(|rejection| diagnose(&rejection, &text))?;
    let no_memory = |error| refuse(error, fmt!("{NO_MEMORY}"));
    let warnings = warnings(&checked, &text).map_err(no_memory)?;
    let asks_profiles = asks_profiles(&checked.policy);
    let active = Active::new(checked.policy, text)
        .and_then(|active| Ok(KBox::new(active, GFP_KERNEL)?))
        .map_err(no_memory)?;
    let mut ledger = LEDGER.lock();
    // Nobody sums up by it before it is known what there is.
    let summing = asks_profiles.then(|| PROFILES.lock());
    active::replace(&mut ledger, Some(active));
    if let Some(summing) = summing {
        known::take_stock(&summing);
    }
    pr_notice!("policy loaded, revision {}\n", ledger.revision);
    for line in warnings.text.lines() {
        pr_warn!("{}\n", line);
    }
    ledger.last = LastLoad::Accepted(warnings);
    Ok(())
}

/// Whether a rule looks at what the VMs of a profile have together.
fn asks_profiles(policy: &Policy<Heap>) -> bool {
    let mut reads = policy
        .needs
        .iter()
        .flat_map(|need| [&need.native, &need.compat]);
    reads.any(|reads| reads.state.has(StateNeed::PROFILE))
}

/// Says of a text what loading it would say, and loads nothing.
///
/// # Errors
///
/// `ENOMEM` if there is no memory to find out.
pub(crate) fn try_text(text: KVVec<u8>) -> Result<Text> {
    let mut answer = Text::new();
    match check::<Heap>(&text) {
        Ok(checked) => {
            answer.put(fmt!("ok\n"))?;
            answer.push(warnings(&checked, &text)?.text.as_bytes())?;
        }
        Err(Rejection::OutOfMemory) => return Err(ENOMEM),
        Err(Rejection::Mistakes(mistakes)) => {
            answer.put(format_args!("{}", mistakes.report(&text)))?;
        }
    }
    Ok(answer)
}

/// What the engine finds odd.
fn warnings(checked: &Checked<Heap>, text: &[u8]) -> Result<Warnings> {
    let warnings = &checked.warnings;
    let mut found = Warnings {
        count: warnings.list.len(),
        text: Text::new(),
    };
    // CAST: 32 bits fit.
    found.count = found.count.saturating_add(warnings.more as usize);
    found.text.put(format_args!("{}", warnings.report(text)))?;
    let policy = &checked.policy;
    let looks = |check: &Check| check.space == Space::Argument;
    let has_fields = policy.checks.iter().any(looks) || !policy.conditions.is_empty();
    if cfg!(portcullis_unsealed) && has_fields {
        found.count = found.count.saturating_add(1);
        found.text.put(fmt!(
            "warning: this module was built without sealing: another thread can change the fields that \
             these rules look at behind the verdict\n"
        ))?;
    }
    Ok(found)
}

const NO_MEMORY: &str = "there is no memory for this policy\n";

/// Keeps and prints the diagnosis of a text.
fn diagnose(rejection: &Rejection<Heap>, text: &[u8]) -> Error {
    match rejection {
        Rejection::OutOfMemory => refuse(ENOMEM, fmt!("{NO_MEMORY}")),
        Rejection::Mistakes(mistakes) => refuse(EBADMSG, format_args!("{}", mistakes.report(text))),
    }
}

/// Keeps a refusal for `status` and prints it; returns the errno.
fn refuse(errno: Error, why: fmt::Arguments<'_>) -> Error {
    let mut diagnosis = Text::new();
    // Without memory for the diagnosis the refusal stands all the same.
    let _ = diagnosis.put(why);
    pr_warn!("policy refused ({}), the one before stays:\n", Errno(errno));
    for line in diagnosis.lines() {
        pr_warn!("{}\n", line);
    }
    LEDGER.lock().last = LastLoad::Refused { errno, diagnosis };
    errno
}

/// Keeps a write that was refused before its text was read.
pub(crate) fn refused_write(errno: Error, why: fmt::Arguments<'_>) {
    if errno != EPERM {
        refuse(errno, fmt!("{why}\n"));
        return;
    }
    // Somebody who may not load must not be able to fill the log or to overwrite the last
    // diagnosis: of many such tries the 1st, 2nd, 4th, 8th, … is printed.
    static TRIES: AtomicU64 = AtomicU64::new(0);
    let tries = TRIES.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    if tries.is_power_of_two() {
        pr_warn!("a write was refused (EPERM), try {}: {}\n", tries, why);
    }
}

/// Keeps nothing of a write that was refused before its text was read: it would have changed nothing.
pub(crate) fn refused_try(errno: Error, why: fmt::Arguments<'_>) {
    if errno == EPERM {
        refused_write(errno, why);
    }
}

/// Takes the mode: `0` or `1`, with or without a newline.
///
/// # Errors
///
/// `EINVAL` for anything else.
pub(crate) fn mode(value: KVVec<u8>) -> Result {
    match value.strip_suffix(b"\n").unwrap_or(&value) {
        b"0" => active::set_enforcing(false),
        b"1" => active::set_enforcing(true),
        _ => {
            refused_mode(
                EINVAL,
                fmt!("enforce takes 0 (permissive) or 1 (enforcing)"),
            );
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// Prints why a mode was refused.
pub(crate) fn refused_mode(errno: Error, why: fmt::Arguments<'_>) {
    if errno == EPERM {
        refused_write(errno, why);
    } else {
        pr_warn!("mode refused ({}): {}\n", Errno(errno), why);
    }
}
