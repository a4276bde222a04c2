// SPDX-License-Identifier: BSD-2-Clause
//! From a request's text to the function that carries it out, and what a command
//! gives back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::job::Meter;
use super::sys::{Errno, Refused};
use super::{
    bulk, clock, devctl, echo, ether, exec, faults, filter, flood, fuzz, graph, group, jail, kld,
    memory, msgbuf, netif, netmap, ping, root, route, spent, sys, sysctl, tap, tcp, text, thread,
    traffic, user,
};
use crate::frame;

/// A command's lines, or why it failed.
pub(super) type Outcome = Result<Vec<String>, Failure>;

/// Why a command failed, for people.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    /// A reason in words.
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// The command was not written as it must be.
    pub(super) fn usage(form: &str) -> Self {
        Self(format!("usage: {form}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self(error.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused.message.as_str() {
            "" => Self(refused.errno.to_string()),
            message => Self(format!("{}: {message}", refused.errno)),
        }
    }
}

/// The request's words, unescaped.
pub(super) fn words(command: &str) -> Result<Vec<String>, Failure> {
    command
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| {
            frame::unescape(word).ok_or_else(|| Failure::new(format!("broken escape in {word}")))
        })
        .collect()
}

/// A word that must be a number.
pub(super) fn number<T: FromStr>(word: &str, what: &str) -> Result<T, Failure> {
    word.parse()
        .map_err(|_| Failure::new(format!("{what}: {word} is not a number in range")))
}

/// Runs a command in this process. `in JAIL`, `fib N`, `as USER` and `urgent` may come first and
/// put the process there, or before all others, for good, which is why each command has a
/// process of its own.
pub(super) fn run(words: &[&str], meter: &Meter) -> Outcome {
    let Some((&verb, rest)) = words.split_first() else {
        return Err(Failure::new("no command"));
    };
    match (verb, rest) {
        ("in", [jail, rest @ ..]) => {
            jail::enter(jail)?;
            run(rest, meter)
        }
        ("fib", [fib, rest @ ..]) => {
            sys::setfib(number(fib, "fib")?)?;
            run(rest, meter)
        }
        ("urgent", rest) => {
            sys::be_urgent()?;
            run(rest, meter)
        }
        ("as", [user, rest @ ..]) => {
            user::turn_into(number(user, "user")?)?;
            run(rest, meter)
        }
        ("each", rest) => each(rest, meter),
        ("repeat", [times, rest @ ..]) => repeat(number(times, "times")?, rest, meter),
        ("together", rest) => together(rest, meter),
        ("echo", rest) => Ok(vec![rest.join(" ")]),
        ("halt", []) => Ok(vec![]),
        ("fault", []) => fault(),
        ("mount", rest) => root::mount_command(rest),
        ("exec", rest) => exec::command(rest),
        ("text", rest) => text::command(rest),
        ("kld", rest) => kld::command(rest),
        ("kenv", rest) => kld::environment(rest),
        ("sysctl", rest) => sysctl::command(rest),
        ("malloc" | "zones" | "pages", rest) => memory::command(verb, rest),
        ("devctl", rest) => devctl::command(rest),
        ("faults", rest) => faults::command(rest),
        ("ether", rest) => ether::command(rest),
        ("if", rest) => netif::command(rest),
        ("netmap", rest) => netmap::command(rest, meter),
        ("jail", rest) => jail::command(rest),
        ("route", rest) => route::command(rest, meter),
        ("udp", rest) => traffic::command(rest, meter),
        ("tcp", rest) => tcp::command(rest, meter),
        ("flood", rest) => flood::flood(rest, meter),
        ("drain", rest) => flood::drain(rest, meter),
        ("group", rest) => group::command(rest, meter),
        ("fuzz", rest) => fuzz::command(rest, meter),
        ("graph", rest) => graph::command(rest),
        ("pingpong", rest) => echo::ping(rest, meter),
        ("pong", rest) => echo::pong(rest, meter),
        ("pour", rest) => bulk::pour(rest),
        ("sink", rest) => bulk::sink(rest, meter),
        ("spent", rest) => spent::command(rest, meter),
        ("spin", rest) => spent::spin(rest, meter),
        ("threads", rest) => thread::command(rest),
        ("tap", rest) => tap::command(rest, meter),
        ("long", rest) => tap::long(rest, meter),
        ("pf", rest) => filter::pf(rest),
        ("ipfw", rest) => filter::ipfw(rest),
        ("pfil", rest) => filter::pfil(rest),
        ("ping", rest) => ping::command(rest),
        ("dmesg", rest) => msgbuf::command(rest),
        ("uptime" | "time" | "sleep", rest) => clock::command(verb, rest),
        _ => Err(Failure::new(format!("no such command: {verb}"))),
    }
}

/// `each WORDS... -- WORDS... -- ...`: runs commands one after the other in this
/// process, stopping at the first that fails.
fn each(words: &[&str], meter: &Meter) -> Outcome {
    let mut lines = Vec::new();
    for (at, command) in words.split(|&word| word == "--").enumerate() {
        match run(command, meter) {
            Ok(more) => lines.extend(more),
            Err(why) => {
                return Err(Failure::new(format!(
                    "command {at} ({}): {why}",
                    command.join(" ")
                )));
            }
        }
    }
    Ok(lines)
}

/// `repeat TIMES WORDS... -- WORDS... -- ...`: runs commands one after the other in this
/// process, whether they fail or not, again and again, until it is asked to stop. The line
/// says how often each succeeded.
fn repeat(times: u32, words: &[&str], meter: &Meter) -> Outcome {
    let commands: Vec<&[&str]> = words.split(|&word| word == "--").collect();
    let mut well = vec![0u32; commands.len()];
    for _ in 0..times {
        for (command, well) in commands.iter().zip(&mut well) {
            *well += u32::from(run(command, meter).is_ok());
        }
        if meter.stop_asked() {
            break;
        }
    }
    let well: Vec<String> = well.iter().map(ToString::to_string).collect();
    Ok(vec![well.join(" ")])
}

/// `together WORDS... // WORDS... // ...`: runs commands at the same time, each in a process
/// of its own, whether they fail or not.
fn together(words: &[&str], meter: &Meter) -> Outcome {
    let mut children = Vec::new();
    for command in words.split(|&word| word == "//") {
        match sys::fork()? {
            Some(pid) => children.push(pid),
            None => sys::exit(i32::from(run(command, meter).is_err())),
        }
    }
    for pid in children {
        sys::wait(pid, true)?;
    }
    Ok(vec![])
}

/// Panics: shows that the agent survives its commands.
fn fault() -> Outcome {
    panic!("asked to")
}
