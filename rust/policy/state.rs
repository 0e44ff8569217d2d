// SPDX-License-Identifier: GPL-2.0

//! What a VM has done so far, and who of it calls: what conditions on `vm.`, `vcpu.`, `thread.`,
//! `profile.` and `file.` look at, and limits.
//!
//! To the evaluator it is a row of bytes with the places of [`FIELDS`], like an argument.

use crate::fetch::PADDING;
use crate::schema::{self, Argument};
use crate::{limits, Surface};

/// The state of a VM, as it is when one of its calls is judged. It is made of what succeeded, not of
/// what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// vCPUs that were made: `vm.vcpus`.
    pub vcpus: u32,
    /// Memory slots that there are: `vm.memslots`.
    pub memslots: u32,
    /// The bytes of memory in them: `vm.memory`.
    pub memory: u64,
    /// Of the slot that the call is about, if it sets a memory slot; 0 where there is none yet:
    /// `vm.slot`.
    pub slot: u64,
    /// The argument of `KVM_CREATE_VM`: `vm.type`.
    pub kind: u64,
    /// Interrupts that are bound to eventfds: `vm.irqfds`.
    pub irqfds: u32,
    /// Addresses that are: `vm.ioeventfds`.
    pub ioeventfds: u32,
    /// Zones of coalesced MMIO and ports: `vm.zones`.
    pub zones: u32,
    /// Devices that `KVM_CREATE_DEVICE` made: `vm.devices`.
    pub devices: u32,
    /// The interrupt controller in the kernel: `vm.irqchip`.
    pub irqchip: Irqchip,
    /// Whether one of its vCPUs has run: `vm.running`.
    pub is_running: bool,
    /// The capabilities that were enabled, a bit for each number: `vm.cap()`.
    pub caps: [u64; State::CAPS / 64],
    /// What of [`Policy::dids`](crate::Policy::dids) was done, a bit for each: `vm.did()`.
    pub did: u32,
    /// Whether the vCPU that is called has run, or is about to: `vcpu.ran`.
    pub vcpu_ran: bool,
    /// Whether another thread than the calling one was the first to try to run it, whether or not it
    /// has run: `vcpu.foreign`.
    pub vcpu_is_foreign: bool,
    /// Whether the calling thread was the first, or the last, to run a vCPU: `thread.vcpu`.
    pub thread_runs_vcpu: bool,
    /// Whether somebody traces the calling thread: `thread.traced`.
    pub thread_is_traced: bool,
    /// The VMs of the profile that speaks for the caller: `profile.vms`.
    pub profile_vms: u32,
    /// The vCPUs that all of them have: `profile.vcpus`.
    pub profile_vcpus: u32,
    /// The bytes of memory in all of their slots: `profile.memory`.
    pub profile_memory: u64,
    /// DMA mappings that were made by the file that the call is on: `file.mappings`.
    pub mappings: u32,
    /// The rates of the profile that this call exceeds, a bit for each.
    pub exceeded: u16,
}

/// Where the interrupt controller of a VM is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Irqchip {
    /// Not in the kernel.
    #[default]
    None,
    /// Wholly in the kernel: `KVM_CREATE_IRQCHIP`.
    Kernel,
    /// The local APICs alone: `KVM_CAP_SPLIT_IRQCHIP`.
    Split,
}

impl Irqchip {
    /// Its word in a policy.
    pub fn name(self) -> &'static str {
        IRQCHIPS.get(self as usize).copied().unwrap_or_default()
    }
}

/// A row of bytes such as the evaluator looks at, padding included.
pub type StateBytes = [u8; State::BYTES + PADDING];

