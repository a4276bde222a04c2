// SPDX-License-Identifier: BSD-2-Clause
//! netmap(4): rings of an interface that a program fills and empties itself. Header:
//! `dev/netmap/netmap_kern.h`, of which `weft_shim.h` has what is used.
//!
//! # Who may be where
//!
//! A program's rings are sent and received by [`Rings::send`] and [`Rings::receive`], each ring
//! by one thread at a time, which netmap sees to: in the network epoch, so that the interface
//! is there. Rings come and go by [`Rings::turn`], while nobody is in them, by one thread at a
//! time (netmap's lock, and the list of interfaces' for reading, are held).
//!
//! When an interface departs, netmap cuts programs off, and calls no function of the
//! interface's any more, though a program may still close its rings then, which frees their
//! memory. So [`Rings::departs`] is called before. The interface's own memory stays until they
//! are closed, and the module can't be unloaded ([`refuse_while_outlived`]). If the interface arrives in another network
//! stack, the program goes on, unless it has gone: [`Rings::arrives`].

use core::ffi::{CStr, c_int, c_void};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use weft_bindings::kernel as c;

use super::context::{NetEpoch, Sleepable};
use super::errno::{Errno, returned};
use super::ifnet::{InSystem, Interface, Port, stay, visit};
use super::log;
use super::mbuf::Mbuf;
use super::memory::try_box;
use super::module::refuse_while;

/// Whether the kernel has netmap(4), in the form that the module knows.
static IS_THERE: AtomicBool = AtomicBool::new(false);

/// Asks the kernel whether it has netmap(4). Once, when the module is loaded.
pub(crate) fn find(_in_module_event: &mut Sleepable) {
    // SAFETY: looks up symbols, with the linker's lock held.
    let is_there = unsafe { c::weft_shim_netmap_find() };
    IS_THERE.store(is_there, Ordering::Relaxed);
    if !is_there {
        log::info(format_args!(
            "no netmap(4) of the interfaces' own: the kernel has no device netmap built in"
        ));
    }
}

/// Refuses to unload the module while programs have rings of interfaces that have gone.
///
/// # Errors
/// `EBUSY`, which has been logged.
pub(crate) fn refuse_while_outlived(_sleepable: &mut Sleepable) -> Result<(), Errno> {
    // SAFETY: takes netmap's lock, in a thread that may sleep.
    let count = unsafe { c::weft_shim_netmap_outlived() };
    refuse_while(
        count as usize,
        format_args!("netmap programs have rings of interfaces that have gone: {count}"),
    )
}

/// The rings that an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Rings to send.
    pub(crate) tx_rings: u16,
    /// Rings to receive.
    pub(crate) rx_rings: u16,
    /// Slots of each ring to send.
    pub(crate) tx_slots: u16,
    /// Slots of each ring to receive.
    pub(crate) rx_slots: u16,
}

/// What an interface with rings of its own does.
pub(crate) trait Rings: Interface {
    /// Rings come or go: has the interface stand still, then [`Turn::commit`], then go on with
    /// the rings that are on.
    ///
    /// # Errors
    /// Why not, for rings that come; then they have not come.
    fn turn(&self, sleepable: &mut Sleepable, turn: &mut Turn) -> Result<(), Errno>;

    /// The interface is about to leave its network stack: it touches no buffer of a ring's when
    /// this returns, before `arrives` is called.
    fn departs(&self, sleepable: &mut Sleepable);

    /// It is in a network stack again, with the rings that are [on](Turn::is_in_use) still.
    fn arrives(&self, sleepable: &mut Sleepable, rings: &Turn);

    /// Sends what is in a ring. Does not sleep.
    ///
    /// # Errors
    /// Why there is no use in trying again.
    fn send(&self, number: u16, ring: &mut SendRing<'_>, epoch: &NetEpoch<'_>)
    -> Result<(), Errno>;

    /// Takes the buffers that a program is done with, and puts what has been received into a
    /// ring. Does not sleep.
    ///
    /// # Errors
    /// Why there is no use in trying again.
    fn receive(
        &self,
        number: u16,
        ring: &mut ReceiveRing<'_>,
        epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno>;
}

/// A buffer of a ring's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Where the CPU sees it, and a device without an IOMMU.
    pub(super) address: NonNull<u8>,
    pub(super) physical: u64,
    /// Bytes that it has.
    pub(crate) bytes: u32,
}

