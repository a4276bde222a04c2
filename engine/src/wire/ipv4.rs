// SPDX-License-Identifier: BSD-2-Clause
//! IPv4 packets (RFC 791), as a router looks at them: the header with options,
//! its checksum, the time to live, and what tells one flow from another.

pub use super::protocol::{TCP, UDP};
use super::{checksum, long, word};

/// Bytes of the shortest header.
pub const MIN_HEADER: usize = 20;

/// Where the time to live is, and the protocol after it.
const TTL: usize = 8;
/// Where the checksum is.
const CHECKSUM: usize = 10;

/// Why bytes are no IPv4 packet that could be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the header, or before the length it names.
    Truncated,
    /// The version is not 4; what it is.
    Version(u8),
    /// The header's length is below 20 bytes or above the packet's; what it is.
    HeaderLength(usize),
    /// The header's checksum is wrong.
    Checksum,
}

/// The time to live does not allow another hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlExceeded;

/// A packet whose header is all there and sums up, and whose payload is all there.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'p> {
    bytes: &'p [u8],
    header_len: usize,
}

impl<'p> Packet<'p> {
    /// The view of a packet. Bytes beyond its length, such as a frame's padding,
    /// do not belong to it.
    pub fn parse(bytes: &'p [u8]) -> Result<Self, Malformed> {
        let first = *bytes.first().ok_or(Malformed::Truncated)?;
        if first >> 4 != 4 {
            return Err(Malformed::Version(first >> 4));
        }
        if bytes.len() < MIN_HEADER {
            return Err(Malformed::Truncated);
        }
        let header_len = usize::from(first & 0x0f) * 4;
        let total_len = usize::from(word(bytes, 2));
        if header_len < MIN_HEADER || header_len > total_len {
            return Err(Malformed::HeaderLength(header_len));
        }
        let bytes = bytes.get(..total_len).ok_or(Malformed::Truncated)?;
        let header = bytes.get(..header_len).ok_or(Malformed::Truncated)?;
        if checksum::of(header) != 0 {
            return Err(Malformed::Checksum);
        }
        Ok(Self { bytes, header_len })
    }

    /// The source address.
    pub fn source(&self) -> u32 {
        long(self.bytes, 12)
    }

    /// The destination address.
    pub fn destination(&self) -> u32 {
        long(self.bytes, 16)
    }

    /// The protocol number of the payload.
    pub fn protocol(&self) -> u8 {
        self.bytes.get(TTL + 1).copied().unwrap_or(0)
    }

    /// How many more hops it may take, this one included.
    pub fn ttl(&self) -> u8 {
        self.bytes.get(TTL).copied().unwrap_or(0)
    }

    /// Whether it is a part of a larger packet.
    pub fn is_fragment(&self) -> bool {
        word(self.bytes, 6) & 0x3fff != 0
    }

    /// Bytes from the first of the header to the last of the payload.
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// What follows the header and its options.
    pub fn payload(&self) -> &'p [u8] {
        self.bytes.get(self.header_len..).unwrap_or_default()
    }

    /// Source and destination port, where there are any. A fragment has none,
    /// since all fragments of a packet must count as the same flow and only the
    /// first one bears them.
    pub fn ports(&self) -> Option<(u16, u16)> {
        let has_ports = matches!(self.protocol(), TCP | UDP) && !self.is_fragment();
        let payload = self.payload();
        (has_ports && payload.len() >= 4).then(|| (word(payload, 0), word(payload, 2)))
    }
}

