/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's checksum and this module's, over the same chains: measured, and
 * compared.  In the build for tests only.
 */
#include "weft_shim.h"

#include <sys/gsb_crc32.h>

#include <machine/in_cksum.h>

#include "weft.h"

#define	SLACK		64

/* Where sums go, so that the compiler makes them. */
static volatile uint32_t sink;

static void
fill(char *bytes, u_int len)
{

	while (len > 0)
		bytes[--len] = arc4random();
}

/* A chain of mbufs over bytes that belong to the caller. */
static struct mbuf *
chain(char *bytes, u_int size, u_int pieces)
{
	struct mbuf *first, *last, *m;
	u_int len, n;

	first = last = NULL;
	for (n = 0; n < pieces; n++) {
		len = n + 1 < pieces ? size / pieces :
		    size - size / pieces * (pieces - 1);
		m = first == NULL ? m_gethdr(M_NOWAIT, MT_DATA) :
		    m_get(M_NOWAIT, MT_DATA);
		if (m == NULL) {
			m_freem(first);
			return (NULL);
		}
		m->m_data = bytes;
		m->m_len = len;
		bytes += len;
		if (first == NULL)
			first = m;
		else
			last->m_next = m;
		last = m;
	}
	first->m_pkthdr.len = size;
	return (first);
}

static uint32_t
sum(enum weft_test_way way, struct mbuf *m, const void *bytes, u_int size)
{

	switch (way) {
	case WEFT_TEST_OURS:
		return (weft_in_cksum_skip(m, size, 0));
	case WEFT_TEST_THEIRS:
		return (in_cksum_skip(m, size, 0));
	case WEFT_TEST_OUR_CRC:
		return (weft_crc32c(0, bytes, size));
	case WEFT_TEST_THEIR_CRC:
		return (~calculate_crc32c(~0, bytes, size));
	}
	return (0);
}

/*
 * Ticks that so many sums take, over a packet of size bytes in pieces, the first
 * of which begins offset bytes behind a cache line's start; 0 without memory.
 */
uint64_t
weft_test_sum(u_int rounds, u_int size, u_int pieces, u_int offset,
    enum weft_test_way way)
{
	struct mbuf *m;
	uint64_t start;
	char *bytes;

	bytes = malloc_aligned(size + SLACK, 64, M_WEFT, M_NOWAIT);
	if (bytes == NULL)
		return (0);
	fill(bytes, size + SLACK);
	start = 0;
	if ((m = chain(bytes + offset, size, pieces)) != NULL) {
		start = cpu_ticks();
		while (rounds-- > 0)
			sink = sum(way, m, bytes + offset, size);
		start = cpu_ticks() - start;
		m_freem(m);
	}
	free(bytes, M_WEFT);
	return (start);
}

/*
 * Compares both over chains of random shapes.  How many sums differed; -1 without
 * memory.
 */
int
weft_test_sums_differ(u_int rounds)
{
	struct mbuf *m;
	char *bytes;
	u_int from, len, most, offset, pieces, size;
	int differ;

	most = 9216;
	bytes = malloc(most + SLACK, M_WEFT, M_NOWAIT);
	if (bytes == NULL)
		return (-1);
	fill(bytes, most + SLACK);
	for (differ = 0; rounds > 0; rounds--) {
		size = 1 + arc4random() % (arc4random() % 4 == 0 ? most : 200);
		pieces = MIN(size, 1 + arc4random() % 6);
		offset = arc4random() % SLACK;
		from = arc4random() % size;
		len = from + arc4random() % (size - from + 1);
		/* Now and then in pages that are not mapped. */
		m = arc4random() % 16 == 0 ?
		    weft_shim_mbuf_unmapped(bytes + offset, size) :
		    chain(bytes + offset, size, pieces);
		if (m == NULL) {
			free(bytes, M_WEFT);
			return (-1);
		}
		if (weft_in_cksum_skip(m, len, from) !=
		    in_cksum_skip(m, len, from) ||
		    weft_sctp_cksum(m, len, from) !=
		    sum(WEFT_TEST_THEIR_CRC, NULL, bytes + offset + from,
		    len - from) ||
		    (pieces == 1 && weft_in_cksum_data(bytes + offset, size) !=
		    in_cksum_skip(m, size, 0)))
			differ++;
		m_freem(m);
	}
	free(bytes, M_WEFT);
	return (differ);
}
