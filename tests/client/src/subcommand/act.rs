// SPDX-License-Identifier: GPL-2.0

//! `client act`: a VMM that does what it is told.

use std::io::{self, Write};

use crate::{
    act::{Actor, Step},
    failure::{while_doing, Failure},
    sys::process,
};

/// Do one step after the other: a VMM whose every call is said
///
/// Each STEP is one argument, such as 'vcpu 3', and is answered with a line. It must succeed, or end with
/// the answer that is hoped for: 'vcpu 3 -> EPERM', 'vcpu 3 -> not:ok'. With --listen, more steps are read
/// from standard input, one a line, each answered with one line, whatever the answer is. What was opened
/// stays open to the end.
///
/// kvm                        opens /dev/kvm; the first call on it is another step
/// use [kvm|vm|vcpu|device]   a harmless call; `use vcpu 1` is on the second
/// vm [TYPE]                  KVM_CREATE_VM; `pick N` goes back to an earlier one
/// vcpu [ID], device          a vCPU; a kvm-vfio device
/// memory SLOT BYTES [ADDR]   a memory slot; of 0 bytes: takes it away; memory2: by the newer command
/// irqchip, split, pit        what interrupts come from
/// cap NUMBER [ARG]           KVM_ENABLE_CAP
/// irqfd GSI, no-irqfd GSI; ioeventfd PORT, no-ioeventfd PORT; zone ADDR, no-zone ADDR
/// container [FILE [VERSION]] the device that is passed through, by type 1, of version 2 or that, ready for:
/// map IOVA [BYTES], unmap IOVA [BYTES]; map-cut IOVA: nothing is mapped behind what its handler reads
/// iommufd                    opens /dev/iommu, ready for: iommufd COMMAND ARG, ARG as in `call`; the command
///                            is for the container if this is not open
/// vfio-file, no-vfio-file    tells the kvm-vfio device of the container's group
/// call SURFACE COMMAND [ARG] any call, ARG as in `client try`, without `valid`
///                            `compat` behind any of these makes it that of a 32-bit process
/// times N STEP, race N STEP  the same N times, or in N threads at once, with `%` for the number of the
///                            time or thread: `ok` and how many succeeded
/// race-vms N STEP            the threads take turns with all VMs
/// each-refused STEP          again and again, each time with the next request for memory refused, until there is
///                            none, or it cannot be done again: `ok` and how often it failed with ENOMEM. STEP is a
///                            call, or: write FILE TEXT-FILE
/// ready VCPU [print|count]   registers, and a guest that prints or counts for ever
/// run VCPU                   KVM_RUN: `ok` and the number of what it was left for (2: the guest prints)
/// run-elsewhere VCPU         the same, in another thread, which ends
/// leave VCPU                 KVM_RUN that does not enter the guest
/// spin VCPU, wait VCPU       KVM_RUN in a thread of its own, which counts, or waits to be started
/// spin-refused VCPU          the first memory that this thread asks for is refused
/// stop VCPU                  kicks it out: `errno EINTR`
/// swap N                     makes N VMs, while another thread puts the picked one in the place of each as soon
///                            as it has an fd: `ok` and how often it was in time
/// hide                       makes VMs until another thread has put /dev/null in the place of one as soon as it
///                            had an fd, and keeps it by another: `ok` and how many were made
/// close WHAT                 kvm, vm, vcpus, devices; all of this VM; vms: all VMs
///
/// comm NAME, comm-file NAME  another name, by prctl(2) or /proc/self/comm
/// unmap-exe                  puts memory in the place of the program's file, so that
/// exe-file FILE              PR_SET_MM_EXE_FILE and
/// exe-map FILE               PR_SET_MM_MAP can name another
/// uid N, gid N, cgroup FOLDER
/// userns, namespaces         a user namespace, as its root; that and all else that a container has
/// send SOCKET WHAT           hands kvm, vm or vcpu over a UNIX socket, to who says
/// receive SOCKET WHAT        `program`: the one that the sender interprets (binfmt_misc); who receives it says that
///                            it is his own (PR_SET_MM_MAP)
/// queue WHAT, unqueue WHAT   closes it; no process has it open meanwhile, only the queue of a socket
/// fork [STEP]                in a child; without STEP, it goes on in one
/// exec FILE                  goes on in another program, which is this one by another path
/// exec-memfd NAME            the same, from memory
/// sleep MILLISECONDS, quit
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// Read further steps from standard input
    #[arg(long)]
    listen: bool,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    process::allow_many_files().map_err(while_doing("setrlimit"))?;
    let mut actor = Actor::default();
    for (index, text) in options.steps.iter().enumerate() {
        let step: Step = text.parse().map_err(Failure::Usage)?;
        let rest = rest(&options.steps[index + 1..], options.listen);
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        let answer = actor
            .take(&words, &rest)
            .map_err(|sentence| Failure::Unexpected(format!("{step}: {sentence}")))?;
        say(&format!("{step}: {answer}"))?;
        step.expect
            .judge(answer)
            .map_err(|failure| Failure::Unexpected(format!("{step}: {failure}")))?;
    }
    if options.listen {
        listen(&mut actor)?;
    }
    Ok(())
}

/// What a program that this one becomes is told to do.
fn rest(steps: &[String], listen: bool) -> Vec<String> {
    let mut rest = steps.to_vec();
    if listen {
        rest.push("--listen".to_owned());
    }
    rest
}

fn listen(actor: &mut Actor) -> Result<(), Failure> {
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = io::stdin()
            .read_line(&mut line)
            .map_err(while_doing("cannot read stdin"))?;
        if bytes == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => continue,
            ["quit"] => return Ok(()),
            _ => {}
        }
        match actor.take(&words, &rest(&[], true)) {
            Ok(answer) => say(&answer.to_string()),
            Err(sentence) => say(&format!("error {sentence}")),
        }?;
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(while_doing("cannot write to stdout"))
}
