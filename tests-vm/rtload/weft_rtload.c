/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * weft_rtload.ko, for tests only: puts many IPv4 routes into a FIB of the
 * writer's network stack in one system call, through the kernel's own rib_action,
 * as a routing socket does one by one.
 *
 *	net.weft_rtload.routes	write: an array of struct rtload_route
 *	net.weft_rtload.refused	read: routes that the kernel refused so far
 */
#include "opt_inet.h"
#include "opt_route.h"

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/epoch.h>
#include <sys/kernel.h>
#include <sys/module.h>
#include <sys/socket.h>
#include <sys/sysctl.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/route.h>
#include <net/route/nhop.h>
#include <net/route/route_ctl.h>
#include <net/vnet.h>

#include <netinet/in.h>

/* Addresses in network order. */
struct rtload_route {
	in_addr_t	prefix;
	in_addr_t	gateway;
	uint16_t	fib;
	uint8_t		length;		/* of the prefix, 0 to 32 */
	uint8_t		action;		/* RTM_ADD, RTM_DELETE or RTM_CHANGE */
};
_Static_assert(sizeof(struct rtload_route) == 12, "the writer's layout");

/* Routes that are taken from the writer at a time. */
#define	RTLOAD_CHUNK	64

static uint64_t rtload_refused;

static void
rtload_sockaddr(struct sockaddr_in *sin, in_addr_t address)
{

	*sin = (struct sockaddr_in) {
		.sin_len = sizeof(*sin),
		.sin_family = AF_INET,
		.sin_addr.s_addr = address,
	};
}

static int
rtload_apply(const struct rtload_route *route)
{
	struct sockaddr_in dst, mask, gateway;
	struct rib_cmd_info rc;
	struct rt_addrinfo info;
	struct epoch_tracker et;
	int error;

	if (route->length > 32 || route->fib >= rt_numfibs)
		return (EINVAL);
	rtload_sockaddr(&dst, route->prefix);
	rtload_sockaddr(&mask, route->length == 0 ? 0 :
	    htonl(0xffffffffU << (32 - route->length)));
	rtload_sockaddr(&gateway, route->gateway);
	memset(&info, 0, sizeof(info));
	info.rti_flags = RTF_UP | RTF_GATEWAY | RTF_PROTO1;
	info.rti_info[RTAX_DST] = (struct sockaddr *)&dst;
	info.rti_info[RTAX_NETMASK] = (struct sockaddr *)&mask;
	info.rti_info[RTAX_GATEWAY] = (struct sockaddr *)&gateway;
	NET_EPOCH_ENTER(et);
	error = rib_action(route->fib, route->action, &info, &rc);
	NET_EPOCH_EXIT(et);
	return (error);
}

static int
rtload_routes_handler(SYSCTL_HANDLER_ARGS)
{
	struct rtload_route chunk[RTLOAD_CHUNK];
	size_t left, take;
	int error;

	if (req->newptr == NULL)
		return (0);
	left = req->newlen - req->newidx;
	if (left % sizeof(chunk[0]) != 0)
		return (EINVAL);
	for (; left > 0; left -= take) {
		take = MIN(left, sizeof(chunk));
		error = SYSCTL_IN(req, chunk, take);
		if (error != 0)
			return (error);
		for (size_t i = 0; i < take / sizeof(chunk[0]); i++)
			if (rtload_apply(&chunk[i]) != 0)
				rtload_refused++;
	}
	return (0);
}

static SYSCTL_NODE(_net, OID_AUTO, weft_rtload, CTLFLAG_RD | CTLFLAG_MPSAFE, 0,
    "Bulk route loader for tests");
SYSCTL_PROC(_net_weft_rtload, OID_AUTO, routes,
    CTLTYPE_OPAQUE | CTLFLAG_WR | CTLFLAG_VNET | CTLFLAG_MPSAFE, NULL, 0,
    rtload_routes_handler, "S,rtload_route", "Write routes to be applied");
SYSCTL_U64(_net_weft_rtload, OID_AUTO, refused, CTLFLAG_RD, &rtload_refused, 0,
    "Routes that the kernel refused");

static int
rtload_event(module_t module __unused, int event, void *data __unused)
{

	return (event == MOD_LOAD || event == MOD_UNLOAD ? 0 : EOPNOTSUPP);
}

static moduledata_t rtload_moduledata = { "weft_rtload", rtload_event, NULL };

DECLARE_MODULE(weft_rtload, rtload_moduledata, SI_SUB_PSEUDO, SI_ORDER_ANY);
MODULE_VERSION(weft_rtload, 1);
