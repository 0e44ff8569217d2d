// SPDX-License-Identifier: GPL-2.0

//! The engine against the reference of rust/policy/tests/model, where the bytes of the input choose
//! the policy, the calls and the caller's memory.

#![no_main]

#[path = "../../../rust/policy/tests/model/mod.rs"]
mod model;

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use model::compare::{compare, compile};
use model::{draw, Choices};

struct Bytes<'a>(Unstructured<'a>);

impl Choices for Bytes<'_> {
    fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0.int_in_range(0..=limit - 1).unwrap_or_default()
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(Unstructured::new(data));
    let (policy, pool) = draw::policy(&mut bytes);
    let compiled = match compile(&policy) {
        Ok(compiled) => compiled,
        Err(why) => panic!("{}\n{why}", policy.text().0),
    };
    // Not more calls than there are bytes to make them different.
    for _ in 0..8 {
        let (request, pages) = draw::call(&mut bytes, &policy, &pool);
        let (who, state) = (draw::who(&mut bytes), draw::state(&mut bytes));
        if let Err(why) = compare(&policy, &compiled, &request, &pages, &who, &state) {
            let text = &compiled.text;
            panic!(
                "{text}\n{request:x?}\n{who:?}\n{state:x?}\n{:x?}\n{why}",
                pages.0
            );
        }
        if bytes.0.is_empty() {
            break;
        }
    }
});
