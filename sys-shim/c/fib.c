/* SPDX-License-Identifier: BSD-2-Clause */
/* Route tables: the lookup algorithm of a FIB, and the RIB behind it. */
#include "weft_shim.h"

/* How many FIBs curvnet has. */
u_int
weft_shim_numfibs(void)
{

	return (rt_numfibs);
}

/*
 * The lookup function of an IPv4 FIB and its argument.  The caller is in the
 * network epoch, for which the argument is valid, and has seen that there is
 * such a FIB.
 */
void
weft_shim_fib4_datapath(u_int fibnum, struct fib_dp *dp)
{

	*dp = V_inet_dp[fibnum];
}

/* What the RIB answers.  The caller holds its lock. */
struct nhop_object *
weft_shim_rib4_match(struct rib_head *rh, in_addr_t dst)
{
	struct sockaddr_in sin = {
		.sin_len = sizeof(sin),
		.sin_family = AF_INET,
		.sin_addr.s_addr = dst,
	};
	struct radix_node *rn;

	rn = rh->rnh_matchaddr(&sin, &rh->head);
	if (rn == NULL || (rn->rn_flags & RNF_ROOT) != 0)
		return (NULL);
	return (rt_get_raw_nhop(RNTORT(rn)));
}

void
weft_shim_rib_rlock(struct rib_head *rh, struct rm_priotracker *tracker)
{

	rm_rlock(&rh->rib_lock, tracker);
}

void
weft_shim_rib_runlock(struct rib_head *rh, struct rm_priotracker *tracker)
{

	rm_runlock(&rh->rib_lock, tracker);
}

/* How many changes of the RIB its algorithm has not had yet. */
u_int
weft_shim_rib_behind(const struct rib_head *rh)
{

	return (rh->rnh_gen_rib - rh->rnh_gen);
}

u_int
weft_shim_rib_prefixes(const struct rib_head *rh)
{

	return (rh->rnh_prefixes);
}
