// SPDX-License-Identifier: GPL-2.0

//! The files that processes have open.
//!
//! C headers: [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h),
//! [`include/linux/pid.h`](srctree/include/linux/pid.h)

use super::{bindings, facts::leader_of, open_file::OpenFile};
use core::ptr::{addr_of, NonNull};
use kernel::{
    prelude::*,
    sync::{aref::ARef, rcu},
    task::Task, //
};

/// Shows every file that a process has open, with a thread that has it. A file that several processes
/// have is shown several times, and sometimes one that several threads have. May sleep.
///
/// What is opened meanwhile may be missed, and what is on its way: in the queue of a socket, say.
pub(crate) fn for_each_open_file(mut show: impl FnMut(&Task, OpenFile<'_>)) {
    let mut number = 1;
    while let Some((task, its_number)) = next_thread(number) {
        if has_its_own(&task) {
            for_each_of(&task, &mut show);
        }
        match its_number.checked_add(1) {
            Some(next) => number = next,
            None => break,
        }
    }
}

/// The thread with the lowest number on the host from `number` on, and that number.
fn next_thread(mut number: c_int) -> Option<(ARef<Task>, c_int)> {
    loop {
        let _rcu = rcu::read_lock();
        let host = &raw mut bindings::init_pid_ns;
        // SAFETY: the initial namespace is there always.
        let pid = NonNull::new(unsafe { bindings::find_ge_pid(number, host) })?;
        // SAFETY: it stays until a grace period has passed. In the initial namespace, which is the
        // first, each has a number.
        let (task, its_number) = unsafe {
            (
                bindings::get_pid_task(pid.as_ptr(), bindings::pid_type_PIDTYPE_PID),
                (*pid.as_ptr()).numbers.as_ptr().read().nr,
            )
        };
        match NonNull::new(task) {
            // SAFETY: the reference comes with it.
            Some(task) => return Some((unsafe { ARef::from_raw(task.cast()) }, its_number)),
            // It is gone, or only the number of a group of processes is left.
            None => number = its_number.checked_add(1)?,
        }
    }
}

/// Whether a thread has a table of files that is not the one of its process's first thread.
fn has_its_own(task: &Task) -> bool {
    let inside = rcu::read_lock();
    let (task, leader) = (task.as_ptr(), leader_of(task, &inside));
    // SAFETY: both are there; the tables are compared, not followed.
    let (table, leaders) = unsafe {
        (
            addr_of!((*task).files).read_volatile(),
            addr_of!((*leader).files).read_volatile(),
        )
    };
    task == leader || table != leaders
}

fn for_each_of(task: &Task, show: &mut impl FnMut(&Task, OpenFile<'_>)) {
    let mut fd = 0;
    // SAFETY: the task is there.
    while let Some(file) = NonNull::new(unsafe { bindings::fget_task_next(task.as_ptr(), &mut fd) })
    {
        // SAFETY: the reference came with it, and is given back below.
        show(task, unsafe { OpenFile::assume(file) });
        // SAFETY: as above; nobody uses it any more.
        unsafe { bindings::fput(file.as_ptr()) };
        fd += 1;
    }
}
