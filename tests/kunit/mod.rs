// SPDX-License-Identifier: GPL-2.0

//! KUnit suites: they run when the module is loaded into a kernel with `CONFIG_KUNIT=y`.

use kernel::prelude::*;

mod facts;
mod known;
mod life;

/// The engine's own tests, on the kernel's lists.
macro_rules! suite {
    ($($name:ident)*) => {
        #[kunit_tests(portcullis_engine)]
        mod engine {
            use crate::heap::Heap;
            use kernel::prelude::*;
            use portcullis_policy::selftest;

            $(
                #[test]
                fn $name() {
                    // An error is the line of `rust/policy/selftest.rs` where it went wrong.
                    assert_eq!(selftest::$name::<Heap>(), Ok(()));
                }
            )*
        }
    };
}

portcullis_policy::for_each_engine_test!(suite);

#[kunit_tests(portcullis_module)]
mod module {
    use crate::{
        active::Active,
        builtin,
        catalogue,
        heap::Heap,
        ledger::{Count, Reading},
        load,
        sites::{self, Callers, State, SITES},
        sys::{
            detour::{Answer, Outcome},
            digest::sha256,
            module_notifier::is_loaded,
            per_cpu::{PerCpuCounters, Which},
            preemption::NoPreemption,
            user_memory::{peek, OfCaller},
            window::Slot, //
        },
        text::{Errno, Text},
        trouble::why, //
    };
    use kernel::{fmt, prelude::*};
    use portcullis_policy::{parse, Memory, Request, Surface};

    fn kvec(bytes: &[u8]) -> Result<KVVec<u8>> {
        let mut copy = KVVec::new();
        copy.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(copy)
    }

    fn active(text: &[u8]) -> Result<Active> {
        let policy = parse::<Heap>(text).map_err(|_| EBADMSG)?;
        Active::new(policy, kvec(text)?)
    }

    fn judge(active: &Active, command: u32, arg: u64) -> Outcome {
        let request = Request {
            surface: Surface::KvmVm,
            command,
            arg,
            compat: false,
        };
        NoPreemption::during(|on| active.judge(&request, None, on))
    }

    /// The answer to a call whose argument nobody looks at.
    fn decide(active: &Active, command: u32, arg: u64) -> Option<Answer> {
        match judge(active, command, arg) {
            Outcome::Decided(answer) => Some(answer),
            Outcome::Sealed(_) | Outcome::Defer => None,
        }
    }

    const CONTINUE: Option<Answer> = Some(Answer::Continue);

    fn refuse(errno: u16) -> Option<Answer> {
        Some(Answer::Refuse(errno))
    }

    /// The sum over all links of a policy.
    fn total(active: &Active) -> Count {
        let mut sum = Count::default();
        for (_, count) in active.links() {
            sum += count;
        }
        sum
    }

    const TEXT: &[u8] = b"policy t version 1\nprofile other\n    default allow\n    \
        deny kvm-vm KVM_CREATE_VCPU if arg == 7 errno EXDEV\n    audit kvm-vm 0x1234\nend\n";

    #[test]
    fn builtin_table_is_what_its_text_says() -> Result {
        let parsed = parse::<Heap>(builtin::TEXT).map_err(|_| EBADMSG)?;
        assert!(parsed.equals(&builtin::POLICY));
        Ok(())
    }

    #[test]
    fn a_call_is_judged_and_counted_once() -> Result {
        let active = active(TEXT)?;
        assert!(decide(&active, 0xae41, 6) == CONTINUE);
        assert!(decide(&active, 0xae41, 7) == refuse(18));
        assert!(decide(&active, 0xae41, 7) == refuse(18));
        let sum = total(&active);
        assert_eq!((sum.calls, sum.denied, sum.would_deny), (3, 2, 0));
        Ok(())
    }

    #[test]
    fn an_audited_call_counts_for_both_rules() -> Result {
        let active = active(TEXT)?;
        assert!(decide(&active, 0x1234, 0) == CONTINUE);
        assert_eq!(total(&active).calls, 2);
        Ok(())
    }

    #[test]
    fn per_cpu_counters_add_up() -> Result {
        let counters = PerCpuCounters::new(20)?;
        for index in [0, 7, 8, 19, 19] {
            NoPreemption::during(|on| counters.add(index, Which::First, on));
        }
        NoPreemption::during(|on| counters.add(8, Which::Second, on));
        assert_eq!(counters.sum(0), [1, 0]);
        assert_eq!(counters.sum(1), [0, 0]);
        assert_eq!(counters.sum(8), [1, 1]);
        assert_eq!(counters.sum(19), [2, 0]);
        // Far beyond the end: what is counted is meaningless, but nothing breaks.
        NoPreemption::during(|on| counters.add(100_000, Which::First, on));
        assert_eq!(counters.sum(100_000), [0, 0]);
        Ok(())
    }

    #[test]
    fn counters_of_two_cpus_share_no_cache_line() {
        assert_eq!(PerCpuCounters::LINE_BYTES, 64);
    }

    /// A rule on a field of a struct, and one on an array.
    const FIELDS: &[u8] = b"policy t version 1\nprofile other\n    default allow\n    \
        deny kvm-vm KVM_SET_USER_MEMORY_REGION if slot == 7\n    \
        deny kvm-vm KVM_SET_GSI_ROUTING if any entries (gsi == 1)\nend\n";

    /// A kernel thread has no memory of a user, and no address of one is good.
    #[test]
    fn what_is_not_at_hand_is_deferred_and_counted() -> Result {
        let active = active(FIELDS)?;
        for command in [0x4020_ae46, 0x4008_ae6a] {
            for arg in [0, u64::MAX, 0xffff_ffff_8100_0000] {
                assert!(matches!(judge(&active, command, arg), Outcome::Defer));
            }
        }
        assert_eq!(active.reading(Reading::Deferred).calls, 6);
        assert_eq!(active.reading(Reading::Unreadable).calls, 0);
        // Nothing has been decided.
        assert_eq!(total(&active).calls, 0);
        Ok(())
    }

