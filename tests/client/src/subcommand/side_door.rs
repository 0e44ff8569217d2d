// SPDX-License-Identifier: GPL-2.0

//! `client side-door`: what a VMM reaches without an ioctl, once an ioctl has made it possible.

use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
    process,
};

use iommufd_bindings::{iommu_fault_alloc, IOMMUFD_CMD_FAULT_QUEUE_ALLOC};
use kvm_bindings::*;
use kvm_ioctls::SyncReg;
use vmm_sys_util::ioctl::{ioctl_expr, _IOC_NONE, _IOC_READ, _IOC_WRITE};

use crate::{
    answer::Answer,
    argument::{Argument, ZEROED_BYTES},
    command::Command,
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Wanted},
    surface::Surface,
    sys::{
        file,
        ioctl,
        pages::{self, Pages}, //
    },
};

/// Go through a door that is no ioctl, and say whether it is open
///
/// Prints `open: WHAT HAPPENED`, or `shut: STEP: ANSWER` where the ioctl that leads there was refused.
#[derive(clap::Args)]
pub struct Options {
    door: Door,
}

/// The rows of the table in Documentation/threat-model.rst that have a test.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Door {
    /// Registers of a vCPU, by the page of kvm_run (KVM_CAP_SYNC_REGS)
    SyncRegs,
    /// The ring of dirty pages
    DirtyRing,
    /// The ring of writes that come later
    CoalescedRing,
    /// A file of statistics
    StatsFd,
    /// Memory of the guest alone
    GuestMemfd,
    /// An eventfd that raises an interrupt
    Irqfd,
    /// An eventfd that a write of the guest signals
    Ioeventfd,
    /// write(2) of a mapping to /dev/vhost-net
    VhostIotlb,
    /// Threads of the kernel that work for /dev/vhost-scsi
    VhostWorker,
    /// read(2) and write(2) of a PCI device's configuration
    VfioConfig,
    /// The file of an iommufd that tells of page faults of devices
    FaultQueue,
    /// The VM's fd in another process
    PassedFd,
}

