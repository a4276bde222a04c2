// SPDX-License-Identifier: BSD-2-Clause
//! The control queue: one command at a time, waited for (VIRTIO 1.2, 5.1.6.5).

use super::layout::WRITE;
use super::net::command;
use super::queue::{Piece, Queue};
use weft_engine::nic::{Dma, Error, Platform, Segment};

/// Bytes of a command's data at most: two tables of addresses, one of them empty.
const MOST: usize = 4 + 4 + 6 * MOST_GROUPS;
/// Addresses in a table at most.
pub(super) const MOST_GROUPS: usize = 64;
/// Where the answer is: behind class, number and data.
const ANSWER: usize = 2 + MOST;
/// An answer that no device gives.
const NONE: u8 = 0xff;
/// Times that an answer is looked for, 10 us each.
const TRIES: u32 = 20_000;

/// The queue.
pub(super) struct Control<P: Platform> {
    platform: P,
    queue: Queue<P>,
    memory: P::Dma,
    is_lost: bool,
}

impl<P: Platform> Control<P> {
    pub(super) fn new(platform: &P, queue: Queue<P>) -> Result<Self, Error> {
        Ok(Self {
            platform: platform.clone(),
            queue,
            memory: platform.dma(ANSWER + 1, 64)?,
            is_lost: false,
        })
    }

    /// Has the device do something. A command that was not answered is with the device for
    /// ever, so there are no more after it.
    pub(super) fn command(
        &mut self,
        command: [u8; 2],
        data: impl Iterator<Item = u8>,
    ) -> Result<(), Error> {
        let [class, number] = command;
        let name = u64::from(u16::from_be_bytes(command));
        if self.is_lost {
            return Err(Error::Broken("control queue", name));
        }
        self.memory.store(0, class);
        self.memory.store(1, number);
        let mut len = 0_usize;
        for byte in data.take(MOST) {
            self.memory.store(len.wrapping_add(2), byte);
            len = len.wrapping_add(1);
        }
        self.memory.store(ANSWER, NONE);
        let piece = |at: usize, bytes: usize, flags| Piece {
            place: Segment {
                address: self.memory.address().wrapping_add(at as u64),
                bytes: bytes as u32,
            },
            flags,
        };
        let pieces = [piece(0, 2, 0), piece(2, len, 0), piece(ANSWER, 1, WRITE)];
        let put = self.queue.put(3, pieces.into_iter());
        put.map_err(|_| Error::Broken("control queue", name))?;
        self.queue.kick();
        for _ in 0..TRIES {
            if self.queue.take().is_some() {
                let answer: u8 = self.memory.load(ANSWER);
                return match answer {
                    command::DONE => Ok(()),
                    _ => Err(Error::Broken("control command", name)),
                };
            }
            self.platform.wait_us(10);
        }
        self.is_lost = true;
        Err(Error::Broken("control queue", name))
    }
}
