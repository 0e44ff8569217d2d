// SPDX-License-Identifier: GPL-2.0

//! `client`: a small, real VMM for the test scenarios.
//!
//! It does what a VMM does (boot, session, act, device, spin, churn), what a broken-into VMM would do (try,
//! storm, shape), what an administrator does (write) and what a benchmark does (bench). Its command
//! numbers come from the ioctl formulas and the C struct sizes, never from the module's schema:
//! it is the independent witness.
//!
//! Exit codes: 0 as hoped, 1 not as hoped, 2 bad usage, 3 no such device here.

#![deny(unsafe_code)]

mod act;
mod answer;
mod argument;
mod attacks;
mod call;
mod command;
mod device;
mod errno;
mod failure;
mod guest;
mod machine;
mod races;
mod seccomp;
mod shapes;
mod slow;
mod subcommand;
mod surface;
mod sys;
mod valid;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use subcommand::{
    act as steps, attack, attempt, bench, boot, churn, commands, inject, keep_path, knock, park,
    race, rewrite, session, shape, side_door, slow as slow_calls, spin, stall, storm, trace, write,
};

/// A small VMM that asks /dev/kvm for things and says how it was answered.
///
/// Answers read `ok RET` or `errno ENAME (number)`. Exit codes: 0 as hoped, 1 not as hoped,
/// 2 bad usage, 3 no such device here.
#[derive(Parser)]
#[command(name = "client")]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Boot(boot::Options),
    Session(session::Options),
    Device(subcommand::device::Options),
    Shape(shape::Options),
    #[command(name = "try")]
    Try(attempt::Options),
    Storm(storm::Options),
    Spin(spin::Options),
    Stall(stall::Options),
    Churn(churn::Options),
    Write(write::Options),
    Bench(bench::Options),
    Commands(commands::Options),
    Inject(inject::Options),
    KeepPath(keep_path::Options),
    Knock(knock::Options),
    Park(park::Options),
    Race(race::Options),
    SideDoor(side_door::Options),
    Rewrite(rewrite::Options),
    Attack(attack::Options),
    Slow(slow_calls::Options),
    Act(steps::Options),
    Trace(trace::Options),
}

fn main() -> ExitCode {
    // As the interpreter of a program it is told of that one first, by its path.
    let is_told = sys::process::interpreted().is_some();
    let mut words: Vec<_> = std::env::args_os().collect();
    while is_told && (words.get(1)).is_some_and(|word| word.as_encoded_bytes().starts_with(b"/")) {
        words.remove(1);
    }
    let done = match Cli::parse_from(words).action {
        Action::Boot(options) => boot::run(&options),
        Action::Session(options) => session::run(&options),
        Action::Device(options) => subcommand::device::run(&options),
        Action::Shape(options) => shape::run(&options),
        Action::Try(options) => attempt::run(&options),
        Action::Storm(options) => storm::run(&options),
        Action::Spin(options) => spin::run(&options),
        Action::Stall(options) => stall::run(&options),
        Action::Churn(options) => churn::run(&options),
        Action::Write(options) => write::run(&options),
        Action::Bench(options) => bench::run(&options),
        Action::Commands(options) => commands::run(&options),
        Action::Inject(options) => inject::run(&options),
        Action::KeepPath(options) => keep_path::run(&options),
        Action::Knock(options) => knock::run(&options),
        Action::Park(options) => park::run(&options),
        Action::Race(options) => race::run(&options),
        Action::SideDoor(options) => side_door::run(&options),
        Action::Rewrite(options) => rewrite::run(&options),
        Action::Attack(options) => attack::run(&options),
        Action::Slow(options) => slow_calls::run(&options),
        Action::Act(options) => steps::run(&options),
        Action::Trace(options) => trace::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("client: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
