// SPDX-License-Identifier: BSD-2-Clause
// What the device has is not the driver's to write.
use weft_engine::nic::{Platform, Ring, Slot};
use weft_engine::sim::nic::Host;
use weft_engine::sim::nic::vmxnet3::Vmxnet3;

type Memory = <Host<Vmxnet3> as Platform>::Dma;

fn write(ring: &Ring<Memory>) {
    let mut slot: Slot<'_, Memory, _> = ring.lent(0);
    slot.set(0, 1_u64);
}

fn main() {}
