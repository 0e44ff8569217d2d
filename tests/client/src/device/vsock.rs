// SPDX-License-Identifier: GPL-2.0

//! vhost-vsock: a program of the host connects to a guest, and both say something.
//!
//! C header: `include/uapi/linux/virtio_vsock.h`

use std::{
    fs::File,
    io::{Read, Write},
    thread,
};

use vmm_sys_util::ioctl::_IOC_WRITE;

use super::{
    check,
    ring::{Ring, RING_BYTES},
    same,
    vhost::{vhost, Device},
    Steps,
};
use crate::{
    argument::with,
    failure::{while_doing, Failure},
    sys::vsock::connect,
};

const SET_GUEST_CID: u32 = vhost(_IOC_WRITE, 0x60, 8);
const SET_RUNNING: u32 = vhost(_IOC_WRITE, 0x61, 4);

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const BUFFERS: usize = 2 * RING_BYTES;
const BUFFER_BYTES: usize = 4096;
/// Buffers for what comes, then one for what goes.
const RECEIVE_BUFFERS: usize = 8;

const FIRST_CID: u32 = 52;
const SECOND_CID: u32 = 53;
const PORT: u32 = 1234;

/// `struct virtio_vsock_hdr`
const HEADER_BYTES: usize = 44;
const OP_REQUEST: u16 = 1;
const OP_RESPONSE: u16 = 2;
const OP_RW: u16 = 5;

pub fn run(steps: &mut Steps) -> Result<(), Failure> {
    let mut device = Device::new(steps, "/dev/vhost-vsock")?;
    let mut guest = Guest {
        receive: Ring::new(0),
        transmit: Ring::new(RING_BYTES),
    };
    device.add(steps, &guest.receive)?;
    device.add(steps, &guest.transmit)?;
    guest.fill(&mut device);

    let first = with(u64::from(FIRST_CID))?;
    steps.must("cid", &device.file, SET_GUEST_CID, &first)?;
    let second = with(u64::from(SECOND_CID))?;
    let moved = steps.step("cid-second", &device.file, SET_GUEST_CID, &second)?;
    let (here, elsewhere) = match moved {
        Some(_) => (SECOND_CID, FIRST_CID),
        None => (FIRST_CID, SECOND_CID),
    };
    let run = steps.step("run", &device.file, SET_RUNNING, &with(1_u32)?)?;
    // Not even somebody who is silent.
    let nobody = connect(elsewhere, PORT, 1).err();
    let errno = nobody.and_then(|error| error.raw_os_error());
    same("at the other address", errno, Some(libc::ENODEV))?;
    let caller = thread::spawn(move || connect(here, PORT, if run.is_some() { 20 } else { 1 }));
    if run.is_none() {
        let moves = guest.receive.moves_soon(&device.memory);
        let connected = caller.join().is_ok_and(|socket| socket.is_ok());
        return check(!moves && !connected, || {
            "the queue runs before it is started".to_owned()
        });
    }

    let request = guest.hear(&device, OP_REQUEST)?;
    same("the caller", request.number(0, 8), 2)?;
    same("the one called", request.number(8, 8), here.into())?;
    guest.say(&mut device, &request, OP_RESPONSE, b"")?;
    let socket = caller
        .join()
        .map_err(|_| Failure::Unexpected("the caller panicked".to_owned()))?
        .map_err(while_doing("the guest answered, and connect"))?;
    talk(&mut guest, &mut device, &request, &socket)?;

    // Stopped, asked how far it came, and started again.
    steps.must("stop", &device.file, SET_RUNNING, &with(0_u32)?)?;
    device.base(steps, TRANSMIT as u32, &guest.transmit)?;
    steps.must("run-again", &device.file, SET_RUNNING, &with(1_u32)?)?;
    talk(&mut guest, &mut device, &request, &socket)
}

