/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest peer: the routes themselves, searched from end to end, which are
 * sorted so that the last one that covers an address is the longest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

struct table {
	size_t count;
	int built, prepared;
	struct weft_route routes[4096];
};

static int
covers(const struct weft_route *route, uint32_t dst)
{
	return (route->plen == 0 ||
	    (dst ^ route->prefix) >> (32 - route->plen) == 0);
}

static void *
tiny_open(const struct weft_route *routes, size_t count)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table == NULL || count > 4096) {
		free(table);
		return (NULL);
	}
	memcpy(table->routes, routes, count * sizeof(*routes));
	table->count = count;
	return (table);
}

static int
tiny_build(void *handle)
{
	struct table *table = handle;

	if (table->count == 0)
		return (EINVAL);
	table->built = 1;
	return (0);
}

static uint32_t
tiny_one(const void *handle, uint32_t dst)
{
	const struct table *table = handle;
	uint32_t class = 0;
	size_t i;

	for (i = 0; i < table->count; i++)
		if (covers(&table->routes[i], dst))
			class = table->routes[i].class;
	return (class);
}

static void
tiny_lookup(void *handle, struct weft_lookup *lookup)
{
	lookup->table = handle;
	lookup->one = tiny_one;
	lookup->batch = NULL;
}

static void
tiny_bytes(void *handle, struct weft_bytes *bytes)
{
	struct table *table = handle;

	bytes->lookup = table->count * sizeof(struct weft_route);
	bytes->all = sizeof(*table);
}

static int
tiny_prepare(void *handle, const struct weft_route *changes, size_t count)
{
	(void)changes;
	((struct table *)handle)->prepared = (int)count;
	return (0);
}

/* Knows only new next hops, and only after "prepare". */
static int
tiny_commit(void *handle, const struct weft_route *changes, size_t count)
{
	struct table *table = handle;
	size_t i, j;

	if (table->prepared != (int)count)
		return (EINVAL);
	for (i = 0; i < count; i++)
		for (j = 0; j < table->count; j++)
			if (table->routes[j].prefix == changes[i].prefix &&
			    table->routes[j].plen == changes[i].plen)
				table->routes[j].class = changes[i].class;
	return (0);
}

static const struct weft_peer peers[] = {
	{
		.abi = WEFT_PEER_ABI,
		.name = "tiny",
		.version = "1.2",
		.patience = 100,
		.open = tiny_open,
		.build = tiny_build,
		.close = free,
		.lookup = tiny_lookup,
		.bytes = tiny_bytes,
		.prepare = tiny_prepare,
		.commit = tiny_commit,
	},
	{
		.abi = WEFT_PEER_ABI,
		.name = "constant",
		.version = "3",
		.open = tiny_open,
		.build = tiny_build,
		.close = free,
		.lookup = tiny_lookup,
		.bytes = tiny_bytes,
	},
#ifdef INCOMPLETE
	{ .abi = WEFT_PEER_ABI, .name = "broken", .version = "0" },
#endif
#ifdef FOREIGN
	{ .abi = WEFT_PEER_ABI + 1, .name = "foreign", .version = "0" },
#endif
};

const struct weft_peer *
weft_peer(size_t index)
{
	return (index < sizeof(peers) / sizeof(peers[0]) ? &peers[index] : NULL);
}
