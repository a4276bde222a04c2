/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters with a place for each CPU, counter(9). */
#include "weft_shim.h"

#include <sys/counter.h>

/* Does not sleep; NULL if there is no memory. */
uint64_t *
weft_shim_counter_new(void)
{

	return (counter_u64_alloc(M_NOWAIT));
}

void
weft_shim_counter_free(uint64_t *counter)
{

	counter_u64_free(counter);
}

void
weft_shim_counter_add(uint64_t *counter, uint64_t more)
{

	counter_u64_add(counter, more);
}

uint64_t
weft_shim_counter_read(uint64_t *counter)
{

	return (counter_u64_fetch(counter));
}
