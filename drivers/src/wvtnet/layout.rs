// SPDX-License-Identifier: BSD-2-Clause
//! Where things are in a virtio device on PCI, of either kind, and in a split virtqueue.
//!
//! A modern device names its structures by capabilities of the vendor's in configuration
//! space; a legacy one has all of them in a row in BAR 0.
//!
//! Source: VIRTIO 1.2, 4.1.4 (capabilities, common configuration), 4.1.4.10 (legacy), 2.7
//! (split virtqueues).

/// The vendor of all virtio devices.
pub const VENDOR: u16 = 0x1af4;
/// A network card that is legacy or both.
pub const TRANSITIONAL: u16 = 0x1000;
/// A network card that is modern only.
pub const MODERN: u16 = 0x1041;

/// The PCI capability that has one of virtio's structures.
pub const CAPABILITY: u8 = 0x09;

/// Which structure a capability is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// [`common`].
    Common,
    /// The doorbells; with the bytes from one to the next.
    Notify {
        /// What a queue's notification offset is multiplied by.
        multiplier: u32,
    },
    /// The interrupt status, one byte, which a read clears.
    Interrupt,
    /// The device's own configuration.
    Device,
}

/// A part of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which BAR, 0 to 5.
    pub bar: u8,
    /// From where, in bytes.
    pub at: u32,
    /// How many bytes.
    pub len: u32,
}

/// Reads a capability; `read` gives four bytes of it, from an offset on.
///
/// `None` if it is of a structure that is not needed, or names a BAR that there is none of.
pub fn capability(read: &mut dyn FnMut(u16) -> u32) -> Option<(Structure, Part)> {
    let [_, _, len, kind] = read(0).to_le_bytes();
    let [bar, ..] = read(4).to_le_bytes();
    let part = Part {
        bar,
        at: read(8),
        len: read(12),
    };
    let structure = match kind {
        1 => Structure::Common,
        2 if len >= 20 => Structure::Notify {
            multiplier: read(16),
        },
        3 => Structure::Interrupt,
        4 => Structure::Device,
        _ => return None,
    };
    (bar < 6 && len >= 16).then_some((structure, part))
}

/// Offsets in the common configuration of a modern device.
pub mod common {
    /// Which 32 of the device's features are seen; 4 bytes.
    pub const DEVICE_FEATURE_SELECT: u32 = 0x00;
    /// Those; 4 bytes.
    pub const DEVICE_FEATURE: u32 = 0x04;
    /// Which 32 of the driver's are written.
    pub const DRIVER_FEATURE_SELECT: u32 = 0x08;
    /// Those.
    pub const DRIVER_FEATURE: u32 = 0x0c;
    /// The vector of configuration changes; 2 bytes.
    pub const CONFIG_VECTOR: u32 = 0x10;
    /// How many queues there are; 2 bytes.
    pub const QUEUES: u32 = 0x12;
    /// How far the driver is; 1 byte.
    pub const STATUS: u32 = 0x14;
    /// Changes with the device's configuration; 1 byte.
    pub const GENERATION: u32 = 0x15;
    /// Which queue is seen below; 2 bytes.
    pub const QUEUE_SELECT: u32 = 0x16;
    /// How many descriptors it has; 2 bytes.
    pub const QUEUE_SIZE: u32 = 0x18;
    /// Its vector; 2 bytes.
    pub const QUEUE_VECTOR: u32 = 0x1a;
    /// Whether it is on; 2 bytes.
    pub const QUEUE_ENABLE: u32 = 0x1c;
    /// Where its doorbell is; 2 bytes.
    pub const QUEUE_NOTIFY: u32 = 0x1e;
    /// The address of its descriptors; 8 bytes, written as two times 4.
    pub const QUEUE_DESCRIPTORS: u32 = 0x20;
    /// Of its available ring.
    pub const QUEUE_AVAILABLE: u32 = 0x28;
    /// Of its used ring.
    pub const QUEUE_USED: u32 = 0x30;
    /// Bytes of it.
    pub const LEN: u32 = 0x38;
}

