// SPDX-License-Identifier: BSD-2-Clause
//! The registers of Intel's 8254x and 82574 that `wem` and its model know: where they are,
//! in bytes from the start of BAR 0, and what their bits mean.
//!
//! Source: Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
//! Manual" (317453), chapter 13, and "82574 GbE Controller Family Datasheet" (317694),
//! chapter 10. A register is 32 bits and is read and written whole.

use bitflags::bitflags;

/// Device control, [`Control`].
pub const CTRL: u32 = 0x0000;
/// Device status, [`Status`].
pub const STATUS: u32 = 0x0008;
/// One word of the EEPROM: address in, word out.
pub const EERD: u32 = 0x0014;
/// More of device control, [`ControlExtended`].
pub const CTRL_EXT: u32 = 0x0018;
/// A register of the PHY: number and value in, value out.
pub const MDIC: u32 = 0x0020;
/// The address of flow control's frames, low and high, and their EtherType.
pub const FCAL: u32 = 0x0028;
/// See [`FCAL`].
pub const FCAH: u32 = 0x002c;
/// See [`FCAL`].
pub const FCT: u32 = 0x0030;
/// The EtherType of VLAN tags.
pub const VET: u32 = 0x0038;
/// Interrupt causes, [`Cause`]; a read clears them, but for MSI-X.
pub const ICR: u32 = 0x00c0;
/// The least time between two interrupts, in 256 ns.
pub const ITR: u32 = 0x00c4;
/// Causes that software sets.
pub const ICS: u32 = 0x00c8;
/// Causes that interrupt: ones are added.
pub const IMS: u32 = 0x00d0;
/// Causes that do not: ones are taken from [`IMS`].
pub const IMC: u32 = 0x00d8;
/// 82574: causes that their MSI-X vector clears and masks.
pub const EIAC: u32 = 0x00dc;
/// 82574: which cause has which MSI-X vector.
pub const IVAR: u32 = 0x00e4;
/// 82574: the least time between two interrupts of a vector, in 256 ns; 4 bytes a vector.
pub const EITR: u32 = 0x00e8;
/// Receive control, [`Receive`].
pub const RCTL: u32 = 0x0100;
/// How long a pause is asked for, in 512 bits' times.
pub const FCTTV: u32 = 0x0170;
/// Transmit control, [`Transmit`].
pub const TCTL: u32 = 0x0400;
/// The gap between frames.
pub const TIPG: u32 = 0x0410;
/// 82574: who has the PHY's management lines, [`PHY_OURS`].
pub const EXTCNF_CTRL: u32 = 0x0f00;
/// How much of the packet buffer is for receiving, in KB.
pub const PBA: u32 = 0x1000;
/// At how many bytes in the receive buffer "send on" and "pause" are sent.
pub const FCRTL: u32 = 0x2160;
/// See [`FCRTL`].
pub const FCRTH: u32 = 0x2168;
/// The first receive queue; the second is [`QUEUE_STRIDE`] further on.
pub const RX_QUEUE: u32 = 0x2800;
/// The first transmit queue.
pub const TX_QUEUE: u32 = 0x3800;
/// Bytes from a queue's registers to the next one's.
pub const QUEUE_STRIDE: u32 = 0x100;
/// Where a queue's registers are in its row: the ring's address, low and high,
pub const BASE_LOW: u32 = 0x00;
/// and high;
pub const BASE_HIGH: u32 = 0x04;
/// the ring's length in bytes, in 128;
pub const LENGTH: u32 = 0x08;
/// the descriptor that the device takes next;
pub const HEAD: u32 = 0x10;
/// the first one that it must not take;
pub const TAIL: u32 = 0x18;
/// how long an interrupt waits for more, in 1.024 us;
pub const DELAY: u32 = 0x20;
/// thresholds, and whether the queue is on;
pub const DESCRIPTOR_CONTROL: u32 = 0x28;
/// how long at most it waits, in 1.024 us;
pub const ABSOLUTE_DELAY: u32 = 0x2c;
/// 82574, transmit: how queues take turns.
pub const ARBITRATION: u32 = 0x40;
/// The first of the statistics' registers.
pub const STATISTICS: u32 = 0x4000;
/// Which checksums are looked at, [`Checksum`].
pub const RXCSUM: u32 = 0x5000;
/// 82574: the form of receive descriptors, [`FilterControl`].
pub const RFCTL: u32 = 0x5008;
/// 4,096 bits by which multicast addresses pass: 128 registers.
pub const MTA: u32 = 0x5200;
/// 15 or 16 addresses that pass: 8 bytes each.
pub const RAL: u32 = 0x5400;
/// See [`RAL`].
pub const RAH: u32 = 0x5404;
/// One bit a VLAN: 128 registers.
pub const VFTA: u32 = 0x5600;
/// Wake-up control.
pub const WUC: u32 = 0x5800;
/// 82574: whether flows are spread over both queues, [`MULTI_QUEUE`].
pub const MRQC: u32 = 0x5818;
/// 82574: which queue each of 128 hash results goes to, 4 in a register.
pub const RETA: u32 = 0x5c00;
/// 82574: the key of the hash, 10 registers.
pub const RSSRK: u32 = 0x5c80;

