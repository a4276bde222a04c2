// SPDX-License-Identifier: BSD-2-Clause
//! Packets in the platform's hands.
//!
//! The platform has packets of its own kind, whose header fits into the bytes that each
//! buffer keeps for it ([`EMBEDDED`](super::EMBEDDED)). To hand a packet to code that
//! knows only those, the packet is *lent*: its reference goes to the platform with the
//! addresses that are needed to fill that header in. The platform copies, passes on and
//! drops references by the packet's own count. The last one to go is told to
//! [`data_released`]; one that is alone may become a packet again.

use super::layout::{Buffer, Extent, Header, data_area, room_of};
use super::packet::{Packet, Shared, State, Writable};
use super::pool;
use super::tag::Entry;
use core::mem::{ManuallyDrop, offset_of};
use core::ptr::{self, NonNull};

/// One reference to a packet's data, and where things are.
#[derive(Debug)]
pub struct Lent {
    /// The buffer: where the platform's own header is.
    pub buffer: NonNull<u8>,
    /// The first byte of the data area.
    pub start: NonNull<u8>,
    /// Bytes of the data area.
    pub room: usize,
    /// The first byte of the data.
    pub data: NonNull<u8>,
    /// Bytes of the data, but for those of a foreign body.
    pub len: usize,
    /// The count of references: 1 says that there is no other. Whoever finds 1 may leave
    /// it so when he gives his up.
    pub refs: NonNull<u32>,
    /// The list of the packet's tags, if they go along.
    pub tags: *mut Entry,
}

impl<S: State> Packet<S> {
    fn lent(self) -> Lent {
        let buffer = ManuallyDrop::new(self).buffer();
        // SAFETY: the packet's buffer; all places are in it.
        unsafe {
            let header: *mut Header = buffer.as_ptr();
            let Extent { start, inline, .. } = (*header).hot.extent;
            let area = data_area(buffer);
            Lent {
                buffer: buffer.cast(),
                start: NonNull::new_unchecked(area),
                room: room_of((*header).class),
                data: NonNull::new_unchecked(area.add(usize::from(start))),
                len: usize::from(inline),
                refs: buffer.cast::<u8>().add(offset_of!(Header, refs)).cast(),
                tags: ptr::null_mut(),
            }
        }
    }
}

impl Packet<Writable> {
    /// Lends the packet, with its tags. A foreign body should have been
    /// [put down](Packet::put_down): the platform has no way to it, and it is freed with
    /// the data.
    #[inline]
    pub fn lend(self) -> Lent {
        let mut lent = self.lent();
        let header: *mut Header = lent.buffer.cast().as_ptr();
        // SAFETY: the packet was alone, and its tags are the platform's from here on.
        unsafe { lent.tags = ptr::replace(&raw mut (*header).tags, ptr::null_mut()) };
        lent
    }

    /// The packet again, with data that may have moved in its area, and other tags.
    ///
    /// # Safety
    ///
    /// `lent` is of a packet that was lent: its data lies within the area, its reference
    /// is the only one, its tags are a list of such. Nobody uses it afterwards.
    #[inline]
    pub unsafe fn take_back(lent: Lent) -> Self {
        let buffer: Buffer = lent.buffer.cast();
        // SAFETY: the caller's promise.
        unsafe {
            let header: *mut Header = buffer.as_ptr();
            let start = lent.data.offset_from_unsigned(lent.start);
            (*header).hot.extent.start = start as u16;
            (*header).hot.extent.inline = lent.len as u16;
            (*header).tags = lent.tags;
            Packet::of(buffer)
        }
    }
}

impl Packet<Shared> {
    /// Lends one reference to the packet's data. Its tags stay where they are.
    #[inline]
    pub fn lend(self) -> Lent {
        self.lent()
    }

    /// The packet again.
    ///
    /// # Safety
    ///
    /// `lent` is what [`lend`](Packet::lend) returned, untouched; nobody uses it
    /// afterwards.
    pub unsafe fn take_back(lent: Lent) -> Self {
        // SAFETY: the caller's promise: the reference is there still.
        unsafe { Packet::of(lent.buffer.cast()) }
    }
}

/// The last reference that the platform had to a packet's data is gone. Any context;
/// does not sleep.
///
/// # Safety
///
/// `buffer` is that of a packet that was lent, and nobody has a reference to its data.
#[inline]
pub unsafe fn data_released(buffer: NonNull<u8>) {
    let buffer: Buffer = buffer.cast();
    // SAFETY: the caller is the last one, so what the packet had is his to free.
    unsafe {
        let packet = ManuallyDrop::new(Packet::<Writable>::of(buffer));
        if packet.end_last() {
            pool::give_back(buffer);
        }
    }
}
