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

struct iotlb_message {
	bool v2;
	uint8_t type, perm; /* VHOST_IOTLB_*, VHOST_ACCESS_* */
	uint64_t iova, uaddr, size_bytes;
};

/* An UPDATE or INVALIDATE. -EINVAL, and *why (static). */
int iotlb_parse(const void *data, size_t bytes, struct iotlb_message *ret, const char **why);
void iotlb_build(const struct iotlb_message *message, uint8_t out[IOTLB_MESSAGE_BYTES]);

#endif
