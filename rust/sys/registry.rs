// SPDX-License-Identifier: GPL-2.0

//! The registry: which VM, or which open file, a call belongs to.
//!
//! Probes look a key up, and do nothing else: no lock, no shared write. A key leads to a [`Node`], and
//! a node to its [`Subject`], whom a profile belongs to. The kernel's own object is gone before its
//! address can come again, and an observer has seen it go. Nothing is believed of a VM whose end may have been
//! missed: only who has one of its files open looks into it.

use super::{
    bindings,
    call::current,
    facts::no_program,
    kvm::Thread,
    locks::{BIRTHS, PROFILES, REGISTRY},
    observer::{Arguments, Observer},
    open_file::{Key, OpenFile, Trace},
    published::ReadSide, //
};
use core::{
    mem::ManuallyDrop,
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering}, //
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::{rcu, Arc, SetOnce}, //
};
use portcullis_policy::Surface;

mod subject;

pub(crate) use subject::{Bound, Generation, Newcomer, Places, Subject};

/// Lists of nodes, by the hash of their keys; the newest first.
type Table = [AtomicPtr<Node>; 1 << BITS];

/// Those of VMs and vCPUs.
static VMS: Table = [const { AtomicPtr::new(null_mut()) }; 1 << BITS];

/// Those of other files, of which a process can have as many as it may open: no `KVM_RUN` looks through them.
static FILES: Table = [const { AtomicPtr::new(null_mut()) }; 1 << BITS];

/// 8,192 lists: with 1,000 VMs of two vCPUs most have one node.
const BITS: u32 = 13;

/// Whether somebody has left since [`reap`] looked.
static LEFT: AtomicBool = AtomicBool::new(false);

/// What a key leads to.
pub(crate) struct Node {
    /// An address. That of a VM which is being made is not known before KVM has taken it.
    key: AtomicUsize,
    next: AtomicPtr<Node>,
    /// Whom it belongs to. A VM has one, and each of its vCPUs has another one with the same subject.
    pub(crate) subject: Arc<Subject>,
    is_vcpu: bool,
    /// Whether this is a vCPU that has run, or a VM of which one has.
    ran: AtomicBool,
    /// The thread that was the first to try to run it.
    runner: SetOnce<Thread>,
    calls: AtomicU64,
    /// When the last of them was.
    last: AtomicU64,
}

impl Node {
    /// Counts a call.
    #[inline]
    pub(crate) fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.last.store(now(), Ordering::Relaxed);
    }

    /// Calls, and when the last was.
    pub(crate) fn calls(&self) -> (u64, u64) {
        (
            self.calls.load(Ordering::Relaxed),
            self.last.load(Ordering::Relaxed),
        )
    }

    /// Whether it is the only one of its subject that is no vCPU.
    pub(crate) fn is_first(&self) -> bool {
        !self.is_vcpu
    }

    /// Whether it is a vCPU that has run, or a VM of which one has, as far as was seen.
    #[inline]
    pub(crate) fn ran(&self) -> bool {
        self.ran.load(Ordering::Relaxed)
    }

    /// Notes that it has run.
    pub(crate) fn has_run(&self) {
        self.ran.store(true, Ordering::Relaxed);
    }

    /// The calling thread is about to run it, if it may. Once it has been in its guest it has run.
    #[cold]
    pub(crate) fn is_tried(&self, file: OpenFile<'_>) {
        if self.runner.as_ref().is_none() {
            // Others may have run it while no policy asked.
            let thread = file.runner(Surface::KvmVcpu).or_else(Thread::current);
            if let Some(thread) = thread {
                self.runner.populate(thread);
            }
        }
        if file.has_entered_guest(Surface::KvmVcpu) {
            self.has_run();
            self.subject.has_run();
        }
    }

    /// Whether the calling thread was the first to try to run it.
    pub(crate) fn is_run_by_current(&self) -> bool {
        self.runner.as_ref().is_some_and(Thread::is_current)
    }

    #[inline]
    fn has(&self, key: Key) -> bool {
        self.key.load(Ordering::Relaxed) == key.number()
    }

    /// A node that stands nowhere yet.
    fn new(key: Key, subject: Arc<Subject>, is_vcpu: bool) -> Result<Arc<Self>> {
        let node = Self {
            key: AtomicUsize::new(key.number()),
            next: AtomicPtr::new(null_mut()),
            subject,
            is_vcpu,
            ran: AtomicBool::new(false),
            runner: SetOnce::new(),
            calls: AtomicU64::new(0),
            last: AtomicU64::new(0),
        };
        Ok(Arc::new(node, GFP_KERNEL_ACCOUNT)?)
    }

    /// Puts a node that stands nowhere into the table: from now on it is the newest with its key. Does
    /// not sleep.
    fn enter(self: Arc<Self>) {
        let list = list(Key::from_number(self.key.load(Ordering::Relaxed)));
        let raw = Arc::into_raw(self).cast_mut();
        // SAFETY: the table has the reference, and the node is not in it yet.
        let next = unsafe { &(*raw).next };
        let push = |head| {
            next.store(head, Ordering::Relaxed);
            Some(raw)
        };
        // It never fails.
        let _ = list.fetch_update(Ordering::Release, Ordering::Relaxed, push);
    }

    /// Whether another thread than the calling one was the first to try to run it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.runner
            .as_ref()
            .is_some_and(|runner| !runner.is_current())
    }

    fn is_there(&self) -> bool {
        !self.subject.is_gone()
    }

    /// Whether it is that of an open file with its key, and not of one that had the same address.
    fn is_of(&self, file: OpenFile<'_>) -> bool {
        self.is_there() && self.subject.trace.is_none_or(|trace| trace.is_of(file))
    }
}

