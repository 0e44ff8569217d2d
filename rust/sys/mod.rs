// SPDX-License-Identifier: GPL-2.0

//! The only unsafe code of the module: one small safe type over each C interface that the kernel
//! crate does not wrap yet.
//!
//! Everything outside this folder is compiled with `deny(unsafe_code)`.

pub(crate) mod beat;
pub(crate) mod call;
pub(crate) mod canary;
pub(crate) mod detour;
pub(crate) mod digest;
mod errand;
pub(crate) mod facts;
pub(crate) mod kprobe;
pub(crate) mod kvm;
pub(crate) mod locks;
pub(crate) mod module_notifier;
pub(crate) mod observer;
pub(crate) mod open_file;
pub(crate) mod open_files;
pub(crate) mod panic;
pub(crate) mod per_cpu;
pub(crate) mod preemption;
pub(crate) mod published;
pub(crate) mod registry;
pub(crate) mod securityfs;
pub(crate) mod sight;
pub(crate) mod user_memory;
pub(crate) mod window;

/// What bindgen made of `bindings_helper.h`, on top of the kernel crate's own bindings.
#[allow(
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::undocumented_unsafe_blocks
)]
mod bindings {
    pub(super) use kernel::bindings::*;
    use kernel::ffi;
    use pin_init::MaybeZeroable;
    include!(concat!(
        env!("PORTCULLIS_OBJ"),
        "/rust/sys/bindings_generated.rs"
    ));
}
