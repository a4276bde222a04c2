// SPDX-License-Identifier: BSD-2-Clause
//! Route lookup.

use crate::stats::{Initial, Range, Setting, Shown, Stat, Writer, declare, powers_of_two};

/// How long changes of a table take.
pub static CHANGE: Shown = Shown {
    name: "change_ns",
    places: &["net.weft.fib.<fib>.inet", "net.weft.fib.<fib>.inet6"],
    about: "Nanoseconds that changes of routes took, each with the routing table locked, until lookups saw them",
    limits: &powers_of_two::<16>(10),
};

declare! {
    /// What is counted and set of all tables.
    FibStat: "Route lookup, all tables" at ["net.weft.fib"];

    Tables = Stat::gauge(
        c"tables",
        c"Route tables of all network stacks that weft4 and weft6 serve; unload is refused above 0",
    );
    Bytes = Stat::gauge(c"bytes", c"Bytes that the tables of all network stacks hold");
    Pages = Stat::gauge(
        c"pages",
        c"Pages of these tables, each for 256 addresses or prefixes; one that several tables have alike counts once",
    );
    Pending = Stat::gauge(
        c"pending",
        c"Pages and rows that changes took out and that lookups under way may still read",
    );
    BytesLimit = Stat::setting(
        c"bytes_limit",
        c"Bytes that these tables may hold in all, 0 for no limit; a table that would pass it is served as before, and by another algorithm if it is new",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, u64::MAX),
            writer: Writer::Host,
            when: "Set it where jails may load tables of any size.",
            measured: "nothing to measure",
        },
    );
    OutOfMemory = Stat::counter(
        c"out_of_memory",
        c"Changes and builds that found no memory; each makes the kernel rebuild the table later",
    );
    Auto = Stat::setting(
        c"auto",
        c"1: tables of more than some 140 IPv4 or 520 IPv6 prefixes use weft4 and weft6 by themselves, unless dxr has them; 0: only where net.route.algo.inet.algo or net.route.algo.inet6.algo say so",
        Setting {
            initial: Initial::Is(1),
            range: Range::Of(0, 1),
            writer: Writer::HostOrLoader,
            when: "Set 0 to choose by hand, or before the module is unloaded.",
            measured: "docs/benchmarks.md",
        },
    );
    FlatPrefixes = Stat::setting(
        c"flat_prefixes",
        c"Prefixes from which on a table gets a flat top when it is built: 256 KB of its own, which save each lookup a step",
        Setting {
            initial: Initial::Is(100_000),
            range: Range::Of(0, u64::MAX),
            writer: Writer::HostOrLoader,
            when: "Lower it where small tables are looked up often, and memory is no matter.",
            measured: "docs/benchmarks.md",
        },
    );
    FlatTables = Stat::setting(
        c"flat_tables",
        c"Tables that may have a flat top at once, over all network stacks",
        Setting {
            initial: Initial::Is(16),
            range: Range::Of(0, 65_536),
            writer: Writer::HostOrLoader,
            when: "Raise it where more FIBs than these forward at full rate, each for 256 KB.",
            measured: "docs/benchmarks.md",
        },
    );
}

declare! {
    /// What a FIB's table of one family has, and what has happened to it.
    TableStat: "A FIB's table of one family"
        at ["net.weft.fib.<fib>.inet", "net.weft.fib.<fib>.inet6"];

    Served = Stat::gauge(
        c"served",
        c"1: weft looks up this table; 0: another algorithm does, and all below reads 0",
    );
    Prefixes = Stat::gauge(c"prefixes", c"Routes in the table");
    NextHops = Stat::gauge(
        c"next_hops",
        c"Next hops and groups of them that the routes use, or used a moment ago",
    );
    BytesOwn = Stat::gauge(c"bytes_own", c"Bytes of lookup memory that this table alone has");
    BytesShared = Stat::gauge(
        c"bytes_shared",
        c"This table's part of the lookup memory that it shares: what n tables have counts 1/n in each",
    );
    Flat = Stat::gauge(
        c"flat",
        c"1: the table has a flat top, 256 KB for faster lookups; see net.weft.fib.flat_prefixes",
    );
    Generation = Stat::counter(
        c"generation",
        c"Times that lookups saw the table change since it was last built",
    );
    Changes = Stat::counter(
        c"change_ns_count",
        c"Changes of routes that the table followed since weft serves it",
    );
    ChangesNs = Stat::counter(
        c"change_ns_sum",
        c"Nanoseconds that these changes took together, each with the routing table locked",
    );
    Rebuilds = Stat::counter(
        c"rebuilds",
        c"Times that the table was built again; growing numbers of next hops are one reason",
    );
    Failures = Stat::counter(
        c"failures",
        c"Changes and builds that failed, mostly for want of memory; the table as it was answers on",
    );
}
