// SPDX-License-Identifier: BSD-2-Clause
//! Reads a guest's console: takes the agent's lines out of the kernel's text, and
//! notices what a healthy kernel does not say.

use std::sync::LazyLock;

use regex::Regex;
use weft_agent::frame::{CLOSE, Line, OPEN};

/// What the console said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole line from the agent.
    Agent(Line),
    /// An agent's line that arrived damaged.
    Damaged,
    /// Something is wrong with the kernel.
    Alarm(Alarm),
}

/// A sign of trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Which sign it was.
    pub sign: Sign,
    /// The line that gave it away.
    pub line: String,
}

/// The signs that the watcher knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The kernel stopped: a panic, or a trap that leads to one.
    Panic,
    /// WITNESS saw locks taken in two orders.
    LockOrder,
    /// WITNESS or INVARIANTS found a rule of locking or sleeping broken.
    Rule,
    /// Memory was written after it was freed, or freed twice.
    Memory,
    /// A malloc type or UMA zone was destroyed with something still in it.
    Leak,
}

impl Sign {
    /// True if the kernel does not go on after this.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        self == Sign::Panic
    }
}

/// Texts of `kern/kern_shutdown.c`, `amd64/amd64/trap.c`, `kern/subr_witness.c`,
/// `kern/subr_turnstile.c`, `vm/uma_dbg.c`, `vm/uma_core.c` and `kern/kern_malloc.c`.
/// None is anchored: the agent's lines may have pushed them anywhere.
static SIGNS: LazyLock<Vec<(Sign, Regex)>> = LazyLock::new(|| {
    [
        (Sign::Panic, r"panic: "),
        (Sign::Panic, r"Fatal (double fault|trap \d+)"),
        (Sign::Panic, r"KDB: enter: panic"),
        (Sign::LockOrder, r"lock order reversal"),
        (Sign::Rule, r"acquiring duplicate lock"),
        (Sign::Rule, r"[Ss]leeping thread"),
        (Sign::Rule, r"malloc\(M_WAITOK\)"),
        (Sign::Rule, r"with the following .*locks held"),
        (Sign::Rule, r"could sleep with"),
        (Sign::Rule, r"sleeping without (a lock|Giant)"),
        (Sign::Rule, r"(unlock|downgrade|upgrade) of (unlocked|non-)"),
        (Sign::Memory, r"Memory modified after free"),
        (Sign::Memory, r"[Dd]uplicate free"),
        (Sign::Leak, r"memory type .* leaked"),
        (Sign::Leak, r"Freed UMA keg .* was not empty"),
    ]
    .into_iter()
    .filter_map(|(sign, pattern)| Some((sign, Regex::new(pattern).ok()?)))
    .collect()
});

/// The longest line kept; a guest that never ends one must not fill the host's memory.
const LONGEST_LINE: usize = 64 << 10;

/// Splits the console into the agent's lines and the kernel's, and watches these.
#[derive(Default)]
pub struct Watcher {
    pending: Vec<u8>,
    text: Vec<String>,
    carry: String,
}

