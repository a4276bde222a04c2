/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel options that change the layout or the meaning of what weft.ko
 * shares with the kernel: GENERIC's, as config(8) would write them.  The build
 * may take VIMAGE away (WEFT_NO_VIMAGE) for a kernel built without it; the
 * module compares these with the running kernel when it is loaded.
 */
#define	SMP		1
#define	MAC		1
#define	NUMA		1
#define	AUDIT		1
#define	RACCT		1
#define	RCTL		1
#define	KDTRACE_HOOKS	1
#define	DEV_NETMAP	1
#ifndef	WEFT_NO_VIMAGE
#define	VIMAGE		1
#endif
