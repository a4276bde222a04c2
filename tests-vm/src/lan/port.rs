// SPDX-License-Identifier: BSD-2-Clause
//! The host's end of a card's cable.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::check::{self, Content, Frame, Packet, Reassembly};
use super::station::{Station, echo_number};
use super::stream::Streams;
use super::tcp::Tcp;

/// The longest frame that QEMU sends: a segment that the card did not cut, and headers.
const LONGEST: usize = 1 << 17;

/// How long nothing may come until it is given up: longer than any host is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing comes when nothing more is to come.
const QUIET: Duration = Duration::from_secs(10);

/// How long an echo is waited for until there is another one.
const ECHO_AGAIN: Duration = Duration::from_secs(3);

/// What a port does with frames, after it has looked at them.
pub enum Behaviour {
    /// Nothing.
    Silent,
    /// A host behind it answers.
    Station(Station),
    /// They come out at another port.
    Cable(Arc<Line>),
    /// Those to this address are kept.
    Keep([u8; 6], Vec<Vec<u8>>),
}

/// What was seen of the guest's frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The longest one's.
    pub longest: usize,
    /// To groups, and to all.
    pub multicast: u64,
    /// Frames in which something is wrong, and what it was of the first.
    pub wrong: u64,
    /// As above.
    pub first_wrong: Option<String>,
    /// Segments of TCP, whole, and their payloads' bytes.
    pub tcp: u64,
    /// As above.
    pub tcp_bytes: u64,
    /// Datagrams of UDP, whole, and their payloads' bytes.
    pub udp: u64,
    /// As above.
    pub udp_bytes: u64,
    /// Of them, to the [port](NUMBERED) of numbered ones: those with a number that is not above
    /// that of the one before, from the same port.
    pub late: u64,
    /// Packets that came in fragments, and the longest one's bytes behind the IP header.
    pub reassembled: u64,
    /// As above.
    pub longest_reassembled: usize,
    /// Frames with a tag.
    pub tagged: u64,
    /// Frames that went to the guest.
    pub sent: u64,
    /// The number of the last [echo](Port::reach) that the guest has answered.
    pub answered: u64,
}

/// Where datagrams go that begin with a number of 8 bytes.
pub const NUMBERED: u16 = 19;

struct State {
    behaviour: Behaviour,
    figures: Figures,
    /// The last number from each port.
    last: BTreeMap<u16, u64>,
    reassembly: Reassembly,
    streams: Streams,
    /// Of the station, if it has any.
    tcp: Option<Tcp>,
}

/// A connection with QEMU.
pub struct Line {
    /// Locked before the state, if both are.
    out: Mutex<Option<UnixStream>>,
    state: Mutex<State>,
    news: Condvar,
}

/// One card's other end.
#[derive(Clone)]
pub struct Port {
    line: Arc<Line>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    pub(super) fn listen(path: &Path) -> Result<Self> {
        // One of a machine that is gone.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)
            .with_context(|| format!("could not listen at {}", path.display()))?;
        let line = Arc::new(Line {
            out: Mutex::new(None),
            state: Mutex::new(State {
                behaviour: Behaviour::Silent,
                figures: Figures::default(),
                last: BTreeMap::new(),
                reassembly: Reassembly::default(),
                streams: Streams::default(),
                tcp: None,
            }),
            news: Condvar::new(),
        });
        let serving = Arc::clone(&line);
        std::thread::spawn(move || {
            if let Ok((socket, _)) = listener.accept() {
                // The end of the machine is the end of the line.
                let _ = serving.serve(socket);
            }
        });
        Ok(Self { line })
    }

    /// From now on it does this.
    pub fn set(&self, behaviour: Behaviour) {
        let mut state = locked(&self.line.state);
        (state.behaviour, state.tcp) = (behaviour, None);
    }

    /// Has a station at this port do TCP as well, with the guest's card of that address.
    #[must_use]
    pub fn tcp(&self, station: &Station, card: [u8; 6]) -> Tcp {
        let (mac, line) = (station.mac, Arc::downgrade(&self.line));
        let tcp = Tcp::new([station.v4.into(), station.v6.into()], move |packet| {
            // A machine that is gone receives nothing.
            if let Some(line) = line.upgrade() {
                let _ = line.send(&Station::around(&card, &mac, packet));
            }
        });
        locked(&self.line.state).tcp = Some(tcp.clone());
        tcp
    }

