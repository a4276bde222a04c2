#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes the corpus of the parser's tests: frames, and what scapy finds in each.

    make.py            made.pcap: frames put together by scapy
    make.py capture    captured.pcap: what Linux sends between two network namespaces,
                       with headers by IPV6_HOPOPTS and so on, fragments, tunnels (root);
                       one frame of each shape, and not the same ones each time
    make.py seeds DIR  a file for each frame of both, for a fuzzer to begin with

Beside each X.pcap it writes X.expected, a line a frame:

    name tags ethertype [layer]...     layer: version l3 l4 protocol end fragment kinds

where a second layer is the one in a tunnel, `fragment` is the offset in bytes plus one
if more follow, and `kinds` are the numbers of the extension headers in order, or -.
Needs scapy 2.6 or later.
"""

import os
import struct
import subprocess
import sys
import time

from scapy.all import (
    ARP, GRE, HAO, ICMP, IP, SCTP, TCP, UDP, Dot1AD, Dot1Q, Ether, HBHOptUnknown,
    ICMPv6EchoRequest, ICMPv6MLReport2, ICMPv6ND_NS, IPOption_RR, IPv6, IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrSegmentRouting, Pad1,
    PadN, Raw, RouterAlert, SCTPChunkInit, conf, fragment, fragment6, raw, rdpcap,
)
from scapy.layers.inet6 import (
    MIP6MH_BU, ICMPv6DestUnreach, ICMPv6PacketTooBig, _IPv6ExtHdr,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.vxlan import VXLAN

HERE = os.path.dirname(os.path.abspath(__file__))
A, B = "2001:db8::1", "2001:db8:1::2"
ETHER = dict(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def eth():
    return Ether(**ETHER)


def six(**more):
    return eth() / IPv6(src=A, dst=B, **more)


def four(**more):
    return eth() / IP(src="192.0.2.1", dst="198.51.100.2", **more)


def unknown(number, body):
    """An extension header that scapy does not make: its bytes, the first of which says
    what follows."""
    return six(nh=number) / Raw(body)


def made():
    """(name, frame) of everything that is put together."""
    udp, tcp = UDP(sport=4000, dport=53) / Raw(b"x" * 20), TCP(sport=4000, dport=80, flags="S")
    yield "tcp6", six() / tcp
    yield "udp6", six() / udp
    yield "tcp6_options", six() / TCP(options=[("MSS", 1440), ("NOP", None), ("WScale", 7)])
    yield "echo6", six() / ICMPv6EchoRequest(data=b"y" * 30)
    yield "neighbour", six(hlim=255) / ICMPv6ND_NS(tgt=B)
    yield "sctp6", six() / SCTP(sport=1, dport=2) / SCTPChunkInit()
    yield "no_next", six(nh=59)
    yield "no_next_bytes", six(nh=59) / Raw(b"z" * 8)
    yield "unknown_253", six(nh=253) / Raw(b"z" * 8)
    yield "report", six() / IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")]) / ICMPv6MLReport2()
    for count in range(0, 8):
        options = [Pad1()] * count + [HAO(hoa=A)]
        yield f"destination_{count}", six() / IPv6ExtHdrDestOpt(options=options) / udp
    for size in (1, 4, 40, 200):
        header = IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1e, optdata=b"q" * size)])
        yield f"long_option_{size}", six() / header / tcp
    for kind in (0, 2, 3, 77):
        yield f"routing_{kind}", six() / IPv6ExtHdrRouting(type=kind, addresses=[A, B]) / udp
    yield "segments", six() / IPv6ExtHdrSegmentRouting(addresses=[A, B, A]) / tcp
    chain = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=[A])
    yield "long_chain", six() / chain / IPv6ExtHdrDestOpt() / udp
    yield "disorder", six() / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / tcp
    for count in (7, 8, 9, 12):
        headers = IPv6ExtHdrDestOpt()
        for _ in range(count - 1):
            headers = headers / IPv6ExtHdrDestOpt()
        yield f"chain_{count}", six() / headers / udp
    long = six() / IPv6ExtHdrFragment(id=7) / UDP(sport=1, dport=2) / Raw(b"f" * 3000)
    for n, part in enumerate(fragment6(long, 1280)):
        yield f"fragment6_{n}", part
    before = six() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(id=8) / TCP() / Raw(b"f" * 2000)
    for n, part in enumerate(fragment6(before, 1280)):
        yield f"fragment6_behind_{n}", part
    yield "atomic", six() / IPv6ExtHdrFragment(id=9) / udp
    yield "first_in_options", six() / IPv6ExtHdrFragment(m=1, nh=60) / IPv6ExtHdrDestOpt()
    yield "later", six() / IPv6ExtHdrFragment(offset=100, nh=17) / Raw(b"f" * 64)
    yield "later_options", six() / IPv6ExtHdrFragment(offset=100, nh=60) / Raw(b"f" * 64)
    yield "ah6", six() / AH(nh=17, payloadlen=4, spi=1, seq=2, icv=b"i" * 12) / udp
    yield "ah4", four() / AH(nh=17, payloadlen=4, spi=1, seq=2, icv=b"i" * 12) / udp
    yield "esp6", six() / ESP(spi=1, seq=2, data=b"e" * 40)
    yield "mobility", six() / MIP6MH_BU()
    yield "hip", unknown(139, bytes([59, 4]) + b"\1" * 38)
    yield "shim6", unknown(140, bytes([17, 1]) + b"\x80" * 14 + raw(UDP(sport=5, dport=6) / b"p"))
    yield "unreachable", six() / ICMPv6DestUnreach() / IPv6(src=B, dst=A) / udp
    yield "too_big", six() / ICMPv6PacketTooBig(mtu=1280) / IPv6(src=B, dst=A) / udp
    yield "tcp4", four() / tcp
    yield "udp4_padded", four(len=28) / UDP(len=8) / Raw(b"\0" * 18)
    yield "options4", four(options=[IPOption_RR(routers=["192.0.2.9"] * 3)]) / udp
    yield "icmp4", four() / ICMP() / Raw(b"z" * 16)
    for n, part in enumerate(fragment(four(id=5) / udp / Raw(b"f" * 2000), 700)):
        yield f"fragment4_{n}", part
    yield "vlan", eth() / Dot1Q(vlan=7, prio=3) / IPv6(src=A, dst=B) / udp
    yield "qinq", eth() / Dot1AD(vlan=9) / Dot1Q(vlan=7) / IP(src="192.0.2.1", dst="192.0.2.2") / tcp
    inner6, inner4 = IPv6(src=B, dst=A), IP(src="10.0.0.1", dst="10.0.0.2")
    yield "six_in_six", six() / inner6 / udp
    yield "four_in_six", six() / IPv6ExtHdrDestOpt() / inner4 / tcp
    yield "six_in_four", four() / inner6 / IPv6ExtHdrHopByHop() / udp
    yield "four_in_four", four() / inner4 / udp
    yield "gre4", four() / GRE() / inner4 / udp
    yield "gre6_key", six() / GRE(key_present=1, key=5, seqnum_present=1, seqence_number=1) / inner6 / tcp
    yield "gre_checksum", four() / GRE(chksum_present=1) / inner6 / udp
    yield "gre_bridged", four() / GRE(proto=0x6558) / Ether(**ETHER) / Dot1Q(vlan=3) / inner4 / tcp
    yield "vxlan4", four() / UDP(sport=9, dport=4789) / VXLAN(vni=42) / Ether(**ETHER) / inner4 / udp
    yield "vxlan6", six() / UDP(sport=9, dport=4789) / VXLAN(vni=42) / Ether(**ETHER) / inner6 / IPv6ExtHdrDestOpt() / tcp
    yield "vxlan_fragment", six() / UDP(sport=9, dport=4789) / VXLAN(vni=1) / Ether(**ETHER) / inner6 / IPv6ExtHdrFragment(offset=3, m=1, nh=6) / Raw(b"f" * 24)
    yield "arp", eth() / ARP(psrc="192.0.2.1", pdst="192.0.2.2")


# Numbers that are followed by another header of the same kind.
CHAIN = {0, 43, 44, 51, 60, 135, 139, 140}


def layers_of(frame):
    """Scapy's layers, each with where it begins."""
    at, layer, row = 0, frame, []
    while layer.name != "NoPayload":
        row.append((layer, at))
        at += len(layer.raw_packet_cache or layer.original)
        layer = layer.payload
    return row


