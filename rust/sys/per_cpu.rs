// SPDX-License-Identifier: GPL-2.0

//! Counters of which each CPU has its own, so that counting writes no shared cache line.
//!
//! The kernel's own per-CPU allocator hands out 32 KiB at most, which a long policy exceeds.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use super::preemption::NoPreemption;
use core::cell::UnsafeCell;
use kernel::{
    cpu::nr_cpu_ids,
    prelude::*, //
};

/// Which of the two counters of a pair.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    First,
    Second,
}

/// Two counters.
type Pair = [UnsafeCell<u64>; 2];

/// Pairs a cache line.
const LANE: usize = 4;

/// One cache line of counters: no two CPUs share one.
#[repr(align(64))]
struct Line([Pair; LANE]);

/// A number of pairs of 64-bit counters for each CPU.
///
/// # Invariants
///
/// `first` points to the first pair of each element of `cpus`; there is one for each CPU number
/// below `nr_cpu_ids`, and it has `mask + 1` pairs. A counter is written only by the CPU it belongs
/// to, with preemption off.
pub(crate) struct PerCpuCounters {
    first: KVVec<*const Pair>,
    /// One less than the number of pairs, which is a power of two.
    mask: usize,
    cpus: KVVec<KVVec<Line>>,
}

// SAFETY: the pointers are to memory that the value owns.
unsafe impl Send for PerCpuCounters {}
// SAFETY: by the type invariants a counter has one writer; readers tolerate any value that was
// ever in it, and 64-bit reads do not tear.
unsafe impl Sync for PerCpuCounters {}

#[cfg(not(target_pointer_width = "64"))]
compile_error!("reading a 64-bit counter of another CPU tears on a 32-bit kernel");

impl PerCpuCounters {
    /// What the counters of one CPU are aligned to, and a multiple of which they take.
    #[cfg(CONFIG_KUNIT)]
    pub(crate) const LINE_BYTES: usize = align_of::<Line>();

    /// At least `len` pairs for each CPU that this machine can have, all zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM` without memory for them.
    pub(crate) fn new(len: usize) -> Result<Self> {
        // A whole line at least; a power of two, so that an index needs no comparison.
        let len = len.max(LANE).checked_next_power_of_two().ok_or(ENOMEM)?;
        let mut cpus = KVVec::new();
        let mut first = KVVec::new();
        for _ in 0..nr_cpu_ids() {
            let mut lines = KVVec::with_capacity(len / LANE, GFP_KERNEL)?;
            for _ in 0..len / LANE {
                let zero = [const { [const { UnsafeCell::new(0) }; 2] }; LANE];
                lines.push(Line(zero), GFP_KERNEL)?;
            }
            first.push(lines.as_ptr().cast(), GFP_KERNEL)?;
            cpus.push(lines, GFP_KERNEL)?;
        }
        // INVARIANT: the loop went over all CPUs; `len` is a multiple of `LANE`; the lines do not
        // move any more.
        Ok(Self {
            first,
            mask: len - 1,
            cpus,
        })
    }

    /// Counts one on this CPU. An index beyond the end counts elsewhere.
    #[inline]
    pub(crate) fn add(&self, pair: usize, which: Which, on: &NoPreemption) {
        // SAFETY: by the type invariants every CPU has its element, and `mask` keeps the index
        // within its pairs.
        let pair = unsafe { &*(*self.first.as_ptr().add(on.cpu())).add(pair & self.mask) };
        let [first, second] = pair;
        let counter = match which {
            Which::First => first.get(),
            Which::Second => second.get(),
        };
        // SAFETY: as above. Preemption is off, so this CPU is the only writer, and nobody calls an
        // ioctl from an interrupt.
        unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(1)) };
    }

    /// The sums over all CPUs of the two counters of a pair.
    pub(crate) fn sum(&self, pair: usize) -> [u64; 2] {
        let mut sums = [0_u64; 2];
        for cpu in &self.cpus {
            let Some(pair) = cpu
                .get(pair / LANE)
                .and_then(|line| line.0.get(pair % LANE))
            else {
                continue;
            };
            for (sum, counter) in sums.iter_mut().zip(pair) {
                // SAFETY: valid as long as `self`; a concurrent increment is seen or is not.
                *sum = sum.wrapping_add(unsafe { counter.get().read_volatile() });
            }
        }
        sums
    }
}
