// SPDX-License-Identifier: BSD-2-Clause
//! Copies: how a packet that others have, too, becomes one to be written to.

use super::body::Chain;
use super::packet::{Packet, Shared, State, Writable};
use super::{AllocError, HEADROOM, pool, tag};
use core::fmt;

impl<S: State> Packet<S> {
    /// A packet with the same bytes, metadata and tags, of the same pool. A foreign body
    /// is duplicated by the platform.
    ///
    /// # Errors
    ///
    /// No buffer, no body, or tags that only the platform could copy.
    pub fn copy(&self) -> Result<Packet<Writable>, CopyError> {
        let extent = self.extent();
        let (start, inline) = (usize::from(extent.start), usize::from(extent.inline));
        // The same place for the data, so that headroom stays.
        let len = start.wrapping_add(inline).saturating_sub(HEADROOM);
        // SAFETY: the new buffer is ours alone; it has room for `start + inline`.
        unsafe {
            let buffer = pool::take_beside(self.buffer(), len)?;
            let mut copy = Packet::<Writable>::of(buffer);
            copy.extent_mut().start = extent.start;
            copy.extent_mut().inline = extent.inline;
            copy.head_mut().copy_from_slice(self.head());
            *copy.meta_mut() = *self.meta();
            if !tag::copy(buffer, self.buffer()) {
                return Err(CopyError::ForeignTags);
            }
            if let Some(chain) = extent.chain {
                let at = chain.ops.duplicate(chain.at).ok_or(CopyError::Body)?;
                copy.extent_mut().chain = Some(Chain { at, ..chain });
                copy.extent_mut().chained = extent.chained;
            }
            Ok(copy)
        }
    }
}

impl Packet<Shared> {
    /// The packet to be written to; a copy if it is shared.
    ///
    /// # Errors
    ///
    /// The packet as it is, if it could not be copied, and why.
    pub fn make_writable(self) -> Result<Packet<Writable>, (Self, CopyError)> {
        self.try_writable()
            .or_else(|shared| shared.copy().map_err(|error| (shared, error)))
    }
}

/// Why a packet was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// There was no buffer.
    Alloc(AllocError),
    /// The platform could not duplicate the body.
    Body,
    /// The packet has tags that are the platform's.
    ForeignTags,
}

impl From<AllocError> for CopyError {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alloc(error) => error.fmt(f),
            Self::Body => f.write_str("no memory for another body"),
            Self::ForeignTags => f.write_str("a tag that only the platform can copy"),
        }
    }
}

impl core::error::Error for CopyError {}
