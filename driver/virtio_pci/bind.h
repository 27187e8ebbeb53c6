/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_BIND_H
#define DRIVER_VIRTIO_PCI_BIND_H

#include "vireo/pci.h"

/* The kernel's side of it: writes into sysfs attributes. A test puts a kernel of its own here. */
struct pci_bus {
	const char *root;
	int (*write)(void *opaque, const char *path, const char *text); /* 0 or a negative errno */
	void *opaque;
	const struct vireo_log *log;
};

/* See vireo_pci_bind() and vireo_pci_unbind(). */
int pci_bind(const struct pci_bus *bus, const char *address, const char *driver);
int pci_unbind(const struct pci_bus *bus, const char *address);

#endif
