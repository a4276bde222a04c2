/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Probes for dtrace(1), SDT(9).  kmod/src/kpi/probe.rs has the places where
 * they are, which are patched when a probe is turned on.
 */
#include "weft_shim.h"

#include <sys/sdt.h>

SDT_PROVIDER_DEFINE(weft);
/* The cause's number, how many packets, who sent them. */
SDT_PROBE_DEFINE3(weft, , , drop, "int", "uint32_t", "struct ifnet *");
/* The packet, by which interface it is sent. */
SDT_PROBE_DEFINE2(weft, , , enqueue, "struct mbuf *", "struct ifnet *");
/* The packet, who receives it, the queue's number. */
SDT_PROBE_DEFINE3(weft, , , dequeue, "struct mbuf *", "struct ifnet *",
    "uint32_t");
/* AF_INET or AF_INET6, the FIB, nanoseconds until lookups saw it. */
SDT_PROBE_DEFINE3(weft, , , fib__change, "int", "uint32_t", "uint64_t");

void
weft_shim_probe(struct sdt_probe *probe, uintptr_t first, uintptr_t second,
    uintptr_t third)
{

	sdt_probe(probe->id, first, second, third, 0, 0);
}
