// SPDX-License-Identifier: GPL-2.0

//! What is noted of calls that succeed.

use super::{request, Outcome, CHECK_EXTENSION, CREATE_VCPU, EPERM, RUN};
use crate::fetch::PADDING;
use crate::schema::Place;
use crate::{
    effect, growth, parse, Bytes, Effect, Grow, Iova, Request, State, StateNeed, Surface, Verdict,
};

use Surface::{Iommufd, Kvm, KvmDevice, KvmVcpu, KvmVm, VfioContainer};
use Verdict::Allow;

const CREATE_VM: u32 = 0xae01;
const ENABLE_CAP: u32 = 0x4068_aea3;
const REGISTER_ZONE: u32 = 0x4010_ae67;
const UNREGISTER_ZONE: u32 = 0x4010_ae68;
const SET_DEVICE_ATTR: u32 = 0x4018_aee1;
const ENCRYPT_OP: u32 = 0xc008_aeba;
const ENCRYPT_OP_COMPAT: u32 = 0xc004_aeba;
const SET_CPUID2: u32 = 0x4008_ae90;
const MAP_DMA: u32 = 0x3b71;
const UNMAP_DMA: u32 = 0x3b72;
const DESTROY: u32 = 0x3b80;
const IOAS_COPY: u32 = 0x3b83;
const IOAS_MAP: u32 = 0x3b85;
const IOAS_UNMAP: u32 = 0x3b86;
const IOAS_MAP_FILE: u32 = 0x3b8f;

type Argument = [u8; 128 + PADDING];

/// An argument that begins with these numbers: each with its width.
fn argument(numbers: &[(usize, u64)]) -> Argument {
    let mut bytes = [0; 128 + PADDING];
    let mut at = 0;
    for (width, number) in numbers {
        let number = number.to_le_bytes();
        if let (Some(place), Some(number)) = (bytes.get_mut(at..at + width), number.get(..*width)) {
            place.copy_from_slice(number);
        }
        at += width;
    }
    bytes
}

fn of(argument: &Argument) -> Bytes<'_> {
    Bytes {
        argument,
        ..Bytes::default()
    }
}

/// A memory slot that is there cannot grow: what its caller says is no reason to refuse others.
pub fn only_a_new_slot_adds_memory<S: Grow>() -> Outcome {
    const SET_REGION: u32 = 0x4020_ae46;
    let huge = argument(&[(4, 0), (4, 0), (8, 0), (8, !0xfff), (8, 0)]);
    let request = request(KvmVm, SET_REGION, 0);
    let memory = |slot| growth(&request, of(&huge), slot).memory;
    check!(memory(0) == !0xfff);
    check!(memory(4096) == 0);
    let vcpu = super::request(KvmVm, CREATE_VCPU, 0);
    let growth = growth(&vcpu, Bytes::default(), 0);
    check!((growth.vms, growth.vcpus, growth.memory) == (0, 1, 0));
    Ok(())
}

/// Such a command is never decided by one comparison, and all of its struct is read.
pub fn what_is_noted_has_no_shortcut<S: Grow>() -> Outcome {
    let plain = policy!("default allow", "allow kvm *", "allow kvm-vm *");
    let asks = policy!(
        "default allow",
        "allow kvm *",
        "allow kvm-vm *",
        "audit KVM_RUN if vm.did(KVM_CREATE_VCPU) == 1 and vm.did(KVM_TDX_INIT_VCPU) == 1",
        "audit KVM_RUN if vm.did(KVM_CHECK_EXTENSION) == 1",
    );
    for (surface, command, bytes, noted) in [
        (Kvm, CREATE_VM, 0, [true, true]),
        (KvmVm, ENABLE_CAP, 104, [true, true]),
        (KvmVcpu, ENABLE_CAP, 104, [true, true]),
        (KvmVm, REGISTER_ZONE, 16, [true, true]),
        (KvmVm, UNREGISTER_ZONE, 16, [true, true]),
        (KvmDevice, SET_DEVICE_ATTR, 24, [true, true]),
        (VfioContainer, MAP_DMA, 32, [true, true]),
        (VfioContainer, UNMAP_DMA, 24, [true, true]),
        (Iommufd, IOAS_MAP, 40, [true, true]),
        (Iommufd, IOAS_MAP_FILE, 40, [true, true]),
        (Iommufd, IOAS_COPY, 40, [true, true]),
        (Iommufd, IOAS_UNMAP, 24, [true, true]),
        (Iommufd, DESTROY, 8, [true, true]),
        // Where it is asked for.
        (KvmVm, CREATE_VCPU, 0, [false, true]),
        (KvmVm, ENCRYPT_OP, 24, [false, true]),
        (KvmVm, ENCRYPT_OP_COMPAT, 24, [false, true]),
        (KvmVcpu, ENCRYPT_OP, 24, [false, true]),
        (KvmVm, CHECK_EXTENSION, 0, [false, true]),
        // Of /dev/kvm: no VM is called.
        (Kvm, CHECK_EXTENSION, 0, [false, false]),
        // Never.
        (KvmVcpu, RUN, 0, [false, false]),
        (KvmVcpu, SET_DEVICE_ATTR, 24, [false, false]),
        (VfioContainer, IOAS_MAP, 40, [false, false]),
    ] {
        for (policy, noted) in [&plain, &asks].into_iter().zip(noted) {
            let head = policy.head(surface, command).ok_or(line!())?;
            for compat in [false, true] {
                let reads = policy.reads(head, compat).ok_or(line!())?;
                check!(reads.noted == noted);
                check!(reads.argument == if noted { bytes } else { 0 });
                check!(reads.is_of_memory() == (noted && bytes > 0));
                check!(!noted || (!reads.is_nothing() && reads.at_once == 0));
            }
            check!(!noted || policy.plain_allow(surface, command).is_none());
        }
    }
    check!(plain.plain_allow(KvmVm, CREATE_VCPU).is_some());
    Ok(())
}

