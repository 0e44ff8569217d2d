// SPDX-License-Identifier: GPL-2.0

//! The engine's tests, for every storage: host tests run them on vectors, KUnit on the kernel's.
//!
//! A failure is the line of the check that failed. [`for_each_engine_test`] lists the tests.

use core::ops::ControlFlow;

use crate::{
    parse, schema, Action, Bytes, Check, Expected, FieldAt, Grow, Kind, Policy, Rejection, Request,
    Space, Span, Surface, Test, Verdict,
};

use Surface::{Kvm, KvmDevice, KvmVcpu, KvmVm};
use Verdict::Allow;

/// What a test ends with: the line of the check that failed.
pub type Outcome = Result<(), u32>;

/// Calls a macro with the names of all tests in this module.
#[macro_export]
macro_rules! for_each_engine_test {
    ($with:ident) => {
        $with! {
            equal
            not_equal
            below
            at_most
            above
            at_least
            in_a_set
            has_all_bits
            has_any_bit
            has_no_bit_outside
            aligned
            values_are_joined_by_bars
            compat_tells_callers_apart
            conditions_are_joined_by_and
            first_match_decides
            audit_notes_and_goes_on
            audit_with_a_condition
            default_allows
            default_denies
            errno_is_eperm_unless_named
            lists_name_each_command
            a_name_alone_is_for_every_surface
            a_surface_limits_a_name
            star_is_every_command
            star_and_names_keep_their_order
            numbers_outside_the_schema
            a_known_number_is_the_command
            a_command_of_a_container_is_one_at_iommufd_too
            a_name_covers_the_compat_number
            a_compat_number_is_the_command
            a_low_byte_may_have_many_commands
            numbers_of_one_bucket_are_told_apart
            equal_numbers_on_two_surfaces_are_two_commands
            unknown_commands_fall_to_the_default
            every_schema_command_has_a_target
            plain_allow_is_the_fast_path
            a_bucket_has_one_shortcut
            chains_end_at_the_first_final_rule
            reports_find_rule_and_target
            spans_point_into_the_text
            comments_and_blanks_are_nothing
            a_cut_text_never_loads
            a_changed_byte_never_breaks_the_table
            each_bad_line_is_diagnosed_once
            mistakes_beyond_the_limit_are_counted
            bytes_that_are_no_text
            a_copy_equals_the_original
            fields_are_read_at_their_places
            signed_fields_are_compared_as_such
            sums_do_not_wrap
            any_element
            all_elements
            no_element
            elements_are_counted
            more_elements_than_the_kernel_takes
            elements_of_fixed_arrays
            what_cannot_be_read
            nothing_else_is_read
            constants_have_their_values
            layouts_of_several_commands
            layouts_of_32_bit_callers
            variants_behind_pointers
            requests_to_dev_sev
            sizes_that_the_caller_tells
            a_size_that_the_kernel_does_not_heed
            numbers_are_cut_as_the_handler_does
            what_is_odd_is_told
            each_command_of_sev
            what_commands_of_sev_lead_to
            the_first_profile_speaks
            every_match_line_must_hold
            stars_of_paths_stop_at_slashes
            profiles_have_rules_of_their_own
            a_phase_has_rules_of_its_own
            rules_in_the_shadow_of_their_own_phase
            the_state_is_looked_at
            capabilities_are_bits
            the_state_is_asked_for_where_it_is_looked_at
            a_match_by_comm_alone_is_odd
            each_limit_is_kept_exactly
            memory_is_limited_where_it_grows
            what_takes_nothing_is_not_limited
            no_mapping_escapes
            limits_of_a_profile_are_sums
            limits_stand_in_front
            a_limit_has_an_errno_that_suits
            rates_are_told_and_looked_at
            a_limit_of_what_is_denied_is_odd
            only_a_new_slot_adds_memory
            what_is_noted_has_no_shortcut
            effects_of_calls
            what_was_done_is_a_bit
            each_bit_of_what_was_done
            what_was_done_outlives_its_policy
            parts_of_the_state_are_told_apart
        }
    };
}

macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            return Err(line!());
        }
    };
}

/// A policy of these lines.
macro_rules! text {
    ($($line:expr),* $(,)?) => {
        concat!("policy test version 1\nprofile other\n", $($line, "\n",)* "end\n").as_bytes()
    };
}

/// The policy of these lines; they have no mistake.
macro_rules! policy {
    ($($line:expr),* $(,)?) => {
        match parse::<S>(text!($($line),*)) {
            Ok(policy) => policy,
            Err(_) => return Err(line!()),
        }
    };
}

