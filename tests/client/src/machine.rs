// SPDX-License-Identifier: GPL-2.0

//! The files of a VM, from /dev/kvm down to a vCPU and a device.
//!
//! A policy may refuse any step of the way. Then what hangs on that step is missing, with the
//! reason kept, and everything else is there: a test may still want to try it.

use std::{
    cell::Cell,
    fs::File,
    os::fd::{AsRawFd, RawFd},
};

use kvm_bindings::{kvm_create_device, kvm_device_type_KVM_DEV_TYPE_VFIO};
use kvm_ioctls::{DeviceFd, Kvm, VcpuFd, VmFd};

use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    guest::{self, Guest},
    surface::Surface,
    sys::{memslot, pages::Pages},
};

/// Something that exists, or the sentence that says why not.
pub type Stage<T> = Result<T, String>;

/// How much of a machine is needed.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    pub kvm: bool,
    pub vm: bool,
    /// Whether the VM has an interrupt controller in the kernel.
    pub irqchip: bool,
    pub vcpus: usize,
    pub device: bool,
    /// Whether the memory keeps a log of its dirty pages.
    pub dirty_log: bool,
}

impl Wanted {
    /// No more than `surfaces` need, with `vcpus` vCPUs where they need any.
    pub fn by(surfaces: impl IntoIterator<Item = Surface>, vcpus: usize) -> Self {
        let mut wanted = Wanted {
            dirty_log: true,
            ..Wanted::default()
        };
        for surface in surfaces {
            wanted.kvm |= surface != Surface::Tty;
            wanted.vm |= !matches!(surface, Surface::Tty | Surface::Kvm);
            wanted.device |= surface == Surface::Device;
            if surface == Surface::Vcpu {
                wanted.vcpus = vcpus;
            }
        }
        wanted
    }
}

pub struct Vcpu {
    pub fd: VcpuFd,
    /// Whether it got its registers, and so can run its guest.
    pub ready: Stage<()>,
}

pub struct Machine {
    tty: File,
    pub kvm: Stage<Kvm>,
    pub vm: Stage<VmFd>,
    pub memory: Stage<Pages>,
    pub vcpus: Vec<Stage<Vcpu>>,
    pub device: Stage<DeviceFd>,
    next_vcpu: Cell<u64>,
    /// Memory for the slot that a `valid` KVM_SET_USER_MEMORY_REGION adds: always the same, so
    /// that repeating the call is legal.
    pub second_memory: Pages,
}

impl Machine {
    /// Fails only where no test can go on: without /dev/kvm, or out of memory.
    pub fn open(wanted: &Wanted, guest: impl Fn(usize) -> Guest) -> Result<Self, Failure> {
        let mut machine = Machine {
            tty: File::open("/dev/null").map_err(while_doing("cannot open /dev/null"))?,
            kvm: unwanted(),
            vm: unwanted(),
            memory: unwanted(),
            vcpus: Vec::new(),
            device: unwanted(),
            next_vcpu: Cell::new(0),
            second_memory: Pages::zeroed(64 * 1024).map_err(while_doing("mmap"))?,
        };
        if wanted.kvm {
            machine.kvm = Ok(Kvm::new().map_err(cannot_open)?);
        }
        if wanted.vm {
            machine.vm = (machine.kvm.as_ref())
                .map_err(String::clone)
                .and_then(|kvm| kvm.create_vm().map_err(refused("KVM_CREATE_VM")));
            if wanted.irqchip {
                machine.add_irqchip();
            }
            machine.open_memory(wanted, guest)?;
        }
        for index in 0..wanted.vcpus {
            let vcpu = machine.open_vcpu(index);
            machine.vcpus.push(vcpu);
        }
        if wanted.device {
            machine.device = machine.open_device();
        }
        Ok(machine)
    }

