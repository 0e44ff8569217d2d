// SPDX-License-Identifier: GPL-2.0

//! Sockets of the family AF_VSOCK, between a host and its guests.

use std::{
    fs::File,
    io, mem,
    os::fd::{AsRawFd, FromRawFd},
};

use super::file::check;

/// Connects to a port of a guest. Gives up after `seconds`.
pub fn connect(cid: u32, port: u32, seconds: i64) -> io::Result<File> {
    // SAFETY: socket makes an fd and touches no memory.
    let fd = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this fd just now for us.
    let socket = unsafe { File::from_raw_fd(fd) };
    let limit = libc::timeval {
        tv_sec: seconds,
        tv_usec: 0,
    };
    for option in [
        SO_VM_SOCKETS_CONNECT_TIMEOUT,
        SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD,
    ] {
        // SAFETY: the kernel copies a timeval, which is there.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::AF_VSOCK,
                option,
                (&raw const limit).cast(),
                mem::size_of_val(&limit) as libc::socklen_t,
            )
        };
        if check(result).is_ok() {
            break;
        }
    }
    // SAFETY: all zeroes is a valid sockaddr_vm.
    let mut address: libc::sockaddr_vm = unsafe { mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    // SAFETY: the kernel copies a sockaddr_vm, which is there.
    check(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            mem::size_of_val(&address) as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

/// linux/vm_sockets.h
const SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD: libc::c_int = 6;
const SO_VM_SOCKETS_CONNECT_TIMEOUT: libc::c_int = 8;
