// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts. A line goes quiet when the status is read. Messages need nothing: each queue says
//! itself whether it wants one, so there is nothing to mask.

use super::device::InterruptStatus;
use weft_engine::nic::{Cause, Interrupts, Platform, VectorKind};

/// In the status: a queue has something; and the configuration has changed.
const QUEUE: u8 = 1;
const CONFIG: u8 = 2;

/// What the filters get.
pub struct WvtnetInterrupts<P: Platform> {
    pub(super) status: InterruptStatus<P>,
    pub(super) kind: VectorKind,
}

impl<P: Platform> Interrupts for WvtnetInterrupts<P> {
    fn cause(&self, _vector: u16) -> Cause {
        if self.kind == VectorKind::Msix {
            // Each has a message of its own, or is looked for with the others.
            return Cause {
                is_ours: true,
                queues: true,
                event: true,
            };
        }
        let status = self.status.read();
        Cause {
            is_ours: status & (QUEUE | CONFIG) != 0,
            queues: status & QUEUE != 0,
            event: status & CONFIG != 0,
        }
    }

    fn mask(&self, _vector: u16) {}

    fn unmask(&self, _vector: u16) {}
}
