// SPDX-License-Identifier: GPL-2.0

//! `client race`: whoever opens a device first.

use std::{
    fmt, io,
    os::fd::AsRawFd,
    path::PathBuf,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use super::knock::hexadecimal;
use crate::{
    answer::{Answer, Expect},
    argument::Argument,
    failure::{while_doing, Failure},
    sys::{file, ioctl, signals},
};

/// Open devices again and again, while their modules come and go, and make a call that must be refused
///
/// The threads spin on open(2). As soon as a device is there, the first call must already be answered
/// as the policy says, and every later one too. An *arrival* is an open that succeeded where the same
/// thread's attempt right before found no device. Ends with SIGTERM, or after --seconds.
#[derive(clap::Args)]
pub struct Options {
    /// A device, an ioctl, and the answer to it. `both`: every second call is that of a 32-bit process
    #[arg(long, value_name = "PATH:0xNUMBER:ENAME[:both]", required = true)]
    on: Vec<Door>,
    /// For each door; 1 for a file that one process may have open
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// So many arrivals at each door, or the race has proved nothing
    #[arg(long, default_value_t = 1)]
    arrivals: u64,
}

#[derive(Clone)]
struct Door {
    path: PathBuf,
    number: u32,
    answer: Expect,
    both: bool,
}

impl FromStr for Door {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let mut word = || words.next().ok_or("PATH:0xNUMBER:ENAME[:both]");
        let door = Door {
            path: word()?.into(),
            number: hexadecimal(word()?)?,
            answer: word()?.parse()?,
            both: false,
        };
        match (words.next(), words.next()) {
            (None, _) => Ok(door),
            (Some("both"), None) => Ok(Door { both: true, ..door }),
            _ => Err(format!("`{text}` has too much")),
        }
    }
}

/// What became of the attempts at a door.
#[derive(Default)]
struct Tally {
    /// Opened, called, and answered as it must be.
    opens: u64,
    arrivals: u64,
    /// No device.
    misses: u64,
    /// The shortest time between finding no device and having it open.
    soonest: Option<Duration>,
    /// The first answer that must not come, and how many there were.
    wrong: Option<(String, u64)>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            opens,
            arrivals,
            misses,
            soonest,
            ..
        } = self;
        write!(f, "opens={opens} arrivals={arrivals} misses={misses}")?;
        match soonest {
            Some(soonest) => write!(f, " soonest={}us", soonest.as_micros()),
            None => Ok(()),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.opens += other.opens;
        self.arrivals += other.arrivals;
        self.misses += other.misses;
        self.soonest = [self.soonest, other.soonest].into_iter().flatten().min();
        self.wrong = match (self.wrong.take(), other.wrong) {
            (Some((text, count)), Some((_, more))) => Some((text, count + more)),
            (one, None) | (None, one) => one,
        };
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    signals::catch_end().map_err(while_doing("sigaction"))?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut racers = Vec::new();
    for (place, door) in options.on.iter().enumerate() {
        for thread in 0..options.threads {
            let door = door.clone();
            // One spins; if all did, the module would hardly get on.
            let nap = Duration::from_micros(if thread == 0 { 0 } else { 100 });
            racers.push((place, thread::spawn(move || race(&door, end, nap))));
        }
    }
    let mut tallies: Vec<Tally> = options.on.iter().map(|_| Tally::default()).collect();
    for (place, racer) in racers {
        let tally = racer.join();
        let tally =
            tally.map_err(|_| Failure::Unexpected("a thread of the race panicked".to_owned()))?;
        tallies[place].add(tally);
    }
    let mut verdict = Ok(());
    for (door, tally) in options.on.iter().zip(&tallies) {
        let path = door.path.display();
        println!("{path} {tally}");
        if let Some((wrong, count)) = &tally.wrong {
            verdict = Err(Failure::Unexpected(format!(
                "{path}: {wrong}; {count} times"
            )));
        } else if tally.arrivals < options.arrivals && verdict.is_ok() {
            verdict = Err(Failure::Unexpected(format!(
                "{path}: {} arrivals are too few: the race has proved nothing",
                tally.arrivals
            )));
        }
    }
    verdict
}

fn race(door: &Door, end: Instant, nap: Duration) -> Tally {
    /// After so many opens in a row nobody races any more: the module must get a chance to go.
    const IN_A_ROW: u64 = 8;
    const PAUSE: Duration = Duration::from_millis(20);

    let mut tally = Tally::default();
    let mut missed_at = None;
    let mut in_a_row = 0;
    while Instant::now() < end && !signals::end_was_asked() {
        let opened = match file::open(&door.path) {
            Ok(opened) => opened,
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::EBUSY) => thread::sleep(PAUSE),
                    _ if is_absent(&error) => {
                        tally.misses += 1;
                        in_a_row = 0;
                        missed_at = Some(Instant::now());
                        thread::sleep(nap);
                    }
                    _ => tally.note_wrong(format!("open(2): {error}")),
                }
                continue;
            }
        };
        if let Some(missed_at) = missed_at.take() {
            let took = missed_at.elapsed();
            tally.arrivals += 1;
            tally.soonest = Some(tally.soonest.map_or(took, |soonest| soonest.min(took)));
        }
        let compat = door.both && tally.opens % 2 == 1;
        let make = if compat { ioctl::compat } else { ioctl::native };
        let answer: Answer = make(opened.as_raw_fd(), door.number, &Argument::number(0));
        drop(opened);
        tally.opens += 1;
        if door.answer.judge(answer).is_err() {
            tally.note_wrong(format!("{answer} (compat: {compat}), where it is refused"));
        }
        in_a_row += 1;
        if in_a_row >= IN_A_ROW {
            thread::sleep(PAUSE);
        }
    }
    tally
}

impl Tally {
    fn note_wrong(&mut self, text: String) {
        match &mut self.wrong {
            Some((_, count)) => *count += 1,
            none => *none = Some((text, 1)),
        }
    }
}

/// Whether there is no device now: no node, no driver behind it, or one that is on its way out.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(on: &str, arrivals: u64) -> Options {
        Options {
            on: vec![on.parse().unwrap()],
            threads: 2,
            seconds: 0,
            arrivals,
        }
    }

    #[test]
    fn a_race_without_arrivals_proves_nothing() {
        assert!(run(&options("/dev/null:0x5413:ENOTTY", 1)).is_err());
        assert!(run(&options("/dev/null:0x5413:ENOTTY:both", 0)).is_ok());
    }

    #[test]
    fn a_wrong_answer_is_told() {
        let door: Door = "/dev/null:0x5413:EACCES".parse().unwrap();
        let tally = race(
            &door,
            Instant::now() + Duration::from_millis(50),
            Duration::ZERO,
        );
        let (wrong, count) = tally.wrong.unwrap();
        assert!(wrong.starts_with("errno ENOTTY") && count == tally.opens);
        for bad in ["/dev/null", "/dev/null:1:EACCES", "/dev/null:0x1:EACCES:x"] {
            assert!(bad.parse::<Door>().is_err());
        }
    }
}
