/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a PCI device asks of its bus, pci(9).  Neither dev/pci/pcivar.h nor the
 * header of the bus's methods is installed, so they are called here as kobj(9)
 * does it: by their descriptions, which the kernel has as global variables.
 */
#include "weft_shim.h"

#include <sys/bus.h>

extern struct kobjop_desc bus_read_ivar_desc;
extern struct kobjop_desc pci_read_config_desc;
extern struct kobjop_desc pci_write_config_desc;
extern struct kobjop_desc pci_enable_busmaster_desc;
extern struct kobjop_desc pci_disable_busmaster_desc;
extern struct kobjop_desc pci_find_cap_desc;
extern struct kobjop_desc pci_find_next_cap_desc;
extern struct kobjop_desc pci_alloc_msi_desc;
extern struct kobjop_desc pci_alloc_msix_desc;
extern struct kobjop_desc pci_release_msi_desc;
extern struct kobjop_desc pci_msi_count_desc;
extern struct kobjop_desc pci_msix_count_desc;
extern struct kobjop_desc pci_msix_table_bar_desc;
extern struct kobjop_desc pci_msix_pba_bar_desc;

/* PCI_IVAR_DOMAIN; bus, slot and function follow. */
#define	IVAR_DOMAIN	11

typedef int read_ivar_t(device_t, device_t, int, uintptr_t *);
typedef uint32_t read_config_t(device_t, device_t, int, int);
typedef void write_config_t(device_t, device_t, int, uint32_t, int);
typedef int plain_t(device_t, device_t);
typedef int find_cap_t(device_t, device_t, int, int *);
typedef int find_next_cap_t(device_t, device_t, int, int, int *);
typedef int alloc_t(device_t, device_t, int *);

static kobjop_t
method(device_t bus, struct kobjop_desc *what)
{
	kobj_ops_t ops = ((kobj_t)bus)->ops;
	kobj_method_t **place = &ops->cache[what->id & (KOBJ_CACHE_SIZE - 1)];
	kobj_method_t *found = *place;

	if (found->desc != what)
		found = kobj_lookup_method(ops->cls, place, what);
	return (found->func);
}

uint32_t
weft_shim_pci_read(device_t dev, int at, int width)
{
	device_t bus = device_get_parent(dev);

	return (((read_config_t *)method(bus, &pci_read_config_desc))(bus, dev,
	    at, width));
}

void
weft_shim_pci_write(device_t dev, int at, uint32_t value, int width)
{
	device_t bus = device_get_parent(dev);

	((write_config_t *)method(bus, &pci_write_config_desc))(bus, dev, at,
	    value, width);
}

static int
plain(device_t dev, struct kobjop_desc *what)
{
	device_t bus = device_get_parent(dev);

	return (((plain_t *)method(bus, what))(bus, dev));
}

/* What the bus knows of the device by that number, of enum pci_device_ivars. */
static uint32_t
ivar(device_t dev, int which)
{
	device_t bus = device_get_parent(dev);
	uintptr_t value = 0;

	((read_ivar_t *)method(bus, &bus_read_ivar_desc))(bus, dev, which,
	    &value);
	return (value);
}

/* Where the device is. */
void
weft_shim_pci_place(device_t dev, struct weft_place *place)
{

	place->domain = ivar(dev, IVAR_DOMAIN);
	place->bus = ivar(dev, IVAR_DOMAIN + 1);
	place->slot = ivar(dev, IVAR_DOMAIN + 2);
	place->function = ivar(dev, IVAR_DOMAIN + 3);
}

/* Lets the device reach memory by itself, or not. */
int
weft_shim_pci_bus_master(device_t dev, bool on)
{

	return (plain(dev, on ? &pci_enable_busmaster_desc :
	    &pci_disable_busmaster_desc));
}

/* The first capability of that kind, or the first behind another one. */
int
weft_shim_pci_capability(device_t dev, int kind, int after, int *at)
{
	device_t bus = device_get_parent(dev);

	if (after == 0)
		return (((find_cap_t *)method(bus, &pci_find_cap_desc))(bus,
		    dev, kind, at));
	return (((find_next_cap_t *)method(bus, &pci_find_next_cap_desc))(bus,
	    dev, kind, after, at));
}

/* How many messages the device has. */
int
weft_shim_pci_messages(device_t dev, bool msix)
{

	return (plain(dev, msix ? &pci_msix_count_desc :
	    &pci_msi_count_desc));
}

/* Allocates up to so many, and says how many it was. */
int
weft_shim_pci_messages_new(device_t dev, bool msix, int *count)
{
	device_t bus = device_get_parent(dev);
	kobjop_t alloc;

	alloc = method(bus, msix ? &pci_alloc_msix_desc : &pci_alloc_msi_desc);
	return (((alloc_t *)alloc)(bus, dev, count));
}

void
weft_shim_pci_messages_free(device_t dev)
{

	plain(dev, &pci_release_msi_desc);
}

/* Where the table of MSI-X is, or its pending bits: the rid of a part of memory. */
int
weft_shim_pci_msix_bar(device_t dev, bool pending)
{

	return (plain(dev, pending ? &pci_msix_pba_bar_desc :
	    &pci_msix_table_bar_desc));
}
