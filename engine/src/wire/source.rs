// SPDX-License-Identifier: BSD-2-Clause
//! Bytes of a packet, read where they are: in one piece, or in a chain of pieces of any
//! shape.
//!
//! A reader goes forward only: it may ask again for what it has just read, but not for
//! what is before it. So a chain is walked once. Nothing is copied but the few bytes that
//! are asked for.

/// Where bytes are read from.
pub trait Source {
    /// The `N` bytes from `at` on. `at` is never less than in a call before. `None` if they
    /// are not all there.
    fn read<const N: usize>(&mut self, at: usize) -> Option<[u8; N]>;

    /// Whether a read has failed because the bytes are in too many pieces.
    fn is_too_scattered(&self) -> bool {
        false
    }
}

impl Source for &[u8] {
    #[inline]
    fn read<const N: usize>(&mut self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}

/// A chain of pieces: any iterator over slices that can be cloned cheaply, such as those
/// over an array of slices, or over the mbufs of a packet. Empty pieces are allowed.
#[derive(Clone, Debug)]
pub struct Pieces<'b, I> {
    rest: I,
    /// The piece that was read last, and where in the packet it begins.
    now: &'b [u8],
    at: usize,
    /// How many pieces may be looked at from now on.
    left: u16,
    is_too_scattered: bool,
}

impl<'b, I: Iterator<Item = &'b [u8]> + Clone> Pieces<'b, I> {
    /// The bytes of `pieces`, of which `most` are looked at. One that has part in a read of
    /// bytes from several pieces may count again in the next.
    pub fn new(pieces: I, most: u16) -> Self {
        Self {
            rest: pieces,
            now: &[],
            at: 0,
            left: most,
            is_too_scattered: false,
        }
    }

    /// The next piece of an iterator, as long as there may be one.
    fn next(&mut self, ahead: Option<&mut I>) -> Option<&'b [u8]> {
        let Some(left) = self.left.checked_sub(1) else {
            self.is_too_scattered = true;
            return None;
        };
        self.left = left;
        ahead.unwrap_or(&mut self.rest).next()
    }

    /// Bytes that are in more than one piece, or not there.
    #[cold]
    fn gather<const N: usize>(&mut self, skip: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut done = 0;
        let mut piece = self.now.get(skip..)?;
        let mut ahead = self.rest.clone();
        loop {
            let room = bytes.get_mut(done..)?;
            let count = room.len().min(piece.len());
            room.get_mut(..count)?.copy_from_slice(piece.get(..count)?);
            done = done.wrapping_add(count);
            if done >= N {
                return Some(bytes);
            }
            piece = self.next(Some(&mut ahead))?;
        }
    }
}

impl<'b, I: Iterator<Item = &'b [u8]> + Clone> Source for Pieces<'b, I> {
    #[inline]
    fn read<const N: usize>(&mut self, at: usize) -> Option<[u8; N]> {
        let mut skip = at.checked_sub(self.at)?;
        while skip >= self.now.len() {
            let piece = self.next(None)?;
            skip = skip.wrapping_sub(self.now.len());
            self.at = self.at.wrapping_add(self.now.len());
            self.now = piece;
        }
        match self.now.get(skip..)?.first_chunk() {
            Some(&bytes) => Some(bytes),
            None => self.gather(skip),
        }
    }

    fn is_too_scattered(&self) -> bool {
        self.is_too_scattered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        /// However bytes are cut, they are read alike, and what is not there is not read.
        #[test]
        fn pieces_read_as_one(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..20),
            mut places in prop::collection::vec(0usize..70, 0..30),
        ) {
            let whole: Vec<u8> = pieces.concat();
            places.sort_unstable();
            let mut one: &[u8] = &whole;
            let mut many = Pieces::new(pieces.iter().map(|piece| &piece[..]), u16::MAX);
            for at in places {
                prop_assert_eq!(many.read::<1>(at), one.read::<1>(at));
                prop_assert_eq!(many.read::<8>(at), one.read::<8>(at));
                prop_assert_eq!(many.read::<20>(at), one.read::<20>(at));
                if at >= whole.len() {
                    break;
                }
            }
            prop_assert!(!many.is_too_scattered());
        }
    }

    #[test]
    fn no_more_pieces_are_looked_at_than_allowed() {
        let bytes = [7; 64];
        for most in 0..20u16 {
            let mut pieces = Pieces::new(bytes.chunks(1), most);
            let read = pieces.read::<8>(2);
            assert_eq!(read.is_some(), most >= 10, "{most}");
            assert_eq!(pieces.is_too_scattered(), most < 10);
        }
        let nothing: [&[u8]; 40] = [&[]; 40];
        let mut pieces = Pieces::new(nothing.into_iter(), 30);
        assert_eq!(pieces.read::<1>(0), None);
        assert!(pieces.is_too_scattered());
        let mut pieces = Pieces::new(nothing.into_iter(), 50);
        assert_eq!(pieces.read::<1>(0), None);
        assert!(!pieces.is_too_scattered());
    }
}
