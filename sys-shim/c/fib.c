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

/* As weft_shim_fib4_datapath(), of an IPv6 FIB. */
void
weft_shim_fib6_datapath(u_int fibnum, struct fib_dp *dp)
{

	*dp = V_inet6_dp[fibnum];
}

/*
 * The route that the RIB has for an address, which is a socket address of the
 * RIB's family; NULL if it has none.  The caller holds its lock.
 */
struct rtentry *
weft_shim_rib_match(struct rib_head *rh, void *address)
{
	struct radix_node *rn;

	rn = rh->rnh_matchaddr(address, &rh->head);
	if (rn == NULL || (rn->rn_flags & RNF_ROOT) != 0)
		return (NULL);
	return (RNTORT(rn));
}

/*
 * The longest route that begins at the same address as this one and is shorter
 * than it; NULL if there is none.  The caller holds the RIB's lock.
 */
struct rtentry *
weft_shim_rib_wider(struct rtentry *rt)
{

	return ((struct rtentry *)rn_nextprefix((struct radix_node *)rt));
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
