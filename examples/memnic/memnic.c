/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memnic(4): a driver by weft_nic(9), for the cards of card.h.
 *
 * It has what the driver of a card in a slot would have.  Such a one finds its
 * registers in attach, resets its card in begin, tells it by filter what to
 * receive, and is interrupted by its bus.  These cards need no reset, receive
 * what is sent to them, and call.
 */
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/bus.h>
#include <sys/kernel.h>
#include <sys/module.h>
#include <sys/socket.h>

#include <machine/atomic.h>

#include <net/if.h>

#include <weft_nic.h>

#include "card.h"

struct memnic {
	struct weft_nic	*nic;
	struct card	 card;
};

/* The card's wires: neither sleeps. */

static void
memnic_interrupt(void *softc)
{
	struct memnic *sc = softc;

	weft_nic_interrupt(sc->nic, 0);
}

static void
memnic_link_changed(void *softc)
{
	struct memnic *sc = softc;

	weft_nic_event(sc->nic);
}

/* The card as a whole: one thread at a time, which may sleep. */

static int
memnic_queue_init(struct card_queue *q, struct weft_nic_ring *ring)
{

	memset(q, 0, sizeof(*q));
	q->ring = ring->desc;	/* a real card gets ring->address */
	q->slots = ring->slots;
	return (0);
}

static int
memnic_tx_init(void *softc, struct weft_nic_ring *ring)
{
	struct memnic *sc = softc;

	return (memnic_queue_init(&sc->card.tx, ring));
}

static int
memnic_rx_init(void *softc, struct weft_nic_ring *ring)
{
	struct memnic *sc = softc;

	return (memnic_queue_init(&sc->card.rx, ring));
}

static int
memnic_start(void *softc)
{
	struct memnic *sc = softc;

	card_run(&sc->card, true);
	return (0);
}

static void
memnic_stop(void *softc)
{
	struct memnic *sc = softc;

	card_run(&sc->card, false);
}

static void
memnic_link(void *softc, struct weft_nic_link *link)
{
	struct memnic *sc = softc;

	link->up = card_has_link(&sc->card);
	link->full_duplex = true;
	link->mbps = 10000;
}

static const struct weft_nic_figure memnic_figures[] = {
	{ WEFT_NIC_OF_DEVICE, "no_buffer", "Frames that found no buffer" },
	{ WEFT_NIC_OF_DEVICE, "no_cable", "Frames sent to nobody" },
};

static uint64_t
memnic_figure(void *softc, u_int place, u_int queue __unused)
{
	struct memnic *sc = softc;

	return (place == 0 ? sc->card.no_buffer : sc->card.no_cable);
}

/* Queues: one thread at a time for each, which does not sleep. */

static bool
memnic_is_done(struct weft_nic_ring *ring, u_int slot)
{
	struct card_desc *d = ring->desc;

	return ((atomic_load_acq_32(&d[slot].flags) & CARD_DONE) != 0);
}

static u_int
memnic_tx_put(struct weft_nic_ring *ring,
    const struct weft_nic_segment *segments, u_int count,
    const struct weft_nic_offload *offload)
{
	struct card_desc *d;
	uint16_t sum_at;
	u_int n;

	sum_at = offload->task == WEFT_NIC_CHECKSUM ? offload->sum : 0;
	for (n = 0; n < count; n++) {
		d = ring->desc;
		d += weft_nic_slot(ring, ring->next, n);
		d->address = segments[n].address;
		d->bytes = segments[n].bytes;
		d->sum_from = offload->transport;
		d->sum_at = sum_at;
		d->flags = n + 1 == count ? CARD_LAST : 0;
	}
	return (count);
}

static void
memnic_tx_kick(struct weft_nic_ring *ring)
{
	struct memnic *sc = ring->softc;

	card_send(&sc->card, ring->next);
}

static bool
memnic_tx_done(struct weft_nic_ring *ring, u_int first __unused, u_int last)
{

	return (memnic_is_done(ring, last));
}

static void
memnic_tx_arm(struct weft_nic_ring *ring)
{
	struct memnic *sc = ring->softc;

	atomic_store_rel_32(&sc->card.tx.armed, 1);
}

static void
memnic_rx_put(struct weft_nic_ring *ring, const struct weft_nic_segment *buffer)
{
	struct card_desc *d = ring->desc;

	d += ring->next;
	d->address = buffer->address;
	d->bytes = buffer->bytes;
	d->flags = 0;
}