// Behind the macros, which it uses.
mod callers;
mod fields;
mod limits;
mod noted;
mod sev;
pub use {callers::*, fields::*, limits::*, noted::*, sev::*};

const EPERM: Verdict = Verdict::Deny { errno: 1 };
const EINVAL: Verdict = Verdict::Deny { errno: 22 };
const EACCES: Verdict = Verdict::Deny { errno: 13 };

const RUN: u32 = 0xae80;
const CREATE_VCPU: u32 = 0xae41;
const CHECK_EXTENSION: u32 = 0xae03;
const IRQ_LINE_STATUS: u32 = 0xc008_ae67;
const REGISTER_COALESCED_MMIO: u32 = 0x4010_ae67;
const MSR_FILTER: u32 = 0x4188_aec6;
const MSR_FILTER_COMPAT: u32 = 0x4104_aec6;
const NOBODYS: u32 = 0x1234_5678;

fn request(surface: Surface, command: u32, arg: u64) -> Request {
    Request {
        surface,
        command,
        arg,
        compat: false,
    }
}

fn judge<S: Grow>(policy: &Policy<S>, request: Request) -> Option<Verdict> {
    let head = policy.head(request.surface, request.command)?;
    let decision = policy.decide(head, &request, Bytes::default(), |_| {})?;
    // A shortcut, where there is one, leads where the long way does.
    let shortcut = policy.plain_allow(request.surface, request.command);
    if shortcut.is_some_and(|link| link != decision.link || decision.verdict != Verdict::Allow) {
        return None;
    }
    Some(decision.verdict)
}

fn ask<S: Grow>(policy: &Policy<S>, surface: Surface, command: u32) -> Option<Verdict> {
    judge(policy, request(surface, command, 0))
}

/// Whether a policy denies exactly the KVM_RUN calls with these arguments.
fn denies<S: Grow>(policy: &Policy<S>, denied: &[u64], allowed: &[u64]) -> bool {
    let run = |arg: &u64| judge(policy, request(KvmVcpu, RUN, *arg));
    denied.iter().all(|arg| run(arg) == Some(EPERM))
        && allowed.iter().all(|arg| run(arg) == Some(Allow))
}

/// Whether a text is rejected with these mistakes.
fn rejected<S: Grow>(text: &[u8], kinds: &[Kind]) -> bool {
    match parse::<S>(text) {
        Err(Rejection::Mistakes(diagnoses)) => {
            let found = diagnoses.list.iter().map(|diagnosis| diagnosis.kind);
            found.eq(kinds.iter().copied())
        }
        _ => false,
    }
}

const MAX: u64 = u64::MAX;

/// `==`
pub fn equal<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg == 5");
    check!(denies(&policy, &[5], &[0, 4, 6, MAX, 5 + (1 << 32)]));
    let policy = policy!("default allow", "deny KVM_RUN if arg == 0");
    check!(denies(&policy, &[0], &[1, MAX]));
    let policy = policy!("default allow", "deny KVM_RUN if arg == 0xffffffffffffffff");
    check!(denies(&policy, &[MAX], &[0, MAX - 1, u64::from(u32::MAX)]));
    Ok(())
}

/// `!=`
pub fn not_equal<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg != 5");
    check!(denies(&policy, &[0, 4, 6, MAX], &[5]));
    Ok(())
}

/// `<`
pub fn below<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg < 5");
    check!(denies(&policy, &[0, 4], &[5, 6, MAX]));
    let policy = policy!("default allow", "deny KVM_RUN if arg < 0xffffffffffffffff");
    check!(denies(&policy, &[0, MAX - 1], &[MAX]));
    Ok(())
}

/// `<=`
pub fn at_most<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg <= 5");
    check!(denies(&policy, &[0, 5], &[6, MAX]));
    let policy = policy!("default allow", "deny KVM_RUN if arg <= 0");
    check!(denies(&policy, &[0], &[1, MAX]));
    Ok(())
}

/// `>`
pub fn above<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg > 5");
    check!(denies(&policy, &[6, 1 << 63, MAX], &[0, 5]));
    let policy = policy!("default allow", "deny KVM_RUN if arg > 0");
    check!(denies(&policy, &[1, MAX], &[0]));
    Ok(())
}

/// `>=`
pub fn at_least<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg >= 64K");
    check!(denies(&policy, &[65536, MAX], &[0, 65535]));
    Ok(())
}

/// `in`
pub fn in_a_set<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_RUN if arg in {1, 4..6, 1K|2, 9..9}"
    );
    check!(denies(
        &policy,
        &[1, 4, 5, 6, 1026, 9],
        &[0, 2, 3, 7, 8, 10, 1024, MAX]
    ));
    let policy = policy!(
        "default allow",
        "deny KVM_RUN if arg in {0..0xffffffffffffffff}"
    );
    check!(denies(&policy, &[0, MAX], &[]));
    Ok(())
}

