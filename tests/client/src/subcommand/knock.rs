// SPDX-License-Identifier: GPL-2.0

//! `client knock`: one ioctl on one file.

use std::{os::fd::AsRawFd, path::Path};

use crate::{
    answer::Expect,
    argument::Argument,
    failure::{while_doing, Failure},
    sys::{file, ioctl},
};

/// Open a file, make one ioctl with a number for an argument, and print the answer
#[derive(clap::Args)]
pub struct Options {
    /// A path, or fd:NUMBER for a file that this program was started with
    path: String,
    /// 0xNUMBER
    #[arg(value_parser = hexadecimal)]
    number: u32,
    #[arg(default_value_t = 0)]
    argument: u64,
    /// Make the call as a 32-bit process does, by int 0x80
    #[arg(long)]
    compat: bool,
    /// The answer that is hoped for: ok, ENAME, not:ok or not:ENAME
    #[arg(long)]
    expect: Option<Expect>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let path = &options.path;
    let opened = match path.strip_prefix("fd:").map(str::parse) {
        Some(fd) => file::inherited(fd.map_err(|_| Failure::Usage(format!("{path} is no fd")))?),
        None => file::open(Path::new(path)),
    };
    let opened = opened.map_err(while_doing(format!("cannot open {path}")))?;
    let make = if options.compat {
        ioctl::compat
    } else {
        ioctl::native
    };
    let argument = Argument::number(options.argument);
    let answer = make(opened.as_raw_fd(), options.number, &argument);
    println!("{answer}");
    options.expect.map_or(Ok(()), |expect| expect.judge(answer))
}

pub fn hexadecimal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or("");
    u32::from_str_radix(digits, 16).map_err(|_| format!("`{text}` is no 0xNUMBER of 32 bits"))
}
