/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_PHYSICAL_H
#define DRIVER_VIRTIO_PCI_PHYSICAL_H

#include "vireo/base.h"
#include <stdint.h>

/* Memory that lies in one stretch, and stays there, as a device sees it that no IOMMU translates for. */

#define PHYSICAL_BYTES                                                                       \
	UINT64_C(0x200000) /* the smaller huge page of x86-64, and of arm64 with 4 KiB pages \
			    */

struct pci_physical {
	void *host; /* PHYSICAL_BYTES, zeroed, not inherited by children */
	uint64_t address;
	int pin_fd; /* what keeps the kernel from moving it; -1: it was not allowed */
};

/*
 * One huge page, pinned: of the reserved ones, else a transparent one. Only a reserved one is taken without a
 * pin, if this process may not pin. -ENOMEM: neither can be had; -EPERM: physical addresses are not told to
 * us. The log says what to do.
 */
int pci_physical_new(const struct vireo_log *log, struct pci_physical *ret);
void pci_physical_free(struct pci_physical *physical);

/*
 * Where `bytes` from `host` on lie, if in one stretch, as pagemap_fd (of /proc/self/pagemap) says. -EPERM: it
 * does not say; -EFAULT: not all of it is there; -ERANGE: in more than one stretch.
 */
int pci_physical_address(int pagemap_fd, const void *host, uint64_t bytes, uint64_t *ret_address);

#endif
