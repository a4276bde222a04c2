// SPDX-License-Identifier: BSD-2-Clause
//! Numbers that an operator reads and sets, each declared once.
//!
//! | what            | is                                                          |
//! | --------------- | ----------------------------------------------------------- |
//! | a [`Stat`]      | a number's name, kind and description                       |
//! | a [`Group`]     | the numbers of one kind of object, and where it is shown    |
//! | [`Declared`]    | a group as an enum, so that whoever reads a number for a kernel cannot forget one |
//! | [`GROUPS`], [`HISTOGRAMS`] | all that is declared                             |
//! | a [`Cause`]     | why a packet was lost, with what to do about it             |
//! | a [`Histogram`] | how often a number was about so large                       |
//!
//! From a group come a kernel's OIDs with their descriptions and labels, the pages
//! `docs/statistics.md` and `docs/tuning.md` ([`page`]), and the test that looks for each
//! number in a running kernel and holds defaults and ranges of settings against what they say.
//!
//! How a number is counted is its owner's business. What all owners have in common: one thread
//! at a time counts a queue's work, with plain loads and stores on lines that others do not
//! write; what any thread counts is a counter for each CPU, or is rare.

use core::ffi::CStr;

mod cause;
mod declared;
mod histogram;
#[cfg(feature = "std")]
pub mod page;

pub use cause::Cause;
pub use declared::{
    CHANGE, COMPLETION, CardSetting, CardStat, EndStat, FibStat, FilterStat, GROUPS, HISTOGRAMS,
    JoinStat, LayerStat, LayersStat, PairStat, PoolStat, QueueStat, ReceiveStat, RuleStat, SOJOURN,
    SendStat, SizeStat, SoftwareStat, TableStat, TimesStat,
};
pub use histogram::{BUCKETS, Histogram, limit_of};

/// A number that is shown.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Its name, the last part of the full one.
    pub name: &'static CStr,
    /// The node between its object's and itself, if there is one.
    pub below: Option<&'static Below>,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it tells, in a sentence, with its unit if it has one.
    pub about: &'static CStr,
}

/// A node that holds numbers which belong together.
#[derive(Debug)]
pub struct Below {
    /// Its name.
    pub name: &'static CStr,
    /// If the names below it are values of a label: the label.
    pub label: Option<&'static CStr>,
    /// What it is.
    pub about: &'static CStr,
}

/// What kind of number one is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// It only grows, until its object goes.
    Counter,
    /// Packets that were lost for that cause: a counter.
    Lost(Cause),
    /// How it is now.
    Gauge,
    /// Counters in a row, one for each bucket of a [`Histogram`].
    Buckets,
    /// So many numbers of the group in a row, from its first on, all of one moment.
    Row(u32),
    /// It can be written.
    Setting(Setting),
    /// Likewise, and it is no number but a text.
    Text(Setting),
}

/// What is known of a setting beside its name.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What it is if nobody has set it.
    pub initial: Initial,
    /// What it can be set to.
    pub range: Range,
    /// Who may write it.
    pub writer: Writer,
    /// When to touch it, in a sentence.
    pub when: &'static str,
    /// What was measured when it was, or why nothing was.
    pub measured: &'static str,
}

/// What a setting is at first.
#[derive(Clone, Copy, Debug)]
pub enum Initial {
    /// This.
    Is(u64),
    /// What depends on the machine or on other settings.
    Depends(&'static str),
}

/// What a setting can be set to.
#[derive(Clone, Copy, Debug)]
pub enum Range {
    /// From the first to the last number.
    Of(u64, u64),
    /// Up to what depends on the machine or on other settings.
    Depends(&'static str),
}

/// Who may write a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The host's root.
    Host,
    /// The host's root, and loader(8) before the module is loaded.
    HostOrLoader,
    /// Only loader(8), before the module is loaded.
    Loader,
    /// Root of whichever jail has the network stack to which the object is shown, too.
    Jail,
}

/// The numbers of one kind of object.
#[derive(Debug)]
pub struct Group {
    /// What the object is.
    pub about: &'static str,
    /// Full names of its node, a name in angle brackets standing for one of many.
    pub places: &'static [&'static str],
    /// Its numbers.
    pub stats: &'static [Stat],
}

