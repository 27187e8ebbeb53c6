/* SPDX-License-Identifier: BSD-3-Clause */

/* The device's config space (GET_CONFIG, SET_CONFIG), and word that it has changed. */

#include "driver/virtio_user/front.h"
#include <errno.h>
#include <string.h>

struct config_payload {
	struct vu_config header;
	uint8_t data[VU_CONFIG_BYTES_MAX];
};

static int payload_of(const struct vireo_front *front, uint32_t offset, uint32_t bytes,
		      struct config_payload *ret)
{
	if (!front_protocol(front, VU_PROTO_CONFIG_BIT))
		return -ENOTSUP;
	if (!bytes || bytes > VU_CONFIG_BYTES_MAX || offset > VU_CONFIG_BYTES_MAX - bytes)
		return -EINVAL;
	*ret = (struct config_payload){ .header = { .offset = offset, .bytes = bytes } };
	return 0;
}

int vireo_front_config_read(struct vireo_front *front, uint32_t offset, void *data, uint32_t bytes)
{
	struct config_payload payload;
	uint32_t got, expected = VU_CONFIG_HEADER_BYTES + bytes;
	int ret = payload_of(front, offset, bytes, &payload);

	if (!ret)
		ret = front_send(front, VU_GET_CONFIG, &payload, expected);
	if (!ret)
		ret = front_reply(front, VU_GET_CONFIG, &payload, sizeof(payload), &got);
	if (ret)
		return ret;
	if (!got) /* how a back end refuses */
		return -EINVAL;
	if (got != expected || payload.header.bytes != bytes || payload.header.offset != offset)
		return -EPROTO;
	memcpy(data, payload.data, bytes);
	return 0;
}

int vireo_front_config_write(struct vireo_front *front, uint32_t offset, const void *data, uint32_t bytes)
{
	struct config_payload payload;
	int ret = payload_of(front, offset, bytes, &payload);

	if (ret)
		return ret;
	payload.header.flags = VU_CONFIG_FLAG_WRITABLE;
	memcpy(payload.data, data, bytes);
	return front_set(front, VU_SET_CONFIG, &payload, VU_CONFIG_HEADER_BYTES + bytes, -1);
}

int vireo_front_config_changed(struct vireo_front *front)
{
	bool changed;

	front_backend_serve(front);
	changed = front->config_changed;
	front->config_changed = false;
	return changed;
}