// SAFETY: memory that a program shares with the kernel; what is read there is not trusted.
unsafe impl Send for Place {}

/// The memory that buffers are in, for as long as rings are on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    buffers: NonNull<c::weft_netmap_buffer>,
    count: u32,
    bytes: u32,
}

// SAFETY: a table that is not written to while rings are on.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    /// The adapter has its memory, for as long as this is used.
    unsafe fn of(adapter: NonNull<c::weft_netmap_adapter>) -> Option<Self> {
        // SAFETY: reads fields.
        let adapter = unsafe { adapter.as_ref() };
        Some(Self {
            buffers: NonNull::new(adapter.buffers)?,
            count: adapter.nbuffers,
            bytes: adapter.buffer_size,
        })
    }

    /// Bytes of each buffer.
    #[inline]
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// A buffer by its number; `None` for those that no ring may have.
    #[inline]
    pub(crate) fn place(&self, number: u32) -> Option<Place> {
        // The first is where nonsense goes.
        if number == 0 || number >= self.count {
            return None;
        }
        // SAFETY: within the table.
        let buffer = unsafe { self.buffers.add(number as usize).as_ref() };
        Some(Place {
            address: NonNull::new(buffer.address.cast())?,
            physical: buffer.physical,
            bytes: self.bytes,
        })
    }
}

impl Place {
    /// Copies so many bytes from another one, as far as there are: how many.
    #[inline]
    fn copy(&self, from: &Self, bytes: u32) -> u32 {
        let bytes = bytes.min(self.bytes).min(from.bytes);
        // SAFETY: within both buffers.
        unsafe {
            from.address
                .as_ptr()
                .copy_to(self.address.as_ptr(), bytes as usize)
        };
        bytes
    }

    /// A packet with its first bytes, as far as there are, if there is memory.
    pub(crate) fn packet(&self, bytes: u32) -> Option<Mbuf> {
        let bytes = bytes.min(self.bytes);
        // SAFETY: a new packet of one mbuf with room for so many bytes.
        unsafe {
            let packet = NonNull::new(c::weft_shim_mbuf_with_cluster(bytes))?;
            let mut packet = Mbuf::from_raw(packet);
            packet.take(0, bytes);
            self.address
                .as_ptr()
                .copy_to_nonoverlapping(packet.link_mut().data.cast(), bytes as usize);
            Some(packet)
        }
    }

    /// Reads its first bytes, as far as there are.
    pub(super) fn read(&self, into: &mut [u8]) {
        let count = into.len().min(self.bytes as usize);
        // SAFETY: within the buffer, and memory of the caller's.
        unsafe {
            self.address
                .as_ptr()
                .copy_to_nonoverlapping(into.as_mut_ptr(), count)
        };
    }

    /// Moves bytes to the front, as far as there are: how many.
    #[inline]
    pub(super) fn shift(&self, from: u32, count: u32) -> u32 {
        let from = from.min(self.bytes);
        let count = count.min(self.bytes.wrapping_sub(from));
        if from > 0 {
            let front = self.address.as_ptr();
            // SAFETY: both are within the buffer.
            unsafe { front.add(from as usize).copy_to(front, count as usize) };
        }
        count
    }
}

/// Where memory is noted, or that there is none. Written while nobody reads; the atomics are
/// there so that this is not the compiler's business.
pub(super) struct MemoryCell {
    buffers: AtomicPtr<c::weft_netmap_buffer>,
    count: AtomicU32,
    bytes: AtomicU32,
}

impl MemoryCell {
    /// None.
    pub(super) const fn new() -> Self {
        Self {
            buffers: AtomicPtr::new(ptr::null_mut()),
            count: AtomicU32::new(0),
            bytes: AtomicU32::new(0),
        }
    }

    /// What is noted.
    #[inline]
    pub(super) fn get(&self) -> Option<Memory> {
        Some(Memory {
            buffers: NonNull::new(self.buffers.load(Ordering::Relaxed))?,
            count: self.count.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        })
    }

