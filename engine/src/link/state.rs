// SPDX-License-Identifier: BSD-2-Clause
//! A link's state.

use core::ops::RangeInclusive;

use super::capabilities::{Capabilities, Offer};

/// Bytes of payload that frames of a link may have.
pub type Mtu = u32;

/// Whether what a link is connected to answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// The backend does not tell.
    #[default]
    Unknown,
    /// It does not.
    Down,
    /// It does.
    Up,
}

/// What can be asked of a link: by the administrator, or by its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// To do this for packets, as far as it can.
    Capabilities(Capabilities),
    /// To be to its peer what the peer is to it, in what both ends share: these are on at
    /// the other end.
    Follow(Capabilities),
    /// To take frames of this size.
    Mtu(Mtu),
    /// To carry frames, or not to.
    Running(bool),
    /// To tell that the carrier is there, or is not.
    Carrier(Carrier),
    /// To tell that it does so many bits a second.
    Speed(u64),
}

/// What has changed of a link, with what it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// What it does for packets.
    Capabilities(Capabilities),
    /// The size of its frames.
    Mtu(Mtu),
    /// Whether it carries frames.
    Running(bool),
    /// Whether there is a carrier: only while it runs; a link that does not has none.
    Carrier(Carrier),
    /// Its speed in bits a second.
    Speed(u64),
}

/// Why a link cannot be as was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The size of frames is not in this range.
    Mtu(RangeInclusive<Mtu>),
}

/// A link, as far as it concerns those who use it.
#[derive(Clone, Debug)]
pub struct Link {
    offer: Offer,
    sizes: RangeInclusive<Mtu>,
    enabled: Capabilities,
    mtu: Mtu,
    is_running: bool,
    /// As the backend says.
    carrier: Carrier,
    speed: u64,
}

impl Link {
    /// A link that does not run yet, with what is on at first, for frames of these sizes.
    pub fn new(offer: Offer, sizes: RangeInclusive<Mtu>, mtu: Mtu, speed: u64) -> Self {
        Self {
            enabled: offer.negotiate(offer.initial),
            offer,
            sizes,
            mtu,
            is_running: false,
            carrier: Carrier::Unknown,
            speed,
        }
    }

    /// What it does for packets.
    pub fn enabled(&self) -> Capabilities {
        self.enabled
    }

    /// The size of its frames.
    pub fn mtu(&self) -> Mtu {
        self.mtu
    }

    /// Whether it carries frames.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Whether there is a carrier. Unless it runs there is none.
    pub fn carrier(&self) -> Carrier {
        match self.is_running {
            true => self.carrier,
            false => Carrier::Down,
        }
    }

    /// Its speed in bits a second.
    pub fn speed(&self) -> u64 {
        self.speed
    }

    /// Changes it, and tells what has changed by that, in the order in which it is to be
    /// made known; nothing if all is as it was.
    ///
    /// # Errors
    /// Why it cannot be so; then nothing has changed.
    pub fn change(&mut self, change: Change) -> Result<impl Iterator<Item = Event>, Refusal> {
        let before = self.clone();
        match change {
            Change::Capabilities(wanted) => self.enabled = self.offer.negotiate(wanted),
            Change::Follow(theirs) => self.enabled = self.offer.follow(theirs, self.enabled),
            Change::Mtu(mtu) if !self.sizes.contains(&mtu) => {
                return Err(Refusal::Mtu(self.sizes.clone()));
            }
            Change::Mtu(mtu) => self.mtu = mtu,
            Change::Running(is_running) => self.is_running = is_running,
            Change::Carrier(carrier) => self.carrier = carrier,
            Change::Speed(speed) => self.speed = speed,
        }
        Ok(self.events_since(&before))
    }

    /// What is to be told to who knew it as it was before. Who is told of a carrier finds
    /// the link running: it is told first that it runs, and last that it does not.
    fn events_since(&self, before: &Self) -> impl Iterator<Item = Event> + use<> {
        let running = (self.is_running != before.is_running).then_some(self.is_running);
        let carrier = (self.carrier() != before.carrier()).then_some(self.carrier());
        [
            (self.enabled != before.enabled).then_some(Event::Capabilities(self.enabled)),
            (self.mtu != before.mtu).then_some(Event::Mtu(self.mtu)),
            (self.speed != before.speed).then_some(Event::Speed(self.speed)),
            running.filter(|running| *running).map(Event::Running),
            carrier.map(Event::Carrier),
            running.filter(|running| !*running).map(Event::Running),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const OFFER: Offer = Offer {
        has: Capabilities::all().difference(Capabilities::JUMBO),
        always: Capabilities::CHECK_IPV4,
        initial: Capabilities::all(),
        shared: Capabilities::FILL_IPV4.union(Capabilities::SEGMENT_IPV4),
    };

    fn link() -> Link {
        Link::new(OFFER, 72..=9000, 1500, 10_000_000_000)
    }

    fn a_change() -> impl Strategy<Value = Change> {
        let bits = any::<u32>().prop_map(Capabilities::from_bits_truncate);
        prop_oneof![
            bits.clone().prop_map(Change::Capabilities),
            bits.prop_map(Change::Follow),
            (0u32..12_000).prop_map(Change::Mtu),
            any::<bool>().prop_map(Change::Running),
            prop_oneof![
                Just(Carrier::Unknown),
                Just(Carrier::Down),
                Just(Carrier::Up)
            ]
            .prop_map(Change::Carrier),
            (0u64..3).prop_map(Change::Speed),
        ]
    }

    proptest! {
        #[test]
        fn who_follows_the_events_knows_the_link(changes in prop::collection::vec(a_change(), 0..50)) {
            let mut link = link();
            let mut known = (link.enabled(), link.mtu(), link.is_running(), link.carrier(), link.speed());
            for change in changes {
                let before = known;
                let Ok(events) = link.change(change) else {
                    prop_assert!(matches!(change, Change::Mtu(mtu) if !(72..=9000).contains(&mtu)));
                    continue;
                };
                for event in events {
                    match event {
                        Event::Capabilities(enabled) => known.0 = enabled,
                        Event::Mtu(mtu) => known.1 = mtu,
                        Event::Running(is_running) => known.2 = is_running,
                        Event::Carrier(carrier) => {
                            prop_assert!(known.2, "a carrier of a link that runs");
                            known.3 = carrier;
                        }
                        Event::Speed(speed) => known.4 = speed,
                    }
                    prop_assert_ne!(known, before, "no event tells what was known");
                }
                prop_assert_eq!(
                    known,
                    (link.enabled(), link.mtu(), link.is_running(), link.carrier(), link.speed())
                );
                prop_assert!(OFFER.has.contains(link.enabled()));
            }
        }
    }

    #[test]
    fn a_carrier_comes_after_the_start_and_goes_before_the_end() {
        let mut link = link();
        let events = |link: &mut Link, change| -> Vec<_> { link.change(change).unwrap().collect() };
        assert_eq!(events(&mut link, Change::Carrier(Carrier::Up)), []);
        assert_eq!(
            events(&mut link, Change::Running(true)),
            [Event::Running(true), Event::Carrier(Carrier::Up)]
        );
        assert_eq!(
            events(&mut link, Change::Running(false)),
            [Event::Carrier(Carrier::Down), Event::Running(false)]
        );
    }

    #[test]
    fn a_size_outside_is_refused_with_the_range() {
        let mut link = link();
        let refused = link.change(Change::Mtu(9001)).err();
        assert_eq!(refused, Some(Refusal::Mtu(72..=9000)));
        assert_eq!(link.mtu(), 1500);
    }
}
