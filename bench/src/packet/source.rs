// SPDX-License-Identifier: BSD-2-Clause
//! Where packets come from: what can be raced. Each call is one that the compiler
//! does not look into, on our side as on theirs.

/// Packets in a bulk.
pub(super) const BULK: usize = 32;

/// A packet, by a pointer that its source understands.
pub(super) type Item = *mut u8;

/// Something that gives packets out and takes them back, from any thread that has
/// entered it.
///
/// # Safety
///
/// What is taken has, at `data`, 8 bytes to write to, until it is put back.
pub(super) unsafe trait Source: Sync {
    /// Its name in the records.
    fn name(&self) -> &str;
    /// Its version.
    fn version(&self) -> String;
    /// Has to be called by a thread, which is this one of two, before it does anything.
    fn enter(&self, thread: usize);
    /// A packet; null if there is none.
    fn take(&self) -> Item;
    /// Takes it back.
    ///
    /// # Safety
    ///
    /// From `take` or `take_many`, once.
    unsafe fn put(&self, item: Item);
    /// A bulk of packets; false if there are none.
    fn take_many(&self, items: &mut [Item; BULK]) -> bool;
    /// Takes it back.
    ///
    /// # Safety
    ///
    /// As for `put`.
    unsafe fn put_many(&self, items: &mut [Item; BULK]);
    /// Where the packet's bytes are.
    ///
    /// # Safety
    ///
    /// From `take`, and not put back.
    unsafe fn data(&self, item: Item) -> *mut u8;
    /// Bytes that `count` packets at a time hold, if that can be told, each.
    fn bytes(&self, count: usize) -> Option<f64>;
}
