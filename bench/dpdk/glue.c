/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DPDK's rte_fib (DIR-24-8) and rte_lpm as peers.  Both keep their rules, from
 * which they make changes, so "open" keeps the routes and "build" adds them one
 * by one.  rte_fib has no call for a single address: one is a bulk of one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_lpm.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_version.h>

#include "peer.h"

#define CHUNK		16		/* addresses in a call of DPDK */
#define SPARE		4096		/* groups for prefixes that come later */
#define GROUP		256		/* entries in a group of the second table */
#define TOP		(1UL << 24)	/* entries in the first table */

struct handle {
	union {
		struct rte_fib *fib;
		struct rte_lpm *lpm;
	};
	struct weft_route *routes;	/* until they are added */
	size_t count;
	size_t groups;			/* of the second table, in use at first */
	uint64_t held;
};

static unsigned int serial;

/* Bytes allocated from DPDK's heaps. */
static uint64_t
heap_bytes(void)
{
	struct rte_malloc_socket_stats stats;
	uint64_t sum = 0;
	int socket;

	for (socket = 0; socket < RTE_MAX_NUMA_NODES; socket++)
		if (rte_malloc_get_socket_stats(socket, &stats) == 0)
			sum += stats.heap_allocsz_bytes;
	return (sum);
}

/* How many /24 have a longer prefix inside. */
static size_t
count_groups(const struct weft_route *routes, size_t count)
{
	uint64_t last = UINT64_MAX;
	size_t groups = 0, i;

	for (i = 0; i < count; i++)
		if (routes[i].plen > 24 && routes[i].prefix >> 8 != last) {
			last = routes[i].prefix >> 8;
			groups++;
		}
	return (groups);
}

static void *
keep_routes(const struct weft_route *routes, size_t count)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (handle == NULL)
		return (NULL);
	handle->routes = malloc(count * sizeof(*routes) + 1);
	if (handle->routes == NULL) {
		free(handle);
		return (NULL);
	}
	memcpy(handle->routes, routes, count * sizeof(*routes));
	handle->count = count;
	handle->groups = count_groups(routes, count);
	return (handle);
}

static void
drop_routes(struct handle *handle)
{
	free(handle->routes);
	handle->routes = NULL;
}

static int
fib_set(struct handle *handle, const struct weft_route *route)
{
	if (route->class == 0)
		return (rte_fib_delete(handle->fib, route->prefix, route->plen));
	return (rte_fib_add(handle->fib, route->prefix, route->plen,
	    route->class));
}

static int
fib_build(void *table)
{
	struct handle *handle = table;
	struct rte_fib_conf conf = {
		.type = RTE_FIB_DIR24_8,
		.max_routes = handle->count + 8 * SPARE,
		.dir24_8.nh_sz = RTE_FIB_DIR24_8_2B,
		.dir24_8.num_tbl8 = handle->groups + SPARE,
	};
	uint64_t before = heap_bytes();
	char name[32];
	size_t i;
	int error = 0;

	snprintf(name, sizeof(name), "weft%u", serial++);
	handle->fib = rte_fib_create(name, SOCKET_ID_ANY, &conf);
	if (handle->fib == NULL)
		return (ENOMEM);
	for (i = 0; i < handle->count && error == 0; i++)
		error = -fib_set(handle, &handle->routes[i]);
	drop_routes(handle);
	handle->held = heap_bytes() - before;
	return (error);
}

static void
fib_close(void *table)
{
	struct handle *handle = table;

	drop_routes(handle);
	rte_fib_free(handle->fib);
	free(handle);
}

static void
fib_many(const void *table, const uint32_t *dst, uint32_t *class, size_t count)
{
	struct rte_fib *fib = (struct rte_fib *)(uintptr_t)table;
	uint64_t found[CHUNK];
	size_t n, i;

	for (; count != 0; count -= n, dst += n, class += n) {
		n = count < CHUNK ? count : CHUNK;
		rte_fib_lookup_bulk(fib, (uint32_t *)(uintptr_t)dst, found, n);
		for (i = 0; i < n; i++)
			class[i] = found[i];
	}
}

static uint32_t
fib_one(const void *table, uint32_t dst)
{
	uint64_t found;

	rte_fib_lookup_bulk((struct rte_fib *)(uintptr_t)table, &dst, &found, 1);
	return (found);
}

static void
fib_lookup(void *table, struct weft_lookup *lookup)
{
	lookup->table = ((struct handle *)table)->fib;
	lookup->one = fib_one;
	lookup->batch = fib_many;
}

static void
fib_bytes(void *table, struct weft_bytes *bytes)
{
	struct handle *handle = table;

	bytes->lookup = (TOP + handle->groups * GROUP) * sizeof(uint16_t);
	bytes->all = handle->held;
}

