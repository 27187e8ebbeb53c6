/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any Ethernet device that DPDK has a driver for, as a port. What knows DPDK is a shared object (dpdk_module.c), which is loaded, and its devices made, before
 * the daemon has a sandbox (dpdk_devices.c); a daemon without such a port maps nothing of it.
 *
 * Frames that come are shown in DPDK's buffers, and go back by release; frames that go are copied into such buffers. Nothing says when a frame has come: the
 * workers poll.
 */
#include "port_dpdk.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "dpdk_devices.h"
#include "kernel_port.h"
#include "port.h"
#include "vireo/cursor.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS	    500u
#define ETHER_BYTES 14u
#define TAG_BYTES   4u
#define ESCAPE	    "device-"

#if VIREO_HAS_DPDK

struct dpdk_pair {
	/* The in queue's worker. */
	struct iovec pieces[DPDK_BURST];
	struct sw_queue_stats in;
	/* Who has claimed the out queue. */
	uint32_t filled_bytes[DPDK_BURST];
	unsigned filled;
	struct sw_queue_stats out;
};

struct dpdk_port {
	struct kernel_port kernel;
	struct dpdk_device *device;
	uint32_t longest_bytes; /* of a frame with two tags */
	bool link_up;		/* atomic */
	struct loop_timer *look;
	struct dpdk_pair pairs[];
};

/* ---- in ---- */

static int dpdk_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct dpdk_port *port = opaque;
	struct dpdk_pair *pair = &port->pairs[queue];
	struct dpdk_packet packets[DPDK_BURST];
	unsigned dropped, count = dpdk->receive(port->device, queue, packets, min_u32(max, DPDK_BURST), &dropped), shown = 0;

	counter_add(&pair->in.error, dropped);
	for (unsigned i = 0; i < count; i++) {
		struct vireo_frame *frame = &frames[shown];

		if (packets[i].bytes < ETHER_BYTES) {
			counter_add(&pair->in.runt, 1);
			continue;
		}
		pair->pieces[shown] = (struct iovec){(void *)(uintptr_t)packets[i].data, packets[i].bytes};
		frame->iov = &pair->pieces[shown++];
		frame->iov_count = 1;
		frame->len_bytes = packets[i].bytes;
		frame->head_bytes = frame->head_skip = 0;
		frame->offload = (struct vireo_frame_offload){.gso = VIREO_GSO_NONE};
		memcpy(frame->head, packets[i].data, min_u32(packets[i].bytes, VIREO_FRAME_HEAD_BYTES));
		counter_add(&pair->in.bytes, packets[i].bytes);
	}
	counter_add(&pair->in.frames, shown);
	if (!shown)
		dpdk->release(port->device, queue);
	return (int)shown;
}

static void dpdk_release(void *opaque, unsigned queue)
{
	const struct dpdk_port *port = opaque;

	dpdk->release(port->device, queue);
}

static int dpdk_kick_fd(void *opaque, unsigned queue)
{
	return -1;
}

static bool dpdk_kick_enable(void *opaque, unsigned queue, bool on)
{
	return false;
}

/* ---- out ---- */

/* How many of those that lie in buffers have gone. */
static int sent(struct dpdk_port *port, unsigned queue)
{
	struct dpdk_pair *pair = &port->pairs[queue];
	unsigned went = pair->filled ? dpdk->send(port->device, queue) : 0;

	for (unsigned i = 0; i < went; i++)
		counter_add(&pair->out.bytes, pair->filled_bytes[i]);
	counter_add(&pair->out.frames, went);
	counter_add(&pair->out.no_buffer, pair->filled - went);
	pair->filled = 0;
	return (int)went;
}

static bool has_tag(const uint8_t *head)
{
	return (head[0] == 0x81 && head[1] == 0) || (head[0] == 0x88 && head[1] == 0xa8);
}