/// How far one came.
enum Way {
    Open(String),
    Shut(&'static str, Answer),
}

type Walk = Result<Way, Failure>;

/// The value of an `Answer`, or the way out of a walk that ends here.
macro_rules! step {
    ($name:literal, $answer:expr) => {
        match $answer {
            Answer::Ok(value) => value,
            refused => return Ok(Way::Shut($name, refused)),
        }
    };
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let way = match options.door {
        Door::SyncRegs => sync_regs(),
        Door::DirtyRing => dirty_ring(),
        Door::CoalescedRing => coalesced_ring(),
        Door::StatsFd => stats(),
        Door::GuestMemfd => guest_memfd(),
        Door::Irqfd => irqfd(),
        Door::Ioeventfd => ioeventfd(),
        Door::VhostIotlb => vhost_iotlb(),
        Door::VhostWorker => vhost_worker(),
        Door::VfioConfig => vfio_config(),
        Door::FaultQueue => fault_queue(),
        Door::PassedFd => passed_fd(),
    }?;
    match way {
        Way::Open(what) => println!("open: {what}"),
        Way::Shut(step, answer) => println!("shut: {step}: {answer}"),
    }
    Ok(())
}

// --- KVM -----------------------------------------------------------------------------------------

fn machine(surface: Surface) -> Result<Machine, Failure> {
    Machine::open(&Wanted::by([surface], 1), |_| Guest::Halt)
}

/// A command on a file of the machine.
fn call(
    machine: &Machine,
    on: Surface,
    name: &str,
    argument: &Argument,
) -> Result<Answer, Failure> {
    let fd = machine.fd(on, 0).map_err(Failure::Unexpected)?;
    let command = Command::named(name)
        .ok_or_else(|| Failure::Unexpected(format!("the table lacks {name}")))?;
    Ok(ioctl::native(fd, command.number, argument))
}

fn laid(put: impl FnOnce(&mut Pages)) -> Result<Argument, Failure> {
    let mut pages = Pages::zeroed(ZEROED_BYTES).map_err(while_doing("mmap"))?;
    put(&mut pages);
    Ok(Argument::from_pages(pages))
}

fn with<T: Copy>(value: T) -> Result<Argument, Failure> {
    laid(|pages| pages.put(0, value))
}

fn returned(number: i64) -> Result<OwnedFd, Failure> {
    file::owned(number).ok_or_else(|| Failure::Unexpected(format!("{number} is no fd")))
}

fn sync_regs() -> Walk {
    const MARK: u64 = 0x7057;
    let mut machine = machine(Surface::Vcpu)?;
    let vcpu = machine.vcpus.pop();
    let mut vcpu =
        (vcpu.unwrap_or_else(|| Err("no vCPU".to_owned()))).map_err(Failure::Unexpected)?;
    vcpu.fd.set_sync_dirty_reg(SyncReg::Register);
    vcpu.fd.sync_regs_mut().regs.rax = MARK;
    // 0x2 is the bit that is always set.
    vcpu.fd.sync_regs_mut().regs.rflags = 2;
    let ran = match vcpu.fd.run() {
        Ok(_) => Answer::Ok(0),
        Err(error) => Answer::Errno(error.errno()),
    };
    step!("KVM_RUN", ran);
    match vcpu.fd.get_regs() {
        Ok(regs) if regs.rax == MARK => Ok(Way::Open("KVM_RUN took rax from kvm_run".to_owned())),
        Ok(regs) => Err(Failure::Unexpected(format!("rax is {:#x}", regs.rax))),
        Err(error) => Ok(Way::Shut("KVM_GET_REGS", Answer::Errno(error.errno()))),
    }
}

fn dirty_ring() -> Walk {
    let machine = machine(Surface::Vm)?;
    let mut enable = kvm_enable_cap {
        cap: KVM_CAP_DIRTY_LOG_RING,
        ..Default::default()
    };
    enable.args[0] = 4096;
    let enabled = call(&machine, Surface::Vm, "KVM_ENABLE_CAP", &with(enable)?)?;
    step!("KVM_ENABLE_CAP", enabled);
    let number = Argument::number(0);
    let vcpu = call(&machine, Surface::Vm, "KVM_CREATE_VCPU", &number)?;
    let vcpu = returned(step!("KVM_CREATE_VCPU", vcpu))?;
    let offset = i64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * 4096;
    pages::can_be_mapped(&vcpu, offset, 4096).map_err(while_doing("mmap of the dirty ring"))?;
    Ok(Way::Open("the dirty ring is mapped".to_owned()))
}

fn coalesced_ring() -> Walk {
    let machine = machine(Surface::Vcpu)?;
    let zone = kvm_coalesced_mmio_zone {
        addr: 0x1000_0000,
        size: 4096,
        ..Default::default()
    };
    let made = call(
        &machine,
        Surface::Vm,
        "KVM_REGISTER_COALESCED_MMIO",
        &with(zone)?,
    )?;
    step!("KVM_REGISTER_COALESCED_MMIO", made);
    Ok(Way::Open("writes to a zone go to the ring".to_owned()))
}

fn stats() -> Walk {
    let machine = machine(Surface::Vm)?;
    let fd = call(
        &machine,
        Surface::Vm,
        "KVM_GET_STATS_FD",
        &Argument::number(0),
    )?;
    let fd = returned(step!("KVM_GET_STATS_FD", fd))?;
    let mut header = [0; 24];
    fs::File::from(fd)
        .read_exact_at(&mut header, 0)
        .map_err(while_doing("read of the statistics"))?;
    Ok(Way::Open("the statistics were read".to_owned()))
}

fn guest_memfd() -> Walk {
    let machine = machine(Surface::Vm)?;
    let size = 1_u64 << 20;
    let fd = call(
        &machine,
        Surface::Vm,
        "KVM_CREATE_GUEST_MEMFD",
        &with([size, 0, 0, 0, 0, 0, 0, 0])?,
    )?;
    let fd = returned(step!("KVM_CREATE_GUEST_MEMFD", fd))?;
    file::allocate(&fd, size as i64).map_err(while_doing("fallocate"))?;
    Ok(Way::Open("fallocate(2) has made a MiB of it".to_owned()))
}

fn irqfd() -> Walk {
    let machine = machine(Surface::Vm)?;
    let irqchip = call(
        &machine,
        Surface::Vm,
        "KVM_CREATE_IRQCHIP",
        &Argument::number(0),
    )?;
    step!("KVM_CREATE_IRQCHIP", irqchip);
    let event = file::eventfd().map_err(while_doing("eventfd"))?;
    let irqfd = kvm_irqfd {
        fd: event.as_raw_fd() as u32,
        gsi: 4,
        ..Default::default()
    };
    step!(
        "KVM_IRQFD",
        call(&machine, Surface::Vm, "KVM_IRQFD", &with(irqfd)?)?
    );
    let one = file::write_once(&fs::File::from(event), &1_u64.to_ne_bytes(), None);
    step!("write", one);
    Ok(Way::Open("a write(2) has raised an interrupt".to_owned()))
}

fn ioeventfd() -> Walk {
    let machine = machine(Surface::Vm)?;
    let event = file::eventfd().map_err(while_doing("eventfd"))?;
    let ioeventfd = kvm_ioeventfd {
        addr: 0x1000_0000,
        len: 4,
        fd: event.as_raw_fd(),
        ..Default::default()
    };
    step!(
        "KVM_IOEVENTFD",
        call(&machine, Surface::Vm, "KVM_IOEVENTFD", &with(ioeventfd)?)?
    );
    Ok(Way::Open(
        "a write of the guest signals a file of ours".to_owned(),
    ))
}

fn passed_fd() -> Walk {
    let machine = machine(Surface::Vm)?;
    let fd = machine.fd(Surface::Vm, 0).map_err(Failure::Unexpected)?;
    file::keep_for_children(fd).map_err(while_doing("fcntl"))?;
    // KVM_CHECK_EXTENSION. KVM itself answers EIO to a process that has not made the VM.
    let child = process::Command::new("/proc/self/exe")
        .args(["knock", &format!("fd:{fd}"), "0xae03"])
        .output()
        .map_err(while_doing("fork"))?;
    let said = String::from_utf8_lossy(&child.stdout);
    match said.trim() {
        "errno EIO (5)" => Ok(Way::Open(
            "another process has got as far as the handler".to_owned(),
        )),
        other => match other.split(' ').nth(2).map(|n| n.trim_matches(['(', ')'])) {
            Some(number) => Ok(Way::Shut(
                "KVM_CHECK_EXTENSION",
                Answer::Errno(number.parse().unwrap_or(0)),
            )),
            None => Err(Failure::Unexpected(format!("the other process: {other}"))),
        },
    }
}

// --- vhost: numbers and structs of include/uapi/linux/vhost.h and vhost_types.h ---------------

const fn vhost(direction: u32, nr: u32, size: usize) -> u32 {
    ioctl_expr(direction, 0xaf, nr, size as u32) as u32
}

/// A device that has its owner.
fn owned(path: &str) -> Result<fs::File, Failure> {
    let device = file::open(Path::new(path));
    let device = device.map_err(while_doing(format!("cannot open {path}")))?;
    let set_owner = vhost(_IOC_NONE, 0x01, 0);
    match ioctl::native(device.as_raw_fd(), set_owner, &Argument::number(0)) {
        Answer::Ok(_) => Ok(device),
        refused => Err(Failure::Unexpected(format!("VHOST_SET_OWNER: {refused}"))),
    }
}

/// `struct vhost_msg`
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    kind: u64,
    iova: u64,
    size: u64,
    uaddr: u64,
    perm: u8,
    what: u8,
    rest: [u8; 38],
}

