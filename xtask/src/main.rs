// SPDX-License-Identifier: BSD-2-Clause
//! The project's build program, `cargo xtask`. The `Makefile` only names its
//! commands.
fn main() {}
