// SPDX-License-Identifier: GPL-2.0

//! Whom a profile belongs to, and what is kept of it.

use super::now_ms;
use crate::{
    doing::Doing,
    known::{Mappings, Seen},
    sys::{
        facts::Facts,
        kvm::what,
        locks::PROFILES,
        open_file::{OpenFile, Trace},
        per_cpu::Which, //
    },
};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::{Arc, GlobalGuard}, //
};
use portcullis_policy::{Growth, Surface};

/// Whom a profile belongs to: a VM, or an open file that belongs to none.
#[pin_data]
pub(crate) struct Subject {
    /// A number that no other VM has; 0 for what is none.
    pub(crate) number: u64,
    /// Who made it, at that time.
    pub(crate) facts: Arc<Facts>,
    /// The process that made the VM.
    pub(crate) maker: u32,
    /// When, in milliseconds since the kernel was booted; 0 for a VM that is older than the module.
    pub(crate) created: u64,
    /// How it is recognised, if it is a file.
    pub(super) trace: Option<Trace>,
    /// Whether its facts are those of somebody who only has it: see [`Newcomer`](super::Newcomer).
    pub(crate) is_provisional: bool,
    /// See [`Bound`].
    bound: AtomicU64,
    gone: AtomicBool,
    /// Whether its KVM is the one that this module was built for, as far as was asked.
    known: AtomicBool,
    /// Whether one of its vCPUs has been in its guest, as far as was seen.
    ran: AtomicBool,
    /// vCPUs, and bytes of memory, when it was last looked at.
    vcpus: AtomicU32,
    memory: AtomicU64,
    /// What is known of it by the calls that succeeded.
    pub(crate) seen: Seen,
    /// Taken while a call that may change what is known, or whose verdict looks at what may change, is
    /// judged and carried out.
    #[pin]
    pub(crate) doing: Doing<Mappings>,
    /// What calls that are being carried out may add to what its profile has.
    pub(crate) reserved: Reserved,
    denied: AtomicU64,
    would_deny: AtomicU64,
    last_denial: AtomicU64,
}

/// What [`Subject::bound`] is of one who is gone.
const NOBODY: u64 = u64::MAX;

/// See [`Subject::reserved`].
#[derive(Default)]
pub(crate) struct Reserved {
    pub(crate) vms: AtomicU32,
    pub(crate) vcpus: AtomicU32,
    pub(crate) memory: AtomicU64,
}

impl Reserved {
    /// Something is about to be added.
    pub(crate) fn add(&self, growth: Growth) {
        self.vms.fetch_add(growth.vms, Ordering::Relaxed);
        self.vcpus.fetch_add(growth.vcpus, Ordering::Relaxed);
        self.memory.fetch_add(growth.memory, Ordering::Relaxed);
    }

    /// It was added, or was not.
    pub(crate) fn sub(&self, growth: Growth) {
        self.vms.fetch_sub(growth.vms, Ordering::Relaxed);
        self.vcpus.fetch_sub(growth.vcpus, Ordering::Relaxed);
        self.memory.fetch_sub(growth.memory, Ordering::Relaxed);
    }
}

/// What a policy says about a subject, and which one says it.
#[derive(Clone, Copy)]
pub(crate) struct Bound(u64);

/// What a policy says about a subject: the places of its profile and of that one's sections.
#[derive(Clone, Copy)]
pub(crate) struct Places(u32);

impl Places {
    pub(crate) const fn new(profile: u8, setup: u8, running: u8) -> Self {
        Self(u32::from_le_bytes([running, setup, profile, 0]))
    }

    /// The place of the profile.
    pub(crate) const fn profile(self) -> u8 {
        self.0.to_le_bytes()[2]
    }

    /// The place of the section.
    #[inline]
    pub(crate) const fn section(self, is_running: bool) -> u8 {
        let bytes = self.0.to_le_bytes();
        if is_running {
            bytes[0]
        } else {
            bytes[1]
        }
    }
}

/// Which policy says something: no two that were ever made have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// From a number, which must not be 0: nobody is bound by that.
    pub(crate) const fn new(number: u64) -> Self {
        // Below are the places of [`Bound`].
        Self(number << 24)
    }

    /// A number that tells it from all others.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

impl Bound {
    pub(crate) const fn new(generation: Generation, places: Places) -> Self {
        Self(generation.0 | places.0 as u64)
    }

    /// What the policy of that generation says, if it is that one.
    #[inline]
    pub(crate) const fn places(self, generation: Generation) -> Option<Places> {
        let places = self.0 ^ generation.0;
        match places >> 24 {
            0 => Some(Places(places as u32)),
            _ => None,
        }
    }
}

impl Subject {
    /// What the policy in force says about it, if it has been asked.
    #[inline]
    pub(crate) fn bound(&self) -> Bound {
        Bound(self.bound.load(Ordering::Relaxed))
    }

