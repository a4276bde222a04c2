// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts: one for all causes, or by MSI-X (82574) up to five, of which each has the causes
//! that `IVAR` says.
//!
//! Where there is one interrupt, a read clears its causes. By MSI-X they clear and mask
//! themselves as the message is sent (`EIAC`). That frames were sent is a cause only when a queue
//! asks for it ([`WemTx`](super::WemTx)), once. Source: 82574 datasheet 7.4.

use super::registers::{Cause as Bits, *};
use weft_engine::nic::{Cause, Interrupts, Platform, Registers, VectorKind};

/// What the filters get.
pub struct WemInterrupts<P: Platform> {
    pub(super) registers: P::Registers,
    pub(super) kind: VectorKind,
}

impl<P: Platform> WemInterrupts<P> {
    /// The causes of a vector of MSI-X.
    fn routed(&self, vector: u16) -> Bits {
        let routes: u32 = self.registers.read(IVAR);
        let mut routed = Bits::empty();
        for (n, cause) in (0..).zip(Bits::BY_ROUTE) {
            if routes >> (n * 4) & 0xf == u32::from(vector) | VECTOR_VALID {
                routed |= cause;
            }
        }
        routed
    }
}

impl<P: Platform> Interrupts for WemInterrupts<P> {
    fn cause(&self, _vector: u16) -> Cause {
        if self.kind == VectorKind::Msix {
            return Cause {
                is_ours: true,
                queues: true,
                event: true,
            };
        }
        let bits: u32 = self.registers.read(ICR);
        // A device that is gone reads as ones.
        let bits = if bits == !0 { 0 } else { bits };
        let bits = Bits::from_bits_retain(bits);
        Cause {
            is_ours: bits.intersects(Bits::SINGLE | Bits::SENT),
            queues: bits.intersects((Bits::SINGLE - Bits::LINK) | Bits::SENT),
            event: bits.contains(Bits::LINK),
        }
    }

    fn mask(&self, _vector: u16) {
        if self.kind != VectorKind::Msix {
            let all = Bits::SINGLE | Bits::SENT;
            self.registers.write(IMC, all.bits());
        }
    }

    fn unmask(&self, vector: u16) {
        let causes = match self.kind {
            VectorKind::Msix => self.routed(vector),
            VectorKind::Msi | VectorKind::Intx => Bits::SINGLE,
        };
        self.registers.write(IMS, causes.bits());
    }
}
