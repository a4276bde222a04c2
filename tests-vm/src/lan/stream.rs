// SPDX-License-Identifier: BSD-2-Clause
//! TCP (RFC 9293) as far as a host needs it that measures: at [`SINK`] it takes whatever
//! connections bring, and from [`SOURCE`] it sends so much, never more than the peer has room
//! for. A cable loses nothing and keeps the order, so there is nothing to be sent again, and what
//! a segment is answered follows from it alone, but for how far a source has got.

use std::collections::HashMap;

/// Connections to this port are taken, and what they bring.
pub const SINK: u16 = 9;
/// From this port comes what is asked for.
pub const SOURCE: u16 = 20;
/// Bytes of payload of a segment.
pub const SEGMENT: usize = 1460;
/// Segments that are sent at a time. Receivers acknowledge every other one at once.
const BATCH: usize = 16;
const HEADER: usize = 20;
const WINDOW: u16 = 65_535;

const FIN: u8 = 1;
const SYN: u8 = 2;
const PUSH: u8 = 8;
const ACK: u8 = 16;

/// The connections of a host.
#[derive(Default)]
pub(super) struct Streams {
    /// By the peer's port: bytes that a source is to send, and has sent.
    sources: HashMap<u16, (usize, usize)>,
}

/// A segment's header.
struct Segment {
    ports: [u16; 2],
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    /// Bytes that its sender has room for behind those. Not scaled, for no [`segment`] offers that.
    window: u16,
    bytes: u32,
}

