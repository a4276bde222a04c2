// SPDX-License-Identifier: BSD-2-Clause
//! Why packets are lost: one list for the whole module.

use core::ffi::CStr;

use crate::queue::Reason;

macro_rules! causes {
    ($($cause:ident $name:literal $meaning:literal, $remedy:literal;)*) => {
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
        "Raise packets_limit if these are bursts, or find who sends faster than the receiver takes";
    Bytes "bytes" "Packets refused since bytes_limit were queued",
        "Raise bytes_limit, or set it to 0 to have packets_limit alone decide";
    Stopped "stopped" "Packets refused while the queue was stopped",
        "See why what is behind the queue takes nothing: its link may be down";
    Closed "closed" "Packets refused or found in the queue while it was being closed",
        "Nothing to do: their interface was going";
    Sojourn "sojourn" "Packets dropped since they had been queued for too long; see codel_target_us",
        "Nothing to do if senders slow down for it; if not, the receiver is too slow for them";
    Moved "moved" "Packets that found no room in the queue to which their flow was moved",
        "Change the number of queues when there is less traffic, or make queues longer";
    Down "down" "Packets that were sent to an end that was down",
        "Bring the other end up, or take this one down so that its senders learn of it";
    Uncut "uncut" "Long segments of TCP that had to be cut, wholly or in part, without memory for it",
        "Give the host more memory for mbufs (kern.ipc.nmbclusters), or turn TSO off at the sending end";
    Full "full" "Frames that found no room in a queue; their senders were told (ENOBUFS)",
        "See which queue's drops grow, and who sends faster than the receiver takes";
    NoMemory "no_memory" "Frames for which there was no memory, to copy, map or receive them",
        "Give the host more memory for mbufs (kern.ipc.nmbclusters)";
    Forged "forged" "Frames that bore an address which is not their sender's own",
        "Find what sends them: a program that forges addresses, or an address that the interface has lost";
    Absent "absent" "Frames to an interface that is gone, or by way of one",
        "Nothing to do: senders learn of it by their neighbour caches";
    TooLong "too_long" "Frames that are longer than the parent's MTU",
        "Nothing to do if the parent's MTU was lowered a moment ago; else set the same MTU at both";
    Parent "parent" "Frames that the parent's driver did not take, or that could not be made fit for it",
        "See the parent's own output drops and errors";
    Unfit "unfit" "Frames that the card can't take in any form",
        "Turn off what their sender leaves to the card (ifconfig -tso -txcsum), and report it";
    Reset "reset" "Frames that the card had when it was reset or stopped",
        "Nothing to do after ifconfig down or a change of settings; else see hangs, bogus and the console";
    Broken "broken" "Frames that the card said are broken",
        "See the cable, and the other end's speed and duplex";
    Rule "rule" "IPv6 packets that a rule dropped",
        "See which rule's dropped grows; set it to 1 if its packets are wanted";
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