/// `has`
pub fn has_all_bits<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg has 0x6");
    check!(denies(&policy, &[6, 7, MAX], &[0, 2, 4, 5, 8]));
    Ok(())
}

/// `any-of`
pub fn has_any_bit<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg any-of 0x6");
    check!(denies(&policy, &[2, 4, 6, 3, MAX], &[0, 1, 8, !6]));
    Ok(())
}

/// `subset`
pub fn has_no_bit_outside<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg subset 0x6");
    check!(denies(&policy, &[0, 2, 4, 6], &[1, 3, 7, 8, 1 << 63, MAX]));
    let policy = policy!("default allow", "deny KVM_RUN if arg subset 0");
    check!(denies(&policy, &[0], &[1, MAX]));
    Ok(())
}

/// `aligned`
pub fn aligned<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg aligned 4K");
    check!(denies(&policy, &[0, 4096, 1 << 63], &[1, 4095, 4097, MAX]));
    let policy = policy!(
        "default allow",
        "deny KVM_RUN if arg aligned 0x8000000000000000"
    );
    check!(denies(&policy, &[0, 1 << 63], &[1, 1 << 62, MAX]));
    Ok(())
}

/// `a|b`
pub fn values_are_joined_by_bars<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_RUN if arg == 1|0x10 | 1K");
    check!(denies(&policy, &[1 + 16 + 1024], &[1, 16, 17, 1024]));
    Ok(())
}

/// `compat`
pub fn compat_tells_callers_apart<S: Grow>() -> Outcome {
    let native = request(KvmVcpu, RUN, 0);
    let compat = Request {
        compat: true,
        ..native
    };
    let policy = policy!("default allow", "deny KVM_RUN if compat == 1");
    check!(judge(&policy, native) == Some(Allow));
    check!(judge(&policy, compat) == Some(EPERM));
    let policy = policy!("default allow", "deny KVM_RUN if compat != 1");
    check!(judge(&policy, native) == Some(EPERM));
    check!(judge(&policy, compat) == Some(Allow));
    let found = policy.checks.first().copied();
    let compat = FieldAt::new(Space::Call, Space::COMPAT, 1, false);
    let expected = Check::new(compat, Test::NotEqual(1));
    check!(found == expected);
    Ok(())
}

/// `and`
pub fn conditions_are_joined_by_and<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_RUN if arg >= 10 and arg <= 20 and arg != 15 and compat == 0"
    );
    check!(denies(&policy, &[10, 14, 16, 20], &[0, 9, 15, 21, MAX]));
    Ok(())
}

/// The order of the text is the order of decisions.
pub fn first_match_decides<S: Grow>() -> Outcome {
    let policy = policy!(
        "default deny errno EACCES",
        "allow kvm-vcpu KVM_RUN if arg == 1",
        "deny kvm-vcpu KVM_RUN if arg < 10 errno EINVAL",
        "allow KVM_RUN if arg < 20",
    );
    let run = |arg| judge(&policy, request(KvmVcpu, RUN, arg));
    check!(run(1) == Some(Allow));
    check!(run(2) == Some(EINVAL));
    check!(run(10) == Some(Allow));
    check!(run(20) == Some(EACCES));
    Ok(())
}

/// An `audit` rule reports, and the next one decides.
pub fn audit_notes_and_goes_on<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "audit KVM_RUN",
        "audit kvm-vcpu * reason \"everything\"",
        "deny KVM_RUN",
        "audit KVM_RUN",
    );
    let request = request(KvmVcpu, RUN, 0);
    let head = policy.head(KvmVcpu, RUN).ok_or(line!())?;
    check!(policy.plain_allow(KvmVcpu, RUN).is_none());
    let mut lines = [0, 0];
    let mut count = 0;
    let decision = policy.decide(head, &request, Bytes::default(), |link| {
        if let (Some(slot), Some(rule)) = (lines.get_mut(count), policy.rule(link)) {
            *slot = rule.line;
        }
        count += 1;
    });
    check!(decision.map(|decision| decision.verdict) == Some(EPERM));
    check!(count == 2 && lines == [4, 5]);
    Ok(())
}

/// An `audit` rule whose condition does not hold says nothing.
pub fn audit_with_a_condition<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "audit KVM_RUN if arg == 1");
    for (arg, expected) in [(0, 0), (1, 1)] {
        let head = policy.head(KvmVcpu, RUN).ok_or(line!())?;
        let mut count = 0;
        let decision = policy.decide(head, &request(KvmVcpu, RUN, arg), Bytes::default(), |_| {
            count += 1
        });
        check!(decision.map(|decision| decision.verdict) == Some(Allow));
        check!(count == expected);
    }
    Ok(())
}

