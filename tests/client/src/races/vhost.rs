// SPDX-License-Identifier: GPL-2.0

//! Races on vhost devices.
//!
//! No bindings are at hand: numbers and structs are those of `include/uapi/linux/vhost.h`.

use std::os::fd::AsRawFd;

use super::{
    track::{by_answer, laid, open, read_back, refused_with, step, with, Track, Used},
    Made, On, Race,
};
use crate::{
    answer::{Answer, Kind},
    failure::Failure,
    sys::pages::Pages,
};

const READ: u32 = 2;
const WRITE: u32 = 1;

const fn vhost(direction: u32, nr: u32, bytes: u32) -> u32 {
    (direction << 30) | (bytes << 16) | (0xaf << 8) | nr
}

const SET_FEATURES: u32 = vhost(WRITE, 0x00, 8);
const SET_OWNER: u32 = vhost(0, 0x01, 0);
const SET_MEM_TABLE: u32 = vhost(WRITE, 0x03, 8);
const SET_LOG_FD: u32 = vhost(WRITE, 0x07, 4);
const SET_VRING_NUM: u32 = vhost(WRITE, 0x10, 8);
const SET_VRING_ADDR: u32 = vhost(WRITE, 0x11, 40);
const SET_VRING_BASE: u32 = vhost(WRITE, 0x12, 8);
const GET_VRING_BASE: u32 = vhost(READ | WRITE, 0x12, 8);
const SET_VRING_KICK: u32 = vhost(WRITE, 0x20, 8);
const SET_VRING_CALL: u32 = vhost(WRITE, 0x21, 8);
const SET_VRING_ERR: u32 = vhost(WRITE, 0x22, 8);
const SET_VRING_BUSYLOOP_TIMEOUT: u32 = vhost(WRITE, 0x23, 8);
const GET_VRING_BUSYLOOP_TIMEOUT: u32 = vhost(WRITE, 0x24, 8);
const SET_BACKEND_FEATURES: u32 = vhost(WRITE, 0x25, 8);
const NET_SET_BACKEND: u32 = vhost(WRITE, 0x30, 8);
const SCSI_SET_ENDPOINT: u32 = vhost(WRITE, 0x40, 232);
const SCSI_SET_EVENTS_MISSED: u32 = vhost(WRITE, 0x43, 4);
const SCSI_GET_EVENTS_MISSED: u32 = vhost(WRITE, 0x44, 4);
const VSOCK_SET_GUEST_CID: u32 = vhost(WRITE, 0x60, 8);
const VSOCK_SET_RUNNING: u32 = vhost(WRITE, 0x61, 4);
const SET_FEATURES_ARRAY: u32 = vhost(WRITE, 0x83, 8);

const NET: &str = "/dev/vhost-net";
const VSOCK: &str = "/dev/vhost-vsock";
const SCSI: &str = "/dev/vhost-scsi";
/// A feature that no device has.
const UNKNOWN: u64 = 1 << 60;

const VHOST_NET: On = On("vhost-net");
const VHOST_VSOCK: On = On("vhost-vsock");
const VHOST_SCSI: On = On("vhost-scsi");

