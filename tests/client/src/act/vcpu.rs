// SPDX-License-Identifier: GPL-2.0

//! The steps in which a vCPU's guest runs.

use std::{
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use super::{number, vm, Actor};
use crate::{
    answer::Answer,
    argument::Argument,
    guest::Guest,
    machine::Stage,
    sys::{file, ioctl, refused_memory::RefusedMemory, signals},
};

/// A guest that does not come to count within this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

impl Actor {
    pub fn take_on_vcpu(&mut self, words: &[&str]) -> Stage<Answer> {
        let (word, rest) = words.split_first().ok_or("a step has no words")?;
        let (index, guest) = match rest {
            [] => (0, "print"),
            [index] => (number(index)? as usize, "print"),
            [index, guest] => (number(index)? as usize, *guest),
            _ => return Err(format!("`{}` has too much", words.join(" "))),
        };
        match *word {
            "ready" => {
                let guest = match guest {
                    "print" => Guest::print("x")?,
                    "count" => Guest::Count,
                    _ => return Err(format!("`{guest}` is neither print nor count")),
                };
                self.vm_mut()?.make_ready(index, &guest)
            }
            "run" => self.run(index),
            "run-elsewhere" => thread::scope(|scope| {
                let runner = scope.spawn(|| self.run(index));
                (runner.join()).unwrap_or_else(|_| Err("the thread in KVM_RUN panicked".to_owned()))
            }),
            "leave" => self.leave(index),
            "spin" => self.stay(index, true, false),
            "spin-refused" => self.stay(index, true, true),
            "wait" => self.stay(index, false, false),
            _ => self.stop(index),
        }
    }

    /// KVM_RUN. What it was left for is its value.
    fn run(&self, index: usize) -> Stage<Answer> {
        let vcpu = self.vm()?.vcpu(index)?;
        let answer = ioctl::native(vcpu.fd.as_raw_fd(), run()?, &Argument::number(0));
        Ok(match (answer, &vcpu.page) {
            (Answer::Ok(_), Some(page)) => Answer::Ok(page.exit_reason().into()),
            _ => answer,
        })
    }

    /// KVM_RUN that returns before it enters the guest.
    fn leave(&self, index: usize) -> Stage<Answer> {
        let page = self.vm()?.vcpu(index)?.page()?;
        page.set_immediate_exit(true);
        let answer = self.run(index);
        page.set_immediate_exit(false);
        answer
    }

    /// Another thread stays in KVM_RUN: in a guest that is seen to count, or on the way to one, because
    /// its vCPU waits for another to start it. The first memory that the thread asks for may be refused.
    fn stay(&mut self, index: usize, counts: bool, is_refused: bool) -> Stage<Answer> {
        signals::catch_kicks().map_err(|error| error.to_string())?;
        let number = run()?;
        let vm = self.vm_mut()?;
        let vcpu = vm.vcpu_mut(index)?;
        if vcpu.inside.is_some() {
            return Err(format!("vCPU {index} spins already"));
        }
        let fd = file::duplicate(&vcpu.fd).map_err(|error| error.to_string())?;
        vcpu.inside = Some(thread::spawn(move || {
            let call = || ioctl::native(fd.as_raw_fd(), number, &Argument::number(0));
            match is_refused.then(|| RefusedMemory::at(1)) {
                Some(Err(error)) => Answer::Errno(error.raw_os_error().unwrap_or(0)),
                _refused => call(),
            }
        }));
        let began = Instant::now();
        while !vm.has_counted(index) {
            if !counts && began.elapsed() > AWHILE {
                return Ok(Answer::Ok(0));
            }
            let ended = (vm.vcpu(index)?.inside.as_ref()).is_none_or(|inside| inside.is_finished());
            if ended {
                return self.stop(index);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the guest of vCPU {index} does not count"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Answer::Ok(0))
    }

    /// Kicks that thread out; what KVM_RUN was answered with: EINTR, if nothing else was the reason.
    fn stop(&mut self, index: usize) -> Stage<Answer> {
        let vcpu = self.vm_mut()?.vcpu_mut(index)?;
        let inside = vcpu.inside.take();
        let inside = inside.ok_or_else(|| format!("vCPU {index} does not spin"))?;
        vcpu.page()?.set_immediate_exit(true);
        while !inside.is_finished() {
            signals::kick(&inside);
            thread::sleep(Duration::from_millis(5));
        }
        vcpu.page()?.set_immediate_exit(false);
        inside
            .join()
            .map_err(|_| "the thread in KVM_RUN panicked".to_owned())
    }
}

/// How long a thread needs to get into KVM_RUN, and more.
const AWHILE: Duration = Duration::from_millis(500);

fn run() -> Stage<u32> {
    vm::number("KVM_RUN")
}
