// SPDX-License-Identifier: GPL-2.0

//! Limits and rates.

use super::{judge, request, Outcome, CREATE_VCPU, EACCES, EPERM, RUN};
use crate::fetch::PADDING;
use crate::{
    check, parse, Bytes, Grow, Kind, Phase, Policy, ProfileId, Rate, State, StateNeed, Surface,
    Verdict,
};

use Surface::{Iommufd, Kvm, KvmVcpu, KvmVm, VfioContainer};
use Verdict::Allow;

const CREATE_VM: u32 = 0xae01;
const SET_REGION: u32 = 0x4020_ae46;
const SET_REGION2: u32 = 0x40a0_ae49;
const IRQFD: u32 = 0x4020_ae76;
const IOEVENTFD: u32 = 0x4040_ae79;
const REGISTER_ZONE: u32 = 0x4010_ae67;
const UNREGISTER_ZONE: u32 = 0x4010_ae68;
const CREATE_DEVICE: u32 = 0xc00c_aee0;
const SET_IOMMU: u32 = 0x3b66;
const MAP_DMA: u32 = 0x3b71;
const UNMAP_DMA: u32 = 0x3b72;
const IOAS_COPY: u32 = 0x3b83;
const IOAS_MAP: u32 = 0x3b85;
const IOAS_UNMAP: u32 = 0x3b86;
const OPTION: u32 = 0x3b87;
const VFIO_IOAS: u32 = 0x3b88;
const IOAS_MAP_FILE: u32 = 0x3b8f;

const ENOSPC: Verdict = Verdict::Deny { errno: 28 };
const ENOMEM: Verdict = Verdict::Deny { errno: 12 };
const EAGAIN: Verdict = Verdict::Deny { errno: 11 };

/// The verdict about a call whose argument has these numbers at these offsets.
fn with<S: Grow>(
    policy: &Policy<S>,
    surface: Surface,
    command: u32,
    numbers: &[(usize, u64)],
    state: &State,
) -> Option<Verdict> {
    let mut argument = [0; 256 + PADDING];
    for (offset, number) in numbers {
        let place = argument.get_mut(*offset..offset + 8)?;
        place.copy_from_slice(&number.to_le_bytes());
    }
    let state = state.bytes();
    let bytes = Bytes {
        argument: &argument,
        state: &state,
        ..Bytes::default()
    };
    let head = policy.head(surface, command)?;
    let decision = policy.decide(head, &request(surface, command, 0), bytes, |_| {})?;
    Some(decision.verdict)
}

/// Where a slot's `memory_size` stands.
const SIZE: usize = 16;

/// The last one is let through, and not one more.
pub fn each_limit_is_kept_exactly<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "limit vms 3",
        "limit vcpus 4",
        "limit memslots 5",
        "limit irqfds 6",
        "limit ioeventfds 7",
        "limit zones 8",
        "limit devices 9",
        "limit mappings 10",
    );
    type Set = fn(&mut State) -> &mut u32;
    let rows: [(u32, Surface, &[u32], Set); 9] = [
        (3, Kvm, &[CREATE_VM], |state| &mut state.profile_vms),
        (4, KvmVm, &[CREATE_VCPU], |state| &mut state.vcpus),
        (5, KvmVm, &[SET_REGION, SET_REGION2], |state| {
            &mut state.memslots
        }),
        (6, KvmVm, &[IRQFD], |state| &mut state.irqfds),
        (7, KvmVm, &[IOEVENTFD], |state| &mut state.ioeventfds),
        (8, KvmVm, &[REGISTER_ZONE], |state| &mut state.zones),
        (9, KvmVm, &[CREATE_DEVICE], |state| &mut state.devices),
        (10, VfioContainer, &[MAP_DMA], |state| &mut state.mappings),
        (10, Iommufd, &[IOAS_MAP, IOAS_MAP_FILE], |state| {
            &mut state.mappings
        }),
    ];
    for (most, surface, commands, count) in rows {
        for &command in commands {
            // A size where there is one, and flags that make the call no other.
            let argument: &[_] = match surface {
                KvmVm if matches!(command, SET_REGION | SET_REGION2) => &[(SIZE, 4096)],
                _ => &[],
            };
            for (there, expected) in [
                (0, Allow),
                (most - 1, Allow),
                (most, ENOSPC),
                (u32::MAX, ENOSPC),
            ] {
                let mut state = State::NEW;
                *count(&mut state) = there;
                check!(with(&policy, surface, command, argument, &state) == Some(expected));
            }
            // All else may be as much as it likes.
            let mut state = State {
                profile_vms: 100,
                vcpus: 100,
                memslots: 100,
                irqfds: 100,
                ioeventfds: 100,
                zones: 100,
                devices: 100,
                mappings: 100,
                memory: 1 << 60,
                ..State::NEW
            };
            *count(&mut state) = most - 1;
            check!(with(&policy, surface, command, argument, &state) == Some(Allow));
        }
    }
    Ok(())
}

