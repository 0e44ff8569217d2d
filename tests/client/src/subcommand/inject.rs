// SPDX-License-Identifier: GPL-2.0

//! `client inject`: one call on the files of another VMM, made by the VMM itself.

use std::{fs, str::FromStr};

use crate::{
    answer::{Answer, Expect},
    argument::{Argument, What, Wish, ZEROED_BYTES},
    command::Command,
    failure::{while_doing, Failure},
    surface::Surface,
    sys::tracee::{threads, Tracee},
};

/// Make a process call ioctl(2) on a file of its own, and print the answer
///
/// What a guest does that has taken its VMM over. A call on a vCPU is made by the thread that runs it,
/// if one does, any other by the first thread. A file that the call returns is closed again.
#[derive(clap::Args)]
pub struct Options {
    /// The process
    pid: u32,
    /// kvm, kvm-vm, kvm-vcpu, or the path of a file that it has open
    file: Target,
    /// A name out of `client commands`, or 0xNUMBER
    command: Command,
    /// A number, or zero (a pointer to 64 KiB of zeroes), with `,OFFSET.BYTES=NUMBER` behind
    #[arg(default_value = "default", hide_default_value = true, value_parser = wish)]
    argument: Wish,
    /// Open the file anew, instead of the one that is open
    #[arg(long)]
    anew: bool,
    /// Let a thread make it that runs a vCPU
    #[arg(long)]
    by_vcpu: bool,
    /// The answer that is hoped for: ok, ENAME, not:ok or not:ENAME
    #[arg(long)]
    expect: Option<Expect>,
}

const KVM_RUN: u64 = 0xae80;

#[derive(Clone)]
enum Target {
    Surface(Surface),
    Path(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Target::Path(text.to_owned()));
        }
        text.parse().map(Target::Surface)
    }
}

impl Target {
    /// How the file's link in /proc/PID/fd begins.
    fn link(&self) -> &str {
        match self {
            Target::Path(path) => path,
            Target::Surface(Surface::Kvm) => "/dev/kvm",
            Target::Surface(Surface::Vm) => "anon_inode:kvm-vm",
            Target::Surface(Surface::Vcpu) => "anon_inode:kvm-vcpu:0",
            Target::Surface(Surface::Device) => "anon_inode:kvm-",
            Target::Surface(Surface::Tty) => "/dev/null",
        }
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let fd = open_file(options.pid, options.file.link())?;
    let runs = match options.file {
        Target::Surface(Surface::Vcpu) => Some(Some(fd)),
        _ => options.by_vcpu.then_some(None),
    };
    let mut thread = thread_for(options.pid, runs)?;
    let answer = inject(&mut thread, fd, options).map_err(while_doing("ptrace"))?;
    println!("{answer}");
    options.expect.map_or(Ok(()), |expect| expect.judge(answer))
}

/// The process's fd whose link begins with `link`.
fn open_file(pid: u32, link: &str) -> Result<u64, Failure> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).map_err(while_doing(&folder))?;
    for entry in entries {
        let path = entry.map_err(while_doing(&folder))?.path();
        let leads_there =
            fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().starts_with(link));
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let (true, Some(fd)) = (leads_there, number) {
            return Ok(fd);
        }
    }
    Err(Failure::Unexpected(format!(
        "process {pid} has no file {link}"
    )))
}

/// A stopped thread that is in KVM_RUN, of the vCPU `runs` if that is named, where one is asked for and
/// there; else the first.
fn thread_for(pid: u32, runs: Option<Option<u64>>) -> Result<Tracee, Failure> {
    // Who is on its way from one call to the next is met in one a little later.
    for _ in 0..100 {
        if let Some(vcpu) = runs {
            for tid in threads(pid).map_err(while_doing("/proc"))? {
                let tracee = Tracee::stop(pid, tid).map_err(while_doing("ptrace"))?;
                let in_run = |tracee: &Tracee| {
                    let (call, fd, command) = tracee.was_in();
                    (call, command) == (libc::SYS_ioctl as u64, KVM_RUN)
                        && vcpu.is_none_or(|vcpu| vcpu == fd)
                };
                if let Some(tracee) = tracee.filter(in_run) {
                    return Ok(tracee);
                }
            }
        }
        // The first thread, also of a vCPU that nobody runs.
        if let Some(tracee) = Tracee::stop(pid, pid).map_err(while_doing("ptrace"))? {
            return Ok(tracee);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(Failure::Unexpected(format!(
        "process {pid} was in no system call"
    )))
}

fn inject(thread: &mut Tracee, mut fd: u64, options: &Options) -> std::io::Result<Answer> {
    let fails = |what: &str, answer| Err(std::io::Error::other(format!("{what} there: {answer}")));
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let size = ZEROED_BYTES as u64;
    let place = match thread.call(libc::SYS_mmap, [0, size, prot, flags, u64::MAX, 0])? {
        Answer::Ok(place) => place as u64,
        answer => return fails("mmap", answer),
    };
    if options.anew {
        thread.write(place, options.file.link().as_bytes())?;
        let at = libc::AT_FDCWD as u64;
        let open = [at, place, libc::O_RDWR as u64, 0, 0, 0];
        fd = match thread.call(libc::SYS_openat, open)? {
            Answer::Ok(fd) => fd as u64,
            answer => return fails("open", answer),
        };
        thread.write(place, &[0; 256])?;
    }
    let takes_pointer = options.command.takes_pointer();
    let value = match options.argument.what {
        What::Number(number) => number,
        What::Default if !takes_pointer => 0,
        _ => place,
    };
    let argument = Argument::zeroed()?.fitted(&options.argument)?;
    if let (true, Some(pages)) = (value == place, argument.pages()) {
        thread.write(place, &pages.bytes_at(0, ZEROED_BYTES))?;
    }
    let number = u64::from(options.command.number);
    let answer = thread.call(libc::SYS_ioctl, [fd, number, value, 0, 0, 0])?;
    if let (true, Answer::Ok(file)) = (options.command.returns_fd(), answer) {
        thread.call(libc::SYS_close, [file as u64, 0, 0, 0, 0, 0])?;
    }
    if options.anew {
        thread.call(libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
    }
    thread.call(libc::SYS_munmap, [place, size, 0, 0, 0, 0])?;
    Ok(answer)
}

/// A wish whose argument does not depend on the machine that it is for.
fn wish(text: &str) -> Result<Wish, String> {
    if text == "default" {
        return Ok(Wish::default());
    }
    let wish: Wish = text.parse()?;
    match (wish.what, wish.place) {
        (What::Number(_) | What::Zero, crate::argument::Place::Resident) => Ok(wish),
        _ => Err(format!("`{text}`: a number, or zero and patches")),
    }
}
