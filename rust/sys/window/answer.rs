// SPDX-License-Identifier: GPL-2.0

//! What a handler has written to its argument, on the way to the caller's own.

use super::slot::Slot;
use crate::sys::user_memory::OfCaller;
use core::{
    ptr::null_mut,
    sync::atomic::Ordering, //
};
use kernel::{page::PAGE_SIZE, prelude::*};
use portcullis_policy::{Buffer, Part};

impl Slot {
    /// Takes it back, and writes to the caller's memory what the handler wrote here. What the call
    /// returns, given what the handler has returned: `-EFAULT` if that cannot be written.
    #[inline]
    pub(crate) fn finish(self, result: c_long) -> c_long {
        let state = self.state();
        state.owner.store(null_mut(), Ordering::Release);
        // SAFETY: this call holds the slot.
        let is_long = unsafe { !(*state.large.get()).is_empty() };
        if state.writing.load(Ordering::Relaxed) || is_long {
            return self.finish_behind(result);
        }
        result
    }

    /// The rest of [`Self::finish`], which few calls need.
    #[cold]
    #[inline(never)]
    fn finish_behind(self, result: c_long) -> c_long {
        if !self.state().writing.load(Ordering::Relaxed) {
            return result;
        }
        match self.write_all_back() {
            // CAST: an errno fits.
            Err(error) if result >= 0 => error.to_errno() as c_long,
            _ => result,
        }
    }

    fn write_all_back(&self) -> Result {
        let complete = self.complete();
        let parts = [Some(&complete.argument), complete.followed.as_ref()];
        let mut parts = parts.into_iter().flatten();
        let mut result = parts.try_fold(0, |sum, part| Ok(sum + self.write_back(part)?));
        if let (Ok(0), Some(first)) = (&result, self.bytes().get(complete.argument.range.start)) {
            // What was written is what was there. It would have failed all the same where nothing can
            // be written.
            let first = core::slice::from_ref(first);
            result = OfCaller.write(complete.argument.address, first).map(|()| 0);
        }
        self.change(|state| {
            state.writing.store(false, Ordering::Relaxed);
            // SAFETY: there is no owner, and this call holds the slot.
            unsafe { (*state.outs.get()).clear() };
        });
        result.map(|_| ())
    }

    /// Writes what the handler has changed of a part; how many bytes.
    fn write_back(&self, part: &Part) -> Result<usize> {
        // SAFETY: there is no owner, and this call holds the slot.
        let outs = unsafe { &*self.state().outs.get() };
        let mut written = 0;
        for (place, page) in outs {
            let from = place * PAGE_SIZE;
            let start = part.range.start.max(from);
            let end = part.range.end.min(from + PAGE_SIZE);
            let mut at = start;
            while at < end {
                let mut chunk = [0_u8; 256];
                let len = chunk.len().min(end - at);
                // SAFETY: `chunk` has so many bytes. Another thread may write to the page: then
                // any bytes come out, which are the process's own affair.
                unsafe { page.read_raw(chunk.as_mut_ptr(), at - from, len)? };
                let chunk = chunk.get(..len).ok_or(EFAULT)?;
                let before = self.bytes().get(at..at + len).ok_or(EFAULT)?;
                let to = part.address.wrapping_add((at - part.range.start) as u64);
                written += write_changes(before, chunk, to)?;
                at += len;
            }
        }
        Ok(written)
    }
}

/// Writes to the caller's memory at `to` the runs of bytes that differ; how many bytes.
fn write_changes(before: &[u8], after: &[u8], to: u64) -> Result<usize> {
    let (mut at, mut written) = (0, 0);
    while let Some(from) = differs_from(before, after, at) {
        let same = before
            .iter()
            .zip(after)
            .skip(from)
            .position(|(a, b)| a == b);
        let end = same.map_or(after.len(), |same| from + same);
        let bytes = after.get(from..end).ok_or(EFAULT)?;
        OfCaller.write(to.wrapping_add(from as u64), bytes)?;
        written += bytes.len();
        at = end;
    }
    Ok(written)
}

/// The first place from `at` on where both differ.
fn differs_from(before: &[u8], after: &[u8], at: usize) -> Option<usize> {
    let differ = |(a, b): (&u8, &u8)| a != b;
    let found = before.iter().zip(after).skip(at).position(differ)?;
    Some(at + found)
}
