// SPDX-License-Identifier: GPL-2.0

//! The virtual patches for kinds of files that a machine may lack: vhost, VFIO, iommufd.
//!
//! On a real kernel `tests/qemu/virtual-patches.sh` does this, with the structs of the headers; here
//! are the same calls, byte by byte, for the engine alone.

use portcullis_policy::{check, Heap, InList, Memory, Request, Surface, Verdict};
use std::collections::BTreeSet;
use std::{env, fs, path::Path};

const EPERM: u16 = 1;
const EINVAL: u16 = 22;

/// Where the argument lies.
const ADDRESS: u64 = 0x10_0000;

struct Row {
    cve: &'static str,
    surface: Surface,
    command: u32,
    /// Little-endian numbers: each with its width in bytes.
    argument: &'static [(u8, u64)],
    /// The errno, where the call is refused.
    refused: Option<u16>,
}

const fn row(
    cve: &'static str,
    surface: Surface,
    command: u32,
    refused: Option<u16>,
    argument: &'static [(u8, u64)],
) -> Row {
    Row {
        cve,
        surface,
        command,
        argument,
        refused,
    }
}

const SET_FEATURES: u32 = 0x4008_af00;
const SET_FEATURES_ARRAY: u32 = 0x4008_af83;
const SET_BACKEND: u32 = 0x4008_af30;
const GET_CONFIG: u32 = 0x8008_af73;
const SET_CONFIG: u32 = 0x4008_af74;
const SET_IRQS: u32 = 0x3b6e;
const FEATURE: u32 = 0x3b75;
const GET_DIRTY_BITMAP: u32 = 0x3b8c;

/// VFIO_IRQ_SET_ACTION_TRIGGER with DATA_NONE, DATA_BOOL, DATA_EVENTFD; ACTION_MASK with DATA_NONE.
const NONE: u64 = 0x21;
const BOOL: u64 = 0x22;
const EVENTFD: u64 = 0x24;
const MASK: u64 = 0x09;

