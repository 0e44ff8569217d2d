// SPDX-License-Identifier: GPL-2.0

//! vhost devices.
//!
//! No bindings are at hand: numbers and structs are those of `include/uapi/linux/vhost.h` and
//! `vhost_types.h`.

use std::{
    net::UdpSocket,
    os::fd::{AsRawFd, OwnedFd},
};

use vmm_sys_util::ioctl::{_IOC_READ, _IOC_WRITE};

use super::{laid, open, step, with, Made, Ready, Shape, Side, Target};
use crate::{
    argument::Argument,
    device::vhost::{vhost, SET_OWNER, VIRTIO_F_VERSION_1},
    failure::{while_doing, Failure},
};

pub const SHAPES: &[Shape] = &[
    Shape {
        cves: &["CVE-2018-1118"],
        way: "net",
        surface: "vhost-net",
        make: |side| features("/dev/vhost-net", side),
    },
    Shape {
        cves: &["CVE-2018-1118"],
        way: "vsock",
        surface: "vhost-vsock",
        make: |side| features("/dev/vhost-vsock", side),
    },
    Shape {
        cves: &["CVE-2018-1118"],
        way: "net-array",
        surface: "vhost-net",
        make: features_array,
    },
    Shape {
        cves: &["CVE-2020-10942"],
        way: "backend",
        surface: "vhost-net",
        make: backend,
    },
    Shape {
        cves: &["CVE-2022-0998"],
        way: "get",
        surface: "vhost-vdpa",
        make: |side| vdpa_config(_IOC_READ, 0x73, side),
    },
    Shape {
        cves: &["CVE-2022-0998"],
        way: "set",
        surface: "vhost-vdpa",
        make: |side| vdpa_config(_IOC_WRITE, 0x74, side),
    },
];

const VIRTIO_F_ACCESS_PLATFORM: u64 = 1 << 33;

/// `struct vhost_vring_file`.
#[repr(C)]
#[derive(Clone, Copy)]
struct VringFile {
    index: u32,
    fd: i32,
}

/// `struct vhost_vdpa_config`, without its buffer.
#[repr(C)]
#[derive(Clone, Copy)]
struct VdpaConfig {
    off: u32,
    len: u32,
}

/// A device that has its owner.
fn owned(path: &str) -> Result<OwnedFd, Failure> {
    let device = open(path)?;
    step("VHOST_SET_OWNER", &device, SET_OWNER, &Argument::number(0))?;
    Ok(device)
}

fn ready(device: OwnedFd, number: u32, argument: Argument) -> Made {
    Ok(Ready {
        target: Target::Files(vec![device]),
        number,
        argument,
    })
}

fn asked(side: Side) -> u64 {
    side.pick(
        VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM,
        VIRTIO_F_VERSION_1,
    )
}

/// VHOST_SET_FEATURES.
fn features(path: &str, side: Side) -> Made {
    let number = vhost(_IOC_WRITE, 0x00, size_of::<u64>());
    ready(owned(path)?, number, with(asked(side))?)
}

/// VHOST_SET_FEATURES_ARRAY: a count, which alone makes the struct's size, and the elements.
fn features_array(side: Side) -> Made {
    let number = vhost(_IOC_WRITE, 0x83, size_of::<u64>());
    let array = [2, asked(side), 0];
    ready(owned("/dev/vhost-net")?, number, with(array)?)
}

/// VHOST_NET_SET_BACKEND: a socket that is not a raw one, and no backend.
fn backend(side: Side) -> Made {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(while_doing("a socket"))?;
    let file = VringFile {
        index: 0,
        fd: side.pick(socket.as_raw_fd(), -1),
    };
    let number = vhost(_IOC_WRITE, 0x30, size_of::<VringFile>());
    let argument = with(file)?.keeping(socket.into());
    ready(owned("/dev/vhost-net")?, number, argument)
}

/// VHOST_VDPA_GET_CONFIG, VHOST_VDPA_SET_CONFIG: eight bytes behind every configuration, and the
/// first eight.
fn vdpa_config(direction: u32, nr: u32, side: Side) -> Made {
    let number = vhost(direction, nr, size_of::<VdpaConfig>());
    let config = VdpaConfig {
        off: side.pick(0xffff_fff0, 0),
        len: 8,
    };
    let argument = laid(|pages| pages.put(0, config))?;
    ready(open("/dev/vhost-vdpa-0")?, number, argument)
}
