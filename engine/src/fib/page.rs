// SPDX-License-Identifier: BSD-2-Clause
//! A page: what each of 256 consecutive *slots* answers, in as few cache lines as
//! its runs allow.
//!
//! A slot's answer is a class (1 and up), 0 for "no route", or the number of a
//! sub-page (a [`Block`](super::heap::Block)'s, hence [`FIRST`] at least) that tells
//! the slot's addresses apart by 8 further bits. There are four formats. Three of
//! them are of runs of equal answers:
//!
//! | offset      | what                                                           |
//! | ----------- | -------------------------------------------------------------- |
//! | 0           | 256 bits, in four words: bit `i` is set if slot `i` differs from slot `i - 1` |
//! | 32          | four bytes: how many bits are set in the words before each word |
//! | 36          | the values of the runs                                          |
//! | (4-aligned) | byte and narrow: the numbers of sub-pages, four bytes each      |
//!
//! Bit 0 is never set. Slot `i` is in the run whose number is that of the bits set
//! up to and with `i`: one population count, and one addition.
//!
//! | format | a value                                     | runs in one line | classes   |
//! | ------ | ------------------------------------------- | ---------------- | --------- |
//! | byte   | one byte: a class, or that there is a sub-page | 28            | to 127    |
//! | narrow | two bytes, likewise                         | 14               | to 32,767 |
//! | wide   | four bytes: the answer itself               | 7                | below [`FIRST`] |
//!
//! A lookup in a page of one line touches that line alone. The value of a run with a
//! sub-page has the high bit set; its other bits are the index of the number. In a
//! byte there may be too few of them for that: 255 stands for an index that is to be
//! counted.
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
    Byte,
    Narrow,
    Wide,
    Full,
}

impl Format {
    /// The largest class that such a page can hold.
    pub(super) const fn class_max(self) -> u32 {
        match self {
            Self::Byte => 0x7f,
            Self::Narrow => 0x7fff,
            Self::Wide | Self::Full => FIRST - 1,
        }
    }

