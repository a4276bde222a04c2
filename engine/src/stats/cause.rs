// SPDX-License-Identifier: BSD-2-Clause
//! Why packets are lost: one list for the whole module.

use core::ffi::CStr;

use crate::queue::Reason;

macro_rules! causes {
    ($($cause:ident $name:literal $meaning:literal, $remedy:literal, $shown:literal;)*) => {
        /// Why a packet was lost.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Cause {
            $(#[doc = $meaning] $cause,)*
        }

        impl Cause {
            /// All, by their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$cause,)*];

            /// Its name, the value of the label `reason`.
            pub const fn name(self) -> &'static CStr {
                match self {
                    $(Self::$cause => const { text(concat!($name, "\0")) },)*
                }
            }

            /// What has happened, and what to do about it.
            pub const fn about(self) -> &'static CStr {
                match self {
                    $(Self::$cause => const { text(concat!($meaning, ". ", $remedy, "\0")) },)*
                }
            }

            /// What has happened.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$cause => $meaning,)*
                }
            }

            /// What to do about it, in a sentence.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$cause => $remedy,)*
                }
            }

            /// Which test brings it about, and how: scenarios in a kernel, else on the host.
            pub const fn shown(self) -> &'static str {
                match self {
                    $(Self::$cause => $shown,)*
                }
            }
        }
    };
}

/// A text that ends in NUL.
const fn text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("no NUL in the midst"),
    }
}

causes! {
    Packets "packets" "Packets refused since packets_limit were queued",
        "Raise packets_limit if these are bursts, or find who sends faster than the receiver takes",
        "`audit`: packets_limit of 1";
    Bytes "bytes" "Packets refused since bytes_limit were queued",
        "Raise bytes_limit, or set it to 0 to have packets_limit alone decide",
        "`audit`: bytes_limit of 64";
    Stopped "stopped" "Packets refused while the queue was stopped",
        "See why what is behind the queue takes nothing: its link may be down",
        "`causes`: queues that the module for tests stops; what is shipped never stops one";
    Closed "closed" "Packets refused or found in the queue while it was being closed",
        "Nothing to do: their interface was going",
        "`causes`: a pair destroyed while the module for tests has its queues keep what they get; else workers have emptied them by then, as those of 140 pairs that were destroyed under load";
    Sojourn "sojourn" "Packets dropped since they had been queued for too long; see codel_target_us",
        "Nothing to do if senders slow down for it; if not, the receiver is too slow for them",
        "`audit`: CoDel with a target that all miss";
    Moved "moved" "Packets that found no room in the queue to which their flow was moved",
        "Change the number of queues when there is less traffic, or make queues longer",
        "`causes`: flows that are moved to a full queue that nobody empties";
    Down "down" "Packets that were sent to an end that was down",
        "Bring the other end up, or take this one down so that its senders learn of it",
        "`audit`, `l3`: a receiver that is down";
    Uncut "uncut" "Long segments of TCP that had to be cut, wholly or in part, without memory for it",
        "Give the host more memory for mbufs (kern.ipc.nmbclusters), or turn TSO off at the sending end",
        "`causes`: each allocation for a stream over a VLAN fails in its turn";
    Full "full" "Frames that found no room in a queue; their senders were told (ENOBUFS)",
        "See which queue's drops grow, and who sends faster than the receiver takes",
        "`audit`: packets_limit of 1";
    NoMemory "no_memory" "Frames for which there was no memory, to copy, map or receive them",
        "Give the host more memory for mbufs (kern.ipc.nmbclusters)",
        "`causes`: each allocation for a broadcast to an L3 interface fails in its turn; for cards on the host, `nic_loop` and the drivers' tests";
    Forged "forged" "Frames that bore an address which is not their sender's own",
        "Find what sends them: a program that forges addresses, or an address that the interface has lost",
        "`l3`: frames in others' names";
    Absent "absent" "Frames to an interface that is gone, or by way of one",
        "Nothing to do: senders learn of it by their neighbour caches",
        "`l3`: a frame to an interface that is not there";
    TooLong "too_long" "Frames that are longer than the parent's MTU",
        "Nothing to do if the parent's MTU was lowered a moment ago; else set the same MTU at both",
        "`causes`: frames that netgraph(4) hands to an interface of a smaller MTU";
    Parent "parent" "Frames that the parent's driver did not take, or that could not be made fit for it",
        "See the parent's own output drops and errors",
        "`l3`: a parent with packets_limit of 1";
    Unfit "unfit" "Frames that the card can't take in any form",
        "Turn off what their sender leaves to the card (ifconfig -tso -txcsum), and report it",
        "host, `nic_loop`: a frame in too many pieces that is too long to be copied";
    Undone "undone" "Packets that ask the card for what it does not do, and that could not be completed in software",
        "See whether software_offload is 0, and memory short; else find who sends packets whose headers contradict what they ask for",
        "`nic-offload`: what a card lacks, with software_offload of 0";
    Reset "reset" "Frames that the card had when it was reset or stopped",
        "Nothing to do after ifconfig down or a change of settings; else see hangs, bogus and the console",
        "host, the drivers' tests: resets and stops with frames in the card";
    Broken "broken" "Frames that the card said are broken",
        "See the cable, and the other end's speed and duplex",
        "host, the drivers' tests: cards that say so";
    Rule "rule" "IPv6 packets that a rule dropped",
        "See which rule's dropped grows; set it to 1 if its packets are wanted",
        "`ipv6-policy`: a flood of packets for each rule";
}

impl Cause {
    /// The one of that number.
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Packets => Self::Packets,
            Reason::Bytes => Self::Bytes,
            Reason::Stopped => Self::Stopped,
            Reason::Closed => Self::Closed,
            Reason::Sojourn => Self::Sojourn,
        }
    }
}
