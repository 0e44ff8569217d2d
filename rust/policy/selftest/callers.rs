// SPDX-License-Identifier: GPL-2.0

//! Profiles, the phases of a VM's life, and its state.

use super::{request, Outcome, CREATE_VCPU, EACCES, EINVAL, EPERM, NOBODYS, RUN};
use crate::{
    check, parse, schema, Bytes, Caller, Grow, Irqchip, Kind, Phase, Policy, ProfileId, State,
    StateNeed, Surface, Verdict,
};

use Surface::{Kvm, KvmVcpu, KvmVm};
use Verdict::Allow;

const GET_API_VERSION: u32 = 0xae00;
const CHECK_EXTENSION: u32 = 0xae03;

/// The policy of a whole text; it has no mistake.
macro_rules! whole {
    ($($line:expr),* $(,)?) => {
        match parse::<S>(concat!("policy test version 1\n", $($line, "\n",)* "end\n").as_bytes()) {
            Ok(policy) => policy,
            Err(_) => return Err(line!()),
        }
    };
}

/// The verdict about a call on a surface.
fn verdict<S: Grow>(
    policy: &Policy<S>,
    who: &Caller<'_>,
    phase: Phase,
    surface: Surface,
    command: u32,
    arg: u64,
    state: &State,
) -> Option<Verdict> {
    let section = policy.section(policy.profile_of(who)?, phase)?;
    let head = policy.head_in(section, surface, command)?;
    let state = state.bytes();
    let bytes = Bytes {
        state: &state,
        ..Bytes::default()
    };
    let decision = policy.decide(head, &request(surface, command, arg), bytes, |_| {})?;
    let short = policy.plain_allow_in(section, surface, command.into());
    if short.is_some_and(|link| link != decision.link || decision.verdict != Allow) {
        return None;
    }
    Some(decision.verdict)
}

/// The same for a VM that has just been made.
fn ask<S: Grow>(
    policy: &Policy<S>,
    who: &Caller<'_>,
    surface: Surface,
    command: u32,
) -> Option<Verdict> {
    verdict(policy, who, Phase::Setup, surface, command, 0, &State::NEW)
}

/// Whether a process has the profile of that place in the table.
fn has_profile<S: Grow>(policy: &Policy<S>, who: &Caller<'_>, place: u16) -> bool {
    policy.profile_of(who) == Some(ProfileId(place))
}

fn exe(path: &str) -> Caller<'_> {
    Caller {
        exe: Some(path.as_bytes()),
        ..Caller::default()
    }
}

/// The first whose lines hold speaks, and `other` for the rest.
pub fn the_first_profile_speaks<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile a",
        "match exe /usr/bin/a*",
        "default deny errno EACCES",
        "profile b",
        "match exe /usr/bin/ab, /usr/bin/b",
        "default deny errno EINVAL",
        "profile other",
        "default allow",
    );
    for (path, place, expected) in [
        ("/usr/bin/a", 1, EACCES),
        ("/usr/bin/ab", 1, EACCES),
        ("/usr/bin/b", 2, EINVAL),
        ("/usr/bin/c", 0, Allow),
    ] {
        check!(has_profile(&policy, &exe(path), place));
        check!(ask(&policy, &exe(path), KvmVcpu, RUN) == Some(expected));
    }
    check!(policy.profiles.len() == 3);
    check!(policy.section(ProfileId(3), Phase::Setup).is_none());
    Ok(())
}

/// All lines of a profile must hold, and one value of each.
pub fn every_match_line_must_hold<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile a",
        "match exe /usr/bin/a",
        "match uid 0, 1000..1999",
        "match gid 5",
        "default allow",
        "profile other",
        "default deny",
    );
    let who = Caller {
        uid: Some(1000),
        gid: Some(5),
        ..exe("/usr/bin/a")
    };
    check!(has_profile(&policy, &who, 1));
    for uid in [0, 1000, 1999] {
        let uid = Some(uid);
        check!(has_profile(&policy, &Caller { uid, ..who }, 1));
    }
    for uid in [Some(1), Some(999), Some(2000), Some(u32::MAX), None] {
        check!(has_profile(&policy, &Caller { uid, ..who }, 0));
    }
    check!(has_profile(
        &policy,
        &Caller {
            gid: Some(6),
            ..who
        },
        0
    ));
    check!(has_profile(&policy, &Caller { gid: None, ..who }, 0));
    check!(has_profile(&policy, &Caller { exe: None, ..who }, 0));
    Ok(())
}

