// SPDX-License-Identifier: BSD-2-Clause
//! The packet: one buffer, whose owner may write, or whose sharers may read.

use super::body::{Chain, ChainOps, copy_front};
use super::layout::{Buffer, DATA_AT, Extent, Header, data_area, room_of};
use super::tag::{self, Tag, TagsFull};
use super::{Meta, NoRoom, pool};
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::ControlFlow;
use core::ptr::NonNull;
use core::{ptr, slice};

mod sealed {
    /// What cannot be implemented elsewhere.
    pub trait Sealed {}
    impl Sealed for super::Writable {}
    impl Sealed for super::Shared {}
}

/// Whether a packet may be written to: [`Writable`] or [`Shared`].
pub trait State: sealed::Sealed {}

/// The packet's owner is alone, and may change it.
#[derive(Debug)]
pub enum Writable {}
/// There may be others: metadata, tags and bytes stay as they are.
#[derive(Debug)]
pub enum Shared {}

impl State for Writable {}
impl State for Shared {}

/// A packet: one pointer. Its bytes are those in the buffer, [`head`](Packet::head),
/// followed by those of the body that it carries, if there is one.
///
/// Dropping it frees what it carries, its tags, and its buffer, any of them only if
/// it is the last that needs it. Any thread, any context; does not sleep.
#[repr(transparent)]
pub struct Packet<S: State = Writable> {
    buffer: Buffer,
    state: PhantomData<S>,
}

// SAFETY: nothing of a packet is bound to a thread. Through a shared reference, and
// through any number of shared packets, it is only read; counts are atomic.
unsafe impl<S: State> Send for Packet<S> {}
// SAFETY: as above.
unsafe impl<S: State> Sync for Packet<S> {}

impl<S: State> Packet<S> {
    /// The packet of a buffer.
    ///
    /// # Safety
    ///
    /// The buffer is not free, a reference to its data is the caller's and from now on
    /// the packet's. For a `Writable` one it is the only reference.
    #[inline]
    pub(super) unsafe fn of(buffer: Buffer) -> Self {
        Self {
            buffer,
            state: PhantomData,
        }
    }

    #[inline]
    pub(super) fn buffer(&self) -> Buffer {
        self.buffer
    }

    #[inline]
    fn header(&self) -> *mut Header {
        self.buffer.as_ptr()
    }

    #[inline]
    pub(super) fn extent(&self) -> &Extent {
        // SAFETY: the packet's; changed through a `&mut Packet<Writable>` only.
        unsafe { &(*self.header()).hot.extent }
    }

    /// What is known of it.
    #[inline]
    pub fn meta(&self) -> &Meta {
        // SAFETY: as in `extent`.
        unsafe { &(*self.header()).hot.meta }
    }

