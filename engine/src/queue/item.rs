// SPDX-License-Identifier: BSD-2-Clause
//! What can be queued: a pointer that owns what it points to, such as a packet or an
//! mbuf.

use core::ptr::NonNull;

/// Something of a pointer's size that is owned, and has what a queue must know of it.
///
/// # Safety
///
/// - The address that [`into_raw`](Item::into_raw) gives is a multiple of 4 and none of
///   the first 4,096: a slot keeps marks in what is left of it.
/// - [`from_raw`](Item::from_raw) makes the same item of it, on whatever thread.
pub unsafe trait Item: Sized + Send {
    /// The pointer, which owns what the item owned.
    fn into_raw(self) -> NonNull<()>;

    /// The item again.
    ///
    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Item::into_raw) of this very type. While what is made
    /// here is in use, no other made of `raw` is; and all but one, the owner, are forgotten
    /// rather than dropped.
    unsafe fn from_raw(raw: NonNull<()>) -> Self;

    /// Bytes of it that limits count. The same number as long as it is queued.
    fn bytes(&self) -> u32;

    /// The hash of the flow it belongs to, by which a [`QueueSet`](super::QueueSet)
    /// selects.
    fn flow_hash(&self) -> u32;

    /// Notes the time at which it was queued, in units of [`Ticks`].
    fn set_queued_at(&mut self, now: Ticks);

    /// The time noted last; any number if none was.
    fn queued_at(&self) -> Ticks;
}

/// A time in units of 1,024 ns, which wraps after 73 minutes: what a packet has room for.
pub type Ticks = u32;

/// The time in [`Ticks`] of a clock's nanoseconds.
#[inline]
pub fn ticks(nanoseconds: u64) -> Ticks {
    (nanoseconds >> 10) as Ticks
}
