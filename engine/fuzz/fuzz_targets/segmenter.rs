// SPDX-License-Identifier: BSD-2-Clause
//! Long frames of any shape are cut: each part is the frame that is made by itself, and the parts join into the long one again.
//!
//! ```text
//! cd engine && cargo fuzz run --sanitizer none segmenter -- -len_control=0
//! ```

#![no_main]

#[path = "../../tests/wire_frames/mod.rs"]
mod wire_frames;
#[path = "../../tests/wire_steps/mod.rs"]
mod wire_steps;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match wire_steps::segment(&mut Unstructured::new(bytes)) {
        Ok(_) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
