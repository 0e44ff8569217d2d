// SPDX-License-Identifier: GPL-2.0

//! Who a process is, as the host sees it.
//!
//! C headers: [`include/linux/cred.h`](srctree/include/linux/cred.h),
//! [`include/linux/security.h`](srctree/include/linux/security.h)

use super::bindings;
use core::{
    ptr::{addr_of, addr_of_mut, NonNull},
    sync::atomic::{fence, Ordering}, //
};
use kernel::{
    prelude::*,
    sync::rcu,
    task::Task, //
};
use portcullis_policy::Caller;

/// What is known about a process. It says what was so when it was asked.
///
/// What cannot be told is `None`, and matches nothing. It takes no file system, no other process and
/// no lock that one could keep to find out: nobody makes somebody else wait.
pub(crate) struct Facts {
    /// The path of the program, from the root of the host: of the process whose id is 1. A program
    /// that has been deleted or replaced has the name that it had.
    ///
    /// There is none if on the host something else is in that place, or nothing: for what is in a
    /// container's own file system, in a mount that the host does not have, in memory only.
    ///
    /// And there is none where the process may have chosen it: if it did not come by execve(), and for
    /// all who live in a user namespace of their own. There anybody may have a handler of `binfmt_misc`
    /// that runs one program and shows another.
    pub(crate) exe: Option<KVec<u8>>,
    /// The effective user of the task.
    pub(crate) uid: u32,
    /// Its effective group.
    pub(crate) gid: u32,
    /// The path of the process's control group in the unified hierarchy, as the host sees it behind
    /// `0::` in `/proc/PID/cgroup`.
    pub(crate) cgroup: Option<KVec<u8>>,
    /// The name that the process gives itself.
    pub(crate) comm: KVec<u8>,
    /// The label that a security module has for the task.
    pub(crate) label: Option<KVec<u8>>,
    /// The number of the process on the host.
    pub(crate) pid: u32,
}

extern "C" {
    /// See `facts.c`.
    fn portcullis_exe_of(task: *mut c_void) -> *mut c_void;
    fn portcullis_no_program(file: *mut c_void);
    fn portcullis_way_to(exe: *const c_void, buffer: *mut u8, size: usize) -> c_int;
    fn portcullis_cgroup_of(task: *mut c_void, buffer: *mut u8, size: usize) -> c_int;
}

/// A file is nobody's program, whoever has opened it for what. Does not sleep.
///
/// # Safety
///
/// It must be null, or a file that is open.
pub(super) unsafe fn no_program(file: *mut c_void) {
    // SAFETY: the caller says so.
    unsafe { portcullis_no_program(file) };
}

impl Facts {
    /// About the process that runs this. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`
    pub(crate) fn of_current() -> Result<Self> {
        Self::of(kernel::current!())
    }

    /// About the process of a task. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EAGAIN` if the task, another than the one that runs this, does nothing but execute
    /// programs or change its credentials.
    pub(crate) fn of(task: &Task) -> Result<Self> {
        for _ in 0..16 {
            let before = Credentials::of(task);
            let facts = Self::with(task, &before)?;
            // Whoever executes a program gets new ones: all of it is about the same one.
            if Credentials::of(task).0 == before.0 {
                return Ok(facts);
            }
        }
        Err(EAGAIN)
    }

    fn with(task: &Task, credentials: &Credentials) -> Result<Self> {
        // SAFETY: nobody changes credentials that are in use; the initial namespace is there always.
        let (uid, gid, is_of_the_host) = unsafe {
            let cred = credentials.0.as_ref();
            let host = &raw mut bindings::init_user_ns;
            (
                bindings::from_kuid(host, cred.euid),
                bindings::from_kgid(host, cred.egid),
                cred.user_ns == host,
            )
        };
        Ok(Self {
            exe: if is_of_the_host { exe(task)? } else { None },
            uid,
            gid,
            cgroup: cgroup(task)?,
            comm: comm(task)?,
            label: label(task)?,
            // CAST: a process has a positive number.
            pid: task.tgid() as u32,
        })
    }

    /// What the lines of a policy look at.
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller {
            exe: self.exe.as_deref(),
            uid: Some(self.uid),
            gid: Some(self.gid),
            cgroup: self.cgroup.as_deref(),
            comm: Some(&self.comm),
            label: self.label.as_deref(),
        }
    }
}

/// The credentials of a task.
///
/// # Invariants
///
/// Has a reference.
struct Credentials(NonNull<bindings::cred>);