/// A histogram as readers of metrics expect it: `<name>_bucket` with a number for each limit,
/// which counts all that is no larger; `<name>_count`; `<name>_sum`.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Full names of its object's node, as a group's.
    pub places: &'static [&'static str],
    /// What it is of, with the unit.
    pub about: &'static str,
    /// Its limits, but for the last, which is infinite.
    pub limits: &'static [u64],
}

/// A group's numbers, as an enum.
pub trait Declared: Copy + Send + Sync + 'static {
    /// What is declared of them.
    const GROUP: Group;
    /// All of them, in the order in which they are shown.
    const ALL: &'static [Self];

    /// What is declared of this one.
    fn stat(self) -> &'static Stat;

    /// Its place in [`ALL`](Declared::ALL).
    fn place(self) -> u32;

    /// The one at that place.
    fn at(place: u32) -> Option<Self> {
        Self::ALL.get(place as usize).copied()
    }
}

impl Stat {
    const fn of(kind: Kind, name: &'static CStr, about: &'static CStr) -> Self {
        let below = None;
        Self {
            name,
            below,
            kind,
            about,
        }
    }

    const fn counter(name: &'static CStr, about: &'static CStr) -> Self {
        Self::of(Kind::Counter, name, about)
    }

    const fn gauge(name: &'static CStr, about: &'static CStr) -> Self {
        Self::of(Kind::Gauge, name, about)
    }

    const fn buckets(name: &'static CStr, about: &'static CStr) -> Self {
        Self::of(Kind::Buckets, name, about)
    }

    const fn row(name: &'static CStr, about: &'static CStr, count: u32) -> Self {
        Self::of(Kind::Row(count), name, about)
    }

    const fn setting(name: &'static CStr, about: &'static CStr, setting: Setting) -> Self {
        Self::of(Kind::Setting(setting), name, about)
    }

    const fn text(name: &'static CStr, about: &'static CStr, setting: Setting) -> Self {
        Self::of(Kind::Text(setting), name, about)
    }

    const fn lost(cause: Cause) -> Self {
        Self::lost_as(cause.name(), cause)
    }

    /// Under another name than the cause's.
    const fn lost_as(name: &'static CStr, cause: Cause) -> Self {
        Self::of(Kind::Lost(cause), name, cause.about())
    }

    const fn below(mut self, below: &'static Below) -> Self {
        self.below = Some(below);
        self
    }

    /// The label of which its name is a value.
    pub fn label(&self) -> Option<&'static CStr> {
        self.below.and_then(|below| below.label)
    }

    /// What a setting is at first, if that depends on nothing.
    pub const fn initial(&self) -> Option<u64> {
        match self.kind {
            Kind::Setting(Setting {
                initial: Initial::Is(initial),
                ..
            }) => Some(initial),
            _ => None,
        }
    }

    /// The first and the last number that a setting takes, if they depend on nothing.
    pub const fn range(&self) -> Option<(u64, u64)> {
        match self.kind {
            Kind::Setting(Setting {
                range: Range::Of(least, most),
                ..
            }) => Some((least, most)),
            _ => None,
        }
    }
}

/// So many powers of two, from that one on.
const fn powers_of_two<const N: usize>(first: u32) -> [u64; N] {
    let mut powers = [1 << first; N];
    let mut place = 1;
    while place < N {
        powers[place] = powers[place - 1] << 1;
        place += 1;
    }
    powers
}

/// Declares a group: an enum of its numbers that is [`Declared`].
macro_rules! declare {
    (
        $(#[$meta:meta])*
        $group:ident: $about:literal at [$($place:literal),*];
        $($stat:ident = $declared:expr;)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum $group {
            $($stat,)*
        }

        impl $crate::stats::Declared for $group {
            const GROUP: $crate::stats::Group = $crate::stats::Group {
                about: $about,
                places: &[$($place),*],
                stats: &[$($declared,)*],
            };
            const ALL: &'static [Self] = &[$(Self::$stat,)*];

            fn stat(self) -> &'static $crate::stats::Stat {
                match self {
                    $(Self::$stat => const { &$declared },)*
                }
            }

            fn place(self) -> u32 {
                self as u32
            }
        }
    };
}

use declare;

#[cfg(test)]
mod tests;
