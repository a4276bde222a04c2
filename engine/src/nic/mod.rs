// SPDX-License-Identifier: BSD-2-Clause
//! What every driver of a network card writes again, once.
//!
//! | part | is | in |
//! | --- | --- | --- |
//! | [`Platform`] | what a driver needs of the kernel: registers, memory for DMA, buffers, a clock; a frame that is mapped | `platform.rs` |
//! | [`Nic`], [`TxRing`], [`RxRing`], [`Interrupts`] | what a driver says: how its device differs | `driver.rs` |
//! | [`Offload`], [`Meta`] | what a device is to do with a frame, and what it says of one | `offload.rs` |
//! | [`Ring`], [`Slot`], [`Lane`], [`Completions`] | descriptors, owned by the driver or by the device, by type | `ring.rs` |
//! | [`Slots`] | which frame or buffer is behind a descriptor | `slots.rs` |
//! | [`Transmitter`], [`Receiver`] | a queue: mapping, bookkeeping, refill, reaping, doorbells, figures, hang detection | `tx.rs`, `rx.rs` |
//! | [`Port`] | the device as a whole: start, stop, reset, events, the tick | `port.rs` |
//! | [`Vectors`] | which interrupt is whose | `vectors.rs` |
//! | [`Place`], [`is_claimed`] | which devices are taken unasked | `claims.rs` |
//! | [`Rss`], [`Moderation`] | spreading of flows, rate of interrupts | `rss.rs`, `moderation.rs` |
//! | [`Joiner`] | segments that a queue has received, joined in software (LRO) | `join.rs` |
//!
//! # Who is whom
//!
//! The *platform* is the kernel (`kmod`) or a host under test (`sim::nic`). The *adapter*
//! is the platform's code that owns a [`Port`] and its queues, has them locked or bound to
//! a thread, and brings frames from and to the stack. The *driver* knows the device, and
//! nothing else: it is the same code on each platform.
//!
//! # What holds
//!
//! - A frame is with its submitter, or in one slot of a [`Transmitter`]. It leaves the slot
//!   once: completed, or lost by a reset or a stop, and is counted either way.
//! - A buffer is in one slot of a [`Receiver`], or in a packet, or free.
//! - What the device owns is not written by the driver: there is no value to do it with.
//! - After [`Port::stop`] the device touches no memory, and the driver no queue of the device.
//! - A device that says nonsense (an index that was never given, a length that no buffer has)
//!   costs a reset, counted. It never costs memory safety, and never a panic.
//!
//! # Contexts
//!
//! [`Nic`] and [`Port`] are called by one thread at a time, that may sleep. [`Transmitter`] and
//! [`Receiver`] are called by one at a time each, beside one another, and never sleep.
//! [`Interrupts`] is called by interrupt filters: any number at a time, no lock, no sleep.

mod claims;
mod driver;
mod join;
mod moderation;
mod offload;
mod platform;
mod port;
mod ring;
mod rss;
mod rx;
#[allow(unsafe_code)]
mod slots;
mod tx;
mod vectors;

pub use claims::{Place, is_claimed, wrong_claims};
pub use driver::{
    Cause, Error, Events, Extras, Filter, Full, Id, Interrupts, Label, Limits, Link, Nic, Offer,
    Range, RxRing, Scope, Setup, Taken, TxRing, VlanSet, Wanted, bits_of,
};
pub use join::{FLOWS, Families, JoinFigures, Joiner, MOST_JOINED, Received};
pub use moderation::Moderation;
pub use offload::{Asked, Cuts, Meta, Offload, SegmentSums, Task, Unfit, Verdict, describe};
pub use platform::{
    Dma, FRONT, Frame, Level, MOST_SEGMENTS, MapError, Platform, Registers, Segment, Segments, Word,
};
pub use port::{Health, Port, Queues, State};
pub use ring::{
    Completions, Device, Driver, Lane, Put, Ring, Slot, before_handover, full, on_taking,
};
pub use rss::{DEFAULT_KEY, Hashes, KeyText, Rss, TABLE, TableText, parse_key, parse_table};
pub use rx::{Polled, Receiver, RxFigures};
pub use slots::Slots;
pub use tx::{Refused, Transmitter, TxFigures, Why};
pub use vectors::{VectorKind, Vectors};
