// SPDX-License-Identifier: BSD-2-Clause
//! Memory that a device reads and writes by itself, bus_dma(9). Header: `sys/bus_dma.h`.
//!
//! A [`Block`] is for rings: both sides see what the other one wrote. By [`Maps`] packets are
//! reached, one after another.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;

use weft_bindings::kernel as c;
use weft_engine::nic::{Dma, MOST_SEGMENTS, MapError, Segment, Segments, Word};

use super::context::Sleepable;
use super::device::Device;
use super::errno::Errno;
use weft_engine::fib::Lock as _;

use super::lock::Mtx;
use super::mbuf::Mbuf;
use super::memory::push;
use super::netmap::Place;
use super::shared::Shared;

/// What a device can reach, and in how many pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of which an address must be a multiple; a power of two.
    pub(crate) alignment: u64,
    /// The highest address.
    pub(crate) highest: u64,
    /// Bytes in all.
    pub(crate) size: u64,
    /// Bytes in one piece.
    pub(crate) segment_size: u64,
    /// Pieces.
    pub(crate) segments: u32,
}

/// The kernel's description of such limits.
pub(crate) struct Tag {
    raw: NonNull<c::bus_dma_tag>,
    limits: Limits,
    _device: Shared<Device>,
}

// SAFETY: the kernel's object, which is not written to after it was made.
unsafe impl Send for Tag {}
// SAFETY: as above.
unsafe impl core::marker::Sync for Tag {}

impl Tag {
    /// # Errors
    /// `EINVAL` for limits that make no sense; `ENOMEM`.
    pub(crate) fn new(
        _sleepable: &mut Sleepable,
        device: &Shared<Device>,
        limits: &Limits,
    ) -> Result<Shared<Self>, Errno> {
        let wanted = c::weft_dma_limits {
            alignment: limits.alignment,
            highest: limits.highest,
            size: limits.size,
            segment_size: limits.segment_size,
            segments: limits.segments,
        };
        let segments = 1..=MOST_SEGMENTS as u32;
        if !limits.alignment.is_power_of_two()
            || limits.size == 0
            || !segments.contains(&limits.segments)
        {
            return Err(Errno::EINVAL);
        }
        Shared::made(|| {
            let mut raw = ptr::null_mut();
            // SAFETY: the device is this driver's.
            let error =
                unsafe { c::weft_shim_dma_tag_new(device.raw(), &raw const wanted, &raw mut raw) };
            Errno::check(error)?;
            Ok(Self {
                raw: NonNull::new(raw).ok_or(Errno::ENOMEM)?,
                limits: *limits,
                _device: device.clone(),
            })
        })
    }

    fn raw(&self) -> *mut c::bus_dma_tag {
        self.raw.as_ptr()
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        // SAFETY: made by `new`; blocks and maps of it hold it.
        unsafe { c::weft_shim_dma_tag_free(self.raw()) }
    }
}

/// Memory in one piece that the device and this side share, zeroes at first. Dropping it
/// frees it: the device must not know it any more.
pub(crate) struct Block {
    tag: Shared<Tag>,
    memory: NonNull<u8>,
    map: *mut c::bus_dmamap,
    address: u64,
    bytes: usize,
}

// SAFETY: memory that is bound to no thread; who reads and writes it is for its user to say.
unsafe impl Send for Block {}
// SAFETY: as above; the block gives a pointer only.
unsafe impl core::marker::Sync for Block {}