    /// Notes that.
    pub(super) fn set(&self, memory: Option<Memory>) {
        let buffers = memory.map_or(ptr::null_mut(), |memory| memory.buffers.as_ptr());
        self.count
            .store(memory.map_or(0, |memory| memory.count), Ordering::Relaxed);
        self.bytes
            .store(memory.map_or(0, |memory| memory.bytes), Ordering::Relaxed);
        self.buffers.store(buffers, Ordering::Relaxed);
    }
}

/// The slots of a ring, which a program may write at any time.
#[derive(Clone, Copy)]
struct Slots {
    first: NonNull<c::weft_netmap_slot>,
    count: u32,
}

impl Slots {
    /// # Safety
    /// The ring is there for as long as this is used.
    unsafe fn of(ring: &c::weft_netmap_kring) -> Option<Self> {
        let ring_of = NonNull::new(ring.ring)?;
        // SAFETY: a ring has its slots behind its head.
        let first = unsafe { ring_of.add(c::WEFT_NETMAP_FIRST as usize) };
        Some(Self {
            first: first.cast(),
            count: ring.nslots,
        })
    }

    #[inline]
    fn next(&self, slot: u32) -> u32 {
        let next = slot.wrapping_add(1);
        if next >= self.count { 0 } else { next }
    }

    #[inline]
    fn before(&self, slot: u32) -> u32 {
        slot.checked_sub(1).unwrap_or(self.count.wrapping_sub(1))
    }

    /// How many slots there are from one to another.
    #[inline]
    fn distance(&self, from: u32, to: u32) -> u32 {
        match to.checked_sub(from) {
            Some(distance) => distance,
            None => to.wrapping_add(self.count).wrapping_sub(from),
        }
    }

    #[inline]
    fn place(&self, number: u32) -> NonNull<c::weft_netmap_slot> {
        let number = number.min(self.count.saturating_sub(1));
        // SAFETY: within the ring, which has one slot at least.
        unsafe { self.first.add(number as usize) }
    }

    #[inline]
    fn read(&self, number: u32) -> c::weft_netmap_slot {
        // SAFETY: memory of the ring's, of integers.
        unsafe { self.place(number).read_volatile() }
    }

    #[inline]
    fn write(&self, number: u32, slot: c::weft_netmap_slot) {
        // SAFETY: as above.
        unsafe { self.place(number).write_volatile(slot) }
    }
}

/// A ring, while its thread is in it.
struct Ring<'r> {
    ring: NonNull<c::weft_netmap_kring>,
    slots: Slots,
    of: PhantomData<&'r mut ()>,
}

impl Ring<'_> {
    /// # Safety
    /// A ring that is on, and the caller's for as long as this is used.
    unsafe fn of(ring: NonNull<c::weft_netmap_kring>) -> Option<Self> {
        // SAFETY: as promised.
        let slots = unsafe { Slots::of(ring.as_ref()) }?;
        let of = PhantomData;
        Some(Self { ring, slots, of })
    }

    #[inline]
    fn kernel(&self) -> &c::weft_netmap_kring {
        // SAFETY: the ring is there, and this thread's.
        unsafe { self.ring.as_ref() }
    }

    #[inline]
    fn kernel_mut(&mut self) -> &mut c::weft_netmap_kring {
        // SAFETY: as above.
        unsafe { self.ring.as_mut() }
    }

    fn memory(&self) -> Option<Memory> {
        let adapter = NonNull::new(self.kernel().adapter)?;
        // SAFETY: a ring that is on has its memory.
        unsafe { Memory::of(adapter) }
    }

    fn wants_interrupts(&self) -> bool {
        self.kernel().flags & c::WEFT_NETMAP_NO_INTR == 0
    }

    /// Has the program begin anew, since there is nonsense in the ring.
    #[cold]
    fn reset(&mut self) -> Errno {
        // SAFETY: the ring is this thread's.
        let error = unsafe { c::weft_shim_netmap_reset(self.ring.as_ptr()) };
        Errno::check(error).err().unwrap_or(Errno::EINVAL)
    }
}

/// A frame that a program wants sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// In which slot it is, and in which buffer.
    pub(crate) slot: u32,
    buffer: u32,
    /// Where it is; `None` if there is no such buffer.
    pub(crate) place: Option<Place>,
    /// Bytes that it says it has.
    pub(crate) bytes: u32,
}

