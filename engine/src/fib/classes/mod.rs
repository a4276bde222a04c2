// SPDX-License-Identifier: BSD-2-Clause
//! Classes: what next hops are called in tables that share their pages.
//!
//! The platform numbers the next hops of each FIB by itself, in the order in which
//! they come. Were these numbers the classes, two FIBs with the same routes would
//! have different pages as soon as their next hops came in different orders. So a
//! [`Dictionary`] gives next hops that are alike the same class in all FIBs of a
//! network stack, and each FIB's table has [`Bindings`] of its own, which lead from
//! a class to its own next hop of that kind, and from its platform's index to the
//! class.
//!
//! # What must be right
//!
//! **A lookup's class leads to the next hop that it meant.** A lookup finds a class
//! in the table, and then the next hop in the table's own map. Nothing of this rests
//! on identities: within a FIB, each class that is bound belongs to one next hop. If
//! two that are there at the same time have one identity, each has a class of its
//! own. What an identity leaves out, or two identities that come out alike, costs
//! sharing and nothing else. If all classes are bound, a FIB may take one that
//! stands for something else in another FIB, with the same cost ([`Shortage`]).
//!
//! **A class that lookups may still hold is not given to another next hop.** The
//! writer counts the uses of each next hop as the platform does. When the last one
//! has gone from the table, the class stays bound until all lookups of that moment
//! have ended, which a [`Clock`] tells; then the entry is emptied, and the class may
//! come again for another. If the next hop is used again meanwhile, nothing has
//! happened. The same holds for the map itself, when it is replaced by a larger one.
//!
//! **A class is in the map before it is in the table.** [`Bindings::add_use`] comes
//! before the change of the table that mentions the class, whose release and
//! acquire order the two for readers.

mod array;
mod bindings;
mod clock;
mod dictionary;
mod identity;
#[cfg(test)]
mod rehearsal;

pub use bindings::{Bindings, NextHops};
pub use clock::{Clock, Time};
pub use dictionary::{Dictionary, DictionaryFigures, Shortage};
pub use identity::{Identifier, Identity};

use core::fmt;

/// Why a next hop has no class. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassError {
    /// All classes that there may be are bound.
    Exhausted {
        /// The highest one.
        most: u32,
    },
    /// The platform's index of the next hop, which may be 1 and up.
    Index(u32),
    /// The platform had no memory to give at this moment.
    OutOfMemory,
}

impl fmt::Display for ClassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exhausted { most } => {
                write!(f, "more than {most} kinds of next hops in use at once")
            }
            Self::Index(index) => write!(f, "next hop index {index}, allowed are 1 and up"),
            Self::OutOfMemory => f.write_str("no memory for a next hop's class"),
        }
    }
}

impl core::error::Error for ClassError {}