    /// Bytes in all.
    #[inline]
    pub fn len(&self) -> usize {
        let extent = self.extent();
        usize::from(extent.inline).wrapping_add(extent.chained as usize)
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that lie in the buffer: all of them, but for a foreign body's.
    #[inline]
    pub fn head(&self) -> &[u8] {
        let extent = self.extent();
        // SAFETY: `start + inline` is within the data area, whose bytes are always
        // initialised; they are changed through a `&mut Packet<Writable>` only.
        unsafe {
            let start = data_area(self.buffer).add(usize::from(extent.start));
            slice::from_raw_parts(start, usize::from(extent.inline))
        }
    }

    /// Shows all bytes from `skip` on, segment by segment, until `see` breaks off.
    pub fn walk(&self, skip: usize, see: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        let head = self.head();
        if let Some(rest @ [_, ..]) = head.get(skip..)
            && see(rest).is_break()
        {
            return;
        }
        if let Some(chain) = &self.extent().chain {
            chain.walk(skip.saturating_sub(head.len()), see);
        }
    }

    /// Copies bytes from `skip` on into `out`. How many there were.
    pub fn copy_out(&self, skip: usize, out: &mut [u8]) -> usize {
        let head = self.head();
        let done = copy_front(head.get(skip..).unwrap_or_default(), out);
        match (&self.extent().chain, out.get_mut(done..)) {
            (Some(chain), Some(out @ [_, ..])) => {
                let more = chain.copy_out(skip.saturating_sub(head.len()), out);
                done.wrapping_add(more)
            }
            _ => done,
        }
    }

    /// The data of its tag of this kind; of two, that of the last one inserted.
    #[inline]
    pub fn tag<T: Tag>(&self) -> Option<&T::Data> {
        // SAFETY: the tags are the packet's as long as it is not changed.
        unsafe { tag::find::<T>(self.buffer).map(|data| data.as_ref()) }
    }

    /// Bytes of the buffer, of which a packet holds as many whatever its length.
    pub fn stride(&self) -> usize {
        // SAFETY: set when the buffer was made.
        room_of(unsafe { (*self.header()).class }).wrapping_add(DATA_AT)
    }

    /// Where the area is that is reserved for the platform: the buffer's start.
    pub fn embedded(&self) -> NonNull<u8> {
        self.buffer.cast()
    }

    /// Gives up the reference, and with the last one what the packet carries and its
    /// tags. Whether the buffer is free now.
    ///
    /// # Safety
    ///
    /// The packet is not used afterwards, nor dropped.
    #[inline]
    pub(super) unsafe fn end(&self) -> bool {
        // SAFETY: the reference is the packet's; after the last one it is all ours.
        unsafe { (*self.header()).refs.release() && end(self.buffer) }
    }
}

/// Ends a buffer's data, after the last reference: frees the body, the packet's tags,
/// and gives the data up. Whether the buffer is free now.
///
/// # Safety
///
/// Nobody has a reference to the data, and nobody uses it afterwards.
#[inline]
pub(super) unsafe fn end(buffer: Buffer) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let header = buffer.as_ptr();
        if let Some(Chain { at, ops }) = (*header).hot.extent.chain {
            ops.free(at);
        }
        if !(*header).tags.is_null() {
            tag::clear(buffer);
        }
        (*header).holds.give_data()
    }
}

impl Packet<Shared> {
    /// The packet to be written to, if nobody else has it. Nothing is copied.
    ///
    /// # Errors
    ///
    /// The packet, if it is shared.
    #[inline]
    pub fn try_writable(self) -> Result<Packet<Writable>, Self> {
        // SAFETY: the packet's reference is the only one, if there is one.
        unsafe {
            if !(*self.header()).refs.is_one() {
                return Err(self);
            }
            Ok(Packet::of(ManuallyDrop::new(self).buffer))
        }
    }
}

impl Clone for Packet<Shared> {
    /// Another reference to the same packet. Nothing is copied.
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: the reference that is added is the new packet's.
        unsafe {
            (*self.header()).refs.add();
            Self::of(self.buffer)
        }
    }
}

impl Packet<Writable> {
    /// The packet to be shared, from now on to be read only. Nothing is copied.
    #[inline]
    pub fn share(self) -> Packet<Shared> {
        // SAFETY: the same reference.
        unsafe { Packet::of(ManuallyDrop::new(self).buffer) }
    }

    #[inline]
    pub(super) fn extent_mut(&mut self) -> &mut Extent {
        // SAFETY: the packet's owner is alone.
        unsafe { &mut (*self.header()).hot.extent }
    }

    /// What is known of it, to be changed.
    #[inline]
    pub fn meta_mut(&mut self) -> &mut Meta {
        // SAFETY: as in `extent_mut`.
        unsafe { &mut (*self.header()).hot.meta }
    }

    /// The bytes that lie in the buffer, to be changed.
    #[inline]
    pub fn head_mut(&mut self) -> &mut [u8] {
        let Extent { start, inline, .. } = *self.extent();
        // SAFETY: as in `head`, and the packet's owner is alone.
        unsafe {
            let start = data_area(self.buffer).add(usize::from(start));
            slice::from_raw_parts_mut(start, usize::from(inline))
        }
    }

    fn room(&self) -> usize {
        // SAFETY: set when the buffer was made.
        room_of(unsafe { (*self.header()).class })
    }