const MEMORY: u32 = 0;
const KIND: u32 = 8;
const SLOT: u32 = 16;
const PROFILE_MEMORY: u32 = 24;
const VCPUS: u32 = 32;
const MEMSLOTS: u32 = 36;
const IRQFDS: u32 = 40;
const IOEVENTFDS: u32 = 44;
const ZONES: u32 = 48;
const DEVICES: u32 = 52;
const PROFILE_VMS: u32 = 56;
const PROFILE_VCPUS: u32 = 60;
const MAPPINGS: u32 = 64;
pub(crate) const DID: u32 = 68;
pub(crate) const EXCEEDED: u32 = 72;
const IRQCHIP: u32 = 74;
const RUNNING: u32 = 75;
const VCPU_RAN: u32 = 76;
const VCPU_FOREIGN: u32 = 77;
const THREAD_VCPU: u32 = 78;
const THREAD_TRACED: u32 = 79;
const CAPS: u32 = 80;

// Each has a bit.
const _: () = {
    assert!(limits::DIDS <= 32);
    assert!(limits::RATES <= 16);
};

impl State {
    /// Capabilities have numbers below this one.
    pub const CAPS: usize = 512;
    /// The bytes of a state without its padding.
    pub const BYTES: usize = CAPS as usize + Self::CAPS / 8;

    /// A VM that has just been made.
    pub const NEW: Self = Self {
        vcpus: 0,
        memslots: 0,
        memory: 0,
        slot: 0,
        kind: 0,
        irqfds: 0,
        ioeventfds: 0,
        zones: 0,
        devices: 0,
        irqchip: Irqchip::None,
        is_running: false,
        caps: [0; Self::CAPS / 64],
        did: 0,
        vcpu_ran: false,
        vcpu_is_foreign: false,
        thread_runs_vcpu: false,
        thread_is_traced: false,
        profile_vms: 0,
        profile_vcpus: 0,
        profile_memory: 0,
        mappings: 0,
        exceeded: 0,
    };

    /// What [`Bytes::state`](crate::Bytes::state) is.
    pub fn bytes(&self) -> StateBytes {
        let mut bytes = [0; Self::BYTES + PADDING];
        let mut put = |at: u32, from: &[u8]| {
            let at = crate::fetch::size(at);
            if let Some(place) = bytes.get_mut(at..at + from.len()) {
                place.copy_from_slice(from);
            }
        };
        for (at, number) in [
            (MEMORY, self.memory),
            (KIND, self.kind),
            (SLOT, self.slot),
            (PROFILE_MEMORY, self.profile_memory),
        ] {
            put(at, &number.to_le_bytes());
        }
        for (at, number) in [
            (VCPUS, self.vcpus),
            (MEMSLOTS, self.memslots),
            (IRQFDS, self.irqfds),
            (IOEVENTFDS, self.ioeventfds),
            (ZONES, self.zones),
            (DEVICES, self.devices),
            (PROFILE_VMS, self.profile_vms),
            (PROFILE_VCPUS, self.profile_vcpus),
            (MAPPINGS, self.mappings),
            (DID, self.did),
        ] {
            put(at, &number.to_le_bytes());
        }
        put(EXCEEDED, &self.exceeded.to_le_bytes());
        for (at, byte) in [
            (IRQCHIP, self.irqchip as u8),
            (RUNNING, self.is_running.into()),
            (VCPU_RAN, self.vcpu_ran.into()),
            (VCPU_FOREIGN, self.vcpu_is_foreign.into()),
            (THREAD_VCPU, self.thread_runs_vcpu.into()),
            (THREAD_TRACED, self.thread_is_traced.into()),
        ] {
            put(at, &[byte]);
        }
        for (word, at) in self.caps.iter().zip((CAPS..).step_by(8)) {
            put(at, &word.to_le_bytes());
        }
        bytes
    }
}

/// Which parts of a [`State`] are looked at: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateNeed(pub u32);

