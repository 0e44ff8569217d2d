// SPDX-License-Identifier: GPL-2.0

//! Attacks by the calls that change mappings.

use super::{may_succeed, must_fail, range, Attack, Outcome, Stand};
use crate::{answer::Answer, failure::Failure};

/// A call on the window, and what is expected of it.
macro_rules! call {
    ($judge:ident, $name:literal, $held:literal, $what:literal, $call:expr) => {
        Attack {
            name: $name,
            held: $held,
            run: |stand| {
                let call: fn(&Stand) -> Answer = $call;
                Ok($judge($what, call(stand)))
            },
        }
    };
}

/// One that must fail.
macro_rules! fails {
    ($($of:tt)*) => { call!(must_fail, $($of)*) };
}

/// One that may succeed.
macro_rules! passes {
    ($($of:tt)*) => { call!(may_succeed, $($of)*) };
}

macro_rules! madvise {
    ($name:literal, $advice:expr, $judge:ident) => {
        call!($judge, $name, true, "madvise", |stand| {
            let victim = stand.victim();
            victim.call(libc::SYS_madvise, range(victim, [$advice as u64, 0, 0, 0]))
        })
    };
}

const GUARD_INSTALL: i32 = 102;
const DONTNEED_LOCKED: i32 = 24;
const COLLAPSE: i32 = 25;
const PAGE: u64 = 4096;
const RW: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const MAYMOVE: u64 = libc::MREMAP_MAYMOVE as u64;

