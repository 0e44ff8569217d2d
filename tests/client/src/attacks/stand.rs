// SPDX-License-Identifier: GPL-2.0

//! Where attacks are made from: a VM whose calls are judged, the window, and memory to try with.

use std::{cell::RefCell, fs, os::fd::RawFd};

use kvm_bindings::{kvm_userspace_memory_region, KVM_MEM_LOG_DIRTY_PAGES};

use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    races::{
        track::{ask, laid, number, with, Vm},
        REFUSAL,
    },
    sys::{
        pages::Pages,
        victim::{forked, Victim},
    },
};

/// The rules that the calls here need.
pub const RULES: &[&str] = &[
    "deny kvm-vm KVM_SET_USER_MEMORY_REGION if slot == 1 and flags != 0 errno EXDEV",
    "deny kvm-vm KVM_X86_SET_MSR_FILTER if flags == 2 errno EXDEV",
];

pub struct Stand {
    calls: Option<Calls>,
    /// The lines of /proc/self/maps that tell of windows, when all began.
    lines: Vec<String>,
    victim: Victim,
    scratch: RefCell<[Pages; 2]>,
}

/// A call that is legal, one that is forbidden, and one that tells which of both was made.
struct Calls {
    _vm: Vm,
    fd: RawFd,
    set: u32,
    get: u32,
    legal: Pages,
    forbidden: Pages,
    log: Pages,
}

impl Stand {
    /// A VM, its first judged calls, and the window that came of them.
    pub fn open() -> Result<Self, Failure> {
        let calls = Calls::new()?;
        calls.make()?;
        let lines = windows()?;
        let first = lines.first().ok_or_else(|| {
            Failure::Unexpected("a judged call left no window in /proc/self/maps".to_owned())
        })?;
        let victim = parse(first)
            .ok_or_else(|| Failure::Unexpected(format!("this is no line of maps: {first}")))?;
        Self::at(Some(calls), lines, victim)
    }

    /// A VM that has made no judged call yet, and so has no window.
    pub fn prepare() -> Result<Self, Failure> {
        Self::at(Some(Calls::new()?), Vec::new(), Victim::foreign(0, 0))
    }

    /// The same with a page of our own for a window, which nothing protects.
    pub fn ordinary() -> Result<Self, Failure> {
        let victim = Victim::ordinary().map_err(while_doing("mmap"))?;
        let mut stand = Self::at(None, Vec::new(), victim)?;
        stand.lines = stand.now()?;
        Ok(stand)
    }

    /// The window and memory of its own, for another thread.
    pub fn beside(&self) -> Result<Self, Failure> {
        Self::at(None, self.lines.clone(), self.victim)
    }

    fn at(calls: Option<Calls>, lines: Vec<String>, victim: Victim) -> Result<Self, Failure> {
        let scratch = RefCell::new([laid(|_| ())?, laid(|_| ())?]);
        Ok(Stand {
            calls,
            lines,
            victim,
            scratch,
        })
    }

    pub fn victim(&self) -> Victim {
        self.victim
    }

    /// Attacks this part of the window from now on.
    pub fn aim(&mut self, victim: Victim) {
        self.victim = victim;
    }

    /// The address of a copy of `bytes`, until the next call.
    pub fn scratch(&self, bytes: &[u8]) -> u64 {
        self.copied(0, bytes)
    }

    /// The same in other memory.
    pub fn more_scratch(&self, bytes: &[u8]) -> u64 {
        self.copied(1, bytes)
    }

    fn copied(&self, which: usize, bytes: &[u8]) -> u64 {
        let scratch = &mut self.scratch.borrow_mut()[which];
        scratch.put_bytes(0, bytes);
        scratch.address()
    }

    /// An address where nothing is mapped.
    pub fn empty(&self) -> u64 {
        Pages::zeroed(64 * 1024).map_or(0, |pages| pages.address())
    }