pub const RACES: &[Race] = &[
    VHOST_NET.race(
        "VHOST_SET_FEATURES",
        "value",
        "value == 0x1000000000000000",
        || refused(NET, SET_FEATURES, (0, 8), [0, UNKNOWN], libc::EOPNOTSUPP),
    ),
    VHOST_NET.race(
        "VHOST_SET_FEATURES_ARRAY",
        "features",
        "any features (element == 0x1000000000000000)",
        || {
            let seen = refused_with(libc::EOPNOTSUPP);
            on(
                NET,
                SET_FEATURES_ARRAY,
                (8, 8),
                [0, UNKNOWN],
                with([2_u64, 0, 0])?,
                seen,
            )
        },
    ),
    VHOST_NET.race(
        "VHOST_SET_BACKEND_FEATURES",
        "value",
        "value == 0x1000000000000000",
        || {
            refused(
                NET,
                SET_BACKEND_FEATURES,
                (0, 8),
                [0, UNKNOWN],
                libc::EOPNOTSUPP,
            )
        },
    ),
    // A region that ends before it begins.
    VHOST_NET.race(
        "VHOST_SET_MEM_TABLE",
        "regions.memory_size",
        "any regions (memory_size == 0)",
        || {
            let pages = laid(|pages| {
                pages.put(0, [2_u32, 0]);
                pages.put(8, [0, 4096, 0x10_0000_u64, 0]);
                pages.put(40, [0x1000, 4096, 0x20_0000_u64, 0]);
            })?;
            on(
                NET,
                SET_MEM_TABLE,
                (48, 8),
                [4096, 0],
                pages,
                refused_with(libc::EFAULT),
            )
        },
    ),
    VHOST_NET.race("VHOST_SET_VRING_NUM", "num", "num == 768", || {
        refused(NET, SET_VRING_NUM, (4, 4), [256, 768], libc::EINVAL)
    }),
    VHOST_NET.race("VHOST_SET_VRING_BASE", "num", "num == 9", || {
        state(SET_VRING_BASE, GET_VRING_BASE)
    }),
    VHOST_NET.race(
        "VHOST_SET_VRING_BUSYLOOP_TIMEOUT",
        "num",
        "num == 9",
        || state(SET_VRING_BUSYLOOP_TIMEOUT, GET_VRING_BUSYLOOP_TIMEOUT),
    ),
    VHOST_NET.race("VHOST_GET_VRING_BASE", "index", "index == 99", || {
        refused(NET, GET_VRING_BASE, (0, 4), [0, 99], libc::ENOBUFS)
    }),
    VHOST_NET.race("VHOST_SET_VRING_ADDR", "flags", "flags == 2", || {
        refused(NET, SET_VRING_ADDR, (4, 4), [0, 2], libc::EOPNOTSUPP)
    }),
    VHOST_NET.race("VHOST_SET_VRING_KICK", "fd", "fd == 0x7fffffff", || {
        no_file(SET_VRING_KICK, 4)
    }),
    VHOST_NET.race("VHOST_SET_VRING_CALL", "fd", "fd == 0x7fffffff", || {
        no_file(SET_VRING_CALL, 4)
    }),
    VHOST_NET.race("VHOST_SET_VRING_ERR", "fd", "fd == 0x7fffffff", || {
        no_file(SET_VRING_ERR, 4)
    }),
    VHOST_NET.race("VHOST_SET_LOG_FD", "value", "value == 0x7fffffff", || {
        no_file(SET_LOG_FD, 0)
    }),
    VHOST_NET.race("VHOST_NET_SET_BACKEND", "fd", "fd == 0x7fffffff", backend),
    VHOST_VSOCK.race("VHOST_VSOCK_SET_GUEST_CID", "value", "value == 2", || {
        refused(VSOCK, VSOCK_SET_GUEST_CID, (0, 8), [52, 2], libc::EINVAL)
    }),
    // To begin without a ring is not possible.
    VHOST_VSOCK.race("VHOST_VSOCK_SET_RUNNING", "value", "value == 1", || {
        refused(VSOCK, VSOCK_SET_RUNNING, (0, 4), [0, 1], libc::EFAULT)
    }),
    VHOST_VSOCK.race(
        "VHOST_SET_FEATURES",
        "value",
        "value == 0x1000000000000000",
        || refused(VSOCK, SET_FEATURES, (0, 8), [0, UNKNOWN], libc::EOPNOTSUPP),
    ),
    VHOST_SCSI.race(
        "VHOST_SCSI_SET_EVENTS_MISSED",
        "value",
        "value == 1",
        || {
            let device = open(SCSI)?;
            let call = (device.as_raw_fd(), SCSI_SET_EVENTS_MISSED);
            let getter = (device.as_raw_fd(), SCSI_GET_EVENTS_MISSED);
            let seen = read_back(getter, with(0_u32)?, (0, 4), [0, 1]);
            Ok(Track::new(device, call, with(0_u32)?, (0, 4), [0, 1], seen))
        },
    ),
    // It has no rings, which the handler finds out later.
    VHOST_SCSI.race(
        "VHOST_SCSI_SET_ENDPOINT",
        "reserved",
        "reserved == 1",
        || {
            let seen = by_answer(Kind::Errno(libc::EFAULT), Kind::Errno(libc::EOPNOTSUPP));
            on(
                SCSI,
                SCSI_SET_ENDPOINT,
                (230, 2),
                [0, 1],
                with([0_u64; 29])?,
                seen,
            )
        },
    ),
];

/// A race on a device that has its owner.
fn on(
    path: &str,
    number: u32,
    place: (usize, usize),
    values: [u64; 2],
    pages: Pages,
    seen: impl FnMut(Answer) -> Used + 'static,
) -> Made {
    let device = owned(path)?;
    let call = (device.as_raw_fd(), number);
    Ok(Track::new(device, call, pages, place, values, seen))
}

/// The same where all else in the argument is zero, and the handler refuses the forbidden value.
fn refused(path: &str, number: u32, place: (usize, usize), values: [u64; 2], errno: i32) -> Made {
    on(
        path,
        number,
        place,
        values,
        laid(|_| ())?,
        refused_with(errno),
    )
}

fn owned(path: &str) -> Result<std::os::fd::OwnedFd, Failure> {
    let device = open(path)?;
    step(
        "VHOST_SET_OWNER",
        device.as_raw_fd(),
        SET_OWNER,
        &with(0_u32)?,
    )?;
    Ok(device)
}

/// A number of the first ring that can be read back.
fn state(setter: u32, getter: u32) -> Made {
    let device = owned(NET)?;
    let call = (device.as_raw_fd(), setter);
    let getter = (device.as_raw_fd(), getter);
    let seen = read_back(getter, with(0_u64)?, (4, 4), [5, 9]);
    Ok(Track::new(device, call, with(0_u64)?, (4, 4), [5, 9], seen))
}

/// No file at all, which is legal, and one that is not there.
fn no_file(number: u32, offset: usize) -> Made {
    let values = [u32::MAX.into(), i32::MAX as u64];
    refused(NET, number, (offset, 4), values, libc::EBADF)
}

/// A ring that a backend could be given to.
fn backend() -> Made {
    let device = owned(NET)?;
    let ring = laid(|_| ())?;
    let fd = device.as_raw_fd();
    step("VHOST_SET_MEM_TABLE", fd, SET_MEM_TABLE, &with(0_u64)?)?;
    step(
        "VHOST_SET_VRING_NUM",
        fd,
        SET_VRING_NUM,
        &with([0_u32, 64])?,
    )?;
    let at = ring.address();
    let addresses = with([0, at, at + 8192, at + 4096, 0])?;
    step("VHOST_SET_VRING_ADDR", fd, SET_VRING_ADDR, &addresses)?;
    let call = (fd, NET_SET_BACKEND);
    let seen = refused_with(libc::ENOTSOCK);
    let values = [u32::MAX.into(), i32::MAX as u64];
    Ok(Track::new(
        (device, ring),
        call,
        with(0_u64)?,
        (4, 4),
        values,
        seen,
    ))
}
