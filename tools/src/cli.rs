// SPDX-License-Identifier: GPL-2.0

//! The command line. The help, the completions and the man pages are made from it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::{outcome, style};

/// Check Portcullis policies, and explain what they can name
///
/// Portcullis is a Linux kernel module that checks the ioctls of virtual machine monitors against a
/// policy. This command works on any machine, with neither the module nor root: it has the module's
/// own engine and tables in it. Only `vms` asks the module.
#[derive(Parser)]
#[command(name = "portcullis", version, styles = style::HELP, arg_required_else_help = true)]
#[command(after_help = outcome::help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Subcommand)]
pub(crate) enum Action {
    Explain(Explain),
    Check(Check),
    Try(Box<Try>),
    Vms(Vms),
    Schema(Schema),
    Completions(Completions),
    #[command(hide = true)]
    Man(Man),
}

/// Explain a command, its fields, a constant, a surface or a number
///
/// Of a command: its surfaces, its number, the kernel function that handles it, every field of its
/// argument with type, offset and constants, and a rule to start from.
#[derive(Args)]
pub(crate) struct Explain {
    /// What to explain
    ///
    /// One of: a command (KVM_SET_CPUID2), a command of one surface (kvm-vm:KVM_SET_TSC_KHZ), a
    /// field (KVM_SET_CPUID2.entries.function), a surface (kvm-vcpu), a number (0x4020ae46,
    /// kvm-vm:0x4020ae46), a constant (KVM_MEM_READONLY), a struct (kvm_cpuid2), what a VM has done
    /// (vm.vcpus).
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Check policies as the module would when they are loaded
///
/// Mistakes and warnings are written as compilers do, FILE:LINE:COLUMN first, to standard error.
#[derive(Args)]
pub(crate) struct Check {
    /// The policies; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Take no policy with warnings
    #[arg(long)]
    pub(crate) deny_warnings: bool,

    /// Write a JSON object a line to standard output: one for each diagnosis, then one for each file
    #[arg(long)]
    pub(crate) json: bool,
}

/// Say which profile of a policy speaks for a caller, and what becomes of calls
///
/// Nothing is called, and the module is not asked. What is not said of the caller is not known, and
/// matches nothing; what is not said of the VM, the argument and its fields is 0. No rate is exceeded
/// unless that is said.
#[derive(Args)]
pub(crate) struct Try {
    /// The policy
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Calls: KVM_RUN, or of one surface kvm-vm:KVM_CREATE_VCPU, kvm-vm:0x4020ae46
    #[arg(value_name = "CALL")]
    pub(crate) calls: Vec<String>,

    /// The path of the program that the caller runs
    #[arg(long, value_name = "PATH")]
    pub(crate) exe: Option<OsString>,

    /// The caller's user
    #[arg(long, value_name = "NUMBER")]
    pub(crate) uid: Option<u32>,

    /// The caller's group
    #[arg(long, value_name = "NUMBER")]
    pub(crate) gid: Option<u32>,

    /// The path of the caller's control group
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<OsString>,

    /// The name that the caller gives itself
    #[arg(long, value_name = "NAME")]
    pub(crate) comm: Option<OsString>,

    /// The caller's label
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<OsString>,

    /// What the VM has done: vcpus=2, memory=4G, irqchip=split, running, cap=KVM_CAP_SPLIT_IRQCHIP,
    /// did=KVM_CREATE_IRQCHIP
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub(crate) vm: Vec<String>,

    /// What the called vCPU has done: ran, foreign
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub(crate) vcpu: Vec<String>,

    /// What the calling thread is: vcpu, traced
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub(crate) thread: Vec<String>,

    /// What all VMs of the profile have: vms=3, vcpus=12, memory=64G
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub(crate) profile: Vec<String>,

    /// What was done by the file that the call is on: mappings=1000
    #[arg(long = "file", value_name = "NAME=VALUE", value_delimiter = ',')]
    pub(crate) of_file: Vec<String>,

    /// The rates that a call uses up are exceeded
    #[arg(long)]
    pub(crate) exceeded: bool,

    /// The third argument itself: a number or a constant
    #[arg(long, value_name = "VALUE")]
    pub(crate) arg: Option<String>,

    /// A field of the argument: slot=3, flags=KVM_MEM_READONLY
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) field: Vec<String>,

    /// The caller is a 32-bit one
    #[arg(long)]
    pub(crate) compat: bool,
}

/// Show the VMs of this host, who made them, and what became of their calls
///
/// The table has what one looks for first; --json has all that the module's file `vms` has, which the
/// admin guide explains. DENIED and WOULD-DENY are calls on the VM; `-` is what is not known. Needs root
/// and the module.
#[derive(Args)]
pub(crate) struct Vms {
    /// Only VMs that this profile speaks for
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Only VMs that this process has made
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pid: Option<u32>,

    /// Print one JSON array of objects instead
    #[arg(long)]
    pub(crate) json: bool,

    /// Where securityfs is mounted
    #[arg(long, value_name = "FOLDER", default_value = "/sys/kernel/security")]
    pub(crate) root: PathBuf,
}

/// Print every surface, command, field and constant
///
/// One a line, each line complete in itself, for grep.
#[derive(Args)]
pub(crate) struct Schema {
    /// Print one JSON document instead
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the completions for a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write the man pages into a folder, which is made if it is not there
#[derive(Args)]
pub(crate) struct Man {
    /// The folder
    pub(crate) folder: PathBuf,
}
