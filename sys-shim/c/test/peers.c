/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What FreeBSD has for packets, tags and queues, to be measured beside this
 * module's.  In the build for tests only.
 *
 * Each function does its work so many times and returns the ticks of the CPU's
 * clock that it took; 0 if there was no memory.  The caller is bound to a CPU.
 * It is in no critical section: uma(9) and mutexes are not for those.
 */
#include "weft_shim.h"

#include <sys/buf_ring.h>

#include <net/mp_ring.h>

#define	BATCH_MAX	64
#define	RING_SIZE	1024

/* An mbuf with room for size bytes, as drivers and sockets get one. */
static struct mbuf *
get(u_int size)
{

	if (size <= MHLEN)
		return (m_gethdr(M_NOWAIT, MT_DATA));
	if (size <= MCLBYTES)
		return (m_getcl(M_NOWAIT, MT_DATA, M_PKTHDR));
	return (m_getjcl(M_NOWAIT, MT_DATA, M_PKTHDR, size <= MJUMPAGESIZE ?
	    MJUMPAGESIZE : MJUM9BYTES));
}

uint64_t
weft_test_mbuf(u_int rounds, u_int batch, u_int size)
{
	struct mbuf *held[BATCH_MAX];
	uint64_t start;
	u_int i, n;

	batch = MIN(batch, BATCH_MAX);
	start = cpu_ticks();
	while (rounds-- > 0) {
		for (n = 0; n < batch; n++)
			if ((held[n] = get(size)) == NULL)
				break;
		for (i = 0; i < n; i++)
			m_freem(held[i]);
		if (n < batch)
			return (0);
	}
	return (cpu_ticks() - start);
}

uint64_t
weft_test_tag(u_int rounds, uint32_t cookie, u_int size)
{
	struct m_tag *tag;
	struct mbuf *m;
	uint64_t start;

	if ((m = m_gethdr(M_NOWAIT, MT_DATA)) == NULL)
		return (0);
	start = cpu_ticks();
	while (rounds-- > 0) {
		tag = m_tag_alloc(cookie, 1, size, M_NOWAIT);
		if (tag == NULL)
			break;
		m_tag_prepend(m, tag);
		if (m_tag_locate(m, cookie, 1, NULL) != tag)
			break;
		m_tag_delete(m, tag);
	}
	start = cpu_ticks() - start;
	m_freem(m);
	return (rounds + 1 == 0 ? start : 0);
}

uint64_t
weft_test_buf_ring(u_int rounds, u_int batch, void **items)
{
	struct buf_ring *ring;
	uint64_t start;
	u_int n;

	ring = buf_ring_alloc(RING_SIZE, M_WEFT, M_NOWAIT, NULL);
	if (ring == NULL)
		return (0);
	start = cpu_ticks();
	while (rounds-- > 0) {
		for (n = 0; n < batch; n++)
			(void)buf_ring_enqueue(ring, items[n]);
		for (n = 0; n < batch; n++)
			items[n] = buf_ring_dequeue_sc(ring);
	}
	start = cpu_ticks() - start;
	buf_ring_free(ring, M_WEFT);
	return (start);
}

/* What if_epair(4) does: a list behind a mutex, a packet at a time. */
uint64_t
weft_test_mbufq(u_int rounds, u_int batch, void **items)
{
	struct mbufq queue;
	struct mtx mtx;
	uint64_t start;
	u_int n;

	bzero(&mtx, sizeof(mtx));
	mtx_init(&mtx, "weft test", NULL, MTX_DEF);
	mbufq_init(&queue, RING_SIZE);
	start = cpu_ticks();
	while (rounds-- > 0) {
		for (n = 0; n < batch; n++) {
			mtx_lock(&mtx);
			(void)mbufq_enqueue(&queue, items[n]);
			mtx_unlock(&mtx);
		}
		for (n = 0; n < batch; n++) {
			mtx_lock(&mtx);
			items[n] = mbufq_dequeue(&queue);
			mtx_unlock(&mtx);
		}
	}
	start = cpu_ticks() - start;
	mtx_destroy(&mtx);
	return (start);
}

/* iflib's ring, which is there in a kernel with iflib; else these are NULL. */
#pragma weak ifmp_ring_alloc
#pragma weak ifmp_ring_enqueue
#pragma weak ifmp_ring_free

/* Takes all that there is, as iflib's does with a device that has room. */
static u_int
mp_ring_drain(struct ifmp_ring *ring, u_int from, u_int to)
{
	void **items = ring->cookie;
	u_int n;

	for (n = 0; from != to; n++) {
		items[n] = ring->items[from];
		if (++from == (u_int)ring->size)
			from = 0;
	}
	return (n);
}

static u_int
mp_ring_can_drain(struct ifmp_ring *ring)
{

	return (1);
}

uint64_t
weft_test_mp_ring(u_int rounds, u_int batch, void **items)
{
	struct ifmp_ring *ring;
	void *out[BATCH_MAX];
	uint64_t start;

	if (ifmp_ring_alloc == NULL || ifmp_ring_alloc(&ring, RING_SIZE, out,
	    mp_ring_drain, mp_ring_can_drain, M_WEFT, M_NOWAIT) != 0)
		return (0);
	start = cpu_ticks();
	while (rounds-- > 0)
		(void)ifmp_ring_enqueue(ring, items, batch, batch, 0);
	start = cpu_ticks() - start;
	ifmp_ring_free(ring);
	return (start);
}

/* So many packets of mbufs with room for size bytes, in a list. */
struct mbuf *
weft_test_hold(u_int count, u_int size)
{
	struct mbuf *first, *m;

	for (first = NULL; count > 0; count--) {
		if ((m = get(size)) == NULL) {
			weft_test_release(first);
			return (NULL);
		}
		m->m_nextpkt = first;
		first = m;
	}
	return (first);
}

void
weft_test_release(struct mbuf *m)
{
	struct mbuf *next;

	for (; m != NULL; m = next) {
		next = m->m_nextpkt;
		m->m_nextpkt = NULL;
		m_freem(m);
	}
}
