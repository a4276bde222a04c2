// SPDX-License-Identifier: BSD-2-Clause
//! Tests are built with checks of arithmetic: what overflows in one fails it.

#[test]
fn an_overflow_does_not_pass_unseen() {
    let most = std::hint::black_box(u8::MAX);
    let sum = std::panic::catch_unwind(|| most + std::hint::black_box(1));
    assert!(sum.is_err());
}
