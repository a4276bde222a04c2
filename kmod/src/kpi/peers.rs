// SPDX-License-Identifier: BSD-2-Clause
//! What the kernel has for packets, tags and queues, measured for a comparison, and
//! packets as they are lent to a queue for that. The C is in `sys-shim/c/test/peers.c`.
//!
//! Figures are ticks of the CPU's clock for all rounds together.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;
use weft_engine::packet::{Packet, Writable};
use weft_engine::queue::{Item, Platform, Settings, Sink, Ticks, TxQueue};

use super::context::Sleepable;
use super::cpu::bound;
use super::memory::{StateMemory, try_box};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `m_getcl` or its like, then `m_freem`; so many packets are held at a time.
    Mbuf { size: u32 },
    /// `m_tag_alloc`, `m_tag_prepend`, `m_tag_locate`, `m_tag_delete` of 8 bytes.
    Tag,
}

/// What takes packets' addresses from one thread to another: a ring or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// buf_ring(9): enqueued, then dequeued by a single consumer, one by one.
    BufRing,
    /// A list behind a mutex that is taken for each packet, as in if_epair(4).
    Mbufq,
    /// iflib's `mp_ring`: enqueued in one call, drained by the same.
    MpRing,
    /// A mutex around a backend that counts, and no queue.
    MtxSent,
    /// buf_ring(9), drained into that backend by who gets its lock.
    BufRingSent,
    /// A list behind a mutex, drained into it by who finds nobody at that.
    MbufqSent,
    /// iflib's `mp_ring` with that backend.
    MpRingSent,
    /// buf_ring(9), drained into it by a task.
    BufRingTask,
    /// The steps of if_epair(4): a list behind a mutex, drained by a task.
    MbufqTask,
}

/// Measures. `None` if the kernel lacks the peer, or memory.
pub(crate) fn measure(
    _sleepable: &mut Sleepable,
    peer: Peer,
    rounds: u32,
    batch: u32,
) -> Option<u64> {
    // SAFETY: bound to a CPU, with no lock held.
    let ticks = bound(|| unsafe {
        match peer {
            Peer::Mbuf { size } => c::weft_test_mbuf(rounds, batch, size),
            Peer::Tag => c::weft_test_tag(rounds, 1_795_000_000, 8),
        }
    });
    (ticks > 0).then_some(ticks)
}

/// Has the packets go through the peer, all of them in each round. `None` as above.
pub(crate) fn measure_channel(
    _sleepable: &mut Sleepable,
    channel: Channel,
    rounds: u32,
    packets: &[Packet<Writable>],
) -> Option<u64> {
    let mut items = [ptr::null_mut::<c_void>(); 32];
    for (item, packet) in items.iter_mut().zip(packets.iter()) {
        *item = packet.embedded().as_ptr().cast();
    }
    let count = packets.len().min(items.len()) as u32;
    let items = items.as_mut_ptr();
    let measure = match channel {
        Channel::BufRing => c::weft_test_buf_ring,
        Channel::Mbufq => c::weft_test_mbufq,
        Channel::MpRing => c::weft_test_mp_ring,
        Channel::MtxSent => c::weft_test_mtx_sent,
        Channel::BufRingSent => c::weft_test_buf_ring_sent,
        Channel::MbufqSent => c::weft_test_mbufq_sent,
        Channel::MpRingSent => c::weft_test_mp_ring_sent,
        Channel::BufRingTask => c::weft_test_buf_ring_task,
        Channel::MbufqTask => c::weft_test_mbufq_task,
    };
    // SAFETY: as above. The peers look at nothing but the items' embedded mbufs, which are
    // nobody else's meanwhile.
    let ticks = bound(|| unsafe { measure(rounds, count, items) });
    (ticks > 0).then_some(ticks)
}

/// Measures checksums of a packet of size bytes, in pieces, that begins at an offset from a
/// cache line's start: with an even `way` ours, else the kernel's; from 2 on CRC32c. `None`
/// without memory.
pub(crate) fn sums(
    _sleepable: &mut Sleepable,
    rounds: u32,
    [size, pieces, offset]: [u32; 3],
    way: u32,
) -> Option<u64> {
    // SAFETY: bound to a CPU, with no lock held.
    let ticks = bound(|| unsafe { c::weft_test_sum(rounds, size, pieces, offset, way) });
    (ticks > 0).then_some(ticks)
}

/// How many checksums of random chains differ from the kernel's. `None` without memory.
pub(crate) fn sums_that_differ(_sleepable: &mut Sleepable, rounds: u32) -> Option<u64> {
    // SAFETY: the chains are its own.
    u64::try_from(unsafe { c::weft_test_sums_differ(rounds) }).ok()
}

/// A task of taskqueue(9) that is run by who measures, as the peers' are.
pub(crate) struct Tasks(NonNull<c::weft_test_tasks>);

