// SPDX-License-Identifier: BSD-2-Clause
// A descriptor goes to the device and comes back.
use weft_engine::nic::{Platform, Ring, Slot};
use weft_engine::sim::nic::Host;
use weft_engine::sim::nic::vmxnet3::Vmxnet3;

type Memory = <Host<Vmxnet3> as Platform>::Dma;

fn lend(ring: &mut Ring<Memory>) {
    let mut slot: Slot<'_, Memory, _> = ring.owned(0);
    slot.set(0, 1_u64);
    let lent = slot.hand_over(|slot| slot.set(8, 1_u64));
    if lent.peek::<u64>(8) == 0 {
        lent.take_back().set(0, 2_u64);
    }
}

fn main() {
    let host = Host::new(Vmxnet3::new(1, [0; 6]));
    let mut ring = Ring::new(&host, 1, 16, 64).unwrap();
    lend(&mut ring);
}
