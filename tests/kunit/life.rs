// SPDX-License-Identifier: GPL-2.0

//! What is made of the sight of a probe.

use kernel::prelude::*;

#[kunit_tests(portcullis_life)]
mod life {
    use crate::{
        canary::Canary,
        life::Gate,
        sys::{
            kprobe::{Armed, Pulse},
            sight::{Sight, Text}, //
        },
    };
    use kernel::prelude::*;

    const HERE: usize = 0x1000;
    const BEFORE: usize = 0x2000;
    const ELSEWHERE: usize = 0x3000;

    const CANARY: Canary = Canary {
        answers: true,
        on_ftrace: true,
        led: [HERE, BEFORE],
    };
    const SILENT_CANARY: Canary = Canary {
        answers: false,
        ..CANARY
    };
    const SITE: Sight = Sight {
        armed: Armed::Yes,
        text: Text::Call(HERE),
        on_ftrace: true,
        disabled: false,
        gone: false,
        others: 0,
    };

    #[test]
    fn a_call_is_worth_what_the_canarys_is() {
        for (text, pulse) in [
            (Text::Call(HERE), Some(Pulse::Fires)),
            (Text::Call(BEFORE), Some(Pulse::Fires)),
            (Text::Call(ELSEWHERE), Some(Pulse::Traced)),
            (Text::Jump, Some(Pulse::Traced)),
            (Text::Plain, Some(Pulse::Silent)),
            (Text::Breakpoint, None),
        ] {
            assert_eq!(CANARY.pulse_of(&Sight { text, ..SITE }), pulse);
            let pulse = Some(Pulse::Silent);
            assert_eq!(SILENT_CANARY.pulse_of(&Sight { text, ..SITE }), pulse);
        }
    }

    #[test]
    fn a_shared_site_has_another_user_of_ftrace() {
        let shared = Sight {
            armed: Armed::Shared,
            ..SITE
        };
        for (text, pulse) in [
            (Text::Call(ELSEWHERE), Pulse::Fires),
            (Text::Plain, Pulse::Silent),
        ] {
            let sight = Sight { text, ..shared };
            assert_eq!(CANARY.pulse_of(&sight), Some(pulse));
        }
        assert_eq!(SILENT_CANARY.pulse_of(&shared), Some(Pulse::Silent));
    }

    #[test]
    fn a_site_that_is_not_on_ftrace_has_a_breakpoint() {
        let site = Sight {
            on_ftrace: false,
            ..SITE
        };
        for (text, pulse) in [
            (Text::Breakpoint, Pulse::Fires),
            // Optimised: what the probe changes does not hold.
            (Text::Jump, Pulse::Silent),
            (Text::Call(HERE), Pulse::Silent),
            (Text::Plain, Pulse::Silent),
        ] {
            let sight = Sight { text, ..site };
            assert_eq!(CANARY.pulse_of(&sight), Some(pulse));
            // When ftrace dies, this one does not.
            assert_eq!(SILENT_CANARY.pulse_of(&sight), Some(pulse));
        }
    }

    #[test]
    fn the_kernels_marks_count() {
        let disabled = Sight {
            disabled: true,
            ..SITE
        };
        assert_eq!(CANARY.pulse_of(&disabled), Some(Pulse::Silent));
        // A module that goes is not a site that dies.
        for text in [Text::Plain, Text::Call(HERE)] {
            let gone = Sight {
                gone: true,
                text,
                ..disabled
            };
            assert_eq!(CANARY.pulse_of(&gone), None);
            assert_eq!(SILENT_CANARY.pulse_of(&gone), None);
        }
    }

    #[test]
    fn gates_are_worse_the_more_sites_are_open() {
        assert!(Gate::Alive < Gate::Open(1));
        assert!(Gate::Open(1) < Gate::Open(2));
        assert!(Gate::Open(usize::MAX) < Gate::Dead);
    }
}
