/* SPDX-License-Identifier: BSD-3-Clause */

/* Set-up of each ring, and its end. */

#include "base/fd.h"
#include "base/log.h"
#include "driver/ring/ring.h"
#include "driver/virtio_user/front.h"
#include <errno.h>
#include <stdlib.h>

/* SET_VRING_BASE of a packed ring that is new: both wrap counters are 1. */
#define PACKED_BASE_NEW 0x80008000u

static int ring_make(struct vireo_front *front, struct front_ring *r)
{
	struct driver_ring_setup setup = {
		.packed = front_agreed(front, FRONT_F_RING_PACKED_BIT),
		.indirect = front_agreed(front, FRONT_F_INDIRECT_BIT),
		.event_idx = front_agreed(front, FRONT_F_EVENT_IDX_BIT),
		.in_order = front_agreed(front, FRONT_F_IN_ORDER_BIT),
		.size = front->config.queue_size,
		.desc = r->desc,
		.driver = r->driver,
		.device = r->device,
		.tables = r->tables,
		.memory = {
			.host = front->memory + front->rings_bytes,
			.gpa = front->regions[1].gpa,
			.bytes = front->regions[1].size_bytes,
		},
	};
	int kick_fd = -1, ret = fd_event_new(&kick_fd);

	if (r->tables)
		setup.tables_gpa = front->regions[0].gpa + (uint64_t)((uint8_t *)r->tables - front->memory);
	if (!ret)
		ret = bell_set(&r->kick, front->config.notifier, kick_fd);
	if (ret)
		fd_close(&kick_fd);
	else
		ret = fd_event_new(&r->call_fd);
	if (ret)
		return ret;
	setup.kick = &r->kick;
	setup.call_fd = r->call_fd;
	return driver_ring_new(&setup, &r->ring);
}

int front_rings_new(struct vireo_front *front)
{
	int ret = 0;

	for (unsigned i = 0; i < front->config.queue_count && !ret; i++)
		ret = ring_make(front, &front->rings[i]);
	return ret;
}

static int ring_describe(struct vireo_front *front, unsigned index)
{
	struct front_ring *r = &front->rings[index];
	struct vu_vring_state num = { .index = index, .num = front->config.queue_size };
	struct vu_vring_state base = { .index = index };
	struct vu_vring_addr address = {
		.index = index,
		.desc = (uintptr_t)r->desc,
		.avail = (uintptr_t)r->driver,
		.used = (uintptr_t)r->device,
	};
	int ret;

	if (front_agreed(front, FRONT_F_RING_PACKED_BIT))
		base.num = PACKED_BASE_NEW;
	ret = front_set(front, VU_SET_VRING_NUM, &num, sizeof(num), -1);
	if (!ret)
		ret = front_set(front, VU_SET_VRING_BASE, &base, sizeof(base), -1);
	if (!ret)
		ret = front_set(front, VU_SET_VRING_ADDR, &address, sizeof(address), -1);
	return ret;
}

static int ring_start(struct vireo_front *front, unsigned index)
{
	struct front_ring *r = &front->rings[index];
	uint64_t payload = index;
	int ret = ring_describe(front, index);

	if (!ret)
		ret = front_set(front, VU_SET_VRING_CALL, &payload, sizeof(payload), r->call_fd);
	if (!ret)
		ret = front_set(front, VU_SET_VRING_KICK, &payload, sizeof(payload), r->kick.fd);
	r->started = !ret;
	return ret;
}

static int ring_enable(struct vireo_front *front, unsigned index, bool on)
{
	struct vu_vring_state state = { .index = index, .num = on };

	/* Without bit 30 rings are enabled from the start. */
	if (!front_agreed(front, VU_F_PROTOCOL_FEATURES_BIT))
		return 0;
	return front_set(front, VU_SET_VRING_ENABLE, &state, sizeof(state), -1);
}

int front_rings_start(struct vireo_front *front)
{
	int ret = 0;

	for (unsigned i = 0; i < front->config.queue_count && !ret; i++)
		ret = ring_start(front, i);
	for (unsigned i = 0; i < front->config.queue_count && !ret; i++)
		ret = ring_enable(front, i, true);
	return ret;
}

/* The answer to GET_VRING_BASE promises that the back end does not touch the ring any more. */
static int ring_stop(struct vireo_front *front, unsigned index)
{
	struct vu_vring_state state = { .index = index };
	uint32_t bytes;
	int ret = front_send(front, VU_GET_VRING_BASE, &state, sizeof(state));

	if (!ret)
		ret = front_reply(front, VU_GET_VRING_BASE, &state, sizeof(state), &bytes);
	if (ret)
		return ret;
	if (bytes != sizeof(state) || state.index != index)
		return -EPROTO;
	log_debug(&front->config.log, "%s: ring %u stopped at %#x", front->config.path, index, state.num);
	return 0;
}

void front_rings_stop(struct vireo_front *front)
{
	for (unsigned i = 0; i < front->config.queue_count && !front->dead; i++)
		if (front->rings[i].started)
			ring_enable(front, i, false);
	for (unsigned i = 0; i < front->config.queue_count && !front->dead; i++)
		if (front->rings[i].started && ring_stop(front, i))
			return;
}

void front_rings_free(struct vireo_front *front)
{
	for (unsigned i = 0; front->rings && i < front->config.queue_count; i++) {
		driver_ring_free(front->rings[i].ring);
		bell_forget(&front->rings[i].kick);
		fd_close(&front->rings[i].call_fd);
	}
	free(front->rings);
}