/// Registers in [`MTA`] and [`VFTA`] each.
pub const TABLE: u32 = 128;

bitflags! {
    /// What [`CTRL`] says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Control: u32 {
        /// Full duplex, where it is forced.
        const FULL_DUPLEX = 1 << 0;
        /// The speed is the PHY's.
        const AUTO_SPEED = 1 << 5;
        /// The link may come up.
        const SET_LINK_UP = 1 << 6;
        /// The speed is forced.
        const FORCE_SPEED = 1 << 11;
        /// The duplex is forced.
        const FORCE_DUPLEX = 1 << 12;
        /// All starts anew; it clears itself.
        const RESET = 1 << 26;
        /// Frames that ask for a pause are obeyed.
        const RECEIVE_PAUSE = 1 << 27;
        /// And are sent.
        const SEND_PAUSE = 1 << 28;
        /// VLAN tags are taken from frames and put into them.
        const VLAN = 1 << 30;
        const _ = !0;
    }

    /// What [`CTRL_EXT`] says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ControlExtended: u32 {
        /// 82574: a driver is there.
        const DRIVER_LOADED = 1 << 28;
        /// 82574: what is unmasked has no message pending.
        const CLEAR_PENDING = 1 << 31;
        const _ = !0;
    }

    /// What [`STATUS`] says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u32 {
        /// The link is full duplex.
        const FULL_DUPLEX = 1 << 0;
        /// The link is up.
        const LINK_UP = 1 << 1;
        /// 100 Mbit/s, if [`Status::GIGABIT`] is not set, too.
        const MEGABIT_100 = 1 << 6;
        /// 1,000 Mbit/s.
        const GIGABIT = 1 << 7;
        const _ = !0;
    }

    /// Why there is an interrupt: [`ICR`], [`ICS`], [`IMS`], [`IMC`], [`EIAC`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Cause: u32 {
        /// A transmit descriptor was written back.
        const SENT = 1 << 0;
        /// The transmit ring is empty.
        const SEND_EMPTY = 1 << 1;
        /// The link came or went.
        const LINK = 1 << 2;
        /// Receive descriptors run low.
        const RECEIVE_LOW = 1 << 4;
        /// A frame was lost for want of descriptors.
        const OVERRUN = 1 << 6;
        /// Frames were received.
        const RECEIVED = 1 << 7;
        /// 82574: the same by queue.
        const RECEIVED_0 = 1 << 20;
        /// The second queue.
        const RECEIVED_1 = 1 << 21;
        /// 82574: frames of a queue were sent.
        const SENT_0 = 1 << 22;
        /// The second queue.
        const SENT_1 = 1 << 23;
        /// 82574: anything that is no queue's.
        const OTHER = 1 << 24;
        /// 82574: an interrupt was sent.
        const ASSERTED = 1 << 31;
        const _ = !0;
    }

    /// What [`RCTL`] says, beside the buffers' size.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Receive: u32 {
        /// On.
        const ENABLE = 1 << 1;
        /// All unicast frames pass.
        const PROMISCUOUS = 1 << 3;
        /// All multicast frames pass.
        const ALL_MULTICAST = 1 << 4;
        /// Frames of more than 1,522 bytes pass.
        const LONG = 1 << 5;
        /// Frames to all stations pass.
        const BROADCAST = 1 << 15;
        /// The low bit of a buffer's size.
        const SIZE_LOW = 1 << 16;
        /// And the high bit.
        const SIZE_HIGH = 1 << 17;
        /// Only frames of known VLANs pass.
        const VLAN_FILTER = 1 << 18;
        /// A buffer's size is 16 times what its bits say.
        const SIZE_EXTENDED = 1 << 25;
        /// The check sequence is not stored.
        const STRIP_CRC = 1 << 26;
        const _ = !0;
    }

    /// What [`TCTL`] says, beside what half duplex needs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Transmit: u32 {
        /// On.
        const ENABLE = 1 << 1;
        /// Short frames are padded.
        const PAD = 1 << 3;
        /// 82574: several reads at once.
        const MULTIPLE_READS = 1 << 28;
        const _ = !0;
    }

    /// What [`RXCSUM`] says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Checksum: u32 {
        /// That of IPv4's header is looked at.
        const IP = 1 << 8;
        /// Those of TCP and UDP.
        const LAYER_4 = 1 << 9;
        /// 8254x: over IPv6, too.
        const IPV6 = 1 << 10;
        /// 82574: descriptors have the flow's hash where they had a sum.
        const HASH_INSTEAD = 1 << 13;
        const _ = !0;
    }

    /// What [`RFCTL`] says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FilterControl: u32 {
        /// Receive descriptors have the extended form.
        const EXTENDED = 1 << 15;
        const _ = !0;
    }
}

