// SPDX-License-Identifier: GPL-2.0

//! Work on another address space, done by a kernel thread.
//!
//! What a system call does for a process counts against the process: its limits, its rights, its
//! security context. What a kernel thread does in the process's address space counts against nobody.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::bindings;
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicI64, Ordering}, //
};
use kernel::{
    prelude::*,
    sync::{Arc, Completion},
    workqueue::{impl_has_work, new_work, Queue, Work, WorkItem}, //
};

/// What is to be done there, by a kernel thread that has taken the address space on.
pub(super) trait Job: Send + Sync + 'static {
    /// Does it; the result is a number or a negative errno. May sleep.
    fn run(&self) -> i64;
}

/// A job on its way.
#[pin_data]
struct Errand<J: Job> {
    job: J,
    mm: NonNull<bindings::mm_struct>,
    result: AtomicI64,
    #[pin]
    done: Completion,
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl{J: Job} HasWork<Self> for Errand<J> { self.work }
}

// SAFETY: the pointer is only handed to the kernel, which locks the address space itself.
unsafe impl<J: Job> Send for Errand<J> {}
// SAFETY: as above.
unsafe impl<J: Job> Sync for Errand<J> {}

impl<J: Job> WorkItem for Errand<J> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // SAFETY: a worker is a kernel thread without an address space of its own; whoever sent the
        // errand keeps this one alive until it is done.
        unsafe { bindings::kthread_use_mm(this.mm.as_ptr()) };
        let result = this.job.run();
        // SAFETY: it has just been taken on.
        unsafe { bindings::kthread_unuse_mm(this.mm.as_ptr()) };
        this.result.store(result, Ordering::Relaxed);
        this.done.complete_all();
    }
}

/// Has a job done in an address space, and waits for it.
///
/// A worker may still be behind its last instruction of ours when this returns: the module's text may
/// go only after `wait_for_calls_on_detours`.
///
/// # Errors
///
/// `ENOMEM`, or what the job says.
///
/// # Safety
///
/// Somebody must keep a user's reference to the address space until this returns.
pub(super) unsafe fn send<J: Job>(mm: NonNull<bindings::mm_struct>, job: J) -> Result<i64> {
    let errand = Arc::pin_init(
        pin_init!(Errand {
            job,
            mm,
            result: AtomicI64::new(0),
            done <- Completion::new(),
            work <- new_work!("portcullis::errand"),
        }),
        GFP_KERNEL,
    )?;
    // SAFETY: the kernel's queue for work of any length on any CPU is there when modules are, and
    // stays.
    let queue = unsafe { Queue::from_raw(bindings::system_dfl_wq) };
    if queue.enqueue(errand.clone()).is_err() {
        return Err(EBUSY);
    }
    errand.done.wait_for_completion();
    match errand.result.load(Ordering::Relaxed) {
        // CAST: an errno fits.
        error @ -4095..0 => Err(Error::from_errno(error as i32)),
        result => Ok(result),
    }
}
