// SPDX-License-Identifier: BSD-2-Clause
//! Probes for dtrace(1), provider `weft`. Header: `sys/sdt.h`; their arguments are in
//! `sys-shim/c/probe.c`, and do not change.
//!
//! A probe that is off is an instruction that does nothing. To turn it on, the kernel puts a
//! jump in its place, to what is behind the function and calls `sdt_probe`.

use weft_engine::stats::Cause;

use super::ifnet::Port;
use super::mbuf::Mbuf;
use super::pfil::Point;

/// `struct sdt_probe`, of which Rust knows the address.
#[repr(C)]
struct Probe {
    _opaque: u64,
}

// SAFETY: `c/probe.c` defines these, and only their addresses are used.
unsafe extern "C" {
    static sdt_weft___drop: Probe;
    static sdt_weft___enqueue: Probe;
    static sdt_weft___dequeue: Probe;
    static sdt_weft___fib__change: Probe;

    fn weft_shim_probe(probe: *const Probe, first: usize, second: usize, third: usize);
}

/// Fires a probe, off the way of who does not.
#[cold]
#[inline(never)]
fn fire(probe: *const Probe, [first, second, third]: [usize; 3]) {
    // SAFETY: one of the probes above, in `sys-shim`.
    unsafe { weft_shim_probe(probe, first, second, third) }
}

/// What stands where a probe is while it is off: as long as a jump (`machine/sdt_machdep.h`).
#[cfg(target_arch = "x86_64")]
macro_rules! nothing {
    () => {
        "2: nop word ptr [rax + rax]"
    };
}
#[cfg(not(target_arch = "x86_64"))]
macro_rules! nothing {
    () => {
        "2: nop"
    };
}

/// A place where a probe is: what `__SDT_PROBE` of `sys/sdt.h` is in C.
macro_rules! place {
    ($probe:ident, $arguments:expr) => {
        // SAFETY: the instruction does nothing; in its place the kernel puts a jump to the
        // label that the record names.
        unsafe {
            core::arch::asm!(
                nothing!(),
                ".pushsection set_sdt_tracepoint_set, \"aw\", %progbits",
                ".quad {probe}",
                ".quad 2b",
                ".quad {hit}",
                ".quad 0",
                ".popsection",
                probe = sym $probe,
                hit = label { fire(&raw const $probe, $arguments) },
                options(nomem, nostack, preserves_flags),
            );
        }
    };
}

/// Packets were lost that an interface has sent, or was to receive.
#[inline(always)]
pub(crate) fn lost(cause: Cause, packets: u32, port: &Port) {
    let port = port.raw_ifnet().addr().get();
    place!(sdt_weft___drop, [cause as usize, packets as usize, port]);
}

/// A filter has dropped a packet that came from, or goes to, an interface.
#[inline(always)]
pub(crate) fn filtered(cause: Cause, point: &Point) {
    place!(sdt_weft___drop, [cause as usize, 1, point.interface()]);
}

/// A packet is submitted to the queues of the interface that sends it.
#[inline(always)]
pub(crate) fn enqueue(packet: &Mbuf, port: &Port) {
    let port = port.raw_ifnet().addr().get();
    place!(sdt_weft___enqueue, [packet.address(), port, 0]);
}

/// A packet has come out of a queue of that number, for an interface.
#[inline(always)]
pub(crate) fn dequeue(packet: &Mbuf, port: &Port, queue: usize) {
    let port = port.raw_ifnet().addr().get();
    place!(sdt_weft___dequeue, [packet.address(), port, queue]);
}

/// Lookups see changes of a FIB's routes, which took so long.
#[inline(always)]
pub(crate) fn fib_change(family: i32, fib: u32, ns: u64) {
    place!(
        sdt_weft___fib__change,
        [family as usize, fib as usize, ns as usize]
    );
}
