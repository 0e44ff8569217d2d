// SPDX-License-Identifier: GPL-2.0

//! A device that is passed through by its own file and iommufd.

use std::{mem::offset_of, os::fd::AsRawFd};

use iommufd_bindings::iommufd::*;
use vfio_bindings::bindings::vfio::{
    vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_detach_iommufd_pt,
};
use vmm_sys_util::ioctl::{ioctl_expr, _IOC_NONE};

use super::{
    check,
    edu::Edu,
    open,
    pci::{vfio, PassedThrough},
    same,
    vfio::{AREA_BYTES, FIRST_IOVA, FIRST_OFFSET, MEMORY_BYTES, SECOND_IOVA, SECOND_OFFSET},
    Steps,
};
use crate::{
    argument::{laid, with},
    failure::{while_doing, Failure},
    sys::pages::Pages,
};

const BIND_IOMMUFD: u32 = vfio(18);
const ATTACH_IOMMUFD_PT: u32 = vfio(19);
const DETACH_IOMMUFD_PT: u32 = vfio(20);

/// `iommufd_bindings` calls a command by its place only.
const fn command(place: u32) -> u32 {
    ioctl_expr(_IOC_NONE, IOMMUFD_TYPE as u32, place, 0) as u32
}

const FIXED: u32 = iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA;
const BOTH_WAYS: u32 = iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE
    | iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE;

/// Where a struct of the kernel's begins to hold its answer: what no kernel returns.
const RUBBISH: u32 = 0xdead_beef;

