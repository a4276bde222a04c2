// SPDX-License-Identifier: BSD-2-Clause
//! Any bytes as a frame that is to be cut, joined and summed: no panic, nothing outside of
//! it, and what was joined is cut into what it was.
//!
//! ```text
//! cd engine && cargo fuzz run --sanitizer none cut_any
//! ```

#![no_main]

#[path = "../../tests/wire_frames/mod.rs"]
mod wire_frames;
#[path = "../../tests/wire_steps/mod.rs"]
mod wire_steps;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| wire_steps::any(bytes));
