// SPDX-License-Identifier: BSD-2-Clause
//! The Internet checksum (RFC 1071) and its change along with a word (RFC 1624).

/// The checksum over the bytes: the complement of the one's complement sum of
/// their words, in host order, an odd last byte being followed by 0. Over a
/// header that bears its right checksum it is 0.
///
/// For up to 64 KiB, the longest that a length field of IPv4 can name.
pub fn of(bytes: &[u8]) -> u16 {
    let (words, odd) = bytes.as_chunks::<2>();
    let odd = odd.first().map_or(0, |&last| u16::from_be_bytes([last, 0]));
    let sum = words.iter().fold(u32::from(odd), |sum, &word| {
        sum.wrapping_add(u32::from(u16::from_be_bytes(word)))
    });
    !fold(sum)
}

/// The checksum after a word that it covers has changed from `old` to `new`:
/// equation 3 of RFC 1624, which, unlike RFC 1141's, never turns a sum that
/// must be 0xffff into 0.
pub fn changed(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

/// Adds the carries back in.
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A byte at a time, adding each carry as it arises.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u16;
        for (at, &byte) in bytes.iter().enumerate() {
            let word = if at % 2 == 0 {
                u16::from(byte) << 8
            } else {
                u16::from(byte)
            };
            let (added, carry) = sum.overflowing_add(word);
            sum = added + u16::from(carry);
        }
        !sum
    }

    #[test]
    fn rfc_1624_section_4() {
        assert_eq!(changed(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    proptest! {
        #[test]
        fn sums_as_the_plain_way_does(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(of(&bytes), plain(&bytes));
        }

        #[test]
        fn a_changed_word_gives_the_sum_over_all(
            mut bytes in prop::collection::vec(any::<u8>(), 20..=60),
            at in 0usize..9,
            new: u16,
        ) {
            // A header is never all zeros, for which 0xffff and 0 are both the
            // one's complement zero.
            bytes[19] |= 1;
            let old = super::super::word(&bytes, at * 2);
            let before = of(&bytes);
            bytes[at * 2..at * 2 + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(changed(before, old, new), of(&bytes));
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        assert_eq!(of(&[0xff; 65535]), plain(&[0xff; 65535]));
    }
}