impl Cause {
    /// Those that have vectors (82574), in the order of [`IVAR`]'s nibbles: received by either
    /// queue, sent by either queue, all else. That frames were sent is not among those that a
    /// vector has for good.
    pub const BY_ROUTE: [Self; 5] = [
        Self::RECEIVED_0,
        Self::RECEIVED_1,
        Self::empty(),
        Self::empty(),
        Self::OTHER.union(Self::LINK),
    ];
    /// Those that are no queue's.
    pub const EVENTS: Self = Self::OTHER.union(Self::LINK).union(Self::OVERRUN);
    /// Those that clear and mask themselves (82574).
    pub const ROUTED: Self = Self::RECEIVED_0
        .union(Self::RECEIVED_1)
        .union(Self::SENT_0)
        .union(Self::SENT_1)
        .union(Self::OTHER);
    /// Those that matter where one interrupt is for all.
    pub const SINGLE: Self = Self::LINK
        .union(Self::RECEIVE_LOW)
        .union(Self::OVERRUN)
        .union(Self::RECEIVED);
}

/// How long frames wait for a collision in TCTL: threshold of 15 tries, distance of 64
/// bytes for full duplex.
pub const COLLISIONS: u32 = 15 << 4 | 64 << 12;
/// The gap that both families want for copper: 8, 8 and 6 in 10 bits each.
pub const GAP: u32 = 8 | 8 << 10 | 6 << 20;
/// Prefetch and write-back thresholds for transmitting, counted in descriptors: fetch ahead
/// below 31, if there is one; write each back at once.
pub const TX_THRESHOLDS: u32 = 31 | 1 << 8 | 1 << 24;
/// The 82574 wants this bit set in TXDCTL of each queue.
pub const TX_COUNTED: u32 = 1 << 22;
/// [`ARBITRATION`]: what Intel's errata of the 82574 want of the first queue,
pub const ARBITRATION_FIRST: u32 = 1 << 26;
/// and of each where there are two.
pub const ARBITRATION_BOTH: u32 = 1 << 7 | 7 << 23;
/// [`EXTCNF_CTRL`]: software has the PHY.
pub const PHY_OURS: u32 = 1 << 5;
/// [`RAH`]: the address counts.
pub const ADDRESS_VALID: u32 = 1 << 31;
/// [`MRQC`]: two queues by RSS, over TCP's and IP's tuples of both families.
pub const MULTI_QUEUE: u32 = 1 | 0x1f << 16;
/// A byte of [`RETA`] names the second queue by its highest bit.
pub const SECOND_QUEUE: u8 = 1 << 7;
/// A nibble of [`IVAR`] counts.
pub const VECTOR_VALID: u32 = 1 << 3;
/// [`IVAR`]: each write-back of a transmit descriptor interrupts.
pub const EACH_WRITE_BACK: u32 = 1 << 31;

/// [`MDIC`]: the value.
pub const PHY_VALUE: u32 = 0xffff;
/// The register's number begins here, 5 bits.
pub const PHY_REGISTER_AT: u32 = 16;
/// The only PHY, by its address on the bus.
pub const PHY_ONE: u32 = 1 << 21;
/// Write.
pub const PHY_WRITE: u32 = 1 << 26;
/// Read.
pub const PHY_READ: u32 = 1 << 27;
/// Done.
pub const PHY_READY: u32 = 1 << 28;
/// There was no answer.
pub const PHY_ERROR: u32 = 1 << 30;
