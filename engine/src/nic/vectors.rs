// SPDX-License-Identifier: BSD-2-Clause
//! Which interrupt is whose.
//!
//! | vectors | receive queue n | transmit queue n | events |
//! | --- | --- | --- | --- |
//! | one for each queue and one more | n | behind those of receive queues | the last |
//! | one for each receive queue and one more | n | with receive queue n | the last |
//! | less, but two | by turns, all but the last | likewise | the last |
//! | one | it | it | it |

/// How interrupts come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorKind {
    /// By a line, which other devices may share.
    Intx,
    /// By messages, of which the device has a few.
    Msi,
    /// By messages that each have an address of their own.
    Msix,
}

/// The interrupts that there are, numbered from 0, and whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// How they come.
    pub kind: VectorKind,
    /// How many are in use.
    pub count: u16,
    /// Of these, how many are for receive queues.
    shared: u16,
    /// The first that is a transmit queue's own; 0 if they have none.
    first_tx: u16,
}

impl Vectors {
    /// How many would serve so many queues best.
    pub fn wanted(tx_queues: u16, rx_queues: u16) -> u16 {
        tx_queues.saturating_add(rx_queues).saturating_add(1)
    }

    /// Divides `available` interrupts.
    pub fn plan(kind: VectorKind, available: u16, tx_queues: u16, rx_queues: u16) -> Self {
        let rx_queues = rx_queues.max(1);
        let best = Self::wanted(tx_queues, rx_queues);
        let (count, shared, first_tx) = match available {
            0 | 1 => (1, 1, 0),
            n if n >= best => (best, rx_queues, rx_queues),
            n if n > rx_queues => (rx_queues.saturating_add(1), rx_queues, 0),
            n => (n, n.saturating_sub(1), 0),
        };
        Self {
            kind,
            count,
            shared,
            first_tx,
        }
    }

    /// The interrupt of a receive queue.
    pub fn rx(&self, queue: u16) -> u16 {
        queue.checked_rem(self.shared).unwrap_or(0)
    }

    /// The interrupt that a transmit queue has for itself, if it has one.
    pub fn own_tx(&self, queue: u16) -> Option<u16> {
        (self.first_tx > 0).then(|| self.tx(queue))
    }

    /// Whether an interrupt is a transmit queue's own. [`TxRing::arm`](super::TxRing::arm)
    /// unmasks it; nobody else does.
    pub fn is_own_tx(&self, vector: u16) -> bool {
        self.first_tx > 0 && (self.first_tx..self.event()).contains(&vector)
    }

    /// The interrupt of a transmit queue.
    pub fn tx(&self, queue: u16) -> u16 {
        match self.first_tx {
            0 => self.rx(queue),
            first => first.saturating_add(queue),
        }
    }

    /// The interrupt of everything else.
    pub fn event(&self) -> u16 {
        self.count.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_vectors_serves_every_number_of_queues() {
        for available in 0..40 {
            for (tx, rx) in [(1, 1), (4, 4), (8, 1), (1, 8), (8, 16)] {
                let plan = Vectors::plan(VectorKind::Msix, available, tx, rx);
                assert!(plan.count >= 1 && plan.count <= available.max(1));
                assert!((0..tx).all(|queue| plan.tx(queue) < plan.count));
                assert!((0..rx).all(|queue| plan.rx(queue) < plan.count));
                let event = plan.event();
                let is_alone = plan.count == 1
                    || (0..tx).all(|queue| plan.tx(queue) != event)
                        && (0..rx).all(|queue| plan.rx(queue) != event);
                assert!(is_alone, "{available} for {tx} and {rx}");
                let owned = (0..tx).filter_map(|queue| plan.own_tx(queue));
                assert!((0..plan.count).filter(|&v| plan.is_own_tx(v)).eq(owned));
                assert!((0..rx).all(|queue| !plan.is_own_tx(plan.rx(queue))));
            }
        }
    }
}
