/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_PCI_TEST_FUNCTION_H
#define DRIVER_VIRTIO_PCI_TEST_FUNCTION_H

/*
 * A virtio function in memory, behind a table of operations of its own. Its rings are served by libvireo's.
 * What can be set before it is opened are its ways to be odd.
 */

#include "driver/virtio_pci/pci.h"
#include "lib/ring/ring.h"

#define TEST_QUEUES 8u
#define TEST_REGIONS 16u
#define TEST_NOTIFY_BYTES 64u /* doorbells 4 bytes apart */

struct test_queue {
	uint16_t size_max, size, vector, notify_off;
	bool enabled;
	uint64_t areas[3]; /* descriptors, driver, device */
	struct ring *ring;
};

struct test_function {
	struct pci_access access;
	struct pci_access_ops ops; /* may be changed before opening */
	uint8_t config[PCI_CONFIG_BYTES];

	/* ways to be odd */
	bool no_interrupts;
	unsigned timeout_ms; /* long: a machine that is busy is not odd */
	uint64_t offered;
	unsigned reset_reads; /* so many reads of the status still see the old one */
	bool never_resets, refuses_features, gone, config_write_fails;
	unsigned takes_vectors; /* so many of those that there are */
	int ownership; /* what owned() says */
	uint16_t queue_count;
	unsigned config_changes; /* so often it changes while it is read */
	uint8_t device_config[64];
	/* Called when the status is read: what the device does meanwhile. */
	void (*meanwhile)(struct test_function *f);

	/* what was said to it */
	uint64_t accepted;
	uint8_t status, status_writes[32];
	unsigned status_write_count, closed;
	uint16_t command;
	uint32_t offered_half, accepted_half;
	uint16_t select, config_vector;
	struct test_queue queues[TEST_QUEUES];
	uint16_t doorbells[TEST_NOTIFY_BYTES / 2];

	/* interrupts */
	uint8_t isr, generation;
	int fds[16];
	unsigned fd_count, rearmed;
	int line_fd;

	struct map *map;
};

/* A network card with two pairs, an IOMMU, and 16 vectors. */
void test_function_init(struct test_function *f);
void test_function_fini(struct test_function *f);
int test_function_open(struct test_function *f, uint64_t features, struct vireo_pci **ret_pci);

/* The device side: takes all chains of a queue, calls `fn` for each, and gives them back. Returns how many.
 */
unsigned test_function_serve(struct test_function *f, unsigned queue,
			     uint32_t (*fn)(struct test_function *f, const struct vireo_chain *chain));
/* Interrupts for a queue, or (-1) for a config change. */
void test_function_interrupt(struct test_function *f, int queue);

/* The last line that was logged as an error; "" after init. */
extern char test_complaint[512];

#endif
