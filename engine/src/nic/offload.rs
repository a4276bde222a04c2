// SPDX-License-Identifier: BSD-2-Clause
//! What a device is to do with a frame that is sent, and what it says of one that it received.
//!
//! The stack asks for sums to be filled in, and segments to be cut, by flags. Devices want to
//! know where the headers are. [`describe`] looks there once, for all of them.
//!
//! The field of the TCP or UDP checksum holds the sum of the pseudo-header when a frame gets to
//! a driver: with the length of what follows, as the stack leaves it, for a frame that is sent as
//! it is; for a segment as [`Limits::sums`](super::Limits::sums) says.

use super::Limits;
use crate::packet::HashKind;
use crate::wire::checksum::Sum;
use crate::wire::{ethernet, flow, protocol, word};
use bitflags::bitflags;

/// What the stack wants done with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The checksum of TCP or UDP is to be filled in.
    pub checksum: bool,
    /// Bytes of TCP payload of each frame into which it is to be cut; 0 if it is not.
    pub mss: u16,
    /// The tag that is to be put in, priority and VLAN.
    pub vlan: Option<u16>,
}

/// Whether the pseudo-header's sum, in a segment that a device cuts, has TCP's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SegmentSums {
    /// It has that of the long segment, as the stack leaves it.
    #[default]
    WithLength,
    /// It has not, and the checksum of an IPv4 header is 0: what most cards want.
    WithoutLength,
}

/// Which long segments a device cuts. Others it is not given: they are cut before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// Bytes of headers at most, Ethernet's included.
    pub headers: u16,
    /// Bytes of payload of each frame at least.
    pub least: u16,
    /// Also behind extension headers of IPv6.
    pub extensions: bool,
}

impl Cuts {
    /// What any device that cuts can be given: what stacks send every day. Devices differ in, or
    /// do not say, what becomes of the rest.
    pub const ORDINARY: Self = Self {
        headers: 128,
        least: 64,
        extensions: false,
    };

    /// Whether the device cuts this one.
    #[inline]
    fn has(self, found: &Offload, mss: u16) -> bool {
        let is_behind = found.is_ipv6 && found.transport.wrapping_sub(found.network) > 40;
        found.payload <= self.headers && mss >= self.least && (self.extensions || !is_behind)
    }
}

/// What is to be done, beside a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// The frame is sent as it is.
    #[default]
    None,
    /// A checksum is filled in.
    Checksum,
    /// TCP is cut, and all sums are filled in.
    Segment,
}

/// What a device is to do with a frame, and where in it. Offsets are in bytes from the frame's
/// first; but for [`vlan`](Offload::vlan) they mean something with a task only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// What.
    pub task: Task,
    /// IPv6, or else IPv4.
    pub is_ipv6: bool,
    /// TCP, or else UDP.
    pub is_tcp: bool,
    /// The IP header.
    pub network: u16,
    /// The TCP or UDP header.
    pub transport: u16,
    /// The checksum's field.
    pub sum: u16,
    /// What is behind all headers.
    pub payload: u16,
    /// Bytes of payload of each frame; not 0 if it is to be cut.
    pub mss: u16,
    /// The tag that is to be put in, priority and VLAN.
    pub vlan: Option<u16>,
}

/// The frame's headers are not such that a device could do what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// Finds out where the headers of a frame of so many bytes are, and prepares a segment's for a
/// device with these limits, that cuts it. `front` is the frame's first bytes: all headers, for
/// a segment; up to the checksum's field otherwise. Only a segment's are changed, and only if
/// the sums are to be without length.
///
/// # Errors
/// [`Unfit`], with nothing changed: neither TCP nor UDP, a fragment, more extension headers than
/// are looked behind, headers that are not all in `front`, or a segment that the device does not
/// cut.
#[inline]
pub fn describe(
    front: &mut [u8],
    bytes: u32,
    asked: &Asked,
    limits: &Limits,
) -> Result<Offload, Unfit> {
    if !asked.checksum && asked.mss == 0 {
        return Ok(Offload {
            vlan: asked.vlan,
            ..Offload::default()
        });
    }
    let mut found = headers(front).ok_or(Unfit)?;
    found.vlan = asked.vlan;
    found.task = Task::Checksum;
    if asked.mss > 0 {
        let is_cut = found.is_tcp
            && front.len() >= usize::from(found.payload)
            && bytes <= limits.longest
            && limits.cuts.has(&found, asked.mss);
        if !is_cut {
            return Err(Unfit);
        }
        found.task = Task::Segment;
        found.mss = asked.mss;
        if limits.sums == SegmentSums::WithoutLength {
            prepare(front, &found);
        }
    }
    Ok(found)
}

