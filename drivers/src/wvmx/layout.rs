// SPDX-License-Identifier: BSD-2-Clause
//! Registers, shared memory and descriptors of VMXNET3, as the device of VMware and QEMU's
//! `hw/net/vmxnet3.h` have them. Offsets are in bytes, numbers little endian.

use weft_engine::nic::{Error, Platform, Ring};

/// Bytes of a descriptor, of any kind.
pub(crate) const SIZE: usize = 16;

/// A ring of any kind.
pub(crate) fn ring<P: Platform>(platform: &P, slots: u16) -> Result<Ring<P::Dma, SIZE>, Error> {
    Ring::new(platform, slots, SIZE, RING_ALIGN)
}

/// BAR 0: one register of each kind for each vector or queue, 8 bytes apart.
pub(crate) mod bar0 {
    pub(crate) const MASK: u32 = 0x000;
    pub(crate) const TX: u32 = 0x600;
    pub(crate) const RX: [u32; 2] = [0x800, 0xa00];

    pub(crate) const fn of(register: u32, number: u16) -> u32 {
        register + number as u32 * 8
    }
}

/// BAR 1.
pub(crate) mod bar1 {
    /// Revisions that the device knows, a bit each; the one that is chosen.
    pub(crate) const REVISION: u32 = 0x00;
    pub(crate) const UPT_VERSION: u32 = 0x08;
    pub(crate) const SHARED_LOW: u32 = 0x10;
    pub(crate) const SHARED_HIGH: u32 = 0x18;
    pub(crate) const COMMAND: u32 = 0x20;
    pub(crate) const MAC_LOW: u32 = 0x28;
    pub(crate) const MAC_HIGH: u32 = 0x30;
    pub(crate) const INTERRUPT: u32 = 0x38;
    pub(crate) const EVENT: u32 = 0x40;
}

/// Commands; those from `GET_STATUS` on leave a result in the same register.
pub(crate) mod command {
    pub(crate) const ACTIVATE: u32 = 0xcafe_0000;
    pub(crate) const QUIESCE: u32 = 0xcafe_0001;
    pub(crate) const RESET: u32 = 0xcafe_0002;
    pub(crate) const RX_MODE: u32 = 0xcafe_0003;
    pub(crate) const GROUPS: u32 = 0xcafe_0004;
    pub(crate) const VLANS: u32 = 0xcafe_0005;
    pub(crate) const RSS_TABLE: u32 = 0xcafe_0006;
    pub(crate) const GET_STATUS: u32 = 0xf00d_0000;
    pub(crate) const GET_STATISTICS: u32 = 0xf00d_0001;
    pub(crate) const GET_LINK: u32 = 0xf00d_0002;
    pub(crate) const GET_MAC_LOW: u32 = 0xf00d_0003;
    pub(crate) const GET_MAC_HIGH: u32 = 0xf00d_0004;
    pub(crate) const GET_INTERRUPTS: u32 = 0xf00d_0008;
}

/// The memory that is shared beside rings: what the device is told first, then what that
/// refers to. Only the order of the parts is the driver's choice.
pub(crate) mod shared {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const DRIVER_VERSION: usize = 8;
    pub(crate) const SYSTEM: usize = 12;
    pub(crate) const REVISION: usize = 16;
    pub(crate) const UPT_VERSION: usize = 20;
    pub(crate) const FEATURES: usize = 24;
    pub(crate) const QUEUES_AT: usize = 40;
    pub(crate) const QUEUES_BYTES: usize = 52;
    pub(crate) const MTU: usize = 56;
    pub(crate) const MOST_RX_PARTS: usize = 60;
    /// And receive queues.
    pub(crate) const TX_QUEUES: usize = 62;
    /// Whether vectors mask themselves; then how many there are, and that of events.
    pub(crate) const AUTO_MASK: usize = 80;
    pub(crate) const MODERATION: usize = 83;
    pub(crate) const RX_MODE: usize = 120;
    pub(crate) const GROUPS_BYTES: usize = 124;
    pub(crate) const GROUPS_AT: usize = 128;
    pub(crate) const VLANS: usize = 136;
    pub(crate) const RSS_VERSION: usize = 648;
    pub(crate) const RSS_BYTES: usize = 652;
    pub(crate) const RSS_AT: usize = 656;
    pub(crate) const EVENTS: usize = 696;
    /// Bytes of the first part.
    pub(crate) const BYTES: usize = 720;

    /// How flows are spread.
    pub(crate) const RSS: usize = 768;
    /// Addresses of groups, 6 bytes each.
    pub(crate) const GROUPS: usize = 1024;
    pub(crate) const MOST_GROUPS: usize = 64;
    /// Descriptions of transmit queues, then of receive queues.
    pub(crate) const QUEUES: usize = 1536;
    pub(crate) const QUEUES_END: usize = QUEUES + 24 * super::queue::BYTES;
    /// The driver's own, behind what the device knows of: what it had counted when it was
    /// stopped, of each queue.
    pub(crate) const KEPT: usize = QUEUES_END;
    pub(crate) const ALL: usize = KEPT + 16 * super::queue::FIGURES * 8;
}

