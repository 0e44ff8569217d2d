// SPDX-License-Identifier: GPL-2.0

//! One ioctl as a test names it, and the same with everything at hand to make it.

use std::{fmt, os::fd::RawFd, str::FromStr};

use crate::{
    answer::Answer,
    argument::{Argument, What, Wish},
    command::Command,
    machine::{Machine, Stage},
    surface::Surface,
    sys::{file, ioctl},
    valid,
};

/// `SURFACE COMMAND [ARG] [compat]`, or the same with colons between.
#[derive(Clone, Debug)]
pub struct Call {
    pub surface: Surface,
    pub command: Command,
    pub wish: Wish,
    pub compat: bool,
}

impl Call {
    pub fn from_words(words: &[&str]) -> Result<Self, String> {
        let (surface, rest) = words.split_first().ok_or("a SURFACE is missing")?;
        let surface: Surface = surface.parse()?;
        let (command, rest) = match (rest.split_first(), surface) {
            (Some((command, rest)), _) => (command.parse()?, rest),
            (None, Surface::Tty) => ("TIOCGWINSZ".parse()?, rest),
            (None, _) => return Err(format!("a COMMAND is missing after `{surface}`")),
        };
        let (wish, compat) = match rest {
            [] => (Wish::default(), false),
            ["compat"] => (Wish::default(), true),
            [wish] => (wish.parse()?, false),
            [wish, "compat"] => (wish.parse()?, true),
            [_, second, ..] => return Err(format!("`{second}` is too much")),
        };
        let call = Call {
            surface,
            command,
            wish,
            compat,
        };
        call.check()?;
        Ok(call)
    }

    /// Refuses what cannot be said in 32 bits.
    pub fn check(&self) -> Result<(), String> {
        match self.wish.what {
            What::Number(number) if self.compat && number > u64::from(u32::MAX) => Err(format!(
                "{number:#x} does not fit into the argument of a 32-bit call"
            )),
            _ => Ok(()),
        }
    }

    /// Makes the call's argument, and finds its fd (that of vCPU `vcpu` where there are several).
    pub fn prepare(&self, machine: &Machine, vcpu: usize) -> Stage<Prepared> {
        let fd = machine
            .fd(self.surface, vcpu)
            .map_err(|reason| format!("there is no {} to call: {reason}", self.surface))?;
        let argument = match self.wish.what {
            What::Default => self.default_argument()?,
            What::Number(number) => Argument::number(number),
            What::Zero => Argument::zeroed().map_err(no_memory)?,
            What::Bad => Argument::bad().map_err(no_memory)?,
            What::Valid => valid::argument(self, machine, fd)?,
        };
        let argument = argument
            .fitted(&self.wish)
            .map_err(|error| format!("the argument could not be placed: {error}"))?;
        Ok(Prepared {
            fd,
            number: self.command.number,
            argument,
            compat: self.compat,
            returns_fd: self.surface != Surface::Tty && self.command.returns_fd(),
        })
    }

    /// A pointer to zeroes for a command that takes a pointer, 0 for any other.
    pub fn default_argument(&self) -> Stage<Argument> {
        if self.command.takes_pointer() {
            return Argument::zeroed().map_err(no_memory);
        }
        Ok(Argument::number(0))
    }

    /// Prepares the call, makes it once and tells `machine` what has changed.
    pub fn perform(&self, machine: &Machine) -> Stage<Answer> {
        let answer = self.prepare(machine, 0)?.perform();
        if let (Answer::Ok(_), Surface::Vm, true) =
            (answer, self.surface, self.command.is("KVM_CREATE_VCPU"))
        {
            machine.note_vcpu();
        }
        Ok(answer)
    }
}

fn no_memory(error: std::io::Error) -> String {
    format!("mmap: {error}")
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Call::from_words(&text.split(':').collect::<Vec<_>>())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.surface, self.command)?;
        if self.wish != Wish::default() {
            write!(f, " {}", self.wish)?;
        }
        f.write_str(if self.compat { " compat" } else { "" })
    }
}

/// A call that can be made again and again. Its machine must live as long.
pub struct Prepared {
    pub fd: RawFd,
    pub number: u32,
    pub argument: Argument,
    compat: bool,
    returns_fd: bool,
}

impl Prepared {
    /// Makes the call. An fd that it returns is closed again.
    pub fn perform(&self) -> Answer {
        let door = if self.compat {
            ioctl::compat
        } else {
            ioctl::native
        };
        let answer = door(self.fd, self.number, &self.argument);
        if let (true, Answer::Ok(number)) = (self.returns_fd, answer) {
            file::close_returned(number);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_and_written() {
        let cases = [
            (
                "kvm-vm:KVM_CHECK_EXTENSION:0",
                "kvm-vm KVM_CHECK_EXTENSION 0",
            ),
            ("kvm-vcpu:KVM_RUN", "kvm-vcpu KVM_RUN"),
            ("kvm:0xae00:zero:compat", "kvm 0xae00 zero compat"),
            (
                "kvm-vm:KVM_GET_DIRTY_LOG:compat",
                "kvm-vm KVM_GET_DIRTY_LOG compat",
            ),
            ("tty", "tty TIOCGWINSZ"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Call>().unwrap().to_string(), written);
        }
        let mistakes = [
            "",
            "kvm",
            "vm:KVM_RUN",
            "kvm:KVM_RUN:maybe",
            "kvm:KVM_RUN:0:0",
            "kvm:KVM_RUN:compat:0",
            "kvm:KVM_RUN:0x100000000:compat",
        ];
        for text in mistakes {
            assert!(text.parse::<Call>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_unguarded_file_answers_without_kvm() {
        use crate::{guest::Guest, machine::Wanted};

        let machine = Machine::open(&Wanted::by([Surface::Tty], 1), |_| Guest::Halt).unwrap();
        for text in [
            "tty",
            "tty:TIOCGWINSZ:compat",
            "tty:KVM_CREATE_VM",
            "tty:0x1234:7",
        ] {
            let call: Call = text.parse().unwrap();
            assert_eq!(
                call.perform(&machine),
                Ok(Answer::Errno(libc::ENOTTY)),
                "{text}"
            );
        }
        let call: Call = "kvm-vm:KVM_CREATE_IRQCHIP".parse().unwrap();
        assert!(call.perform(&machine).is_err());
    }
}