fn vhost_iotlb() -> Walk {
    /// VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM
    const FEATURES: u64 = 3 << 32;
    let device = owned("/dev/vhost-net")?;
    let set_features = vhost(_IOC_WRITE, 0x00, size_of::<u64>());
    let set = ioctl::native(device.as_raw_fd(), set_features, &with(FEATURES)?);
    step!("VHOST_SET_FEATURES", set);
    let mut memory = Pages::zeroed(4096).map_err(while_doing("mmap"))?;
    memory.put(
        0,
        Message {
            kind: 1, // VHOST_IOTLB_MSG
            iova: 0,
            size: 4096,
            uaddr: memory.address(),
            perm: 3, // VHOST_ACCESS_RW
            what: 2, // VHOST_IOTLB_UPDATE
            rest: [0; 38],
        },
    );
    let message = memory.bytes_at(0, size_of::<Message>());
    let written = file::write_once(&device, &message, None);
    step!("write", written);
    Ok(Way::Open("write(2) has made a mapping".to_owned()))
}

fn vhost_worker() -> Walk {
    let device = owned("/dev/vhost-scsi")?;
    let new_worker = vhost(_IOC_READ, 0x08, size_of::<u32>());
    let made = ioctl::native(device.as_raw_fd(), new_worker, &with(0_u32)?);
    step!("VHOST_NEW_WORKER", made);
    Ok(Way::Open("the kernel has made another thread".to_owned()))
}

