// SPDX-License-Identifier: GPL-2.0

//! Who a process is, and which files it has open.

use kernel::prelude::*;

#[kunit_tests(portcullis_facts)]
mod facts {
    use crate::sys::{facts::Facts, open_files::for_each_open_file};
    use kernel::prelude::*;

    #[test]
    fn the_first_process_is_who_it_is() -> Result {
        let mut found = None;
        for_each_open_file(|task, _| {
            if task.tgid() == 1 {
                found = Some(Facts::of(task));
            }
        });
        // A process that has no file open is not one to start the others.
        assert!(found.is_some());
        if let Some(facts) = found {
            let facts = facts?;
            assert_eq!((facts.pid, facts.uid, facts.gid), (1, 0, 0));
            assert!(facts.exe.is_some_and(|exe| exe.starts_with(b"/")));
            assert!(facts.cgroup.is_some_and(|path| path.starts_with(b"/")));
            assert!(!facts.comm.is_empty());
        }
        Ok(())
    }

    #[test]
    fn a_kernel_thread_has_no_program() -> Result {
        // Which is what runs the tests.
        let facts = Facts::of_current()?;
        let caller = facts.caller();
        assert_eq!(caller.exe, None);
        assert_eq!(caller.uid, Some(0));
        assert!(facts.pid > 1);
        assert!(caller.comm.is_some_and(|comm| comm.starts_with(b"kunit")));
        Ok(())
    }
}
