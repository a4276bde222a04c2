// SPDX-License-Identifier: BSD-2-Clause
// A descriptor is not had twice.
use weft_engine::nic::{Platform, Ring, Slot};
use weft_engine::sim::nic::Host;
use weft_engine::sim::nic::vmxnet3::Vmxnet3;

type Memory = <Host<Vmxnet3> as Platform>::Dma;

fn write(ring: &mut Ring<Memory>) {
    let mut one: Slot<'_, Memory, _> = ring.owned(0);
    let mut same = ring.owned(0);
    one.set(0, 1_u64);
    same.set(0, 1_u64);
}

fn main() {}