/// In paths a star stops at a slash, in names not.
pub fn stars_of_paths_stop_at_slashes<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile a",
        "match exe /opt/*/vmm",
        "default allow",
        "profile b",
        "match exe \"/opt/**/v?m, 2\"",
        "default allow",
        "profile c",
        "match label libvirt-*",
        "default allow",
        "profile d",
        "match cgroup /machine.slice/*",
        "match comm vm*",
        "default allow",
        "profile other",
        "default deny",
    );
    check!(has_profile(&policy, &exe("/opt/x/vmm"), 1));
    check!(has_profile(&policy, &exe("/opt/x/y/vmm"), 0));
    check!(has_profile(&policy, &exe("/opt//vmm"), 1));
    check!(has_profile(&policy, &exe("/opt/x/y/vnm, 2"), 2));
    check!(has_profile(&policy, &exe("/opt/x/y/v/m, 2"), 0));
    let label = Some(&b"libvirt-1//&unconfined"[..]);
    check!(has_profile(
        &policy,
        &Caller {
            label,
            ..Caller::default()
        },
        3
    ));
    let who = Caller {
        cgroup: Some(b"/machine.slice/vm-1.scope"),
        comm: Some(b"vm/1"),
        ..Caller::default()
    };
    check!(has_profile(&policy, &who, 4));
    let cgroup = Some(&b"/machine.slice/vm-1.scope/emulator"[..]);
    check!(has_profile(&policy, &Caller { cgroup, ..who }, 0));
    let comm = None;
    check!(has_profile(&policy, &Caller { comm, ..who }, 0));
    Ok(())
}

/// Each profile has its own rules, shortcuts and default; a number that only one of them names is
/// counted under its own command in all.
pub fn profiles_have_rules_of_their_own<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile a",
        "match exe /a",
        "default deny",
        "allow KVM_RUN",
        "allow kvm-vm 0x12345678",
        "profile other",
        "default deny errno EACCES",
        "deny KVM_RUN errno EINVAL",
        "allow kvm-vm KVM_CREATE_VCPU",
    );
    for (path, run, create, nobodys) in [("/a", Allow, EPERM, Allow), ("/b", EINVAL, Allow, EACCES)]
    {
        check!(ask(&policy, &exe(path), KvmVcpu, RUN) == Some(run));
        check!(ask(&policy, &exe(path), KvmVm, CREATE_VCPU) == Some(create));
        check!(ask(&policy, &exe(path), KvmVm, NOBODYS) == Some(nobodys));
        let profile = policy.profile_of(&exe(path)).ok_or(line!())?;
        let section = policy.section(profile, Phase::Setup).ok_or(line!())?;
        check!(policy.section(profile, Phase::Running) == Some(section));
        let head = policy.head_in(section, KvmVm, NOBODYS).ok_or(line!())?;
        let target = policy.target(head.link).ok_or(line!())?;
        check!(target.surface == KvmVm && target.command == Some(NOBODYS));
        let rule = policy.rule(head.link).ok_or(line!())?;
        check!(usize::from(rule.profile) == profile.index());
    }
    // Nobody is let through unasked.
    check!(policy.knows_callers() && policy.sections() == 2);
    check!(policy.plain_allow(KvmVm, CREATE_VCPU).is_none());
    let other = policy
        .section(ProfileId::OTHER, Phase::Setup)
        .ok_or(line!())?;
    check!(policy
        .plain_allow_in(other, KvmVm, CREATE_VCPU.into())
        .is_some());
    check!(policy.plain_allow_in(other, KvmVcpu, RUN.into()).is_none());
    Ok(())
}

/// A rule counts in the phase that it names, in both if it names none; the default always.
pub fn a_phase_has_rules_of_its_own<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile other",
        "default deny",
        "allow kvm-vm KVM_CREATE_VCPU while setup",
        "deny kvm-vm KVM_CREATE_VCPU while running errno EACCES",
        "allow kvm-vcpu KVM_RUN while running if arg == 0",
        "allow kvm-vcpu KVM_RUN while setup",
        "allow kvm KVM_GET_API_VERSION",
        "audit kvm-vm * while running",
    );
    let nobody = Caller::default();
    let say = |phase, surface, command, arg| {
        verdict(&policy, &nobody, phase, surface, command, arg, &State::NEW)
    };
    check!(say(Phase::Setup, KvmVm, CREATE_VCPU, 0) == Some(Allow));
    check!(say(Phase::Running, KvmVm, CREATE_VCPU, 0) == Some(EACCES));
    check!(say(Phase::Setup, KvmVcpu, RUN, 1) == Some(Allow));
    check!(say(Phase::Running, KvmVcpu, RUN, 0) == Some(Allow));
    check!(say(Phase::Running, KvmVcpu, RUN, 1) == Some(EPERM));
    for phase in Phase::ALL {
        check!(say(phase, Kvm, GET_API_VERSION, 0) == Some(Allow));
        check!(say(phase, Kvm, CHECK_EXTENSION, 0) == Some(EPERM));
    }
    // A plain allow is one comparison in its phase.
    let running = policy.section(ProfileId::OTHER, Phase::Running);
    let running = running.ok_or(line!())?;
    let setup = policy.section(ProfileId::OTHER, Phase::Setup);
    let setup = setup.ok_or(line!())?;
    check!(policy.knows_callers() && policy.sections() == 2);
    check!(policy.plain_allow(KvmVm, CREATE_VCPU).is_none());
    check!(policy
        .plain_allow_in(setup, KvmVm, CREATE_VCPU.into())
        .is_some());
    check!(policy
        .plain_allow_in(running, KvmVm, CREATE_VCPU.into())
        .is_none());
    check!(policy
        .plain_allow_in(running, Kvm, GET_API_VERSION.into())
        .is_some());
    Ok(())
}

