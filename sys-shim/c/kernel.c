/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel itself: memory types, log(9), panic(9), and what the module was
 * compiled for, to be compared with what it was loaded into.
 */
#include "weft_shim.h"

#include <vm/vm.h>
#include <vm/pmap.h>
#include <machine/stack.h>

MALLOC_DEFINE(M_WEFT, "weft", "weft: module state");
MALLOC_DEFINE(M_WEFT_FIB, "weft_fib", "weft: route lookup tables");
MALLOC_DEFINE(M_WEFT_PACKET, "weft_packet", "weft: buffers of packets");

struct thread *
weft_shim_curthread(void)
{

	return (curthread);
}

/* Whether the thread is in no epoch and no interrupt, so that it may sleep if no lock forbids. */
bool
weft_shim_can_sleep(void)
{

	return (THREAD_CAN_SLEEP());
}

/* What loader(8) or kenv(1) has set, cut to what there is room for.  Whether it is set. */
bool
weft_shim_getenv(const char *name, char *value, int size)
{

	return (getenv_string(name, value, size) != 0);
}

/* Sleeps.  Not for a caller that holds a lock or is in an epoch. */
void
weft_shim_pause_ms(u_int ms)
{

	pause_sbt("weft", ms * SBT_1MS, 0, C_HARDCLOCK);
}

/* Waits; longer times without the CPU.  The thread may sleep. */
void
weft_shim_delay_us(u_int us)
{

	if (us < 1000)
		DELAY(us);
	else
		pause_sbt("weft", us * SBT_1US, 0, C_HARDCLOCK);
}

void
weft_shim_log(int level, const char *text, size_t len)
{

	log(level, "weft: %.*s\n", (int)len, text);
}

void
weft_shim_panic(const char *text, size_t len)
{

	panic("weft: %.*s", (int)len, text);
}

/* The CPU's own clock, which cpu_tickrate() tells the rate of. */
uint64_t
weft_shim_cpu_ticks(void)
{

	return (cpu_ticks());
}

uint64_t
weft_shim_physical_bytes(void)
{

	return (ptoa((uint64_t)physmem));
}

/*
 * The size of a kernel variable by the kernel's symbol table; 0 when the table
 * does not say.  The caller holds the linker's lock, as in a module event.
 */
size_t
weft_shim_object_size(const void *object)
{
	linker_symval_t value;
	c_linker_sym_t symbol;
	long offset;

	if (linker_ddb_search_symbol(__DECONST(caddr_t, object), &symbol,
	    &offset) != 0 || offset != 0)
		return (0);
	if (linker_ddb_symbol_values(symbol, &value) != 0)
		return (0);
	return (value.size);
}

extern struct mtx fib_mtx;
SYSCTL_DECL(_net);

#ifdef WEFT_TEST_WRONG_SIZE
#define	SIZE_OF(type)	(sizeof(type) + 8)
#else
#define	SIZE_OF(type)	sizeof(type)
#endif

const struct weft_shim_object weft_shim_objects[] = {
	{ "struct mtx", &fib_mtx, SIZE_OF(struct mtx) },
	{ "struct malloc_type", M_TEMP, SIZE_OF(struct malloc_type) },
	{ "struct sysctl_oid", &sysctl___net, SIZE_OF(struct sysctl_oid) },
	{ "struct kva_layout_s", &kva_layout, SIZE_OF(struct kva_layout_s) },
};
const size_t weft_shim_nobjects = nitems(weft_shim_objects);

/* The oldest kernel that will do, or in a test one that is not there yet. */
#ifdef WEFT_TEST_TOO_NEW
const int weft_shim_osreldate = WEFT_OSRELDATE + 1;
#else
const int weft_shim_osreldate = WEFT_OSRELDATE;
#endif
#if defined(VIMAGE) && !defined(WEFT_TEST_WRONG_OPTION)
const int weft_shim_vimage = 1;
#else
const int weft_shim_vimage = 0;
#endif

/* Percent of the current thread's kernel stack that are in use. */
u_int
weft_shim_stack_used(void)
{
	size_t total, used;

	GET_STACK_USAGE(total, used);
	return (used * 100 / total);
}

/*
 * Locks that the current thread holds: rwlocks for reading, and with INVARIANTS
 * in the kernel all but spin locks.
 */
u_int
weft_shim_locks_held(void)
{

	return (curthread->td_rw_rlocks + curthread->td_locks);
}