/// `default allow`, wherever it stands.
pub fn default_allows<S: Grow>() -> Outcome {
    let policy = policy!("deny KVM_RUN", "default allow");
    check!(ask(&policy, KvmVcpu, RUN) == Some(EPERM));
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(Allow));
    check!(ask(&policy, KvmVm, NOBODYS) == Some(Allow));
    let default = policy.rules.last().ok_or(line!())?;
    check!(default.is_default && default.line == 4 && default.action == Action::Allow);
    Ok(())
}

/// `default deny`
pub fn default_denies<S: Grow>() -> Outcome {
    let policy = policy!("default deny", "allow KVM_RUN");
    check!(ask(&policy, KvmVcpu, RUN) == Some(Allow));
    check!(ask(&policy, KvmVm, RUN) == Some(EPERM));
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(EPERM));
    let policy = policy!("default deny errno EACCES");
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(EACCES));
    Ok(())
}

/// `errno`
pub fn errno_is_eperm_unless_named<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny KVM_RUN errno EINVAL reason \"no\"",
        "deny KVM_CREATE_VCPU",
    );
    check!(ask(&policy, KvmVcpu, RUN) == Some(EINVAL));
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(EPERM));
    Ok(())
}

/// `A, B`
pub fn lists_name_each_command<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny kvm-vm KVM_CREATE_VCPU ,KVM_CHECK_EXTENSION,0x12345678, KVM_CREATE_VCPU",
    );
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(EPERM));
    check!(ask(&policy, KvmVm, CHECK_EXTENSION) == Some(EPERM));
    check!(ask(&policy, KvmVm, NOBODYS) == Some(EPERM));
    check!(ask(&policy, KvmVm, REGISTER_COALESCED_MMIO) == Some(Allow));
    Ok(())
}

/// Without a surface, a name is meant wherever it exists.
pub fn a_name_alone_is_for_every_surface<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_CHECK_EXTENSION");
    check!(ask(&policy, Kvm, CHECK_EXTENSION) == Some(EPERM));
    check!(ask(&policy, KvmVm, CHECK_EXTENSION) == Some(EPERM));
    check!(ask(&policy, KvmVcpu, CHECK_EXTENSION) == Some(Allow));
    check!(ask(&policy, KvmDevice, CHECK_EXTENSION) == Some(Allow));
    Ok(())
}

/// With a surface, it is meant there.
pub fn a_surface_limits_a_name<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny kvm KVM_CHECK_EXTENSION");
    check!(ask(&policy, Kvm, CHECK_EXTENSION) == Some(EPERM));
    check!(ask(&policy, KvmVm, CHECK_EXTENSION) == Some(Allow));
    Ok(())
}

/// `*`
pub fn star_is_every_command<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny kvm-vm *");
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(EPERM));
    check!(ask(&policy, KvmVm, NOBODYS) == Some(EPERM));
    check!(ask(&policy, KvmVm, 0) == Some(EPERM));
    check!(ask(&policy, KvmVm, u32::MAX) == Some(EPERM));
    check!(ask(&policy, Kvm, CHECK_EXTENSION) == Some(Allow));
    check!(ask(&policy, KvmVcpu, RUN) == Some(Allow));
    check!(ask(&policy, KvmDevice, NOBODYS) == Some(Allow));
    Ok(())
}

/// `*` takes its place among the rules with names.
pub fn star_and_names_keep_their_order<S: Grow>() -> Outcome {
    let policy = policy!(
        "default deny",
        "allow KVM_RUN",
        "deny kvm-vcpu * if arg == 1 errno EINVAL",
        "allow kvm-vcpu 0xae82, 0x12345678",
        "deny kvm-vcpu * errno EACCES",
        "allow kvm-vcpu 0xaea2",
    );
    check!(judge(&policy, request(KvmVcpu, RUN, 1)) == Some(Allow));
    check!(judge(&policy, request(KvmVcpu, NOBODYS, 1)) == Some(EINVAL));
    check!(judge(&policy, request(KvmVcpu, NOBODYS, 0)) == Some(Allow));
    check!(judge(&policy, request(KvmVcpu, 0xae82, 0)) == Some(Allow));
    check!(judge(&policy, request(KvmVcpu, 0xaea2, 0)) == Some(EACCES));
    check!(judge(&policy, request(KvmVcpu, 7, 1)) == Some(EINVAL));
    check!(judge(&policy, request(KvmVcpu, 7, 0)) == Some(EACCES));
    check!(judge(&policy, request(KvmVm, NOBODYS, 0)) == Some(EPERM));
    Ok(())
}

