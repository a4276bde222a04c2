// SPDX-License-Identifier: BSD-2-Clause
//! Network cards and their queues. What cards count by themselves is declared by their
//! drivers.

use crate::stats::{
    Below, Cause, Initial, Range, Setting, Shown, Stat, Writer, declare, powers_of_two,
};

const NOT_MEASURED: &str = "not measured";

/// From when the card's queue gets a frame until the card is done with it.
pub static COMPLETION: Shown = Shown {
    name: "completion_ns",
    places: &["dev.<driver>.<n>.tx.<queue>.card"],
    about: "Nanoseconds from when the card was given a frame until it was seen to be done with it, of one frame in completion_every",
    // From about a microsecond to about a second.
    limits: &powers_of_two::<21>(10),
};

declare! {
    /// What is counted of a card as a whole.
    CardStat: "A network card, wvmx(4), wem(4), wvtnet(4)" at ["dev.<driver>.<n>"];

    Resets = Stat::counter(
        c"resets",
        c"Times that the card was reset, since it was stuck or asked for it",
    );
    FailedResets = Stat::counter(
        c"failed_resets",
        c"Of these, those that failed; they are tried again",
    );
    Vectors = Stat::gauge(c"vectors", c"Interrupts in use");
    Moved = Stat::lost(Cause::Moved);
}

declare! {
    /// What the card's part of a transmit queue has done.
    SendStat: "The card's part of a transmit queue" at ["dev.<driver>.<n>.tx.<queue>.card"];

    Frames = Stat::counter(c"frames", c"Frames given to the card");
    Done = Stat::counter(c"done", c"Frames that it was done with");
    Lost = Stat::lost_as(c"lost", Cause::Reset);
    Linearized = Stat::counter(
        c"linearized",
        c"Frames that were in too many pieces and were copied",
    );
    Full = Stat::counter(
        c"full",
        c"Frames refused since the card's queue was full; they wait in the queue before it",
    );
    NoMemory = Stat::lost(Cause::NoMemory);
    Unfit = Stat::lost(Cause::Unfit);
    Kicks = Stat::counter(
        c"kicks",
        c"Times that the card was told of frames: frames by kicks is the size of a burst",
    );
    Hangs = Stat::counter(
        c"hangs",
        c"Times that the card did nothing for five seconds, and was reset",
    );
    Bogus = Stat::counter(
        c"bogus",
        c"Completions for frames that the card was not given; each is a reset",
    );
}

declare! {
    /// What a transmit queue has done for packets that ask for more than the card does.
    SoftwareStat: "What a card's transmit queue does in software" at ["dev.<driver>.<n>.tx.<queue>.software"];

    Cut = Stat::counter(
        c"cut",
        c"Long segments of TCP that were cut before the card got them",
    );
    Parts = Stat::counter(c"parts", c"Frames that they were cut into");
    Summed = Stat::counter(
        c"summed",
        c"Frames that were not cut and whose checksums were filled in",
    );
    Tagged = Stat::counter(c"tagged", c"Packets into which a VLAN tag was put");
    Lost = Stat::lost_as(c"lost", Cause::Undone);
}

declare! {
    /// What a receive queue has done.
    ReceiveStat: "A card's receive queue" at ["dev.<driver>.<n>.rx.<queue>"];

    Frames = Stat::counter(c"frames", c"Frames received");
    Bytes = Stat::counter(c"bytes", c"Bytes of these frames");
    Merged = Stat::counter(
        c"merged",
        c"Those of them that the card has put together of several (LRO)",
    );
    Bad = Stat::lost_as(c"bad", Cause::Broken);
    NoPacket = Stat::lost_as(c"no_packet", Cause::NoMemory);
    NoBuffer = Stat::counter(
        c"no_buffer",
        c"Times that there was no memory for a buffer; frames are lost when the card has none left",
    );
    Given = Stat::counter(c"given", c"Buffers given to the card");
    Returned = Stat::counter(c"returned", c"Buffers that came back from it");
    Withdrawn = Stat::counter(c"withdrawn", c"Buffers that a reset or stop took from it");
    CutOff = Stat::counter(
        c"cut_off",
        c"Frames of which only a part was there at a reset or stop",
    );
    Left = Stat::lost_as(c"left", Cause::Reset);
    Kicks = Stat::counter(c"kicks", c"Times that the card was told of buffers");
    Bogus = Stat::counter(
        c"bogus",
        c"Completions for buffers that the card was not given; each is a reset",
    );
}

declare! {
    /// What a receive queue has joined, of a card that joins nothing itself.
    JoinStat: "What a card's receive queue does in software" at ["dev.<driver>.<n>.rx.<queue>.software"];

    Joined = Stat::counter(
        c"joined",
        c"Frames that were joined with others of their connection before the stack got them (LRO)",
    );
    Packets = Stat::counter(c"packets", c"Packets that they became");
}

