/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Frames that do not come from a queue: the control thread sends them to a worker by letter, which forwards
 * them as if their port had sent them. A letter names its port by serial number, since the port may be gone,
 * and its id somebody else's, when the letter is delivered.
 */

#include "switch/core.h"
#include "switch/forwarder.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INJECT_BYTES_MIN 14u
#define INJECT_BYTES_MAX 65535u

struct injected {
	struct worker_letter letter;
	uint64_t serial; /* of the port it is from */
	uint16_t port;
	uint32_t bytes;
	uint8_t data[];
};

static void forward(struct forwarder *forwarder, struct injected *injected)
{
	const struct topology *topology = topology_of(forwarder->worker.table);
	const struct topology_port *from = topology_port(topology, injected->port);
	struct iovec iov = {injected->data, injected->bytes};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = injected->bytes};
	struct port_counters *counters;

	if (!from || from->port->serial != injected->serial)
		return;
	memcpy(frame.head, injected->data, min_u32(injected->bytes, VIREO_FRAME_HEAD_BYTES));
	counters = &from->port->counters[forwarder->worker.index];
	counter_add(&counters->injected_frames, 1);
	counter_add(&counters->injected_bytes, injected->bytes);
	forwarder->burst.topology = topology;
	forwarder->burst.from = from->port;
	forwarder->burst.rules = &from->rules;
	forwarder->burst.frames = &frame;
	forwarder->burst.count = 1;
	forward_burst(forwarder, &forwarder->burst);
}

static void injected_drop(struct worker_letter *letter)
{
	free(container_of(letter, struct injected, letter));
}

static void injected_deliver(struct vireo_letter *letter)
{
	struct injected *injected = container_of(letter, struct injected, letter.letter);

	forward(container_of(injected->letter.worker, struct forwarder, worker), injected);
	injected_drop(&injected->letter);
}

int sw_port_inject(struct sw_port *port, const void *frame, uint32_t bytes)
{
	struct forwarder *forwarder = port->sw->forwarders[port->id % port->sw->worker_count];
	struct injected *injected;

	if (bytes < INJECT_BYTES_MIN || bytes > INJECT_BYTES_MAX)
		return -EMSGSIZE;
	injected = malloc(sizeof(*injected) + bytes);
	if (!injected)
		return -ENOMEM;
	injected->letter = (struct worker_letter){.letter = {.deliver = injected_deliver}, .drop = injected_drop};
	injected->serial = port->serial;
	injected->port = port->id;
	injected->bytes = bytes;
	memcpy(injected->data, frame, bytes);
	worker_post(&forwarder->worker, &injected->letter);
	return 0;
}
