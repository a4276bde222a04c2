// SPDX-License-Identifier: BSD-2-Clause
//! How many things there are for which the module stays, such as interfaces, and whether
//! there may be more.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::kpi::errno::Errno;
use crate::kpi::module::refuse_while;

/// There can be no more. The other bits count.
const SHUT: u32 = 1 << 31;

/// A count that is closed for good only while it is 0.
pub(crate) struct Tenants {
    count: AtomicU32,
    /// What they are, in the plural.
    what: &'static str,
}

impl Tenants {
    /// None, and there can be none until it is [opened](Tenants::open).
    pub(crate) const fn none(what: &'static str) -> Self {
        Self {
            count: AtomicU32::new(SHUT),
            what,
        }
    }

    /// From now on there may be some.
    pub(crate) fn open(&self) {
        self.count.store(0, Ordering::Release);
    }

    /// Whether there may be more.
    pub(crate) fn is_open(&self) -> bool {
        self.count.load(Ordering::Acquire) & SHUT == 0
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire) & !SHUT
    }

    /// Counts one in.
    ///
    /// # Errors
    /// `ENXIO` if there can be no more.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        let more = |count: u32| (count & SHUT == 0).then(|| count.wrapping_add(1));
        let entered = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more);
        entered.map(drop).map_err(|_| Errno::ENXIO)
    }

    /// Counts one out that was counted in.
    pub(crate) fn leave(&self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether there are any.
    ///
    /// # Errors
    /// `EBUSY`; how many there are has been logged.
    pub(crate) fn refuse_while_any(&self) -> Result<(), Errno> {
        let (count, what) = (self.count(), self.what);
        let why = format_args!("there are {count} {what}, in this or other jails");
        refuse_while(count as usize, why)
    }

    /// Lets there be no more, if there are none. May be called again.
    ///
    /// # Errors
    /// As for [`refuse_while_any`](Tenants::refuse_while_any); nothing has changed.
    pub(crate) fn shut(&self) -> Result<(), Errno> {
        let shut = self
            .count
            .compare_exchange(0, SHUT, Ordering::AcqRel, Ordering::Acquire);
        match shut {
            Ok(_) | Err(SHUT) => Ok(()),
            Err(_) => self.refuse_while_any(),
        }
    }
}
