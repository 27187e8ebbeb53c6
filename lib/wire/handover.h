/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_HANDOVER_H
#define WIRE_HANDOVER_H

/*
 * The state of an endpoint, as one process hands it over to another on the same machine: a list of records, and fds beside it, which
 * belong to the records in their order. Most records are messages of the transport's own (of vhost-user: the request's number, and its
 * payload), by which a fresh session comes to be what this one was. CUSE has records of its own: a node, and behind it its openers.
 *
 *	0	"vireohnd"
 *	8	version, 1
 *	12	the transport, HANDOVER_VHOST_USER or HANDOVER_CUSE
 *	16	bytes that follow
 *	20	fds
 *	24	records: what, fds, bytes (32 bits each), then so many bytes
 *
 * Numbers are in this machine's byte order. The bytes are anybody's: pure functions, no fd is looked at.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HANDOVER_VERSION 1u
#define HANDOVER_VHOST_USER 1u
#define HANDOVER_CUSE 2u
#define HANDOVER_BYTES_MAX (16u << 20)
#define HANDOVER_FDS_MAX 65536u

/* Records that are no messages. */
#define HANDOVER_ENDPOINT 0x1000u /* struct handover_endpoint; fds: the listening socket, the connection */
#define HANDOVER_QUEUE 0x1001u /* struct handover_queue */
#define HANDOVER_DEVICE_STATE 0x1002u /* device/state.c's */
#define HANDOVER_NODE 0x1003u /* struct handover_node, and behind it the kernel's first request; fd: the node's open file of /dev/cuse */
#define HANDOVER_OPENER 0x1004u /* struct handover_opener; what follows is its device's, until the next one */
#define HANDOVER_REGION 0x1005u /* struct handover_region; fd: its file */
#define HANDOVER_RING 0x1006u /* struct handover_ring; fds: those that its flags say, in their order */

#define HANDOVER_LISTENS 1u /* there is a listening socket */
#define HANDOVER_CONNECTED 2u /* there is a connection */
#define HANDOVER_RAN 4u /* a ring of it has run */
#define HANDOVER_TELLS 8u /* the peer is still to be told that the config space has changed */

struct handover_endpoint {
	uint64_t socket_device, socket_inode; /* of the path */
	uint32_t flags, zero;
};

struct handover_queue {
	uint32_t index, flags; /* DEVICE_QUEUE_* */
};

struct handover_node {
	uint64_t pid_namespace; /* in which its callers are numbered: the inode of /proc/self/ns/pid */
	uint32_t opened; /* so often, so far */
	uint32_t zero;
};

#define HANDOVER_OPENER_DEVICE 1u /* it has a device, whose state, regions and rings follow */
#define HANDOVER_OPENER_BROKEN 2u

struct handover_opener {
	uint32_t number, flags;
	uint32_t process, owner; /* 0: nobody */
	uint64_t features, backend_features;
	uint32_t device; /* which one it has, as the program numbers them; 0: not told */
	uint32_t zero;
};

struct handover_region {
	uint64_t gpa, bytes, uaddr, offset;
};

#define HANDOVER_RING_ADDRESSED 1u
#define HANDOVER_RING_BASED 2u
#define HANDOVER_RING_ENABLED 4u
#define HANDOVER_RING_CALL 8u /* it has such an fd */
#define HANDOVER_RING_ERROR 0x10u
#define HANDOVER_RING_KICK 0x20u

struct handover_ring {
	uint32_t index, flags, queue_flags; /* DEVICE_QUEUE_* */
	uint32_t size, base, busyloop_us;
	uint64_t desc, driver, device_area;
};

struct handover_record {
	uint32_t what;
	uint32_t bytes;
	const uint8_t *payload;
	unsigned fd_first, fd_count;
};

struct handover_reader {
	const uint8_t *at;
	size_t left;
	unsigned fd_next, fd_count;
};

/* -EINVAL, and *why (static): it is no such list, of another version or transport, or of another length. */
int handover_read(uint32_t transport, const void *data, size_t bytes, unsigned fd_count, struct handover_reader *ret_reader, const char **why);
/* 1: the next record, 0: there are no more, and no fd is left over, or -EINVAL and *why (static). */
int handover_next(struct handover_reader *reader, struct handover_record *ret_record, const char **why);

struct handover_writer {
	uint8_t *data;
	int *fds; /* borrowed */
	size_t bytes, room;
	unsigned fd_count, fd_room;
	uint32_t transport;
	int err; /* sticks */
};

void handover_begin(struct handover_writer *writer, uint32_t transport);
void handover_add(struct handover_writer *writer, uint32_t what, const void *payload, size_t bytes, const int *fds, unsigned fd_count);
int handover_end(struct handover_writer *writer); /* 0, -ENOMEM or -E2BIG */
void handover_free(struct handover_writer *writer);

#endif
