// SPDX-License-Identifier: GPL-2.0

//! `client attack`: a program that attacks the window in which its judged arguments lie.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    answer::Answer,
    attacks::{self, fresh, stand, Attack, Outcome, Stand},
    failure::{while_doing, Failure},
    races::track::{number, Vm},
    sys::{
        pages::{Pages, Rest},
        victim::{survive_faults, Victim},
    },
};

/// Attack the window by name, one line an attack
///
/// After each attack the window must be as it was, a legal call must pass and a forbidden one must be
/// refused. The rules that this needs are printed by --rules.
#[derive(clap::Args)]
pub struct Options {
    /// The attacks to make; without names, all
    names: Vec<String>,
    /// Print the names of the attacks
    #[arg(long)]
    list: bool,
    /// Print the rules, one a line
    #[arg(long)]
    rules: bool,
    /// Attack while a call waits in its handler, its argument in the window
    #[arg(long, conflicts_with = "hammer")]
    held: bool,
    /// Attack from one thread, again and again for so many milliseconds, while another makes calls
    #[arg(long, value_name = "MILLISECONDS")]
    hammer: Option<u64>,
    /// Attack an ordinary page instead, which must not withstand: print what comes of it
    #[arg(long)]
    ordinary: bool,
    /// What a program notices of its first judged call: one of --list-fresh
    #[arg(long, value_name = "NAME")]
    fresh: Option<String>,
    /// Print the names for --fresh
    #[arg(long)]
    list_fresh: bool,
    /// Make a judged call, and try to move the window away until the module lets go of it
    #[arg(long)]
    cling: bool,
    /// Make a judged call, print the window, and die with a core
    #[arg(long)]
    die: bool,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.list {
        attacks::all().for_each(|attack| println!("{}", attack.name));
        return Ok(());
    }
    if options.list_fresh {
        fresh::ALL
            .iter()
            .for_each(|fresh| println!("{}", fresh.name));
        return Ok(());
    }
    if options.rules {
        stand::RULES.iter().for_each(|rule| println!("{rule}"));
        return Ok(());
    }
    if options.cling {
        return fresh::cling();
    }
    if options.die {
        return fresh::die();
    }
    if let Some(name) = &options.fresh {
        let fresh = fresh::ALL.iter().find(|fresh| fresh.name == name);
        let fresh =
            fresh.ok_or_else(|| Failure::Usage(format!("`{name}` is not in --list-fresh")))?;
        return one(fresh.name, (fresh.run)());
    }
    let chosen = choose(options)?;
    survive_faults().map_err(while_doing("sigaction"))?;
    if options.ordinary {
        return on_ordinary(&chosen);
    }
    let mut stand = Stand::open()?;
    let held = match options.held {
        true => Some(Held::new()?),
        false => None,
    };
    let mut lost = 0;
    for attack in chosen {
        let outcome = match options.hammer {
            Some(milliseconds) => hammer(&stand, attack, milliseconds),
            None => everywhere(&mut stand, attack),
        };
        lost += u32::from(one(attack.name, outcome).is_err());
    }
    if let Some(held) = held {
        let answer = held.release()?;
        println!("the call that waited: {answer}");
        lost += u32::from(answer != Answer::Ok(0));
    }
    stand.check()?;
    match lost {
        0 => Ok(()),
        lost => Err(Failure::Unexpected(format!(
            "{lost} attacks were not withstood"
        ))),
    }
}

fn choose(options: &Options) -> Result<Vec<&'static Attack>, Failure> {
    let beside = options.held || options.hammer.is_some();
    if options.names.is_empty() {
        return Ok(attacks::all()
            .filter(|attack| attack.held || !beside)
            .collect());
    }
    let named = options.names.iter().map(|name| {
        attacks::named(name).ok_or_else(|| Failure::Usage(format!("there is no attack `{name}`")))
    });
    named.collect()
}

/// Prints what came of it.
fn one(name: &str, outcome: Result<Outcome, Failure>) -> Result<(), Failure> {
    match outcome {
        Ok(Outcome::Answered(text)) => println!("ok      {name}: {text}"),
        Ok(Outcome::Skipped(text)) => println!("skipped {name}: {text}"),
        Ok(Outcome::Done(text)) => {
            println!("FAIL    {name}: {text}");
            return Err(Failure::Unexpected(format!("{name}: {text}")));
        }
        Err(failure) => {
            println!("FAIL    {name}: {failure}");
            return Err(failure);
        }
    }
    Ok(())
}

