// SPDX-License-Identifier: BSD-2-Clause
//! Random sequences of steps on tables that share a store, for some seconds. A run
//! that fails names its seed, and the fewest bytes with which it still fails.
//!
//! `WEFT_SEQUENCES_SECONDS` makes it run longer. A fuzzer, which knows what its
//! bytes reach, does the same by `fuzz/`.

mod fib_rib;
mod fib_steps;

use std::time::Duration;

#[test]
fn any_sequence_of_steps_is_answered_as_the_reference_does() {
    let seconds = std::env::var("WEFT_SEQUENCES_SECONDS");
    let seconds = seconds.map_or(5, |text| text.parse().expect("a number of seconds"));
    arbtest::arbtest(fib_steps::run)
        .size_min(1024)
        .size_max(16 << 10)
        .budget(Duration::from_secs(seconds));
}
