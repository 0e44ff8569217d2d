// SPDX-License-Identifier: GPL-2.0

//! `portcullis vms`: the VMs that the module knows.

mod entry;
mod source;
mod table;

use std::io::{self, Write};

use crate::outcome::Outcome;
use crate::{cli, complain};
use entry::Entry;
use table::Table;

/// Shows those that were asked for.
pub(crate) fn run(options: &cli::Vms) -> io::Result<Outcome> {
    let text = match source::read(&options.root) {
        Ok(text) => text,
        Err(what) => {
            complain(&what);
            return Ok(Outcome::Trouble);
        }
    };
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let mut entries = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let Some(entry) = Entry::of_line(line) else {
            let file = source::file(&options.root);
            complain(&format!(
                "{}:{}: this is no line of KEY=VALUE about a VM",
                file.display(),
                index + 1
            ));
            return Ok(Outcome::Wrong);
        };
        if is_asked_for(options, &entry) {
            entries.push(entry);
        }
    }
    if options.json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &entries)?;
        writeln!(out)?;
        return Ok(Outcome::Fine);
    }
    let table = Table {
        entries: &entries,
        uptime: source::uptime(),
    };
    write!(anstream::stdout(), "{table}")?;
    Ok(Outcome::Fine)
}

fn is_asked_for(options: &cli::Vms, entry: &Entry) -> bool {
    let has_profile = |name: &String| entry.bytes("profile").as_deref() == Some(name.as_bytes());
    let has_pid = |pid: &u32| entry.number("pid") == Some(u64::from(*pid));
    options.profile.as_ref().is_none_or(has_profile) && options.pid.as_ref().is_none_or(has_pid)
}
