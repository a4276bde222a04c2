// SPDX-License-Identifier: BSD-2-Clause
//! Pairs of interfaces, wpair(4).

use crate::stats::{
    Below, Cause, Initial, Range, Setting, Shown, Stat, Writer, declare, powers_of_two,
};

/// Frames that were lost, of all pairs.
static LOST: Below = Below {
    name: c"lost",
    label: None,
    about: c"Frames that were lost, in all pairs",
};

/// Frames of an end's.
static LOST_HERE: Below = Below {
    name: c"lost",
    label: Some(c"reason"),
    about: c"Frames that this end sent and that were lost, by the reason",
};

const FULL: Stat = Stat::lost(Cause::Full);
const LATE: Stat = Stat::lost_as(c"late", Cause::Sojourn);

/// How long frames wait in a queue of a pair.
pub static SOJOURN: Shown = Shown {
    name: "sojourn_ns",
    places: &["net.weft.pair.<interface>.queue.<queue>"],
    about: "Nanoseconds that frames waited in the queue, one in sojourn_every of them",
    // From about a microsecond to about a second.
    limits: &powers_of_two::<21>(10),
};

declare! {
    /// What is counted and set of all pairs.
    PairStat: "All pairs of interfaces, wpair(4)" at ["net.weft.pair"];

    Pairs = Stat::gauge(
        c"pairs",
        c"Pairs that there are, in all jails; the module can be unloaded when there are none",
    );
    LostFull = FULL.below(&LOST);
    LostLate = LATE.below(&LOST);
    LostDown = Stat::lost(Cause::Down).below(&LOST);
    LostUncut = Stat::lost(Cause::Uncut).below(&LOST);
    LostMoved = Stat::lost(Cause::Moved).below(&LOST);
    LostDestroyed = Stat::lost_as(c"destroyed", Cause::Closed).below(&LOST);
    Queues = Stat::setting(
        c"queues",
        c"Queues in each direction, in pairs made later; as many as CPUs, up to 8, if not set",
        Setting {
            initial: Initial::Depends("as many as CPUs, up to 8"),
            range: Range::Of(1, 64),
            writer: Writer::HostOrLoader,
            when: "Lower it where there are thousands of pairs, for each queue takes memory; raise it where more than 8 CPUs receive.",
            measured: "docs/decisions/0009-workers-of-pairs.md",
        },
    );
    Room = Stat::setting(
        c"room",
        c"Frames that each queue has room for, in pairs made later; rounded up to a power of two",
        Setting {
            initial: Initial::Is(1024),
            range: Range::Of(64, 1 << 16),
            writer: Writer::HostOrLoader,
            when: "Raise it where bursts are refused (drops.packets) and the receiver keeps up on the whole.",
            measured: "8 bytes of memory for each frame of room and queue; a burst as with packets_limit ([benchmarks.md](benchmarks.md#settings-of-a-queue))",
        },
    );
    DirectStack = Stat::setting(
        c"direct_stack",
        c"Percent of its kernel stack up to which a thread receives the frames that it sends; see direct",
        Setting {
            initial: Initial::Is(50),
            range: Range::Of(0, 75),
            writer: Writer::HostOrLoader,
            when: "Lower it if filters with deep stacks are on the way of frames that are forwarded.",
            measured: "nothing to measure: it costs the same whatever it is; a frame above it goes by a worker",
        },
    );
    JailsMayCreate = Stat::setting(
        c"jails_may_create",
        c"1: a jail with a network stack of its own may make pairs; 0: the host only",
        Setting {
            initial: Initial::Is(1),
            range: Range::Of(0, 1),
            writer: Writer::HostOrLoader,
            when: "Set 0 where jails are not trusted with the host's memory.",
            measured: "nothing to measure",
        },
    );
    BoundWorkers = Stat::setting(
        c"bound_workers",
        c"1: each thread that receives from queues stays on a CPU of its own; 0: it goes where there is time. To be set before the module is loaded",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, 1),
            writer: Writer::Loader,
            when: "Set 1 where each CPU has its work, such as with bound threads of a network card's, and senders do not run on the workers' CPUs.",
            measured: "docs/decisions/0009-workers-of-pairs.md",
        },
    );
}

declare! {
    /// What is counted and set of one end of a pair.
    EndStat: "An end of a pair" at ["net.weft.pair.<interface>"];

    Queues = Stat::setting(
        c"queues",
        c"Queues in use, of those that were made; flows move in order, without loss",
        Setting {
            initial: Initial::Depends("all that were made"),
            range: Range::Depends("1 to those that were made"),
            writer: Writer::Jail,
            when: "Lower it where a pair has little traffic and its packets are to be taken in longer rows.",
            measured: "docs/decisions/0009-workers-of-pairs.md",
        },
    );
    SojournEvery = Stat::setting(
        c"sojourn_every",
        c"One frame in so many has the time taken for which it waits in its queue (sojourn_ns); 0: none has",
        Setting {
            initial: Initial::Is(256),
            range: Range::Of(0, 1 << 32),
            writer: Writer::Jail,
            when: "Lower it to see rare waits sooner; 0 to have nothing measured.",
            measured: "0.2% of a datagram of 64 bytes at 256, 0.5% at 1, by instructions ([benchmarks.md](benchmarks.md#what-statistics-cost))",
        },
    );
    Direct = Stat::setting(
        c"direct",
        c"1: frames that this host forwards are received at once, by the thread that sends, where the queue is empty; 0: by a worker, as all others",
        Setting {
            initial: Initial::Is(0),
            range: Range::Of(0, 1),
            writer: Writer::Host,
            when: "Set 1 at the ends of a jail that forwards, where nothing on the way holds a lock while it sends.",
            measured: "docs/decisions/0009-workers-of-pairs.md",
        },
    );
    LostFull = FULL.below(&LOST_HERE);
    LostLate = LATE.below(&LOST_HERE);
    LostDown = Stat::lost(Cause::Down).below(&LOST_HERE);
    LostUncut = Stat::lost(Cause::Uncut).below(&LOST_HERE);
    LostMoved = Stat::lost(Cause::Moved).below(&LOST_HERE);
}
