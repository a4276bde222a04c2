/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tells when a network stack comes and goes whose packets can be filtered.  They come
 * after the module's own load, if that did not fail, and go before the protocols do.
 */
#include "weft_shim.h"

static void
weft_filters_attach(const void *unused __unused)
{

	weft_filter_attach();
}
VNET_SYSINIT(weft_filters_attach, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY,
    weft_filters_attach, NULL);

static void
weft_filters_detach(const void *unused __unused)
{

	weft_filter_detach();
}
VNET_SYSUNINIT(weft_filters_detach, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY,
    weft_filters_detach, NULL);

/* Says it of all network stacks that are there.  May sleep. */
void
weft_shim_filters(bool attached)
{
	VNET_ITERATOR_DECL(vnet);

	VNET_LIST_RLOCK();
	VNET_FOREACH(vnet) {
		CURVNET_SET_QUIET(vnet);
		if (attached)
			weft_filter_attach();
		else
			weft_filter_detach();
		CURVNET_RESTORE();
	}
	VNET_LIST_RUNLOCK();
}
