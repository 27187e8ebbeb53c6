/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/net/net_test_guest.h"
#include "base/fd.h"
#include "base/loop.h"
#include "device/device.h"
#include "mem/map.h"
#include "ring/ring.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void guest_config_changed(void *opaque)
{
	struct guest *g = opaque;

	g->config_changes++;
}

static void guest_broken(void *opaque, const char *why)
{
	struct guest *g = opaque;

	g->broken = true;
}

static const struct device_transport guest_transport = {
	.config_changed = guest_config_changed,
	.broken = guest_broken,
};

void *guest_alloc(struct guest *g, size_t bytes)
{
	void *p = g->memory + g->used_bytes;

	assert_true(bytes <= GUEST_MEMORY_BYTES - g->used_bytes);
	g->used_bytes += (bytes + 63) & ~(size_t)63;
	memset(p, 0, bytes);
	return p;
}

static uint64_t guest_uaddr(const struct guest *g, const void *p)
{
	return GUEST_UADDR + (uint64_t)((const uint8_t *)p - g->memory);
}

static uint64_t guest_gpa(const struct guest *g, const void *p)
{
	return GUEST_GPA + (uint64_t)((const uint8_t *)p - g->memory);
}

static void guest_memory_new(struct guest *g)
{
	struct map_spec spec = {.gpa = GUEST_GPA, .size_bytes = GUEST_MEMORY_BYTES, .uaddr = GUEST_UADDR};
	const char *why = "";
	struct map *map;

	g->memory_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(g->memory_fd >= 0);
	assert_int_equal(ftruncate(g->memory_fd, GUEST_MEMORY_BYTES), 0);
	g->memory = mmap(NULL, GUEST_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
	assert_ptr_not_equal(g->memory, MAP_FAILED);
	assert_int_equal(map_new(NULL, &spec, &g->memory_fd, 1, device_faults(g->device), &map, &why), 0);
	device_map_set(g->device, map);
}

static void guest_queue_new(struct guest *g, unsigned index, uint64_t features)
{
	struct guest_queue *q = &g->queues[index];
	struct driver_ring_setup setup = {
		.packed = features & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT),
		.indirect = features & VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT),
		.event_idx = features & VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT),
		.in_order = features & VIREO_FEATURE(VIREO_F_IN_ORDER_BIT),
		.size = g->queue_size,
		.memory = {.host = g->memory, .gpa = GUEST_GPA, .bytes = GUEST_MEMORY_BYTES},
	};
	struct ring_area area = ring_area_bytes(setup.packed, setup.size);

	setup.desc = q->desc = guest_alloc(g, area.desc_bytes);
	setup.driver = q->driver = guest_alloc(g, area.driver_bytes);
	setup.device = q->device = guest_alloc(g, area.device_bytes);
	if (setup.indirect) {
		setup.tables = guest_alloc(g, driver_ring_table_bytes(setup.size));
		setup.tables_gpa = guest_gpa(g, setup.tables);
	}
	q->kick = (struct bell)BELL_INIT;
	assert_int_equal(fd_event_new(&q->kick.fd), 0);
	assert_int_equal(fd_event_new(&q->call_fd), 0);
	setup.kick = &q->kick;
	setup.call_fd = q->call_fd;
	assert_int_equal(driver_ring_new(&setup, &q->ring), 0);
}

/* A packed ring starts with both wrap counters set: SET_VRING_BASE's bits 15 and 31. */
static void guest_queue_set_up(struct guest *g, unsigned index, bool packed, bool enabled)
{
	struct guest_queue *q = &g->queues[index];

	assert_int_equal(device_queue_size_set(g->device, index, g->queue_size), 0);
	assert_int_equal(device_queue_address_set(g->device, index, guest_uaddr(g, q->desc),
						  guest_uaddr(g, q->driver), guest_uaddr(g, q->device)),
			 0);
	assert_int_equal(device_queue_base_set(g->device, index, packed ? 0x80008000u : 0), 0);
	assert_int_equal(device_queue_call_set(g->device, index, dup(q->call_fd)), 0);
	assert_int_equal(device_queue_kick_set(g->device, index, dup(q->kick.fd)), 0);
	assert_int_equal(device_queue_enable(g->device, index, enabled), 0);
}

