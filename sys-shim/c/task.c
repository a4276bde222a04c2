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
