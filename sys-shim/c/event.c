/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's events, EVENTHANDLER(9). */
#include "weft_shim.h"

#include <sys/eventhandler.h>
#include <net/if_vlan_var.h>

struct eventhandler_entry *
weft_shim_lowmem_register(void (*func)(void *, int), void *context)
{

	return (EVENTHANDLER_REGISTER(vm_lowmem, func, context,
	    EVENTHANDLER_PRI_ANY));
}

/* Waits until the handler does not run. */
void
weft_shim_lowmem_deregister(struct eventhandler_entry *tag)
{

	EVENTHANDLER_DEREGISTER(vm_lowmem, tag);
}

static void
arrived(void *context __unused, if_t ifp)
{

	if ((if_getflags(ifp) & IFF_RENAMING) == 0)
		weft_interface_event(ifp, WEFT_EVENT_ARRIVED);
}

/* One that gets another name departs and arrives, and is there meanwhile. */
static void
departed(void *context __unused, if_t ifp)
{

	if ((if_getflags(ifp) & IFF_RENAMING) == 0)
		weft_interface_event(ifp, WEFT_EVENT_DEPARTED);
}

static void
changed(void *context __unused, if_t ifp, int event)
{

	if (event == IFNET_EVENT_UP)
		weft_interface_event(ifp, WEFT_EVENT_UP);
}

static void
address_changed(void *context __unused, if_t ifp, struct ifaddr *ifa __unused,
    int event __unused)
{

	weft_interface_event(ifp, WEFT_EVENT_ADDRESS);
}

static void
mac_changed(void *context __unused, if_t ifp)
{

	weft_interface_event(ifp, WEFT_EVENT_MAC);
}

static void
link_changed(void *context __unused, if_t ifp, int state __unused)
{

	weft_interface_event(ifp, WEFT_EVENT_LINK);
}

/* Has Rust told what happens to interfaces.  Whether there was memory. */
bool
weft_shim_interfaces_watch(struct eventhandler_entry **tags)
{

	tags[WEFT_EVENT_ARRIVED] = EVENTHANDLER_REGISTER(ifnet_arrival_event,
	    arrived, NULL, EVENTHANDLER_PRI_ANY);
	tags[WEFT_EVENT_DEPARTED] = EVENTHANDLER_REGISTER(
	    ifnet_departure_event, departed, NULL, EVENTHANDLER_PRI_ANY);
	/* Before IPv6, which gives it an address. */
	tags[WEFT_EVENT_UP] = EVENTHANDLER_REGISTER(ifnet_event, changed, NULL,
	    EVENTHANDLER_PRI_FIRST);
	tags[WEFT_EVENT_ADDRESS] = EVENTHANDLER_REGISTER(ifaddr_event_ext,
	    address_changed, NULL, EVENTHANDLER_PRI_ANY);
	tags[WEFT_EVENT_MAC] = EVENTHANDLER_REGISTER(iflladdr_event,
	    mac_changed, NULL, EVENTHANDLER_PRI_ANY);
	tags[WEFT_EVENT_LINK] = EVENTHANDLER_REGISTER(ifnet_link_event,
	    link_changed, NULL, EVENTHANDLER_PRI_ANY);
	for (u_int n = 0; n < WEFT_EVENTS; n++)
		if (tags[n] == NULL)
			return (false);
	return (true);
}

/* Ends that, and waits until Rust is not in it. */
void
weft_shim_interfaces_unwatch(struct eventhandler_entry **tags)
{

	if (tags[WEFT_EVENT_ARRIVED] != NULL)
		EVENTHANDLER_DEREGISTER(ifnet_arrival_event,
		    tags[WEFT_EVENT_ARRIVED]);
	if (tags[WEFT_EVENT_DEPARTED] != NULL)
		EVENTHANDLER_DEREGISTER(ifnet_departure_event,
		    tags[WEFT_EVENT_DEPARTED]);
	if (tags[WEFT_EVENT_UP] != NULL)
		EVENTHANDLER_DEREGISTER(ifnet_event, tags[WEFT_EVENT_UP]);
	if (tags[WEFT_EVENT_ADDRESS] != NULL)
		EVENTHANDLER_DEREGISTER(ifaddr_event_ext,
		    tags[WEFT_EVENT_ADDRESS]);
	if (tags[WEFT_EVENT_MAC] != NULL)
		EVENTHANDLER_DEREGISTER(iflladdr_event, tags[WEFT_EVENT_MAC]);
	if (tags[WEFT_EVENT_LINK] != NULL)
		EVENTHANDLER_DEREGISTER(ifnet_link_event,
		    tags[WEFT_EVENT_LINK]);
}

/* Has functions told of VLANs of any interface that come and go.  Whether there was memory. */
bool
weft_shim_vlans_watch(struct weft_vlans *tags, weft_vlan_event come,
    weft_vlan_event go, void *context)
{

	tags->come = EVENTHANDLER_REGISTER(vlan_config, come, context,
	    EVENTHANDLER_PRI_ANY);
	tags->go = EVENTHANDLER_REGISTER(vlan_unconfig, go, context,
	    EVENTHANDLER_PRI_ANY);
	return (tags->come != NULL && tags->go != NULL);
}

/* Ends that, and waits until they do not run. */
void
weft_shim_vlans_unwatch(const struct weft_vlans *tags)
{

	if (tags->come != NULL)
		EVENTHANDLER_DEREGISTER(vlan_config, tags->come);
	if (tags->go != NULL)
		EVENTHANDLER_DEREGISTER(vlan_unconfig, tags->go);
}
