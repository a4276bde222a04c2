/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Drivers of network cards on PCI, driver(9), and what they have of the bus:
 * device(9), rman(9), BUS_SETUP_INTR(9).
 *
 * All of them are registered by one pair of calls, when the module is ready for
 * them, and not by DRIVER_MODULE, which would do it before the module's own load
 * has looked whether it may run on this kernel.
 */
#include "weft_shim.h"

#include <sys/bus.h>
#include <sys/rman.h>
#include <machine/bus.h>
#include <machine/resource.h>

static int
probe(device_t dev)
{

	/*
	 * Takes part only where the administrator has named this driver, by
	 * devctl(8) set driver, which fixes the device's class; or the device, for
	 * the loader.
	 */
	switch (weft_card_probe(dev)) {
	case WEFT_PROBE_CLAIMED:
		return (BUS_PROBE_SPECIFIC);
	case WEFT_PROBE_KNOWN:
		return (BUS_PROBE_NOWILDCARD);
	default:
		return (ENXIO);
	}
}

static int
attach(device_t dev)
{

	return (weft_card_attach(dev));
}

static int
detach(device_t dev)
{

	return (weft_card_detach(dev));
}

static int
shutdown(device_t dev)
{

	weft_card_power(dev, WEFT_POWER_SHUTDOWN);
	return (0);
}

static int
suspend(device_t dev)
{

	weft_card_power(dev, WEFT_POWER_SUSPEND);
	return (0);
}

static int
resume(device_t dev)
{

	weft_card_power(dev, WEFT_POWER_RESUME);
	return (0);
}

static device_method_t methods[] = {
	{ &device_probe_desc, (kobjop_t)probe },
	{ &device_attach_desc, (kobjop_t)attach },
	{ &device_detach_desc, (kobjop_t)detach },
	{ &device_shutdown_desc, (kobjop_t)shutdown },
	{ &device_suspend_desc, (kobjop_t)suspend },
	{ &device_resume_desc, (kobjop_t)resume },
	DEVMETHOD_END
};

static driver_t drivers[WEFT_DRIVERS] = {
	[WEFT_DRIVER_VMX] = { "wvmx", methods, sizeof(void *) },
	[WEFT_DRIVER_EM] = { "wem", methods, sizeof(void *) },
	[WEFT_DRIVER_VTNET] = { "wvtnet", methods, sizeof(void *) },
};

/*
 * Registers a driver, or takes it back, which detaches its devices.  The thread
 * has the bus's topology locked, as handlers of a module's events do.
 */
int
weft_shim_driver(enum weft_driver which, bool registered)
{
	struct driver_module_data data = {
		.dmd_busname = "pci",
		.dmd_driver = &drivers[which],
		.dmd_pass = BUS_PASS_DEFAULT,
	};

	return (driver_module_handler(NULL, registered ? MOD_LOAD : MOD_UNLOAD,
	    &data));
}

/* Whether the system is not up yet, so that nobody uses a device. */
bool
weft_shim_is_booting(void)
{

	return (root_mounted() == 0);
}

/* Calls for each device on PCI.  The thread has the bus's topology locked. */
static void
for_each_device(void (*with)(device_t, bool (*)(device_t)),
    bool (*is_wanted)(device_t))
{
	device_t *buses, *devs;
	int nbuses, ndevs;

	if (devclass_get_devices(devclass_find("pci"), &buses, &nbuses) != 0)
		return;
	for (int i = 0; i < nbuses; i++) {
		if (device_get_children(buses[i], &devs, &ndevs) != 0)
			continue;
		for (int j = 0; j < ndevs; j++)
			with(devs[j], is_wanted);
		free(devs, M_TEMP);
	}
	free(buses, M_TEMP);
}

static void
reclaim(device_t dev, bool (*is_wanted)(device_t))
{

	if (device_is_attached(dev) &&
	    device_get_driver(dev)->methods != methods &&
	    is_wanted(dev) && device_detach(dev) == 0)
		device_probe_and_attach(dev);
}

/*
 * Calls for each device on PCI that a driver has which is none of these, and has
 * those probed again for which the function says so.  The thread has the bus's
 * topology locked.
 */
void
weft_shim_devices_reclaim(bool (*is_wanted)(device_t))
{

	for_each_device(reclaim, is_wanted);
}

/* Devices that are not to be probed yet. */
#define	HELD_MAX	64
static device_t held[HELD_MAX];
static int nheld;

static void
hold(device_t dev, bool (*is_wanted)(device_t))
{

	if (nheld < HELD_MAX && !device_is_attached(dev) &&
	    device_is_enabled(dev) && is_wanted(dev)) {
		device_disable(dev);
		held[nheld++] = dev;
	}
}

