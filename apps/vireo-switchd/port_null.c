/* SPDX-License-Identifier: BSD-3-Clause */
/* A port that swallows what it gets, and counts it. */
#include "base/util.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct null_port {
	struct port port;
	struct sw_queue_stats stats; /* written by who has claimed the out queue */
};

static int null_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	return 0;
}

static void null_nothing(void *opaque, unsigned queue)
{
}

static int null_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct null_port *null = opaque;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += vireo_frame_bytes(frames[i]);
	counter_add(&null->stats.frames, count);
	counter_add(&null->stats.bytes, bytes);
	return (int)count;
}

static int null_kick_fd(void *opaque, unsigned queue)
{
	return -1;
}

static bool null_kick_enable(void *opaque, unsigned queue, bool on)
{
	return false;
}

static void null_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct null_port *null = opaque;

	sw_queue_stats_read(&null->stats, ret);
}

static const struct sw_port_ops null_ops = {
	.receive = null_receive,
	.release = null_nothing,
	.deliver = null_deliver,
	.flush = null_nothing,
	.kick_fd = null_kick_fd,
	.kick_enable = null_kick_enable,
	.stats = null_stats,
};

static int null_start(struct null_port *null)
{
	int err = port_join(&null->port);

	if (err)
		return err;
	port_offloads_set(&null->port, ~0u);
	return sw_queue_add(null->port.sw, true, 0);
}

static int null_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct null_port *null = calloc(1, sizeof(*null));

	snprintf(why, SPEC_WHY_BYTES, "out of memory or ports");
	if (!null)
		return -ENOMEM;
	port_init(&null->port, ports, &port_null, spec);
	null->port.out_queues = 1;
	return port_opened(&null->port, null_start(null), ret_port);
}

static void null_free(struct port *port)
{
	free(container_of(port, struct null_port, port));
}

static const char *null_state(const struct port *port)
{
	return "up";
}

static const struct spec_key keys[] = {PORT_KEY_LINK};

const struct port_kind port_null = {
	.spec = {.type = "null", .address = "NAME", .address_problem = port_name_problem, .keys = keys, .key_count = ARRAY_SIZE(keys)},
	.address_is_name = true,
	.nothing_to_hand_over = true,
	.ops = &null_ops,
	.open = null_open,
	.close = port_closed,
	.free = null_free,
	.state = null_state,
};
