// SPDX-License-Identifier: BSD-2-Clause
//! PID 1's own work: a console to speak on, one request at a time, each carried
//! out by a child process under the request's time limit, and dead children reaped.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::c_int;

use super::command::{self, Outcome};
use super::{clock, job, root, sys};
use crate::frame::{Kind, Line, Request, UNASKED};

/// The console's descriptor; also where `exec`uted programs write.
const CONSOLE: c_int = 0;
/// How often the agent greets a host that has not spoken yet, in milliseconds.
const GREETING_MS: c_int = 2_000;
/// How often it looks for dead children while idle, in milliseconds.
const REAP_MS: c_int = 500;

/// Serves the host until it says `halt`.
pub(super) fn forever() -> ! {
    let console = root::open_console();
    let mut input = Input::default();
    let mut jobs = job::Jobs::default();
    let mut answered: Option<(u32, Vec<String>)> = None;
    greet(&console);
    loop {
        let wait = if answered.is_none() {
            GREETING_MS
        } else {
            REAP_MS
        };
        let Some(line) = input.next_line(&console, wait) else {
            if answered.is_none() {
                greet(&console);
            }
            jobs.reap();
            continue;
        };
        let Some(request) = Request::find_in(&line) else {
            if line.contains('?') {
                send(
                    &console,
                    &[line_text(UNASKED, 1, Kind::Failed, "request not whole")],
                );
            }
            continue;
        };
        let again = answered
            .as_ref()
            .is_some_and(|(seq, _)| *seq == request.seq);
        if !again {
            let reply = answer(&request, &mut jobs);
            answered = Some((request.seq, reply));
        }
        if let Some((_, reply)) = &answered {
            send(&console, reply);
        }
        root::leave_if_asked(&request.command, &console);
    }
}

/// Writes bytes to the console as they are.
pub(super) fn say_raw(bytes: &[u8]) {
    let _ = sys::Fd::standard(CONSOLE).write_all(bytes);
}

fn greet(console: &sys::Fd) {
    let text = format!(
        "weft-agent {} pid {}",
        env!("CARGO_PKG_VERSION"),
        sys::getpid()
    );
    send(console, &[line_text(UNASKED, 0, Kind::Done, &text)]);
}

fn line_text(seq: u32, index: u32, kind: Kind, text: &str) -> String {
    Line {
        seq,
        index,
        kind,
        text: text.into(),
    }
    .encode()
}

/// Sends lines, each in one write so that the kernel has few places to cut in.
fn send(console: &sys::Fd, lines: &[String]) {
    for line in lines {
        let _ = console.write_all(format!("\r\n{line}\r\n").as_bytes());
    }
}

/// The lines of the reply to `request`.
fn answer(request: &Request, jobs: &mut job::Jobs) -> Vec<String> {
    let outcome = match command::words(&request.command) {
        Ok(words) if words.first().is_some_and(|word| word == "job") => jobs.command(&words[1..]),
        Ok(words) => in_child(&words, request.limit_ms),
        Err(why) => Err(why),
    };
    let (lines, kind, last) = match outcome {
        Ok(lines) => (lines, Kind::Done, String::new()),
        Err(why) => (Vec::new(), Kind::Failed, why.to_string()),
    };
    let seq = request.seq;
    let mut reply: Vec<String> = Vec::with_capacity(lines.len() + 1);
    for (index, text) in (0u32..).zip(&lines) {
        reply.push(line_text(seq, index, Kind::Data, text));
    }
    let index = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    reply.push(line_text(seq, index, kind, &last));
    reply
}

/// Runs one command in a child and gives its outcome; a child that dies or takes
/// longer than `limit_ms` is an error.
fn in_child(words: &[String], limit_ms: u32) -> Outcome {
    let child = job::spawn(words)?;
    let deadline = clock::monotonic_ms() + u64::from(limit_ms);
    child.collect(deadline)
}

/// What has arrived on the console and is not yet a whole line.
#[derive(Default)]
struct Input {
    pending: Vec<u8>,
}

impl Input {
    /// Longer than any request; more than this without a line end is noise.
    const MOST: usize = 8192;

    /// The next line, or `None` if none came within `wait_ms`.
    fn next_line(&mut self, console: &sys::Fd, wait_ms: c_int) -> Option<String> {
        loop {
            if let Some(end) = self
                .pending
                .iter()
                .position(|byte| matches!(byte, b'\n' | b'\r'))
            {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.pending.len() > Self::MOST {
                self.pending.clear();
            }
            if !console.readable(wait_ms).unwrap_or(false) {
                return None;
            }
            let mut buffer = [0; 512];
            match console.read(&mut buffer) {
                Ok(got) if got > 0 => self.pending.extend_from_slice(&buffer[..got]),
                _ => {
                    sys::sleep(100_000_000);
                    return None;
                }
            }
        }
    }
}
