// SPDX-License-Identifier: BSD-2-Clause
//! What stands in the way of packets: pf(4), ipfw(4), and the order of filters by
//! pfil(9).

use alloc::format;
use alloc::vec;
use core::ffi::{c_int, c_ulong};

use super::command::{Failure, Outcome};
use super::sys::{self, Fd, Plain};

// Requests of `net/pfvar.h` and `net/pfil.h`.
const DIOCSTART: c_ulong = 0x2000_4401;
const DIOCSTOP: c_ulong = 0x2000_4402;
const DIOCSETREASS: c_ulong = 0xc004_4466;
const PFILIOC_LINK: c_ulong = 0x80c4_5003;

/// `PF_REASS_ENABLED` of `net/pfvar.h`.
const REASSEMBLE: u32 = 1;
// Flags of `net/pfil.h`. A filter is put nearest to the wire, or with `PFIL_APPEND`
// farthest from it.
const PFIL_IN: u32 = 0x1_0000;
const PFIL_OUT: u32 = 0x2_0000;
const PFIL_APPEND: u32 = 0x40_0000;
const PFIL_UNLINK: u32 = 0x80_0000;

/// `pf start` has pf(4) put fragments together and cut them again behind it, and, as
/// long as there are no rules, let everything pass; `pf stop`.
pub(super) fn pf(words: &[&str]) -> Outcome {
    let device = Fd::open("/dev/pf", libc::O_RDWR)?;
    match words {
        ["start"] => {
            device.ioctl(DIOCSETREASS, &mut { REASSEMBLE })?;
            device.ioctl_bare(DIOCSTART)?;
        }
        ["stop"] => device.ioctl_bare(DIOCSTOP)?,
        _ => return Err(Failure::usage("pf start | stop")),
    }
    Ok(vec![])
}

/// `ipfw_cfg_lheader` of `netinet/ip_fw.h`, the header of the list of rules
/// (`ipfw_obj_ctlv`), and room for the rules.
#[repr(C)]
#[derive(Clone, Copy)]
struct Configuration {
    opcode: u16,
    version: u16,
    reserved: [u16; 2],
    sets: u32,
    spare: u32,
    flags: u32,
    size: u32,
    range: [u32; 2],
    list: [u32; 2],
    count: u32,
    sizes: u32,
    rules: [u8; 4096],
}

/// `ipfw_obj_tlv` and `struct ip_fw_bcounter`, with which each rule begins.
#[repr(C)]
#[derive(Clone, Copy)]
struct Rule {
    kind: u16,
    flags: u16,
    length: u32,
    counter: [u32; 2],
    packets: u64,
    bytes: u64,
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Configuration {}
// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Rule {}

// Of `netinet/in.h` and `netinet/ip_fw.h`.
const IP_FW3: c_int = 48;
const IP_FW_XGET: u16 = 97;
const IP_FW3_OPVER: u16 = 1;
const GET_STATIC_AND_COUNTERS: u32 = 1 | 4;
const TLV_RULE_ENT: u16 = 7;

/// `ipfw packets`: how many packets the rules of ipfw(4) have decided about.
pub(super) fn ipfw(words: &[&str]) -> Outcome {
    if words != ["packets"] {
        return Err(Failure::usage("ipfw packets"));
    }
    let mut asked = sys::zeroed::<Configuration>();
    asked.opcode = IP_FW_XGET;
    asked.version = IP_FW3_OPVER;
    asked.flags = GET_STATIC_AND_COUNTERS;
    let socket = Fd::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
    socket.ask_option(libc::IPPROTO_IP, IP_FW3, &mut asked)?;
    let mut rules = &asked.rules[..];
    let mut packets = 0;
    for _ in 0..asked.count {
        let rule = sys::read_plain::<Rule>(rules).filter(|rule| rule.kind == TLV_RULE_ENT);
        let rule = rule.ok_or(Failure::new("what ipfw says is not a list of rules"))?;
        packets += rule.packets;
        rules = rules.get(rule.length as usize..).unwrap_or(&[]);
    }
    Ok(vec![format!("{packets}")])
}

/// `struct pfilioc_link` of `net/pfil.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Link {
    head: [u8; 64],
    module: [u8; 64],
    ruleset: [u8; 64],
    flags: u32,
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Link {}

/// `pfil first HEAD MODULE RULESET` makes a filter see the packets of `HEAD` (inet,
/// inet6, ethernet) before the others that are there, coming and going;
/// `pfil unlink HEAD MODULE RULESET` takes it away.
pub(super) fn pfil(words: &[&str]) -> Outcome {
    let (changes, names): (&[u32], &[&str]) = match words {
        ["first", names @ ..] => (&[PFIL_IN, PFIL_OUT | PFIL_APPEND], names),
        ["unlink", names @ ..] => (&[PFIL_IN | PFIL_OUT | PFIL_UNLINK], names),
        _ => (&[], &[]),
    };
    let [head, module, ruleset] = names else {
        return Err(Failure::usage("pfil first|unlink HEAD MODULE RULESET"));
    };
    let device = Fd::open("/dev/pfil", libc::O_RDWR)?;
    for &flags in changes {
        let mut link = Link {
            head: name(head)?,
            module: name(module)?,
            ruleset: name(ruleset)?,
            flags,
        };
        device.ioctl(PFILIOC_LINK, &mut link)?;
    }
    Ok(vec![])
}

/// The text with NULs behind it.
fn name(text: &str) -> Result<[u8; 64], Failure> {
    let mut bytes = sys::zeroed::<[u8; 64]>();
    let room = bytes.get_mut(..text.len()).filter(|_| text.len() < 64);
    let room = room.ok_or(Failure::new("names of filters have at most 63 characters"))?;
    room.copy_from_slice(text.as_bytes());
    Ok(bytes)
}
