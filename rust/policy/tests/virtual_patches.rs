// SPDX-License-Identifier: GPL-2.0

//! The virtual patches for kinds of files that a machine may lack: vhost, VFIO, iommufd; and those that
//! ask for the state of a VM.
//!
//! On a real kernel `tests/qemu/virtual-patches.sh` does this, with the structs of the headers; here
//! are the same calls, byte by byte, for the engine alone.

use portcullis_policy::state::Scope;
use portcullis_policy::{
    check, Bytes, Heap, InList, Irqchip, Memory, Phase, ProfileId, Request, State, Surface, Verdict,
};
use std::collections::BTreeSet;
use std::{env, fs, path::Path};

const EPERM: u16 = 1;
const EINVAL: u16 = 22;
const ENOSPC: u16 = 28;

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
    /// What the VM has done.
    state: State,
}

impl Row {
    const fn in_state(self, state: State) -> Self {
        Self { state, ..self }
    }
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
        state: State::NEW,
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

const MAP_DMA: u32 = 0x3b71;
const UNMAP_DMA: u32 = 0x3b72;
const IOAS_COPY: u32 = 0x3b83;
const IOAS_MAP: u32 = 0x3b85;
const OPTION: u32 = 0x3b87;
const VFIO_IOAS: u32 = 0x3b88;
const IOAS_UNMAP: u32 = 0x3b86;
const IOAS_MAP_FILE: u32 = 0x3b8f;
const CREATE_VCPU: u32 = 0xae41;
const RUN: u32 = 0xae80;
const SET_REGION: u32 = 0x4020_ae46;
const SET_REGION2: u32 = 0x40a0_ae49;
const XEN_SET_ATTR: u32 = 0x4048_aec9;
const SET_MSRS: u32 = 0x4008_ae89;
const SET_ONE_REG: u32 = 0x4010_aeac;
const SET_CPUID: u32 = 0x4008_ae8a;
const SET_CPUID2: u32 = 0x4008_ae90;
const ENCRYPT_OP: u32 = 0xc008_aeba;

const NEW: State = State::NEW;
const WITH_APIC: State = State {
    irqchip: Irqchip::Kernel,
    ..NEW
};
const SPLIT: State = State {
    irqchip: Irqchip::Split,
    ..NEW
};
const RUNNING: State = State {
    is_running: true,
    memslots: 2,
    ..NEW
};
const FULL: State = State {
    mappings: 65535,
    ..NEW
};
const NEARLY_FULL: State = State {
    mappings: 65534,
    ..NEW
};
/// KVM_CAP_DIRTY_LOG_RING, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, and the capability beside that.
const WITH_RING: State = with_cap(192);
const WITH_ACQ_REL_RING: State = with_cap(223);
const WITH_ANOTHER: State = with_cap(224);
const SNP: State = State { kind: 4, ..NEW };
/// Each file asks for one thing alone: bit 0.
const LAUNCHED: State = State { did: 1, ..SNP };
const RAN: State = State {
    vcpu_ran: true,
    is_running: true,
    ..NEW
};
const FOREIGN: State = State {
    vcpu_is_foreign: true,
    ..RAN
};

const fn with_cap(cap: usize) -> State {
    let mut caps = NEW.caps;
    caps[cap / 64] = 1 << (cap % 64);
    State { caps, ..NEW }
}

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
    row("CVE-2018-19406", Surface::KvmVm, CREATE_VCPU, Some(EPERM), &[]),
    row("CVE-2018-19406", Surface::KvmVm, CREATE_VCPU, None, &[]).in_state(WITH_APIC),
    row("CVE-2018-19406", Surface::KvmVm, CREATE_VCPU, None, &[]).in_state(SPLIT),