/// Takes one hop off the time to live of a packet that [`Packet::parse`] took,
/// and makes the checksum follow. Leaves it alone if there is no hop left.
pub fn decrement_ttl(packet: &mut [u8]) -> Result<(), TtlExceeded> {
    let old = word(packet, TTL);
    if old >> 8 <= 1 {
        return Err(TtlExceeded);
    }
    let new = old - 0x0100;
    let sum = checksum::changed(word(packet, CHECKSUM), old, new);
    for (at, value) in [(TTL, new), (CHECKSUM, sum)] {
        if let Some(place) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = value.to_be_bytes();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header with this many words of options, right but for what tests change.
    fn packet(options: usize, payload: &[u8], ttl: u8, protocol: u8) -> std::vec::Vec<u8> {
        let header_len = MIN_HEADER + 4 * options;
        let mut bytes = std::vec![0u8; header_len];
        bytes[0] = 0x40 | (header_len / 4) as u8;
        bytes[2..4].copy_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
        bytes[TTL] = ttl;
        bytes[TTL + 1] = protocol;
        bytes[12..20].copy_from_slice(&[192, 0, 2, 1, 198, 51, 100, 2]);
        bytes[MIN_HEADER..].fill(1);
        seal(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn seal(header: &mut [u8]) {
        header[CHECKSUM..CHECKSUM + 2].fill(0);
        let sum = checksum::of(header);
        header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn fields_are_read_behind_options() {
        for options in 0..=10 {
            let bytes = packet(options, &[0x12, 0x34, 0x00, 0x35, 9], 64, UDP);
            let view = Packet::parse(&bytes).unwrap();
            assert_eq!(
                (view.source(), view.destination()),
                (0xc000_0201, 0xc633_6402)
            );
            assert_eq!(
                (view.ttl(), view.protocol(), view.total_len()),
                (64, UDP, bytes.len())
            );
            assert_eq!(view.ports(), Some((0x1234, 0x35)));
            assert_eq!(view.payload(), [0x12, 0x34, 0x00, 0x35, 9]);
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        let good = packet(1, &[0; 8], 64, TCP);
        let spoil = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Packet::parse(&bytes).unwrap_err()
        };
        assert_eq!(spoil(0, 0x65), Malformed::Version(6));
        assert_eq!(spoil(0, 0x44), Malformed::HeaderLength(16));
        assert_eq!(spoil(3, 23), Malformed::HeaderLength(24));
        assert_eq!(spoil(3, 33), Malformed::Truncated);
        assert_eq!(spoil(TTL, 63), Malformed::Checksum);
        assert_eq!(spoil(MIN_HEADER, 0), Malformed::Checksum);
        for len in 0..good.len() {
            assert_eq!(
                Packet::parse(&good[..len]).unwrap_err(),
                Malformed::Truncated
            );
        }
    }

    #[test]
    fn padding_is_not_payload() {
        let mut bytes = packet(0, &[7], 64, 1);
        bytes.resize(46, 0);
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), [7]);
    }

    #[test]
    fn fragments_have_no_ports() {
        for (flags, fragment) in [
            (0x4000u16, false),
            (0x2000, true),
            (0x0001, true),
            (0x2001, true),
            (0x8000, false),
        ] {
            let mut bytes = packet(0, &[0; 8], 64, UDP);
            bytes[6..8].copy_from_slice(&flags.to_be_bytes());
            seal(&mut bytes[..MIN_HEADER]);
            let view = Packet::parse(&bytes).unwrap();
            assert_eq!(
                (view.is_fragment(), view.ports().is_none()),
                (fragment, fragment),
                "{flags:#x}"
            );
        }
        assert_eq!(
            Packet::parse(&packet(0, &[0; 3], 64, UDP)).unwrap().ports(),
            None
        );
        assert_eq!(
            Packet::parse(&packet(0, &[0; 4], 64, 1)).unwrap().ports(),
            None
        );
    }

    #[test]
    fn the_last_hop_is_not_taken() {
        for ttl in [0, 1] {
            let mut bytes = packet(0, &[], ttl, UDP);
            let before = bytes.clone();
            assert_eq!(decrement_ttl(&mut bytes), Err(TtlExceeded));
            assert_eq!(bytes, before);
        }
        assert_eq!(decrement_ttl(&mut []), Err(TtlExceeded));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), likely: bool) {
            if likely && !bytes.is_empty() {
                bytes[0] = 0x40 | (bytes[0] & 0x0f);
            }
            if let Ok(view) = Packet::parse(&bytes) {
                prop_assert_eq!(checksum::of(&bytes[..view.header_len]), 0);
                prop_assert!(view.header_len + view.payload().len() <= bytes.len());
                let _ = (view.ports(), view.source(), view.destination(), view.is_fragment());
            }
            let _ = decrement_ttl(&mut bytes);
        }

        #[test]
        fn a_hop_less_still_sums_up(
            options in 0usize..=10,
            payload in prop::collection::vec(any::<u8>(), 0..40),
            ttl in 2u8..,
            noise: [u8; 8],
        ) {
            let mut bytes = packet(options, &payload, ttl, UDP);
            bytes[12..20].copy_from_slice(&noise);
            seal(&mut bytes[..MIN_HEADER + 4 * options]);
            decrement_ttl(&mut bytes).unwrap();
            let view = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(view.ttl(), ttl - 1);
            prop_assert_eq!(view.payload(), &payload[..]);
        }
    }
}
