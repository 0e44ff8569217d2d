// SPDX-License-Identifier: GPL-2.0

//! What the files in securityfs tell.

use crate::{
    active,
    drift,
    ledger::{Count, Reading},
    life,
    load::LastLoad,
    sites::{self, State, SITES},
    sys::{digest::sha256, locks::LEDGER, registry::OBSERVERS},
    text::{Errno, Text},
    trouble::why, //
};
use kernel::{fmt, prelude::*};
use portcullis_policy::{
    schema::{self, Judged},
    Action, //
};

/// The exact text of the policy in force.
pub(crate) fn policy(out: &mut Text) -> Result {
    let ledger = LEDGER.lock();
    active::current(&ledger).map_or(Ok(()), |active| out.push(&active.text))
}

/// `0` or `1`.
pub(crate) fn enforce(out: &mut Text) -> Result {
    out.put(fmt!("{}\n", u8::from(active::is_enforcing())))
}

/// `name: value` lines; a line a site; how the last load went, and last its diagnosis.
pub(crate) fn status(out: &mut Text) -> Result {
    let (gate, _) = life::check();
    let ledger = LEDGER.lock();
    out.put(fmt!("portcullis: {}\n", env!("PORTCULLIS_VERSION")))?;
    out.put(fmt!("schema: {} commands", schema::commands().len()))?;
    names(out, "unknown to it", drift::UNKNOWN)?;
    names(out, "not in this kernel", drift::MISSING)?;
    out.put(fmt!("\n"))?;
    if let Some(active) = active::current(&ledger) {
        // Both are words of letters and digits: the parser has seen to it.
        let [name, version] = [active.policy.name, active.policy.version].map(|span| {
            let word = span.of(&active.text).unwrap_or_default();
            core::str::from_utf8(word).unwrap_or_default()
        });
        out.put(fmt!("policy: {name} version {version}\n"))?;
        if let Some(digest) = sha256(&active.text) {
            out.put(fmt!("digest: sha256:"))?;
            for byte in digest {
                out.put(fmt!("{byte:02x}"))?;
            }
            out.put(fmt!("\n"))?;
        }
    }
    out.put(fmt!("revision: {}\n", ledger.revision))?;
    out.put(fmt!("mode: {}\n", active::mode()))?;
    out.put(fmt!("gate: {gate}\n"))?;
    race_free(out)?;
    for probe in &SITES {
        let (at, surface) = (probe.at(), probe.judge().surface.name());
        out.put(fmt!(
            "site: {} module={} surface={} missed={} ",
            at.symbol,
            at.module,
            surface,
            probe.missed()
        ))?;
        match sites::state(probe) {
            State::Armed => out.put(fmt!("state=armed\n"))?,
            State::Shared => out.put(fmt!("state=shared\n"))?,
            State::Traced => out.put(fmt!("state=traced\n"))?,
            State::Disarmed => out.put(fmt!("state=disarmed\n"))?,
            State::Absent => out.put(fmt!("state=absent\n"))?,
            State::Missing => out.put(fmt!("state=absent why=\"{}\"\n", why(ENOENT)))?,
            State::Failed(error) => out.put(fmt!(
                "state=failed error={} why=\"{}\"\n",
                Errno(error),
                why(error)
            ))?,
        }
    }
    for observer in &OBSERVERS {
        out.put(fmt!(
            "observer: {} module={} missed={} ",
            observer.symbol,
            observer.module,
            observer.missed()
        ))?;
        match observer.armed() {
            Ok(true) => out.put(fmt!("state=armed\n"))?,
            Ok(false) => out.put(fmt!("state=absent\n"))?,
            Err(error) => out.put(fmt!(
                "state=failed error={} why=\"{}\"\n",
                Errno(error),
                why(error)
            ))?,
        }
    }
    match &ledger.last {
        LastLoad::Builtin => out.put(fmt!("last load: builtin\n")),
        LastLoad::Accepted(warnings) => {
            out.put(fmt!("last load: accepted"))?;
            match warnings.count {
                0 => {}
                1 => out.put(fmt!(" with 1 warning"))?,
                count => out.put(fmt!(" with {count} warnings"))?,
            }
            out.put(fmt!("\n"))?;
            out.push(warnings.text.as_bytes())
        }
        LastLoad::Refused { errno, diagnosis } => {
            out.put(fmt!("last load: refused with {}\n", Errno(*errno)))?;
            out.push(diagnosis.as_bytes())
        }
    }
}

