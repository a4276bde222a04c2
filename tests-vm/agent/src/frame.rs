// SPDX-License-Identifier: BSD-2-Clause
//! The line protocol between the host runner and the guest agent.
//!
//! Both ends share one serial line with the kernel's own messages, which may cut
//! into any line at any byte. So each line carries a checksum, each reply says how
//! many lines it has, and a request may be repeated: the agent answers a repeated
//! sequence number with the reply it already has and runs nothing twice.
//!
//! ```text
//! host  -> agent   ?SEQ LIMIT CRC COMMAND\n
//! agent -> host    <~SEQ.INDEX KIND CRC TEXT~>\r\n
//! ```
//!
//! `SEQ` counts requests from 1. `LIMIT` is the time the command may take, in
//! milliseconds. `INDEX` counts the lines of one reply from 0. `CRC` is CRC-32
//! (ISO-HDLC, as in Ethernet) in eight hexadecimal digits over the rest of the
//! line. `KIND` is `=` for a line of data, `+` or `-` for the last line of a reply
//! that succeeded or failed. `TEXT` has `%XX` for `%`, `~` and all bytes that are
//! not printable ASCII. Sequence number 0 is the agent's own: `+` is its greeting,
//! `-` says that the last request did not arrive whole.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crc::{CRC_32_ISO_HDLC, Crc};

const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What begins a line from the agent.
pub const OPEN: &str = "<~";
/// What ends a line from the agent.
pub const CLOSE: &str = "~>";
/// The sequence number of lines that answer no request.
pub const UNASKED: u32 = 0;

/// What a line of a reply is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One of the reply's lines.
    Data,
    /// The last line of a reply whose command succeeded.
    Done,
    /// The last line of a reply whose command failed; its text says why.
    Failed,
}

impl Kind {
    fn mark(self) -> char {
        match self {
            Kind::Data => '=',
            Kind::Done => '+',
            Kind::Failed => '-',
        }
    }

    fn from_mark(mark: &str) -> Option<Self> {
        match mark {
            "=" => Some(Kind::Data),
            "+" => Some(Kind::Done),
            "-" => Some(Kind::Failed),
            _ => None,
        }
    }
}

/// One line from the agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The request that this line answers, or [`UNASKED`].
    pub seq: u32,
    /// The line's place in its reply, from 0.
    pub index: u32,
    /// Whether it is data or ends the reply.
    pub kind: Kind,
    /// What it says, unescaped.
    pub text: String,
}

/// One request from the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Counts from 1; a repeated request repeats its number.
    pub seq: u32,
    /// How long the command may take, in milliseconds.
    pub limit_ms: u32,
    /// The command and its arguments, separated by single spaces, with `%XX` for
    /// spaces inside an argument.
    pub command: String,
}

impl Line {
    /// The line as it goes over the wire, without a line end.
    #[must_use]
    pub fn encode(&self) -> String {
        let text = escape(&self.text);
        let head = format!("{}.{} {}", self.seq, self.index, self.kind.mark());
        format!(
            "{OPEN}{head} {:08x} {text}{CLOSE}",
            checksum(&[&head, &text])
        )
    }

    /// Reads the line that lies between [`OPEN`] and [`CLOSE`], both excluded.
    /// `None` if it is not whole.
    #[must_use]
    pub fn decode(between: &str) -> Option<Self> {
        let mut words = between.splitn(4, ' ');
        let (place, mark, crc, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let head = &between[..place.len() + 1 + mark.len()];
        if u32::from_str_radix(crc, 16).ok()? != checksum(&[head, text]) {
            return None;
        }
        let (seq, index) = place.split_once('.')?;
        Some(Self {
            seq: seq.parse().ok()?,
            index: index.parse().ok()?,
            kind: Kind::from_mark(mark)?,
            text: unescape(text)?,
        })
    }
}

impl Request {
    /// The request as it goes over the wire, line end included.
    #[must_use]
    pub fn encode(&self) -> String {
        let head = format!("{} {}", self.seq, self.limit_ms);
        format!(
            "?{head} {:08x} {}\n",
            checksum(&[&head, &self.command]),
            self.command
        )
    }

