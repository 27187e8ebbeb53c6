/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/instructions/guest.h"
#include "base/fd.h"
#include "base/loop.h"
#include "device/device.h"
#include "mem/dirty.h"
#include "mem/map.h"
#include "mem/view.h"
#include "model/net/net_internal.h"
#include "model/net/rss.h"
#include "ring/ring.h"
#include "wire/virtio_net.h"
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES (4u << 20)
#define GPA	     UINT64_C(0x40000000)
#define UADDR	     UINT64_C(0x7f0000000000)
#define PACKED_BASE  0x80008000u /* both wrap counters set: SET_VRING_BASE's bits 15 and 31 */
#define BUFFER_BYTES 2048u
#define DATA_OFFSET  64u /* of a frame whose header is a descriptor of its own */
#define PAGE_BYTES   4096u
#define WINDOW_BYTES (PAGE_BYTES - 64u) /* neighbours would become one */

void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench-instructions: %s\n", what);
	_exit(1); /* other threads may be anywhere */
}

static void broken(void *opaque, const char *why)
{
	must(false, why);
}

static void missed(void *opaque)
{
	must(false, "an address has no window");
}

static const struct device_transport transport = {.broken = broken, .missed = missed, .tells_memory = true};

static void *guest_alloc(struct guest *g, size_t bytes)
{
	void *at = g->memory + g->used_bytes;

	must(bytes <= MEMORY_BYTES - g->used_bytes, "guest memory is too small");
	g->used_bytes += (bytes + 63) & ~(size_t)63;
	return at;
}

/* Where a ring's area is told to be: behind an IOMMU by the driver's own addresses. */
static uint64_t guest_uaddr(const struct guest *g, const void *at)
{
	return (g->c->translated ? GPA : UADDR) + (uint64_t)((const uint8_t *)at - g->memory);
}

static void memory_new(struct guest *g)
{
	const struct map_spec spec = {.gpa = GPA, .size_bytes = MEMORY_BYTES, .uaddr = UADDR};
	int fd = memfd_create("guest", MFD_CLOEXEC);
	const char *why = "";

	must(fd >= 0 && !ftruncate(fd, MEMORY_BYTES), "no memory for the guest");
	g->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(g->memory != MAP_FAILED, "no memory for the guest");
	must(!map_new(NULL, &spec, &fd, 1, device_faults(g->device), &g->map, &why), why);
	close(fd);
}

/* The rings are one window, each page of buffers is one. */
static struct map *windows_of(const struct guest *g)
{
	static struct map_window windows[MEMORY_BYTES / PAGE_BYTES];
	struct map *view;
	unsigned count = 0;

	for (uint64_t at = 0, bytes; at < MEMORY_BYTES; at += at ? PAGE_BYTES : g->rings_bytes) {
		bytes = at ? WINDOW_BYTES : g->rings_bytes;
		windows[count++] = (struct map_window){GPA + at, UADDR + at, bytes, MAP_READ | MAP_WRITE};
	}
	must(!map_view(g->map, windows, count, &view, NULL), "no view of memory");
	map_unref(g->map);
	return view;
}

