// SPDX-License-Identifier: GPL-2.0

//! What one sees of a registered probe from outside: the instruction that leads to it, the kernel's
//! marks on it, and who else is there.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::{
    bindings,
    kprobe::{Armed, OnHit, Probe}, //
};
use core::ptr::addr_of;
use kernel::{sync::rcu, types::Opaque};

/// The instruction at a probe's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// A call to this address: a user of ftrace.
    Call(usize),
    /// An `int3`: a probe that is not on ftrace, or an instruction that is just being changed.
    Breakpoint,
    /// A jump: a probe that is not on ftrace and has been optimised, or a trampoline of BPF.
    Jump,
    /// Anything else: nothing leads to a probe.
    Plain,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) armed: Armed,
    pub(crate) text: Text,
    /// Whether the probe is one on ftrace.
    pub(crate) on_ftrace: bool,
    /// Whether the kernel has marked it as disabled.
    pub(crate) disabled: bool,
    /// Whether it has marked it as gone: the module's exit has run, and its code is about to be freed.
    pub(crate) gone: bool,
    /// How many kprobes of others are at the same place.
    pub(crate) others: usize,
}

/// Waits until nobody is arming or taking away kprobes who was when this was called: the kernel does
/// so for all those of a module, or for all there are, under one lock.
pub(crate) fn wait_for_changes() {
    let nobody = Opaque::<bindings::kprobe>::zeroed();
    // SAFETY: any kprobe may be asked about. This one is not registered, which is all that the kernel
    // finds out, under its lock.
    unsafe { bindings::enable_kprobe(nobody.get()) };
}

/// More kprobes than anybody has at one function.
const MANY: usize = 64;

impl<T: OnHit + 'static> Probe<T> {
    /// Looks at the probe; `None` if it is not registered.
    pub(crate) fn sight(&self) -> Option<Sight> {
        let _lock = super::locks::REGISTRATION.lock();
        let armed = self.armed();
        if armed == Armed::No {
            return None;
        }
        let kprobe = self.kprobe.get();
        // SAFETY: by the type invariants it is registered, and stays so while the lock is held: its
        // address does not change. The flags may meanwhile, as a plain read of them must bear.
        let (addr, flags) = unsafe {
            (
                addr_of!((*kprobe).addr).read(),
                addr_of!((*kprobe).flags).read_volatile(),
            )
        };
        Some(Sight {
            armed,
            text: text_at(addr),
            on_ftrace: flags & bindings::KPROBE_FLAG_FTRACE != 0,
            disabled: flags & bindings::KPROBE_FLAG_DISABLED != 0,
            gone: flags & bindings::KPROBE_FLAG_GONE != 0,
            // SAFETY: it is registered.
            others: unsafe { others(kprobe) },
        })
    }
}

/// The instruction at an address of kernel text, or what is left of it.
#[cfg(target_arch = "x86_64")]
fn text_at(addr: *const bindings::kprobe_opcode_t) -> Text {
    let mut bytes = [0_u8; 5];
    // SAFETY: reads no more than there is room for, and no address is too wild for it.
    let error = unsafe {
        bindings::copy_from_kernel_nofault(bytes.as_mut_ptr().cast(), addr.cast(), bytes.len())
    };
    let [opcode, distance @ ..] = bytes;
    match opcode {
        _ if error != 0 => Text::Plain,
        0xe8 => {
            let next = addr.addr().wrapping_add(bytes.len());
            // CAST: the distance is signed, and goes both ways.
            Text::Call(next.wrapping_add_signed(i32::from_le_bytes(distance) as isize))
        }
        0xcc => Text::Breakpoint,
        0xe9 | 0xeb => Text::Jump,
        _ => Text::Plain,
    }
}

/// How many kprobes of others are where `kprobe` is.
///
/// A kprobe that is alone has a list of its own. Where there are several, or were, all stand in one
/// list, together with one that the kernel has made to call them (`init_aggr_kprobe()`).
///
/// # Safety
///
/// The kprobe must be registered, and stay so.
unsafe fn others(kprobe: *const bindings::kprobe) -> usize {
    let _rcu = rcu::read_lock();
    // SAFETY: the caller says that it is registered.
    let ours = unsafe { addr_of!((*kprobe).list) };
    let mut at = ours;
    let mut length = 0;
    loop {
        // SAFETY: members are put in and taken out by the rules of RCU, and freed after a grace
        // period; the one that calls the others stays as long as ours is in the list.
        at = unsafe { addr_of!((*at).next).read_volatile() };
        if at == ours || length == MANY {
            return usize::saturating_sub(length, 1);
        }
        length += 1;
    }
}