/// Rules that no call reaches are told for each profile and phase apart.
pub fn rules_in_the_shadow_of_their_own_phase<S: Grow>() -> Outcome {
    let text = b"policy test version 1\n\
        profile a\nmatch exe /a\ndefault deny\n\
        deny kvm-vm KVM_CREATE_VCPU while running\n\
        allow kvm-vm KVM_CREATE_VCPU\n\
        allow kvm-vm KVM_CREATE_VCPU while running\n\
        profile other\ndefault deny\n\
        allow kvm-vm KVM_CREATE_VCPU while running\nend\n";
    let Ok(checked) = check::<S>(text) else {
        return Err(line!());
    };
    let found = checked.warnings.list.iter();
    let found = found.map(|diagnosis| (diagnosis.line, diagnosis.kind));
    check!(found.eq([(7, Kind::Unreachable { line: 5 })]));
    Ok(())
}

/// Each part of the state is what its name says, and nothing else.
pub fn the_state_is_looked_at<S: Grow>() -> Outcome {
    let mut caps = State::NEW.caps;
    // KVM_CAP_SPLIT_IRQCHIP is 121.
    *caps.get_mut(1).ok_or(line!())? = 1 << (121 - 64);
    let new = State::NEW;
    let rows = [
        ("vm.vcpus == 3", State { vcpus: 3, ..new }),
        (
            "vm.memslots >= 0x10000",
            State {
                memslots: 1 << 16,
                ..new
            },
        ),
        (
            "vm.memory > 64G",
            State {
                memory: (64 << 30) + 1,
                ..new
            },
        ),
        ("vm.type == KVM_X86_SNP_VM", State { kind: 4, ..new }),
        (
            "vm.irqchip == split",
            State {
                irqchip: Irqchip::Split,
                ..new
            },
        ),
        (
            "vm.irqchip != none",
            State {
                irqchip: Irqchip::Kernel,
                ..new
            },
        ),
        (
            "vm.irqchip in {kernel, split}",
            State {
                irqchip: Irqchip::Split,
                ..new
            },
        ),
        (
            "vm.running == 1",
            State {
                is_running: true,
                ..new
            },
        ),
        ("vm.cap(KVM_CAP_SPLIT_IRQCHIP) == 1", State { caps, ..new }),
        ("vm.cap(KVM_CAP_SPLIT_IRQCHIP) != 0", State { caps, ..new }),
        (
            "vcpu.ran == 1",
            State {
                vcpu_ran: true,
                ..new
            },
        ),
        (
            "vcpu.foreign != 0",
            State {
                vcpu_is_foreign: true,
                ..new
            },
        ),
        (
            "thread.vcpu == 1",
            State {
                thread_runs_vcpu: true,
                ..new
            },
        ),
        (
            "thread.traced == 1",
            State {
                thread_is_traced: true,
                ..new
            },
        ),
        (
            "vm.vcpus + vm.memslots + arg > 9",
            State {
                vcpus: 5,
                memslots: 5,
                ..new
            },
        ),
        ("vm.irqfds == 6", State { irqfds: 6, ..new }),
        (
            "vm.ioeventfds == 7",
            State {
                ioeventfds: 7,
                ..new
            },
        ),
        ("vm.zones == 8", State { zones: 8, ..new }),
        ("vm.devices == 9", State { devices: 9, ..new }),
        ("vm.did(KVM_CREATE_IRQCHIP) == 1", State { did: 1, ..new }),
        (
            "profile.vms == 10",
            State {
                profile_vms: 10,
                ..new
            },
        ),
        (
            "profile.vcpus == 11",
            State {
                profile_vcpus: 11,
                ..new
            },
        ),
        (
            "profile.memory > 1T",
            State {
                profile_memory: (1 << 40) + 1,
                ..new
            },
        ),
    ];
    for (condition, _) in rows {
        let (rule, surface, command) = if condition.starts_with("profile.") {
            ("deny kvm-vm KVM_CREATE_VCPU if ", KvmVm, CREATE_VCPU)
        } else {
            ("deny kvm-vcpu KVM_RUN if ", KvmVcpu, RUN)
        };
        let mut text = [0; 256];
        let mut len = 0;
        for piece in [
            "policy t version 1\nprofile other\ndefault allow\n",
            rule,
            condition,
            "\nend\n",
        ] {
            let place = text.get_mut(len..len + piece.len()).ok_or(line!())?;
            place.copy_from_slice(piece.as_bytes());
            len += piece.len();
        }
        let policy = parse::<S>(text.get(..len).ok_or(line!())?).map_err(|_| line!())?;
        for (other, state) in &rows {
            let said = verdict(
                &policy,
                &Caller::default(),
                Phase::Setup,
                surface,
                command,
                0,
                state,
            );
            let is_it = *other == condition || says_the_same(other, condition);
            check!(said == Some(if is_it { EPERM } else { Allow }));
        }
    }
    Ok(())
}

