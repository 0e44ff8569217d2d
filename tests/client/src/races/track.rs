// SPDX-License-Identifier: GPL-2.0

//! What a race is run on.

use std::{
    any::Any,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use kvm_ioctls::VcpuFd;

use crate::{
    answer::{Answer, Kind},
    argument::{Argument, ZEROED_BYTES},
    command::Command,
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Wanted},
    surface::Surface,
    sys::{flip::Field, ioctl, pages::Pages},
};

/// Which value the handler has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    Legal,
    Forbidden,
    /// Neither: the race proves nothing.
    Unclear(String),
}

/// Sees it, out of the answer or by asking the kernel.
type Seen = Box<dyn FnMut(Answer) -> Used>;

/// A call, the field of its argument that is rewritten, and how to see what came of it.
pub struct Track {
    fd: RawFd,
    number: u32,
    pages: Pages,
    field: Field,
    pub legal: u64,
    pub forbidden: u64,
    before: Option<Box<dyn FnMut()>>,
    seen: Seen,
    /// What must stay open.
    _kept: Box<dyn Any>,
}

impl Track {
    /// A call of `number` on `fd`, which is among `kept`, with `pages`, whose number of `bytes` bytes
    /// at `offset` is rewritten.
    pub fn new(
        kept: impl Any,
        (fd, number): (RawFd, u32),
        pages: Pages,
        (offset, bytes): (usize, usize),
        [legal, forbidden]: [u64; 2],
        seen: impl FnMut(Answer) -> Used + 'static,
    ) -> Self {
        // Whoever copies byte by byte must not find a third value between the two.
        let differ = (legal ^ forbidden).to_ne_bytes();
        assert_eq!(differ.iter().filter(|byte| **byte != 0).count(), 1);
        let field = Field::of(&pages, offset, bytes);
        field.set(legal);
        Track {
            fd,
            number,
            pages,
            field,
            legal,
            forbidden,
            before: None,
            seen: Box::new(seen),
            _kept: Box::new(kept),
        }
    }

    /// With something to do before each call.
    pub fn before(mut self, before: impl FnMut() + 'static) -> Self {
        self.before = Some(Box::new(before));
        self
    }

    pub fn field(&self) -> Field {
        self.field
    }

    /// One call, and for one that was not refused which value the handler used.
    pub fn call(&mut self) -> (Answer, Option<Used>) {
        if let Some(before) = &mut self.before {
            before();
        }
        let answer = ask(self.fd, self.number, &self.pages);
        let used = match answer {
            Answer::Errno(super::REFUSAL | libc::EINTR) => None,
            answer => Some((self.seen)(answer)),
        };
        (answer, used)
    }
}

/// A call with a pointer to `pages`.
pub fn ask(fd: RawFd, number: u32, pages: &Pages) -> Answer {
    ioctl::native(fd, number, &Argument::number(pages.address()))
}

/// A call on the way to the race.
pub fn step(what: &str, fd: RawFd, number: u32, pages: &Pages) -> Result<i64, Failure> {
    match ask(fd, number, pages) {
        Answer::Ok(value) => Ok(value),
        refusal => Err(Failure::Unexpected(format!(
            "{what} was answered with {refusal}"
        ))),
    }
}

/// The handler's answer to the legal value and to the forbidden one.
pub fn by_answer(legal: Kind, forbidden: Kind) -> impl FnMut(Answer) -> Used {
    move |answer| match answer.kind() {
        kind if kind == legal => Used::Legal,
        kind if kind == forbidden => Used::Forbidden,
        _ => Used::Unclear(format!("the handler's answer was {answer}")),
    }
}

/// The handler accepts the legal value, and answers the forbidden one with this errno.
pub fn refused_with(errno: i32) -> impl FnMut(Answer) -> Used {
    by_answer(Kind::Ok, Kind::Errno(errno))
}

/// Which of two values `now` is.
pub fn either(now: u64, [legal, forbidden]: [u64; 2]) -> Used {
    match now {
        now if now == legal => Used::Legal,
        now if now == forbidden => Used::Forbidden,
        other => Used::Unclear(format!("the kernel has {other:#x}")),
    }
}

/// The call succeeds, and the command `getter` on the same fd then has one of the values at a place
/// of its struct, which begins as `question` does.
pub fn read_back(
    (fd, getter): (RawFd, u32),
    question: Pages,
    (offset, bytes): (usize, usize),
    values: [u64; 2],
) -> impl FnMut(Answer) -> Used {
    let field = Field::of(&question, offset, bytes);
    move |answer| match (answer, ask(fd, getter, &question)) {
        (Answer::Ok(_), Answer::Ok(_)) => either(field.get(), values),
        (answer, got) => Used::Unclear(format!(
            "the handler's answer was {answer}; reading back, {got}"
        )),
    }
}