/*
 * Registering a driver has all devices without one probed by all drivers that there
 * are, of which the one that is to have the device may not be there yet.  So those for
 * which the function says so wait until the last is registered.  The thread has the
 * bus's topology locked, from here to there.
 */
void
weft_shim_devices_hold(bool (*is_wanted)(device_t))
{

	for_each_device(hold, is_wanted);
}

void
weft_shim_devices_release(void)
{

	while (nheld > 0)
		device_enable(held[--nheld]);
}

/*
 * Interfaces can't go before the protocols are there, and the module's own load, at
 * SI_SUB_PSEUDO, is before that.
 */
static void
weft_devices_claim(const void *unused __unused)
{

	bus_topo_lock();
	weft_cards_claim();
	bus_topo_unlock();
}
SYSINIT(weft_devices_claim, SI_SUB_PROTO_END, SI_ORDER_ANY, weft_devices_claim,
    NULL);

/* Which of the drivers a device of theirs has. */
enum weft_driver
weft_shim_device_driver(device_t dev)
{

	return ((enum weft_driver)(device_get_driver(dev) - drivers));
}

void *
weft_shim_device_softc(device_t dev)
{

	return (*(void **)device_get_softc(dev));
}

void
weft_shim_device_set_softc(device_t dev, void *softc)
{

	*(void **)device_get_softc(dev) = softc;
}

/* The children of dev.<driver>.<unit>. */
struct sysctl_oid_list *
weft_shim_device_sysctls(device_t dev)
{

	return (SYSCTL_CHILDREN(device_get_sysctl_tree(dev)));
}

/* A part of memory, or of I/O ports, whole. */
struct resource *
weft_shim_bar_new(device_t dev, int rid, bool memory)
{

	return (bus_alloc_resource_any(dev,
	    memory ? SYS_RES_MEMORY : SYS_RES_IOPORT, &rid, RF_ACTIVE));
}

void
weft_shim_bar_free(device_t dev, struct resource *bar)
{

	bus_release_resource(dev, rman_get_type(bar), rman_get_rid(bar), bar);
}

size_t
weft_shim_bar_size(struct resource *bar)
{

	return (rman_get_size(bar));
}

uint8_t
weft_shim_bar_read_1(struct resource *bar, size_t at)
{

	return (bus_read_1(bar, at));
}

uint16_t
weft_shim_bar_read_2(struct resource *bar, size_t at)
{

	return (bus_read_2(bar, at));
}

uint32_t
weft_shim_bar_read_4(struct resource *bar, size_t at)
{

	return (bus_read_4(bar, at));
}

uint64_t
weft_shim_bar_read_8(struct resource *bar, size_t at)
{

	return (bus_read_8(bar, at));
}

void
weft_shim_bar_write_1(struct resource *bar, size_t at, uint8_t value)
{

	bus_write_1(bar, at, value);
}

void
weft_shim_bar_write_2(struct resource *bar, size_t at, uint16_t value)
{

	bus_write_2(bar, at, value);
}

void
weft_shim_bar_write_4(struct resource *bar, size_t at, uint32_t value)
{

	bus_write_4(bar, at, value);
}

void
weft_shim_bar_write_8(struct resource *bar, size_t at, uint64_t value)
{

	bus_write_8(bar, at, value);
}

/* An interrupt: rid 0 is the device's line, others are messages. */
struct resource *
weft_shim_irq_new(device_t dev, int rid)
{

	return (bus_alloc_resource_any(dev, SYS_RES_IRQ, &rid,
	    RF_ACTIVE | (rid == 0 ? RF_SHAREABLE : 0)));
}

void
weft_shim_irq_free(device_t dev, struct resource *irq)
{

	bus_release_resource(dev, SYS_RES_IRQ, rman_get_rid(irq), irq);
}

/* The handler runs in a thread, which is in the net epoch. */
int
weft_shim_irq_set_up(device_t dev, struct resource *irq,
    void (*handler)(void *), void *argument, const char *name, void **cookie)
{
	int error;

	error = bus_setup_intr(dev, irq, INTR_TYPE_NET | INTR_MPSAFE, NULL,
	    handler, argument, cookie);
	if (error == 0 && name != NULL)
		bus_describe_intr(dev, irq, *cookie, "%s", name);
	return (error);
}

/* Returns when the handler does not run any more. */
void
weft_shim_irq_tear_down(device_t dev, struct resource *irq, void *cookie)
{

	bus_teardown_intr(dev, irq, cookie);
}

int
weft_shim_irq_bind(device_t dev, struct resource *irq, int cpu)
{

	return (bus_bind_intr(dev, irq, cpu));
}
