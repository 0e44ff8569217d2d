// SPDX-License-Identifier: GPL-2.0

//! What all vhost devices have in common.
//!
//! No bindings are at hand: numbers and structs are those of `include/uapi/linux/vhost.h` and
//! `vhost_types.h`.

use std::os::fd::{AsRawFd, OwnedFd};

use vmm_sys_util::ioctl::{ioctl_expr, _IOC_NONE, _IOC_READ, _IOC_WRITE};

use super::{
    check,
    event::Event,
    open,
    ring::{Memory, Ring, ENTRIES},
    same, Steps,
};
use crate::{
    argument::{laid, with, Argument},
    failure::Failure,
};

pub const VIRTIO_F_VERSION_1: u64 = 1 << 32;

/// The number of a vhost command.
pub const fn vhost(direction: u32, nr: u32, size: usize) -> u32 {
    ioctl_expr(direction, 0xaf, nr, size as u32) as u32
}

pub const SET_OWNER: u32 = vhost(_IOC_NONE, 0x01, 0);
const GET_FEATURES: u32 = vhost(_IOC_READ, 0x00, 8);
const SET_FEATURES: u32 = vhost(_IOC_WRITE, 0x00, 8);
const SET_MEM_TABLE: u32 = vhost(_IOC_WRITE, 0x03, 8);
const SET_VRING_NUM: u32 = vhost(_IOC_WRITE, 0x10, 8);
const SET_VRING_ADDR: u32 = vhost(_IOC_WRITE, 0x11, 40);
const SET_VRING_BASE: u32 = vhost(_IOC_WRITE, 0x12, 8);
const GET_VRING_BASE: u32 = vhost(_IOC_READ | _IOC_WRITE, 0x12, 8);
const SET_VRING_KICK: u32 = vhost(_IOC_WRITE, 0x20, 8);
const SET_VRING_CALL: u32 = vhost(_IOC_WRITE, 0x21, 8);

/// `struct vhost_vring_file`, and of `vhost_vring_state` the same places.
pub fn of_ring(index: u32, value: i32) -> Result<Argument, Failure> {
    with([index, value as u32])
}

/// A vhost device, the memory of its guest, and its queues.
pub struct Device {
    pub file: OwnedFd,
    pub memory: Memory,
    pub kicks: Vec<Event>,
    pub calls: Vec<Event>,
}

/// Where the guest has the memory in which everything lies, and more of it.
const MEMORY_AT: u64 = 0x40_0000;
pub const SECOND_AT: u64 = 0x90_0000;
const MEMORY_BYTES: usize = 0x4_0000;

impl Device {
    /// A device with an owner, features and memory.
    pub fn new(steps: &mut Steps, path: &str) -> Result<Self, Failure> {
        let file = open(path)?;
        steps.must("owner", &file, SET_OWNER, &Argument::number(0))?;
        let features = with([u64::MAX])?;
        if steps
            .step("get-features", &file, GET_FEATURES, &features)?
            .is_some()
        {
            let features = features.u64_at(0);
            check(
                features != u64::MAX && features & VIRTIO_F_VERSION_1 != 0,
                || format!("features {features:#x}"),
            )?;
        }
        steps.step(
            "features",
            &file,
            SET_FEATURES,
            &with([VIRTIO_F_VERSION_1])?,
        )?;
        let memory = Memory::new(MEMORY_AT, MEMORY_BYTES)?;
        let device = Device {
            file,
            memory,
            kicks: Vec::new(),
            calls: Vec::new(),
        };
        device.set_memory(steps, "memory", &[])?;
        Ok(device)
    }

    /// Tells the device of its guest's memory, and of `others`. Whether it was told.
    pub fn set_memory(
        &self,
        steps: &mut Steps,
        name: &str,
        others: &[&Memory],
    ) -> Result<bool, Failure> {
        let table = laid(|pages| {
            pages.put(0, 1 + others.len() as u32);
            pages.put(8, self.memory.region());
            for (place, other) in others.iter().enumerate() {
                pages.put(8 + 32 * (place + 1), other.region());
            }
        })?;
        let told = steps.step(name, &self.file, SET_MEM_TABLE, &table)?;
        Ok(told.is_some())
    }

    /// Gives the device one more queue.
    pub fn add(&mut self, steps: &mut Steps, ring: &Ring) -> Result<(), Failure> {
        let index = self.kicks.len() as u32;
        let (kick, call) = (Event::new()?, Event::new()?);
        let mut set = |what: &str, number, argument: &Argument| {
            steps.must(&format!("{what}-{index}"), &self.file, number, argument)
        };
        set("num", SET_VRING_NUM, &of_ring(index, ENTRIES.into())?)?;
        set("base", SET_VRING_BASE, &of_ring(index, 0)?)?;
        let addresses = laid(|pages| {
            pages.put(0, index);
            pages.put(8, self.memory.address(ring.descriptors()));
            pages.put(16, self.memory.address(ring.used()));
            pages.put(24, self.memory.address(ring.available()));
        })?;
        set("addr", SET_VRING_ADDR, &addresses)?;
        set("kick", SET_VRING_KICK, &of_ring(index, kick.as_raw_fd())?)?;
        set("call", SET_VRING_CALL, &of_ring(index, call.as_raw_fd())?)?;
        self.kicks.push(kick);
        self.calls.push(call);
        Ok(())
    }

    /// A stopped queue says how far it has come, and goes on from there.
    pub fn base(&self, steps: &mut Steps, index: u32, ring: &Ring) -> Result<(), Failure> {
        let state = with([index, u32::MAX])?;
        let name = format!("get-base-{index}");
        if steps
            .step(&name, &self.file, GET_VRING_BASE, &state)?
            .is_some()
        {
            same(&name, state.u32_at(0), index)?;
            same(&name, state.u32_at(4), ring.offered().into())?;
        }
        let state = of_ring(index, ring.offered().into())?;
        steps.must(
            &format!("base-again-{index}"),
            &self.file,
            SET_VRING_BASE,
            &state,
        )?;
        Ok(())
    }
}
