// SPDX-License-Identifier: GPL-2.0

//! The steps that are one ioctl.
//!
//! Each is planned, made, and then noted: so that several threads can make theirs at the same time.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::Barrier,
    thread,
};

use kvm_bindings::*;

use super::{
    number,
    vm::{self, Event, Vcpu, Vm},
    Actor,
};
use crate::{
    answer::Answer,
    argument::{with, Argument},
    call::Call,
    command::Command,
    device::{
        iommufd,
        vfio::{self, Container},
    },
    failure::Failure,
    guest,
    machine::Stage,
    surface::Surface,
    sys::{file, ioctl, pages::Pages, refused_memory::RefusedMemory},
};

/// Makes a call whose `nth` request for memory is refused; its answer, and whether there was such a one.
fn refusing(nth: u64, call: impl FnOnce() -> Answer) -> Stage<(Answer, bool)> {
    let told = |error: io::Error| format!("/proc/thread-self/fail-nth: {error}");
    let refused = RefusedMemory::at(nth).map_err(told)?;
    let answer = call();
    Ok((answer, refused.end().map_err(told)?))
}

/// A call that is ready to be made.
pub struct Planned {
    fd: RawFd,
    number: u32,
    argument: Argument,
    then: Then,
    compat: bool,
}

/// What becomes of the actor if it succeeds.
enum Then {
    Nothing,
    Vm,
    Vcpu,
    Device,
    Memory(Pages),
    Event(Event, OwnedFd),
    NoEvent(Event),
    /// It returns an fd that nobody wants.
    Close,
}

/// Where a slot without memory has it, in this process's addresses.
const NOWHERE: u64 = 0x1000_0000_0000;

impl Planned {
    pub fn perform(&self) -> Answer {
        let door = if self.compat {
            ioctl::compat
        } else {
            ioctl::native
        };
        door(self.fd, self.number, &self.argument)
    }

    /// The file, the command's number and the argument, of a call that another makes.
    pub fn into_parts(self) -> (RawFd, u32, Argument) {
        (self.fd, self.number, self.argument)
    }
}

impl Actor {
    pub fn plan(&mut self, words: &[&str]) -> Stage<Planned> {
        let (words, compat) = match words {
            [words @ .., "compat"] => (words, true),
            words => (words, false),
        };
        let mut planned = match words {
            ["use"] => self.harmless("kvm", 0),
            ["use", what] => self.harmless(what, 0),
            ["use", what, vcpu] => self.harmless(what, number(vcpu)? as usize),
            ["vm"] => self.on_kvm("KVM_CREATE_VM", 0, Then::Vm),
            ["vm", kind] => self.on_kvm("KVM_CREATE_VM", number(kind)?, Then::Vm),
            ["vcpu"] => self.plan_vcpu(None),
            ["vcpu", id] => self.plan_vcpu(Some(number(id)?)),
            [way @ ("memory" | "memory2"), slot, bytes, at @ ..] => {
                let at = at.first().map(|at| number(at)).transpose()?;
                self.plan_memory(*way == "memory2", number(slot)?, number(bytes)?, at)
            }
            ["irqchip"] => self.on_vm("KVM_CREATE_IRQCHIP", Argument::number(0), Then::Nothing),
            ["pit"] => self.on_vm(
                "KVM_CREATE_PIT2",
                laid(kvm_pit_config::default())?,
                Then::Nothing,
            ),
            ["split"] => self.plan_capability(KVM_CAP_SPLIT_IRQCHIP.into(), 24),
            ["cap", capability] => self.plan_capability(number(capability)?, 0),
            ["cap", capability, first] => self.plan_capability(number(capability)?, number(first)?),
            ["device"] => {
                let device = kvm_create_device {
                    type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
                    ..Default::default()
                };
                self.on_vm("KVM_CREATE_DEVICE", laid(device)?, Then::Device)
            }
            ["irqfd", line] => self.plan_irqfd(number(line)?, true),
            ["no-irqfd", line] => self.plan_irqfd(number(line)?, false),
            ["ioeventfd", port] => self.plan_ioeventfd(number(port)?, true),
            ["no-ioeventfd", port] => self.plan_ioeventfd(number(port)?, false),
            ["zone", at] => self.plan_zone("KVM_REGISTER_COALESCED_MMIO", number(at)?),
            ["no-zone", at] => self.plan_zone("KVM_UNREGISTER_COALESCED_MMIO", number(at)?),
            ["container"] => self.open_container("/dev/vfio/vfio", 2),
            ["container", path] => self.open_container(path, 2),
            ["container", path, version] => self.open_container(path, number(version)?),
            ["map", at] => self.plan_mapping(vfio::IOMMU_MAP_DMA, at, "4K"),
            ["map-cut", at] => {
                let planned = self.plan_mapping(vfio::IOMMU_MAP_DMA, at, "4K")?;
                // It says that it has one byte more, and none is there.
                let wish = "zero,0.4=33@half-unmapped.32".parse()?;
                let argument = planned
                    .argument
                    .fitted(&wish)
                    .map_err(|error| error.to_string())?;
                Ok(Planned {
                    argument,
                    ..planned
                })
            }
            ["map", at, bytes] => self.plan_mapping(vfio::IOMMU_MAP_DMA, at, bytes),
            ["unmap", at] => self.plan_mapping(vfio::IOMMU_UNMAP_DMA, at, "4K"),
            ["unmap", at, bytes] => self.plan_mapping(vfio::IOMMU_UNMAP_DMA, at, bytes),
            ["iommufd", name, wish] => self.plan_iommufd(name, wish),
            ["vfio-file"] => self.plan_vfio_file(KVM_DEV_VFIO_FILE_ADD),
            ["no-vfio-file"] => self.plan_vfio_file(KVM_DEV_VFIO_FILE_DEL),
            ["call", words @ ..] => self.plan_call(words),
            _ => Err(format!(
                "`{}` is no step; `client act --help` lists them",
                words.join(" ")
            )),
        }?;
        planned.compat = compat;
        Ok(planned)
    }

