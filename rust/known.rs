// SPDX-License-Identifier: GPL-2.0

//! What is known of who calls: whom a file belongs to, what a VM is like, and what has been done.
//!
//! Most of what a VM is like KVM knows best, and is asked when it is wanted. What KVM does not say is
//! noted here when a call has succeeded.

use crate::{
    sites,
    sys::{
        call,
        facts::Facts,
        kvm::what,
        locks::PROFILES,
        open_file::OpenFile,
        open_files::for_each_open_file,
        published::ReadSide,
        registry::{self, Birth, Newcomer, Node, Subject}, //
    },
    text::Errno, //
};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    current,
    prelude::*,
    rbtree::RBTree,
    sync::{Arc, GlobalGuard}, //
};
use portcullis_policy::{
    DidKey,
    Effect,
    Iova,
    Rate,
    State,
    StateNeed,
    Surface, //
};

/// What is known of a VM or an open file by the calls that succeeded. Probes look at it: there is no lock.
pub(crate) struct Seen {
    /// A bit for each capability that was enabled.
    caps: [AtomicU64; State::CAPS / 64],
    /// What a policy asked about, and was done; the rest is 0.
    dids: [AtomicU64; DIDS],
    /// Zones of coalesced MMIO.
    zones: AtomicU32,
    /// Files of VFIO that the VM was given.
    vfio_files: AtomicU32,
    /// DMA mappings.
    mappings: AtomicU32,
    rates: Rates,
}

/// How much of what was done is kept of one VM: policies come and go, and each asks about a few things.
const DIDS: usize = 64;

impl Seen {
    /// Nothing has been done.
    pub(crate) fn new() -> Self {
        Self {
            caps: [const { AtomicU64::new(0) }; State::CAPS / 64],
            dids: [const { AtomicU64::new(0) }; DIDS],
            zones: AtomicU32::new(0),
            vfio_files: AtomicU32::new(0),
            mappings: AtomicU32::new(0),
            rates: Rates::new(),
        }
    }

    /// Notes what a call has done that has succeeded.
    pub(crate) fn note(&self, effect: Effect, mappings: &mut Mappings) {
        match effect {
            Effect::None | Effect::VmMade | Effect::ZonesChanged => {}
            Effect::CapEnabled(cap) => {
                // CAST: 32 bits fit.
                if let Some(word) = self.caps.get(cap as usize / 64) {
                    word.fetch_or(1 << (cap % 64), Ordering::Relaxed);
                }
            }
            Effect::FileAdded => self.count_files(1),
            // One that was added before the module came is not known.
            Effect::FileRemoved => self.count_files(-1),
            Effect::Mapped { space, iova, bytes } => mappings.add(space, iova, bytes),
            Effect::Unmapped { space, iova, bytes } => {
                mappings.remove(space, iova, last(iova, bytes));
            }
            Effect::UnmappedAll { space } | Effect::SpaceGone(space) => mappings.clear(space),
        }
        self.mappings.store(mappings.count, Ordering::Relaxed);
    }

    /// Notes that something was done that a policy asks about. Where there is no room, what no policy in force
    /// `is_asked` for any more gives way. Only for who holds the lock of what is being done.
    pub(crate) fn note_did(&self, key: DidKey, is_asked: impl Fn(u64) -> bool) {
        if self.did(key) {
            return;
        }
        let find = |is_it: &dyn Fn(u64) -> bool| {
            let mut dids = self.dids.iter();
            dids.find(|did| is_it(did.load(Ordering::Relaxed)))
        };
        let place = find(&|bits| bits == 0).or_else(|| find(&|bits| !is_asked(bits)));
        if let Some(place) = place {
            place.store(key.bits(), Ordering::Relaxed);
        }
    }

    /// Whether it was done.
    pub(crate) fn did(&self, key: DidKey) -> bool {
        let is_it = |did: &AtomicU64| did.load(Ordering::Relaxed) == key.bits();
        self.dids.iter().any(is_it)
    }

    /// Zones of coalesced MMIO, and files of VFIO.
    pub(crate) fn zones_and_files(&self) -> (u32, u32) {
        (
            self.zones.load(Ordering::Relaxed),
            self.vfio_files.load(Ordering::Relaxed),
        )
    }

