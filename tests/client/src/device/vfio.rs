// SPDX-License-Identifier: GPL-2.0

//! A device that is passed through by container and group.
//!
//! The container is that of VFIO (type 1), or iommufd in its place: as /dev/vfio/vfio in a kernel
//! built so, or as /dev/iommu, which VFIO_GROUP_SET_CONTAINER takes as well.

use std::{
    mem::offset_of,
    os::fd::{AsRawFd, OwnedFd},
};

use vfio_bindings::bindings::vfio::*;

use super::{
    check,
    edu::Edu,
    open,
    pci::{vfio, PassedThrough},
    same, Steps,
};
use crate::{
    answer::Answer,
    argument::{laid, with, Argument},
    failure::{while_doing, Failure},
    sys::{file, ioctl, pages::Pages},
};

const GET_API_VERSION: u32 = vfio(0);
const CHECK_EXTENSION: u32 = vfio(1);
const SET_IOMMU: u32 = vfio(2);
const GROUP_GET_STATUS: u32 = vfio(3);
const GROUP_SET_CONTAINER: u32 = vfio(4);
const GROUP_GET_DEVICE_FD: u32 = vfio(6);
const IOMMU_GET_INFO: u32 = vfio(12);
pub const IOMMU_MAP_DMA: u32 = vfio(13);
pub const IOMMU_UNMAP_DMA: u32 = vfio(14);

/// Two areas of the memory that the device is given.
pub const FIRST_IOVA: u32 = 0x10_0000;
pub const SECOND_IOVA: u32 = 0x20_0000;
pub const FIRST_OFFSET: usize = 0;
pub const SECOND_OFFSET: usize = 0x8000;
pub const AREA_BYTES: u64 = 0x4000;
pub const MEMORY_BYTES: usize = 0x1_0000;

pub fn run(steps: &mut Steps, container: &str) -> Result<(), Failure> {
    let passed = PassedThrough::last()?;
    let nothing = Argument::number(0);
    let container = open(container)?;
    let version = steps.step("api-version", &container, GET_API_VERSION, &nothing)?;
    same("the version of VFIO", version.unwrap_or(0), 0)?;
    let type1v2 = Argument::number(VFIO_TYPE1v2_IOMMU.into());
    let known = steps.step("extension", &container, CHECK_EXTENSION, &type1v2)?;
    same("type 1, version 2", known.unwrap_or(1), 1)?;

    let group = open(&format!("/dev/vfio/{}", passed.group()?))?;
    same(
        "the group before",
        group_flags(steps, "status-before", &group)?.unwrap_or(VFIO_GROUP_FLAGS_VIABLE),
        VFIO_GROUP_FLAGS_VIABLE,
    )?;
    let number = with(container.as_raw_fd())?;
    steps.must("set-container", &group, GROUP_SET_CONTAINER, &number)?;
    let with_container = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
    same(
        "the group after",
        group_flags(steps, "status-after", &group)?.unwrap_or(with_container),
        with_container,
    )?;
    steps.must("set-iommu", &container, SET_IOMMU, &type1v2)?;
    iommu_info(steps, &container)?;

    let name = laid(|pages| pages.put_bytes(0, passed.address.as_bytes()))?;
    let device = steps.must("get-device", &group, GROUP_GET_DEVICE_FD, &name)?;
    let device = file::owned(device)
        .ok_or_else(|| Failure::Unexpected("get-device returned no file".to_owned()))?;
    let mut edu = Edu::new(steps, device)?;

    let mut memory = Pages::zeroed(MEMORY_BYTES).map_err(while_doing("mmap"))?;
    let areas = [
        ("map", "unmap", FIRST_OFFSET, FIRST_IOVA),
        ("map-second", "unmap-second", SECOND_OFFSET, SECOND_IOVA),
    ];
    let mut mapped = Vec::new();
    for (name, unmap, offset, iova) in areas {
        check(!edu.reaches(&mut memory, offset, iova)?, || {
            format!("DMA goes through before {name}")
        })?;
        let map = with(vfio_iommu_type1_dma_map {
            argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
            flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
            vaddr: memory.address() + offset as u64,
            iova: iova.into(),
            size: AREA_BYTES,
        })?;
        let made = steps.step(name, &container, IOMMU_MAP_DMA, &map)?.is_some();
        same(name, edu.reaches(&mut memory, offset, iova)?, made)?;
        if made {
            mapped.push((unmap, offset, iova));
        }
    }
    edu.interrupts(steps)?;
    edu.reset(steps)?;
    edu.features(steps, &passed.address)?;
    // Nothing of all that has taken a mapping away, but that which is to.
    for (name, offset, iova) in mapped {
        same("DMA", edu.reaches(&mut memory, offset, iova)?, true)?;
        let unmap = laid(|pages| {
            pages.put(0, size_of::<vfio_iommu_type1_dma_unmap>() as u32);
            pages.put(
                offset_of!(vfio_iommu_type1_dma_unmap, iova),
                u64::from(iova),
            );
            // Twice as much as there is: what was there is written back.
            pages.put(offset_of!(vfio_iommu_type1_dma_unmap, size), 2 * AREA_BYTES);
        })?;
        let done = steps.step(name, &container, IOMMU_UNMAP_DMA, &unmap)?;
        if done.is_some() {
            let size = unmap.u64_at(offset_of!(vfio_iommu_type1_dma_unmap, size));
            same("bytes unmapped", size, AREA_BYTES)?;
        }
        same(
            name,
            edu.reaches(&mut memory, offset, iova)?,
            done.is_none(),
        )?;
    }
    Ok(())
}

