// SPDX-License-Identifier: GPL-2.0

//! How windows come into processes, and out of them.

use super::{
    super::{
        errand,
        locks::{MAKERS, WINDOWS}, //
    },
    bindings,
    faults,
    Kind,
    Window,
    BUCKETS,
    PAGE_SIZE, //
};
use core::{
    ptr::{addr_of, null_mut, NonNull},
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering}, //
};
use kernel::{
    error::from_err_ptr,
    mm::virt::{flags, vm_flags_t, VmaNew},
    prelude::*,
    time::{delay::fsleep, Delta}, //
};

/// `VM_SEALED`: no system call changes, moves or removes the mapping.
const SEALED: vm_flags_t = 1 << bindings::VMA_SEALED_BIT;

/// The file that all windows seem to map: what `/proc/PID/maps` says, and what keeps the mappings from
/// holding the module.
pub(crate) struct Backing(());

static BACKING: AtomicPtr<bindings::file> = AtomicPtr::new(null_mut());

/// Makes that file.
pub(crate) fn init() -> Result<Backing> {
    // SAFETY: the name is a C string; no flags are allowed.
    let file = from_err_ptr(unsafe {
        bindings::shmem_kernel_file_setup(c"portcullis".as_char_ptr(), 0, pin_init::zeroed())
    })?;
    // Who finds the file in /proc/PID/map_files cannot open it.
    // SAFETY: it has just been made, and has an inode.
    unsafe { bindings::make_bad_inode((*file).f_inode) };
    BACKING.store(file, Ordering::Release);
    Ok(Backing(()))
}

impl Drop for Backing {
    fn drop(&mut self) {
        let file = BACKING.swap(null_mut(), Ordering::Acquire);
        // SAFETY: `init` made it, and nobody makes windows any more.
        unsafe { bindings::fput(file) };
    }
}

extern "C" {
    /// This module.
    static __this_module: u8;
}

struct Operations(bindings::file_operations);

// SAFETY: nobody writes to it.
unsafe impl Sync for Operations {}

/// Of the file whose mapping makes a window. It is there for the moment: afterwards the mapping has
/// [`BACKING`] instead.
static MAKE: Operations = Operations(bindings::file_operations {
    owner: addr_of!(__this_module).cast_mut().cast(),
    mmap: Some(make_window),
    ..pin_init::zeroed()
});

/// Makes a window in the address space of the current process, or waits a little for one that another
/// thread is making: whoever needs it looks again.
///
/// # Errors
///
/// `ENOMEM` without memory, or without room in the address space.
#[cold]
pub(super) fn make(mm: NonNull<bindings::mm_struct>, kind: Kind) -> Result {
    {
        let mut makers = MAKERS.lock();
        if makers.contains(&mm.addr().get()) {
            drop(makers);
            fsleep(Delta::from_millis(1));
            return Ok(());
        }
        makers.push(mm.addr().get(), GFP_KERNEL)?;
    }
    let made = make_one(mm, kind);
    let mut makers = MAKERS.lock();
    makers.retain(|maker| *maker != mm.addr().get());
    if makers.is_empty() {
        // A static is never dropped, and its memory would outlive the module.
        *makers = KVec::new();
    }
    made
}

fn make_one(mm: NonNull<bindings::mm_struct>, kind: Kind) -> Result {
    let window = Window::new(mm.as_ptr(), kind)?;
    let job = Map {
        window: NonNull::from(&*window),
        bytes: kind.bytes(),
        flags: bindings::MAP_SHARED
            | if kind.is_low() {
                bindings::MAP_32BIT
            } else {
                0
            },
    };
    // SAFETY: the address space is the current task's own.
    unsafe { errand::send(mm, job) }.map_err(|_| ENOMEM)?;
    Window::publish(window);
    Ok(())
}

/// Removes the windows of all processes, given that no call is on its way in one, and that none is
/// made any more. Waits for processes that are going.
pub(crate) fn remove_all() {
    while has_any() {
        if !remove_one() {
            fsleep(Delta::from_millis(10));
        }
    }
}

fn has_any() -> bool {
    let _lock = WINDOWS.lock();
    BUCKETS
        .iter()
        .any(|bucket| !bucket.first.load(Ordering::Relaxed).is_null())
}

extern "C" {
    /// See `disown.c`.
    fn portcullis_disown(
        mm: *mut c_void,
        address: c_ulong,
        window: *const c_void,
        nobody: *const c_void,
    ) -> bool;
}

