/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A library for drivers of network cards, in weft.ko.
 *
 * A driver says how its device differs, by a struct weft_nic_driver: how it is
 * stopped and started, how a descriptor is written, which doorbell is rung,
 * what it says of a descriptor that it is done with.  The library does the
 * rest: memory of rings, busdma(9), mbufs, refill, bursts, finding headers for
 * offloads, queues in front of the device, choice of queues by flows,
 * interrupts and their rate, a watch over devices that hang, the interface, its
 * counters, and dev.<driver>.<unit>.
 *
 * A driver is a module of its own, for whatever bus its device is on, and says
 *
 *	MODULE_DEPEND(mine, weft, 1, 1, 1);
 *
 * Its device_attach method finds its registers and calls weft_nic_attach(), its
 * device_detach method calls weft_nic_detach().  weft_nic(9) has the whole, and
 * examples/memnic a driver to begin with.
 */
#ifndef _WEFT_NIC_H_
#define	_WEFT_NIC_H_

#include <sys/types.h>

/*
 * What the structures below look like.  Goes up with any change of them; a
 * driver that was compiled with another one is refused by weft_nic_attach().
 */
#define	WEFT_NIC_ABI	1

/* The library's part of a device. */
struct weft_nic;

/* Pieces of a frame, and bytes in a row that the device reads or writes. */
#define	WEFT_NIC_SEGMENTS	40

struct weft_nic_segment {
	uint64_t	address;	/* as the device sees it */
	uint32_t	bytes;
};

/* Numbers from least to most: multiples of step, or powers of 2 if it is 0. */
struct weft_nic_range {
	uint16_t	least;
	uint16_t	most;
	uint16_t	step;
	uint16_t	usual;		/* unless somebody says otherwise */
};

/* What a device can do beside what IFCAP_* names. */
#define	WEFT_NIC_RSS		0x01	/* spreads flows over receive queues */
#define	WEFT_NIC_HASH		0x02	/* says the hash by which it did */
/*
 * Which vectors interrupt the driver finds out itself, and then calls
 * weft_nic_interrupt().  Else the device is on PCI, and the library allocates
 * MSI-X, MSI or the line; the BARs that MSI-X is in must be mapped by then.
 */
#define	WEFT_NIC_OWN_INTERRUPTS	0x04

/* What a device offers.  All of it is checked by weft_nic_attach(). */
struct weft_nic_offer {
	uint8_t		mac[6];
	/*
	 * Of a long segment: 0 if the sum of the pseudo-header is to have the
	 * length of the whole, 1 if it is to have none.
	 */
	uint8_t		plain_sums;
	uint32_t	capabilities;	/* IFCAP_*: sums, TSO, VLAN, jumbo */
	uint32_t	features;	/* WEFT_NIC_RSS ... */
	uint16_t	tx_queues;	/* at most; 1 or more */
	uint16_t	rx_queues;	/* likewise */
	struct weft_nic_range tx_slots;	/* descriptors of a queue */
	struct weft_nic_range rx_slots;
	uint16_t	segments;	/* of a frame; at most the above */
	uint16_t	vectors;	/* interrupts, at most; 1 or more */
	uint32_t	segment_bytes;	/* of one of these, at most */
	uint32_t	longest;	/* bytes of a frame to be cut, or 0 */
	uint32_t	most_mtu;
	uint32_t	rx_bytes;	/* of a buffer, or 0: for a frame */
	uint32_t	mbps;		/* said while the link does not */
};

/* What is hashed: bits of weft_nic_setup.hashes. */
#define	WEFT_NIC_HASH_IPV4	0x01
#define	WEFT_NIC_HASH_TCP_IPV4	0x02
#define	WEFT_NIC_HASH_IPV6	0x04
#define	WEFT_NIC_HASH_TCP_IPV6	0x08
#define	WEFT_NIC_HASH_UDP_IPV4	0x10
#define	WEFT_NIC_HASH_UDP_IPV6	0x20

/* What the device is to be from begin to stop; all within the offer. */
struct weft_nic_setup {
	uint8_t		mac[6];
	uint16_t	vectors;	/* in use */
	uint16_t	event_vector;	/* that of all but queues */
	uint16_t	tx_queues;
	uint16_t	rx_queues;
	uint16_t	tx_slots;
	uint16_t	rx_slots;
	uint32_t	mtu;
	uint32_t	frame_bytes;	/* with header and tag, without CRC */
	uint32_t	rx_bytes;	/* of a receive buffer */
	uint32_t	capabilities;	/* IFCAP_* that are on */
	uint32_t	features;	/* likewise */
	uint32_t	hashes;		/* for RSS: WEFT_NIC_HASH_IPV4 ... */
	uint8_t		key[40];
	uint8_t		table[128];	/* queue by the low bits of the hash */
};

/*
 * A queue's descriptors.  The library fills and empties them in order, and says
 * where it is; a driver only reads this, but for softc.  The device has used
 * descriptors from oldest on; the others are the driver's.
 */