impl Block {
    /// So many bytes, at a multiple of `alignment`, below `highest`.
    ///
    /// # Errors
    /// `EINVAL` for no bytes, or an alignment that is no power of two; `ENOMEM`.
    pub(crate) fn new(
        sleepable: &mut Sleepable,
        device: &Shared<Device>,
        size: usize,
        alignment: usize,
        highest: u64,
    ) -> Result<Self, Errno> {
        let limits = Limits {
            alignment: alignment as u64,
            highest,
            size: size as u64,
            segment_size: size as u64,
            segments: 1,
        };
        let tag = Tag::new(sleepable, device, &limits)?;
        let (mut memory, mut map, mut address) = (ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: the caller may sleep; on success all three are set.
        Errno::check(unsafe {
            c::weft_shim_dma_block_new(
                tag.raw(),
                size,
                &raw mut memory,
                &raw mut map,
                &raw mut address,
            )
        })?;
        Ok(Self {
            memory: NonNull::new(memory.cast()).ok_or(Errno::ENOMEM)?,
            tag,
            map,
            address,
            bytes: size,
        })
    }

    /// Where its first byte is, here and for the device.
    pub(super) fn ends(&self) -> (NonNull<u8>, u64) {
        (self.memory, self.address)
    }

    /// Where so many bytes are at that offset, if they are within the block, and aligned.
    #[inline]
    fn at(&self, at: usize, len: usize) -> Option<*mut u8> {
        let is_within = at.checked_add(len).is_some_and(|end| end <= self.bytes());
        // SAFETY: within the block.
        (is_within && at & len.wrapping_sub(1) == 0)
            .then(|| unsafe { self.memory.as_ptr().add(at) })
    }
}

/// The device may read and write at any time, so each access is one of its own, that the
/// compiler neither leaves out nor splits.
impl Dma for Block {
    fn address(&self) -> u64 {
        self.address
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn load<W: Word>(&self, at: usize) -> W {
        let Some(place) = self.at(at, W::BYTES) else {
            return W::narrow(0);
        };
        // SAFETY: within the block, which the allocator has aligned to at least 8 bytes.
        W::narrow(unsafe {
            match W::BYTES {
                1 => u64::from(place.read_volatile()),
                2 => u64::from(place.cast::<u16>().read_volatile()),
                4 => u64::from(place.cast::<u32>().read_volatile()),
                _ => place.cast::<u64>().read_volatile(),
            }
        })
    }

    #[inline]
    fn store<W: Word>(&self, at: usize, value: W) {
        let (place, value) = (self.at(at, W::BYTES), value.widen());
        let Some(place) = place else { return };
        // SAFETY: as above.
        unsafe {
            match W::BYTES {
                1 => place.write_volatile(value as u8),
                2 => place.cast::<u16>().write_volatile(value as u16),
                4 => place.cast::<u32>().write_volatile(value as u32),
                _ => place.cast::<u64>().write_volatile(value),
            }
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = self.memory.as_ptr().cast();
        // SAFETY: made by `new`, and nobody else's.
        unsafe { c::weft_shim_dma_block_free(self.tag.raw(), memory, self.map) }
    }
}

/// Who reads or writes what is loaded, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The device is about to read it.
    BeforeRead,
    /// The device is about to write it.
    BeforeWrite,
    /// The device has written it.
    AfterWrite,
}

/// Maps of a tag, each of which has one packet at a time reached by the device.
///
/// Where the device reaches all memory directly, the kernel has nothing to remember of what
/// is loaded, and gives no map. Then there is nothing to be taken from here, put back or
/// unloaded. Else maps are made as they are needed and kept for the next packet.
///
/// Nor is the kernel asked then where memory is that it has in its map of all memory, as it has
/// almost all packets: that is a difference of addresses.
pub(crate) struct Maps {
    tag: Shared<Tag>,
    /// `None` if the kernel gives none.
    idle: Option<Idle>,
    direct: Direct,
}

/// The kernel's map of all memory, if the device sees all memory where it is.
struct Direct {
    first: usize,
    bytes: usize,
}

impl Direct {
    const NONE: Self = Self { first: 0, bytes: 0 };

    fn find() -> Self {
        let (mut first, mut bytes) = (0, 0);
        // SAFETY: sets both.
        unsafe { c::weft_shim_dma_direct(&raw mut first, &raw mut bytes) };
        Self { first, bytes }
    }

    /// Where the device sees these bytes, which are one piece for it as well. `None` if they
    /// are not in the map.
    #[inline(always)]
    fn place(&self, piece: &[u8]) -> Option<Segment> {
        let from = piece.as_ptr().addr().wrapping_sub(self.first);
        let is_within = from < self.bytes && piece.len() <= self.bytes.wrapping_sub(from);
        is_within.then_some(Segment {
            address: from as u64,
            bytes: piece.len() as u32,
        })
    }

