// SPDX-License-Identifier: BSD-2-Clause
//! What contexts allow. The stand-ins for the kernel's calls do nothing.
use weft_engine::context::{NetEpoch, Sleepable, Vnet};

struct Nexthop(u32);
static NEXTHOP: Nexthop = Nexthop(7);

fn find<'e>(_: &NetEpoch<'e>) -> &'e Nexthop {
    &NEXTHOP
}

fn wait(_: &mut Sleepable) {}

fn counter<'v>(_: &Vnet<'v>) -> &'v u32 {
    &5
}

fn with_epoch<R>(sleepable: &mut Sleepable, inside: impl for<'i> FnOnce(&NetEpoch<'i>) -> R) -> R {
    // SAFETY: there is no kernel here, and no epoch to be in.
    unsafe { NetEpoch::during(sleepable, || (), inside, |()| ()) }
}

fn with_vnet<R>(inside: impl for<'i> FnOnce(&Vnet<'i>) -> R) -> R {
    // SAFETY: there is no kernel here, and no VNET.
    unsafe { Vnet::during(|| (), inside, |()| ()) }
}

fn main() {
    // SAFETY: a thread of the host may sleep.
    let mut sleepable = unsafe { Sleepable::assume() };
    wait(&mut sleepable);
    let number = with_epoch(&mut sleepable, |epoch| find(epoch).0);
    wait(&mut sleepable);
    let sum = with_vnet(|vnet| with_epoch(&mut sleepable, |epoch| counter(vnet) + find(epoch).0));
    assert_eq!((number, sum), (7, 12));
    {
        // SAFETY: as above.
        let epoch = unsafe { NetEpoch::assume_from(&mut sleepable) };
        assert_eq!(find(&epoch).0, 7);
    }
    wait(&mut sleepable);
}
