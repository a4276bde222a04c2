/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets that ask an interface for anything, whatever it has, for tests. */
#include "weft_shim.h"

#include <net/if.h>
#include <net/if_private.h>

/*
 * The next so many bytes: first those of the header, then those that are counted
 * by their places.
 */
static void
fill(char *to, u_int from, u_int len, const char *header, u_int header_len)
{
	u_int n;

	for (n = 0; n < len; n++, from++)
		to[n] = from < header_len ? header[from] :
		    (char)((from * 7) ^ (from >> 8));
}

/*
 * Has the interface of that name send a packet that begins with the header, in so many
 * mbufs, or more if it is long, with these of its header's fields.  Waits for memory.
 */
int
weft_test_offload(const char *name, const void *header, u_int header_len,
    const struct weft_test_asked *asked)
{
	struct epoch_tracker et;
	struct mbuf *first, *m, *last;
	struct ifnet *ifp;
	u_int done, len, piece;
	int error;

	ifp = ifunit_ref(name);
	if (ifp == NULL)
		return (ENXIO);
	len = header_len + asked->payload;
	piece = howmany(len, MAX(asked->pieces, 1));
	piece = MIN(piece, MJUMPAGESIZE);
	first = last = NULL;
	for (done = 0; done < len; done += m->m_len) {
		m = m_get2(MIN(piece, len - done), M_WAITOK, MT_DATA,
		    first == NULL ? M_PKTHDR : 0);
		m->m_len = MIN(piece, len - done);
		fill(mtod(m, char *), done, m->m_len, header, header_len);
		if (first == NULL)
			first = m;
		else
			last->m_next = m;
		last = m;
	}
	first->m_pkthdr.len = len;
	first->m_pkthdr.csum_flags = asked->csum_flags;
	first->m_pkthdr.tso_segsz = asked->segsz;
	if (asked->is_tagged) {
		first->m_flags |= M_VLANTAG;
		first->m_pkthdr.ether_vtag = asked->vtag;
	}
	NET_EPOCH_ENTER(et);
	error = (*ifp->if_transmit)(ifp, first);
	NET_EPOCH_EXIT(et);
	if_rele(ifp);
	return (error);
}
