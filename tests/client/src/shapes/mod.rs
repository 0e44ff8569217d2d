// SPDX-License-Identifier: GPL-2.0

//! For each virtual patch the calls that it forbids, and the nearest ones that it lets through.
//!
//! A shape is made of the headers' structs (kvm-bindings, vfio-bindings, iommufd-bindings) on a
//! real file. What a rule means by a field's name must be what these bytes say.

mod cpuid;
mod iommufd;
mod sev;
mod state;
mod vcpu;
pub mod vfio;
mod vhost;
mod vm;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::{
    act::Actor,
    answer::Answer,
    argument::{laid, with, Argument},
    command::Command,
    device::open,
    failure::Failure,
    guest::Guest,
    machine::{Machine, Wanted},
    surface::Surface,
    sys::ioctl,
};

/// A call that some virtual patches forbid, and the nearest legal one.
pub struct Shape {
    /// The virtual patches.
    pub cves: &'static [&'static str],
    /// Which of the ways to the hole this is; no CVE has one twice.
    pub way: &'static str,
    /// The name that policies use for the kind of file.
    pub surface: &'static str,
    /// Opens what is needed.
    pub make: fn(Side) -> Made,
}

/// The nested virtualization of a hostile guest is the root of each of these.
const NESTED: &[&str] = &[
    "CVE-2021-3653",
    "CVE-2021-3656",
    "CVE-2021-29657",
    "CVE-2022-1789",
];

/// All shapes, kind of file by kind of file.
pub fn all() -> impl Iterator<Item = &'static Shape> {
    [
        vm::SHAPES,
        cpuid::SHAPES,
        vcpu::SHAPES,
        sev::SHAPES,
        state::SHAPES,
        vhost::SHAPES,
        vfio::SHAPES,
        iommufd::SHAPES,
    ]
    .into_iter()
    .flatten()
}

/// The shape called `CVE.way`.
pub fn named(name: &str) -> Option<&'static Shape> {
    let (cve, way) = name.split_once('.')?;
    all().find(|shape| shape.way == way && shape.cves.contains(&cve))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    Forbidden,
    Legal,
}

impl Side {
    fn pick<T>(self, forbidden: T, legal: T) -> T {
        match self {
            Side::Forbidden => forbidden,
            Side::Legal => legal,
        }
    }
}

pub type Made = Result<Ready, Failure>;

/// A call with everything at hand to make it.
pub struct Ready {
    target: Target,
    number: u32,
    argument: Argument,
}

/// What the call goes to, and what must stay open meanwhile.
enum Target {
    Machine(Box<Machine>, Surface),
    /// The last of these.
    Files(Vec<OwnedFd>),
    /// One of the files that the actor has opened.
    Opened {
        _by: Box<Actor>,
        fd: RawFd,
    },
}

impl Ready {
    /// Makes the call. An fd that it returns stays open: the program ends.
    pub fn perform(&self) -> Result<Answer, Failure> {
        let fd = self.target.fd()?;
        Ok(ioctl::native(fd, self.number, &self.argument))
    }

    fn on(machine: Machine, surface: Surface, command: &str, argument: Argument) -> Made {
        Ok(Ready {
            target: Target::Machine(Box::new(machine), surface),
            number: number(command)?,
            argument,
        })
    }
}

impl Target {
    fn fd(&self) -> Result<RawFd, Failure> {
        match self {
            Target::Machine(machine, surface) => {
                machine.fd(*surface, 0).map_err(Failure::Unexpected)
            }
            Target::Files(files) => files
                .last()
                .map(AsRawFd::as_raw_fd)
                .ok_or_else(|| Failure::Unexpected("no file was opened".to_owned())),
            Target::Opened { fd, .. } => Ok(*fd),
        }
    }
}

/// A fresh VM, with what `surface` needs.
fn machine(surface: Surface) -> Result<Machine, Failure> {
    Machine::open(&Wanted::by([surface], 1), |_| Guest::Halt)
}

/// The number of a KVM command.
fn number(command: &str) -> Result<u32, Failure> {
    let command = Command::named(command);
    command
        .map(|command| command.number)
        .ok_or_else(|| Failure::Unexpected("the table lacks the command".to_owned()))
}

/// A call on the way to the one that counts.
fn step(what: &str, file: &OwnedFd, number: u32, argument: &Argument) -> Result<i64, Failure> {
    match ioctl::native(file.as_raw_fd(), number, argument) {
        Answer::Ok(value) => Ok(value),
        refusal => Err(Failure::Unexpected(format!(
            "{what} was answered with {refusal}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_lead_to_one_shape_each() {
        let mut seen = HashSet::new();
        for shape in all() {
            for cve in shape.cves {
                let name = format!("{cve}.{}", shape.way);
                let found = named(&name).unwrap();
                assert_eq!((found.way, found.surface), (shape.way, shape.surface));
                assert!(seen.insert(name));
            }
        }
        assert!(named("CVE-2021-3653").is_none() && named("CVE-2021-3653.nothing").is_none());
    }
}
