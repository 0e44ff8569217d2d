// SPDX-License-Identifier: GPL-2.0

//! The steps by which a process changes what it is, or hands on what it has.

use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsRawFd, RawFd},
        unix::{
            ffi::OsStrExt,
            net::{UnixListener, UnixStream},
        },
    },
    thread,
    time::{Duration, Instant},
};

use vmm_sys_util::sock_ctrl_msg::ScmSocket;

use super::{
    number,
    vm::{Vcpu, Vm},
    Actor,
};
use crate::{
    answer::Answer,
    machine::Stage,
    sys::{capability, file, process, victim},
};

/// Where a program finds what the one that it was before has left.
const LEFT_KVM: RawFd = 100;
const LEFT_VM: RawFd = 101;
const LEFT_VCPU: RawFd = 102;

/// Whether words are one of the steps here.
pub fn is_one(words: &[&str]) -> bool {
    const STEPS: [&str; 19] = [
        "comm",
        "comm-file",
        "unmap-exe",
        "exe-file",
        "exe-map",
        "uid",
        "gid",
        "userns",
        "namespaces",
        "cgroup",
        "send",
        "receive",
        "queue",
        "unqueue",
        "fork",
        "exec",
        "exec-memfd",
        "inherited",
        "sleep",
    ];
    words.first().is_some_and(|word| STEPS.contains(word))
}

impl Actor {
    pub fn change(&mut self, words: &[&str], rest: &[String]) -> Stage<Answer> {
        let open = |path: &str| fs::File::open(path);
        let done = match words {
            ["comm", name] => process::set_name(OsStr::from_bytes(&unescaped(name))),
            ["comm-file", name] => fs::write("/proc/self/comm", unescaped(name)),
            ["unmap-exe"] => process::unmap_own_program(),
            ["exe-file", path] => open(path).and_then(|file| process::set_exe_file(&file)),
            ["exe-map", path] => open(path).and_then(|file| process::set_exe_by_map(&file)),
            ["uid", uid] => capability::become_user(number(uid)? as u32),
            ["gid", gid] => process::become_group(number(gid)? as u32),
            ["userns"] => capability::enter_user_namespace(),
            ["namespaces"] => capability::enter_namespaces(),
            // 0 is the process that writes.
            ["cgroup", folder] => fs::write(format!("{folder}/cgroup.procs"), "0"),
            ["send", socket, what] => self.send(socket, what)?,
            ["receive", socket, what] => self.receive(socket, what)?,
            ["queue", what] => self.queue(what)?,
            ["unqueue", what] => self.unqueue(what)?,
            ["fork"] => go_on_in_child(),
            ["fork", words @ ..] => return self.fork(words, rest),
            ["exec", path] => {
                self.leave_files()?;
                Err(process::execute(OsStr::new(path), &next(path, rest)))
            }
            ["exec-memfd", name] => {
                self.leave_files()?;
                Err(process::execute_from_memory(
                    OsStr::new(name),
                    &next(name, rest),
                ))
            }
            ["inherited"] => self.take_over(),
            ["sleep", milliseconds] => {
                thread::sleep(Duration::from_millis(number(milliseconds)?));
                Ok(())
            }
            _ => return Err(format!("`{}` has too much or too little", words.join(" "))),
        };
        Ok(match done {
            Ok(()) => Answer::Ok(0),
            Err(error) => Answer::Errno(error.raw_os_error().unwrap_or(0)),
        })
    }

    /// A child process takes the step; what it was answered with.
    fn fork(&mut self, words: &[&str], rest: &[String]) -> Stage<Answer> {
        let code = victim::forked(|| match self.take(words, rest) {
            Ok(Answer::Ok(_)) => 0,
            Ok(Answer::Errno(number)) => number,
            Err(_) => 255,
        });
        match code.map_err(|error| error.to_string())? {
            0 => Ok(Answer::Ok(0)),
            number @ 1..=254 => Ok(Answer::Errno(number)),
            _ => Err(format!("a child could not take `{}`", words.join(" "))),
        }
    }

    /// Hands an open file to whoever connects to the socket.
    fn send(&self, socket: &str, what: &str) -> Stage<io::Result<()>> {
        let fd = self.handed(what)?;
        Ok(UnixListener::bind(socket).and_then(|listener| give(&listener.accept()?.0, fd)))
    }

    /// Puts an open file into the queue of a socket, and closes it.
    fn queue(&mut self, what: &str) -> Stage<io::Result<()>> {
        let fd = self.handed(what)?;
        let put = UnixStream::pair().and_then(|(from, to)| {
            give(&from, fd)?;
            self.queue = Some((from, to));
            Ok(())
        });
        match what {
            "kvm" => self.kvm = None,
            "vm" => self.vm_mut()?.fd = None,
            _ => self.vm_mut()?.vcpus.clear(),
        }
        Ok(put)
    }

