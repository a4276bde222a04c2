/* SPDX-License-Identifier: BSD-2-Clause */
/* Jails, jail(9). */
#include "weft_shim.h"

#include <sys/jail.h>
#include <sys/ucred.h>

/* The jail of the current thread; that of the host is 0. */
int
weft_shim_jail_id(void)
{

	return (curthread->td_ucred->cr_prison->pr_id);
}