    /// Keeps what a policy says.
    pub(crate) fn bind(&self, bound: Bound) {
        // One who is gone stays unbound: another may have the address already.
        let _ = self
            .bound
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                (before != NOBODY).then_some(bound.0)
            });
    }

    /// Whether one of its vCPUs has been in its guest, as far as was seen.
    #[inline]
    pub(crate) fn ran(&self) -> bool {
        self.ran.load(Ordering::Relaxed)
    }

    /// Whether one of its vCPUs has been in its guest, or is on its way there. `file` is one of the VM's.
    pub(crate) fn is_running(&self, file: OpenFile<'_>, surface: Surface) -> bool {
        if self.ran() || !self.is_vm() {
            return self.ran();
        }
        let look = file.look(surface, what::RUNNING);
        if look.has_entered {
            self.has_run();
        }
        look.is_running()
    }

    pub(super) fn has_run(&self) {
        self.ran.store(true, Ordering::Relaxed);
    }

    /// Whether what a file of its looks like is what this module was built for. If it is not, nothing of
    /// KVM's may be looked at. A vCPU is asked about when it is called first.
    #[inline]
    pub(crate) fn is_known(&self, file: OpenFile<'_>, surface: Surface) -> bool {
        self.known.load(Ordering::Relaxed) || {
            let is_known = file.is_known(surface);
            self.known.store(is_known, Ordering::Relaxed);
            is_known
        }
    }

    /// Whether it is a VM.
    pub(crate) fn is_vm(&self) -> bool {
        self.trace.is_none()
    }

    /// Keeps how many vCPUs it has, and how much memory: sums over many VMs are made of that. Only for who
    /// keeps others from summing up.
    pub(crate) fn take_stock(
        &self,
        file: OpenFile<'_>,
        surface: Surface,
        _summing: &GlobalGuard<PROFILES>,
    ) {
        let look = file.look(surface, what::VCPUS | what::MEMORY);
        self.vcpus.store(look.vcpus, Ordering::Relaxed);
        self.memory.store(look.memory, Ordering::Relaxed);
    }

    /// vCPUs, and bytes of memory, when it was last looked at.
    pub(crate) fn stock(&self) -> (u32, u64) {
        (
            self.vcpus.load(Ordering::Relaxed),
            self.memory.load(Ordering::Relaxed),
        )
    }

    /// Counts a call that was refused, or would have been.
    pub(crate) fn count_denial(&self, which: Which) {
        let counter = match which {
            Which::First => &self.denied,
            Which::Second => &self.would_deny,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.last_denial.store(now_ms(), Ordering::Relaxed);
    }

    /// Those that were refused, those that would have been, and when the last was.
    pub(crate) fn denials(&self) -> (u64, u64, u64) {
        (
            self.denied.load(Ordering::Relaxed),
            self.would_deny.load(Ordering::Relaxed),
            self.last_denial.load(Ordering::Relaxed),
        )
    }

    /// Whether the kernel has forgotten it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The kernel has forgotten it.
    pub(super) fn leave(&self) {
        self.bound.store(NOBODY, Ordering::Relaxed);
        self.gone.store(true, Ordering::Release);
        super::LEFT.store(true, Ordering::Release);
    }
}

/// What becomes a new subject.
pub(crate) struct Newcomer {
    pub(crate) facts: Arc<Facts>,
    /// The process that makes it, if it is a VM.
    pub(crate) maker: u32,
    /// See [`Subject::created`].
    pub(crate) created: u64,
    /// Whether it only has the VM that another one made: then it speaks for it until that one calls.
    pub(crate) is_provisional: bool,
}

impl Newcomer {
    /// The subject that it becomes: a file if there is a trace of it, else a VM.
    pub(super) fn settle(self, trace: Option<Trace>) -> Result<Arc<Subject>> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let Self {
            facts,
            maker,
            created,
            is_provisional,
        } = self;
        // Nobody is bound who does not speak for himself: his calls are asked about, each time.
        let bound = if is_provisional { NOBODY } else { 0 };
        Arc::pin_init(
            pin_init!(Subject {
                number: match trace {
                    None => NUMBER.fetch_add(1, Ordering::Relaxed),
                    Some(_) => 0,
                },
                facts,
                maker,
                created,
                trace,
                is_provisional,
                bound: AtomicU64::new(bound),
                gone: AtomicBool::new(false),
                known: AtomicBool::new(false),
                ran: AtomicBool::new(false),
                vcpus: AtomicU32::new(0),
                memory: AtomicU64::new(0),
                seen: Seen::new(),
                doing <- Doing::new(Mappings::new()),
                reserved: Reserved::default(),
                denied: AtomicU64::new(0),
                would_deny: AtomicU64::new(0),
                last_denial: AtomicU64::new(0),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }
}