/* From here on by whole pages, two buffers in each. */
static void rings_end(struct guest *g)
{
	g->used_bytes = (g->used_bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	g->rings_bytes = g->used_bytes;
}

static void memory_tell(struct guest *g)
{
	if (g->c->translated)
		device_patient_set(g->device, true);
	device_map_set(g->device, g->c->translated ? windows_of(g) : g->map);
}

/* The device learns of the ring what a front end would tell it. */
static void ring_announce(struct guest *g, unsigned index, const struct driver_ring_setup *setup)
{
	int kick_fd = -1, fd = -1, err = 0;

	if (!g->c->silent)
		err = fd_event_new(&fd);
	else if (index)
		err = fd_event_new(&kick_fd);
	must(!err, "no eventfd");
	err |= device_queue_size_set(g->device, index, setup->size);
	err |= device_queue_address_set(g->device, index, guest_uaddr(g, setup->desc), guest_uaddr(g, setup->driver),
					guest_uaddr(g, setup->device));
	err |= device_queue_base_set(g->device, index, setup->packed ? PACKED_BASE : 0);
	err |= device_queue_call_set(g->device, index, fd);
	if (g->c->tracked) /* in memory of its own in a real life; where it lies costs the same */
		err |= device_queue_inflight_set(g->device, index,
						 guest_alloc(g, device_queue_inflight_bytes(g->device, setup->size)), setup->size);
	err |= device_queue_kick_set(g->device, index, kick_fd);
	err |= device_queue_enable(g->device, index, true);
	must(!err, "the device refused a queue");
}

static struct vireo_driver_ring *ring_add(struct guest *g, unsigned index)
{
	struct driver_ring_setup setup = {
		.packed = g->c->packed,
		.indirect = g->c->indirect,
		.in_order = g->c->in_order,
		.size = GUEST_QUEUE_SIZE,
		.memory = {.host = g->memory, .gpa = GPA, .bytes = MEMORY_BYTES},
		.call_fd = -1,
	};
	struct ring_area area = ring_area_bytes(setup.packed, setup.size);
	struct vireo_driver_ring *ring;

	setup.desc = guest_alloc(g, area.desc_bytes);
	setup.driver = guest_alloc(g, area.driver_bytes);
	setup.device = guest_alloc(g, area.device_bytes);
	g->device_areas[index] = (uint64_t)((uint8_t *)setup.device - g->memory);
	if (setup.indirect) {
		setup.tables = guest_alloc(g, driver_ring_table_bytes(setup.size));
		setup.tables_gpa = GPA + (uint64_t)((uint8_t *)setup.tables - g->memory);
	}
	must(!driver_ring_new(&setup, &ring), "no driver ring");
	ring_announce(g, index, &setup);
	vireo_driver_ring_signal_enable(ring, g->c->coalesced);
	return ring;
}

/* All bits are set soon, as nobody takes them: what is counted is the look at each page's. */
static void log_begin(struct guest *g)
{
	uint64_t bytes = (GPA + MEMORY_BYTES) / DIRTY_PAGE_BYTES / 8;
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty_log *log;
	const char *why = "";
	int err;

	must(fd >= 0 && !ftruncate(fd, (off_t)bytes), "no memory for the log");
	must(!dirty_log_new(fd, 0, bytes, device_faults(g->device), &log, &why), why);
	err = device_log_set(g->device, log, &why);
	must(!err && !device_log_switch(g->device, true, &why), why);
	for (uint32_t i = 0; i < 2; i++)
		must(!device_queue_log_set(g->device, i, true, GPA + g->device_areas[i], &why), why);
	dirty_log_unref(log);
	close(fd);
}

static uint64_t features_of(const struct bench_case *c)
{
	uint64_t features = VIREO_FEATURE(VIREO_F_VERSION_1_BIT);

	if (!c->plain)
		features |= VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT);
	if (c->packed)
		features |= VIREO_FEATURE(VIREO_F_RING_PACKED_BIT);
	if (c->in_order)
		features |= VIREO_FEATURE(VIREO_F_IN_ORDER_BIT);
	if (c->indirect)
		features |= VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT);
	if (c->hashed)
		features |= VIREO_FEATURE(VIREO_NET_F_HASH_REPORT_BIT);
	if (c->summed || c->passed)
		features |= VIREO_FEATURE(VIREO_NET_F_CSUM_BIT);
	if (c->passed)
		features |= VIREO_FEATURE(VIREO_NET_F_GUEST_CSUM_BIT);
	if (c->coalesced)
		features |= VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT) | VIREO_FEATURE(VIREO_NET_F_NOTF_COAL_BIT);
	return features;
}

