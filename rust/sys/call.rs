// SPDX-License-Identifier: GPL-2.0

//! A call of an ioctl handler, as a probe at its entry sees it.
//!
//! C header: [`arch/x86/include/asm/ptrace.h`](srctree/arch/x86/include/asm/ptrace.h)

use super::{
    bindings,
    open_file::{Key, OpenFile},
    preemption::NoPreemption,
};
use core::ptr::NonNull;

/// A call that has just entered `long handler(struct file *, unsigned int, unsigned long)`.
///
/// # Invariants
///
/// The registers are those of the intercepted function's entry.
pub(crate) struct Call<'a> {
    pub(super) registers: &'a bindings::pt_regs,
    pub(super) no_preemption: NoPreemption,
}

#[cfg(target_arch = "x86_64")]
impl Call<'_> {
    /// The second argument, the command: 32 bits, as the handler's `unsigned int` has them.
    #[inline]
    pub(crate) fn command(&self) -> u32 {
        // CAST: the upper half of the register is not part of an `unsigned int`.
        self.registers.si as u32
    }

    /// The register of the second argument. The kernel's own callers leave nothing in its upper
    /// half, a compiler may leave anything, and [`super::detour`] marks its calls there.
    #[inline]
    pub(crate) fn command_register(&self) -> u64 {
        // CAST: a register of 64 bits.
        self.registers.si as u64
    }

    /// The third argument.
    #[inline]
    pub(crate) fn argument(&self) -> u64 {
        // CAST: a register of 64 bits.
        self.registers.dx as u64
    }

    /// The first argument, the file that the call is made on.
    #[inline]
    pub(crate) fn file(&self) -> Option<OpenFile<'_>> {
        let file = core::ptr::with_exposed_provenance_mut(self.registers.di);
        // SAFETY: whoever calls an ioctl keeps its file open for as long as the call lasts.
        Some(unsafe { OpenFile::assume(NonNull::new(file)?) })
    }

    /// [`OpenFile::key`] for a call on a VM or a vCPU.
    #[inline]
    pub(crate) fn key_of_vm(&self) -> Key {
        let file = core::ptr::with_exposed_provenance_mut(self.registers.di);
        // SAFETY: whoever calls an ioctl of KVM's has a file, and keeps it open.
        Key::of_vm(unsafe { OpenFile::assume(NonNull::new_unchecked(file)) }.private_data())
    }

    /// The proof that comes with a call.
    #[inline]
    pub(crate) fn no_preemption(&self) -> &NoPreemption {
        &self.no_preemption
    }
}

/// The running task.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn current() -> *mut bindings::task_struct {
    let current;
    // SAFETY: reads a per-CPU variable, as `get_current()` does, without the helper's call.
    unsafe {
        core::arch::asm!(
            "mov {current}, qword ptr gs:[rip + {variable}]",
            current = out(reg) current,
            variable = sym current_task,
            options(readonly, nostack, preserves_flags),
        );
    }
    current
}

/// Whether the system call of the current task was made through the 32-bit entry, as
/// `in_ia32_syscall()` says, whatever the word size of the process is.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn is_compat() -> bool {
    // SAFETY: the current task is there for as long as this runs on its behalf, and nobody else
    // writes the flag that the system call's entry has set.
    let status = unsafe { (*current()).thread_info.status };
    status & bindings::TS_COMPAT != 0
}

/// Whether somebody traces the current task.
pub(crate) fn is_traced() -> bool {
    // SAFETY: the current task is there; the word may change at any time.
    let ptrace = unsafe { core::ptr::addr_of!((*current()).ptrace).read_volatile() };
    ptrace != 0
}

#[cfg(target_arch = "x86_64")]
extern "C" {
    /// Per CPU: the running task. Only its place is wanted.
    static current_task: u8;
}