pub fn run(steps: &mut Steps) -> Result<(), Failure> {
    let passed = PassedThrough::last()?;
    let iommufd = open("/dev/iommu")?;
    let device = open(&passed.cdev()?)?;

    let ioas = ioas_alloc(steps, "ioas", &iommufd)?.ok_or_else(no_way)?;
    if let Some(second) = ioas_alloc(steps, "ioas-second", &iommufd)? {
        check(second != ioas, || "two address spaces are one".to_owned())?;
        destroy(steps, "destroy", &iommufd, second)?;
    }

    let bind = laid(|pages| {
        // Without a token: the struct of the first kernel that had this.
        pages.put(
            0,
            offset_of!(vfio_device_bind_iommufd, token_uuid_ptr) as u32,
        );
        let fd = iommufd.as_raw_fd();
        pages.put(offset_of!(vfio_device_bind_iommufd, iommufd), fd);
        pages.put(offset_of!(vfio_device_bind_iommufd, out_devid), RUBBISH);
    })?;
    steps.must("bind", &device, BIND_IOMMUFD, &bind)?;
    let dev_id = bind.u32_at(offset_of!(vfio_device_bind_iommufd, out_devid));
    check(dev_id != RUBBISH, || "no device was named".to_owned())?;
    hw_info(steps, &iommufd, dev_id)?;

    let alloc = with(iommu_hwpt_alloc {
        size: size_of::<iommu_hwpt_alloc>() as u32,
        dev_id,
        pt_id: ioas,
        out_hwpt_id: RUBBISH,
        ..Default::default()
    })?;
    steps.must("hwpt", &iommufd, command(IOMMUFD_CMD_HWPT_ALLOC), &alloc)?;
    let hwpt = alloc.u32_at(offset_of!(iommu_hwpt_alloc, out_hwpt_id));
    check(![RUBBISH, ioas, dev_id].contains(&hwpt), || {
        format!("the page table is called {hwpt}")
    })?;
    let attach = laid(|pages| {
        pages.put(0, offset_of!(vfio_device_attach_iommufd_pt, pasid) as u32);
        pages.put(offset_of!(vfio_device_attach_iommufd_pt, pt_id), hwpt);
    })?;
    steps.must("attach", &device, ATTACH_IOMMUFD_PT, &attach)?;
    let attached = attach.u32_at(offset_of!(vfio_device_attach_iommufd_pt, pt_id));
    same("the page table attached to", attached, hwpt)?;
    iova_ranges(steps, &iommufd, ioas)?;

    let mut edu = Edu::new(steps, device)?;
    let mut memory = Pages::zeroed(MEMORY_BYTES).map_err(while_doing("mmap"))?;
    let areas = [
        ("map", "unmap", FIRST_OFFSET, Some(FIRST_IOVA)),
        (
            "map-second",
            "unmap-second",
            SECOND_OFFSET,
            Some(SECOND_IOVA),
        ),
        // Where the kernel likes.
        ("map-third", "unmap-third", FIRST_OFFSET, None),
    ];
    let mut mapped = Vec::new();
    for (name, unmap, offset, place) in areas {
        let map = with(iommu_ioas_map {
            size: size_of::<iommu_ioas_map>() as u32,
            flags: BOTH_WAYS | if place.is_some() { FIXED } else { 0 },
            ioas_id: ioas,
            user_va: memory.address() + offset as u64,
            length: AREA_BYTES,
            iova: place.unwrap_or(RUBBISH).into(),
            ..Default::default()
        })?;
        if let Some(iova) = place {
            check(!edu.reaches(&mut memory, offset, iova)?, || {
                format!("DMA goes through before {name}")
            })?;
        }
        let made = steps.step(name, &iommufd, command(IOMMUFD_CMD_IOAS_MAP), &map)?;
        let iova = map.u64_at(offset_of!(iommu_ioas_map, iova));
        match (made, place) {
            (None, None) => {}
            (None, Some(iova)) => same(name, edu.reaches(&mut memory, offset, iova)?, false)?,
            (Some(_), place) => {
                let wanted = place.is_none_or(|place| u64::from(place) == iova);
                check(wanted && iova % 4096 == 0, || {
                    format!("{name} at {iova:#x}")
                })?;
                // The device knows no other addresses.
                if let Some(iova) = u32::try_from(iova).ok().filter(|iova| iova >> 28 == 0) {
                    same(name, edu.reaches(&mut memory, offset, iova)?, true)?;
                }
                mapped.push((unmap, offset, iova));
            }
        }
    }
    edu.interrupts(steps)?;
    edu.reset(steps)?;
    for (name, offset, iova) in mapped {
        let unmap = with(iommu_ioas_unmap {
            size: size_of::<iommu_ioas_unmap>() as u32,
            ioas_id: ioas,
            iova,
            // Twice as much as there is: what was there is written back.
            length: 2 * AREA_BYTES,
        })?;
        let done = steps.step(name, &iommufd, command(IOMMUFD_CMD_IOAS_UNMAP), &unmap)?;
        if done.is_some() {
            let length = unmap.u64_at(offset_of!(iommu_ioas_unmap, length));
            same("bytes unmapped", length, AREA_BYTES)?;
        }
        if let Some(iova) = u32::try_from(iova).ok().filter(|iova| iova >> 28 == 0) {
            same(
                name,
                edu.reaches(&mut memory, offset, iova)?,
                done.is_none(),
            )?;
        }
    }
    let argsz = offset_of!(vfio_device_detach_iommufd_pt, pasid) as u32;
    let detach = with([argsz, 0])?;
    steps.must("detach", edu.file(), DETACH_IOMMUFD_PT, &detach)?;
    destroy(steps, "destroy-hwpt", &iommufd, hwpt)
}

/// The number of a command, by its name.
pub fn number(name: &str) -> Option<u32> {
    let place = match name {
        "IOMMU_IOAS_ALLOC" => IOMMUFD_CMD_IOAS_ALLOC,
        "IOMMU_IOAS_COPY" => IOMMUFD_CMD_IOAS_COPY,
        "IOMMU_IOAS_MAP" => IOMMUFD_CMD_IOAS_MAP,
        "IOMMU_IOAS_UNMAP" => IOMMUFD_CMD_IOAS_UNMAP,
        "IOMMU_OPTION" => IOMMUFD_CMD_OPTION,
        "IOMMU_VFIO_IOAS" => IOMMUFD_CMD_VFIO_IOAS,
        _ => return None,
    };
    Some(command(place))
}

fn no_way() -> Failure {
    Failure::Usage("nothing goes on without an address space".to_owned())
}

