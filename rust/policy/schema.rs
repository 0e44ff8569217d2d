// SPDX-License-Identifier: GPL-2.0

//! What exists: surfaces, their commands, error numbers. The tables come from the uapi headers.

mod errno;
mod kvm;

/// A kind of file whose ioctls are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Surface {
    /// `/dev/kvm`.
    Kvm,
    /// A virtual machine.
    KvmVm,
    /// A virtual CPU.
    KvmVcpu,
    /// A device inside a virtual machine, made by `KVM_CREATE_DEVICE`.
    KvmDevice,
}

impl Surface {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Kvm, Self::KvmVm, Self::KvmVcpu, Self::KvmDevice];

    /// The name that policies and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::KvmVm => "kvm-vm",
            Self::KvmVcpu => "kvm-vcpu",
            Self::KvmDevice => "kvm-device",
        }
    }

    /// The surface of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|surface| surface.name() == name)
    }

    /// The place in [`Self::ALL`].
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// An ioctl that the headers name.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The name of its macro.
    pub name: &'static str,
    /// The number that a 64-bit caller passes.
    pub number: u32,
    /// The number that a 32-bit caller passes; another one where the argument holds a pointer.
    pub compat_number: u32,
    /// Where it is handled: nowhere if it belongs to another architecture.
    pub surfaces: &'static [Surface],
}

/// Every ioctl of the headers, sorted by name.
pub fn commands() -> &'static [Command] {
    kvm::COMMANDS
}

/// The ioctl of that name.
pub fn command(name: &str) -> Option<&'static Command> {
    let at = commands().binary_search_by(|command| command.name.cmp(name));
    commands().get(at.ok()?)
}

/// The ioctl that a surface knows by that number, of 64-bit or of 32-bit callers.
pub fn command_by_number(surface: Surface, number: u32) -> Option<&'static Command> {
    commands().iter().find(|command| {
        (command.number == number || command.compat_number == number)
            && command.surfaces.contains(&surface)
    })
}

/// Every error name with its number, in order of the numbers.
pub fn errnos() -> &'static [(&'static str, u16)] {
    errno::ERRNOS
}

/// The number of an error name.
pub fn errno(name: &str) -> Option<u16> {
    let found = errnos().iter().find(|(candidate, _)| *candidate == name)?;
    Some(found.1)
}

/// The name of an error number.
pub fn errno_name(number: u16) -> Option<&'static str> {
    let found = errnos()
        .iter()
        .find(|(_, candidate)| *candidate == number)?;
    Some(found.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sorted_by_name() {
        assert!(commands().is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn surfaces_are_in_the_order_of_their_numbers() {
        for (index, surface) in Surface::ALL.into_iter().enumerate() {
            assert_eq!(surface.index(), index);
            assert_eq!(Surface::from_name(surface.name()), Some(surface));
        }
    }

    #[test]
    fn no_two_commands_of_a_surface_share_a_number() {
        for command in commands() {
            for &surface in command.surfaces {
                for number in [command.number, command.compat_number] {
                    assert_eq!(command_by_number(surface, number), Some(command));
                }
            }
        }
    }

    #[test]
    fn every_name_is_found() {
        for found in commands() {
            assert_eq!(command(found.name), Some(found));
        }
        for &(name, number) in errnos() {
            assert_eq!(errno(name), Some(number));
            assert_eq!(errno_name(number), Some(name));
        }
    }
}
