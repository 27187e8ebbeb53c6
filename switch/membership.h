/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MEMBERSHIP_H
#define SWITCH_MEMBERSHIP_H

/*
 * membership.c: what does a frame say of multicast groups? IGMP versions 1 to 3 (RFC 1112, 2236, 3376), MLD versions 1 and 2 (RFC 2710,
 * 3810). Pure: the first bytes of a frame (a private copy) in, checked fields out.
 */

#include <stdbool.h>
#include <stdint.h>

struct mcast_address {
	uint8_t family; /* 4 or 6; 0: none */
	uint8_t bytes[16];
};

enum membership_kind {
	MEMBERSHIP_NONE,   /* nothing about groups */
	MEMBERSHIP_MORE,   /* more of the frame has to be seen: only if there is more */
	MEMBERSHIP_BAD,    /* cut short, or it lies */
	MEMBERSHIP_QUERY,
	MEMBERSHIP_REPORT, /* who comes to groups, and who leaves them */
};

struct membership {
	struct mcast_address to;    /* of any frame to an IP multicast address: that */
	struct mcast_address group; /* of a query about one group: that */
	uint8_t source[16];         /* of the packet; all 0: nobody's */
	uint32_t response_ms;       /* of a query: hosts answer within so long */
	/* membership_next()'s, of a report. */
	uint8_t family, type;
	uint16_t records;
	uint32_t at;
};

enum membership_step { MEMBERSHIP_END, MEMBERSHIP_JOIN, MEMBERSHIP_LEAVE };

/*
 * `have_bytes` of the frame's len_bytes lie at `bytes`: at least 14. Its type stands at type_at. summed: the checksum has been filled in, and
 * has to be right.
 */
enum membership_kind membership_look(const uint8_t *bytes, uint32_t have_bytes, uint32_t len_bytes, uint32_t type_at, bool summed,
				     struct membership *ret);

/* What a report says next: of the same bytes. Records that change nothing are passed over. */
enum membership_step membership_next(const uint8_t *bytes, struct membership *report, struct mcast_address *ret_group);

/* Its frames go to everybody, whoever has asked for them (RFC 4541, 2.1.2 and 3; RFC 5771, 4): 224.0.0.0/24; ff01::/16, ff02::/16. */
bool mcast_is_local(const struct mcast_address *address);

#endif
