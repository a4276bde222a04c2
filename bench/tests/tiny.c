/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest peer: the routes themselves, searched from end to end, which are
 * sorted so that the last one that covers an address is the longest.  A change
 * makes a copy, and the one before it is freed when no lookup can be in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

#define MOST	4096

struct table {
	size_t count;
	struct weft_route routes[MOST];
};

struct handle {
	struct table *now;		/* what lookups are in */
	struct table *before;		/* until it is released */
	size_t prepared;		/* changes that wait for their commit */
	int (*order)(const struct weft_route *, const struct weft_route *);
};

/* The order of routes: by prefix, then by length. */
static int
order4(const struct weft_route *a, const struct weft_route *b)
{
	if (a->prefix4 != b->prefix4)
		return (a->prefix4 < b->prefix4 ? -1 : 1);
	return ((int)a->plen - (int)b->plen);
}

static int
order6(const struct weft_route *a, const struct weft_route *b)
{
	int order = memcmp(a->prefix6, b->prefix6, sizeof(a->prefix6));

	return (order != 0 ? order : (int)a->plen - (int)b->plen);
}

static void
tiny_close(void *handle)
{
	struct handle *tiny = handle;

	free(tiny->now);
	free(tiny->before);
	free(tiny);
}

static void *
tiny_open(const struct weft_route *routes, size_t count)
{
	struct handle *tiny = calloc(1, sizeof(*tiny));

	if (tiny == NULL)
		return (NULL);
	tiny->now = malloc(sizeof(*tiny->now));
	if (tiny->now == NULL || count > MOST) {
		tiny_close(tiny);
		return (NULL);
	}
	memcpy(tiny->now->routes, routes, count * sizeof(*routes));
	tiny->now->count = count;
	return (tiny);
}

static void *
tiny_open4(const struct weft_route *routes, size_t count)
{
	struct handle *tiny = tiny_open(routes, count);

	if (tiny != NULL)
		tiny->order = order4;
	return (tiny);
}

static void *
tiny_open6(const struct weft_route *routes, size_t count)
{
	struct handle *tiny = tiny_open(routes, count);

	if (tiny != NULL)
		tiny->order = order6;
	return (tiny);
}

static int
tiny_build(void *handle)
{
	return (((struct handle *)handle)->now->count == 0 ? EINVAL : 0);
}

static uint32_t
tiny_one4(const void *looked_in, uint32_t dst)
{
	const struct table *table = looked_in;
	const struct weft_route *route;
	uint32_t class = 0;

	for (route = table->routes; route < table->routes + table->count; route++)
		if (route->plen == 0 ||
		    (dst ^ route->prefix4) >> (32 - route->plen) == 0)
			class = route->class;
	return (class);
}

static uint32_t
tiny_one6(const void *looked_in, const uint8_t dst[16])
{
	const struct table *table = looked_in;
	const struct weft_route *route;
	uint32_t class = 0, bit;

	for (route = table->routes; route < table->routes + table->count; route++) {
		for (bit = 0; bit < route->plen; bit++)
			if ((dst[bit / 8] ^ route->prefix6[bit / 8]) &
			    0x80 >> bit % 8)
				break;
		if (bit == route->plen)
			class = route->class;
	}
	return (class);
}

static struct table *
table_now(void *handle)
{
	return (__atomic_load_n(&((struct handle *)handle)->now,
	    __ATOMIC_ACQUIRE));
}

static void
tiny_lookup4(void *handle, struct weft_lookup *lookup)
{
	lookup->table = table_now(handle);
	lookup->one4 = tiny_one4;
	lookup->batch4 = NULL;
}

static void
tiny_lookup6(void *handle, struct weft_lookup *lookup)
{
	lookup->table = table_now(handle);
	lookup->one6 = tiny_one6;
	lookup->batch6 = NULL;
}

static void
tiny_bytes(void *handle, struct weft_bytes *bytes)
{
	bytes->lookup = table_now(handle)->count * sizeof(struct weft_route);
	bytes->all = sizeof(struct handle) + sizeof(struct table);
}

static int
tiny_prepare(void *handle, const struct weft_route *changes, size_t count)
{
	struct handle *tiny = handle;

	(void)changes;
	if (tiny->before != NULL)
		return (EBUSY);
	tiny->prepared += count;
	return (0);
}

static int
change(const struct handle *tiny, struct table *table,
    const struct weft_route *change)
{
	struct weft_route *route = table->routes;
	struct weft_route *end = table->routes + table->count;
	int found;

	while (route < end && tiny->order(route, change) < 0)
		route++;
	found = route < end && tiny->order(route, change) == 0;
	if (change->class == 0) {
		if (!found)
			return (ESRCH);
		memmove(route, route + 1, (char *)end - (char *)(route + 1));
		table->count--;
		return (0);
	}
	if (!found) {
		if (table->count == MOST)
			return (ENOSPC);
		memmove(route + 1, route, (char *)end - (char *)route);
		table->count++;
	}
	*route = *change;
	return (0);
}

static int
tiny_commit(void *handle, const struct weft_route *changes, size_t count)
{
	struct handle *tiny = handle;
	struct table *next;
	size_t i;
	int error = 0;

	if (tiny->prepared != count)
		return (EINVAL);
	next = malloc(sizeof(*next));
	if (next == NULL)
		return (ENOMEM);
	*next = *tiny->now;
	for (i = 0; i < count && error == 0; i++)
		error = change(tiny, next, &changes[i]);
	if (error != 0) {
		free(next);
		return (error);
	}
	tiny->prepared = 0;
	tiny->before = __atomic_exchange_n(&tiny->now, next, __ATOMIC_ACQ_REL);
	return (0);
}

static void
tiny_release(void *handle)
{
	struct handle *tiny = handle;

	free(tiny->before);
	tiny->before = NULL;
}

#define TINY(number)				\
	.abi = WEFT_PEER_ABI,			\
	.family = number,			\
	.open = tiny_open##number,		\
	.build = tiny_build,			\
	.close = tiny_close,			\
	.lookup = tiny_lookup##number,		\
	.bytes = tiny_bytes

static const struct weft_peer peers[] = {
	{
		TINY(4),
		.name = "tiny",
		.version = "1.2",
		.patience = 100,
		.prepare = tiny_prepare,
		.commit = tiny_commit,
		.release = tiny_release,
		.gathers = { 5, 20 },
	},
	{
		TINY(4),
		.name = "constant",
		.version = "3",
	},
	{
		TINY(6),
		.name = "tiny",
		.version = "1.2",
		.prepare = tiny_prepare,
		.commit = tiny_commit,
		.release = tiny_release,
	},
#ifdef INCOMPLETE
	{ .abi = WEFT_PEER_ABI, .family = 6, .name = "broken", .version = "0" },
#endif
#ifdef FOREIGN
	{ .abi = WEFT_PEER_ABI + 1, .family = 4, .name = "foreign" },
#endif
#ifdef UNKNOWN
	{ .abi = WEFT_PEER_ABI, .family = 5, .name = "unknown", .version = "0" },
#endif
};

const struct weft_peer *
weft_peer(size_t index)
{
	return (index < sizeof(peers) / sizeof(peers[0]) ? &peers[index] : NULL);
}