/// Each command's effect is told by its own fields.
pub fn effects_of_calls<S: Grow>() -> Outcome {
    let mapped = |space, iova, bytes| Effect::Mapped { space, iova, bytes };
    let chosen = |offset| Iova::WrittenTo(Place { offset, width: 8 });
    type Row<'a> = (Surface, u32, &'a [(usize, u64)], Effect);
    let rows: [Row<'_>; 28] = [
        (Kvm, CREATE_VM, &[], Effect::VmMade),
        (KvmVm, CREATE_VM, &[], Effect::None),
        (KvmVm, CREATE_VCPU, &[], Effect::None),
        (KvmVcpu, RUN, &[], Effect::None),
        (
            KvmVm,
            ENABLE_CAP,
            &[(4, 121), (4, 7)],
            Effect::CapEnabled(121),
        ),
        (
            KvmVcpu,
            ENABLE_CAP,
            &[(4, 123), (4, 7)],
            Effect::CapEnabled(123),
        ),
        (KvmVm, REGISTER_ZONE, &[], Effect::ZonesChanged),
        (KvmVm, UNREGISTER_ZONE, &[], Effect::ZonesChanged),
        // flags, KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD and _DEL; another attribute, another group.
        (
            KvmDevice,
            SET_DEVICE_ATTR,
            &[(4, 0), (4, 1), (8, 1)],
            Effect::FileAdded,
        ),
        (
            KvmDevice,
            SET_DEVICE_ATTR,
            &[(4, 0), (4, 1), (8, 2)],
            Effect::FileRemoved,
        ),
        (
            KvmDevice,
            SET_DEVICE_ATTR,
            &[(4, 0), (4, 1), (8, 3)],
            Effect::None,
        ),
        (
            KvmDevice,
            SET_DEVICE_ATTR,
            &[(4, 0), (4, 2), (8, 1)],
            Effect::None,
        ),
        (
            KvmVcpu,
            SET_DEVICE_ATTR,
            &[(4, 0), (4, 1), (8, 1)],
            Effect::None,
        ),
        // argsz, flags, vaddr, iova, size
        (
            VfioContainer,
            MAP_DMA,
            &[(4, 32), (4, 3), (8, 1), (8, 2), (8, 3)],
            mapped(0, Iova::Told(2), 3),
        ),
        // VFIO_DMA_MAP_FLAG_VADDR: no new one.
        (
            VfioContainer,
            MAP_DMA,
            &[(4, 32), (4, 4), (8, 1), (8, 2), (8, 3)],
            Effect::None,
        ),
        // argsz, flags, iova, size
        (
            VfioContainer,
            UNMAP_DMA,
            &[(4, 24), (4, 0), (8, 2), (8, 3)],
            Effect::Unmapped {
                space: 0,
                iova: 2,
                bytes: 3,
            },
        ),
        (
            VfioContainer,
            UNMAP_DMA,
            &[(4, 24), (4, 2), (8, 0), (8, 0)],
            Effect::UnmappedAll { space: 0 },
        ),
        // VFIO_DMA_UNMAP_FLAG_VADDR, with and without VFIO_DMA_UNMAP_FLAG_ALL.
        (
            VfioContainer,
            UNMAP_DMA,
            &[(4, 24), (4, 4), (8, 2), (8, 3)],
            Effect::None,
        ),
        (
            VfioContainer,
            UNMAP_DMA,
            &[(4, 24), (4, 6), (8, 0), (8, 0)],
            Effect::None,
        ),
        // size, flags, ioas_id, __reserved, user_va, length, iova
        (
            Iommufd,
            IOAS_MAP,
            &[(4, 40), (4, 7), (4, 5), (4, 0), (8, 1), (8, 3), (8, 2)],
            mapped(5, Iova::Told(2), 3),
        ),
        (
            Iommufd,
            IOAS_MAP,
            &[(4, 40), (4, 6), (4, 5), (4, 0), (8, 1), (8, 3), (8, 2)],
            mapped(5, chosen(32), 3),
        ),
        (
            Iommufd,
            IOAS_MAP_FILE,
            &[(4, 40), (4, 1), (4, 5), (4, 9), (8, 1), (8, 3), (8, 2)],
            mapped(5, Iova::Told(2), 3),
        ),
        // size, flags, dst_ioas_id, src_ioas_id, length, dst_iova, src_iova
        (
            Iommufd,
            IOAS_COPY,
            &[(4, 40), (4, 1), (4, 5), (4, 6), (8, 3), (8, 2), (8, 1)],
            mapped(5, Iova::Told(2), 3),
        ),
        (
            Iommufd,
            IOAS_COPY,
            &[(4, 40), (4, 0), (4, 5), (4, 6), (8, 3), (8, 2), (8, 1)],
            mapped(5, chosen(24), 3),
        ),
        // size, ioas_id, iova, length
        (
            Iommufd,
            IOAS_UNMAP,
            &[(4, 24), (4, 5), (8, 2), (8, 3)],
            Effect::Unmapped {
                space: 5,
                iova: 2,
                bytes: 3,
            },
        ),
        (
            Iommufd,
            IOAS_UNMAP,
            &[(4, 24), (4, 5), (8, 0), (8, u64::MAX)],
            Effect::UnmappedAll { space: 5 },
        ),
        (Iommufd, DESTROY, &[(4, 8), (4, 5)], Effect::SpaceGone(5)),
        (Iommufd, 0x3b81, &[(4, 8), (4, 5)], Effect::None),
    ];
    for (surface, command, numbers, expected) in rows {
        let argument = argument(numbers);
        check!(effect(&request(surface, command, 0), of(&argument)) == expected);
    }
    // What has not been read says nothing.
    check!(effect(&request(KvmVm, ENABLE_CAP, 0), Bytes::default()) == Effect::None);
    Ok(())
}

