// SPDX-License-Identifier: GPL-2.0

//! `client park`: a VMM that sits on a lock of KVM's.

use std::os::fd::AsRawFd;

use kvm_bindings::{kvm_dirty_log, kvm_dirty_log__bindgen_ty_1};

use super::stall::until_stdin_ends;
use crate::{
    act::vm,
    answer::Answer,
    argument::with,
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Wanted},
    surface::Surface,
    sys::{
        ioctl,
        place::{Place, PAGE},
    },
};

/// Keep KVM's lock of a VM's memory slots: KVM_GET_DIRTY_LOG into memory that does not come
///
/// Prints `parked` when the kernel waits for the memory. Lets it come when stdin ends, and prints the
/// answer, which must be ok.
#[derive(clap::Args)]
pub struct Options {}

pub fn run(_: &Options) -> Result<(), Failure> {
    let machine = Machine::open(&Wanted::by([Surface::Vm], 0), |_| Guest::Halt)?;
    let vm = (machine.vm.as_ref()).map_err(|reason| Failure::Unexpected(reason.clone()))?;
    (machine.memory.as_ref()).map_err(|reason| Failure::Unexpected(reason.clone()))?;
    let bitmap = Place::anonymous(PAGE).map_err(while_doing("mmap"))?;
    let stuck = bitmap
        .stuck(0, &[0; PAGE])
        .map_err(while_doing("userfaultfd"))?;
    let argument = with(kvm_dirty_log {
        slot: 0,
        padding1: 0,
        __bindgen_anon_1: kvm_dirty_log__bindgen_ty_1 {
            padding2: bitmap.address(),
        },
    })?;
    let number = vm::number("KVM_GET_DIRTY_LOG").map_err(Failure::Unexpected)?;
    let answer = until_stdin_ends(&stuck, "parked", || {
        ioctl::native(vm.as_raw_fd(), number, &argument)
    })?;
    println!("{answer}");
    match answer {
        Answer::Ok(_) => Ok(()),
        Answer::Errno(_) => Err(Failure::Unexpected(format!("KVM_GET_DIRTY_LOG: {answer}"))),
    }
}
