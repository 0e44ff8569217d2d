// SPDX-License-Identifier: GPL-2.0

//! `microvm`: a small VMM of rust-vmm's crates, shaped like Firecracker.
//!
//! `microvm [--restore] [--stay]` sets a VM with two vCPUs up, runs a guest that uses MMIO, ports, an
//! ioeventfd and an irqfd, pauses it half way to read its state, and ends when the guest resets the
//! machine. `--restore` writes the state back before the guest runs, as when it comes out of a snapshot.
//! `--stay` keeps the VM until standard input ends, for those who want to see what can still be done.
//!
//! It is what `policy/microvm.policy` must hold: setup and run make no call in common but those that read.

mod guest;
mod run;
mod setup;
mod state;

use std::{io::Read, process::ExitCode};

use state::State;

/// The sentence for a call that was refused.
fn refused(call: &str) -> impl Fn(kvm_ioctls::Error) -> String + '_ {
    move |error| format!("{call}: {error}")
}

fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let known = |option: &String| ["--restore", "--stay"].contains(&option.as_str());
    if !options.iter().all(known) {
        eprintln!("usage: microvm [--restore] [--stay]");
        return ExitCode::from(2);
    }
    let has = |option: &str| options.iter().any(|given| given == option);
    match go(has("--restore"), has("--stay")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("microvm: {why}");
            ExitCode::FAILURE
        }
    }
}

fn go(restore: bool, stay: bool) -> Result<(), String> {
    let mut machine = setup::set_up(2, restore)?;
    println!("microvm: set up");
    let (_vcpus, said) = run::run(&mut machine)?;
    if said != guest::SAYS {
        let said = String::from_utf8_lossy(&said);
        return Err(format!("the guest ended early: it has said {said:?}"));
    }
    println!("microvm: the guest has done its work");
    if stay {
        // Whatever comes, its end is what counts.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    }
    Ok(())
}