/// Where the headers are.
fn headers(front: &[u8]) -> Option<Offload> {
    let (ethertype, network) = flow::behind_tags(front)?;
    let packet = front.get(network..)?;
    let (protocol, len) = match ethertype {
        ethernet::IPV4 => ipv4(packet)?,
        ethernet::IPV6 => ipv6(packet)?,
        _ => return None,
    };
    let transport = network.checked_add(len)?;
    let (is_tcp, sum, header) = match protocol {
        protocol::TCP => {
            let words = front.get(transport.checked_add(12)?)? >> 4;
            (true, 16_usize, usize::from(words) * 4)
        }
        protocol::UDP => (false, 6, 8),
        _ => return None,
    };
    if header < sum.checked_add(2)? {
        return None;
    }
    let at = |offset: usize| u16::try_from(offset).ok();
    Some(Offload {
        is_ipv6: ethertype == ethernet::IPV6,
        is_tcp,
        network: at(network)?,
        transport: at(transport)?,
        sum: at(transport.checked_add(sum)?)?,
        payload: at(transport.checked_add(header)?)?,
        ..Offload::default()
    })
}

/// The protocol, and the header's length.
fn ipv4(packet: &[u8]) -> Option<(u8, usize)> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let len = usize::from(header[0] & 0x0f) * 4;
    let is_whole = header[0] >> 4 == 4 && len >= header.len() && word(header, 6) & 0x3fff == 0;
    is_whole.then_some((header[9], len))
}

/// The same, with extension headers.
fn ipv6(packet: &[u8]) -> Option<(u8, usize)> {
    let (header, behind) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (mut next, mut len) = (header[6], 0_usize);
    for _ in 0..=flow::MOST_EXTENSIONS {
        match next {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => {
                let &[following, units] = behind.get(len..)?.first_chunk()?;
                let bytes = usize::from(units).wrapping_add(1) * 8;
                (next, len) = (following, len.checked_add(bytes)?);
            }
            _ => return (len <= flow::MOST_EXTENSION_BYTES).then_some((next, len + 40)),
        }
    }
    None
}

/// Takes the length out of the pseudo-header's sum, and the sum out of an IPv4 header.
fn prepare(front: &mut [u8], found: &Offload) {
    let mut sum = Sum::new();
    let network = usize::from(found.network);
    let addresses = match found.is_ipv6 {
        true => network + 8..network + 40,
        false => network + 12..network + 20,
    };
    sum.add(front.get(addresses).unwrap_or_default());
    sum.add_number(protocol::TCP.into());
    put(front, found.sum.into(), sum.value());
    if !found.is_ipv6 {
        put(front, network + 10, 0);
    }
}

fn put(bytes: &mut [u8], at: usize, new: u16) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = new.to_be_bytes();
    }
}

bitflags! {
    /// What a device found out about a received frame's checksums.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Verdict: u8 {
        /// It looked at that of the IPv4 header.
        const IP_CHECKED = 1 << 0;
        /// And it is right.
        const IP_GOOD = 1 << 1;
        /// It looked at that of TCP or UDP.
        const L4_CHECKED = 1 << 2;
        /// And it is right.
        const L4_GOOD = 1 << 3;
    }
}

impl Verdict {
    /// Of the IPv4 header's checksum and that of TCP or UDP: whether it is right, if the device
    /// has looked at it.
    #[inline]
    pub fn of(ip: Option<bool>, l4: Option<bool>) -> Self {
        let mut verdict = Self::empty();
        verdict.set(Self::IP_CHECKED, ip.is_some());
        verdict.set(Self::IP_GOOD, ip == Some(true));
        verdict.set(Self::L4_CHECKED, l4.is_some());
        verdict.set(Self::L4_GOOD, l4 == Some(true));
        verdict
    }
}

/// What a device says of a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of the frame. The library fills this in.
    pub bytes: u32,
    /// Of its checksums.
    pub verdict: Verdict,
    /// The tag that was taken out of it.
    pub vlan: Option<u16>,
    /// The hash by which its queue was chosen, or 0.
    pub hash: u32,
    /// What was hashed.
    pub hash_kind: HashKind,
    /// Frames on the wire of which it was put together; 0 or 1 if it is one.
    pub segments: u16,
    /// Bytes of payload that each of them had; 0 if that is not known.
    pub mss: u16,
}

impl Meta {
    /// It says nothing.
    pub const NOTHING: Self = Self {
        bytes: 0,
        verdict: Verdict::empty(),
        vlan: None,
        hash: 0,
        hash_kind: HashKind::None,
        segments: 0,
        mss: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(is_ipv6: bool, protocol: u8, tags: usize) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        for _ in 0..tags {
            bytes.extend([0x81, 0, 0, 7]);
        }
        bytes.extend(if is_ipv6 { [0x86, 0xdd] } else { [8, 0] });
        if is_ipv6 {
            bytes.extend([0x60, 0, 0, 0, 0, 40, protocol, 64]);
            bytes.extend([0x11; 32]);
        } else {
            bytes.extend([0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0xaa, 0xbb]);
            bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        }
        let mut transport = [0; 40];
        transport[12] = 8 << 4;
        bytes.extend(transport);
        bytes
    }

