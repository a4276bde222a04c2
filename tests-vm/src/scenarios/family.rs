// SPDX-License-Identifier: BSD-2-Clause
//! The two address families as the scenarios need them: names of the kernel's, and
//! addresses that do not meet the table's.

use crate::table::GATEWAYS;

/// What is different between the scenarios' IPv4 and IPv6.
#[derive(Debug)]
pub(super) struct Family {
    /// For people.
    pub(super) name: &'static str,
    /// Its place among the counts of both.
    pub(super) number: usize,
    /// The sysctl that chooses a FIB's algorithm.
    pub(super) algorithm: &'static str,
    /// The module's algorithm.
    pub(super) ours: &'static str,
    /// The kernel's algorithm that takes single changes cheaply: the others are
    /// rebuilt whole, which makes loading a table by single routes take for ever.
    pub(super) plain: &'static str,
    /// The kernel's own choice for a large table where no other module is loaded.
    pub(super) stock: &'static str,
    /// The sysctls with the last comparison's counts: compared, and different.
    pub(super) check: [&'static str; 2],
    /// The table file in the guest.
    pub(super) table: &'static str,
    /// Networks on interfaces, without the hosts' part and with the dot or colon.
    networks: [&'static str; 2],
    /// Bits of these networks.
    network_bits: u8,
    /// Prefixes for small tables.
    pub(super) small: Small,
}

/// Prefixes of a small awkward table.
#[derive(Debug)]
pub(super) struct Small {
    /// All addresses.
    pub(super) all: &'static str,
    /// Inside it: one inside the other.
    pub(super) outer: &'static str,
    pub(super) inner: &'static str,
    /// Two hosts in `inner`, neighbours.
    pub(super) hosts: [&'static str; 2],
    /// Two that follow one another and end where a prefix twice as large does.
    pub(super) halves: [&'static str; 2],
    /// To be a blackhole, and a prefix inside it.
    pub(super) hole: [&'static str; 2],
    /// To be rejected.
    pub(super) rejected: &'static str,
    /// Others in `inner`, of lengths that are not whole bytes.
    pub(super) odd: [&'static str; 3],
    /// The first of some host routes, as a prefix of this length, apart from all others.
    pub(super) apart: &'static str,
}

pub(super) const V4: Family = Family {
    name: "IPv4",
    number: 0,
    algorithm: "net.route.algo.inet.algo",
    ours: "weft4",
    plain: "radix4",
    stock: "radix4_lockless",
    check: [
        "net.weft.fib.check_compared",
        "net.weft.fib.check_mismatches",
    ],
    table: "/tables/ipv4",
    networks: ["10.200.0.", "10.201.0."],
    network_bits: 24,
    small: Small {
        all: "0.0.0.0/0",
        outer: "20.0.0.0/8",
        inner: "20.1.0.0/16",
        hosts: ["20.1.2.3/32", "20.1.2.2/32"],
        halves: ["64.0.0.0/3", "96.0.0.0/3"],
        hole: ["30.0.0.0/8", "30.1.0.0/16"],
        rejected: "31.0.0.0/8",
        odd: ["20.1.128.0/17", "20.1.3.0/27", "20.1.2.4/31"],
        apart: "198.18.0.0/26",
    },
};

pub(super) const V6: Family = Family {
    name: "IPv6",
    number: 1,
    algorithm: "net.route.algo.inet6.algo",
    ours: "weft6",
    plain: "radix6",
    stock: "radix6_lockless",
    check: [
        "net.weft.fib.check6_compared",
        "net.weft.fib.check6_mismatches",
    ],
    table: "/tables/ipv6",
    networks: ["fd00:200::", "fd00:201::"],
    network_bits: 64,
    small: Small {
        all: "::/0",
        outer: "2d00::/12",
        inner: "2d01:db8::/32",
        hosts: ["2d01:db8:1:2::3/128", "2d01:db8:1:2::2/128"],
        halves: ["4000::/3", "6000::/3"],
        hole: ["3000::/8", "3001::/16"],
        rejected: "3100::/8",
        odd: [
            "2d01:db8:8000::/33",
            "2d01:db8:1:2:8000::/65",
            "2d01:db8:1:2::4/127",
        ],
        apart: "fd00:300::/122",
    },
};

impl Family {
    /// The address of the scenarios' interface number `at`, 0 or 1, with its bits.
    pub(super) fn interface(&self, at: usize) -> String {
        format!("{}1/{}", self.networks[at], self.network_bits)
    }

    /// A gateway behind interface number `at`.
    pub(super) fn gateway_at(&self, at: usize, number: u32) -> String {
        let host = number + 2;
        match self.number {
            0 => format!("{}{host}", self.networks[at]),
            _ => format!("{}{host:x}", self.networks[at]),
        }
    }

    /// A gateway behind the first interface.
    pub(super) fn gateway(&self, number: u32) -> String {
        self.gateway_at(0, number)
    }

    /// A host's prefix apart from all others; hosts do not follow one another.
    pub(super) fn host(&self, number: u32) -> String {
        match self.number {
            0 => format!("198.51.{}.{}/32", number / 250, number % 250 + 1),
            _ => format!("fd00:301::{:x}:{:x}/128", number / 16, number % 16 * 16),
        }
    }

    /// All gateways of a table, with commas between.
    pub(super) fn gateways(&self) -> String {
        let list: Vec<String> = (0..GATEWAYS).map(|number| self.gateway(number)).collect();
        list.join(",")
    }

    /// As many, every other of them behind the second interface.
    pub(super) fn gateways_of_both(&self) -> String {
        let list: Vec<String> = (0..GATEWAYS)
            .map(|number| self.gateway_at(number as usize % 2, number))
            .collect();
        list.join(",")
    }
}
