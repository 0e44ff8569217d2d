// SPDX-License-Identifier: GPL-2.0

//! Races on iommufd: address spaces without a device.

use std::os::fd::{AsRawFd, OwnedFd};

use vfio_bindings::bindings::vfio::{
    vfio_iommu_type1_dma_map, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE,
};

use super::{
    track::{ask, by_answer, laid, open, refused_with, step, with, Track, Used},
    On, Race, CONTAINER,
};
use crate::{
    answer::{Answer, Kind},
    device::pci::vfio,
    failure::Failure,
    sys::{flip::Field, pages::Pages},
};

/// IOMMU_DESTROY is the first; the others follow in the order of `include/uapi/linux/iommufd.h`.
const DESTROY: u32 = 0x3b80;
const IOAS_ALLOC: u32 = 0x3b81;
const IOAS_COPY: u32 = 0x3b83;
const IOAS_IOVA_RANGES: u32 = 0x3b84;
const IOAS_MAP: u32 = 0x3b85;
const IOAS_UNMAP: u32 = 0x3b86;
const OPTION: u32 = 0x3b87;
const VFIO_IOAS: u32 = 0x3b88;
const OPTION_HUGE_PAGES: u32 = 1;
const OPTION_OP_GET: u32 = 1;
const VFIO_IOAS_SET: u32 = 1;
const LEGAL: u64 = 0x10_0000;
const FORBIDDEN: u64 = 0x20_0000;

const IOMMUFD: On = On("iommufd");

pub const RACES: &[Race] = &[
    IOMMUFD.race("IOMMU_IOAS_ALLOC", "flags", "flags == 1", || {
        let iommufd = open("/dev/iommu")?;
        let fd = iommufd.as_raw_fd();
        let pages = with([12_u32, 0, 0])?;
        let (made, destroy) = (Field::of(&pages, 8, 4), with([8_u32, 0])?);
        let id = Field::of(&destroy, 4, 4);
        let seen = move |answer| match answer {
            Answer::Ok(_) => {
                id.set(made.get());
                match ask(fd, DESTROY, &destroy) {
                    Answer::Ok(_) => Used::Legal,
                    refusal => Used::Unclear(format!("IOMMU_DESTROY: {refusal}")),
                }
            }
            Answer::Errno(libc::EOPNOTSUPP) => Used::Forbidden,
            refusal => Used::Unclear(refusal.to_string()),
        };
        Ok(Track::new(
            iommufd,
            (fd, IOAS_ALLOC),
            pages,
            (4, 4),
            [0, 1],
            seen,
        ))
    }),
    IOMMUFD.slow_race("IOMMU_IOAS_MAP", "iova", "iova == 0x200000", || {
        let space = Space::new()?;
        let pages = space.mapping(LEGAL)?;
        let seen = space.mapped()?;
        let call = (space.fd(), IOAS_MAP);
        Ok(Track::new(
            space,
            call,
            pages,
            (32, 8),
            [LEGAL, FORBIDDEN],
            seen,
        ))
    }),
    IOMMUFD.slow_race(
        "IOMMU_IOAS_COPY",
        "dst_iova",
        "dst_iova == 0x200000",
        || {
            let space = Space::new()?;
            step(
                "IOMMU_IOAS_MAP",
                space.fd(),
                IOAS_MAP,
                &space.mapping(0x50_0000)?,
            )?;
            let id = space.id;
            let pages = laid(|pages| {
                pages.put(0, [40_u32, 7, id, id]);
                pages.put(16, [4096, LEGAL, 0x50_0000]);
            })?;
            let seen = space.mapped()?;
            let call = (space.fd(), IOAS_COPY);
            Ok(Track::new(
                space,
                call,
                pages,
                (24, 8),
                [LEGAL, FORBIDDEN],
                seen,
            ))
        },
    ),
    IOMMUFD.slow_race("IOMMU_IOAS_UNMAP", "iova", "iova == 0x200000", || {
        let space = Space::new()?;
        let there = space.mapping(FORBIDDEN)?;
        let fd = space.fd();
        step("IOMMU_IOAS_MAP", fd, IOAS_MAP, &there)?;
        let seen = move |answer| match answer {
            Answer::Errno(libc::ENOENT) => Used::Legal,
            Answer::Ok(_) => match ask(fd, IOAS_MAP, &there) {
                Answer::Ok(_) => Used::Forbidden,
                refusal => Used::Unclear(format!("mapping anew: {refusal}")),
            },
            refusal => Used::Unclear(refusal.to_string()),
        };
        let pages = space.unmapping(LEGAL)?;
        let length = Field::of(&pages, 16, 8);
        let track = Track::new(
            space,
            (fd, IOAS_UNMAP),
            pages,
            (8, 8),
            [LEGAL, FORBIDDEN],
            seen,
        );
        Ok(track.before(move || length.set(4096)))
    }),
    IOMMUFD.slow_race("IOMMU_DESTROY", "id", "id == 1", || {
        // What is destroyed comes back with another id: only the first is there to be destroyed.
        let space = Space::new()?;
        let (fd, id) = (space.fd(), u64::from(space.id));
        let seen = by_answer(Kind::Errno(libc::ENOENT), Kind::Ok);
        Ok(Track::new(
            space,
            (fd, DESTROY),
            with([8_u32, 0])?,
            (4, 4),
            [id | 0x2700, id],
            seen,
        ))
    }),
    IOMMUFD.race("IOMMU_IOAS_IOVA_RANGES", "ioas_id", "ioas_id > 255", || {
        let space = Space::new()?;
        let id = space.id;
        let pages = laid(|pages| {
            pages.put(0, [32_u32, id, 8, 0]);
            pages.put(16, pages.address() + 4096);
        })?;
        let ranges = Field::of(&pages, 8, 4);
        let seen = refused_with(libc::ENOENT);
        let call = (space.fd(), IOAS_IOVA_RANGES);
        let track = Track::new(
            space,
            call,
            pages,
            (4, 4),
            [id.into(), u64::from(id) | 0x2700],
            seen,
        );
        Ok(track.before(move || ranges.set(8)))
    }),
    IOMMUFD.race("IOMMU_OPTION", "option_id", "option_id == 99", || {
        let space = Space::new()?;
        let id = space.id;
        let pages = with([24_u32, OPTION_HUGE_PAGES, OPTION_OP_GET, id, 0, 0])?;
        let values = [OPTION_HUGE_PAGES.into(), 99];
        let seen = refused_with(libc::EOPNOTSUPP);
        let call = (space.fd(), OPTION);
        Ok(Track::new(space, call, pages, (4, 4), values, seen))
    }),
    IOMMUFD.race("IOMMU_VFIO_IOAS", "op", "op == 99", || {
        let space = Space::new()?;
        let pages = with([12_u32, space.id, VFIO_IOAS_SET])?;
        let values = [VFIO_IOAS_SET.into(), 99];
        let seen = refused_with(libc::EOPNOTSUPP);
        let call = (space.fd(), VFIO_IOAS);
        Ok(Track::new(space, call, pages, (8, 2), values, seen))
    }),
    // A command of a container, for which iommufd stands in.
    CONTAINER.slow_race(
        "VFIO_IOMMU_MAP_DMA",
        "iova-by-iommufd",
        "iova == 0x200000",
        || {
            let space = Space::new()?;
            let set = with([12_u32, space.id, VFIO_IOAS_SET])?;
            step("IOMMU_VFIO_IOAS", space.fd(), VFIO_IOAS, &set)?;
            let pages = with(vfio_iommu_type1_dma_map {
                argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
                flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                vaddr: space.memory.address(),
                iova: LEGAL,
                size: 4096,
            })?;
            let seen = space.mapped()?;
            let call = (space.fd(), vfio(13));
            Ok(Track::new(
                space,
                call,
                pages,
                (16, 8),
                [LEGAL, FORBIDDEN],
                seen,
            ))
        },
    ),
];

