// SPDX-License-Identifier: GPL-2.0

//! Loading a policy: text in, policy in force or a diagnosis out.

use crate::{
    active::{self, Active, Ledger},
    heap::Heap,
    sys::locks::LEDGER,
    text::{Errno, Text}, //
};
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::{fmt, prelude::*};
use portcullis_policy::{limits, parse, Rejection};

/// The longest text in bytes that is taken from a writer.
pub(crate) const LIMIT: usize = limits::TEXT_BYTES;

/// How the last attempt to load a policy went.
pub(crate) enum LastLoad {
    /// The policy that the module was built with.
    Builtin,
    /// A text that was written, and is in force.
    Accepted,
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
    let policy = parse::<Heap>(&text).map_err(|rejection| diagnose(&rejection, &text))?;
    let active = Active::new(policy, text)
        .and_then(|active| Ok(KBox::new(active, GFP_KERNEL)?))
        .map_err(|error| refuse(error, fmt!("there is no memory for this policy\n")))?;
    let mut ledger = LEDGER.lock();
    active::replace(&mut ledger, Some(active));
    ledger.last = LastLoad::Accepted;
    pr_notice!("policy loaded, revision {}\n", ledger.revision);
    Ok(())
}

/// Keeps and prints the diagnosis of a text.
fn diagnose(rejection: &Rejection<Heap>, text: &[u8]) -> Error {
    match rejection {
        Rejection::OutOfMemory => refuse(ENOMEM, fmt!("there is no memory for this policy\n")),
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
