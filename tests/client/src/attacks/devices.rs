// SPDX-License-Identifier: GPL-2.0

//! Attacks by those who pin memory or write to it for somebody else: guests, DMA, io_uring,
//! userfaultfd.

use std::os::fd::AsRawFd;

use kvm_bindings::{kvm_regs, kvm_userspace_memory_region};
use kvm_ioctls::VcpuExit;
use vfio_bindings::bindings::vfio::{
    vfio_iommu_type1_dma_map, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE,
};

use super::{must_fail, Attack, Outcome, Stand};
use crate::{
    answer::Answer,
    device::pci::vfio,
    failure::Failure,
    races::track::{ask, number, with, Vm},
    shapes::vfio::opened,
    sys::{file, victim::Victim},
};

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "a guest that stores",
        held: false,
        run: |stand| guest(stand, &[0xc6, 0x06, 0, 0, 0xff, 0xf4]),
    },
    Attack {
        name: "a guest that loads",
        held: false,
        run: |stand| guest(stand, &[0xa0, 0, 0, 0xf4, 0, 0]),
    },
    Attack {
        name: "VFIO_IOMMU_MAP_DMA",
        held: true,
        run: dma,
    },
    Attack {
        name: "io_uring buffers",
        held: true,
        run: io_uring,
    },
    Attack {
        name: "userfaultfd missing",
        held: true,
        run: |stand| userfault(stand, 1),
    },
    Attack {
        name: "userfaultfd write-protect",
        held: true,
        run: |stand| userfault(stand, 2),
    },
    Attack {
        name: "userfaultfd move and copy",
        held: true,
        run: move_into,
    },
    Attack {
        name: "io_setup into it",
        held: true,
        run: aio,
    },
];

/// A VM whose memory at 3 MiB is the window, and a guest that touches it there and then halts.
fn guest(stand: &Stand, program: &[u8; 6]) -> Result<Outcome, Failure> {
    const LOAD: u8 = 0xa0;
    const START: u64 = 0x30_0000;
    let mut vm = Vm::with_vcpu(false)?;
    let page = kvm_userspace_memory_region {
        slot: 2,
        guest_phys_addr: START,
        memory_size: 4096,
        userspace_addr: stand.victim().start,
        ..Default::default()
    };
    let set = number("KVM_SET_USER_MEMORY_REGION")?;
    match ask(vm.fd()?, set, &with(page)?) {
        Answer::Ok(_) => {}
        refusal => return Ok(Outcome::Answered(format!("the memslot: {refusal}"))),
    }
    let memory = vm
        .machine
        .memory
        .as_mut()
        .map_err(|reason| Failure::Unexpected(reason.clone()))?;
    memory.put_bytes(0x1000, program);
    let failed = |error: kvm_ioctls::Error| Failure::Unexpected(format!("registers: {error}"));
    let vcpu = vm.vcpu_mut()?;
    let mut sregs = vcpu.get_sregs().map_err(failed)?;
    (sregs.cs.base, sregs.cs.selector, sregs.ds.base) = (0x1000, 0x100, START);
    vcpu.set_sregs(&sregs).map_err(failed)?;
    let regs = kvm_regs {
        rflags: 2,
        ..Default::default()
    };
    vcpu.set_regs(&regs).map_err(failed)?;
    // Where a page cannot be written, KVM hands the store to its VMM as if there were a device.
    match vcpu.run() {
        Ok(VcpuExit::Hlt) if program[0] != LOAD => Ok(Outcome::Done("it went on".to_owned())),
        Ok(exit) => Ok(Outcome::Answered(format!("{exit:?}"))),
        Err(error) => Ok(Outcome::Answered(Answer::Errno(error.errno()).to_string())),
    }
}

