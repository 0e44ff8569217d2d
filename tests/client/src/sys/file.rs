// SPDX-License-Identifier: GPL-2.0

//! Files as system calls see them: each function here is one call, and answers as the kernel did.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use crate::answer::Answer;

/// open(2) for reading and writing.
pub fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// One write(2), or pwrite(2) with an offset.
pub fn write_once(file: &File, bytes: &[u8], offset: Option<u64>) -> Answer {
    let written = match offset {
        Some(offset) => file.write_at(bytes, offset),
        None => io::Write::write(&mut &*file, bytes),
    };
    match written {
        Ok(count) => Answer::Ok(count as i64),
        Err(error) => Answer::Errno(error.raw_os_error().unwrap_or(0)),
    }
}

/// close(2), whose answer Rust's own drop throws away.
pub fn close(file: File) -> Answer {
    // SAFETY: the fd was the file's, and is not used again.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Answer::Ok(0),
        _ => Answer::last_errno(),
    }
}

/// Closes an fd that a call returned as its number.
pub fn close_returned(number: i64) {
    if let Ok(fd) = RawFd::try_from(number) {
        // SAFETY: the kernel made this fd just now for us; nothing else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// The file behind an fd that a call returned as its number.
pub fn owned(number: i64) -> Option<OwnedFd> {
    let fd = RawFd::try_from(number).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel made this fd just now for us; nothing else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A second fd of the same open file, with a life of its own.
pub fn duplicate(file: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl copies an fd number and touches no memory.
    let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this fd just now for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The file behind an fd that the parent has left for this process.
pub fn inherited(fd: RawFd) -> io::Result<File> {
    // SAFETY: fcntl copies an fd number and touches no memory.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this fd just now for us.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// Whether there is an open file of this number.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: fcntl reads a flag and touches no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// From now on programs that this one starts have the fd, too.
pub fn keep_for_children(fd: RawFd) -> io::Result<()> {
    // SAFETY: fcntl changes a flag and touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })
}

/// fallocate(2) from the beginning; the file keeps its size.
pub fn allocate(file: &impl AsRawFd, bytes: i64) -> io::Result<()> {
    // SAFETY: fallocate touches no memory of ours.
    check(unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, bytes) })
}

/// A new eventfd, from which reading never blocks.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd makes an fd and touches no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this fd just now for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file in memory with these bytes.
pub fn in_memory(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"argument".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this fd just now for us.
    let file = unsafe { File::from_raw_fd(fd) };
    file.write_all_at(bytes, 0)?;
    Ok(file)
}

/// The error of a libc function that returns 0 if all is well.
pub fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
