// SPDX-License-Identifier: GPL-2.0

//! The files in `/sys/kernel/security/portcullis`.

use crate::{
    catalogue,
    load,
    report,
    sys::securityfs::{File, Folder, Show, Store, Take},
    vms, //
};
use kernel::prelude::*;

static FILES: [File; 7] = [
    File {
        name: c"policy",
        mode: 0o600,
        show: Show::AtOpen(report::policy),
        store: Some(Store {
            limit: load::LIMIT,
            take: Take::Value(load::text),
            refused: load::refused_write,
        }),
    },
    File {
        name: c"check",
        mode: 0o600,
        show: Show::Answer,
        store: Some(Store {
            limit: load::LIMIT,
            take: Take::Question(load::try_text),
            refused: load::refused_try,
        }),
    },
    File {
        name: c"enforce",
        mode: 0o600,
        show: Show::AtOpen(report::enforce),
        store: Some(Store {
            limit: 2,
            take: Take::Value(load::mode),
            refused: load::refused_mode,
        }),
    },
    File {
        name: c"status",
        mode: 0o400,
        show: Show::AtOpen(report::status),
        store: None,
    },
    File {
        name: c"counters",
        mode: 0o400,
        show: Show::AtOpen(report::counters),
        store: None,
    },
    File {
        name: c"vms",
        mode: 0o400,
        show: Show::AtOpen(vms::write),
        store: None,
    },
    File {
        name: c"schema",
        mode: 0o444,
        show: Show::Always(catalogue::write),
        store: None,
    },
];

/// Makes the folder.
pub(crate) fn create() -> Result<Folder> {
    Folder::new(c"portcullis", &FILES)
}
