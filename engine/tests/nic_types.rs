// SPDX-License-Identifier: BSD-2-Clause
//! What a driver could do wrong with a descriptor and does not compile.

#[test]
fn a_descriptor_is_written_by_its_owner_only() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/nic_types/lend.rs");
    cases.compile_fail("tests/nic_types/write_lent.rs");
    cases.compile_fail("tests/nic_types/write_after_hand_over.rs");
    cases.compile_fail("tests/nic_types/two_of_one.rs");
    cases.compile_fail("tests/nic_types/outlive_ring.rs");
}
