/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The card: what a data sheet would say of it.
 *
 * It has a ring of descriptors for frames that it sends, and one for buffers
 * into which it receives.  It uses both in order, says CARD_DONE in each
 * descriptor, and stops before the one that the doorbell names.  It fills in
 * one checksum of a frame if it is told where.  Cards are numbered, and joined
 * two by two: what 0 sends 1 receives, and the other way round.
 *
 * It is made of memory and has no engine of its own: frames are moved by the
 * thread that rings the doorbell.
 */
#ifndef _MEMNIC_CARD_H_
#define	_MEMNIC_CARD_H_

#define	CARD_COUNT	2
#define	CARD_SLOTS	4096		/* of a ring, at most */
#define	CARD_FRAME	9018		/* bytes of a frame, at most */

struct card_desc {
	uint64_t	address;	/* of memory */
	uint32_t	bytes;
	uint16_t	sum_from;	/* what is summed up begins here */
	uint16_t	sum_at;		/* and the sum goes here, if not 0 */
	uint32_t	flags;
#define	CARD_LAST	0x1		/* the frame ends here */
#define	CARD_DONE	0x2		/* said by the card */
#define	CARD_SUM_GOOD	0x4		/* likewise, when it receives */
};

struct card_queue {
	struct card_desc *ring;
	uint32_t	 slots;
	uint32_t	 tail;		/* doorbell */
	uint32_t	 armed;		/* 1: to interrupt once, when done */
	uint32_t	 head;		/* the card's own: what it uses next */
};

struct card {
	struct card_queue	 tx;
	struct card_queue	 rx;
	/* Its wires to the driver; a mutex is held. */
	void		(*interrupt)(void *);
	void		(*link_changed)(void *);
	void		*driver;
	/* The card's own. */
	u_int		 number;
	bool		 running;
	uint64_t	 no_buffer;	/* frames that found no buffer */
	uint64_t	 no_cable;	/* frames sent to nobody */
	uint8_t		 frame[CARD_FRAME];
};

/* Plugs it in, with its driver's fields set, or pulls it out. */
void	card_plug(struct card *, u_int number);
void	card_pull(struct card *);

/* Has it run, with queues set; when it does not it touches no memory. */
void	card_run(struct card *, bool run);

/* Rings the doorbell of the queue for sending. */
void	card_send(struct card *, uint32_t tail);

/* Whether the other one runs. */
bool	card_has_link(struct card *);

#endif /* !_MEMNIC_CARD_H_ */
