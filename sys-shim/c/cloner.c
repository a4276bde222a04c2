/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cloner of wpair(4), one in each network stack, as those of vlan(4) and
 * epair(4).  It comes after the module's own load, which is at SI_SUB_PSEUDO, if
 * that did not fail, and with each network stack that is made later.  It goes with its network stack, when
 * the protocols have left that, and takes along what was created by it.
 */
#include "weft_shim.h"

#include <sys/sx.h>

VNET_DEFINE_STATIC(struct if_clone *, weft_pair_cloner);

static void
weft_pair_cloner_attach(const void *unused __unused)
{
	struct if_clone_addreq request = {
		.match_f = weft_pair_match,
		.create_f = weft_pair_create,
		.destroy_f = weft_pair_destroy,
	};

	if (VNET(weft_pair_cloner) == NULL && weft_pair_is_open())
		VNET(weft_pair_cloner) = ifc_attach_cloner(WEFT_PAIR,
		    &request);
}
VNET_SYSINIT(weft_pair_cloner_attach, SI_SUB_PROTO_IF, SI_ORDER_ANY,
    weft_pair_cloner_attach, NULL);

static void
weft_pair_cloner_detach(const void *unused __unused)
{

	if (VNET(weft_pair_cloner) != NULL)
		ifc_detach_cloner(VNET(weft_pair_cloner));
	VNET(weft_pair_cloner) = NULL;
}
VNET_SYSUNINIT(weft_pair_cloner_detach, SI_SUB_INIT_IF, SI_ORDER_ANY,
    weft_pair_cloner_detach, NULL);

/*
 * Attaches or detaches the cloner in each network stack that is there.  Before the
 * module goes its cloners are detached by this, and not by VNET_SYSUNINIT, which
 * has the list of network stacks locked before ifnet_detach_sxlock, in the other
 * order than a network stack that goes.
 */
void
weft_shim_pair_cloners(bool attached)
{
	VNET_ITERATOR_DECL(vnet);

	sx_xlock(&ifnet_detach_sxlock);
	VNET_LIST_RLOCK();
	VNET_FOREACH(vnet) {
		CURVNET_SET_QUIET(vnet);
		if (attached)
			weft_pair_cloner_attach(NULL);
		else
			weft_pair_cloner_detach(NULL);
		CURVNET_RESTORE();
	}
	VNET_LIST_RUNLOCK();
	sx_xunlock(&ifnet_detach_sxlock);
}
