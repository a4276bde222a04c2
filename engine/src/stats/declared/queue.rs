// SPDX-License-Identifier: BSD-2-Clause
//! A transmit queue, whoever's it is.

use crate::stats::{Below, Cause, Initial, Range, Setting, Stat, Writer, declare};

/// Packets that were not passed on.
static DROPS: Below = Below {
    name: c"drops",
    label: Some(c"reason"),
    about: c"Packets that were not passed on, by the reason",
};

/// Without a limit of bytes; the most that there is to be had, in cells of 64 bytes.
const MOST_BYTES: u64 = 512 << 20;
const SECOND_US: u64 = 1_000_000;

const CODEL: &str = "3% more instructions a packet while it is set; of a burst of 900 of which the last waits 2.9 ms, 500 in an interval of 2000 drops none, 100 in 1000 one ([benchmarks.md](benchmarks.md#settings-of-a-queue))";
const MARKS: &str =
    "nothing to measure: packets go the same way, only senders that ask is_high go by it";

/// Numbers in a snapshot.
const ROW: u32 = QueueStat::DropsSojourn as u32 + 1;

declare! {
    /// What a transmit queue has counted, and is set by.
    QueueStat: "A transmit queue"
        at ["net.weft.pair.<interface>.queue.<queue>", "dev.<driver>.<n>.tx.<queue>"];

    Packets = Stat::counter(c"packets", c"Packets that were passed on");
    Bytes = Stat::counter(c"bytes", c"Bytes of these packets");
    Through = Stat::counter(
        c"through",
        c"Those of the packets that their sender passed on itself, without their being queued",
    );
    Submits = Stat::counter(
        c"submits",
        c"Calls that brought them: packets by submits is the size of a batch",
    );
    Drains = Stat::counter(
        c"drains",
        c"Times that a thread began to pass packets on; fewer than submits if threads leave work to each other",
    );
    HandOvers = Stat::counter(
        c"hand_overs",
        c"Times that one went on where another had left work, at the end of its turn",
    );
    Pauses = Stat::counter(c"pauses", c"Times that what is behind the queue took no more");
    Most = Stat::gauge(c"most", c"The most packets that were seen in the queue at a time");
    Queued = Stat::gauge(c"queued", c"Packets in the queue now");
    QueuedBytes = Stat::gauge(c"queued_bytes", c"Bytes of these packets, each rounded up to 64");
    IsHigh = Stat::gauge(c"is_high", c"1: senders are asked to hold back; see high and low");
    DropsPackets = Stat::lost(Cause::Packets).below(&DROPS);
    DropsBytes = Stat::lost(Cause::Bytes).below(&DROPS);
    DropsStopped = Stat::lost(Cause::Stopped).below(&DROPS);
    DropsClosed = Stat::lost(Cause::Closed).below(&DROPS);
    DropsSojourn = Stat::lost(Cause::Sojourn).below(&DROPS);
    Snapshot = Stat::row(
        c"snapshot",
        c"All of the above in a row and in that order, packets to drops.sojourn, as they were at one moment: what the queue had taken is packets, queued and drops.sojourn together, and bytes are those of packets",
        ROW,
    );
    PacketsLimit = Stat::setting(
        c"packets_limit",
        c"The most packets that may be queued; more are refused",
        Setting {
            initial: Initial::Depends("the queue's room"),
            range: Range::Depends("1 to the queue's room"),
            writer: Writer::Jail,
            when: "Lower it where a full queue makes packets wait for too long and senders go by losses; CoDel does so with less harm.",
            measured: "of a burst of 900 before the queue is emptied, 512 refuses 388 and 16 refuses 884; the last that is taken arrives after 0.57 and 0.03 times as long ([benchmarks.md](benchmarks.md#settings-of-a-queue))",
        },
    );
    BytesLimit = Stat::setting(
        c"bytes_limit",
        c"The most bytes that may be queued, each packet rounded up to 64; 0: any. An empty queue takes any packet",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, MOST_BYTES),
            writer: Writer::Jail,
            when: "Set it where packets differ much in length and memory, or the time that they wait, is to be bounded.",
            measured: "as packets_limit: 16384 takes 128 datagrams of 64 bytes of a burst, and refuses the others ([benchmarks.md](benchmarks.md#settings-of-a-queue))",
        },
    );
    High = Stat::setting(
        c"high",
        c"From so many queued packets on is_high is 1; 0: never. More than low",
        Setting {
            initial: Initial::Is(0),
            range: Range::Depends("0, or low + 1 to the queue's room"),
            writer: Writer::Jail,
            when: "Set it with a sender that asks is_high before it sends.",
            measured: MARKS,
        },
    );
    Low = Stat::setting(
        c"low",
        c"With so many packets left is_high is 0 again. Less than high",
        Setting {
            initial: Initial::Is(0),
            range: Range::Depends("0 to high - 1"),
            writer: Writer::Jail,
            when: "As high: it says when senders may go on.",
            measured: MARKS,
        },
    );
    Service = Stat::setting(
        c"service",
        c"Who passes packets on. 0: whoever sends, as long as nobody else does; 1: likewise for one turn, then the queue's thread; 2: the queue's thread only",
        Setting {
            initial: Initial::Depends("the owner: pairs have 2 and no such setting"),
            range: Range::Of(0, 2),
            writer: Writer::Host,
            when: "Set 2 where senders must not pay for what is behind the queue, 0 where a switch of threads costs more than that.",
            measured: "docs/decisions/0006-transmit-queues.md",
        },
    );
    TurnPackets = Stat::setting(
        c"turn_packets",
        c"Packets that a thread passes on before it looks for another one to go on: more is less work, fewer is a shorter wait for the thread",
        Setting {
            initial: Initial::Is(256),
            range: Range::Of(1, 1 << 20),
            writer: Writer::Host,
            when: "Lower it where one busy queue keeps others of the same worker waiting.",
            measured: "0.3% more instructions a packet with 1, 0.2% with 32, less than 0.1% fewer with 1024, with one queue only ([benchmarks.md](benchmarks.md#settings-of-a-queue))",
        },
    );
    TurnUs = Stat::setting(
        c"turn_us",
        c"Microseconds after which it does so, too; 0: any",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, SECOND_US),
            writer: Writer::Host,
            when: "Set it where packets take very different times behind the queue.",
            measured: "0.1% more instructions a packet with 100, with one queue only ([benchmarks.md](benchmarks.md#settings-of-a-queue))",
        },
    );
    CodelTargetUs = Stat::setting(
        c"codel_target_us",
        c"CoDel (RFC 8289): drop some packets while all wait for more than so many microseconds; 0: off. 5000 for the Internet's edge",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, SECOND_US),
            writer: Writer::Jail,
            when: "Set it where quantiles of sojourn are high while senders are TCP, which slows down for a loss.",
            measured: CODEL,
        },
    );
    CodelIntervalUs = Stat::setting(
        c"codel_interval_us",
        c"Microseconds for which they must have waited so long before the first is dropped, about the longest round trip; 100000 at first, 0 while codel_target_us is",
        Setting {
            initial: Initial::Is(0),
            range: Range::Depends("1 to 4000000 while codel_target_us is set, else 0"),
            writer: Writer::Jail,
            when: "Lower it between jails of one host, whose round trips are short.",
            measured: CODEL,
        },
    );
}