void guest_start(struct guest *g, const struct guest_config *config)
{
	struct vireo_net_config net = {
		.size = sizeof(net),
		.pairs = config->pairs,
		.mtu = config->mtu,
		.features_off = config->features_off,
		.set_mac = config->mac,
		.ops = config->ops,
		.opaque = g,
		.name = "net0",
	};
	bool packed = config->features & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT);

	memset(g, 0, sizeof(*g));
	if (config->mac)
		memcpy(net.mac, config->mac, 6);
	assert_int_equal(vireo_net_new(&net, &g->net), 0);
	g->device = vireo_net_device(g->net);
	g->queue_size = config->queue_size ? config->queue_size : 256;
	assert_int_equal(loop_new(&g->loop), 0);
	assert_int_equal(device_attach(g->device, g->loop, &guest_transport, g), 0);
	device_session_begin(g->device);
	assert_int_equal(device_features_set(g->device, config->features), 0);
	guest_memory_new(g);
	g->queue_count = device_queue_count(g->device);
	assert_true(g->queue_count <= GUEST_QUEUES_MAX);
	for (unsigned i = 0; i < g->queue_count; i++) {
		guest_queue_new(g, i, config->features);
		if (i < g->queue_count - config->keeps_control)
			guest_queue_set_up(g, i, packed, !config->disabled);
	}
	device_resume(g->device);
	assert_false(g->broken);
}

static void guest_is_quiet(void *opaque)
{
	struct guest *g = opaque;

	g->quiet = true;
}

void guest_quiesce(struct guest *g)
{
	g->quiet = false;
	device_quiesce(g->device, DEVICE_ALL_QUEUES, guest_is_quiet, g);
	assert_true(g->quiet);
}

void guest_resume(struct guest *g)
{
	device_resume(g->device);
}

void guest_poll(struct guest *g)
{
	while (loop_dispatch(g->loop, 0) > 0)
		;
}

void guest_stop(struct guest *g)
{
	guest_quiesce(g);
	device_session_end(g->device);
	device_detach(g->device);
	vireo_net_free(g->net);
	loop_free(g->loop);
	for (unsigned i = 0; i < g->queue_count; i++) {
		driver_ring_free(g->queues[i].ring);
		bell_forget(&g->queues[i].kick);
		fd_close(&g->queues[i].call_fd);
	}
	munmap(g->memory, GUEST_MEMORY_BYTES);
	close(g->memory_fd);
}

void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable,
	       void *cookie)
{
	assert_int_equal(vireo_driver_ring_add(g->queues[queue].ring, iov, readable, writable, true, cookie),
			 0);
}

void guest_send(struct guest *g, unsigned queue, const void *data, size_t bytes, const unsigned *cuts,
		unsigned cut_count)
{
	uint8_t *p = guest_alloc(g, bytes ? bytes : 1);
	struct iovec iov[1200];
	unsigned n = 0;

	memcpy(p, data, bytes);
	for (unsigned i = 0; i < cut_count && bytes > cuts[i]; i++) {
		iov[n++] = (struct iovec){.iov_base = p, .iov_len = cuts[i]};
		p += cuts[i];
		bytes -= cuts[i];
	}
	iov[n++] = (struct iovec){.iov_base = p, .iov_len = bytes};
	guest_add(g, queue, iov, n, 0, p);
}

void guest_send_frame(struct guest *g, unsigned pair, const struct virtio_net_header *header,
		      const void *frame, size_t bytes, bool flat)
{
	static const struct virtio_net_header zero;
	const unsigned cut = sizeof(zero);
	uint8_t *data = malloc(sizeof(zero) + bytes);

	memcpy(data, header ? header : &zero, sizeof(zero));
	memcpy(data + sizeof(zero), frame, bytes);
	guest_send(g, 2 * pair + 1, data, sizeof(zero) + bytes, &cut, flat ? 0 : 1);
	free(data);
}

uint8_t *guest_post(struct guest *g, unsigned pair, size_t bytes)
{
	struct iovec iov = {.iov_base = guest_alloc(g, bytes), .iov_len = bytes};

	guest_add(g, 2 * pair, &iov, 0, 1, iov.iov_base);
	return iov.iov_base;
}

void guest_kick(struct guest *g, unsigned queue)
{
	vireo_driver_ring_kick(g->queues[queue].ring);
}

int guest_used(struct guest *g, unsigned queue, void **ret_cookie)
{
	void *cookie;
	uint32_t bytes;
	int r = vireo_driver_ring_get(g->queues[queue].ring, &cookie, &bytes);

	assert_true(r >= 0);
	if (!r)
		return -1;
	if (ret_cookie)
		*ret_cookie = cookie;
	return (int)bytes;
}

struct vireo_net_queue_stats guest_stats(struct guest *g, unsigned queue)
{
	struct vireo_net_queue_stats stats = { .size = sizeof(stats) };

	vireo_net_queue_stats(g->net, queue, &stats);
	return stats;
}

void frame_fill(uint8_t *frame, size_t bytes, uint8_t fill)
{
	for (size_t i = 0; i < bytes; i++)
		frame[i] = (uint8_t)(fill + i);
	if (bytes >= 14) {
		frame[0] = 0x52;
		frame[6] = 0x52;
		frame[12] = 0x08;
		frame[13] = 0x00;
	}
}
