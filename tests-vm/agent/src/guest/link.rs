// SPDX-License-Identifier: BSD-2-Clause
//! What is set of Ethernet interfaces beside their addresses: the link-layer address, VLANs
//! of either kind, link aggregation, redundant addresses, and the way back from a jail.

use alloc::format;
use alloc::vec;
use core::ffi::{c_char, c_int, c_ulong};
use core::mem::size_of;

use super::command::{Failure, Outcome, number};
use super::jail;
use super::netif::{control, name_bytes, name_in, named};
use super::sys::{self, Fd, Plain};

// Requests of `sys/sockio.h`, `net/if_vlan_var.h` and `netinet/ip_carp.h` about a struct
// ifreq (32 bytes), and of `net/if_lagg.h`.
const SIOCSIFLLADDR: c_ulong = 0x8020_693c;
const SIOCGIFADDR: c_ulong = 0xc020_6921;
const SIOCSIFRVNET: c_ulong = 0xc020_695b;
const SIOCSLANPCP: c_ulong = 0x8020_6999;
const SIOCIFCREATE2: c_ulong = 0xc020_697c;
const SIOCSETVLAN: c_ulong = 0x8020_6939;
const SIOCSVH: c_ulong = 0xc020_69f5;
const SIOCGVH: c_ulong = 0xc020_69f6;
const SIOCSLAGGPORT: c_ulong = writing(141, size_of::<AggregatePort>());
const SIOCSLAGG: c_ulong = writing(144, size_of::<Aggregate>());

/// `_IOW('i', number, ...)` of `sys/ioccom.h`.
const fn writing(number: c_ulong, size: usize) -> c_ulong {
    0x8000_6900 | (size as c_ulong) << 16 | number
}

/// `ETHERTYPE_VLAN` and `ETHERTYPE_QINQ` of `net/ethernet.h`.
const TAGS: [(&str, u16); 2] = [("802.1q", 0x8100), ("802.1ad", 0x88a8)];
/// `LAGG_PROTOS` of `net/if_lagg.h`, those that need no partner.
const AGGREGATION: [(&str, u32); 4] = [
    ("roundrobin", 1),
    ("failover", 2),
    ("loadbalance", 3),
    ("broadcast", 5),
];
/// `CARP_STATES` of `netinet/ip_carp.h`.
const STATES: [&str; 3] = ["init", "backup", "master"];

/// `if lladdr NAME [XX:XX:XX:XX:XX:XX]`: the line is the address that it has afterwards.
/// `if vlan NAME PARENT TAG 802.1q|802.1ad`, `if lagg NAME PROTOCOL PORT...`, `if carp NAME
/// VHID SKEW`, `if carp-state NAME VHID`, `if reclaim NAME JAIL`, `if pcp NAME PRIORITY` of 802.1p, `if promiscuous NAME [off]`; `if create-with NAME ADDRESS`
/// tells the cloner that its parameters are at this address.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["lladdr", name] => current_address(name),
        ["lladdr", name, new] => {
            set_address(name, new)?;
            current_address(name)
        }
        ["vlan", name, parent, tag, kind] => set_vlan(name, parent, number(tag, "tag")?, kind),
        ["lagg", name, protocol, ports @ ..] => aggregate(name, protocol, ports),
        ["carp", name, vhid, skew] => {
            set_redundant(name, number(vhid, "vhid")?, number(skew, "skew")?)
        }
        ["carp-state", name, vhid] => redundancy(name, number(vhid, "vhid")?),
        ["reclaim", name, jail] => {
            let mut request = named(name)?;
            request.ifr_ifru.ifru_jid = jail::find(jail)?;
            control()?.ioctl(SIOCSIFRVNET, &mut request)?;
            Ok(vec![])
        }
        ["pcp", name, priority] => {
            let mut request = named(name)?;
            request.ifr_ifru.ifru_vlan_pcp = number(priority, "priority")?;
            control()?.ioctl(SIOCSLANPCP, &mut request)?;
            Ok(vec![])
        }
        ["create-with", name, parameters] => {
            let mut request = named(name)?;
            let at = number::<usize>(parameters, "address")?;
            request.ifr_ifru.ifru_data = core::ptr::without_provenance_mut(at);
            control()?.ioctl(SIOCIFCREATE2, &mut request)?;
            Ok(vec![name_in(&request.ifr_name)])
        }
        ["promiscuous", name] => set_promiscuous(name, true),
        ["promiscuous", name, "off"] => set_promiscuous(name, false),
        _ => Err(Failure::usage(
            "if lladdr|vlan|lagg|carp|carp-state|reclaim|pcp|promiscuous|create-with NAME ...",
        )),
    }
}

pub(super) fn current_address(name: &str) -> Outcome {
    let mut request = named(name)?;
    // A socket without addresses of its own leaves the request to the interface.
    Fd::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?.ioctl(SIOCGIFADDR, &mut request)?;
    // SAFETY: any bytes of the union are a sockaddr.
    let bytes = unsafe { request.ifr_ifru.ifru_addr.sa_data };
    let bytes: [u8; 6] = core::array::from_fn(|at| bytes[at].cast_unsigned());
    let [a, b, c, d, e, f] = bytes;
    Ok(vec![format!(
        "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
    )])
}

