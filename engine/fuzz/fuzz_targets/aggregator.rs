// SPDX-License-Identifier: BSD-2-Clause
//! Frames of some flows, changed here and there, are joined: what comes out, cut again, is what went in.
//!
//! ```text
//! cd engine && cargo fuzz run --sanitizer none aggregator -- -len_control=0
//! ```

#![no_main]

#[path = "../../tests/wire_frames/mod.rs"]
mod wire_frames;
#[path = "../../tests/wire_steps/mod.rs"]
mod wire_steps;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match wire_steps::aggregate(&mut Unstructured::new(bytes)) {
        Ok(_) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
