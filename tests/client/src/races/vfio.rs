// SPDX-License-Identifier: GPL-2.0

//! Races on a PCI device that is passed through, its group and its container.

use std::{
    mem::offset_of,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use vfio_bindings::bindings::vfio::*;

use super::{
    track::{ask, by_answer, either, laid, refused_with, step, with, Track, Used},
    Made, On, Race, CONTAINER,
};
use crate::{
    answer::{Answer, Kind},
    device::pci::vfio,
    failure::{while_doing, Failure},
    shapes::vfio::opened,
    sys::{file, flip::Field, pages::Pages},
};

const GROUP_GET_STATUS: u32 = vfio(3);
const GROUP_SET_CONTAINER: u32 = vfio(4);
const DEVICE_GET_INFO: u32 = vfio(7);
const DEVICE_GET_REGION_INFO: u32 = vfio(8);
const DEVICE_GET_IRQ_INFO: u32 = vfio(9);
const DEVICE_SET_IRQS: u32 = vfio(10);
const DEVICE_GET_PCI_HOT_RESET_INFO: u32 = vfio(12);
const DEVICE_PCI_HOT_RESET: u32 = vfio(13);
const DEVICE_IOEVENTFD: u32 = vfio(16);
const DEVICE_FEATURE: u32 = vfio(17);
const IOMMU_GET_INFO: u32 = vfio(12);
const IOMMU_MAP_DMA: u32 = vfio(13);
const IOMMU_UNMAP_DMA: u32 = vfio(14);
const IOMMU_DIRTY_PAGES: u32 = vfio(17);

const GROUP: On = On("vfio-group");
const DEVICE: On = On("vfio-device");

pub const RACES: &[Race] = &[
    CONTAINER.slow_race("VFIO_IOMMU_MAP_DMA", "iova", "iova == 0x200000", map),
    CONTAINER.slow_race("VFIO_IOMMU_UNMAP_DMA", "iova", "iova == 0x200000", unmap),
    // One more byte of the answer than the struct has, and too few to begin with.
    CONTAINER.race("VFIO_IOMMU_GET_INFO", "argsz", "argsz == 4", || {
        too_small(0, IOMMU_GET_INFO)
    }),
    CONTAINER.race("VFIO_IOMMU_DIRTY_PAGES", "flags", "flags == 7", || {
        let pages = with([8_u32, 1])?;
        on(
            0,
            IOMMU_DIRTY_PAGES,
            (4, 4),
            [1, 7],
            pages,
            refused_with(libc::EINVAL),
        )
    }),
    GROUP.race("VFIO_GROUP_GET_STATUS", "argsz", "argsz == 4", || {
        too_small(1, GROUP_GET_STATUS)
    }),
    // The group has its container: what is asked for again is refused, a file first if there is none.
    GROUP.race("VFIO_GROUP_SET_CONTAINER", "value", "value > 255", || {
        let files = opened()?;
        let (container, group) = (raw(&files, 0)?, raw(&files, 1)?);
        let seen = by_answer(Kind::Errno(libc::EINVAL), Kind::Errno(libc::EBADF));
        let (call, values) = (
            (group, GROUP_SET_CONTAINER),
            [container as u64, container as u64 | 0x300],
        );
        Ok(Track::new(files, call, with(0_u32)?, (0, 4), values, seen))
    }),
    DEVICE.race("VFIO_DEVICE_GET_INFO", "argsz", "argsz == 4", || {
        too_small(2, DEVICE_GET_INFO)
    }),
    DEVICE.race("VFIO_DEVICE_GET_REGION_INFO", "index", "index == 7", region),
    DEVICE.race("VFIO_DEVICE_GET_IRQ_INFO", "index", "index == 99", || {
        let pages = with([16_u32; 1])?;
        on(
            2,
            DEVICE_GET_IRQ_INFO,
            (8, 4),
            [0, 99],
            pages,
            refused_with(libc::EINVAL),
        )
    }),
    DEVICE.race("VFIO_DEVICE_SET_IRQS", "start", "start == 99", || {
        let flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
        let eventfd = file::eventfd().map_err(while_doing("eventfd"))?;
        let pages = with([
            24,
            flags,
            VFIO_PCI_MSI_IRQ_INDEX,
            0,
            1,
            eventfd.as_raw_fd() as u32,
        ])?;
        let files = opened()?;
        let call = (raw(&files, 2)?, DEVICE_SET_IRQS);
        let seen = refused_with(libc::EINVAL);
        Ok(Track::new(
            (files, eventfd),
            call,
            pages,
            (12, 4),
            [0, 99],
            seen,
        ))
    }),
    DEVICE.race("VFIO_DEVICE_FEATURE", "flags", "flags == 0x5770b", || {
        let probe = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET;
        let legal = probe | VFIO_DEVICE_FEATURE_DMA_BUF;
        let seen = refused_with(libc::ENOTTY);
        on(
            2,
            DEVICE_FEATURE,
            (4, 4),
            [legal.into(), 0x5_770b],
            with([8_u32, 0])?,
            seen,
        )
    }),
    DEVICE.race("VFIO_DEVICE_IOEVENTFD", "flags", "flags == 0x10", || {
        // To take away what is not there, with a size and with none.
        let pages = laid(|pages| {
            pages.put(0, [32_u32, 4]);
            pages.put(offset_of!(vfio_device_ioeventfd, fd), -1_i32);
        })?;
        let seen = by_answer(Kind::Errno(libc::ENODEV), Kind::Errno(libc::EINVAL));
        on(2, DEVICE_IOEVENTFD, (4, 4), [4, 0x10], pages, seen)
    }),
    // No reset comes of either: the device stands alone on the root bus.
    DEVICE.race("VFIO_DEVICE_PCI_HOT_RESET", "flags", "flags == 1", || {
        let pages = with([16_u32, 0, 1, u32::MAX])?;
        let seen = by_answer(Kind::Errno(libc::ENODEV), Kind::Errno(libc::EINVAL));
        on(2, DEVICE_PCI_HOT_RESET, (4, 4), [0, 1], pages, seen)
    }),
    DEVICE.race(
        "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
        "argsz",
        "argsz == 4",
        || {
            let seen = by_answer(Kind::Errno(libc::ENODEV), Kind::Errno(libc::EINVAL));
            on(
                2,
                DEVICE_GET_PCI_HOT_RESET_INFO,
                (0, 4),
                [64, 4],
                with(64_u32)?,
                seen,
            )
        },
    ),
];

fn raw(files: &[OwnedFd], index: usize) -> Result<RawFd, Failure> {
    let missing = || Failure::Unexpected("a file of vfio is missing".to_owned());
    files.get(index).map(AsRawFd::as_raw_fd).ok_or_else(missing)
}

/// A race on the container (0), the group (1) or the device (2).
fn on(
    index: usize,
    number: u32,
    place: (usize, usize),
    values: [u64; 2],
    pages: Pages,
    seen: impl FnMut(Answer) -> Used + 'static,
) -> Made {
    let files = opened()?;
    let call = (raw(&files, index)?, number);
    Ok(Track::new(files, call, pages, place, values, seen))
}

/// A struct that says of itself how large it is: enough, or too little.
fn too_small(index: usize, number: u32) -> Made {
    on(
        index,
        number,
        (0, 4),
        [0x1004, 4],
        with(0x1004_u32)?,
        refused_with(libc::EINVAL),
    )
}

/// The argument that maps a page of `memory` at `iova`.
fn mapping(memory: &Pages, iova: u64) -> Result<Pages, Failure> {
    with(vfio_iommu_type1_dma_map {
        argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
        flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        vaddr: memory.address(),
        iova,
        size: 4096,
    })
}

/// The argument that unmaps a page at `iova`, and says how much it was.
fn unmapping(iova: u64) -> Result<Pages, Failure> {
    // argsz and flags, then the two numbers.
    laid(|pages| {
        pages.put(0, [24_u32, 0]);
        pages.put(8, [iova, 4096]);
    })
}

/// What is mapped can be unmapped, and only that.
fn map() -> Made {
    let files = opened()?;
    let container = raw(&files, 0)?;
    let memory = laid(|_| ())?;
    let pages = mapping(&memory, 0x10_0000)?;
    let places = [unmapping(0x20_0000)?, unmapping(0x10_0000)?];
    let sizes = [Field::of(&places[0], 16, 8), Field::of(&places[1], 16, 8)];
    let seen = move |answer| {
        for (place, size) in places.iter().zip(sizes) {
            size.set(4096);
            ask(container, IOMMU_UNMAP_DMA, place);
        }
        match (answer, sizes.map(Field::get)) {
            (Answer::Ok(_), [0, 4096]) => Used::Legal,
            (Answer::Ok(_), [4096, 0]) => Used::Forbidden,
            (answer, sizes) => Used::Unclear(format!("{answer}, then {sizes:?}")),
        }
    };
    let place = (offset_of!(vfio_iommu_type1_dma_map, iova), 8);
    let call = (container, IOMMU_MAP_DMA);
    Ok(Track::new(
        (files, memory),
        call,
        pages,
        place,
        [0x10_0000, 0x20_0000],
        seen,
    ))
}

/// A page is mapped where unmapping is forbidden, and none where it is legal.
fn unmap() -> Made {
    let files = opened()?;
    let container = raw(&files, 0)?;
    let memory = laid(|_| ())?;
    let there = mapping(&memory, 0x20_0000)?;
    step("VFIO_IOMMU_MAP_DMA", container, IOMMU_MAP_DMA, &there)?;
    let pages = unmapping(0x10_0000)?;
    let size = Field::of(&pages, 16, 8);
    let seen = move |answer| match (answer, size.get()) {
        (Answer::Ok(_), 0) => Used::Legal,
        (Answer::Ok(_), 4096) => match ask(container, IOMMU_MAP_DMA, &there) {
            Answer::Ok(_) => Used::Forbidden,
            refusal => Used::Unclear(format!("mapping anew: {refusal}")),
        },
        (answer, size) => Used::Unclear(format!("{answer}, {size} bytes")),
    };
    let call = (container, IOMMU_UNMAP_DMA);
    let track = Track::new(
        (files, memory),
        call,
        pages,
        (8, 8),
        [0x10_0000, 0x20_0000],
        seen,
    );
    Ok(track.before(move || size.set(4096)))
}

/// Where a region begins tells its index.
fn region() -> Made {
    let pages = with([4096_u32])?;
    let start = Field::of(&pages, offset_of!(vfio_region_info, offset), 8);
    let size = Field::of(&pages, 0, 4);
    let seen = move |answer| match answer {
        Answer::Ok(_) => either(start.get() >> 40, [0, 7]),
        refusal => Used::Unclear(refusal.to_string()),
    };
    let track = on(2, DEVICE_GET_REGION_INFO, (8, 4), [0, 7], pages, seen)?;
    // The handler writes how large it would like it.
    Ok(track.before(move || size.set(4096)))
}