/// An address space, and a page to be mapped into it.
struct Space {
    iommufd: OwnedFd,
    id: u32,
    memory: Pages,
}

impl Space {
    fn new() -> Result<Self, Failure> {
        let iommufd = open("/dev/iommu")?;
        let alloc = with([12_u32, 0, 0])?;
        step("IOMMU_IOAS_ALLOC", iommufd.as_raw_fd(), IOAS_ALLOC, &alloc)?;
        let id = alloc.number_at(8);
        Ok(Space {
            iommufd,
            id,
            memory: laid(|_| ())?,
        })
    }

    fn fd(&self) -> i32 {
        self.iommufd.as_raw_fd()
    }

    fn mapping(&self, iova: u64) -> Result<Pages, Failure> {
        // At that very address, to be written and read.
        const FLAGS: u32 = 1 | 2 | 4;
        laid(|pages| {
            pages.put(0, [40, FLAGS, self.id, 0]);
            pages.put(16, [self.memory.address(), 4096, iova]);
        })
    }

    fn unmapping(&self, iova: u64) -> Result<Pages, Failure> {
        laid(|pages| {
            pages.put(0, [24, self.id]);
            pages.put(8, [iova, 4096]);
        })
    }

    /// What is mapped can be unmapped, and only that.
    fn mapped(&self) -> Result<impl FnMut(Answer) -> Used, Failure> {
        let fd = self.fd();
        let (forbidden, legal) = (self.unmapping(FORBIDDEN)?, self.unmapping(LEGAL)?);
        Ok(move |answer| {
            let unmapped = [&forbidden, &legal].map(|place| ask(fd, IOAS_UNMAP, place));
            match (answer, unmapped) {
                (Answer::Ok(_), [Answer::Errno(libc::ENOENT), Answer::Ok(_)]) => Used::Legal,
                (Answer::Ok(_), [Answer::Ok(_), Answer::Errno(libc::ENOENT)]) => Used::Forbidden,
                (answer, unmapped) => Used::Unclear(format!("{answer}, then {unmapped:?}")),
            }
        })
    }
}
