/* SPDX-License-Identifier: BSD-2-Clause */
/* What an interface on top of another one must know of both, and do with them. */
#include "weft_shim.h"

#include <net/if_dl.h>

#include <netinet6/in6_var.h>
#include <netinet6/nd6.h>
#include <netinet6/scope6_var.h>

/* Of FreeBSD 15.1; older headers lack them. */
#define	STABLE_ADDRESSES	0x800
bool	in6_get_stableifid(struct ifnet *, struct in6_addr *, int);

struct list {
	void	*place;
	u_int	 room;
};

static u_int
put_address(void *context, struct ifaddr *ifa, u_int count)
{
	struct list *list = context;
	struct weft_address *address;

	if (count >= list->room)
		return (1);
	address = (struct weft_address *)list->place + count;
	if (ifa->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sin6;

		sin6 = (const struct sockaddr_in6 *)ifa->ifa_addr;
		memcpy(address->bytes, &sin6->sin6_addr, 16);
		/* The kernel keeps the zone of such an address in it. */
		if (IN6_IS_SCOPE_LINKLOCAL(&sin6->sin6_addr))
			address->bytes[2] = address->bytes[3] = 0;
		address->is_inet6 = 1;
	} else {
		const struct sockaddr_in *sin;

		sin = (const struct sockaddr_in *)ifa->ifa_addr;
		memcpy(address->bytes, &sin->sin_addr, 4);
		address->is_inet6 = 0;
	}
	return (1);
}

/*
 * The addresses of an interface, of both families, as far as there is room.  How
 * many there are.
 */
u_int
weft_shim_ifnet_addresses(if_t ifp, struct weft_address *place, u_int room)
{
	struct list inet = { .place = place, .room = room };
	u_int count;

	count = if_foreach_addr_type(ifp, AF_INET, put_address, &inet);
	struct list inet6 = {
		.place = place + MIN(count, room),
		.room = room - MIN(count, room),
	};
	return (count + if_foreach_addr_type(ifp, AF_INET6, put_address,
	    &inet6));
}

static u_int
put_group(void *context, struct sockaddr_dl *sdl, u_int count)
{
	struct list *list = context;

	if (count < list->room && sdl->sdl_alen == ETHER_ADDR_LEN)
		memcpy((char *)list->place + count * ETHER_ADDR_LEN,
		    LLADDR(sdl), ETHER_ADDR_LEN);
	return (1);
}

/* The groups that it has joined, by hardware address, likewise. */
u_int
weft_shim_ifnet_groups(if_t ifp, void *place, u_int room)
{
	struct list list = { .place = place, .room = room };

	return (if_foreach_llmaddr(ifp, put_group, &list));
}

/* The hardware address of an interface that is attached. */
void
weft_shim_ifnet_mac(if_t ifp, void *place)
{

	memcpy(place, if_getlladdr(ifp), ETHER_ADDR_LEN);
}

/* Sleeps. */
int
weft_shim_ifnet_set_mac(if_t ifp, const void *mac)
{
	int error;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	error = if_setlladdr(ifp, mac, ETHER_ADDR_LEN);
	CURVNET_RESTORE();
	return (error);
}

/* Tells the protocols, too.  Sleeps. */
void
weft_shim_ifnet_set_mtu(if_t ifp, int mtu)
{

	CURVNET_SET_QUIET(if_getvnet(ifp));
	if_setmtu(ifp, mtu);
	if_notifymtu(ifp);
	CURVNET_RESTORE();
}

/* Sends a frame in the way of the interface's own.  In the net epoch. */
int
weft_shim_ifnet_send(if_t ifp, struct mbuf *m)
{
	int error;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	error = if_transmit(ifp, m);
	CURVNET_RESTORE();
	return (error);
}

/* Has the interface receive all groups' frames, or ends that.  Sleeps. */
int
weft_shim_ifnet_all_groups(if_t ifp, bool on)
{
	int error;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	error = if_allmulti(ifp, on);
	CURVNET_RESTORE();
	return (error);
}

/*
 * Has the interface form IPv6 addresses by RFC 7217, after its name and the host,
 * since its hardware address is not its own.  Sleeps.
 */
void
weft_shim_ifnet_opaque_addresses(if_t ifp)
{
	struct in6_ndireq request;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	memset(&request, 0, sizeof(request));
	if (nd6_ioctl(SIOCGIFINFO_IN6, (caddr_t)&request, ifp) == 0) {
		request.ndi.flags |= STABLE_ADDRESSES;
		(void)nd6_ioctl(SIOCSIFINFO_FLAGS, (caddr_t)&request, ifp);
	}
	CURVNET_RESTORE();
}

static bool
wants_link_local(if_t ifp)
{
	struct epoch_tracker tracker;
	struct in6_ndireq request;
	struct in6_ifaddr *ia;

	memset(&request, 0, sizeof(request));
	if (nd6_ioctl(SIOCGIFINFO_IN6, (caddr_t)&request, ifp) != 0 ||
	    (request.ndi.flags & ND6_IFF_AUTO_LINKLOCAL) == 0)
		return (false);
	NET_EPOCH_ENTER(tracker);
	ia = in6ifa_ifpforlinklocal(ifp, 0);
	NET_EPOCH_EXIT(tracker);
	if (ia != NULL)
		ifa_free(&ia->ia_ifa);
	return (ia == NULL);
}

/*
 * Gives the interface a link-local address formed in that way, if it is to have one
 * and has none: the kernel forms that one of the hardware address, whatever the
 * interface's flags say.  Sleeps.
 */
void
weft_shim_ifnet_link_local(if_t ifp)
{
	struct epoch_tracker tracker;
	struct in6_aliasreq request;
	struct in6_addr *address = &request.ifra_addr.sin6_addr;
	bool formed;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	if (wants_link_local(ifp)) {
		in6_prepare_ifra(&request, NULL, &in6mask64);
		address->s6_addr32[0] = htonl(0xfe800000);
		request.ifra_lifetime.ia6t_vltime = ND6_INFINITE_LIFETIME;
		request.ifra_lifetime.ia6t_pltime = ND6_INFINITE_LIFETIME;
		NET_EPOCH_ENTER(tracker);
		formed = in6_get_stableifid(ifp, address, 64) &&
		    in6_setscope(address, ifp, NULL) == 0;
		NET_EPOCH_EXIT(tracker);
		if (formed)
			(void)in6_addifaddr(ifp, &request, NULL);
	}
	CURVNET_RESTORE();
}

/* Makes another network stack current; which one was. */
struct vnet *
weft_shim_vnet_switch(struct vnet *vnet)
{
	struct vnet *before = NULL;

#ifdef VIMAGE
	before = curvnet;
	curvnet = vnet;
#endif
	return (before);
}