/// A ring to send.
pub(crate) struct SendRing<'r>(Ring<'r>);

impl SendRing<'_> {
    /// The next frame that is to be sent.
    #[inline]
    pub(crate) fn wanted(&self, memory: &Memory) -> Option<Wanted> {
        let ring = self.0.kernel();
        let slot = ring.current;
        if slot == ring.head {
            return None;
        }
        let what = self.0.slots.read(slot);
        Some(Wanted {
            slot,
            buffer: what.buffer,
            place: memory.place(what.buffer),
            bytes: what.len.into(),
        })
    }

    /// The memory of its buffers.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.0.memory()
    }

    /// The next frame is on its way, or dropped.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.pass(None);
    }

    /// The next frame is somebody else's with its buffer, for which there is another one.
    #[inline]
    pub(crate) fn advance_with(&mut self, buffer: u32) {
        self.pass(Some(buffer));
    }

    #[inline]
    fn pass(&mut self, buffer: Option<u32>) {
        let slot = self.0.kernel().current;
        let mut what = self.0.slots.read(slot);
        what.flags = 0;
        if let Some(buffer) = buffer {
            what.buffer = buffer;
            what.flags = c::WEFT_NETMAP_CHANGED as u16;
        }
        self.0.slots.write(slot, what);
        self.0.kernel_mut().current = self.0.slots.next(slot);
    }

    /// Gives the program slots back, from the oldest on, as long as they are done.
    #[inline]
    pub(crate) fn reclaim(&mut self, is_done: impl Fn(u32) -> bool) {
        loop {
            let next = self.0.slots.next(self.0.kernel().hw_tail);
            if next == self.0.kernel().current || !is_done(next) {
                return;
            }
            self.0.kernel_mut().hw_tail = next;
        }
    }

    /// Whether the program has no slot to put frames in.
    pub(crate) fn is_full(&self) -> bool {
        let ring = self.0.kernel();
        ring.hw_tail == ring.head
    }

    /// Whether who waits for the ring relies on interrupts.
    pub(crate) fn wants_interrupts(&self) -> bool {
        self.0.wants_interrupts()
    }
}

/// A ring to receive.
pub(crate) struct ReceiveRing<'r>(Ring<'r>);

impl ReceiveRing<'_> {
    /// Hands on the buffers that the program is done with.
    ///
    /// # Errors
    /// `EINVAL` if one of them is none; the program is told to begin anew.
    #[inline]
    pub(crate) fn released(&mut self, mut give: impl FnMut(u32)) -> Result<(), Errno> {
        let Some(memory) = self.0.memory() else {
            return Err(Errno::ENXIO);
        };
        let head = self.0.kernel().head;
        while self.0.kernel().current != head {
            let slot = self.0.kernel().current;
            let mut what = self.0.slots.read(slot);
            if memory.place(what.buffer).is_none() {
                return Err(self.0.reset());
            }
            give(what.buffer);
            what.flags = 0;
            self.0.slots.write(slot, what);
            self.0.kernel_mut().current = self.0.slots.next(slot);
        }
        Ok(())
    }

    /// Frames that there is room for: one slot is always left.
    #[inline]
    pub(crate) fn room(&self) -> u32 {
        let ring = self.0.kernel();
        let used = self.0.slots.distance(ring.current, ring.hw_tail);
        ring.nslots.saturating_sub(used).saturating_sub(1)
    }

    /// Puts a frame in, for which there is [room](ReceiveRing::room), which is in a buffer that
    /// was handed on. Each of the ring's buffers stays in one of its slots.
    #[inline]
    pub(crate) fn put(&mut self, buffer: u32, bytes: u32) {
        let slot = self.0.kernel().hw_tail;
        let mut what = self.0.slots.read(slot);
        what.flags = 0;
        if what.buffer != buffer {
            self.exchange(slot, buffer, what.buffer);
            what.buffer = buffer;
            what.flags = c::WEFT_NETMAP_CHANGED as u16;
        }
        what.len = bytes.min(u16::MAX.into()) as u16;
        self.0.slots.write(slot, what);
        self.0.kernel_mut().hw_tail = self.0.slots.next(slot);
    }

    /// Puts a buffer in the place of another one, if that is in a slot of the kernel's.
    #[cold]
    fn exchange(&mut self, from: u32, sought: u32, instead: u32) {
        let mut slot = self.0.slots.next(from);
        for _ in 0..self.0.kernel().nslots {
            let mut what = self.0.slots.read(slot);
            if what.buffer == sought {
                what.buffer = instead;
                self.0.slots.write(slot, what);
                return;
            }
            slot = self.0.slots.next(slot);
        }
    }

    /// Whether who waits for the ring relies on interrupts.
    pub(crate) fn wants_interrupts(&self) -> bool {
        self.0.wants_interrupts()
    }
}

