/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/fd.h"
#include "base/util.h"
#include "test_function.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdio.h>

#define COMMON 0x0000u
#define ISR 0x1000u
#define DEVICE 0x2000u
#define NOTIFY 0x3000u
#define BAR_BYTES 0x4000u
#define IOVA UINT64_C(0x100000000)
#define PIECES_MAX 2048u

char test_complaint[512];

static struct test_function *of(struct pci_access *access)
{
	return container_of(access, struct test_function, access);
}

/* ---- config space ---- */

static void cap_put(struct test_function *f, unsigned at, unsigned next, uint8_t type, uint32_t offset,
		    uint32_t bytes)
{
	const struct virtio_pci_cap cap = {
		.cap_vndr = PCI_CAP_ID_VNDR,
		.cap_next = (uint8_t)next,
		.cap_len = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16,
		.cfg_type = type,
		.bar = 4,
		.offset = le32(offset),
		.length = le32(bytes),
	};
	uint32_t multiplier = le32(4);

	memcpy(f->config + at, &cap, sizeof(cap));
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		memcpy(f->config + at + sizeof(cap), &multiplier, sizeof(multiplier));
}

static void config_make(struct test_function *f)
{
	const uint16_t vendor = le16(PCI_VIRTIO_VENDOR), device = le16(0x1041),
		       status = le16(PCI_STATUS_CAP_LIST);

	memcpy(f->config + PCI_VENDOR_ID, &vendor, 2);
	memcpy(f->config + PCI_DEVICE_ID, &device, 2);
	memcpy(f->config + PCI_STATUS, &status, 2);
	f->config[PCI_CAPABILITY_LIST] = 0x40;
	cap_put(f, 0x40, 0x50, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, 64);
	cap_put(f, 0x50, 0x60, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1);
	cap_put(f, 0x60, 0x70, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE, sizeof(f->device_config));
	cap_put(f, 0x70, 0, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, TEST_NOTIFY_BYTES);
	f->access.bars[4] = (struct pci_bar){ BAR_BYTES, true };
}

static int config_read(struct pci_access *access, uint32_t offset, void *data, uint32_t bytes)
{
	if (offset > PCI_CONFIG_BYTES || bytes > PCI_CONFIG_BYTES - offset)
		return -EINVAL;
	memcpy(data, of(access)->config + offset, bytes);
	return 0;
}

static int config_write(struct pci_access *access, uint32_t offset, const void *data, uint32_t bytes)
{
	if (of(access)->config_write_fails)
		return -EIO;
	memcpy(of(access)->config + offset, data, bytes);
	memcpy(&of(access)->command, of(access)->config + PCI_COMMAND, 2);
	return 0;
}

static int bar_map(struct pci_access *access, unsigned bar)
{
	assert_int_equal(bar, 4);
	return 0;
}

/* ---- queues ---- */

static struct test_queue *selected(struct test_function *f)
{
	static struct test_queue none;

	none = (struct test_queue){ .vector = PCI_NO_VECTOR };
	return f->select < f->queue_count ? &f->queues[f->select] : &none;
}

static void *area_of(struct test_function *f, uint64_t address, uint64_t bytes)
{
	struct map_cache cache = { 0 };
	uint64_t usable = 0;
	void *at = map_gpa(f->map, &cache, address, &usable);

	assert_non_null(at); /* the driver tells of no memory but its own */
	assert_true(usable >= bytes);
	return at;
}

static bool accepted(const struct test_function *f, unsigned bit)
{
	return f->accepted >> bit & 1;
}

static void queue_enable(struct test_function *f, struct test_queue *q)
{
	struct ring_setup setup = {
		.packed = accepted(f, PCI_F_RING_PACKED_BIT),
		.indirect = accepted(f, PCI_F_INDIRECT_BIT),
		.event_idx = accepted(f, PCI_F_EVENT_IDX_BIT),
		.in_order = accepted(f, PCI_F_IN_ORDER_BIT),
		.size = q->size,
		.map = f->map,
	};
	struct ring_area areas = ring_area_bytes(setup.packed, q->size);
	const char *why = NULL;

	assert_false(f->status & PCI_STATUS_DRIVER_OK);
	assert_true(f->command & PCI_COMMAND_MASTER);
	setup.base = setup.packed ? 0x80008000u : 0;
	setup.desc = area_of(f, q->areas[0], areas.desc_bytes);
	setup.driver = area_of(f, q->areas[1], areas.driver_bytes);
	setup.device = area_of(f, q->areas[2], areas.device_bytes);
	assert_int_equal(ring_new(&setup, &q->ring, &why), 0);
	q->enabled = true;
}

