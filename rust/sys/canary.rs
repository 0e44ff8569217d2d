// SPDX-License-Identifier: GPL-2.0

//! Calling the canary, the ioctl handler in `canary.c`.

use core::ptr::null_mut;
use kernel::prelude::*;

extern "C" {
    /// The file that it takes and does not look at is of no type here, for there is none.
    static portcullis_canary: extern "C" fn(*mut c_void, c_uint, c_ulong) -> c_long;
}

/// Its module, its symbol, and both.
pub(crate) const MODULE: &str = "portcullis\0";
pub(crate) const SYMBOL: &str = "portcullis_canary_ioctl\0";
pub(crate) const QUALIFIED: &str = "portcullis:portcullis_canary_ioctl\0";

/// Makes an ioctl as the kernel makes one of a guarded file, through a pointer to the handler. Returns
/// the errno, a positive number, if it is one.
///
/// May sleep, if the probe defers the call.
pub(crate) fn call(command: u32, argument: u64) -> Option<u16> {
    // SAFETY: a constant of this module.
    let handler = unsafe { portcullis_canary };
    // CAST: registers have 64 bits.
    let result = handler(null_mut(), command, argument as c_ulong);
    u16::try_from(-result).ok()
}