/// The kernel's end of a ring to receive, into which others put frames, by one thread at a time.
pub(crate) struct Inbox {
    slots: Slots,
    memory: Memory,
    /// The next slot to be filled, and the one that stays empty.
    next: u32,
    end: u32,
}

// SAFETY: the memory of a ring that is on, which is bound to no thread.
unsafe impl Send for Inbox {}

impl Inbox {
    /// Whether there is no room.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.next == self.end
    }

    /// Gives the ring a frame: by its buffer, if that is of the same memory, for which the ring's
    /// empty one is returned; else by a copy. There is [room](Inbox::is_full).
    #[inline]
    pub(crate) fn give(&mut self, from: &Memory, wanted: &Wanted, place: &Place) -> Option<u32> {
        let mut what = self.slots.read(self.next);
        let is_same = from.buffers == self.memory.buffers;
        let instead = is_same.then_some(what.buffer);
        if is_same {
            what.buffer = wanted.buffer;
            what.flags = c::WEFT_NETMAP_CHANGED as u16;
            what.len = wanted.bytes as u16;
        } else {
            let into = self.memory.place(what.buffer);
            what.flags = 0;
            what.len = into.map_or(0, |into| into.copy(place, wanted.bytes)) as u16;
        }
        self.put(what);
        instead
    }

    /// Gives the ring a copy of a packet. False if that is longer than a buffer. There is
    /// [room](Inbox::is_full).
    #[inline]
    pub(crate) fn give_copy(&mut self, packet: &Mbuf) -> bool {
        let mut what = self.slots.read(self.next);
        let bytes = packet.packet_len();
        let into = self.memory.place(what.buffer);
        let Some(into) = into.filter(|into| into.bytes >= bytes) else {
            return false;
        };
        // SAFETY: so many bytes are in the packet, and for so many there is room.
        unsafe {
            c::m_copydata(
                packet.raw(),
                0,
                bytes as c_int,
                into.address.as_ptr().cast(),
            )
        };
        what.flags = 0;
        what.len = bytes as u16;
        self.put(what);
        true
    }

    #[inline]
    fn put(&mut self, slot: c::weft_netmap_slot) {
        self.slots.write(self.next, slot);
        self.next = self.slots.next(self.next);
    }

    /// Shows the program what has come, and takes the buffers that it is done with: whether
    /// there were any.
    ///
    /// # Errors
    /// `EINVAL` if one of them is none; the program is told to begin anew.
    pub(crate) fn settle(&mut self, ring: &mut ReceiveRing<'_>) -> Result<bool, Errno> {
        let mut were_any = false;
        ring.released(|_| were_any = true)?;
        self.end = self.slots.before(ring.0.kernel().current);
        ring.0.kernel_mut().hw_tail = self.next;
        Ok(were_any)
    }
}

/// That rings come or go.
pub(crate) struct Turn {
    adapter: NonNull<c::weft_netmap_adapter>,
    is_coming: bool,
}

impl Turn {
    /// Whether they come.
    pub(crate) fn is_coming(&self) -> bool {
        self.is_coming
    }

    /// Has the rings be on that are to be, or off. The stack's frames go to the program while
    /// any is on.
    pub(crate) fn commit(&mut self, is_coming: bool) {
        // SAFETY: called by netmap with its lock held.
        unsafe { c::weft_shim_netmap_commit(self.adapter.as_ptr(), is_coming) };
    }

    /// Whether any ring is on.
    pub(crate) fn is_in_use(&self) -> bool {
        let wanted = c::WEFT_NETMAP_NATIVE | c::WEFT_NETMAP_ON;
        // SAFETY: the adapter is there.
        unsafe { self.adapter.as_ref().flags & wanted == wanted }
    }