fn set_address(name: &str, new: &str) -> Result<(), Failure> {
    let mut request = named(name)?;
    let mut data = [0; 14];
    let mut octets = new.split(':');
    for to in &mut data[..6] {
        let octet = octets
            .next()
            .and_then(|octet| u8::from_str_radix(octet, 16).ok());
        let octet = octet.ok_or_else(|| Failure::new(format!("{new} is no address")))?;
        *to = octet.cast_signed();
    }
    request.ifr_ifru.ifru_addr = libc::sockaddr {
        sa_len: 6,
        sa_family: libc::AF_LINK as u8,
        sa_data: data,
    };
    Ok(control()?.ioctl(SIOCSIFLLADDR, &mut request)?)
}

/// The number of a word among those that are allowed.
fn choice<T: Copy>(word: &str, allowed: &[(&str, T)]) -> Result<T, Failure> {
    let found = allowed.iter().find(|(name, _)| *name == word);
    let found = found.ok_or_else(|| Failure::new(format!("{word} is none of those allowed")))?;
    Ok(found.1)
}

/// `struct vlanreq` of `net/if_vlan_var.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Vlan {
    parent: [c_char; libc::IFNAMSIZ],
    tag: u16,
    protocol: u16,
}

fn set_vlan(name: &str, parent: &str, tag: u16, kind: &str) -> Outcome {
    let mut vlan = Vlan {
        parent: name_bytes(parent)?,
        tag,
        protocol: choice(kind, &TAGS)?,
    };
    let mut request = named(name)?;
    request.ifr_ifru.ifru_data = (&raw mut vlan).cast();
    control()?.ioctl(SIOCSETVLAN, &mut request)?;
    Ok(vec![])
}

/// `SIOCGIFFLAGS`, `SIOCSIFFLAGS`, and `IFF_PPROMISC` in the upper half of the flags.
fn set_promiscuous(name: &str, on: bool) -> Outcome {
    const SIOCSIFFLAGS: c_ulong = 0x8020_6910;
    const SIOCGIFFLAGS: c_ulong = 0xc020_6911;
    const PROMISCUOUS: i16 = 0x2;
    let socket = control()?;
    let mut request = named(name)?;
    socket.ioctl(SIOCGIFFLAGS, &mut request)?;
    // SAFETY: any bytes of the union are two shorts.
    let [low, high] = unsafe { request.ifr_ifru.ifru_flags };
    let high = if on {
        high | PROMISCUOUS
    } else {
        high & !PROMISCUOUS
    };
    request.ifr_ifru.ifru_flags = [low, high];
    socket.ioctl(SIOCSIFFLAGS, &mut request)?;
    Ok(vec![])
}

/// `struct lagg_reqport` of `net/if_lagg.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct AggregatePort {
    name: [c_char; libc::IFNAMSIZ],
    port: [c_char; libc::IFNAMSIZ],
    priority: u32,
    flags: u32,
    lacp: [u16; 16],
}

/// `struct lagg_reqall` of `net/if_lagg.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Aggregate {
    name: [c_char; libc::IFNAMSIZ],
    protocol: u32,
    padding: u32,
    size: usize,
    ports: usize,
    count: c_int,
    lacp: [u16; 16],
    end: u32,
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for AggregatePort {}
// SAFETY: integers and arrays of integers, without padding; no buffer is named.
unsafe impl Plain for Aggregate {}

fn aggregate(name: &str, protocol: &str, ports: &[&str]) -> Outcome {
    let socket = control()?;
    let mut all = sys::zeroed::<Aggregate>();
    all.name = name_bytes(name)?;
    all.protocol = choice(protocol, &AGGREGATION)?;
    socket.ioctl(SIOCSLAGG, &mut all)?;
    for port in ports {
        let mut one = sys::zeroed::<AggregatePort>();
        one.name = name_bytes(name)?;
        one.port = name_bytes(port)?;
        socket.ioctl(SIOCSLAGGPORT, &mut one)?;
    }
    Ok(vec![])
}

/// `struct carpreq` of `netinet/ip_carp.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Redundant {
    count: c_int,
    vhid: c_int,
    state: c_int,
    skew: c_int,
    base: c_int,
    key: [u8; 20],
}

/// Announces a redundant address of this group each second; the least skew wins.
fn set_redundant(name: &str, vhid: c_int, skew: c_int) -> Outcome {
    let mut group = Redundant {
        count: 0,
        vhid,
        state: 0,
        skew,
        base: 1,
        key: [0; 20],
    };
    let mut request = named(name)?;
    request.ifr_ifru.ifru_data = (&raw mut group).cast();
    control()?.ioctl(SIOCSVH, &mut request)?;
    Ok(vec![])
}

fn redundancy(name: &str, vhid: c_int) -> Outcome {
    let mut group = Redundant {
        count: 1,
        vhid,
        state: 0,
        skew: 0,
        base: 0,
        key: [0; 20],
    };
    let mut request = named(name)?;
    request.ifr_ifru.ifru_data = (&raw mut group).cast();
    control()?.ioctl(SIOCGVH, &mut request)?;
    let state = usize::try_from(group.state).ok();
    let state = state.and_then(|state| STATES.get(state));
    Ok(vec![(*state.unwrap_or(&"unknown")).into()])
}
