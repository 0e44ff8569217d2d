// SPDX-License-Identifier: GPL-2.0

//! `client storm`: many threads that hammer the same ioctls.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    answer::{Answer, Kind},
    call::{Call, Prepared},
    errno,
    failure::{while_doing, Failure},
    guest::{self, Guest},
    machine::{Machine, Wanted},
    sys::signals,
};

/// Hammer ioctls from many threads and print how often each answer came
///
/// The threads take the calls of --on in turn, all on the same VM; those on kvm-vcpu are spread
/// over the vCPUs, whose guests do nothing but halt. Calls that a signal interrupts are made again.
#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=guest::MOST_VCPUS as i64))]
    vcpus: u16,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// A call to make; ARG as in `client try`
    #[arg(long, value_name = "SURFACE:COMMAND[:ARG][:compat]", required = true)]
    on: Vec<Call>,
    /// The answers that may come (ok and errno names); any other is a failure
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Every answer of --only must come, or the storm has proved nothing
    #[arg(long, requires = "only")]
    both: bool,
}

/// How often each answer came to one call: index 0 counts the successes.
type Counts = Vec<u64>;

pub fn run(options: &Options) -> Result<(), Failure> {
    signals::catch_kicks().map_err(while_doing("sigaction"))?;
    signals::catch_end().map_err(while_doing("sigaction"))?;
    let surfaces = options.on.iter().map(|call| call.surface);
    let vcpus = usize::from(options.vcpus);
    let mut machine = Machine::open(&Wanted::by(surfaces, vcpus), |_| Guest::Halt)?;

    let ending = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for index in 0..usize::from(options.threads) {
        let calls = prepare(&options.on, &machine, index)?;
        let ending = ending.clone();
        threads.push(thread::spawn(move || hammer(&calls, &ending)));
    }
    let end = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < end && !signals::end_was_asked() {
        thread::sleep(Duration::from_millis(20));
    }
    ending.store(true, Ordering::Relaxed);
    // A thread may sit in a guest whose registers another call of the storm has spoilt.
    for vcpu in machine.vcpus.iter_mut().flatten() {
        vcpu.fd.set_kvm_immediate_exit(1);
    }
    let mut totals = vec![empty(); options.on.len()];
    for thread in threads {
        while !thread.is_finished() {
            signals::kick(&thread);
            thread::sleep(Duration::from_millis(5));
        }
        let counts = (thread.join())
            .map_err(|_| Failure::Unexpected("a thread of the storm panicked".to_owned()))?;
        for (total, counts) in totals.iter_mut().zip(counts) {
            for (total, count) in total.iter_mut().zip(counts) {
                *total += count;
            }
        }
    }
    let answers = report(&options.on, &totals);
    judge(options, &answers)
}

fn prepare(calls: &[Call], machine: &Machine, thread: usize) -> Result<Vec<Prepared>, Failure> {
    let vcpu = thread % machine.vcpus.len().max(1);
    let prepared = calls.iter().map(|call| call.prepare(machine, vcpu));
    let prepared: Result<_, String> = prepared.collect();
    prepared.map_err(Failure::Unexpected)
}

fn hammer(calls: &[Prepared], ending: &AtomicBool) -> Vec<Counts> {
    let mut counts = vec![empty(); calls.len()];
    while !ending.load(Ordering::Relaxed) {
        for (call, counts) in calls.iter().zip(&mut counts) {
            let index = match call.perform() {
                Answer::Ok(_) => 0,
                Answer::Errno(libc::EINTR) => continue,
                Answer::Errno(number) => number as usize,
            };
            counts[index] += 1;
        }
    }
    counts
}

fn empty() -> Counts {
    vec![0; errno::LARGEST + 1]
}

/// Prints a line for each call and the total; returns how often each answer came in all.
fn report(calls: &[Call], totals: &[Counts]) -> BTreeMap<usize, u64> {
    let mut all = BTreeMap::new();
    for (call, counts) in calls.iter().zip(totals) {
        let mut line = call.to_string();
        for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            line += &format!(" {}={count}", kind(index));
            *all.entry(index).or_default() += count;
        }
        println!("{line}");
    }
    println!("total {}", all.values().sum::<u64>());
    all
}

fn kind(index: usize) -> Kind {
    match index {
        0 => Kind::Ok,
        number => Kind::Errno(number as i32),
    }
}

fn judge(options: &Options, answers: &BTreeMap<usize, u64>) -> Result<(), Failure> {
    if options.only.is_empty() {
        return Ok(());
    }
    let allowed = list(&options.only);
    for (index, count) in answers {
        if !options.only.contains(&kind(*index)) {
            return Err(Failure::Unexpected(format!(
                "the answer {} came {count} times, but only {allowed} may come",
                kind(*index)
            )));
        }
    }
    let missing: Vec<Kind> = (options.only.iter().copied())
        .filter(|only| !answers.keys().any(|index| kind(*index) == *only))
        .collect();
    if options.both && !missing.is_empty() {
        return Err(Failure::Unexpected(format!(
            "the answer {} never came: the storm has proved nothing",
            list(&missing)
        )));
    }
    Ok(())
}

fn list(kinds: &[Kind]) -> String {
    let names: Vec<String> = kinds.iter().map(Kind::to_string).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(only: &[&str], both: bool) -> Options {
        Options {
            threads: 2,
            vcpus: 1,
            seconds: 0,
            on: vec!["tty".parse().unwrap()],
            only: only.iter().map(|kind| kind.parse().unwrap()).collect(),
            both,
        }
    }

    #[test]
    fn answers_are_judged() {
        let answers = BTreeMap::from([(0, 5), (libc::E2BIG as usize, 3)]);
        assert!(judge(&options(&[], false), &answers).is_ok());
        assert!(judge(&options(&["ok", "E2BIG"], true), &answers).is_ok());
        assert!(judge(&options(&["ok", "E2BIG", "EXDEV"], false), &answers).is_ok());
        assert!(judge(&options(&["ok", "E2BIG", "EXDEV"], true), &answers).is_err());
        assert!(judge(&options(&["ok", "EXDEV"], false), &answers).is_err());
    }

    #[test]
    fn an_unguarded_file_can_be_hammered_without_kvm() {
        run(&Options {
            seconds: 1,
            ..options(&["ENOTTY"], true)
        })
        .unwrap();
    }
}