/// The time, in ticks of the kernel's clock since it was booted.
#[inline]
pub(crate) fn now() -> u64 {
    // SAFETY: a number that the timer counts up; a read does not tear.
    let ticks = unsafe { core::ptr::addr_of!(bindings::jiffies).read_volatile() };
    // CAST: 64 bits.
    ticks as u64
}

/// The time in nanoseconds, since whenever.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: may be asked at any time, in any context.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// The time in milliseconds since the kernel was booted. What takes longer and is more exact.
pub(crate) fn now_ms() -> u64 {
    // SAFETY: as above.
    unsafe { bindings::ktime_get_boot_fast_ns() / 1_000_000 }
}

/// What [`now`] told, as [`now_ms`] would have, on a host that has not slept since this was asked first:
/// the ticks begin later than the other clock, and stand still meanwhile.
pub(crate) fn in_ms(time: u64) -> u64 {
    static AHEAD: AtomicU64 = AtomicU64::new(0);
    let ms = |ticks: u64| ticks.wrapping_mul(1000) / u64::from(bindings::CONFIG_HZ);
    let found = now_ms().wrapping_sub(ms(now()));
    let ahead = AHEAD.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed);
    ms(time).wrapping_add(ahead.map_or_else(|earlier| earlier, |_| found))
}

#[inline]
fn list(key: Key) -> &'static AtomicPtr<Node> {
    list_in(if key.is_of_file() { &FILES } else { &VMS }, key)
}

#[inline]
fn list_in(table: &'static Table, key: Key) -> &'static AtomicPtr<Node> {
    let hash = (key.number() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS);
    // SAFETY: `BITS` bits are left of the hash. The compiler does not see that the index is in range.
    unsafe { table.get_unchecked(hash as usize) }
}

/// The newest node with a key, be its subject there or not: whoever is gone is bound by no policy.
#[inline]
fn newest<'a>(key: Key, inside: &'a impl ReadSide) -> Option<&'a Node> {
    newest_in(list(key), key, inside)
}

/// The same of a VM or a vCPU.
#[inline(always)]
pub(crate) fn newest_of_vm<'a>(key: Key, inside: &'a impl ReadSide) -> Option<&'a Node> {
    newest_in(list_in(&VMS, key), key, inside)
}

#[inline(always)]
fn newest_in<'a>(
    list: &'static AtomicPtr<Node>,
    key: Key,
    _inside: &'a impl ReadSide,
) -> Option<&'a Node> {
    let mut next = list.load(Ordering::Acquire);
    loop {
        // SAFETY: a node in the table is valid, and stays so until a grace period has passed after it
        // was taken out, which cannot happen inside the critical section.
        let node = unsafe { next.as_ref::<'a>() }?;
        if node.has(key) {
            return Some(node);
        }
        next = node.next.load(Ordering::Acquire);
    }
}

/// The node of an open file.
#[inline]
pub(crate) fn find<'a>(
    file: OpenFile<'_>,
    surface: Surface,
    inside: &'a impl ReadSide,
) -> Option<&'a Node> {
    newest(file.key(surface), inside).filter(|node| node.is_of(file))
}

/// The same, to be kept.
pub(crate) fn keep(file: OpenFile<'_>, key: Key) -> Option<Arc<Node>> {
    let rcu = rcu::read_lock();
    let node = newest(key, &rcu).filter(|node| node.is_of(file))?;
    // SAFETY: each node comes from an `Arc`, of which the table has a reference as long as this
    // critical section lasts.
    Some(Arc::clone(&*ManuallyDrop::new(unsafe {
        Arc::from_raw(core::ptr::from_ref(node))
    })))
}

