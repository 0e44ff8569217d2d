// SPDX-License-Identifier: GPL-2.0

//! Memory that changes while the kernel waits for the argument. The call waits at the argument's
//! second half, on a page that does not come; then something happens; then the page comes, if it is
//! still there.

use std::{io, thread, time::Duration};

use super::{mapping, Caller, Case, HALF};
use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    races::track::number,
    sys::{
        ioctl,
        place::{Place, PAGE},
        signals,
        userfault::Stuck,
    },
};

type Caught = thread::JoinHandle<Answer>;

pub const CASES: &[Case] = &[
    Case {
        name: "the page comes",
        run: || waited(|_, _, _| Ok(())),
    },
    Case {
        name: "a signal, then the page comes",
        run: || {
            waited(|_, _, caught| {
                for _ in 0..5 {
                    signals::kick(caught);
                    thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            })
        },
    },
    Case {
        name: "munmap of the first half",
        run: || waited(|place, _, _| place.unmap(0, PAGE)),
    },
    Case {
        name: "munmap of the second half",
        run: || waited(|place, _, _| place.unmap(PAGE, PAGE)),
    },
    Case {
        name: "mremap of the first half",
        run: || waited(|place, _, _| place.move_away(0, PAGE)),
    },
    Case {
        name: "mremap of the second half",
        run: || waited(|place, _, _| place.move_away(PAGE, PAGE)),
    },
    Case {
        name: "mprotect of all",
        run: || waited(|place, _, _| place.protect(0, 2 * PAGE, libc::PROT_NONE)),
    },
    Case {
        name: "mprotect of the first half",
        run: || waited(|place, _, _| place.protect(0, PAGE, libc::PROT_NONE)),
    },
    Case {
        name: "madvise(DONTNEED) of all",
        run: || waited(|place, _, _| place.advise(libc::MADV_DONTNEED)),
    },
];

/// The call, what happens meanwhile, and its answer.
fn waited(meanwhile: fn(&Place, &Stuck, &Caught) -> io::Result<()>) -> Result<String, Failure> {
    let caller = Caller::new()?;
    let contents = caller.page(HALF, 2 * PAGE);
    let mut place = Place::anonymous(2 * PAGE).map_err(mapping)?;
    place.put(0, &contents[..PAGE]);
    let stuck = place
        .stuck(PAGE, &contents[PAGE..])
        .map_err(while_doing("userfaultfd"))?;
    let (fd, number) = (caller.fd()?, number("KVM_SET_USER_MEMORY_REGION")?);
    let address = place.address() + HALF as u64;
    let caught = thread::spawn(move || {
        let argument = crate::argument::Argument::number(address);
        ioctl::native(fd, number, &argument)
    });
    stuck
        .wait()
        .map_err(while_doing("nobody touched the argument"))?;
    meanwhile(&place, &stuck, &caught).map_err(while_doing("the change"))?;
    // What has gone cannot be served. Whoever waits still is woken when the descriptor goes, and finds
    // what is there then.
    let _ = stuck.serve();
    drop(stuck);
    let answer = caught.join();
    Ok(answer
        .map_err(|_| Failure::Unexpected("the caller panicked".to_owned()))?
        .to_string())
}
