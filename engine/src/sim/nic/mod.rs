// SPDX-License-Identifier: BSD-2-Clause
//! A host with one network card, for tests of drivers: the card is a [`Model`], in Rust, and a
//! driver talks to it as in the kernel, by registers, memory and interrupts.
//!
//! The host notices what a card must not do, such as writing to memory that was freed, and fails
//! allocations on demand. [`Host::ledger`] says what is out: a test ends with nothing.
//!
//! A driver's own mistakes, such as an offset that lies outside of its memory, panic.

mod bus;
mod machine;
pub mod vmxnet3;

pub use bus::{Bus, Kind};
pub use machine::{Machine, Sides, Wants};

use crate::nic::{
    Dma, Error, FRONT, Frame, Level, MapError, Platform, Registers, Segment, Segments, Word,
};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// A network card.
pub trait Model: Send + 'static {
    /// The driver reads a register of so many bytes.
    fn read(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize) -> u64;

    /// The driver writes a register.
    fn write(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize, value: u64);

    /// Bytes of a BAR's registers; 0 if there is no such BAR.
    fn bar_bytes(&self, bar: u8) -> u32;

    /// The driver reads the configuration space.
    fn config(&mut self, at: u16, bytes: usize) -> u64 {
        let _ = (at, bytes);
        0
    }

    /// The driver writes the configuration space.
    fn set_config(&mut self, at: u16, bytes: usize, value: u64) {
        let _ = (at, bytes, value);
    }

    /// Whether the card may still use the block that begins there: freeing it is a complaint.
    fn holds(&self, bus: &mut Bus, address: u64) -> bool {
        let _ = (bus, address);
        false
    }
}

/// What is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Blocks of memory for DMA.
    pub blocks: u64,
    /// Frames.
    pub frames: u64,
    /// Buffers.
    pub buffers: u64,
    /// Packets.
    pub packets: u64,
}

struct World<M> {
    model: M,
    bus: Bus,
    ledger: Ledger,
    log: Vec<(Level, String)>,
    now: u64,
    /// Allocations that succeed before one fails; each later one fails, too, for as long as
    /// `failures` lasts.
    successes: u64,
    failures: u64,
    /// There is no buffer, for a reason that is not want of memory.
    are_buffers_withheld: bool,
}

impl<M> World<M> {
    /// Whether an allocation is to fail.
    fn fails(&mut self) -> bool {
        if self.successes > 0 {
            self.successes -= 1;
            return false;
        }
        if self.failures > 0 {
            self.failures -= 1;
            return true;
        }
        false
    }
}

impl<M: Model> World<M> {
    fn free(&mut self, address: u64) {
        if self.model.holds(&mut self.bus, address) {
            let what = format!("{address:#x} is freed, and the card has it");
            self.bus.complain(what);
        }
        self.bus.remove(address);
    }
}

/// The host. A clone is the same one.
pub struct Host<M> {
    world: Arc<Mutex<World<M>>>,
}

impl<M> Clone for Host<M> {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
        }
    }
}

impl<M> fmt::Debug for Host<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl<M: Model> Host<M> {
    /// A host with that card.
    pub fn new(model: M) -> Self {
        let world = World {
            model,
            bus: Bus::default(),
            ledger: Ledger::default(),
            log: Vec::new(),
            now: 1,
            successes: 0,
            failures: 0,
            are_buffers_withheld: false,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, World<M>> {
        // A test that panics elsewhere is not to be hidden by this.
        self.world.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Does something with the card.
    pub fn with<R>(&self, with: impl FnOnce(&mut M, &mut Bus) -> R) -> R {
        let world = &mut *self.lock();
        with(&mut world.model, &mut world.bus)
    }

    /// A frame of these bytes, in pieces of so many bytes.
    pub fn frame(&self, bytes: &[u8], piece: usize) -> HostFrame<M> {
        self.lock().ledger.frames += 1;
        let pieces = bytes.chunks(piece.max(1)).map(<[u8]>::to_vec).collect();
        HostFrame {
            host: self.clone(),
            pieces,
            mapped: Vec::new(),
        }
    }

    /// What is out.
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger
    }

    /// What the card did that it must not.
    pub fn complaints(&self) -> Vec<String> {
        self.lock().bus.complaints().to_vec()
    }

    /// The lines of the log so far, taken out.
    pub fn take_log(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.lock().log)
    }

    /// Interrupts of a vector so far.
    pub fn interrupts(&self, vector: u16) -> u64 {
        let world = self.lock();
        let interrupts = world.bus.interrupts.get(usize::from(vector));
        interrupts.copied().unwrap_or(0)
    }

    /// Lets so many allocations succeed, and then so many fail: of memory for DMA, of buffers,
    /// of packets, and maps of frames.
    pub fn fail_allocations(&self, successes: u64, failures: u64) {
        let world = &mut *self.lock();
        (world.successes, world.failures) = (successes, failures);
    }

    /// Says that there are no buffers to be asked for, or that there are again.
    pub fn withhold_buffers(&self, withheld: bool) {
        self.lock().are_buffers_withheld = withheld;
    }

    /// Lets time pass.
    pub fn advance(&self, ns: u64) {
        self.lock().now += ns;
    }

    fn add(&self, bytes: Vec<u8>, kind: Kind, align: usize) -> Option<u64> {
        let world = &mut *self.lock();
        if world.fails() {
            return None;
        }
        match kind {
            Kind::Shared => world.ledger.blocks += 1,
            Kind::Buffer => world.ledger.buffers += 1,
            Kind::Frame => {}
        }
        Some(world.bus.add(bytes, kind, align))
    }

    fn new_packet(&self, bytes: Vec<u8>) -> Option<HostPacket<M>> {
        let world = &mut *self.lock();
        if world.fails() {
            return None;
        }
        world.ledger.packets += 1;
        Some(HostPacket {
            host: self.clone(),
            bytes,
        })
    }
}

/// Registers of a card's BAR.
pub struct HostRegisters<M> {
    host: Host<M>,
    bar: u8,
    bytes: u32,
}

impl<M> Clone for HostRegisters<M> {
    fn clone(&self) -> Self {
        Self {
            host: self.host.clone(),
            ..*self
        }
    }
}

impl<M> fmt::Debug for HostRegisters<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRegisters")
            .field("bar", &self.bar)
            .finish_non_exhaustive()
    }
}