    #[test]
    fn headers_are_found_behind_tags_in_both_families() {
        for (is_ipv6, tags) in [(false, 0), (false, 2), (true, 0), (true, 1)] {
            let ip = 14 + 4 * tags as u16;
            let tcp = ip + if is_ipv6 { 40 } else { 20 };
            let asked = Asked {
                checksum: true,
                ..Asked::default()
            };
            let mut front = frame(is_ipv6, protocol::TCP, tags);
            let before = front.clone();
            let found = described(&mut front, &asked, SegmentSums::WithoutLength).unwrap();
            assert_eq!(front, before);
            assert_eq!((found.network, found.transport), (ip, tcp));
            assert_eq!((found.sum, found.payload), (tcp + 16, tcp + 32));
            assert_eq!(found.task, Task::Checksum);
            let mut front = frame(is_ipv6, protocol::UDP, tags);
            let found = described(&mut front, &asked, SegmentSums::WithLength).unwrap();
            assert_eq!((found.sum, found.payload), (tcp + 6, tcp + 8));
            assert!(!found.is_tcp);
        }
    }

    /// With a device that cuts what any does.
    fn described(front: &mut [u8], asked: &Asked, sums: SegmentSums) -> Result<Offload, Unfit> {
        let cuts = Cuts::ORDINARY;
        limited(front, 60_000, asked, sums, cuts)
    }

    fn limited(
        front: &mut [u8],
        bytes: u32,
        asked: &Asked,
        sums: SegmentSums,
        cuts: Cuts,
    ) -> Result<Offload, Unfit> {
        let limits = Limits {
            segments: 32,
            segment_bytes: 4096,
            longest: 65_535,
            sums,
            cuts,
        };
        describe(front, bytes, asked, &limits)
    }

    #[test]
    fn a_segment_is_within_what_the_device_cuts() {
        let sums = SegmentSums::WithoutLength;
        let least = Cuts {
            headers: 86,
            least: 200,
            extensions: true,
        };
        let segment = |mss| Asked {
            mss,
            ..Asked::default()
        };
        // 14 + 40 + 32 bytes of headers.
        let mut front = frame(true, protocol::TCP, 0);
        let before = front.clone();
        for (bytes, mss, cuts, fits) in [
            (65_535, 200, least, true),
            (65_536, 200, least, false),
            (65_535, 199, least, false),
            (
                65_535,
                200,
                Cuts {
                    headers: 85,
                    ..least
                },
                false,
            ),
            (65_535, 64, Cuts::ORDINARY, true),
            (65_535, 63, Cuts::ORDINARY, false),
        ] {
            let found = limited(&mut front, bytes, &segment(mss), sums, cuts);
            assert_eq!(found.is_ok(), fits, "{bytes} {mss} {cuts:?}");
            if !fits {
                assert_eq!(front, before);
            }
            front = before.clone();
        }
        // Eight bytes of destination options in front of TCP.
        front[20] = protocol::DESTINATION_OPTIONS;
        front.splice(54..54, [protocol::TCP, 0, 1, 4, 0, 0, 0, 0]);
        let long = Cuts {
            headers: 94,
            ..least
        };
        assert!(limited(&mut front.clone(), 9000, &segment(200), sums, long).is_ok());
        let plain = Cuts {
            extensions: false,
            ..long
        };
        assert!(limited(&mut front, 9000, &segment(200), sums, plain).is_err());
        // Its checksum is the device's, as before.
        let asked = Asked {
            checksum: true,
            ..Asked::default()
        };
        assert!(limited(&mut front, 1000, &asked, sums, plain).is_ok());
    }

    #[test]
    fn a_segment_has_the_sum_that_the_device_wants() {
        let asked = Asked {
            mss: 1448,
            ..Asked::default()
        };
        let mut front = frame(false, protocol::TCP, 0);
        let found = described(&mut front, &asked, SegmentSums::WithoutLength).unwrap();
        assert_eq!((found.task, found.mss), (Task::Segment, 1448));
        assert_eq!(word(&front, 24), 0, "the IPv4 header's");
        let sum = 0x0a00 + 1 + 0x0a00 + 2 + 6;
        assert_eq!(word(&front, usize::from(found.sum)), sum);
    }

    #[test]
    fn what_no_device_could_do_is_refused() {
        let asked = Asked {
            checksum: true,
            mss: 1000,
            vlan: None,
        };
        let sums = SegmentSums::WithLength;
        let mut fragment = frame(false, protocol::TCP, 0);
        fragment[20] = 0x20;
        assert_eq!(described(&mut fragment, &asked, sums), Err(Unfit));
        let mut udp = frame(false, protocol::UDP, 0);
        assert_eq!(described(&mut udp, &asked, sums), Err(Unfit));
        let mut whole = frame(true, protocol::TCP, 1);
        for len in 0..whole.len() - 8 {
            assert_eq!(described(&mut whole[..len], &asked, sums), Err(Unfit));
        }
    }
}