/// A container with the group of the device that is passed through, and memory to map.
pub struct Container {
    pub file: OwnedFd,
    pub group: OwnedFd,
    memory: Pages,
}

impl Container {
    /// With the call that is left to make: number and argument of VFIO_SET_IOMMU, for version 1 of type 1
    /// or 2.
    pub fn open(path: &str, version: u64) -> Result<(Self, (u32, Argument)), Failure> {
        let passed = PassedThrough::last()?;
        let container = Container {
            file: open(path)?,
            group: open(&format!("/dev/vfio/{}", passed.group()?))?,
            memory: Pages::zeroed(MEMORY_BYTES).map_err(while_doing("mmap"))?,
        };
        let number = with(container.file.as_raw_fd())?;
        let set = ioctl::native(container.group.as_raw_fd(), GROUP_SET_CONTAINER, &number);
        check(matches!(set, Answer::Ok(_)), || {
            format!("VFIO_GROUP_SET_CONTAINER was answered with {set}")
        })?;
        let kind = match version {
            1 => VFIO_TYPE1_IOMMU,
            _ => VFIO_TYPE1v2_IOMMU,
        };
        Ok((container, (SET_IOMMU, Argument::number(kind.into()))))
    }

    /// The argument of VFIO_IOMMU_MAP_DMA or VFIO_IOMMU_UNMAP_DMA.
    pub fn mapping(&self, number: u32, iova: u64, bytes: u64) -> Result<Argument, Failure> {
        if number == IOMMU_MAP_DMA {
            return with(vfio_iommu_type1_dma_map {
                argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
                flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                vaddr: self.memory.address(),
                iova,
                size: bytes,
            });
        }
        laid(|pages| {
            pages.put(0, size_of::<vfio_iommu_type1_dma_unmap>() as u32);
            pages.put(offset_of!(vfio_iommu_type1_dma_unmap, iova), iova);
            pages.put(offset_of!(vfio_iommu_type1_dma_unmap, size), bytes);
        })
    }
}

fn group_flags(
    steps: &mut Steps,
    name: &str,
    group: &impl AsRawFd,
) -> Result<Option<u32>, Failure> {
    let status = with([size_of::<vfio_group_status>() as u32, u32::MAX])?;
    let told = steps.step(name, group, GROUP_GET_STATUS, &status)?;
    Ok(told.map(|_| status.u32_at(offset_of!(vfio_group_status, flags))))
}

/// Asks twice: how much there is to tell, and then for all of it.
fn iommu_info(steps: &mut Steps, container: &impl AsRawFd) -> Result<(), Failure> {
    let least = size_of::<vfio_iommu_type1_info>() as u32;
    let short = with([least, 0])?;
    if steps
        .step("iommu-info", container, IOMMU_GET_INFO, &short)?
        .is_none()
    {
        return Ok(());
    }
    let all = short.u32_at(offset_of!(vfio_iommu_type1_info, argsz));
    check(all > least, || {
        format!("{all} bytes are all there is to tell")
    })?;
    let long = with([all, 0])?;
    if steps
        .step("iommu-info-long", container, IOMMU_GET_INFO, &long)?
        .is_some()
    {
        let flags = long.u32_at(offset_of!(vfio_iommu_type1_info, flags));
        same(
            "what it tells",
            flags,
            VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
        )?;
        let sizes = long.u64_at(offset_of!(vfio_iommu_type1_info, iova_pgsizes));
        check(sizes & 4096 != 0, || format!("page sizes {sizes:#x}"))?;
        let place = long.u32_at(offset_of!(vfio_iommu_type1_info, cap_offset));
        check((16..all).contains(&place), || {
            format!("capabilities at {place}")
        })?;
        // Each begins with its number and its version.
        let capability = long.u32_at(place as usize);
        check((1..=3).contains(&(capability & 0xffff)), || {
            format!("a capability {capability:#x}")
        })?;
    }
    Ok(())
}