    /// Bytes that can be put before the data.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.extent().start)
    }

    /// Bytes that can be put behind the data; none behind a foreign body.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let Extent {
            start,
            inline,
            chain,
            ..
        } = *self.extent();
        match chain {
            Some(_) => 0,
            None => self.room_behind(start, inline),
        }
    }

    fn room_behind(&self, start: u16, inline: u16) -> usize {
        self.room()
            .saturating_sub(usize::from(start).wrapping_add(usize::from(inline)))
    }

    /// Puts `count` bytes before the data and returns all bytes of the buffer. The new
    /// ones are what was there before: overwrite them.
    ///
    /// # Errors
    ///
    /// There is not so much headroom.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Result<&mut [u8], NoRoom> {
        let room = self.headroom();
        let extent = self.extent_mut();
        match u16::try_from(count) {
            Ok(less) if count <= room => {
                extent.start = extent.start.wrapping_sub(less);
                extent.inline = extent.inline.wrapping_add(less);
                Ok(self.head_mut())
            }
            _ => Err(NoRoom { needs: count, room }),
        }
    }

    /// Puts bytes behind the data.
    ///
    /// # Errors
    ///
    /// There is not so much tailroom.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.extend(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Puts `count` bytes behind the data and returns them. They are what was there
    /// before, perhaps of another packet: overwrite them.
    ///
    /// # Errors
    ///
    /// There is not so much tailroom.
    #[inline]
    pub fn extend(&mut self, count: usize) -> Result<&mut [u8], NoRoom> {
        let room = self.tailroom();
        match u16::try_from(count) {
            Ok(more) if count <= room => {
                let extent = self.extent_mut();
                let before = usize::from(extent.inline);
                extent.inline = extent.inline.wrapping_add(more);
                Ok(self.head_mut().get_mut(before..).unwrap_or_default())
            }
            _ => Err(NoRoom { needs: count, room }),
        }
    }

    /// Moves the place where data will begin, so that there are `count` bytes of headroom.
    ///
    /// # Errors
    ///
    /// There is no room for so many, or there are bytes in the buffer already.
    pub fn reserve(&mut self, count: usize) -> Result<(), NoRoom> {
        let is_free = self.extent().inline == 0;
        let room = if is_free { self.room() } else { 0 };
        match u16::try_from(count) {
            Ok(start) if is_free && count <= room => {
                self.extent_mut().start = start;
                Ok(())
            }
            _ => Err(NoRoom { needs: count, room }),
        }
    }

    /// Takes `count` bytes from the front, or as many as there are. How many.
    pub fn trim_front(&mut self, count: usize) -> usize {
        let extent = self.extent_mut();
        let less = (extent.inline).min(u16::try_from(count).unwrap_or(u16::MAX));
        extent.start = extent.start.wrapping_add(less);
        extent.inline = extent.inline.wrapping_sub(less);
        let left = count.wrapping_sub(usize::from(less));
        usize::from(less).wrapping_add(self.trim_chain(left))
    }

    /// Takes bytes from the front of the body. How many.
    fn trim_chain(&mut self, count: usize) -> usize {
        let extent = self.extent_mut();
        let less = extent.chained.min(u32::try_from(count).unwrap_or(u32::MAX));
        if let (Some(chain), 1..) = (extent.chain, less) {
            // SAFETY: the packet's chain, and what is left of it is, too.
            let at = unsafe { chain.ops.trim(chain.at, less as usize) };
            extent.chain = Some(Chain { at, ..chain });
            extent.chained = extent.chained.wrapping_sub(less);
        }
        less as usize
    }

    /// Takes `count` bytes from the end of a packet without a foreign body, or as many
    /// as there are. How many.
    pub fn trim_back(&mut self, count: usize) -> usize {
        let extent = self.extent_mut();
        if extent.chain.is_some() {
            return 0;
        }
        let less = (extent.inline).min(u16::try_from(count).unwrap_or(u16::MAX));
        extent.inline = extent.inline.wrapping_sub(less);
        usize::from(less)
    }

    /// Lets the first `count` bytes lie in the buffer, copied from the foreign body
    /// where they do not yet. Allocates nothing.
    ///
    /// # Errors
    ///
    /// There are fewer bytes, or no room for them behind the headroom that is there.
    /// The packet is as it was.
    pub fn pull_up(&mut self, count: usize) -> Result<&mut [u8], NoRoom> {
        let Extent { start, inline, .. } = *self.extent();
        let missing = count.saturating_sub(usize::from(inline));
        let room = self.room_behind(start, inline).min(self.len());
        match (self.extent().chain, u16::try_from(missing)) {
            (_, Ok(0)) => {}
            (Some(chain), Ok(more))
                if missing <= room && missing <= self.extent().chained as usize =>
            {
                let end = usize::from(start).wrapping_add(usize::from(inline));
                // SAFETY: behind the data there is so much room, and it is ours.
                let free =
                    unsafe { slice::from_raw_parts_mut(data_area(self.buffer).add(end), missing) };
                chain.copy_out(0, free);
                self.trim_chain(missing);
                self.extent_mut().inline = inline.wrapping_add(more);
            }
            _ => {
                return Err(NoRoom {
                    needs: count,
                    room: usize::from(inline).wrapping_add(room),
                });
            }
        }
        Ok(self.head_mut())
    }

    /// Lets the packet, which has no bytes yet, carry a chain of the platform's, of
    /// `len` bytes.
    ///
    /// # Errors
    ///
    /// The packet carries one already.
    ///
    /// # Safety
    ///
    /// `at` is a chain for `ops`, with so many bytes. It is the packet's from now on,
    /// unless this fails.
    pub unsafe fn carry(
        &mut self,
        at: NonNull<()>,
        len: u32,
        ops: &'static &'static dyn ChainOps,
    ) -> Result<(), NoRoom> {
        let extent = self.extent_mut();
        if extent.chain.is_some() {
            return Err(NoRoom {
                needs: len as usize,
                room: 0,
            });
        }
        extent.chain = Some(Chain { at, ops });
        extent.chained = len;
        Ok(())
    }

    /// Takes the foreign body out, and returns it with its length, if it is one for
    /// `ops`. It is the caller's again.
    pub fn put_down(&mut self, ops: &'static &'static dyn ChainOps) -> Option<(NonNull<()>, u32)> {
        let extent = self.extent_mut();
        let chain = extent.chain.take_if(|chain| ptr::eq(chain.ops, ops))?;
        Some((chain.at, core::mem::take(&mut extent.chained)))
    }

    /// Gives the packet a tag, before those that it has. No allocation.
    ///
    /// # Errors
    ///
    /// The area for tags is full.
    #[inline]
    pub fn insert_tag<T: Tag>(&mut self, data: T::Data) -> Result<(), TagsFull> {
        // SAFETY: the packet's owner is alone.
        unsafe { tag::insert::<T>(self.buffer, data) }
    }

    /// The data of its tag of this kind, to be changed.
    #[inline]
    pub fn tag_mut<T: Tag>(&mut self) -> Option<&mut T::Data> {
        // SAFETY: as above, and the tags are the packet's.
        unsafe { tag::find::<T>(self.buffer).map(|mut data| data.as_mut()) }
    }

    /// Takes its tag of this kind away.
    #[inline]
    pub fn remove_tag<T: Tag>(&mut self) -> Option<T::Data> {
        // SAFETY: as above.
        unsafe { tag::remove::<T>(self.buffer) }
    }
}

impl<S: State> Drop for Packet<S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the packet's last use; then its buffer is ours, if it is free.
        unsafe {
            if self.end() {
                pool::give_back(self.buffer);
            }
        }
    }
}

impl<S: State> fmt::Debug for Packet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("len", &self.len())
            .field("meta", self.meta())
            .finish_non_exhaustive()
    }
}

// A packet in a batch is the pointer to its buffer.
const _: () = assert!(size_of::<Option<Packet<Shared>>>() == size_of::<MaybeUninit<Buffer>>());