fn dma(stand: &Stand) -> Result<Outcome, Failure> {
    let files = match opened() {
        Ok(files) => files,
        Err(Failure::Absent(reason)) => return Ok(Outcome::Skipped(reason)),
        Err(failure) => return Err(failure),
    };
    let mut said = Vec::new();
    for flags in [
        VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        VFIO_DMA_MAP_FLAG_READ,
    ] {
        let map = with(vfio_iommu_type1_dma_map {
            argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
            flags,
            vaddr: stand.victim().start,
            iova: 0x10_0000,
            size: 4096,
        })?;
        match ask(files[0].as_raw_fd(), vfio(13), &map) {
            Answer::Ok(_) => {
                return Ok(Outcome::Done(format!("mapped for a device, flags {flags}")))
            }
            refusal => said.push(refusal.to_string()),
        }
    }
    Ok(Outcome::Answered(said.join("; ")))
}

fn io_uring(stand: &Stand) -> Result<Outcome, Failure> {
    const REGISTER_BUFFERS: u64 = 0;
    let victim = stand.victim();
    // io_uring_params
    let parameters = stand.scratch(&[0; 120]);
    let ring = victim.call(libc::SYS_io_uring_setup, [4, parameters, 0, 0, 0, 0]);
    let Answer::Ok(ring) = ring else {
        return Ok(Outcome::Skipped(format!("io_uring_setup: {ring}")));
    };
    let vector: Vec<u8> = [victim.start, 4096]
        .iter()
        .flat_map(|word: &u64| word.to_le_bytes())
        .collect();
    let at = stand.scratch(&vector);
    let args = [ring as u64, REGISTER_BUFFERS, at, 1, 0, 0];
    let answer = victim.call(libc::SYS_io_uring_register, args);
    file::close_returned(ring);
    Ok(must_fail("io_uring_register", answer))
}

const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const COPY: u64 = 0xc028_aa03;
const MOVE: u64 = 0xc028_aa05;

/// A userfaultfd and the scratch address of what it was asked last; none without the right.
fn userfaultfd(stand: &Stand) -> Result<(Victim, i64), Outcome> {
    let victim = stand.victim();
    match victim.call(
        libc::SYS_userfaultfd,
        [libc::O_CLOEXEC as u64, 0, 0, 0, 0, 0],
    ) {
        Answer::Ok(fd) => {
            let question = stand.scratch(&words(&[0xaa, 0, 0]));
            victim.call(libc::SYS_ioctl, [fd as u64, API, question, 0, 0, 0]);
            Ok((victim, fd))
        }
        refusal => Err(Outcome::Skipped(format!("userfaultfd: {refusal}"))),
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn userfault(stand: &Stand, mode: u64) -> Result<Outcome, Failure> {
    let (victim, fd) = match userfaultfd(stand) {
        Ok(pair) => pair,
        Err(outcome) => return Ok(outcome),
    };
    let question = stand.scratch(&words(&[victim.start, victim.size_bytes, mode, 0]));
    let answer = victim.call(libc::SYS_ioctl, [fd as u64, REGISTER, question, 0, 0, 0]);
    file::close_returned(fd);
    Ok(must_fail("UFFDIO_REGISTER", answer))
}

fn move_into(stand: &Stand) -> Result<Outcome, Failure> {
    let (victim, fd) = match userfaultfd(stand) {
        Ok(pair) => pair,
        Err(outcome) => return Ok(outcome),
    };
    let mut outcome = Outcome::Answered("neither".to_owned());
    for number in [COPY, MOVE] {
        let question = stand.scratch(&words(&[victim.start, stand.filled(), 4096, 0, 0]));
        let answer = victim.call(libc::SYS_ioctl, [fd as u64, number, question, 0, 0, 0]);
        if let Answer::Ok(_) = answer {
            outcome = Outcome::Done(format!("{number:#x}: {answer}"));
        }
    }
    file::close_returned(fd);
    Ok(outcome)
}

/// io_setup(2) puts the ring's number where it is told.
fn aio(stand: &Stand) -> Result<Outcome, Failure> {
    let victim = stand.victim();
    match victim.call(libc::SYS_io_setup, [1, victim.start, 0, 0, 0, 0]) {
        Answer::Errno(libc::ENOSYS) => Ok(Outcome::Skipped("no io_setup".to_owned())),
        answer => Ok(must_fail("io_setup", answer)),
    }
}