    /// Whether a ring to send is on.
    pub(crate) fn sends(&self, number: u16) -> bool {
        // SAFETY: the adapter's table of rings.
        unsafe {
            ring_of(
                self.adapter.as_ref().tx,
                self.adapter.as_ref().tx_rings,
                number,
            )
        }
        .is_some_and(|ring| ring.mode == c::WEFT_NETMAP_RING_ON)
    }

    /// A ring to receive that is on, and its memory.
    fn ring_to_receive(&self, number: u16) -> Option<(&c::weft_netmap_kring, Slots, Memory)> {
        // SAFETY: the adapter's table of rings.
        let ring = unsafe {
            ring_of(
                self.adapter.as_ref().rx,
                self.adapter.as_ref().rx_rings,
                number,
            )
        }?;
        if ring.mode != c::WEFT_NETMAP_RING_ON {
            return None;
        }
        // SAFETY: a ring that is on has its slots and its memory.
        unsafe { Some((ring, Slots::of(ring)?, Memory::of(self.adapter)?)) }
    }

    /// If a ring to receive is on: the memory of its buffers, and the buffers that are not the
    /// program's, in the order of their slots.
    pub(crate) fn receives(
        &self,
        number: u16,
    ) -> Option<(Memory, impl Iterator<Item = u32> + use<>)> {
        let (ring, slots, memory) = self.ring_to_receive(number)?;
        let used = slots.distance(ring.current, ring.hw_tail);
        let mut slot = ring.hw_tail;
        let buffers = (0..slots.count.saturating_sub(used)).map(move |_| {
            let buffer = slots.read(slot).buffer;
            slot = slots.next(slot);
            buffer
        });
        Some((memory, buffers))
    }

    /// The kernel's end of a ring to receive, if that is on.
    pub(crate) fn inbox(&self, number: u16) -> Option<Inbox> {
        let (ring, slots, memory) = self.ring_to_receive(number)?;
        Some(Inbox {
            slots,
            memory,
            next: ring.hw_tail,
            end: slots.before(ring.current),
        })
    }

    /// Whether the rings are of the form that the module knows.
    fn is_known(&self) -> bool {
        // SAFETY: the adapter's tables of rings, which exist.
        let adapter = unsafe { self.adapter.as_ref() };
        let all_are = |rings, count: u32, slots, sync: Option<Entry>| {
            (0..count as u16).all(|number| {
                // SAFETY: as above.
                let ring = unsafe { ring_of(rings, count, number) };
                ring.is_some_and(|ring| {
                    ptr::eq(ring.adapter, self.adapter.as_ptr())
                        && ring.number == number.into()
                        && ring.nslots == slots
                        && same(ring.sync, sync)
                })
            })
        };
        all_are(adapter.tx, adapter.tx_rings, adapter.tx_slots, adapter.send)
            && all_are(
                adapter.rx,
                adapter.rx_rings,
                adapter.rx_slots,
                adapter.receive,
            )
    }
}

type Entry = unsafe extern "C" fn(*mut c::weft_netmap_kring, c_int) -> c_int;

/// Whether both are the same function of the kernel's or the module's.
fn same(one: Option<Entry>, other: Option<Entry>) -> bool {
    let place = |function: Option<Entry>| function.map(|function| function as usize);
    place(one) == place(other)
}

/// # Safety
/// A table of so many rings, none of which goes while the result is used.
unsafe fn ring_of<'a>(
    rings: *mut *mut c::weft_netmap_kring,
    count: u32,
    number: u16,
) -> Option<&'a c::weft_netmap_kring> {
    if rings.is_null() || u32::from(number) >= count {
        return None;
    }
    // SAFETY: within the table.
    unsafe { (*rings.add(number.into())).as_ref() }
}

/// That programs can have an interface's rings. To be withdrawn before the interface is taken
/// out of the system.
pub(crate) struct Offered<I: Rings> {
    port: Port,
    tags: [*mut c::eventhandler_entry; 2],
    of: PhantomData<fn() -> I>,
}

// SAFETY: the kernel's objects, under locks of their own; no thread is bound to them.
unsafe impl<I: Rings> Send for Offered<I> {}
// SAFETY: as above.
unsafe impl<I: Rings> Sync for Offered<I> {}

