/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CUSE_IOTLB_H
#define CUSE_IOTLB_H

/*
 * What a guest's IOMMU lets the device see: messages (struct vhost_msg and vhost_msg_v2) as checked structs,
 * and the table of what they have said. Pure: no fd, no device.
 */

#include "mem/view.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IOTLB_WINDOWS_MAX 2048u /* as many as the kernel's vhost keeps; then the oldest goes */
#define IOTLB_MESSAGE_BYTES 72u /* of both versions */

struct iotlb_message {
	bool v2;
	uint8_t type, perm; /* VHOST_IOTLB_*, VHOST_ACCESS_* */
	uint64_t iova, uaddr, size_bytes;
};

/* An UPDATE or INVALIDATE. -EINVAL, and *why (static). */
int iotlb_parse(const void *data, size_t bytes, struct iotlb_message *ret, const char **why);
void iotlb_build(const struct iotlb_message *message, uint8_t out[IOTLB_MESSAGE_BYTES]);

struct iotlb {
	unsigned count;
	uint64_t made; /* windows so far */
	struct map_window windows[IOTLB_WINDOWS_MAX]; /* by gpa, which is the IOVA; none overlap */
	uint64_t numbers[IOTLB_WINDOWS_MAX]; /* beside them: `made` at their making */
};

/* What a message says of the table. A window takes the place of all that it overlaps. */
void iotlb_update(struct iotlb *iotlb, const struct map_window *window);
void iotlb_forget_oldest(struct iotlb *iotlb); /* there is one */
/* Forgets windows that overlap the range, whole. iova 0, size 0: all there are. */
void iotlb_invalidate(struct iotlb *iotlb, uint64_t iova, uint64_t size_bytes);

#endif
