/* SPDX-License-Identifier: BSD-2-Clause */
/* Work for the kernel's general thread that may sleep, taskqueue(9). */
#include "weft_shim.h"

void
weft_shim_task_init(struct task *task, task_fn_t *func, void *context)
{

	TASK_INIT(task, 0, func, context);
}

void
weft_shim_task_enqueue(struct task *task)
{

	taskqueue_enqueue(taskqueue_thread, task);
}

void
weft_shim_task_drain(struct task *task)
{

	taskqueue_drain(taskqueue_thread, task);
}

/* The same for later; 0 is now. */
void
weft_shim_timer_init(struct timeout_task *task, task_fn_t *func, void *context)
{

	TIMEOUT_TASK_INIT(taskqueue_thread, task, 0, func, context);
}

void
weft_shim_timer_enqueue(struct timeout_task *task, u_int ms)
{

	taskqueue_enqueue_timeout_sbt(taskqueue_thread, task, ms * SBT_1MS, 0,
	    0);
}

void
weft_shim_timer_drain(struct timeout_task *task)
{

	while (taskqueue_cancel_timeout(taskqueue_thread, task, NULL) != 0)
		taskqueue_drain_timeout(taskqueue_thread, task);
}