static void
memnic_rx_kick(struct weft_nic_ring *ring)
{
	struct memnic *sc = ring->softc;

	atomic_store_rel_32(&sc->card.rx.tail, ring->next);
}

static bool
memnic_rx_take(struct weft_nic_ring *ring, struct weft_nic_received *received)
{
	struct card_desc *d = ring->desc;

	d += ring->oldest;
	if (!memnic_is_done(ring, ring->oldest))
		return (false);
	received->bytes = d->bytes;
	received->last = true;
	if ((d->flags & CARD_SUM_GOOD) != 0)
		received->flags = WEFT_NIC_L4_SEEN | WEFT_NIC_L4_GOOD;
	return (true);
}

static void
memnic_rx_arm(struct weft_nic_ring *ring)
{
	struct memnic *sc = ring->softc;

	atomic_store_rel_32(&sc->card.rx.armed, 1);
}

static const struct weft_nic_driver memnic_driver = {
	.abi = WEFT_NIC_ABI,
	.size = sizeof(memnic_driver),
	.tx_bytes = sizeof(struct card_desc),
	.rx_bytes = sizeof(struct card_desc),
	.align = 64,
	.spare = 1,
	.nfigures = nitems(memnic_figures),
	.figures = memnic_figures,
	.tx_init = memnic_tx_init,
	.rx_init = memnic_rx_init,
	.start = memnic_start,
	.stop = memnic_stop,
	.link = memnic_link,
	.figure = memnic_figure,
	.tx_put = memnic_tx_put,
	.tx_kick = memnic_tx_kick,
	.tx_done = memnic_tx_done,
	.tx_arm = memnic_tx_arm,
	.rx_put = memnic_rx_put,
	.rx_kick = memnic_rx_kick,
	.rx_take = memnic_rx_take,
	.rx_arm = memnic_rx_arm,
};

/* driver(9) */

static void
memnic_identify(driver_t *driver __unused, device_t bus)
{
	int unit;

	for (unit = 0; unit < CARD_COUNT; unit++)
		if (device_find_child(bus, "memnic", unit) == NULL)
			BUS_ADD_CHILD(bus, 0, "memnic", unit);
}

static int
memnic_probe(device_t dev)
{

	if (device_get_unit(dev) >= CARD_COUNT)
		return (ENXIO);
	device_set_desc(dev, "Card made of memory");
	return (BUS_PROBE_NOWILDCARD);
}

static int
memnic_attach(device_t dev)
{
	struct memnic *sc = device_get_softc(dev);
	int error, unit = device_get_unit(dev);
	struct weft_nic_offer offer = {
		.mac = { 0x02, 'm', 'e', 'm', 0, unit },
		.capabilities = IFCAP_HWCSUM | IFCAP_HWCSUM_IPV6 |
		    IFCAP_JUMBO_MTU,
		.features = WEFT_NIC_OWN_INTERRUPTS,
		.tx_queues = 1,
		.rx_queues = 1,
		.tx_slots = { 64, CARD_SLOTS, 1, 512 },
		.rx_slots = { 64, CARD_SLOTS, 1, 512 },
		.segments = 16,
		.segment_bytes = CARD_FRAME,
		.most_mtu = CARD_FRAME - 18,
		.vectors = 1,
		.mbps = 10000,
	};

	sc->card.interrupt = memnic_interrupt;
	sc->card.link_changed = memnic_link_changed;
	sc->card.driver = sc;
	card_plug(&sc->card, unit);
	error = weft_nic_attach(dev, &memnic_driver, sc, &offer, &sc->nic);
	if (error != 0)
		card_pull(&sc->card);
	return (error);
}

static int
memnic_detach(device_t dev)
{
	struct memnic *sc = device_get_softc(dev);
	int error;

	error = weft_nic_detach(sc->nic);
	if (error == 0)
		card_pull(&sc->card);
	return (error);
}

static device_method_t memnic_methods[] = {
	DEVMETHOD(device_identify, memnic_identify),
	DEVMETHOD(device_probe, memnic_probe),
	DEVMETHOD(device_attach, memnic_attach),
	DEVMETHOD(device_detach, memnic_detach),
	DEVMETHOD_END
};

static driver_t memnic_newbus = {
	"memnic", memnic_methods, sizeof(struct memnic)
};

DRIVER_MODULE(memnic, nexus, memnic_newbus, NULL, NULL);
MODULE_VERSION(memnic, 1);
MODULE_DEPEND(memnic, weft, 1, 1, 1);
