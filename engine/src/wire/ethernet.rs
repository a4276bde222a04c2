// SPDX-License-Identifier: BSD-2-Clause
//! Ethernet II frames, with one IEEE 802.1Q tag or none.

use super::word;

/// Bytes of the header without a tag.
pub const HEADER: usize = 14;
/// Bytes of a tag.
pub const TAG: usize = 4;

/// The EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// The EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// The EtherType of a VLAN tag.
pub const VLAN: u16 = 0x8100;
/// The EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// The EtherType of a service tag, 802.1ad.
pub const SERVICE_TAG: u16 = 0x88a8;
/// That of tags around others from before 802.1ad.
pub const OLD_SERVICE_TAG: u16 = 0x9100;

/// Whether a tag begins behind that EtherType.
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | SERVICE_TAG | OLD_SERVICE_TAG)
}

/// The frame ends before its header does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// A frame whose header is all there.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'p> {
    vlan: Option<u16>,
    ethertype: u16,
    payload: &'p [u8],
}

impl<'p> Frame<'p> {
    /// The view of a frame, without its check sequence.
    pub fn parse(bytes: &'p [u8]) -> Result<Self, Truncated> {
        let payload = bytes.get(HEADER..).ok_or(Truncated)?;
        let ethertype = word(bytes, HEADER - 2);
        if ethertype != VLAN {
            return Ok(Self {
                vlan: None,
                ethertype,
                payload,
            });
        }
        let tagged = payload.get(TAG..).ok_or(Truncated)?;
        Ok(Self {
            vlan: Some(word(payload, 0) & 0x0fff),
            ethertype: word(payload, 2),
            payload: tagged,
        })
    }

    /// The VLAN it is tagged with, 0 to 4095; 0 means a priority and no VLAN.
    pub fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// What the payload is. Of a second tag it is that tag's type.
    pub fn ethertype(&self) -> u16 {
        self.ethertype
    }

    /// What follows the header and the tag. It may be longer than the packet in
    /// it, as short frames are padded.
    pub fn payload(&self) -> &'p [u8] {
        self.payload
    }

    /// Where the payload begins, in bytes from the start of the frame.
    pub fn payload_at(&self) -> usize {
        if self.vlan.is_some() {
            HEADER + TAG
        } else {
            HEADER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_is_seen() {
        let mut bytes = [0u8; 20];
        bytes[12..14].copy_from_slice(&[0x81, 0x00]);
        bytes[14..18].copy_from_slice(&[0xe0 | 0x0f, 0xa0, 0x08, 0x00]);
        bytes[18..].copy_from_slice(&[1, 2]);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!(
            (frame.vlan(), frame.ethertype(), frame.payload()),
            (Some(0xfa0), IPV4, &[1, 2][..])
        );
        assert_eq!(Frame::parse(&bytes[..17]).unwrap_err(), Truncated);
        assert_eq!(Frame::parse(&bytes[..18]).unwrap().payload(), &[] as &[u8]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_too_few(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let tagged = bytes.len() >= HEADER && bytes[12..14] == [0x81, 0];
            match Frame::parse(&bytes) {
                Ok(frame) => {
                    prop_assert_eq!(frame.vlan().is_some(), tagged);
                    prop_assert_eq!(frame.payload(), &bytes[frame.payload_at()..]);
                }
                Err(Truncated) => {
                    let needed = if tagged { HEADER + TAG } else { HEADER };
                    prop_assert!(bytes.len() < needed);
                }
            }
        }
    }
}
