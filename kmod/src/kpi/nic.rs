// SPDX-License-Identifier: BSD-2-Clause
//! The kernel as the platform of drivers of network cards: what `weft_engine::nic` asks for,
//! over newbus, bus_dma(9) and mbuf(9).

use core::fmt;

use weft_bindings::kernel as c;
use weft_engine::nic::{self, Error, Level, Limits, Segment, Word};

use super::cdriver::Table;
use super::context::Sleepable;
use super::device::Device;
use super::dma::{self, Block, Maps, Tag};
use super::errno::Errno;
use super::interrupt::Vectors;
use super::kernel::Clock;
use super::log;
use super::mbuf_dma::{Buffer, Chain, Cluster, Frame, Packet};
use super::netmap_dma::Feed;
use super::pci::{Bar, Bars};
use super::shared::Shared;

/// Bytes of the largest cluster.
const LARGEST_BUFFER: u64 = 16 << 10;
/// Maps for received packets that are kept, where the kernel gives any.
const KEPT_MAPS: usize = 1024;

/// A device's platform.
#[derive(Clone)]
pub(crate) struct Kernel {
    of: Shared<Parts>,
    /// Of a receive queue's: where buffers come from while its ring is on.
    feed: Option<Shared<Feed>>,
}

struct Parts {
    device: Shared<Device>,
    bars: Bars,
    buffers: Shared<Maps>,
    clock: Clock,
    /// Of a driver in C.
    table: Option<Shared<Table>>,
}

impl Kernel {
    /// That of a device on PCI, which may reach memory from here on.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(sleepable: &mut Sleepable, device: &Shared<Device>) -> Result<Self, Errno> {
        let kernel = Self::made(sleepable, device, None)?;
        device.set_bus_master(true);
        Ok(kernel)
    }

    /// That of a device with a driver in C, which has its registers and may reach memory.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn with_table(
        sleepable: &mut Sleepable,
        device: &Shared<Device>,
        table: Shared<Table>,
    ) -> Result<Self, Errno> {
        Self::made(sleepable, device, Some(table))
    }

    fn made(
        sleepable: &mut Sleepable,
        device: &Shared<Device>,
        table: Option<Shared<Table>>,
    ) -> Result<Self, Errno> {
        let limits = dma::Limits {
            alignment: 1,
            highest: u64::MAX,
            size: LARGEST_BUFFER,
            segment_size: LARGEST_BUFFER,
            segments: 1,
        };
        let tag = Tag::new(sleepable, device, &limits)?;
        let buffers = Maps::new(sleepable, tag, KEPT_MAPS)?;
        let parts = Parts {
            device: device.clone(),
            bars: Bars::of(device),
            buffers,
            clock: Clock::new(),
            table,
        };
        let of = Shared::made(|| Ok(parts))?;
        Ok(Self { of, feed: None })
    }

    /// The same for a receive queue, whose ring of netmap's has that feed.
    pub(crate) fn with_feed(&self, feed: &Shared<Feed>) -> Self {
        Self {
            of: self.of.clone(),
            feed: Some(feed.clone()),
        }
    }

    /// The feed of a ring that is on.
    #[inline]
    fn feed(&self) -> Option<&Shared<Feed>> {
        self.feed.as_ref().filter(|feed| feed.is_on())
    }

    /// Maps for packets that a queue with such limits sends.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn maps(
        &self,
        sleepable: &mut Sleepable,
        limits: &Limits,
        kept: usize,
    ) -> Result<Shared<Maps>, Errno> {
        let segments = u32::from(limits.segments).clamp(1, nic::MOST_SEGMENTS as u32);
        let limits = dma::Limits {
            alignment: 1,
            highest: u64::MAX,
            size: 1 << 17,
            segment_size: limits.segment_bytes.max(1).into(),
            segments,
        };
        let tag = Tag::new(sleepable, &self.of.device, &limits)?;
        Maps::new(sleepable, tag, kept)
    }

    /// The device.
    pub(crate) fn device(&self) -> &Shared<Device> {
        &self.of.device
    }

    /// The table of a driver in C, if it has one.
    pub(crate) fn table(&self) -> Option<&Shared<Table>> {
        self.of.table.as_ref()
    }

    /// As many interrupts as are wanted, or fewer, but at least `needed`; `None` if the driver
    /// finds out itself that the device interrupts.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn vectors(
        &self,
        sleepable: &mut Sleepable,
        (needed, wanted): (usize, usize),
    ) -> Result<Option<Shared<Vectors>>, Errno> {
        // A driver in C has mapped what it needs.
        let bars = match self.table() {
            Some(table) if table.has_own_interrupts => return Ok(None),
            Some(_) => None,
            None => Some(&self.of.bars),
        };
        Vectors::new(sleepable, &self.of.device, bars, (needed, wanted)).map(Some)
    }
}

