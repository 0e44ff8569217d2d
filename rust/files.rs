// SPDX-License-Identifier: GPL-2.0

//! The files in `/sys/kernel/security/portcullis`.

use crate::{
    load,
    report,
    sys::securityfs::{File, Folder, Store}, //
};
use kernel::prelude::*;

static FILES: [File; 4] = [
    File {
        name: c"policy",
        mode: 0o600,
        show: report::policy,
        store: Some(Store {
            limit: load::LIMIT,
            take: load::text,
            refused: load::refused_write,
        }),
    },
    File {
        name: c"enforce",
        mode: 0o600,
        show: report::enforce,
        store: Some(Store {
            limit: 2,
            take: load::mode,
            refused: load::refused_mode,
        }),
    },
    File {
        name: c"status",
        mode: 0o400,
        show: report::status,
        store: None,
    },
    File {
        name: c"counters",
        mode: 0o400,
        show: report::counters,
        store: None,
    },
];

/// Makes the folder.
pub(crate) fn create() -> Result<Folder> {
    Folder::new(c"portcullis", &FILES)
}
