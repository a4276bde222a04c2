// SPDX-License-Identifier: BSD-2-Clause
//! The list of rules: what each is called, where it comes from, and what presets do.
//!
//! Of this list are made the sysctls and figures of a kernel, the table in
//! `docs/ipv6-policy.md` (a test holds it against this one), and the packets by which each
//! is tested (`sim::malformed`).

use core::ffi::CStr;

use super::Action::{self, Count, Drop, Pass};

/// A rule, as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Which it is.
    pub rule: Rule,
    /// Its name, a sysctl's.
    pub name: &'static CStr,
    /// Where it comes from, and to what packets it applies.
    pub about: &'static CStr,
    /// What the preset `host` does: received, and in transit.
    pub host: [Action; 2],
    /// What the preset `router` does.
    pub router: [Action; 2],
}

macro_rules! rules {
    ($($rule:ident $name:literal $host:expr, $router:expr; $about:literal)*) => {
        /// What is held against a packet. Where several drop, the first is named.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Rule {
            $(#[doc = $about] $rule,)*
        }

        /// All rules, in their order.
        pub static RULES: &[About] = &ALL;

        const ALL: [About; [$($name),*].len()] = [
            $(About {
                rule: Rule::$rule,
                name: text(concat!($name, "\0")),
                about: text(concat!($about, "\0")),
                host: $host,
                router: $router,
            },)*
        ];
    };
}

/// A text that ends in NUL.
const fn text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("no NUL in the midst"),
    }
}

const BOTH_DROP: [Action; 2] = [Drop, Drop];
const BOTH_COUNT: [Action; 2] = [Count, Count];
const BOTH_PASS: [Action; 2] = [Pass, Pass];
/// Received as a router receives it, for others; dropped on its way on.
const NOT_ON: [Action; 2] = [Pass, Drop];