/// A number that no header names.
pub fn numbers_outside_the_schema<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny kvm-vm 0x12345678, 4294967295, 0");
    check!(ask(&policy, KvmVm, NOBODYS) == Some(EPERM));
    check!(ask(&policy, KvmVm, u32::MAX) == Some(EPERM));
    check!(ask(&policy, KvmVm, 0) == Some(EPERM));
    check!(ask(&policy, KvmVm, 0x1234_5677) == Some(Allow));
    check!(ask(&policy, KvmVm, 0x1234_5778) == Some(Allow));
    check!(ask(&policy, KvmVm, 0x78) == Some(Allow));
    check!(ask(&policy, KvmVcpu, NOBODYS) == Some(Allow));
    Ok(())
}

/// A number that a header names.
pub fn a_known_number_is_the_command<S: Grow>() -> Outcome {
    let names = policy!(
        "default allow",
        "deny kvm-vm KVM_SET_NR_MMU_PAGES, KVM_IRQFD"
    );
    let numbers = policy!(
        "default allow",
        "deny kvm-vm 0xae44,             1075883638"
    );
    check!(numbers.equals(&names));
    Ok(())
}

/// VFIO's commands are a container's where iommufd answers them, and no rule says otherwise: else
/// one that the gate does not look for could have a shortcut.
pub fn a_command_of_a_container_is_one_at_iommufd_too<S: Grow>() -> Outcome {
    use Surface::{Iommufd, VfioContainer};

    // VFIO_GET_API_VERSION, VFIO_IOMMU_MAP_DMA, the last that there could be.
    for command in [0x3b64, 0x3b71, 0x3b7f] {
        for surface in Surface::ALL {
            let other = if surface == Iommufd {
                VfioContainer
            } else {
                surface
            };
            check!(surface.judged_as(command) == other);
        }
    }
    // IOMMU_DESTROY, and numbers beside.
    for command in [0x3b80, 0x3b63, 0x8000_3b71, 0x3b00, 0x71] {
        check!(Iommufd.judged_as(command) == Iommufd);
    }
    for command in schema::commands() {
        for surface in command.surfaces() {
            check!(surface.judged_as(command.number) == surface);
        }
    }
    let kind = Kind::JudgedAs {
        surface: Iommufd,
        judged_as: VfioContainer,
    };
    let text = text!("default allow", "allow iommufd 0x3b71");
    check!(rejected::<S>(text, &[kind]));
    let all = policy!("default allow", "allow iommufd *");
    check!(all.plain_allow(Iommufd, 0x3b71).is_none());
    Ok(())
}

/// A 32-bit caller passes another number for some names.
pub fn a_name_covers_the_compat_number<S: Grow>() -> Outcome {
    let policy = policy!("default allow", "deny KVM_X86_SET_MSR_FILTER");
    check!(ask(&policy, KvmVm, MSR_FILTER) == Some(EPERM));
    check!(ask(&policy, KvmVm, MSR_FILTER_COMPAT) == Some(EPERM));
    check!(ask(&policy, KvmVcpu, MSR_FILTER) == Some(Allow));
    let policy = policy!("default allow");
    let links = policy.links.iter();
    let names = links.filter(|link| {
        let target = policy.targets.get(usize::from(link.target));
        target.and_then(|target| target.name()) == Some("KVM_X86_SET_MSR_FILTER")
    });
    check!(names.count() == 2);
    Ok(())
}

/// Either number of such a name means the name.
pub fn a_compat_number_is_the_command<S: Grow>() -> Outcome {
    let native = policy!("default allow", "deny kvm-vm 0x4188aec6");
    let compat = policy!("default allow", "deny kvm-vm 0x4104aec6");
    check!(ask(&native, KvmVm, MSR_FILTER) == Some(EPERM));
    check!(ask(&native, KvmVm, MSR_FILTER_COMPAT) == Some(EPERM));
    check!(native.equals(&compat));
    Ok(())
}

/// Two commands of one surface may differ in their upper bytes alone.
pub fn a_low_byte_may_have_many_commands<S: Grow>() -> Outcome {
    let policy = policy!(
        "default deny",
        "allow KVM_IRQ_LINE_STATUS",
        "deny KVM_REGISTER_COALESCED_MMIO errno EINVAL",
        "deny kvm-vm 0x67, 0xffffff67 errno EACCES",
    );
    check!(ask(&policy, KvmVm, IRQ_LINE_STATUS) == Some(Allow));
    check!(ask(&policy, KvmVm, REGISTER_COALESCED_MMIO) == Some(EINVAL));
    check!(ask(&policy, KvmVm, 0x67) == Some(EACCES));
    check!(ask(&policy, KvmVm, 0xffff_ff67) == Some(EACCES));
    check!(ask(&policy, KvmVm, 0xae67) == Some(EPERM));
    check!(ask(&policy, KvmVm, 0x4010_ae68) == Some(EPERM));
    Ok(())
}