/// `vm.did()`: a command, a variant, each once; two names of one number are the same.
pub fn what_was_done_is_a_bit<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_SET_CPUID2 if vm.did(KVM_CREATE_VCPU) == 1 and vm.did(KVM_SEV_SNP_LAUNCH_FINISH) == 0",
        "deny KVM_RUN if vm.did(KVM_SEV_LAUNCH_START) != 0",
        "audit KVM_RUN if vm.did(KVM_TDX_INIT_VCPU) != 1",
        "audit KVM_RUN if vm.did(KVM_MEMORY_ENCRYPT_OP) == 1 and vm.did(KVM_CREATE_VCPU) == 1",
    );
    // In the order of the text.
    check!(policy.dids.len() == 4);
    let say = |command, did| {
        let state = State { did, ..State::NEW };
        let state = state.bytes();
        let bytes = Bytes {
            state: &state,
            ..Bytes::default()
        };
        let head = policy.head(KvmVcpu, command)?;
        let reads = policy.reads(head, false)?;
        let call = request(KvmVcpu, command, 0);
        let decision = policy.decide(head, &call, bytes, |_| {})?;
        (reads.state == StateNeed::DID && reads.state.changes()).then_some(decision.verdict)
    };
    for did in 0..16 {
        let denied = did & 1 != 0 && did & 2 == 0;
        check!(say(SET_CPUID2, did) == Some(if denied { EPERM } else { Allow }));
        let denied = did & 4 != 0;
        check!(say(RUN, did) == Some(if denied { EPERM } else { Allow }));
    }
    for (surface, command, id, expected) in [
        (KvmVm, CREATE_VCPU, 0, 1),
        (KvmVm, ENCRYPT_OP, 102, 2 | 8),
        (KvmVm, ENCRYPT_OP, 2, 4 | 8),
        (KvmVm, ENCRYPT_OP, 3, 8),
        (KvmVm, ENCRYPT_OP_COMPAT, 102, 2 | 8),
        (KvmVcpu, ENCRYPT_OP, 2, 4 | 8),
        (KvmVcpu, CREATE_VCPU, 0, 0),
        (Kvm, ENCRYPT_OP, 2, 0),
        (KvmVcpu, RUN, 0, 0),
    ] {
        let argument = argument(&[(4, id), (4, u64::MAX)]);
        let call = request(surface, command, 0);
        let mut found = 0_u32;
        for (place, key) in policy.dids_of(&call, of(&argument)) {
            found |= 1 << place;
            check!(policy.dids.get(place).ok_or(line!())?.key() == key);
        }
        check!(found == expected);
    }
    Ok(())
}

