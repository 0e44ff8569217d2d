// SPDX-License-Identifier: GPL-2.0

//! Proof that preemption is off.
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use kernel::{
    interrupt::local_interrupt_disable,
    types::NotThreadSafe, //
};

/// Proof that preemption is off: whoever has one stays on this CPU, and is in an RCU read-side
/// critical section.
///
/// # Invariants
///
/// Preemption is off while a value exists, and the value stays on its CPU.
pub(crate) struct NoPreemption(NotThreadSafe);

impl NoPreemption {
    /// For code that the kernel runs with preemption off.
    ///
    /// # Safety
    ///
    /// Preemption must be off for as long as the value exists.
    #[inline]
    pub(super) const unsafe fn assume() -> Self {
        // INVARIANT: the caller says so.
        Self(NotThreadSafe)
    }

    /// Runs `body` with preemption off, for code that could sleep before and after. The body must
    /// be short: interrupts are off as well, because that is the switch that the kernel crate has.
    #[inline]
    pub(crate) fn during<R>(body: impl FnOnce(&Self) -> R) -> R {
        let _guard = local_interrupt_disable();
        // INVARIANT: without interrupts nothing preempts `body`.
        body(&Self(NotThreadSafe))
    }

    /// The number of this CPU, below `nr_cpu_ids`.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn cpu(&self) -> usize {
        let cpu: usize;
        // SAFETY: reads a per-CPU variable, as `raw_smp_processor_id()` does, without the helper's
        // call. Preemption is off by the type invariants, so the number stays right.
        unsafe {
            core::arch::asm!(
                "mov {cpu:e}, dword ptr gs:[rip + {variable}]",
                cpu = out(reg) cpu,
                variable = sym cpu_number,
                options(readonly, nostack, preserves_flags),
            );
        }
        // Writing the lower half of a register has cleared the upper one.
        cpu
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" {
    /// Per CPU: its number. Only its place is wanted.
    static cpu_number: u8;
}
