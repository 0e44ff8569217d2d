// SPDX-License-Identifier: GPL-2.0

//! Everything after: a thread for each vCPU, one for the device, and a pause in the middle.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{channel, Receiver, RecvTimeoutError, Sender},
        Arc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use vmm_sys_util::{
    eventfd::EventFd,
    signal::{register_signal_handler, Killable, SIGRTMIN},
};

use crate::{
    guest, refused,
    setup::{irqchip, Machine, SLOTS},
    State,
};

/// How long to wait for a vCPU that was kicked before it is kicked again.
const KICK: Duration = Duration::from_millis(10);

/// What a thread tells the first one.
enum News {
    /// The guest has done half of its work. Its vCPU waits.
    HalfTime,
    /// This vCPU waits, and this is its state.
    Paused(Box<State>),
    /// The guest has reset the machine.
    Reset,
    Failed(String),
}

struct Runner {
    vcpu: VcpuFd,
    msrs: Vec<u32>,
    news: Sender<News>,
    /// Whether a vCPU that was kicked is to wait.
    pause: Arc<AtomicBool>,
    resume: Receiver<()>,
    said: Vec<u8>,
}

/// Runs the machine until its guest resets it. Returns its vCPUs, and what the guest has said.
///
/// vCPU 1 goes on waiting for interrupts.
pub fn run(machine: &mut Machine) -> Result<(Vec<VcpuFd>, Vec<u8>), String> {
    // A signal must make KVM_RUN return, and nothing else.
    register_signal_handler(SIGRTMIN(), ignore).map_err(|error| format!("sigaction: {error}"))?;
    let (doorbell, interrupt) = (clone(&machine.doorbell)?, clone(&machine.interrupt)?);
    thread::spawn(move || device(&doorbell, &interrupt));

    let msrs = machine
        .kvm
        .get_msr_index_list()
        .map_err(refused("KVM_GET_MSR_INDEX_LIST"))?;
    let (tell, news) = channel();
    let pause = Arc::new(AtomicBool::new(false));
    let mut threads: Vec<JoinHandle<(VcpuFd, Vec<u8>)>> = Vec::new();
    let mut resumes = Vec::new();
    for vcpu in machine.vcpus.drain(..) {
        let (go, resume) = channel();
        let runner = Runner {
            vcpu,
            msrs: msrs.as_slice().to_vec(),
            news: tell.clone(),
            pause: pause.clone(),
            resume,
            said: Vec::new(),
        };
        threads.push(thread::spawn(|| runner.run()));
        resumes.push(go);
    }

    loop {
        match news.recv().map_err(|error| error.to_string())? {
            News::HalfTime => {
                let states = pause_all(&pause, &threads, &news)?;
                let dirty = look_at(&machine.vm)?;
                println!("microvm: paused {states} vCPUs, {dirty} pages are dirty");
                pause.store(false, Ordering::SeqCst);
                for go in &resumes {
                    go.send(()).map_err(|error| error.to_string())?;
                }
            }
            News::Reset => break,
            News::Paused(_) => return Err("a vCPU pauses by itself".to_owned()),
            News::Failed(why) => return Err(why),
        }
    }
    let (first, said) = threads
        .swap_remove(0)
        .join()
        .map_err(|_| "vCPU 0 panicked")?;
    Ok((vec![first], said))
}

/// Kicks the vCPUs until each has said that it waits. Returns how many.
fn pause_all<T>(
    pause: &AtomicBool,
    threads: &[JoinHandle<T>],
    news: &Receiver<News>,
) -> Result<usize, String> {
    pause.store(true, Ordering::SeqCst);
    let mut states = Vec::new();
    while states.len() < threads.len() {
        match news.recv_timeout(KICK) {
            Ok(News::Paused(state)) => states.push(state),
            Ok(News::Failed(why)) => return Err(why),
            Ok(_) => return Err("the guest went on while it was paused".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                for thread in threads {
                    thread
                        .kill(SIGRTMIN())
                        .map_err(|error| format!("pthread_kill: {error}"))?;
                }
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(states.len())
}

/// What a snapshot takes of the VM. Returns how many pages are dirty.
fn look_at(vm: &VmFd) -> Result<u32, String> {
    for chip_id in 0..3 {
        irqchip(vm, chip_id)?;
    }
    vm.get_pit2().map_err(refused("KVM_GET_PIT2"))?;
    vm.get_clock().map_err(refused("KVM_GET_CLOCK"))?;
    let mut dirty = 0;
    for (slot, bytes) in SLOTS {
        let log = vm
            .get_dirty_log(slot, bytes)
            .map_err(refused("KVM_GET_DIRTY_LOG"))?;
        dirty += log.iter().map(|word| word.count_ones()).sum::<u32>();
    }
    Ok(dirty)
}

/// Answers each ring of the doorbell with an interrupt.
fn device(doorbell: &EventFd, interrupt: &EventFd) {
    while doorbell.read().is_ok() && interrupt.write(1).is_ok() {}
}

impl Runner {
    fn run(mut self) -> (VcpuFd, Vec<u8>) {
        let news = match self.until_reset() {
            Ok(()) => News::Reset,
            Err(why) => News::Failed(why),
        };
        // Who would hear of it has gone, and the process with it.
        let _ = self.news.send(news);
        (self.vcpu, self.said)
    }

    fn until_reset(&mut self) -> Result<(), String> {
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::IoOut(guest::SERIAL, [guest::HALF_TIME])) => {
                    self.said.push(guest::HALF_TIME);
                    self.tell(News::HalfTime)?;
                    self.wait()?;
                }
                Ok(VcpuExit::IoOut(guest::SERIAL, [byte])) => self.said.push(*byte),
                Ok(VcpuExit::IoOut(guest::KEYBOARD, [0xfe])) => return Ok(()),
                Ok(VcpuExit::MmioRead(guest::REGISTER, data)) if data.len() == 4 => {
                    data.copy_from_slice(&guest::ANSWER.to_le_bytes());
                }
                Ok(exit) => return Err(format!("KVM_RUN ended with {exit:?}")),
                Err(error) if error.errno() == libc::EINTR => {
                    if self.pause.load(Ordering::SeqCst) {
                        self.wait()?;
                    }
                }
                // A vCPU that was not started yet.
                Err(error) if error.errno() == libc::EAGAIN => {}
                Err(error) => return Err(refused("KVM_RUN")(error)),
            }
        }
    }

    /// Tells the state, and waits for the word to go on.
    fn wait(&mut self) -> Result<(), String> {
        let state = State::take(&self.vcpu, &self.msrs)?;
        self.tell(News::Paused(Box::new(state)))?;
        self.resume.recv().map_err(|error| error.to_string())?;
        // The guest may be told that it was stopped, if it has a clock that KVM keeps.
        match self.vcpu.kvmclock_ctrl() {
            Err(error) if error.errno() != libc::EINVAL => Err(refused("KVM_KVMCLOCK_CTRL")(error)),
            _ => Ok(()),
        }
    }

    fn tell(&self, news: News) -> Result<(), String> {
        self.news.send(news).map_err(|error| error.to_string())
    }
}

extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

fn clone(eventfd: &EventFd) -> Result<EventFd, String> {
    eventfd
        .try_clone()
        .map_err(|error| format!("eventfd: {error}"))
}
