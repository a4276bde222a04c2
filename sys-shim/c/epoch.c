/* SPDX-License-Identifier: BSD-2-Clause */
/* The network epoch, epoch(9). */
#include "weft_shim.h"

void
weft_shim_net_epoch_enter(struct epoch_tracker *tracker)
{

	epoch_enter_preempt(net_epoch_preempt, tracker);
}

/*
 * Enters it unless the thread is in it already.  A thread that may sleep is in no
 * epoch; of an interrupt's, which may not sleep for other reasons, it is looked
 * up.  Any other that may not sleep is in this one by the rules for who calls an
 * interface, as NET_EPOCH_ASSERT checks them in a kernel with INVARIANTS.
 */
bool
weft_shim_net_epoch_ensure(struct epoch_tracker *tracker)
{

	if (__predict_true(!THREAD_CAN_SLEEP() &&
	    ((curthread->td_pflags & TDP_ITHREAD) == 0 ||
	    in_epoch(net_epoch_preempt))))
		return (false);
	epoch_enter_preempt(net_epoch_preempt, tracker);
	return (true);
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