/// The description of a queue.
pub(crate) mod queue {
    /// Addresses: the ring, a receive queue's second one, completions.
    pub(crate) const RINGS: usize = 16;
    /// Their descriptors, likewise.
    pub(crate) const SLOTS: usize = 56;
    pub(crate) const VECTOR: usize = 72;
    pub(crate) const IS_STOPPED: usize = 80;
    pub(crate) const ERROR: usize = 84;
    pub(crate) const STATISTICS: usize = 88;
    /// How many figures there are.
    pub(crate) const FIGURES: usize = 10;
    pub(crate) const BYTES: usize = 256;
}

/// How flows are spread: hashes, function, and bytes of the key and the table, of 2 bytes each.
pub(crate) mod rss {
    pub(crate) const KEY: usize = 8;
    pub(crate) const TABLE: usize = 48;
    pub(crate) const BYTES: u32 = 176;
}

/// The revision that says how many frames a merged one was made of.
pub(crate) const REVISION_2: u32 = 2;
pub(crate) const MAGIC: u32 = 0xbabe_fee1;
/// FreeBSD, of 64 bits.
pub(crate) const SYSTEM: u32 = 4 << 2 | 2;
/// Of a vector: that the device finds by itself how far interrupts are kept apart,
pub(crate) const ADAPTIVE: u8 = 8;
/// and that they are not.
pub(crate) const UNMODERATED: u8 = 0;
pub(crate) const MOST_VECTORS: u16 = 25;
/// What a ring is aligned to.
pub(crate) const RING_ALIGN: usize = 512;
/// Bytes of a piece of a frame or of a buffer, which have 14 bits; 0 would be 16,384.
pub(crate) const MOST_BYTES: u32 = (1 << 14) - 1;

/// Features.
pub(crate) mod feature {
    pub(crate) const CHECK: u32 = 1;
    pub(crate) const RSS: u32 = 2;
    pub(crate) const VLAN: u32 = 4;
    pub(crate) const LRO: u32 = 8;
}

/// Which frames are received.
pub(crate) mod rx_mode {
    pub(crate) const OWN: u32 = 1;
    pub(crate) const GROUPS: u32 = 2;
    pub(crate) const BROADCAST: u32 = 4;
    pub(crate) const ALL_GROUPS: u32 = 8;
    pub(crate) const ALL: u32 = 16;
}

/// Events.
pub(crate) mod event {
    /// Of a transmit or a receive queue.
    pub(crate) const ERROR: u32 = 1 | 2;
    pub(crate) const LINK: u32 = 4;
}

/// The second half of a transmit descriptor, behind the address.
pub(crate) mod tx {
    pub(crate) const GENERATION: u32 = 14;
    /// The offset of a checksum, or the bytes of a segment.
    pub(crate) const PARAMETER: u32 = 18;
    /// Bytes of headers.
    pub(crate) const HEADERS: u32 = 32;
    pub(crate) const CHECKSUM: u64 = 2 << 42;
    pub(crate) const SEGMENT: u64 = 3 << 42;
    pub(crate) const END: u64 = 1 << 44;
    pub(crate) const COMPLETE: u64 = 1 << 45;
    pub(crate) const HAS_TAG: u64 = 1 << 47;
    pub(crate) const TAG: u32 = 48;
}

/// The second half of a receive descriptor.
pub(crate) mod rx {
    /// What follows the first buffer of a frame.
    pub(crate) const BODY: u32 = 1 << 14;
    pub(crate) const GENERATION: u32 = 31;
}

/// A receive completion, as four words.
pub(crate) mod done {
    use weft_engine::nic::{Device, Dma, Slot};

    pub(crate) const INDEX: u32 = 0xfff;
    pub(crate) const END: u32 = 1 << 14;
    pub(crate) const RING: u32 = 16;
    pub(crate) const HASH_KIND: u32 = 26;
    pub(crate) const NOT_CHECKED: u32 = 1 << 30;
    pub(crate) const BYTES: u32 = 0x3fff;
    pub(crate) const ERROR: u32 = 1 << 14;
    pub(crate) const HAS_TAG: u32 = 1 << 15;
    pub(crate) const L4_GOOD: u32 = 1 << 16;
    pub(crate) const UDP: u32 = 1 << 17;
    pub(crate) const TCP: u32 = 1 << 18;
    pub(crate) const IP_GOOD: u32 = 1 << 19;
    pub(crate) const IPV4: u32 = 1 << 21;
    pub(crate) const FRAGMENT: u32 = 1 << 22;
    /// The kind of a completion: one of merged frames, from revision 2 on, which has their
    /// number in the place of the hash, and their size in that of the checksum.
    pub(crate) const KIND: u32 = 24;
    pub(crate) const MERGED: u32 = 4;

    /// The generation of a completion, of either kind.
    #[inline(always)]
    pub(crate) fn is_new<M: Dma>(slot: &Slot<'_, M, Device>) -> bool {
        slot.peek::<u32>(12) >> 31 != 0
    }
}
