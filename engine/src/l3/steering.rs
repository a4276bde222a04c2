// SPDX-License-Identifier: BSD-2-Clause
//! Who has which address, who has joined which group: an immutable table, made anew when
//! an interface, an address or a membership changes, and read by each frame.
//!
//! A hash table serves, and not the tables of [`fib`](crate::fib): there are no prefixes,
//! only whole addresses, some for each jail. One probe of one cache line answers, and
//! hundreds of addresses take less memory than a page of that engine.
//!
//! # Who comes first
//!
//! An address has one holder. The parent's are its own, whoever claims them. Of several
//! members the one keeps it that had it in the table before; among newcomers the one
//! named first gets it. So who claims an address that is in use neither gets its packets
//! nor may send from it.

use super::{BROADCAST, Mac};
use alloc::vec::Vec;
use core::net::IpAddr;

/// A member, and what it claims. `M` is what it is reached by.
pub struct Member<M> {
    /// Its number, not 0.
    pub number: u32,
    /// What it is reached by.
    pub handle: M,
    /// Its addresses. Of link-local ones without a zone.
    pub addresses: Vec<IpAddr>,
    /// Groups whose frames it takes, by hardware address.
    pub groups: Vec<Mac>,
    /// Whether it takes all groups' frames.
    pub takes_all: bool,
}

/// Whose an address is.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder<'s, M> {
    /// The parent's.
    Parent,
    /// A member's, by its number.
    Member(u32, &'s M),
    /// None of these.
    Nobody,
}

/// A place for an address, with the index of its holder among the members, or `PARENT`.
#[derive(Clone, Copy, Debug)]
pub struct Slot(Option<(IpAddr, u32)>);

impl Slot {
    /// Nothing in it.
    pub const EMPTY: Self = Self(None);

    /// How many a table of so many addresses is to have.
    pub const fn room(addresses: usize) -> usize {
        // Beyond that no memory is to be had, which whoever makes them finds out.
        match addresses.saturating_mul(2).checked_next_power_of_two() {
            Some(room) if room > 2 => room,
            Some(_) => 2,
            None => usize::MAX,
        }
    }
}

const PARENT: u32 = u32::MAX;

/// The table.
pub struct Steering<M> {
    /// A power of two of them, at least twice as many as addresses.
    slots: Vec<Slot>,
    seed: u64,
    /// In the order of their numbers.
    members: Vec<Member<M>>,
}

impl<M> Steering<M> {
    /// A table of the parent's addresses and of members, who come in the order of their
    /// numbers, in as many empty slots as [`Slot::room`] says; with fewer, addresses are
    /// left out. What `before` held is kept as the head of this file says. The seed is
    /// random, so that nobody can choose addresses that collide. Does not allocate.
    pub fn build(
        parent: &[IpAddr],
        members: Vec<Member<M>>,
        slots: Vec<Slot>,
        before: Option<&Self>,
        seed: u64,
    ) -> Self {
        let mut table = Self {
            slots,
            seed,
            members: Vec::new(),
        };
        for &address in parent {
            table.insert(address, PARENT);
        }
        for kept in [true, false] {
            for (index, member) in members.iter().enumerate() {
                for &address in &member.addresses {
                    let had = before.is_some_and(|before| before.holds(member.number, address));
                    if had == kept {
                        table.insert(address, index as u32);
                    }
                }
            }
        }
        table.members = members;
        table
    }

    /// The indices at which an address may be, each once.
    fn places(&self, address: IpAddr) -> impl Iterator<Item = usize> + use<M> {
        let mask = self.slots.len().wrapping_sub(1);
        let first = hash(self.seed, address) as usize;
        (0..self.slots.len()).map(move |step| first.wrapping_add(step) & mask)
    }

    /// Puts an address in, unless it is there.
    fn insert(&mut self, address: IpAddr, holder: u32) {
        for place in self.places(address) {
            match self.slots.get_mut(place) {
                Some(Slot(Some((there, _)))) if *there == address => return,
                Some(Slot(Some(_))) => {}
                Some(empty) => {
                    *empty = Slot(Some((address, holder)));
                    return;
                }
                None => return,
            }
        }
    }