fn ioas_alloc(
    steps: &mut Steps,
    name: &str,
    iommufd: &impl AsRawFd,
) -> Result<Option<u32>, Failure> {
    let alloc = with(iommu_ioas_alloc {
        size: size_of::<iommu_ioas_alloc>() as u32,
        flags: 0,
        out_ioas_id: RUBBISH,
    })?;
    let number = command(IOMMUFD_CMD_IOAS_ALLOC);
    let made = steps.step(name, iommufd, number, &alloc)?;
    let id = alloc.u32_at(offset_of!(iommu_ioas_alloc, out_ioas_id));
    same(name, id == RUBBISH, made.is_none())?;
    Ok(made.map(|_| id))
}

fn destroy(steps: &mut Steps, name: &str, iommufd: &impl AsRawFd, id: u32) -> Result<(), Failure> {
    let destroy = with([size_of::<iommu_destroy>() as u32, id])?;
    steps.step(name, iommufd, command(IOMMUFD_CMD_DESTROY), &destroy)?;
    Ok(())
}

/// What the IOMMU is: written to a buffer beside the struct as well.
fn hw_info(steps: &mut Steps, iommufd: &impl AsRawFd, dev_id: u32) -> Result<(), Failure> {
    const BUFFER: usize = 4096;
    const BUFFER_BYTES: u32 = 64;
    let info = laid(|pages| {
        pages.put(0, size_of::<iommu_hw_info>() as u32);
        pages.put(offset_of!(iommu_hw_info, dev_id), dev_id);
        pages.put(offset_of!(iommu_hw_info, data_len), BUFFER_BYTES);
        let buffer = pages.address() + BUFFER as u64;
        pages.put(offset_of!(iommu_hw_info, data_uptr), buffer);
        pages.put_bytes(BUFFER, &[0xff; BUFFER_BYTES as usize]);
    })?;
    let told = steps.step("hw-info", iommufd, command(IOMMUFD_CMD_GET_HW_INFO), &info)?;
    if told.is_none() {
        return Ok(());
    }
    let kind = info.u32_at(offset_of!(iommu_hw_info, __bindgen_anon_1));
    same(
        "the kind of IOMMU",
        kind,
        iommu_hw_info_type_IOMMU_HW_INFO_TYPE_INTEL_VTD,
    )?;
    let length = info.u32_at(offset_of!(iommu_hw_info, data_len));
    same(
        "bytes told",
        length as usize,
        size_of::<iommu_hw_info_vtd>(),
    )?;
    // The registers of the IOMMU, then zeroes.
    let capabilities = info.u64_at(BUFFER + offset_of!(iommu_hw_info_vtd, cap_reg));
    check(![0, u64::MAX].contains(&capabilities), || {
        "the buffer was not written to".to_owned()
    })?;
    same(
        "the rest",
        info.u64_at(BUFFER + BUFFER_BYTES as usize - 8),
        0,
    )
}

/// What the device can reach, as an array beside the struct.
fn iova_ranges(steps: &mut Steps, iommufd: &impl AsRawFd, ioas_id: u32) -> Result<(), Failure> {
    const ARRAY: usize = 4096;
    const ROOM: u32 = 8;
    let ranges = laid(|pages| {
        let allowed_iovas = pages.address() + ARRAY as u64;
        pages.put(
            0,
            iommu_ioas_iova_ranges {
                size: size_of::<iommu_ioas_iova_ranges>() as u32,
                ioas_id,
                num_iovas: ROOM,
                allowed_iovas,
                ..Default::default()
            },
        );
    })?;
    let number = command(IOMMUFD_CMD_IOAS_IOVA_RANGES);
    if steps.step("ranges", iommufd, number, &ranges)?.is_none() {
        return Ok(());
    }
    let count = ranges.u32_at(offset_of!(iommu_ioas_iova_ranges, num_iovas));
    check((1..ROOM).contains(&count), || format!("{count} ranges"))?;
    let alignment = ranges.u64_at(offset_of!(iommu_ioas_iova_ranges, out_iova_alignment));
    same("alignment", alignment, 4096)?;
    let last = ranges.u64_at(ARRAY + offset_of!(iommu_iova_range, last));
    check(last >= u64::from(SECOND_IOVA) + AREA_BYTES, || {
        format!("nothing is allowed behind {last:#x}")
    })
}
