// SPDX-License-Identifier: BSD-2-Clause
//! The Internet checksum (RFC 1071), over what is in pieces, and its change along with what
//! it covers (RFC 1624).
//!
//! The loop is made of four chains of eight additions with carry, which the processor can
//! follow at the same time: two additions with carry a cycle is what it can do, and three
//! loads. No vector register is used, for the kernel's code has none. Which other ways were
//! tried is in `docs/decisions/0011-checksums.md`.

/// The checksum over the bytes: the complement of the one's complement sum of
/// their words, in host order, an odd last byte being followed by 0. Over a
/// header that bears its right checksum it is 0.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.checksum()
}

/// The one's complement sum of what comes in pieces of any length and alignment, such as
/// the parts of a packet, as if they were one.
///
/// 64 bits are added at a time, in the machine's order: the sum of words with their bytes
/// swapped is the sum with its bytes swapped (RFC 1071, section 2). So behind an odd number of
/// bytes the sum is swapped, and what follows is added as if it began a word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Congruent to the sum modulo 2^16 - 1, swapped if `is_odd`, and 0 only if all was 0.
    words: u64,
    /// Whether so far an odd number of bytes was added.
    is_odd: bool,
}

impl Sum {
    /// Of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self {
            words: 0,
            is_odd: false,
        }
    }

    /// Of the pseudo-header that TCP, UDP and others put in front (RFC 9293, RFC 8200): two
    /// addresses of either family, `source` and `destination` behind one another as they
    /// are in the packet, the protocol's number, and the bytes from its header on.
    #[inline]
    pub fn pseudo(addresses: &[u8], protocol: u8, len: u32) -> Self {
        let mut sum = Self::new();
        sum.add_header(addresses);
        sum.add_number(len);
        sum.add_number(protocol.into());
        sum
    }

    /// Adds bytes behind those that were added before.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        self.words = long_sum(self.words, bytes);
        self.turn(bytes.len() % 2 == 1);
    }

    /// The same of few bytes, such as a header: without a call.
    #[inline]
    pub fn add_header(&mut self, bytes: &[u8]) {
        self.words = words(self.words, bytes);
        self.turn(bytes.len() % 2 == 1);
    }

    /// As [`add`](Sum::add), with a call only if that pays: for the loop over a packet's pieces,
    /// into which all of the short way is put.
    #[inline(always)]
    pub fn add_piece(&mut self, bytes: &[u8]) {
        self.words = match bytes.len() < ROUND {
            true => words_here(self.words, bytes),
            false => long_sum(self.words, bytes),
        };
        self.turn(bytes.len() % 2 == 1);
    }

    /// Behind an odd number of bytes words begin at odd places.
    #[inline]
    fn turn(&mut self, is_odd: bool) {
        if is_odd {
            self.words = self.words.rotate_left(8);
            self.is_odd = !self.is_odd;
        }
    }

    /// As if all was at even places.
    #[inline]
    fn turned(self) -> u64 {
        match self.is_odd {
            true => self.words.rotate_left(8),
            false => self.words,
        }
    }

    /// Adds what was summed apart, and stands behind what was added before.
    #[inline]
    pub fn append(&mut self, behind: Self) {
        self.words = plus(self.words, behind.turned());
        self.turn(behind.is_odd);
    }

    /// Adds a number of 32 bits, or one of 16, such as a length, as if it stood there in
    /// network order at an even offset; which it need not.
    #[inline]
    pub fn add_number(&mut self, number: u32) {
        let number = Self {
            words: number.to_be().into(),
            is_odd: self.is_odd,
        };
        self.words = plus(self.words, number.turned());
    }

    /// The sum in host order: what stands in the place of a checksum that is left to be
    /// filled in, if this is the pseudo-header's.
    #[inline]
    pub fn value(self) -> u16 {
        let words = self.turned();
        let halves = (words & 0xffff_ffff).wrapping_add(words >> 32);
        let halves = (halves & 0xffff_ffff).wrapping_add(halves >> 32) as u32;
        u16::from_be(fold(halves))
    }

    /// The checksum in host order: the complement.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.value()
    }

    /// The same as UDP sends it, where 0 means that there is none (RFC 768).
    #[inline]
    pub fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// The one's complement sum of two.
#[inline]
const fn plus(one: u64, other: u64) -> u64 {
    let (sum, carry) = one.overflowing_add(other);
    // A sum that overflowed has room for its carry.
    sum.wrapping_add(carry as u64)
}

/// Bytes that are added in one round of four chains.
const ROUND: usize = 256;

