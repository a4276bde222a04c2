// SPDX-License-Identifier: BSD-2-Clause
//! Which frames pass: the address table's other entries are not used, groups go by a hash of
//! 12 bits, VLANs by a bit each.
//!
//! Source: 8254x manual 10.1.3 and 13.5.

use super::Wem;
use super::registers::*;
use weft_engine::l3::Mac;
use weft_engine::nic::{Filter, Platform};

impl<P: Platform> Wem<P> {
    pub(super) fn set_filter(&mut self, filter: &Filter<'_>) {
        let mut groups = [0_u32; TABLE as usize];
        for &group in filter.multicast {
            let hash = hash(group);
            if let Some(word) = groups.get_mut(usize::from(hash >> 5)) {
                *word |= 1 << (hash & 31);
            }
        }
        for (n, &word) in (0..).zip(&groups) {
            self.write(MTA + 4 * n, word);
        }
        for (n, &word) in (0..).zip(&filter.vlans.0) {
            self.write(VFTA + 4 * n, word);
        }
        let mut receive = self.receive;
        receive.set(Receive::PROMISCUOUS, filter.promiscuous);
        let all_groups = filter.promiscuous || filter.all_multicast;
        receive.set(Receive::ALL_MULTICAST, all_groups);
        receive.set(
            Receive::VLAN_FILTER,
            self.filters_vlans && !filter.promiscuous,
        );
        self.set_receive(receive);
    }
}

/// Which of 4,096 bits a group has: bits 47 to 36 of its address, as it goes over the wire.
fn hash([.., high, highest]: Mac) -> u16 {
    u16::from(highest) << 4 | u16::from(high) >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_bit_of_the_manuals_example() {
        // 8254x manual, 13.5.1: 12-bit values of 01-00-5e-00-00-fb's like.
        assert_eq!(hash([0x01, 0xaa, 0x00, 0x12, 0x34, 0x56]), 0x563);
    }
}