    /// Whose an address is.
    #[inline]
    pub fn holder(&self, address: IpAddr) -> Holder<'_, M> {
        for place in self.places(address) {
            match self.slots.get(place) {
                Some(Slot(Some((there, holder)))) if *there == address => {
                    return match (*holder, self.members.get(*holder as usize)) {
                        (PARENT, _) => Holder::Parent,
                        (_, Some(member)) => Holder::Member(member.number, &member.handle),
                        (_, None) => Holder::Nobody,
                    };
                }
                Some(Slot(Some(_))) => {}
                Some(Slot(None)) | None => return Holder::Nobody,
            }
        }
        Holder::Nobody
    }

    /// Whether an address is that member's.
    #[inline]
    pub fn holds(&self, number: u32, address: IpAddr) -> bool {
        matches!(self.holder(address), Holder::Member(holder, _) if holder == number)
    }

    /// The member of that number.
    #[inline]
    pub fn member(&self, number: u32) -> Option<&M> {
        let order = |member: &Member<M>| member.number.cmp(&number);
        let index = self.members.binary_search_by(order).ok()?;
        self.members.get(index).map(|member| &member.handle)
    }

    /// All members, with their numbers.
    pub fn members(&self) -> impl Iterator<Item = (u32, &M)> {
        let members = self.members.iter();
        members.map(|member| (member.number, &member.handle))
    }

    /// Members who take frames to a group; of those to all, every member.
    #[inline]
    pub fn listeners(&self, group: Mac) -> impl Iterator<Item = (u32, &M)> {
        let all = group == BROADCAST;
        let listens =
            move |member: &&Member<M>| all || member.takes_all || member.groups.contains(&group);
        let listening = self.members.iter().filter(listens);
        listening.map(|member| (member.number, &member.handle))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// A multiplication whose halves are folded together, of the address and the seed.
#[inline]
fn hash(seed: u64, address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) ^ !0,
    };
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    let left = u128::from(high ^ seed);
    let right = u128::from(low ^ seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15);
    let product = left.wrapping_mul(right);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::vec;

    fn member(number: u32, addresses: &[IpAddr]) -> Member<u32> {
        Member {
            number,
            handle: number,
            addresses: addresses.to_vec(),
            groups: vec![[1, 0, 0x5e, 0, 0, number as u8], [0x33; 6]],
            takes_all: number == 9,
        }
    }

    fn build(
        parent: &[IpAddr],
        members: Vec<Member<u32>>,
        before: Option<&Steering<u32>>,
        seed: u64,
    ) -> Steering<u32> {
        let claimed: usize = members.iter().map(|member| member.addresses.len()).sum();
        let slots = vec![Slot::EMPTY; Slot::room(claimed + parent.len())];
        Steering::build(parent, members, slots, before, seed)
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn the_parents_addresses_are_its_own() {
        let members = vec![member(1, &[v4(1), v4(2)])];
        let table = build(&[v4(1)], members, None, 7);
        assert_eq!(table.holder(v4(1)), Holder::Parent);
        assert_eq!(table.holder(v4(2)), Holder::Member(1, &1));
        assert_eq!(table.holder(v4(3)), Holder::Nobody);
    }

    #[test]
    fn whoever_has_an_address_keeps_it() {
        let table = build(&[], vec![member(2, &[v4(1)])], None, 7);
        let members = || vec![member(1, &[v4(1)]), member(2, &[v4(1)])];
        let after = build(&[], members(), Some(&table), 8);
        assert!(after.holds(2, v4(1)) && !after.holds(1, v4(1)));
        let anew = build(&[], members(), None, 8);
        assert!(anew.holds(1, v4(1)));
        let gone = vec![member(1, &[v4(1)]), member(2, &[])];
        let given_up = build(&[], gone, Some(&after), 9);
        assert!(given_up.holds(1, v4(1)));
    }

    #[test]
    fn groups_reach_those_who_joined() {
        let members = vec![member(1, &[]), member(4, &[]), member(9, &[])];
        let table = build(&[], members, None, 7);
        let heard = |group| {
            table
                .listeners(group)
                .map(|(number, _)| number)
                .collect::<Vec<_>>()
        };
        assert_eq!(heard([1, 0, 0x5e, 0, 0, 4]), [4, 9]);
        assert_eq!(heard([1, 0, 0x5e, 0, 0, 5]), [9]);
        assert_eq!(heard(BROADCAST), [1, 4, 9]);
        assert_eq!(heard([0x33; 6]), [1, 4, 9]);
        assert_eq!((table.member(4), table.member(5)), (Some(&4), None));
    }

    #[test]
    fn an_empty_table_answers() {
        let table = build(&[], vec![], None, 0);
        assert_eq!(table.holder(v4(1)), Holder::Nobody);
        assert!(table.is_empty());
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u32..40).prop_map(|low| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | low))),
            (0u128..40).prop_map(|low| IpAddr::V6(Ipv6Addr::from(0xfd00 << 112 | low))),
        ]
    }

    /// Rounds of what the parent and up to five members claim.
    fn rounds() -> impl Strategy<Value = Vec<Vec<Vec<IpAddr>>>> {
        let claimed = prop::collection::vec(address(), 0..12);
        prop::collection::vec(prop::collection::vec(claimed, 1..6), 1..6)
    }

    proptest! {
        /// As a naive map that is carried from round to round by the rules.
        #[test]
        fn tables_in_a_row_answer_as_a_map(rounds in rounds(), seed: u64) {
            let mut before: Option<Steering<u32>> = None;
            let mut map: HashMap<IpAddr, u32> = HashMap::new();
            for round in rounds {
                let (parent, members) = round.split_first().unwrap();
                let mut next = HashMap::new();
                for &address in parent {
                    next.insert(address, 0);
                }
                for (index, claimed) in members.iter().enumerate() {
                    for address in claimed {
                        if map.get(address) == Some(&(index as u32 + 1)) {
                            next.entry(*address).or_insert(index as u32 + 1);
                        }
                    }
                }
                for (index, claimed) in members.iter().enumerate() {
                    for address in claimed {
                        next.entry(*address).or_insert(index as u32 + 1);
                    }
                }
                map = next;
                let claims = members.iter().enumerate();
                let claims = claims.map(|(index, claimed)| member(index as u32 + 1, claimed));
                let table = build(parent, claims.collect(), before.as_ref(), seed);
                for low in 0..41 {
                    for address in [
                        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | low)),
                        IpAddr::V6(Ipv6Addr::from(0xfd00 << 112 | u128::from(low))),
                    ] {
                        let holder = match table.holder(address) {
                            Holder::Parent => Some(0),
                            Holder::Member(number, &handle) => {
                                prop_assert_eq!(number, handle);
                                Some(number)
                            }
                            Holder::Nobody => None,
                        };
                        prop_assert_eq!(holder, map.get(&address).copied());
                    }
                }
                before = Some(table);
            }
        }
    }
}