// SAFETY: taskqueue(9) has a lock of its own; whether the task ran is only looked at by
// the thread that has run it.
unsafe impl Sync for Tasks {}
// SAFETY: as above.
unsafe impl Send for Tasks {}

impl Tasks {
    /// A task that was not asked for. `None` without memory.
    pub(crate) fn new(_sleepable: &mut Sleepable) -> Option<Self> {
        // SAFETY: the caller may sleep.
        NonNull::new(unsafe { c::weft_test_tasks_new() }).map(Self)
    }

    /// Asks for it, as the wake-up of a queue's worker does.
    #[inline]
    pub(crate) fn ask(&self) {
        // SAFETY: made by `new`.
        unsafe { c::weft_test_tasks_ask(self.0.as_ptr()) }
    }

    /// Runs it if it was asked for. Whether it was.
    #[inline]
    pub(crate) fn run(&self) -> bool {
        // SAFETY: made by `new`.
        unsafe { c::weft_test_tasks_run(self.0.as_ptr()) }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and not used again.
        unsafe { c::weft_test_tasks_free(self.0.as_ptr()) }
    }
}

/// Packets of mbufs that are held.
pub(crate) struct Held(NonNull<c::mbuf>);

// SAFETY: a list of mbufs, which are bound to no thread.
unsafe impl Send for Held {}

impl Held {
    /// So many packets with room for so many bytes each. `None` without memory.
    pub(crate) fn new(_sleepable: &mut Sleepable, count: u32, size: u32) -> Option<Self> {
        // SAFETY: the caller may sleep; the list is this value's own.
        NonNull::new(unsafe { c::weft_test_hold(count, size) }).map(Self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the list is this value's own.
        unsafe { c::weft_test_release(self.0.as_ptr()) }
    }
}

/// A packet that is lent to a queue: its address. Dropping it is nothing, so that the
/// queue's work is measured and not the pool's.
pub(crate) struct Loan<'p> {
    raw: NonNull<()>,
    of: PhantomData<&'p Packet<Writable>>,
}

impl<'p> Loan<'p> {
    /// The packet, as long as it is borrowed.
    pub(crate) fn of(packet: &'p Packet<Writable>) -> Self {
        Self {
            raw: packet.embedded().cast(),
            of: PhantomData,
        }
    }

    /// The packet's address.
    pub(crate) fn address(&self) -> usize {
        self.raw.addr().get()
    }

    /// The packet, which stays its owner's: nothing of it is changed but the time at which
    /// it was queued, and that is looked at by queues only.
    #[inline]
    fn packet(&self) -> ManuallyDrop<Packet<Writable>> {
        // SAFETY: the owner lent it, so it is there; it is not dropped.
        ManuallyDrop::new(unsafe { Packet::from_raw(self.raw.cast()) })
    }
}

/// A queue of packets that are lent to it. `None` without memory.
pub(crate) fn queue_of_loans<'p, S: Sink<Loan<'p>>, P: Platform>(
    capacity: usize,
    settings: &Settings,
    sink: S,
    platform: P,
) -> Option<Box<TxQueue<Loan<'p>, S, P, StateMemory>>> {
    let mut place = try_box(MaybeUninit::uninit()).ok()?;
    TxQueue::new_in(&mut place, capacity, settings, sink, platform, StateMemory)?;
    // SAFETY: `new_in` has made it there.
    Some(unsafe { place.assume_init() })
}

// SAFETY: as a packet, which may be sent.
unsafe impl Send for Loan<'_> {}

// SAFETY: a packet's address, as in its own `Item`.
unsafe impl Item for Loan<'_> {
    #[inline]
    fn into_raw(self) -> NonNull<()> {
        self.raw
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self {
            raw,
            of: PhantomData,
        }
    }

    #[inline]
    fn bytes(&self) -> u32 {
        self.packet().bytes()
    }

    #[inline]
    fn flow_hash(&self) -> u32 {
        self.packet().flow_hash()
    }

    #[inline]
    fn set_queued_at(&mut self, now: Ticks) {
        self.packet().set_queued_at(now);
    }

    #[inline]
    fn queued_at(&self) -> Ticks {
        self.packet().queued_at()
    }
}

/// Turns the module's probes on, or off; returns how many places there are.
pub(crate) fn turn_probes(_sleepable: &mut Sleepable, on: bool) -> u32 {
    // SAFETY: stops the other CPUs for a moment.
    unsafe { c::weft_test_probes(on) }
}

/// How often a probe fired (0), or one of its last arguments (1 to 3).
pub(crate) fn probe(number: u32, which: u32) -> u64 {
    // SAFETY: reads what it keeps.
    unsafe { c::weft_test_probe(number, which) }
}
