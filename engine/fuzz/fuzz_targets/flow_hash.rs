// SPDX-License-Identifier: BSD-2-Clause
//! Any bytes as a frame: no panic, never more hashed than there is, and both directions
//! alike where that is asked for.
//!
//! ```text
//! cd engine && cargo fuzz run --sanitizer none flow_hash
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_engine::wire::flow::{Order, tuple};
use weft_engine::wire::toeplitz::{INPUT, Toeplitz};

static HASH: Toeplitz = Toeplitz::new(&[0x5a; 40]);

fuzz_target!(|frame: &[u8]| {
    let sent = tuple(frame, Order::Sent);
    let sorted = tuple(frame, Order::Sorted);
    assert_eq!(sent.is_some(), frame.len() >= 14);
    let (Some(sent), Some(sorted)) = (sent, sorted) else {
        return;
    };
    assert!(sent.bytes().len() <= INPUT);
    assert_eq!(sent.kind(), sorted.kind());
    let of = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(of(sent.bytes()), of(sorted.bytes()));
    let _ = HASH.hash(sent.bytes());
});
