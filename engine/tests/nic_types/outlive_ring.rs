// SPDX-License-Identifier: BSD-2-Clause
// A descriptor is gone with its ring's memory.
use weft_engine::nic::{Platform, Ring, Slot};
use weft_engine::sim::nic::Host;
use weft_engine::sim::nic::vmxnet3::Vmxnet3;

type Memory = <Host<Vmxnet3> as Platform>::Dma;

fn main() {
    let host = Host::new(Vmxnet3::new(1, [0; 6]));
    let mut ring = <Ring<_>>::new(&host, 1, 16, 64).unwrap();
    let mut slot: Slot<'_, Memory, _> = ring.owned(0);
    drop(ring);
    slot.set(0, 1_u64);
}
