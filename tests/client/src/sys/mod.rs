// SPDX-License-Identifier: GPL-2.0

//! The only unsafe code of the client: one small safe wrapper per thing the kernel offers.

#![allow(unsafe_code)]

pub mod capability;
pub mod file;
pub mod flip;
pub mod ioctl;
pub mod memslot;
pub mod pages;
pub mod place;
pub mod process;
pub mod refused_memory;
pub mod shared_run;
pub mod signals;
pub mod tracee;
pub mod userfault;
pub mod victim;
pub mod vsock;