/// A bucket is sorted, and only what is in it is found in it.
pub fn numbers_of_one_bucket_are_told_apart<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny kvm-vcpu 0xfffff80 errno EINVAL",
        "deny kvm-vcpu 0x80, 0x180",
        "deny kvm-vcpu 0xffffff80 errno EACCES",
    );
    let bucket = KvmVcpu.index() * 256 + 0x80;
    let bucket = policy.dispatch.get(bucket).ok_or(line!())?;
    check!(bucket.len == 5);
    for (command, verdict) in [
        (0x80, EPERM),
        (0x180, EPERM),
        (RUN, Allow),
        (0x0fff_ff80, EINVAL),
        (0xffff_ff80, EACCES),
        (0x280, Allow),
        (0xffff_fe80, Allow),
    ] {
        check!(ask(&policy, KvmVcpu, command) == Some(verdict));
    }
    Ok(())
}

/// The key is the surface and the number.
pub fn equal_numbers_on_two_surfaces_are_two_commands<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "deny kvm-vm KVM_GET_TSC_KHZ errno EINVAL",
        "deny kvm-vcpu KVM_GET_TSC_KHZ errno EACCES",
    );
    check!(ask(&policy, KvmVm, 0xaea3) == Some(EINVAL));
    check!(ask(&policy, KvmVcpu, 0xaea3) == Some(EACCES));
    check!(ask(&policy, Kvm, 0xaea3) == Some(Allow));
    Ok(())
}

/// No rule, no entry: the default.
pub fn unknown_commands_fall_to_the_default<S: Grow>() -> Outcome {
    let policy = policy!("default deny errno EACCES", "allow kvm-vm 0xae67");
    for surface in Surface::ALL {
        for command in [0, 0xae, 0xae67ae67, NOBODYS, u32::MAX] {
            check!(ask(&policy, surface, command) == Some(EACCES));
        }
    }
    Ok(())
}

/// Counters know every command, whether or not a rule names it.
pub fn every_schema_command_has_a_target<S: Grow>() -> Outcome {
    let policy = policy!("default allow");
    for command in schema::commands() {
        for surface in command.surfaces() {
            for number in [command.number, command.compat_number] {
                let head = policy.head(surface, number).ok_or(line!())?;
                let target = policy.target(head.link).ok_or(line!())?;
                check!(target.surface == surface && target.command == Some(number));
                check!(target.name() == Some(command.name));
            }
        }
    }
    Ok(())
}

/// A command whose first rule allows it without a condition has a shortcut.
pub fn plain_allow_is_the_fast_path<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "allow KVM_RUN",
        "deny KVM_RUN",
        "allow KVM_CREATE_VCPU if arg < 4",
        "audit KVM_CREATE_VM",
        "deny KVM_IRQFD",
        "deny kvm-vm 0x12340003",
    );
    let plain = |surface, command| policy.plain_allow(surface, command);
    let link = plain(KvmVcpu, RUN).ok_or(line!())?;
    check!(policy.rule(link).map(|rule| rule.line) == Some(4));
    let link = plain(KvmVm, CHECK_EXTENSION).ok_or(line!())?;
    check!(policy.rule(link).is_some_and(|rule| rule.is_default));
    check!(plain(KvmVm, CREATE_VCPU).is_none());
    check!(plain(Kvm, 0xae01).is_none());
    check!(plain(KvmVm, 0x4020_ae76).is_none());
    // The low byte of a shortcut alone is not enough.
    check!(plain(KvmVm, 0x1234_0003).is_none());
    check!(plain(KvmVm, NOBODYS).is_none());
    check!(plain(KvmVcpu, CHECK_EXTENSION).is_none());
    Ok(())
}

/// Of two commands in one bucket the first has the shortcut, and the other the long way.
pub fn a_bucket_has_one_shortcut<S: Grow>() -> Outcome {
    let policy = policy!("default allow");
    let shortcuts = [IRQ_LINE_STATUS, REGISTER_COALESCED_MMIO]
        .map(|command| policy.plain_allow(KvmVm, command).is_some());
    check!(shortcuts.iter().filter(|&&there| there).count() == 1);
    check!(ask(&policy, KvmVm, IRQ_LINE_STATUS) == Some(Allow));
    check!(ask(&policy, KvmVm, REGISTER_COALESCED_MMIO) == Some(Allow));
    Ok(())
}

