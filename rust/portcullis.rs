// SPDX-License-Identifier: GPL-2.0

//! Portcullis: a gate in front of the ioctls through which a virtual machine monitor drives the
//! host kernel.
//!
//! Read from here: a policy is put in force ([`load`]), the gate is closed ([`sites`]), calls are
//! judged ([`active`]) by who makes them ([`known`]), it is looked after whether they are ([`life`]), and the
//! files in securityfs tell and change what happens ([`files`]).

#![deny(unsafe_code)]

#[cfg(CONFIG_PREEMPT_RT)]
compile_error!("a probe takes locks of KVM's that sleep on a kernel with CONFIG_PREEMPT_RT");

use kernel::prelude::*;

mod active;
mod canary;
mod catalogue;
mod doing;
mod files;
mod heap;
mod known;
mod ledger;
mod life;
mod load;
mod report;
mod sites;
#[allow(unsafe_code)]
mod sys;
mod text;
mod trouble;
mod vms;

/// `policy/builtin.policy`, compiled while the module was built.
#[expect(
    unreachable_pub,
    reason = "the compiler of policies knows no crate to be public in"
)]
mod builtin {
    include!(concat!(
        env!("PORTCULLIS_OBJ"),
        "/rust/builtin_generated.rs"
    ));
}

/// How the ioctls in the headers of this kernel differ from the schema's.
mod drift {
    include!(concat!(env!("PORTCULLIS_OBJ"), "/rust/drift_generated.rs"));
}

#[cfg(CONFIG_KUNIT)]
#[path = "../tests/kunit/mod.rs"]
mod kunit;

module! {
    type: Portcullis,
    name: "portcullis",
    authors: ["Portcullis developers"],
    description: "Checks the ioctls of virtual machine monitors against a policy",
    license: "GPL",
    params: {
        permissive: bool {
            default: false,
            description: "Only count what the policy denies, until 1 is written to enforce",
        },
        panic_if_dead: bool {
            default: false,
            description: "Stop the host when calls pass unseen where a probe should stand",
        },
    },
}

/// The module while it is loaded. The fields go in order: nobody can load a policy while the gate
/// is opened, nobody looks whether it is closed, who is known and the policy go when no call can be
/// under judgement any more, and last what the windows of processes seem to map.
struct Portcullis {
    _files: sys::securityfs::Folder,
    _watch: life::Watch,
    _gate: sites::Gate,
    _registry: sys::registry::Registry,
    _policy: load::InForce,
    _backing: sys::window::Backing,
}

impl kernel::Module for Portcullis {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        sys::locks::init();
        sys::detour::init();
        active::set_enforcing(!module_parameters::permissive.value());
        let backing = sys::window::init()?;
        let policy = load::builtin()?;
        let registry = sys::registry::Registry::new();
        let canary = life::put_canary();
        let gate = sites::Gate::close()?;
        known::find_those_before();
        let watch = life::Watch::begin(canary)?;
        let files = files::create()?;
        Ok(Self {
            _files: files,
            _watch: watch,
            _gate: gate,
            _registry: registry,
            _policy: policy,
            _backing: backing,
        })
    }
}