    /// The line, for [`Behaviour::Cable`].
    #[must_use]
    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// What was seen so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        locked(&self.line.state).figures.clone()
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        let mut state = locked(&self.line.state);
        state.figures = Figures::default();
        state.last.clear();
    }

    /// The frames that were [kept](Behaviour::Keep), if so many come, or those that have when
    /// nothing has come for a while; they are not kept any more.
    #[must_use]
    pub fn kept(&self, count: usize) -> Vec<Vec<u8>> {
        let mut state = locked(&self.line.state);
        loop {
            let (frames, kept) = match &mut state.behaviour {
                Behaviour::Keep(_, kept) => (kept.len(), kept),
                _ => return Vec::new(),
            };
            if frames >= count {
                return std::mem::take(kept);
            }
            let waited = self.line.news.wait_timeout(state, QUIET);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if let Behaviour::Keep(_, kept) = &mut state.behaviour
                && timeout.timed_out()
                && kept.len() == frames
            {
                return std::mem::take(kept);
            }
        }
    }

    /// Forgets how long the longest frame was.
    pub fn forget_longest(&self) {
        locked(&self.line.state).figures.longest = 0;
    }

    /// Waits until the figures are such, or for so long: whether they are.
    pub fn wait(&self, limit: Duration, are_such: impl Fn(&Figures) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut state = locked(&self.line.state);
        while !are_such(&state.figures) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.line.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits until a figure is so much, for as long as it grows: what it is then.
    pub fn gather(&self, wanted: u64, figure: impl Fn(&Figures) -> u64) -> u64 {
        loop {
            let count = figure(&self.figures());
            if count >= wanted || !self.wait(PATIENCE, |seen| figure(seen) > count) {
                return count;
            }
        }
    }

    /// Has the host begin a stream of TCP, of so many bytes, to that port of the guest's.
    ///
    /// # Errors
    /// If the machine is gone.
    pub fn pour(
        &self,
        station: &Station,
        to: [u8; 6],
        address: IpAddr,
        port: u16,
        bytes: usize,
    ) -> io::Result<()> {
        let frame = {
            let streams = &mut locked(&self.line.state).streams;
            station.stream(to, address, port, bytes, streams)
        };
        self.send(&frame)
    }

    /// How many frames have come as far as the guest's card at least, of those that were sent:
    /// all that were before an echo that the guest has answered. `None` if it answers none.
    #[must_use]
    pub fn reach(&self, station: &Station, to: [u8; 6], address: Ipv4Addr) -> Option<u64> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let before = self.figures();
            let number = before.answered + 1;
            let echo = station.echo(to, address, number);
            self.send(&echo).ok()?;
            // The card may drop one, as any other frame.
            if self.wait(ECHO_AGAIN, |seen| seen.answered >= number) {
                return Some(before.sent);
            }
        }
        None
    }

    /// Puts a frame on the cable.
    ///
    /// # Errors
    /// If the machine is gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.line.send(frame)
    }
}

impl Line {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut out = locked(&self.out);
        let socket = out.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut whole = Vec::with_capacity(frame.len() + 4);
        whole.extend(len.to_be_bytes());
        whole.extend(frame);
        // First, so that none is on its way that is not counted.
        locked(&self.state).figures.sent += 1;
        socket.write_all(&whole)
    }

    fn serve(&self, mut socket: UnixStream) -> io::Result<()> {
        *locked(&self.out) = Some(socket.try_clone()?);
        let mut frame = Vec::new();
        loop {
            let mut len = [0; 4];
            socket.read_exact(&mut len)?;
            let len = u32::from_be_bytes(len) as usize;
            if len > LONGEST {
                return Err(io::Error::other(format!("a frame of {len} bytes")));
            }
            frame.resize(len, 0);
            socket.read_exact(&mut frame)?;
            self.take(&frame);
        }
    }

    /// Looks at a frame, and does what is to be done about it.
    fn take(&self, bytes: &[u8]) {
        let reaction = {
            let mut state = locked(&self.state);
            let state = &mut *state;
            let found = check::frame(bytes, &mut state.reassembly);
            state.figures.count(bytes, &found);
            if let Ok(frame) = &found
                && let Some((from, number)) = numbered(frame)
            {
                let last = state.last.insert(from, number);
                state.figures.late += u64::from(last.is_some_and(|last| last >= number));
            }
            match (&mut state.behaviour, found) {
                (Behaviour::Station(station), Ok(frame)) => match (frame.content, &state.tcp) {
                    (Content::Ip(packet), Some(tcp)) if packet.protocol == check::TCP => {
                        tcp.give(packet);
                        Reaction::Nothing
                    }
                    (content, _) => {
                        let frame = Frame { content, ..frame };
                        let mut answers = station.answer(&frame, bytes);
                        answers.extend(station.answer_stream(&frame, &mut state.streams));
                        Reaction::Answer(answers)
                    }
                },
                (Behaviour::Cable(other), _) => Reaction::Pass(Arc::clone(other)),
                (Behaviour::Keep(to, kept), _) => {
                    if bytes.starts_with(to) {
                        kept.push(bytes.to_vec());
                    }
                    Reaction::Nothing
                }
                _ => Reaction::Nothing,
            }
        };
        self.news.notify_all();
        // A machine that is gone receives nothing.
        match reaction {
            Reaction::Nothing => {}
            Reaction::Pass(other) => drop(other.send(bytes)),
            Reaction::Answer(frames) => {
                for frame in frames {
                    let _ = self.send(&frame);
                }
            }
        }
    }
}

