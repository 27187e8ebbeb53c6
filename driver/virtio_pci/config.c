/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Device config space (virtio 1.3, 4.1.4.6): read again until no change came between (2.5.3.1). So often and
 * no more: whoever asks may be the one thread that serves everybody, and a device that changes its generation
 * with each look would have it for itself.
 */

#include "driver/virtio_pci/pci.h"
#include <errno.h>
#include <linux/virtio_pci.h>
#include <string.h>

#define TRIES 16u

/* Fields are read as wide as they are, 64-bit ones in halves (4.1.3.1): a call for one of those sizes means
 * one field. */
static unsigned width_of(uint32_t offset, uint32_t bytes)
{
	if ((bytes == 4 || bytes == 8) && !(offset % 4))
		return 4;
	return bytes == 2 && !(offset % 2) ? 2 : 1;
}

static bool inside(const struct vireo_pci *pci, uint32_t offset, uint32_t bytes)
{
	return bytes && offset <= pci->layout.device.bytes && bytes <= pci->layout.device.bytes - offset;
}

static void bytes_read(struct vireo_pci *pci, uint32_t offset, uint8_t *data, uint32_t bytes)
{
	const struct pci_area *device = &pci->layout.device;
	unsigned width = width_of(offset, bytes);

	for (uint32_t i = 0; i < bytes; i += width) {
		uint32_t value =
			pci->access->ops->read(pci->access, device->bar, device->offset + offset + i, width);

		for (unsigned b = 0; b < width; b++) /* as it lies there: little-endian */
			data[i + b] = (uint8_t)(value >> (8 * b));
	}
}

static uint8_t generation(struct vireo_pci *pci)
{
	return (uint8_t)pci_common_read(pci, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
}

int vireo_pci_config_read(struct vireo_pci *pci, uint32_t offset, void *data, uint32_t bytes)
{
	uint8_t before, copy[256];

	if (!inside(pci, offset, bytes) || bytes > sizeof(copy)) {
		log_error(&pci->config.log, "%s: its config space of %u bytes lacks %u from %u on",
			  pci->address, pci->layout.device.bytes, bytes, offset);
		return -EINVAL;
	}
	for (unsigned i = 0; i < TRIES; i++) {
		if (pci_status(pci) == PCI_STATUS_GONE)
			return -ENODEV;
		before = generation(pci);
		bytes_read(pci, offset, copy, bytes);
		if (generation(pci) == before) {
			memcpy(data, copy, bytes);
			return 0;
		}
	}
	log_error(&pci->config.log, "%s: its config space keeps changing", pci->address);
	return -EAGAIN;
}

int vireo_pci_config_write(struct vireo_pci *pci, uint32_t offset, const void *data, uint32_t bytes)
{
	const struct pci_area *device = &pci->layout.device;
	unsigned width = width_of(offset, bytes);
	const uint8_t *from = data;

	if (!inside(pci, offset, bytes))
		return -EINVAL;
	for (uint32_t i = 0; i < bytes; i += width) {
		uint32_t value = 0;

		for (unsigned b = 0; b < width; b++)
			value |= (uint32_t)from[i + b] << (8 * b);
		pci->access->ops->write(pci->access, device->bar, device->offset + offset + i, width, value);
	}
	return 0;
}