impl Credentials {
    fn of(task: &Task) -> Self {
        // SAFETY: the task is there, and has credentials. INVARIANT: the reference comes with them.
        Self(unsafe { NonNull::new_unchecked(bindings::get_task_cred(task.as_ptr()).cast_mut()) })
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant there is a reference to give back.
        unsafe { bindings::put_cred(self.0.as_ptr()) };
    }
}

fn copy(bytes: &[u8]) -> Result<KVec<u8>> {
    // It is kept for as long as somebody has a file open.
    let mut copy = KVec::with_capacity(bytes.len(), GFP_KERNEL_ACCOUNT)?;
    copy.extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)?;
    Ok(copy)
}

/// What is written into a buffer that a path has room in. `write` gets the buffer and its size, and
/// returns how many bytes it has written, or a negative errno if there is no path or no room.
fn path(write: impl FnOnce(*mut u8, usize) -> c_int) -> Result<Option<KVec<u8>>> {
    let mut buffer = KVec::from_elem(0_u8, bindings::PATH_MAX as usize, GFP_KERNEL)?;
    let written = write(buffer.as_mut_ptr(), buffer.len());
    match usize::try_from(written)
        .ok()
        .and_then(|written| buffer.get(..written))
    {
        Some(path) => copy(path).map(Some),
        None => Ok(None),
    }
}

/// [`Facts::exe`]
fn exe(task: &Task) -> Result<Option<KVec<u8>>> {
    // SAFETY: the task is there.
    let Some(exe) = NonNull::new(unsafe { portcullis_exe_of(task.as_ptr().cast()) }) else {
        return Ok(None);
    };
    let path = path(|buffer, size| {
        // SAFETY: there are so many bytes in the buffer; the file is there.
        unsafe { portcullis_way_to(exe.as_ptr(), buffer, size) }
    });
    // SAFETY: the reference came with it.
    unsafe { bindings::fput(exe.as_ptr().cast()) };
    path
}

/// The first thread of a task's process, or the task itself if it has left that.
///
/// It is there as long as the critical section lasts.
pub(super) fn leader_of(task: &Task, _inside: &rcu::Guard) -> *mut bindings::task_struct {
    let task = task.as_ptr();
    // SAFETY: the task is there; both fields may change meanwhile. It loses its number when it leaves,
    // and until then its leader is there: see `pid_alive()`.
    unsafe {
        let leader = addr_of!((*task).group_leader).read_volatile();
        fence(Ordering::Acquire);
        if addr_of!((*task).thread_pid).read_volatile().is_null() {
            task
        } else {
            leader
        }
    }
}

/// [`Facts::cgroup`]
fn cgroup(task: &Task) -> Result<Option<KVec<u8>>> {
    path(|buffer, size| {
        let inside = rcu::read_lock();
        // SAFETY: there are so many bytes in the buffer, and the task is there.
        unsafe { portcullis_cgroup_of(leader_of(task, &inside).cast(), buffer, size) }
    })
}

/// [`Facts::comm`]
fn comm(task: &Task) -> Result<KVec<u8>> {
    let comm = {
        let inside = rcu::read_lock();
        // SAFETY: it is there. Its name may change meanwhile: it is a row of bytes.
        unsafe { addr_of!((*leader_of(task, &inside)).comm).read_volatile() }
    };
    copy(comm.split(|byte| *byte == 0).next().unwrap_or(&[]))
}

/// [`Facts::label`]
fn label(task: &Task) -> Result<Option<KVec<u8>>> {
    let mut prop = bindings::lsm_prop::default();
    let mut context = bindings::lsm_context::default();
    // SAFETY: the task is there, and both are filled in by the kernel.
    let error = unsafe {
        bindings::security_task_getlsmprop_obj(task.as_ptr(), &mut prop);
        bindings::security_lsmprop_to_secctx(
            addr_of_mut!(prop),
            &mut context,
            // CAST: a small number.
            bindings::LSM_ID_UNDEF as c_int,
        )
    };
    if error < 0 || context.context.is_null() {
        return Ok(None);
    }
    // SAFETY: the module that has a text says where it is and how long.
    let text = unsafe { core::slice::from_raw_parts(context.context, context.len as usize) };
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"\0").unwrap_or(text).trim_ascii_end();
    let label = if text.is_empty() {
        Ok(None)
    } else {
        copy(text).map(Some)
    };
    // SAFETY: it was filled in above.
    unsafe { bindings::security_release_secctx(&mut context) };
    label
}