/// What is there already may be changed and deleted, however little there may be.
pub fn memory_is_limited_where_it_grows<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "limit memory 1G", "limit memslots 2");
    let there = |memory, slot, memslots| State {
        memory,
        slot,
        memslots,
        ..State::NEW
    };
    const G: u64 = 1 << 30;
    for command in [SET_REGION, SET_REGION2] {
        for (size, state, expected) in [
            (G, there(0, 0, 0), Allow),
            (G + 4096, there(0, 0, 0), ENOMEM),
            (G / 2, there(G / 2, 0, 1), Allow),
            (G / 2, there(G / 2 + 4096, 0, 1), ENOMEM),
            // It does not wrap.
            (u64::MAX, there(G, 0, 1), ENOMEM),
            // The same slot again: moved, or with other flags.
            (G, there(G, G, 1), Allow),
            // There was more before the policy came.
            (2 * G, there(8 * G, 2 * G, 9), Allow),
            // Deleted; or never there.
            (0, there(8 * G, 2 * G, 9), Allow),
            (0, there(8 * G, 0, 9), Allow),
            (4096, there(0, 0, 2), ENOSPC),
        ] {
            let found = with(&policy, KvmVm, command, &[(SIZE, size)], &state);
            check!(found == Some(expected));
        }
    }
    Ok(())
}

/// A call that gives back, or only asks, is let through.
pub fn what_takes_nothing_is_not_limited<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "limit irqfds 1",
        "limit ioeventfds 1",
        "limit zones 1",
        "limit devices 1",
        "limit mappings 1",
    );
    let full = State {
        irqfds: 1,
        ioeventfds: 1,
        zones: 1,
        devices: 1,
        mappings: 1,
        ..State::NEW
    };
    let rows: [(Surface, u32, usize, u64, Verdict); 11] = [
        // KVM_IRQFD_FLAG_DEASSIGN, with KVM_IRQFD_FLAG_RESAMPLE or without; then that alone.
        (KvmVm, IRQFD, 8, 1, Allow),
        (KvmVm, IRQFD, 8, 3, Allow),
        (KvmVm, IRQFD, 8, 2, ENOSPC),
        // KVM_IOEVENTFD_FLAG_DEASSIGN, and KVM_IOEVENTFD_FLAG_DATAMATCH with _PIO.
        (KvmVm, IOEVENTFD, 24, 4, Allow),
        (KvmVm, IOEVENTFD, 24, 7, Allow),
        (KvmVm, IOEVENTFD, 24, 3, ENOSPC),
        (KvmVm, UNREGISTER_ZONE, 0, 0, Allow),
        // KVM_CREATE_DEVICE_TEST
        (KvmVm, CREATE_DEVICE, 8, 1, Allow),
        (KvmVm, CREATE_DEVICE, 8, 2, ENOSPC),
        (VfioContainer, UNMAP_DMA, 0, 0, Allow),
        (VfioContainer, MAP_DMA, 0, 0, ENOSPC),
    ];
    for (surface, command, offset, flags, expected) in rows {
        let found = with(&policy, surface, command, &[(offset, flags)], &full);
        check!(found == Some(expected));
    }
    Ok(())
}