def describe(frame):
    """The line about a frame, without its name."""
    row = layers_of(frame)
    tags, n = 0, 1
    ethertype = frame.type
    while n < len(row) and isinstance(row[n][0], (Dot1Q, Dot1AD)):
        tags, ethertype, n = tags + 1, row[n][0].type, n + 1
    texts = [str(tags), f"{ethertype:04x}"]
    packets = 0
    while n < len(row) and packets < 2:
        layer, at = row[n]
        if isinstance(layer, IP):
            end = at + layer.len
            field = layer.frag * 8 + int(layer.flags.MF)
            text, n = packet(row, n, 4, layer.proto, at, end, field, set())
        elif isinstance(layer, IPv6):
            end = at + 40 + layer.plen
            text, n = packet(row, n, 6, layer.nh, at, end, 0, CHAIN)
        elif isinstance(layer, (GRE, VXLAN, Ether, Dot1Q, Dot1AD)) or isinstance(layer.payload, VXLAN):
            n += 1
            continue
        else:
            break
        texts.append(text)
        packets += 1
    return " ".join(texts)


def packet(row, n, version, protocol, at, end, field, chain):
    """A packet's text, and the place of what follows its headers."""
    l4, kinds, n = at + (row[n][0].ihl * 4 if version == 4 else 40), [], n + 1
    while n < len(row):
        layer, here = row[n]
        if isinstance(layer, IPv6ExtHdrFragment):
            kinds.append(44)
            if not field:
                field = layer.offset * 8 + layer.m
            protocol, l4 = layer.nh, here + 8
            n += 1
            if layer.offset:
                break
        elif isinstance(layer, AH):
            kinds.append(51)
            protocol, l4, n = layer.nh, here + (layer.payloadlen + 2) * 4, n + 1
        elif isinstance(layer, _IPv6ExtHdr) and not isinstance(layer, MIP6MH_BU) or protocol == 43:
            kinds.append(protocol)
            protocol, l4, n = layer.nh, here + (layer.len + 1) * 8, n + 1
        elif protocol in chain and protocol in (135, 139, 140) and raw(layer):
            # Scapy does not go on behind these: by their length.
            data = raw(layer)
            kinds.append(protocol)
            protocol, l4, n = data[0], here + (data[1] + 1) * 8, n + 1
        else:
            break
    text = ",".join(str(kind) for kind in kinds) or "-"
    return f"{version}:{at}:{l4}:{protocol}:{end}:{field}:{text}", n