impl<M> HostRegisters<M> {
    fn check<W: Word>(&self, at: u32) {
        let end = at as usize + W::BYTES;
        assert!(end <= self.bytes as usize, "register {at:#x}");
        assert!((at as usize).is_multiple_of(W::BYTES), "register {at:#x}");
    }
}

impl<M: Model> Registers for HostRegisters<M> {
    fn read<W: Word>(&self, at: u32) -> W {
        self.check::<W>(at);
        self.host
            .with(|model, bus| W::narrow(model.read(bus, self.bar, at, W::BYTES)))
    }

    fn write<W: Word>(&self, at: u32, value: W) {
        self.check::<W>(at);
        self.host
            .with(|model, bus| model.write(bus, self.bar, at, W::BYTES, value.widen()));
    }

    fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// Memory for DMA.
pub struct HostDma<M: Model> {
    host: Host<M>,
    address: u64,
    bytes: usize,
}

impl<M: Model> fmt::Debug for HostDma<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostDma")
            .field("address", &self.address)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<M: Model> Dma for HostDma<M> {
    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn load<W: Word>(&self, at: usize) -> W {
        let bus = &mut self.host.lock().bus;
        W::narrow(bus.load(self.address + at as u64, W::BYTES))
    }

    fn store<W: Word>(&self, at: usize, value: W) {
        let bus = &mut self.host.lock().bus;
        bus.store(self.address + at as u64, W::BYTES, value.widen());
    }
}

impl<M: Model> Drop for HostDma<M> {
    fn drop(&mut self) {
        let world = &mut *self.host.lock();
        world.free(self.address);
        world.ledger.blocks -= 1;
    }
}

/// A frame to be sent.
pub struct HostFrame<M: Model> {
    host: Host<M>,
    pieces: Vec<Vec<u8>>,
    mapped: Vec<u64>,
}

impl<M: Model> fmt::Debug for HostFrame<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFrame")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl<M: Model> Frame for HostFrame<M> {
    fn bytes(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.len() as u32).sum()
    }

    fn map(&mut self, into: &mut Segments) -> Result<(), MapError> {
        let mut places = Vec::new();
        // As bus_dma does: it is known before anything is mapped.
        for piece in &self.pieces {
            into.push(Segment {
                address: 0,
                bytes: piece.len() as u32,
            })?;
        }
        into.clear();
        if self.host.lock().fails() {
            return Err(MapError::NoMemory);
        }
        for piece in &self.pieces {
            let bus = &mut self.host.lock().bus;
            let address = bus.add(piece.clone(), Kind::Frame, 1);
            places.push(address);
            into.push(Segment {
                address,
                bytes: piece.len() as u32,
            })?;
        }
        assert!(self.mapped.is_empty(), "a frame is mapped once");
        self.mapped = places;
        Ok(())
    }

    fn linearize(&mut self, _most: usize) -> Result<(), MapError> {
        if self.host.lock().fails() {
            return Err(MapError::NoMemory);
        }
        let whole = self.pieces.concat();
        if whole.len() > 1 << 16 {
            return Err(MapError::Unfit);
        }
        self.pieces = whole.chunks(4096).map(<[u8]>::to_vec).collect();
        Ok(())
    }
}

