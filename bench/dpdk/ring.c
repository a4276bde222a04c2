/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DPDK's rte_ring as a peer: many producers, one consumer at a time.  Its calls
 * are inline functions, so they are wrapped here, a burst a call.
 */
#include <stdlib.h>

#include <rte_ring.h>

struct rte_ring	*weft_ring_new(unsigned int);
void		 weft_ring_free(struct rte_ring *);
unsigned int	 weft_ring_put(struct rte_ring *, void **, unsigned int);
unsigned int	 weft_ring_get(struct rte_ring *, void **, unsigned int);
unsigned int	 weft_ring_empty(const struct rte_ring *);

struct rte_ring *
weft_ring_new(unsigned int count)
{
	struct rte_ring *ring;
	ssize_t size;

	/* Of an exact size, it has the next power of two of slots. */
	size = rte_ring_get_memsize(rte_align32pow2(count + 1));
	if (size < 0)
		return (NULL);
	ring = aligned_alloc(RTE_CACHE_LINE_SIZE,
	    RTE_ALIGN_CEIL((size_t)size, RTE_CACHE_LINE_SIZE));
	if (ring == NULL)
		return (NULL);
	if (rte_ring_init(ring, "weft", count,
	    RING_F_SC_DEQ | RING_F_EXACT_SZ) != 0) {
		free(ring);
		return (NULL);
	}
	return (ring);
}

void
weft_ring_free(struct rte_ring *ring)
{
	free(ring);
}

unsigned int
weft_ring_put(struct rte_ring *ring, void **items, unsigned int count)
{
	return (rte_ring_mp_enqueue_burst(ring, items, count, NULL));
}

unsigned int
weft_ring_get(struct rte_ring *ring, void **items, unsigned int count)
{
	return (rte_ring_sc_dequeue_burst(ring, items, count, NULL));
}

unsigned int
weft_ring_empty(const struct rte_ring *ring)
{
	return (rte_ring_empty(ring));
}