struct weft_nic_ring {
	void		*softc;		/* the device's, unless changed */
	void		*desc;		/* zeroes at first */
	uint64_t	 address;	/* of these, for the device */
	uint16_t	 slots;
	uint16_t	 queue;		/* its number */
	uint16_t	 vector;	/* its interrupt */
	uint16_t	 next;		/* to be filled next */
	uint16_t	 oldest;	/* of what the device has */
	uint16_t	 used;		/* that it has */
};

/* The number of the descriptor n behind another one, n being slots at most. */
static __inline u_int
weft_nic_slot(const struct weft_nic_ring *ring, u_int slot, u_int n)
{
	u_int number = slot + n;

	return (number < ring->slots ? number : number - ring->slots);
}

/* What a device is to do with a frame.  Offsets are from its first byte. */
enum weft_nic_task {
	WEFT_NIC_PLAIN,			/* nothing */
	WEFT_NIC_CHECKSUM,		/* sum from transport on, put at sum */
	WEFT_NIC_CUT,			/* TCP, into segments of mss bytes */
};
#define	WEFT_NIC_IPV6	0x01		/* else IPv4 */
#define	WEFT_NIC_TCP	0x02		/* else UDP */
#define	WEFT_NIC_TAG	0x04		/* to be put in, or was taken out */

struct weft_nic_offload {
	uint8_t		task;		/* enum weft_nic_task */
	uint8_t		flags;		/* WEFT_NIC_IPV6 ... */
	/* With a task, but for the tag: */
	uint16_t	network;	/* IP header */
	uint16_t	transport;	/* TCP or UDP header */
	uint16_t	sum;		/* checksum; has the pseudo-header's */
	uint16_t	payload;	/* behind all headers */
	uint16_t	mss;
	uint16_t	tag;		/* of VLAN: priority and number */
};

/* What a device says of a receive buffer that it is done with. */
#define	WEFT_NIC_IP_SEEN	0x08	/* it has checked the IPv4 header */
#define	WEFT_NIC_IP_GOOD	0x10	/* and that is right */
#define	WEFT_NIC_L4_SEEN	0x20	/* the same of TCP or UDP */
#define	WEFT_NIC_L4_GOOD	0x40

struct weft_nic_received {
	uint32_t	skip;		/* where the bytes begin */
	uint32_t	bytes;		/* 0 if nothing of a frame is there */
	bool		last;		/* the frame ends here; with it: */
	bool		bad;		/* to be counted and dropped */
	uint8_t		flags;		/* WEFT_NIC_TAG, WEFT_NIC_IP_SEEN ... */
	uint8_t		hash_type;	/* M_HASHTYPE_*, or 0 */
	uint32_t	hash;
	uint16_t	tag;
	uint16_t	merged;		/* of how many frames (LRO), or 0 */
};

/* Which frames to receive, beside those to the device and to all. */
struct weft_nic_filter {
	bool		promiscuous;	/* all */
	bool		all_groups;	/* those to any group */
	/* Those to these groups; to any, if there are more than it can hold. */
	u_int		count;
	const uint8_t	(*groups)[6];
};

struct weft_nic_link {
	bool		up;
	bool		full_duplex;
	uint32_t	mbps;		/* 0 if it is not known */
};

/* Something that the device counts, for dev.<driver>.<unit>. */
enum weft_nic_scope {
	WEFT_NIC_OF_DEVICE,
	WEFT_NIC_OF_TX,			/* of each transmit queue */
	WEFT_NIC_OF_RX,
};

struct weft_nic_figure {
	uint8_t		 scope;		/* enum weft_nic_scope */
	const char	*name;		/* letters, digits and _, 31 at most */
	const char	*about;
};

/* Why an interrupt came; 0: it is not the device's. */
#define	WEFT_NIC_QUEUES		0x01	/* queues of the vector have work */
#define	WEFT_NIC_EVENT		0x02	/* events has something to say */

/* What events says. */
#define	WEFT_NIC_LINK		0x01	/* the link may have changed */
#define	WEFT_NIC_RESET		0x02	/* nothing goes on without a reset */

/*
 * How a device differs.  softc is what weft_nic_attach() was given.  The table
 * and what it points to stay as they are while a device is attached.  Functions
 * that are marked (optional) may be NULL.
 *
 * Order of calls:
 *
 *	( begin, tx_init of each, rx_init of each, filter, start, ..., stop )*
 *
 * stop also follows what has failed on the way to start, and may come twice.  A
 * reset is the same calls again.  One thread at a time makes them, and may
 * sleep.  A ring is there from tx_init or rx_init on until after stop.
 *
 * tx_* of one queue, and rx_* of one, are called by one thread at a time, with
 * a mutex held: they do not sleep, and call neither the library nor the stack,
 * but for weft_nic_interrupt() and weft_nic_event().  Different queues are
 * called at the same time.  Only *_kick, *_arm and rx_moderate may touch
 * registers.
 *
 * intr_* are called in any context, by any number of threads at a time.
 */
