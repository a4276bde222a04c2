/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads of the kernel's, kthread(9), and sleeping until one is wanted, sleep(9). */
#include "weft_shim.h"

#include <sys/kthread.h>

int
weft_shim_thread_start(void (*func)(void *), void *arg, const char *name,
    struct thread **threadp)
{

	return (kthread_add(func, arg, NULL, threadp, 0, 0, "%s", name));
}

/* Ends the calling thread, which wakes who sleeps on it. */
void
weft_shim_thread_exit(void)
{

	kthread_exit();
}

/* Sleeps until the channel is woken, and lets go of the mutex meanwhile. */
void
weft_shim_sleep(const void *channel, struct mtx *mtx)
{

	mtx_sleep(channel, mtx, 0, "weft", 0);
}

void
weft_shim_wakeup(const void *channel)
{

	wakeup(channel);
}