impl<M: Model> Drop for HostFrame<M> {
    fn drop(&mut self) {
        let world = &mut *self.host.lock();
        for &address in &self.mapped {
            world.free(address);
        }
        world.ledger.frames -= 1;
    }
}

/// A receive buffer.
pub struct HostBuffer<M: Model> {
    host: Host<M>,
    place: Segment,
}

impl<M: Model> fmt::Debug for HostBuffer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostBuffer").field(&self.place).finish()
    }
}

impl<M: Model> Drop for HostBuffer<M> {
    fn drop(&mut self) {
        let world = &mut *self.host.lock();
        world.free(self.place.address);
        world.ledger.buffers -= 1;
    }
}

impl<M: Model> HostBuffer<M> {
    fn content(&self, skip: u32, bytes: u32) -> Vec<u8> {
        let bus = &mut self.host.lock().bus;
        let whole = (0..bytes).map(|n| {
            let at = self.place.address + u64::from(skip) + u64::from(n);
            bus.load(at, 1) as u8
        });
        whole.collect()
    }
}

/// A received frame.
pub struct HostPacket<M: Model> {
    host: Host<M>,
    bytes: Vec<u8>,
}

impl<M: Model> HostPacket<M> {
    /// What was received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<M: Model> fmt::Debug for HostPacket<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostPacket").field(&self.bytes).finish()
    }
}

impl<M: Model> Drop for HostPacket<M> {
    fn drop(&mut self) {
        self.host.lock().ledger.packets -= 1;
    }
}

impl<M: Model> Platform for Host<M> {
    type Registers = HostRegisters<M>;
    type Dma = HostDma<M>;
    type Frame = HostFrame<M>;
    type Buffer = HostBuffer<M>;
    type Packet = HostPacket<M>;

    fn registers(&self, bar: u8) -> Result<Self::Registers, Error> {
        let bytes = self.with(|model, _| model.bar_bytes(bar));
        if bytes == 0 {
            return Err(Error::NoResource("BAR"));
        }
        Ok(HostRegisters {
            host: self.clone(),
            bar,
            bytes,
        })
    }

    fn config<W: Word>(&self, at: u16) -> W {
        self.with(|model, _| W::narrow(model.config(at, W::BYTES)))
    }

    fn set_config<W: Word>(&self, at: u16, value: W) {
        self.with(|model, _| model.set_config(at, W::BYTES, value.widen()));
    }

    fn dma(&self, bytes: usize, align: usize) -> Result<Self::Dma, Error> {
        assert!(align.is_power_of_two() && bytes > 0);
        let address = self.add(vec![0; bytes], Kind::Shared, align);
        Ok(HostDma {
            host: self.clone(),
            address: address.ok_or(Error::NoMemory)?,
            bytes,
        })
    }

    fn has_buffers(&self, _bytes: u32) -> bool {
        !self.lock().are_buffers_withheld
    }

    fn buffer(&self, bytes: u32) -> Option<Self::Buffer> {
        if self.lock().are_buffers_withheld {
            return None;
        }
        let bytes = bytes.next_multiple_of(2048);
        let address = self.add(vec![0xa5; bytes as usize], Kind::Buffer, 2048)?;
        Some(HostBuffer {
            host: self.clone(),
            place: Segment { address, bytes },
        })
    }

    fn place(&self, buffer: &Self::Buffer) -> Segment {
        buffer.place
    }

    fn front(&self, buffer: &Self::Buffer) -> [u8; FRONT] {
        let mut front = [0; FRONT];
        let bytes = buffer.place.bytes.min(FRONT as u32);
        front[..bytes as usize].copy_from_slice(&buffer.content(0, bytes));
        front
    }

    const COPIED: u32 = 128;

    fn copied(&self, buffer: &Self::Buffer, skip: u32, bytes: u32) -> Option<Self::Packet> {
        self.new_packet(buffer.content(skip, bytes))
    }

    fn packet(&self, buffer: Self::Buffer, skip: u32, bytes: u32) -> Option<Self::Packet> {
        self.new_packet(buffer.content(skip, bytes))
    }

    fn append(
        &self,
        packet: &mut Self::Packet,
        buffer: Self::Buffer,
        skip: u32,
        bytes: u32,
    ) -> bool {
        if self.lock().fails() {
            return false;
        }
        packet.bytes.extend(buffer.content(skip, bytes));
        true
    }

    fn now(&self) -> u64 {
        self.lock().now
    }

    fn wait_us(&self, us: u32) {
        self.advance(u64::from(us) * 1000);
    }

    fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        self.lock().log.push((level, line.to_string()));
    }
}
