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

/* What the interface's network stack forwards. */
u_int
weft_shim_ifnet_forwards(if_t ifp)
{
	u_int forwards;

	CURVNET_SET_QUIET(if_getvnet(ifp));
	forwards = (V_ipforwarding ? WEFT_FORWARDS_IPV4 : 0) |
	    (V_ip6_forwarding ? WEFT_FORWARDS_IPV6 : 0);
	CURVNET_RESTORE();
	return (forwards);
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

/* The medium of a card, which settles with its peer what it does. */
static void
card_status(if_t ifp, struct ifmediareq *request)
{
	static const struct {
		uint64_t	rate;
		int		medium;
	} media[] = {
		{ IF_Mbps(10), IFM_10_T },
		{ IF_Mbps(100), IFM_100_TX },
		{ IF_Gbps(1), IFM_1000_T },
		{ IF_Gbps(10), IFM_10G_T },
		{ IF_Gbps(25), IFM_25G_SR },
		{ IF_Gbps(40), IFM_40G_SR4 },
		{ IF_Gbps(100), IFM_100G_SR4 },
	};

	request->ifm_status = IFM_AVALID;
	request->ifm_active = IFM_ETHER;
	if (if_getlinkstate(ifp) != LINK_STATE_UP) {
		request->ifm_active |= IFM_NONE;
		return;
	}
	request->ifm_status |= IFM_ACTIVE;
	for (u_int n = 0; n < nitems(media); n++)
		if (media[n].rate == if_getbaudrate(ifp))
			request->ifm_active |= media[n].medium | IFM_FDX;
}

void
weft_shim_ifmedia_init(struct ifmedia *media, bool card)
{
	int medium = IFM_ETHER | (card ? IFM_AUTO : IFM_10G_T);

	ifmedia_init(media, 0, media_change,
	    card ? card_status : media_status);
	ifmedia_add(media, medium, 0, NULL);
	ifmedia_set(media, medium);
}
