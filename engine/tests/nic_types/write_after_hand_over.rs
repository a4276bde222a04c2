// SPDX-License-Identifier: BSD-2-Clause
// Nor what it has been given.
use weft_engine::nic::{Platform, Ring, Slot};
use weft_engine::sim::nic::Host;
use weft_engine::sim::nic::vmxnet3::Vmxnet3;

type Memory = <Host<Vmxnet3> as Platform>::Dma;

fn write(ring: &mut Ring<Memory>) {
    let mut slot: Slot<'_, Memory, _> = ring.owned(0);
    let lent = slot.hand_over(|slot| slot.set(8, 1_u64));
    slot.set(0, 1_u64);
    drop(lent);
}

fn main() {}
