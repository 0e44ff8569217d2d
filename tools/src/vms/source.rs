// SPDX-License-Identifier: GPL-2.0

//! Where the lines come from, and what to do when they do not.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file, where securityfs is mounted at `root`.
pub(super) fn file(root: &Path) -> PathBuf {
    root.join("portcullis").join("vms")
}

/// What is in it, or a sentence that says why not, and what helps.
pub(super) fn read(root: &Path) -> Result<Vec<u8>, String> {
    let file = file(root);
    fs::read(&file).map_err(|error| why_not(root, &file, &error))
}

fn why_not(root: &Path, file: &Path, error: &io::Error) -> String {
    let (root, name) = (root.display(), file.display());
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{name} cannot be read: only root may; run this as root, or with sudo")
        }
        ErrorKind::NotFound if !has_entries(file.parent().and_then(Path::parent)) => format!(
            "securityfs is not mounted at {root}: `mount -t securityfs securityfs {root}` mounts it"
        ),
        ErrorKind::NotFound if !file.parent().is_some_and(Path::exists) => {
            format!("the module is not loaded, for there is no {root}/portcullis: `insmod portcullis.ko` loads it")
        }
        ErrorKind::NotFound => format!(
            "there is no {name}: the module that is loaded is older than this command, and does not know VMs"
        ),
        _ => format!("{name}: {error}"),
    }
}

/// Whether there is something in a folder. Securityfs is never empty.
fn has_entries(folder: Option<&Path>) -> bool {
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
    entries.is_some_and(|mut entries| entries.next().is_some())
}

/// Seconds since the kernel was booted.
pub(super) fn uptime() -> Option<f64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    text.split(' ').next()?.parse().ok()
}
