// SPDX-License-Identifier: GPL-2.0

//! The subcommands, one a file: options, and what they do.

pub mod act;
pub mod attack;
pub mod attempt;
pub mod bench;
pub mod boot;
pub mod churn;
pub mod commands;
pub mod device;
pub mod inject;
pub mod keep_path;
pub mod knock;
pub mod park;
pub mod race;
pub mod rewrite;
pub mod session;
pub mod shape;
pub mod side_door;
pub mod slow;
pub mod spin;
pub mod stall;
pub mod storm;
pub mod trace;
pub mod write;
