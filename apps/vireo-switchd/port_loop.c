/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port that sends back what it gets, with its addresses swapped: somebody to talk to for one machine alone. What is for many is taken, and
 * not sent back.
 *
 * Who delivers copies a frame into the next slot of a ring; the in queue's worker shows what lies there in place, and gives the slots back in
 * release. Each end moves one number on, and looks at the other's.
 */
#include "base/fd.h"
#include "base/util.h"
#include "kernel_frame.h"
#include "kernel_port.h"
#include "port.h"
#include "vireo/cursor.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOP_SLOTS 64u

struct loop_slot {
	struct iovec iov; /* into the buffers */
	struct vireo_frame_offload offload;
};

struct loop_port {
	struct kernel_port kernel;
	uint8_t *buffers; /* LOOP_SLOTS of KERNEL_FRAME_BYTES; what has never been needed is never touched */
	struct loop_slot slots[LOOP_SLOTS];
	int kick_fd;
	bool kicks; /* atomic: the in queue's worker sleeps, or is about to */
	/* Who has claimed the out queue. */
	uint32_t filled __attribute__((aligned(CACHE_LINE_BYTES))); /* atomic: slots, since the beginning */
	struct sw_queue_stats out;
	/* The in queue's worker. */
	uint32_t emptied __attribute__((aligned(CACHE_LINE_BYTES))); /* atomic: likewise */
	uint32_t shown; /* of the slots since then */
	struct sw_queue_stats in;
};

/* ---- out ---- */

/* With the frame's edit; then its first twelve bytes are swapped. */
static void slot_fill(struct loop_slot *slot, uint8_t *buffer, const struct vireo_frame *frame, const struct vireo_frame_offload *offload)
{
	struct vireo_cursor rest = vireo_cursor_of(frame->iov, frame->iov_count);
	uint32_t skip = vireo_frame_skip_bytes(frame), head = vireo_frame_head_bytes(frame);

	memcpy(buffer, frame->head, head);
	memcpy(buffer, frame->head + 6, 6);
	memcpy(buffer + 6, frame->head, 6);
	vireo_cursor_skip(&rest, skip);
	vireo_cursor_take(&rest, buffer + head, frame->len_bytes - skip);
	slot->iov = (struct iovec){buffer, vireo_frame_bytes(frame)};
	slot->offload = *offload;
}

