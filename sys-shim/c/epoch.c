/* SPDX-License-Identifier: BSD-2-Clause */
/* The network epoch, epoch(9). */
#include "weft_shim.h"

void
weft_shim_net_epoch_enter(struct epoch_tracker *tracker)
{

	epoch_enter_preempt(net_epoch_preempt, tracker);
}

void
weft_shim_net_epoch_exit(struct epoch_tracker *tracker)
{

	epoch_exit_preempt(net_epoch_preempt, tracker);
}

/* Sleeps until all sections that exist now have ended. */
void
weft_shim_net_epoch_wait(void)
{

	NET_EPOCH_WAIT();
}

void
weft_shim_net_epoch_drain(void)
{

	NET_EPOCH_DRAIN_CALLBACKS();
}