    /// Takes it out again.
    fn unqueue(&mut self, what: &str) -> Stage<io::Result<()>> {
        let (_, queue) = self.queue.take().ok_or("nothing is in a queue")?;
        self.take_in(what, taken(&queue))
    }

    fn handed(&self, what: &str) -> Stage<RawFd> {
        match what {
            "kvm" => self.kvm_fd(),
            "vm" => self.vm()?.fd(),
            "vcpu" => Ok(self.vm()?.vcpu(0)?.fd.as_raw_fd()),
            "program" => process::interpreted().ok_or_else(|| "this interprets no program".into()),
            _ => Err(format!("`{what}` is none of kvm, vm, vcpu, program")),
        }
    }

    /// Waits until somebody hands out an open file at the socket, and takes it.
    fn receive(&mut self, socket: &str, what: &str) -> Stage<io::Result<()>> {
        self.take_in(what, connect(socket).and_then(|stream| taken(&stream)))
    }

    fn take_in(&mut self, what: &str, file: io::Result<fs::File>) -> Stage<io::Result<()>> {
        match (what, file) {
            (_, Err(error)) => return Ok(Err(error)),
            ("kvm", Ok(file)) => self.kvm = Some(file.into()),
            ("vm", Ok(file)) => self.add_vm(Vm {
                fd: Some(file.into()),
                ..Vm::default()
            }),
            ("vcpu", Ok(file)) => self.vm_or_hollow().vcpus.push(Vcpu::new(file.into())),
            ("program", Ok(file)) => return Ok(process::set_exe_by_map(&file)),
            _ => return Err(format!("`{what}` is none of kvm, vm, vcpu, program")),
        }
        Ok(Ok(()))
    }

    fn leave_files(&self) -> Stage<()> {
        let vm = self.vms.get(self.picked);
        let left = [
            (self.kvm.as_ref(), LEFT_KVM),
            (vm.and_then(|vm| vm.fd.as_ref()), LEFT_VM),
            (
                vm.and_then(|vm| vm.vcpus.first()).map(|vcpu| &vcpu.fd),
                LEFT_VCPU,
            ),
        ];
        for (file, number) in left {
            if let Some(file) = file {
                process::leave_as(file, number).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Takes what the program that this process was before has left.
    fn take_over(&mut self) -> io::Result<()> {
        let found = |number| file::inherited(number).ok();
        self.kvm = found(LEFT_KVM).map(Into::into);
        if let Some(vm) = found(LEFT_VM) {
            self.add_vm(Vm {
                fd: Some(vm.into()),
                ..Vm::default()
            });
        }
        if let Some(vcpu) = found(LEFT_VCPU) {
            self.vm_or_hollow().vcpus.push(Vcpu::new(vcpu.into()));
        }
        for number in [LEFT_KVM, LEFT_VM, LEFT_VCPU] {
            file::close_returned(number.into());
        }
        Ok(())
    }
}

/// What octal escapes such as `\040` stand for, as in /proc/mounts.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let octal = (behind.get(..3).filter(|_| first == b'\\'))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(first));
        rest = match octal {
            Some(_) => &behind[3..],
            None => behind,
        };
    }
    bytes
}

/// The child goes on; this process waits for it, and ends as it does.
fn go_on_in_child() -> io::Result<()> {
    match process::fork_and_wait()? {
        None => Ok(()),
        Some(code) => std::process::exit(code),
    }
}

/// The words of a program that takes what this one leaves, and goes on.
fn next<'a>(name: &'a str, rest: &'a [String]) -> Vec<&'a OsStr> {
    let mut words: Vec<&OsStr> = [name, "act", "inherited"].map(OsStr::new).to_vec();
    words.extend(rest.iter().map(OsStr::new));
    words
}

fn give(stream: &UnixStream, fd: RawFd) -> io::Result<()> {
    stream
        .send_with_fd(&b"f"[..], fd)
        .map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
    Ok(())
}

fn taken(stream: &UnixStream) -> io::Result<fs::File> {
    let mut byte = [0];
    let (_, file) = stream
        .recv_with_fd(&mut byte)
        .map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
    file.ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

fn connect(socket: &str) -> io::Result<UnixStream> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Err(error) if began.elapsed() < PATIENCE => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    thread::sleep(Duration::from_millis(20));
                }
                _ => return Err(error),
            },
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_any_bytes() {
        assert_eq!(unescaped("qemu"), b"qemu");
        assert_eq!(unescaped(r"a\040b\012\134\377"), b"a b\n\\\xff");
        assert_eq!(unescaped(r"\09x\7"), br"\09x\7");
    }
}
