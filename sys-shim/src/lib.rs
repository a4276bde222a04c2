// SPDX-License-Identifier: BSD-2-Clause
//! Carries the C objects in `c/` into the module's archive. The declarations of
//! its functions are made by `weft-bindings` from `c/weft_shim.h`.

#![no_std]