    fn count_files(&self, more: i32) {
        let count = |files: u32| Some(files.saturating_add_signed(more));
        // It never fails.
        let _ = self
            .vfio_files
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    /// Looks at the zones, which have a lock of KVM's. `wait`: see [`OpenFile::zones`].
    pub(crate) fn catch_up(&self, file: OpenFile<'_>, surface: Surface, wait: bool) {
        if let Some(zones) = file.zones(surface, wait) {
            self.zones.store(zones, Ordering::Relaxed);
        }
    }

    /// Adds it to a state.
    fn add_to(&self, state: &mut State) {
        for (to, from) in state.caps.iter_mut().zip(&self.caps) {
            *to = from.load(Ordering::Relaxed);
        }
        state.zones = self.zones.load(Ordering::Relaxed);
        state.mappings = self.mappings.load(Ordering::Relaxed);
    }

    /// The rates of a policy of which a call would be one too many, a bit each. Those that it is not
    /// too many for count it.
    pub(crate) fn exceeded(
        &self,
        generation: u64,
        asked: u16,
        rate: impl Fn(usize) -> Option<Rate>,
    ) -> u16 {
        if asked == 0 {
            return 0;
        }
        self.rates.are_of(generation);
        let now = registry::now_ns();
        let mut exceeded = 0;
        for index in (0..Rates::MOST).filter(|index| asked & 1 << index != 0) {
            // A rate that cannot be found is exceeded.
            let is_free = rate(index).is_some_and(|rate| !self.rates.is_exceeded(index, rate, now));
            exceeded |= u16::from(!is_free) << index;
        }
        exceeded
    }
}

/// The DMA mappings of a file.
pub(crate) struct Mappings {
    /// Those whose place the caller has chosen, by their space and the address where each ends: where it
    /// begins.
    placed: RBTree<(u32, u64), u64>,
    /// How many there are in each space whose place the kernel has chosen. Where that is would have to
    /// be read from memory of the caller's.
    unplaced: RBTree<u32, u32>,
    count: u32,
}

/// The last address of a range.
fn last(first: u64, bytes: u64) -> u64 {
    first.saturating_add(bytes.saturating_sub(1))
}

impl Mappings {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            placed: RBTree::new(),
            unplaced: RBTree::new(),
            count: 0,
        }
    }

    /// There is one more. Where there is no memory to note it, it is counted for as long as the file is
    /// open.
    fn add(&mut self, space: u32, iova: Iova, bytes: u64) {
        let is_known = match iova {
            Iova::Told(iova) => {
                let end = (space, last(iova, bytes));
                let replaced = self
                    .placed
                    .try_create_and_insert(end, iova, GFP_KERNEL_ACCOUNT);
                matches!(replaced, Ok(Some(_)))
            }
            Iova::WrittenTo(_) => {
                match self.unplaced.get_mut(&space) {
                    Some(count) => *count = count.saturating_add(1),
                    None => {
                        let _ = self
                            .unplaced
                            .try_create_and_insert(space, 1, GFP_KERNEL_ACCOUNT);
                    }
                }
                false
            }
        };
        self.count = self.count.saturating_add((!is_known).into());
    }

    /// Those that lie within a range, ends included, are gone. None is, if one begins before the range and
    /// reaches into it: VFIO's version 1 says then that it has succeeded, all others that they have failed.
    /// If none is known there, it was at least one whose place is not known; unless there are some in space
    /// 0, which on iommufd is another name of one that has a number: then it may have been one of those, which
    /// is counted until it is gone by that name.
    fn remove(&mut self, space: u32, first: u64, last: u64) {
        let mut gone = 0_u32;
        while let Some(cursor) = self.placed.cursor_lower_bound_mut(&(space, first)) {
            let (&(of, _), &begin) = cursor.current();
            if of != space || !(first..=last).contains(&begin) {
                break;
            }
            cursor.remove_current();
            gone = gone.saturating_add(1);
        }
        let is_unplaced = gone == 0 && self.placed.keys().next().is_none_or(|(of, _)| *of != 0);
        if let (true, Some(count @ 1..)) = (is_unplaced, self.unplaced.get_mut(&space)) {
            *count -= 1;
            gone = 1;
        }
        self.count = self.count.saturating_sub(gone);
    }

    /// All of a space are gone.
    fn clear(&mut self, space: u32) {
        self.remove(space, 0, u64::MAX);
        let unplaced = self.unplaced.remove(&space).unwrap_or(0);
        self.count = self.count.saturating_sub(unplaced);
    }
}

/// When each rate lets the next call through: the generic cell rate algorithm.
struct Rates {
    /// The policy that they are of.
    generation: AtomicU64,
    /// In nanoseconds.
    free_at: [AtomicU64; Self::MOST],
}

impl Rates {
    const MOST: usize = 16;

    fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            free_at: [const { AtomicU64::new(0) }; Self::MOST],
        }
    }

    /// Begins anew if they are of another policy.
    fn are_of(&self, generation: u64) {
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            for free_at in &self.free_at {
                free_at.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Whether a call is one too many; if not, it is counted.
    fn is_exceeded(&self, index: usize, rate: Rate, now: u64) -> bool {
        let Some(free_at) = self.free_at.get(index) else {
            return true;
        };
        let period = u64::from(rate.per_ms).saturating_mul(1_000_000);
        let step = period / u64::from(rate.count.max(1));
        // As many at once as there may be in a period.
        let latest = now.saturating_add(period);
        let next = |free_at: u64| {
            let next = free_at.max(now).saturating_add(step);
            (next <= latest).then_some(next)
        };
        free_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_err()
    }
}

/// Who calls.
fn newcomer_of_current() -> Result<Newcomer> {
    let facts = Facts::of_current()?;
    Ok(Newcomer {
        maker: facts.pid,
        facts: Arc::new(facts, GFP_KERNEL_ACCOUNT)?,
        created: 0,
        is_provisional: false,
    })
}

/// The node of an open file; it is made if there is none, and then the caller is the one whom the file
/// belongs to. May sleep.
///
/// # Errors
///
/// `ENOMEM`; `EIO` for a VM that only another process may use, which is what KVM would say;
/// `EBADF` if KVM is not the one that this module was built for.
pub(crate) fn of(file: OpenFile<'_>, surface: Surface) -> Result<Arc<Node>> {
    loop {
        let node = registry::keep(file, file.key(surface));
        if !is_known(node.as_deref(), file, surface) {
            return Err(EBADF);
        }
        if !file.is_of_current(surface) {
            return Err(EIO);
        }
        let node = match node {
            Some(node) => node,
            None => registry::admit(file, surface, newcomer_of_current)?,
        };
        if !node.subject.is_provisional {
            return Ok(node);
        }
        registry::replace(&node);
    }
}

/// Whether KVM is the one that this module was built for, asked by one of its files, which has that node.
/// Does not sleep.
#[inline]
pub(crate) fn is_known(node: Option<&Node>, file: OpenFile<'_>, surface: Surface) -> bool {
    match node {
        Some(node) => node.subject.is_known(file, surface),
        None => file.is_known(surface),
    }
}

/// A VM is about to be made with a file of `/dev/kvm`: it will belong to whom that belongs to.
pub(crate) fn expect_vm(by: &Subject) -> Result<Birth> {
    Birth::expect(Newcomer {
        facts: by.facts.clone(),
        // CAST: a process has a positive number.
        maker: current!().tgid() as u32,
        created: registry::now_ms(),
        is_provisional: false,
    })
}

/// Looks for the VMs that there are already: each belongs to the process that made it; if that has gone, or
/// has not the VM open any more, to one that has, until its maker calls.
pub(crate) fn find_those_before() {
    for is_provisional in [false, true] {
        for_each_open_file(|task, file| {
            let Some(surface) = sites::surface_of_vm(file) else {
                return;
            };
            if registry::keep(file, file.key(surface)).is_some()
                || !file.is_known(surface)
                || !is_provisional && !file.may_be_used_by(task, surface)
            {
                return;
            }
            let node = registry::admit(file, surface, || {
                let facts = Facts::of(task)?;
                Ok(Newcomer {
                    maker: facts.pid,
                    facts: Arc::new(facts, GFP_KERNEL)?,
                    created: 0,
                    is_provisional,
                })
            });
            match node {
                Ok(node) => node.subject.seen.catch_up(file, surface, false),
                // It is found at its first call, if there is memory then.
                Err(error) => pr_warn!("a VM was not taken in: {}\n", Errno(error)),
            }
        });
    }
}

/// VMs may have come and gone that nobody saw: nothing that is known of any is believed.
pub(crate) fn begin_anew() {
    pr_warn!("VMs may have come and gone unseen: they are looked for anew\n");
    registry::forget_all();
    find_those_before();
}

/// Looks how much each VM has, for a policy that asks for sums.
pub(crate) fn take_stock(summing: &GlobalGuard<PROFILES>) {
    for_each_known_vm(|subject, file, surface| subject.take_stock(file, surface, summing));
}

/// Shows the VMs that are known, each with a file of its that a process has open: some are shown several
/// times, and those none of whose files any process has are not. May sleep.
pub(crate) fn for_each_known_vm(mut show: impl FnMut(&Subject, OpenFile<'_>, Surface)) {
    for_each_open_file(|_, file| {
        let Some(surface) = sites::surface_of_vm(file) else {
            return;
        };
        let node = registry::keep(file, file.key(surface));
        if let Some(node) = node.filter(|node| node.subject.is_known(file, surface)) {
            show(&node.subject, file, surface);
        }
    });
}

/// What a profile's VMs have together, and what is about to be added.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    vms: u32,
    vcpus: u32,
    memory: u64,
}

/// The sums of a profile, by its place. `place_of` tells that of a subject.
fn sums(profile: u8, place_of: impl Fn(&Subject) -> Option<u8>, inside: &impl ReadSide) -> Sums {
    let mut sums = Sums::default();
    registry::all(
        |node| {
            let subject = &node.subject;
            if !node.is_first() || place_of(subject) != Some(profile) {
                return;
            }
            let reserved = &subject.reserved;
            let (vcpus, memory) = subject.stock();
            let more = Sums {
                vms: reserved.vms.load(Ordering::Relaxed) + u32::from(subject.is_vm()),
                vcpus: reserved.vcpus.load(Ordering::Relaxed).saturating_add(vcpus),
                memory: reserved
                    .memory
                    .load(Ordering::Relaxed)
                    .saturating_add(memory),
            };
            sums.vms = sums.vms.saturating_add(more.vms);
            sums.vcpus = sums.vcpus.saturating_add(more.vcpus);
            sums.memory = sums.memory.saturating_add(more.memory);
        },
        inside,
    );
    sums
}

/// What KVM has to be asked for.
fn asked_of_kvm(need: StateNeed) -> u32 {
    [
        (StateNeed::VCPUS, what::VCPUS),
        (StateNeed::MEMORY, what::MEMORY),
        (StateNeed::MEMSLOTS, what::MEMSLOTS),
        (StateNeed::TYPE, what::TYPE),
        (StateNeed::IRQCHIP, what::IRQCHIP),
        (StateNeed::IRQFDS, what::IRQFDS),
        (StateNeed::IOEVENTFDS, what::IOEVENTFDS),
        (StateNeed::DEVICES, what::DEVICES),
    ]
    .into_iter()
    .filter(|(part, _)| need.has(*part))
    .fold(0, |all, (_, what)| all | what)
}

/// A call whose verdict looks at the state of things.
pub(crate) struct Asked<'a> {
    /// What is looked at.
    pub(crate) need: StateNeed,
    /// What it is made on.
    pub(crate) node: &'a Node,
    pub(crate) file: OpenFile<'a>,
    pub(crate) surface: Surface,
    /// The memory slot that it names.
    pub(crate) slot: Option<u32>,
    /// The place of the caller's profile, and how that of others is found.
    pub(crate) profile: u8,
    pub(crate) place_of: &'a dyn Fn(&Subject) -> Option<u8>,
    /// Held by one who asks for sums where he may sleep.
    pub(crate) summing: Option<&'a GlobalGuard<PROFILES>>,
}