    /// The smallest format of runs that can hold classes up to `most`.
    pub(super) const fn for_classes(most: u32) -> Self {
        if most <= Self::Byte.class_max() {
            Self::Byte
        } else if most <= Self::Narrow.class_max() {
            Self::Narrow
        } else {
            Self::Wide
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

/// The bit that tells a sub-page's index from a class in a narrow value.
const SUB: u16 = 1 << 15;
/// The same in a byte.
const SUB_BYTE: u8 = 1 << 7;
/// A byte for an index that is this, less the bit, or more.
const COUNTED: u8 = u8::MAX;

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
            Format::Byte | Format::Narrow => {
                let runs = self.mark_runs(slots);
                self.put_small(format, slots, runs)
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

    /// Puts the runs' values, of one byte or two, after the counts, then the sub-pages'
    /// numbers, and returns where they end.
    fn put_small(&mut self, format: Format, slots: &Slots, count: usize) -> usize {
        let subs = subs_at(format, count);
        let mut at = subs;
        self.put(subs.wrapping_sub(1), 0);
        for (run, answer) in runs(slots).enumerate() {
            let index = at.wrapping_sub(subs);
            let is_sub = is_number(answer);
            if is_sub {
                self.put(at, answer);
                at = at.wrapping_add(1);
            }
            if format == Format::Byte {
                let index = index.min((COUNTED & !SUB_BYTE).into()) as u8;
                let value = if is_sub {
                    SUB_BYTE | index
                } else {
                    answer as u8
                };
                self.put_part(run, &[value]);
            } else {
                let value = if is_sub {
                    SUB | index as u16
                } else {
                    answer as u16
                };
                self.put_part(run.wrapping_mul(2), &value.to_ne_bytes());
            }
        }
        at
    }

    fn put(&mut self, at: usize, word: u32) {
        if let Some(place) = self.0.get_mut(at) {
            *place = word;
        }
    }

    /// Puts a part of a word, that many bytes after the counts.
    fn put_part(&mut self, at: usize, part: &[u8]) {
        let at = at.wrapping_add(VALUES_AT);
        if let Some(word) = self.0.get_mut(at / 4) {
            let mut bytes = word.to_ne_bytes();
            if let Some(place) = bytes
                .get_mut(at % 4..)
                .and_then(|rest| rest.get_mut(..part.len()))
            {
                place.copy_from_slice(part);
            }
            *word = u32::from_ne_bytes(bytes);
        }
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

/// Where the numbers of the sub-pages are in a page of that many runs, in words.
#[inline(always)]
const fn subs_at(format: Format, runs: usize) -> usize {
    match format {
        Format::Byte => VALUES + runs.div_ceil(4),
        _ => VALUES + runs.div_ceil(2),
    }
}

/// How many runs a page has.
///
/// # Safety
///
/// `page` is a page of runs that nobody writes to.
#[inline(always)]
unsafe fn run_count(page: *const u8) -> usize {
    // SAFETY: the last slot is in the last run.
    unsafe { run(page, SLOTS as u32 - 1).wrapping_add(1) }
}

/// The class of a slot (0 to 255) of a byte page, or nothing if it has a sub-page.
///
/// # Safety
///
/// `page` is a byte page that nobody writes to.
#[inline(always)]
pub(super) unsafe fn byte_class(page: *const u8, slot: u32) -> Option<u32> {
    // SAFETY: the caller's promise: there is a value for each run.
    let value = unsafe { *page.add(VALUES_AT).add(run(page, slot)) };
    (value & SUB_BYTE == 0).then_some(value.into())
}

/// The class of a slot (0 to 255) of a narrow page, or nothing if it has a sub-page.
///
/// # Safety
///
/// `page` is a narrow page that nobody writes to.
#[inline(always)]
pub(super) unsafe fn narrow_class(page: *const u8, slot: u32) -> Option<u32> {
    // SAFETY: the caller's promise: there is a value for each run.
    let value = unsafe { *page.add(VALUES_AT).cast::<u16>().add(run(page, slot)) };
    (value & SUB == 0).then_some(value.into())
}

/// The number of the sub-page that a slot (0 to 255) has for certain.
///
/// # Safety
///
/// `page` is a page of this format, byte or narrow, that nobody writes to.
#[inline(always)]
pub(super) unsafe fn sub(format: Format, page: *const u8, slot: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { value(format, page, run(page, slot), run_count(page)) }
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
    // SAFETY: the caller's promise.
    let count = unsafe { run_count(page) };
    let mut run = 0;
    for quarter in 0..4 {
        // SAFETY: four words are at the head of such a page.
        let mut starts = unsafe { *page.cast::<u64>().add(quarter) };
        // The first run begins without a bit.
        starts |= u64::from(quarter == 0);
        while starts != 0 {
            let slot = quarter * 64 + starts.trailing_zeros() as usize;
            // SAFETY: the page has a value for each run.
            visit(slot, unsafe { value(format, page, run, count) });
            run += 1;
            starts &= starts.wrapping_sub(1);
        }
    }
}

/// What a run answers, of `count`.
///
/// # Safety
///
/// `page` is a page of this format and of that many runs, not full, that nobody
/// writes to; `run` is below `count`.
#[inline(always)]
unsafe fn value(format: Format, page: *const u8, run: usize, count: usize) -> u32 {
    let subs = subs_at(format, count);
    // SAFETY: the caller's promise; a value with the high bit set stands for an index
    // among the sub-pages' numbers.
    unsafe {
        let values = page.add(VALUES_AT);
        let index = match format {
            Format::Byte => match *values.add(run) {
                class if class & SUB_BYTE == 0 => return class.into(),
                COUNTED => subs_before(values, run),
                value => usize::from(value & !SUB_BYTE),
            },
            Format::Narrow => match *values.cast::<u16>().add(run) {
                class if class & SUB == 0 => return class.into(),
                value => usize::from(value & !SUB),
            },
            Format::Wide | Format::Full => return *values.cast::<u32>().add(run),
        };
        *page.cast::<u32>().add(subs.wrapping_add(index))
    }
}

/// How many of the runs before one have a sub-page.
///
/// # Safety
///
/// As many bytes are at `values`, those of a byte page.
#[cold]
#[inline(never)]
unsafe fn subs_before(values: *const u8, run: usize) -> usize {
    // SAFETY: the caller's promise.
    let values = unsafe { core::slice::from_raw_parts(values, run) };
    values
        .iter()
        .filter(|&&value| value & SUB_BYTE != 0)
        .count()
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
            |slot| {
                if slot % 2 == 0 {
                    u32::MAX - slot
                } else {
                    slot / 2
                }
            },
        ];
        for pattern in patterns {
            let slots: Slots = core::array::from_fn(|slot| pattern(slot as u32));
            for format in [Format::Byte, Format::Narrow, Format::Wide, Format::Full] {
                let lines = image.set(format, &slots);
                let page = (&raw const image).cast();
                let mut back = [0; SLOTS];
                // SAFETY: the image was just set in this format.
                unsafe { read(format, page, &mut back) };
                assert_eq!(back, slots, "{format:?}");
                for slot in 0..256u32 {
                    // SAFETY: as above.
                    let answer =
                        unsafe {
                            match format {
                                Format::Byte => byte_class(page, slot)
                                    .unwrap_or_else(|| sub(format, page, slot)),
                                Format::Narrow => narrow_class(page, slot)
                                    .unwrap_or_else(|| sub(format, page, slot)),
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
        assert_eq!(lines(Format::Byte, 28), 1);
        assert_eq!(lines(Format::Byte, 29), 2);
        assert_eq!(lines(Format::Byte, 100), 3);
        assert_eq!(lines(Format::Narrow, 14), 1);
        assert_eq!(lines(Format::Narrow, 15), 2);
        assert_eq!(lines(Format::Wide, 7), 1);
        assert_eq!(lines(Format::Wide, 8), 2);
        assert_eq!(lines(Format::Full, 1), 16);
        assert_eq!(lines(Format::Narrow, 256), 9);
    }
}
