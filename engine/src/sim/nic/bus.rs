// SPDX-License-Identifier: BSD-2-Clause
//! Memory as a device sees it: blocks, far apart, each there until it is freed. An access that is
//! not within one block, or writes to one that is only to be read, is a complaint.

use std::collections::BTreeMap;

/// Who may do what with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Descriptors and such: driver and device read and write.
    Shared,
    /// A piece of a frame: the device reads.
    Frame,
    /// A receive buffer: the device writes.
    Buffer,
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    kind: Kind,
}

/// Memory, interrupts, and what was wrong.
#[derive(Debug, Default)]
pub struct Bus {
    blocks: BTreeMap<u64, Block>,
    next: u64,
    /// Interrupts that were sent, by vector.
    pub interrupts: Vec<u64>,
    complaints: Vec<String>,
}

impl Bus {
    pub(super) fn add(&mut self, bytes: Vec<u8>, kind: Kind, align: usize) -> u64 {
        // Above 4 GB, so that who loses the high half is noticed.
        let start = (self.next + (5 << 32)).next_multiple_of(align.max(64) as u64);
        self.next = start + bytes.len() as u64 + 4096 - (5 << 32);
        self.blocks.insert(start, Block { bytes, kind });
        start
    }

    pub(super) fn remove(&mut self, address: u64) -> Vec<u8> {
        let block = self.blocks.remove(&address);
        block.expect("a block is freed once").bytes
    }

    /// Notes that somebody did what must not be.
    pub fn complain(&mut self, what: impl Into<String>) {
        self.complaints.push(what.into());
    }

    /// What was wrong so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Blocks of a kind that there are.
    pub fn blocks(&self, kind: Kind) -> usize {
        let blocks = self.blocks.values();
        blocks.filter(|block| block.kind == kind).count()
    }

    /// Sends an interrupt.
    pub fn interrupt(&mut self, vector: u16) {
        let vector = usize::from(vector);
        if self.interrupts.len() <= vector {
            self.interrupts.resize(vector + 1, 0);
        }
        self.interrupts[vector] += 1;
    }

    fn find(&mut self, address: u64, len: usize) -> Option<(&mut Block, usize)> {
        let (start, block) = self.blocks.range_mut(..=address).next_back()?;
        let at = (address - start) as usize;
        (at + len <= block.bytes.len()).then_some((block, at))
    }

    /// The device reads. What is not there reads as zeroes, and is complained about.
    pub fn read(&mut self, address: u64, into: &mut [u8]) {
        into.fill(0);
        match self.find(address, into.len()) {
            Some((block, at)) if block.kind != Kind::Buffer => {
                into.copy_from_slice(&block.bytes[at..at + into.len()]);
            }
            _ => self.complain(format!("device reads {} at {address:#x}", into.len())),
        }
    }

    /// The device writes.
    pub fn write(&mut self, address: u64, from: &[u8]) {
        match self.find(address, from.len()) {
            Some((block, at)) if block.kind != Kind::Frame => {
                block.bytes[at..at + from.len()].copy_from_slice(from);
            }
            _ => self.complain(format!("device writes {} at {address:#x}", from.len())),
        }
    }

    /// The device reads so many bytes.
    pub fn bytes(&mut self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read(address, &mut bytes);
        bytes
    }

    /// The device reads a number of 2 bytes.
    pub fn get16(&mut self, address: u64) -> u16 {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// The device reads a number of 4 bytes.
    pub fn get32(&mut self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// The device reads a number of 8 bytes.
    pub fn get64(&mut self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The device writes a number of 2 bytes.
    pub fn put16(&mut self, address: u64, value: u16) {
        self.write(address, &value.to_le_bytes());
    }

    /// The device writes a number of 4 bytes.
    pub fn put32(&mut self, address: u64, value: u32) {
        self.write(address, &value.to_le_bytes());
    }

    /// The device writes a number of 8 bytes.
    pub fn put64(&mut self, address: u64, value: u64) {
        self.write(address, &value.to_le_bytes());
    }

    pub(super) fn load(&mut self, address: u64, bytes: usize) -> u64 {
        let mut wide = [0; 8];
        let (block, at) = self
            .find(address, bytes)
            .expect("a driver reads within its memory");
        assert!(address.is_multiple_of(bytes as u64), "aligned");
        wide[..bytes].copy_from_slice(&block.bytes[at..at + bytes]);
        u64::from_le_bytes(wide)
    }

    pub(super) fn store(&mut self, address: u64, bytes: usize, value: u64) {
        let (block, at) = self
            .find(address, bytes)
            .expect("a driver writes within its memory");
        assert!(address.is_multiple_of(bytes as u64), "aligned");
        block.bytes[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }
}
