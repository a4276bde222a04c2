// SPDX-License-Identifier: BSD-2-Clause
//! sysctl(3) by name: read, write, and list a subtree with what the kernel knows
//! of each node. The `sysctl.*` meta nodes are those of `kern/kern_sysctl.c`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::fmt::Write;
use core::mem::size_of;

use super::command::{Failure, Outcome, number};
use super::sys::{self, text_of};

/// `CTL_MAXNAME` of `sys/sysctl.h`.
const MOST_NUMBERS: usize = 24;
const META_NAME: c_int = 1;
const META_NEXT: c_int = 2;
const META_BY_NAME: c_int = 3;
const META_FORMAT: c_int = 4;
const META_DESCRIPTION: c_int = 5;
const META_LABEL: c_int = 6;

const NODE: u32 = 1;
const INT: u32 = 2;
const STRING: u32 = 3;
const S64: u32 = 4;
const UINT: u32 = 6;
const LONG: u32 = 7;
const ULONG: u32 = 8;
const U64: u32 = 9;
const U8: u32 = 0xa;
const U16: u32 = 0xb;
const S8: u32 = 0xc;
const S16: u32 = 0xd;
const S32: u32 = 0xe;
const U32: u32 = 0xf;

/// `CTLFLAG_WR`
const WRITABLE: u32 = 0x4000_0000;

/// `sysctl get NAME`, `sysctl set NAME VALUE`, `sysctl tree NAME`, `sysctl metrics NAME`,
/// `sysctl settings NAME`, `sysctl rewrite NAME`, `sysctl about NAME`: its description.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["get", name] => Ok(vec![show(&Node::find(name)?)?]),
        ["set", name, value @ ..] => {
            set(name, &value.join(" "))?;
            Ok(vec![])
        }
        ["about", name] => Ok(vec![Node::find(name)?.text(META_DESCRIPTION)]),
        ["tree", name] => below(name, describe),
        ["settings", name] => settings(name),
        ["rewrite", name] => below(name, rewrite),
        ["metrics", name] => Ok(below(name, metric)?.into_iter().flatten().collect()),
        _ => Err(Failure::usage(
            "sysctl get NAME | set NAME VALUE | about NAME | tree NAME | metrics NAME | settings NAME \
             | rewrite NAME",
        )),
    }
}

/// The bytes of the node `name`, and how many the kernel gave.
pub(super) fn raw(name: &str) -> Result<(sys::Pages, usize), Failure> {
    read(&lookup(name)?)
}

/// Sets the node `name` to what `value` says in the node's type.
pub(super) fn set(name: &str, value: &str) -> Result<(), Failure> {
    let node = Node::find(name)?;
    Ok(sys::sysctl_write(&node.oid, &encode(node.kind, value)?)?)
}

/// The value of an unsigned 64-bit, unsigned or signed int node as a number.
pub(super) fn count(name: &str) -> Result<u64, Failure> {
    number(&show(&Node::find(name)?)?, name)
}

struct Node {
    oid: Vec<c_int>,
    kind: u32,
    flags: u32,
    format: String,
}

impl Node {
    fn find(name: &str) -> Result<Self, Failure> {
        Self::of(lookup(name)?)
    }

    fn of(oid: Vec<c_int>) -> Result<Self, Failure> {
        let mut room = [0; 256];
        let used = sys::sysctl_read(&meta(META_FORMAT, &oid), &mut room)?;
        let flags: u32 = sys::read_plain(&room[..used]).ok_or(Failure::new("short oidfmt"))?;
        Ok(Self {
            oid,
            kind: flags & 0xf,
            flags,
            format: text_of(&room[4..]),
        })
    }

    fn text(&self, what: c_int) -> String {
        text(what, &self.oid)
    }
}

