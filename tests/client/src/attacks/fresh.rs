// SPDX-License-Identifier: GPL-2.0

//! What a program must not notice of its first judged call. Each needs a process of its own.

use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use super::{
    stand::{parse, windows},
    Outcome, Stand,
};
use crate::{
    answer::Answer,
    failure::{while_doing, Failure},
    sys::{
        capability,
        pages::Pages,
        victim::{limit, survive_faults, Victim},
    },
};

pub struct Fresh {
    pub name: &'static str,
    pub run: fn() -> Result<Outcome, Failure>,
}

const IPC_LOCK: u32 = 14;

pub const ALL: &[Fresh] = &[
    Fresh {
        name: "one line in maps",
        run: one_line,
    },
    Fresh {
        name: "RLIMIT_AS at its limit",
        run: address_space,
    },
    Fresh {
        name: "RLIMIT_MEMLOCK with mlockall",
        run: locked,
    },
    Fresh {
        name: "RLIMIT_NOFILE at its limit",
        run: files,
    },
    Fresh {
        name: "RLIMIT_DATA at its limit",
        run: data,
    },
    Fresh {
        name: "core dump",
        run: core,
    },
];

/// One more mapping, which is no memory of the program's own accounting.
fn one_line() -> Result<Outcome, Failure> {
    if !windows()?.is_empty() {
        return Err(Failure::Unexpected(
            "there is a window before the first call".to_owned(),
        ));
    }
    let stand = Stand::open()?;
    for _ in 0..100 {
        stand.calls()?;
    }
    let all = windows()?;
    let [line] = &all[..] else {
        return Ok(Outcome::Done(format!("{} lines: {all:?}", all.len())));
    };
    Ok(Outcome::Answered(line.clone()))
}

fn size_kib(name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status").map_err(while_doing("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Failure::Unexpected(format!("no {name} in status")))
}

/// The program has all the address space that it may have.
fn address_space() -> Result<Outcome, Failure> {
    limited(libc::RLIMIT_AS, "VmSize:")
}

fn data() -> Result<Outcome, Failure> {
    limited(libc::RLIMIT_DATA, "VmData:")
}

/// The call is made when there is no more of what is limited.
fn limited(resource: libc::__rlimit_resource_t, name: &str) -> Result<Outcome, Failure> {
    let stand = Stand::prepare()?;
    limit(resource, size_kib(name)? * 1024).map_err(while_doing("setrlimit"))?;
    if Pages::zeroed(1 << 20).is_ok() {
        return Err(Failure::Unexpected("the limit does not limit".to_owned()));
    }
    stand.calls()?;
    Ok(Outcome::Answered(format!(
        "calls work; {} windows",
        windows()?.len()
    )))
}

/// All that will be mapped is to be locked, and no more may be.
fn locked() -> Result<Outcome, Failure> {
    let stand = Stand::prepare()?;
    capability::drop_one(IPC_LOCK).map_err(while_doing("capset"))?;
    limit(libc::RLIMIT_MEMLOCK, size_kib("VmSize:")? * 1024).map_err(while_doing("setrlimit"))?;
    let both = (libc::MCL_CURRENT | libc::MCL_FUTURE) as u64;
    let answer = Victim::foreign(0, 0).call(libc::SYS_mlockall, [both, 0, 0, 0, 0, 0]);
    stand.calls()?;
    let memory = size_kib("VmLck:")?;
    Ok(Outcome::Answered(format!(
        "mlockall: {answer}; calls work; VmLck {memory} KiB"
    )))
}

/// No file can be opened any more.
fn files() -> Result<Outcome, Failure> {
    let stand = Stand::prepare()?;
    let open = fs::read_dir("/proc/self/fd")
        .map_err(while_doing("/proc/self/fd"))?
        .count();
    limit(libc::RLIMIT_NOFILE, 3).map_err(while_doing("setrlimit"))?;
    if fs::File::open("/dev/null").is_ok() {
        return Err(Failure::Unexpected("the limit does not limit".to_owned()));
    }
    stand.calls()?;
    Ok(Outcome::Answered(format!(
        "calls work, with {open} files open before"
    )))
}

