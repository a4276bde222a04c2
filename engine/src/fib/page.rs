// SPDX-License-Identifier: BSD-2-Clause
//! A page: what each of 256 consecutive *slots* answers, in as few cache lines as
//! its runs allow.
//!
//! | offset      | what                                                           |
//! | ----------- | -------------------------------------------------------------- |
//! | 0           | 256 bits, in four words: bit `i` is set if slot `i` differs from slot `i - 1` |
//! | 32          | four bytes: how many bits are set in the words before each word |
//! | 36          | the values of the runs, two bytes each                          |
//! | (4-aligned) | numbers of the sub-pages, four bytes each                       |
//!
//! Bit 0 is never set. Slot `i` is in the run whose number is that of the bits set
//! up to and with `i`: one population count, and one addition. A page of up to 14
//! runs is one line, so that a lookup in it touches that line alone.
//!
//! A value is a class (1 to 32,767), 0 for "no route", or, with the high bit set, a
//! quarter of the offset in the page of a sub-page's number: the slot's addresses
//! are told apart by 8 further bits.

use super::FibError;
use super::slab::LINE;

/// Slots of a page.
pub(super) const SLOTS: usize = 256;

/// What the slots of a page answer: a class, 0, or [`SUB`] and a sub-page's number.
pub(super) type Slots = [u32; SLOTS];

/// The bit that tells a sub-page's number from a class.
pub(super) const SUB: u32 = 1 << 31;

/// The largest class.
pub(super) const CLASS_MAX: u32 = 0x7fff;

/// The same bit in a value.
const SUB_VALUE: u16 = 1 << 15;

/// Where the values are.
const VALUES_AT: usize = 36;

/// Lines of a page whose slots all differ and are all sub-pages.
pub(super) const MOST_LINES: usize = (VALUES_AT + SLOTS * 2 + SLOTS * 4).div_ceil(LINE);

/// A page as it will be, being made.
#[repr(C, align(64))]
pub(super) struct Image {
    starts: [u64; 4],
    before: [u8; 4],
    values: [u16; (MOST_LINES * LINE - VALUES_AT) / 2],
}

/// What [`Image::set`] made.
#[derive(Clone, Copy)]
pub(super) struct Made {
    /// How many lines of the image count.
    pub(super) lines: usize,
    /// Whether there are sub-pages.
    pub(super) subs: bool,
}

impl Image {
    /// Makes the page of these slots. The same slots make the same bytes.
    pub(super) fn set(&mut self, slots: &Slots) -> Made {
        let runs = self.mark_runs(slots);
        let mut sub_at = runs.next_multiple_of(2);
        let subs_at = sub_at;
        let mut run = 0usize;
        let mut last = None;
        for &slot in slots {
            if last == Some(slot) {
                continue;
            }
            last = Some(slot);
            let value = if slot & SUB == 0 {
                slot as u16
            } else {
                self.put_sub(sub_at, slot & !SUB);
                let offset = VALUES_AT.wrapping_add(sub_at.wrapping_mul(2));
                sub_at = sub_at.wrapping_add(2);
                SUB_VALUE | (offset / 4) as u16
            };
            self.put(run, value);
            run = run.wrapping_add(1);
        }
        if runs < subs_at {
            self.put(runs, 0);
        }
        let lines = VALUES_AT
            .wrapping_add(sub_at.wrapping_mul(2))
            .div_ceil(LINE)
            .min(MOST_LINES);
        let end = (lines * LINE).saturating_sub(VALUES_AT) / 2;
        if let Some(rest) = self.values.get_mut(sub_at..end) {
            rest.fill(0);
        }
        let subs = sub_at != subs_at;
        Made { lines, subs }
    }