/// A line for each node that can be written, with its value, and for each that has others
/// below it.
pub(super) fn settings(name: &str) -> Outcome {
    let line = |node: Node| match node.kind {
        NODE => Some(node.text(META_NAME)),
        _ if node.flags & WRITABLE == 0 => None,
        _ => {
            let value = show(&node).unwrap_or_else(|error| format!("!{error}"));
            Some(format!("{} {value}", node.text(META_NAME)))
        }
    };
    Ok(below(name, line)?.into_iter().flatten().collect())
}

/// The names and numbers of all below `name` that is no node.
pub(super) fn leaves(name: &str) -> Result<Vec<(String, Vec<c_int>)>, Failure> {
    let leaf = |node: Node| (node.kind != NODE).then(|| (node.text(META_NAME), node.oid));
    Ok(below(name, leaf)?.into_iter().flatten().collect())
}

/// Writes a node's own value, or a 0, back to it; fields separated by tabs: name, whether it
/// says that it can be written, what came of reading, and of writing.
fn rewrite(node: Node) -> String {
    let name = node.text(META_NAME);
    if node.kind == NODE {
        return format!("{name}\tnode\t-\t-");
    }
    let said = |result: Result<(), String>| result.err().unwrap_or_else(|| "ok".into());
    let (reading, value) = match read(&node.oid) {
        Ok((mut pages, used)) => (Ok(()), pages.bytes_mut()[..used].to_vec()),
        Err(why) => (Err(why.to_string()), vec![0; 8]),
    };
    let is_setting = node.flags & WRITABLE != 0;
    let writing = sys::sysctl_write(&node.oid, &value).map_err(|why| why.to_string());
    format!(
        "{name}\t{}\t{}\t{}",
        if is_setting { "setting" } else { "figure" },
        said(reading),
        said(writing)
    )
}

/// What the kernel says of an OID; nothing if it says nothing.
fn text(what: c_int, oid: &[c_int]) -> String {
    let mut room = [0; 1024];
    match sys::sysctl_read(&meta(what, oid), &mut room) {
        Ok(used) => text_of(&room[..used]),
        Err(_) => String::new(),
    }
}

fn meta(what: c_int, oid: &[c_int]) -> Vec<c_int> {
    let mut full = vec![0, what];
    full.extend_from_slice(oid);
    full
}

fn lookup(name: &str) -> Result<Vec<c_int>, Failure> {
    let mut room = [0; MOST_NUMBERS * size_of::<c_int>()];
    let used = sys::sysctl_ask(&[0, META_BY_NAME], name.as_bytes(), &mut room)
        .map_err(|error| Failure::new(format!("{name}: {error}")))?;
    Ok(ints(&room[..used]))
}

fn ints(bytes: &[u8]) -> Vec<c_int> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|chunk| c_int::from_ne_bytes(*chunk))
        .collect()
}