static bool take(struct loop_port *loop, const struct vireo_frame *frame)
{
	uint32_t filled = loop->filled, slot = filled % LOOP_SLOTS;
	struct vireo_frame_offload offload;

	if (filled - __atomic_load_n(&loop->emptied, __ATOMIC_ACQUIRE) == LOOP_SLOTS) {
		counter_add(&loop->out.no_buffer, 1);
	} else if (vireo_frame_bytes(frame) > KERNEL_FRAME_BYTES) {
		counter_add(&loop->out.too_long, 1);
	} else if (!vireo_frame_offload_moved(frame, &offload)) {
		counter_add(&loop->out.offload_refused, 1);
	} else {
		counter_add(&loop->out.frames, 1);
		counter_add(&loop->out.bytes, vireo_frame_bytes(frame));
		if (frame->head[0] & 1)
			return true;
		slot_fill(&loop->slots[slot], loop->buffers + (size_t)slot * KERNEL_FRAME_BYTES, frame, &offload);
		__atomic_store_n(&loop->filled, filled + 1, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

static int loop_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	int taken = 0;

	for (unsigned i = 0; i < count; i++)
		taken += take(opaque, frames[i]);
	return taken;
}

static void loop_flush(void *opaque, unsigned queue)
{
	struct loop_port *loop = opaque;

	/* Either this sees that the worker is to sleep, or that one sees what has been filled. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&loop->kicks, __ATOMIC_RELAXED) && __atomic_exchange_n(&loop->kicks, false, __ATOMIC_RELAXED))
		fd_event_raise(loop->kick_fd);
}

/* ---- in ---- */

static uint32_t waiting(const struct loop_port *loop)
{
	return __atomic_load_n(&loop->filled, __ATOMIC_ACQUIRE) - loop->emptied;
}

static int loop_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct loop_port *loop = opaque;
	uint32_t count = min_u32(waiting(loop), max);

	for (uint32_t i = 0; i < count; i++) {
		struct loop_slot *slot = &loop->slots[(loop->emptied + i) % LOOP_SLOTS];
		uint32_t bytes = (uint32_t)slot->iov.iov_len;

		frames[i].iov = &slot->iov;
		frames[i].iov_count = 1;
		frames[i].len_bytes = bytes;
		frames[i].head_bytes = frames[i].head_skip = 0;
		frames[i].offload = slot->offload;
		memcpy(frames[i].head, slot->iov.iov_base, min_u32(bytes, VIREO_FRAME_HEAD_BYTES));
		counter_add(&loop->in.bytes, bytes);
	}
	counter_add(&loop->in.frames, count);
	loop->shown = count;
	return (int)count;
}

static void loop_release(void *opaque, unsigned queue)
{
	struct loop_port *loop = opaque;

	__atomic_store_n(&loop->emptied, loop->emptied + loop->shown, __ATOMIC_RELEASE);
	loop->shown = 0;
}

static int loop_kick_fd(void *opaque, unsigned queue)
{
	const struct loop_port *loop = opaque;

	return loop->kick_fd;
}

static bool loop_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct loop_port *loop = opaque;

	__atomic_store_n(&loop->kicks, on, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return on && waiting(loop);
}

static void loop_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct loop_port *loop = opaque;

	sw_queue_stats_read(out ? &loop->out : &loop->in, ret);
}

static const struct sw_port_ops loop_ops = {
	.receive = loop_receive,
	.release = loop_release,
	.deliver = loop_deliver,
	.flush = loop_flush,
	.kick_fd = loop_kick_fd,
	.kick_enable = loop_kick_enable,
	.stats = loop_stats,
};

/* ---- making and ending it ---- */

static void loop_free(struct port *port)
{
	struct loop_port *loop = container_of(port, struct loop_port, kernel.port);

	kernel_port_fini(&loop->kernel);
	kernel_buffers_free(&loop->buffers, LOOP_SLOTS * KERNEL_FRAME_BYTES);
	fd_close(&loop->kick_fd);
	free(loop);
}

static int loop_start(struct loop_port *loop)
{
	int err = kernel_buffers_new(LOOP_SLOTS * KERNEL_FRAME_BYTES, &loop->buffers);

	if (!err)
		err = fd_event_new(&loop->kick_fd);
	return err ? err : kernel_port_start(&loop->kernel, ~0u);
}

static int loop_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct loop_port *loop = aligned_alloc(CACHE_LINE_BYTES, sizeof(*loop));

	snprintf(why, SPEC_WHY_BYTES, "out of memory or ports");
	if (!loop)
		return -ENOMEM;
	memset(loop, 0, sizeof(*loop));
	loop->kick_fd = -1;
	port_init(&loop->kernel.port, ports, &port_loop, spec);
	loop->kernel.port.in_queues = loop->kernel.port.out_queues = 1;
	return port_opened(&loop->kernel.port, loop_start(loop), ret_port);
}

static const char *loop_state(const struct port *port)
{
	return "up";
}

static const struct spec_key keys[] = {PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE_ALONE, PORT_KEYS_LIMITS, PORT_KEYS_RUNNING};

const struct port_kind port_loop = {
	.spec = {
		.type = "loop",
		.address = "NAME",
		.address_problem = port_name_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &loop_ops,
	.open = loop_open,
	.close = port_closed,
	.free = loop_free,
	.state = loop_state,
	.address_is_name = true,
	.opens_anew = true,
};
