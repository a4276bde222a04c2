// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces: create, address, move between network stacks, read their counters.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_ulong};
use core::mem::{offset_of, size_of};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{self, Prefix, following, socket_address_v4, socket_address_v6};
use super::command::{Failure, Outcome, number};
use super::jail;
use super::link;
use super::sys::{self, Fd, Plain, text_of};

// Requests of `sys/sockio.h` and `netinet6/in6_var.h` that the libc crate does not
// have: direction, size of struct ifreq (32), ifaliasreq (68) or in6_aliasreq (136),
// group 'i', number.
const SIOCSIFFLAGS: c_ulong = 0x8020_6910;
const SIOCGIFFLAGS: c_ulong = 0xc020_6911;
const SIOCGIFINDEX: c_ulong = 0xc020_6920;
const SIOCAIFADDR: c_ulong = 0x8044_692b;
const SIOCAIFADDR_IN6: c_ulong = 0x8088_691b;
const SIOCDIFADDR: c_ulong = 0x8020_6919;
const SIOCDIFADDR_IN6: c_ulong = 0x8120_6919;
const SIOCSIFVNET: c_ulong = 0xc020_695a;
const SIOCSIFFIB: c_ulong = 0x8020_695d;
const SIOCSIFNAME: c_ulong = 0x8020_6928;
const SIOCGIFMTU: c_ulong = 0xc020_6933;
const SIOCSIFMTU: c_ulong = 0x8020_6934;
const SIOCSIFCAP: c_ulong = 0x8020_691e;
const SIOCGIFCAP: c_ulong = 0xc020_691f;
const SIOCIFDESTROY: c_ulong = 0x8020_6979;
const SIOCIFCREATE2: c_ulong = 0xc020_697c;

/// What an interface can do for the stack, as ifconfig(8) calls it, and its bit in
/// `net/if.h`.
const CAPABILITIES: [(&str, c_int); 11] = [
    ("rxcsum", 0x1),
    ("txcsum", 0x2),
    ("vlanhwtag", 0x10),
    ("vlanhwcsum", 0x80),
    ("tso4", 0x100),
    ("tso6", 0x200),
    ("lro", 0x400),
    ("vlanhwfilter", 0x1_0000),
    ("vlanhwtso", 0x4_0000),
    ("rxcsum6", 0x20_0000),
    ("txcsum6", 0x40_0000),
];

/// `IFF_UP`
const UP: u32 = 1;
/// `IFDATA_GENERAL` of `net/if_mib.h`, and the way there.
const IFMIB: [i32; 4] = [libc::CTL_NET, libc::PF_LINK, 0, 2];
const IFDATA_GENERAL: i32 = 1;
/// `IFMIB_SYSTEM`, `IFMIB_IFCOUNT`: the highest index of an interface.
const IFCOUNT: [i32; 5] = [libc::CTL_NET, libc::PF_LINK, 0, 1, 1];
/// Where `struct ifmibdata` has its `struct if_data`: name, five ints, filler.
const IF_DATA_AT: usize = libc::IFNAMSIZ + 5 * 4 + 4 * 4 + 4;

