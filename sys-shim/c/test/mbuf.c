/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of many shapes, and what the stack does with them, for tests. */
#include "weft_shim.h"

#include <sys/uio.h>

void
weft_shim_mbuf_catpkt(struct mbuf *m, struct mbuf *other)
{

	m_catpkt(m, other);
}

void
weft_shim_mbuf_copyback(struct mbuf *m, const void *bytes, u_int len)
{

	m_copyback(m, 0, len, bytes);
}

void
weft_shim_mbuf_add_tag(struct mbuf *m, struct m_tag *tag)
{

	m_tag_prepend(m, tag);
}

/* A packet of mbufs with no more than so many bytes each. */
struct mbuf *
weft_shim_mbuf_scattered(const void *bytes, u_int len, u_int piece)
{
	struct mbuf *first, *last, *m;
	u_int done, n;

	if ((first = last = m_gethdr(M_NOWAIT, MT_DATA)) == NULL)
		return (NULL);
	first->m_len = 0;
	for (done = 0; done < len; done += n) {
		n = MIN(MIN(len - done, piece), MLEN);
		if ((m = m_get(M_NOWAIT, MT_DATA)) == NULL) {
			m_freem(first);
			return (NULL);
		}
		bcopy((const char *)bytes + done, mtod(m, char *), n);
		m->m_len = n;
		last->m_next = m;
		last = m;
	}
	first->m_pkthdr.len = len;
	return (first);
}

/* A packet whose bytes are in pages that are mapped nowhere. */
struct mbuf *
weft_shim_mbuf_unmapped(const void *bytes, u_int len)
{
	struct iovec iov = { __DECONST(void *, bytes), len };
	struct uio uio = {
		.uio_iov = &iov,
		.uio_iovcnt = 1,
		.uio_resid = len,
		.uio_segflg = UIO_SYSSPACE,
		.uio_rw = UIO_WRITE,
		.uio_td = curthread,
	};
	struct mbuf *m;

	if ((m = m_gethdr(M_NOWAIT, MT_DATA)) == NULL)
		return (NULL);
	m->m_len = 0;
	m->m_pkthdr.len = len;
	m->m_next = m_uiotombuf(&uio, M_NOWAIT, len, 0, M_EXTPG);
	if (m->m_next == NULL) {
		m_freem(m);
		return (NULL);
	}
	return (m);
}
