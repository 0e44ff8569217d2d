// SPDX-License-Identifier: GPL-2.0

//! A race for each command: a field of its argument that a rule looks at, a legal and a forbidden
//! value of it, and how to see which of both the handler has used.
//!
//! Where the kernel can be asked, it is: another command reads back what was set. Where it cannot,
//! the forbidden value is one that the handler itself answers with an errno of its own, which
//! nothing but that value brings about.

mod iommufd;
pub mod track;
mod vcpu;
mod vcpu_more;
mod vfio;
mod vhost;
mod vm;
mod vm_devices;
mod vm_interrupts;

use crate::failure::Failure;

pub use track::{Track, Used};

/// The errno of every rule here: no handler that is raced answers with it.
pub const REFUSAL: i32 = libc::EXDEV;

/// How many calls a second can be expected, roughly.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Some thousands and more, under emulation.
    Fast,
    /// Each call waits for other CPUs: a grace period of SRCU, a flush of a page table or a queue.
    Slow,
}

/// One race.
pub struct Race {
    pub command: &'static str,
    /// The field that is flipped, as policies call it.
    pub field: &'static str,
    /// The name that policies use for the kind of file.
    pub surface: &'static str,
    /// When the call is forbidden: true of the forbidden value, and false of the legal one.
    pub condition: &'static str,
    pub pace: Pace,
    /// Opens what is needed.
    pub make: fn() -> Made,
}

pub type Made = Result<Track, Failure>;

/// A kind of file to have races on, by the name that policies use for it.
struct On(&'static str);

const KVM: On = On("kvm");
const VM: On = On("kvm-vm");
const VCPU: On = On("kvm-vcpu");
const CONTAINER: On = On("vfio-container");

impl On {
    const fn race(
        self,
        command: &'static str,
        field: &'static str,
        condition: &'static str,
        make: fn() -> Made,
    ) -> Race {
        Race {
            command,
            field,
            surface: self.0,
            condition,
            pace: Pace::Fast,
            make,
        }
    }

    const fn slow_race(
        self,
        command: &'static str,
        field: &'static str,
        condition: &'static str,
        make: fn() -> Made,
    ) -> Race {
        Race {
            pace: Pace::Slow,
            ..self.race(command, field, condition, make)
        }
    }
}

impl Race {
    pub fn name(&self) -> String {
        format!("{}:{}.{}", self.surface, self.command, self.field)
    }

    pub fn rule(&self) -> String {
        format!(
            "deny {} {} if {} errno EXDEV",
            self.surface, self.command, self.condition
        )
    }
}

/// All races, kind of file by kind of file.
pub fn all() -> impl Iterator<Item = &'static Race> {
    [
        vm::RACES,
        vm_devices::RACES,
        vm_interrupts::RACES,
        vcpu::RACES,
        vcpu_more::RACES,
        vfio::RACES,
        iommufd::RACES,
        vhost::RACES,
    ]
    .into_iter()
    .flatten()
}

/// The race called `SURFACE:COMMAND.FIELD`.
pub fn named(name: &str) -> Option<&'static Race> {
    all().find(|race| race.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_lead_to_one_race_each() {
        let mut seen = HashSet::new();
        for race in all() {
            assert!(seen.insert(race.name()), "{}", race.name());
            assert_eq!(named(&race.name()).unwrap().condition, race.condition);
        }
        assert!(named("kvm-vcpu:KVM_RUN.nothing").is_none());
    }
}
