// SPDX-License-Identifier: BSD-2-Clause
//! netgraph(4): what is between an Ethernet interface and the stack.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::command::{Failure, Outcome};
use super::sys::{self, Fd, Plain};

/// `AF_NETGRAPH` of `sys/socket.h` and `NG_CONTROL` of `netgraph/ng_socket.h`.
const DOMAIN: i32 = 32;
const CONTROL: i32 = 2;
// Of `netgraph/ng_message.h`.
const VERSION: u8 = 8;
const GENERIC: u32 = 1_137_070_366;
const SHUTDOWN: u32 = 1;
const MAKE_PEER: u32 = 2;
const CONNECT: u32 = 3;

/// `struct ng_mesg`'s header.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version: u8,
    spare: [u8; 3],
    length: u32,
    command: u32,
    flags: u32,
    token: u32,
    cookie: u32,
    text: [u8; 32],
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Header {}

/// `graph take INTERFACE TYPE HOOK` has a new node of this type get what the interface
/// receives, by this hook; `graph give INTERFACE HOOK` gives what leaves it by that hook to
/// the stack, and what the stack sends to it; `graph out INTERFACE` takes it away. `graph join
/// INTERFACE OTHER HOOK` has that node send to another interface, too, what it gets, and get
/// what that one receives.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["take", interface, kind, hook] => ask(
            &format!("{interface}:"),
            MAKE_PEER,
            &[(kind, 32), ("lower", 32), (hook, 32)],
        ),
        ["give", interface, hook] => ask(
            &format!("{interface}:"),
            CONNECT,
            &[
                (&format!("{interface}:lower"), 512),
                ("upper", 32),
                (hook, 32),
            ],
        ),
        ["join", interface, other, hook] => ask(
            &format!("{other}:"),
            CONNECT,
            &[
                (&format!("{interface}:lower"), 512),
                ("lower", 32),
                (hook, 32),
            ],
        ),
        ["out", interface] => ask(&format!("{interface}:lower"), SHUTDOWN, &[]),
        _ => Err(Failure::usage(
            "graph take INTERFACE TYPE HOOK | give INTERFACE HOOK | join INTERFACE OTHER HOOK | out INTERFACE",
        )),
    }
}

/// Sends a message with these texts, each in a field of that many bytes.
fn ask(node: &str, command: u32, fields: &[(&str, usize)]) -> Outcome {
    let mut header = sys::zeroed::<Header>();
    header.version = VERSION;
    header.command = command;
    header.cookie = GENERIC;
    header.length = fields.iter().map(|(_, size)| *size as u32).sum();
    let mut message: Vec<u8> = sys::bytes_of(&header).to_vec();
    for (text, size) in fields {
        let end = message.len() + size;
        message.extend(text.bytes().take(size - 1));
        message.resize(end, 0);
    }
    // `struct sockaddr_ng`: its length, its family, a path with its NUL.
    let mut to = vec![node.len() as u8 + 3, DOMAIN as u8];
    to.extend(node.bytes());
    to.push(0);
    let socket = Fd::socket(DOMAIN, libc::SOCK_DGRAM, CONTROL)?;
    socket.send_to(&message, &to)?;
    Ok(vec![])
}