impl Asked<'_> {
    /// The state, as far as it is looked at, but for what the policy asks about. Does not sleep.
    pub(crate) fn state(&self, inside: &impl ReadSide) -> State {
        let Self {
            need,
            node,
            file,
            surface,
            ..
        } = *self;
        let subject = &node.subject;
        let look = file.look(surface, asked_of_kvm(need));
        let mut state = State {
            vcpus: look.vcpus,
            memslots: look.memslots,
            memory: look.memory,
            kind: look.kind.into(),
            irqchip: look.irqchip(),
            irqfds: look.irqfds,
            ioeventfds: look.ioeventfds,
            devices: look.devices,
            is_running: need.has(StateNeed::RUNNING) && subject.is_running(file, surface),
            ..State::NEW
        };
        subject.seen.add_to(&mut state);
        if let (true, Some(slot)) = (need.has(StateNeed::SLOT), self.slot) {
            state.slot = file.slot(surface, slot);
        }
        if need.has(StateNeed::VCPU) {
            state.vcpu_ran =
                node.ran() || file.has_entered_guest(surface) || file.is_in_run(surface);
            state.vcpu_is_foreign = node.is_foreign();
        }
        if need.has(StateNeed::THREAD_VCPU) {
            let mut runs = file.is_run_by_current(surface);
            if !subject.is_vm() {
                registry::all(|node| runs |= node.is_run_by_current(), inside);
            }
            state.thread_runs_vcpu = runs;
        }
        if need.has(StateNeed::THREAD_TRACED) {
            state.thread_is_traced = call::is_traced();
        }
        if need.has(StateNeed::PROFILE) {
            if let (true, Some(summing)) = (subject.is_vm(), self.summing) {
                subject.take_stock(file, surface, summing);
            }
            let sums = sums(self.profile, self.place_of, inside);
            state.profile_vms = sums.vms;
            state.profile_vcpus = sums.vcpus;
            state.profile_memory = sums.memory;
        }
        state
    }
}
