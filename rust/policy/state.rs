// SPDX-License-Identifier: GPL-2.0

//! What a VM has done so far, and who of it calls: what conditions on `vm.`, `vcpu.` and `thread.`
//! look at.
//!
//! To the evaluator it is a row of bytes with the places of [`FIELDS`], like an argument.

use crate::fetch::PADDING;
use crate::schema::{self, Argument};
use crate::Surface;

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
    /// The argument of `KVM_CREATE_VM`: `vm.type`.
    pub kind: u64,
    /// The interrupt controller in the kernel: `vm.irqchip`.
    pub irqchip: Irqchip,
    /// Whether one of its vCPUs has run: `vm.running`.
    pub is_running: bool,
    /// The capabilities that were enabled, a bit for each number: `vm.cap()`.
    pub caps: [u64; State::CAPS / 64],
    /// Whether the vCPU that is called has run: `vcpu.ran`.
    pub vcpu_ran: bool,
    /// Whether it has run, and another thread than the calling one was the first to run it:
    /// `vcpu.foreign`.
    pub vcpu_is_foreign: bool,
    /// Whether the calling thread has run a vCPU: `thread.vcpu`.
    pub thread_runs_vcpu: bool,
    /// Whether somebody traces the calling thread: `thread.traced`.
    pub thread_is_traced: bool,
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

/// A row of bytes such as the evaluator looks at, padding included.
pub type StateBytes = [u8; State::BYTES + PADDING];

const MEMORY: u32 = 0;
const KIND: u32 = 8;
const VCPUS: u32 = 16;
const MEMSLOTS: u32 = 20;
const IRQCHIP: u32 = 24;
const RUNNING: u32 = 25;
const VCPU_RAN: u32 = 26;
const VCPU_FOREIGN: u32 = 27;
const THREAD_VCPU: u32 = 28;
const THREAD_TRACED: u32 = 29;
const CAPS: u32 = 32;

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
        kind: 0,
        irqchip: Irqchip::None,
        is_running: false,
        caps: [0; Self::CAPS / 64],
        vcpu_ran: false,
        vcpu_is_foreign: false,
        thread_runs_vcpu: false,
        thread_is_traced: false,
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
        put(MEMORY, &self.memory.to_le_bytes());
        put(KIND, &self.kind.to_le_bytes());
        put(VCPUS, &self.vcpus.to_le_bytes());
        put(MEMSLOTS, &self.memslots.to_le_bytes());
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

/// Which calls have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Calls on a VM, on one of its vCPUs or devices.
    Vm,
    /// Calls on a vCPU.
    Vcpu,
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

/// Every name that begins with `vm.`, `vcpu.` or `thread.`.
pub static FIELDS: [StateField; 11] = [
    field("vm.vcpus", Like::Number, Scope::Vm, VCPUS, 4),
    field("vm.memory", Like::Number, Scope::Vm, MEMORY, 8),
    field("vm.memslots", Like::Number, Scope::Vm, MEMSLOTS, 4),
    field("vm.irqchip", Like::Word(IRQCHIPS), Scope::Vm, IRQCHIP, 1),
    field("vm.running", Like::Flag, Scope::Vm, RUNNING, 1),
    field("vm.cap", Like::Caps, Scope::Vm, CAPS, 1),
    field("vm.type", Like::Type, Scope::Vm, KIND, 8),
    field("vcpu.ran", Like::Flag, Scope::Vcpu, VCPU_RAN, 1),
    field("vcpu.foreign", Like::Flag, Scope::Vcpu, VCPU_FOREIGN, 1),
    field("thread.vcpu", Like::Flag, Scope::All, THREAD_VCPU, 1),
    field("thread.traced", Like::Flag, Scope::All, THREAD_TRACED, 1),
];

/// Whether a word is meant to name a part of the state.
pub(crate) fn is_meant(word: &str) -> bool {
    let family = word.split_once('.').map(|(family, _)| family);
    matches!(family, Some("vm" | "vcpu" | "thread"))
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
