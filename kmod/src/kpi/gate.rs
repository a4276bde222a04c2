// SPDX-License-Identifier: BSD-2-Clause
//! Allocations of the module that are told to fail, for tests. The C is in
//! `sys-shim/c/test/gate.c`.

use weft_bindings::kernel as c;

/// What is told of a site: its number, calls, kind, and return addresses.
pub(crate) const WORDS: u32 = c::WEFT_GATE_WORDS;
/// Sites for which there is room.
pub(crate) const SITES: u32 = c::WEFT_GATE_SITES;

/// Forgets the sites that were seen, and has none fail.
pub(crate) fn forget() {
    // SAFETY: any context.
    unsafe { c::weft_test_gate_forget() };
}

/// Has a call of a site fail, counted from now on.
pub(crate) fn shut(site: u32, turn: u32) {
    // SAFETY: any context.
    unsafe { c::weft_test_gate_shut(site, turn) };
}

/// The site that has failed since; 0: none.
pub(crate) fn failed() -> u32 {
    // SAFETY: any context.
    unsafe { c::weft_test_gate_failed() }
}

/// Calls of sites for which there was no room.
pub(crate) fn forgotten() -> u32 {
    // SAFETY: any context.
    unsafe { c::weft_test_gate_forgotten() }
}

/// A word of a site; 0 where there is none.
pub(crate) fn word(site: u32, word: u32) -> u32 {
    // SAFETY: any context; the function knows how many there are.
    unsafe { c::weft_test_gate_site(site, word) }
}
