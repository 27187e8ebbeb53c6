/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/test_guest.h"
#include "base/fd.h"
#include "base/loop.h"
#include "device/device.h"
#include "ring/ring.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void config_changed(void *opaque)
{
	struct test_guest *t = opaque;

	t->config_changes++;
}

static bool config_told(void *opaque)
{
	return !((struct test_guest *)opaque)->config_deaf;
}

static void broken(void *opaque, const char *why)
{
	struct test_guest *t = opaque;

	t->broken = true;
}

static const struct device_transport transport = {
	.config_changed = config_changed,
	.config_told = config_told,
	.broken = broken,
};

static void missed(void *opaque)
{
	((struct test_guest *)opaque)->misses++;
}

static const struct device_transport lazy_transport = {
	.config_changed = config_changed,
	.config_told = config_told,
	.broken = broken,
	.missed = missed,
};

void *test_guest_alloc(struct test_guest *t, size_t bytes)
{
	void *p = t->memory + t->used_bytes;

	assert_true(bytes <= t->memory_bytes - t->used_bytes);
	t->used_bytes += (bytes + 63) & ~(size_t)63;
	memset(p, 0, bytes);
	return p;
}

static uint64_t uaddr(const struct test_guest *t, const void *p)
{
	return GUEST_UADDR + (uint64_t)((const uint8_t *)p - t->memory);
}

uint64_t test_guest_gpa(const struct test_guest *t, const void *p)
{
	return GUEST_GPA + (uint64_t)((const uint8_t *)p - t->memory);
}

static void memory_new(struct test_guest *t, const struct map_spec *more)
{
	struct map_spec specs[2] = { { .gpa = GUEST_GPA, .size_bytes = t->memory_bytes, .uaddr = GUEST_UADDR } };
	const char *why = "";
	int fds[2];

	if (more)
		specs[1] = *more;
	t->memory_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(t->memory_fd >= 0);
	assert_int_equal(ftruncate(t->memory_fd, (off_t)t->memory_bytes), 0);
	t->memory = mmap(NULL, t->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->memory_fd, 0);
	assert_ptr_not_equal(t->memory, MAP_FAILED);
	fds[0] = fds[1] = t->memory_fd;
	assert_int_equal(map_new(NULL, specs, fds, more ? 2 : 1, device_faults(t->device), &t->map, &why), 0);
	device_map_set(t->device, t->map);
}

static void queue_new(struct test_guest *t, unsigned index, uint64_t features)
{
	struct guest_queue *q = &t->queues[index];
	struct driver_ring_setup setup = {
		.packed = features & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT),
		.indirect = features & VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT),
		.event_idx = features & VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT),
		.in_order = features & VIREO_FEATURE(VIREO_F_IN_ORDER_BIT),
		.size = t->queue_size,
		.memory = { .host = t->memory, .gpa = GUEST_GPA, .bytes = t->memory_bytes },
	};
	struct ring_area area = ring_area_bytes(setup.packed, setup.size);

	setup.desc = q->desc = test_guest_alloc(t, area.desc_bytes);
	setup.driver = q->driver = test_guest_alloc(t, area.driver_bytes);
	setup.device = q->device = test_guest_alloc(t, area.device_bytes);
	if (setup.indirect) {
		setup.tables = test_guest_alloc(t, driver_ring_table_bytes(setup.size));
		setup.tables_gpa = test_guest_gpa(t, setup.tables);
	}
	q->kick = (struct bell)BELL_INIT;
	assert_int_equal(fd_event_new(&q->kick.fd), 0);
	assert_int_equal(fd_event_new(&q->call_fd), 0);
	setup.kick = &q->kick;
	setup.call_fd = q->call_fd;
	assert_int_equal(driver_ring_new(&setup, &q->ring), 0);
}

/* A packed ring starts with both wrap counters set: SET_VRING_BASE's bits 15 and 31. */
void test_guest_set_up(struct test_guest *t, unsigned index, bool enabled)
{
	bool packed = vireo_device_features(t->device) & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT);
	struct guest_queue *q = &t->queues[index];

	assert_int_equal(device_queue_size_set(t->device, index, t->queue_size), 0);
	assert_int_equal(device_queue_address_set(t->device, index, uaddr(t, q->desc), uaddr(t, q->driver), uaddr(t, q->device)), 0);
	assert_int_equal(device_queue_base_set(t->device, index, packed ? RING_BASE_PACKED_NEW : 0), 0);
	assert_int_equal(device_queue_call_set(t->device, index, dup(q->call_fd)), 0);
	assert_int_equal(device_queue_kick_set(t->device, index, dup(q->kick.fd)), 0);
	assert_int_equal(device_queue_enable(t->device, index, enabled), 0);
}

void test_guest_begin(struct test_guest *t, struct vireo_device *device, uint64_t features, size_t memory_bytes,
		      const struct map_spec *more)
{
	t->device = device;
	t->memory_bytes = memory_bytes;
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(device_attach(device, t->loop, t->lazy ? &lazy_transport : &transport, t), 0);
	device_session_begin(device);
	assert_int_equal(device_features_set(device, features), 0);
	memory_new(t, more);
	t->queue_count = device_queue_count(device);
	assert_true(t->queue_count <= GUEST_QUEUES_MAX);
	for (unsigned i = 0; i < t->queue_count; i++)
		queue_new(t, i, features);
}

static void is_quiet(void *opaque)
{
	struct test_guest *t = opaque;

	t->quiet = true;
}

void test_guest_quiesce(struct test_guest *t)
{
	t->quiet = false;
	device_quiesce(t->device, DEVICE_ALL_QUEUES, is_quiet, t);
}

void test_guest_detach(struct test_guest *t)
{
	assert_true(t->quiet);
	device_session_end(t->device);
	device_detach(t->device);
}

void test_guest_end(struct test_guest *t)
{
	loop_free(t->loop);
	for (unsigned i = 0; i < t->queue_count; i++) {
		driver_ring_free(t->queues[i].ring);
		bell_forget(&t->queues[i].kick);
		fd_close(&t->queues[i].call_fd);
	}
	munmap(t->memory, t->memory_bytes);
	close(t->memory_fd);
}

int test_guest_used(struct test_guest *t, unsigned queue, void **ret_cookie)
{
	void *cookie;
	uint32_t bytes;
	int r = vireo_driver_ring_get(t->queues[queue].ring, &cookie, &bytes);

	assert_true(r >= 0);
	if (!r)
		return -1;
	if (ret_cookie)
		*ret_cookie = cookie;
	return (int)bytes;
}
