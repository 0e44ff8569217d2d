// SPDX-License-Identifier: GPL-2.0

//! A PCI device that is passed through: the first one that vfio-pci drives.

use std::{
    mem::offset_of,
    os::fd::{AsRawFd, OwnedFd},
};

use vfio_bindings::bindings::vfio::*;

use super::{laid, open, step, Made, Ready, Shape, Target};
use crate::{
    argument::Argument,
    device::pci::{self, vfio, PassedThrough},
    failure::{while_doing, Failure},
    sys::file,
};

pub const SHAPES: &[Shape] = &[
    Shape {
        cves: &["CVE-2024-26812"],
        way: "bool",
        surface: "vfio-device",
        make: |side| {
            let data = side.pick(VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD);
            set_irqs(VFIO_PCI_INTX_IRQ_INDEX, data, 1)
        },
    },
    Shape {
        cves: &["CVE-2024-26812"],
        way: "none",
        surface: "vfio-device",
        make: |side| {
            let count = side.pick(1, 0);
            set_irqs(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE, count)
        },
    },
    Shape {
        cves: &["CVE-2024-26812"],
        way: "index",
        surface: "vfio-device",
        make: |side| {
            let index = side.pick(VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX);
            set_irqs(index, VFIO_IRQ_SET_DATA_BOOL, 1)
        },
    },
    Shape {
        cves: &["CVE-2024-26813"],
        way: "bool",
        surface: "vfio-device",
        make: |side| {
            let data = side.pick(VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD);
            set_irqs(VFIO_PCI_MSI_IRQ_INDEX, data, 1)
        },
    },
    Shape {
        cves: &["CVE-2024-26813"],
        way: "none",
        surface: "vfio-device",
        make: |side| {
            let count = side.pick(1, 0);
            set_irqs(VFIO_PCI_MSI_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE, count)
        },
    },
    Shape {
        cves: &["CVE-2025-40293"],
        way: "dma-log",
        surface: "vfio-device",
        make: |side| {
            let flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
            let mut report = vfio_device_feature_dma_logging_report {
                length: 1 << 21,
                page_size: side.pick(1 << 63, 4096),
                ..Default::default()
            };
            feature(flags, |address| {
                report.bitmap = address;
                report
            })
        },
    },
    Shape {
        cves: &["CVE-2026-31468"],
        way: "dma-buf",
        surface: "vfio-device",
        make: |side| {
            let flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
            let flags = flags | side.pick(0, VFIO_DEVICE_FEATURE_PROBE);
            feature(flags, |_| DmaBuf {
                region_index: VFIO_PCI_BAR0_REGION_INDEX,
                open_flags: libc::O_RDWR as u32,
                flags: 0,
                nr_ranges: side.pick(1, 0),
                dma_ranges: [vfio_region_dma_range {
                    offset: 0,
                    length: 4096,
                }],
            })
        },
    },
    Shape {
        cves: &["CVE-2026-31468"],
        way: "feature",
        surface: "vfio-device",
        make: |side| {
            // The same bytes for a feature that has nothing to do with them.
            let other = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
            let flags = side.pick(VFIO_DEVICE_FEATURE_DMA_BUF, other) | VFIO_DEVICE_FEATURE_GET;
            feature(flags, |_| [0, 0, 0, 1, 0, 4096, 0, 0])
        },
    },
];

/// `struct vfio_device_feature_dma_buf` with room for one range.
#[repr(C)]
#[derive(Clone, Copy)]
struct DmaBuf {
    region_index: u32,
    open_flags: u32,
    flags: u32,
    nr_ranges: u32,
    dma_ranges: [vfio_region_dma_range; 1],
}

const SET_IOMMU: u32 = vfio(2);
const GROUP_SET_CONTAINER: u32 = vfio(4);
const GROUP_GET_DEVICE_FD: u32 = vfio(6);
const DEVICE_SET_IRQS: u32 = vfio(10);
const DEVICE_FEATURE: u32 = vfio(17);

/// Container, group and device, in this order.
pub fn opened() -> Result<Vec<OwnedFd>, Failure> {
    let passed = PassedThrough::first()?;
    let container = open("/dev/vfio/vfio")?;
    let group = open(&format!("/dev/vfio/{}", passed.group()?))?;
    let number = laid(|pages| pages.put(0, container.as_raw_fd()))?;
    step(
        "VFIO_GROUP_SET_CONTAINER",
        &group,
        GROUP_SET_CONTAINER,
        &number,
    )?;
    let kind = Argument::number(VFIO_TYPE1v2_IOMMU.into());
    step("VFIO_SET_IOMMU", &container, SET_IOMMU, &kind)?;
    let name = laid(|pages| pages.put_bytes(0, passed.address.as_bytes()))?;
    let device = step(
        "VFIO_GROUP_GET_DEVICE_FD",
        &group,
        GROUP_GET_DEVICE_FD,
        &name,
    )?;
    let device = file::owned(device).ok_or_else(|| {
        Failure::Unexpected("VFIO_GROUP_GET_DEVICE_FD returned no file".to_owned())
    })?;
    Ok(vec![container, group, device])
}

/// VFIO_DEVICE_SET_IRQS to trigger interrupts of a kind that has its eventfd already.
fn set_irqs(index: u32, data: u32, count: u32) -> Made {
    let files = opened()?;
    let device = files
        .last()
        .ok_or_else(|| Failure::Unexpected("no device".to_owned()))?;
    let by_eventfd = irq_set(index, VFIO_IRQ_SET_DATA_EVENTFD, 1)?;
    step("VFIO_DEVICE_SET_IRQS", device, DEVICE_SET_IRQS, &by_eventfd)?;
    Ok(Ready {
        target: Target::Files(files),
        number: DEVICE_SET_IRQS,
        argument: irq_set(index, data, count)?,
    })
}

fn irq_set(index: u32, data: u32, count: u32) -> Result<Argument, Failure> {
    let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
    let flags = VFIO_IRQ_SET_ACTION_TRIGGER | data;
    // The fd is truth, if it is taken for a bool.
    let argument = pci::irq_set(index, flags, count, eventfd.as_raw_fd())?;
    Ok(argument.keeping(eventfd))
}

/// VFIO_DEVICE_FEATURE with the data that `make` makes of an address with room behind it.
fn feature<T: Copy>(flags: u32, make: impl FnOnce(u64) -> T) -> Made {
    let argument = laid(|pages| {
        let data = make(pages.address() + 4096);
        let argsz = (size_of::<vfio_device_feature>() + size_of::<T>()) as u32;
        pages.put(offset_of!(vfio_device_feature, argsz), argsz);
        pages.put(offset_of!(vfio_device_feature, flags), flags);
        pages.put(offset_of!(vfio_device_feature, data), data);
    })?;
    Ok(Ready {
        target: Target::Files(opened()?),
        number: DEVICE_FEATURE,
        argument,
    })
}
