// SPDX-License-Identifier: BSD-2-Clause
//! Keeping what was found in an epoch past its end.
use weft_engine::context::{NetEpoch, Sleepable};

struct Nexthop(u32);
static NEXTHOP: Nexthop = Nexthop(7);

fn find<'e>(_: &NetEpoch<'e>) -> &'e Nexthop {
    &NEXTHOP
}

fn wait(_: &mut Sleepable) {}

fn past_a_scope(sleepable: &mut Sleepable) -> u32 {
    let nexthop = {
        let epoch = unsafe { NetEpoch::assume_from(sleepable) };
        find(&epoch)
    };
    wait(sleepable);
    nexthop.0
}

fn past_a_closure(sleepable: &mut Sleepable) -> u32 {
    let nexthop = unsafe { NetEpoch::during(sleepable, || (), |epoch| find(epoch), |()| ()) };
    nexthop.0
}

fn main() {}
