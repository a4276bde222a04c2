/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUs, and staying on one, critical_enter(9). */
#include "weft_shim.h"

#include <sys/pcpu.h>
#include <sys/sched.h>
#include <sys/smp.h>

/* The one field of a thread that is used below: its place must not change. */
_Static_assert(offsetof(struct thread, td_lock) == 0, "place of td_lock");

void
weft_shim_critical_enter(void)
{

	critical_enter();
}

void
weft_shim_critical_exit(void)
{

	critical_exit();
}

u_int
weft_shim_curcpu(void)
{

	return (curcpu);
}

/* One more than the highest number of a CPU. */
u_int
weft_shim_cpus(void)
{

	return (mp_maxid + 1);
}

/* Whether there is a CPU with this number. */
bool
weft_shim_cpu_present(u_int cpu)
{

	return (!CPU_ABSENT(cpu));
}

/* Keeps the thread, which may sleep, on a CPU, and lets it go again. */
void
weft_shim_bind(u_int cpu)
{

	thread_lock(curthread);
	sched_bind(curthread, cpu);
	thread_unlock(curthread);
}

void
weft_shim_unbind(void)
{

	thread_lock(curthread);
	sched_unbind(curthread);
	thread_unlock(curthread);
}
