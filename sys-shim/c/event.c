/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's events, EVENTHANDLER(9). */
#include "weft_shim.h"

#include <sys/eventhandler.h>

struct eventhandler_entry *
weft_shim_lowmem_register(void (*func)(void *, int), void *context)
{

	return (EVENTHANDLER_REGISTER(vm_lowmem, func, context,
	    EVENTHANDLER_PRI_ANY));
}

/* Waits until the handler does not run. */
void
weft_shim_lowmem_deregister(struct eventhandler_entry *tag)
{

	EVENTHANDLER_DEREGISTER(vm_lowmem, tag);
}