/// The port that a numbered datagram is from, and its number.
fn numbered(frame: &Frame) -> Option<(u16, u64)> {
    let Content::Ip(Packet { protocol, body, .. }) = &frame.content else {
        return None;
    };
    let (ports, rest) = body.split_first_chunk::<8>()?;
    let [from, to] = [[ports[0], ports[1]], [ports[2], ports[3]]].map(u16::from_be_bytes);
    let number = rest.first_chunk().copied().map(u64::from_be_bytes)?;
    (*protocol == check::UDP && to == NUMBERED).then_some((from, number))
}

/// What is to be done about a frame.
enum Reaction {
    Nothing,
    Pass(Arc<Line>),
    Answer(Vec<Vec<u8>>),
}

impl Figures {
    fn count(&mut self, bytes: &[u8], found: &Result<Frame, String>) {
        self.frames += 1;
        self.bytes += bytes.len() as u64;
        self.longest = self.longest.max(bytes.len());
        let frame = match found {
            Ok(frame) => frame,
            Err(why) => {
                self.wrong += 1;
                let hex: String = bytes.iter().take(96).map(|b| format!("{b:02x}")).collect();
                self.first_wrong
                    .get_or_insert_with(|| format!("{why}: {} bytes, {hex}", bytes.len()));
                return;
            }
        };
        self.multicast += u64::from(frame.to[0] & 1);
        self.tagged += u64::from(!frame.tags.is_empty());
        let Content::Ip(Packet {
            protocol,
            body,
            pieces,
            ..
        }) = &frame.content
        else {
            return;
        };
        if *pieces > 1 {
            self.reassembled += 1;
            self.longest_reassembled = self.longest_reassembled.max(body.len());
        }
        match *protocol {
            check::ICMP => {
                let number = echo_number(body).unwrap_or(0);
                self.answered = self.answered.max(number);
            }
            check::TCP => {
                let header = usize::from(body.get(12).copied().unwrap_or(0) >> 4) * 4;
                self.tcp += 1;
                self.tcp_bytes += body.len().saturating_sub(header) as u64;
            }
            check::UDP => {
                self.udp += 1;
                self.udp_bytes += body.len().saturating_sub(8) as u64;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const GUEST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

    fn station() -> Station {
        Station {
            mac: [2, 0, 0, 0, 0, 1],
            v4: Ipv4Addr::new(10, 9, 0, 1),
            v6: "fd00:9::1".parse().unwrap(),
            vlan: None,
            offered: GUEST,
        }
    }

    /// A port, and a guest that answers echoes, but for the first frame, which is lost.
    fn port() -> (tempfile::TempDir, Port) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nic");
        let port = Port::listen(&path).unwrap();
        port.set(Behaviour::Station(station()));
        let mut socket = UnixStream::connect(&path).unwrap();
        let guest = Station {
            mac: CARD,
            v4: GUEST,
            ..station()
        };
        std::thread::spawn(move || {
            for number in 0.. {
                let mut len = [0; 4];
                if socket.read_exact(&mut len).is_err() {
                    return;
                }
                let mut frame = vec![0; u32::from_be_bytes(len) as usize];
                socket.read_exact(&mut frame).unwrap();
                let found = check::frame(&frame, &mut Reassembly::default()).unwrap();
                let answers = guest.answer(&found, &frame).into_iter();
                for answer in answers.filter(|_| number > 0) {
                    let len = (answer.len() as u32).to_be_bytes();
                    socket.write_all(&[&len[..], &answer].concat()).unwrap();
                }
            }
        });
        while port.send(&[0; 60]).is_err() {
            std::thread::yield_now();
        }
        port.clear();
        (folder, port)
    }

    #[test]
    fn what_was_sent_before_an_echo_is_known_to_have_come() {
        let (_folder, port) = port();
        for number in 1..3 {
            port.send(&station().unknown(CARD, 100)).unwrap();
            assert_eq!(port.reach(&station(), CARD, GUEST), Some(number * 2 - 1));
            assert_eq!(port.figures().answered, number);
        }
        assert_eq!(port.figures().wrong, 0);
    }

    #[test]
    fn a_stream_is_begun() {
        let (_folder, port) = port();
        port.pour(&station(), CARD, GUEST.into(), 5000, 100)
            .unwrap();
        assert_eq!(port.figures().sent, 1);
    }
}
