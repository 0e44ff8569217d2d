// SPDX-License-Identifier: GPL-2.0

//! Stopping the host.
//!
//! C header: [`include/linux/panic.h`](srctree/include/linux/panic.h)

use super::bindings;
use kernel::{prelude::*, str::CStr};

/// Stops the host, with this text. What happens then (a reboot, a dump) is the host's setting.
#[cold]
pub(crate) fn stop_the_host(why: &'static CStr) -> ! {
    // SAFETY: the format has one string, and that is what it gets.
    unsafe { bindings::panic(c"portcullis: %s\n".as_char_ptr(), why.as_char_ptr()) }
}