static void status_write(struct test_function *f, uint8_t status)
{
	if (f->status_write_count < sizeof(f->status_writes))
		f->status_writes[f->status_write_count++] = status;
	if (status) {
		f->status = status;
		if (f->refuses_features)
			f->status &= (uint8_t)~PCI_STATUS_FEATURES_OK;
		return;
	}
	for (unsigned i = 0; i < TEST_QUEUES; i++) {
		ring_free(f->queues[i].ring);
		f->queues[i].ring = NULL;
		f->queues[i].enabled = false;
		f->queues[i].vector = PCI_NO_VECTOR;
	}
	if (!f->never_resets && !f->reset_reads)
		f->status = 0;
}

static uint8_t status_read(struct test_function *f)
{
	if (f->reset_reads && !--f->reset_reads)
		f->status = 0;
	if (f->meanwhile)
		f->meanwhile(f);
	return f->gone ? 0xff : f->status;
}

/* ---- registers ---- */

static uint32_t common_read(struct test_function *f, uint32_t offset)
{
	const struct test_queue *q = selected(f);

	switch (offset) {
	case VIRTIO_PCI_COMMON_DF:
		return f->offered_half < 2 ? (uint32_t)(f->offered >> (32 * f->offered_half)) : 0;
	case VIRTIO_PCI_COMMON_MSIX:
		return f->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return f->queue_count;
	case VIRTIO_PCI_COMMON_STATUS:
		return status_read(f);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return f->generation;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return q->vector;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return q->notify_off;
	default:
		fail_msg("a read of %u in the common configuration", offset);
		return 0;
	}
}

static void half_write(uint64_t *whole, bool high, uint32_t value)
{
	*whole = high ? (*whole & UINT32_MAX) | (uint64_t)value << 32
		      : (*whole & ~(uint64_t)UINT32_MAX) | value;
}