impl Segment {
    fn of(body: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let header = usize::from(body.get(12)? >> 4) * 4;
        Some(Self {
            ports: [word(0)?, word(2)?],
            sequence: long(4)?,
            acknowledged: long(8)?,
            flags: *body.get(13)?,
            window: word(14)?,
            bytes: u32::try_from(body.len().checked_sub(header)?).ok()?,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What is behind it.
    fn next(&self) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.sequence.wrapping_add(self.bytes).wrapping_add(flags)
    }

    /// An answer, without checksum, with so many zeroes.
    fn answer(&self, sequence: u32, flags: u8, bytes: usize) -> Vec<u8> {
        let [from, to] = self.ports;
        segment([to, from], [sequence, self.next()], flags, bytes)
    }
}

fn segment(ports: [u16; 2], numbers: [u32; 2], flags: u8, bytes: usize) -> Vec<u8> {
    let mut segment = Vec::with_capacity(HEADER + 4 + bytes);
    segment.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
    segment.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    let options: &[u8] = match flags & SYN {
        0 => &[],
        _ => &[2, 4, (SEGMENT >> 8) as u8, SEGMENT as u8],
    };
    segment.extend([((HEADER + options.len()) << 2) as u8, flags]);
    segment.extend(WINDOW.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(options);
    segment.resize(segment.len() + bytes, 0);
    segment
}

impl Streams {
    /// What begins a stream of so many bytes to that port.
    pub(super) fn open(&mut self, port: u16, bytes: usize) -> Vec<u8> {
        self.sources.insert(port, (bytes, 0));
        segment([SOURCE, port], [0, 0], SYN, 0)
    }

    /// What a segment is answered: segments without checksums.
    pub(super) fn answers(&mut self, body: &[u8]) -> Vec<Vec<u8>> {
        let Some(segment) = Segment::of(body) else {
            return Vec::new();
        };
        match segment.ports {
            [_, SINK] => sink(&segment).into_iter().collect(),
            [port, SOURCE] => self.source(port, &segment),
            _ => Vec::new(),
        }
    }

    fn source(&mut self, port: u16, segment: &Segment) -> Vec<Vec<u8>> {
        let Some((bytes, sent)) = self.sources.get_mut(&port) else {
            return Vec::new();
        };
        let mut answers = Vec::new();
        if segment.has(SYN | FIN) {
            answers.push(segment.answer(segment.acknowledged, ACK, 0));
        }
        // All that was sent has come, or the connection is there: the first byte has number 1.
        if segment.acknowledged as usize != *sent + 1 {
            return answers;
        }
        let mut room = usize::from(segment.window);
        for _ in 0..BATCH {
            let count = SEGMENT.min(*bytes - *sent);
            // Once there is more room the peer says so.
            if count == 0 || count > room {
                break;
            }
            room -= count;
            let flags = if *sent + count == *bytes {
                ACK | PUSH | FIN
            } else {
                ACK
            };
            answers.push(segment.answer(*sent as u32 + 1, flags, count));
            *sent += count;
        }
        answers
    }
}

/// What a sink says.
fn sink(segment: &Segment) -> Option<Vec<u8>> {
    if segment.has(SYN) {
        return Some(segment.answer(0, SYN | ACK, 0));
    }
    let is_last = segment.has(FIN);
    let flags = if is_last { ACK | FIN } else { ACK };
    (segment.bytes > 0 || is_last).then(|| segment.answer(1, flags, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(answer: &[u8], flags: u8, bytes: usize) -> Vec<u8> {
        let of = Segment::of(answer).unwrap();
        of.answer(of.acknowledged, flags, bytes)
    }

    #[test]
    fn a_sink_acknowledges_all_it_gets_and_closes() {
        let mut streams = Streams::default();
        let opening = segment([4_000, SINK], [700, 0], SYN, 0);
        let [welcome] = &streams.answers(&opening)[..] else {
            panic!("no answer");
        };
        let said = Segment::of(welcome).unwrap();
        assert_eq!((said.flags, said.acknowledged), (SYN | ACK, 701));
        assert!(streams.answers(&reply(welcome, ACK, 0)).is_empty());
        let answers = streams.answers(&reply(welcome, ACK, 5_000));
        let said = Segment::of(&answers[0]).unwrap();
        assert_eq!((said.sequence, said.acknowledged), (1, 5_701));
        let answers = streams.answers(&reply(&answers[0], FIN | ACK, 0));
        let said = Segment::of(&answers[0]).unwrap();
        assert_eq!((said.flags, said.acknowledged), (FIN | ACK, 5_702));
    }

    #[test]
    fn a_source_sends_no_more_than_there_is_room_for() {
        let mut streams = Streams::default();
        let opening = streams.open(5_000, SEGMENT * BATCH);
        let mut welcome = reply(&opening, SYN | ACK, 0);
        let with_room = |segment: &mut Vec<u8>, room: usize| {
            segment[14..16].copy_from_slice(&(room as u16).to_be_bytes());
        };
        with_room(&mut welcome, SEGMENT * 3 - 1);
        let answers = streams.answers(&welcome);
        assert_eq!(answers.len(), 1 + 2);
        let mut all = reply(answers.last().unwrap(), ACK, 0);
        with_room(&mut all, SEGMENT - 1);
        assert!(
            streams.answers(&all).is_empty(),
            "more than there is room for"
        );
        with_room(&mut all, 65_535);
        let answers = streams.answers(&all);
        assert_eq!(answers.len(), BATCH - 2);
        let said = Segment::of(answers.last().unwrap()).unwrap();
        assert_eq!(said.flags, ACK | PUSH | FIN);
    }

    #[test]
    fn a_source_sends_a_batch_for_each_that_came_whole() {
        let mut streams = Streams::default();
        let bytes = SEGMENT * BATCH + 100;
        let opening = streams.open(5_000, bytes);
        let welcome = reply(&opening, SYN | ACK, 0);
        let mut answers = streams.answers(&welcome);
        assert_eq!(answers.len(), 1 + BATCH);
        let half = reply(&answers[BATCH / 2], ACK, 0);
        assert!(streams.answers(&half).is_empty());
        let whole = reply(answers.last().unwrap(), ACK, 0);
        answers = streams.answers(&whole);
        assert!(streams.answers(&whole).is_empty(), "said again");
        let [last] = &answers[..] else {
            panic!("{} segments", answers.len());
        };
        let said = Segment::of(last).unwrap();
        assert_eq!((said.bytes, said.flags), (100, ACK | PUSH | FIN));
        assert_eq!(said.next() as usize, bytes + 2);
    }
}
