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

/* Bare: a channel from one hand to the other, and nothing around it. */

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

/* A list behind a mutex, as if_epair(4) has: what all below of that kind are. */
struct list {
	struct mtx	mtx;
	struct mbufq	queue;
	bool		busy;
};

static void
list_init(struct list *list)
{

	bzero(list, sizeof(*list));
	mtx_init(&list->mtx, "weft test", NULL, MTX_DEF);
	mbufq_init(&list->queue, RING_SIZE);
}

uint64_t
weft_test_mbufq(u_int rounds, u_int batch, void **items)
{
	struct list list;
	uint64_t start;
	u_int n;

	list_init(&list);
	start = cpu_ticks();
	while (rounds-- > 0) {
		for (n = 0; n < batch; n++) {
			mtx_lock(&list.mtx);
			(void)mbufq_enqueue(&list.queue, items[n]);
			mtx_unlock(&list.mtx);
		}
		for (n = 0; n < batch; n++) {
			mtx_lock(&list.mtx);
			items[n] = mbufq_dequeue(&list.queue);
			mtx_unlock(&list.mtx);
		}
	}
	start = cpu_ticks() - start;
	mtx_destroy(&list.mtx);
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

static uint64_t
through_mp_ring(u_int rounds, u_int batch, void **items,
    mp_ring_drain_t drain)
{
	struct ifmp_ring *ring;
	void *out[BATCH_MAX];
	uint64_t start;

	if (ifmp_ring_alloc == NULL || ifmp_ring_alloc(&ring, RING_SIZE, out,
	    drain, mp_ring_can_drain, M_WEFT, M_NOWAIT) != 0)
		return (0);
	start = cpu_ticks();
	while (rounds-- > 0)
		(void)ifmp_ring_enqueue(ring, items, batch, batch, 0);
	start = cpu_ticks() - start;
	ifmp_ring_free(ring);
	return (start);
}

uint64_t
weft_test_mp_ring(u_int rounds, u_int batch, void **items)
{

	return (through_mp_ring(rounds, batch, items, mp_ring_drain));
}

/*
 * With a transmit queue's duty: whoever brings packets sees to it that somebody
 * passes them on, does so if nobody else does, and what is passed on is counted.
 */

/* A backend that counts, as drivers do. */
static struct {
	struct mbuf *volatile last;
	uint64_t	packets;
	uint64_t	bytes;
} sink;

static inline void
pass_on(struct mbuf *m)
{

	sink.last = m;
	sink.packets++;
	sink.bytes += m->m_pkthdr.len;
}

/* No queue: whoever comes while the backend is in use waits. */
uint64_t
weft_test_mtx_sent(u_int rounds, u_int batch, void **items)
{
	struct mtx mtx;
	uint64_t start;
	u_int n;

	bzero(&mtx, sizeof(mtx));
	mtx_init(&mtx, "weft test", NULL, MTX_DEF);
	start = cpu_ticks();
	while (rounds-- > 0) {
		mtx_lock(&mtx);
		for (n = 0; n < batch; n++)
			pass_on(items[n]);
		mtx_unlock(&mtx);
	}
	start = cpu_ticks() - start;
	mtx_destroy(&mtx);
	return (start);
}

static inline void
drain_buf_ring(struct buf_ring *ring)
{
	struct mbuf *m;

	while ((m = buf_ring_dequeue_sc(ring)) != NULL)
		pass_on(m);
}

/* As drivers with drbr_enqueue(9) and a lock for each of their rings do. */
uint64_t
weft_test_buf_ring_sent(u_int rounds, u_int batch, void **items)
{
	struct buf_ring *ring;
	struct mtx mtx;
	uint64_t start;
	u_int n;

	bzero(&mtx, sizeof(mtx));
	mtx_init(&mtx, "weft test", NULL, MTX_DEF);
	ring = buf_ring_alloc(RING_SIZE, M_WEFT, M_NOWAIT, &mtx);
	if (ring == NULL) {
		mtx_destroy(&mtx);
		return (0);
	}
	start = cpu_ticks();
	while (rounds-- > 0) {
		for (n = 0; n < batch; n++)
			(void)buf_ring_enqueue(ring, items[n]);
		if (mtx_trylock(&mtx)) {
			drain_buf_ring(ring);
			mtx_unlock(&mtx);
		}
	}
	start = cpu_ticks() - start;
	buf_ring_free(ring, M_WEFT);
	mtx_destroy(&mtx);
	return (start);
}

/* Passes on a whole list. */
static inline void
pass_on_all(struct mbuf *m)
{
	struct mbuf *next;

	for (; m != NULL; m = next) {
		next = STAILQ_NEXT(m, m_stailqpkt);
		m->m_nextpkt = NULL;
		pass_on(m);
	}
}

/* The lock is taken once a call, and not held while packets are passed on. */
uint64_t
weft_test_mbufq_sent(u_int rounds, u_int batch, void **items)
{
	struct list list;
	struct mbuf *m;
	uint64_t start;
	u_int n;

	list_init(&list);
	start = cpu_ticks();
	while (rounds-- > 0) {
		mtx_lock(&list.mtx);
		for (n = 0; n < batch; n++)
			(void)mbufq_enqueue(&list.queue, items[n]);
		if (!list.busy) {
			list.busy = true;
			while ((m = mbufq_flush(&list.queue)) != NULL) {
				mtx_unlock(&list.mtx);
				pass_on_all(m);
				mtx_lock(&list.mtx);
			}
			list.busy = false;
		}
		mtx_unlock(&list.mtx);
	}
	start = cpu_ticks() - start;
	mtx_destroy(&list.mtx);
	return (start);
}

static u_int
mp_ring_drain_sent(struct ifmp_ring *ring, u_int from, u_int to)
{
	u_int n;

	for (n = 0; from != to; n++) {
		pass_on(ring->items[from]);
		if (++from == (u_int)ring->size)
			from = 0;
	}
	return (n);
}

uint64_t
weft_test_mp_ring_sent(u_int rounds, u_int batch, void **items)
{

	return (through_mp_ring(rounds, batch, items, mp_ring_drain_sent));
}

/*
 * With the duty of a queue that a task drains.  taskqueue(9) is what it is but
 * for its thread: who measures runs the tasks.  So all that is left out is the
 * switch from one thread to the other, the same for all.
 */
struct weft_test_tasks {
	struct taskqueue *queue;
	struct task	task;
	bool		ran;
};

static void
wake_nobody(void *context)
{
}

static void
task_ran(void *context, int pending)
{
	struct weft_test_tasks *tasks = context;

	tasks->ran = true;
}

static bool
tasks_init(struct weft_test_tasks *tasks, task_fn_t *func, void *context)
{

	bzero(tasks, sizeof(*tasks));
	NET_TASK_INIT(&tasks->task, 0, func, context);
	tasks->queue = taskqueue_create("weft test", M_WAITOK, wake_nobody,
	    NULL);
	return (tasks->queue != NULL);
}

struct weft_test_tasks *
weft_test_tasks_new(void)
{
	struct weft_test_tasks *tasks;

	tasks = malloc(sizeof(*tasks), M_WEFT, M_WAITOK);
	if (!tasks_init(tasks, task_ran, tasks)) {
		free(tasks, M_WEFT);
		return (NULL);
	}
	return (tasks);
}

void
weft_test_tasks_free(struct weft_test_tasks *tasks)
{

	taskqueue_free(tasks->queue);
	free(tasks, M_WEFT);
}

void
weft_test_tasks_ask(struct weft_test_tasks *tasks)
{

	taskqueue_enqueue(tasks->queue, &tasks->task);
}

/* Runs the task if it was asked for, and says whether. */
bool
weft_test_tasks_run(struct weft_test_tasks *tasks)
{

	tasks->ran = false;
	taskqueue_run(tasks->queue);
	return (tasks->ran);
}

struct ring_of_task {
	struct buf_ring	*ring;
	struct mtx	mtx;
};

static void
buf_ring_task(void *context, int pending)
{
	struct ring_of_task *of = context;

	mtx_lock(&of->mtx);
	drain_buf_ring(of->ring);
	mtx_unlock(&of->mtx);
}

/* The task is asked for by each call, as drivers do. */
uint64_t
weft_test_buf_ring_task(u_int rounds, u_int batch, void **items)
{
	struct weft_test_tasks tasks;
	struct ring_of_task of;
	uint64_t start;
	u_int n;

	bzero(&of, sizeof(of));
	mtx_init(&of.mtx, "weft test", NULL, MTX_DEF);
	of.ring = buf_ring_alloc(RING_SIZE, M_WEFT, M_WAITOK, &of.mtx);
	start = 0;
	if (tasks_init(&tasks, buf_ring_task, &of)) {
		start = cpu_ticks();
		while (rounds-- > 0) {
			for (n = 0; n < batch; n++)
				(void)buf_ring_enqueue(of.ring, items[n]);
			taskqueue_enqueue(tasks.queue, &tasks.task);
			taskqueue_run(tasks.queue);
		}
		start = cpu_ticks() - start;
		taskqueue_free(tasks.queue);
	}
	buf_ring_free(of.ring, M_WEFT);
	mtx_destroy(&of.mtx);
	return (start);
}

static void
mbufq_task(void *context, int pending)
{
	struct list *list = context;
	struct mbuf *m;

	mtx_lock(&list->mtx);
	m = mbufq_flush(&list->queue);
	mtx_unlock(&list->mtx);
	pass_on_all(m);
	mtx_lock(&list->mtx);
	list->busy = false;
	mtx_unlock(&list->mtx);
}

/* The steps of if_epair(4), which knows no calls with several packets. */
uint64_t
weft_test_mbufq_task(u_int rounds, u_int batch, void **items)
{
	struct weft_test_tasks tasks;
	struct list list;
	uint64_t start;
	u_int n;

	list_init(&list);
	start = 0;
	if (tasks_init(&tasks, mbufq_task, &list)) {
		start = cpu_ticks();
		while (rounds-- > 0) {
			for (n = 0; n < batch; n++) {
				mtx_lock(&list.mtx);
				if (!list.busy) {
					list.busy = true;
					taskqueue_enqueue(tasks.queue,
					    &tasks.task);
				}
				(void)mbufq_enqueue(&list.queue, items[n]);
				mtx_unlock(&list.mtx);
			}
			taskqueue_run(tasks.queue);
		}
		start = cpu_ticks() - start;
		taskqueue_free(tasks.queue);
	}
	mtx_destroy(&list.mtx);
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