impl nic::Platform for Kernel {
    type Registers = Shared<Bar>;
    type Dma = Block;
    type Frame = Frame;
    type Buffer = Buffer;
    type Packet = Packet;

    fn registers(&self, bar: u8) -> Result<Shared<Bar>, Error> {
        // SAFETY: whoever calls this may sleep, as the trait says.
        let mut sleepable = unsafe { Sleepable::assume() };
        let bar = self.of.bars.get(&mut sleepable, bar.into());
        bar.map_err(|_| Error::NoResource("BAR"))
    }

    fn config<W: Word>(&self, at: u16) -> W {
        self.of.device.config(at.into())
    }

    fn set_config<W: Word>(&self, at: u16, value: W) {
        self.of.device.set_config(at.into(), value);
    }

    fn dma(&self, bytes: usize, align: usize) -> Result<Block, Error> {
        // SAFETY: as above.
        let mut sleepable = unsafe { Sleepable::assume() };
        let block = Block::new(&mut sleepable, &self.of.device, bytes, align, u64::MAX);
        block.map_err(|_| Error::NoMemory)
    }

    #[inline]
    fn has_buffers(&self, bytes: u32) -> bool {
        self.feed().is_none_or(|feed| feed.has(bytes))
    }

    #[inline]
    fn buffer(&self, bytes: u32) -> Option<Buffer> {
        let maps = &self.of.buffers;
        match self.feed() {
            None => Cluster::new(maps, bytes).map(Buffer::Cluster),
            Some(feed) => Feed::take(feed, maps, bytes).map(Buffer::Ring),
        }
    }

    #[inline]
    fn place(&self, buffer: &Buffer) -> Segment {
        buffer.place()
    }

    #[inline]
    fn front(&self, buffer: &Buffer) -> [u8; nic::FRONT] {
        buffer.front()
    }

    const COPIED: u32 = Chain::COPIED;

    #[inline]
    fn copied(&self, buffer: &Buffer, skip: u32, bytes: u32) -> Option<Packet> {
        Packet::copied(buffer, skip, bytes)
    }

    #[inline]
    fn packet(&self, buffer: Buffer, skip: u32, bytes: u32) -> Option<Packet> {
        Some(Packet::new(buffer, skip, bytes))
    }

    #[inline]
    fn append(&self, packet: &mut Packet, buffer: Buffer, skip: u32, bytes: u32) -> bool {
        packet.append(buffer, skip, bytes)
    }

    #[inline]
    fn now(&self) -> u64 {
        self.of.clock.now()
    }

    fn wait_us(&self, us: u32) {
        // SAFETY: called by drivers where they may sleep.
        unsafe { c::weft_shim_delay_us(us) }
    }

    fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        let line = format_args!("{}: {line}", self.of.device.name());
        match level {
            Level::Error => log::error(line),
            Level::Warning => log::warning(line),
            Level::Info => log::info(line),
        }
    }
}
