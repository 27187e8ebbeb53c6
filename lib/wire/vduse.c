/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/vduse.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* The two messages, with a body for each type (API 1 has added fields behind those of UPDATE_IOTLB). */
struct request_bytes {
	uint32_t type, id, reserved[4];
	union {
		uint32_t queue;
		uint8_t status;
		struct {
			uint64_t first, last;
			uint32_t space;
		} iova;
		struct {
			uint32_t group, space;
		} space;
		struct {
			uint32_t queue, ready;
		} ready;
		uint32_t padding[32];
	} body;
};

struct response_bytes {
	uint32_t id, result, reserved[4];
	union {
		struct {
			uint32_t queue; /* as in the request; nobody reads it */
			union vduse_wire_state state;
		} state;
		uint32_t padding[32];
	} body;
};

_Static_assert(sizeof(struct request_bytes) == VDUSE_MESSAGE_BYTES, "struct vduse_dev_request");
_Static_assert(sizeof(struct response_bytes) == VDUSE_MESSAGE_BYTES, "struct vduse_dev_response");
_Static_assert(offsetof(struct request_bytes, body) == 24, "struct vduse_dev_request");
_Static_assert(offsetof(struct vduse_wire_config, config_bytes) == 332, "struct vduse_dev_config");
_Static_assert(sizeof(struct vduse_wire_queue_info) == 48, "struct vduse_vq_info");

static int refuse(const char *text, const char **why)
{
	*why = text;
	return -EINVAL;
}

int vduse_parse_request(const void *data, uint32_t bytes, uint64_t api, struct vduse_request *ret_request,
			const char **why)
{
	struct request_bytes wire;
	struct vduse_request request;

	if (bytes < sizeof(wire))
		return refuse("a message is cut short", why);
	memcpy(&wire, data, sizeof(wire));
	request = (struct vduse_request){ .type = wire.type, .id = wire.id };
	*ret_request = request;
	switch (wire.type) {
	case VDUSE_MSG_GET_VQ_STATE:
		request.queue = wire.body.queue;
		break;
	case VDUSE_MSG_SET_STATUS:
		request.status = wire.body.status;
		break;
	case VDUSE_MSG_UPDATE_IOTLB:
		request.first = wire.body.iova.first;
		request.last = wire.body.iova.last;
		request.space = api ? wire.body.iova.space : 0;
		if (request.first > request.last)
			return refuse("a range that ends before it begins", why);
		break;
	case VDUSE_MSG_SET_VQ_GROUP_ASID:
		request.group = wire.body.space.group;
		request.space = wire.body.space.space;
		break;
	case VDUSE_MSG_SET_VQ_READY:
		request.queue = wire.body.ready.queue;
		request.ready = wire.body.ready.ready;
		break;
	default:
		break;
	}
	*ret_request = request;
	return 0;
}

void vduse_put_response(const struct vduse_response *response, uint8_t data[VDUSE_MESSAGE_BYTES])
{
	struct response_bytes wire = { .id = response->id, .result = !response->ok };

	wire.body.state.state = response->state;
	memcpy(data, &wire, sizeof(wire));
}

uint32_t vduse_base(const union vduse_wire_state *state, bool packed)
{
	if (!packed)
		return state->split;
	return (state->packed.avail_pos & 0x7fffu) | (state->packed.avail_wrap & 1u) << 15 |
	       (state->packed.used_pos & 0x7fffu) << 16 | (uint32_t)(state->packed.used_wrap & 1u) << 31;
}

union vduse_wire_state vduse_state(uint32_t base, bool packed)
{
	union vduse_wire_state state = { .packed = { 0 } };

	if (!packed) {
		state.split = (uint16_t)base;
		return state;
	}
	state.packed.avail_pos = base & 0x7fff;
	state.packed.avail_wrap = base >> 15 & 1;
	state.packed.used_pos = base >> 16 & 0x7fff;
	state.packed.used_wrap = (uint16_t)(base >> 31);
	return state;
}
