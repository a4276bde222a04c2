/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DPDK's route tables as peers: rte_fib (DIR-24-8) and rte_lpm for IPv4, rte_fib6
 * (TRIE) and rte_lpm6 for IPv6.  All keep their rules, from which they make
 * changes, so "open" keeps the routes and "build" adds them one by one.  rte_fib
 * and rte_fib6 have no call for a single address: one is a bulk of one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_version.h>

#include "peer.h"

#define CHUNK		16		/* addresses in a call of DPDK */
#define SPARE		4096		/* groups for prefixes that come later */
#define GROUP		256		/* entries in a group, beyond the first 24 bits */
#define TOP		(1UL << 24)	/* entries in the first table */

struct handle {
	union {
		void *table;
		struct rte_fib *fib;
		struct rte_lpm *lpm;
		struct rte_fib6 *fib6;
		struct rte_lpm6 *lpm6;
	};
	struct weft_route *routes;	/* until they are added */
	size_t count;
	size_t groups;			/* in use at first */
	size_t reserved;		/* those that rte_fib6 wants to see */
	uint64_t held;
};

/* Adds a route or takes one out; 0 or a negative errno. */
typedef int set_fn(struct handle *, const struct weft_route *);

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

static const char *
new_name(void)
{
	static char name[32];

	snprintf(name, sizeof(name), "weft%u", serial++);
	return (name);
}

static struct handle *
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
	return (handle);
}

/* Adds the routes, which are not needed any more. */
static int
add_routes(struct handle *handle, set_fn *set)
{
	size_t i;
	int error = 0;

	for (i = 0; i < handle->count && error == 0; i++)
		error = -set(handle, &handle->routes[i]);
	free(handle->routes);
	handle->routes = NULL;
	return (error);
}

static int
change(struct handle *handle, set_fn *set, const struct weft_route *changes,
    size_t count)
{
	size_t i;
	int error = 0;

	for (i = 0; i < count && error == 0; i++)
		error = -set(handle, &changes[i]);
	return (error);
}

static int
nothing_first(void *table, const struct weft_route *changes, size_t count)
{
	(void)table;
	(void)changes;
	(void)count;
	return (0);
}

/* IPv4 */

/* How many /24 have a longer prefix inside. */
static size_t
count_groups4(const struct weft_route *routes, size_t count)
{
	uint64_t last = UINT64_MAX;
	size_t groups = 0, i;

	for (i = 0; i < count; i++)
		if (routes[i].plen > 24 && routes[i].prefix4 >> 8 != last) {
			last = routes[i].prefix4 >> 8;
			groups++;
		}
	return (groups);
}

static void *
open4(const struct weft_route *routes, size_t count)
{
	struct handle *handle = keep_routes(routes, count);

	if (handle != NULL)
		handle->groups = count_groups4(routes, count);
	return (handle);
}

