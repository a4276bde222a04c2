/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods of a bus: see device_if.h.  The module calls none but by functions of
 * sys/bus.h; drivers in examples/ call this one.
 */
#ifndef _BUS_IF_H_
#define	_BUS_IF_H_

typedef device_t bus_add_child_t(device_t, u_int, const char *, int);

extern struct kobjop_desc bus_add_child_desc;

static __inline device_t
BUS_ADD_CHILD(device_t bus, u_int order, const char *name, int unit)
{
	kobjop_t _m;

	KOBJOPLOOKUP(((kobj_t)bus)->ops, bus_add_child);
	return (((bus_add_child_t *)_m)(bus, order, name, unit));
}

#endif /* !_BUS_IF_H_ */
