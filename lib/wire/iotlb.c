/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/iotlb.h"
#include <errno.h>
#include <linux/vhost_types.h>
#include <string.h>

/*
 * Both versions of a message are of 72 bytes with the body at byte 8, for a caller of 64 bits. A caller of 32
 * bits has version 1 with its body at byte 4: that is why version 2 was made, and what it is told.
 */

#define BODY_AT 8u

_Static_assert(sizeof(struct vhost_msg) == IOTLB_MESSAGE_BYTES &&
		       sizeof(struct vhost_msg_v2) == IOTLB_MESSAGE_BYTES,
	       "linux/vhost_types.h");
_Static_assert(offsetof(struct vhost_msg, iotlb) == BODY_AT &&
		       offsetof(struct vhost_msg_v2, iotlb) == BODY_AT,
	       "linux/vhost_types.h");
_Static_assert(sizeof(struct vhost_iotlb_msg) == IOTLB_BODY_BYTES, "vhost-user: \"IOTLB message\"");

static int refuse(const char *text, const char **why)
{
	*why = text;
	return -EINVAL;
}

static int body_check(const struct iotlb_message *message, const char **why)
{
	uint64_t end;

	if (message->type != VHOST_IOTLB_UPDATE && message->type != VHOST_IOTLB_INVALIDATE)
		return refuse("an IOTLB message that is neither UPDATE nor INVALIDATE", why);
	/* Size 0 is what is left of 2^64 bytes: front ends invalidate everything with it. */
	if (message->type == VHOST_IOTLB_INVALIDATE)
		return message->iova + (message->size_bytes - 1) < message->iova
			       ? refuse("an IOTLB range that wraps round", why)
			       : 0;
	if (!message->size_bytes || __builtin_add_overflow(message->iova, message->size_bytes, &end))
		return refuse("an IOTLB entry that is empty or wraps round", why);
	if (__builtin_add_overflow(message->uaddr, message->size_bytes, &end))
		return refuse("an IOTLB entry whose user address wraps round", why);
	if (!message->perm || message->perm > VHOST_ACCESS_RW)
		return refuse("an IOTLB entry that permits nothing", why);
	return 0;
}

int iotlb_body_parse(const void *data, struct iotlb_message *ret, const char **why)
{
	struct iotlb_message message;
	struct vhost_iotlb_msg body;
	int r;

	memcpy(&body, data, sizeof(body));
	message = (struct iotlb_message){
		.type = body.type,
		.perm = body.perm,
		.iova = body.iova,
		.uaddr = body.uaddr,
		.size_bytes = body.size,
	};
	r = body_check(&message, why);
	if (!r)
		*ret = message;
	return r;
}

int iotlb_parse(const void *data, size_t bytes, struct iotlb_message *ret, const char **why)
{
	uint32_t version;
	int r;

	if (bytes < BODY_AT + IOTLB_BODY_BYTES)
		return refuse("an IOTLB message that is too short", why);
	memcpy(&version, data, sizeof(version));
	if (version != VHOST_IOTLB_MSG && version != VHOST_IOTLB_MSG_V2)
		return refuse("an IOTLB message of no known version", why);
	if (version == VHOST_IOTLB_MSG && bytes != IOTLB_MESSAGE_BYTES)
		return refuse(
			"an IOTLB message of another size: a caller of 32 bits needs VHOST_IOTLB_MSG_V2",
			why);
	r = iotlb_body_parse((const uint8_t *)data + BODY_AT, ret, why);
	if (!r)
		ret->v2 = version == VHOST_IOTLB_MSG_V2;
	return r;
}

void iotlb_body_build(const struct iotlb_message *message, uint8_t out[IOTLB_BODY_BYTES])
{
	const struct vhost_iotlb_msg body = {
		.iova = message->iova,
		.size = message->size_bytes,
		.uaddr = message->uaddr,
		.perm = message->perm,
		.type = message->type,
	};

	memcpy(out, &body, sizeof(body));
}

void iotlb_build(const struct iotlb_message *message, uint8_t out[IOTLB_MESSAGE_BYTES])
{
	const uint32_t version = message->v2 ? VHOST_IOTLB_MSG_V2 : VHOST_IOTLB_MSG;

	memset(out, 0, IOTLB_MESSAGE_BYTES);
	memcpy(out, &version, sizeof(version));
	iotlb_body_build(message, out + BODY_AT);
}