/// Each says something, and the other hears it.
fn talk(
    guest: &mut Guest,
    device: &mut Device,
    request: &Packet,
    mut socket: &File,
) -> Result<(), Failure> {
    socket
        .write_all(b"hello, guest")
        .map_err(while_doing("cannot write to the guest"))?;
    let heard = guest.hear(device, OP_RW)?;
    same("what the guest hears", heard.text(), b"hello, guest")?;
    guest.say(device, request, OP_RW, b"hello, host")?;
    let mut bytes = [0; 11];
    socket
        .read_exact(&mut bytes)
        .map_err(while_doing("cannot read from the guest"))?;
    same("what the host hears", &bytes, b"hello, host")
}

/// The driver of the guest.
struct Guest {
    receive: Ring,
    transmit: Ring,
}

struct Packet(Vec<u8>);

impl Packet {
    fn number(&self, offset: usize, bytes: usize) -> u64 {
        let number = self.0.iter().skip(offset).take(bytes).rev();
        number.fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    fn text(&self) -> &[u8] {
        self.0.get(HEADER_BYTES..).unwrap_or_default()
    }
}

impl Guest {
    fn fill(&mut self, device: &mut Device) {
        for buffer in 0..RECEIVE_BUFFERS {
            self.lend(device, buffer);
        }
    }

    fn lend(&mut self, device: &mut Device, buffer: usize) {
        let place = BUFFERS + buffer * BUFFER_BYTES;
        let address = device.memory.guest_address + place as u64;
        self.receive
            .offer(&mut device.memory, address, BUFFER_BYTES as u32, true);
    }

    /// The next packet of a kind. Others tell of credit, and are passed over.
    fn hear(&mut self, device: &Device, op: u16) -> Result<Packet, Failure> {
        while let Some((slot, bytes)) = self.receive.await_one(&device.memory) {
            let place = BUFFERS + usize::from(slot) * BUFFER_BYTES;
            let packet = Packet(device.memory.pages.bytes_at(place, bytes as usize));
            if packet.number(30, 2) == u64::from(op) {
                check(device.calls[RECEIVE].comes(), || {
                    "no interrupt told of a packet".to_owned()
                })?;
                return Ok(packet);
            }
        }
        Err(Failure::Unexpected(format!("no packet of kind {op} comes")))
    }

    /// Answers whoever sent `request`.
    fn say(
        &mut self,
        device: &mut Device,
        request: &Packet,
        op: u16,
        text: &[u8],
    ) -> Result<(), Failure> {
        let mut packet = Vec::with_capacity(HEADER_BYTES + text.len());
        packet.extend_from_slice(&request.number(8, 8).to_le_bytes());
        packet.extend_from_slice(&request.number(0, 8).to_le_bytes());
        packet.extend_from_slice(&(request.number(20, 4) as u32).to_le_bytes());
        packet.extend_from_slice(&(request.number(16, 4) as u32).to_le_bytes());
        packet.extend_from_slice(&(text.len() as u32).to_le_bytes());
        // A stream.
        packet.extend_from_slice(&1_u16.to_le_bytes());
        packet.extend_from_slice(&op.to_le_bytes());
        // No flags, room for 64 KiB, nothing consumed.
        packet.extend_from_slice(&0_u32.to_le_bytes());
        packet.extend_from_slice(&0x1_0000_u32.to_le_bytes());
        packet.extend_from_slice(&0_u32.to_le_bytes());
        packet.extend_from_slice(text);
        let place = BUFFERS + RECEIVE_BUFFERS * BUFFER_BYTES;
        device.memory.pages.put_bytes(place, &packet);
        let address = device.memory.guest_address + place as u64;
        self.transmit
            .offer(&mut device.memory, address, packet.len() as u32, false);
        device.kicks[TRANSMIT].signal()?;
        check(self.transmit.await_one(&device.memory).is_some(), || {
            "the queue does not take the packet".to_owned()
        })
    }
}