/// A sum and that of the bytes' 64-bit words in the machine's order, the last one filled up.
#[inline(never)]
fn long_sum(sum: u64, bytes: &[u8]) -> u64 {
    let (rounds, rest) = bytes.as_chunks::<ROUND>();
    match rounds {
        [] => words(sum, rest),
        _ => words(of_rounds(sum, rounds), rest),
    }
}

#[inline]
fn of_rounds(sum: u64, rounds: &[[u8; ROUND]]) -> u64 {
    let [mut first, mut second, mut third, mut fourth] = [sum, 0, 0, 0];
    for round in rounds {
        let (quarters, _) = round.as_chunks::<{ ROUND / 4 }>();
        if let [one, two, three, four] = quarters {
            first = chain(first, one);
            second = chain(second, two);
            third = chain(third, three);
            fourth = chain(fourth, four);
        }
    }
    plus(plus(first, second), plus(third, fourth))
}

/// The same of less than a round, added to a sum: each power of two once, so that no loop
/// is left early by a guess that was wrong.
#[inline]
fn words(sum: u64, bytes: &[u8]) -> u64 {
    words_here(sum, bytes)
}

#[inline(always)]
fn words_here(sum: u64, bytes: &[u8]) -> u64 {
    let (mut one, mut other) = (sum, 0);
    let (rounds, mut rest) = bytes.as_chunks::<64>();
    for round in rounds {
        let (halves, _) = round.as_chunks::<32>();
        if let [first, second] = halves {
            one = chain(one, first);
            other = chain(other, second);
        }
    }
    if let Some((words, behind)) = rest.split_first_chunk::<32>() {
        (other, rest) = (chain(other, words), behind);
    }
    if let Some((words, behind)) = rest.split_first_chunk::<16>() {
        (one, rest) = (chain(one, words), behind);
    }
    if let Some((word, behind)) = rest.split_first_chunk::<8>() {
        (other, rest) = (chain(other, word), behind);
    }
    plus(plus(one, other), last(bytes, rest.len()))
}

/// Adds so many words, with one carry from each to the next.
#[inline]
fn chain<const N: usize>(sum: u64, bytes: &[u8; N]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    let (mut sum, mut carry) = (sum, false);
    for word in words {
        (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    sum.wrapping_add(carry.into())
}

/// The last bytes, `count` of them, fewer than eight, as a word filled up with 0 behind them.
#[inline]
fn last(bytes: &[u8], count: usize) -> u64 {
    if count == 0 {
        return 0;
    }
    match bytes.last_chunk::<8>() {
        // Those before them were added.
        Some(word) => {
            let shift = 64usize.wrapping_sub(count.wrapping_mul(8)) as u32;
            u64::from_le_bytes(*word).wrapping_shr(shift).to_le()
        }
        None => few(bytes),
    }
}

/// Fewer than eight bytes.
#[inline]
fn few(bytes: &[u8]) -> u64 {
    let (four, rest) = match bytes.split_first_chunk::<4>() {
        Some((four, rest)) => (u32::from_ne_bytes(*four), rest),
        None => (0, bytes),
    };
    let (two, rest) = match rest.split_first_chunk::<2>() {
        Some((two, rest)) => (u16::from_ne_bytes(*two), rest),
        None => (0, rest),
    };
    let one = rest
        .first()
        .map_or(0, |&byte| u16::from_ne_bytes([byte, 0]));
    // Words of a sum may stand anywhere at an even offset.
    u64::from(four)
        .wrapping_add(two.into())
        .wrapping_add(one.into())
}

/// The checksum after a word that it covers has changed from `old` to `new`:
/// equation 3 of RFC 1624, which, unlike RFC 1141's, never turns a sum that
/// must be 0xffff into 0.
#[inline]
pub fn changed(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

/// The same for bytes at an even offset, of which both have as many, such as addresses or
/// numbers of 32 bits.
#[inline]
pub fn changed_bytes(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add_header(old);
    let old = sum.value();
    let mut sum = Sum::new();
    sum.add_header(new);
    changed(checksum, old, sum.value())
}

/// How many bytes UDP-Lite's checksum covers, its header included, of a packet that has
/// `len` of them, when its field says `coverage`; `None` if that is not allowed (RFC 3828,
/// section 3.1).
#[inline]
pub fn covered(coverage: u16, len: usize) -> Option<usize> {
    match usize::from(coverage) {
        0 => Some(len),
        1..8 => None,
        covered => (covered <= len).then_some(covered),
    }
}

/// Adds the carries back in.
#[inline]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff).wrapping_add(sum >> 16);
    sum.wrapping_add(sum >> 16) as u16
}

#[cfg(test)]
mod tests;
