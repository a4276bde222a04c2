/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv6 packets given to the stack as by an interface, for tests. */
#include "weft_shim.h"

#include <netinet/in.h>
#include <netinet/ip6.h>
#include <netinet6/ip6_var.h>

/* A packet in a cluster, with so many bytes of these. */
struct mbuf *
weft_test_ip6(const void *bytes, u_int len)
{
	struct mbuf *m;

	if (len > MCLBYTES ||
	    (m = m_getcl(M_NOWAIT, MT_DATA, M_PKTHDR)) == NULL)
		return (NULL);
	bcopy(bytes, mtod(m, char *), len);
	m->m_len = m->m_pkthdr.len = len;
	m->m_pkthdr.rcvif = V_loif;
	return (m);
}

/*
 * Has the stack receive a list of them, linked by m_nextpkt, and returns the ticks that it
 * took.  In the network epoch.
 */
uint64_t
weft_test_ip6_input(struct mbuf *m)
{
	struct mbuf *next;
	uint64_t start;

	start = weft_shim_cpu_ticks();
	for (; m != NULL; m = next) {
		next = m->m_nextpkt;
		m->m_nextpkt = NULL;
		ip6_input(m);
	}
	return (weft_shim_cpu_ticks() - start);
}
