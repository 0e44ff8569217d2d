// SPDX-License-Identifier: GPL-2.0

//! `client stall`: a call that waits for its own argument.

use std::{
    io::{self, Read},
    thread,
};

use crate::{
    answer::{Answer, Expect},
    call::Call,
    failure::{while_doing, Failure},
    guest::Guest,
    machine::{Machine, Wanted},
    sys::userfault::Stuck,
};

/// Make one ioctl whose argument does not come, and let it come
///
/// Prints `stalled` when the kernel has touched the argument and waits for it. Lets it come when
/// stdin ends, and prints the answer.
#[derive(clap::Args)]
pub struct Options {
    /// The call; its argument is at @stuck.N, which is said in ARG
    #[arg(long = "on", value_name = "SURFACE:COMMAND:ARG@stuck.N")]
    call: Call,
    /// The answer that is hoped for: ok, ENAME, not:ok or not:ENAME
    #[arg(long)]
    expect: Option<Expect>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let machine = Machine::open(&Wanted::by([options.call.surface], 1), |_| Guest::Halt)?;
    let prepared = options
        .call
        .prepare(&machine, 0)
        .map_err(Failure::Unexpected)?;
    let stuck = (prepared.argument.stuck())
        .ok_or_else(|| Failure::Usage(format!("`{}` is not at @stuck.N", options.call)))?;
    let answer = until_stdin_ends(stuck, "stalled", || prepared.perform())?;
    println!("{answer}");
    options.expect.map_or(Ok(()), |expect| expect.judge(answer))
}

/// Makes a call that touches `stuck`, and says `word` when it waits for it. Lets it come when stdin ends.
pub fn until_stdin_ends(
    stuck: &Stuck,
    word: &str,
    call: impl FnOnce() -> Answer + Send,
) -> Result<Answer, Failure> {
    thread::scope(|scope| {
        let caller = scope.spawn(call);
        stuck
            .wait()
            .map_err(while_doing("nobody touched the memory"))?;
        println!("{word}");
        io::stdin()
            .read_to_end(&mut Vec::new())
            .map_err(while_doing("cannot read stdin"))?;
        stuck.serve().map_err(while_doing("UFFDIO_COPY"))?;
        caller
            .join()
            .map_err(|_| Failure::Unexpected("the thread of the call panicked".to_owned()))
    })
}
