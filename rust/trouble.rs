// SPDX-License-Identifier: GPL-2.0

//! Why a site is not armed, and what to do about it, in a sentence.

use kernel::prelude::*;
use portcullis_policy::schema::errno_name;

/// What `register_kprobe()` means by an errno at the entry of an ioctl handler, by name.
const REASONS: [(&str, &str); 5] = [
    (
        "ENOENT",
        "its module is loaded and has no such function: this kernel was built without it, or has \
         it under another name, and then it is not guarded",
    ),
    (
        "EINVAL",
        "the kernel allows no probe at this function: see kprobes/blacklist in debugfs",
    ),
    (
        "EILSEQ",
        "the function does not begin with an instruction that a probe can stand at: a debugger may \
         have a breakpoint there",
    ),
    (
        "EBUSY",
        "ftrace does not send its calls here: a livepatch of this function was first, or ftrace is \
         off; take that away, then load portcullis again",
    ),
    (
        "ENOMEM",
        "there was no memory for a probe: load portcullis again",
    ),
];

/// The sentence for an errno of [`arm`](crate::sys::kprobe::Probe::arm).
pub(crate) fn why(error: Error) -> &'static str {
    let number = error.to_errno().unsigned_abs();
    let name = u16::try_from(number).ok().and_then(errno_name);
    REASONS
        .iter()
        .find(|(errno, _)| name == Some(errno))
        .map_or("the kernel's log may say more", |(_, why)| why)
}
