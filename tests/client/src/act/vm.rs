// SPDX-License-Identifier: GPL-2.0

//! A VM and what belongs to it, each part made by a call of its own.

use std::{
    collections::BTreeMap,
    io,
    mem::offset_of,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    thread::JoinHandle,
};

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use crate::{
    answer::Answer,
    argument::Argument,
    command::Command,
    guest::{self, Guest},
    machine::Stage,
    sys::{ioctl, pages::Pages, shared_run::SharedRun},
};

/// What an eventfd stands for in a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Irq(u32),
    Port(u64),
}

/// Any of its parts may live in another process.
#[derive(Default)]
pub struct Vm {
    pub fd: Option<OwnedFd>,
    pub vcpus: Vec<Vcpu>,
    pub devices: Vec<OwnedFd>,
    pub events: BTreeMap<Event, OwnedFd>,
    /// The memory of slot 0, where the guests are. Nothing is behind the other slots.
    pub memory: Option<Pages>,
    /// The id of the next vCPU.
    pub next_vcpu: u64,
}

pub struct Vcpu {
    pub fd: OwnedFd,
    /// Missing where the vCPU's page cannot be mapped: with the fd of another process's VM.
    pub page: Option<SharedRun>,
    /// The thread that sits in KVM_RUN.
    pub inside: Option<JoinHandle<Answer>>,
}

impl Vcpu {
    pub fn new(fd: OwnedFd) -> Self {
        Vcpu {
            page: SharedRun::new(&fd).ok(),
            fd,
            inside: None,
        }
    }

    pub fn page(&self) -> Stage<&SharedRun> {
        self.page
            .as_ref()
            .ok_or_else(|| "the page of this vCPU cannot be mapped".to_owned())
    }
}

impl Vm {
    pub fn fd(&self) -> Stage<RawFd> {
        match &self.fd {
            Some(fd) => Ok(fd.as_raw_fd()),
            None => Err("there is no fd of the VM".to_owned()),
        }
    }

    pub fn vcpu(&self, index: usize) -> Stage<&Vcpu> {
        self.vcpus
            .get(index)
            .ok_or_else(|| format!("there is no vCPU {index}"))
    }

    pub fn vcpu_mut(&mut self, index: usize) -> Stage<&mut Vcpu> {
        self.vcpus
            .get_mut(index)
            .ok_or_else(|| format!("there is no vCPU {index}"))
    }

    /// Gives vCPU `index` a guest and the registers to begin with it.
    pub fn make_ready(&mut self, index: usize, guest: &Guest) -> Stage<Answer> {
        let memory = self.memory.as_mut().ok_or("there is no memory in slot 0")?;
        for (offset, bytes) in guest.contents() {
            memory.put_bytes(guest::page_start(index) + offset, bytes);
        }
        let fd = self.vcpu(index)?.fd.as_raw_fd();
        let argument = Argument::from_pages(room()?);
        let got = ioctl::native(fd, number("KVM_GET_SREGS")?, &argument);
        if !matches!(got, Answer::Ok(_)) {
            return Ok(got);
        }
        let bytes = argument
            .pages()
            .map(|pages| pages.bytes_at(0, size_of::<kvm_sregs>()));
        let mut changed = room()?;
        changed.put_bytes(0, &bytes.unwrap_or_default());
        let base = guest::page_start(index) as u64;
        for segment in [offset_of!(kvm_sregs, cs), offset_of!(kvm_sregs, ds)] {
            changed.put(segment + offset_of!(kvm_segment, base), base);
            let selector = (base >> 4) as u16;
            changed.put(segment + offset_of!(kvm_segment, selector), selector);
        }
        let set = number("KVM_SET_SREGS")?;
        let answer = ioctl::native(fd, set, &Argument::from_pages(changed));
        if !matches!(answer, Answer::Ok(_)) {
            return Ok(answer);
        }
        let mut regs = room()?;
        // Bit 1 of the flags is always set.
        regs.put(offset_of!(kvm_regs, rflags), 2_u64);
        let set = number("KVM_SET_REGS")?;
        Ok(ioctl::native(fd, set, &Argument::from_pages(regs)))
    }

    /// Whether the guest that counts on vCPU `index` has begun to.
    pub fn has_counted(&self, index: usize) -> bool {
        let place = guest::page_start(index) + guest::COUNTER_OFFSET;
        (self.memory.as_ref()).is_some_and(|memory| memory.number_at(place) > 0)
    }
}

/// The number of a command.
pub fn number(name: &str) -> Stage<u32> {
    Ok(name.parse::<Command>()?.number)
}

fn room() -> Stage<Pages> {
    Pages::zeroed(guest::PAGE_BYTES).map_err(no_memory)
}

pub fn no_memory(error: io::Error) -> String {
    format!("mmap: {error}")
}