impl StateNeed {
    /// None.
    pub const NOTHING: Self = Self(0);
    /// [`State::vcpus`]
    pub const VCPUS: Self = Self(1 << 0);
    /// [`State::memory`]
    pub const MEMORY: Self = Self(1 << 1);
    /// [`State::memslots`]
    pub const MEMSLOTS: Self = Self(1 << 2);
    /// [`State::irqchip`]
    pub const IRQCHIP: Self = Self(1 << 3);
    /// [`State::is_running`]
    pub const RUNNING: Self = Self(1 << 4);
    /// [`State::caps`]
    pub const CAPS: Self = Self(1 << 5);
    /// [`State::kind`]
    pub const TYPE: Self = Self(1 << 6);
    /// [`State::irqfds`]
    pub const IRQFDS: Self = Self(1 << 7);
    /// [`State::ioeventfds`]
    pub const IOEVENTFDS: Self = Self(1 << 8);
    /// [`State::zones`]
    pub const ZONES: Self = Self(1 << 9);
    /// [`State::devices`]
    pub const DEVICES: Self = Self(1 << 10);
    /// [`State::slot`]
    pub const SLOT: Self = Self(1 << 11);
    /// [`State::vcpu_ran`] and [`State::vcpu_is_foreign`]
    pub const VCPU: Self = Self(1 << 12);
    /// [`State::thread_runs_vcpu`]
    pub const THREAD_VCPU: Self = Self(1 << 13);
    /// [`State::thread_is_traced`]
    pub const THREAD_TRACED: Self = Self(1 << 14);
    /// [`State::profile_vms`], [`State::profile_vcpus`] and [`State::profile_memory`]
    pub const PROFILE: Self = Self(1 << 15);
    /// [`State::mappings`]
    pub const MAPPINGS: Self = Self(1 << 16);
    /// [`State::did`]
    pub const DID: Self = Self(1 << 17);
    /// [`State::exceeded`]
    pub const RATE: Self = Self(1 << 18);

    /// What no other call can change while this one is judged and carried out. A rate is used up when
    /// it is asked for.
    const STEADY: Self =
        Self(Self::TYPE.0 | Self::THREAD_VCPU.0 | Self::THREAD_TRACED.0 | Self::RATE.0);

    /// The part that stands at an offset of [`State::bytes`].
    pub(crate) const fn at(offset: u32) -> Self {
        match offset {
            VCPUS => Self::VCPUS,
            MEMORY => Self::MEMORY,
            MEMSLOTS => Self::MEMSLOTS,
            IRQCHIP => Self::IRQCHIP,
            RUNNING => Self::RUNNING,
            KIND => Self::TYPE,
            IRQFDS => Self::IRQFDS,
            IOEVENTFDS => Self::IOEVENTFDS,
            ZONES => Self::ZONES,
            DEVICES => Self::DEVICES,
            SLOT => Self::SLOT,
            VCPU_RAN | VCPU_FOREIGN => Self::VCPU,
            THREAD_VCPU => Self::THREAD_VCPU,
            THREAD_TRACED => Self::THREAD_TRACED,
            PROFILE_VMS | PROFILE_VCPUS | PROFILE_MEMORY => Self::PROFILE,
            MAPPINGS => Self::MAPPINGS,
            DID..EXCEEDED => Self::DID,
            EXCEEDED => Self::RATE,
            CAPS.. => Self::CAPS,
            _ => Self::NOTHING,
        }
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether some of `part` is in it.
    #[inline]
    pub const fn has(self, part: Self) -> bool {
        self.0 & part.0 != 0
    }

    /// Whether nothing is in it.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether other calls that are made at the same time can change something of it.
    #[inline]
    pub const fn changes(self) -> bool {
        self.0 & !Self::STEADY.0 != 0
    }
}

/// Which calls have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Calls on a VM, on one of its vCPUs or devices.
    Vm,
    /// Calls on a vCPU.
    Vcpu,
    /// Those that set a memory slot of a VM.
    Slot,
    /// Those that make a VM, and those on one itself: only they make a profile have more.
    Profile,
    /// Those on what DMA is mapped for.
    Dma,
    /// All.
    All,
}

impl Scope {
    /// Whether calls on a surface have it.
    pub fn has(self, surface: Surface) -> bool {
        match self {
            Self::Vm => matches!(
                surface,
                Surface::KvmVm | Surface::KvmVcpu | Surface::KvmDevice
            ),
            Self::Vcpu => surface == Surface::KvmVcpu,
            Self::Slot => surface == Surface::KvmVm,
            Self::Profile => matches!(surface, Surface::Kvm | Surface::KvmVm),
            Self::Dma => matches!(surface, Surface::VfioContainer | Surface::Iommufd),
            Self::All => true,
        }
    }
}

