/* SPDX-License-Identifier: BSD-2-Clause */
/* Mbufs, and the ones that are embedded in this module's buffers, mbuf(9). */
#include "weft_shim.h"

#include <sys/mbuf.h>

#include <net/if_vlan_var.h>

/*
 * The engine keeps what is its own where an mbuf with M_EXT, but not M_EXTPG,
 * has nothing.
 */
_Static_assert(sizeof(struct mbuf) == WEFT_EMBEDDED, "size of struct mbuf");
_Static_assert(offsetof(struct mbuf, m_ext.ext_arg2) + sizeof(void *) ==
    WEFT_ENGINE_FROM, "what of m_ext comes first");
_Static_assert(offsetof(struct mbuf, m_ext.ext_free) == WEFT_ENGINE_TO,
    "what of m_ext comes last");

/* What Rust reads and writes by itself. */
#define	SAME(theirs, ours)						\
	_Static_assert(offsetof(struct mbuf, theirs) ==			\
	    offsetof(struct weft_mbuf_link, ours) &&			\
	    sizeof(((struct mbuf *)NULL)->theirs) ==			\
	    sizeof(((struct weft_mbuf_link *)NULL)->ours), #theirs)
SAME(m_next, next);
SAME(m_nextpkt, nextpkt);
SAME(m_data, data);
SAME(m_len, len);
SAME(m_pkthdr.rcvif, rcvif);
SAME(m_pkthdr.leaf_rcvif, leaf_rcvif);
SAME(m_pkthdr.tags, tags);
SAME(m_pkthdr.len, packet_len);
SAME(m_pkthdr.flowid, flowid);
SAME(m_pkthdr.csum_flags, csum_flags);
SAME(m_pkthdr.fibnum, fib);
SAME(m_pkthdr.numa_domain, numa_domain);
SAME(m_pkthdr.rsstype, rsstype);
SAME(m_pkthdr.rcv_tstmp, timestamp);
SAME(m_pkthdr.ether_vtag, vtag);
SAME(m_pkthdr.tso_segsz, segsz);
SAME(m_pkthdr.lro_nsegs, segsz);
SAME(m_pkthdr.csum_data, csum_value);
SAME(m_pkthdr.PH_loc.thirtytwo[0], note);
/* Type and flags are the one word between m_len and the packet header. */
_Static_assert(offsetof(struct weft_mbuf_link, bits) ==
    offsetof(struct mbuf, m_len) + sizeof(int32_t) &&
    offsetof(struct mbuf, m_pkthdr) ==
    offsetof(struct weft_mbuf_link, bits) + sizeof(uint32_t),
    "flags of an mbuf");

static void
set_storage(struct mbuf *m, const struct weft_mbuf_storage *storage)
{

	m->m_flags |= M_EXT;
	m->m_ext.ext_cnt = storage->refs;
	m->m_ext.ext_size = storage->size;
	m->m_ext.ext_type = EXT_EXTREF;
	m->m_ext.ext_flags = 0;
	m->m_ext.ext_buf = storage->start;
	m->m_ext.ext_arg1 = m->m_ext.ext_arg2 = storage->buffer;
	m->m_ext.ext_free = storage->release;
	m->m_data = storage->data;
	m->m_len = m->m_pkthdr.len = storage->len;
}

/*
 * Makes an mbuf with a packet header in m, which is inside the buffer that it
 * has for its external storage: data and the bytes around it.  It is never
 * freed; release gets the buffer when refs, which is 1 now, has gone to 0.  The
 * error is that of mac(9).
 */
int
weft_shim_mbuf_embed(struct mbuf *m, const struct weft_mbuf_storage *storage)
{
	int error;

	error = m_init(m, M_NOWAIT, MT_DATA, M_PKTHDR | M_NOFREE);
	if (error == 0)
		set_storage(m, storage);
	return (error);
}

/* An mbuf of its own that takes over one reference to such storage, to read. */
struct mbuf *
weft_shim_mbuf_refer(const struct weft_mbuf_storage *storage)
{
	struct mbuf *m;

	m = m_gethdr(M_NOWAIT, MT_DATA);
	if (m != NULL) {
		set_storage(m, storage);
		m->m_flags |= M_RDONLY;
	}
	return (m);
}

/* Puts a packet behind one that is a single mbuf and has the header for both. */
void
weft_shim_mbuf_chain(struct mbuf *m, struct mbuf *rest)
{

	m->m_pkthdr.len += rest->m_pkthdr.len;
	m_demote_pkthdr(rest);
	m->m_next = rest;
}

/*
 * Moves the header of from to m, a single mbuf, whose length and M_NOFREE stay.
 * From is left with an empty one.
 */
void
weft_shim_mbuf_move_header(struct mbuf *m, struct mbuf *from)
{
	uint32_t nofree;

	nofree = m->m_flags & M_NOFREE;
	m_move_pkthdr(m, from);
	m->m_flags |= nofree;
	m->m_pkthdr.len = m->m_len;
	from->m_flags |= M_PKTHDR;
	bzero(&from->m_pkthdr, sizeof(from->m_pkthdr));
}

/*
 * Whether m is such an mbuf, alone, with nothing in the way of taking its buffer
 * back; then what it has for its data.
 */
bool
weft_shim_mbuf_embedded(struct mbuf *m, m_ext_free_t *release,
    struct weft_mbuf_storage *storage)
{

	if ((m->m_flags & (M_PKTHDR | M_NOFREE | M_EXT)) !=
	    (M_PKTHDR | M_NOFREE | M_EXT) ||
	    m->m_ext.ext_type != EXT_EXTREF || m->m_ext.ext_free != release ||
	    m->m_next != NULL || m->m_nextpkt != NULL ||
	    *m->m_ext.ext_cnt != 1 || m->m_ext.ext_arg1 != m ||
	    m->m_data < m->m_ext.ext_buf || m->m_data + m->m_len >
	    m->m_ext.ext_buf + m->m_ext.ext_size ||
	    (m->m_pkthdr.csum_flags & CSUM_SND_TAG) != 0)
		return (false);
	storage->start = m->m_ext.ext_buf;
	storage->size = m->m_ext.ext_size;
	storage->data = m->m_data;
	storage->len = m->m_len;
	storage->refs = m->m_ext.ext_cnt;
	storage->buffer = m->m_ext.ext_arg1;
	return (true);
}

/* The buffer of an mbuf that is being freed. */
void *
weft_shim_mbuf_buffer(const struct mbuf *m)
{

	return (m->m_ext.ext_arg1);
}

/*
 * Sets what a packet header says beside its list of tags; of the flags, those in
 * mask.
 */
void
weft_shim_mbuf_set_meta(struct mbuf *m, const struct weft_mbuf_meta *meta,
    uint32_t mask)
{

	M_ASSERTPKTHDR(m);
	m->m_flags = (m->m_flags & ~mask) | (meta->flags & mask);
	m->m_pkthdr.rcv_tstmp = meta->timestamp;
	m->m_pkthdr.flowid = meta->flowid;
	m->m_pkthdr.csum_flags = meta->csum_flags;
	m->m_pkthdr.csum_data = meta->csum_value;
	m->m_pkthdr.ether_vtag = meta->vtag;
	m->m_pkthdr.tso_segsz = meta->segsz;
	m->m_pkthdr.fibnum = meta->fib;
	m->m_pkthdr.rsstype = meta->rsstype;
}

struct m_tag *
weft_shim_mbuf_tags(const struct mbuf *m)
{

	return (SLIST_FIRST(&m->m_pkthdr.tags));
}

void
weft_shim_mbuf_set_tags(struct mbuf *m, struct m_tag *first)
{

	SLIST_FIRST(&m->m_pkthdr.tags) = first;
}

/* Makes a packet that was sent one that the interface receives. */
void
weft_shim_mbuf_hand_over(struct mbuf *m, if_t ifp)
{

	if ((m->m_pkthdr.csum_flags & CSUM_SND_TAG) != 0) {
		m_snd_tag_rele(m->m_pkthdr.snd_tag);
		m->m_pkthdr.snd_tag = NULL;
		m->m_pkthdr.csum_flags &= ~CSUM_SND_TAG;
	}
	m_tag_delete_nonpersistent(m);
	if_setrcvif(m, ifp);
}

/* The same as below, of more bytes than an mbuf with a header has room for. */
static struct mbuf *
own_long_front(struct mbuf *m, u_int len)
{
	struct mbuf *front;

	front = (u_int)m->m_pkthdr.len < len ? NULL :
	    m_get2(max_linkhdr + len, M_NOWAIT, MT_DATA, M_PKTHDR);
	if (front == NULL) {
		m_freem(m);
		return (NULL);
	}
	m_copydata(m, 0, len, front->m_data + max_linkhdr);
	m_move_pkthdr(front, m);
	front->m_data += max_linkhdr;
	front->m_len = len;
	m_adj(m, len);
	front->m_next = m;
	return (front);
}

/*
 * The packet with its first bytes in one piece that nobody shares.  NULL, and the
 * packet is gone, if there is no memory or it is shorter.
 */
struct mbuf *
weft_shim_mbuf_own_front(struct mbuf *m, u_int len)
{

	if (M_WRITABLE(m) && (u_int)m->m_len >= len)
		return (m);
	if (len > MHLEN)
		return (own_long_front(m, len));
	return (m_copyup(m, len, 0));
}

/*
 * The packet with that many bytes of any value in front.  NULL, and the packet is
 * gone, if there is no memory.
 */
struct mbuf *
weft_shim_mbuf_grow_front(struct mbuf *m, u_int len)
{

	M_PREPEND(m, len, M_NOWAIT);
	return (m);
}

/*
 * Something that was asked of a device is done: what it is not to do any more, and
 * what it still is.
 */
void
weft_shim_mbuf_settle(struct mbuf *m, uint32_t done, uint32_t left, bool untag)
{

	m->m_pkthdr.csum_flags = (m->m_pkthdr.csum_flags & ~done) | left;
	if (untag) {
		m->m_flags &= ~M_VLANTAG;
		m->m_pkthdr.ether_vtag = 0;
	}
}

/*
 * Whoever receives the packet need not look at the IPv4 header's checksum, if its
 * sender has left that to hardware which the packet does not reach.
 */
void
weft_shim_mbuf_trust(struct mbuf *m)
{

	if ((m->m_pkthdr.csum_flags & CSUM_IP) != 0)
		m->m_pkthdr.csum_flags |= CSUM_IP_CHECKED | CSUM_IP_VALID;
}

/*
 * A packet of its own with the first headers bytes of m, a copy, and then len
 * bytes from from on, which are shared.  What is said of m beside its bytes
 * stays, but for the wish to be cut.
 */
struct mbuf *
weft_shim_mbuf_part(const struct mbuf *m, u_int headers, u_int from, u_int len)
{
	struct mbuf *part;

	part = m_get2(max_linkhdr + headers, M_NOWAIT, MT_DATA, M_PKTHDR);
	if (part == NULL)
		return (NULL);
	if (m_dup_pkthdr(part, m, M_NOWAIT) == 0)
		goto fail;
	part->m_data += max_linkhdr;
	m_copydata(m, 0, headers, mtod(part, char *));
	part->m_len = headers;
	part->m_next = m_copym(__DECONST(struct mbuf *, m), from, len,
	    M_NOWAIT);
	if (part->m_next == NULL)
		goto fail;
	part->m_pkthdr.len = headers + len;
	part->m_pkthdr.csum_flags &= ~(CSUM_TSO | CSUM_INNER_TSO);
	part->m_pkthdr.tso_segsz = 0;
	return (part);
fail:
	m_freem(part);
	return (NULL);
}

/* Packets on their way to and from devices. */

/*
 * Puts the bytes of other from skip on behind those of m; last is an mbuf of m's chain.
 * No less than skip bytes are in other.  What to say of the last one next time;
 * or NULL, and nothing has changed, if the first skip bytes of m are not m's alone and
 * in one piece.
 */
struct mbuf *
weft_shim_mbuf_join(struct mbuf *m, struct mbuf *last, struct mbuf *other,
    u_int skip)
{

	if (!M_WRITABLE(m) || (u_int)m->m_len < skip)
		return (NULL);
	m_adj(other, skip);
	m->m_pkthdr.len += other->m_pkthdr.len;
	m_demote_pkthdr(other);
	while (last->m_next != NULL)
		last = last->m_next;
	last->m_next = other;
	return (other);
}

/*
 * A header with a copy of so many bytes of a frame, behind whose Ethernet header
 * all is aligned, or nothing.
 */
struct mbuf *
weft_shim_mbuf_copied(const void *bytes, u_int len)
{
	struct mbuf *m;

	_Static_assert(ETHER_ALIGN + WEFT_COPIED <= MHLEN, "bytes to copy");
	m = m_gethdr(M_NOWAIT, MT_DATA);
	if (m != NULL) {
		m->m_data += ETHER_ALIGN;
		m->m_len = m->m_pkthdr.len = len;
		memcpy(m->m_data, bytes, len);
	}
	return (m);
}

/* A header with a cluster of so many bytes at least, or nothing. */
struct mbuf *
weft_shim_mbuf_with_cluster(u_int bytes)
{
	struct mbuf *m;
	int size;

	if (bytes <= MCLBYTES) {
		m = m_getcl(M_NOWAIT, MT_DATA, M_PKTHDR);
		if (m != NULL)
			m->m_len = m->m_pkthdr.len = MCLBYTES;
		return (m);
	}
	if (bytes <= MJUMPAGESIZE)
		size = MJUMPAGESIZE;
	else if (bytes <= MJUM9BYTES)
		size = MJUM9BYTES;
	else if (bytes <= MJUM16BYTES)
		size = MJUM16BYTES;
	else
		return (NULL);
	m = m_getjcl(M_NOWAIT, MT_DATA, M_PKTHDR, size);
	if (m != NULL)
		m->m_len = m->m_pkthdr.len = size;
	return (m);
}

/* Puts an mbuf with a header behind the last one of a packet. */
void
weft_shim_mbuf_append(struct mbuf *packet, struct mbuf *last, struct mbuf *m)
{

	packet->m_pkthdr.len += m->m_len;
	m_demote_pkthdr(m);
	last->m_next = m;
}
