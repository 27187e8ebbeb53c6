/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_internal.h"
#include <errno.h>
#include <string.h>

/* Config space (virtio 1.3, 2.5): bytes of the device type's own layout, little-endian. */

static bool config_holds(const struct vireo_device *device, uint32_t offset, uint32_t bytes)
{
	return offset <= device->config_bytes && bytes <= device->config_bytes - offset;
}

uint32_t device_config_bytes(const struct vireo_device *device)
{
	return device->config_bytes;
}

int device_config_read(const struct vireo_device *device, uint32_t offset, void *data, uint32_t bytes)
{
	if (!config_holds(device, offset, bytes))
		return -EINVAL;
	memcpy(data, device->config + offset, bytes);
	return 0;
}

int device_config_write(struct vireo_device *device, uint32_t offset, const void *data, uint32_t bytes)
{
	int r;

	if (!config_holds(device, offset, bytes))
		return -EINVAL;
	if (!device->ops.config_write)
		return -EPERM;
	r = device->ops.config_write(device->opaque, offset, data, bytes);
	if (r)
		return r;
	memcpy(device->config + offset, data, bytes);
	return 0;
}

int device_config_put(struct vireo_device *device, uint32_t offset, const void *data, uint32_t bytes)
{
	if (!config_holds(device, offset, bytes))
		return -EINVAL;
	memcpy(device->config + offset, data, bytes);
	return 0;
}

bool device_config_told(const struct vireo_device *device)
{
	return device->session && device->transport->config_told && device->transport->config_told(device->transport_opaque);
}

int vireo_device_config_set(struct vireo_device *device, uint32_t offset, const void *data, uint32_t bytes)
{
	int r = device_config_put(device, offset, data, bytes);

	if (r)
		return r;
	if (device->session && device->transport->config_changed)
		device->transport->config_changed(device->transport_opaque);
	return 0;
}
