/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a checksum in a shared library gives to weft-bench-wire.
 *
 * The library exports one function, weft_wire_peer.  It is called with 0, 1, 2 ...
 * until it returns NULL.  What it returns stays valid until the process ends.
 * Everything runs on one thread.
 */
#ifndef WEFT_WIRE_PEER_H
#define WEFT_WIRE_PEER_H

#include <stddef.h>
#include <stdint.h>

#define WEFT_WIRE_PEER_ABI 1

struct weft_piece {
	const void *bytes;
	size_t len;
};

struct weft_wire_peer {
	uint32_t abi;		/* WEFT_WIRE_PEER_ABI */
	const char *name;
	const char *version;
	/*
	 * A packet of these pieces, such as a chain of mbufs; not timed.  The bytes
	 * stay where they are until it is closed.
	 */
	void *(*open)(const struct weft_piece *pieces, size_t count);
	void (*close)(void *packet);
	/*
	 * The Internet checksum of the bytes from skip to len, as it is sent; what
	 * is timed.
	 */
	uint16_t (*sum)(void *packet, int len, int skip);
};

#ifdef __cplusplus
extern "C"
#endif
const struct weft_wire_peer *weft_wire_peer(unsigned int n);

#endif /* WEFT_WIRE_PEER_H */
