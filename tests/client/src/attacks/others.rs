// SPDX-License-Identifier: GPL-2.0

//! Attacks that read and write from elsewhere: /proc, other processes, pipes, the program itself.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
    process,
};

use super::{may_succeed, must_fail, range, Attack, Outcome, Stand};
use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    sys::victim::{forked, Victim},
};

const fn attack(
    name: &'static str,
    held: bool,
    run: fn(&Stand) -> Result<Outcome, Failure>,
) -> Attack {
    Attack { name, held, run }
}

pub const ATTACKS: &[Attack] = &[
    attack("store", true, |stand| {
        Ok(possible("a store", stand.victim().store()))
    }),
    // What lies there may be read: it is what the program itself has passed.
    attack("load", true, |stand| {
        let text = if stand.victim().load() {
            "possible"
        } else {
            "a fault"
        };
        Ok(Outcome::Answered(text.to_owned()))
    }),
    attack("write(2) from it", true, |stand| {
        let (_read, write) = pipe()?;
        let victim = stand.victim();
        let args = [write.as_raw_fd() as u64, victim.start, 8, 0, 0, 0];
        Ok(may_succeed("write", victim.call(libc::SYS_write, args)))
    }),
    attack("read(2) into it", true, |stand| {
        let (read, write) = pipe()?;
        File::from(write)
            .write_all(&[0xff; 8])
            .map_err(while_doing("a pipe"))?;
        let victim = stand.victim();
        let args = [read.as_raw_fd() as u64, victim.start, 8, 0, 0, 0];
        Ok(must_fail("read", victim.call(libc::SYS_read, args)))
    }),
    attack("getrandom into it", true, |stand| {
        let victim = stand.victim();
        Ok(must_fail(
            "getrandom",
            victim.call(libc::SYS_getrandom, [victim.start, 8, 0, 0, 0, 0]),
        ))
    }),
    attack("vmsplice", true, |stand| {
        let (_read, write) = pipe()?;
        let victim = stand.victim();
        let vector = stand.scratch(&words([victim.start, 8]));
        let args = [write.as_raw_fd() as u64, vector, 1, 0, 0, 0];
        Ok(may_succeed(
            "vmsplice",
            victim.call(libc::SYS_vmsplice, args),
        ))
    }),
    attack("futex", true, |stand| {
        const WAKE_OP_ADD: u64 = (1 << 28) | (1 << 12);
        const WAKE_OP: u64 = 5;
        let victim = stand.victim();
        let own = stand.scratch(&[0; 8]);
        let args = [own, WAKE_OP, 1, 1, victim.start, WAKE_OP_ADD];
        Ok(must_fail("futex", victim.call(libc::SYS_futex, args)))
    }),
    attack("process_vm_writev", true, |stand| {
        Ok(vm_copy(stand, libc::SYS_process_vm_writev, process::id()))
    }),
    attack("process_vm_readv", true, |stand| {
        Ok(
            match vm_copy(stand, libc::SYS_process_vm_readv, process::id()) {
                Outcome::Done(text) => Outcome::Answered(text),
                outcome => outcome,
            },
        )
    }),
    attack("process_vm_writev by a child", false, |stand| {
        by_child(stand, |stand, parent| {
            vm_copy(stand, libc::SYS_process_vm_writev, parent)
        })
    }),
    attack("process_madvise", true, |stand| {
        let victim = stand.victim();
        let own = victim.call(libc::SYS_pidfd_open, [process::id().into(), 0, 0, 0, 0, 0]);
        let Answer::Ok(own) = own else {
            return Ok(Outcome::Skipped(format!("pidfd_open: {own}")));
        };
        let vector = stand.scratch(&words([victim.start, victim.size_bytes]));
        let mut said = String::new();
        for advice in [libc::MADV_COLD, libc::MADV_PAGEOUT, libc::MADV_DONTNEED] {
            let args = [own as u64, vector, 1, advice as u64, 0, 0];
            said += &format!(
                "{advice}: {}; ",
                victim.call(libc::SYS_process_madvise, args)
            );
        }
        crate::sys::file::close_returned(own);
        Ok(Outcome::Answered(said))
    }),
    attack("ptrace POKEDATA by a child", false, |stand| {
        by_child(stand, poke)
    }),
    attack("/proc/self/mem, written", true, |stand| {
        let file = OpenOptions::new().write(true).open("/proc/self/mem");
        Ok(proc_mem(
            stand,
            &file.map_err(while_doing("/proc/self/mem"))?,
            libc::SYS_pwrite64,
        ))
    }),
    attack("/proc/self/mem, read", true, |stand| {
        let file = File::open("/proc/self/mem").map_err(while_doing("/proc/self/mem"))?;
        Ok(proc_mem(stand, &file, libc::SYS_pread64))
    }),
    attack("/proc/self/map_files", true, map_files),
    attack("/proc/self/pagemap", true, |stand| {
        let file = match File::open("/proc/self/pagemap") {
            Ok(file) => file,
            Err(error) => return Ok(Outcome::Skipped(format!("/proc/self/pagemap: {error}"))),
        };
        let victim = stand.victim();
        let own = stand.scratch(&[0; 8]);
        let args = [
            file.as_raw_fd() as u64,
            own,
            8,
            victim.start / 4096 * 8,
            0,
            0,
        ];
        Ok(may_succeed("pread", victim.call(libc::SYS_pread64, args)))
    }),
    attack("/proc/self/clear_refs", true, |_| {
        let said: Vec<String> = ["1", "3", "4"]
            .map(|what| {
                format!(
                    "{what}: {:?}",
                    fs::write("/proc/self/clear_refs", what).map_err(|e| e.kind())
                )
            })
            .to_vec();
        Ok(Outcome::Answered(said.join("; ")))
    }),
    attack("mincore", true, |stand| {
        let victim = stand.victim();
        let own = stand.scratch(&[0; 64]);
        Ok(may_succeed(
            "mincore",
            victim.call(libc::SYS_mincore, range(victim, [own, 0, 0, 0])),
        ))
    }),
    attack("a child after fork", false, |stand| {
        if stand.child_has_window()? {
            return Ok(Outcome::Done("it has the window".to_owned()));
        }
        let code = forked(|| match Stand::open().and_then(|own| own.check()) {
            Ok(()) => 0,
            Err(failure) => {
                eprintln!("the child: {failure}");
                1
            }
        });
        match code.map_err(while_doing("fork"))? {
            0 => Ok(Outcome::Answered(
                "has none, and one of its own when it calls".to_owned(),
            )),
            code => Ok(Outcome::Done(format!("its own calls end with {code}"))),
        }
    }),
    attack("a child in the same memory", false, |stand| {
        let code = crate::sys::victim::in_shared_memory(&mut || match stand.calls() {
            Ok(()) => 0,
            Err(_) => 1,
        });
        match code.map_err(while_doing("clone"))? {
            0 => Ok(Outcome::Answered(
                "calls through the same window".to_owned(),
            )),
            code => Ok(Outcome::Done(format!("its calls end with {code}"))),
        }
    }),
    attack("exec", false, |_| {
        let ran = process::Command::new("/proc/self/exe")
            .args([
                "try",
                "kvm-vm",
                "KVM_SET_USER_MEMORY_REGION",
                "valid",
                "--expect",
                "ok",
            ])
            .output();
        let ran = ran.map_err(while_doing("exec"))?;
        if !ran.status.success() {
            return Ok(Outcome::Done(
                String::from_utf8_lossy(&ran.stderr).into_owned(),
            ));
        }
        Ok(Outcome::Answered("the new program's calls work".to_owned()))
    }),
];

