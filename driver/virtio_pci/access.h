/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_ACCESS_H
#define DRIVER_VIRTIO_PCI_ACCESS_H

/*
 * How a function is reached: through UIO, through VFIO, or, in tests, in a model of one. An access is opened
 * by one function per kind; what it is opened on stays its secret behind the table of operations.
 */

#include "base/log.h"
#include "driver/virtio_pci/caps.h"
#include <stdbool.h>
#include <stdint.h>

struct pci_access;
struct vireo_pci_function;

struct pci_access_ops {
	/* PCI config space. 0 or a negative errno. */
	int (*config_read)(struct pci_access *access, uint32_t offset, void *data, uint32_t bytes);
	int (*config_write)(struct pci_access *access, uint32_t offset, const void *data, uint32_t bytes);
	/* Makes a memory BAR reachable, for the calls below; once is enough, twice is no harm. */
	int (*bar_map)(struct pci_access *access, unsigned bar);
	/* Registers of 1, 2 or 4 bytes, naturally aligned, inside the BAR: little-endian there, the CPU's
	 * here. */
	uint32_t (*read)(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes);
	void (*write)(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes,
		      uint32_t value);
	/* Where a doorbell is to be written to. */
	volatile uint16_t *(*doorbell)(struct pci_access *access, unsigned bar, uint32_t offset);
	/*
	 * Shows memory to the device: *ret_address is what the device calls it. It stays until close. NULL:
	 * nothing translates, and the device is told physical addresses.
	 */
	int (*dma_map)(struct pci_access *access, void *host, uint64_t bytes, uint64_t *ret_address);
	/* MSI-X: vector i raises eventfd fds[i]. With access->vectors >= count only. */
	int (*vectors_start)(struct pci_access *access, const int *fds, unsigned count);
	/*
	 * The one interrupt line: *ret_fd (borrowed) becomes readable when it fires, and it is masked then,
	 * until line_rearm(), which also makes the fd unreadable. -ENOTSUP: the function has none; -ENODEV,
	 * of line_rearm(): as below.
	 */
	int (*line_start)(struct pci_access *access, int *ret_fd);
	int (*line_rearm)(struct pci_access *access);
	/*
	 * Whether the function is still ours. -ECANCELED: the kernel waits for us to close it; -ENODEV: it is
	 * taken away already, and may have another driver: its registers and its config space are not ours.
	 */
	int (*owned)(struct pci_access *access);
	void (*close)(struct pci_access *access);
};

struct pci_access {
	const struct pci_access_ops *ops;
	struct pci_bar bars[PCI_BARS];
	unsigned vectors; /* MSI-X vectors that can be used */
	bool translated; /* an IOMMU stands before the function */
};

/* ---- uio.c, vfio.c: -EBUSY, -EACCES, -ENOTSUP, ...; the log has said what to do ---- */

int pci_uio_open(const char *root, const struct vireo_pci_function *function, const struct vireo_log *log,
		 struct pci_access **ret_access);
int pci_vfio_open(const char *root, const struct vireo_pci_function *function, const struct vireo_log *log,
		  struct pci_access **ret_access);

/* ---- bars.c: registers in BARs that are mapped into this process; for the kinds ---- */

struct pci_mapped {
	struct pci_access access; /* first */
	uint8_t *host[PCI_BARS];
};

/* Maps a BAR from `fd` at `offset`. */
int pci_mapped_map(struct pci_mapped *mapped, unsigned bar, int fd, uint64_t offset);
void pci_mapped_unmap(struct pci_mapped *mapped);
uint32_t pci_mapped_read(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes);
void pci_mapped_write(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes,
		      uint32_t value);
volatile uint16_t *pci_mapped_doorbell(struct pci_access *access, unsigned bar, uint32_t offset);

#endif
