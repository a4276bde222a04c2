// SPDX-License-Identifier: BSD-2-Clause
//! What a link does for its packets, and how it is settled.
//!
//! There is one [negotiation](Offer::negotiate), of three sides: what the backend has, what
//! the administrator wants, and what makes sense together. A link whose ends must agree,
//! such as a pair, keeps what they [share](Offer::shared) the same at both.

use bitflags::bitflags;

bitflags! {
    /// What a link does for packets, so that the stack need not.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Capabilities: u32 {
        /// Fills in checksums of TCP and UDP over IPv4.
        const FILL_IPV4 = 1 << 0;
        /// Likewise over IPv6.
        const FILL_IPV6 = 1 << 1;
        /// Says of received packets over IPv4 whether checksums are right.
        const CHECK_IPV4 = 1 << 2;
        /// Likewise over IPv6.
        const CHECK_IPV6 = 1 << 3;
        /// Takes segments of TCP over IPv4 that are longer than a frame.
        const SEGMENT_IPV4 = 1 << 4;
        /// Likewise over IPv6.
        const SEGMENT_IPV6 = 1 << 5;
        /// Takes frames that are longer by a VLAN tag than the MTU says.
        const VLAN_MTU = 1 << 6;
        /// Takes VLAN tags beside the frame.
        const VLAN_TAG = 1 << 7;
        /// Does with tagged frames what it does with others, for checksums.
        const VLAN_FILL = 1 << 8;
        /// Likewise for long segments.
        const VLAN_SEGMENT = 1 << 9;
        /// Takes an MTU above 1,500.
        const JUMBO = 1 << 10;
        /// Tells when it goes up and down.
        const STATE = 1 << 11;
        /// Puts segments of TCP together that it has received (LRO).
        const JOIN = 1 << 12;
        /// Receives tagged frames only of VLANs that there are.
        const VLAN_FILTER = 1 << 13;
    }
}

impl Capabilities {
    /// Long segments, of any kind.
    pub const SEGMENT: Self = Self::SEGMENT_IPV4.union(Self::SEGMENT_IPV6);

    /// What only network cards do, or a driver's queues for them.
    pub const HARDWARE: Self = Self::JOIN.union(Self::VLAN_FILTER);

    /// Without those that need others that are not there: a segment that is cut needs new
    /// checksums, and one that is put together of several must have had right ones.
    pub fn consistent(self) -> Self {
        const NEEDS: [(Capabilities, Capabilities); 5] = [
            (Capabilities::JOIN, Capabilities::CHECK_IPV4),
            (Capabilities::SEGMENT_IPV4, Capabilities::FILL_IPV4),
            (Capabilities::SEGMENT_IPV6, Capabilities::FILL_IPV6),
            (Capabilities::VLAN_SEGMENT, Capabilities::VLAN_TAG),
            (Capabilities::VLAN_SEGMENT, Capabilities::VLAN_FILL),
        ];
        let mut left = self;
        for (what, needed) in NEEDS {
            if !left.contains(needed) {
                left.remove(what);
            }
        }
        left
    }
}

/// What a backend offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it can do.
    pub has: Capabilities,
    /// What of it cannot be turned off.
    pub always: Capabilities,
    /// What of it is on if nobody says anything.
    pub initial: Capabilities,
    /// What of it both ends of the link have or have not.
    pub shared: Capabilities,
}

impl Offer {
    /// What is on when the administrator wants this.
    pub fn negotiate(&self, wanted: Capabilities) -> Capabilities {
        (wanted | self.always)
            .intersection(self.has)
            .consistent()
            .union(self.always & self.has)
    }

    /// What is on at the other end, where `theirs` was, when `ours` is on here.
    pub fn follow(&self, ours: Capabilities, theirs: Capabilities) -> Capabilities {
        self.negotiate((theirs - self.shared) | (ours & self.shared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Offer = Offer {
        has: Capabilities::all(),
        always: Capabilities::CHECK_IPV4,
        initial: Capabilities::all().difference(Capabilities::SEGMENT),
        shared: Capabilities::FILL_IPV4.union(Capabilities::SEGMENT_IPV4),
    };

    #[test]
    fn what_the_backend_lacks_is_never_on() {
        let offer = Offer {
            has: Capabilities::FILL_IPV4 | Capabilities::CHECK_IPV4,
            ..PAIR
        };
        assert_eq!(offer.negotiate(Capabilities::all()), offer.has);
    }

    #[test]
    fn what_cannot_be_turned_off_is_on() {
        assert_eq!(PAIR.negotiate(Capabilities::empty()), PAIR.always);
    }

    #[test]
    fn segments_go_with_checksums() {
        let wanted = Capabilities::SEGMENT | Capabilities::FILL_IPV6;
        let on = PAIR.negotiate(wanted);
        assert!(on.contains(Capabilities::SEGMENT_IPV6));
        assert!(!on.contains(Capabilities::SEGMENT_IPV4));
    }

    #[test]
    fn tagged_segments_need_both() {
        for lacking in [Capabilities::VLAN_TAG, Capabilities::VLAN_FILL] {
            let on = PAIR.negotiate(Capabilities::all() - lacking);
            assert!(!on.contains(Capabilities::VLAN_SEGMENT), "{lacking:?}");
        }
        let on = PAIR.negotiate(Capabilities::all());
        assert!(on.contains(Capabilities::VLAN_SEGMENT));
    }

    #[test]
    fn the_other_end_follows_in_what_is_shared_only() {
        let ours = PAIR.negotiate(Capabilities::JUMBO);
        let theirs = PAIR.follow(ours, Capabilities::all());
        assert!(!theirs.intersects(PAIR.shared));
        assert!(theirs.contains(Capabilities::FILL_IPV6));
        let again = PAIR.follow(Capabilities::all(), theirs);
        assert!(again.contains(PAIR.shared));
    }

    #[test]
    fn a_negotiation_of_its_own_result_changes_nothing() {
        for bits in 0..=Capabilities::all().bits() {
            let on = PAIR.negotiate(Capabilities::from_bits_truncate(bits));
            assert_eq!(PAIR.negotiate(on), on);
        }
    }
}
