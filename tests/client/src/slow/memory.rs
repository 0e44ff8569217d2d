// SPDX-License-Identifier: GPL-2.0

//! Memory of every kind.

use kvm_bindings::{kvm_create_device, KVM_CREATE_DEVICE_TEST};

use super::{mapping, Caller, Case, HALF, REGION_BYTES};
use crate::{
    failure::Failure,
    sys::place::{Place, PAGE},
};

const PRIVATE: i32 = libc::MAP_PRIVATE;
const SHARED: i32 = libc::MAP_SHARED;

pub const CASES: &[Case] = &[
    Case {
        name: "resident",
        run: || anonymous(0, |_| Ok(())),
    },
    Case {
        name: "across two pages",
        run: || anonymous(HALF, |_| Ok(())),
    },
    Case {
        name: "at the end of a page",
        run: || anonymous(PAGE - REGION_BYTES, |_| Ok(())),
    },
    Case {
        name: "at an odd address",
        run: || anonymous(13, |_| Ok(())),
    },
    Case {
        name: "paged out",
        run: || anonymous(HALF, |place| place.advise(libc::MADV_PAGEOUT)),
    },
    Case {
        name: "cold",
        run: || anonymous(HALF, |place| place.advise(libc::MADV_COLD)),
    },
    Case {
        name: "thrown away",
        run: || anonymous(HALF, |place| place.advise(libc::MADV_DONTNEED)),
    },
    Case {
        name: "freed lazily",
        run: || anonymous(HALF, |place| place.advise(libc::MADV_FREE)),
    },
    Case {
        name: "half of it thrown away",
        run: half_thrown_away,
    },
    Case {
        name: "read only",
        run: || anonymous(HALF, |place| place.protect(0, 2 * PAGE, libc::PROT_READ)),
    },
    Case {
        name: "of no access",
        run: || anonymous(HALF, |place| place.protect(0, 2 * PAGE, libc::PROT_NONE)),
    },
    Case {
        name: "half of no access",
        run: || anonymous(HALF, |place| place.protect(PAGE, PAGE, libc::PROT_NONE)),
    },
    Case {
        name: "executable only",
        run: || anonymous(HALF, |place| place.protect(0, 2 * PAGE, libc::PROT_EXEC)),
    },
    Case {
        name: "half unmapped",
        run: || anonymous(HALF, |place| place.unmap(PAGE, PAGE)),
    },
    Case {
        name: "a file, private",
        run: || file(PRIVATE, HALF, |_| Ok(())),
    },
    Case {
        name: "a file, shared",
        run: || file(SHARED, HALF, |_| Ok(())),
    },
    Case {
        name: "a file, paged out",
        run: || file(SHARED, HALF, |place| place.advise(libc::MADV_PAGEOUT)),
    },
    Case {
        name: "a file, removed",
        run: || file(SHARED, HALF, |place| place.advise(libc::MADV_REMOVE)),
    },
    Case {
        name: "a file, cut in the middle",
        run: || file(SHARED, HALF, |place| place.truncate(PAGE as u64)),
    },
    Case {
        name: "a file, cut to nothing",
        run: || file(SHARED, HALF, |place| place.truncate(0)),
    },
    Case {
        name: "a transparent huge page",
        run: huge_by_luck,
    },
    Case {
        name: "a huge page",
        run: huge,
    },
    Case {
        name: "the kernel",
        run: || at(0xffff_ffff_8100_0000),
    },
    Case {
        name: "no address at all",
        run: || at(0x8000_0000_0000_0000),
    },
    Case {
        name: "the end of user memory",
        run: || at(0x7fff_ffff_eff8),
    },
    Case {
        name: "zero",
        run: || at(0),
    },
    Case {
        name: "an answer into memory",
        run: || device(|_| Ok(())),
    },
    Case {
        name: "an answer into read-only memory",
        run: || device(|place| place.protect(0, PAGE, libc::PROT_READ)),
    },
    Case {
        name: "an answer into a private file",
        run: answer_into_file,
    },
];

fn anonymous(offset: usize, then: fn(&Place) -> std::io::Result<()>) -> Result<String, Failure> {
    let caller = Caller::new()?;
    let mut place = Place::anonymous(2 * PAGE).map_err(mapping)?;
    place.put(0, &caller.page(offset, 2 * PAGE));
    then(&place).map_err(mapping)?;
    Ok(caller
        .region_at(place.address() + offset as u64)?
        .to_string())
}

fn half_thrown_away() -> Result<String, Failure> {
    let caller = Caller::new()?;
    let mut place = Place::file(&caller.page(HALF, 2 * PAGE), PRIVATE).map_err(mapping)?;
    // The first half is a copy of our own, the second is still the file's.
    place.put(0, &caller.page(HALF, 2 * PAGE)[..PAGE]);
    Ok(caller.region_at(place.address() + HALF as u64)?.to_string())
}

fn file(
    flags: i32,
    offset: usize,
    then: fn(&Place) -> std::io::Result<()>,
) -> Result<String, Failure> {
    let caller = Caller::new()?;
    let place = Place::file(&caller.page(offset, 2 * PAGE), flags).map_err(mapping)?;
    then(&place).map_err(mapping)?;
    Ok(caller
        .region_at(place.address() + offset as u64)?
        .to_string())
}

const HUGE: usize = 2 << 20;

fn huge_by_luck() -> Result<String, Failure> {
    let caller = Caller::new()?;
    let mut place = Place::anonymous(2 * HUGE).map_err(mapping)?;
    let offset = HUGE - place.address() as usize % HUGE + HALF;
    if let Err(error) = place.advise(libc::MADV_HUGEPAGE) {
        return Err(Failure::Absent(error.to_string()));
    }
    place.put(offset, &caller.bytes);
    Ok(caller
        .region_at(place.address() + offset as u64)?
        .to_string())
}

fn huge() -> Result<String, Failure> {
    let caller = Caller::new()?;
    let mut place = Place::huge(HUGE).map_err(|error| Failure::Absent(error.to_string()))?;
    place.put(HALF, &caller.bytes);
    Ok(caller.region_at(place.address() + HALF as u64)?.to_string())
}

fn at(address: u64) -> Result<String, Failure> {
    Ok(Caller::new()?.region_at(address)?.to_string())
}

/// KVM_CREATE_DEVICE, which writes its struct back whole.
fn create_device() -> Vec<u8> {
    // Type 4 is kvm-vfio; the fd comes back.
    [4, 0x1234, KVM_CREATE_DEVICE_TEST]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect()
}

fn device(then: fn(&Place) -> std::io::Result<()>) -> Result<String, Failure> {
    const _: () = assert!(size_of::<kvm_create_device>() == 12);
    let caller = Caller::new()?;
    let mut place = Place::anonymous(2 * PAGE).map_err(mapping)?;
    place.put(100, &create_device());
    then(&place).map_err(mapping)?;
    Ok(caller
        .call("KVM_CREATE_DEVICE", place.address() + 100)?
        .to_string())
}

fn answer_into_file() -> Result<String, Failure> {
    let caller = Caller::new()?;
    let mut contents = vec![0; PAGE];
    contents[100..112].copy_from_slice(&create_device());
    let place = Place::file(&contents, PRIVATE).map_err(mapping)?;
    Ok(caller
        .call("KVM_CREATE_DEVICE", place.address() + 100)?
        .to_string())
}