/// The operations that a mapping has before it has ours: nobody's.
static NOBODY: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Removes a window of a process that is not going anyway; whether there was one.
fn remove_one() -> bool {
    let Some((mm, window)) = pick() else {
        return false;
    };
    // SAFETY: with its address space the window is there, and so is its mapping, which nobody but this
    // can take away.
    let (base, bytes) = unsafe {
        let window = window.as_ref();
        (window.base.load(Ordering::Relaxed), window.kind.bytes())
    };
    // SAFETY: `pick` has taken a reference to the address space.
    let disowned = unsafe {
        portcullis_disown(
            mm.as_ptr().cast(),
            base as c_ulong,
            window.as_ptr().cast(),
            NOBODY.load(Ordering::Acquire),
        )
    };
    if disowned {
        // SAFETY: it was published, and its mapping does not know it any more.
        unsafe { Window::forget(window) };
        // What is left is an empty mapping. If it stays, the process has a hole in its address space.
        // SAFETY: as above.
        let _ = unsafe { errand::send(mm, Unmap { base, bytes }) };
    }
    // SAFETY: as above; it is given back once.
    unsafe { bindings::mmput(mm.as_ptr()) };
    disowned
}

/// A window, and its address space with a reference to it.
fn pick() -> Option<(NonNull<bindings::mm_struct>, NonNull<Window>)> {
    let _lock = WINDOWS.lock();
    for bucket in &BUCKETS {
        let mut next = bucket.first.load(Ordering::Relaxed);
        // SAFETY: with the lock held, what the list has is there.
        while let Some(window) = unsafe { next.as_ref() } {
            // SAFETY: by the invariants of `Window` the address space exists.
            if let (Some(mm), true) = (NonNull::new(window.mm), unsafe {
                bindings::mmget_not_zero(window.mm)
            }) {
                return Some((mm, NonNull::from(window)));
            }
            next = window.next.load(Ordering::Relaxed);
        }
    }
    None
}

/// Maps a window.
struct Map {
    window: NonNull<Window>,
    bytes: usize,
    flags: u32,
}

// SAFETY: the pointer is only handed on to the operations.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl errand::Job for Map {
    fn run(&self) -> i64 {
        // SAFETY: the name is a C string, the operations are static and expect a window.
        let file = from_err_ptr(unsafe {
            bindings::anon_inode_getfile(
                c"portcullis".as_char_ptr(),
                &MAKE.0,
                self.window.as_ptr().cast(),
                // CAST: a bit.
                bindings::O_RDWR as c_int,
            )
        });
        let file = match file {
            Ok(file) => file,
            Err(error) => return error.to_errno().into(),
        };
        let protection = bindings::PROT_READ | bindings::PROT_WRITE;
        // SAFETY: the file has just been made. It goes at once, before this returns, and with it its
        // hold on the module: nobody else has a reference, and this is a kernel thread.
        // CAST: an address, or a negative errno.
        unsafe {
            let address = bindings::vm_mmap(
                file,
                0,
                self.bytes as c_ulong,
                protection as c_ulong,
                self.flags as c_ulong,
                0,
            );
            bindings::__fput_sync(file);
            address as i64
        }
    }
}

/// Removes the mapping at an address.
struct Unmap {
    base: usize,
    bytes: usize,
}

impl errand::Job for Unmap {
    fn run(&self) -> i64 {
        // SAFETY: what is there was a window that nobody uses. (A process that has been quick enough
        // to put something else there loses that.)
        unsafe { bindings::vm_munmap(self.base, self.bytes) }.into()
    }
}

/// No window has more pages.
// CAST: it is not that large.
const PART_PAGES: c_ulong = (Kind::MOST_BYTES / PAGE_SIZE) as c_ulong;

/// How many windows have been made.
static PARTS: AtomicUsize = AtomicUsize::new(0);

/// # Safety
///
/// To be called by the kernel alone, for a file of [`MAKE`], with the address space locked for writing.
unsafe extern "C" fn make_window(
    file: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: nobody else knows the mapping yet; the file's private data is the window that is being
    // made, whose maker waits for this.
    unsafe {
        let window: *mut Window = (*file).private_data.cast();
        (*window).base.store(
            (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start,
            Ordering::Relaxed,
        );
        (*vma).vm_private_data = window.cast();
        NOBODY.store((*vma).vm_ops.cast_mut().cast(), Ordering::Release);
        (*vma).vm_ops = &faults::OPERATIONS.0;
        let new = VmaNew::from_raw(vma);
        new.set_mixedmap();
        // Nobody gets a reference to a page that could be written: `get_user_pages()`, which serves
        // ptrace, devices and guests, refuses the mapping, and its fast way what is read-only.
        new.set_io();
        new.set_dontexpand();
        new.set_dontcopy();
        new.set_dontdump();
        // It stays one that may be written: `page_mkwrite()` says by whom.
        (*vma).__bindgen_anon_2.vm_flags = new.flags() & !flags::MAYEXEC | SEALED;
        // Each window seems to be another part of the file: what MADV_REMOVE does to one process's
        // part takes no page out of another's page table.
        let part = PARTS.fetch_add(1, Ordering::Relaxed);
        (*vma).vm_pgoff = part.wrapping_mul(PART_PAGES) & (c_ulong::MAX >> 16);
        bindings::vma_set_file(vma, BACKING.load(Ordering::Acquire));
    }
    0
}
