// SPDX-License-Identifier: GPL-2.0

//! iommufd.

use iommufd_bindings::iommufd::{
    iommu_hwpt_get_dirty_bitmap, IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP, IOMMUFD_TYPE,
};
use vmm_sys_util::ioctl::{ioctl_expr, _IOC_NONE};

use super::{laid, open, Ready, Shape, Target};

pub const SHAPES: &[Shape] = &[Shape {
    cves: &["CVE-2025-40293"],
    way: "bitmap",
    surface: "iommufd",
    make: |side| {
        // Of a page table that does not exist: the kernel looks for it first.
        let argument = laid(|pages| {
            let bitmap = iommu_hwpt_get_dirty_bitmap {
                size: size_of::<iommu_hwpt_get_dirty_bitmap>() as u32,
                hwpt_id: u32::MAX,
                length: 1 << 21,
                page_size: side.pick(1 << 63, 4096),
                data: pages.address() + 4096,
                ..Default::default()
            };
            pages.put(0, bitmap);
        })?;
        let command = IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP;
        Ok(Ready {
            target: Target::Files(vec![open("/dev/iommu")?]),
            number: ioctl_expr(_IOC_NONE, IOMMUFD_TYPE.into(), command, 0) as u32,
            argument,
        })
    },
}];
