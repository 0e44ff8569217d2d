// SPDX-License-Identifier: GPL-2.0

//! `client write`: a policy file written just so.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::PathBuf,
};

use crate::{
    answer::{Answer, Expect},
    failure::{while_doing, Failure},
    sys::{capability, file},
};

/// Write a file in one write(2) and print the answer
///
/// Prints one answer for each write(2), and one ending in `at open` or `at close` where that is
/// what failed. Exits with 0 when all was written, or with --expect when the last answer is the one
/// hoped for.
#[derive(clap::Args)]
pub struct Options {
    /// The file, which must exist
    file: PathBuf,
    /// What to write: a path, or - for stdin
    source: PathBuf,
    /// Write this many bytes at a time; the first refusal ends it
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    chunk: Option<u64>,
    /// Write there with pwrite(2)
    #[arg(long, value_name = "OFFSET", conflicts_with = "chunk")]
    at: Option<u64>,
    /// Write all a second time on the same open file; --expect is for that one
    #[arg(long)]
    twice: bool,
    /// Afterwards read the same open file to its end and print that as well
    #[arg(long)]
    read_back: bool,
    /// Give up CAP_MAC_ADMIN before opening
    #[arg(long)]
    drop_cap: bool,
    /// Give up CAP_MAC_ADMIN between opening and writing
    #[arg(long)]
    drop_after_open: bool,
    /// Be root of a new user namespace only, before opening
    #[arg(long)]
    userns: bool,
    /// Become this user between opening and writing
    #[arg(long, value_name = "UID")]
    open_then_uid: Option<u32>,
    /// The answer that is hoped for: ok, ENAME, not:ok or not:ENAME
    #[arg(long)]
    expect: Option<Expect>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let bytes = read(options)?;
    if options.drop_cap {
        drop_capability()?;
    }
    if options.userns {
        capability::enter_user_namespace()
            .map_err(while_doing("cannot enter a new user namespace"))?;
    }
    let file = match OpenOptions::new()
        .write(true)
        .read(options.read_back)
        .open(&options.file)
    {
        Ok(file) => file,
        Err(error) => {
            let answer = Answer::Errno(error.raw_os_error().unwrap_or(0));
            println!("{answer} at open");
            return judge(options, answer, true);
        }
    };
    if options.drop_after_open {
        drop_capability()?;
    }
    if let Some(uid) = options.open_then_uid {
        capability::become_user(uid).map_err(while_doing("setresuid"))?;
    }

    let (mut answer, mut whole) = write_all(options, &file, &bytes);
    if options.twice {
        (answer, whole) = write_all(options, &file, &bytes);
    }
    if options.read_back {
        let mut back = Vec::new();
        (&file)
            .read_to_end(&mut back)
            .map_err(while_doing("cannot read it back"))?;
        io::stdout()
            .write_all(&back)
            .map_err(while_doing("cannot write to stdout"))?;
    }
    let closed = file::close(file);
    if closed != Answer::Ok(0) {
        println!("{closed} at close");
        answer = closed;
    }
    judge(options, answer, whole)
}

fn read(options: &Options) -> Result<Vec<u8>, Failure> {
    let source = options.source.display();
    if options.source.as_os_str() != "-" {
        return fs::read(&options.source).map_err(while_doing(format!("cannot read {source}")));
    }
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(while_doing("cannot read stdin"))?;
    Ok(bytes)
}

/// One that was never there could not be given up, and the test would prove nothing.
fn drop_capability() -> Result<(), Failure> {
    if !capability::is_effective(capability::MAC_ADMIN).map_err(while_doing("capget"))? {
        return Err(Failure::Unexpected(
            "there is no CAP_MAC_ADMIN to give up here".to_owned(),
        ));
    }
    capability::drop_one(capability::MAC_ADMIN).map_err(while_doing("cannot drop CAP_MAC_ADMIN"))
}

/// Writes everything once and prints the answers; returns the last one and whether the file took
/// all that it was given.
fn write_all(options: &Options, file: &File, bytes: &[u8]) -> (Answer, bool) {
    let size = match options.chunk {
        Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let mut rest = bytes;
    loop {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        let answer = file::write_once(file, chunk, options.at);
        println!("{answer}");
        let whole = answer == Answer::Ok(chunk.len() as i64);
        if !whole || behind.is_empty() {
            return (answer, whole);
        }
        rest = behind;
    }
}

fn judge(options: &Options, answer: Answer, whole: bool) -> Result<(), Failure> {
    match (options.expect, answer) {
        (Some(expect), Answer::Errno(_)) => return expect.judge(answer),
        (Some(expect), Answer::Ok(_)) => expect.judge(answer)?,
        (None, Answer::Errno(_)) => {
            return Err(Failure::Unexpected(format!("it was refused: {answer}")))
        }
        (None, Answer::Ok(_)) => {}
    }
    if whole {
        return Ok(());
    }
    Err(Failure::Unexpected(format!(
        "only a part was written: the last answer was {answer}"
    )))
}
