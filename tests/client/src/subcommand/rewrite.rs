// SPDX-License-Identifier: GPL-2.0

//! `client rewrite`: an argument that is rewritten while the kernel looks at it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    races::{self, Pace, Race, Track, Used, REFUSAL},
    sys::flip::pin,
};

/// Rewrite a field between a legal and a forbidden value on one CPU, and make the call on another
///
/// Goes on until so many calls were refused and so many were passed: what is judged decides which,
/// so each of both values was met as often. Only those count during which the field was rewritten:
/// two CPUs of a busy host do not always run at the same time. A call that was not refused and used
/// the forbidden value is a breach. Prints one line: the race, calls, refused, passed, breaches,
/// calls a second.
#[derive(clap::Args)]
pub struct Options {
    /// SURFACE:COMMAND.FIELD, of --list
    #[arg(required_unless_present = "list")]
    race: Option<String>,
    /// Print the names of all races, and `fast` or `slow`
    #[arg(long)]
    list: bool,
    /// Print the rule that the race needs
    #[arg(long, requires = "race")]
    rule: bool,
    /// How often each of both values must be met
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// The time limit
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Succeed if there are breaches: for a module that does not prevent them
    #[arg(long)]
    breaches: bool,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.list {
        for race in races::all() {
            let pace = match race.pace {
                Pace::Fast => "fast",
                Pace::Slow => "slow",
            };
            println!("{} {pace}", race.name());
        }
        return Ok(());
    }
    let name = options.race.as_deref().unwrap_or_default();
    let race = races::named(name)
        .ok_or_else(|| Failure::Usage(format!("there is no race `{name}`: see --list")))?;
    if options.rule {
        println!("{}", race.rule());
        return Ok(());
    }
    let track = (race.make)()?;
    let began = Instant::now();
    let score = contest(track, options)?;
    score.print(race, began.elapsed());
    score.judge(options)
}

#[derive(Default)]
struct Score {
    calls: u64,
    refused: u64,
    passed: u64,
    breaches: u64,
    /// What was neither, and how often.
    unclear: u64,
    example: String,
}

/// One thread rewrites, this one calls.
fn contest(mut track: Track, options: &Options) -> Result<Score, Failure> {
    let (field, values) = (track.field(), [track.forbidden, track.legal]);
    // The two values are what the rule tells apart, before anything moves.
    let mut score = Score::default();
    for (value, refused) in [(track.forbidden, true), (track.legal, false)] {
        field.set(value);
        let (answer, used) = track.call();
        let hoped = match (refused, &used) {
            (true, None) => true,
            (false, Some(used)) => *used == Used::Legal,
            _ => false,
        };
        if !hoped {
            return Err(Failure::Unexpected(format!(
                "while nobody rewrites it, {value:#x} is answered with {answer} ({used:?})"
            )));
        }
    }

    let (flips, ending) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let flipping = scope.spawn(|| {
            pin(1)?;
            field.flip(values, &flips, &ending);
            std::io::Result::Ok(())
        });
        let pinned = pin(0);
        let end = Instant::now() + Duration::from_secs(options.seconds);
        while score.refused < options.calls || score.passed < options.calls {
            if score.calls % 256 == 0 && (Instant::now() > end || flipping.is_finished()) {
                break;
            }
            let before = flips.load(Ordering::Relaxed);
            let call = track.call();
            score.count(call, flips.load(Ordering::Relaxed) != before);
        }
        ending.store(true, Ordering::Relaxed);
        let flipped = flipping
            .join()
            .map_err(|_| Failure::Unexpected("the thread that rewrites panicked".to_owned()))?;
        flipped
            .and(pinned)
            .map_err(while_doing("two CPUs are needed"))
    })?;
    Ok(score)
}

impl Score {
    fn count(&mut self, (answer, used): (Answer, Option<Used>), raced: bool) {
        self.calls += 1;
        match used {
            None if answer == Answer::Errno(REFUSAL) => self.refused += u64::from(raced),
            // Interrupted, which counts for nothing.
            None => {}
            Some(Used::Legal) => self.passed += u64::from(raced),
            Some(Used::Forbidden) => self.breaches += 1,
            Some(Used::Unclear(what)) => {
                self.unclear += 1;
                self.example = what;
            }
        }
    }

    fn print(&self, race: &Race, took: Duration) {
        let rate = self.calls as f64 / took.as_secs_f64().max(0.001);
        println!(
            "{:<56} {:>8} {:>8} {:>8} {:>8} {rate:>8.0}",
            race.name(),
            self.calls,
            self.refused,
            self.passed,
            self.breaches
        );
    }

    fn judge(&self, options: &Options) -> Result<(), Failure> {
        if self.unclear > 0 {
            return Err(Failure::Unexpected(format!(
                "{} calls tell nothing, such as: {}",
                self.unclear, self.example
            )));
        }
        match (options.breaches, self.breaches) {
            (true, 0) => {
                return Err(Failure::Unexpected("there was no breach".to_owned()));
            }
            (false, 1..) => {
                return Err(Failure::Unexpected(format!(
                    "the forbidden value was used {} times",
                    self.breaches
                )));
            }
            _ => {}
        }
        if self.refused < options.calls || self.passed < options.calls {
            return Err(Failure::Unexpected(format!(
                "only {} refused and {} passed in {} s",
                self.refused, self.passed, options.seconds
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(breaches: bool) -> Options {
        Options {
            race: None,
            list: false,
            rule: false,
            calls: 2,
            seconds: 1,
            breaches,
        }
    }

    fn score(refused: u64, passed: u64, breaches: u64, unclear: u64) -> Score {
        Score {
            refused,
            passed,
            breaches,
            unclear,
            ..Score::default()
        }
    }

    #[test]
    fn scores_are_judged() {
        assert!(score(2, 2, 0, 0).judge(&options(false)).is_ok());
        assert!(score(2, 2, 1, 0).judge(&options(false)).is_err());
        assert!(score(2, 1, 0, 0).judge(&options(false)).is_err());
        assert!(score(1, 2, 0, 0).judge(&options(false)).is_err());
        assert!(score(2, 2, 0, 1).judge(&options(false)).is_err());
        assert!(score(2, 2, 1, 0).judge(&options(true)).is_ok());
        assert!(score(2, 2, 0, 0).judge(&options(true)).is_err());
    }

    #[test]
    fn answers_are_counted() {
        let mut score = Score::default();
        score.count((Answer::Errno(REFUSAL), None), true);
        score.count((Answer::Errno(REFUSAL), None), false);
        score.count((Answer::Errno(libc::EINTR), None), true);
        score.count((Answer::Ok(0), Some(Used::Legal)), true);
        score.count((Answer::Ok(0), Some(Used::Legal)), false);
        score.count((Answer::Ok(0), Some(Used::Forbidden)), false);
        score.count((Answer::Errno(5), Some(Used::Unclear("x".into()))), true);
        let counts = (score.calls, score.refused, score.passed);
        assert_eq!(counts, (7, 1, 1));
        assert_eq!((score.breaches, score.unclear), (1, 1));
    }
}
