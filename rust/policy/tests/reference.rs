// SPDX-License-Identifier: GPL-2.0

//! The engine against a plain reading of the rules, on random policies, calls and memories.
//!
//! `SEED=n` in the environment begins with the policy of that seed, which a failure names;
//! `POLICIES=n` is how many are tried.

mod model;

use model::compare::{compare, compile, is_allowed, shrink};
use model::judge::Outcome;
use model::{draw, Random};
use portcullis_policy::Unread;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, thread};

/// For each policy.
const CALLS: u64 = 100;

fn from_environment(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let Ok(value) = value.parse() else {
        panic!("{name} is a number");
    };
    Some(value)
}

/// What happened, to see that the calls are not all alike.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u64,
    allowed: u64,
    by_rules: u64,
    by_limits: u64,
    named: u64,
    audited: u64,
    faults: u64,
    too_big: u64,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.calls += 1;
        self.allowed += u64::from(is_allowed(outcome));
        match outcome {
            Outcome::Judged {
                profile,
                is_default,
                is_limit,
                audits,
                ..
            } => {
                self.by_rules += u64::from(!is_default);
                self.by_limits += u64::from(*is_limit);
                self.named += u64::from(profile != "other");
                self.audited += u64::from(!audits.is_empty());
            }
            Outcome::Unread(Unread::TooBig) => self.too_big += 1,
            Outcome::Unread(_) => self.faults += 1,
        }
    }

    fn sum(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            allowed: self.allowed + other.allowed,
            by_rules: self.by_rules + other.by_rules,
            by_limits: self.by_limits + other.by_limits,
            named: self.named + other.named,
            audited: self.audited + other.audited,
            faults: self.faults + other.faults,
            too_big: self.too_big + other.too_big,
        }
    }
}

/// One policy and its calls; of a failure, the least that fails.
fn try_seed(seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (policy, pool) = draw::policy(&mut random);
    let compiled = match compile(&policy) {
        Ok(compiled) => compiled,
        Err(_) => {
            let least = shrink(&policy, |less| compile(less).is_err());
            let why = compile(&least).err().unwrap_or_default();
            return Err(format!("SEED={seed}\n{}\n{why}", least.text().0));
        }
    };
    for _ in 0..CALLS {
        let (request, pages) = draw::call(&mut random, &policy, &pool);
        let (who, state) = (draw::who(&mut random), draw::state(&mut random));
        match compare(&policy, &compiled, &request, &pages, &who, &state) {
            Ok(outcome) => tally.add(&outcome),
            Err(_) => {
                let why = |policy: &model::Policy| match compile(policy) {
                    Ok(compiled) => {
                        compare(policy, &compiled, &request, &pages, &who, &state).err()
                    }
                    Err(_) => None,
                };
                let least = shrink(&policy, |less| why(less).is_some());
                return Err(format!(
                    "SEED={seed}\n{}\n{request:x?}\n{who:?}\n{state:x?}\nmemory: {:x?}\n{}",
                    least.text().0,
                    pages.0,
                    why(&least).unwrap_or_default()
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn the_engine_decides_as_a_plain_reading_does() {
    let seed = from_environment("SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 >> 8
    });
    let policies = from_environment("POLICIES").unwrap_or(match cfg!(debug_assertions) {
        true => 500,
        false => 12_000,
    });
    println!("SEED={seed} runs this again");
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failure = Mutex::new(None);
    let total = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for first in 0..threads {
            let (failure, total) = (&failure, &total);
            scope.spawn(move || {
                let mut tally = Tally::default();
                let mut index = first;
                while index < policies && failure.lock().unwrap().is_none() {
                    if let Err(why) = try_seed(seed.wrapping_add(index), &mut tally) {
                        *failure.lock().unwrap() = Some(why);
                    }
                    index += threads;
                }
                let mut total = total.lock().unwrap();
                *total = total.sum(tally);
            });
        }
    });
    if let Some(why) = failure.into_inner().unwrap() {
        panic!("{why}");
    }
    let total = total.into_inner().unwrap();
    println!("{total:?}");
    if policies < 100 {
        return;
    }
    let calls = total.calls;
    assert!(
        total.allowed > calls / 10 && total.allowed < calls * 9 / 10,
        "the calls are all alike"
    );
    assert!(total.by_rules > calls / 5, "the rules are missed");
    assert!(total.by_limits > calls / 50, "limits are missed");
    assert!(total.named > calls / 20, "profiles are missed");
    assert!(total.audited > calls / 50, "audit is missed");
}
