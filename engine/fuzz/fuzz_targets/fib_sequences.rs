// SPDX-License-Identifier: BSD-2-Clause
//! The steps of `tests/fib_sequences.rs`, chosen by a fuzzer:
//!
//! ```text
//! cargo install cargo-fuzz
//! cd engine && cargo fuzz run --sanitizer none fib_sequences -- -len_control=0
//! ```
//!
//! With a nightly toolchain, without `--sanitizer none`, the address sanitizer looks
//! on as well. What is found is run again by `cargo fuzz run ... FILE`.

#![no_main]

#[path = "../../tests/fib_rib/mod.rs"]
mod fib_rib;
#[path = "../../tests/fib_steps/mod.rs"]
mod fib_steps;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match fib_steps::run(&mut Unstructured::new(bytes)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
