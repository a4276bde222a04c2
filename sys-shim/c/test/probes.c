/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Turns this module's probes on without dtrace(1), as its provider does, and
 * keeps what they say.  In the build for tests only.
 */
#include "weft_shim.h"

#include <sys/sdt.h>
#include <sys/smp.h>

#define	ARGUMENTS	3

SDT_PROBE_DECLARE(weft, , , drop);
SDT_PROBE_DECLARE(weft, , , enqueue);
SDT_PROBE_DECLARE(weft, , , dequeue);
SDT_PROBE_DECLARE(weft, , , fib__change);

static struct sdt_probe *const probes[] = {
	&_SDT_PROBE_NAME(weft, , , drop),
	&_SDT_PROBE_NAME(weft, , , enqueue),
	&_SDT_PROBE_NAME(weft, , , dequeue),
	&_SDT_PROBE_NAME(weft, , , fib__change),
};

static struct {
	uint64_t	count;
	uintptr_t	last[ARGUMENTS];
} seen[nitems(probes)];

/* Set by the linker's script. */
extern struct sdt_tracepoint weft_tracepoints[], weft_tracepoints_end[];

static void
keep(uint32_t id, uintptr_t first, uintptr_t second, uintptr_t third,
    uintptr_t fourth, uintptr_t fifth, uintptr_t sixth)
{

	if (id == 0 || id > nitems(seen))
		return;
	atomic_add_64(&seen[id - 1].count, 1);
	seen[id - 1].last[0] = first;
	seen[id - 1].last[1] = second;
	seen[id - 1].last[2] = third;
}

static bool
is_ours(const struct sdt_probe *probe)
{
	u_int n;

	for (n = 0; n < nitems(probes); n++)
		if (probes[n] == probe)
			return (true);
	return (false);
}

/* All other CPUs wait meanwhile. */
static void
patch(void *arg)
{
	struct sdt_tracepoint *at;

	if (PCPU_GET(cpuid) != (u_int)CPU_FIRST())
		return;
	for (at = weft_tracepoints; at < weft_tracepoints_end; at++) {
		if (!is_ours(at->probe))
			continue;
		if (arg != NULL)
			sdt_tracepoint_patch(at->patchpoint, at->target);
		else
			sdt_tracepoint_restore(at->patchpoint);
	}
}

u_int
weft_test_probes(bool on)
{
	u_int count, n;

	for (n = 0; n < nitems(probes); n++)
		probes[n]->id = on ? n + 1 : 0;
	if (on)
		sdt_probe_func = keep;
	smp_rendezvous(NULL, patch, NULL, on ? &seen : NULL);
	count = 0;
	while (&weft_tracepoints[count] < weft_tracepoints_end)
		count++;
	return (count);
}

/* How often a probe fired; behind that, what it was given the last time. */
uint64_t
weft_test_probe(u_int probe, u_int which)
{

	if (probe >= nitems(seen) || which > ARGUMENTS)
		return (0);
	return (which == 0 ? seen[probe].count : seen[probe].last[which - 1]);
}