impl Watcher {
    /// Takes the next bytes and gives what they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' && self.pending.len() < LONGEST_LINE {
                self.pending.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.pending);
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_matches('\r'), &mut events);
        }
        events
    }

    /// The kernel's lines so far, without the agent's.
    #[must_use]
    pub fn text(&self) -> &[String] {
        &self.text
    }

    fn line(&mut self, line: &str, events: &mut Vec<Event>) {
        let mut rest = line;
        let mut kernel = String::new();
        while let Some(start) = rest.find(OPEN) {
            let inside = &rest[start + OPEN.len()..];
            let whole = inside
                .find(CLOSE)
                .and_then(|end| Some((end, Line::decode(&inside[..end])?)));
            kernel.push_str(&rest[..start]);
            if let Some((end, line)) = whole {
                events.push(Event::Agent(line));
                rest = &inside[end + CLOSE.len()..];
            } else {
                events.push(Event::Damaged);
                kernel.push_str(OPEN);
                rest = inside;
            }
        }
        kernel.push_str(rest);
        if !kernel.is_empty() {
            self.kernel_line(kernel, events);
        }
    }

    /// Looks at the line itself, and at the line before with this one behind it: an
    /// agent's line may have come in the middle.
    fn kernel_line(&mut self, line: String, events: &mut Vec<Event>) {
        let joined = format!("{}{line}", self.carry);
        for (sign, pattern) in SIGNS.iter() {
            let across = || pattern.is_match(&joined) && !pattern.is_match(&self.carry);
            if pattern.is_match(&line) || across() {
                events.push(Event::Alarm(Alarm {
                    sign: *sign,
                    line: joined.clone(),
                }));
                break;
            }
        }
        self.carry.clone_from(&line);
        self.text.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_agent::frame::Kind;

    fn alarms(log: &str) -> Vec<Sign> {
        let mut watcher = Watcher::default();
        let events = watcher.feed(log.as_bytes());
        let sign = |event| match event {
            Event::Alarm(alarm) => Some(alarm.sign),
            _ => None,
        };
        events.into_iter().filter_map(sign).collect()
    }

    fn line(index: u32, text: &str) -> Line {
        Line {
            seq: 4,
            index,
            kind: Kind::Data,
            text: text.into(),
        }
    }

    #[test]
    fn an_ordinary_boot_raises_no_alarm() {
        let log = "---<<BOOT>>---\r\nevent timer \"LAPIC\" quality 600\r\n\
            WARNING: WITNESS option enabled, expect reduced performance.\r\n\
            random: unblocking device.\r\nepair0a: link state changed to UP\r\n\
            weft: net.weft.fib.check=0: refused, allowed are 1 to 100000000\r\n";
        assert_eq!(alarms(log), []);
    }

    #[test]
    fn each_sign_is_noticed() {
        let cases = [
            (
                "panic: vm_fault_lookup: fault on nofault entry, addr: 0",
                Sign::Panic,
            ),
            (
                "Fatal trap 12: page fault while in kernel mode",
                Sign::Panic,
            ),
            (
                "lock order reversal: (sleepable after non-sleepable)",
                Sign::LockOrder,
            ),
            (
                "acquiring duplicate lock of same type: \"weft fib\"",
                Sign::Rule,
            ),
            (
                "Sleeping thread (tid 100077, pid 740) owns a non-sleepable lock",
                Sign::Rule,
            ),
            (
                "malloc(M_WAITOK) of \"weft\", forcing M_NOWAIT with the following",
                Sign::Rule,
            ),
            (
                "uma_zalloc_debug: zone \"malloc-64\" with the following non-sleepable locks held:",
                Sign::Rule,
            ),
            (
                "Memory modified after free 0xfffff80003c5a000(56) val=0 @ 0xff",
                Sign::Memory,
            ),
            (
                "Warning: memory type weft leaked memory on destroy (3 allocations, 96 bytes leaked).",
                Sign::Leak,
            ),
            (
                "Freed UMA keg (weft node) was not empty (12 items).  Lost 1 pages of memory.",
                Sign::Leak,
            ),
        ];
        for (text, sign) in cases {
            assert_eq!(
                alarms(&format!("before\r\n{text}\r\nafter\r\n")),
                [sign],
                "{text}"
            );
        }
    }

    #[test]
    fn an_agents_line_does_not_hide_a_panic() {
        let log = format!("pan\r\n{}\r\nic: deadlock\r\n", line(0, "x").encode());
        assert_eq!(alarms(&log), [Sign::Panic]);
    }

    #[test]
    fn a_line_across_two_lines_counts_once() {
        assert_eq!(alarms("panic: one\r\ncpuid = 1\r\n"), [Sign::Panic]);
    }

    #[test]
    fn agents_lines_come_out_of_any_surroundings() {
        let mut watcher = Watcher::default();
        let wire = format!(
            "ep{}air0a: up{}\r\n",
            line(0, "a").encode(),
            line(1, "b").encode()
        );
        let (head, tail) = wire.split_at(11);
        let mut events = watcher.feed(head.as_bytes());
        events.extend(watcher.feed(tail.as_bytes()));
        assert_eq!(
            events,
            [Event::Agent(line(0, "a")), Event::Agent(line(1, "b"))]
        );
        assert_eq!(watcher.text(), ["epair0a: up"]);
    }

    #[test]
    fn a_cut_line_is_damaged_and_the_next_one_whole() {
        let wire = line(0, "some text").encode();
        let (head, tail) = wire.split_at(12);
        let log = format!(
            "{head}lo0: link state changed to UP\r\n{tail}\r\n{}\r\n",
            line(1, "b").encode()
        );
        let events = Watcher::default().feed(log.as_bytes());
        assert_eq!(events, [Event::Damaged, Event::Agent(line(1, "b"))]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut watcher = Watcher::default();
        watcher.feed(&vec![b'x'; 3 * LONGEST_LINE]);
        assert!(watcher.text().len() >= 2);
    }
}
