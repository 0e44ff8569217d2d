// SPDX-License-Identifier: GPL-2.0

//! A VMM that does what it is told, a step at a time.
//!
//! [`Actor`] holds what it has opened; [`calls`] are the steps that are ioctls, [`own`] those by which
//! a process changes itself, [`vcpu`] those in which a guest runs, [`snatch`] those in which a thread gets
//! hold of what a call of another is to return.

pub mod calls;
pub mod own;
pub mod snatch;
pub mod vcpu;
pub mod vm;

use std::{
    fmt,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    str::FromStr,
};

use crate::{
    answer::{Answer, Expect},
    device::vfio::Container,
    machine::Stage,
};
use vm::Vm;

/// What was opened so far. Steps are about the VM that was picked: the last one, until another is.
#[derive(Default)]
pub struct Actor {
    pub kvm: Option<OwnedFd>,
    pub vms: Vec<Vm>,
    pub picked: usize,
    pub container: Option<Container>,
    pub iommufd: Option<OwnedFd>,
    pub queue: Option<(UnixStream, UnixStream)>,
}

/// `WORD... [-> EXPECT]`
#[derive(Clone, Debug)]
pub struct Step {
    pub words: Vec<String>,
    /// What it must be answered with.
    pub expect: Expect,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (words, expect) = text.split_once("->").unwrap_or((text, "ok"));
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err("a step has no words".to_owned());
        }
        Ok(Step {
            words,
            expect: expect.trim().parse()?,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

impl Actor {
    /// Takes a step; the error is a sentence about one that cannot be taken. `rest` is what a program
    /// that this one becomes is to do.
    pub fn take(&mut self, words: &[&str], rest: &[String]) -> Stage<Answer> {
        match words {
            ["kvm"] => Ok(opened("/dev/kvm", &mut self.kvm)),
            ["iommufd"] => Ok(opened("/dev/iommu", &mut self.iommufd)),
            ["pick", vm] => {
                let index = number(vm)? as usize;
                self.vms.get(index).ok_or("there is no such VM")?;
                self.picked = index;
                Ok(Answer::Ok(0))
            }
            ["close", what] => self.close(what),
            ["run" | "run-elsewhere" | "leave" | "spin" | "spin-refused" | "wait" | "stop"
            | "ready", ..] => self.take_on_vcpu(words),
            ["race", threads, words @ ..] => self.race(number(threads)? as usize, 1, words),
            ["race-vms", threads, words @ ..] => {
                self.race(number(threads)? as usize, self.vms.len(), words)
            }
            ["each-refused", words @ ..] => self.each_refused(words),
            ["swap", count] => self.swap(number(count)?),
            ["hide"] => self.hide(),
            ["times", count, words @ ..] => self.repeat(number(count)?, words),
            _ if own::is_one(words) => self.change(words, rest),
            _ => {
                let planned = self.plan(words)?;
                let answer = planned.perform();
                self.note(planned, answer)?;
                Ok(answer)
            }
        }
    }

    pub fn vm(&self) -> Stage<&Vm> {
        self.vms
            .get(self.picked)
            .ok_or_else(|| "there is no VM".to_owned())
    }

    pub fn vm_mut(&mut self) -> Stage<&mut Vm> {
        self.vms
            .get_mut(self.picked)
            .ok_or_else(|| "there is no VM".to_owned())
    }

    /// The picked VM; a hollow one, for a part of a VM whose other parts live elsewhere.
    pub fn vm_or_hollow(&mut self) -> &mut Vm {
        if self.vms.is_empty() {
            self.add_vm(Vm::default());
        }
        &mut self.vms[self.picked]
    }

    pub fn add_vm(&mut self, vm: Vm) {
        self.vms.push(vm);
        self.picked = self.vms.len() - 1;
    }

    pub fn kvm_fd(&self) -> Stage<RawFd> {
        match &self.kvm {
            Some(fd) => Ok(fd.as_raw_fd()),
            None => Err("/dev/kvm is not open: say kvm first".to_owned()),
        }
    }

    fn close(&mut self, what: &str) -> Stage<Answer> {
        match what {
            "kvm" => self.kvm = None,
            "vm" => self.vm_mut()?.fd = None,
            "vcpus" => self.vm_mut()?.vcpus.clear(),
            "devices" => self.vm_mut()?.devices.clear(),
            // The memory stays: a guest elsewhere may have it.
            "all" => *self.vm_mut()? = Vm::default(),
            "vms" => {
                self.vms.clear();
                self.picked = 0;
            }
            _ => {
                return Err(format!(
                    "`{what}` is none of kvm, vm, vcpus, devices, all, vms"
                ))
            }
        }
        Ok(Answer::Ok(0))
    }
}

/// Opens a file into its place.
fn opened(path: &str, place: &mut Option<OwnedFd>) -> Answer {
    match crate::sys::file::open(path.as_ref()) {
        Ok(file) => {
            *place = Some(file.into());
            Answer::Ok(0)
        }
        Err(error) => Answer::Errno(error.raw_os_error().unwrap_or(0)),
    }
}

/// A number, decimal or 0x, with K, M, G or T behind it.
pub fn number(text: &str) -> Stage<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    };
    value
        .and_then(|value| value.checked_shl(shift))
        .ok_or_else(|| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        let step: Step = "memory 0 1M -> EPERM".parse().unwrap();
        assert_eq!(step.words, ["memory", "0", "1M"]);
        assert!(step.expect.judge(Answer::Errno(libc::EPERM)).is_ok());
        let step: Step = "vm".parse().unwrap();
        assert!(step.expect.judge(Answer::Ok(3)).is_ok());
        assert!(step.expect.judge(Answer::Errno(libc::EPERM)).is_err());
        for bad in ["", " -> ok", "vm -> EBOGUS"] {
            assert!(bad.parse::<Step>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_suffixes() {
        assert_eq!(number("64K"), Ok(65536));
        assert_eq!(number("0x10"), Ok(16));
        assert!(number("K").is_err() && number("1X").is_err());
    }

    #[test]
    fn what_is_not_there_is_told() {
        let mut actor = Actor::default();
        for step in [
            "vm",
            "vcpu",
            "pick 0",
            "run 0",
            "close moon",
            "times 2 vcpu",
            "moon",
            "memory 0",
        ] {
            let words: Vec<&str> = step.split(' ').collect();
            assert!(actor.take(&words, &[]).is_err(), "{step}");
        }
    }
}
