// SPDX-License-Identifier: BSD-2-Clause
//! Checksums over pieces of any shape are those of a byte at a time.
//!
//! ```text
//! cd engine && cargo fuzz run --sanitizer none completion -- -len_control=0
//! ```

#![no_main]

#[path = "../../tests/wire_frames/mod.rs"]
mod wire_frames;
#[path = "../../tests/wire_steps/mod.rs"]
mod wire_steps;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match wire_steps::complete(&mut Unstructured::new(bytes)) {
        Ok(_) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