static uint32_t header_bytes(const struct bench_case *c)
{
	return c->hashed ? NET_HDR_HASH_BYTES : NET_HDR_BYTES;
}

static bool add(struct vireo_driver_ring *ring, const struct bench_case *c, uint8_t *buffer, uint32_t data_bytes,
		bool writable)
{
	const struct iovec two[] = {{buffer, header_bytes(c)}, {buffer + DATA_OFFSET, data_bytes}};
	const struct iovec one[] = {{buffer, header_bytes(c) + data_bytes}};
	unsigned count = c->two ? 2 : 1;

	return !vireo_driver_ring_add(ring, c->two ? two : one, writable ? 0 : count, writable ? count : 0,
				      c->indirect, buffer);
}

static uint8_t *frame_in(const struct bench_case *c, uint8_t *buffer)
{
	return buffer + (c->two ? DATA_OFFSET : header_bytes(c));
}

static void buffers_add(struct guest *g)
{
	for (unsigned i = 0; i < GUEST_QUEUE_SIZE; i++)
		g->buffers[i] = guest_alloc(g, BUFFER_BYTES);
	for (unsigned i = 0; i < GUEST_QUEUE_SIZE / (g->c->two && !g->c->indirect ? 2 : 1); i++)
		must(add(g->receive, g->c, guest_alloc(g, BUFFER_BYTES), FRAME_BYTES_MAX, true),
		     "no room for a receive buffer");
	vireo_driver_ring_kick(g->receive);
}

/* All hashes, and a table that names the one queue that there is: as if the driver had said so. */
static void rss_begin(struct guest *g)
{
	struct net_rss_config config = {.types = NET_HASH_TYPES_ALL, .steers = g->c->rss, .mask = 127, .transmit_pairs = 1, .key_bytes = 40};

	for (unsigned i = 0; i < sizeof(config.key); i++)
		config.key[i] = (uint8_t)(0x6d + 29 * i);
	must(net_rss_set(g->net, &config), "no memory for the table");
}

/* A signal for two bursts: as if the driver had said so. */
static void coalesce_begin(struct guest *g)
{
	const struct net_coalesce limits = {.max_packets = 2 * BURST, .max_us = 10000000};

	for (unsigned transmit = 0; transmit < 2; transmit++)
		net_coalesce_all_set(g->net, transmit, limits);
}

/* NOTF_COAL is offered to who has it. The worker asks signal_look() at all times in such a case. */
static void signals_set(void *opaque, bool held)
{
}

void guest_start(struct guest *g, const struct bench_case *c, uint8_t number)
{
	static const struct vireo_net_ops ops = {.size = sizeof(ops), .signals_set = signals_set};
	const struct vireo_net_config config = {.size = sizeof(config), .name = "net", .ops = c->coalesced ? &ops : NULL};
	static struct loop *loop; /* of all; nobody dispatches it */

	*g = (struct guest){.c = c, .number = number};
	must(!vireo_net_new(&config, &g->net), "no net device");
	g->device = vireo_net_device(g->net);
	must(loop || !loop_new(&loop), "no loop");
	must(!device_attach(g->device, loop, &transport, g), "the device is attached already");
	device_session_begin(g->device);
	must(!device_features_set(g->device, features_of(c)), "the device refused the features");
	memory_new(g);
	g->receive = ring_add(g, 0);
	g->transmit = ring_add(g, 1);
	if (c->translated)
		rings_end(g);
	buffers_add(g);
	memory_tell(g);
	if (c->logged)
		log_begin(g);
	device_resume(g->device);
	if (c->rss || c->hashed)
		rss_begin(g);
	if (c->coalesced)
		coalesce_begin(g);
	vireo_net_kick_enable(g->net, 0, false);
	vireo_net_kick_enable(g->net, 1, false);
}