fn possible(what: &str, possible: bool) -> Outcome {
    if possible {
        return Outcome::Done(format!("{what} was possible"));
    }
    Outcome::Answered(format!("{what}: a fault"))
}

fn words<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    let mut ends = [0; 2];
    let [read, write] = {
        // A pipe by its bare call: the two fds are ours from here on.
        crate::sys::file::check(crate::sys::victim::pipe(&mut ends))
            .map_err(while_doing("pipe"))?;
        ends
    };
    Ok((owned(read)?, owned(write)?))
}

fn owned(fd: i32) -> Result<OwnedFd, Failure> {
    crate::sys::file::owned(fd.into()).ok_or_else(|| Failure::Unexpected("no pipe".to_owned()))
}

/// process_vm_writev or process_vm_readv of eight bytes, between the window of `process` and ours.
fn vm_copy(stand: &Stand, number: libc::c_long, process: u32) -> Outcome {
    let victim = stand.victim();
    let own = stand.scratch(&[0xff; 8]);
    let vectors = stand.more_scratch(&words([own, 8, victim.start, 8]));
    let args = [process.into(), vectors, 1, vectors + 16, 1, 0];
    must_fail("copy", victim.call(number, args))
}

fn proc_mem(stand: &Stand, file: &File, number: libc::c_long) -> Outcome {
    let victim = stand.victim();
    let own = stand.scratch(&[0xff; 8]);
    let args = [file.as_raw_fd() as u64, own, 8, victim.start, 0, 0];
    must_fail("pread or pwrite", victim.call(number, args))
}

