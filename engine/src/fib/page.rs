// SPDX-License-Identifier: BSD-2-Clause
//! A page: what each of 256 consecutive *slots* answers, in as few cache lines as
//! its runs allow.
//!
//! A slot's answer is a class (1 and up), 0 for "no route", or the number of a
//! sub-page (a [`Block`](super::heap::Block)'s, hence [`FIRST`] at least) that tells
//! the slot's addresses apart by 8 further bits. There are three formats.
//!
//! *Narrow* and *wide* pages are of runs of equal answers:
//!
//! | offset      | what                                                           |
//! | ----------- | -------------------------------------------------------------- |
//! | 0           | 256 bits, in four words: bit `i` is set if slot `i` differs from slot `i - 1` |
//! | 32          | four bytes: how many bits are set in the words before each word |
//! | 36          | the values of the runs: two bytes each if narrow, four if wide |
//! | (4-aligned) | narrow: numbers of the sub-pages, four bytes each              |
//!
//! Bit 0 is never set. Slot `i` is in the run whose number is that of the bits set
//! up to and with `i`: one population count, and one addition.
//!
//! A narrow value is a class of up to 32,767, or, with the high bit set, a quarter
//! of the offset in the page of a sub-page's number. A narrow page of up to 14 runs
//! without sub-pages is one line, so that a lookup in it touches that line alone. A
//! wide value is the answer itself: half as many runs in the first line, one load
//! less to a sub-page.
//!
//! A *full* page is the 256 answers, four bytes each: for few pages that all lookups
//! pass through.

use super::FibError;
use super::heap::{FIRST, LINE};

/// Slots of a page.
pub(super) const SLOTS: usize = 256;

/// What the slots of a page answer: a class, 0, or a sub-page's number.
pub(super) type Slots = [u32; SLOTS];

/// Whether an answer is a sub-page's number.
#[inline(always)]
pub(super) fn is_number(answer: u32) -> bool {
    answer >= FIRST
}

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Narrow,
    Wide,
    Full,
}

impl Format {
    /// The largest class that such a page can hold.
    pub(super) const fn class_max(self) -> u32 {
        match self {
            Self::Narrow => 0x7fff,
            Self::Wide | Self::Full => FIRST - 1,
        }
    }

    /// Refuses a class that a page cannot hold.
    pub(super) fn check_class(self, class: u32) -> Result<(), FibError> {
        let most = self.class_max();
        match class {
            0 => Err(FibError::ZeroClass),
            class if class <= most => Ok(()),
            class => Err(FibError::ClassRange { class, most }),
        }
    }
}

/// The bit that tells a sub-page's number from a class in a narrow value.
const SUB: u16 = 1 << 15;

/// Where the values of runs are.
const VALUES_AT: usize = 36;

/// Lines of a narrow page whose slots all differ and are all sub-pages.
pub(super) const MOST_LINES: usize = (VALUES_AT + SLOTS * 2 + SLOTS * 4).div_ceil(LINE);

/// A page as it will be, being made.
#[repr(C, align(64))]
pub(super) struct Image([u32; MOST_LINES * LINE / 4]);

/// In words of an image.
const BEFORE: usize = 8;
const VALUES: usize = VALUES_AT / 4;

impl Image {
    /// Makes the page of these slots, and returns how many lines of the image are
    /// it. The same slots make the same bytes.
    pub(super) fn set(&mut self, format: Format, slots: &Slots) -> usize {
        let end = match format {
            Format::Full => {
                for (place, &slot) in self.0.iter_mut().zip(slots) {
                    *place = slot;
                }
                SLOTS
            }
            Format::Wide => {
                self.mark_runs(slots);
                self.put_wide(slots)
            }
            Format::Narrow => {
                let runs = self.mark_runs(slots);
                self.put_narrow(slots, runs)
            }
        };
        let lines = (end * 4).div_ceil(LINE).min(MOST_LINES);
        if let Some(rest) = self.0.get_mut(end..lines * LINE / 4) {
            rest.fill(0);
        }
        lines
    }

    /// Sets the bits and counts, and returns how many runs there are.
    fn mark_runs(&mut self, slots: &Slots) -> usize {
        let mut last = slots[0];
        let mut before = 0u32;
        let mut counts = [0u8; 4];
        for ((quarter, bits), count) in slots
            .chunks_exact(64)
            .zip(self.0.chunks_exact_mut(2))
            .zip(&mut counts)
        {
            let mut word = 0u64;
            for (at, &slot) in quarter.iter().enumerate() {
                word |= u64::from(slot != last) << at;
                last = slot;
            }
            let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
            bits[0] = u32::from_ne_bytes([a, b, c, d]);
            bits[1] = u32::from_ne_bytes([e, f, g, h]);
            *count = before as u8;
            before = before.wrapping_add(word.count_ones());
        }
        self.0[BEFORE] = u32::from_ne_bytes(counts);
        before.wrapping_add(1) as usize
    }

