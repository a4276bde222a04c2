/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that devices reach, bus_dma(9). */
#include "weft_shim.h"

#include <sys/bus.h>
#include <vm/vm.h>
#include <vm/pmap.h>
#include <machine/vmparam.h>
#include <machine/bus.h>

_Static_assert(sizeof(struct weft_dma_segment) == sizeof(bus_dma_segment_t) &&
    __offsetof(struct weft_dma_segment, address) ==
    __offsetof(bus_dma_segment_t, ds_addr) &&
    __offsetof(struct weft_dma_segment, len) ==
    __offsetof(bus_dma_segment_t, ds_len), "a segment is the kernel's");

/*
 * What is so aligned, has at most so many bytes in at most so many segments of at
 * most so many bytes, and lies below the highest address that the device knows.
 */
int
weft_shim_dma_tag_new(device_t dev, const struct weft_dma_limits *limits,
    bus_dma_tag_t *tag)
{

	return (bus_dma_tag_create(bus_get_dma_tag(dev), limits->alignment, 0,
	    limits->highest, BUS_SPACE_MAXADDR, NULL, NULL, limits->size,
	    limits->segments, limits->segment_size, 0, NULL, NULL, tag));
}

void
weft_shim_dma_tag_free(bus_dma_tag_t tag)
{

	bus_dma_tag_destroy(tag);
}

static void
loaded(void *place, bus_dma_segment_t *segments, int count, int error)
{

	if (error == 0 && count == 1)
		*(uint64_t *)place = segments[0].ds_addr;
}

/* Finds where the device sees memory that it is to see in one piece. */
int
weft_shim_dma_map_load_memory(bus_dma_tag_t tag, bus_dmamap_t map,
    void *memory, size_t size, uint64_t *address)
{
	int error;

	*address = 0;
	error = bus_dmamap_load(tag, map, memory, size, loaded, address,
	    BUS_DMA_NOWAIT);
	if (error == 0 && *address == 0) {
		bus_dmamap_unload(tag, map);
		error = EFBIG;
	}
	return (error);
}

/*
 * Memory that both the device and the CPU read and write without further ado, all
 * zeroes, as much as the tag's size is, and its address for the device.  Sleeps.
 */
int
weft_shim_dma_block_new(bus_dma_tag_t tag, size_t size, void **memory,
    bus_dmamap_t *map, uint64_t *address)
{
	int error;

	error = bus_dmamem_alloc(tag, memory,
	    BUS_DMA_WAITOK | BUS_DMA_COHERENT | BUS_DMA_ZERO, map);
	if (error != 0)
		return (error);
	error = weft_shim_dma_map_load_memory(tag, *map, *memory, size,
	    address);
	if (error != 0)
		bus_dmamem_free(tag, *memory, *map);
	return (error);
}

void
weft_shim_dma_block_free(bus_dma_tag_t tag, void *memory, bus_dmamap_t map)
{

	bus_dmamap_unload(tag, map);
	bus_dmamem_free(tag, memory, map);
}

int
weft_shim_dma_map_new(bus_dma_tag_t tag, bus_dmamap_t *map)
{

	return (bus_dmamap_create(tag, 0, map));
}

void
weft_shim_dma_map_free(bus_dma_tag_t tag, bus_dmamap_t map)
{

	bus_dmamap_destroy(tag, map);
}

/*
 * Finds the segments of a packet, as many as the tag allows, for which there is
 * room.  EFBIG if there are more.
 */
int
weft_shim_dma_map_load(bus_dma_tag_t tag, bus_dmamap_t map, struct mbuf *m,
    struct weft_dma_segment *segments, int *count)
{

	return (bus_dmamap_load_mbuf_sg(tag, map, m,
	    (bus_dma_segment_t *)segments, count, BUS_DMA_NOWAIT));
}

/*
 * Where the CPU sees the first byte of all memory, and how many there are: what
 * lies in there is as far from it for the CPU as from 0 for a device that sees
 * all memory where it is.
 */
void
weft_shim_dma_direct(uintptr_t *first, size_t *bytes)
{

	*first = PHYS_TO_DMAP(0);
	*bytes = dmaplimit;
}

void
weft_shim_dma_map_unload(bus_dma_tag_t tag, bus_dmamap_t map)
{

	bus_dmamap_unload(tag, map);
}

/* Before the device reads or writes, or after it did. */
void
weft_shim_dma_map_sync(bus_dma_tag_t tag, bus_dmamap_t map,
    enum weft_dma_sync when)
{
	static const bus_dmasync_op_t operations[] = {
		[WEFT_DMA_BEFORE_READ] = BUS_DMASYNC_PREWRITE,
		[WEFT_DMA_BEFORE_WRITE] = BUS_DMASYNC_PREREAD,
		[WEFT_DMA_AFTER_WRITE] = BUS_DMASYNC_POSTREAD,
	};

	bus_dmamap_sync(tag, map, operations[when]);
}
