/* SPDX-License-Identifier: BSD-2-Clause */
/* The card: see card.h. */
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/mutex.h>
#include <sys/uio.h>

#include <machine/atomic.h>

#include <weft.h>

#include "card.h"

/* Held while a frame is on the cable, or a card comes, goes, runs or stops. */
static struct mtx cable;
MTX_SYSINIT(memnic_cable, &cable, "memnic cable", MTX_DEF);

static struct card *cards[CARD_COUNT];

/* The one at the other end, if it runs. */
static struct card *
peer(struct card *card)
{
	struct card *other = cards[card->number ^ 1];

	mtx_assert(&cable, MA_OWNED);
	return (other != NULL && other->running ? other : NULL);
}

void
card_plug(struct card *card, u_int number)
{

	mtx_lock(&cable);
	card->number = number;
	cards[number] = card;
	mtx_unlock(&cable);
}

void
card_pull(struct card *card)
{

	mtx_lock(&cable);
	cards[card->number] = NULL;
	mtx_unlock(&cable);
}

void
card_run(struct card *card, bool run)
{
	struct card *other;

	mtx_lock(&cable);
	other = peer(card);
	if (other != NULL && card->running != run)
		other->link_changed(other->driver);
	card->running = run;
	mtx_unlock(&cable);
}

bool
card_has_link(struct card *card)
{
	bool up;

	mtx_lock(&cable);
	up = peer(card) != NULL;
	mtx_unlock(&cable);
	return (up);
}

static void
done(struct card *card, struct card_queue *q, uint32_t flags)
{

	atomic_store_rel_32(&q->ring[q->head].flags, flags | CARD_DONE);
	q->head = (q->head + 1) % q->slots;
	if (atomic_swap_32(&q->armed, 0) != 0)
		card->interrupt(card->driver);
}

static void
receive(struct card *card, uint8_t *frame, uint32_t bytes, uint32_t flags)
{
	struct card_queue *q = &card->rx;
	struct card_desc *d = &q->ring[q->head];

	if (q->head == atomic_load_acq_32(&q->tail) || d->bytes < bytes) {
		card->no_buffer++;
		return;
	}
	physcopyin(frame, d->address, bytes);
	d->bytes = bytes;
	done(card, q, flags | CARD_LAST);
}

/* Puts a frame's sum in; whether there is one. */
static bool
fill(uint8_t *frame, uint32_t bytes, uint16_t from, uint16_t at)
{
	uint16_t sum;

	if (at == 0 || from > bytes || at + sizeof(sum) > bytes)
		return (false);
	sum = weft_in_cksum_data(&frame[from], bytes - from);
	if (sum == 0)		/* which would be none, for UDP */
		sum = 0xffff;
	memcpy(&frame[at], &sum, sizeof(sum));
	return (true);
}

void
card_send(struct card *card, uint32_t tail)
{
	struct card_queue *q = &card->tx;
	struct card *to;
	uint32_t bytes = 0;

	mtx_lock(&cable);
	q->tail = tail;
	while (card->running && q->head != q->tail) {
		struct card_desc d = q->ring[q->head];
		uint32_t n = MIN(d.bytes, CARD_FRAME - bytes);
		bool good;

		physcopyout(d.address, &card->frame[bytes], n);
		bytes += n;
		done(card, q, d.flags);
		if ((d.flags & CARD_LAST) == 0)
			continue;
		good = fill(card->frame, bytes, d.sum_from, d.sum_at);
		to = peer(card);
		if (to == NULL)
			card->no_cable++;
		else
			receive(to, card->frame, bytes,
			    good ? CARD_SUM_GOOD : 0);
		bytes = 0;
	}
	mtx_unlock(&cable);
}
