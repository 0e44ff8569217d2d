// SPDX-License-Identifier: GPL-2.0

//! Commands that change what is known of VMs and files: whoever carries the engine's verdicts out
//! notes those that succeed.
//!
//! `KVM_RUN` is none of them: it is called too often, and only the first counts.

use crate::fetch::{number, Bytes};
use crate::schema::notation::{command, constant, field};
use crate::schema::{Command, Place};
use crate::{Request, Surface};

/// What a call of these commands does if it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that is noted, but for [`Policy::dids_of`](crate::Policy::dids_of).
    None,
    /// There is a VM more: what the call returns is its file.
    VmMade,
    /// A capability is enabled.
    CapEnabled(u32),
    /// The zones of coalesced MMIO are others.
    ZonesChanged,
    /// There is a DMA mapping more. A VFIO container has one space, 0.
    Mapped {
        /// The I/O address space.
        space: u32,
        /// Where it begins.
        iova: Iova,
        /// How far it goes.
        bytes: u64,
    },
    /// The mappings within a range are gone.
    Unmapped {
        /// The I/O address space.
        space: u32,
        /// Where the range begins.
        iova: u64,
        /// How far it goes.
        bytes: u64,
    },
    /// All mappings of a space are gone.
    UnmappedAll {
        /// The I/O address space.
        space: u32,
    },
    /// An object is gone: with a space, all its mappings.
    SpaceGone(u32),
    /// A VM's VFIO device has a file more.
    FileAdded,
    /// And one less.
    FileRemoved,
}

/// Where a DMA mapping begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iova {
    /// Where the caller says.
    Told(u64),
    /// Where the kernel says: the handler writes it to these bytes of the argument.
    WrittenTo(Place),
}

/// What such a call does if it succeeds. `bytes` are those that it was judged by: the handler may
/// write others in their place, such as how much it unmapped of what it was to unmap.
pub fn effect(request: &Request, bytes: Bytes<'_>) -> Effect {
    noted(request.surface, request.command)
        .and_then(|noted| (noted.effect)(bytes.argument))
        .unwrap_or(Effect::None)
}

/// What a call adds, if it succeeds, to what the VMs of a profile have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// VMs.
    pub vms: u32,
    /// vCPUs.
    pub vcpus: u32,
    /// Bytes of memory in slots.
    pub memory: u64,
}

/// What a call adds if it succeeds, at most. `slot`: the bytes of the slot that it names.
pub fn growth(request: &Request, bytes: Bytes<'_>, slot: u64) -> Growth {
    const VM: &Command = command("KVM_CREATE_VM");
    const VCPU: &Command = command("KVM_CREATE_VCPU");
    const SIZE: Place = field("KVM_SET_USER_MEMORY_REGION", "memory_size");
    let is = |surface, command: &Command| {
        request.surface == surface && command.has_number(request.command)
    };
    let mut growth = Growth {
        vms: is(Surface::Kvm, VM).into(),
        vcpus: is(Surface::KvmVm, VCPU).into(),
        memory: 0,
    };
    if slot_named(request, bytes).is_some() {
        // One that is there cannot grow, whatever its caller says.
        let size = number(bytes.argument, SIZE).filter(|_| slot == 0);
        growth.memory = size.unwrap_or(0);
    }
    growth
}

/// The commands that set a memory slot. The struct of the second begins with that of the first.
static REGIONS: [&Command; 2] = [
    command("KVM_SET_USER_MEMORY_REGION"),
    command("KVM_SET_USER_MEMORY_REGION2"),
];

/// How much of such a command's argument tells which slot it sets, and how large that is to be.
pub(crate) fn slot_bytes(of: &Command) -> Option<u32> {
    const SIZE: Place = field("KVM_SET_USER_MEMORY_REGION", "memory_size");
    let is_it = REGIONS.iter().any(|command| command.number == of.number);
    is_it.then_some(SIZE.offset + u32::from(SIZE.width))
}