/// What a part of the state is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// A number.
    Number,
    /// 1 or 0.
    Flag,
    /// One of a few words, whose places are its values.
    Word(&'static [&'static str]),
    /// A kind of VM.
    Type,
    /// A bit for each capability, named in parentheses.
    Caps,
    /// A bit for each command that the policy asks for, named in parentheses.
    Dids,
}

/// A part of the state that a condition can name.
#[derive(Clone, Copy, Debug)]
pub struct StateField {
    /// Its name.
    pub name: &'static str,
    /// What it is like.
    pub like: Like,
    /// Which calls have it.
    pub scope: Scope,
    /// Where it is in the bytes of a state.
    pub(crate) offset: u32,
    /// Its bytes.
    pub(crate) width: u8,
}

const fn field(name: &'static str, like: Like, scope: Scope, offset: u32, width: u8) -> StateField {
    StateField {
        name,
        like,
        scope,
        offset,
        width,
    }
}

/// The values of `vm.irqchip`, in the order of [`Irqchip`].
const IRQCHIPS: &[&str] = &["none", "kernel", "split"];

/// Every name that a condition on the state can have.
pub static FIELDS: [StateField; 21] = [
    field("vm.vcpus", Like::Number, Scope::Vm, VCPUS, 4),
    field("vm.memory", Like::Number, Scope::Vm, MEMORY, 8),
    field("vm.memslots", Like::Number, Scope::Vm, MEMSLOTS, 4),
    field("vm.slot", Like::Number, Scope::Slot, SLOT, 8),
    field("vm.irqchip", Like::Word(IRQCHIPS), Scope::Vm, IRQCHIP, 1),
    field("vm.irqfds", Like::Number, Scope::Vm, IRQFDS, 4),
    field("vm.ioeventfds", Like::Number, Scope::Vm, IOEVENTFDS, 4),
    field("vm.zones", Like::Number, Scope::Vm, ZONES, 4),
    field("vm.devices", Like::Number, Scope::Vm, DEVICES, 4),
    field("vm.running", Like::Flag, Scope::Vm, RUNNING, 1),
    field("vm.cap", Like::Caps, Scope::Vm, CAPS, 1),
    field("vm.did", Like::Dids, Scope::Vm, DID, 1),
    field("vm.type", Like::Type, Scope::Vm, KIND, 8),
    field("vcpu.ran", Like::Flag, Scope::Vcpu, VCPU_RAN, 1),
    field("vcpu.foreign", Like::Flag, Scope::Vcpu, VCPU_FOREIGN, 1),
    field("thread.vcpu", Like::Flag, Scope::All, THREAD_VCPU, 1),
    field("thread.traced", Like::Flag, Scope::All, THREAD_TRACED, 1),
    field("profile.vms", Like::Number, Scope::Profile, PROFILE_VMS, 4),
    field(
        "profile.vcpus",
        Like::Number,
        Scope::Profile,
        PROFILE_VCPUS,
        4,
    ),
    field(
        "profile.memory",
        Like::Number,
        Scope::Profile,
        PROFILE_MEMORY,
        8,
    ),
    field("file.mappings", Like::Number, Scope::Dma, MAPPINGS, 4),
];

/// Whether a word is meant to name a part of the state.
pub(crate) fn is_meant(word: &str) -> bool {
    let family = word.split_once('.').map(|(family, _)| family);
    matches!(family, Some("vm" | "vcpu" | "thread" | "profile" | "file"))
}

/// The part of that name.
pub(crate) fn named(word: &str) -> Option<&'static StateField> {
    FIELDS.iter().find(|field| field.name == word)
}

/// The constants that belong to `vm.type`.
pub(crate) fn types_of_vms() -> &'static [u16] {
    match schema::command("KVM_CREATE_VM").map(|command| &command.argument) {
        Some(&Argument::Scalar { constants, .. }) => constants,
        _ => &[],
    }
}