/* A tag does not count. */
static bool too_long(const struct dpdk_port *port, const struct vireo_frame *frame)
{
	unsigned tags = has_tag(frame->head + 12) ? 1 + has_tag(frame->head + 12 + TAG_BYTES) : 0;

	return vireo_frame_bytes(frame) > port->longest_bytes - (2 - tags) * TAG_BYTES;
}

static void fill(uint8_t *to, const struct vireo_frame *frame)
{
	struct vireo_cursor rest = vireo_cursor_of(frame->iov, frame->iov_count);
	uint32_t skip = vireo_frame_skip_bytes(frame), head = vireo_frame_head_bytes(frame);

	memcpy(to, frame->head, head);
	vireo_cursor_skip(&rest, skip);
	vireo_cursor_take(&rest, to + head, frame->len_bytes - skip);
}

static void take(struct dpdk_port *port, unsigned queue, const struct vireo_frame *frame)
{
	struct dpdk_pair *pair = &port->pairs[queue];
	uint32_t bytes = vireo_frame_bytes(frame);
	uint8_t *room = NULL;

	if (too_long(port, frame)) {
		counter_add(&pair->out.too_long, 1);
		return;
	}
	room = dpdk->room(port->device, queue, bytes);
	if (!room) {
		counter_add(&pair->out.no_buffer, 1);
		return;
	}
	fill(room, frame);
	pair->filled_bytes[pair->filled++] = bytes;
}

static int dpdk_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct dpdk_port *port = opaque;
	int went = 0;

	if (unlikely(!__atomic_load_n(&port->link_up, __ATOMIC_RELAXED))) {
		counter_add(&port->pairs[queue].out.disabled, count);
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		take(port, queue, frames[i]);
		if (port->pairs[queue].filled == DPDK_BURST)
			went += sent(port, queue);
	}
	return went + sent(port, queue);
}

static void dpdk_flush(void *opaque, unsigned queue)
{
	/* deliver() has given all to the device. */
}

static bool dpdk_carrier(void *opaque)
{
	const struct dpdk_port *port = opaque;

	return __atomic_load_n(&port->link_up, __ATOMIC_RELAXED);
}

static void dpdk_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct dpdk_port *port = opaque;
	const struct dpdk_pair *pair = &port->pairs[queue];

	sw_queue_stats_read(out ? &pair->out : &pair->in, ret);
}

static const struct sw_port_ops dpdk_ops = {
	.receive = dpdk_receive,
	.release = dpdk_release,
	.deliver = dpdk_deliver,
	.flush = dpdk_flush,
	.kick_fd = dpdk_kick_fd,
	.kick_enable = dpdk_kick_enable,
	.carrier = dpdk_carrier,
	.stats = dpdk_stats,
};

/* ---- making and ending it ---- */

static void link_look(struct dpdk_port *port)
{
	bool up = dpdk->link(port->device);

	if (__atomic_exchange_n(&port->link_up, up, __ATOMIC_RELAXED) != up)
		log_info(&port->kernel.port.peer_log, "link is %s", up ? "up" : "down");
}

static void look_timer(void *opaque)
{
	struct dpdk_port *port = opaque;

	link_look(port);
	loop_timer_start(port->look, LOOK_MS);
}

static int look_start(struct dpdk_port *port)
{
	int err = loop_timer_new(port->kernel.port.ports->loop, look_timer, port, &port->look);

	port->link_up = true; /* until it is known better: one that is down is news */
	if (!err)
		look_timer(port);
	return err;
}

static void dpdk_free(struct port *port)
{
	struct dpdk_port *mine = container_of(port, struct dpdk_port, kernel.port);

	kernel_port_fini(&mine->kernel);
	loop_timer_free(&mine->look);
	dpdk_device_give(mine->device);
	free(mine);
}

static void dpdk_close(struct port *port)
{
	loop_timer_free(&container_of(port, struct dpdk_port, kernel.port)->look);
	port_closed(port);
}