struct weft_nic_driver {
	uint32_t	abi;		/* WEFT_NIC_ABI */
	uint32_t	size;		/* sizeof(struct weft_nic_driver) */
	uint16_t	tx_bytes;	/* of a transmit descriptor */
	uint16_t	rx_bytes;	/* of a receive descriptor */
	uint16_t	align;		/* of a ring's first, a power of two */
	/* Descriptors that a frame may need beside one for each segment. */
	uint16_t	extra;
	/* That are never filled: 1 if a full ring is like an empty one. */
	uint16_t	spare;
	uint16_t	nfigures;	/* 255 at most */
	const struct weft_nic_figure *figures;

	/* Resets the device, and sets all but queues. (optional) */
	int	(*begin)(void *softc, const struct weft_nic_setup *setup);
	/* Tells the device of a queue. */
	int	(*tx_init)(void *softc, struct weft_nic_ring *ring);
	int	(*rx_init)(void *softc, struct weft_nic_ring *ring);
	/* Has it go, with all vectors masked and no queue armed. */
	int	(*start)(void *softc);
	/* When this returns, it touches no memory and interrupts no more. */
	void	(*stop)(void *softc);
	/* Whenever it changes, too. (optional, if all is received) */
	void	(*filter)(void *softc, const struct weft_nic_filter *filter);
	void	(*link)(void *softc, struct weft_nic_link *link);
	/* After WEFT_NIC_EVENT and each second: WEFT_NIC_LINK ... (optional) */
	u_int	(*events)(void *softc);
	/* The figure of that place in figures. */
	uint64_t (*figure)(void *softc, u_int place, u_int queue);

	/* Why it came; then a line is quiet.  (optional: all may be) */
	u_int	(*intr_cause)(void *softc, u_int vector);
	/* None from now on.  (optional, if an interrupt masks its vector) */
	void	(*intr_mask)(void *softc, u_int vector);
	/* Undoes that, but of a vector that only transmits. (optional) */
	void	(*intr_unmask)(void *softc, u_int vector);

	/*
	 * Describes a frame from ring->next on, in as many descriptors as it
	 * returns: one for each segment and extra at most, for which there is
	 * room.
	 */
	u_int	(*tx_put)(struct weft_nic_ring *ring,
		    const struct weft_nic_segment *segments, u_int count,
		    const struct weft_nic_offload *offload);
	/* Tells the device of all up to ring->next, once a burst. */
	void	(*tx_kick)(struct weft_nic_ring *ring);
	/* Whether it is done with the frame that these are the ends of. */
	bool	(*tx_done)(struct weft_nic_ring *ring, u_int first, u_int last);
	/*
	 * One interrupt when it is done with another frame; unmasks the vector
	 * if it is the queue's alone.  Is followed by tx_done.
	 */
	void	(*tx_arm)(struct weft_nic_ring *ring);

	/* Gives the device a buffer, by the descriptor ring->next. */
	void	(*rx_put)(struct weft_nic_ring *ring,
		    const struct weft_nic_segment *buffer);
	/* Tells the device of all up to ring->next, once a burst. */
	void	(*rx_kick)(struct weft_nic_ring *ring);
	/*
	 * Whether it is done with the buffer of ring->oldest, and with what.
	 * received is all zeroes before.  May be asked again of the same one.
	 */
	bool	(*rx_take)(struct weft_nic_ring *ring,
		    struct weft_nic_received *received);
	/* One interrupt when a buffer is done.  Is followed by rx_take. */
	void	(*rx_arm)(struct weft_nic_ring *ring);
	/* Interrupts so far apart at least, in nanoseconds.  (optional) */
	void	(*rx_moderate)(struct weft_nic_ring *ring, u_int gap);
};

/*
 * Gives a device that is quiet to the library, and its interface to the system.
 * *nic is set before any of the driver's functions is called but for
 * intr_cause, and is NULL after an error, which has been logged: EPROGMISMATCH
 * if the driver was compiled with another WEFT_NIC_ABI, EINVAL if something is
 * out of range.  Sleeps; to be called by a device_attach method.
 */
int	weft_nic_attach(device_t dev, const struct weft_nic_driver *driver,
	    void *softc, const struct weft_nic_offer *offer,
	    struct weft_nic **nic);

/*
 * Takes the interface out of the system, stops the device, frees everything.
 * EBUSY if it can't be now, which has been logged; then nothing has changed.
 * Does nothing with NULL.  Sleeps; to be called by a device_detach method.
 */
int	weft_nic_detach(struct weft_nic *nic);

/* Stops the device until it is resumed.  Also for shutdown.  Sleeps. */
void	weft_nic_suspend(struct weft_nic *nic);
void	weft_nic_resume(struct weft_nic *nic);

/*
 * A vector has interrupted that the library has not allocated: masks it, and
 * has its queues served soon.  Other numbers do nothing.  Any thread, mutexes
 * may be held, spin locks not.
 */
void	weft_nic_interrupt(struct weft_nic *nic, u_int vector);

/* Has events asked soon.  In the same contexts. */
void	weft_nic_event(struct weft_nic *nic);

#endif /* _WEFT_NIC_H_ */