/* The checksum is left to the device. */
static void request_put(uint8_t *header)
{
	const struct virtio_net_header request = {.flags = NET_HDR_F_NEEDS_CSUM, .csum_start = htole16(BENCH_SUM_START),
						  .csum_offset = htole16(BENCH_SUM_OFFSET)};

	memcpy(header, &request, NET_HDR_BYTES);
}

void guest_send_burst(struct guest *g, uint8_t to)
{
	for (unsigned i = 0; i < BURST; i++) {
		uint8_t *buffer = g->buffers[g->to_send % GUEST_QUEUE_SIZE];

		uint32_t bytes = frame_make(frame_in(g->c, buffer), g->c, g->number, g->number, to, g->to_send);

		if (g->c->summed || g->c->passed)
			request_put(buffer);
		must(add(g->transmit, g->c, buffer, bytes, false), "no room for a frame to send");
		g->to_send++;
	}
	vireo_driver_ring_kick(g->transmit);
}

void guest_sent(struct guest *g, unsigned count)
{
	uint32_t len_bytes;
	void *cookie;

	for (unsigned i = 0; i < count; i++)
		must(vireo_driver_ring_get(g->transmit, &cookie, &len_bytes) == 1, "the device kept a frame");
	must(vireo_driver_ring_get(g->transmit, &cookie, &len_bytes) == 0, "the device used too many frames");
}

void guest_take(struct guest *g, uint8_t from, unsigned count)
{
	uint32_t len_bytes;
	void *cookie;

	for (unsigned i = 0; i < count; i++) {
		must(vireo_driver_ring_get(g->receive, &cookie, &len_bytes) == 1, "a frame is missing");
		frame_check(frame_in(g->c, cookie), len_bytes - header_bytes(g->c), g->c, from, g->number, g->to_take++);
		must(!g->c->passed || *(uint8_t *)cookie == NET_HDR_F_NEEDS_CSUM, "a request for a checksum was not passed on");
		must(add(g->receive, g->c, cookie, FRAME_BYTES_MAX, true), "no room for a receive buffer");
	}
	must(vireo_driver_ring_get(g->receive, &cookie, &len_bytes) == 0, "a frame too many");
	vireo_driver_ring_kick(g->receive);
}

unsigned guest_sent_some(struct guest *g)
{
	uint32_t len_bytes;
	void *cookie;

	while (vireo_driver_ring_get(g->transmit, &cookie, &len_bytes) == 1)
		g->to_reclaim++;
	return g->to_send - g->to_reclaim;
}

unsigned guest_take_some(struct guest *g, uint8_t from)
{
	uint32_t len_bytes;
	unsigned taken = 0;
	void *cookie;

	for (; vireo_driver_ring_get(g->receive, &cookie, &len_bytes) == 1; taken++) {
		frame_check(frame_in(g->c, cookie), len_bytes - header_bytes(g->c), g->c, from, g->number, g->to_take++);
		must(add(g->receive, g->c, cookie, FRAME_BYTES_MAX, true), "no room for a receive buffer");
	}
	vireo_driver_ring_kick(g->receive);
	return taken;
}

/* The buffer is the last one that will be used for a frame. */
static uint8_t *greeting_make(struct guest *g)
{
	uint8_t *buffer = g->buffers[GUEST_QUEUE_SIZE - 1];

	frame_make(frame_in(g->c, buffer), g->c, g->number, g->number, 0xfe, 0);
	return buffer;
}

void guest_greet(struct guest *g)
{
	must(add(g->transmit, g->c, greeting_make(g), g->c->size_bytes, false), "no room for a frame to send");
	vireo_driver_ring_kick(g->transmit);
}

void guest_forget(struct guest *g)
{
	uint32_t len_bytes;
	void *cookie;

	while (vireo_driver_ring_get(g->receive, &cookie, &len_bytes) == 1)
		must(add(g->receive, g->c, cookie, FRAME_BYTES_MAX, true), "no room for a receive buffer");
	vireo_driver_ring_kick(g->receive);
}
