// SPDX-License-Identifier: BSD-2-Clause
//! Touching the state of a VNET after it was left, or as another's.
use weft_engine::context::Vnet;

fn counter<'v>(_: &Vnet<'v>) -> &'v u32 {
    &5
}

fn same_vnet<'v>(_: &Vnet<'v>, _: &Vnet<'v>) {}

fn after_it_was_left() -> u32 {
    let counter = unsafe { Vnet::during(|| (), |vnet| counter(vnet), |()| ()) };
    *counter
}

fn two_at_once<'a, 'b>(one: &Vnet<'a>, other: &Vnet<'b>) {
    same_vnet(one, other);
}

fn main() {}
