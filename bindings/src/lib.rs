// SPDX-License-Identifier: BSD-2-Clause
//! The FreeBSD kernel's declarations that `weft-kmod` uses, made by bindgen from
//! the kernel's headers and the C shim's. Empty when built for a host.
//!
//! The names are the kernel's. Nothing but `weft_kmod::kpi` uses this crate.

#![no_std]

/// The declarations, as bindgen writes them.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc
)]
pub mod kernel {
    include!(concat!(env!("OUT_DIR"), "/kernel.rs"));
}

/// The layout table, asserted of what bindgen wrote.
mod layout {
    #[allow(unused_imports)]
    use crate::kernel;

    include!(concat!(env!("OUT_DIR"), "/layout.rs"));
}
