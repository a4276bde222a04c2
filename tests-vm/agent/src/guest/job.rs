// SPDX-License-Identifier: BSD-2-Clause
//! Commands as child processes: the one a request waits for, and the named ones in
//! the background with counters that the parent reads while they run.
//!
//! A child writes its lines, then `+` or `-` and the reason, to a pipe. A page
//! shared with the parent holds a stop flag and the counters.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::mem::size_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::clock;
use super::command::{self, Failure, Outcome};
use super::sys::{self, Fd, Pages};
use crate::frame::{escape, unescape};

/// Counters a command may have.
const SLOTS: usize = 16;
/// The counter that says that a command is ready for what it waits for.
const READY_SLOT: usize = SLOTS - 1;

#[repr(C)]
struct Board {
    stop: AtomicU32,
    values: [AtomicU64; SLOTS],
}

/// A command's window to its parent: has it been asked to stop, and how far is it.
pub(super) struct Meter {
    board: NonNull<Board>,
    _pages: Pages,
}

impl Meter {
    fn new() -> Result<Self, Failure> {
        let pages = Pages::shared(size_of::<Board>())?;
        let board = NonNull::new(pages.start().cast::<Board>()).ok_or(Failure::new("no page"))?;
        Ok(Self {
            board,
            _pages: pages,
        })
    }

    fn board(&self) -> &Board {
        // SAFETY: the mapping is zeroed, page-aligned, as large as a `Board`, and lives
        // as long as `self`; its fields are atomics, so sharing is allowed.
        unsafe { self.board.as_ref() }
    }

    /// True once the parent wants the command to end.
    pub(super) fn stop_asked(&self) -> bool {
        self.board().stop.load(Ordering::Relaxed) != 0
    }

    /// Sets counter `slot`.
    pub(super) fn set(&self, slot: usize, value: u64) {
        self.board().values[slot].store(value, Ordering::Relaxed);
    }

    /// Says that from now on nothing that is sent to this command is lost.
    pub(super) fn ready(&self) {
        self.set(READY_SLOT, 1);
    }

    fn ask_to_stop(&self) {
        self.board().stop.store(1, Ordering::Relaxed);
    }

    fn values(&self) -> Vec<u64> {
        self.board()
            .values
            .iter()
            .map(|value| value.load(Ordering::Relaxed))
            .collect()
    }
}

/// A running command.
pub(super) struct Child {
    pid: c_int,
    output: Fd,
    meter: Meter,
}

/// Starts a command in a child process.
pub(super) fn spawn(words: &[String]) -> Result<Child, Failure> {
    let meter = Meter::new()?;
    let (output, input) = Fd::pipe()?;
    match sys::fork()? {
        Some(pid) => Ok(Child { pid, output, meter }),
        None => {
            drop(output);
            work(words, &meter, &input)
        }
    }
}

/// The child's life.
fn work(words: &[String], meter: &Meter, output: &Fd) -> ! {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = match command::run(&words, meter) {
        Ok(lines) => {
            lines
                .iter()
                .map(|line| format!("={}\n", escape(line)))
                .collect::<String>()
                + "+\n"
        }
        Err(why) => format!("-{}\n", escape(&why.to_string())),
    };
    let status = output.write_all(text.as_bytes()).map_or(1, |()| 0);
    sys::exit(status)
}

impl Child {
    /// Waits for the child until `deadline_ms` of the monotonic clock, kills it if
    /// it is late, and gives its outcome.
    pub(super) fn collect(self, deadline_ms: u64) -> Outcome {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = deadline_ms.saturating_sub(clock::monotonic_ms());
            if !self
                .output
                .readable(c_int::try_from(left).unwrap_or(c_int::MAX))?
            {
                let _ = sys::kill(self.pid, libc::SIGKILL);
                let _ = sys::wait(self.pid, true);
                return Err(Failure::new("took longer than its limit and was killed"));
            }
            match self.output.read(&mut buffer)? {
                0 => break,
                got => text.extend_from_slice(&buffer[..got]),
            }
        }
        let status = sys::wait(self.pid, true)?.map_or(0, |(_, status)| status);
        parse(&String::from_utf8_lossy(&text), status)
    }

    /// Whether it has said that it misses nothing from now on.
    pub(super) fn is_ready(&self) -> bool {
        self.meter.values().last() == Some(&1) || self.ended()
    }

    /// Wants it to end.
    pub(super) fn ask_to_stop(&self) {
        self.meter.ask_to_stop();
    }

    fn ended(&self) -> bool {
        // The pipe is readable once the child has written its outcome or is gone.
        self.output.readable(0).unwrap_or(true)
    }
}

fn parse(text: &str, status: c_int) -> Outcome {
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.split_at_checked(1) {
            Some(("=", line)) => lines.push(unescape(line).unwrap_or_else(|| line.to_string())),
            Some(("+", _)) => return Ok(lines),
            Some(("-", why)) => {
                return Err(Failure::new(
                    unescape(why).unwrap_or_else(|| why.to_string()),
                ));
            }
            _ => {}
        }
    }
    Err(Failure::new(match status & 0x7f {
        0 => format!("ended with status {} and no outcome", (status >> 8) & 0xff),
        signal => format!("died of signal {signal}"),
    }))
}

/// The named commands in the background.
#[derive(Default)]
pub(super) struct Jobs {
    running: Vec<(String, Child)>,
}

impl Jobs {
    /// `job start NAME COMMAND...`, `job stat NAME`, `job wait NAME MS`, `job stop NAME MS`.
    pub(super) fn command(&mut self, words: &[String]) -> Outcome {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["start", name, rest @ ..] => self.start(name, rest),
            ["stat", name] => self.stat(name),
            ["wait", name, limit] => self.finish(name, limit, false),
            ["stop", name, limit] => self.finish(name, limit, true),
            _ => Err(Failure::usage(
                "job start NAME COMMAND... | stat NAME | wait NAME MS | stop NAME MS",
            )),
        }
    }

    fn start(&mut self, name: &str, rest: &[&str]) -> Outcome {
        if self.running.iter().any(|(taken, _)| taken == name) {
            return Err(Failure::new(format!("{name} is running already")));
        }
        let words: Vec<String> = rest.iter().map(ToString::to_string).collect();
        self.running.push((name.into(), spawn(&words)?));
        Ok(vec![])
    }

    fn find(&self, name: &str) -> Result<usize, Failure> {
        let place = self.running.iter().position(|(taken, _)| taken == name);
        place.ok_or_else(|| Failure::new(format!("no job {name}")))
    }

    fn stat(&self, name: &str) -> Outcome {
        let (_, child) = &self.running[self.find(name)?];
        let state = if child.ended() { "ended" } else { "running" };
        let values: Vec<String> = child
            .meter
            .values()
            .iter()
            .map(ToString::to_string)
            .collect();
        Ok(vec![format!("{state} {}", values.join(" "))])
    }

    fn finish(&mut self, name: &str, limit: &str, stop: bool) -> Outcome {
        let limit: u64 = command::number(limit, "limit")?;
        let (_, child) = self.running.remove(self.find(name)?);
        if stop {
            child.ask_to_stop();
        }
        child.collect(clock::monotonic_ms() + limit)
    }

    /// Collects dead children that are nobody's job: a PID 1 inherits orphans.
    pub(super) fn reap(&self) {
        // While jobs run, their children must stay waitable for `finish`.
        if self.running.is_empty() {
            while let Ok(Some(_)) = sys::wait(-1, false) {}
        }
    }
}