/// All nodes that are there, in no order.
pub(crate) fn all(mut body: impl FnMut(&Node), _inside: &impl ReadSide) {
    for list in [&VMS, &FILES].into_iter().flatten() {
        let mut next = list.load(Ordering::Acquire);
        // SAFETY: as in `newest`.
        while let Some(node) = unsafe { next.as_ref() } {
            if node.is_there() {
                body(node);
            }
            next = node.next.load(Ordering::Acquire);
        }
    }
}

/// Makes the node of an open file, and what else it takes. Another thread may have made it meanwhile.
///
/// # Errors
///
/// `ENOMEM`, or `EBADF` for a file of a VM that is none.
pub(crate) fn admit(
    file: OpenFile<'_>,
    surface: Surface,
    newcomer: impl FnOnce() -> Result<Newcomer>,
) -> Result<Arc<Node>> {
    let key = file.key(surface);
    let kvm = file.kvm(surface);
    if !file.is_known(surface) {
        return Err(EBADF);
    }
    // What takes memory is made without the lock: that may last.
    let first_key = kvm.map_or(key, |kvm| Key::of_vm(kvm.address()));
    let first = match keep(file, first_key) {
        Some(node) => node,
        None => {
            let trace = kvm.is_none().then(|| Trace::of(file));
            let subject = newcomer()?.settle(trace)?;
            if subject.is_vm() {
                subject.take_stock(file, surface, &PROFILES.lock());
            }
            Node::new(first_key, subject, false)?
        }
    };
    let first = enter_first(file, first);
    if key == first_key {
        return Ok(first);
    }
    let node = Node::new(key, first.subject.clone(), true)?;
    if let Some(thread) = file.runner(surface) {
        node.runner.populate(thread);
    }
    Ok(enter_first(file, node))
}

/// Puts a node into the table if there is none with its key, and returns the one that is there. Of one
/// for a vCPU, the one that belongs to the same VM: what else lies there is left of another VM, whose
/// end was missed.
fn enter_first(file: OpenFile<'_>, node: Arc<Node>) -> Arc<Node> {
    let _guard = REGISTRY.lock();
    let key = Key::from_number(node.key.load(Ordering::Relaxed));
    match keep(file, key) {
        Some(other) if !node.is_vcpu || Arc::ptr_eq(&other.subject, &node.subject) => other,
        _ => {
            node.clone().enter();
            node
        }
    }
}

/// A VM that is being made. It is known from the moment on in which KVM begins to make it: before its
/// file is there, with which other threads can do as they like.
pub(crate) struct Birth(Arc<Subject>);

/// What [`vm_comes`] looks for.
pub(crate) struct Expected {
    task: usize,
    node: Option<Arc<Node>>,
}

impl Birth {
    /// The calling task is about to make one.
    pub(crate) fn expect(newcomer: Newcomer) -> Result<Self> {
        let subject = newcomer.settle(None)?;
        let node = Node::new(Key::of_vm(0), subject.clone(), false)?;
        let expected = Expected {
            task: current().addr(),
            node: Some(node),
        };
        let mut births = BIRTHS.lock();
        // Whoever gets here has been in a probe of this task, and leaves no other behind.
        births.push(expected, GFP_ATOMIC)?;
        drop(births);
        Ok(Self(subject))
    }

    /// It has been made, or has not.
    pub(crate) fn end(self, is_made: bool) {
        let mut births = BIRTHS.lock();
        let task = current().addr();
        let mut expected = None;
        if let Some(at) = births.iter().position(|expected| expected.task == task) {
            expected = births.remove(at).ok();
        }
        let spent = match births.is_empty() {
            // A static is never dropped, and its memory would outlive the module.
            true => core::mem::replace(&mut *births, KVec::new()),
            false => KVec::new(),
        };
        drop(births);
        drop((spent, expected));
        if !is_made {
            self.0.leave();
        }
    }
}

fn vm_comes(arguments: &Arguments<'_>) {
    let task = current().addr();
    let mut births = BIRTHS.lock();
    let expected = births.iter_mut().find(|expected| expected.task == task);
    if let Some(node) = expected.and_then(|expected| expected.node.take()) {
        node.key.store(arguments.first(), Ordering::Relaxed);
        node.enter();
    }
}

/// The kernel has forgotten what is known by a key: the newest is the only one that it can be.
fn forget(key: Key, inside: &impl ReadSide) {
    if let Some(node) = newest(key, inside) {
        node.subject.leave();
    }
}

/// The kernel may have forgotten anybody.
pub(crate) fn forget_all() {
    all(|node| node.subject.leave(), &rcu::read_lock());
}