    /// A page of 0xff bytes, which is given up.
    pub fn filled(&self) -> u64 {
        let Ok(mut pages) = Pages::zeroed(4096) else {
            return 0;
        };
        pages.put_bytes(0, &[0xff; 4096]);
        let address = pages.address();
        std::mem::forget(pages);
        address
    }

    /// Whether a child that fork(2) makes finds a window in its memory.
    pub fn child_has_window(&self) -> Result<bool, Failure> {
        let lines = forked(|| i32::from(!windows().is_ok_and(|lines| lines.is_empty())));
        Ok(lines.map_err(while_doing("fork"))? != 0)
    }

    /// The calls of the VM: the legal one passes, the forbidden one is refused, and nothing else
    /// comes of them.
    pub fn calls(&self) -> Result<(), Failure> {
        self.calls.as_ref().map_or(Ok(()), Calls::make)
    }

    /// The same, and the window is as it was when all began.
    pub fn check(&self) -> Result<(), Failure> {
        self.calls()?;
        let now = self.now()?;
        if now == self.lines {
            return Ok(());
        }
        Err(Failure::Unexpected(format!(
            "maps said {:?} and says {now:?}",
            self.lines
        )))
    }

    fn now(&self) -> Result<Vec<String>, Failure> {
        if self.calls.is_some() {
            return windows();
        }
        let start = format!("{:x}-", self.victim.start);
        lines(|line| line.starts_with(&start))
    }
}

impl Calls {
    fn new() -> Result<Self, Failure> {
        let vm = Vm::without_memory()?;
        let memory = &vm.machine.second_memory;
        let region = |flags| {
            with(kvm_userspace_memory_region {
                slot: 1,
                flags,
                guest_phys_addr: 0x20_0000,
                memory_size: memory.size_bytes(),
                userspace_addr: memory.address(),
            })
        };
        Ok(Calls {
            fd: vm.fd()?,
            set: number("KVM_SET_USER_MEMORY_REGION")?,
            get: number("KVM_GET_DIRTY_LOG")?,
            legal: region(0)?,
            forbidden: region(KVM_MEM_LOG_DIRTY_PAGES)?,
            log: laid(|pages| {
                pages.put(0, 1_u64);
                pages.put(8, pages.address() + 4096);
            })?,
            _vm: vm,
        })
    }

    fn make(&self) -> Result<(), Failure> {
        for (what, number, pages, hoped) in [
            ("the legal call", self.set, &self.legal, Answer::Ok(0)),
            (
                "the forbidden call",
                self.set,
                &self.forbidden,
                Answer::Errno(REFUSAL),
            ),
            (
                "the log of dirty pages",
                self.get,
                &self.log,
                Answer::Errno(libc::ENOENT),
            ),
        ] {
            let answer = ask(self.fd, number, pages);
            if answer != hoped {
                return Err(Failure::Unexpected(format!("{what}: {answer}")));
            }
        }
        Ok(())
    }
}

/// The lines of /proc/self/maps that tell of windows.
pub fn windows() -> Result<Vec<String>, Failure> {
    lines(|line| line.contains(" /portcullis"))
}

pub fn lines(wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Failure> {
    let maps = fs::read_to_string("/proc/self/maps").map_err(while_doing("/proc/self/maps"))?;
    Ok(maps
        .lines()
        .filter(|line| wanted(line))
        .map(str::to_owned)
        .collect())
}

/// The range that a line of /proc/self/maps begins with.
pub fn parse(line: &str) -> Option<Victim> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(Victim::foreign(number(start)?, number(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line = "7f0000001000-7f0000003000 ---p 00000000 00:0f 12   /portcullis (deleted)";
        let window = parse(line).unwrap();
        assert_eq!(
            (window.start, window.size_bytes),
            (0x7f00_0000_1000, 0x2000)
        );
        assert!(parse("nothing").is_none() && parse("").is_none());
        assert!(windows().unwrap().is_empty());
        assert_eq!(lines(|line| line.contains("[stack]")).unwrap().len(), 1);
    }
}
