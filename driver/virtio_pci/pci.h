/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_PCI_H
#define DRIVER_VIRTIO_PCI_PCI_H

/*
 * A virtio function in the hands of this process.
 *
 *   caps.c        config space -> where the registers are          pure
 *   sysfs.c       which functions there are, who drives them
 *   bind.c        gives them to another driver
 *   uio.c, vfio.c, bars.c    how a function is reached: struct pci_access
 *   dma.c, physical.c        memory that it reaches
 *   registers.c   common configuration: status, features, queues
 *   device.c      the order of things, from opening to closing
 *   queue.c       a queue's memory, ring and registers
 *   interrupt.c   who is woken
 *   config.c      device config space
 *   net.c         what is particular to network functions
 *
 * What a register says is input like any other: it is checked, and a device that never comes to an end is
 * given up when all waiting for it has come to config.timeout_ms. A function that was pulled out reads as all
 * ones.
 */

#include "driver/virtio_pci/access.h"
#include "driver/virtio_pci/dma.h"
#include "vireo/pci.h"
#include <stdbool.h>
#include <stdint.h>

#define PCI_TIMEOUT_DEFAULT_MS 5000u
#define PCI_ENTRIES_DEFAULT 256u

/* Device status (virtio 1.3, 2.1). */
#define PCI_STATUS_ACKNOWLEDGE 1u
#define PCI_STATUS_DRIVER 2u
#define PCI_STATUS_DRIVER_OK 4u
#define PCI_STATUS_FEATURES_OK 8u
#define PCI_STATUS_NEEDS_RESET 64u
#define PCI_STATUS_FAILED 128u
#define PCI_STATUS_GONE 0xffu /* all ones: nobody answers */

/* Features of rings and transports (virtio 1.3, section 6). */
#define PCI_F_INDIRECT_BIT 28
#define PCI_F_EVENT_IDX_BIT 29
#define PCI_F_VERSION_1_BIT 32
#define PCI_F_ACCESS_PLATFORM_BIT 33
#define PCI_F_RING_PACKED_BIT 34
#define PCI_F_IN_ORDER_BIT 35
#define PCI_F_ORDER_PLATFORM_BIT 36
#define PCI_F_NOTIFICATION_DATA_BIT 38

#define PCI_NO_VECTOR 0xffffu

struct pci_queue {
	struct vireo_driver_ring *ring; /* NULL: not used */
	struct pci_dma_area memory; /* the ring, its tables, then buffers */
	uint64_t desc, driver, device; /* what the device calls the ring's areas */
	uint8_t *buffers;
	uint16_t size, vector;
	bool signals;
	int call_fd; /* -1: none */
};

enum pci_interrupts {
	PCI_INTERRUPTS_NONE,
	PCI_INTERRUPTS_VECTORS, /* vector 0 for config changes, one for each ring that signals */
	PCI_INTERRUPTS_VECTOR, /* all share vector 0 */
	PCI_INTERRUPTS_LINE, /* all share the interrupt line */
};

struct vireo_pci {
	struct vireo_pci_config config;
	char address[24];
	struct pci_access *access;
	struct pci_layout layout;
	struct pci_dma dma;
	uint64_t features;
	unsigned queue_count;
	struct pci_queue *queues; /* queue_count */
	bool reset; /* it has once done as it was told, and will be told again at close */
	bool started; /* it knows addresses of our memory */
	bool taken; /* it may be somebody else's: it is let alone */
	unsigned patience_ms; /* what is left of config.timeout_ms */

	enum pci_interrupts interrupts;
	int interrupt_fd; /* vectors: our eventfd; line: the access's */

	struct vireo_driver_ring *control; /* of a network function; or NULL */
	uint8_t *control_memory;
};

static inline bool pci_agreed(const struct vireo_pci *pci, unsigned bit)
{
	return pci->features >> bit & 1;
}

/* registers.c */
uint32_t pci_common_read(struct vireo_pci *pci, uint32_t offset, unsigned bytes);
void pci_common_write(struct vireo_pci *pci, uint32_t offset, unsigned bytes, uint32_t value);
uint8_t pci_status(struct vireo_pci *pci);
void pci_status_add(struct vireo_pci *pci, uint8_t bits);
/* After waiting since *since_ms, which becomes now: whether there is time left for this device. */
bool pci_patience(struct vireo_pci *pci, uint64_t *since_ms);
/* 0, -EIO: it asks for a reset, -ENODEV: it is gone, -ESTALE: it has been reset by somebody else. */
int pci_health(struct vireo_pci *pci);
/* Waits until the device says that it is reset: -ETIMEDOUT, -ENODEV. */
int pci_reset(struct vireo_pci *pci);
uint64_t pci_features_offered(struct vireo_pci *pci);
void pci_features_accept(struct vireo_pci *pci, uint64_t features);

/* device.c: vireo_pci_open() with an access that is open already, and is taken over also on failure. */
int pci_open_access(const struct vireo_pci_config *config, struct pci_access *access,
		    struct vireo_pci **ret_pci);

/* net.c: without those that require one that is not there */
#define PCI_NET_DEVICE_ID 1u
uint64_t pci_net_features(uint64_t features);

/* queue.c */
void pci_queue_enable(struct vireo_pci *pci, unsigned index);
int pci_queue_vector_set(struct vireo_pci *pci, unsigned index, uint16_t vector);
void pci_queues_free(struct vireo_pci *pci);

/* interrupt.c */
int pci_interrupts_start(struct vireo_pci *pci);
void pci_interrupts_free(struct vireo_pci *pci);

#endif
