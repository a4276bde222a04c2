// SPDX-License-Identifier: BSD-2-Clause
//! A frame with any request goes to a device with any capabilities: what reaches it are the
//! frames that are made by themselves, a byte at a time.
//!
//! ```text
//! cd engine && cargo fuzz run --sanitizer none offload -- -len_control=0
//! ```

#![no_main]

#[path = "../../tests/wire_frames/mod.rs"]
mod wire_frames;
#[path = "../../tests/wire_steps/mod.rs"]
mod wire_steps;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match wire_steps::offload(&mut Unstructured::new(bytes)) {
        Ok(_) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