/// The memory slot that a call sets, as `KVM_SET_USER_MEMORY_REGION` names it.
pub fn slot_named(request: &Request, bytes: Bytes<'_>) -> Option<u32> {
    const SLOT: Place = field("KVM_SET_USER_MEMORY_REGION", "slot");
    let mut commands = REGIONS.iter();
    let is_it = request.surface == Surface::KvmVm
        && commands.any(|command| command.has_number(request.command));
    if is_it {
        short(bytes.argument, SLOT)
    } else {
        None
    }
}

/// The command, if it is one of these.
pub(crate) fn find(surface: Surface, number: u32) -> Option<&'static Command> {
    noted(surface, number).map(|noted| noted.command)
}

fn noted(surface: Surface, number: u32) -> Option<&'static Noted> {
    NOTED
        .iter()
        .find(|noted| noted.surface == surface && noted.command.has_number(number))
}

/// A row of [`NOTED`].
struct Noted {
    surface: Surface,
    command: &'static Command,
    /// What an argument makes it do.
    effect: fn(&[u8]) -> Option<Effect>,
}

const fn row(surface: Surface, name: &str, effect: fn(&[u8]) -> Option<Effect>) -> Noted {
    Noted {
        surface,
        command: command(name),
        effect,
    }
}

static NOTED: [Noted; 13] = [
    row(Surface::Kvm, "KVM_CREATE_VM", |_| Some(Effect::VmMade)),
    row(Surface::KvmVm, "KVM_ENABLE_CAP", enable_cap),
    row(Surface::KvmVcpu, "KVM_ENABLE_CAP", enable_cap),
    row(Surface::KvmVm, "KVM_REGISTER_COALESCED_MMIO", zones),
    row(Surface::KvmVm, "KVM_UNREGISTER_COALESCED_MMIO", zones),
    row(Surface::KvmDevice, "KVM_SET_DEVICE_ATTR", set_attr),
    row(Surface::VfioContainer, "VFIO_IOMMU_MAP_DMA", map_of_vfio),
    row(
        Surface::VfioContainer,
        "VFIO_IOMMU_UNMAP_DMA",
        unmap_of_vfio,
    ),
    row(Surface::Iommufd, "IOMMU_IOAS_MAP", map),
    row(Surface::Iommufd, "IOMMU_IOAS_MAP_FILE", map_file),
    row(Surface::Iommufd, "IOMMU_IOAS_COPY", copy),
    row(Surface::Iommufd, "IOMMU_IOAS_UNMAP", unmap),
    row(Surface::Iommufd, "IOMMU_DESTROY", destroy),
];

fn zones(_: &[u8]) -> Option<Effect> {
    Some(Effect::ZonesChanged)
}

fn enable_cap(argument: &[u8]) -> Option<Effect> {
    const CAP: Place = field("KVM_ENABLE_CAP", "cap");
    Some(Effect::CapEnabled(short(argument, CAP)?))
}

/// Of a VFIO device: x86 has no other.
fn set_attr(argument: &[u8]) -> Option<Effect> {
    const GROUP: Place = field("KVM_SET_DEVICE_ATTR", "group");
    const ATTR: Place = field("KVM_SET_DEVICE_ATTR", "attr");
    const FILE: u64 = constant("KVM_DEV_VFIO_FILE");
    const ADD: u64 = constant("KVM_DEV_VFIO_FILE_ADD");
    const DEL: u64 = constant("KVM_DEV_VFIO_FILE_DEL");
    match (number(argument, GROUP)?, number(argument, ATTR)?) {
        (FILE, ADD) => Some(Effect::FileAdded),
        (FILE, DEL) => Some(Effect::FileRemoved),
        _ => None,
    }
}

fn map_of_vfio(argument: &[u8]) -> Option<Effect> {
    const IOVA: Place = field("VFIO_IOMMU_MAP_DMA", "iova");
    const SIZE: Place = field("VFIO_IOMMU_MAP_DMA", "size");
    const FLAGS: Place = field("VFIO_IOMMU_MAP_DMA", "flags");
    const VADDR: u64 = constant("VFIO_DMA_MAP_FLAG_VADDR");
    // It gives a mapping that is there another address in the VMM.
    if number(argument, FLAGS)? & VADDR != 0 {
        return None;
    }
    Some(Effect::Mapped {
        space: 0,
        iova: Iova::Told(number(argument, IOVA)?),
        bytes: number(argument, SIZE)?,
    })
}

