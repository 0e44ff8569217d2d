// SPDX-License-Identifier: GPL-2.0

//! A virtual machine: its interrupts, devices and zones.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    kvm_coalesced_mmio_zone, kvm_create_device, kvm_device_type_KVM_DEV_TYPE_VFIO, kvm_irqfd,
    KVM_CREATE_DEVICE_TEST,
};

use super::{machine, with, Made, Ready, Shape, Side};
use crate::{
    failure::{while_doing, Failure},
    surface::Surface,
    sys::file,
};

pub const SHAPES: &[Shape] = &[
    Shape {
        cves: &["CVE-2017-1000252"],
        way: "irqfd",
        surface: "kvm-vm",
        make: irqfd,
    },
    Shape {
        cves: &["CVE-2019-6974"],
        way: "create",
        surface: "kvm-vm",
        make: |side| {
            let device = kvm_create_device {
                type_: kvm_device_type_KVM_DEV_TYPE_VFIO,
                flags: side.pick(0, KVM_CREATE_DEVICE_TEST),
                ..Default::default()
            };
            let vm = machine(Surface::Vm)?;
            Ready::on(vm, Surface::Vm, "KVM_CREATE_DEVICE", with(device)?)
        },
    },
    Shape {
        cves: &["CVE-2019-14821"],
        way: "zone",
        surface: "kvm-vm",
        make: |side| {
            let command = side.pick(
                "KVM_REGISTER_COALESCED_MMIO",
                "KVM_UNREGISTER_COALESCED_MMIO",
            );
            let zone = kvm_coalesced_mmio_zone {
                addr: 0xa_0000,
                size: 0x2_0000,
                ..Default::default()
            };
            Ready::on(machine(Surface::Vm)?, Surface::Vm, command, with(zone)?)
        },
    },
];

/// The first interrupt number that no routing table has, and the last that one may have.
fn irqfd(side: Side) -> Made {
    let machine = machine(Surface::Vm)?;
    let vm = machine.vm.as_ref();
    vm.map_err(String::clone)
        .and_then(|vm| vm.create_irq_chip().map_err(|error| error.to_string()))
        .map_err(|reason| Failure::Unexpected(format!("KVM_CREATE_IRQCHIP: {reason}")))?;
    let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
    let irqfd = kvm_irqfd {
        fd: eventfd.as_raw_fd() as u32,
        gsi: side.pick(4096, 4095),
        ..Default::default()
    };
    let argument = with(irqfd)?.keeping(eventfd);
    Ready::on(machine, Surface::Vm, "KVM_IRQFD", argument)
}
