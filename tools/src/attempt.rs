// SPDX-License-Identifier: GPL-2.0

//! `portcullis try`: what a policy makes of a call, without the call.

mod scene;

use std::io::{self, Write};
use std::{fmt, fs};

use portcullis_policy::schema;
use portcullis_policy::{
    check, Bytes, Caller, Heap, InList, Phase, Policy, Profile, Rejection, Request, Rule, Span,
    Unread, Verdict,
};

use crate::outcome::Outcome;
use crate::{cli, complain, located};
use scene::{calls, Argument, Call, Scene};

/// Says which profile speaks for the caller, and what becomes of each call.
pub(crate) fn run(options: &cli::Try) -> io::Result<Outcome> {
    let name = options.file.display().to_string();
    let text = match fs::read(&options.file) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{name}: {error}"));
            return Ok(Outcome::Trouble);
        }
    };
    let policy = match check::<Heap>(&text) {
        Ok(checked) => checked.policy,
        Err(Rejection::Mistakes(diagnoses)) => {
            let colours = located::Colours::default();
            let located = located::Located {
                file: &name,
                text: &text,
                diagnoses: &diagnoses,
                colours: &colours,
            };
            write!(anstream::stderr(), "{located}")?;
            return Ok(Outcome::Wrong);
        }
        Err(Rejection::OutOfMemory) => return Err(io::ErrorKind::OutOfMemory.into()),
    };
    let scene = match Scene::new(options, &policy) {
        Ok(scene) => scene,
        Err(what) => {
            complain(&what);
            return Ok(Outcome::Wrong);
        }
    };
    let trial = Trial {
        policy: &policy,
        text: &text,
        scene: &scene,
    };
    let mut out = anstream::stdout().lock();
    let Some((profile, lines)) = trial.profile(&scene.caller(options)) else {
        return Err(io::Error::other("the table does not hang together"));
    };
    writeln!(out, "{lines}")?;
    let mut outcome = Outcome::Fine;
    for call in &options.calls {
        let found = match calls(call, options) {
            Ok(found) => found,
            Err(what) => {
                out.flush()?;
                complain(&what);
                outcome = Outcome::Wrong;
                continue;
            }
        };
        for call in found {
            trial.call(&mut out, profile, &call)?;
        }
    }
    out.flush()?;
    Ok(outcome)
}

/// A policy and the circumstances in which it is tried.
struct Trial<'a> {
    policy: &'a Policy<Heap>,
    text: &'a [u8],
    scene: &'a Scene,
}

impl Trial<'_> {
    fn str(&self, span: Span) -> &str {
        let bytes = span.of(self.text).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The profile that speaks for a caller, and what is said of it.
    fn profile(&self, caller: &Caller<'_>) -> Option<(Profile, String)> {
        let id = self.policy.profile_of(caller)?;
        let profile = *self.policy.profiles.get(id.index())?;
        let said = format!("profile {} (line {})", self.str(profile.name), profile.line);
        Some((profile, said))
    }

    /// What becomes of a call.
    fn call(&self, out: &mut dyn Write, profile: Profile, call: &Call) -> io::Result<()> {
        let phase = match self.scene.state.is_running && call.is_on_a_vm() {
            true => Phase::Running,
            false => Phase::Setup,
        };
        let section = match phase {
            Phase::Setup => profile.setup,
            Phase::Running => profile.running,
        };
        let surface = call.surface.judged_as(call.number);
        let request = Request {
            surface,
            command: call.number,
            arg: call.arg,
            compat: call.compat,
        };
        let head = self.policy.head_in(section, surface, call.number);
        let lost = || io::Error::other("the table does not hang together");
        let head = head.ok_or_else(lost)?;
        let what = match call.is_on_a_vm() {
            true => format!("{call} while {}", phase.name()),
            false => call.to_string(),
        };
        let mut memory = Argument(call);
        let buffer = InList::<Heap>::new();
        let fetched = match self.policy.fetch(head, &request, buffer, &mut memory) {
            Ok(fetched) => fetched,
            Err(unread) => {
                let errno = schema::errno_name(unread.errno()).unwrap_or("?");
                let why = match unread {
                    Unread::Fault => "its argument cannot be read",
                    Unread::TooBig => "its argument has more elements than the kernel takes",
                    Unread::OutOfMemory => "there is no memory for its argument",
                };
                return writeln!(out, "{what}: deny, {errno}: {why}");
            }
        };
        let state = self.scene.state.bytes();
        let bytes = Bytes {
            state: &state,
            ..fetched.bytes()
        };
        let mut audits = Vec::new();
        let decision = self
            .policy
            .decide(head, &request, bytes, |link| audits.push(link))
            .ok_or_else(lost)?;
        for link in audits {
            let rule = self.policy.rule(link).ok_or_else(lost)?;
            writeln!(out, "{what}: audit by {}", Told(self, rule))?;
        }
        let rule = self.policy.rule(decision.link).ok_or_else(lost)?;
        let verdict = match decision.verdict {
            Verdict::Allow => "allow".to_string(),
            Verdict::Deny { errno } => {
                format!("deny, {}", schema::errno_name(errno).unwrap_or("?"))
            }
        };
        writeln!(out, "{what}: {verdict} by {}", Told(self, rule))
    }
}

/// A rule, its line and its reason.
struct Told<'a>(&'a Trial<'a>, &'a Rule);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(trial, rule) = self;
        let what = match () {
            () if rule.is_default => "default",
            () if rule.is_limit => "limit",
            () => "rule",
        };
        write!(f, "the {what} on line {}", rule.line)?;
        match trial.str(rule.reason) {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}