/// Rules behind one that always decides take no room.
pub fn chains_end_at_the_first_final_rule<S: Grow>() -> Outcome {
    let policy = policy!(
        "default allow",
        "audit KVM_RUN",
        "deny KVM_RUN if arg == 3",
        "allow KVM_RUN",
        "deny KVM_RUN",
        "deny kvm-vcpu *",
    );
    let head = policy.head(KvmVcpu, RUN).ok_or(line!())?;
    let target = policy.target(head.link).ok_or(line!())?;
    let links = policy.links.iter();
    let chain = links.filter(|link| policy.targets.get(usize::from(link.target)) == Some(target));
    check!(chain.map(|link| link.rule).eq([0, 1, 2]));
    Ok(())
}

/// A link is enough to explain a decision.
pub fn reports_find_rule_and_target<S: Grow>() -> Outcome {
    let text = text!(
        "default allow",
        "deny KVM_RUN reason \"stay out # of here\""
    );
    let policy = parse::<S>(text).map_err(|_| line!())?;
    let head = policy.head(KvmVcpu, RUN).ok_or(line!())?;
    let decision = policy.decide(head, &request(KvmVcpu, RUN, 0), Bytes::default(), |_| {});
    let link = decision.ok_or(line!())?.link;
    let rule = policy.rule(link).ok_or(line!())?;
    check!(rule.line == 4 && !rule.is_default && rule.action.name() == "deny");
    check!(rule.reason.of(text) == Some(b"stay out # of here"));
    let target = policy.target(link).ok_or(line!())?;
    check!(target.surface.name() == "kvm-vcpu" && target.name() == Some("KVM_RUN"));
    check!(policy.rule(u32::MAX).is_none() && policy.target(u32::MAX).is_none());
    Ok(())
}

/// Name and version stay in the text.
pub fn spans_point_into_the_text<S: Grow>() -> Outcome {
    let text =
        b"# a\n\tpolicy  qemu-host.v_2 version 1.4.0-rc1# b\nprofile other\ndefault deny\nend\n";
    let policy = parse::<S>(text).map_err(|_| line!())?;
    check!(policy.name.of(text) == Some(b"qemu-host.v_2"));
    check!(policy.version.of(text) == Some(b"1.4.0-rc1"));
    check!(Span { start: 70, len: 70 }.of(text).is_none());
    Ok(())
}

/// Comments, blank lines and blanks change nothing but the numbers of lines.
pub fn comments_and_blanks_are_nothing<S: Grow>() -> Outcome {
    let text = "# caf\u{e9}\n\npolicy x version 1#c\n \t \nprofile other # c\ndefault allow\n\
                deny kvm-vm *# \"c\n\n  end  # c\n\n# c\n\t\n# without a line feed";
    let policy = parse::<S>(text.as_bytes()).map_err(|_| line!())?;
    check!(ask(&policy, KvmVm, CREATE_VCPU) == Some(EPERM));
    check!(policy.rules.first().map(|rule| rule.line) == Some(7));
    Ok(())
}

const SAMPLE: &[u8] = text!(
    "    # Every part of the language.",
    "    default deny errno EACCES",
    "    allow KVM_CHECK_EXTENSION, KVM_GET_TSC_KHZ",
    "    audit kvm-vm * if compat == 1 reason \"who is that?\"",
    "    deny kvm-vm 0x12345678, KVM_IRQFD if arg in {0, 2..4K} and arg aligned 2 errno EINVAL",
    "    allow kvm-vm *",
    "",
    "    allow kvm-vcpu KVM_RUN if arg == 0",
);

/// However much of a text is missing at its end, what is left is no policy.
pub fn a_cut_text_never_loads<S: Grow>() -> Outcome {
    check!(parse::<S>(SAMPLE).is_ok());
    for len in 0..SAMPLE.len() {
        let Err(Rejection::Mistakes(diagnoses)) = parse::<S>(SAMPLE.get(..len).unwrap_or_default())
        else {
            return Err(line!());
        };
        let last = diagnoses.list.last().ok_or(line!())?.kind;
        check!(matches!(
            last,
            Kind::Empty | Kind::CutOff | Kind::CutOffInLine | Kind::EndUnclosed
        ));
    }
    Ok(())
}

