// SPDX-License-Identifier: BSD-2-Clause
//! The context tokens: what must not compile does not, and what must, does.

#[test]
fn contexts_are_kept_apart() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/context/pass_contexts.rs");
    cases.compile_fail("tests/context/sleep_in_epoch.rs");
    cases.compile_fail("tests/context/keep_past_epoch.rs");
    cases.compile_fail("tests/context/send_epoch.rs");
    cases.compile_fail("tests/context/leave_vnet.rs");
    cases.compile_fail("tests/context/copy_sleepable.rs");
}