static int dpdk_begin(struct dpdk_port *port, char *why)
{
	struct dpdk_facts facts;
	int err = dpdk_device_take(&port->kernel.port.spec, &port->device, why);

	if (err)
		return err;
	dpdk->facts(port->device, &facts);
	port->longest_bytes = facts.longest_bytes;
	err = look_start(port);
	return err ? err : kernel_port_start(&port->kernel, 0);
}

static int dpdk_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct dpdk_port *port = calloc(1, sizeof(*port) + spec->queues * sizeof(port->pairs[0]));
	int err;

	snprintf(why, SPEC_WHY_BYTES, "dpdk '%.40s': out of memory or ports", spec->at.address);
	if (!port)
		return -ENOMEM;
	port_init(&port->kernel.port, ports, &port_dpdk, spec);
	port->kernel.port.in_queues = port->kernel.port.out_queues = spec->queues;
	err = dpdk_begin(port, why);
	if (err)
		loop_timer_free(&port->look);
	return port_opened(&port->kernel.port, err, ret_port);
}

static const char *dpdk_state(const struct port *port)
{
	const struct dpdk_port *mine = (const struct dpdk_port *)port;

	return __atomic_load_n(&mine->link_up, __ATOMIC_RELAXED) ? "up" : "down";
}

static void dpdk_report(const struct port *port, json_t *object)
{
	const struct dpdk_port *mine = (const struct dpdk_port *)port;
	struct dpdk_facts facts;

	dpdk->facts(mine->device, &facts);
	json_object_set_new(object, "session", json_pack("{s:s, s:I, s:I}", "driver", facts.driver, "mtu", (json_int_t)(facts.longest_bytes - ETHER_BYTES - 2 * TAG_BYTES),
							"missed", (json_int_t)dpdk->missed(mine->device)));
}

#else

static const struct sw_port_ops dpdk_ops;

static int dpdk_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	snprintf(why, SPEC_WHY_BYTES, "dpdk '%.40s': not built in: build with libdpdk (-Ddpdk=enabled)", spec->at.address);
	return -EOPNOTSUPP;
}

static const char *dpdk_state(const struct port *port)
{
	return "failed";
}

static void dpdk_close(struct port *port)
{
}

#define dpdk_free   dpdk_close
#define dpdk_report NULL

#endif

static const char *device_problem(const char *address)
{
	return strlen(address) < 64 ? NULL : "expected the name of a DPDK device such as net_tap0 or 0000:03:00.0";
}

/* A key that is none of the port's is the device's. One of the port's own names reaches it as device-NAME. */
static bool argument_add(struct spec *spec, const char *name, const char *value)
{
	struct port_dpdk_spec *mine = &((struct port_spec *)spec)->dpdk;
	size_t bytes = strlen(mine->arguments), escape = strlen(ESCAPE), room = sizeof(mine->arguments) - bytes;

	if (!strncmp(name, ESCAPE, escape))
		name += escape;
	if (!*name || strpbrk(name, "[]\"") || strpbrk(value, "[]\""))
		return false;
	return (size_t)snprintf(mine->arguments + bytes, room, ",%s=%s", name, value) < room;
}

/* The MTU is the device's, which has been made with it. */
#define KEY_MTU {"mtu", port_set_mtu, "68 to 65535", ""}

static const struct spec_key keys[] = {SPEC_KEY_NAME, PORT_KEY_QUEUES, KEY_MTU, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, PORT_KEYS_LIMITS, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING, PORT_KEY_GRO};

const struct port_kind port_dpdk = {
	.spec = {
		.type = "dpdk",
		.address = "DEVICE",
		.address_problem = device_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
		.other_key = argument_add,
		.other_expected = "an argument of the device, of 500 bytes at most with all others, without [, ] and \"",
	},
	.ops = &dpdk_ops,
	.open = dpdk_open,
	.close = dpdk_close,
	.free = dpdk_free,
	.state = dpdk_state,
	.report = dpdk_report,
};
