// SPDX-License-Identifier: BSD-2-Clause
//! Foreign bodies on the host: chains of segments, as mbufs are in the kernel.

use crate::packet::{ChainOps, NoRoom, Packet, Writable};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all chains of a test have in common.
#[derive(Debug, Default)]
pub struct Chains {
    alive: AtomicUsize,
    /// How many may be alive; 0 for any number.
    most: AtomicUsize,
}

impl Chains {
    /// How many chains there are.
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Lets duplicating fail while there are `most` chains or more; 0 takes it back.
    pub fn limit(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
}

/// A chain: segments, which duplicates share.
#[derive(Debug)]
pub struct HostChain {
    segments: VecDeque<Arc<[u8]>>,
    /// Bytes of the first one that are no longer the chain's.
    gone: usize,
    of: Arc<Chains>,
}

impl HostChain {
    /// A chain of these segments; some may be empty.
    pub fn new<'b>(segments: impl IntoIterator<Item = &'b [u8]>, of: &Arc<Chains>) -> Self {
        of.alive.fetch_add(1, Ordering::Relaxed);
        Self {
            segments: segments.into_iter().map(Arc::from).collect(),
            gone: 0,
            of: of.clone(),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let all: Vec<u8> = self
            .segments
            .iter()
            .flat_map(|s| s.iter().copied())
            .collect();
        all.get(self.gone..).unwrap_or_default().to_vec()
    }

    /// Lets a packet carry it.
    ///
    /// # Errors
    ///
    /// The packet carries one already. The chain is freed.
    pub fn load(self, packet: &mut Packet<Writable>) -> Result<(), NoRoom> {
        let len = u32::try_from(self.bytes().len()).unwrap_or(u32::MAX);
        let at = NonNull::from(Box::leak(Box::new(self))).cast();
        // SAFETY: a chain for these functions, of that length, and nobody else's.
        unsafe {
            packet
                .carry(at, len, &HOST_CHAINS)
                .inspect_err(|_| HOST_CHAINS.free(at))
        }
    }

    /// Takes a packet's chain out.
    pub fn unload(packet: &mut Packet<Writable>) -> Option<Self> {
        let (at, _) = packet.put_down(&HOST_CHAINS)?;
        // SAFETY: chains for these functions are boxes.
        Some(*unsafe { Box::from_raw(at.cast::<Self>().as_ptr()) })
    }

    fn trim(&mut self, count: usize) {
        self.gone += count;
        while let Some(first) = self.segments.front()
            && first.len() <= self.gone
        {
            self.gone -= first.len();
            self.segments.pop_front();
        }
    }
}

impl Drop for HostChain {
    fn drop(&mut self) {
        self.of.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What can be done with a [`HostChain`] that a packet carries.
static HOST_CHAINS: &dyn ChainOps = &HostChains;

struct HostChains;

// SAFETY: a chain is a box of segments that are not written to; each function does as
// the trait says.
unsafe impl ChainOps for HostChains {
    unsafe fn walk(
        &self,
        chain: NonNull<()>,
        skip: usize,
        see: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) {
        // SAFETY: one of ours, and alive, the caller says.
        let chain = unsafe { chain.cast::<HostChain>().as_ref() };
        let mut skip = skip + chain.gone;
        for segment in &chain.segments {
            let rest = segment.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(segment.len());
            if !rest.is_empty() && see(rest).is_break() {
                return;
            }
        }
    }

    unsafe fn trim(&self, chain: NonNull<()>, count: usize) -> NonNull<()> {
        // SAFETY: as above, and the caller's alone.
        let old = unsafe { Box::from_raw(chain.cast::<HostChain>().as_ptr()) };
        // At another address, as m_adj(9) or m_free(9) leave it.
        let mut chain = Box::new(HostChain::new([], &old.of));
        chain.segments.clone_from(&old.segments);
        chain.gone = old.gone;
        chain.trim(count);
        NonNull::from(Box::leak(chain)).cast()
    }

    unsafe fn duplicate(&self, chain: NonNull<()>) -> Option<NonNull<()>> {
        // SAFETY: as in `walk`.
        let chain = unsafe { chain.cast::<HostChain>().as_ref() };
        let most = chain.of.most.load(Ordering::Relaxed);
        if most != 0 && chain.of.alive() >= most {
            return None;
        }
        let mut copy = HostChain::new([], &chain.of);
        copy.segments.clone_from(&chain.segments);
        copy.gone = chain.gone;
        Some(NonNull::from(Box::leak(Box::new(copy))).cast())
    }

    unsafe fn free(&self, chain: NonNull<()>) {
        // SAFETY: one of ours, for the last time.
        drop(unsafe { Box::from_raw(chain.cast::<HostChain>().as_ptr()) });
    }
}
