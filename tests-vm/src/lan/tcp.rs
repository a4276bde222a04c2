// SPDX-License-Identifier: BSD-2-Clause
//! TCP of a host behind a port, by smoltcp: streams of bytes that either end knows beforehand,
//! as the guest's `tcp send` makes them and its `tcp serve` expects them.
//!
//! It gets packets that a port has looked at and put together, and gives packets, which are put
//! into frames by whoever has it: neighbours are none of its business.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as Time;
use smoltcp::wire::{HardwareAddress, IpCidr};
use weft_agent::pattern::Pattern;

use super::check::{Packet, TCP};

/// The longest packet that it sends, in bytes.
const MTU: usize = 1500;
/// Bytes of a connection that are on their way to the guest at most: fewer than the smallest
/// ring of a card has room for.
const TO_GUEST: usize = 96 << 10;
/// And from it.
const FROM_GUEST: usize = 1 << 20;
/// How long nothing is done at most while streams are there.
const GLANCE: Duration = Duration::from_millis(10);
/// Bytes by which a stream with a rate goes on.
const STEP: u64 = 4096;
/// Where ports of connections that it opens begin.
const FIRST_PORT: u16 = 50_000;

/// What became of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Bytes that came, or that the guest has taken.
    pub bytes: u64,
    /// Those of them that came and were others.
    pub wrong: u64,
    /// Both sides have ended it.
    pub is_over: bool,
    /// It was reset.
    pub is_broken: bool,
}

/// What the thread is told.
enum Order {
    Packet(Packet),
    Take(Plan, u16),
    Send(Plan, SocketAddr),
    /// A stream that is sent is to end.
    End(usize),
}

/// A stream to be.
#[derive(Clone, Copy)]
struct Plan {
    number: usize,
    pattern: Pattern,
    /// Bytes a second at most.
    rate: Option<u64>,
    /// All bytes, of one that is sent.
    bytes: u64,
}

#[derive(Default)]
struct Board {
    streams: Mutex<Vec<Stream>>,
    news: Condvar,
}

/// TCP of a host. It ends when all of its handles are gone.
#[derive(Clone)]
pub struct Tcp {
    orders: Sender<Order>,
    board: Arc<Board>,
}

impl Tcp {
    /// Of a host with these addresses, which gives packets to `out`.
    pub(super) fn new(addresses: [IpAddr; 2], out: impl Fn(&[u8]) + Send + 'static) -> Self {
        let (orders, inbox) = channel();
        let board = Arc::new(Board::default());
        let shown = Arc::clone(&board);
        std::thread::spawn(move || Host::new(addresses, shown).run(&inbox, out));
        Self { orders, board }
    }

    /// Gives it a packet.
    pub(super) fn give(&self, packet: Packet) {
        // The thread lives as long as this.
        let _ = self.orders.send(Order::Packet(packet));
    }

    /// Takes one connection to a port, and holds what comes against the bytes of a seed: the
    /// stream's number. It is taken as it comes, since smoltcp 0.12 fails where a peer sends
    /// into a window that it has closed.
    #[must_use]
    pub fn take(&self, port: u16, seed: u64) -> usize {
        let plan = self.plan(seed, None, 0);
        let _ = self.orders.send(Order::Take(plan, port));
        plan.number
    }

    /// Sends bytes of a seed to the guest's port, no more than `rate` in a second: the
    /// stream's number.
    #[must_use]
    pub fn send(&self, to: SocketAddr, seed: u64, rate: Option<u64>, bytes: u64) -> usize {
        let plan = self.plan(seed, rate, bytes);
        let _ = self.orders.send(Order::Send(plan, to));
        plan.number
    }

    /// Has a stream to the guest end with what has been sent.
    pub fn end(&self, number: usize) {
        let _ = self.orders.send(Order::End(number));
    }

    /// How far a stream is.
    #[must_use]
    pub fn stream(&self, number: usize) -> Stream {
        let streams = self.board.locked();
        streams.get(number).copied().unwrap_or_default()
    }