    #[test]
    fn a_probe_reads_no_address_that_is_none() {
        for address in [0, u64::MAX, 1 << 63, 0xffff_ffff_8100_0000] {
            let mut bytes = [0; 9];
            assert!(!NoPreemption::during(|on| peek(on, address, &mut bytes)));
            assert!(NoPreemption::during(|on| peek(on, address, &mut [])));
        }
    }

    /// KUnit's thread has no address space of a user: there is nowhere to put an argument.
    #[test]
    fn a_kernel_thread_has_no_window() {
        for compat in [false, true] {
            assert!(Slot::take(compat).is_err_and(|error| error == ENOMEM));
            assert!(NoPreemption::during(
                |on| Slot::take_ready(on, compat).is_none()
            ));
        }
        assert!(Slot::from_argument(0x1000).is_none());
    }

    #[test]
    fn kernel_memory_is_not_the_callers() -> Result {
        let secret = kvec(b"secret")?;
        let mut copy = [0; 6];
        assert!(!OfCaller.read(secret.as_ptr() as u64, &mut copy));
        assert_eq!(copy, [0; 6]);
        Ok(())
    }

    #[test]
    fn a_site_stands_at_its_place() {
        for (place, probe) in SITES.iter().enumerate() {
            assert_eq!(probe.judge().place, place);
        }
    }

    #[test]
    fn a_try_tells_and_changes_nothing() -> Result {
        assert_eq!(load::try_text(kvec(TEXT)?)?.as_bytes(), b"ok\n");
        let bad = load::try_text(kvec(
            b"policy t version 1\nprofile other\n    default deny\n    allow\nend\n",
        )?)?;
        assert!(bad.as_bytes().starts_with(b"4:"));
        // A rule that no call reaches is taken, and told.
        let odd = load::try_text(kvec(
            b"policy t version 1\nprofile other\n    default allow\n    deny sev *\n    \
            deny sev SEV_ISSUE_CMD\nend\n",
        )?)?;
        let mut lines = odd.lines();
        assert_eq!(lines.next(), Some("ok"));
        assert!(lines.next().is_some_and(|line| line.starts_with("5:")));
        Ok(())
    }

    #[test]
    fn the_schema_is_made_of_whole_lines() -> Result {
        let mut text = Text::new();
        catalogue::write(&mut text).map_err(|_| ENOMEM)?;
        assert!(text.as_bytes().ends_with(b"\n"));
        let known = |line: &str| {
            let words = [
                "surface", "command", "field", "element", "variant", "constant",
            ];
            line.split(' ')
                .next()
                .is_some_and(|word| words.contains(&word))
        };
        assert!(text.lines().all(known));
        assert!(text.lines().count() > 1000);
        Ok(())
    }

    #[test]
    fn a_compat_site_stands_where_its_native_one_points() {
        for probe in &SITES {
            let Callers::BehindCompat(index) = probe.judge().callers else {
                continue;
            };
            let first = SITES.get(index).map(|probe| probe.judge());
            assert!(first.is_some_and(|site| site.callers == Callers::Compat));
            assert!(first.is_some_and(|site| site.surface == probe.judge().surface));
        }
    }

    #[test]
    fn a_call_is_passed_on_only_if_the_first_site_has_judged_it() {
        let behind = Callers::BehindCompat(1);
        assert!(behind.have_judged(true, |site| site == 1));
        // The compat site could not be armed: the native one must judge.
        assert!(!behind.have_judged(true, |_| false));
        assert!(!behind.have_judged(false, |_| true));
        assert!(!Callers::All.have_judged(true, |_| true));
        assert!(!Callers::Compat.have_judged(true, |_| true));
    }

    #[test]
    fn every_surface_has_a_site() {
        for surface in Surface::ALL {
            assert!(sites::guards(surface));
        }
    }

    #[test]
    fn a_module_is_found_by_its_own_symbol() {
        assert!(is_loaded(c"portcullis:__this_module"));
        assert!(!is_loaded(c"no_such_module:__this_module"));
    }

    #[test]
    fn each_errno_of_a_probe_has_its_sentence() {
        let known = [ENOENT, EINVAL, EBUSY, ENOMEM].map(why);
        for (place, sentence) in known.iter().enumerate() {
            assert!(!sentence.is_empty() && !sentence.contains('"'));
            assert!(!known[..place].contains(sentence));
            assert!(*sentence != why(EPERM));
        }
    }

    #[test]
    fn no_site_has_failed() {
        for probe in &SITES {
            assert!(!matches!(sites::state(probe), State::Failed(_)));
        }
    }

    #[test]
    fn the_mode_takes_two_values() -> Result {
        for bad in [&b""[..], b"2", b"10", b"1\n\n", b" 1", b"\n", b"1\0"] {
            assert!(load::mode(kvec(bad)?) == Err(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn sha256_of_abc() {
        // FIPS 180-2, appendix B.1.
        if let Some(digest) = sha256(b"abc") {
            assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
            assert_eq!(digest[28..], [0xf2, 0x00, 0x15, 0xad]);
        }
    }

    #[test]
    fn texts_grow_and_errnos_have_names() -> Result {
        let mut text = Text::new();
        text.put(fmt!("{} {}\n", Errno(EBADMSG), 7))?;
        text.push(b"second\n")?;
        assert_eq!(text.as_bytes(), b"EBADMSG 7\nsecond\n");
        assert_eq!(text.lines().count(), 2);
        Ok(())
    }
}