/// Somebody else speaks for what a node stands for.
pub(crate) fn replace(node: &Node) {
    node.subject.leave();
}

/// Takes those out who have left, and frees them. Sleeps for a grace period if there are some.
pub(crate) fn reap() {
    notice_closed();
    if LEFT.swap(false, Ordering::AcqRel) {
        take_out(|node| !node.is_there());
    }
}

/// Looks which files were closed of which nobody tells.
fn notice_closed() {
    let is_closed = |node: &Node| {
        let trace = node.subject.trace;
        trace.is_some_and(|trace| !trace.is_open())
    };
    all(
        |node| {
            if is_closed(node) {
                node.subject.leave();
            }
        },
        &rcu::read_lock(),
    );
}

/// Forgets everybody: no probe looks anybody up any more, and no call is on a detour.
fn clear() {
    take_out(|_| true);
}

fn take_out(leaves: impl Fn(&Node) -> bool) {
    let guard = REGISTRY.lock();
    let mut out = KVVec::new();
    for list in [&VMS, &FILES].into_iter().flatten() {
        let mut place = list;
        loop {
            let raw = place.load(Ordering::Acquire);
            // SAFETY: nodes are taken out under the lock alone, and freed only by who did so.
            let Some(node) = (unsafe { raw.as_ref() }) else {
                break;
            };
            let next = node.next.load(Ordering::Relaxed);
            if !leaves(node) {
                // SAFETY: as above: the node stays as long as the lock is held.
                place = unsafe { &(*raw).next };
                continue;
            }
            if out.reserve(1, GFP_KERNEL).is_err() {
                // The next time there may be memory.
                LEFT.store(true, Ordering::Release);
                break;
            }
            // Somebody may enter in front of the first.
            let taken = place.compare_exchange(raw, next, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                // There is room.
                let _ = out.push_within_capacity(raw);
            }
        }
    }
    drop(guard);
    if out.is_empty() {
        return;
    }
    rcu::synchronize_rcu();
    for node in out {
        // SAFETY: the table had a reference, and nobody finds the node any more.
        drop(unsafe { Arc::from_raw(node) });
    }
}

/// The registry, until it is dropped. No probe may be armed then, and no call on a detour.
pub(crate) struct Registry(());

impl Registry {
    /// It is empty.
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        OBSERVERS.iter().for_each(Observer::disarm);
        clear();
    }
}

/// A row of [`OBSERVERS`].
macro_rules! observer {
    ($module:literal, $symbol:literal, $saw:expr) => {{
        const fn name(text: &'static str) -> &'static kernel::str::CStr {
            super::kprobe::c_str(text)
        }
        Observer::new(
            name(concat!($module, "\0")),
            name(concat!($symbol, "\0")),
            name(concat!($module, ":", $symbol, "\0")),
            name(concat!($module, ":__this_module\0")),
            $saw,
        )
    }};
}

/// What is to be seen so that nobody is taken for another. Each function with its arguments:
pub(crate) static OBSERVERS: [Observer; 12] = [
    // (struct kvm *, unsigned long): a VM is being made.
    observer!("kvm", "kvm_arch_init_vm", vm_comes),
    // (struct kvm *): the last user of the VM is gone.
    observer!("kvm", "kvm_arch_pre_destroy_vm", vm_goes),
    // (struct mm_struct *, struct file *): a process names another program than the one that it runs.
    observer!("vmlinux", "replace_mm_exe_file", program_changes),
    // (struct inode *, struct file *): a file of this address has just been made.
    observer!("vmlinux", "misc_open", file_changes),
    // (struct inode *, struct file *): the last user of the file is gone.
    observer!("vfio", "vfio_fops_release", file_changes),
    observer!("vfio", "vfio_group_fops_release", file_changes),
    observer!("vfio", "vfio_device_fops_release", file_changes),
    observer!("iommufd", "iommufd_fops_release", file_changes),
    observer!("vhost_net", "vhost_net_release", file_changes),
    observer!("vhost_vsock", "vhost_vsock_dev_release", file_changes),
    observer!("vhost_scsi", "vhost_scsi_release", file_changes),
    observer!("vhost_vdpa", "vhost_vdpa_release", file_changes),
];

fn vm_goes(arguments: &Arguments<'_>) {
    forget(Key::of_vm(arguments.first()), arguments.no_preemption());
}

fn program_changes(arguments: &Arguments<'_>) {
    let file = core::ptr::with_exposed_provenance_mut(arguments.second());
    // SAFETY: it is the second argument of a function that takes a file, whose caller keeps it open.
    unsafe { no_program(file) };
}

fn file_changes(arguments: &Arguments<'_>) {
    forget(Key::of_file(arguments.second()), arguments.no_preemption());
}
