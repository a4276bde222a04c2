/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods of a bus: see device_if.h.  The module calls none but by functions of
 * sys/bus.h.
 */
#ifndef _BUS_IF_H_
#define	_BUS_IF_H_

#endif /* !_BUS_IF_H_ */
