// SPDX-License-Identifier: GPL-2.0

//! Giving up rights: capabilities, user namespaces, user ids.

use std::{fs, io};

/// C header: `include/uapi/linux/capability.h`.
pub const MAC_ADMIN: u32 = 33;

const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// One half of the three sets: capabilities 0 to 31, then 32 to 63.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes `capability` out of this thread's effective, permitted and inheritable sets (and with
/// them out of the ambient one). What the thread no longer has, it cannot take back.
pub fn drop_one(capability: u32) -> io::Result<()> {
    let (half, bit) = ((capability / 32) as usize, 1 << (capability % 32));
    let mut sets = get()?;
    sets[half].effective &= !bit;
    sets[half].permitted &= !bit;
    sets[half].inheritable &= !bit;
    let header = own();
    // SAFETY: the kernel reads one header and, for version 3, two halves.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })
}

/// Whether this thread's effective set has `capability`.
pub fn is_effective(capability: u32) -> io::Result<bool> {
    Ok(get()?[(capability / 32) as usize].effective & (1 << (capability % 32)) != 0)
}

/// Moves the process into a new user namespace as its root: it has all capabilities there, and
/// none outside.
pub fn enter_user_namespace() -> io::Result<()> {
    enter(libc::CLONE_NEWUSER)
}

/// What a container has: a user namespace as above, one of mounts, of processes (for the children), of
/// control groups, of IPC and of names.
pub fn enter_namespaces() -> io::Result<()> {
    enter(
        libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS,
    )
}

fn enter(namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: these touch no memory of ours.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: unshare touches no memory of ours; the process has one thread.
    check(unsafe { libc::unshare(namespaces) }.into())?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Becomes `uid` for good, which costs root all capabilities.
pub fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: setresuid touches no memory of ours.
    check(unsafe { libc::setresuid(uid, uid, uid) }.into())
}

fn get() -> io::Result<[Half; 2]> {
    let header = own();
    let mut sets = [Half::default(); 2];
    // SAFETY: the kernel reads one header and, for version 3, writes two halves.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

/// The header that means this very thread.
fn own() -> Header {
    Header {
        version: VERSION_3,
        pid: 0,
    }
}

fn check(value: i64) -> io::Result<()> {
    match value {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Capabilities belong to a thread, so a test can give one up in a thread of its own.
    #[test]
    fn a_dropped_capability_is_gone() {
        std::thread::spawn(|| {
            drop_one(MAC_ADMIN).unwrap();
            assert!(!is_effective(MAC_ADMIN).unwrap());
        })
        .join()
        .unwrap();
    }
}
