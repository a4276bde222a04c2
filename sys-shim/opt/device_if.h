/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods of a device, kobj(9): the kernel build generates declarations of them
 * from device_if.m, and installs none.  These are what the module and the drivers
 * in examples/ use; sys/bus.h includes the file by this name.
 */
#ifndef _DEVICE_IF_H_
#define	_DEVICE_IF_H_

typedef int	device_probe_t(device_t);
typedef void	device_identify_t(driver_t *, device_t);
typedef int	device_attach_t(device_t);
typedef int	device_detach_t(device_t);
typedef int	device_shutdown_t(device_t);
typedef int	device_suspend_t(device_t);
typedef int	device_resume_t(device_t);

extern struct kobjop_desc device_probe_desc;
extern struct kobjop_desc device_identify_desc;
extern struct kobjop_desc device_attach_desc;
extern struct kobjop_desc device_detach_desc;
extern struct kobjop_desc device_shutdown_desc;
extern struct kobjop_desc device_suspend_desc;
extern struct kobjop_desc device_resume_desc;

#endif /* !_DEVICE_IF_H_ */