pub const ATTACKS: &[Attack] = &[
    madvise!("MADV_DONTNEED", libc::MADV_DONTNEED, may_succeed),
    madvise!("MADV_DONTNEED_LOCKED", DONTNEED_LOCKED, may_succeed),
    madvise!("MADV_FREE", libc::MADV_FREE, must_fail),
    madvise!("MADV_PAGEOUT", libc::MADV_PAGEOUT, may_succeed),
    madvise!("MADV_COLD", libc::MADV_COLD, may_succeed),
    // A hole in the file behind it, in which nothing is.
    madvise!("MADV_REMOVE", libc::MADV_REMOVE, may_succeed),
    madvise!("MADV_POPULATE_READ", libc::MADV_POPULATE_READ, must_fail),
    madvise!("MADV_POPULATE_WRITE", libc::MADV_POPULATE_WRITE, must_fail),
    madvise!("MADV_GUARD_INSTALL", GUARD_INSTALL, must_fail),
    madvise!("MADV_COLLAPSE", COLLAPSE, must_fail),
    madvise!("MADV_HUGEPAGE", libc::MADV_HUGEPAGE, may_succeed),
    madvise!("MADV_MERGEABLE", libc::MADV_MERGEABLE, may_succeed),
    madvise!("MADV_DODUMP", libc::MADV_DODUMP, must_fail),
    madvise!("MADV_WIPEONFORK", libc::MADV_WIPEONFORK, must_fail),
    Attack {
        name: "MADV_DOFORK",
        held: false,
        run: dofork,
    },
    fails!("munmap", true, "munmap", |stand| {
        let victim = stand.victim();
        victim.call(libc::SYS_munmap, range(victim, [0; 4]))
    }),
    fails!("munmap of a part", true, "munmap", |stand| {
        let victim = stand.victim();
        victim.call(libc::SYS_munmap, [victim.start, PAGE, 0, 0, 0, 0])
    }),
    fails!("munmap of more", true, "munmap", |stand| {
        let victim = stand.victim();
        let start = victim.start - PAGE;
        victim.call(
            libc::SYS_munmap,
            [start, victim.size_bytes + 2 * PAGE, 0, 0, 0, 0],
        )
    }),
    fails!("mmap MAP_FIXED", true, "mmap", |stand| {
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
        let victim = stand.victim();
        victim.call(libc::SYS_mmap, range(victim, [RW, flags, u64::MAX, 0]))
    }),
    fails!("mprotect", true, "mprotect", |stand| {
        let victim = stand.victim();
        victim.call(libc::SYS_mprotect, range(victim, [RW, 0, 0, 0]))
    }),
    fails!("mprotect to read", true, "mprotect", |stand| {
        let victim = stand.victim();
        victim.call(
            libc::SYS_mprotect,
            range(victim, [libc::PROT_READ as u64, 0, 0, 0]),
        )
    }),
    fails!("pkey_mprotect", true, "pkey_mprotect", |stand| {
        let victim = stand.victim();
        victim.call(libc::SYS_pkey_mprotect, range(victim, [RW, u64::MAX, 0, 0]))
    }),
    fails!("mremap that grows", true, "mremap", |stand| {
        let victim = stand.victim();
        victim.call(
            libc::SYS_mremap,
            range(victim, [victim.size_bytes + PAGE, MAYMOVE, 0, 0]),
        )
    }),
    fails!("mremap that shrinks", true, "mremap", |stand| {
        let victim = stand.victim();
        let less = victim.size_bytes.saturating_sub(PAGE).max(1);
        victim.call(
            libc::SYS_mremap,
            range(victim, [less & !(PAGE - 1), MAYMOVE, 0, 0]),
        )
    }),
    fails!("mremap that moves", true, "mremap", |stand| {
        let (victim, to) = (stand.victim(), stand.empty());
        let flags = MAYMOVE | libc::MREMAP_FIXED as u64;
        victim.call(
            libc::SYS_mremap,
            range(victim, [victim.size_bytes, flags, to, 0]),
        )
    }),
    fails!("mremap that leaves it", true, "mremap", |stand| {
        let victim = stand.victim();
        let flags = MAYMOVE | libc::MREMAP_DONTUNMAP as u64;
        victim.call(
            libc::SYS_mremap,
            range(victim, [victim.size_bytes, flags, 0, 0]),
        )
    }),
    fails!("mremap of nothing", true, "mremap", |stand| {
        let victim = stand.victim();
        victim.call(
            libc::SYS_mremap,
            [victim.start, 0, victim.size_bytes, MAYMOVE, 0, 0],
        )
    }),
    fails!("mremap onto it", true, "mremap", |stand| {
        let (victim, from) = (stand.victim(), stand.filled());
        let flags = MAYMOVE | libc::MREMAP_FIXED as u64;
        victim.call(libc::SYS_mremap, [from, PAGE, PAGE, flags, victim.start, 0])
    }),
    fails!("remap_file_pages", true, "remap_file_pages", |stand| {
        let victim = stand.victim();
        victim.call(libc::SYS_remap_file_pages, range(victim, [0; 4]))
    }),
    fails!("mmap MAP_FIXED_NOREPLACE", true, "mmap", |stand| {
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
        let victim = stand.victim();
        victim.call(libc::SYS_mmap, range(victim, [RW, flags, u64::MAX, 0]))
    }),
    passes!("mseal", true, "mseal", |stand| {
        let victim = stand.victim();
        victim.call(libc::SYS_mseal, range(victim, [0; 4]))
    }),
    passes!("mlock", true, "mlock", |stand| {
        let victim = stand.victim();
        let locked = victim.call(libc::SYS_mlock, range(victim, [0; 4]));
        victim.call(libc::SYS_munlock, range(victim, [0; 4]));
        locked
    }),
    passes!("mlockall", false, "mlockall", |stand| {
        let victim = stand.victim();
        let both = (libc::MCL_CURRENT | libc::MCL_FUTURE) as u64;
        let locked = victim.call(libc::SYS_mlockall, [both, 0, 0, 0, 0, 0]);
        victim.call(libc::SYS_munlockall, [0; 6]);
        locked
    }),
    passes!("mbind", true, "mbind", |stand| {
        let victim = stand.victim();
        let nodes = stand.scratch(&1_u64.to_le_bytes());
        const BIND: u64 = 2;
        const MOVE_ALL: u64 = 4;
        victim.call(libc::SYS_mbind, range(victim, [BIND, nodes, 64, MOVE_ALL]))
    }),
    passes!("move_pages", true, "move_pages", |stand| {
        let victim = stand.victim();
        let mut words = victim.start.to_le_bytes().to_vec();
        words.extend([0; 16]);
        let at = stand.scratch(&words);
        const MOVE_ALL: u64 = 4;
        victim.call(libc::SYS_move_pages, [0, 1, at, at + 8, at + 16, MOVE_ALL])
    }),
    passes!("prctl PR_SET_VMA", true, "prctl", |stand| {
        const SET_VMA: u64 = 0x5356_4d41;
        let victim = stand.victim();
        let name = stand.scratch(b"mine\0");
        victim.call(
            libc::SYS_prctl,
            [SET_VMA, 0, victim.start, victim.size_bytes, name, 0],
        )
    }),
];

/// A child must not have what lies there.
fn dofork(stand: &Stand) -> Result<Outcome, Failure> {
    let victim = stand.victim();
    let answer = victim.call(
        libc::SYS_madvise,
        range(victim, [libc::MADV_DOFORK as u64, 0, 0, 0]),
    );
    if stand.child_has_window()? {
        return Ok(Outcome::Done(format!("madvise: {answer}; a child has it")));
    }
    Ok(must_fail("madvise", answer))
}
