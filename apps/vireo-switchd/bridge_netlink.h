/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_BRIDGE_NETLINK_H
#define SWITCHD_BRIDGE_NETLINK_H

/*
 * Messages of rtnetlink(7) about a port of the kernel's bridge, made and read: pure functions. An address is given to the bridge as one that
 * somebody outside of it has learned (NTF_EXT_LEARNED): the bridge does not age it, and lets it go when it hears of it elsewhere.
 */

#include "bridge_table.h"
#include <stddef.h>

#define BRIDGE_REQUEST_BYTES 64u /* the longest */

/* Each fills in a request, and returns its bytes. */
size_t bridge_request_change(uint8_t request[BRIDGE_REQUEST_BYTES], uint32_t number, int interface, const struct bridge_change *change);
size_t bridge_request_entry(uint8_t request[BRIDGE_REQUEST_BYTES], uint32_t number, int interface, const struct bridge_address *address);
size_t bridge_request_link(uint8_t request[BRIDGE_REQUEST_BYTES], uint32_t number, int interface);
size_t bridge_request_vlans(uint8_t request[BRIDGE_REQUEST_BYTES], uint32_t number); /* of all ports of bridges */
size_t bridge_request_addresses(uint8_t request[BRIDGE_REQUEST_BYTES], uint32_t number, int interface);

struct bridge_message {
	unsigned type;
	uint32_t number; /* of the request that it answers */
	bool interrupted; /* what is told has changed meanwhile: ask again */
	const uint8_t *body;
	size_t bytes;
};

/* Takes the next message out of what was received. False: there is none that is whole. */
bool bridge_message_next(const uint8_t **at, size_t *bytes, struct bridge_message *ret_message);
/* The end of an answer: 0, or a negative errno. False: it goes on. */
bool bridge_message_ends(const struct bridge_message *message, int *ret_err);

struct bridge_link {
	int master; /* 0: none */
	bool of_bridge; /* the master is a bridge */
	bool filters;	/* it is a bridge, and knows VLANs */
	char name[16];
};

/* Each is false, and changes nothing, if that is not what the message tells of this interface. */
bool bridge_message_link(const struct bridge_message *message, int interface, struct bridge_link *ret_link);
bool bridge_message_pvid(const struct bridge_message *message, int interface, uint16_t *ret_pvid); /* 0: none */
bool bridge_message_address(const struct bridge_message *message, int interface, struct bridge_address *ret_address);
/*
 * The entry that was asked for is not to be touched: it is the address of the bridge itself or of a port of it, or static or sticky, and not what
 * has been told of this interface. The kernel itself would let us have it.
 */
bool bridge_message_kept(const struct bridge_message *message, int interface);

#endif