/// The attack on the whole window, and on each of its first pages.
fn everywhere(stand: &mut Stand, attack: &Attack) -> Result<Outcome, Failure> {
    const PAGE: u64 = 4096;
    let whole = stand.victim();
    let pages = (whole.size_bytes / PAGE).min(4);
    let parts = (0..pages).map(|page| {
        let start = whole.start + page * PAGE;
        Victim::foreign(start, start + PAGE)
    });
    let mut first = None;
    for part in std::iter::once(whole).chain(parts) {
        stand.aim(part);
        let outcome = (attack.run)(stand);
        stand.aim(whole);
        let outcome = outcome?;
        stand.check()?;
        if let Outcome::Done(_) | Outcome::Skipped(_) = outcome {
            return Ok(outcome);
        }
        first.get_or_insert(outcome);
    }
    first.ok_or_else(|| Failure::Unexpected("no attack was made".to_owned()))
}

/// The attack by another thread while this one calls.
fn hammer(stand: &Stand, attack: &Attack, milliseconds: u64) -> Result<Outcome, Failure> {
    let ending = AtomicBool::new(false);
    let beside = stand.beside()?;
    let (calls, attacked) = thread::scope(|scope| {
        let ending = &ending;
        let attacker = scope.spawn(move || {
            let mut times = 0_u64;
            while !ending.load(Ordering::Relaxed) {
                if let Outcome::Done(text) = (attack.run)(&beside)? {
                    return Err(Failure::Unexpected(text));
                }
                times += 1;
            }
            Ok(times)
        });
        let end = Instant::now() + Duration::from_millis(milliseconds);
        let mut calls = Ok(0_u64);
        while Instant::now() < end {
            if let Err(failure) = stand.calls() {
                calls = Err(failure);
                break;
            }
            calls = calls.map(|calls| calls + 3);
        }
        ending.store(true, Ordering::Relaxed);
        let attacked = attacker.join();
        (calls, attacked)
    });
    let attacked =
        attacked.map_err(|_| Failure::Unexpected("the attacker panicked".to_owned()))??;
    let calls = calls?;
    stand.check()?;
    Ok(Outcome::Answered(format!(
        "{attacked} times under {calls} calls"
    )))
}

/// What the attacks come to where nothing is protected.
fn on_ordinary(chosen: &[&'static Attack]) -> Result<(), Failure> {
    let mut done = 0;
    for attack in chosen {
        let mut stand = Stand::ordinary()?;
        let outcome = everywhere(&mut stand, attack);
        // What is a failure elsewhere is what is expected here.
        match outcome {
            Ok(Outcome::Done(text)) => {
                done += 1;
                println!("harm    {}: {text}", attack.name);
            }
            Err(failure) => {
                done += 1;
                println!("harm    {}: {failure}", attack.name);
            }
            harmless => one(attack.name, harmless)?,
        }
    }
    println!("{done} of {} attacks harm an ordinary page", chosen.len());
    Ok(())
}

/// A call that waits in its handler, for memory that does not come.
struct Held {
    caller: thread::JoinHandle<Answer>,
    bitmap: &'static Pages,
}

impl Held {
    /// KVM_X86_SET_MSR_FILTER: the handler copies the struct, and then what its ranges point to.
    fn new() -> Result<Self, Failure> {
        const STRUCT_BYTES: usize = 400;
        const PAGE: usize = 4096;
        let vm = Vm::new(false)?;
        let empty = Pages::zeroed(64 * 1024).map_err(while_doing("mmap"))?;
        let moved = empty.moved(STRUCT_BYTES, Rest::Stuck, true);
        let (mut pages, address) = moved.map_err(while_doing("userfaultfd"))?;
        let bitmap = pages.address() + PAGE as u64;
        let start = PAGE - STRUCT_BYTES;
        pages.put(start + 8, [1_u32, 8, 0x174]);
        pages.put(start + 24, bitmap);
        // The caller may wait for it longer than this function runs.
        let pages: &'static Pages = Box::leak(Box::new(pages));
        let number = number("KVM_X86_SET_MSR_FILTER")?;
        let fd = vm.fd()?;
        let caller = thread::spawn(move || {
            let _vm = vm;
            ask_at(fd, number, address)
        });
        let held = Held {
            caller,
            bitmap: pages,
        };
        held.stuck()?
            .wait()
            .map_err(while_doing("nobody touched the bitmap"))?;
        Ok(held)
    }

    fn stuck(&self) -> Result<&crate::sys::userfault::Stuck, Failure> {
        let missing = || Failure::Unexpected("no memory that waits".to_owned());
        self.bitmap.stuck().ok_or_else(missing)
    }

    fn release(self) -> Result<Answer, Failure> {
        self.stuck()?.serve().map_err(while_doing("UFFDIO_COPY"))?;
        let panicked = |_| Failure::Unexpected("the caller panicked".to_owned());
        self.caller.join().map_err(panicked)
    }
}

fn ask_at(fd: i32, number: u32, address: u64) -> Answer {
    use crate::{argument::Argument, sys::ioctl};
    ioctl::native(fd, number, &Argument::number(address))
}