/// Lets a child attack its parent, this process.
fn by_child(stand: &Stand, work: fn(&Stand, u32) -> Outcome) -> Result<Outcome, Failure> {
    let parent = process::id();
    let code = forked(|| match work(stand, parent) {
        Outcome::Answered(_) => 0,
        Outcome::Done(_) => 1,
        Outcome::Skipped(_) => 2,
    });
    match code.map_err(while_doing("fork"))? {
        0 => Ok(Outcome::Answered("the child could not".to_owned())),
        2 => Ok(Outcome::Skipped("the child could not attach".to_owned())),
        code => Ok(Outcome::Done(format!("the child could: {code}"))),
    }
}

/// ptrace(2) of the parent: a word is written into its window, and read.
fn poke(stand: &Stand, parent: u32) -> Outcome {
    const ATTACH: u64 = 16;
    const DETACH: u64 = 17;
    const POKEDATA: u64 = 5;
    const PEEKDATA: u64 = 2;
    let victim = stand.victim();
    let parent = u64::from(parent);
    let ptrace =
        |request, at, data| victim.call(libc::SYS_ptrace, [request, parent, at, data, 0, 0]);
    if ptrace(ATTACH, 0, 0) != Answer::Ok(0) {
        return Outcome::Skipped("no attach".to_owned());
    }
    victim.call(libc::SYS_wait4, [parent, 0, libc::__WALL as u64, 0, 0, 0]);
    let own = stand.scratch(&[0; 8]);
    let done = [
        ptrace(POKEDATA, victim.start, u64::MAX),
        ptrace(PEEKDATA, victim.start, own),
    ];
    ptrace(DETACH, 0, 0);
    match done {
        [Answer::Errno(_), Answer::Errno(_)] => Outcome::Answered("no".to_owned()),
        [poked, peeked] => Outcome::Done(format!("{poked}, {peeked}")),
    }
}

/// The link to what is mapped there. Whoever may follow it gets a file; what is stored through it
/// must not come to the window, and it must not be a file that takes bytes for others.
fn map_files(stand: &Stand) -> Result<Outcome, Failure> {
    let victim = stand.victim();
    let end = victim.start + victim.size_bytes;
    let path = format!("/proc/self/map_files/{:x}-{end:x}", victim.start);
    if !fs::exists("/proc/self/map_files").unwrap_or(false) {
        return Ok(Outcome::Skipped("no /proc/self/map_files".to_owned()));
    }
    let mut said = Vec::new();
    for write in [true, false] {
        let file = match OpenOptions::new().read(true).write(write).open(&path) {
            Ok(file) => file,
            Err(error) => {
                said.push(format!("open: {error}"));
                continue;
            }
        };
        let (fd, own) = (file.as_raw_fd() as u64, stand.scratch(&[0xff; 8]));
        let rw = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let args = [0, 4096, rw, libc::MAP_SHARED as u64, fd, 0];
        match victim.call(libc::SYS_mmap, args) {
            Answer::Ok(at) => {
                let alias = Victim::foreign(at as u64, at as u64 + 4096);
                let stored = alias.store();
                let checked = stand.calls();
                let gone = victim.call(libc::SYS_munmap, [alias.start, 4096, 0, 0, 0, 0]);
                checked?;
                said.push(format!("mmap: ok, stored {stored}, munmap {gone}"));
            }
            refusal => said.push(format!("mmap: {refusal}")),
        }
        let written = victim.call(libc::SYS_pwrite64, [fd, own, 8, 0, 0, 0]);
        if let Answer::Ok(1..) = written {
            return Ok(Outcome::Done(format!("{path} can be written")));
        }
        said.push(format!("pwrite: {written}"));
    }
    Ok(Outcome::Answered(said.join("; ")))
}
