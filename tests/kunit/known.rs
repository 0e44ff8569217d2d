// SPDX-License-Identifier: GPL-2.0

//! What is known by the calls that succeeded.

use kernel::prelude::*;

#[kunit_tests(portcullis_known)]
mod known {
    use crate::known::Seen;
    use kernel::prelude::*;
    use portcullis_policy::Did;

    #[test]
    fn what_nobody_asks_for_gives_way_to_what_somebody_does() {
        let seen = Seen::new();
        let all = || Did::names().filter_map(Did::from_name).map(|did| did.key());
        assert!(all().count() > 64);
        // With room left, all is kept.
        for key in all().take(64) {
            seen.note_did(key, |_| false);
        }
        assert!(all().take(64).all(|key| seen.did(key)));
        let old = all().next().map_or(0, |key| key.bits());
        if let Some(new) = all().nth(64) {
            // Where all are asked for, none gives way.
            seen.note_did(new, |_| true);
            assert!(!seen.did(new));
            seen.note_did(new, |bits| bits == old);
            assert!(seen.did(new));
            assert!(all().take(1).all(|key| seen.did(key)));
            assert_eq!(all().take(65).filter(|key| seen.did(*key)).count(), 64);
        }
    }
}