impl<I: Rings> Offered<I> {
    /// Offers an interface's rings, if the kernel has netmap(4) in the form that the module
    /// knows. Without that, netmap(4) emulates them.
    pub(crate) fn new(
        _sleepable: &mut Sleepable,
        interface: &InSystem<I>,
        shape: &Shape,
    ) -> Option<Self> {
        // SAFETY: in the system, as an `I`.
        unsafe { Self::of(interface.port(), shape) }
    }

    /// # Safety
    /// The interface is in the system, as an `I`.
    pub(super) unsafe fn of(port: Port, shape: &Shape) -> Option<Self> {
        if !IS_THERE.load(Ordering::Relaxed) {
            return None;
        }
        let mut offered = Self {
            port,
            tags: [ptr::null_mut(); 2],
            of: PhantomData,
        };
        let ifp = offered.port.raw_ifnet().as_ptr();
        // SAFETY: the functions are called as they want to be, for this interface, which is an
        // `I`, and not after `drop`.
        let is_watched = unsafe {
            c::weft_shim_netmap_watch(
                Some(departs::<I>),
                Some(arrives::<I>),
                ifp.cast(),
                offered.tags.as_mut_ptr(),
            )
        };
        (is_watched && attach::<I>(&offered.port, shape)).then_some(offered)
    }
}

impl<I: Rings> Drop for Offered<I> {
    fn drop(&mut self) {
        // SAFETY: offered by `new`, or by nobody, which does nothing.
        unsafe {
            c::weft_shim_netmap_detach(self.port.raw_ifnet().as_ptr());
            c::weft_shim_netmap_unwatch(self.tags.as_mut_ptr());
        }
    }
}

/// Gives an interface an adapter of netmap's. Whether that is of the form that the module
/// knows; else it is taken away again, and no more are tried.
fn attach<I: Rings>(port: &Port, shape: &Shape) -> bool {
    let ifp = port.raw_ifnet().as_ptr();
    let Ok(mut adapter) = try_box(MaybeUninit::<c::weft_netmap_adapter>::zeroed()) else {
        return false;
    };
    // SAFETY: zeroes make a value; the kernel copies it.
    let error = unsafe {
        let adapter = adapter.assume_init_mut();
        adapter.ifp = ifp;
        adapter.tx_rings = shape.tx_rings.into();
        adapter.rx_rings = shape.rx_rings.into();
        adapter.tx_slots = shape.tx_slots.into();
        adapter.rx_slots = shape.rx_slots.into();
        adapter.turn = Some(turn::<I>);
        adapter.send = Some(send::<I>);
        adapter.receive = Some(receive::<I>);
        c::weft_shim_netmap_attach(adapter)
    };
    if error == 0 && is_known(port) {
        return true;
    }
    IS_THERE.store(false, Ordering::Relaxed);
    log::warning(format_args!(
        "no netmap(4) of the interfaces' own: this kernel's is of another form ({error})"
    ));
    false
}

/// Whether what the kernel has written into an adapter is where the module looks for it.
fn is_known(port: &Port) -> bool {
    let ifp = port.raw_ifnet().as_ptr();
    // SAFETY: reads what the kernel has allocated, of which the module's form is not larger
    // than the kernel's of this branch.
    unsafe {
        let adapter = c::if_getnetmapadapter(ifp).cast::<c::weft_netmap_adapter>();
        let Some(known) = adapter.as_ref() else {
            return false;
        };
        let name = CStr::from_ptr(c::if_name(ifp));
        known.magic == adapter.addr() as u32 ^ c::WEFT_NETMAP_MAGIC
            && known.flags & c::WEFT_NETMAP_NATIVE != 0
            && ptr::eq(known.ifp, ifp)
            && known.references == 1
            && CStr::from_ptr(known.name.as_ptr()) == name
            && c::weft_shim_netmap_is_maker(known.make_rings)
    }
}

impl Port {
    /// Tells who waits for a ring. Does not sleep.
    pub(crate) fn notify(&self, number: u16, has_received: bool) {
        let ifp = self.raw_ifnet().as_ptr();
        // SAFETY: the interface has an adapter, as it has rings that are on.
        unsafe { c::weft_shim_netmap_notify(ifp, number.into(), has_received) }
    }
}

