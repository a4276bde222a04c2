// SPDX-License-Identifier: BSD-2-Clause
//! Datagrams and streams of TCP between a card and the host behind its cable, both ways at the
//! same time, and what has become of each frame.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Context;
use super::nic::Wire;
use super::nic_card::stat;
use super::pair::{LIMIT, listen};
use crate::guest::{Error, Result};
use crate::lan::{Port, Stream, Tcp, card_mac};

/// The host's port that takes a stream, and the guest's.
const TO_HOST: u16 = 5000;
const TO_GUEST: u16 = 5001;
/// Where the host sends datagrams back.
const ECHO: u16 = 7;
/// Of the streams' bytes.
const SEED: u64 = 7;
/// Datagrams a second, their bytes, and more of them than are ever sent.
const DATAGRAMS: u64 = 300;
const DATAGRAM: u64 = 600;
const MANY: u64 = 1 << 40;
/// Bytes a second of each stream.
const RATE: u64 = 300_000;
/// What the guest writes at a time: a long segment, if the card cuts those.
const WRITE: u64 = 16_384;
/// Bytes of a stream once more.
const ONCE: u64 = 300_000;
/// That so many more datagrams and bytes have come shows that traffic goes on.
const MORE_DATAGRAMS: u64 = 10;
const MORE_BYTES: u64 = 10_000;

/// For how long nothing moves when nothing moves any more: longer than it takes until a card's
/// done frames are looked for.
const QUIET: Duration = Duration::from_millis(1_500);

/// What goes between a card and the host.
pub(super) struct Traffic {
    name: String,
    wire: Wire,
    port: Port,
    tcp: Tcp,
    /// The streams' numbers.
    out: usize,
    into: usize,
    books: Books,
    /// Datagrams that others have sent.
    others: u64,
}

/// How far it is: datagrams at the host, bytes of the stream from the guest and of that to it.
#[derive(Clone, Copy, Debug)]
struct Progress([u64; 3]);

impl Traffic {
    /// Begins it. The interface has addresses, and the host answers.
    pub(super) fn begin(
        context: &mut Context<'_>,
        wire: &Wire,
        driver: &str,
        name: &str,
    ) -> Result<Self> {
        let port = wire.port(context)?;
        let tcp = port.tcp(&wire.station(), card_mac(wire.number()));
        let node = Books::node(driver, name);
        let books = Books::settled(context, &node, &port)?;
        let host = wire.host();
        let out = tcp.take(TO_HOST, SEED);
        let serve = format!("tcp serve {TO_GUEST} {SEED}");
        listen(context, "in", &serve)?;
        let guest = SocketAddr::new(wire.guest().into(), TO_GUEST);
        let into = tcp.send(guest, SEED, Some(RATE), u64::MAX);
        let send = format!("tcp send {host} {TO_HOST} {SEED} {MANY} {WRITE} {RATE}");
        context.guest.start("out", &send)?;
        let datagrams = format!("udp send {host} {ECHO} {MANY} {DATAGRAMS} 1 {DATAGRAM}");
        context.guest.start("datagrams", &datagrams)?;
        Ok(Self {
            name: name.into(),
            wire: Wire::new(wire.number()),
            port,
            tcp,
            out,
            into,
            books,
            others: 0,
        })
    }

    /// One more stream from the guest, as fast as it goes.
    pub(super) fn once_more(&self, context: &mut Context<'_>) -> Result<()> {
        let host = self.wire.host();
        let taken = self.tcp.take(TO_HOST + 2, SEED);
        let send = format!("tcp send {host} {} {SEED} {ONCE} {WRITE}", TO_HOST + 2);
        context.guest.call_within(&send, LIMIT)?;
        let seen = self.tcp.wait(taken, LIMIT, |stream| stream.is_over);
        let what = format!("{}: one more stream arrives", self.name);
        let is_whole = (seen.bytes, seen.wrong) == (ONCE, 0);
        context.report.check(is_whole, &what, format!("{seen:?}"));
        Ok(())
    }

    /// Of what the host has sent, the card was not to take so many frames.
    pub(super) fn left_out(&mut self, frames: u64) {
        self.books.left_out += frames;
    }