def write(name, frames):
    path = os.path.join(HERE, name)
    lines = []
    with open(path + ".pcap", "wb") as out:
        # Of Ethernet; without times, so that the same frames make the same file.
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for label, data in frames:
            out.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
            lines.append(f"{label} {describe(Ether(data))}")
    with open(path + ".expected", "w", encoding="ascii") as out:
        out.write("\n".join(lines) + "\n")
    print(f"{name}: {len(lines)} frames, {os.path.getsize(path + '.pcap')} bytes")


# What Linux sends.

NEAR, FAR = "weft-near", "weft-far"


def run(words):
    subprocess.run(words.split(), check=True)


def namespaces():
    for space in (NEAR, FAR):
        subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL, check=False)
        run(f"ip netns add {space}")
    run(f"ip link add veth-n netns {NEAR} type veth peer name veth-f netns {FAR}")
    for space, end, n in ((NEAR, "veth-n", 1), (FAR, "veth-f", 2)):
        ns = f"ip -n {space}"
        run(f"{ns} link set lo up")
        run(f"{ns} addr add fd00:5::{n}/64 dev {end} nodad")
        run(f"{ns} addr add 10.5.0.{n}/24 dev {end}")
        run(f"{ns} link set {end} up")
        other = 3 - n
        for words, address in (
            (f"gre0{n} type gre local 10.5.0.{n} remote 10.5.0.{other} key 7", f"fd00:6::{n}/64"),
            (f"gre6{n} type ip6gre local fd00:5::{n} remote fd00:5::{other}", f"10.6.0.{n}/24"),
            (f"tun6{n} type ip6tnl mode any local fd00:5::{n} remote fd00:5::{other}", f"fd00:7::{n}/64"),
            (f"vx{n} type vxlan id 42 local fd00:5::{n} remote fd00:5::{other} dstport 4789", f"fd00:8::{n}/64"),
        ):
            link = words.split()[0]
            made = subprocess.run(f"{ns} link add {words}".split(), check=False)
            if made.returncode == 0:
                more = "nodad" if ":" in address else ""
                run(f"{ns} addr add {address} dev {link} {more}".strip())
                run(f"{ns} link set {link} up")


