// SPDX-License-Identifier: GPL-2.0

//! Calls whose argument lies in memory of every kind, and in memory that changes while the kernel
//! waits for it. What the kernel answers here without the module, it must answer with it.

mod meanwhile;
mod memory;

use std::{io, os::fd::RawFd};

use kvm_bindings::kvm_userspace_memory_region;

use crate::{
    answer::Answer,
    argument::Argument,
    failure::{while_doing, Failure},
    races::track::{number, Vm},
    sys::{ioctl, place::PAGE},
};

/// One call.
pub struct Case {
    pub name: &'static str,
    /// How it was answered.
    pub run: fn() -> Result<String, Failure>,
}

pub fn all() -> impl Iterator<Item = &'static Case> {
    [memory::CASES, meanwhile::CASES].into_iter().flatten()
}

/// A VM, and a legal argument of KVM_SET_USER_MEMORY_REGION.
struct Caller {
    vm: Vm,
    bytes: Vec<u8>,
}

const REGION_BYTES: usize = size_of::<kvm_userspace_memory_region>();

impl Caller {
    fn new() -> Result<Self, Failure> {
        let vm = Vm::new(false)?;
        let memory = &vm.machine.second_memory;
        let mut bytes = Vec::new();
        bytes.extend(1_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        for word in [0x20_0000, memory.size_bytes(), memory.address()] {
            bytes.extend(word.to_ne_bytes());
        }
        Ok(Caller { vm, bytes })
    }

    fn fd(&self) -> Result<RawFd, Failure> {
        self.vm.fd()
    }

    /// The argument at `offset` of so many bytes.
    fn page(&self, offset: usize, bytes: usize) -> Vec<u8> {
        let mut page = vec![0; bytes];
        page[offset..offset + REGION_BYTES].copy_from_slice(&self.bytes);
        page
    }

    fn region_at(&self, address: u64) -> Result<Answer, Failure> {
        self.call("KVM_SET_USER_MEMORY_REGION", address)
    }

    fn call(&self, command: &str, address: u64) -> Result<Answer, Failure> {
        Ok(ioctl::native(
            self.fd()?,
            number(command)?,
            &Argument::number(address),
        ))
    }
}

/// Where an argument lies half on one page and half on the next.
const HALF: usize = PAGE - REGION_BYTES / 2;

fn mapping(error: io::Error) -> Failure {
    while_doing("memory for the argument")(error)
}
