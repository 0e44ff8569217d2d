// SPDX-License-Identifier: GPL-2.0

//! Something that is done again and again, where one may sleep.
//!
//! The kernel crate can queue a work and cannot cancel one, which a module has to before it goes.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use core::{marker::PhantomData, ptr::addr_of_mut};
use kernel::{
    prelude::*,
    static_lock_class,
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// What is done, and how long after it has been done it is done again.
pub(crate) trait OnBeat: 'static {
    /// The pause in between, in milliseconds.
    const PAUSE_MS: u32;

    /// May sleep.
    fn beat();
}

/// Does it until it is dropped.
///
/// # Invariants
///
/// `work` is initialised and does not move. It is queued or running until `drop`, and never after.
pub(crate) struct Beat<B: OnBeat> {
    work: Pin<KBox<Opaque<bindings::delayed_work>>>,
    _beat: PhantomData<fn() -> B>,
}

// SAFETY: the work is the kernel's until `drop`, which may run on any thread that may sleep.
unsafe impl<B: OnBeat> Send for Beat<B> {}
// SAFETY: a shared reference gives no access to anything.
unsafe impl<B: OnBeat> Sync for Beat<B> {}

impl<B: OnBeat> Beat<B> {
    /// Begins, after a first pause.
    pub(crate) fn new() -> Result<Self> {
        let work = KBox::pin(Opaque::<bindings::delayed_work>::zeroed(), GFP_KERNEL)?;
        let raw = work.get();
        // SAFETY: nobody else knows this memory yet, and it is pinned: this is `INIT_DELAYED_WORK()`.
        unsafe {
            bindings::init_work_with_key(
                addr_of_mut!((*raw).work),
                Some(run::<B>),
                false,
                c"portcullis_beat".as_char_ptr(),
                static_lock_class!().as_ptr(),
            );
            bindings::timer_init_key(
                addr_of_mut!((*raw).timer),
                Some(bindings::delayed_work_timer_fn),
                bindings::TIMER_IRQSAFE,
                c"portcullis_beat".as_char_ptr(),
                static_lock_class!().as_ptr(),
            );
        }
        // INVARIANT: it is queued now; `drop` cancels it.
        // SAFETY: it is initialised.
        unsafe { queue::<B>(raw) };
        Ok(Self {
            work,
            _beat: PhantomData,
        })
    }
}

impl<B: OnBeat> Drop for Beat<B> {
    fn drop(&mut self) {
        // SAFETY: by the type invariants it is initialised. Waits for a beat that is running, which
        // cannot queue the next one any more.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
    }
}

/// Queues the next beat.
///
/// # Safety
///
/// `work` is initialised.
unsafe fn queue<B: OnBeat>(work: *mut bindings::delayed_work) {
    // SAFETY: the caller says so; the queue is always there. Its workers do not wait for each other,
    // so that a beat does not wait for works that last.
    unsafe {
        bindings::queue_delayed_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            bindings::system_dfl_wq,
            work,
            msecs_to_jiffies(B::PAUSE_MS),
        )
    };
}

/// # Safety
///
/// To be called by the kernel alone, with the work of a [`Beat`].
unsafe extern "C" fn run<B: OnBeat>(work: *mut bindings::work_struct) {
    B::beat();
    // SAFETY: it is the field of the `delayed_work` of a `Beat`, which waits in `drop` for this.
    unsafe { queue::<B>(kernel::container_of!(work, bindings::delayed_work, work)) };
}