SEND = r"""
import socket, struct, time
def udp(to, size, sets=(), family=socket.AF_INET6):
    s = socket.socket(family, socket.SOCK_DGRAM)
    for option, value in sets:
        try:
            s.setsockopt(socket.IPPROTO_IPV6, option, value)
        except OSError as error:
            print("not sent:", option, error)
            return
    try:
        s.sendto(b"w" * size, (to, 9))
    except OSError as error:
        print("not sent:", to, error)
HOP, DST, RTHDR, RTHDRDST = socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS, socket.IPV6_RTHDR, socket.IPV6_RTHDRDSTOPTS
alert = bytes([0, 0, 5, 2, 0, 0, 1, 0])
home = bytes([0, 0, 4, 1, 4, 1, 1, 0])
long = bytes([0, 3, 0x1e, 28]) + b"t" * 28
mobile = bytes([0, 2, 2, 1, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, "fd00:5::2")
to = "fd00:5::2"
udp(to, 40)
udp(to, 4000)
udp(to, 40, [(HOP, alert)])
udp(to, 40, [(DST, home)])
udp(to, 40, [(HOP, alert), (DST, long)])
udp(to, 3000, [(HOP, alert), (DST, home)])
udp(to, 40, [(RTHDR, mobile)])
udp(to, 40, [(RTHDRDST, home), (RTHDR, mobile), (DST, long)])
udp(to, 2500, [(RTHDR, mobile), (DST, long)])
for there in ("fd00:6::2", "fd00:7::2", "fd00:8::2"):
    udp(there, 40)
    udp(there, 40, [(DST, home)])
    udp(there, 3000)
udp("10.5.0.2", 40, family=socket.AF_INET)
udp("10.5.0.2", 4000, family=socket.AF_INET)
udp("10.6.0.2", 40, family=socket.AF_INET)
for family, there in ((socket.AF_INET6, to), (socket.AF_INET, "10.5.0.2"), (socket.AF_INET6, "fd00:8::2")):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(1)
    try:
        s.connect((there, 9))
    except OSError:
        pass
time.sleep(1)
"""

CAPTURE = r"""
import socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("veth-f", 0))
s.settimeout(0.3)
print("ready", flush=True)
end = time.time() + float(sys.argv[1])
while time.time() < end:
    try:
        data, address = s.recvfrom(65535)
    except TimeoutError:
        continue
    print(data.hex(), flush=True)
"""


def captured():
    """(name, frame) of what passes between the namespaces, once each by its shape."""
    namespaces()
    seen = {}
    try:
        inside = ["ip", "netns", "exec"]
        tap = subprocess.Popen(
            inside + [FAR, sys.executable, "-c", CAPTURE, "8"], stdout=subprocess.PIPE, text=True
        )
        tap.stdout.readline()
        time.sleep(1)
        subprocess.run(inside + [NEAR, sys.executable, "-c", SEND], check=True)
        for line in tap.stdout:
            data = bytes.fromhex(line)
            shape = describe(Ether(data))
            seen.setdefault(shape, data)
        tap.wait()
    finally:
        for space in (NEAR, FAR):
            subprocess.run(["ip", "netns", "del", space], check=False)
    for n, data in enumerate(seen.values()):
        yield f"captured_{n}", data


def main():
    conf.verb = 0
    if sys.argv[1:] == ["capture"]:
        write("captured", captured())
    elif sys.argv[1:2] == ["seeds"] and len(sys.argv) == 3:
        for name in ("made", "captured"):
            frames = rdpcap(os.path.join(HERE, name + ".pcap"))
            for n, frame in enumerate(frames):
                with open(os.path.join(sys.argv[2], f"{name}_{n}"), "wb") as out:
                    out.write(raw(frame))
    elif not sys.argv[1:]:
        write("made", ((label, raw(frame)) for label, frame in made()))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