static void common_write(struct test_function *f, uint32_t offset, uint32_t value)
{
	struct test_queue *q = selected(f);

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		f->offered_half = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		f->accepted_half = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		half_write(&f->accepted, f->accepted_half, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		f->config_vector = value < f->takes_vectors ? (uint16_t)value : PCI_NO_VECTOR;
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		status_write(f, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		f->select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		q->size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		q->vector = value < f->takes_vectors ? (uint16_t)value : PCI_NO_VECTOR;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		queue_enable(f, q);
		break;
	default:
		if (offset < VIRTIO_PCI_COMMON_Q_DESCLO || offset > VIRTIO_PCI_COMMON_Q_USEDHI)
			fail_msg("a write to %u in the common configuration", offset);
		offset -= VIRTIO_PCI_COMMON_Q_DESCLO;
		half_write(&q->areas[offset / 8], offset & 4, value);
	}
}

static uint32_t device_read(struct test_function *f, uint32_t offset, unsigned bytes)
{
	uint32_t value = 0;

	assert_true(offset + bytes <= sizeof(f->device_config));
	memcpy(&value, f->device_config + offset, bytes);
	if (f->config_changes) { /* just now */
		f->config_changes--;
		f->generation++;
		for (size_t i = 0; i < sizeof(f->device_config); i++)
			f->device_config[i]++;
	}
	return le32(value);
}

static uint32_t reg_read(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes)
{
	struct test_function *f = of(access);
	uint8_t isr = f->isr;

	assert_int_equal(bar, 4);
	assert_int_equal(offset % bytes, 0);
	if (offset < ISR)
		return common_read(f, offset);
	if (offset >= DEVICE)
		return device_read(f, offset - DEVICE, bytes);
	f->isr = 0;
	return isr;
}

static void reg_write(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes,
		      uint32_t value)
{
	struct test_function *f = of(access);

	assert_int_equal(bar, 4);
	assert_int_equal(offset % bytes, 0);
	if (offset < ISR)
		common_write(f, offset, value);
	else
		memcpy(f->device_config + (offset - DEVICE), &value, bytes);
}

static volatile uint16_t *doorbell(struct pci_access *access, unsigned bar, uint32_t offset)
{
	assert_in_range(offset, NOTIFY, NOTIFY + TEST_NOTIFY_BYTES - 2);
	return &of(access)->doorbells[(offset - NOTIFY) / 2];
}

static int dma_map(struct pci_access *access, void *host, uint64_t bytes, uint64_t *ret_address)
{
	struct map *map = of(access)->map;
	uint64_t address = IOVA + ((uint64_t)map->count << 32);

	assert_true(map->count < TEST_REGIONS);
	map->regions[map->count++] =
		(struct map_region){ .gpa = address, .size_bytes = bytes, .uaddr = address, .host = host };
	*ret_address = address;
	return 0;
}

/* ---- interrupts ---- */

static int vectors_start(struct pci_access *access, const int *fds, unsigned count)
{
	struct test_function *f = of(access);

	assert_true(count <= ARRAY_SIZE(f->fds) && count <= access->vectors);
	memcpy(f->fds, fds, count * sizeof(*fds));
	f->fd_count = count;
	return 0;
}

static int line_start(struct pci_access *access, int *ret_fd)
{
	*ret_fd = of(access)->line_fd;
	return 0;
}

static int line_rearm(struct pci_access *access)
{
	assert_int_equal(of(access)->isr, 0); /* else it would fire again at once */
	fd_event_clear(of(access)->line_fd);
	of(access)->rearmed++;
	return of(access)->ownership == -ENODEV ? -ENODEV : 0;
}

static int owned(struct pci_access *access)
{
	return of(access)->ownership;
}

void test_function_interrupt(struct test_function *f, int queue)
{
	uint16_t vector = queue < 0 ? f->config_vector : f->queues[queue].vector;

	f->isr |= queue < 0 ? 2 : 1;
	if (!f->fd_count)
		fd_event_raise(f->line_fd);
	else if (vector < f->fd_count)
		fd_event_raise(f->fds[vector]);
}

/* ---- life ---- */

static void function_close(struct pci_access *access)
{
	of(access)->closed++;
}

static void complain(void *opaque, enum vireo_log_level level, const char *line)
{
	if (level == VIREO_LOG_ERROR)
		snprintf(test_complaint, sizeof(test_complaint), "%s", line);
}

void test_function_init(struct test_function *f)
{
	memset(f, 0, sizeof(*f));
	test_complaint[0] = '\0';
	f->ops = (struct pci_access_ops){
		.config_read = config_read,
		.config_write = config_write,
		.bar_map = bar_map,
		.read = reg_read,
		.write = reg_write,
		.doorbell = doorbell,
		.dma_map = dma_map,
		.vectors_start = vectors_start,
		.line_start = line_start,
		.line_rearm = line_rearm,
		.owned = owned,
		.close = function_close,
	};
	f->access.ops = &f->ops;
	f->access.vectors = f->takes_vectors = 16;
	f->timeout_ms = 60000;
	f->access.translated = true;
	f->offered = UINT64_C(1) << PCI_F_VERSION_1_BIT | UINT64_C(1) << PCI_F_ACCESS_PLATFORM_BIT;
	f->queue_count = 5;
	for (unsigned i = 0; i < TEST_QUEUES; i++) {
		f->queues[i] = (struct test_queue){
			.size_max = 64, .size = 64, .vector = PCI_NO_VECTOR, .notify_off = (uint16_t)i
		};
		f->doorbells[2 * i] = 0xeeee;
	}
	f->map = calloc(1, sizeof(*f->map) + TEST_REGIONS * sizeof(f->map->regions[0]));
	assert_non_null(f->map);
	assert_int_equal(fd_event_new(&f->line_fd), 0);
	config_make(f);
}

void test_function_fini(struct test_function *f)
{
	for (unsigned i = 0; i < TEST_QUEUES; i++)
		ring_free(f->queues[i].ring);
	free(f->map); /* it has no backings */
	fd_close(&f->line_fd);
}

int test_function_open(struct test_function *f, uint64_t features, struct vireo_pci **ret_pci)
{
	const struct vireo_pci_config config = {
		.size = sizeof(config),
		.address = "0000:00:04.0",
		.timeout_ms = f->timeout_ms,
		.no_interrupts = f->no_interrupts,
		.features = features,
		.log = { .write = complain, .max_level = VIREO_LOG_INFO },
	};

	return pci_open_access(&config, &f->access, ret_pci);
}

unsigned test_function_serve(struct test_function *f, unsigned queue,
			     uint32_t (*fn)(struct test_function *f, const struct vireo_chain *chain))
{
	struct ring *ring = f->queues[queue].ring;
	static struct iovec pieces[PIECES_MAX];
	struct vireo_chain chain;
	unsigned count = 0;

	while (ring && ring_pop(ring, &chain, 1, pieces, PIECES_MAX) == 1) {
		uint32_t written = fn(f, &chain);

		ring_push(ring, &chain, &written, 1);
		count++;
	}
	if (count && ring_publish(ring))
		test_function_interrupt(f, (int)queue);
	return count;
}
