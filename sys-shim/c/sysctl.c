/* SPDX-License-Identifier: BSD-2-Clause */
/* sysctl(9): the parents to hang OIDs from. */
#include "weft_shim.h"

SYSCTL_DECL(_net);
SYSCTL_DECL(_hw);

struct sysctl_oid_list *
weft_shim_sysctl_net(void)
{

	return (SYSCTL_STATIC_CHILDREN(_net));
}

struct sysctl_oid_list *
weft_shim_sysctl_hw(void)
{

	return (SYSCTL_STATIC_CHILDREN(_hw));
}

struct sysctl_oid_list *
weft_shim_sysctl_children(struct sysctl_oid *oid)
{

	return (SYSCTL_CHILDREN(oid));
}

bool
weft_shim_sysctl_is_write(const struct sysctl_req *req)
{

	return (req->newptr != NULL);
}

int
weft_shim_sysctl_out(struct sysctl_req *req, const void *data, size_t len)
{

	return (SYSCTL_OUT(req, data, len));
}

/*
 * The argument that the OID was added with.  What a handler is given is something
 * else if the OID is one of each network stack's (CTLFLAG_VNET).
 */
void *
weft_shim_sysctl_subject(const struct sysctl_oid *oid)
{

	return (oid->oid_arg1);
}
