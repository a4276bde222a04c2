/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What weft.ko offers to other modules.  One that uses it says so by
 *
 *	MODULE_DEPEND(mine, weft, 1, 1, 1);
 *
 * All of it may be called in any context, from interrupt filters on: nothing
 * sleeps, allocates or takes a lock.  An mbuf chain is only read.  It may have any
 * shape: empty mbufs, odd lengths, unmapped pages (M_EXTPG).  Bytes that it does
 * not have are not read; then the sum is that of those that are there.
 */
#ifndef _WEFT_H_
#define	_WEFT_H_

#include <sys/types.h>

/*
 * Goes up when something is added, and is then part of its comment.  What is there
 * is neither changed nor taken away as long as the module's version, 1, is the same.
 */
#define	WEFT_API	1

struct mbuf;

/* The WEFT_API of the module that is loaded. */
u_int	 weft_api(void);

/*
 * As in_cksum_skip(9), to the bit: the Internet checksum (RFC 1071) of the bytes
 * from skip to len, as it is put into a header: in network order.
 */
u_short	 weft_in_cksum_skip(const struct mbuf *m, int len, int skip);

/* The same of len bytes in one piece. */
u_short	 weft_in_cksum_data(const void *data, size_t len);

/*
 * The checksum sum after len bytes that it covers, at an even offset, have changed
 * from those at before to those at after (RFC 1624).  All is in network order.
 */
u_short	 weft_in_cksum_change(u_short sum, const void *before,
	    const void *after, size_t len);

/*
 * CRC32c (RFC 9260, appendix A) of the bytes from skip to len, as SCTP puts it
 * into its header, whose checksum must be 0 meanwhile.
 */
uint32_t weft_sctp_cksum(const struct mbuf *m, int len, int skip);

/*
 * CRC32c of bytes that follow others, whose value was crc; 0 if there are none.
 */
uint32_t weft_crc32c(uint32_t crc, const void *data, size_t len);

#endif /* _WEFT_H_ */