/// `if create NAME`, `destroy NAME`, `vnet NAME JAIL`, `fib NAME N`,
/// `mtu NAME [BYTES]`, `rename NAME NEW`, `addr NAME ADDRESS/BITS [COUNT]`, `unaddr NAME ADDRESS`, `up NAME`, `down NAME`, `stat NAME`, `inet6 NAME`,
/// `member BRIDGE NAME`, `capability NAME [[-]CAPABILITY]`: the line names those that are
/// enabled afterwards; and what [`link`] does.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["create", name] => {
            let mut request = named(name)?;
            control()?.ioctl(SIOCIFCREATE2, &mut request)?;
            Ok(vec![name_in(&request.ifr_name)])
        }
        ["destroy", name] => silent(control()?.ioctl(SIOCIFDESTROY, &mut named(name)?)),
        ["vnet", name, jail] => {
            let mut request = named(name)?;
            request.ifr_ifru.ifru_jid = jail::find(jail)?;
            silent(control()?.ioctl(SIOCSIFVNET, &mut request))
        }
        ["fib", name, fib] => {
            let mut request = named(name)?;
            request.ifr_ifru.ifru_fib = number(fib, "fib")?;
            silent(control()?.ioctl(SIOCSIFFIB, &mut request))
        }
        ["mtu", name] => {
            let mut request = named(name)?;
            control()?.ioctl(SIOCGIFMTU, &mut request)?;
            // SAFETY: any bytes of the union are an int.
            Ok(vec![format!("{}", unsafe { request.ifr_ifru.ifru_mtu })])
        }
        ["mtu", name, bytes] => {
            let mut request = named(name)?;
            request.ifr_ifru.ifru_mtu = number(bytes, "mtu")?;
            silent(control()?.ioctl(SIOCSIFMTU, &mut request))
        }
        ["rename", name, new] => {
            let mut new = name_bytes(new)?;
            let mut request = named(name)?;
            request.ifr_ifru.ifru_data = new.as_mut_ptr();
            silent(control()?.ioctl(SIOCSIFNAME, &mut request))
        }
        ["addr", name, prefix] => add_addresses(name, prefix, 1),
        ["addr", name, prefix, "vhid", vhid] => add_redundant(name, prefix, number(vhid, "vhid")?),
        ["addr", name, prefix, count] => add_addresses(name, prefix, number(count, "count")?),
        ["unaddr", name, address] => remove_address(name, address),
        ["up", name] => set_up(name, true),
        ["down", name] => set_up(name, false),
        ["stat", name] => stat(name),
        ["link", name] => link_state(name),
        ["inet6", name] => inet6(name),
        ["all"] => all(),
        ["member", bridge, name] => add_member(bridge, name),
        ["capability", name, changes @ ..] => capability(name, changes),
        _ => link::command(words),
    }
}

fn silent(result: sys::Result<()>) -> Outcome {
    result?;
    Ok(vec![])
}

pub(super) fn control() -> Result<Fd, Failure> {
    Ok(Fd::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?)
}

pub(super) fn name_bytes(name: &str) -> Result<[c_char; libc::IFNAMSIZ], Failure> {
    let mut bytes = [0; libc::IFNAMSIZ];
    if name.len() >= bytes.len() {
        return Err(Failure::new(format!(
            "{name}: interface names have at most 15 characters"
        )));
    }
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(bytes)
}

pub(super) fn name_in(bytes: &[c_char]) -> String {
    let bytes: alloc::vec::Vec<u8> = bytes.iter().map(|byte| byte.cast_unsigned()).collect();
    text_of(&bytes)
}

/// A request about the interface `name`.
pub(super) fn named(name: &str) -> Result<libc::ifreq, Failure> {
    let mut request = sys::zeroed::<libc::ifreq>();
    request.ifr_name = name_bytes(name)?;
    Ok(request)
}

pub(super) fn as_sockaddr(address: Ipv4Addr) -> Result<libc::sockaddr, Failure> {
    let bytes = socket_address_v4(address, 0);
    sys::read_plain(sys::bytes_of(&bytes)).ok_or(Failure::new("sockaddr sizes differ"))
}

/// Gives `name` the address, and the `count - 1` that follow it.
fn add_addresses(name: &str, prefix: &str, count: u32) -> Outcome {
    let prefix = Prefix::parse(prefix)?;
    for step in 0..count {
        match (following(prefix.first, step), prefix.mask()) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => add_v4(name, address, mask, 0)?,
            (IpAddr::V6(address), IpAddr::V6(mask)) => add_v6(name, address, mask)?,
            _ => return Err(Failure::new("address and mask of two families")),
        }
    }
    Ok(vec![])
}