    /// Has the guest do what may stop the card for a moment. QEMU drops frames for a card that
    /// is stopped, or keeps them for it, without a word: so if it was, of what the host sends
    /// meanwhile some may be missing.
    pub(super) fn meanwhile<R>(
        &mut self,
        context: &mut Context<'_>,
        what: impl FnOnce(&mut Context<'_>, &Port) -> Result<R>,
    ) -> Result<R> {
        let window = self.books.open(context, &self.wire, &self.port)?;
        let result = what(context, &self.port)?;
        self.books.shut(context, &self.port, window)?;
        Ok(result)
    }

    /// The same of one command, such as one that sets something: what it says.
    pub(super) fn within(
        &mut self,
        context: &mut Context<'_>,
        command: &str,
    ) -> Result<Vec<String>> {
        self.meanwhile(context, |context, _| {
            context.guest.call_within(command, LIMIT)
        })
    }

    /// The same of a cable that is pulled and put in again.
    pub(super) fn unplugged<R>(
        &mut self,
        context: &mut Context<'_>,
        what: impl FnOnce(&mut Context<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut window = self.books.open(context, &self.wire, &self.port)?;
        window.is_lossy = true;
        let result = what(context)?;
        self.books.shut(context, &self.port, window)?;
        Ok(result)
    }

    /// So many datagrams have been sent beside these.
    pub(super) fn sent_more(&mut self, datagrams: u64) {
        self.others += datagrams;
    }

    /// The host's end of the cable.
    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    fn progress(&self) -> Progress {
        Progress([
            self.port.figures().udp,
            self.tcp.stream(self.out).bytes,
            self.tcp.stream(self.into).bytes,
        ])
    }

    /// Waits until more has come of all: if not, what has.
    pub(super) fn goes_on(&self) -> std::result::Result<(), String> {
        let before = self.progress();
        let wanted = [MORE_DATAGRAMS, MORE_BYTES, MORE_BYTES];
        let start = Instant::now();
        loop {
            let now = self.progress();
            let mut all = now.0.iter().zip(before.0).zip(wanted);
            if all.all(|((now, before), more)| *now >= before + more) {
                return Ok(());
            }
            if start.elapsed() > 2 * LIMIT {
                return Err(format!(
                    "datagrams and bytes out and in: {before:?}, then {now:?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it: all bytes of the streams have come, and of each frame is known what became of it.
    pub(super) fn end(self, context: &mut Context<'_>) -> Result<()> {
        let datagrams = self.stop(context)?;
        self.books.close(context, &self.name, &self.port, datagrams)
    }

    /// Ends it, with a cable that has lost datagrams.
    pub(super) fn end_unreliable(mut self, context: &mut Context<'_>) -> Result<()> {
        let datagrams = self.stop(context)?;
        self.books.is_unreliable = true;
        self.books.close(context, &self.name, &self.port, datagrams)
    }

    /// Ends it: how many datagrams were sent.
    fn stop(&self, context: &mut Context<'_>) -> Result<u64> {
        let name = &self.name;
        let sent = context.guest.stop("datagrams")?;
        let streamed = context.guest.stop("out")?;
        let over = |stream: &Stream| stream.is_over;
        let out = self.tcp.wait(self.out, LIMIT, over);
        self.tcp.end(self.into);
        let into = self.tcp.wait(self.into, LIMIT, over);
        let received = context.guest.finish("in", LIMIT)?;
        context.report.check(
            out.is_over && out.wrong == 0 && streamed.first() == Some(&out.bytes),
            &format!("{name}: the host has all bytes of the stream from the guest"),
            format!("{streamed:?} sent; {out:?}"),
        );
        context.report.check(
            into.is_over && received == [into.bytes, 0],
            &format!("{name}: the guest has all bytes of the stream from the host"),
            format!("{into:?} sent; {received:?}"),
        );
        let again = streamed.get(1).copied().unwrap_or(0);
        let line = format!(
            "{name}: {} datagrams, {} bytes out, of which {again} segments again, {} bytes in",
            sent.first().unwrap_or(&0),
            out.bytes,
            into.bytes,
        );
        context.report.note(&line);
        Ok(self.others + sent.first().copied().unwrap_or(0))
    }
}

/// What has become of a card's frames so far.
pub(super) struct Books {
    node: String,
    /// As the host has it: frames sent to the guest, and datagrams from it.
    host: [u64; 2],
    card: Counted,
    /// Frames to others, which the card does not take.
    left_out: u64,
    /// Frames that the host sent while the card stood, or the cable was pulled.
    meanwhile: u64,
    /// How often the card stood.
    stops: u32,
    /// The cable was pulled: what the card is done with has not come to the host.
    is_unreliable: bool,
}

/// A time in which the card may stand.
struct Window {
    /// Frames that had come to the card before.
    from: u64,
    /// Buffers that the card had given back then, which it does when it is stopped.
    withdrawn: u64,
    /// Frames are lost even if it is not.
    is_lossy: bool,
}

/// As the card's sysctls have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Frames received.
    received: u64,
    /// That came, and were dropped: left at a stop, in part, broken, without memory.
    gone: u64,
    /// Frames that the card got to send, was done with, and lost.
    given: u64,
    done: u64,
    lost: u64,
    /// Packets dropped before the card got them.
    dropped: u64,
    /// Buffers that the card has given back.
    withdrawn: u64,
}

impl Books {
    fn open(&self, context: &mut Context<'_>, wire: &Wire, port: &Port) -> Result<Window> {
        let withdrawn = Counted::read(context, &self.node)?.withdrawn;
        let from = port.reach(&wire.station(), card_mac(wire.number()), wire.guest());
        let from = from.ok_or_else(|| {
            Error::Unexpected(format!("{}: the guest answers no echo", self.node))
        })?;
        Ok(Window {
            from,
            withdrawn,
            is_lossy: false,
        })
    }

    fn shut(&mut self, context: &mut Context<'_>, port: &Port, window: Window) -> Result<()> {
        let sent = port.figures().sent - window.from;
        let has_stood = Counted::read(context, &self.node)?.withdrawn != window.withdrawn;
        self.stops += u32::from(has_stood);
        if has_stood || window.is_lossy {
            self.meanwhile += sent;
        }
        Ok(())
    }

    /// The node of an interface with that driver.
    pub(super) fn node(driver: &str, name: &str) -> String {
        format!("dev.{driver}.{}", name.trim_start_matches(driver))
    }

    /// Once nothing moves, and cards have told of each frame what became of it: a sent one is
    /// looked for when another is sent, or else each second of the guest's, which has its own
    /// idea of a second on a busy host.
    pub(super) fn settled(context: &mut Context<'_>, node: &str, port: &Port) -> Result<Self> {
        let start = Instant::now();
        let (mut last, mut since) = (None, start);
        loop {
            let seen = port.figures();
            let host = [seen.sent, seen.udp];
            let card = Counted::read(context, node)?;
            if last != Some((host, card)) {
                (last, since) = (Some((host, card)), Instant::now());
            }
            let is_quiet = since.elapsed() > QUIET && card.done + card.lost == card.given;
            if is_quiet || start.elapsed() > LIMIT {
                let node = node.into();
                return Ok(Self {
                    node,
                    host,
                    card,
                    left_out: 0,
                    meanwhile: 0,
                    stops: 0,
                    is_unreliable: false,
                });
            }
            std::thread::sleep(QUIET / 4);
        }
    }

    /// Looks whether all that was sent since is somewhere, of which so many datagrams.
    pub(super) fn close(
        &self,
        context: &mut Context<'_>,
        name: &str,
        port: &Port,
        datagrams: u64,
    ) -> Result<()> {
        let now = Self::settled(context, &self.node, port)?;
        let card = now.card.since(&self.card);
        let [sent, came] = [now.host[0] - self.host[0], now.host[1] - self.host[1]];
        let known = card.received + card.gone + self.left_out;
        let missing = sent.saturating_sub(known);
        let line = format!(
            "{name}: {known} of {sent} frames from the host are counted; it sent {} while the \
             card, {} times, stood or had no cable",
            self.meanwhile, self.stops
        );
        context.report.note(&line);
        context.report.check(
            known <= sent && missing <= self.meanwhile && card.received > 0,
            &format!("{name}: each frame from the host was received, is counted, or met a card that stood"),
            format!("{line}; {card:?}"),
        );
        context.report.equal(
            &(card.done + card.lost),
            &card.given,
            &format!("{name}: the card is done with each frame that it got, or has lost it"),
        );
        let missing = datagrams.saturating_sub(came);
        context.report.check(
            came <= datagrams && (self.is_unreliable || missing <= card.lost + card.dropped),
            &format!("{name}: each datagram from the guest is at the host, or is counted"),
            format!("{came} of {datagrams}; {card:?}"),
        );
        let counted = stat(context, "", name)?;
        let line = format!("{name}: {card:?}; if_data: {counted:?}");
        context.report.note(&line);
        Ok(())
    }
}

impl Counted {
    fn read(context: &mut Context<'_>, node: &str) -> Result<Self> {
        let mut counted = Self::default();
        for (name, value) in tree(context, node)? {
            let (rx, tx) = (name.contains(".rx."), name.contains(".tx."));
            let last = name.rsplit('.').next().unwrap_or("");
            let is_cards = name.contains(".card.");
            let to = match last {
                "frames" if rx => &mut counted.received,
                "no_buffer" | "missed" if name.contains(".device.") => &mut counted.gone,
                "left" | "cut_off" | "bad" | "no_packet" if rx => &mut counted.gone,
                "frames" if is_cards => &mut counted.given,
                "done" if is_cards => &mut counted.done,
                "lost" if is_cards => &mut counted.lost,
                "no_memory" | "unfit" if is_cards => &mut counted.dropped,
                _ if tx && name.contains(".drops") => &mut counted.dropped,
                "moved" => &mut counted.dropped,
                "withdrawn" if rx => &mut counted.withdrawn,
                _ => continue,
            };
            *to += value;
        }
        Ok(counted)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            received: self.received - before.received,
            gone: self.gone - before.gone,
            given: self.given - before.given,
            done: self.done - before.done,
            lost: self.lost - before.lost,
            dropped: self.dropped - before.dropped,
            withdrawn: self.withdrawn - before.withdrawn,
        }
    }
}

/// The numbers below a node.
pub(super) fn tree(context: &mut Context<'_>, node: &str) -> Result<Vec<(String, u64)>> {
    let lines = context.guest.call(&format!("sysctl tree {node}"))?;
    let number = |line: &String| {
        let mut fields = line.split('\t');
        let name = fields.next()?.to_owned();
        Some((name, fields.next_back()?.parse().ok()?))
    };
    let found: Vec<(String, u64)> = lines.iter().filter_map(number).collect();
    match found.is_empty() {
        true => Err(Error::Unexpected(format!("nothing below {node}"))),
        false => Ok(found),
    }
}
