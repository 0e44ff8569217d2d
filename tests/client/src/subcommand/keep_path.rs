// SPDX-License-Identifier: GPL-2.0

//! `client keep-path`: a descriptor that outlives the module.

use std::{fs, os::fd::AsRawFd, os::unix::fs::OpenOptionsExt, process::Command};

use crate::failure::{while_doing, Failure};

/// Hold FILE by an `O_PATH` descriptor, which does not hold the module; remove the module; try to
/// open the descriptor anew, which must fail
#[derive(clap::Args)]
pub struct Options {
    file: String,
    #[arg(long, default_value = "portcullis")]
    module: String,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let path = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(&options.file)
        .map_err(while_doing(&options.file))?;
    let again = format!("/proc/self/fd/{}", path.as_raw_fd());
    // Else the test proves nothing.
    fs::read(&again).map_err(while_doing("reading it while the module is there"))?;

    let removed = Command::new("rmmod")
        .arg(&options.module)
        .status()
        .map_err(while_doing("rmmod"))?;
    if !removed.success() {
        return Err(Failure::Unexpected("rmmod failed".to_owned()));
    }
    match fs::read(&again) {
        Ok(_) => Err(Failure::Unexpected(
            "the file of a module that has gone could be opened".to_owned(),
        )),
        Err(error) => {
            println!("opened anew: {error}");
            Ok(())
        }
    }
}
