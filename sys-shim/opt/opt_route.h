/* SPDX-License-Identifier: BSD-2-Clause */
#define	ROUTE_MPATH	1
#define	FIB_ALGO	1
