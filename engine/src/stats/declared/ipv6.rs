// SPDX-License-Identifier: BSD-2-Clause
//! The filter `weft:ipv6`: its limits, and what each of its rules does and has counted. The
//! rules themselves are declared in [`wire::policy`](crate::wire::policy).

use crate::stats::{Below, Cause, Initial, Kind, Range, Setting, Stat, Writer, declare};
use crate::wire::policy::Bounds;

static LIMIT: Below = Below {
    name: c"limit",
    label: None,
    about: c"Numbers that rules go by",
};

const INITIAL: Bounds = Bounds::DEFAULT;
/// What was measured of what rules cost.
const MEASURED: &str = "docs/benchmarks.md";

const fn limit(initial: u64, range: (u64, u64), when: &'static str) -> Setting {
    Setting {
        initial: Initial::Is(initial),
        range: Range::Of(range.0, range.1),
        writer: Writer::Jail,
        when,
        measured: MEASURED,
    }
}

declare! {
    /// What is set and counted of a network stack's filter.
    FilterStat: "The filter of IPv6 packets, weft_ipv6(4)" at ["net.weft.ipv6"];

    Preset = Stat::setting(
        c"preset",
        c"The preset that was chosen last; choosing one sets all rules and limits: 0 off, 1 host (RFC 8504), 2 router (RFC 9288)",
        Setting {
            initial: Initial::Is(1),
            range: Range::Of(0, 2),
            writer: Writer::Jail,
            when: "Set 2 on a router; then change single rules, if need be.",
            measured: MEASURED,
        },
    );
    LookedAt = Stat::counter(
        c"looked_at",
        c"Packets that were held against the rules; one that is forwarded counts twice if it was at both places",
    );
    Headers = Stat::setting(
        c"headers",
        c"Extension headers that a packet may have (RFC 8504, 5.3), 0 to 32; the rule headers applies to one with more",
        limit(INITIAL.headers as u64, (0, 32), "Lower it where no sender needs so many, for each takes time to walk."),
    )
    .below(&LIMIT);
    HeaderBytes = Stat::setting(
        c"header_bytes",
        c"Bytes of extension headers that a packet may have (RFC 8504, 5.3), 0 to 65535; the rule header_bytes applies to one with more",
        limit(INITIAL.header_bytes as u64, (0, u16::MAX as u64), "Raise it where longer chains, such as of segment routing, are to be expected."),
    )
    .below(&LIMIT);
    OptionBytes = Stat::setting(
        c"option_bytes",
        c"Bytes that a header of hop-by-hop or destination options may have (RFC 8504, 5.3), 8 to 2048; 0: any number; the rule option_bytes applies to a longer one",
        limit(INITIAL.option_bytes as u64, (0, 2048), "Set it where hosts are to be kept from options that are made to be long."),
    )
    .below(&LIMIT);
    Options = Stat::setting(
        c"options",
        c"Options other than padding that a header may have (RFC 8504, 5.3), 0 to 128; the rule options applies to one with more",
        limit(INITIAL.options as u64, (0, 128), "Lower it where no protocol in use needs so many."),
    )
    .below(&LIMIT);
    FragmentBytes = Stat::setting(
        c"fragment_bytes",
        c"Bytes that a fragment must have, IPv6 header included, if it is not the last, 0 to 1280; the rule fragment_tiny applies to a shorter one",
        limit(INITIAL.fragment_bytes as u64, (0, 1280), "Raise it to 1280 where all links on the way have IPv6's least MTU at least."),
    )
    .below(&LIMIT);
    Pieces = Stat::setting(
        c"pieces",
        c"mbufs that are looked at to read a packet's headers, 1 to 1024; the rule scattered applies if they are in more",
        limit(INITIAL.pieces as u64, (1, 1024), "Raise it where a card or a filter leaves headers in many short mbufs, and scattered counts."),
    )
    .below(&LIMIT);
}

const ACTION: Setting = Setting {
    initial: Initial::Depends("as the preset says, see [ipv6-policy.md](ipv6-policy.md)"),
    range: Range::Of(0, 2),
    writer: Writer::Jail,
    when: "Set 1 for a while before 2, and see what is counted; 0 where a rule hits what is needed.",
    measured: MEASURED,
};

declare! {
    /// What is set and counted of a rule.
    RuleStat: "A rule of that filter" at ["net.weft.ipv6.rule.<rule>"];

    Received = Stat::setting(
        c"received",
        c"What becomes of a packet that is received, for whomever: 0 passes, 1 is counted, 2 is counted and dropped",
        ACTION,
    );
    Transit = Stat::setting(
        c"transit",
        c"What becomes of a packet that is forwarded: 0 passes, 1 is counted, 2 is counted and dropped",
        ACTION,
    );
    Applied = Stat::counter(
        c"applied",
        c"Packets to which this rule applied, passed and dropped; not those for which it is set to 0",
    );
    Dropped = Stat::of(
        Kind::Lost(Cause::Rule),
        c"dropped",
        c"Packets that were dropped by this rule: of several that would drop one, the first counts it. Set the rule to 1 if these are wanted",
    );
}
