/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cloners of wpair(4) and wip(4), each in each network stack, as those of
 * vlan(4) and epair(4).  They come after the module's own load, which is at
 * SI_SUB_PSEUDO, if that did not fail, and with each network stack that is made
 * later.  They go with their network stack, when the protocols have left that, and
 * take along what was created by them.
 */
#include "weft_shim.h"

#include <sys/sx.h>

struct cloners {
	struct if_clone	*place[WEFT_CLONERS];
};
VNET_DEFINE_STATIC(struct cloners, weft_cloners);

static const struct {
	const char	*name;
	bool		(*is_open)(void);
	ifc_match_f	*match;
	ifc_create_f	*create;
	ifc_destroy_f	*destroy;
} kinds[WEFT_CLONERS] = {
	[WEFT_CLONER_PAIR] = { WEFT_PAIR, weft_pair_is_open, weft_pair_match,
	    weft_pair_create, weft_pair_destroy },
	[WEFT_CLONER_L3] = { WEFT_L3, weft_l3_is_open, weft_l3_match,
	    weft_l3_create, weft_l3_destroy },
};

static void
attach(enum weft_cloner kind)
{
	struct if_clone **place = &VNET(weft_cloners).place[kind];
	struct if_clone_addreq request = {
		.match_f = kinds[kind].match,
		.create_f = kinds[kind].create,
		.destroy_f = kinds[kind].destroy,
	};

	if (*place == NULL && kinds[kind].is_open())
		*place = ifc_attach_cloner(kinds[kind].name, &request);
}

static void
detach(enum weft_cloner kind)
{
	struct if_clone **place = &VNET(weft_cloners).place[kind];

	if (*place != NULL)
		ifc_detach_cloner(*place);
	*place = NULL;
}

static void
weft_cloners_attach(const void *unused __unused)
{

	for (u_int kind = 0; kind < WEFT_CLONERS; kind++)
		attach(kind);
}
VNET_SYSINIT(weft_cloners_attach, SI_SUB_PROTO_IF, SI_ORDER_ANY,
    weft_cloners_attach, NULL);

static void
weft_cloners_detach(const void *unused __unused)
{

	/* What is on top of other interfaces goes before them. */
	for (u_int kind = WEFT_CLONERS; kind-- > 0;)
		detach(kind);
}
VNET_SYSUNINIT(weft_cloners_detach, SI_SUB_INIT_IF, SI_ORDER_ANY,
    weft_cloners_detach, NULL);

/*
 * Attaches or detaches a cloner in each network stack that is there.  Before the
 * module goes its cloners are detached by this, and not by VNET_SYSUNINIT, which
 * has the list of network stacks locked before ifnet_detach_sxlock, in the other
 * order than a network stack that goes.
 */
void
weft_shim_cloners(enum weft_cloner kind, bool attached)
{
	VNET_ITERATOR_DECL(vnet);

	sx_xlock(&ifnet_detach_sxlock);
	VNET_LIST_RLOCK();
	VNET_FOREACH(vnet) {
		CURVNET_SET_QUIET(vnet);
		if (attached)
			attach(kind);
		else
			detach(kind);
		CURVNET_RESTORE();
	}
	VNET_LIST_RUNLOCK();
	sx_xunlock(&ifnet_detach_sxlock);
}