/// Gives `name` an IPv4 address of a carp(4) group.
fn add_redundant(name: &str, prefix: &str, vhid: c_int) -> Outcome {
    let prefix = Prefix::parse(prefix)?;
    match (prefix.first, prefix.mask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => add_v4(name, address, mask, vhid)?,
        _ => return Err(Failure::new("an IPv4 address is wanted")),
    }
    Ok(vec![])
}

fn add_v4(name: &str, address: Ipv4Addr, mask: Ipv4Addr, vhid: c_int) -> Result<(), Failure> {
    let mut request = sys::zeroed::<libc::ifaliasreq>();
    request.ifra_name = name_bytes(name)?;
    request.ifra_addr = as_sockaddr(address)?;
    request.ifra_mask = as_sockaddr(mask)?;
    request.ifra_vhid = vhid;
    let hosts = !mask.to_bits();
    if hosts > 1 {
        let broadcast = Ipv4Addr::from_bits(address.to_bits() | hosts);
        request.ifra_broadaddr = as_sockaddr(broadcast)?;
    }
    Ok(control()?.ioctl(SIOCAIFADDR, &mut request)?)
}

/// `struct in6_ifreq` of `netinet6/in6_var.h`; of a removal only the address is read.
#[repr(C)]
#[derive(Clone, Copy)]
struct RequestV6 {
    name: [c_char; libc::IFNAMSIZ],
    address: libc::sockaddr_in6,
    rest: [u32; 61],
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for RequestV6 {}

/// Takes an address from `name`.
fn remove_address(name: &str, address: &str) -> Outcome {
    match address::parse(address)? {
        IpAddr::V4(address) => {
            let mut request = named(name)?;
            request.ifr_ifru.ifru_addr = as_sockaddr(address)?;
            silent(control()?.ioctl(SIOCDIFADDR, &mut request))
        }
        IpAddr::V6(address) => {
            let mut request = sys::zeroed::<RequestV6>();
            request.name = name_bytes(name)?;
            request.address = socket_address_v6(address, 0);
            let socket = Fd::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
            silent(socket.ioctl(SIOCDIFADDR_IN6, &mut request))
        }
    }
}

/// `struct in6_aliasreq` of `netinet6/in6_var.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct AliasRequestV6 {
    name: [c_char; libc::IFNAMSIZ],
    address: libc::sockaddr_in6,
    destination: libc::sockaddr_in6,
    mask: libc::sockaddr_in6,
    flags: c_int,
    expires: i64,
    preferred_until: i64,
    valid_lifetime: u32,
    preferred_lifetime: u32,
    carp_group: c_int,
}

// SAFETY: integers and arrays of integers.
unsafe impl Plain for AliasRequestV6 {}

/// `ND6_INFINITE_LIFETIME`
const FOR_EVER: u32 = u32::MAX;

fn add_v6(name: &str, address: Ipv6Addr, mask: Ipv6Addr) -> Result<(), Failure> {
    let mut request = sys::zeroed::<AliasRequestV6>();
    request.name = name_bytes(name)?;
    request.address = socket_address_v6(address, 0);
    request.mask = socket_address_v6(mask, 0);
    (request.valid_lifetime, request.preferred_lifetime) = (FOR_EVER, FOR_EVER);
    let socket = Fd::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    Ok(socket.ioctl(SIOCAIFADDR_IN6, &mut request)?)
}

/// `BRDGADD` of `net/if_bridgevar.h`.
const BRDGADD: c_ulong = 0;

