/* SPDX-License-Identifier: BSD-3-Clause */

/* A queue: its memory, its ring, its registers (virtio 1.3, 4.1.5.1.3). */

#include "base/fd.h"
#include "base/util.h"
#include "driver/ring/ring.h"
#include "driver/virtio_pci/pci.h"
#include "driver/virtio_pci/physical.h"
#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

#define SIZE_LEAST 16u
#define AREA_ALIGN_BYTES UINT64_C(64) /* no two areas in one cache line */

static int lie(struct vireo_pci *pci, unsigned index, const char *what)
{
	log_error(&pci->config.log, "%s: queue %u: %s", pci->address, index, what);
	return -EPROTO;
}

/* What the device says of the queue. *ret_size is what was wanted, or what the device has at most. */
static int queue_look(struct vireo_pci *pci, unsigned index, unsigned wanted, uint16_t *ret_size,
		      uint32_t *ret_notify_offset)
{
	uint16_t size, notify_off;

	pci_common_write(pci, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	size = (uint16_t)pci_common_read(pci, VIRTIO_PCI_COMMON_Q_SIZE, 2);
	notify_off = (uint16_t)pci_common_read(pci, VIRTIO_PCI_COMMON_Q_NOFF, 2);
	if (!size)
		return lie(pci, index, "it has no entries");
	if (size > RING_SIZE_MAX || (!pci_agreed(pci, PCI_F_RING_PACKED_BIT) && (size & (size - 1))))
		return lie(pci, index, "its size is no power of two, or too large");
	if (pci_common_read(pci, VIRTIO_PCI_COMMON_Q_ENABLE, 2))
		return lie(pci, index, "it runs already after a reset");
	if (pci_notify_offset(&pci->layout, notify_off, ret_notify_offset))
		return lie(pci, index, "its doorbell lies beyond the notification area");
	*ret_size = (uint16_t)min_u32(size, wanted);
	return 0;
}

/* Ring, tables and buffers are one area of memory. */
struct queue_plan {
	struct driver_ring_areas need;
	uint64_t driver, device, tables, buffers, bytes;
};

static struct queue_plan plan_make(const struct vireo_pci *pci, uint16_t size, size_t buffer_bytes)
{
	struct queue_plan p = { .need = driver_ring_areas(pci_agreed(pci, PCI_F_RING_PACKED_BIT),
							  pci_agreed(pci, PCI_F_INDIRECT_BIT), size) };

	p.driver = align_up(p.need.desc_bytes, AREA_ALIGN_BYTES);
	p.device = p.driver + align_up(p.need.driver_bytes, AREA_ALIGN_BYTES);
	p.tables = p.device + align_up(p.need.device_bytes, AREA_ALIGN_BYTES);
	p.buffers = p.tables + align_up(p.need.tables_bytes, AREA_ALIGN_BYTES);
	p.bytes = p.buffers + (uint64_t)buffer_bytes * size;
	return p;
}

/* Without an IOMMU: what fits into one huge page. */
static uint16_t size_fit(const struct vireo_pci *pci, uint16_t size, size_t buffer_bytes)
{
	while (!pci->access->ops->dma_map && size > SIZE_LEAST &&
	       plan_make(pci, size, buffer_bytes).bytes > PHYSICAL_BYTES)
		size /= 2;
	return size;
}

/* Lays ring, tables and buffers into one area of memory, and fills in where they are. */
static int memory_take(struct vireo_pci *pci, struct pci_queue *q, size_t buffer_bytes,
		       struct driver_ring_setup *setup)
{
	struct queue_plan p = plan_make(pci, (uint16_t)setup->size, buffer_bytes);
	int err = pci_dma_take(&pci->dma, p.bytes, &q->memory);

	if (err)
		return err;
	q->desc = q->memory.address;
	q->driver = q->memory.address + p.driver;
	q->device = q->memory.address + p.device;
	q->buffers = q->memory.host + p.buffers;
	setup->desc = q->memory.host;
	setup->driver = q->memory.host + p.driver;
	setup->device = q->memory.host + p.device;
	setup->tables = p.need.tables_bytes ? q->memory.host + p.tables : NULL;
	setup->tables_gpa = q->memory.address + p.tables;
	setup->memory = (struct driver_ring_memory){
		.host = q->buffers,
		.gpa = q->memory.address + p.buffers,
		.bytes = (uint64_t)buffer_bytes * setup->size,
	};
	return 0;
}

static int ring_make(struct vireo_pci *pci, unsigned index, const struct vireo_pci_ring_config *config,
		     uint16_t size, uint32_t notify_offset)
{
	struct pci_queue *q = &pci->queues[index];
	struct driver_ring_setup setup = {
		.packed = pci_agreed(pci, PCI_F_RING_PACKED_BIT),
		.indirect = pci_agreed(pci, PCI_F_INDIRECT_BIT),
		.event_idx = pci_agreed(pci, PCI_F_EVENT_IDX_BIT),
		.in_order = pci_agreed(pci, PCI_F_IN_ORDER_BIT),
		.size = size,
		.doorbell = pci->access->ops->doorbell(pci->access, pci->layout.notify.bar, notify_offset),
		.doorbell_value = (uint16_t)index,
	};
	int err = memory_take(pci, q, config->buffer_bytes, &setup);

	if (!err && config->signals && !pci->config.no_interrupts)
		err = fd_event_new(&q->call_fd);
	setup.call_fd = q->call_fd;
	if (!err)
		err = driver_ring_new(&setup, &q->ring);
	if (err)
		return err;
	q->size = size;
	q->signals = q->call_fd >= 0;
	vireo_driver_ring_signal_enable(q->ring, false); /* who wants signals asks for them */
	return 0;
}

int vireo_pci_ring_open(struct vireo_pci *pci, unsigned index, const struct vireo_pci_ring_config *config)
{
	struct vireo_pci_ring_config c;
	uint32_t notify_offset;
	uint16_t size;
	int err = config_copy(&c, sizeof(c), config);

	if (err)
		return err;
	if (!c.entries)
		c.entries = PCI_ENTRIES_DEFAULT;
	if (pci->started || index >= pci->queue_count || c.entries > RING_SIZE_MAX ||
	    c.buffer_bytes > SIZE_MAX / 4 / RING_SIZE_MAX ||
	    (!pci_agreed(pci, PCI_F_RING_PACKED_BIT) && (c.entries & (c.entries - 1))))
		return -EINVAL;
	if (pci->queues[index].ring)
		return -EEXIST;
	err = queue_look(pci, index, c.entries, &size, &notify_offset);
	if (err)
		return err;
	return ring_make(pci, index, &c, size_fit(pci, size, c.buffer_bytes), notify_offset);
}

static void address_write(struct vireo_pci *pci, uint32_t offset, uint64_t address)
{
	pci_common_write(pci, offset, 4, (uint32_t)address);
	pci_common_write(pci, offset + 4, 4, (uint32_t)(address >> 32));
}

/* The device has room for so many vectors, or says that it has not (4.1.5.1.2.1). */
int pci_queue_vector_set(struct vireo_pci *pci, unsigned index, uint16_t vector)
{
	pci_common_write(pci, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	pci_common_write(pci, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
	return pci_common_read(pci, VIRTIO_PCI_COMMON_Q_MSIX, 2) == vector ? 0 : -EBUSY;
}

void pci_queue_enable(struct vireo_pci *pci, unsigned index)
{
	const struct pci_queue *q = &pci->queues[index];

	pci_common_write(pci, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	pci_common_write(pci, VIRTIO_PCI_COMMON_Q_SIZE, 2, q->size);
	address_write(pci, VIRTIO_PCI_COMMON_Q_DESCLO, q->desc);
	address_write(pci, VIRTIO_PCI_COMMON_Q_AVAILLO, q->driver);
	address_write(pci, VIRTIO_PCI_COMMON_Q_USEDLO, q->device);
	pci_common_write(pci, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void pci_queues_free(struct vireo_pci *pci)
{
	for (unsigned i = 0; pci->queues && i < pci->queue_count; i++) {
		driver_ring_free(pci->queues[i].ring);
		fd_close(&pci->queues[i].call_fd);
	}
	free(pci->queues);
}

struct vireo_driver_ring *vireo_pci_ring(struct vireo_pci *pci, unsigned index)
{
	return index < pci->queue_count ? pci->queues[index].ring : NULL;
}

void *vireo_pci_memory(struct vireo_pci *pci, unsigned index)
{
	return index < pci->queue_count ? pci->queues[index].buffers : NULL;
}
