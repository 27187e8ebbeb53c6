/* SPDX-License-Identifier: BSD-3-Clause */

/* The common configuration (virtio 1.3, 4.1.4.3). */

#include "base/clock.h"
#include "base/log.h"
#include "driver/virtio_pci/pci.h"
#include <errno.h>
#include <linux/virtio_pci.h>
#include <time.h>

uint32_t pci_common_read(struct vireo_pci *pci, uint32_t offset, unsigned bytes)
{
	const struct pci_area *common = &pci->layout.common;

	return pci->access->ops->read(pci->access, common->bar, common->offset + offset, bytes);
}

void pci_common_write(struct vireo_pci *pci, uint32_t offset, unsigned bytes, uint32_t value)
{
	const struct pci_area *common = &pci->layout.common;

	pci->access->ops->write(pci->access, common->bar, common->offset + offset, bytes, value);
}

uint8_t pci_status(struct vireo_pci *pci)
{
	return (uint8_t)pci_common_read(pci, VIRTIO_PCI_COMMON_STATUS, 1);
}

void pci_status_add(struct vireo_pci *pci, uint8_t bits)
{
	pci_common_write(pci, VIRTIO_PCI_COMMON_STATUS, 1, pci_status(pci) | bits);
}

bool pci_patience(struct vireo_pci *pci, uint64_t *since_ms)
{
	uint64_t now_ms = clock_now_ms(), waited_ms = now_ms - *since_ms;

	*since_ms = now_ms;
	pci->patience_ms -= (unsigned)min_u64(waited_ms, pci->patience_ms);
	return pci->patience_ms;
}

int pci_health(struct vireo_pci *pci)
{
	uint8_t status = pci_status(pci);

	if (status == PCI_STATUS_GONE)
		return -ENODEV;
	if (status & PCI_STATUS_NEEDS_RESET)
		return -EIO;
	return pci->started && !(status & PCI_STATUS_DRIVER_OK) ? -ESTALE : 0;
}

/* 4.1.4.3.2: the driver waits until a read returns 0. */
int pci_reset(struct vireo_pci *pci)
{
	uint64_t since_ms = clock_now_ms();
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint8_t status;

	pci_common_write(pci, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	while ((status = pci_status(pci))) {
		if (status == PCI_STATUS_GONE) {
			log_error(&pci->config.log, "%s: the function does not answer any more",
				  pci->address);
			return -ENODEV;
		}
		if (!pci_patience(pci, &since_ms)) {
			log_error(&pci->config.log,
				  "%s: the function has not left reset within %u ms (status %#x)",
				  pci->address, pci->config.timeout_ms, status);
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

uint64_t pci_features_offered(struct vireo_pci *pci)
{
	uint64_t features = 0;

	for (uint32_t half = 0; half < 2; half++) {
		pci_common_write(pci, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
		features |= (uint64_t)pci_common_read(pci, VIRTIO_PCI_COMMON_DF, 4) << (32 * half);
	}
	return features;
}

void pci_features_accept(struct vireo_pci *pci, uint64_t features)
{
	for (uint32_t half = 0; half < 2; half++) {
		pci_common_write(pci, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		pci_common_write(pci, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * half)));
	}
}
