// SPDX-License-Identifier: BSD-2-Clause
//! What members and parent call each other on the host, who have one hardware address.
//!
//! FreeBSD's ARP takes a packet that names its own hardware address as sender for an echo
//! of its own, and drops it. So in copies of ARP that stay on the host the sender has an
//! *alias*: a locally administered address that bears its number. Whoever learns it sends
//! to it, and the number says at once whom. On the wire, where aliases never are, all have
//! the link's address. Neighbor Discovery needs none: there the address of the packet
//! says who is meant.

use super::{Arp, Mac, is_group, untagged};
use crate::wire::ethernet;

/// The first bytes of all aliases: locally administered, "weft".
const PREFIX: [u8; 3] = [0x0a, 0x57, 0x46];

/// Numbers that an alias has room for.
pub const NUMBERS: u32 = 1 << 24;

/// Bytes of a frame's front that [`readdress`] changes: an Ethernet header and ARP.
pub const ALIASED: usize = ethernet::HEADER + 28;

/// What the member of that number is called, or with 0 the parent. Below 2^24.
#[inline]
pub const fn alias(number: u32) -> Mac {
    let [_, high, middle, low] = number.to_be_bytes();
    [PREFIX[0], PREFIX[1], PREFIX[2], high, middle, low]
}

/// Whose alias it is, if it is one.
#[inline]
pub fn aliased(mac: Mac) -> Option<u32> {
    let [first, second, third, high, middle, low] = mac;
    let number = u32::from_be_bytes([0, high, middle, low]);
    ([first, second, third] == PREFIX).then_some(number)
}

/// Makes a frame that the member `from` sent, or with 0 the parent, one that a neighbour
/// on the host takes: it is to `own`, the hardware address of all of them, unless it is
/// to a group; and ARP's sender has its alias.
#[inline]
pub fn readdress(front: &mut [u8], from: u32, own: Mac) {
    let destination = front.first_chunk_mut::<6>();
    if let Some(destination) = destination.filter(|destination| !is_group(**destination)) {
        *destination = own;
    }
    let is_arp = untagged(front)
        .is_some_and(|(kind, payload)| kind == ethernet::ARP && Arp::parse(payload).is_some());
    if is_arp {
        put(front, ethernet::HEADER + Arp::SENDER, alias(from));
        put(front, ethernet::HEADER + Arp::TARGET, own);
    }
}

fn put(bytes: &mut [u8], at: usize, mac: Mac) {
    let place = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
    if let Some(place) = place {
        *place = mac;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l3::BROADCAST;
    use proptest::prelude::*;
    use std::vec::Vec;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn the_sender_of_arp_gets_its_alias_and_nothing_else_changes() {
        let arp = [
            &Arp::KIND[..],
            &[0, 1],
            &OWN,
            &[10, 0, 0, 7],
            &[0; 6],
            &[10, 0, 0, 8],
        ];
        let before = [&BROADCAST[..], &OWN, &[8, 6], &arp.concat()].concat();
        let mut after = before.clone();
        readdress(&mut after, 7, OWN);
        assert_eq!(after[22..28], alias(7));
        assert_eq!(after[32..38], OWN);
        assert_eq!(after[..22], before[..22]);
        assert_eq!(after[28..32], before[28..32]);
        assert_eq!(after[38..], before[38..]);
    }

    proptest! {
        #[test]
        fn an_alias_bears_its_number(number in 0..NUMBERS) {
            prop_assert_eq!(aliased(alias(number)), Some(number));
            prop_assert!(!is_group(alias(number)));
        }

        #[test]
        fn what_is_no_arp_gets_a_destination_at_most(
            bytes in prop::collection::vec(any::<u8>(), 0..60), from in 0..NUMBERS,
        ) {
            let mut after: Vec<u8> = bytes.clone();
            readdress(&mut after, from, OWN);
            let is_arp = bytes.len() >= ALIASED && bytes[12..14] == [8, 6]
                && bytes[14..20] == Arp::KIND;
            if !is_arp && bytes.len() >= 6 {
                prop_assert_eq!(&after[6..], &bytes[6..]);
                let to = if is_group(bytes[..6].try_into().unwrap()) { &bytes[..6] } else { &OWN };
                prop_assert_eq!(&after[..6], to);
            }
        }
    }
}
