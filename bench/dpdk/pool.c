/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DPDK's pools as peers: rte_mempool as it is, and its packets, rte_mbuf, on top.
 * What DPDK has inline is a function here, so that each side pays for a call.
 */
#include <stddef.h>
#include <stdio.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define	CACHE	256		/* objects a thread keeps, DPDK's usual number */

/* Gives the calling thread a number, without which it has no cache. */
int
weft_dpdk_thread(void)
{

	if (rte_lcore_id() != LCORE_ID_ANY)
		return (0);
	return (rte_thread_register() == 0 ? 0 : rte_errno);
}

static const char *
new_name(void)
{
	static char name[32];
	static unsigned int serial;

	snprintf(name, sizeof(name), "weft_pool%u", serial++);
	return (name);
}

/* A pool of so many objects of this size; NULL if there is no memory for it. */
struct rte_mempool *
weft_mempool_open(unsigned int count, unsigned int size)
{

	return (rte_mempool_create(new_name(), count, size, CACHE, 0, NULL, NULL,
	    NULL, NULL, SOCKET_ID_ANY, 0));
}

/* A pool of mbufs with room for so many bytes. */
struct rte_mempool *
weft_mbufs_open(unsigned int count, unsigned int room)
{

	return (rte_pktmbuf_pool_create(new_name(), count, CACHE, 0,
	    RTE_PKTMBUF_HEADROOM + room, SOCKET_ID_ANY));
}

void
weft_mempool_close(struct rte_mempool *pool)
{

	rte_mempool_free(pool);
}

/* Bytes that one object takes in memory. */
size_t
weft_mempool_bytes(const struct rte_mempool *pool)
{

	return (pool->header_size + pool->elt_size + pool->trailer_size);
}

void *
weft_mempool_take(struct rte_mempool *pool)
{
	void *object;

	return (rte_mempool_get(pool, &object) == 0 ? object : NULL);
}

void
weft_mempool_put(struct rte_mempool *pool, void *object)
{

	rte_mempool_put(pool, object);
}

int
weft_mempool_take_many(struct rte_mempool *pool, void **objects, unsigned int count)
{

	return (rte_mempool_get_bulk(pool, objects, count));
}

void
weft_mempool_put_many(struct rte_mempool *pool, void **objects, unsigned int count)
{

	rte_mempool_put_bulk(pool, objects, count);
}

void *
weft_mbufs_take(struct rte_mempool *pool)
{

	return (rte_pktmbuf_alloc(pool));
}

void
weft_mbufs_put(struct rte_mempool *pool, void *mbuf)
{

	(void)pool;
	rte_pktmbuf_free(mbuf);
}

int
weft_mbufs_take_many(struct rte_mempool *pool, void **mbufs, unsigned int count)
{

	return (rte_pktmbuf_alloc_bulk(pool, (struct rte_mbuf **)mbufs, count));
}

void
weft_mbufs_put_many(struct rte_mempool *pool, void **mbufs, unsigned int count)
{

	(void)pool;
	rte_pktmbuf_free_bulk((struct rte_mbuf **)mbufs, count);
}

void *
weft_mbufs_data(void *mbuf)
{

	return (rte_pktmbuf_mtod((struct rte_mbuf *)mbuf, void *));
}