/// Offsets in BAR 0 of a legacy device.
pub mod legacy {
    /// The device's features; 4 bytes.
    pub const DEVICE_FEATURE: u32 = 0x00;
    /// The driver's.
    pub const DRIVER_FEATURE: u32 = 0x04;
    /// The queue's address, in pages; 4 bytes.
    pub const QUEUE_PAGE: u32 = 0x08;
    /// How many descriptors it has; 2 bytes.
    pub const QUEUE_SIZE: u32 = 0x0c;
    /// Which queue is seen; 2 bytes.
    pub const QUEUE_SELECT: u32 = 0x0e;
    /// The doorbell of all queues; 2 bytes.
    pub const QUEUE_NOTIFY: u32 = 0x10;
    /// How far the driver is; 1 byte.
    pub const STATUS: u32 = 0x12;
    /// The interrupt status; 1 byte.
    pub const INTERRUPT: u32 = 0x13;
    /// With MSI-X: the vector of configuration changes; 2 bytes.
    pub const CONFIG_VECTOR: u32 = 0x14;
    /// With MSI-X: the queue's vector; 2 bytes.
    pub const QUEUE_VECTOR: u32 = 0x16;
    /// Where the device's own configuration begins with MSI-X.
    pub const DEVICE_MSIX: u32 = 0x18;
    /// And without.
    pub const DEVICE: u32 = 0x14;
    /// Bytes of a page, and of what a queue's used ring is aligned to.
    pub const PAGE: usize = 4096;
}

/// The vector that is none.
pub const NO_VECTOR: u16 = 0xffff;

/// Where the parts of a split virtqueue are in one piece of memory, as a legacy device wants
/// them and a modern one takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// How many descriptors, a power of two up to 32,768.
    pub size: u16,
}

/// Offsets in a ring, available or used: flags, 2 bytes;
pub const RING_FLAGS: usize = 0;
/// the index up to which it is filled, 2 bytes;
pub const RING_INDEX: usize = 2;
/// then its elements.
pub const RING_ELEMENTS: usize = 4;
/// Bytes of an element of the used ring: a descriptor's number, and bytes written.
pub const USED_ELEMENT: usize = 8;

impl Split {
    /// Bytes of a descriptor: address 8, length 4, flags 2, next 2.
    pub const DESCRIPTOR: usize = 16;

    /// Where the available ring begins, behind the descriptors.
    pub const fn available(self) -> usize {
        self.size as usize * Self::DESCRIPTOR
    }

    /// Where the driver says at which used index it wants an interrupt.
    pub const fn used_event(self) -> usize {
        self.available() + RING_ELEMENTS + self.size as usize * 2
    }

    /// Where the used ring begins.
    pub const fn used(self) -> usize {
        (self.used_event() + 2).next_multiple_of(legacy::PAGE)
    }

    /// Where the device says at which available index it wants a doorbell.
    pub const fn available_event(self) -> usize {
        self.used() + RING_ELEMENTS + self.size as usize * USED_ELEMENT
    }

    /// Bytes of all.
    pub const fn bytes(self) -> usize {
        (self.available_event() + 2).next_multiple_of(legacy::PAGE)
    }
}

/// A descriptor's flag: another one follows.
pub const NEXT: u16 = 1;
/// The device writes.
pub const WRITE: u16 = 2;
/// It holds descriptors.
pub const INDIRECT: u16 = 4;

/// A descriptor as two little-endian words, in host order.
pub const fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> [u64; 2] {
    [
        address,
        len as u64 | (flags as u64) << 32 | (next as u64) << 48,
    ]
}

/// Whether the other side wants to hear of a step from `old` to `new` when it has named
/// `event` (VIRTIO 1.2, 2.7.7.2).
pub const fn wants(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_queue_follow_each_other() {
        let queue = Split { size: 256 };
        assert_eq!(queue.available(), 4096);
        assert_eq!(queue.used_event(), 4096 + 4 + 512);
        assert_eq!(queue.used(), 8192);
        assert_eq!(queue.available_event(), 8192 + 4 + 2048);
        assert_eq!(queue.bytes(), 12288);
    }

    #[test]
    fn an_event_is_wanted_when_its_index_is_passed() {
        assert!(wants(5, 6, 5));
        assert!(!wants(5, 5, 4));
        assert!(wants(5, 9, 3));
        assert!(!wants(9, 9, 3));
        assert!(wants(0xffff, 0, 0xffff));
        assert!(wants(0xffff, 2, 0xfffe));
        assert!(!wants(4, 4, 4));
    }

    #[test]
    fn capabilities_name_their_structure() {
        let of = |words: [u32; 5]| capability(&mut |at| words[usize::from(at) / 4]);
        let (structure, _) = of([0x0110_0009, 0, 0, 0, 0]).unwrap();
        assert_eq!(structure, Structure::Common);
        let part = Part {
            bar: 4,
            at: 0x3000,
            len: 0x1000,
        };
        let notify = Structure::Notify { multiplier: 4 };
        assert_eq!(
            of([0x0214_0009, 4, 0x3000, 0x1000, 4]),
            Some((notify, part))
        );
        assert_eq!(of([0x0210_0009, 4, 0x3000, 0x1000, 4]), None, "too short");
        assert_eq!(of([0x0110_0009, 6, 0, 0, 0]), None, "no such BAR");
        assert_eq!(of([0x0514_0009, 0, 0, 0, 0]), None, "not needed");
    }
}
