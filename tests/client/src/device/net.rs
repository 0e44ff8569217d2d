// SPDX-License-Identifier: GPL-2.0

//! vhost-net on a tap: packets of a guest reach a socket of the host, and back.

use std::{
    net::UdpSocket,
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    time::Duration,
};

use super::{
    check, open,
    ring::{Memory, Ring, RING_BYTES},
    same,
    vhost::{of_ring, vhost, Device, SECOND_AT},
    Steps,
};
use crate::{
    answer::Answer,
    argument::{laid, with},
    failure::{while_doing, Failure},
    sys::ioctl,
};
use vmm_sys_util::ioctl::_IOC_WRITE;

const NET_SET_BACKEND: u32 = vhost(_IOC_WRITE, 0x30, 8);
const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETVNETHDRSZ: u32 = 0x4004_54d8;
const INTERFACE: &str = "portcullis0";
const HOST: [u8; 4] = [10, 99, 0, 1];
const GUEST: [u8; 4] = [10, 99, 0, 2];
const PORT: u16 = 4321;
/// `struct virtio_net_hdr_v1`
const VIRTIO_NET_HEADER_BYTES: usize = 12;

const RECEIVE: u32 = 0;
const TRANSMIT: u32 = 1;
const BUFFERS: usize = 2 * RING_BYTES;
const BUFFER_BYTES: usize = 2048;

pub fn run(steps: &mut Steps) -> Result<(), Failure> {
    let tap = tap()?;
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, PORT))
        .map_err(while_doing("a socket"))?;
    let mut device = Device::new(steps, "/dev/vhost-net")?;
    let mut receive = Ring::new(0);
    let mut transmit = Ring::new(RING_BYTES);
    device.add(steps, &receive)?;
    device.add(steps, &transmit)?;

    for buffer in 0..8 {
        let place = device.memory.guest_address + (BUFFERS + (buffer + 1) * BUFFER_BYTES) as u64;
        receive.offer(&mut device.memory, place, BUFFER_BYTES as u32, true);
    }
    let mut backend = |name, index| {
        let argument = of_ring(index, tap.as_raw_fd())?;
        steps.step(name, &device.file, NET_SET_BACKEND, &argument)
    };
    let receives = backend("backend-0", RECEIVE)?.is_some();
    let transmits = backend("backend-1", TRANSMIT)?.is_some();
    let first = device.memory.guest_address + BUFFERS as u64;
    let frame = packet(b"from the first memory");
    device.memory.pages.put_bytes(BUFFERS, &frame);
    transmit.offer(&mut device.memory, first, frame.len() as u32, false);
    device.kicks[TRANSMIT as usize].signal()?;
    if !transmits {
        // A queue without a backend stands still.
        return check(!transmit.moves_soon(&device.memory), || {
            "the queue runs without a backend".to_owned()
        });
    }
    sent(&mut transmit, &device, &socket, b"from the first memory")?;
    check(device.calls[TRANSMIT as usize].comes(), || {
        "no interrupt told that the packet was sent".to_owned()
    })?;

    // The other way.
    socket
        .set_broadcast(true)
        .map_err(while_doing("broadcast"))?;
    let payload = b"to the guest, by the host";
    let to = std::net::Ipv4Addr::new(HOST[0], HOST[1], HOST[2], 255);
    let count = socket.send_to(payload, (to, PORT + 1));
    same(
        "bytes sent",
        count.map_err(while_doing("cannot send"))?,
        payload.len(),
    )?;
    if receives {
        received(&mut receive, &device, payload)?;
    } else {
        check(!receive.moves_soon(&device.memory), || {
            "a queue runs without a backend".to_owned()
        })?;
    }

    // Memory that comes later.
    let mut second = Memory::new(SECOND_AT, 65536)?;
    let frame = packet(b"from the second memory");
    second.pages.put_bytes(0, &frame);
    let known = device.set_memory(steps, "memory-second", &[&second])?;
    // Only what lies in memory that the device knows is sent; anything else stops the queue.
    if known {
        transmit.offer(&mut device.memory, SECOND_AT, frame.len() as u32, false);
        device.kicks[TRANSMIT as usize].signal()?;
        sent(&mut transmit, &device, &socket, b"from the second memory")?;
    }

    // Stopped, asked how far it came, and started again.
    let stop = of_ring(TRANSMIT, -1)?;
    steps.must("backend-off", &device.file, NET_SET_BACKEND, &stop)?;
    device.base(steps, TRANSMIT, &transmit)?;
    let backend = of_ring(TRANSMIT, tap.as_raw_fd())?;
    steps.must("backend-again", &device.file, NET_SET_BACKEND, &backend)?;
    let frame = packet(b"after the stop");
    device.memory.pages.put_bytes(BUFFERS, &frame);
    transmit.offer(&mut device.memory, first, frame.len() as u32, false);
    device.kicks[TRANSMIT as usize].signal()?;
    sent(&mut transmit, &device, &socket, b"after the stop")?;

    if !known {
        transmit.offer(&mut device.memory, SECOND_AT, 64, false);
        device.kicks[TRANSMIT as usize].signal()?;
        check(!transmit.moves_soon(&device.memory), || {
            "the queue uses memory that it was not to know".to_owned()
        })?;
    }
    Ok(())
}