/// Whatever one byte of a text becomes: it is rejected with a place, or its table holds together.
pub fn a_changed_byte_never_breaks_the_table<S: Grow>() -> Outcome {
    let mut text = [0; 512];
    let text = text.get_mut(..SAMPLE.len()).ok_or(line!())?;
    for at in 0..SAMPLE.len() {
        for byte in *b"\0\n #,*={.9z\xff" {
            text.copy_from_slice(SAMPLE);
            *text.get_mut(at).ok_or(line!())? = byte;
            match parse::<S>(text) {
                Ok(policy) => {
                    for surface in Surface::ALL {
                        for command in [RUN, MSR_FILTER, NOBODYS, 0, IRQ_LINE_STATUS] {
                            check!(ask(&policy, surface, command).is_some());
                        }
                    }
                }
                Err(Rejection::Mistakes(diagnoses)) => {
                    let first = diagnoses.list.first().ok_or(line!())?;
                    check!(first.at.of(text).is_some() && first.line > 0 && first.column > 0);
                }
                Err(Rejection::OutOfMemory) => return Err(line!()),
            }
        }
    }
    Ok(())
}

/// All mistakes of a text are told at once, each with its place.
pub fn each_bad_line_is_diagnosed_once<S: Grow>() -> Outcome {
    let text = text!(
        "default alow",
        "deny kvm KVM_CREATE_VMM if arg = 1",
        "allow KVM_RUN",
        "\tdeny \"\u{e9}\" x",
    );
    let Err(Rejection::Mistakes(diagnoses)) = parse::<S>(text) else {
        return Err(line!());
    };
    let found = diagnoses.list.iter();
    check!(found
        .map(|diagnosis| (diagnosis.line, diagnosis.column, diagnosis.kind))
        .eq([
            (3, 9, Kind::Expected(Expected::DefaultAction)),
            (4, 10, Kind::UnknownCommand { surface: Some(Kvm) }),
            (6, 7, Kind::Expected(Expected::Target)),
        ]));
    check!(diagnoses.more == 0);
    Ok(())
}

/// There is an end to what is kept.
pub fn mistakes_beyond_the_limit_are_counted<S: Grow>() -> Outcome {
    let text = concat!(
        "policy x version 1\nprofile other\ndefault deny\n",
        "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr\ns\nt\nu\nv\nw\nx\ny\nz\n",
        "end\n"
    );
    let Err(Rejection::Mistakes(diagnoses)) = parse::<S>(text.as_bytes()) else {
        return Err(line!());
    };
    check!(diagnoses.list.len() == crate::limits::DIAGNOSES && diagnoses.more == 6);
    Ok(())
}

/// Bytes that are no text are told by their place.
pub fn bytes_that_are_no_text<S: Grow>() -> Outcome {
    let rows: [(&[u8], Kind); 9] = [
        (b"", Kind::Empty),
        (b"\n# nothing\n", Kind::Empty),
        (b"policy x\0", Kind::Nul),
        (b"policy x version 1\r\n", Kind::CarriageReturn),
        (b"policy \x1b[31m", Kind::ControlCharacter),
        (b"\xef\xbb\xbfpolicy", Kind::ByteOrderMark),
        (b"# \xe2\x80\xae hidden", Kind::InvisibleCharacter),
        (b"policy \xff", Kind::NotUtf8),
        (b"\x7fELF\x02\x01\x01\0", Kind::ControlCharacter),
    ];
    let found = rows.iter().try_for_each(|(text, kind)| {
        if rejected::<S>(text, &[*kind]) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    check!(found.is_continue());
    Ok(())
}

/// The module copies its static table into its own storage.
pub fn a_copy_equals_the_original<S: Grow>() -> Outcome {
    let policy = parse::<S>(SAMPLE).map_err(|_| line!())?;
    let copy = policy.copy_into::<S>().map_err(|_| line!())?;
    check!(copy.equals(&policy));
    check!(ask(&copy, KvmVcpu, RUN) == Some(Allow));
    let other = policy!("default deny");
    check!(!copy.equals(&other));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Heap;

    macro_rules! host_tests {
        ($($name:ident)*) => {
            $(
                #[test]
                fn $name() {
                    if let Err(line) = super::$name::<Heap>() {
                        panic!("a check failed on line {line} of the file that has this test");
                    }
                }
            )*

            #[test]
            fn every_test_is_listed() {
                let listed = [$(stringify!($name)),*];
                let files = [
                    include_str!("selftest.rs"),
                    include_str!("selftest/fields.rs"),
                    include_str!("selftest/sev.rs"),
                    include_str!("selftest/callers.rs"),
                    include_str!("selftest/limits.rs"),
                    include_str!("selftest/noted.rs"),
                ];
                let written = files.iter().flat_map(|file| file.lines()).filter_map(|line| {
                    line.strip_prefix("pub fn ")?.split('<').next()
                });
                assert!(written.eq(listed));
            }
        };
    }

    for_each_engine_test!(host_tests);
}
