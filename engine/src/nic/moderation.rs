// SPDX-License-Identifier: BSD-2-Clause
//! How far interrupts of a receive queue are kept apart: not at all while few frames come, so
//! that nobody waits for them; and further, the more each interrupt finds anyway.
//!
//! An average over about eight polls decides, with a gap between going up and coming down so
//! that it does not flap. Figures are powers of two: nothing is divided.

/// Nanoseconds between interrupts, by level.
const GAPS: [u32; 4] = [0, 20_000, 50_000, 125_000];
/// From how many frames a poll on the next level begins, in eighths of a frame.
const UP: [u32; 4] = [8 * 4, 8 * 16, 8 * 48, u32::MAX];
/// Below how many the level before comes back.
const DOWN: [u32; 4] = [0, 8 * 2, 8 * 6, 8 * 20];

/// The rate of one queue's interrupts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moderation {
    /// Frames a poll, in eighths.
    average: u32,
    level: usize,
}

impl Moderation {
    /// Takes note of the frames that a poll found after an interrupt. The new gap, if it is
    /// another one.
    #[inline]
    pub fn observe(&mut self, frames: u32) -> Option<u32> {
        let decay = self.average >> 3;
        self.average = self
            .average
            .wrapping_sub(decay)
            .saturating_add(frames.min(1 << 16));
        let at = |limits: &[u32; 4]| limits.get(self.level).copied().unwrap_or(0);
        if self.average > at(&UP) {
            self.level = self.level.wrapping_add(1);
        } else if self.average < at(&DOWN) {
            self.level = self.level.wrapping_sub(1);
        } else {
            return None;
        }
        Some(self.gap())
    }

    /// Nanoseconds between interrupts.
    pub fn gap(&self) -> u32 {
        GAPS.get(self.level).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_frames_do_not_wait_and_many_come_together() {
        let mut moderation = Moderation::default();
        for _ in 0..100 {
            assert_eq!(moderation.observe(1), None);
        }
        assert_eq!(moderation.gap(), 0);
        for _ in 0..100 {
            moderation.observe(64);
        }
        assert_eq!(moderation.gap(), 125_000);
        for _ in 0..100 {
            moderation.observe(1);
        }
        assert_eq!(moderation.gap(), 0);
    }

    #[test]
    fn a_steady_load_does_not_flap() {
        for frames in 0..200 {
            let mut moderation = Moderation::default();
            for _ in 0..200 {
                moderation.observe(frames);
            }
            assert!(
                (0..200).all(|_| moderation.observe(frames).is_none()),
                "{frames}"
            );
        }
    }
}