/// The queue has taken the packet, and a socket of the host got what was in it.
fn sent(ring: &mut Ring, device: &Device, socket: &UdpSocket, text: &[u8]) -> Result<(), Failure> {
    check(ring.await_one(&device.memory).is_some(), || {
        "the queue does not take the packet".to_owned()
    })?;
    let mut bytes = [0; 64];
    let limit = Some(Duration::from_secs(20));
    socket
        .set_read_timeout(limit)
        .map_err(while_doing("a time limit"))?;
    let (count, from) = socket
        .recv_from(&mut bytes)
        .map_err(while_doing("no packet comes"))?;
    same("the packet", &bytes[..count], text)?;
    same(
        "its sender",
        from.ip(),
        std::net::Ipv4Addr::from(GUEST).into(),
    )
}

/// One of the buffers was filled with a packet that ends in `text`: others come as well, of hosts
/// that look for neighbours.
fn received(ring: &mut Ring, device: &Device, text: &[u8]) -> Result<(), Failure> {
    while let Some((slot, count)) = ring.await_one(&device.memory) {
        let offset = BUFFERS + (usize::from(slot) + 1) * BUFFER_BYTES;
        let bytes = device.memory.pages.bytes_at(offset, count as usize);
        if bytes.ends_with(text) {
            return Ok(());
        }
    }
    Err(Failure::Unexpected(
        "no packet came to the guest".to_owned(),
    ))
}

/// A tap whose packets have the header that virtio gives them, up and with an address.
fn tap() -> Result<OwnedFd, Failure> {
    let tap = open("/dev/net/tun")?;
    let interface = laid(|pages| {
        pages.put_bytes(0, INTERFACE.as_bytes());
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        pages.put(libc::IFNAMSIZ, flags as u16);
    })?;
    let header = with(VIRTIO_NET_HEADER_BYTES as i32)?;
    for (what, number, argument) in [
        ("TUNSETIFF", TUNSETIFF, &interface),
        ("TUNSETVNETHDRSZ", TUNSETVNETHDRSZ, &header),
    ] {
        let answer = ioctl::native(tap.as_raw_fd(), number, argument);
        check(matches!(answer, Answer::Ok(_)), || {
            format!("{what} was answered with {answer}")
        })?;
    }
    let address = std::net::Ipv4Addr::from(HOST).to_string();
    let up = Command::new("ifconfig")
        .args([INTERFACE, &address, "netmask", "255.255.255.0", "up"])
        .status()
        .map_err(while_doing("cannot run ifconfig"))?;
    check(up.success(), || "ifconfig failed".to_owned())?;
    Ok(tap)
}

/// A packet of the guest's with `text` for the host: virtio's header, Ethernet to all, IPv4, UDP.
fn packet(text: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(28 + text.len() as u16).to_be_bytes());
    // No fragments, 64 hops, UDP; the checksum comes later.
    ip.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend_from_slice(&GUEST);
    ip.extend_from_slice(&HOST);
    let sum = ip
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = vec![0; VIRTIO_NET_HEADER_BYTES];
    frame.extend_from_slice(&[0xff; 6]);
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 2, 8, 0]);
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&PORT.to_be_bytes());
    frame.extend_from_slice(&PORT.to_be_bytes());
    frame.extend_from_slice(&(8 + text.len() as u16).to_be_bytes());
    // Without a checksum.
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(text);
    frame
}
