// SPDX-License-Identifier: GPL-2.0

//! KUnit suites: they run when the module is loaded into a kernel with `CONFIG_KUNIT=y`.

use kernel::prelude::*;

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
        active::{Active, Count},
        builtin,
        heap::Heap,
        load,
        sites::{self, Callers, State, SITES},
        sys::{
            digest::sha256,
            kprobe::{with_fake_call, Outcome},
            per_cpu::{PerCpuCounters, Which}, //
        },
        text::{Errno, Text},
    };
    use kernel::{fmt, prelude::*};
    use portcullis_policy::{parse, Request, Surface};

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
        with_fake_call(|call| active.judge(&request, call))
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
        assert!(judge(&active, 0xae41, 6) == Outcome::Continue);
        assert!(judge(&active, 0xae41, 7) == Outcome::Refuse(18));
        assert!(judge(&active, 0xae41, 7) == Outcome::Refuse(18));
        let sum = total(&active);
        assert_eq!((sum.calls, sum.denied, sum.would_deny), (3, 2, 0));
        Ok(())
    }

    #[test]
    fn an_audited_call_counts_for_both_rules() -> Result {
        let active = active(TEXT)?;
        assert!(judge(&active, 0x1234, 0) == Outcome::Continue);
        assert_eq!(total(&active).calls, 2);
        Ok(())
    }

    #[test]
    fn per_cpu_counters_add_up() -> Result {
        let counters = PerCpuCounters::new(20)?;
        for index in [0, 7, 8, 19, 19] {
            with_fake_call(|call| counters.add(index, Which::First, call));
        }
        with_fake_call(|call| counters.add(8, Which::Second, call));
        assert_eq!(counters.sum(0), [1, 0]);
        assert_eq!(counters.sum(1), [0, 0]);
        assert_eq!(counters.sum(8), [1, 1]);
        assert_eq!(counters.sum(19), [2, 0]);
        // Far beyond the end: what is counted is meaningless, but nothing breaks.
        with_fake_call(|call| counters.add(100_000, Which::First, call));
        assert_eq!(counters.sum(100_000), [0, 0]);
        Ok(())
    }

    #[test]
    fn counters_of_two_cpus_share_no_cache_line() {
        assert_eq!(PerCpuCounters::LINE_BYTES, 64);
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