    row("CVE-2019-3882", Surface::VfioContainer, MAP_DMA, Some(ENOSPC), &[(4, 32), (4, 3), (8, 0), (8, 0), (8, 4096)]).in_state(FULL),
    row("CVE-2019-3882", Surface::VfioContainer, MAP_DMA, None, &[(4, 32), (4, 3), (8, 0), (8, 0), (8, 4096)]).in_state(NEARLY_FULL),
    row("CVE-2019-3882", Surface::VfioContainer, UNMAP_DMA, None, &[(4, 24), (4, 0), (8, 0), (8, 4096)]).in_state(FULL),
    row("CVE-2019-3882", Surface::Iommufd, IOAS_MAP, Some(ENOSPC), &[(4, 40)]).in_state(FULL),
    row("CVE-2019-3882", Surface::Iommufd, IOAS_MAP_FILE, Some(ENOSPC), &[(4, 40)]).in_state(FULL),
    // However few there are: one call makes many, or they are not counted any more.
    row("CVE-2019-3882", Surface::Iommufd, IOAS_COPY, Some(ENOSPC), &[(4, 40)]),
    row("CVE-2019-3882", Surface::Iommufd, VFIO_IOAS, Some(ENOSPC), &[(4, 12), (4, 7), (2, 1), (2, 0)]),
    row("CVE-2019-3882", Surface::Iommufd, VFIO_IOAS, Some(ENOSPC), &[(4, 12), (4, 0), (2, 2), (2, 0)]),
    row("CVE-2019-3882", Surface::Iommufd, VFIO_IOAS, None, &[(4, 12), (4, 0), (2, 0), (2, 0)]),
    // size, option_id, op, __reserved, object_id, val64
    row("CVE-2019-3882", Surface::Iommufd, OPTION, Some(ENOSPC), &[(4, 24), (4, 1), (2, 0), (2, 0), (4, 7), (8, 0)]),
    row("CVE-2019-3882", Surface::Iommufd, OPTION, None, &[(4, 24), (4, 1), (2, 1), (2, 0), (4, 7), (8, 0)]),
    row("CVE-2019-3882", Surface::Iommufd, OPTION, None, &[(4, 24), (4, 1), (2, 0), (2, 0), (4, 7), (8, 1)]),
    row("CVE-2019-3882", Surface::Iommufd, OPTION, None, &[(4, 24), (4, 0), (2, 0), (2, 0), (4, 0), (8, 0)]),
    row("CVE-2019-3882", Surface::Iommufd, IOAS_MAP, None, &[(4, 40)]).in_state(NEARLY_FULL),
    row("CVE-2019-3882", Surface::Iommufd, IOAS_UNMAP, None, &[(4, 24)]).in_state(FULL),

    row("CVE-2020-36310", Surface::KvmVcpu, RUN, Some(EPERM), &[]),
    row("CVE-2020-36310", Surface::KvmVcpu, RUN, None, &[]).in_state(State { memslots: 1, ..NEW }),
    row("CVE-2020-36310", Surface::KvmVcpu, RUN, None, &[]).in_state(RUNNING),
    // slot, flags, guest_phys_addr, memory_size, userspace_addr
    row("CVE-2020-36310", Surface::KvmVm, SET_REGION, Some(EPERM), &[(4, 0), (4, 0), (8, 0), (8, 0), (8, 0)]).in_state(RUNNING),
    row("CVE-2020-36310", Surface::KvmVm, SET_REGION2, Some(EPERM), &[(4, 0), (4, 0), (8, 0), (8, 0), (8, 0)]).in_state(RUNNING),
    row("CVE-2020-36310", Surface::KvmVm, SET_REGION, Some(EPERM), &[(4, 0), (4, 0), (8, 1 << 32), (8, 4096), (8, 0)]).in_state(RUNNING),
    row("CVE-2020-36310", Surface::KvmVm, SET_REGION, None, &[(4, 1), (4, 0), (8, 0), (8, 0), (8, 0)]).in_state(RUNNING),
    row("CVE-2020-36310", Surface::KvmVm, SET_REGION, None, &[(4, 0), (4, 1), (8, 0), (8, 4096), (8, 0)]).in_state(RUNNING),
    row("CVE-2020-36310", Surface::KvmVm, SET_REGION, None, &[(4, 0), (4, 0), (8, 0), (8, 0), (8, 0)]),

    row("CVE-2021-4095", Surface::KvmVm, XEN_SET_ATTR, Some(EPERM), &[(8, 1)]).in_state(WITH_RING),
    row("CVE-2021-4095", Surface::KvmVm, XEN_SET_ATTR, Some(EPERM), &[(8, 6)]).in_state(WITH_ACQ_REL_RING),
    row("CVE-2021-4095", Surface::KvmVm, XEN_SET_ATTR, None, &[(8, 1)]).in_state(WITH_ANOTHER),
    row("CVE-2021-4095", Surface::KvmVm, XEN_SET_ATTR, None, &[(8, 1)]),
    row("CVE-2021-4095", Surface::KvmVm, XEN_SET_ATTR, None, &[(8, 0)]).in_state(WITH_RING),

