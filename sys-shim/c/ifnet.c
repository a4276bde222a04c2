/* SPDX-License-Identifier: BSD-2-Clause */
/* Interfaces, ifnet(9): what is a macro there, or looks into requests. */
#include "weft_shim.h"

#include <net/bpf.h>

/* Hands packets that are linked by m_nextpkt to the stack.  In the net epoch. */
void
weft_shim_ifnet_input(if_t ifp, struct mbuf *m)
{

	CURVNET_SET_QUIET(if_getvnet(ifp));
	if_input(ifp, m);
	CURVNET_RESTORE();
}

/* Shows a packet to bpf(4), its VLAN tag included.  In the net epoch. */
void
weft_shim_ifnet_tap(if_t ifp, struct mbuf *m)
{

	ETHER_BPF_MTAP(ifp, m);
}

/* Whether the administrator and the driver have it going. */
bool
weft_shim_ifnet_is_going(const if_t ifp)
{

	return ((if_getflags(ifp) & IFF_UP) != 0 &&
	    (if_getdrvflags(ifp) & IFF_DRV_RUNNING) != 0);
}

/*
 * Whether a packet for that address, when the interface has received it, is sent
 * on by nothing in its network stack: no filter can have other plans for it, no
 * netgraph(4) node either, and its address is one of that stack's, or the stack
 * does not forward.  In the net epoch.
 */
bool
weft_shim_ifnet_keeps(if_t ifp, struct in_addr address)
{
	bool keeps;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	keeps = if_getl2com(ifp) == NULL &&
	    !PFIL_HOOKED_IN(V_inet_pfil_head) &&
	    (!V_ipforwarding || in_localip(address));
	CURVNET_RESTORE();
	return (keeps);
}

bool
weft_shim_ifnet_keeps6(if_t ifp, struct in6_addr address)
{
	bool keeps;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	keeps = if_getl2com(ifp) == NULL &&
	    !PFIL_HOOKED_IN(V_inet6_pfil_head) &&
	    (!V_ip6_forwarding || in6_localip(&address));
	CURVNET_RESTORE();
	return (keeps);
}

/* Takes an interface off a cloner's list, in the interface's network stack. */
int
weft_shim_ifnet_unlist(struct if_clone *ifc, if_t ifp)
{
	int error;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	error = if_clone_destroyif(ifc, ifp);
	CURVNET_RESTORE();
	return (error);
}

int
weft_shim_ifreq_mtu(const void *data)
{

	return (((const struct ifreq *)data)->ifr_mtu);
}

int
weft_shim_ifreq_reqcap(const void *data)
{

	return (((const struct ifreq *)data)->ifr_reqcap);
}

/* The one medium of a link without hardware. */
static int
media_change(if_t ifp __unused)
{

	return (0);
}

static void
media_status(if_t ifp, struct ifmediareq *request)
{

	request->ifm_active = IFM_ETHER | IFM_10G_T | IFM_FDX;
	request->ifm_status = IFM_AVALID;
	if (if_getlinkstate(ifp) == LINK_STATE_UP)
		request->ifm_status |= IFM_ACTIVE;
}

void
weft_shim_ifmedia_init(struct ifmedia *media)
{

	ifmedia_init(media, 0, media_change, media_status);
	ifmedia_add(media, IFM_ETHER | IFM_10G_T, 0, NULL);
	ifmedia_set(media, IFM_ETHER | IFM_10G_T);
}
