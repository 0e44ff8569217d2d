// SPDX-License-Identifier: GPL-2.0

//! The PCI device that is passed through: one that vfio-pci drives.

use std::{fs, mem::offset_of, os::fd::RawFd, path::PathBuf};

use vfio_bindings::bindings::vfio::{vfio_irq_set, VFIO_BASE, VFIO_TYPE};
use vmm_sys_util::ioctl::{ioctl_expr, _IOC_NONE};

use crate::{
    argument::{laid, Argument},
    failure::{while_doing, Failure},
};

/// The number of a VFIO command.
pub const fn vfio(nr: u32) -> u32 {
    ioctl_expr(_IOC_NONE, VFIO_TYPE as u32, VFIO_BASE + nr, 0) as u32
}

/// The argument of VFIO_DEVICE_SET_IRQS, for the first `count` interrupts of a kind.
pub fn irq_set(index: u32, flags: u32, count: u32, data: RawFd) -> Result<Argument, Failure> {
    laid(|pages| {
        let argsz = (size_of::<vfio_irq_set>() + size_of::<RawFd>()) as u32;
        pages.put(offset_of!(vfio_irq_set, argsz), argsz);
        pages.put(offset_of!(vfio_irq_set, flags), flags);
        pages.put(offset_of!(vfio_irq_set, index), index);
        pages.put(offset_of!(vfio_irq_set, count), count);
        pages.put(offset_of!(vfio_irq_set, data), data);
    })
}

/// A device that is passed through.
pub struct PassedThrough {
    /// Such as 0000:01:00.0.
    pub address: String,
}

impl PassedThrough {
    /// The first in the order of addresses.
    pub fn first() -> Result<Self, Failure> {
        Self::all()?.into_iter().next().ok_or_else(absent)
    }

    /// The last, which stands behind a port of its own where a machine has two.
    pub fn last() -> Result<Self, Failure> {
        Self::all()?.into_iter().next_back().ok_or_else(absent)
    }

    fn all() -> Result<Vec<Self>, Failure> {
        let devices = fs::read_dir("/sys/bus/pci/drivers/vfio-pci").map_err(|_| absent())?;
        let mut all: Vec<_> = devices
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.contains(':'))
            .map(|address| PassedThrough { address })
            .collect();
        all.sort_by(|left, right| left.address.cmp(&right.address));
        Ok(all)
    }

    /// Its IOMMU group: /dev/vfio/GROUP.
    pub fn group(&self) -> Result<String, Failure> {
        let group = fs::read_link(self.sysfs().join("iommu_group"))
            .map_err(while_doing("the device has no IOMMU group"))?;
        let group = group.file_name().ok_or_else(absent)?;
        Ok(group.to_string_lossy().into_owned())
    }

    /// Its own file: /dev/vfio/devices/NAME.
    pub fn cdev(&self) -> Result<String, Failure> {
        let lacking = || Failure::Absent("this kernel has no VFIO cdev".to_owned());
        let names = fs::read_dir(self.sysfs().join("vfio-dev")).map_err(|_| lacking())?;
        let mut names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let name = names.next().ok_or_else(lacking)?;
        Ok(format!("/dev/vfio/devices/{name}"))
    }

    fn sysfs(&self) -> PathBuf {
        PathBuf::from("/sys/bus/pci/devices").join(&self.address)
    }
}

fn absent() -> Failure {
    Failure::Absent("vfio-pci drives no device here".to_owned())
}
