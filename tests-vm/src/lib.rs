// SPDX-License-Identifier: BSD-2-Clause
//! Boots FreeBSD in a virtual machine and tests `weft.ko` in it.
pub mod loader;
