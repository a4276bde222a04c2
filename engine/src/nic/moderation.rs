// SPDX-License-Identifier: BSD-2-Clause
//! How far interrupts of a receive queue are kept apart: not at all while few frames come, so
//! that nobody waits for them; and further, the more each interrupt finds anyway.
//!
//! An average over about eight polls decides, with a gap between going up and coming down so
//! that it does not flap. Figures are powers of two: nothing is divided.
//!
//! The administrator may say between which times it moves; if both are the same it is fixed.

/// Nanoseconds between interrupts at most, if nobody says otherwise.
const MOST: u32 = 125_000;
/// By level: by how many bits the longest time is shifted right. The lowest has the least time.
const SHIFTS: [u32; 4] = [32, 3, 1, 0];
/// From how many frames a poll on the next level begins, in eighths of a frame.
const UP: [u32; 4] = [8 * 4, 8 * 16, 8 * 48, u32::MAX];
/// Below how many the level before comes back.
const DOWN: [u32; 4] = [0, 8 * 2, 8 * 6, 8 * 20];

/// The rate of one queue's interrupts.
#[derive(Clone, Copy, Debug)]
pub struct Moderation {
    /// Frames a poll, in eighths.
    average: u32,
    level: usize,
    /// Nanoseconds.
    least: u32,
    most: u32,
}

impl Default for Moderation {
    fn default() -> Self {
        Self::between(0, MOST)
    }
}

impl Moderation {
    /// With that many nanoseconds between interrupts at least and at most. If `most` is below
    /// `least`, it is as `least`.
    pub fn between(least: u32, most: u32) -> Self {
        Self {
            average: 0,
            level: 0,
            least,
            most,
        }
    }

    /// The least and the most, in nanoseconds.
    pub fn limits(&self) -> (u32, u32) {
        (self.least, self.most)
    }

    /// Takes note of the frames that a poll found after an interrupt. The new gap, if it is
    /// another one.
    #[inline]
    pub fn observe(&mut self, frames: u32) -> Option<u32> {
        let decay = self.average >> 3;
        self.average = self
            .average
            .wrapping_sub(decay)
            .saturating_add(frames.min(1 << 16));
        let before = self.gap();
        let at = |limits: &[u32; 4]| limits.get(self.level).copied().unwrap_or(0);
        if self.average > at(&UP) {
            self.level = self.level.wrapping_add(1);
        } else if self.average < at(&DOWN) {
            self.level = self.level.wrapping_sub(1);
        } else {
            return None;
        }
        let gap = self.gap();
        (gap != before).then_some(gap)
    }

    /// Nanoseconds between interrupts.
    pub fn gap(&self) -> u32 {
        let shift = SHIFTS.get(self.level).copied().unwrap_or(0);
        self.most.checked_shr(shift).unwrap_or(0).max(self.least)
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
    fn it_moves_between_the_limits_and_is_fixed_where_they_meet() {
        let mut moderation = Moderation::between(10_000, 40_000);
        assert_eq!(moderation.gap(), 10_000);
        let seen: Vec<u32> = (0..100).filter_map(|_| moderation.observe(64)).collect();
        assert_eq!(seen, [20_000, 40_000]);
        for (least, most) in [(0, 0), (30_000, 30_000), (30_000, 7)] {
            let mut fixed = Moderation::between(least, most);
            assert!((0..100).all(|_| fixed.observe(64).is_none()));
            assert_eq!(fixed.gap(), least);
        }
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