    /// Puts where the device sees a packet behind the others in `into`. `None` if not all of it
    /// is in the map.
    #[inline(always)]
    fn load(&self, packet: &Mbuf, into: &mut Segments) -> Option<Result<(), MapError>> {
        for piece in packet.mapped_pieces() {
            if let Err(error) = into.push(self.place(piece?)?) {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }
}

/// Maps that are loaded with nothing.
struct Idle {
    lock: Mtx,
    maps: UnsafeCell<Vec<*mut c::bus_dmamap>>,
}

// SAFETY: the list is touched with the lock held; maps are bound to no thread.
unsafe impl Send for Maps {}
// SAFETY: as above.
unsafe impl core::marker::Sync for Maps {}

impl Maps {
    /// Maps of that tag, so many of which are kept.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(
        _sleepable: &mut Sleepable,
        tag: Shared<Tag>,
        kept: usize,
    ) -> Result<Shared<Self>, Errno> {
        let first = create(&tag)?;
        if first.is_null() {
            let direct = Direct::find();
            return Shared::made(|| {
                Ok(Self {
                    tag,
                    idle: None,
                    direct,
                })
            });
        }
        let mut maps = Vec::new();
        let made = maps
            .try_reserve_exact(kept.max(1))
            .map_err(|_| Errno::ENOMEM)
            .and_then(|()| Mtx::new(c"weft_dma"));
        let lock = made.inspect_err(|_| destroy(&tag, first))?;
        let idle = Idle {
            lock,
            maps: UnsafeCell::new(maps),
        };
        let maps = Self {
            tag,
            idle: Some(idle),
            direct: Direct::NONE,
        };
        maps.put(first);
        Shared::made(|| Ok(maps))
    }

    /// Has the device reach a packet, whose pieces are put behind the others in `into`.
    ///
    /// # Errors
    /// Why not; nothing is loaded.
    #[inline]
    pub(crate) fn load(
        maps: &Shared<Self>,
        packet: &Mbuf,
        into: &mut Segments,
    ) -> Result<Loaded, MapError> {
        match maps.direct.load(packet, into) {
            Some(Ok(())) => return Ok(Loaded { on: None }),
            Some(Err(error)) => {
                into.clear();
                return Err(error);
            }
            None => into.clear(),
        }
        Self::load_by_kernel(maps, packet, into)
    }

    #[cold]
    #[inline(never)]
    fn load_by_kernel(
        maps: &Shared<Self>,
        packet: &Mbuf,
        into: &mut Segments,
    ) -> Result<Loaded, MapError> {
        Self::loaded(maps, |map| {
            load::<MOST_SEGMENTS, ()>(&maps.tag, map, packet, |pieces| {
                let mut pieces = pieces.iter();
                pieces
                    .try_for_each(|&piece| into.push(segment(piece)))
                    .inspect_err(|_| into.clear())
            })
        })
        .map(|(loaded, ())| loaded)
    }

    /// Has the device reach a packet that is in one piece for it, and says where, by maps of
    /// a tag for one piece.
    ///
    /// # Errors
    /// As for [`load`](Maps::load).
    #[inline]
    pub(crate) fn load_one(
        maps: &Shared<Self>,
        packet: &Mbuf,
    ) -> Result<(Loaded, Segment), MapError> {
        if let Some(place) = maps.direct.place(packet.head()) {
            return Ok((Loaded { on: None }, place));
        }
        Self::loaded(maps, |map| {
            load::<1, _>(&maps.tag, map, packet, |pieces| {
                let piece = pieces.first().ok_or(MapError::Unfit)?;
                Ok(segment(*piece))
            })
        })
    }

    /// Has the device reach a buffer of netmap's, and says where it sees that.
    ///
    /// # Errors
    /// Why not; nothing is loaded.
    #[inline]
    pub(super) fn load_place(
        maps: &Shared<Self>,
        place: &Place,
    ) -> Result<(Loaded, u64), MapError> {
        Self::loaded(maps, |map| {
            let mut address = place.physical;
            // Without a map the device sees all memory where it is.
            if !map.is_null() {
                let (memory, bytes) = (place.address.as_ptr().cast(), place.bytes as usize);
                // SAFETY: a buffer that stays as long as the ring is on, and an idle map.
                let error = unsafe {
                    c::weft_shim_dma_map_load_memory(
                        maps.tag.raw(),
                        map,
                        memory,
                        bytes,
                        &raw mut address,
                    )
                };
                Errno::check(error).map_err(|_| MapError::NoMemory)?;
            }
            Ok(address)
        })
    }

    /// What `load` has loaded by a map, if any is needed, and what it says.
    #[inline]
    fn loaded<R>(
        maps: &Shared<Self>,
        load: impl FnOnce(*mut c::bus_dmamap) -> Result<R, MapError>,
    ) -> Result<(Loaded, R), MapError> {
        let map = match maps.idle {
            None => ptr::null_mut(),
            Some(_) => maps.take().ok_or(MapError::NoMemory)?,
        };
        let result = load(map);
        if maps.idle.is_none() {
            return result.map(|read| (Loaded { on: None }, read));
        }
        match result {
            Ok(read) => {
                let on = Some((maps.clone(), map));
                Ok((Loaded { on }, read))
            }
            Err(error) => {
                maps.put(map);
                Err(error)
            }
        }
    }

    /// Ends that the device reaches what is loaded by that map, one of these, if it is any.
    ///
    /// # Safety
    /// It is what [`Loaded::into_map`] gave, of what these have loaded, and is used no more.
    #[inline]
    pub(super) unsafe fn unload(&self, map: *mut c::bus_dmamap) {
        if !map.is_null() {
            // SAFETY: loaded, as the caller says.
            unsafe { c::weft_shim_dma_map_unload(self.tag.raw(), map) };
            self.put(map);
        }
    }

    #[cold]
    fn take(&self) -> Option<*mut c::bus_dmamap> {
        let idle = self.idle.as_ref()?;
        // SAFETY: locked.
        let kept = idle.lock.with(|| unsafe { (*idle.maps.get()).pop() });
        kept.or_else(|| create(&self.tag).ok())
    }

    #[cold]
    fn put(&self, map: *mut c::bus_dmamap) {
        let Some(idle) = &self.idle else { return };
        let is_kept = idle.lock.with(|| {
            // SAFETY: locked.
            let maps = unsafe { &mut *idle.maps.get() };
            maps.len() < maps.capacity() && push(maps, map).is_ok()
        });
        if !is_kept {
            destroy(&self.tag, map);
        }
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        let Some(idle) = &mut self.idle else {
            // What the kernel did not give it counts all the same.
            destroy(&self.tag, ptr::null_mut());
            return;
        };
        for map in idle.maps.get_mut().drain(..) {
            destroy(&self.tag, map);
        }
    }
}

fn create(tag: &Tag) -> Result<*mut c::bus_dmamap, Errno> {
    let mut raw = ptr::null_mut();
    // SAFETY: does not sleep.
    Errno::check(unsafe { c::weft_shim_dma_map_new(tag.raw(), &raw mut raw) })?;
    Ok(raw)
}

fn destroy(tag: &Tag, map: *mut c::bus_dmamap) {
    // SAFETY: made by `create` of that tag, loaded with nothing, and nobody else's.
    unsafe { c::weft_shim_dma_map_free(tag.raw(), map) }
}

#[inline]
fn segment(piece: c::weft_dma_segment) -> Segment {
    Segment {
        address: piece.address,
        bytes: piece.len as u32,
    }
}

/// Loads a packet, and unloads it again if `read` does not like its pieces. A tag that allows
/// more than `N` of them loads nothing.
#[inline]
fn load<const N: usize, R>(
    tag: &Tag,
    map: *mut c::bus_dmamap,
    packet: &Mbuf,
    read: impl FnOnce(&[c::weft_dma_segment]) -> Result<R, MapError>,
) -> Result<R, MapError> {
    if tag.limits.segments as usize > N {
        return Err(MapError::TooMany);
    }
    let mut pieces = [const { MaybeUninit::<c::weft_dma_segment>::uninit() }; N];
    let mut count = 0;
    // SAFETY: there is room for as many pieces as the tag allows; so many of them are written.
    let error = unsafe {
        let pieces = pieces.as_mut_ptr().cast();
        c::weft_shim_dma_map_load(tag.raw(), map, packet.raw(), pieces, &raw mut count)
    };
    match error as u32 {
        0 => {}
        c::EFBIG => return Err(MapError::TooMany),
        c::ENOMEM => return Err(MapError::NoMemory),
        _ => return Err(MapError::Unfit),
    }
    let count = (count as usize).min(N);
    // SAFETY: the kernel has written so many.
    let pieces = unsafe { slice::from_raw_parts(pieces.as_ptr().cast(), count) };
    // SAFETY: loaded above.
    read(pieces).inspect_err(|_| unsafe { c::weft_shim_dma_map_unload(tag.raw(), map) })
}

/// That a packet is reached by the device. Dropping it ends that.
pub(crate) struct Loaded {
    on: Option<(Shared<Maps>, *mut c::bus_dmamap)>,
}

// SAFETY: a map is bound to no thread.
unsafe impl Send for Loaded {}

impl Loaded {
    /// Makes what was written by one side seen by the other one.
    #[inline]
    pub(crate) fn sync(&self, when: Sync) {
        let Some((maps, map)) = &self.on else { return };
        let when = match when {
            Sync::BeforeRead => c::WEFT_DMA_BEFORE_READ,
            Sync::BeforeWrite => c::WEFT_DMA_BEFORE_WRITE,
            Sync::AfterWrite => c::WEFT_DMA_AFTER_WRITE,
        };
        // SAFETY: loaded.
        unsafe { c::weft_shim_dma_map_sync(maps.tag.raw(), *map, when) }
    }
}

impl Loaded {
    /// The map, to be unloaded by hand; null if there is none.
    #[inline]
    pub(super) fn into_map(mut self) -> *mut c::bus_dmamap {
        self.on.take().map_or(ptr::null_mut(), |(_, map)| map)
    }
}

impl Drop for Loaded {
    #[inline]
    fn drop(&mut self) {
        if let Some((maps, map)) = self.on.take() {
            // SAFETY: loaded by these, and nobody knows of it from now on.
            unsafe { maps.unload(map) };
        }
    }
}