rules! {
    Short "short" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 3: the packet says that it is longer than it is"
    Truncated "truncated" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4: the packet ends inside of a header, and is no fragment"
    Malformed "malformed" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4: a header says of itself that it is shorter than it must be, or longer than the packet"
    OptionLength "option_length" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4.2: an option goes on behind the end of its header"
    Jumbo "jumbo" BOTH_DROP, BOTH_DROP;
        "RFC 2675, 3: no payload length but hop-by-hop options, as jumbograms have"
    Scattered "scattered" BOTH_DROP, BOTH_DROP;
        "No RFC: the headers are in more mbufs than limit.pieces allows"
    Headers "headers" BOTH_DROP, BOTH_DROP;
        "RFC 8504, 5.3: more extension headers than limit.headers allows"
    HeaderBytes "header_bytes" BOTH_DROP, BOTH_DROP;
        "RFC 8504, 5.3: more bytes of extension headers than limit.header_bytes allows"
    OptionBytes "option_bytes" BOTH_DROP, BOTH_DROP;
        "RFC 8504, 5.3: a header of options that is longer than limit.option_bytes allows"
    Options "options" BOTH_DROP, BOTH_DROP;
        "RFC 8504, 5.3: more options in a header, padding aside, than limit.options allows, or more than 128 with it"
    Pad1 "pad1" BOTH_DROP, BOTH_DROP;
        "RFC 8504, 5.3: more than seven options Pad1 in a row"
    PadN "padn" BOTH_DROP, BOTH_DROP;
        "RFC 8504, 5.3: an option PadN of more than seven bytes"
    PadRow "pad_row" BOTH_DROP, BOTH_DROP;
        "RFC 4942, 2.1.9.5: options of padding in a row, PadN among them, that make more than seven bytes"
    PadContent "pad_content" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4.2; RFC 4942, 2.1.9.5: an option PadN of up to seven bytes with others than 0 in it"
    UnknownOption "unknown_option" BOTH_COUNT, BOTH_COUNT;
        "RFC 8504, 5.3: an option that has no number at IANA"
    RouterAlert "router_alert" BOTH_PASS, [Pass, Count];
        "RFC 2711; RFC 6398; RFC 9288, 4.4.4: the option router alert"
    JumboOption "jumbo_option" BOTH_DROP, BOTH_DROP;
        "RFC 2675, 2; RFC 9288, 4.4.16: the option jumbo payload"
    OldOption "old_option" BOTH_COUNT, NOT_ON;
        "RFC 9288, 4.4.10, 4.4.11, 4.4.13: an option whose type is deprecated (0x4d, RPL's 0x63, endpoint identification)"
    TrialOption "trial_option" BOTH_COUNT, NOT_ON;
        "RFC 4727; RFC 9288, 4.4.19: an option whose type is for experiments"
    HopByHopPlace "hop_by_hop_place" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4.1: hop-by-hop options that do not follow right behind the IPv6 header"
    Repeated "repeated" BOTH_DROP, BOTH_COUNT;
        "RFC 8200, 4.1: an extension header more than once, or destination options more than twice"
    Order "order" BOTH_COUNT, BOTH_COUNT;
        "RFC 8200, 4.1: extension headers in another order than is recommended"
    FirstFragment "first_fragment" BOTH_DROP, BOTH_DROP;
        "RFC 7112, 5: a first fragment without all headers, that of layer 4 included"
    FragmentLength "fragment_length" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4.5: a fragment that is not the last and has not a multiple of eight bytes"
    FragmentEnd "fragment_end" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4.5: a fragment that goes on beyond 65,535 bytes"
    FragmentEmpty "fragment_empty" BOTH_DROP, BOTH_DROP;
        "RFC 8200, 4.5: a fragment of nothing"
    FragmentTiny "fragment_tiny" BOTH_DROP, BOTH_COUNT;
        "RFC 4942, 2.1.11: a fragment that is not the last and shorter than limit.fragment_bytes"
    FragmentAtomic "fragment_atomic" BOTH_COUNT, BOTH_COUNT;
        "RFC 6946, 4; RFC 8021: a fragment header in a packet that is whole"
    Routing0 "routing_0" BOTH_DROP, BOTH_DROP;
        "RFC 5095, 3: a routing header of type 0, source route"
    Routing1 "routing_1" BOTH_DROP, NOT_ON;
        "RFC 9288, 3.5.2: a routing header of type 1, Nimrod, deprecated"
    Routing2 "routing_2" BOTH_PASS, BOTH_PASS;
        "RFC 6275, 6.4: a routing header of type 2, mobility"
    Routing3 "routing_3" BOTH_COUNT, NOT_ON;
        "RFC 6554, 3; RFC 9288, 3.5.2: a routing header of type 3, RPL"
    Routing4 "routing_4" BOTH_COUNT, BOTH_PASS;
        "RFC 8754, 2: a routing header of type 4, segments"
    RoutingOther "routing_other" BOTH_COUNT, BOTH_COUNT;
        "RFC 8200, 4.4: a routing header of any other type"
    HopByHop "hop_by_hop" BOTH_PASS, BOTH_PASS;
        "RFC 9673, 5.1; RFC 9288, 3.5.1: hop-by-hop options"
    DestinationOptions "destination_options" BOTH_PASS, BOTH_PASS;
        "RFC 8200, 4.6; RFC 9288, 3.5.6: destination options"
    Fragment "fragment" BOTH_PASS, BOTH_PASS;
        "RFC 8200, 4.5; RFC 9288, 3.5.3: a fragment"
    Authentication "authentication" BOTH_PASS, BOTH_PASS;
        "RFC 4302; RFC 9288, 3.5.5: an authentication header"
    Esp "esp" BOTH_PASS, BOTH_PASS;
        "RFC 4303; RFC 9288, 3.5.4: an encapsulating security payload"
    Mobility "mobility" BOTH_PASS, BOTH_PASS;
        "RFC 6275, 6.1; RFC 9288, 3.5.7: a mobility header"
    Hip "hip" BOTH_PASS, BOTH_PASS;
        "RFC 7401, 5.1; RFC 9288, 3.5.8: a header of the host identity protocol"
    Shim6 "shim6" BOTH_PASS, BOTH_PASS;
        "RFC 5533, 5.1; RFC 9288, 3.5.9: a header of shim6"
    NoNext "no_next" BOTH_PASS, BOTH_PASS;
        "RFC 8200, 4.7: nothing behind the IPv6 and extension headers"
    Trial "trial" BOTH_COUNT, NOT_ON;
        "RFC 3692; RFC 9288, 3.5.10: a header whose number, 253 or 254, is for experiments"
    Unknown "unknown" BOTH_PASS, BOTH_PASS;
        "RFC 7045, 2.1; RFC 9288, 3.6: a header that is unknown here, be it of an extension or of layer 4"
}

const _: () = {
    assert!(ALL.len() <= 64);
    let mut n = 0;
    while n < ALL.len() {
        assert!(ALL[n].rule as usize == n);
        n += 1;
    }
};