/// What would let there be more mappings than are counted is refused while there is none.
pub fn no_mapping_escapes<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "limit mappings 10 errno EACCES");
    let free = policy!("default allow", "limit vms 1");
    // option_id, op and val64; op
    let option = |id, op, value| [(4, id), (8, op), (16, value)];
    type Row<'a> = (u32, &'a [(usize, u64)], Verdict);
    let rows: [Row<'_>; 11] = [
        (IOAS_COPY, &[], EACCES),
        (IOAS_COPY, &[(4, 7), (16, 4096)], EACCES),
        // IOMMU_OPTION_RLIMIT_MODE; then IOMMU_OPTION_HUGE_PAGES: not, told, and wanted
        (OPTION, &option(0, 0, 0), Allow),
        (OPTION, &option(1, 0, 0), EACCES),
        (OPTION, &option(1, 1, 0), Allow),
        (OPTION, &option(1, 0, 1), Allow),
        // IOMMU_VFIO_IOAS_GET, _SET, _CLEAR
        (VFIO_IOAS, &[(8, 0)], Allow),
        (VFIO_IOAS, &[(4, 9), (8, 1)], EACCES),
        (VFIO_IOAS, &[(8, 2)], EACCES),
        (IOAS_UNMAP, &[(8, 4096)], Allow),
        (IOAS_MAP, &[], Allow),
    ];
    for (command, argument, expected) in rows {
        let state = State::NEW;
        check!(with(&policy, Iommufd, command, argument, &state) == Some(expected));
        check!(with(&free, Iommufd, command, argument, &state) == Some(Allow));
    }
    // VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_NOIOMMU_IOMMU
    for (kind, expected) in [(1, EACCES), (3, Allow), (8, Allow), (0x1_0000_0001, Allow)] {
        check!(judge(&policy, request(VfioContainer, SET_IOMMU, kind)) == Some(expected));
    }
    Ok(())
}

/// Over all VMs of a profile, beside those of each.
pub fn limits_of_a_profile_are_sums<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "limit vcpus 4",
        "limit vcpus 8 per profile errno EACCES",
        "limit memory 4G",
        "limit memory 8G per profile errno EPERM",
    );
    const G: u64 = 1 << 30;
    let state = |vcpus, profile_vcpus| State {
        vcpus,
        profile_vcpus,
        memory: G * u64::from(vcpus),
        profile_memory: G * u64::from(profile_vcpus),
        ..State::NEW
    };
    for (state, vcpu, region) in [
        (state(0, 0), Allow, Allow),
        (state(3, 7), Allow, Allow),
        (state(4, 7), ENOSPC, ENOMEM),
        (state(3, 8), EACCES, EPERM),
        (state(0, 9), EACCES, EPERM),
        // The first in the text speaks.
        (state(5, 9), ENOSPC, ENOMEM),
    ] {
        check!(with(&policy, KvmVm, CREATE_VCPU, &[], &state) == Some(vcpu));
        check!(with(&policy, KvmVm, SET_REGION, &[(SIZE, G)], &state) == Some(region));
    }
    let head = policy.head(KvmVm, SET_REGION).ok_or(line!())?;
    let reads = policy.reads(head, false).ok_or(line!())?;
    let parts = StateNeed::MEMORY
        .and(StateNeed::SLOT)
        .and(StateNeed::PROFILE);
    check!(reads.state == parts && reads.state.changes());
    Ok(())
}

/// Wherever it stands, no rule of its profile is asked before it; those of others do not count.
pub fn limits_stand_in_front<S: Grow>() -> Outcome {
    let text = b"policy t version 1\n\
        profile a\nmatch uid 1\ndefault deny\n\
        allow kvm-vm KVM_CREATE_VCPU\n\
        audit kvm-vm *\n\
        deny kvm-vm * errno EACCES\n\
        limit vcpus 1\n\
        profile other\ndefault allow\nend\n";
    let policy = parse::<S>(text).map_err(|_| line!())?;
    for (profile, vcpus, expected, line) in [
        (ProfileId(1), 0, Allow, 5),
        (ProfileId(1), 1, ENOSPC, 8),
        (ProfileId::OTHER, 1, Allow, 10),
    ] {
        let section = policy.section(profile, Phase::Setup).ok_or(line!())?;
        let command = u64::from(CREATE_VCPU);
        let short = policy.plain_allow_in(section, KvmVm, command);
        check!(short.is_some() == (profile == ProfileId::OTHER));
        let head = policy.head_in(section, KvmVm, CREATE_VCPU).ok_or(line!())?;
        let state = State {
            vcpus,
            ..State::NEW
        };
        let state = state.bytes();
        let bytes = Bytes {
            state: &state,
            ..Bytes::default()
        };
        let mut audits = 0;
        let call = request(KvmVm, CREATE_VCPU, 0);
        let decision = policy.decide(head, &call, bytes, |_| audits += 1);
        let decision = decision.ok_or(line!())?;
        let rule = policy.rule(decision.link).ok_or(line!())?;
        check!(decision.verdict == expected && rule.line == line && audits == 0);
        check!(rule.is_limit == (expected == ENOSPC));
    }
    Ok(())
}