/// VFIO_DEVICE_FEATURE_GET, PROBE.
const GET: u64 = 1 << 16;
const PROBE: u64 = 1 << 18;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("CVE-2018-1118", Surface::VhostNet, SET_FEATURES, Some(EPERM), &[(8, 0x3_0000_0000)]),
    row("CVE-2018-1118", Surface::VhostNet, SET_FEATURES, None, &[(8, !0x2_0000_0000)]),
    row("CVE-2018-1118", Surface::VhostVsock, SET_FEATURES, Some(EPERM), &[(8, 0x2_0000_0000)]),
    row("CVE-2018-1118", Surface::VhostVsock, SET_FEATURES, None, &[(8, 0x5_0000_0000)]),
    // It cannot do without.
    row("CVE-2018-1118", Surface::VhostVdpa, SET_FEATURES, None, &[(8, 0x3_0000_0000)]),
    row("CVE-2018-1118", Surface::VhostNet, SET_FEATURES_ARRAY, Some(EPERM), &[(8, 2), (8, 0x2_0000_0000), (8, 0)]),
    row("CVE-2018-1118", Surface::VhostNet, SET_FEATURES_ARRAY, Some(EPERM), &[(8, 1), (8, 0x2_0000_0000)]),
    row("CVE-2018-1118", Surface::VhostNet, SET_FEATURES_ARRAY, None, &[(8, 2), (8, 0x1_0000_0000), (8, 1)]),
    // Behind the count there is nothing.
    row("CVE-2018-1118", Surface::VhostNet, SET_FEATURES_ARRAY, None, &[(8, 0), (8, 0x2_0000_0000)]),

    row("CVE-2020-10942", Surface::VhostNet, SET_BACKEND, Some(EPERM), &[(4, 0), (4, 0)]),
    row("CVE-2020-10942", Surface::VhostNet, SET_BACKEND, Some(EPERM), &[(4, 1), (4, 0x7fff_ffff)]),
    row("CVE-2020-10942", Surface::VhostNet, SET_BACKEND, None, &[(4, 0), (4, 0xffff_ffff)]),

    row("CVE-2022-0998", Surface::VhostVdpa, GET_CONFIG, Some(EINVAL), &[(4, 0xffff_fff0), (4, 32)]),
    row("CVE-2022-0998", Surface::VhostVdpa, GET_CONFIG, Some(EINVAL), &[(4, 1), (4, 8)]),
    row("CVE-2022-0998", Surface::VhostVdpa, GET_CONFIG, None, &[(4, 0), (4, 8)]),
    row("CVE-2022-0998", Surface::VhostVdpa, SET_CONFIG, Some(EINVAL), &[(4, 100), (4, 8)]),
    row("CVE-2022-0998", Surface::VhostVdpa, SET_CONFIG, None, &[(4, 0), (4, 0xffff_ffff)]),

    row("CVE-2024-26812", Surface::VfioDevice, SET_IRQS, Some(EINVAL), &[(4, 21), (4, BOOL), (4, 0), (4, 0), (4, 1), (4, 1)]),
    row("CVE-2024-26812", Surface::VfioDevice, SET_IRQS, Some(EINVAL), &[(4, 20), (4, NONE), (4, 0), (4, 0), (4, 1)]),
    row("CVE-2024-26812", Surface::VfioDevice, SET_IRQS, None, &[(4, 20), (4, NONE), (4, 0), (4, 0), (4, 0)]),
    row("CVE-2024-26812", Surface::VfioDevice, SET_IRQS, None, &[(4, 24), (4, EVENTFD), (4, 0), (4, 0), (4, 1), (4, 9)]),
    row("CVE-2024-26812", Surface::VfioDevice, SET_IRQS, None, &[(4, 20), (4, MASK), (4, 0), (4, 0), (4, 1)]),
    row("CVE-2024-26812", Surface::VfioDevice, SET_IRQS, None, &[(4, 21), (4, BOOL), (4, 1), (4, 0), (4, 1), (4, 1)]),
    row("CVE-2024-26813", Surface::VfioDevice, SET_IRQS, Some(EINVAL), &[(4, 21), (4, BOOL), (4, 7), (4, 0), (4, 1), (4, 1)]),
    row("CVE-2024-26813", Surface::VfioDevice, SET_IRQS, Some(EINVAL), &[(4, 20), (4, NONE), (4, 7), (4, 0), (4, 1)]),
    row("CVE-2024-26813", Surface::VfioDevice, SET_IRQS, None, &[(4, 20), (4, NONE), (4, 7), (4, 0), (4, 0)]),
    row("CVE-2024-26813", Surface::VfioDevice, SET_IRQS, None, &[(4, 20), (4, MASK), (4, 7), (4, 0), (4, 1)]),

    row("CVE-2025-40293", Surface::Iommufd, GET_DIRTY_BITMAP, Some(EINVAL), &[(4, 48), (4, 1), (8, 0), (8, 0), (8, 4096), (8, 1 << 63), (8, 0)]),
    row("CVE-2025-40293", Surface::Iommufd, GET_DIRTY_BITMAP, Some(EINVAL), &[(4, 48), (4, 1), (8, 0), (8, 0), (8, 4096), (8, 1 << 58), (8, 0)]),
    row("CVE-2025-40293", Surface::Iommufd, GET_DIRTY_BITMAP, None, &[(4, 48), (4, 1), (8, 0), (8, 0), (8, 4096), (8, 1 << 30), (8, 0)]),
    row("CVE-2025-40293", Surface::VfioDevice, FEATURE, Some(EINVAL), &[(4, 40), (4, GET | 8), (8, 0), (8, 4096), (8, 1 << 58), (8, 0)]),
    row("CVE-2025-40293", Surface::VfioDevice, FEATURE, None, &[(4, 40), (4, GET | 8), (8, 0), (8, 4096), (8, 4096), (8, 0)]),
    // The same bytes are another feature's.
    row("CVE-2025-40293", Surface::VfioDevice, FEATURE, None, &[(4, 40), (4, GET | 6), (8, 0), (8, 4096), (8, 1 << 58), (8, 0)]),

    row("CVE-2026-31468", Surface::VfioDevice, FEATURE, Some(EPERM), &[(4, 40), (4, GET | 11), (4, 0), (4, 2), (4, 0), (4, 1), (8, 0), (8, 4096)]),
    row("CVE-2026-31468", Surface::VfioDevice, FEATURE, Some(EPERM), &[(4, 40), (4, GET | PROBE | 11), (4, 0), (4, 2), (4, 0), (4, 1), (8, 0), (8, 4096)]),
    row("CVE-2026-31468", Surface::VfioDevice, FEATURE, None, &[(4, 8), (4, GET | PROBE | 11), (4, 0), (4, 2), (4, 0), (4, 1), (8, 0), (8, 4096)]),
    row("CVE-2026-31468", Surface::VfioDevice, FEATURE, None, &[(4, 40), (4, GET | 10), (4, 0), (4, 2), (4, 0), (4, 1), (8, 0), (8, 4096)]),
    // Has every bit of 11.
    row("CVE-2026-31468", Surface::VfioDevice, FEATURE, None, &[(4, 40), (4, GET | 15), (4, 0), (4, 2), (4, 0), (4, 1), (8, 0), (8, 4096)]),
];