unsafe extern "C" fn turn<I: Rings>(adapter: *mut c::weft_netmap_adapter, on: c_int) -> c_int {
    let Some(adapter) = NonNull::new(adapter) else {
        return Errno::ENXIO.number();
    };
    let mut turn = Turn {
        adapter,
        is_coming: on != 0,
    };
    if turn.is_coming && !turn.is_known() {
        log::warning(format_args!(
            "no netmap(4) of the interfaces' own: this kernel's rings are of another form"
        ));
        return Errno::ENXIO.number();
    }
    // SAFETY: netmap's lock is held, and may be held by who sleeps.
    returned(unsafe {
        stay::<I>(adapter.as_ref().ifp, |interface, sleepable| {
            interface.turn(sleepable, &mut turn)
        })
    })
}

/// Runs `inside` with a ring of an interface's, as netmap calls for it.
///
/// # Safety
/// A ring that is on, of an interface that is an `I`, and this thread's.
unsafe fn with_ring<I: Rings>(
    ring: *mut c::weft_netmap_kring,
    inside: impl FnOnce(&I, u16, Ring<'_>, &NetEpoch<'_>) -> Result<(), Errno>,
) -> c_int {
    let Some(ring) = NonNull::new(ring) else {
        return Errno::ENXIO.number();
    };
    // SAFETY: as promised.
    let (ifp, number) = unsafe { ((*ring.as_ref().adapter).ifp, ring.as_ref().number) };
    // SAFETY: as promised.
    let result = unsafe {
        visit::<I, _>(ifp, |interface, epoch| {
            let ring = Ring::of(ring).ok_or(Errno::ENXIO)?;
            inside(interface, number as u16, ring, epoch)
        })
    };
    returned(result.unwrap_or(Err(Errno::ENXIO)))
}

unsafe extern "C" fn send<I: Rings>(ring: *mut c::weft_netmap_kring, _flags: c_int) -> c_int {
    // SAFETY: as netmap calls.
    unsafe {
        with_ring::<I>(ring, |one, number, ring, epoch| {
            one.send(number, &mut SendRing(ring), epoch)
        })
    }
}

unsafe extern "C" fn receive<I: Rings>(ring: *mut c::weft_netmap_kring, _flags: c_int) -> c_int {
    // SAFETY: as netmap calls.
    unsafe {
        with_ring::<I>(ring, |one, number, ring, epoch| {
            one.receive(number, &mut ReceiveRing(ring), epoch)
        })
    }
}

/// The rings of an interface, at an event of the kernel's that is about it.
///
/// # Safety
/// The interface has an adapter, or nothing.
unsafe fn at_event(ours: *mut c_void, ifp: *mut c::ifnet, is_coming: bool) -> Option<Turn> {
    if !ptr::eq(ours.cast(), ifp) {
        return None;
    }
    // SAFETY: as promised.
    let adapter = unsafe { c::if_getnetmapadapter(ifp) };
    let adapter = NonNull::new(adapter.cast::<c::weft_netmap_adapter>())?;
    Some(Turn { adapter, is_coming })
}

unsafe extern "C" fn departs<I: Rings>(ours: *mut c_void, ifp: *mut c::ifnet) {
    // SAFETY: events of the kernel's come in threads that may sleep.
    unsafe {
        let Some(rings) = at_event(ours, ifp, false) else {
            return;
        };
        if rings.is_in_use() {
            c::weft_shim_netmap_intercept(rings.adapter.as_ptr(), false);
        }
        let _ = stay::<I>(ifp, |interface, sleepable| {
            interface.departs(sleepable);
            Ok(())
        });
    }
}

unsafe extern "C" fn arrives<I: Rings>(ours: *mut c_void, ifp: *mut c::ifnet) {
    // SAFETY: as above.
    unsafe {
        let Some(rings) = at_event(ours, ifp, true) else {
            return;
        };
        if rings.is_in_use() {
            c::weft_shim_netmap_intercept(rings.adapter.as_ptr(), true);
        }
        let _ = stay::<I>(ifp, |interface, sleepable| {
            interface.arrives(sleepable, &rings);
            Ok(())
        });
    }
}
