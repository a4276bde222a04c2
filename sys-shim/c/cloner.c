/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cloner of wpair(4), one in each network stack, as those of vlan(4) and
 * epair(4).  It comes after the module's own load, which is at SI_SUB_PSEUDO, and
 * with each network stack that is made later.  It goes with its network stack, when
 * the protocols have left that, and takes along what was created by it.
 */
#include "weft_shim.h"

/* Not static, so that the linker can be told to take this file. */
VNET_DEFINE(struct if_clone *, weft_pair_cloner);

static void
weft_pair_cloner_attach(const void *unused __unused)
{
	struct if_clone_addreq request = {
		.match_f = weft_pair_match,
		.create_f = weft_pair_create,
		.destroy_f = weft_pair_destroy,
	};

	VNET(weft_pair_cloner) = ifc_attach_cloner(WEFT_PAIR, &request);
}
VNET_SYSINIT(weft_pair_cloner_attach, SI_SUB_PROTO_IF, SI_ORDER_ANY,
    weft_pair_cloner_attach, NULL);

static void
weft_pair_cloner_detach(const void *unused __unused)
{

	ifc_detach_cloner(VNET(weft_pair_cloner));
}
VNET_SYSUNINIT(weft_pair_cloner_detach, SI_SUB_INIT_IF, SI_ORDER_ANY,
    weft_pair_cloner_detach, NULL);