static RSS: Below = Below {
    name: c"rss",
    label: None,
    about: c"How received flows are spread over queues: a hash with a key, and a table of queues",
};

/// A setting that depends on what a card offers, and that loader(8) may set before it is
/// attached.
const fn offered(
    initial: &'static str,
    range: &'static str,
    when: &'static str,
    measured: &'static str,
) -> Setting {
    Setting {
        initial: Initial::Depends(initial),
        range: Range::Depends(range),
        writer: Writer::HostOrLoader,
        when,
        measured,
    }
}

declare! {
    /// What can be set of a card. Cards have what their hardware has of it.
    CardSetting: "Settings of a network card" at ["dev.<driver>.<n>"];

    TxQueues = Stat::setting(
        c"tx_queues",
        c"Transmit queues in use; more let more CPUs send at once. Flows keep their order",
        offered(
            "as many as CPUs, as far as the card has them",
            "1 to those that were made",
            "Lower it where few CPUs send, and interrupts or memory are short.",
            NOT_MEASURED,
        ),
    );
    RxQueues = Stat::setting(
        c"rx_queues",
        c"Receive queues in use; more let more CPUs receive at once. Spreads flows evenly anew",
        offered(
            "as many as CPUs, as far as the card has them",
            "1 to those that were made",
            "Lower it where other CPUs are to be left alone by the card.",
            NOT_MEASURED,
        ),
    );
    TxDescriptors = Stat::setting(
        c"tx_descriptors",
        c"Descriptors of each transmit queue; more take longer bursts from the stack",
        offered(
            "as the driver says",
            "as the card says",
            "Raise it where pauses grows with short bursts; what waits in the card no limit or CoDel sees, so lower it where latency matters.",
            NOT_MEASURED,
        ),
    );
    RxDescriptors = Stat::setting(
        c"rx_descriptors",
        c"Descriptors of each receive queue; more take longer bursts from the wire, and memory",
        offered(
            "as the driver says",
            "as the card says",
            "Raise it where the card itself counts frames for which it had no buffer.",
            NOT_MEASURED,
        ),
    );
    GapMin = Stat::setting(
        c"interrupt_gap_min_us",
        c"Microseconds between receive interrupts at least, 0 for none: while few frames come it is this; fixed if interrupt_gap_max_us is the same",
        offered(
            "0",
            "0 to interrupt_gap_max_us",
            "Raise it where interrupts take much of a CPU though few frames come with each.",
            NOT_MEASURED,
        ),
    );
    GapMax = Stat::setting(
        c"interrupt_gap_max_us",
        c"Microseconds between receive interrupts at most: the more frames come at a time, the nearer to this. Lower answers sooner, higher costs less CPU",
        offered(
            "125",
            "interrupt_gap_min_us to 10000",
            "Lower it where answers must come soon under load.",
            NOT_MEASURED,
        ),
    );
    Moderation = Stat::setting(
        c"interrupt_moderation",
        c"Whether the card keeps interrupts apart as it finds best; 0 answers sooner, 1 costs less CPU",
        offered(
            "1",
            "0 to 1",
            "Set 0 where one answer at a time is waited for.",
            NOT_MEASURED,
        ),
    );
    RssKey = Stat::text(
        c"key",
        c"The hash's key, 40 bytes in hexadecimal: one that is not known keeps others from choosing flows that meet in one queue",
        offered(
            "the one that cards are shipped with",
            "40 bytes in hexadecimal, with colons or without",
            "Set a secret one where senders are not trusted.",
            "nothing to measure",
        ),
    )
    .below(&RSS);
    RssTable = Stat::text(
        c"table",
        c"The queue of each of 128 hashes, the first ones repeated: 0 0 0 1 gives queue 0 three times what queue 1 gets",
        offered(
            "all queues in turn",
            "1 to 128 numbers of queues",
            "Set it where some CPUs are to get less of the card's work.",
            "nothing to measure",
        ),
    )
    .below(&RSS);
    SoftwareOffload = Stat::setting(
        c"software_offload",
        c"Checksums, TSO and VLAN tags done in software: 1: those that the card lacks, has turned off, or can't do for a packet; 2: all; 0: none, and such packets are dropped",
        Setting {
            initial: Initial::Is(1),
            range: Range::Of(0, 2),
            writer: Writer::HostOrLoader,
            when: "Set 2 to find out whether the card does them wrong; 0 to find out who sends packets that it can't do.",
            measured: NOT_MEASURED,
        },
    );
    CompletionEvery = Stat::setting(
        c"completion_every",
        c"One frame in so many has the time taken from when the card is given it until it is seen to be done with it (completion_ns); 0: none has",
        Setting {
            initial: Initial::Is(256),
            range: Range::Of(0, 1 << 32),
            writer: Writer::HostOrLoader,
            when: "Lower it to see rare delays sooner; 0 to have nothing measured.",
            measured: NOT_MEASURED,
        },
    );
}
