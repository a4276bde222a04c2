// SPDX-License-Identifier: BSD-2-Clause
//! What a card's queue does for packets that ask for more than the card does, or is to do: by
//! [`kpi::offload`](crate::kpi::offload). A packet that is cut may become more frames than the
//! card has room for; these wait here, in front of all others of the queue.

use core::sync::atomic::{AtomicBool, Ordering};

use weft_engine::link::Capabilities;

use crate::kpi::errno::Errno;
use crate::kpi::locked::Locked;
use crate::kpi::mbuf::{Mbuf, Row};
use crate::kpi::mbuf_dma::Undone;
use crate::kpi::offload::{Completed, Takes};

/// What is done in software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Software {
    /// Nothing: a packet that would need it is dropped.
    Nothing,
    /// What the card lacks, or has turned off.
    Lacking,
    /// All, whatever the card can do.
    All,
}

impl Software {
    /// The one of that number, as administrators write it.
    pub(super) fn of(number: u64) -> Self {
        match number {
            0 => Self::Nothing,
            2 => Self::All,
            _ => Self::Lacking,
        }
    }
}

/// What a queue has counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Helped {
    pub(super) completed: Completed,
    /// Packets that could not be helped.
    pub(super) lost: u64,
}

/// What a queue has for that. Its lock is taken while the card's queue is locked, by nobody
/// whose packets need no help.
pub(super) struct Help {
    takes: Takes,
    has_rest: AtomicBool,
    state: Locked<State>,
}

struct State {
    rest: Row,
    /// The card is not to be given anything now.
    is_held: bool,
    software: Software,
    figures: Helped,
}

impl Help {
    /// Of a card that does nothing yet.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self, Errno> {
        let state = State {
            rest: Row::new(),
            is_held: false,
            software: Software::Lacking,
            figures: Helped::default(),
        };
        Ok(Self {
            takes: Takes::nothing(),
            has_rest: AtomicBool::new(false),
            state: Locked::new(c"weft tx help", state)?,
        })
    }

    /// What the card does for packets.
    #[inline]
    pub(super) fn takes(&self) -> &Takes {
        &self.takes
    }

    /// From now on the card does this, if it is to do anything.
    pub(super) fn take_up(&self, on: Capabilities, software: Software) {
        self.state.with(|state| state.software = software);
        self.takes.set(match software {
            Software::All => Capabilities::empty(),
            Software::Nothing | Software::Lacking => on,
        });
    }

    /// The card is to be given nothing, or that ends: whether it is held, for that or since
    /// there is a rest.
    pub(super) fn hold(&self, is_held: bool) -> bool {
        self.state.with(|state| state.is_held = is_held);
        is_held || self.has_rest()
    }

    /// Whether the card is to be given nothing.
    pub(super) fn is_held(&self) -> bool {
        self.state.with(|state| state.is_held)
    }

    /// Whether frames wait here.
    #[inline]
    pub(super) fn has_rest(&self) -> bool {
        self.has_rest.load(Ordering::Relaxed)
    }

    /// The first of the frames that wait.
    pub(super) fn next(&self) -> Option<Mbuf> {
        self.state.with(|state| {
            let next = state.rest.pop();
            self.has_rest.store(state.rest.len() > 0, Ordering::Relaxed);
            next
        })
    }

    /// Has what a packet becomes wait. False if not all of it is there.
    pub(super) fn complete(&self, undone: Undone) -> bool {
        self.state.with(|state| {
            let is_done = state.complete(undone, self.takes.has());
            self.has_rest.store(state.rest.len() > 0, Ordering::Relaxed);
            is_done
        })
    }

    /// What was done so far.
    pub(super) fn figures(&self) -> Helped {
        self.state.with(|state| state.figures)
    }
}

impl State {
    fn complete(&mut self, undone: Undone, has: Capabilities) -> bool {
        // Behind headers that it does not know a card does not fill in sums, either.
        const BESIDE: Capabilities = Capabilities::VLAN_TAG;
        let (packet, has) = match undone {
            Undone::Lacking(packet) => (Some(packet), has),
            Undone::Unfit(packet) => (Some(packet), has & BESIDE),
            Undone::NoMemory => (None, has),
        };
        let packet = packet.filter(|_| self.software != Software::Nothing);
        let completed = &mut self.figures.completed;
        let is_done =
            packet.is_some_and(|packet| packet.helped(has, &mut self.rest, completed).is_ok());
        if !is_done {
            self.figures.lost = self.figures.lost.wrapping_add(1);
        }
        is_done
    }
}