/// More than a byte of them, each its own.
pub fn each_bit_of_what_was_done<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_RUN if vm.did(KVM_CREATE_VCPU) == 1",
        "deny KVM_RUN if vm.did(KVM_CREATE_IRQCHIP) == 1",
        "deny KVM_RUN if vm.did(KVM_CREATE_PIT2) == 1",
        "deny KVM_RUN if vm.did(KVM_IRQFD) == 1",
        "deny KVM_RUN if vm.did(KVM_IOEVENTFD) == 1",
        "deny KVM_RUN if vm.did(KVM_SET_TSS_ADDR) == 1",
        "deny KVM_RUN if vm.did(KVM_SET_CLOCK) == 1",
        "deny KVM_RUN if vm.did(KVM_SET_CPUID2) == 1",
        "deny KVM_RUN if vm.did(KVM_SET_MSRS) == 1",
        "deny KVM_RUN if vm.did(KVM_SET_LAPIC) == 1",
        "deny KVM_RUN if vm.did(KVM_NMI) == 1",
    );
    let head = policy.head(KvmVcpu, RUN).ok_or(line!())?;
    for bit in 0..32 {
        let state = State {
            did: 1 << bit,
            ..State::NEW
        };
        let state = state.bytes();
        let bytes = Bytes {
            state: &state,
            ..Bytes::default()
        };
        let call = request(KvmVcpu, RUN, 0);
        let decision = policy.decide(head, &call, bytes, |_| {}).ok_or(line!())?;
        let rule = policy.rule(decision.link).ok_or(line!())?;
        // The first of them is on line 4, the default on line 3.
        check!(rule.line == if bit < 11 { 4 + bit } else { 3 });
    }
    Ok(())
}

/// Another policy asks for the same in another order.
pub fn what_was_done_outlives_its_policy<S: Grow>() -> Outcome {
    let one = policy!(
        "default allow",
        "deny KVM_RUN if vm.did(KVM_CREATE_VCPU) == 1 and vm.did(KVM_SEV_LAUNCH_START) == 0",
    );
    let two = policy!(
        "default allow",
        "deny KVM_RUN if vm.did(KVM_MEMORY_ENCRYPT_OP) == 1 and vm.did(KVM_TDX_INIT_VCPU) == 0",
        "deny KVM_RUN if vm.did(KVM_CREATE_VCPU) == 1",
    );
    let places = |call: &Request, argument| {
        let known = one.dids_of(call, of(argument)).map(|(_, key)| key).next();
        let known = known?;
        two.dids.iter().position(|did| did.key() == known)
    };
    let checks = policy!(
        "default allow",
        "deny KVM_RUN if vm.did(KVM_CHECK_EXTENSION) == 1"
    );
    let done = |surface| {
        let call = request(surface, CHECK_EXTENSION, 0);
        checks.dids_of(&call, Bytes::default()).count()
    };
    check!(done(KvmVm) == 1 && done(Kvm) == 0);
    let start = argument(&[(4, 2)]);
    check!(places(&request(KvmVm, CREATE_VCPU, 0), &start) == Some(2));
    check!(places(&request(KvmVm, ENCRYPT_OP, 0), &start) == Some(1));
    Ok(())
}

/// Whoever has to find out the state is told which part of it.
pub fn parts_of_the_state_are_told_apart<S: Grow>() -> Outcome {
    let mut seen = StateNeed::NOTHING;
    for field in &crate::state::FIELDS {
        let part = StateNeed::at(field.offset);
        check!(part.0.is_power_of_two() && !part.is_empty());
        // Some share one.
        let shared = ["vcpu.", "profile."]
            .iter()
            .any(|family| field.name.starts_with(family));
        check!(shared || !seen.has(part));
        seen = seen.and(part);
        let steady = ["vm.type", "thread.vcpu", "thread.traced"].contains(&field.name);
        check!(part.changes() != steady);
    }
    check!(!seen.has(StateNeed::RATE) && !StateNeed::RATE.changes());
    check!(!StateNeed::NOTHING.changes() && StateNeed::NOTHING.is_empty());
    // Every bit of those that have many is the same part.
    for offset in 0..State::BYTES {
        let offset = u32::try_from(offset).map_err(|_| line!())?;
        let part = StateNeed::at(offset);
        check!(part.is_empty() || part.0.is_power_of_two());
    }
    Ok(())
}
