/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_IOTLB_H
#define WIRE_IOTLB_H

/*
 * IOTLB messages (linux/vhost_types.h: struct vhost_msg and vhost_msg_v2) as checked structs. What they say is kept in
 * mem/iotlb.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IOTLB_MESSAGE_BYTES 72u /* of both versions */
#define IOTLB_BODY_BYTES 32u /* of what is in them, and alone in vhost-user's messages */

struct iotlb_message {
	bool v2;
	uint8_t type, perm; /* VHOST_IOTLB_*, VHOST_ACCESS_* */
	uint64_t iova, uaddr, size_bytes;
};

/* An UPDATE or INVALIDATE. -EINVAL, and *why (static). */
int iotlb_parse(const void *data, size_t bytes, struct iotlb_message *ret, const char **why);
void iotlb_build(const struct iotlb_message *message, uint8_t out[IOTLB_MESSAGE_BYTES]);

/* The same for a body alone: `body` has IOTLB_BODY_BYTES, at any alignment. v2 is false. */
int iotlb_body_parse(const void *body, struct iotlb_message *ret, const char **why);
void iotlb_body_build(const struct iotlb_message *message, uint8_t out[IOTLB_BODY_BYTES]);

#endif