/// Some of the rows above are met by others' states as well.
fn says_the_same(of_state: &str, condition: &str) -> bool {
    match condition {
        "vm.irqchip == split" => of_state == "vm.irqchip in {kernel, split}",
        "vm.irqchip != none" | "vm.irqchip in {kernel, split}" => {
            of_state.starts_with("vm.irqchip")
        }
        "vm.vcpus + vm.memslots + arg > 9" => of_state == "vm.memslots >= 0x10000",
        _ => condition.starts_with("vm.cap") && of_state.starts_with("vm.cap"),
    }
}

/// A capability that is not enabled is 0, and its neighbours do not count.
pub fn capabilities_are_bits<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile other",
        "default allow",
        "deny KVM_RUN if vm.cap(KVM_CAP_SPLIT_IRQCHIP) == 0",
    );
    let mut state = State::NEW;
    let nobody = Caller::default();
    let say = |state: &State| verdict(&policy, &nobody, Phase::Setup, KvmVcpu, RUN, 0, state);
    check!(say(&state) == Some(EPERM));
    state.caps = [u64::MAX; State::CAPS / 64];
    check!(say(&state) == Some(Allow));
    *state.caps.get_mut(1).ok_or(line!())? &= !(1 << (121 - 64));
    check!(say(&state) == Some(EPERM));
    for constant in schema::constants() {
        let is_within = constant.value < 512;
        check!(is_within || !constant.name.starts_with("KVM_CAP_"));
    }
    Ok(())
}

/// Whoever judges a call is told whether the state is needed; without it nothing is decided.
pub fn the_state_is_asked_for_where_it_is_looked_at<S: Grow>() -> Outcome {
    let policy = whole!(
        "profile other",
        "default allow",
        "deny kvm-vm KVM_CREATE_VCPU if vm.vcpus > 4",
        "deny kvm-vcpu KVM_RUN if arg == 1",
    );
    let head = policy.head(KvmVm, CREATE_VCPU).ok_or(line!())?;
    for compat in [false, true] {
        let reads = policy.reads(head, compat).ok_or(line!())?;
        check!(reads.state == StateNeed::VCPUS && reads.state.changes());
        // It is none of the caller's memory.
        check!(!reads.is_nothing() && !reads.is_of_memory() && reads.at_once == 0);
    }
    let call = request(KvmVm, CREATE_VCPU, 0);
    check!(policy
        .decide(head, &call, Bytes::default(), |_| {})
        .is_none());
    let head = policy.head(KvmVcpu, RUN).ok_or(line!())?;
    check!(policy.reads(head, false).ok_or(line!())?.is_nothing());
    Ok(())
}

/// A name that every process can give itself is weak.
pub fn a_match_by_comm_alone_is_odd<S: Grow>() -> Outcome {
    let odd = b"policy t version 1\nprofile a\nmatch comm vmm\ndefault deny\nprofile other\ndefault deny\nend\n";
    let Ok(checked) = check::<S>(odd) else {
        return Err(line!());
    };
    let found = checked.warnings.list.iter();
    let found = found.map(|diagnosis| (diagnosis.line, diagnosis.kind));
    check!(found.eq([(2, Kind::OnlyComm)]));
    let fine: [&[u8]; 2] = [
        b"policy t version 1\nprofile a\nmatch comm vmm\nmatch uid 1\ndefault deny\nprofile other\ndefault deny\nend\n",
        b"policy t version 1\nprofile a\nmatch comm vmm\nmatch label vmm\ndefault deny\nprofile other\ndefault deny\nend\n",
    ];
    for text in fine {
        let Ok(checked) = check::<S>(text) else {
            return Err(line!());
        };
        check!(checked.warnings.list.is_empty());
    }
    Ok(())
}
