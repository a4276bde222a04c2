/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads that do tasks in the net epoch, taskqueue(9). */
#include "weft_shim.h"

#include <sys/cpuset.h>
#include <sys/priority.h>

/*
 * A queue in *place, which stays there, as its name does, with a thread, which may
 * be bound to the CPU.
 */
int
weft_shim_worker_start(struct taskqueue **place, const char *name, u_int cpu,
    bool bound)
{
	cpuset_t mask;
	int error;

	*place = taskqueue_create(name, M_WAITOK,
	    taskqueue_thread_enqueue, place);
	CPU_SETOF(cpu, &mask);
	error = taskqueue_start_threads_cpuset(place, 1, PI_NET,
	    bound ? &mask : NULL, "%s_%u", name, cpu);
	if (error != 0)
		taskqueue_free(*place);
	return (error);
}

void
weft_shim_worker_stop(struct taskqueue *queue)
{

	taskqueue_free(queue);
}

/* A task that the thread does in the net epoch. */
void
weft_shim_worker_task_init(struct task *task, task_fn_t *func, void *context)
{

	NET_TASK_INIT(task, 0, func, context);
}
