// SPDX-License-Identifier: GPL-2.0

//! The command line. The help, the completions and the man pages are made from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::{outcome, style};

/// Check Portcullis policies, and explain what they can name
///
/// Portcullis is a Linux kernel module that checks the ioctls of virtual machine monitors against a
/// policy. This command works on any machine, with neither the module nor root: it has the module's
/// own engine and tables in it.
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
    /// kvm-vm:0x4020ae46), a constant (KVM_MEM_READONLY), a struct (kvm_cpuid2).
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