    /// Waits until a stream is such, for as long as it goes on: how it is then.
    pub fn wait(
        &self,
        number: usize,
        patience: Duration,
        is_such: impl Fn(&Stream) -> bool,
    ) -> Stream {
        let mut streams = self.board.locked();
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = streams.get(number).copied().unwrap_or_default();
            if now.bytes > last {
                (last, since) = (now.bytes, Instant::now());
            }
            if is_such(&now) || now.is_broken || since.elapsed() > patience {
                return now;
            }
            let waited = self.board.news.wait_timeout(streams, GLANCE);
            streams = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn plan(&self, seed: u64, rate: Option<u64>, bytes: u64) -> Plan {
        let mut streams = self.board.locked();
        streams.push(Stream::default());
        Plan {
            number: streams.len() - 1,
            pattern: Pattern::new(seed),
            rate,
            bytes,
        }
    }
}

impl Board {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packets that come and go.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

struct Incoming(Vec<u8>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, with: F) -> R {
        with(&self.0)
    }
}

struct Outgoing<'w>(&'w mut Vec<Vec<u8>>);

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, with: F) -> R {
        let mut packet = vec![0; len];
        let result = with(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'w> = Incoming;
    type TxToken<'w> = Outgoing<'w>;

    fn receive(&mut self, _now: Time) -> Option<(Incoming, Outgoing<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Incoming(packet), Outgoing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _now: Time) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        // What comes has been looked at.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

/// A stream and its connection.
struct Going {
    plan: Plan,
    socket: SocketHandle,
    is_sent: bool,
    /// Bytes taken, or given to the connection.
    done: u64,
    started: Option<Instant>,
    /// All has been put or taken, and the guest knows.
    is_closing: bool,
}

struct Host {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    streams: Vec<Going>,
    board: Arc<Board>,
}

impl Host {
    fn new(addresses: [IpAddr; 2], board: Arc<Board>) -> Self {
        let mut wire = Wire::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut wire, Time::now());
        interface.update_ip_addrs(|own| {
            for address in addresses {
                let bits = if address.is_ipv4() { 24 } else { 64 };
                // There is room for two.
                let _ = own.push(IpCidr::new(address.into(), bits));
            }
        });
        Self {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            streams: Vec::new(),
            board,
        }
    }

    fn run(mut self, inbox: &Receiver<Order>, out: impl Fn(&[u8])) {
        loop {
            let wait = match self.streams.is_empty() {
                true => Duration::from_secs(1),
                false => {
                    let now = Time::now();
                    let delay = self.interface.poll_delay(now, &self.sockets);
                    delay.map_or(GLANCE, |delay| Duration::from(delay).min(GLANCE))
                }
            };
            match inbox.recv_timeout(wait) {
                Ok(order) => self.follow(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // What has come meanwhile.
            inbox.try_iter().for_each(|order| self.follow(order));
            let mut is_moving = true;
            while is_moving {
                self.interface
                    .poll(Time::now(), &mut self.wire, &mut self.sockets);
                is_moving = self.serve();
                for packet in self.wire.outgoing.drain(..) {
                    out(&packet);
                }
            }
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Packet(packet) => self.wire.incoming.push_back(whole(&packet)),
            Order::Take(plan, port) => {
                let mut socket = socket(FROM_GUEST, 1 << 10);
                // A port is never 0.
                let _ = socket.listen(port);
                self.add(plan, socket, false);
            }
            Order::Send(plan, to) => {
                let mut socket = socket(1 << 10, TO_GUEST);
                let port = FIRST_PORT.wrapping_add(plan.number as u16);
                let context = self.interface.context();
                // Neither address nor port is 0.
                let _ = socket.connect(context, to, port);
                self.add(plan, socket, true);
            }
            Order::End(number) => {
                let all = self.streams.iter_mut();
                for stream in all.filter(|stream| stream.plan.number == number) {
                    stream.plan.bytes = stream.done;
                }
            }
        }
    }

    fn add(&mut self, plan: Plan, socket: Socket<'static>, is_sent: bool) {
        self.streams.push(Going {
            plan,
            socket: self.sockets.add(socket),
            is_sent,
            done: 0,
            started: None,
            is_closing: false,
        });
    }

    /// Moves bytes between connections and streams: whether any went.
    fn serve(&mut self) -> bool {
        let mut is_moving = false;
        let sockets = &mut self.sockets;
        let mut shown = self.board.locked();
        self.streams.retain_mut(|stream| {
            let socket = sockets.get_mut::<Socket<'_>>(stream.socket);
            let Some(shown) = shown.get_mut(stream.plan.number) else {
                return false;
            };
            let before = (stream.done, socket.state());
            stream.serve(socket, shown);
            is_moving |= before != (stream.done, socket.state());
            let has_ended = matches!(socket.state(), State::Closed | State::TimeWait);
            if has_ended && stream.started.is_some() {
                shown.is_over = !shown.is_broken;
                sockets.remove(stream.socket);
                return false;
            }
            true
        });
        drop(shown);
        self.board.news.notify_all();
        is_moving
    }
}

impl Going {
    fn serve(&mut self, socket: &mut Socket<'_>, shown: &mut Stream) {
        if socket.state() == State::Closed {
            // In order only if both have said so, and the guest has all.
            shown.is_broken |= !self.is_closing || socket.send_queue() > 0;
            self.started.get_or_insert_with(Instant::now);
            return;
        }
        if self.started.is_none() && !socket.may_send() && !socket.may_recv() {
            return;
        }
        let started = *self.started.get_or_insert_with(Instant::now);
        let is_at_end = match self.is_sent {
            true => {
                let allowed = self.plan.rate.map_or(u64::MAX, |rate| {
                    (started.elapsed().as_secs_f64() * rate as f64) as u64
                });
                let room = allowed.saturating_sub(self.done);
                self.put(socket, room / STEP * STEP, shown)
            }
            false => self.take(socket, shown),
        };
        if is_at_end && !self.is_closing {
            socket.close();
            self.is_closing = true;
        }
    }

    /// Gives the connection at most so many bytes: whether these were the last ones.
    fn put(&mut self, socket: &mut Socket<'_>, room: u64, shown: &mut Stream) -> bool {
        let room = room.min(self.plan.bytes.saturating_sub(self.done));
        let (pattern, at) = (self.plan.pattern, self.done);
        if room > 0 && socket.can_send() {
            let put = |into: &mut [u8]| {
                let bytes = into.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                pattern.fill(at, &mut into[..bytes]);
                (bytes, bytes as u64)
            };
            self.done += socket.send(put).unwrap_or(0);
        }
        // What was not acknowledged is still there.
        shown.bytes = self.done - socket.send_queue() as u64;
        self.done >= self.plan.bytes
    }

    /// Takes what there is out of the connection: whether no more will come.
    fn take(&mut self, socket: &mut Socket<'_>, shown: &mut Stream) -> bool {
        let (pattern, at) = (self.plan.pattern, self.done);
        let mut wrong = 0;
        if socket.can_recv() {
            let take = |from: &mut [u8]| {
                wrong = pattern.differences(at, from);
                (from.len(), from.len() as u64)
            };
            self.done += socket.recv(take).unwrap_or(0);
        }
        (shown.bytes, shown.wrong) = (self.done, shown.wrong + wrong);
        !socket.may_recv()
    }
}

fn socket(receive: usize, send: usize) -> Socket<'static> {
    let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
    let mut socket = Socket::new(buffer(receive), buffer(send));
    socket.set_nagle_enabled(false);
    socket
}

/// A packet with an IP header again.
fn whole(packet: &Packet) -> Vec<u8> {
    let bytes = packet.body.len();
    let mut whole = match packet.from.len() {
        4 => {
            let mut header = vec![0x45, 0];
            header.extend(((bytes + 20) as u16).to_be_bytes());
            header.extend([0, 0, 0, 0, 64, TCP, 0, 0]);
            header
        }
        _ => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((bytes as u16).to_be_bytes());
            header.extend([TCP, 64]);
            header
        }
    };
    whole.extend(&packet.from);
    whole.extend(&packet.to);
    whole.extend(&packet.body);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lan::check::{self, Reassembly};
    use crate::lan::station::Station;

    /// Two hosts, each of whose packets go to the other one as frames that are looked at.
    fn two() -> [Tcp; 2] {
        let addresses = |last: u8| {
            let v4: IpAddr = format!("10.0.0.{last}").parse().unwrap();
            let v6: IpAddr = format!("fd00::{last}").parse().unwrap();
            [v4, v6]
        };
        let (there, from_there) = channel();
        let (back, from_back) = channel();
        let hosts = [
            Tcp::new(addresses(1), move |packet| {
                drop(there.send(packet.to_vec()))
            }),
            Tcp::new(addresses(2), move |packet| drop(back.send(packet.to_vec()))),
        ];
        for (packets, to) in [(from_there, &hosts[1]), (from_back, &hosts[0])] {
            let to = to.clone();
            std::thread::spawn(move || {
                for packet in packets {
                    let frame = Station::around(&[2; 6], &[4; 6], &packet);
                    let found = check::frame(&frame, &mut Reassembly::default()).unwrap();
                    match found.content {
                        check::Content::Ip(packet) => to.give(packet),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        hosts
    }

    #[test]
    fn streams_arrive_in_both_families_and_end() {
        const BYTES: u64 = 300_001;
        let hosts = two();
        for (port, to) in [(5000, "10.0.0.2"), (5001, "fd00::2")] {
            let taken = hosts[1].take(port, 7);
            let to = SocketAddr::new(to.parse().unwrap(), port);
            let sent = hosts[0].send(to, 7, None, BYTES);
            let is_over = |stream: &Stream| stream.is_over;
            let wanted = Stream {
                bytes: BYTES,
                is_over: true,
                ..Stream::default()
            };
            let limit = Duration::from_secs(20);
            assert_eq!(hosts[1].wait(taken, limit, is_over), wanted);
            assert_eq!(hosts[0].wait(sent, limit, is_over), wanted);
        }
    }

    #[test]
    fn other_bytes_are_counted() {
        let hosts = two();
        let taken = hosts[1].take(5000, 8);
        let to = SocketAddr::new("10.0.0.2".parse().unwrap(), 5000);
        let _ = hosts[0].send(to, 7, None, 1000);
        let seen = hosts[1].wait(taken, Duration::from_secs(20), |stream| stream.is_over);
        assert!(seen.bytes == 1000 && seen.wrong > 900, "{seen:?}");
    }

    #[test]
    fn a_stream_ends_when_it_is_told_to() {
        let hosts = two();
        let taken = hosts[1].take(5000, 7);
        let to = SocketAddr::new("10.0.0.2".parse().unwrap(), 5000);
        let sent = hosts[0].send(to, 7, Some(1_000_000), u64::MAX);
        let limit = Duration::from_secs(20);
        hosts[1].wait(taken, limit, |stream| stream.bytes > 10_000);
        hosts[0].end(sent);
        let ends = [
            hosts[0].wait(sent, limit, |stream| stream.is_over),
            hosts[1].wait(taken, limit, |stream| stream.is_over),
        ];
        assert!(
            ends[0].is_over && ends[0].bytes == ends[1].bytes,
            "{ends:?}"
        );
    }
}