/// Zeroes, and what `put` lays over them.
pub fn laid(put: impl FnOnce(&mut Pages)) -> Result<Pages, Failure> {
    let mut pages = Pages::zeroed(ZEROED_BYTES).map_err(while_doing("mmap"))?;
    put(&mut pages);
    Ok(pages)
}

/// One struct.
pub fn with<T: Copy>(value: T) -> Result<Pages, Failure> {
    laid(|pages| pages.put(0, value))
}

/// The number of a KVM command.
pub fn number(command: &str) -> Result<u32, Failure> {
    Command::named(command)
        .map(|command| command.number)
        .ok_or_else(|| Failure::Unexpected(format!("the table lacks {command}")))
}

/// A machine of its own for a race.
pub struct Vm {
    pub machine: Machine,
    vcpu: Option<VcpuFd>,
}

impl Vm {
    /// A VM with 1 MiB of memory, and PIC, IO-APIC and the like if that is said.
    pub fn new(irqchip: bool) -> Result<Self, Failure> {
        let machine = Machine::open(&Wanted::by([Surface::Vm], 0), |_| Guest::Halt)?;
        if irqchip {
            let vm = machine.vm.as_ref().map_err(|reason| unexpected(reason))?;
            vm.create_irq_chip()
                .map_err(|error| Failure::Unexpected(format!("KVM_CREATE_IRQCHIP: {error}")))?;
        }
        Ok(Vm {
            machine,
            vcpu: None,
        })
    }

    /// The bare VM: not even its memory was told to the kernel.
    pub fn without_memory() -> Result<Self, Failure> {
        let wanted = Wanted {
            kvm: true,
            ..Wanted::default()
        };
        let mut machine = Machine::open(&wanted, |_| Guest::Halt)?;
        let kvm = machine.kvm.as_ref().map_err(|reason| unexpected(reason))?;
        let vm = kvm.create_vm();
        machine.vm = vm.map_err(|error| format!("KVM_CREATE_VM: {error}"));
        Ok(Vm {
            machine,
            vcpu: None,
        })
    }

    /// The same with a vCPU.
    pub fn with_vcpu(irqchip: bool) -> Result<Self, Failure> {
        let mut vm = Vm::new(irqchip)?;
        let fd = vm
            .machine
            .vm
            .as_ref()
            .map_err(|reason| unexpected(reason))?;
        let vcpu = fd
            .create_vcpu(0)
            .map_err(|error| Failure::Unexpected(format!("KVM_CREATE_VCPU: {error}")))?;
        vm.vcpu = Some(vcpu);
        Ok(vm)
    }

    pub fn fd(&self) -> Result<RawFd, Failure> {
        self.machine.fd(Surface::Vm, 0).map_err(Failure::Unexpected)
    }

    pub fn vcpu(&self) -> Result<&VcpuFd, Failure> {
        let missing = || Failure::Unexpected("no vCPU was made".to_owned());
        self.vcpu.as_ref().ok_or_else(missing)
    }

    pub fn vcpu_mut(&mut self) -> Result<&mut VcpuFd, Failure> {
        let missing = || Failure::Unexpected("no vCPU was made".to_owned());
        self.vcpu.as_mut().ok_or_else(missing)
    }
}

fn unexpected(reason: &str) -> Failure {
    Failure::Unexpected(reason.to_owned())
}

/// Opens a device that this machine may lack.
pub fn open(path: &str) -> Result<OwnedFd, Failure> {
    match std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
    {
        Ok(file) => Ok(file.into()),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound => {
                Err(Failure::Absent(format!("there is no {path} here")))
            }
            _ => Err(while_doing(format!("cannot open {path}"))(error)),
        },
    }
}

/// A race on a VM: its command, what the field is and what is legal and forbidden, the argument
/// that `put` lays, and how the handler's answer tells.
pub fn on_vm(
    vm: Vm,
    command: &str,
    place: (usize, usize),
    values: [u64; 2],
    pages: Pages,
    seen: impl FnMut(Answer) -> Used + 'static,
) -> Result<Track, Failure> {
    let call = (vm.fd()?, number(command)?);
    Ok(Track::new(vm, call, pages, place, values, seen))
}

/// The same on its vCPU.
pub fn on_vcpu(
    vm: Vm,
    command: &str,
    place: (usize, usize),
    values: [u64; 2],
    pages: Pages,
    seen: impl FnMut(Answer) -> Used + 'static,
) -> Result<Track, Failure> {
    let call = (vm.vcpu()?.as_raw_fd(), number(command)?);
    Ok(Track::new(vm, call, pages, place, values, seen))
}
