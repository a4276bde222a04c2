/* SPDX-License-Identifier: BSD-2-Clause */
/* Next hops: what tells one from another. */
#include "weft_shim.h"

/* What the kernel compares of a nexthop's data (NHOP_END_CMP) is whole words. */
_Static_assert(NHOP_END_CMP % sizeof(uint64_t) == 0, "padding");
_Static_assert(NHOP_END_CMP / sizeof(uint64_t) + 2 == WEFT_NHOP_WORDS, "words");

/*
 * All that the kernel compares when it looks whether it has such a nexthop
 * already (cmp_priv() in net/route/nhop_ctl.c), as WEFT_NHOP_WORDS words.  The
 * caller has a reference, or is in the network epoch.
 */
void
weft_shim_nhop_words(const struct nhop_object *nh, uint64_t *words)
{
	const size_t data = NHOP_END_CMP / sizeof(uint64_t);

	memcpy(words, nh, NHOP_END_CMP);
	words[data] = (uint32_t)nhop_get_rtflags(nh) |
	    (uint64_t)(uint8_t)nhop_get_upper_family(nh) << 32 |
	    (uint64_t)(uint8_t)nhop_get_neigh_family(nh) << 40 |
	    (uint64_t)(uint16_t)nhop_get_type(nh) << 48;
	words[data + 1] = nhop_get_expire(nh) |
	    (uint64_t)nhop_get_uidx(nh) << 32;
}

/* The members of a nexthop group and how many; NULL if it is a nexthop. */
const struct weightened_nhop *
weft_shim_nhop_members(const struct nhop_object *nh, uint32_t *count)
{

	if (!NH_IS_NHGRP(nh))
		return (NULL);
	return (nhgrp_get_nhops((const struct nhgrp_object *)nh, count));
}

/* The index that userland gave to a nexthop group, or 0. */
uint32_t
weft_shim_nhop_group_uidx(const struct nhop_object *nh)
{

	return (nhgrp_get_uidx((const struct nhgrp_object *)nh));
}