/// What the kernel itself would answer, unless another is named.
pub fn a_limit_has_an_errno_that_suits<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "limit KVM_RUN 1/s",
        "limit memory 4K",
        "limit zones 1",
        "limit kvm KVM_CREATE_VM 1/min errno EACCES reason \"no hurry\"",
    );
    let state = State {
        zones: 1,
        exceeded: 3,
        ..State::NEW
    };
    let say = |surface, command, argument: &[_]| with(&policy, surface, command, argument, &state);
    check!(say(KvmVcpu, RUN, &[]) == Some(EAGAIN));
    check!(say(KvmVm, SET_REGION, &[(SIZE, 8192)]) == Some(ENOMEM));
    check!(say(KvmVm, REGISTER_ZONE, &[]) == Some(ENOSPC));
    check!(say(Kvm, CREATE_VM, &[]) == Some(EACCES));
    Ok(())
}

/// Each rate of a profile has a bit, and its calls say that they use it up.
pub fn rates_are_told_and_looked_at<S: Grow>() -> Outcome {
    let text = b"policy t version 1\n\
        profile a\nmatch uid 1\ndefault allow\n\
        limit KVM_RUN 3/s\n\
        limit kvm-vm * 1K/min\n\
        limit kvm-vm 0x12345678, KVM_CREATE_VCPU 5/s\n\
        profile other\ndefault allow\n\
        limit KVM_CREATE_VCPU 7/min\nend\n";
    let policy = parse::<S>(text).map_err(|_| line!())?;
    let a = ProfileId(1);
    let rate = |count, per_ms| Some(Rate { count, per_ms });
    check!(policy.rate(a, 0) == rate(3, 1000));
    check!(policy.rate(a, 1) == rate(1024, 60_000));
    check!(policy.rate(a, 2) == rate(5, 1000));
    check!(policy.rate(a, 3).is_none());
    check!(policy.rate(ProfileId::OTHER, 0) == rate(7, 60_000));
    check!(policy.rate(ProfileId::OTHER, 1).is_none());
    for (profile, surface, command, rates) in [
        (a, KvmVcpu, RUN, 1),
        (a, KvmVm, CREATE_VCPU, 2 | 4),
        (a, KvmVm, 0x1234_5678, 2 | 4),
        (a, KvmVm, 0x1234_5679, 2),
        (a, Kvm, CREATE_VM, 0),
        (ProfileId::OTHER, KvmVcpu, RUN, 0),
        (ProfileId::OTHER, KvmVm, CREATE_VCPU, 1),
    ] {
        let section = policy.section(profile, Phase::Setup).ok_or(line!())?;
        let head = policy.head_in(section, surface, command).ok_or(line!())?;
        let reads = policy.reads(head, false).ok_or(line!())?;
        check!(reads.rates == rates);
        check!(reads.state.has(StateNeed::RATE) == (rates != 0));
        // Nobody waits for another to ask.
        check!(!reads.state.changes());
        for exceeded in 0..8 {
            let state = State {
                exceeded,
                ..State::NEW
            };
            let state = state.bytes();
            let bytes = Bytes {
                state: &state,
                ..Bytes::default()
            };
            let call = request(surface, command, 0);
            let decision = policy.decide(head, &call, bytes, |_| {}).ok_or(line!())?;
            let expected = match exceeded & rates {
                0 => Allow,
                _ => EAGAIN,
            };
            check!(decision.verdict == expected);
        }
    }
    Ok(())
}

/// A limit in front of rules that allow nothing does nothing.
pub fn a_limit_of_what_is_denied_is_odd<S: Grow>() -> Outcome {
    let text = b"policy t version 1\n\
        profile other\ndefault deny\n\
        limit vcpus 4\n\
        limit memslots 4\n\
        limit kvm-vcpu * 4/s\n\
        allow kvm-vm KVM_SET_USER_MEMORY_REGION2 if slot == 1\n\
        end\n";
    let Ok(checked) = check::<S>(text) else {
        return Err(line!());
    };
    let found = checked.warnings.list.iter();
    let found = found.map(|diagnosis| (diagnosis.line, diagnosis.kind));
    check!(found.eq([(4, Kind::LimitOfDenied), (6, Kind::LimitOfDenied)]));
    Ok(())
}