static int
fib_set(struct handle *handle, const struct weft_route *route)
{
	if (route->class == 0)
		return (rte_fib_delete(handle->fib, route->prefix4,
		    route->plen));
	return (rte_fib_add(handle->fib, route->prefix4, route->plen,
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
	int error;

	handle->fib = rte_fib_create(new_name(), SOCKET_ID_ANY, &conf);
	if (handle->fib == NULL)
		return (ENOMEM);
	error = add_routes(handle, fib_set);
	handle->held = heap_bytes() - before;
	return (error);
}

static void
fib_close(void *table)
{
	struct handle *handle = table;

	free(handle->routes);
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
	lookup->table = ((struct handle *)table)->table;
	lookup->one4 = fib_one;
	lookup->batch4 = fib_many;
}

static void
fib_bytes(void *table, struct weft_bytes *bytes)
{
	struct handle *handle = table;

	bytes->lookup = (TOP + handle->groups * GROUP) * sizeof(uint16_t);
	bytes->all = handle->held;
}

static int
fib_commit(void *table, const struct weft_route *changes, size_t count)
{
	return (change(table, fib_set, changes, count));
}

/* The kind of lookup that rte_fib chooses by itself here, in a table like ours. */
static const char *
fib_kind(void)
{
	struct rte_fib_conf conf = {
		.type = RTE_FIB_DIR24_8,
		.max_routes = 1,
		.dir24_8.nh_sz = RTE_FIB_DIR24_8_2B,
		.dir24_8.num_tbl8 = 1,
	};
	struct rte_fib *fib = rte_fib_create(new_name(), SOCKET_ID_ANY, &conf);
	int error;

	if (fib == NULL)
		return ("kind unknown");
	error = rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512);
	rte_fib_free(fib);
	return (error == 0 ? "AVX-512" : "scalar");
}

static int
lpm_set(struct handle *handle, const struct weft_route *route)
{
	if (route->class == 0)
		return (rte_lpm_delete(handle->lpm, route->prefix4,
		    route->plen));
	return (rte_lpm_add(handle->lpm, route->prefix4, route->plen,
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
	int error;

	handle->lpm = rte_lpm_create(new_name(), SOCKET_ID_ANY, &conf);
	if (handle->lpm == NULL)
		return (ENOMEM);
	/* It refuses a prefix of length 0, which no table here has. */
	error = add_routes(handle, lpm_set);
	handle->held = heap_bytes() - before;
	return (error);
}

static void
lpm_close(void *table)
{
	struct handle *handle = table;

	free(handle->routes);
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
	lookup->table = ((struct handle *)table)->table;
	lookup->one4 = lpm_one;
	lookup->batch4 = lpm_many;
}

static void
lpm_bytes(void *table, struct weft_bytes *bytes)
{
	struct handle *handle = table;

	bytes->lookup = (TOP + handle->groups * GROUP) * sizeof(uint32_t);
	bytes->all = handle->held;
}

static int
lpm_commit(void *table, const struct weft_route *changes, size_t count)
{
	return (change(table, lpm_set, changes, count));
}

/* IPv6 */

/* How many of their first bits two prefixes have in common. */
static unsigned int
agreed(const uint8_t a[16], const uint8_t b[16])
{
	unsigned int byte;

	for (byte = 0; byte < 16; byte++)
		if (a[byte] != b[byte])
			return (8 * byte +
			    __builtin_clz((a[byte] ^ b[byte]) << 24));
	return (128);
}

/* The groups on the way from the first 24 bits to bit "plen". */
static unsigned int
levels(unsigned int plen)
{
	return (plen > 24 ? (plen - 24 + 7) / 8 : 0);
}

/*
 * A prefix has a group for each byte that it has beyond the first three, which
 * prefixes share as far as they agree.  As routes are sorted, the one before is
 * among those that share the most.
 */
static size_t
count_groups6(const struct weft_route *routes, size_t count)
{
	unsigned int at, both;
	size_t groups = 0, i;

	for (i = 0; i < count; i++) {
		both = i == 0 ? 0 :
		    agreed(routes[i - 1].prefix6, routes[i].prefix6);
		for (at = 24; at < routes[i].plen; at += 8)
			if (both < at || routes[i - 1].plen <= at)
				groups++;
	}
	return (groups);
}

/*
 * rte_fib6 counts more of them, and refuses a route if that count exceeds what
 * there is: for each route that finds none inside its last whole byte, those from
 * the route around it on.  Its count for full tables was up to 1 % above this one;
 * one part in 32 is added.
 */
static size_t
count_reserved6(const struct weft_route *routes, size_t count)
{
	unsigned int around[129];	/* lengths of the routes around, by rising */
	unsigned int depth = 0, both, whole;
	size_t reserved = 0, i;

	for (i = 0; i < count; i++) {
		both = i == 0 ? 0 :
		    agreed(routes[i - 1].prefix6, routes[i].prefix6);
		while (depth > 0 && around[depth - 1] > both)
			depth--;
		whole = routes[i].plen & ~7U;
		if (i == 0 || both < whole || routes[i - 1].plen < whole)
			reserved += levels(routes[i].plen) -
			    levels(depth > 0 ? around[depth - 1] : 0);
		around[depth++] = routes[i].plen;
	}
	return (reserved + reserved / 32);
}

static void *
open6(const struct weft_route *routes, size_t count)
{
	struct handle *handle = keep_routes(routes, count);

	if (handle != NULL) {
		handle->groups = count_groups6(routes, count);
		handle->reserved = count_reserved6(routes, count);
	}
	return (handle);
}

static int
fib6_set(struct handle *handle, const struct weft_route *route)
{
	if (route->class == 0)
		return (rte_fib6_delete(handle->fib6, route->prefix6,
		    route->plen));
	return (rte_fib6_add(handle->fib6, route->prefix6, route->plen,
	    route->class));
}

/* The bytes of an entry: two if all groups can be told apart by 15 bits. */
static size_t
fib6_entry(const struct handle *handle)
{
	return (handle->reserved + SPARE <= INT16_MAX ? 2 : 4);
}

static int
fib6_build(void *table)
{
	struct handle *handle = table;
	struct rte_fib6_conf conf = {
		.type = RTE_FIB6_TRIE,
		.max_routes = handle->count + 8 * SPARE,
		.trie.nh_sz = fib6_entry(handle) == 2 ? RTE_FIB6_TRIE_2B :
		    RTE_FIB6_TRIE_4B,
		.trie.num_tbl8 = handle->reserved + SPARE,
	};
	uint64_t before = heap_bytes();
	int error;

	handle->fib6 = rte_fib6_create(new_name(), SOCKET_ID_ANY, &conf);
	if (handle->fib6 == NULL)
		return (ENOMEM);
	error = add_routes(handle, fib6_set);
	handle->held = heap_bytes() - before;
	return (error);
}

static void
fib6_close(void *table)
{
	struct handle *handle = table;

	free(handle->routes);
	rte_fib6_free(handle->fib6);
	free(handle);
}

static void
fib6_many(const void *table, const uint8_t (*dst)[16], uint32_t *class,
    size_t count)
{
	struct rte_fib6 *fib = (struct rte_fib6 *)(uintptr_t)table;
	uint64_t found[CHUNK];
	size_t n, i;

	for (; count != 0; count -= n, dst += n, class += n) {
		n = count < CHUNK ? count : CHUNK;
		rte_fib6_lookup_bulk(fib, (uint8_t (*)[16])(uintptr_t)dst, found,
		    n);
		for (i = 0; i < n; i++)
			class[i] = found[i];
	}
}

static uint32_t
fib6_one(const void *table, const uint8_t dst[16])
{
	uint64_t found;

	rte_fib6_lookup_bulk((struct rte_fib6 *)(uintptr_t)table,
	    (uint8_t (*)[16])(uintptr_t)dst, &found, 1);
	return (found);
}

static void
fib6_lookup(void *table, struct weft_lookup *lookup)
{
	lookup->table = ((struct handle *)table)->table;
	lookup->one6 = fib6_one;
	lookup->batch6 = fib6_many;
}

static void
fib6_bytes(void *table, struct weft_bytes *bytes)
{
	struct handle *handle = table;

	bytes->lookup = (TOP + handle->groups * GROUP) * fib6_entry(handle);
	bytes->all = handle->held;
}

static int
fib6_commit(void *table, const struct weft_route *changes, size_t count)
{
	return (change(table, fib6_set, changes, count));
}

/* As fib_kind. */
static const char *
fib6_kind(void)
{
	struct rte_fib6_conf conf = {
		.type = RTE_FIB6_TRIE,
		.max_routes = 1,
		.trie.nh_sz = RTE_FIB6_TRIE_2B,
		.trie.num_tbl8 = 1,
	};
	struct rte_fib6 *fib = rte_fib6_create(new_name(), SOCKET_ID_ANY, &conf);
	int error;

	if (fib == NULL)
		return ("kind unknown");
	error = rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512);
	rte_fib6_free(fib);
	return (error == 0 ? "AVX-512" : "scalar");
}

static int
lpm6_set(struct handle *handle, const struct weft_route *route)
{
	if (route->class == 0)
		return (rte_lpm6_delete(handle->lpm6, route->prefix6,
		    route->plen));
	return (rte_lpm6_add(handle->lpm6, route->prefix6, route->plen,
	    route->class));
}

static int
lpm6_build(void *table)
{
	struct handle *handle = table;
	struct rte_lpm6_config conf = {
		.max_rules = handle->count + 8 * SPARE,
		.number_tbl8s = handle->groups + SPARE,
	};
	uint64_t before = heap_bytes();
	int error;

	handle->lpm6 = rte_lpm6_create(new_name(), SOCKET_ID_ANY, &conf);
	if (handle->lpm6 == NULL)
		return (ENOMEM);
	/* As rte_lpm it refuses a prefix of length 0. */
	error = add_routes(handle, lpm6_set);
	handle->held = heap_bytes() - before;
	return (error);
}

static void
lpm6_close(void *table)
{
	struct handle *handle = table;

	free(handle->routes);
	rte_lpm6_free(handle->lpm6);
	free(handle);
}

static uint32_t
lpm6_one(const void *table, const uint8_t dst[16])
{
	uint32_t class;

	return (rte_lpm6_lookup(table, dst, &class) == 0 ? class : 0);
}

static void
lpm6_many(const void *table, const uint8_t (*dst)[16], uint32_t *class,
    size_t count)
{
	int32_t found[CHUNK];
	size_t n, i;

	for (; count != 0; count -= n, dst += n, class += n) {
		n = count < CHUNK ? count : CHUNK;
		rte_lpm6_lookup_bulk_func(table,
		    (uint8_t (*)[16])(uintptr_t)dst, found, n);
		for (i = 0; i < n; i++)
			class[i] = found[i] < 0 ? 0 : found[i];
	}
}

static void
lpm6_lookup(void *table, struct weft_lookup *lookup)
{
	lookup->table = ((struct handle *)table)->table;
	lookup->one6 = lpm6_one;
	lookup->batch6 = lpm6_many;
}

static void
lpm6_bytes(void *table, struct weft_bytes *bytes)
{
	struct handle *handle = table;

	bytes->lookup = (TOP + handle->groups * GROUP) * sizeof(uint32_t);
	bytes->all = handle->held;
}

static int
lpm6_commit(void *table, const struct weft_route *changes, size_t count)
{
	return (change(table, lpm6_set, changes, count));
}

#define PEER(number, prefix)				\
	.abi = WEFT_PEER_ABI,				\
	.family = number,				\
	.name = "rte_" #prefix,				\
	.open = open##number,				\
	.build = prefix##_build,			\
	.close = prefix##_close,			\
	.lookup = prefix##_lookup,			\
	.bytes = prefix##_bytes,			\
	.prepare = nothing_first,			\
	.commit = prefix##_commit

static struct weft_peer peers[] = {
	{ PEER(4, fib) },
	/* For each new route it looks through all rules of that length. */
	{ PEER(4, lpm), .patience = 120000 },
	{ PEER(6, fib6) },
	{ PEER(6, lpm6) },
};

/* DPDK's version, and for rte_fib and rte_fib6 which kind of lookup they choose. */
static void
set_versions(void)
{
	static char fib[64], fib6[64];

	snprintf(fib, sizeof(fib), "%s, %s", rte_version(), fib_kind());
	snprintf(fib6, sizeof(fib6), "%s, %s", rte_version(), fib6_kind());
	peers[0].version = fib;
	peers[1].version = rte_version();
	peers[2].version = fib6;
	peers[3].version = rte_version();
}

/* Starts DPDK without huge pages, devices and files; 0, or an errno. */
int
weft_dpdk_start(void)
{
	static char *arguments[] = { "weft-bench", "--no-huge", "-m", "2048",
	    "--no-shconf", "--no-pci", "--no-telemetry", "--log-level=error",
	    NULL };

	if (rte_eal_init(8, arguments) < 0)
		return (rte_errno);
	set_versions();
	return (0);
}

const struct weft_peer *
weft_dpdk_peer(size_t index)
{
	return (index < RTE_DIM(peers) ? &peers[index] : NULL);
}