static int
lpm_set(struct handle *handle, const struct weft_route *route)
{
	if (route->class == 0)
		return (rte_lpm_delete(handle->lpm, route->prefix, route->plen));
	return (rte_lpm_add(handle->lpm, route->prefix, route->plen,
	    route->class));
}

static int
lpm_build(void *table)
{
	struct handle *handle = table;
	struct rte_lpm_config conf = {
		.max_rules = handle->count + 8 * SPARE,
		.number_tbl8s = handle->groups + SPARE,
	};
	uint64_t before = heap_bytes();
	char name[32];
	size_t i;
	int error = 0;

	snprintf(name, sizeof(name), "weft%u", serial++);
	handle->lpm = rte_lpm_create(name, SOCKET_ID_ANY, &conf);
	if (handle->lpm == NULL)
		return (ENOMEM);
	/* It refuses a prefix of length 0, which no table here has. */
	for (i = 0; i < handle->count && error == 0; i++)
		error = -lpm_set(handle, &handle->routes[i]);
	drop_routes(handle);
	handle->held = heap_bytes() - before;
	return (error);
}

static void
lpm_close(void *table)
{
	struct handle *handle = table;

	drop_routes(handle);
	rte_lpm_free(handle->lpm);
	free(handle);
}

static uint32_t
lpm_one(const void *table, uint32_t dst)
{
	uint32_t class;

	return (rte_lpm_lookup(table, dst, &class) == 0 ? class : 0);
}

static void
lpm_many(const void *table, const uint32_t *dst, uint32_t *class, size_t count)
{
	uint32_t entry[CHUNK];
	size_t i;

	for (; count >= CHUNK; count -= CHUNK, dst += CHUNK, class += CHUNK) {
		rte_lpm_lookup_bulk(table, dst, entry, CHUNK);
		for (i = 0; i < CHUNK; i++)
			class[i] = (entry[i] & RTE_LPM_LOOKUP_SUCCESS) != 0 ?
			    entry[i] & 0xffffff : 0;
	}
	for (i = 0; i < count; i++)
		class[i] = lpm_one(table, dst[i]);
}

static void
lpm_lookup(void *table, struct weft_lookup *lookup)
{
	lookup->table = ((struct handle *)table)->lpm;
	lookup->one = lpm_one;
	lookup->batch = lpm_many;
}

static void
lpm_bytes(void *table, struct weft_bytes *bytes)
{
	struct handle *handle = table;

	bytes->lookup = (TOP + handle->groups * GROUP) * sizeof(uint32_t);
	bytes->all = handle->held;
}

static int
nothing_first(void *table, const struct weft_route *changes, size_t count)
{
	(void)table;
	(void)changes;
	(void)count;
	return (0);
}

static int
fib_commit(void *table, const struct weft_route *changes, size_t count)
{
	size_t i;
	int error = 0;

	for (i = 0; i < count && error == 0; i++)
		error = -fib_set(table, &changes[i]);
	return (error);
}

static int
lpm_commit(void *table, const struct weft_route *changes, size_t count)
{
	size_t i;
	int error = 0;

	for (i = 0; i < count && error == 0; i++)
		error = -lpm_set(table, &changes[i]);
	return (error);
}

static const struct weft_peer peers[] = {
	{
		.abi = WEFT_PEER_ABI,
		.name = "rte_fib",
		.open = keep_routes,
		.build = fib_build,
		.close = fib_close,
		.lookup = fib_lookup,
		.bytes = fib_bytes,
		.prepare = nothing_first,
		.commit = fib_commit,
	},
	{
		.abi = WEFT_PEER_ABI,
		.name = "rte_lpm",
		.patience = 120000,
		.open = keep_routes,
		.build = lpm_build,
		.close = lpm_close,
		.lookup = lpm_lookup,
		.bytes = lpm_bytes,
		.prepare = nothing_first,
		.commit = lpm_commit,
	},
};

/* Starts DPDK without huge pages, devices and files; 0, or an errno. */
int
weft_dpdk_start(void)
{
	static char *arguments[] = { "weft-bench", "--no-huge", "-m", "2048",
	    "--no-shconf", "--no-pci", "--no-telemetry", "--log-level=error",
	    NULL };

	return (rte_eal_init(8, arguments) < 0 ? rte_errno : 0);
}

const struct weft_peer *
weft_dpdk_peer(size_t index)
{
	static struct weft_peer named[RTE_DIM(peers)];

	if (index >= RTE_DIM(peers))
		return (NULL);
	named[index] = peers[index];
	named[index].version = rte_version();
	return (&named[index]);
}
