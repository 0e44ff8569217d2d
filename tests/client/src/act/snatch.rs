// SPDX-License-Identifier: GPL-2.0

//! The steps in which a thread gets hold of a new VM's fd before KVM_CREATE_VM has returned it.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{vm::Vm, Actor};
use crate::{
    answer::Answer,
    argument::Argument,
    machine::Stage,
    sys::{file, ioctl, process},
};

/// Who has not got hold of an fd after so many VMs never will.
const MOST_TRIES: i64 = 3000;

impl Actor {
    /// Makes `count` VMs, while another thread puts the picked VM in the place of each; how often it was
    /// in time. The new VMs are gone then.
    pub fn swap(&mut self, count: u64) -> Stage<Answer> {
        let old = self.vm()?.fd.as_ref().ok_or("there is no fd of the VM")?;
        let mut swapped = 0;
        for _ in 0..count {
            let (answer, done) = self.snatch(|number| {
                file::is_open(number).then(|| process::leave_as(old, number).is_ok())
            })?;
            swapped += i64::from(done == Some(true));
            match answer {
                Answer::Ok(returned) => file::close_returned(returned),
                Answer::Errno(_) => return Ok(answer),
            }
        }
        Ok(Answer::Ok(swapped))
    }

    /// Makes VMs until another thread has put /dev/null in the place of one, which it keeps by another
    /// number; how many it took.
    pub fn hide(&mut self) -> Stage<Answer> {
        let null = file::open("/dev/null".as_ref()).map_err(sentence)?;
        for tries in 1..=MOST_TRIES {
            let (answer, kept) = self.snatch(|number| {
                let kept: OwnedFd = file::inherited(number).ok()?.into();
                Some(process::leave_as(&null, number).map(|()| kept))
            })?;
            match answer {
                Answer::Ok(returned) => file::close_returned(returned),
                Answer::Errno(_) => return Ok(answer),
            }
            if let Some(Ok(kept)) = kept {
                self.add_vm(Vm {
                    fd: Some(kept),
                    ..Vm::default()
                });
                return Ok(Answer::Ok(tries));
            }
        }
        Err(format!("no fd was taken in {MOST_TRIES} tries"))
    }

    /// KVM_CREATE_VM, while another thread tries `trick` on the number that the fd will have, until that has
    /// a result.
    fn snatch<T: Send>(
        &self,
        trick: impl Fn(RawFd) -> Option<T> + Sync,
    ) -> Stage<(Answer, Option<T>)> {
        let (fd, number) = (self.kvm_fd()?, super::vm::number("KVM_CREATE_VM")?);
        let (is_awake, has_returned) = (AtomicBool::new(false), AtomicBool::new(false));
        // The lowest number that is free.
        let next = File::open("/dev/null").map_err(sentence)?.as_raw_fd();
        thread::scope(|scope| {
            let thief = scope.spawn(|| {
                is_awake.store(true, Ordering::Relaxed);
                loop {
                    let done = trick(next);
                    if done.is_some() || has_returned.load(Ordering::Relaxed) {
                        return done;
                    }
                }
            });
            while !is_awake.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let answer = ioctl::native(fd, number, &Argument::number(0));
            has_returned.store(true, Ordering::Relaxed);
            let done = thief.join().map_err(|_| "the thief panicked".to_owned())?;
            Ok((answer, done))
        })
    }
}

fn sentence(error: io::Error) -> String {
    error.to_string()
}
