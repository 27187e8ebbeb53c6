/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_DMA_H
#define DRIVER_VIRTIO_PCI_DMA_H

/*
 * Memory that the device may reach. It is handed out in areas, each in one stretch for us and for the device,
 * and never given back one by one: all of it goes when the device has been reset.
 *
 * Areas are cut from chunks: behind an IOMMU a chunk is memory of any size, mapped in one stretch; else it is
 * one huge page. So one offset translates an area's addresses, as it does for memory shared with a vhost-user
 * back end.
 */

#include "vireo/base.h"
#include <stdint.h>

struct pci_access;
struct pci_dma_chunk;

struct pci_dma {
	struct pci_access *access;
	const struct vireo_log *log;
	struct pci_dma_chunk *chunks; /* the newest first */
};

struct pci_dma_area {
	uint8_t *host;
	uint64_t address, bytes;
};

/* Zeroed, page-aligned. -ENOMEM, -E2BIG (more than one huge page), -EPERM, or what mapping says; logged. */
int pci_dma_take(struct pci_dma *dma, uint64_t bytes, struct pci_dma_area *ret);
/* After the access has been closed: the device cannot reach it any more. */
void pci_dma_free(struct pci_dma *dma);
/* Instead: it may. Nobody is given that memory while this process lives. */
void pci_dma_leave(struct pci_dma *dma);

#endif
