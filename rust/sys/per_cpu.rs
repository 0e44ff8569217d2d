// SPDX-License-Identifier: GPL-2.0

//! Counters of which each CPU has its own, so that counting writes no shared cache line.
//!
//! The kernel's own per-CPU allocator hands out 32 KiB at most, which a long policy exceeds.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use super::kprobe::Call;
use core::cell::UnsafeCell;
use kernel::{
    cpu::{nr_cpu_ids, CpuId},
    prelude::*, //
};

/// Counters a cache line.
const LANE: usize = 8;

/// One cache line of counters: no two CPUs share one.
#[repr(align(64))]
struct Line([UnsafeCell<u64>; LANE]);

/// A number of 64-bit counters for each CPU.
///
/// # Invariants
///
/// A counter is written only by the CPU it belongs to, with preemption off.
pub(crate) struct PerCpuCounters {
    cpus: KVVec<KVVec<Line>>,
}

// SAFETY: by the type invariants a counter has one writer; readers tolerate any value that was
// ever in it, and 64-bit reads do not tear.
unsafe impl Sync for PerCpuCounters {}

#[cfg(not(target_pointer_width = "64"))]
compile_error!("reading a 64-bit counter of another CPU tears on a 32-bit kernel");

impl PerCpuCounters {
    /// What the counters of one CPU are aligned to, and a multiple of which they take.
    #[cfg(CONFIG_KUNIT)]
    pub(crate) const LINE_BYTES: usize = align_of::<Line>();

    /// `len` counters for each CPU that this machine can have, all zero.
    pub(crate) fn new(len: usize) -> Result<Self> {
        let lines = len.div_ceil(LANE);
        let mut cpus = KVVec::new();
        for _ in 0..nr_cpu_ids() {
            let mut cpu = KVVec::with_capacity(lines, GFP_KERNEL)?;
            for _ in 0..lines {
                cpu.push(Line([const { UnsafeCell::new(0) }; LANE]), GFP_KERNEL)?;
            }
            cpus.push(cpu, GFP_KERNEL)?;
        }
        Ok(Self { cpus })
    }

    /// Counts one on this CPU. An index beyond the end counts nothing.
    #[inline]
    pub(crate) fn add(&self, index: usize, _call: &Call<'_>) {
        // CAST: a CPU number fits.
        let cpu = self.cpus.get(CpuId::current().as_u32() as usize);
        let line = cpu.and_then(|cpu| cpu.get(index / LANE));
        if let Some(counter) = line.and_then(|line| line.0.get(index % LANE)) {
            let counter = counter.get();
            // SAFETY: valid as long as `self`. A call in hand proves that preemption is off, so
            // this CPU is the only writer, and probes do not nest.
            unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(1)) };
        }
    }

    /// The sum over all CPUs of one counter.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        let one = |cpu: &KVVec<Line>| {
            let counter = cpu.get(index / LANE)?.0.get(index % LANE)?.get();
            // SAFETY: valid as long as `self`; a concurrent increment is seen or is not.
            Some(unsafe { counter.read_volatile() })
        };
        self.cpus.iter().filter_map(one).fold(0, u64::wrapping_add)
    }
}