struct Caller(Vec<u8>);

impl Memory for Caller {
    fn read(&mut self, address: u64, into: &mut [u8]) -> bool {
        let from = usize::try_from(address - ADDRESS).unwrap();
        // What was not given is 0: pages are larger than structs.
        for (at, byte) in into.iter_mut().enumerate() {
            *byte = self.0.get(from + at).copied().unwrap_or(0);
        }
        true
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy/virtual-patches")
}

/// What the virtual patch does with the call, and the line of the rule that said so.
fn decide(row: &Row) -> (Option<u16>, u32) {
    let text = fs::read(folder().join(row.cve).with_extension("policy")).unwrap();
    let Ok(checked) = check::<Heap>(&text) else {
        panic!("{} is refused", row.cve)
    };
    let policy = checked.policy;
    let request = Request {
        surface: row.surface,
        command: row.command,
        arg: ADDRESS,
        compat: false,
    };
    let bytes = row.argument.iter().flat_map(|(width, number)| {
        let bytes = number.to_le_bytes();
        bytes.into_iter().take(usize::from(*width))
    });
    let head = policy.head(row.surface, row.command).unwrap();
    let fetched = policy
        .fetch(
            head,
            &request,
            InList::<Heap>::new(),
            &mut Caller(bytes.collect()),
        )
        .unwrap();
    let decision = policy
        .decide(head, &request, fetched.bytes(), |_| ())
        .unwrap();
    let line = policy.rule(decision.link).unwrap().line;
    match decision.verdict {
        Verdict::Allow => (None, line),
        Verdict::Deny { errno } => (Some(errno), line),
    }
}

#[test]
fn forbidden_shapes_are_refused_and_legal_ones_are_not() {
    for (at, row) in ROWS.iter().enumerate() {
        let (refused, line) = decide(row);
        assert_eq!(refused, row.refused, "row {at}, {}, line {line}", row.cve);
    }
}

/// Of every file about these surfaces: a rule that no row meets is a rule that nobody knows to work.
#[test]
fn every_rule_is_met() {
    let surfaces: BTreeSet<&str> = ROWS.iter().map(|row| row.surface.name()).collect();
    let met: BTreeSet<(String, u32)> = ROWS
        .iter()
        .filter(|row| row.refused.is_some())
        .map(|row| (row.cve.to_owned(), decide(row).1))
        .collect();
    let mut rules = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "policy") {
            continue;
        }
        let cve = path.file_stem().unwrap().to_string_lossy().into_owned();
        for (line, text) in (1..).zip(fs::read_to_string(&path).unwrap().lines()) {
            let mut words = text.split_whitespace();
            let is_ours = words.next() == Some("deny")
                && words
                    .next()
                    .is_some_and(|surface| surfaces.contains(surface));
            if is_ours {
                assert!(
                    met.contains(&(cve.clone(), line)),
                    "{cve}.policy, line {line}"
                );
                rules += 1;
            }
        }
    }
    assert!(rules >= 10, "only {rules} rules");
}
