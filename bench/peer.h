/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a peer in a shared library gives to weft-bench.
 *
 * The library exports one function, weft_peer.  It is called with 0, 1, 2 ...
 * until it returns NULL, so one library may hold several peers.  Each peer is
 * of one address family; one for both is two peers, which may share their name.
 * What weft_peer returns stays valid until the process ends.
 *
 * An IPv4 address or prefix is a number in host order, an IPv6 one 16 bytes in
 * network order.  A class stands for a next hop: 1 and up, or 0 for "no route".
 * Everything runs on one thread, and nothing is looked up while a table is
 * changed, unless the peer has "release".
 */
#ifndef WEFT_PEER_H
#define WEFT_PEER_H

#include <stddef.h>
#include <stdint.h>

#define WEFT_PEER_ABI 2

struct weft_route {
	union {			/* no bit set beyond the length */
		uint32_t prefix4;
		uint8_t prefix6[16];
	};
	uint32_t class;		/* in a change, 0 means: withdraw it */
	uint32_t plen;		/* 0 to 32 or 128 */
};

/* What is looked up in, as code that knows the table's address only. */
struct weft_lookup {
	const void *table;
	union {
		uint32_t (*one4)(const void *table, uint32_t dst);
		uint32_t (*one6)(const void *table, const uint8_t dst[16]);
	};
	union {			/* may be NULL; then it is that many calls of one */
		void (*batch4)(const void *table, const uint32_t *dst,
		    uint32_t *class, size_t count);
		void (*batch6)(const void *table, const uint8_t (*dst)[16],
		    uint32_t *class, size_t count);
	};
};

struct weft_bytes {
	uint64_t lookup;	/* what a lookup may read */
	uint64_t all;		/* with what is kept for the next change */
};

struct weft_peer {
	uint32_t abi;		/* WEFT_PEER_ABI */
	uint32_t family;	/* 4 or 6 */
	const char *name;
	const char *version;
	/* Its build takes minutes with more routes than this; 0: it never does. */
	size_t patience;

	/*
	 * "Open" takes the routes (each prefix once, sorted by prefix and then
	 * by length; they are not kept for you) and does what the algorithm's
	 * caller does with them, such as filling its routing table; it is not
	 * timed.  NULL if there is no memory.  "Build" makes the table to look
	 * up in, is timed, is called once, and returns 0 or an errno.
	 */
	void *(*open)(const struct weft_route *routes, size_t count);
	int (*build)(void *handle);
	void (*close)(void *handle);

	/* Asked for again after each change. */
	void (*lookup)(void *handle, struct weft_lookup *lookup);
	void (*bytes)(void *handle, struct weft_bytes *bytes);

	/*
	 * May be NULL.  Says that no change will come, so that what only
	 * changes need can be given back.
	 */
	void (*freeze)(void *handle);

	/*
	 * Both NULL if the table is not to be changed.  "Prepare" is what the
	 * algorithm's caller does when its own routing table changes, and is not
	 * timed.  "Commit" is; it gets all changes that were prepared since the
	 * last one, and when it returns, lookups must see them.  Both return 0
	 * or an errno.
	 */
	int (*prepare)(void *handle, const struct weft_route *changes,
	    size_t count);
	int (*commit)(void *handle, const struct weft_route *changes,
	    size_t count);

	/*
	 * NULL if the table is not to be looked up in while it is changed.
	 * Otherwise "lookup", and what it gives, is also called on other threads
	 * and beside "prepare" and "commit", each time inside a section.  After
	 * a commit, and before the next "prepare", "release" is called once all
	 * sections have ended that began before the commit's end.
	 */
	void (*release)(void *handle);

	/*
	 * In milliseconds: how long the algorithm's caller gathers changes that
	 * come fast before it commits them, at least and at most; 0 and 0 if it
	 * commits each by itself.
	 */
	uint32_t gathers[2];
};

const struct weft_peer *weft_peer(size_t index);

#endif
