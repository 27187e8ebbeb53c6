/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_CAPS_H
#define DRIVER_VIRTIO_PCI_CAPS_H

/*
 * What a virtio function says of itself in PCI config space: which device it is, and where in its BARs its
 * registers lie (virtio 1.3, 4.1.2 and 4.1.4). Pure: bytes in, a checked struct out. Who uses the struct
 * trusts it.
 */

#include <stdbool.h>
#include <stdint.h>

#define PCI_BARS 6u
#define PCI_CONFIG_BYTES 256u /* conventional config space; virtio's capabilities lie in it */
#define PCI_VIRTIO_VENDOR 0x1af4u

struct pci_bar {
	uint64_t bytes; /* 0: absent */
	bool memory; /* or I/O ports */
};

/* A stretch of a memory BAR. */
struct pci_area {
	unsigned bar;
	uint32_t offset, bytes; /* 0 bytes: absent */
};

struct pci_layout {
	unsigned device_id; /* virtio 1.3, section 5 */
	bool transitional;
	struct pci_area common, notify, isr, device; /* device: absent if it has no config space */
	uint32_t notify_multiplier;
	uint8_t msix_at; /* MSI-X capability; 0: none */
};

/* Is it a virtio function, and which device? 0 and the ids of *ret, or -ENODEV. */
int pci_identify(uint16_t vendor, uint16_t device, uint16_t subsystem, struct pci_layout *ret);

/*
 * `config`: the first `bytes` of config space. 0, or in *why (static) what is wrong: -ENODEV: no virtio
 * function; -EACCES: config space is cut off, as users other than root see it; -ENOTSUP: it has no modern
 * interface that can be used; -EPROTO: it lies.
 */
int pci_caps_parse(const uint8_t *config, uint32_t bytes, const struct pci_bar bars[PCI_BARS],
		   struct pci_layout *ret, const char **why);

/* Where queue_notify_off points, as an offset in the BAR. -EPROTO: beyond the area (4.1.4.4). */
int pci_notify_offset(const struct pci_layout *layout, uint16_t queue_notify_off, uint32_t *ret_offset);

#endif