/// A program with a window dies; what its core says of the window must be nothing.
fn core() -> Result<Outcome, Failure> {
    const FOLDER: &str = "/tmp/cores";
    fs::create_dir_all(FOLDER).map_err(while_doing(FOLDER))?;
    if fs::write("/proc/sys/kernel/core_pattern", format!("{FOLDER}/core")).is_err() {
        return Ok(Outcome::Skipped("this kernel dumps no core".to_owned()));
    }
    limit(libc::RLIMIT_CORE, libc::RLIM_INFINITY).map_err(while_doing("setrlimit"))?;
    let died = Command::new("/proc/self/exe")
        .args(["attack", "--die"])
        .output();
    let died = died.map_err(while_doing("exec"))?;
    let told = String::from_utf8_lossy(&died.stdout).into_owned();
    let line = told
        .lines()
        .find(|line| line.contains(" /portcullis"))
        .unwrap_or_default();
    let window = parse(line).ok_or_else(|| Failure::Unexpected(format!("no window: {told}")))?;
    if !died.status.core_dumped() {
        return Err(Failure::Unexpected(format!("no core: {:?}", died.status)));
    }
    let name = fs::read_dir(FOLDER)
        .map_err(while_doing(FOLDER))?
        .flatten()
        .next();
    let name = name
        .ok_or_else(|| Failure::Unexpected("no core was written".to_owned()))?
        .path();
    let core = fs::read(&name).map_err(while_doing("the core"))?;
    fs::remove_file(&name).map_err(while_doing("the core"))?;
    let mut segments = 0;
    for (start, size, in_file) in load_segments(&core) {
        segments += 1;
        let overlaps = start < window.start + window.size_bytes && start + size > window.start;
        if overlaps && in_file > 0 {
            return Ok(Outcome::Done(format!(
                "{in_file} bytes of the window are in the core"
            )));
        }
    }
    if segments < 5 {
        return Err(Failure::Unexpected(format!(
            "the core has only {segments} segments"
        )));
    }
    Ok(Outcome::Answered(format!(
        "{segments} segments, none with bytes of the window"
    )))
}

/// (address, bytes, bytes in the file) of the segments of a 64-bit ELF file.
fn load_segments(file: &[u8]) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
    const LOAD: u64 = 1;
    let number = |at: usize, bytes: usize| {
        let slice = file.get(at..at + bytes).unwrap_or(&[]);
        slice
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let (table, size, count) = (
        number(32, 8) as usize,
        number(54, 2) as usize,
        number(56, 2) as usize,
    );
    (0..count)
        .map(move |index| table + index * size)
        .filter(move |at| number(*at, 4) == LOAD)
        .map(move |at| (number(at + 16, 8), number(at + 40, 8), number(at + 32, 8)))
}

/// The window that is to be in no core, and the end.
pub fn die() -> Result<(), Failure> {
    let _stand = Stand::open()?;
    for line in windows()? {
        println!("{line}");
    }
    std::process::abort();
}

/// Makes a judged call, and moves the window away as soon as it can be moved: when the module goes, it
/// must have let go of it. What is moved has nothing of the module's any more: every touch of it fails, and
/// so it does at the program's end.
pub fn cling() -> Result<(), Failure> {
    survive_faults().map_err(while_doing("a handler for faults"))?;
    let stand = Stand::open()?;
    let window = stand.victim();
    println!("clinging");
    loop {
        // MREMAP_MAYMOVE | MREMAP_FIXED, to where nothing is.
        const AWAY: u64 = 0x5555_0000_0000;
        let [start, size] = [window.start, window.size_bytes];
        let answer = window.call(libc::SYS_mremap, [start, size, size, 3, AWAY, 0]);
        match answer {
            Answer::Ok(_) => {
                let moved = Victim::foreign(AWAY, AWAY + size);
                println!(
                    "moved; {}",
                    if moved.load() || moved.store() {
                        "there"
                    } else {
                        "empty"
                    }
                );
                return Ok(());
            }
            Answer::Errno(errno) if errno == libc::EPERM => {}
            other => {
                println!("gone: {other}");
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read() {
        let program = fs::read("/proc/self/exe").unwrap();
        let all: Vec<_> = load_segments(&program).collect();
        assert!(
            all.len() >= 2 && all.iter().all(|(_, size, in_file)| size >= in_file),
            "{all:?}"
        );
        assert_eq!(load_segments(&[]).count(), 0);
    }
}