    /// What has changed by a call that was answered with `answer`.
    pub fn note(&mut self, planned: Planned, answer: Answer) -> Stage<()> {
        let Answer::Ok(value) = answer else {
            return Ok(());
        };
        let returned = || file::owned(value).ok_or("no fd was returned");
        match planned.then {
            Then::Nothing => {}
            Then::Close => file::close_returned(value),
            Then::Vm => {
                let fd = Some(returned()?);
                self.add_vm(Vm {
                    fd,
                    ..Vm::default()
                });
            }
            Then::Vcpu => {
                let vcpu = Vcpu::new(returned()?);
                self.vm_mut()?.vcpus.push(vcpu);
            }
            Then::Device => {
                let fd = planned.argument.u32_at(4);
                let fd = file::owned(fd.into()).ok_or("no fd was returned")?;
                self.vm_mut()?.devices.push(fd);
            }
            Then::Memory(pages) => self.vm_mut()?.memory = Some(pages),
            Then::Event(event, fd) => {
                self.vm_mut()?.events.insert(event, fd);
            }
            Then::NoEvent(event) => {
                self.vm_mut()?.events.remove(&event);
            }
        }
        Ok(())
    }

    /// The same step in `threads` threads at once, `%` in its words being the thread's number; how many
    /// succeeded. They take turns with `vms` VMs, of which the picked one is the first.
    pub fn race(&mut self, threads: usize, vms: usize, words: &[&str]) -> Stage<Answer> {
        let first = self.picked;
        let place = |index: usize, count: usize| (first + index % vms.max(1)) % count.max(1);
        let mut planned = Vec::new();
        for index in 0..threads {
            self.picked = place(index, self.vms.len());
            planned.push(self.plan_nth(words, index as u64)?);
        }
        let gate = Barrier::new(threads);
        let answers: Vec<Answer> = thread::scope(|scope| {
            let racers: Vec<_> = planned
                .iter()
                .map(|call| {
                    let gate = &gate;
                    scope.spawn(move || {
                        gate.wait();
                        call.perform()
                    })
                })
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap_or(Answer::Errno(0)))
                .collect()
        });
        let mut succeeded = 0;
        let count = self.vms.len();
        for (index, (call, answer)) in planned.into_iter().zip(answers).enumerate() {
            succeeded += i64::from(matches!(answer, Answer::Ok(_)));
            self.picked = place(index, count);
            self.note(call, answer)?;
        }
        if self.vms.len() == count {
            self.picked = first;
        }
        Ok(Answer::Ok(succeeded))
    }

    /// The same step again and again: the first time the first request for memory that its call makes is
    /// refused, then the second, until there are no more, or it cannot be taken again. How often it has failed,
    /// which it may with ENOMEM alone.
    pub fn each_refused(&mut self, words: &[&str]) -> Stage<Answer> {
        const MOST: u64 = 1000;
        let (mut failed, mut is_done) = (0, false);
        for nth in 1..=MOST {
            let (answer, was_refused) = match words {
                ["write", to, text] => {
                    let text = fs::read(text).map_err(|error| format!("{text}: {error}"))?;
                    let to = file::open(to.as_ref()).map_err(|error| format!("{to}: {error}"))?;
                    refusing(nth, || file::write_once(&to, &text, None))?
                }
                _ => {
                    let planned = self.plan(words)?;
                    let (answer, was_refused) = refusing(nth, || planned.perform())?;
                    self.note(planned, answer)?;
                    (answer, was_refused)
                }
            };
            match answer {
                Answer::Errno(libc::ENOMEM) if was_refused => failed += 1,
                Answer::Errno(_) if !is_done => return Ok(answer),
                Answer::Ok(_) if was_refused => is_done = true,
                _ => return Ok(Answer::Ok(failed)),
            }
        }
        Err(format!("it asks for memory {MOST} times"))
    }

    /// The same step `count` times, `%` in its words being how often it was taken before; how often it
    /// succeeded.
    pub fn repeat(&mut self, count: u64, words: &[&str]) -> Stage<Answer> {
        let mut succeeded = 0;
        for index in 0..count {
            let planned = self.plan_nth(words, index)?;
            let answer = planned.perform();
            succeeded += i64::from(matches!(answer, Answer::Ok(_)));
            self.note(planned, answer)?;
        }
        Ok(Answer::Ok(succeeded))
    }

    fn plan_nth(&mut self, words: &[&str], index: u64) -> Stage<Planned> {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.replace('%', &index.to_string()))
            .collect();
        self.plan(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn on_kvm(&self, name: &str, arg: u64, then: Then) -> Stage<Planned> {
        Ok(Planned {
            fd: self.kvm_fd()?,
            number: vm::number(name)?,
            argument: Argument::number(arg),
            then,
            compat: false,
        })
    }

    fn on_vm(&self, name: &str, argument: Argument, then: Then) -> Stage<Planned> {
        Ok(Planned {
            fd: self.vm()?.fd()?,
            number: vm::number(name)?,
            argument,
            then,
            compat: false,
        })
    }

    /// A call that succeeds and changes nothing, on each kind of file.
    fn harmless(&self, what: &str, vcpu: usize) -> Stage<Planned> {
        let (fd, name, argument) = match what {
            "kvm" => (self.kvm_fd()?, "KVM_GET_API_VERSION", Argument::number(0)),
            "vm" => (
                self.vm()?.fd()?,
                "KVM_CHECK_EXTENSION",
                Argument::number(KVM_CAP_NR_VCPUS.into()),
            ),
            "vcpu" => (
                self.vm()?.vcpu(vcpu)?.fd.as_raw_fd(),
                "KVM_GET_MP_STATE",
                laid(0_u32)?,
            ),
            "device" => (
                self.device()?,
                "KVM_HAS_DEVICE_ATTR",
                laid(kvm_device_attr {
                    group: KVM_DEV_VFIO_FILE,
                    attr: KVM_DEV_VFIO_FILE_ADD.into(),
                    ..Default::default()
                })?,
            ),
            _ => return Err(format!("`{what}` is none of kvm, vm, vcpu, device")),
        };
        Ok(Planned {
            fd,
            number: vm::number(name)?,
            argument,
            then: Then::Nothing,
            compat: false,
        })
    }

    fn device(&self) -> Stage<RawFd> {
        let device = self.vm()?.devices.first();
        device
            .map(AsRawFd::as_raw_fd)
            .ok_or_else(|| "there is no device".to_owned())
    }

    fn plan_vcpu(&mut self, id: Option<u64>) -> Stage<Planned> {
        let vm = self.vm_mut()?;
        let id = id.unwrap_or(vm.next_vcpu);
        vm.next_vcpu = vm.next_vcpu.max(id + 1);
        self.on_vm("KVM_CREATE_VCPU", Argument::number(id), Then::Vcpu)
    }

    /// Slot 0 has memory, always the same, which the guests are in. Nothing is mapped where the others have
    /// theirs.
    fn plan_memory(
        &self,
        by_second: bool,
        slot: u64,
        bytes: u64,
        at: Option<u64>,
    ) -> Stage<Planned> {
        let slot = slot as u32;
        let (userspace_addr, then) = match (slot, bytes) {
            (0, 1..) if self.vm()?.memory.is_some() => (
                self.vm()?.memory.as_ref().map_or(0, Pages::address),
                Then::Nothing,
            ),
            (0, 1..) => {
                let bytes = usize::try_from(bytes).map_err(|error| error.to_string())?;
                let pages = Pages::zeroed(bytes.max(guest::MEMORY_BYTES)).map_err(vm::no_memory)?;
                (pages.address(), Then::Memory(pages))
            }
            _ => (NOWHERE + (u64::from(slot) << 36), Then::Nothing),
        };
        let guest_phys_addr = at.unwrap_or(u64::from(slot) << 30);
        if by_second {
            let region = kvm_userspace_memory_region2 {
                slot,
                guest_phys_addr,
                memory_size: bytes,
                userspace_addr,
                ..Default::default()
            };
            return self.on_vm("KVM_SET_USER_MEMORY_REGION2", laid(region)?, then);
        }
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr,
            memory_size: bytes,
            userspace_addr,
        };
        self.on_vm("KVM_SET_USER_MEMORY_REGION", laid(region)?, then)
    }

    fn plan_capability(&self, capability: u64, first: u64) -> Stage<Planned> {
        let mut enable = kvm_enable_cap {
            cap: capability as u32,
            ..Default::default()
        };
        enable.args[0] = first;
        self.on_vm("KVM_ENABLE_CAP", laid(enable)?, Then::Nothing)
    }

    fn plan_irqfd(&self, line: u64, on: bool) -> Stage<Planned> {
        let event = Event::Irq(line as u32);
        let (fd, then) = self.event(event, on)?;
        let irqfd = kvm_irqfd {
            fd: fd as u32,
            gsi: line as u32,
            flags: if on { 0 } else { KVM_IRQFD_FLAG_DEASSIGN },
            ..Default::default()
        };
        self.on_vm("KVM_IRQFD", laid(irqfd)?, then)
    }

    fn plan_ioeventfd(&self, port: u64, on: bool) -> Stage<Planned> {
        let (fd, then) = self.event(Event::Port(port), on)?;
        let mut flags = 1 << kvm_ioeventfd_flag_nr_pio;
        if !on {
            flags |= 1 << kvm_ioeventfd_flag_nr_deassign;
        }
        let ioeventfd = kvm_ioeventfd {
            addr: port,
            len: 2,
            fd,
            flags,
            ..Default::default()
        };
        self.on_vm("KVM_IOEVENTFD", laid(ioeventfd)?, then)
    }

    /// A new eventfd for `event`, or the one that it has.
    fn event(&self, event: Event, on: bool) -> Stage<(RawFd, Then)> {
        if on {
            let fd = file::eventfd().map_err(|error| format!("eventfd: {error}"))?;
            return Ok((fd.as_raw_fd(), Then::Event(event, fd)));
        }
        let fd = self.vm()?.events.get(&event);
        let fd = fd.ok_or_else(|| format!("there is no eventfd for {event:?}"))?;
        Ok((fd.as_raw_fd(), Then::NoEvent(event)))
    }

    fn plan_zone(&self, name: &str, at: u64) -> Stage<Planned> {
        let mut zone = kvm_coalesced_mmio_zone {
            addr: at,
            size: 4096,
            ..Default::default()
        };
        zone.__bindgen_anon_1.pad = 0;
        self.on_vm(name, laid(zone)?, Then::Nothing)
    }

    /// The device that is passed through, by container and group, ready for mappings.
    fn open_container(&mut self, path: &str, version: u64) -> Stage<Planned> {
        let (container, last) = Container::open(path, version).map_err(sentence)?;
        let planned = Planned {
            fd: container.file.as_raw_fd(),
            number: last.0,
            argument: last.1,
            then: Then::Nothing,
            compat: false,
        };
        self.container = Some(container);
        Ok(planned)
    }

    fn plan_mapping(&self, command: u32, at: &str, bytes: &str) -> Stage<Planned> {
        let container = self.container.as_ref().ok_or("there is no container")?;
        let argument = container.mapping(command, number(at)?, number(bytes)?);
        Ok(Planned {
            fd: container.file.as_raw_fd(),
            number: command,
            argument: argument.map_err(sentence)?,
            then: Then::Nothing,
            compat: false,
        })
    }

    /// A command of iommufd, its argument as that of `call`; on the container if nothing else is open.
    fn plan_iommufd(&self, name: &str, wish: &str) -> Stage<Planned> {
        let container = self.container.as_ref().map(|container| &container.file);
        let file = self.iommufd.as_ref().or(container);
        let file = file.ok_or("/dev/iommu is not open")?;
        let number = iommufd::number(name).ok_or_else(|| format!("`{name}` is not known here"))?;
        let argument = Argument::zeroed().map_err(vm::no_memory)?;
        Ok(Planned {
            fd: file.as_raw_fd(),
            number,
            argument: argument
                .fitted(&wish.parse()?)
                .map_err(|error| error.to_string())?,
            then: Then::Nothing,
            compat: false,
        })
    }

    fn plan_vfio_file(&self, attr: u32) -> Stage<Planned> {
        let container = self.container.as_ref().ok_or("there is no container")?;
        let group = container.group.as_raw_fd();
        // The number of the group's fd lies right behind the struct.
        let mut pages = Pages::zeroed(guest::PAGE_BYTES).map_err(vm::no_memory)?;
        pages.put(size_of::<kvm_device_attr>(), group);
        let attribute = kvm_device_attr {
            group: KVM_DEV_VFIO_FILE,
            attr: attr.into(),
            addr: pages.address() + size_of::<kvm_device_attr>() as u64,
            ..Default::default()
        };
        pages.put(0, attribute);
        Ok(Planned {
            fd: self.device()?,
            number: vm::number("KVM_SET_DEVICE_ATTR")?,
            argument: Argument::from_pages(pages),
            then: Then::Nothing,
            compat: false,
        })
    }

    /// `SURFACE COMMAND [ARG]`, as in `client try`; ARG is a number, zero or bad.
    fn plan_call(&self, words: &[&str]) -> Stage<Planned> {
        use crate::argument::What;

        let call = Call::from_words(words)?;
        let fd = match call.surface {
            Surface::Kvm => self.kvm_fd()?,
            Surface::Vm => self.vm()?.fd()?,
            Surface::Vcpu => self.vm()?.vcpu(0)?.fd.as_raw_fd(),
            Surface::Device => self.device()?,
            Surface::Tty => return Err("tty is not opened here".to_owned()),
        };
        let argument = match call.wish.what {
            What::Default => call.default_argument()?,
            What::Number(number) => Argument::number(number),
            What::Zero => Argument::zeroed().map_err(vm::no_memory)?,
            What::Bad => Argument::bad().map_err(vm::no_memory)?,
            What::Valid => return Err("valid is not known here".to_owned()),
        };
        let returns_fd = Command::returns_fd(&call.command);
        Ok(Planned {
            fd,
            number: call.command.number,
            argument: argument
                .fitted(&call.wish)
                .map_err(|error| error.to_string())?,
            then: if returns_fd {
                Then::Close
            } else {
                Then::Nothing
            },
            compat: call.compat,
        })
    }
}

fn laid<T: Copy>(value: T) -> Stage<Argument> {
    with(value).map_err(sentence)
}

fn sentence(failure: Failure) -> String {
    failure.to_string()
}