    /// The request in a line as it arrived: the whole line, or what follows its last
    /// `?` if the line end of an earlier request was lost.
    #[must_use]
    pub fn find_in(line: &str) -> Option<Self> {
        Self::decode(line).or_else(|| Self::decode(&line[line.rfind('?')?..]))
    }

    /// Reads a request line without its line end. `None` if it is not whole.
    #[must_use]
    pub fn decode(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix('?')?.splitn(4, ' ');
        let (seq, limit, crc, command) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let head = format!("{seq} {limit}");
        if u32::from_str_radix(crc, 16).ok()? != checksum(&[&head, command]) {
            return None;
        }
        Some(Self {
            seq: seq.parse().ok()?,
            limit_ms: limit.parse().ok()?,
            command: command.into(),
        })
    }
}

fn checksum(parts: &[&str]) -> u32 {
    let mut digest = CHECK.digest();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update(b" ");
    }
    digest.finalize()
}

/// Writes `%XX` for `%`, `~` and everything that is not printable ASCII. Spaces
/// stay; [`escape_word`] escapes those too.
#[must_use]
pub fn escape(text: &str) -> String {
    escape_where(text, |byte| {
        byte == b'%' || byte == b'~' || !(b' '..=b'~').contains(&byte)
    })
}

/// [`escape`] for one argument of a command, in which spaces may not stand.
#[must_use]
pub fn escape_word(text: &str) -> String {
    escape_where(text, |byte| byte == b'%' || !byte.is_ascii_graphic())
}

fn escape_where(text: &str, hide: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if hide(byte) {
            let _ = write!(out, "%{byte:02X}");
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

/// Undoes [`escape`] and [`escape_word`]. `None` for a broken escape or text that
/// is not UTF-8.
#[must_use]
pub fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let digits = core::str::from_utf8(tail.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
            seq: 7,
            index: 3,
            kind: Kind::Data,
            text: text.into(),
        }
    }

    fn between(wire: &str) -> &str {
        wire.strip_prefix(OPEN)
            .unwrap()
            .strip_suffix(CLOSE)
            .unwrap()
    }

    #[test]
    fn a_line_survives_the_wire() {
        for text in [
            "",
            "plain",
            "a b  c",
            "100% ~tilde~> <~",
            "tab\tnul\0 \u{e9}\r\n",
        ] {
            let wire = line(text).encode();
            assert!(
                wire.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{wire}"
            );
            assert_eq!(Line::decode(between(&wire)), Some(line(text)));
        }
    }

    #[test]
    fn a_request_survives_the_wire() {
        let request = Request {
            seq: 1,
            limit_ms: 500,
            command: "sysctl get kern.osrelease".into(),
        };
        assert_eq!(Request::decode(request.encode().trim_end()), Some(request));
    }

    #[test]
    fn a_lost_line_end_costs_one_request() {
        let request = Request {
            seq: 2,
            limit_ms: 9,
            command: "uptime".into(),
        };
        let line = format!("?1 500 00000000 half a requ{}", request.encode());
        assert_eq!(Request::find_in(line.trim_end()), Some(request));
        assert_eq!(Request::find_in("noise"), None);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let wire = line("net.weft.fib.check").encode();
        for at in 0..between(&wire).len() {
            let mut bytes: Vec<u8> = between(&wire).bytes().collect();
            bytes[at] ^= 1;
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(Line::decode(&text), None, "byte {at}");
        }
    }

    #[test]
    fn kernel_text_inside_a_line_is_noticed() {
        let wire = line("one two three").encode();
        let mut cut = String::from(between(&wire));
        cut.insert_str(cut.len() - 4, "weft0: link up\r\n");
        assert_eq!(Line::decode(&cut), None);
    }

    #[test]
    fn broken_escapes_are_refused() {
        assert_eq!(unescape("%4"), None);
        assert_eq!(unescape("%zz"), None);
        assert_eq!(unescape("%ff"), None);
        assert_eq!(unescape("%C3%A9").as_deref(), Some("\u{e9}"));
        assert_eq!(escape_word("a b"), "a%20b");
    }
}
