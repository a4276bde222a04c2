// SPDX-License-Identifier: BSD-2-Clause
//! The agent's commands as functions. What goes over the serial line, is lost
//! there, and is asked for again stays in here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weft_agent::frame::{Kind, Line, Request, UNASKED, escape_word};

use crate::console::{Alarm, Event, Sign};
use crate::lan::Lan;
use crate::machine::{Gone, Machine};

/// Added to a command's own limit before the host gives up on an answer.
const GRACE: Duration = Duration::from_secs(10);
/// How long the agent may take to repeat an answer.
const REPEAT: Duration = Duration::from_secs(10);
/// The longest text that [`Guest::each`] makes of several commands: well below what a
/// terminal at 9,600 baud has room for (`tty_watermarks` in `kern/tty.c`, a fifth of that).
const LONGEST_BATCH: usize = 512;
/// How often a request is repeated.
const ATTEMPTS: u32 = 5;
/// After a panic: how long the kernel may take for its backtrace.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a command has no result.
#[derive(Debug)]
pub enum Error {
    /// The command failed; the agent says why.
    Failed {
        /// The command.
        command: String,
        /// The agent's reason.
        why: String,
    },
    /// The kernel stopped.
    Panicked(String),
    /// The machine ended without a panic.
    Gone,
    /// Nothing sensible came over the line in time.
    Silent(String),
    /// The reply is not of the form that the command has.
    Unexpected(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Failed { command, why } => write!(out, "{command}: {why}"),
            Error::Panicked(text) => write!(out, "the kernel stopped:\n{text}"),
            Error::Gone => write!(out, "the machine ended"),
            Error::Silent(what) => write!(out, "no answer: {what}"),
            Error::Unexpected(what) => write!(out, "unexpected reply: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// True if the machine cannot be used any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Error::Panicked(_) | Error::Gone | Error::Silent(_))
    }
}

/// A result of a command.
pub type Result<T> = std::result::Result<T, Error>;

/// A guest with an agent that listens.
pub struct Guest {
    machine: Machine,
    sequence: u32,
    alarms: Vec<Alarm>,
    repeats: u32,
    deadline: Option<Instant>,
    patience: u32,
    /// In a machine inside a machine: the number of the outer agent's last request.
    outer: Option<u32>,
    /// Its network, and the folder of the sockets.
    lan: Option<(Lan, TempDir)>,
}

impl Guest {
    /// Waits for the agent's greeting.
    ///
    /// # Errors
    /// If none comes within `limit`; the text has the console's last lines.
    pub fn meet(machine: Machine, limit: Duration) -> Result<Self> {
        let mut guest = Self {
            machine,
            sequence: 0,
            alarms: Vec::new(),
            repeats: 0,
            deadline: None,
            patience: 1,
            outer: None,
            lan: None,
        };
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Silent(format!(
                    "no agent after {limit:?}\n{}",
                    guest.last_lines(20)
                )));
            }
            for line in guest.hear(left)? {
                if line.seq != UNASKED && line.kind != Kind::Data {
                    let why = format!("the machine inside ended: {}", line.text);
                    return Err(Error::Unexpected(why));
                }
                if line.seq == UNASKED && line.kind == Kind::Done {
                    return Ok(guest);
                }
            }
        }
    }

    /// The same guest, with what its network cards are connected to.
    #[must_use]
    pub fn with_lan(mut self, lan: Lan, sockets: TempDir) -> Self {
        self.lan = Some((lan, sockets));
        self
    }

    /// What its network cards are connected to.
    ///
    /// # Errors
    /// If it has none.
    pub fn lan(&self) -> Result<&Lan> {
        let lan = self.lan.as_ref().map(|(lan, _)| lan);
        lan.ok_or_else(|| Error::Unexpected("the machine has no network card".into()))
    }

    /// Runs a command that takes at most `limit`, and gives the lines of its reply.
    ///
    /// # Errors
    /// If the command fails or the machine does.
    pub fn call_within(&mut self, command: &str, limit: Duration) -> Result<Vec<String>> {
        self.sequence += 1;
        let usual = limit + GRACE;
        let limit = limit * self.patience;
        let limit = match self
            .deadline
            .map(|end| end.saturating_duration_since(Instant::now()))
        {
            Some(Duration::ZERO) => {
                return Err(Error::Silent(format!(
                    "{command}: the scenario's time is over"
                )));
            }
            Some(left) => limit.min(left),
            None => limit,
        };
        let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        let request = Request {
            seq: self.sequence,
            limit_ms,
            command: command.into(),
        };
        let mut reply = Reply::default();
        // An answer may be lost on its way, so it is asked for again after what the command
        // usually takes: the agent, which may be at it still, does nothing twice. A program
        // that has the console is not disturbed.
        let longest = limit + GRACE * self.patience;
        let mut patience = match command.starts_with("exec ") {
            true => longest,
            false => longest.min(usual),
        };
        let again = (longest - patience) / (ATTEMPTS - 1);
        let again = again.max(REPEAT * self.patience);
        for attempt in 0..ATTEMPTS {
            self.repeats += u32::from(attempt > 0);
            reply.last = None;
            self.machine
                .send(request.encode().as_bytes())
                .map_err(|_| self.ended())?;
            if self.await_reply(&mut reply, patience)? {
                return reply.into_result(command);
            }
            patience = again;
        }
        Err(Error::Silent(format!("{command}\n{}", self.last_lines(20))))
    }

    /// [`Guest::call_within`] ten seconds.
    ///
    /// # Errors
    /// If the command fails or the machine does.
    pub fn call(&mut self, command: &str) -> Result<Vec<String>> {
        self.call_within(command, Duration::from_secs(10))
    }

    /// Runs commands one after the other, several in a request.
    ///
    /// # Errors
    /// If one of them fails; those after it are not run.
    pub fn each(&mut self, commands: &[String]) -> Result<()> {
        let mut batch = String::new();
        for command in commands {
            // Whoever has gone into a jail or become another user does not come back.
            if ["in ", "as ", "fib ", "urgent "]
                .iter()
                .any(|word| command.starts_with(word))
            {
                if !batch.is_empty() {
                    self.call(&format!("each {batch}"))?;
                    batch.clear();
                }
                self.call(command)?;
                continue;
            }
            if !batch.is_empty() && batch.len() + command.len() > LONGEST_BATCH {
                self.call(&format!("each {batch}"))?;
                batch.clear();
            }
            let between = if batch.is_empty() { "" } else { " -- " };
            batch.push_str(between);
            batch.push_str(command);
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.call(&format!("each {batch}")).map(drop),
        }
    }

    /// The one line of a command's reply.
    ///
    /// # Errors
    /// If there is not exactly one, or the command fails.
    pub fn line(&mut self, command: &str) -> Result<String> {
        let mut lines = self.call(command)?;
        match (lines.pop(), lines.is_empty()) {
            (Some(line), true) => Ok(line),
            _ => Err(Error::Unexpected(format!("{command}: not one line"))),
        }
    }

    /// The one line of a command's reply as a number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&mut self, command: &str) -> Result<u64> {
        let line = self.line(command)?;
        line.parse()
            .map_err(|_| Error::Unexpected(format!("{command}: {line} is no number")))
    }

    /// A number of a sysctl that is a structure of 64-bit numbers, by its place there. `place`
    /// is a command's prefix, such as `in JAIL`, with a space behind it, or nothing.
    ///
    /// # Errors
    /// If there is no such number.
    pub fn word(&mut self, place: &str, sysctl: &str, at: usize) -> Result<u64> {
        let command = format!("{place}sysctl get {sysctl}");
        let line = self.line(&command)?;
        // The agent shows what has no type byte by byte.
        let digits = line.get(at * 16..(at + 1) * 16);
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let number = number.map(u64::swap_bytes);
        number.ok_or_else(|| Error::Unexpected(format!("{command}: no number {at}")))
    }

    /// Runs a command that must fail, and gives the agent's reason.
    ///
    /// # Errors
    /// If it succeeds, or the machine fails.
    pub fn refused(&mut self, command: &str) -> Result<String> {
        match self.call(command) {
            Ok(_) => Err(Error::Unexpected(format!(
                "{command}: succeeded, should have failed"
            ))),
            Err(Error::Failed { why, .. }) => Ok(why),
            Err(other) => Err(other),
        }
    }

    /// Reads a sysctl.
    ///
    /// # Errors
    /// If there is none of this name, or it cannot be read.
    pub fn sysctl(&mut self, name: &str) -> Result<String> {
        self.line(&format!("sysctl get {name}"))
    }

    /// Sets a sysctl.
    ///
    /// # Errors
    /// If it cannot be set to this.
    pub fn set_sysctl(&mut self, name: &str, value: impl fmt::Display) -> Result<()> {
        let value = escape_word(&value.to_string());
        self.call_within(
            &format!("sysctl set {name} {value}"),
            Duration::from_secs(120),
        )
        .map(drop)
    }

    /// Starts a command in the background under a name.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn start(&mut self, name: &str, command: &str) -> Result<()> {
        self.call(&format!("job start {name} {command}")).map(drop)
    }

    /// The counters of a command in the background.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn counters(&mut self, name: &str) -> Result<Vec<u64>> {
        let line = self.line(&format!("job stat {name}"))?;
        Ok(numbers(line.split_once(' ').map_or("", |(_, rest)| rest)))
    }

    /// Waits for a command in the background and gives the numbers of its line.
    ///
    /// # Errors
    /// If it fails or takes longer than `limit`.
    pub fn finish(&mut self, name: &str, limit: Duration) -> Result<Vec<u64>> {
        self.end_job("wait", name, limit)
    }

    /// Asks a command in the background to stop and gives the numbers of its line.
    ///
    /// # Errors
    /// If it fails.
    pub fn stop(&mut self, name: &str) -> Result<Vec<u64>> {
        self.end_job("stop", name, Duration::from_secs(30))
    }

    fn end_job(&mut self, how: &str, name: &str, limit: Duration) -> Result<Vec<u64>> {
        let limit_ms = (limit * self.patience).as_millis();
        let lines = self.call_within(&format!("job {how} {name} {limit_ms}"), limit)?;
        Ok(lines.first().map_or_else(Vec::new, |line| numbers(line)))
    }

    /// Malloc types and UMA zones named `prefix...` that hold something, a line each.
    ///
    /// # Errors
    /// If the statistics cannot be read.
    pub fn memory_held(&mut self, prefix: &str) -> Result<Vec<String>> {
        let mut held = Vec::new();
        for (command, what) in [("malloc", "bytes"), ("zones", "items")] {
            for line in self.call_within(&format!("{command} {prefix}"), Duration::from_secs(30))? {
                let fields: Vec<&str> = line.split('\t').collect();
                match fields[..] {
                    [_, "0", "0", _] => {}
                    [_, "0", _, _] if command == "zones" => {}
                    [name, amount, ..] => held.push(format!("{name}: {amount} {what}")),
                    _ => return Err(Error::Unexpected(format!("{command}: {line}"))),
                }
            }
        }
        Ok(held)
    }

    /// The kernel's messages since [`Guest::clear_messages`], whole even if the
    /// console's were cut.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn messages(&mut self) -> Result<Vec<String>> {
        let lines = self.call("dmesg tail 500")?;
        Ok(lines
            .iter()
            .map(|line| without_priority(line).to_string())
            .collect())
    }

    /// Forgets the kernel's messages so far.
    ///
    /// # Errors
    /// If the kernel will not.
    pub fn clear_messages(&mut self) -> Result<()> {
        self.call("dmesg clear").map(drop)
    }

    /// The alarms since the last call.
    pub fn take_alarms(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.alarms)
    }

    /// How often a request had to be repeated.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// The machine underneath.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Commands after `deadline` fail, and earlier ones may take no longer than until then.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// From now on everything may take `factor` times as long.
    pub fn set_patience(&mut self, factor: u32) {
        self.patience = factor;
    }

    /// How many times as long as usual everything may take.
    #[must_use]
    pub fn patience(&self) -> u32 {
        self.patience
    }

    /// Runs a program in the guest, which has the console meanwhile.
    ///
    /// # Errors
    /// If it does not end with status 0.
    pub fn run_program(&mut self, words: &str, limit: Duration) -> Result<()> {
        let command = format!("exec {words}");
        match self.call_within(&command, limit)?.as_slice() {
            [status] if status == "0" => Ok(()),
            other => Err(Error::Failed {
                command,
                why: format!("exit status {}", other.join(" ")),
            }),
        }
    }

    /// Starts a program in the guest that gives the console to a guest of its own,
    /// and waits for the agent in there.
    ///
    /// # Errors
    /// If none greets within `limit`.
    pub fn enter(mut self, words: &str, limit: Duration) -> Result<Self> {
        self.sequence += 1;
        let request = Request {
            seq: self.sequence,
            limit_ms: u32::MAX,
            command: format!("exec {words}"),
        };
        self.machine
            .send(request.encode().as_bytes())
            .map_err(|_| self.ended())?;
        let outer = self.sequence;
        let mut inner = Self::meet(self.machine, limit)?;
        (inner.patience, inner.outer) = (self.patience, Some(outer));
        Ok(inner)
    }

    /// Switches the machine off, and the one around it; true if that happened
    /// within `limit` each.
    pub fn halt(mut self, limit: Duration) -> bool {
        let limit = limit * self.patience;
        // The reply may drown in the shutdown; what counts is that the machine ends.
        let _ = self.call("halt");
        let Some(outer) = self.outer else {
            return self.machine.wait_for_end(limit);
        };
        // The inner machine's end is the outer agent's answer.
        self.sequence = outer;
        let mut reply = Reply::default();
        let inner_ended = self.await_reply(&mut reply, limit).unwrap_or(false);
        let _ = self.call("halt");
        inner_ended && self.machine.wait_for_end(limit)
    }

    /// How long the machine has been running.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.machine.age()
    }

    /// At most `count` lines of the kernel, from the first that ends as `line` does.
    #[must_use]
    pub fn text_from(&self, line: &str, count: usize) -> String {
        let text = self.machine.text();
        let start = text
            .iter()
            .position(|one| line.ends_with(one.as_str()))
            .unwrap_or(0);
        text[start..]
            .iter()
            .take(count)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The last `count` lines of the kernel.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.machine.text();
        text[text.len().saturating_sub(count)..].join("\n")
    }

    /// Listens until the reply is whole (true), or must be asked for again (false).
    fn await_reply(&mut self, reply: &mut Reply, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            for line in self.hear(left)? {
                if line.seq == UNASKED && line.kind == Kind::Failed {
                    return Ok(false);
                }
                if line.seq == self.sequence {
                    reply.add(line);
                }
            }
            if reply.is_whole() {
                return Ok(true);
            }
            if reply.ended() {
                return Ok(false);
            }
        }
    }

    /// The agent's lines that come next; alarms are kept.
    fn hear(&mut self, wait: Duration) -> Result<Vec<Line>> {
        let events = match self.machine.listen(wait) {
            Ok(events) => events.unwrap_or_default(),
            Err(Gone) => return Err(self.ended()),
        };
        let mut lines = Vec::new();
        for event in events {
            match event {
                Event::Agent(line) => lines.push(line),
                Event::Damaged => {}
                Event::Alarm(alarm) => self.alarms.push(alarm),
            }
        }
        if self.alarms.iter().any(|alarm| alarm.sign.is_fatal()) {
            self.machine.wait_for_end(LAST_WORDS);
            return Err(self.ended());
        }
        Ok(lines)
    }

    fn ended(&self) -> Error {
        let text = self.machine.text();
        let first = text
            .iter()
            .position(|line| line.contains("panic: ") || line.contains("Fatal trap"));
        match first {
            Some(at) => Error::Panicked(text[at..].join("\n")),
            None if self.alarms.iter().any(|alarm| alarm.sign == Sign::Panic) => {
                Error::Panicked(self.last_lines(40))
            }
            None => Error::Gone,
        }
    }
}