    // nmsrs, pad; index, reserved, data
    row("CVE-2022-2153", Surface::KvmVcpu, SET_MSRS, Some(EPERM), &[(4, 1), (4, 0), (4, 0x4000_00b0), (4, 0), (8, 1)]),
    row("CVE-2022-2153", Surface::KvmVcpu, SET_MSRS, None, &[(4, 1), (4, 0), (4, 0x4000_00b0), (4, 0), (8, 1)]).in_state(WITH_APIC),
    row("CVE-2022-2153", Surface::KvmVcpu, SET_MSRS, None, &[(4, 1), (4, 0), (4, 0x4000_00b0), (4, 0), (8, 1)]).in_state(SPLIT),
    row("CVE-2022-2153", Surface::KvmVcpu, SET_MSRS, None, &[(4, 1), (4, 0), (4, 0x4000_00b0), (4, 0), (8, 0)]),
    row("CVE-2022-2153", Surface::KvmVcpu, SET_ONE_REG, Some(EPERM), &[(8, 0x2030_0002_4000_0090), (8, 0)]),
    row("CVE-2022-2153", Surface::KvmVcpu, SET_ONE_REG, None, &[(8, 0x2030_0002_4000_0090), (8, 0)]).in_state(SPLIT),

    // nent, padding; function, eax, ... and function, index, flags, eax, ...
    row("CVE-2025-21779", Surface::KvmVcpu, SET_CPUID, Some(EPERM), &[(4, 1), (4, 0), (4, 0x4000_0001), (4, 0x3123_7648)]),
    row("CVE-2025-21779", Surface::KvmVcpu, SET_CPUID, None, &[(4, 1), (4, 0), (4, 0x4000_0001), (4, 0x3123_7648)]).in_state(WITH_APIC),
    row("CVE-2025-21779", Surface::KvmVcpu, SET_CPUID2, Some(EPERM), &[(4, 1), (4, 0), (4, 0x4000_0001), (8, 0), (4, 0x3123_7648)]),
    row("CVE-2025-21779", Surface::KvmVcpu, SET_CPUID2, None, &[(4, 1), (4, 0), (4, 0x4000_0001), (8, 0), (4, 0x3123_7648)]).in_state(SPLIT),
    row("CVE-2025-21779", Surface::KvmVcpu, SET_CPUID2, None, &[(4, 1), (4, 0), (4, 0x4000_0001), (8, 0), (4, 0)]),

    row("CVE-2026-31588", Surface::KvmVcpu, RUN, Some(EPERM), &[]).in_state(FOREIGN),
    row("CVE-2026-31588", Surface::KvmVcpu, RUN, None, &[]).in_state(RAN),
    row("CVE-2026-31588", Surface::KvmVcpu, RUN, None, &[]),

    row("CVE-2026-31591", Surface::KvmVcpu, RUN, Some(EPERM), &[]).in_state(SNP),
    row("CVE-2026-31591", Surface::KvmVcpu, RUN, None, &[]).in_state(LAUNCHED),
    row("CVE-2026-31591", Surface::KvmVcpu, RUN, None, &[]),

    row("CVE-2026-31593", Surface::KvmVm, ENCRYPT_OP, Some(EPERM), &[(4, 102)]).in_state(LAUNCHED),
    row("CVE-2026-31593", Surface::KvmVm, ENCRYPT_OP, None, &[(4, 102)]).in_state(SNP),
    row("CVE-2026-31593", Surface::KvmVm, ENCRYPT_OP, None, &[(4, 101)]).in_state(LAUNCHED),
    row("CVE-2026-31593", Surface::KvmVm, CREATE_VCPU, Some(EPERM), &[]).in_state(LAUNCHED),
    row("CVE-2026-31593", Surface::KvmVm, CREATE_VCPU, None, &[]).in_state(SNP),

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
    let phase = match row.state.is_running {
        true => Phase::Running,
        false => Phase::Setup,
    };
    assert!(policy.dids.len() <= 1, "{}", row.cve);
    let section = policy.section(ProfileId::OTHER, phase).unwrap();
    let head = policy.head_in(section, row.surface, row.command).unwrap();
    let state = row.state.bytes();
    let fetched = policy
        .fetch(
            head,
            &request,
            InList::<Heap>::new(),
            &mut Caller(bytes.collect()),
        )
        .unwrap();
    let decision = policy
        .decide(
            head,
            &request,
            Bytes {
                state: &state,
                ..fetched.bytes()
            },
            |_| (),
        )
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

/// Of every file about these surfaces, or that a row is about: a rule that no row meets is a rule that
/// nobody knows to work.
#[test]
fn every_rule_is_met() {
    let surfaces: BTreeSet<&str> = ROWS
        .iter()
        .filter(|row| !Scope::Vm.has(row.surface))
        .map(|row| row.surface.name())
        .collect();
    let has_rows = |cve: &str| ROWS.iter().any(|row| row.cve == cve);
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
            let is_rule = match words.next() {
                Some("deny") => words
                    .next()
                    .is_some_and(|surface| surfaces.contains(surface) || has_rows(&cve)),
                first => first == Some("limit"),
            };
            if is_rule {
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
