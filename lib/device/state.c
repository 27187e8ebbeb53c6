/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_internal.h"
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

/*
 * The state of a device, as it travels to another one of its type: a header, and what the type has to say (ops->state_save).
 * Features, queues and what the device says in its config space are no part of it: the front end tells those again. What a driver has
 * written there is the type's to save.
 *
 *	0	"vireodev"
 *	8	version of this header, 1
 *	12	the device's type (virtio 1.3, section 5)
 *	16	bytes that follow the header
 *	20	0
 *
 * Numbers have 32 bits and are little-endian. It comes back as anybody's bytes.
 */

#define STATE_VERSION 1u

struct state_header {
	char magic[8];
	uint32_t version, type, bytes, zero;
};

_Static_assert(sizeof(struct state_header) == 24, "header of a device state");

static const char state_magic[8] = { 'v', 'i', 'r', 'e', 'o', 'd', 'e', 'v' };

size_t device_state_bytes_max(const struct vireo_device *device)
{
	return sizeof(struct state_header) + device->state_bytes_max;
}

int device_state_save(struct vireo_device *device, void *data, size_t room)
{
	struct state_header header = { .version = htole32(STATE_VERSION), .type = htole32(device->id) };
	int bytes = 0;

	assert(!device_running(device) && room >= device_state_bytes_max(device));
	if (device->state_bytes_max)
		bytes = device->ops.state_save(device->opaque, (uint8_t *)data + sizeof(header), device->state_bytes_max);
	if (bytes < 0)
		return bytes;
	assert((size_t)bytes <= device->state_bytes_max);
	memcpy(header.magic, state_magic, sizeof(state_magic));
	header.bytes = htole32((uint32_t)bytes);
	memcpy(data, &header, sizeof(header));
	return (int)sizeof(header) + bytes;
}

static const char *state_wrong(const struct vireo_device *device, const struct state_header *header, size_t bytes)
{
	if (memcmp(header->magic, state_magic, sizeof(state_magic)) != 0)
		return "it is no state of a device of ours";
	if (le32toh(header->version) != STATE_VERSION || header->zero)
		return "its version is not known here";
	if (le32toh(header->type) != device->id)
		return "it belongs to a device of another type";
	if (le32toh(header->bytes) > bytes)
		return "it is cut short";
	return le32toh(header->bytes) < bytes ? "it is longer than it says" : NULL;
}

int device_state_load(struct vireo_device *device, const void *data, size_t bytes, const char **why)
{
	struct state_header header;

	if (device_running(device)) {
		*why = "rings run: all of them have to be stopped";
		return -EBUSY;
	}
	if (bytes < sizeof(header)) {
		*why = "it is cut short";
		return -EINVAL;
	}
	memcpy(&header, data, sizeof(header));
	bytes -= sizeof(header);
	*why = state_wrong(device, &header, bytes);
	if (*why)
		return -EINVAL;
	if (device->state_bytes_max)
		return device->ops.state_load(device->opaque, (const uint8_t *)data + sizeof(header), bytes, why);
	*why = "the device has no state of its own";
	return bytes ? -EINVAL : 0;
}
