// SPDX-License-Identifier: GPL-2.0

//! One call after the other: what no two calls on a VM may do at the same time.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{CondVar, Mutex}, //
};

/// Something that one call at a time has.
///
/// The call may last: a handler waits for memory that does not come, if its caller has seen to that. So
/// those who wait for it can be interrupted, which they cannot where they wait for a lock of the kernel's.
#[pin_data]
pub(crate) struct Doing<T> {
    #[pin]
    state: Mutex<State<T>>,
    #[pin]
    free: CondVar,
}

struct State<T> {
    is_taken: bool,
    value: T,
}

impl<T: Unpin> Doing<T> {
    /// Nobody has it.
    pub(crate) fn new(value: T) -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State {
                is_taken: false,
                value,
            }),
            free <- new_condvar!(),
        })
    }

    /// Takes it, until the value is dropped.
    ///
    /// # Errors
    ///
    /// `EINTR` if a signal comes first.
    pub(crate) fn take(&self) -> Result<Taken<'_, T>> {
        let mut state = self.state.lock();
        while state.is_taken {
            if self.free.wait_interruptible(&mut state) {
                // It may have been this one that was woken.
                self.free.notify_one();
                return Err(EINTR);
            }
        }
        state.is_taken = true;
        Ok(Taken(self))
    }

    /// Does something with what it is about, whoever has it.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.state.lock().value)
    }
}

/// See [`Doing::take`].
pub(crate) struct Taken<'a, T: Unpin>(&'a Doing<T>);

impl<T: Unpin> Taken<'_, T> {
    /// Does something with what it is about.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(body)
    }
}

impl<T: Unpin> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        self.0.state.lock().is_taken = false;
        self.0.free.notify_one();
    }
}