// --- VFIO: numbers of include/uapi/linux/vfio.h ---------------------------------------------------

const fn vfio(nr: u32) -> u32 {
    ioctl_expr(_IOC_NONE, b';' as u32, 100 + nr, 0) as u32
}

fn vfio_config() -> Walk {
    const TYPE1V2: u64 = 3;
    let folder = Path::new("/sys/bus/pci/drivers/vfio-pci");
    let entries = fs::read_dir(folder).map_err(while_doing("there is no vfio-pci"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let address = names
        .filter(|name| name.contains(':'))
        .min()
        .ok_or_else(|| Failure::Absent("vfio-pci drives no device".to_owned()))?;
    let group = fs::read_link(folder.join(&address).join("iommu_group"));
    let group = group.map_err(while_doing("the device has no group"))?;
    let group = Path::new("/dev/vfio").join(group.file_name().unwrap_or_default());

    let container =
        file::open(Path::new("/dev/vfio/vfio")).map_err(while_doing("/dev/vfio/vfio"))?;
    let group = file::open(&group).map_err(while_doing(group.display()))?;
    let set_container = ioctl::native(group.as_raw_fd(), vfio(4), &with(container.as_raw_fd())?);
    step!("VFIO_GROUP_SET_CONTAINER", set_container);
    let set_iommu = ioctl::native(container.as_raw_fd(), vfio(2), &Argument::number(TYPE1V2));
    step!("VFIO_SET_IOMMU", set_iommu);
    let name = laid(|pages| pages.put_bytes(0, address.as_bytes()))?;
    let device = ioctl::native(group.as_raw_fd(), vfio(6), &name);
    let device = fs::File::from(returned(step!("VFIO_GROUP_GET_DEVICE_FD", device))?);
    // VFIO_PCI_CONFIG_REGION_INDEX, as vfio-pci places it: VFIO_PCI_INDEX_TO_OFFSET().
    const CONFIG: u64 = 7 << 40;
    const COMMAND: u64 = CONFIG + 4;
    let mut command = [0; 2];
    let read = device.read_exact_at(&mut command, COMMAND);
    read.map_err(while_doing("read of the configuration"))?;
    // Memory space, which a guest's driver switches on and off as it likes.
    command[0] ^= 2;
    step!("write", file::write_once(&device, &command, Some(COMMAND)));
    let mut changed = [0; 2];
    let read = device.read_exact_at(&mut changed, COMMAND);
    read.map_err(while_doing("read of the configuration"))?;
    if changed != command {
        return Err(Failure::Unexpected("the write changed nothing".to_owned()));
    }
    Ok(Way::Open(
        "write(2) has changed the device's command register".to_owned(),
    ))
}

// --- iommufd ---------------------------------------------------------------------------------------

fn fault_queue() -> Walk {
    let device = file::open(Path::new("/dev/iommu")).map_err(while_doing("/dev/iommu"))?;
    let queue = iommu_fault_alloc {
        size: size_of::<iommu_fault_alloc>() as u32,
        ..Default::default()
    };
    let number = ioctl_expr(_IOC_NONE, b';' as u32, IOMMUFD_CMD_FAULT_QUEUE_ALLOC, 0) as u32;
    let argument = with(queue)?;
    let made = ioctl::native(device.as_raw_fd(), number, &argument);
    step!("IOMMU_FAULT_QUEUE_ALLOC", made);
    Ok(Way::Open(
        "a file tells of faults and takes the answers".to_owned(),
    ))
}