/// A line about what the verdicts on the commands of guarded surfaces rest on: `schema` tells it of
/// each.
fn race_free(out: &mut Text) -> Result {
    let live = || {
        schema::commands()
            .iter()
            .filter(|command| command.surfaces().any(sites::guards))
            .filter_map(schema::Command::judged)
    };
    let count = |wanted| live().filter(|judged| *judged == wanted).count();
    let [command, scalar, sealed] = [Judged::Command, Judged::Scalar, Judged::Sealed]
        .map(|judged| (judged.name(), count(judged)));
    out.put(fmt!("judged on: "))?;
    for (name, count) in [command, scalar] {
        out.put(fmt!("{name} {count}, "))?;
    }
    let (name, count) = sealed;
    if cfg!(portcullis_unsealed) {
        out.put(fmt!(
            "at entry only {count} (this module was built without sealing)\n"
        ))
    } else {
        out.put(fmt!("{name} {count}, at entry only 0\n"))
    }
}

/// A line a command that was seen, a line about each thing that happens when arguments are read, and
/// one about the gate, since the module was loaded; then a line a rule, since its policy was loaded.
pub(crate) fn counters(out: &mut Text) -> Result {
    let (_, life) = life::check();
    let ledger = LEDGER.lock();
    let Some(active) = active::current(&ledger) else {
        return Ok(());
    };
    let policy = &active.policy;
    let mut commands = KVVec::from_elem(Count::default(), policy.targets.len(), GFP_KERNEL)?;
    let mut rules = KVVec::from_elem(Count::default(), policy.rules.len(), GFP_KERNEL)?;
    for (link, count) in active.links() {
        let Some(rule) = policy.rules.get(usize::from(link.rule)) else {
            continue;
        };
        if let Some(sum) = rules.get_mut(usize::from(link.rule)) {
            *sum += count;
        }
        // An audit rule notes a call that another rule decides.
        if rule.action != Action::Audit {
            if let Some(sum) = commands.get_mut(usize::from(link.target)) {
                *sum += count;
            }
        }
    }
    for (target, mut count) in policy.targets.iter().zip(commands) {
        let surface = target.surface.name();
        match (target.name(), target.command) {
            (Some(name), command) => {
                count += ledger.past(target.surface, command);
                line(out, fmt!("command {surface} {name}"), count)?;
            }
            (None, Some(number)) => line(out, fmt!("command {surface} {number:#010x}"), count)?,
            (None, None) => {
                count += ledger.past(target.surface, None);
                line(out, fmt!("command {surface} other"), count)?;
            }
        }
    }
    for reading in Reading::ALL {
        let mut count = active.reading(reading);
        count += ledger.past_reading(reading);
        let name = reading.name();
        match reading {
            // What becomes of such a call is counted where it is decided.
            Reading::Deferred => out.put(fmt!("argument {name} calls={}\n", count.calls))?,
            _ => out.put(fmt!("argument {name} {count}\n"))?,
        }
    }
    out.put(fmt!("gate {life}\n"))?;
    for (rule, count) in policy.rules.iter().zip(rules) {
        let action = rule.action.name();
        out.put(fmt!("rule line={} action={action} {count}\n", rule.line))?;
    }
    Ok(())
}

/// A part of a line: these names, or that there are none.
fn names(out: &mut Text, what: &str, names: &[&str]) -> Result {
    out.put(fmt!("; {what}:"))?;
    if names.is_empty() {
        return out.put(fmt!(" none"));
    }
    names.iter().try_for_each(|name| out.put(fmt!(" {name}")))
}

/// A line about what has been called at all.
fn line(out: &mut Text, what: fmt::Arguments<'_>, count: Count) -> Result {
    if count == Count::default() {
        return Ok(());
    }
    out.put(fmt!("{what} {count}\n"))
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            denied,
            would_deny,
        } = self;
        write!(f, "calls={calls} denied={denied} would-deny={would_deny}")
    }
}