    /// Sets the bits and counts, and returns how many runs there are.
    fn mark_runs(&mut self, slots: &Slots) -> usize {
        let mut last = slots[0];
        let mut before = 0u32;
        for ((quarter, bits), count) in slots
            .chunks_exact(64)
            .zip(&mut self.starts)
            .zip(&mut self.before)
        {
            let mut word = 0u64;
            for (at, &slot) in quarter.iter().enumerate() {
                word |= u64::from(slot != last) << at;
                last = slot;
            }
            (*bits, *count) = (word, before as u8);
            before = before.wrapping_add(word.count_ones());
        }
        before.wrapping_add(1) as usize
    }

    fn put(&mut self, at: usize, value: u16) {
        if let Some(place) = self.values.get_mut(at) {
            *place = value;
        }
    }

    fn put_sub(&mut self, at: usize, number: u32) {
        let [a, b, c, d] = number.to_ne_bytes();
        self.put(at, u16::from_ne_bytes([a, b]));
        self.put(at.wrapping_add(1), u16::from_ne_bytes([c, d]));
    }

    /// The words of the first lines.
    pub(super) fn words(&self, lines: usize) -> &[u64] {
        let count = lines.min(MOST_LINES) * (LINE / 8);
        // SAFETY: an image is that many lines long, has no padding, is aligned to
        // more than a word, and any bytes are a word.
        unsafe { core::slice::from_raw_parts((&raw const *self).cast(), count) }
    }
}

const _: () = assert!(size_of::<Image>() == MOST_LINES * LINE);
const _: () = assert!(MOST_LINES <= super::slab::MOST_LINES);

/// The value of a slot (0 to 255), as it stands in the page.
///
/// # Safety
///
/// `page` is a page that nobody writes to.
#[inline(always)]
unsafe fn value(page: *const u8, slot: u32) -> u16 {
    let quarter = (slot >> 6) as usize;
    // SAFETY: four words and four bytes are at the head of a page, and a value for
    // each run after them.
    unsafe {
        let starts = *page.cast::<u64>().add(quarter);
        let before = *page.add(32).add(quarter);
        let up_to = starts & (u64::MAX >> (63 - (slot & 63)));
        let run = usize::from(before).wrapping_add(up_to.count_ones() as usize);
        *page.add(VALUES_AT).cast::<u16>().add(run)
    }
}

/// What a slot (0 to 255) answers: a class, 0, or `Err` with a sub-page's number.
///
/// # Safety
///
/// As for [`value`].
#[inline(always)]
pub(super) unsafe fn answer(page: *const u8, slot: u32) -> Result<u32, u32> {
    // SAFETY: the caller's promise; a value with the high bit set names the place
    // of a number within the page.
    unsafe {
        let value = value(page, slot);
        if value & SUB_VALUE == 0 {
            return Ok(u32::from(value));
        }
        let at = usize::from(value & !SUB_VALUE);
        Err(*page.cast::<u32>().add(at))
    }
}

/// Puts what the page answers into slots.
///
/// # Safety
///
/// As for [`value`].
pub(super) unsafe fn read(page: *const u8, slots: &mut Slots) {
    for (at, slot) in slots.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *slot = match unsafe { answer(page, at as u32) } {
            Ok(class) => class,
            Err(sub) => SUB | sub,
        };
    }
}

/// Shows the number of each sub-page of a page, as often as the page has it.
///
/// # Safety
///
/// As for [`value`].
pub(super) unsafe fn for_each_sub(page: *const u8, mut visit: impl FnMut(u32)) {
    // SAFETY: the caller's promise; as many values as there are runs.
    unsafe {
        let words = page.cast::<[u64; 4]>().read();
        let runs = words.iter().map(|word| word.count_ones()).sum::<u32>() as usize;
        for run in 0..=runs {
            let value = *page.add(VALUES_AT).cast::<u16>().add(run);
            if value & SUB_VALUE != 0 {
                visit(*page.cast::<u32>().add(usize::from(value & !SUB_VALUE)));
            }
        }
    }
}

/// Refuses a class that a page cannot hold.
pub(super) fn check_class(class: u32) -> Result<(), FibError> {
    match class {
        0 => Err(FibError::ZeroClass),
        1..=CLASS_MAX => Ok(()),
        _ => Err(FibError::ClassRange(class)),
    }
}
