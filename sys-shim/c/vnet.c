/* SPDX-License-Identifier: BSD-2-Clause */
/* What the module keeps for each network stack, vnet(9). */
#include "weft_shim.h"

VNET_DEFINE_STATIC(struct weft_vnet, weft_vnet);

/* The state of curvnet, which must be set. */
struct weft_vnet *
weft_shim_vnet_state(void)
{

	return (&VNET(weft_vnet));
}

/* Whether curvnet is set. */
bool
weft_shim_in_vnet(void)
{
#ifdef VIMAGE

	return (curvnet != NULL);
#else

	return (true);
#endif
}

/* What tells curvnet from other network stacks. */
const void *
weft_shim_curvnet(void)
{
#ifdef VIMAGE

	return (curvnet);
#else

	return (NULL);
#endif
}