    /// The fd of `surface`; of vCPU `vcpu` where there are several.
    pub fn fd(&self, surface: Surface, vcpu: usize) -> Stage<RawFd> {
        fn raw<T: AsRawFd>(stage: &Stage<T>) -> Stage<RawFd> {
            stage.as_ref().map(T::as_raw_fd).map_err(String::clone)
        }
        match surface {
            Surface::Tty => Ok(self.tty.as_raw_fd()),
            Surface::Kvm => raw(&self.kvm),
            Surface::Vm => raw(&self.vm),
            Surface::Device => raw(&self.device),
            Surface::Vcpu => match self.vcpus.get(vcpu) {
                Some(Ok(vcpu)) => Ok(vcpu.fd.as_raw_fd()),
                Some(Err(reason)) => Err(reason.clone()),
                None => unwanted(),
            },
        }
    }

    /// The lowest vCPU id that is free.
    pub fn next_vcpu(&self) -> u64 {
        self.next_vcpu.get()
    }

    /// Remembers that a vCPU was made behind this machine's back.
    pub fn note_vcpu(&self) {
        self.next_vcpu.set(self.next_vcpu.get() + 1);
    }

    /// All vCPUs, ready to run, or why there are not.
    pub fn ready_vcpus(self) -> Result<(Vec<VcpuFd>, Pages), Failure> {
        let memory = self.memory.map_err(Failure::Unexpected)?;
        let vcpus = self.vcpus.into_iter().map(|vcpu| {
            let vcpu = vcpu?;
            vcpu.ready.map(|()| vcpu.fd)
        });
        let vcpus: Stage<Vec<_>> = vcpus.collect();
        Ok((vcpus.map_err(Failure::Unexpected)?, memory))
    }

    /// Where it is refused, there is no VM to go on with.
    fn add_irqchip(&mut self) {
        let made = (self.vm.as_ref())
            .map_err(String::clone)
            .and_then(|vm| vm.create_irq_chip().map_err(refused("KVM_CREATE_IRQCHIP")));
        if let Err(reason) = made {
            self.vm = Err(reason);
        }
    }

    fn open_memory(
        &mut self,
        wanted: &Wanted,
        guest: impl Fn(usize) -> Guest,
    ) -> Result<(), Failure> {
        let mut pages = Pages::zeroed(guest::MEMORY_BYTES).map_err(while_doing("mmap"))?;
        for index in 0..wanted.vcpus {
            for (offset, bytes) in guest(index).contents() {
                pages.put_bytes(guest::page_start(index) + offset, bytes);
            }
        }
        self.memory = (self.vm.as_ref()).map_err(String::clone).and_then(|vm| {
            memslot::set_first(vm, &pages, wanted.dirty_log)
                .map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
            Ok(pages)
        });
        Ok(())
    }

    fn open_vcpu(&self, index: usize) -> Stage<Vcpu> {
        let vm = self.vm.as_ref().map_err(String::clone)?;
        let fd = vm
            .create_vcpu(index as u64)
            .map_err(refused("KVM_CREATE_VCPU"))?;
        self.note_vcpu();
        let ready = set_registers(&fd, index);
        Ok(Vcpu { fd, ready })
    }

    /// kvm-vfio: the one device that any x86 machine can make, without an irqchip.
    fn open_device(&self) -> Stage<DeviceFd> {
        let vm = self.vm.as_ref().map_err(String::clone)?;
        let mut device = kvm_create_device {
            type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
            ..Default::default()
        };
        vm.create_device(&mut device)
            .map_err(refused("KVM_CREATE_DEVICE (kvm-vfio)"))
    }
}

fn set_registers(vcpu: &VcpuFd, index: usize) -> Stage<()> {
    let after_reset = vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
    let (sregs, regs) = guest::registers(after_reset, index);
    vcpu.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))?;
    vcpu.set_regs(&regs).map_err(refused("KVM_SET_REGS"))
}

/// The sentence for a step of the set-up that the kernel refused.
fn refused(command: &'static str) -> impl Fn(kvm_ioctls::Error) -> String {
    move |error| format!("{command}: {}", Answer::Errno(error.errno()))
}

fn unwanted<T>() -> Stage<T> {
    Err("it was not opened".to_owned())
}

fn cannot_open(error: kvm_ioctls::Error) -> Failure {
    let answer = Answer::Errno(error.errno());
    match error.errno() {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => Failure::NoKvm(format!(
            "there is no /dev/kvm here ({answer}): is kvm_amd or kvm_intel loaded?"
        )),
        _ => Failure::Unexpected(format!("cannot open /dev/kvm: {answer}")),
    }
}
