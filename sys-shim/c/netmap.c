/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmap(4) as drivers use it.  Its functions are looked up when the module is
 * loaded, so that this loads into kernels without "device netmap", too.
 */
#include "weft_shim.h"

#include <sys/eventhandler.h>
#include <sys/lock.h>
#include <sys/sx.h>

#if __has_include(<dev/netmap/netmap_kern.h>)
#include <sys/bus.h>
#include <sys/selinfo.h>
#include <machine/bus.h>
#include <net/netmap.h>
#include <dev/netmap/netmap_kern.h>

#define	SAME_PLACE(ours, our, theirs, their)				\
	_Static_assert(__offsetof(struct weft_netmap_##ours, our) ==	\
	    __offsetof(struct theirs, their), #theirs "." #their)
#define	SAME_SIZE(ours, theirs)						\
	_Static_assert(sizeof(struct weft_netmap_##ours) ==		\
	    sizeof(struct theirs), "size of " #theirs)

SAME_SIZE(slot, netmap_slot);
SAME_PLACE(slot, buffer, netmap_slot, buf_idx);
SAME_PLACE(slot, len, netmap_slot, len);
SAME_PLACE(slot, flags, netmap_slot, flags);
SAME_SIZE(buffer, lut_entry);
SAME_PLACE(buffer, physical, lut_entry, paddr);
SAME_SIZE(kring, netmap_kring);
SAME_PLACE(kring, ring, netmap_kring, ring);
SAME_PLACE(kring, current, netmap_kring, nr_hwcur);
SAME_PLACE(kring, hw_tail, netmap_kring, nr_hwtail);
SAME_PLACE(kring, head, netmap_kring, rhead);
SAME_PLACE(kring, flags, netmap_kring, nr_kflags);
SAME_PLACE(kring, mode, netmap_kring, nr_mode);
SAME_PLACE(kring, nslots, netmap_kring, nkr_num_slots);
SAME_PLACE(kring, adapter, netmap_kring, na);
SAME_PLACE(kring, number, netmap_kring, ring_id);
SAME_PLACE(kring, sync, netmap_kring, nm_sync);
SAME_SIZE(adapter, netmap_adapter);
SAME_PLACE(adapter, magic, netmap_adapter, magic);
SAME_PLACE(adapter, flags, netmap_adapter, na_flags);
SAME_PLACE(adapter, users, netmap_adapter, active_fds);
SAME_PLACE(adapter, rx_rings, netmap_adapter, num_rx_rings);
SAME_PLACE(adapter, tx_rings, netmap_adapter, num_tx_rings);
SAME_PLACE(adapter, tx_slots, netmap_adapter, num_tx_desc);
SAME_PLACE(adapter, rx_slots, netmap_adapter, num_rx_desc);
SAME_PLACE(adapter, tx, netmap_adapter, tx_rings);
SAME_PLACE(adapter, rx, netmap_adapter, rx_rings);
SAME_PLACE(adapter, transmit, netmap_adapter, if_transmit);
SAME_PLACE(adapter, input, netmap_adapter, if_input);
SAME_PLACE(adapter, ifp, netmap_adapter, ifp);
SAME_PLACE(adapter, end, netmap_adapter, nm_dtor);
SAME_PLACE(adapter, turn, netmap_adapter, nm_register);
SAME_PLACE(adapter, send, netmap_adapter, nm_txsync);
SAME_PLACE(adapter, receive, netmap_adapter, nm_rxsync);
SAME_PLACE(adapter, make_rings, netmap_adapter, nm_krings_create);
SAME_PLACE(adapter, references, netmap_adapter, na_refcount);
SAME_PLACE(adapter, buffers, netmap_adapter, na_lut.lut);
SAME_PLACE(adapter, nbuffers, netmap_adapter, na_lut.objtotal);
SAME_PLACE(adapter, buffer_size, netmap_adapter, na_lut.objsize);
SAME_PLACE(adapter, rx_most, netmap_adapter, rx_buf_maxsize);
SAME_PLACE(adapter, name, netmap_adapter, name);
_Static_assert(WEFT_NETMAP_MAGIC == NETMAP_MAGIC &&
    WEFT_NETMAP_NATIVE == NAF_NATIVE && WEFT_NETMAP_ON == NAF_NETMAP_ON &&
    WEFT_NETMAP_RING_ON == NKR_NETMAP_ON &&
    WEFT_NETMAP_NO_INTR == NKR_NOINTR &&
    WEFT_NETMAP_CHANGED == NS_BUF_CHANGED &&
    WEFT_NETMAP_FIRST == __offsetof(struct netmap_ring, slot),
    "netmap(4)'s constants");
#endif

static struct {
	int	(*attach)(struct weft_netmap_adapter *);
	void	(*detach)(if_t);
	int	(*interrupt)(if_t, u_int, u_int *);
	void	(*enter)(struct weft_netmap_adapter *);
	void	(*leave)(struct weft_netmap_adapter *);
	void	(*commit)(struct weft_netmap_adapter *, int);
	int	(*reset)(struct weft_netmap_kring *);
	if_transmit_fn_t transmit;
	void	*make_rings;
	struct sx *lock;
	/* How adapters end, by whether they are native; see detach. */
	void	(*end[2])(struct weft_netmap_adapter *);
	u_int	outlived;
} netmap;

/*
 * Finds the functions below.  Whether the kernel has netmap(4) built in: as a
 * module it could go.
 */
bool
weft_shim_netmap_find(void)
{
#define	FIND(name)							\
	(void *)linker_file_lookup_symbol(linker_kernel_file, name, 0)

	netmap.attach = FIND("netmap_attach");
	netmap.detach = FIND("netmap_detach");
	netmap.interrupt = FIND("netmap_rx_irq");
	netmap.enter = FIND("nm_set_native_flags");
	netmap.leave = FIND("nm_clear_native_flags");
	netmap.commit = FIND("netmap_krings_mode_commit");
	netmap.reset = FIND("netmap_ring_reinit");
	netmap.transmit = FIND("netmap_transmit");
	netmap.make_rings = FIND("netmap_hw_krings_create");
	netmap.lock = FIND("netmap_global_lock");
#undef FIND
	return (netmap.attach != NULL && netmap.detach != NULL &&
	    netmap.interrupt != NULL && netmap.enter != NULL &&
	    netmap.leave != NULL && netmap.commit != NULL &&
	    netmap.reset != NULL && netmap.transmit != NULL &&
	    netmap.make_rings != NULL && netmap.lock != NULL);
}

/* Whether that makes the rings of drivers that do not make their own. */
bool
weft_shim_netmap_is_maker(const void *function)
{

	return (function == netmap.make_rings);
}

/* Sleeps. */
int
weft_shim_netmap_attach(struct weft_netmap_adapter *adapter)
{

	return (netmap.attach(adapter));
}

static bool
is_native(const struct weft_netmap_adapter *adapter)
{

	return ((adapter->flags & WEFT_NETMAP_NATIVE) != 0);
}

/* Nobody has the adapter any more.  With netmap's lock held. */
static void
ended(struct weft_netmap_adapter *adapter)
{
	if_t ifp = adapter->ifp;

	adapter->end = netmap.end[is_native(adapter)];
	adapter->end(adapter);
	if_rele(ifp);
	netmap.outlived--;
}

/*
 * Waits until nobody is in the adapter's functions.  Sleeps.
 *
 * A program may have rings still, of the adapter that is detached or of the one
 * by which netmap emulates it.  As the last one closes them, netmap gives back its
 * reference to the interface first and then writes there that it has no adapter.
 * So the adapter has a reference of its own until then.
 */
void
weft_shim_netmap_detach(if_t ifp)
{
	struct weft_netmap_adapter *adapter;
	bool native;

	sx_xlock(netmap.lock);
	adapter = (struct weft_netmap_adapter *)if_getnetmapadapter(ifp);
	if (adapter != NULL && adapter->ifp == ifp && adapter->end != ended) {
		native = is_native(adapter);
		netmap.end[native] = adapter->end;
		adapter->end = ended;
		netmap.outlived++;
		if_ref(ifp);
	}
	sx_xunlock(netmap.lock);
	netmap.detach(ifp);
}

/*
 * How many adapters outlive their interfaces, with a function of the module's to
 * be called.  Once it says none, and no interface is left, none will be, nor is
 * anybody in that function.  Sleeps.
 */
u_int
weft_shim_netmap_outlived(void)
{
	u_int count;

	if (netmap.lock == NULL)
		return (0);
	sx_xlock(netmap.lock);
	count = netmap.outlived;
	sx_xunlock(netmap.lock);
	return (count);
}

/* Tells who waits for a ring. */
void
weft_shim_netmap_notify(if_t ifp, u_int number, bool has_received)
{
	u_int work;

	(void)netmap.interrupt(ifp, number, has_received ? &work : NULL);
}

/* Has rings be in the mode that they are to be in. */
void
weft_shim_netmap_commit(struct weft_netmap_adapter *adapter, bool on)
{

	if (on)
		netmap.enter(adapter);
	else
		netmap.leave(adapter);
	netmap.commit(adapter, on);
}

/* For a ring in which nonsense was found. */
int
weft_shim_netmap_reset(struct weft_netmap_kring *ring)
{

	return (netmap.reset(ring));
}

/* Has netmap get what the stack sends, or not. */
void
weft_shim_netmap_intercept(struct weft_netmap_adapter *adapter, bool on)
{

	if_settransmitfn(adapter->ifp,
	    on ? netmap.transmit : adapter->transmit);
}

/*
 * Has functions called before an interface departs, as netmap lets programs go
 * then, and after one has arrived.
 */
bool
weft_shim_netmap_watch(void (*departs)(void *, if_t),
    void (*arrives)(void *, if_t), void *context,
    struct eventhandler_entry **tags)
{

	tags[0] = EVENTHANDLER_REGISTER(ifnet_departure_event, departs,
	    context, EVENTHANDLER_PRI_FIRST);
	tags[1] = EVENTHANDLER_REGISTER(ifnet_arrival_event, arrives, context,
	    EVENTHANDLER_PRI_LAST);
	return (tags[0] != NULL && tags[1] != NULL);
}

/* Ends that, and waits until none is in them. */
void
weft_shim_netmap_unwatch(struct eventhandler_entry **tags)
{

	if (tags[0] != NULL)
		EVENTHANDLER_DEREGISTER(ifnet_departure_event, tags[0]);
	if (tags[1] != NULL)
		EVENTHANDLER_DEREGISTER(ifnet_arrival_event, tags[1]);
}
