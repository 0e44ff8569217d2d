// SPDX-License-Identifier: GPL-2.0

//! Devices used as a VMM uses them, from the first open to the last byte that a queue or a DMA
//! moved.
//!
//! Each call is a step with a name. A step that is said to be refused must be answered with that
//! errno, and then must have had no effect; every other step must succeed, and its effect and what
//! it wrote back are looked at.

pub mod edu;
pub mod event;
pub mod iommufd;
pub mod net;
pub mod pci;
pub mod ring;
pub mod vfio;
pub mod vhost;
pub mod vsock;

use std::{
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd, OwnedFd},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    answer::Answer,
    argument::Argument,
    errno,
    failure::{while_doing, Failure},
    sys::ioctl,
};

/// `STEP:ENAME`.
#[derive(Clone, Debug)]
pub struct Refusal {
    step: String,
    errno: i32,
}

impl FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(step, name)| {
            Some(Refusal {
                step: step.to_owned(),
                errno: errno::number(name)?,
            })
        });
        parsed.ok_or_else(|| format!("`{text}` is no refusal: STEP:ENAME"))
    }
}

/// The steps of one use of a device.
pub struct Steps {
    compat: bool,
    /// The steps to be refused that have not come yet.
    awaited: Vec<Refusal>,
    /// How many came, refused or not.
    count: usize,
}

impl Steps {
    pub fn new(compat: bool, refused: &[Refusal]) -> Self {
        Steps {
            compat,
            awaited: refused.to_vec(),
            count: 0,
        }
    }

    /// Makes a call. Its value, or nothing if it was refused and was to be refused.
    pub fn step(
        &mut self,
        name: &str,
        file: &impl AsRawFd,
        number: u32,
        argument: &Argument,
    ) -> Result<Option<i64>, Failure> {
        let door = if self.compat {
            ioctl::compat
        } else {
            ioctl::native
        };
        let before = argument.pages().map(|pages| pages.bytes_at(0, LOOKED_AT));
        let answer = door(file.as_raw_fd(), number, argument);
        println!("{name}: {answer}");
        self.count += 1;
        let awaited = self.awaited.iter().position(|refusal| refusal.step == name);
        let refusal = awaited.map(|place| self.awaited.swap_remove(place));
        match (answer, refusal) {
            (Answer::Ok(value), None) => Ok(Some(value)),
            (Answer::Errno(errno), Some(refusal)) if errno == refusal.errno => {
                let after = argument.pages().map(|pages| pages.bytes_at(0, LOOKED_AT));
                check(before == after, || {
                    format!("{name} was refused, and has written to its argument")
                })?;
                Ok(None)
            }
            (answer, None) => Err(Failure::Unexpected(format!(
                "{name} was answered with {answer}"
            ))),
            (answer, Some(refusal)) => Err(Failure::Unexpected(format!(
                "{name} was to be refused with {}, and was answered with {answer}",
                errno::name(refusal.errno)
            ))),
        }
    }

    /// A step without which the rest makes no sense.
    pub fn must(
        &mut self,
        name: &str,
        file: &impl AsRawFd,
        number: u32,
        argument: &Argument,
    ) -> Result<i64, Failure> {
        self.step(name, file, number, argument)?
            .ok_or_else(|| Failure::Usage(format!("nothing goes on without {name}")))
    }

    /// How many steps there were, if all that were to be refused have come.
    pub fn end(self) -> Result<usize, Failure> {
        match self.awaited.first() {
            None => Ok(self.count),
            Some(refusal) => Err(Failure::Unexpected(format!(
                "the step {} never came",
                refusal.step
            ))),
        }
    }
}

/// Of an argument that must stay as it was.
const LOOKED_AT: usize = 4096;

/// A claim, and what it means if it does not hold.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::Unexpected(otherwise()))
    }
}

/// Two things that must be equal.
pub fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    expected: T,
) -> Result<(), Failure> {
    check(found == expected, || {
        format!("{what}: {found:x?}, not {expected:x?}")
    })
}

/// Waits until `holds` does; false if it does not within the time that a busy emulated machine may
/// take for anything.
pub fn comes(holds: impl FnMut() -> bool) -> bool {
    within(Duration::from_secs(20), holds)
}

/// Whether `holds` comes true within the time in which it would if it could.
pub fn comes_soon(holds: impl FnMut() -> bool) -> bool {
    within(Duration::from_millis(700), holds)
}

fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if began.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Opens a device that this machine may lack.
pub fn open(path: &str) -> Result<OwnedFd, Failure> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(file.into()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Err(Failure::Absent(format!("there is no {path} here"))),
            _ => Err(while_doing(format!("cannot open {path}"))(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIONREAD: u32 = libc::FIONREAD as u32;

    #[test]
    fn a_step_is_as_it_was_said_to_be() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let nothing = Argument::number(0);
        let refusal = |text: &str| vec![text.parse::<Refusal>().unwrap()];

        let mut steps = Steps::new(false, &[]);
        assert!(steps.step("a", &null, FIONREAD, &nothing).is_err());

        let mut steps = Steps::new(false, &refusal("a:ENOTTY"));
        assert_eq!(steps.step("a", &null, FIONREAD, &nothing).unwrap(), None);
        assert!(steps.step("a", &null, FIONREAD, &nothing).is_err());
        assert_eq!(steps.end().unwrap(), 2);

        let mut steps = Steps::new(true, &refusal("a:EPERM"));
        assert!(steps.step("a", &null, FIONREAD, &nothing).is_err());

        assert!(Steps::new(false, &refusal("a:EPERM")).end().is_err());
        assert!("a".parse::<Refusal>().is_err() && "a:E".parse::<Refusal>().is_err());
    }
}