/// The message without the syslog priority that the buffer keeps in front of it.
fn without_priority(line: &str) -> &str {
    let rest = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match rest {
        Some((priority, text)) if priority.bytes().all(|byte| byte.is_ascii_digit()) => text,
        _ => line,
    }
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(' ')
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A reply as its lines come in, in any order and more than once.
#[derive(Default)]
struct Reply {
    data: BTreeMap<u32, String>,
    last: Option<Line>,
}

impl Reply {
    fn add(&mut self, line: Line) {
        match line.kind {
            Kind::Data => drop(self.data.insert(line.index, line.text)),
            Kind::Done | Kind::Failed => self.last = Some(line),
        }
    }

    fn ended(&self) -> bool {
        self.last.is_some()
    }

    fn is_whole(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| self.data.len() == last.index as usize)
    }

    fn into_result(self, command: &str) -> Result<Vec<String>> {
        match self.last {
            Some(Line {
                kind: Kind::Failed,
                text: why,
                ..
            }) => Err(Error::Failed {
                command: command.into(),
                why,
            }),
            _ => Ok(self.data.into_values().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    /// A guest whose agent answers the n-th request line with the n-th script,
    /// where `SEQ` is the request's number.
    fn guest(scripts: Vec<Vec<String>>) -> (tempfile::TempDir, Guest) {
        let (host, agent) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(agent, &scripts));
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let log = folder.path().join("console.log");
        let machine = Machine::attach(
            child,
            Box::new(host.try_clone().unwrap()),
            Box::new(host),
            &log,
        )
        .unwrap();
        (
            folder,
            Guest::meet(machine, Duration::from_secs(10)).unwrap(),
        )
    }

    fn serve(mut agent: UnixStream, scripts: &[Vec<String>]) {
        writeln!(agent, "booting\r\n{}\r", frame(0, 0, Kind::Done, "agent")).unwrap();
        let mut requests = BufReader::new(agent.try_clone().unwrap()).lines();
        for script in scripts {
            let Some(Ok(line)) = requests.next() else {
                return;
            };
            assert!(Request::decode(&line).is_some(), "{line}");
            for text in script {
                write!(agent, "{text}\r\n").unwrap();
            }
        }
        // Stay, so that the host does not think that the machine has ended.
        let _ = requests.next();
    }

    fn frame(seq: u32, index: u32, kind: Kind, text: &str) -> String {
        Line {
            seq,
            index,
            kind,
            text: text.into(),
        }
        .encode()
    }

    fn two_lines() -> Vec<String> {
        vec![
            frame(1, 0, Kind::Data, "one"),
            frame(1, 1, Kind::Data, "two"),
            frame(1, 2, Kind::Done, ""),
        ]
    }

    fn cut(mut lines: Vec<String>, at: usize) -> Vec<String> {
        let middle = lines[at].len() / 2;
        lines[at].insert_str(middle, "lo0: link state changed to UP\r\n");
        lines
    }

    #[test]
    fn many_commands_become_few_short_requests() {
        let done = |seq| vec![frame(seq, 0, Kind::Done, "")];
        let (_folder, mut guest) = guest(vec![done(1), done(2)]);
        guest.each(&vec!["x".repeat(100); 8]).unwrap();
        assert_eq!(guest.sequence, 2);
    }

    #[test]
    fn a_whole_reply_is_taken() {
        let (_folder, mut guest) = guest(vec![two_lines()]);
        assert_eq!(guest.call("x").unwrap(), ["one", "two"]);
        assert_eq!(guest.repeats(), 0);
    }

    #[test]
    fn a_damaged_line_is_asked_for_again() {
        for at in 0..2 {
            let (_folder, mut guest) = guest(vec![cut(two_lines(), at), two_lines()]);
            assert_eq!(guest.call("x").unwrap(), ["one", "two"]);
            assert_eq!(guest.repeats(), 1);
        }
    }

    #[test]
    fn lines_from_two_tries_make_one_reply() {
        let tries = vec![cut(two_lines(), 0), cut(two_lines(), 1)];
        let (_folder, mut guest) = guest(tries);
        assert_eq!(guest.call("x").unwrap(), ["one", "two"]);
    }

    #[test]
    fn a_request_that_did_not_arrive_is_sent_again() {
        let lost = vec![frame(UNASKED, 1, Kind::Failed, "request not whole")];
        let (_folder, mut guest) = guest(vec![lost, two_lines()]);
        assert_eq!(guest.call("x").unwrap(), ["one", "two"]);
    }

    #[test]
    fn a_failure_has_its_reason() {
        let failed = vec![frame(1, 0, Kind::Failed, "EBUSY (errno 16)")];
        let (_folder, mut guest) = guest(vec![failed]);
        let error = guest.call("kld unload weft.ko").unwrap_err();
        assert!(!error.is_final());
        assert_eq!(error.to_string(), "kld unload weft.ko: EBUSY (errno 16)");
    }

    #[test]
    fn a_panic_ends_the_call_with_its_text() {
        let panic = vec![
            "panic: oops".into(),
            "cpuid = 1".into(),
            "KDB: stack backtrace:".into(),
        ];
        let (_folder, mut guest) = guest(vec![panic]);
        let error = guest.call("x").unwrap_err();
        assert!(error.is_final());
        let text = error.to_string();
        assert!(
            text.contains("panic: oops\ncpuid = 1\nKDB: stack backtrace:"),
            "{text}"
        );
    }

    #[test]
    fn the_scenarios_time_ends() {
        let (_folder, mut guest) = guest(vec![]);
        guest.set_deadline(Instant::now());
        assert!(guest.call("x").unwrap_err().is_final());
    }

    #[test]
    fn priorities_go() {
        assert_eq!(without_priority("<4>weft: x"), "weft: x");
        assert_eq!(without_priority("<x>weft: x"), "<x>weft: x");
        assert_eq!(without_priority("weft: x"), "weft: x");
    }
}