    /// Puts the runs' answers after the counts, and returns where they end.
    fn put_wide(&mut self, slots: &Slots) -> usize {
        let mut at = VALUES;
        for answer in runs(slots) {
            self.put(at, answer);
            at = at.wrapping_add(1);
        }
        at
    }

    /// Puts the runs' values after the counts, then the sub-pages' numbers, and
    /// returns where they end.
    fn put_narrow(&mut self, slots: &Slots, count: usize) -> usize {
        let mut sub_at = VALUES.wrapping_add(count.div_ceil(2));
        let mut at = VALUES;
        let mut pair = None;
        for answer in runs(slots) {
            let value = if is_number(answer) {
                self.put(sub_at, answer);
                let value = SUB | sub_at as u16;
                sub_at = sub_at.wrapping_add(1);
                value
            } else {
                answer as u16
            };
            match pair.take() {
                None => pair = Some(value),
                Some(first) => {
                    self.put_pair(at, first, value);
                    at = at.wrapping_add(1);
                }
            }
        }
        if let Some(first) = pair {
            self.put_pair(at, first, 0);
        }
        sub_at
    }

    fn put(&mut self, at: usize, word: u32) {
        if let Some(place) = self.0.get_mut(at) {
            *place = word;
        }
    }

    fn put_pair(&mut self, at: usize, first: u16, second: u16) {
        let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
        self.put(at, u32::from_ne_bytes([a, b, c, d]));
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
const _: () = assert!(MOST_LINES <= super::heap::MOST_LINES);

/// The answer of each run.
fn runs(slots: &Slots) -> impl Iterator<Item = u32> + '_ {
    let mut last = None;
    slots
        .iter()
        .copied()
        .filter(move |&slot| last.replace(slot) != Some(slot))
}

/// The number of the run that a slot (0 to 255) is in.
///
/// # Safety
///
/// `page` is a narrow or wide page that nobody writes to.
#[inline(always)]
unsafe fn run(page: *const u8, slot: u32) -> usize {
    let quarter = (slot >> 6) as usize;
    // SAFETY: four words and four bytes are at the head of such a page.
    unsafe {
        let starts = *page.cast::<u64>().add(quarter);
        let before = *page.add(32).add(quarter);
        // Bit `slot` to the top: what is above it is out.
        let up_to = starts << (!slot & 63);
        usize::from(before).wrapping_add(up_to.count_ones() as usize)
    }
}

/// What a slot (0 to 255) of a narrow page answers: a class, 0, or `Err` with a
/// sub-page's number.
///
/// # Safety
///
/// `page` is a narrow page that nobody writes to.
#[inline(always)]
pub(super) unsafe fn narrow(page: *const u8, slot: u32) -> Result<u32, u32> {
    // SAFETY: the caller's promise: there is a value for each run; one with the high
    // bit set names the place of a number within the page.
    unsafe {
        let value = *page.add(VALUES_AT).cast::<u16>().add(run(page, slot));
        if value & SUB == 0 {
            return Ok(u32::from(value));
        }
        Err(*page.cast::<u32>().add(usize::from(value & !SUB)))
    }
}

/// What a slot (0 to 255) of a wide page answers.
///
/// # Safety
///
/// `page` is a wide page that nobody writes to.
#[inline(always)]
pub(super) unsafe fn wide(page: *const u8, slot: u32) -> u32 {
    // SAFETY: the caller's promise: there is a value for each run.
    unsafe { *page.add(VALUES_AT).cast::<u32>().add(run(page, slot)) }
}

/// What a slot (0 to 255) of a full page answers.
///
/// # Safety
///
/// `page` is a full page that nobody writes to.
#[inline(always)]
pub(super) unsafe fn full(page: *const u8, slot: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { *page.cast::<u32>().add(slot as usize & 0xff) }
}

/// Shows the answer of each run, and the slot that it begins at.
///
/// # Safety
///
/// `page` is a page of this format that nobody writes to.
unsafe fn for_each_run(format: Format, page: *const u8, mut visit: impl FnMut(usize, u32)) {
    if format == Format::Full {
        for slot in 0..SLOTS {
            // SAFETY: the caller's promise.
            visit(slot, unsafe { full(page, slot as u32) });
        }
        return;
    }
    let mut run = 0;
    for quarter in 0..4 {
        // SAFETY: four words are at the head of such a page.
        let mut starts = unsafe { *page.cast::<u64>().add(quarter) };
        // The first run begins without a bit.
        starts |= u64::from(quarter == 0);
        while starts != 0 {
            let slot = quarter * 64 + starts.trailing_zeros() as usize;
            // SAFETY: the page has a value for each run.
            visit(slot, unsafe { value(format, page, run) });
            run += 1;
            starts &= starts.wrapping_sub(1);
        }
    }
}

/// What a run answers.
///
/// # Safety
///
/// `page` is a page of this format, narrow or wide, that nobody writes to and that
/// has such a run.
#[inline(always)]
unsafe fn value(format: Format, page: *const u8, run: usize) -> u32 {
    // SAFETY: the caller's promise; a narrow value with the high bit set names the
    // place of a number within the page.
    unsafe {
        if format == Format::Wide {
            return *page.add(VALUES_AT).cast::<u32>().add(run);
        }
        let value = *page.add(VALUES_AT).cast::<u16>().add(run);
        if value & SUB == 0 {
            u32::from(value)
        } else {
            *page.cast::<u32>().add(usize::from(value & !SUB))
        }
    }
}

/// Puts what the page answers into slots.
///
/// # Safety
///
/// `page` is a page of this format that nobody writes to.
pub(super) unsafe fn read(format: Format, page: *const u8, slots: &mut Slots) {
    let mut from = 0;
    let mut present = 0;
    // SAFETY: the caller's promise.
    unsafe {
        for_each_run(format, page, |slot, answer| {
            if let Some(run) = slots.get_mut(from..slot) {
                run.fill(present);
            }
            (from, present) = (slot, answer);
        });
    }
    if let Some(run) = slots.get_mut(from..) {
        run.fill(present);
    }
}

/// Shows the number of the sub-page of each run that has one.
///
/// # Safety
///
/// `page` is a page of this format that nobody writes to.
pub(super) unsafe fn for_each_sub(format: Format, page: *const u8, mut visit: impl FnMut(u32)) {
    let mut last = 0;
    // SAFETY: the caller's promise.
    unsafe {
        for_each_run(format, page, |_, answer| {
            if answer != last && is_number(answer) {
                visit(answer);
            }
            last = answer;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_answers_what_it_was_made_of() {
        let mut image = Image([u32::MAX; MOST_LINES * LINE / 4]);
        let patterns: [fn(u32) -> u32; 5] = [
            |_| 7,
            |slot| slot % 3 * 5,
            |slot| slot / 64 + 1,
            |slot| FIRST + slot,
            |slot| if slot % 2 == 0 { u32::MAX - slot } else { slot },
        ];
        for pattern in patterns {
            let slots: Slots = core::array::from_fn(|slot| pattern(slot as u32));
            for format in [Format::Narrow, Format::Wide, Format::Full] {
                let lines = image.set(format, &slots);
                let page = (&raw const image).cast();
                let mut back = [0; SLOTS];
                // SAFETY: the image was just set in this format.
                unsafe { read(format, page, &mut back) };
                assert_eq!(back, slots, "{format:?}");
                for slot in 0..256u32 {
                    // SAFETY: as above.
                    let answer = unsafe {
                        match format {
                            Format::Narrow => narrow(page, slot).unwrap_or_else(|sub| sub),
                            Format::Wide => wide(page, slot),
                            Format::Full => full(page, slot),
                        }
                    };
                    assert_eq!(answer, slots[slot as usize], "{format:?}");
                }
                assert_eq!(image.words(lines).len(), lines * 8);
                let mut subs = Vec::new();
                // SAFETY: as above.
                unsafe { for_each_sub(format, page, |number| subs.push(number)) };
                let mut expected = slots.to_vec();
                expected.dedup();
                expected.retain(|&answer| is_number(answer));
                assert_eq!(subs, expected);
            }
        }
    }

    #[test]
    fn a_page_is_as_small_as_its_runs_allow() {
        let mut image = Image([u32::MAX; MOST_LINES * LINE / 4]);
        let mut lines = |format, runs: u32| {
            let slots = core::array::from_fn(|slot| (slot as u32).min(runs - 1));
            image.set(format, &slots)
        };
        assert_eq!(lines(Format::Narrow, 14), 1);
        assert_eq!(lines(Format::Narrow, 15), 2);
        assert_eq!(lines(Format::Wide, 7), 1);
        assert_eq!(lines(Format::Wide, 8), 2);
        assert_eq!(lines(Format::Full, 1), 16);
        assert_eq!(lines(Format::Narrow, 256), 9);
    }
}
