/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_GUARD_H
#define SWITCH_GUARD_H

/*
 * guard.c: may a port say what this frame says? Pure: the first bytes of a frame (a private copy) and the port's rules in,
 * a verdict out.
 */

#include "switch/switch.h"

enum guard_verdict {
	GUARD_PASS,
	GUARD_MORE,       /* more of the frame has to be seen: only if there is more */
	GUARD_IP,         /* the IPv4 or IPv6 source is not the port's */
	GUARD_ARP,        /* ARP or RARP in another's name */
	GUARD_ND,         /* neighbour discovery in another's name */
	GUARD_DHCP,       /* what only a DHCP server sends */
	GUARD_ROUTER,     /* what only a router sends */
	GUARD_UNREADABLE, /* cut short, or more tags or extension headers than are looked through */
};

/*
 * `have_bytes` of the frame's len_bytes lie at `bytes`: at least 14, and all or enough of them. *ret_looked: the verdict holds as long as
 * so many of its first bytes stay as they are.
 */
enum guard_verdict guard_check(const struct sw_guard *guard, const uint8_t *bytes, uint32_t have_bytes, uint32_t len_bytes,
			       uint32_t *ret_looked);

/* Is there anything to check? */
bool guard_wanted(const struct sw_guard *guard);

#endif