/// Reads the whole value; some nodes grow between asking the size and reading.
fn read(oid: &[c_int]) -> Result<(sys::Pages, usize), Failure> {
    let mut room = sys::sysctl_size(oid)? * 5 / 4 + 4096;
    loop {
        let mut pages = sys::Pages::private(room)?;
        match sys::sysctl_read(oid, pages.bytes_mut()) {
            Ok(used) => return Ok((pages, used)),
            Err(error) if error.0 == libc::ENOMEM && room < 1 << 30 => room *= 2,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The value as text: numbers in decimal (arrays with spaces between), strings as
/// they are, the rest in hexadecimal.
fn show(node: &Node) -> Result<String, Failure> {
    if node.kind == NODE && !node.format.starts_with('S') {
        return Err(Failure::new("is a node with children"));
    }
    let (mut pages, used) = read(&node.oid)?;
    let bytes = &pages.bytes_mut()[..used];
    let list = |values: Vec<String>| values.join(" ");
    Ok(match node.kind {
        STRING => text_of(bytes),
        INT | S32 => list(each(bytes, |raw| i32::from_ne_bytes(raw).to_string())),
        UINT | U32 => list(each(bytes, |raw| u32::from_ne_bytes(raw).to_string())),
        LONG | S64 => list(each(bytes, |raw| i64::from_ne_bytes(raw).to_string())),
        ULONG | U64 => list(each(bytes, |raw| u64::from_ne_bytes(raw).to_string())),
        U8 => list(each(bytes, |raw| u8::from_ne_bytes(raw).to_string())),
        U16 => list(each(bytes, |raw| u16::from_ne_bytes(raw).to_string())),
        S8 => list(each(bytes, |raw| i8::from_ne_bytes(raw).to_string())),
        S16 => list(each(bytes, |raw| i16::from_ne_bytes(raw).to_string())),
        _ => hex(bytes),
    })
}

fn each<const N: usize>(bytes: &[u8], show: impl Fn([u8; N]) -> String) -> Vec<String> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| show(*chunk))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn encode(kind: u32, value: &str) -> Result<Vec<u8>, Failure> {
    Ok(match kind {
        STRING => value.as_bytes().to_vec(),
        INT | S32 => number::<i32>(value, "int")?.to_ne_bytes().to_vec(),
        UINT | U32 => number::<u32>(value, "unsigned int")?.to_ne_bytes().to_vec(),
        LONG | S64 => number::<i64>(value, "long")?.to_ne_bytes().to_vec(),
        ULONG | U64 => number::<u64>(value, "unsigned long")?
            .to_ne_bytes()
            .to_vec(),
        U8 => number::<u8>(value, "uint8")?.to_ne_bytes().to_vec(),
        U16 => number::<u16>(value, "uint16")?.to_ne_bytes().to_vec(),
        S8 => number::<i8>(value, "int8")?.to_ne_bytes().to_vec(),
        S16 => number::<i16>(value, "int16")?.to_ne_bytes().to_vec(),
        _ => return Err(Failure::new("cannot set a node of this type")),
    })
}

/// What `line` makes of each node below `name`.
fn below<L>(name: &str, line: fn(Node) -> L) -> Result<Vec<L>, Failure> {
    let top = lookup(name)?;
    let mut lines = Vec::new();
    let mut at = top.clone();
    let mut room = [0; MOST_NUMBERS * size_of::<c_int>()];
    while let Ok(used) = sys::sysctl_read(&meta(META_NEXT, &at), &mut room) {
        at = ints(&room[..used]);
        if !at.starts_with(&top) {
            break;
        }
        lines.push(line(Node::of(at.clone())?));
    }
    Ok(lines)
}

/// A number as prometheus_sysctl_exporter(8) shows it: a name of all parts that have no
/// label, and the other parts as the values of their labels.
fn metric(node: Node) -> Option<String> {
    if matches!(node.kind, NODE | STRING) {
        return None;
    }
    // Of several numbers in a row there is no metric.
    let value = show(&node).ok().filter(|value| !value.contains(' '))?;
    let (mut metric, mut labels) = (String::from("sysctl"), Vec::new());
    for (depth, part) in node.text(META_NAME).split('.').enumerate() {
        let label = text(META_LABEL, node.oid.get(..=depth)?);
        match label.is_empty() {
            true => {
                metric.push('_');
                let plain = |letter: char| {
                    if letter.is_alphanumeric() {
                        letter
                    } else {
                        '_'
                    }
                };
                metric.extend(part.chars().map(plain));
            }
            false => labels.push(format!("{label}=\"{part}\"")),
        }
    }
    match labels.is_empty() {
        true => Some(format!("{metric} {value}")),
        false => Some(format!("{metric}{{{}}} {value}", labels.join(","))),
    }
}

/// A node in a line, fields separated by tabs: name, kind in decimal, format, label,
/// description, value. One that cannot be read has `!` and the error.
fn describe(node: Node) -> String {
    let value = match node.kind {
        NODE => String::new(),
        _ => show(&node).unwrap_or_else(|error| format!("!{error}")),
    };
    let (name, label) = (node.text(META_NAME), node.text(META_LABEL));
    let description = node.text(META_DESCRIPTION);
    format!(
        "{name}\t{}\t{}\t{label}\t{description}\t{value}",
        node.kind, node.format
    )
}
