// SPDX-License-Identifier: BSD-2-Clause
//! Buffers of packets: the pool, and its sizes.

use crate::stats::{Initial, Range, Setting, Stat, Writer, declare};

declare! {
    /// What the pool of packets' buffers has and was asked for.
    PoolStat: "Buffers of packets" at ["net.weft.packet"];

    BytesLimit = Stat::setting(
        c"bytes_limit",
        c"The most bytes of memory that buffers may hold; an eighth of the machine's if not set",
        Setting {
            initial: Initial::Depends("an eighth of the machine's memory"),
            range: Range::Depends("4194304 to the machine's memory"),
            writer: Writer::HostOrLoader,
            when: "Raise it where pool_limit grows and the machine has memory to spare.",
            measured: "nothing to measure: a limit costs no more when it is another one",
        },
    );
    Bytes = Stat::gauge(
        c"bytes",
        c"Bytes of memory that buffers of packets hold now, free ones included",
    );
    Out = Stat::gauge(
        c"out",
        c"Buffers that packets hold now; the module can be unloaded when there are none",
    );
    ClassLimit = Stat::counter(
        c"class_limit",
        c"Packets that could not be had since as many buffers of their size were in use as may be; raise that size's limit",
    );
    PoolLimit = Stat::counter(
        c"pool_limit",
        c"Packets that could not be had since buffers held bytes_limit already; raise that",
    );
    NoMemory = Stat::counter(
        c"no_memory",
        c"Packets that could not be had since the system had no memory at that moment",
    );
    Reclaims = Stat::counter(
        c"reclaims",
        c"Times that the system was short of memory and free buffers were given back",
    );
    Reclaimed = Stat::counter(c"reclaimed_bytes", c"Bytes that were given back then");
}

declare! {
    /// What there is of buffers of one size.
    SizeStat: "Buffers of one size, header and headroom included"
        at ["net.weft.packet.size.<size>"];

    Buffers = Stat::gauge(c"buffers", c"Buffers of this size for which there is memory");
    Free = Stat::gauge(c"free", c"Those that are free for all CPUs");
    Cached = Stat::gauge(
        c"cached",
        c"Those that are free, each for one CPU; a limit counts them as in use",
    );
    Out = Stat::gauge(c"out", c"Those that packets hold");
    Limit = Stat::setting(
        c"limit",
        c"The most buffers of this size that may be in use or cached; 0: as many as bytes_limit allows",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, u64::MAX),
            writer: Writer::Host,
            when: "Set it where packets of one size must not take what others need.",
            measured: "nothing to measure: a limit costs no more when it is another one",
        },
    );
}