/// `struct ifbreq` of `net/if_bridgevar.h`; of an addition only the name is read.
#[repr(C)]
#[derive(Clone, Copy)]
struct BridgeMember {
    name: [c_char; libc::IFNAMSIZ],
    rest: [u32; 16],
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for BridgeMember {}

/// Makes the interface `name` a port of `bridge`.
fn add_member(bridge: &str, name: &str) -> Outcome {
    let mut member = sys::zeroed::<BridgeMember>();
    member.name = name_bytes(name)?;
    silent(control()?.driver_command(name_bytes(bridge)?, BRDGADD, &mut member))
}

fn set_up(name: &str, up: bool) -> Outcome {
    let socket = control()?;
    let mut request = named(name)?;
    socket.ioctl(SIOCGIFFLAGS, &mut request)?;
    // `ifr_flags` and `ifr_flagshigh`: the first two shorts.
    // SAFETY: any bytes of the union are two shorts.
    let mut flags = unsafe { request.ifr_ifru.ifru_flags };
    let bit = i16::try_from(UP).unwrap_or(0);
    flags[0] = if up { flags[0] | bit } else { flags[0] & !bit };
    request.ifr_ifru.ifru_flags = flags;
    silent(socket.ioctl(SIOCSIFFLAGS, &mut request))
}

/// Enables capabilities, or disables those with a minus before their name.
fn capability(name: &str, changes: &[&str]) -> Outcome {
    let socket = control()?;
    for change in changes {
        let (wanted, on) = match change.strip_prefix('-') {
            Some(wanted) => (wanted, false),
            None => (*change, true),
        };
        let known = CAPABILITIES.iter().find(|(known, _)| *known == wanted);
        let (_, bit) = known.ok_or_else(|| Failure::new(format!("no capability {wanted}")))?;
        let [_, enabled] = capabilities(&socket, name)?;
        let asked = if on { enabled | bit } else { enabled & !bit };
        let mut request = named(name)?;
        request.ifr_ifru.ifru_cap = [asked, 0];
        socket.ioctl(SIOCSIFCAP, &mut request)?;
    }
    let [_, enabled] = capabilities(&socket, name)?;
    let names = CAPABILITIES.iter().filter(|(_, bit)| enabled & bit != 0);
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    Ok(vec![names.join(" ")])
}

/// What the interface can do, and what of it is enabled.
fn capabilities(socket: &Fd, name: &str) -> Result<[c_int; 2], Failure> {
    let mut request = named(name)?;
    socket.ioctl(SIOCGIFCAP, &mut request)?;
    // SAFETY: any bytes of the union are two ints.
    Ok(unsafe { request.ifr_ifru.ifru_cap })
}

/// `NET_RT_IFLIST` of `sys/socket.h`: what there is of an interface and its addresses.
const IFLIST: i32 = 3;

/// A line for each address of IPv6, without its zone.
fn inet6(name: &str) -> Outcome {
    let mut request = named(name)?;
    control()?.ioctl(SIOCGIFINDEX, &mut request)?;
    // SAFETY: any bytes of the union are a short.
    let index = unsafe { request.ifr_ifru.ifru_index };
    let (route, family) = (libc::PF_ROUTE, libc::AF_INET6);
    let oid = [libc::CTL_NET, route, 0, family, IFLIST, i32::from(index)];
    let mut room = vec![0; 8192];
    let used = sys::sysctl_read(&oid, &mut room)?;
    // Length, family, port, flow: what a struct sockaddr_in6 begins with.
    let begin = [28, 28, 0, 0, 0, 0, 0, 0];
    let parts = room[..used].windows(24);
    let addresses = parts
        .filter(|part| part.starts_with(&begin) && part[8] != 0xff)
        .map(|part| {
            let mut octets: [u8; 16] = part[8..].try_into().unwrap_or_default();
            if octets[0] == 0xfe {
                octets[2..4].fill(0);
            }
            format!("{}", Ipv6Addr::from(octets))
        });
    Ok(addresses.collect())
}

/// The number of an interface.
pub(super) fn index(name: &str) -> Result<u16, Failure> {
    let mut request = named(name)?;
    control()?.ioctl(SIOCGIFINDEX, &mut request)?;
    // SAFETY: any bytes of the union are a short.
    Ok(unsafe { request.ifr_ifru.ifru_index }.cast_unsigned())
}

/// What the kernel tells of an interface: `if_data` of `net/if.h`.
fn data(name: &str) -> Result<Vec<u8>, Failure> {
    let mut request = named(name)?;
    control()?.ioctl(SIOCGIFINDEX, &mut request)?;
    // SAFETY: any bytes of the union are a short.
    let index = unsafe { request.ifr_ifru.ifru_index };
    let oid = [
        IFMIB[0],
        IFMIB[1],
        IFMIB[2],
        IFMIB[3],
        i32::from(index),
        IFDATA_GENERAL,
    ];
    let mut room = [0; 512];
    let used = sys::sysctl_read(&oid, &mut room)?;
    let data = room[..used].get(IF_DATA_AT..);
    let data = data.filter(|data| data.len() >= size_of::<libc::if_data>());
    Ok(data.ok_or(Failure::new("short ifmibdata"))?.to_vec())
}

/// A line for each interface of this network stack: name, flags, MTU, capabilities, hardware
/// address, FIB.
pub(super) fn all() -> Outcome {
    const SIOCGIFMTU: c_ulong = 0xc020_6933;
    const SIOCGIFFIB: c_ulong = 0xc020_695c;
    let mut room = [0; 512];
    let used = sys::sysctl_read(&IFCOUNT, &mut room)?;
    let count: c_int = sys::read_plain(&room[..used]).unwrap_or(0);
    let mut lines = vec![];
    for index in 1..=count {
        let [net, link, zero, data] = IFMIB;
        let oid = [net, link, zero, data, index, IFDATA_GENERAL];
        let Ok(used) = sys::sysctl_read(&oid, &mut room) else {
            continue;
        };
        let name = text_of(&room[..used.min(libc::IFNAMSIZ)]);
        let socket = control()?;
        let ask = |request| -> Option<[c_int; 2]> {
            let mut asked = named(&name).ok()?;
            socket.ioctl(request, &mut asked).ok()?;
            // SAFETY: any bytes of the union are two ints.
            Some(unsafe { asked.ifr_ifru.ifru_cap })
        };
        let [flags, _] = ask(SIOCGIFFLAGS).unwrap_or_default();
        let [mtu, _] = ask(SIOCGIFMTU).unwrap_or_default();
        let [has, enabled] = ask(SIOCGIFCAP).unwrap_or_default();
        let [fib, _] = ask(SIOCGIFFIB).unwrap_or_default();
        let address = link::current_address(&name).unwrap_or_default();
        lines.push(format!(
            "{name} flags={flags:x} mtu={mtu} capabilities={has:x} enabled={enabled:x} {} fib={fib}",
            address.join("")
        ));
    }
    Ok(lines)
}

/// One line: packets, bytes, errors, drops in; packets, bytes, errors, drops out.
fn stat(name: &str) -> Outcome {
    let data = data(name)?;
    let fields = [
        offset_of!(libc::if_data, ifi_ipackets),
        offset_of!(libc::if_data, ifi_ibytes),
        offset_of!(libc::if_data, ifi_ierrors),
        offset_of!(libc::if_data, ifi_iqdrops),
        offset_of!(libc::if_data, ifi_opackets),
        offset_of!(libc::if_data, ifi_obytes),
        offset_of!(libc::if_data, ifi_oerrors),
        offset_of!(libc::if_data, ifi_oqdrops),
    ]
    .map(|at| {
        let raw = data.get(at..at + 8).and_then(|raw| raw.try_into().ok());
        format!("{}", raw.map_or(0, u64::from_ne_bytes))
    });
    Ok(vec![fields.join(" ")])
}

/// One line: whether the link is up, by `LINK_STATE_*` of `net/if.h`.
fn link_state(name: &str) -> Outcome {
    let data = data(name)?;
    let state = match data.get(offset_of!(libc::if_data, ifi_link_state)) {
        Some(1) => "down",
        Some(2) => "up",
        _ => "unknown",
    };
    Ok(vec![state.into()])
}
