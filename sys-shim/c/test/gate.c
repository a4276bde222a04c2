/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Has each of the module's allocations fail in its turn.  In the build for tests
 * only, where the linker leads each call of a function below here first
 * (gates.h, ld's --wrap).
 *
 * A call is told from others by its site: which function it asks for memory, and
 * by which return addresses of the module's code it came there.  Sites are noted
 * as they are called, and one may be told to fail once.
 *
 * What may sleep for its memory never fails, here neither.
 */
#include "weft_shim.h"

#include <sys/bus.h>
#include <sys/counter.h>
#include <sys/eventhandler.h>
#include <sys/stdarg.h>
#include <machine/stack.h>
#include <vm/uma.h>

/* Set by the linker's script. */
extern const char weft_text[], weft_text_end[];

struct site {
	uint32_t	id;		/* never 0 */
	uint32_t	calls;
	uint32_t	kind;
	uint32_t	at[WEFT_GATE_FRAMES]; /* return addresses, in .text */
};

/* The counts may be set before the module is loaded. */
static struct {
	struct site	sites[WEFT_GATE_SITES];
	u_int		calls;
	u_int		forgotten;	/* calls for whose site there was no room */
	u_int		failed;		/* id of the site that failed */
} gate;
static int gate_site;			/* which is to fail */
static int gate_turn = 1;		/* by which of its calls */
TUNABLE_INT("net.weft.test.fail.site", &gate_site);
TUNABLE_INT("net.weft.test.fail.turn", &gate_turn);

static const char *const kinds[] = {
#define	KIND(name)	[WEFT_GATE_##name] = #name,
	WEFT_GATES(KIND)
#undef KIND
};

/* Where in the module's code the current call came from, and its id. */
static void __noinline
find(struct site *site, uint32_t kind)
{
	uintptr_t *frame, *next;
	uint64_t hash;
	u_int n;

	memset(site, 0, sizeof(*site));
	site->kind = kind;
	hash = kind + 1;
	frame = __builtin_frame_address(0);
	for (n = 0; n < WEFT_GATE_FRAMES + 2; n++) {
		uintptr_t at = frame[1];

		if (at < (uintptr_t)weft_text || at >= (uintptr_t)weft_text_end)
			break;
		/* The first two are the gate's own. */
		if (n >= 2) {
			site->at[n - 2] = at - (uintptr_t)weft_text;
			hash = (hash ^ site->at[n - 2]) * 0x9e3779b97f4a7c15;
			hash ^= hash >> 29;
		}
		next = (uintptr_t *)frame[0];
		if (next <= frame || !kstack_contains(curthread,
		    (vm_offset_t)next, 2 * sizeof(*next)))
			break;
		frame = next;
	}
	site->id = (hash & INT32_MAX) == 0 ? 1 : hash & INT32_MAX;
}

/* Places that a site may be in, so that a full table costs little. */
#define	NEAR	64

/* Counts a call of a site that is noted, or notes it.  Any context. */
static u_int
note(const struct site *site)
{
	u_int n, place;

	place = site->id % WEFT_GATE_SITES;
	for (n = 0; n < NEAR; n++) {
		struct site *noted = &gate.sites[place];

		if (noted->id == 0 && atomic_cmpset_32(&noted->id, 0,
		    site->id)) {
			noted->kind = site->kind;
			memcpy(noted->at, site->at, sizeof(noted->at));
		}
		if (noted->id == site->id)
			return (atomic_fetchadd_32(&noted->calls, 1) + 1);
		place = (place + 1) % WEFT_GATE_SITES;
	}
	atomic_add_int(&gate.forgotten, 1);
	return (0);
}

/* Whether this call is to fail. */
static bool __noinline
is_shut(enum weft_gate kind)
{
	struct site site;
	u_int turn;

	find(&site, kind);
	atomic_add_int(&gate.calls, 1);
	turn = note(&site);
	if ((int)site.id != gate_site || (int)turn != gate_turn)
		return (false);
	gate_site = 0;
	gate.failed = site.id;
	printf("weft: test: %s fails at %x %x %x %x %x %x\n", kinds[kind],
	    site.at[0], site.at[1], site.at[2], site.at[3], site.at[4],
	    site.at[5]);
	return (true);
}

/* Forgets all sites, and fails none. */
void
weft_test_gate_forget(void)
{

	gate_site = 0;
	memset(&gate, 0, sizeof(gate));
}

/* Has a call of a site fail, the first from now on being 1; 0 is no site. */
void
weft_test_gate_shut(u_int id, u_int turn)
{

	weft_test_gate_forget();
	gate_turn = turn;
	atomic_store_rel_int((u_int *)&gate_site, id);
}

u_int
weft_test_gate_failed(void)
{

	return (gate.failed);
}

/* A word of a site: id, calls, kind, return addresses. */
u_int
weft_test_gate_site(u_int place, u_int word)
{
	const struct site *site;

	if (place >= WEFT_GATE_SITES || word >= WEFT_GATE_WORDS)
		return (0);
	site = &gate.sites[place];
	switch (word) {
	case 0:
		return (site->id);
	case 1:
		return (site->calls);
	case 2:
		return (site->kind);
	default:
		return (site->at[word - 3]);
	}
}

u_int
weft_test_gate_forgotten(void)
{

	return (gate.forgotten);
}

/*
 * The gates.  What the linker calls __real_ is the function, and what it calls
 * __wrap_ is called in its place.
 */
#define	GATE(type, name, params, args, fails)				\
	type __real_##name params;					\
	type __wrap_##name params;					\
	type								\
	__wrap_##name params						\
	{								\
									\
		if (is_shut(WEFT_GATE_##name)) {			\
			fails;						\
		}							\
		return (__real_##name args);				\
	}
/* The same of those that fail only if they may not sleep. */
#define	GATE_NOWAIT(type, name, params, args, flags)			\
	type __real_##name params;					\
	type __wrap_##name params;					\
	type								\
	__wrap_##name params						\
	{								\
									\
		if (((flags) & M_WAITOK) == 0 &&			\
		    is_shut(WEFT_GATE_##name))				\
			return (NULL);					\
		return (__real_##name args);				\
	}

#undef malloc
GATE_NOWAIT(void *, malloc, (size_t size, struct malloc_type *type, int flags),
    (size, type, flags), flags)
GATE_NOWAIT(void *, malloc_aligned, (size_t size, size_t align,
    struct malloc_type *type, int flags), (size, align, type, flags), flags)
GATE_NOWAIT(void *, kmem_malloc, (vm_size_t size, int flags), (size, flags),
    flags)
GATE_NOWAIT(counter_u64_t, counter_u64_alloc, (int flags), (flags), flags)
GATE_NOWAIT(void *, uma_zalloc_arg, (uma_zone_t zone, void *arg, int flags),
    (zone, arg, flags), flags)

GATE_NOWAIT(struct mbuf *, m_get2, (int size, int how, short type, int flags),
    (size, how, type, flags), how)
GATE_NOWAIT(struct mbuf *, m_getjcl, (int how, short type, int flags, int size),
    (how, type, flags, size), how)
GATE_NOWAIT(struct mbuf *, m_copym, (struct mbuf *m, int from, int len,
    int how), (m, from, len, how), how)
GATE_NOWAIT(struct mbuf *, m_dup, (const struct mbuf *m, int how), (m, how),
    how)
GATE_NOWAIT(struct mbuf *, m_collapse, (struct mbuf *m, int how, int most),
    (m, how, most), how)
/* These free the packet when they fail. */
GATE(struct mbuf *, m_copyup, (struct mbuf *m, int len, int off),
    (m, len, off), m_freem(m); return (NULL))
GATE(struct mbuf *, m_prepend, (struct mbuf *m, int len, int how),
    (m, len, how), m_freem(m); return (NULL))
GATE(int, m_dup_pkthdr, (struct mbuf *to, const struct mbuf *from, int how),
    (to, from, how), return (0))

GATE(struct sysctl_oid *, sysctl_add_oid, (struct sysctl_ctx_list *list,
    struct sysctl_oid_list *parent, int number, const char *name, int kind,
    void *arg1, intmax_t arg2, int (*handler)(SYSCTL_HANDLER_ARGS),
    const char *format, const char *about, const char *label),
    (list, parent, number, name, kind, arg1, arg2, handler, format, about,
    label), return (NULL))
GATE(eventhandler_tag, eventhandler_register, (struct eventhandler_list *list,
    const char *name, void *func, void *arg, int priority),
    (list, name, func, arg, priority), return (NULL))
GATE(uint32_t, fib_get_nhop_idx, (struct fib_data *fd, struct nhop_object *nh),
    (fd, nh), return (0))
GATE(int, ifc_alloc_unit, (struct if_clone *ifc, int *unit), (ifc, unit),
    return (ENOSPC))
GATE(pfil_hook_t, pfil_add_hook, (struct pfil_hook_args *args), (args),
    return (NULL))

/* The shim's own, around what is an inline or a method in the kernel. */
GATE(int, weft_shim_mbuf_embed, (struct mbuf *m,
    const struct weft_mbuf_storage *storage), (m, storage), return (ENOMEM))
GATE(int, weft_shim_dma_tag_new, (device_t dev,
    const struct weft_dma_limits *limits, struct bus_dma_tag **tag),
    (dev, limits, tag), return (ENOMEM))
GATE(int, weft_shim_dma_block_new, (struct bus_dma_tag *tag, size_t size,
    void **memory, struct bus_dmamap **map, uint64_t *address),
    (tag, size, memory, map, address), return (ENOMEM))
GATE(int, weft_shim_dma_map_new, (struct bus_dma_tag *tag,
    struct bus_dmamap **map), (tag, map), return (ENOMEM))
GATE(int, weft_shim_dma_map_load, (struct bus_dma_tag *tag,
    struct bus_dmamap *map, struct mbuf *m, struct weft_dma_segment *segments,
    int *count), (tag, map, m, segments, count), return (ENOMEM))
GATE(int, weft_shim_dma_map_load_memory, (struct bus_dma_tag *tag,
    struct bus_dmamap *map, void *memory, size_t size, uint64_t *address),
    (tag, map, memory, size, address), return (ENOMEM))
GATE(struct resource *, weft_shim_bar_new, (device_t dev, int rid,
    bool memory), (dev, rid, memory), return (NULL))
GATE(struct resource *, weft_shim_irq_new, (device_t dev, int rid), (dev, rid),
    return (NULL))
GATE(int, weft_shim_irq_set_up, (device_t dev, struct resource *irq,
    void (*handler)(void *), void *arg, const char *name, void **cookie),
    (dev, irq, handler, arg, name, cookie), return (ENOMEM))
GATE(int, weft_shim_pci_messages_new, (device_t dev, bool msix, int *count),
    (dev, msix, count), return (ENOMEM))
GATE(int, weft_shim_netmap_attach, (struct weft_netmap_adapter *adapter),
    (adapter), return (ENOMEM))

int	__real_weft_shim_driver(enum weft_driver, bool);
int	__wrap_weft_shim_driver(enum weft_driver, bool);
int
__wrap_weft_shim_driver(enum weft_driver which, bool registered)
{

	if (registered && is_shut(WEFT_GATE_weft_shim_driver))
		return (ENOMEM);
	return (__real_weft_shim_driver(which, registered));
}

int	__real_taskqueue_start_threads_cpuset(struct taskqueue **, int, int,
	    cpuset_t *, const char *, ...) __printflike(5, 6);
int	__wrap_taskqueue_start_threads_cpuset(struct taskqueue **, int, int,
	    cpuset_t *, const char *, ...) __printflike(5, 6);
int
__wrap_taskqueue_start_threads_cpuset(struct taskqueue **queue, int count,
    int priority, cpuset_t *mask, const char *format, ...)
{
	char name[MAXCOMLEN + 1];
	va_list list;

	if (is_shut(WEFT_GATE_taskqueue_start_threads_cpuset))
		return (ENOMEM);
	va_start(list, format);
	vsnprintf(name, sizeof(name), format, list);
	va_end(list);
	return (__real_taskqueue_start_threads_cpuset(queue, count, priority,
	    mask, "%s", name));
}