fn unmap_of_vfio(argument: &[u8]) -> Option<Effect> {
    const IOVA: Place = field("VFIO_IOMMU_UNMAP_DMA", "iova");
    const SIZE: Place = field("VFIO_IOMMU_UNMAP_DMA", "size");
    const FLAGS: Place = field("VFIO_IOMMU_UNMAP_DMA", "flags");
    const VADDR: u64 = constant("VFIO_DMA_UNMAP_FLAG_VADDR");
    const ALL: u64 = constant("VFIO_DMA_UNMAP_FLAG_ALL");
    let flags = number(argument, FLAGS)?;
    // It takes the VMM's address away, and leaves the mapping.
    if flags & VADDR != 0 {
        return None;
    }
    if flags & ALL != 0 {
        return Some(Effect::UnmappedAll { space: 0 });
    }
    Some(Effect::Unmapped {
        space: 0,
        iova: number(argument, IOVA)?,
        bytes: number(argument, SIZE)?,
    })
}

fn map(argument: &[u8]) -> Option<Effect> {
    const SPACE: Place = field("IOMMU_IOAS_MAP", "ioas_id");
    const IOVA: Place = field("IOMMU_IOAS_MAP", "iova");
    const LENGTH: Place = field("IOMMU_IOAS_MAP", "length");
    const FLAGS: Place = field("IOMMU_IOAS_MAP", "flags");
    mapped(argument, [SPACE, IOVA, LENGTH, FLAGS])
}

fn map_file(argument: &[u8]) -> Option<Effect> {
    const SPACE: Place = field("IOMMU_IOAS_MAP_FILE", "ioas_id");
    const IOVA: Place = field("IOMMU_IOAS_MAP_FILE", "iova");
    const LENGTH: Place = field("IOMMU_IOAS_MAP_FILE", "length");
    const FLAGS: Place = field("IOMMU_IOAS_MAP_FILE", "flags");
    mapped(argument, [SPACE, IOVA, LENGTH, FLAGS])
}

fn copy(argument: &[u8]) -> Option<Effect> {
    const SPACE: Place = field("IOMMU_IOAS_COPY", "dst_ioas_id");
    const IOVA: Place = field("IOMMU_IOAS_COPY", "dst_iova");
    const LENGTH: Place = field("IOMMU_IOAS_COPY", "length");
    const FLAGS: Place = field("IOMMU_IOAS_COPY", "flags");
    mapped(argument, [SPACE, IOVA, LENGTH, FLAGS])
}

fn mapped(argument: &[u8], [space, iova, length, flags]: [Place; 4]) -> Option<Effect> {
    const FIXED: u64 = constant("IOMMU_IOAS_MAP_FIXED_IOVA");
    let is_told = number(argument, flags)? & FIXED != 0;
    Some(Effect::Mapped {
        space: short(argument, space)?,
        iova: match is_told {
            true => Iova::Told(number(argument, iova)?),
            false => Iova::WrittenTo(iova),
        },
        bytes: number(argument, length)?,
    })
}

fn unmap(argument: &[u8]) -> Option<Effect> {
    const SPACE: Place = field("IOMMU_IOAS_UNMAP", "ioas_id");
    const IOVA: Place = field("IOMMU_IOAS_UNMAP", "iova");
    const LENGTH: Place = field("IOMMU_IOAS_UNMAP", "length");
    let space = short(argument, SPACE)?;
    Some(match (number(argument, IOVA)?, number(argument, LENGTH)?) {
        (0, u64::MAX) => Effect::UnmappedAll { space },
        (iova, bytes) => Effect::Unmapped { space, iova, bytes },
    })
}

fn destroy(argument: &[u8]) -> Option<Effect> {
    const ID: Place = field("IOMMU_DESTROY", "id");
    Some(Effect::SpaceGone(short(argument, ID)?))
}

/// A number of 32 bits.
fn short(argument: &[u8], place: Place) -> Option<u32> {
    u32::try_from(number(argument, place)?).ok()
}
