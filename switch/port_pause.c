/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Out queues that stop for a moment and go on: hold.c says what happens to frames meanwhile. The topology does not change: workers
 * look at the queue, and a grace period after it is marked no worker calls its port. The thread of a port that is served aside is told then,
 * and says when it has let go (aside.c). When it goes on, a letter sends a worker there, for nothing else may come. A letter names its port by serial number, as those of inject.c do, and the topology that it needs by version: a
 * worker that has just taken an older one looks at it in its next round.
 */

#include "switch/aside.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct resumed {
	struct worker_letter letter;
	uint64_t serial, version;
	uint16_t port;
	unsigned queue;
};

static void resumed_drop(struct worker_letter *letter)
{
	free(container_of(letter, struct resumed, letter));
}

static void resumed_deliver(struct vireo_letter *letter)
{
	struct resumed *resumed = container_of(letter, struct resumed, letter.letter);
	struct forwarder *forwarder = container_of(resumed->letter.worker, struct forwarder, worker);
	const struct topology *topology = topology_of(forwarder->worker.table);
	const struct topology_port *port;
	struct out_queue *out;

	if (topology->table.version < resumed->version) { /* it has taken its topology just before: in the next round */
		worker_post(resumed->letter.worker, &resumed->letter);
		return;
	}
	port = topology_port(topology, resumed->port);
	out = port && port->port->serial == resumed->serial ? topology_out(port, resumed->queue) : NULL;
	if (out)
		deliver_held(forwarder, port, out);
	resumed_drop(&resumed->letter);
}

/* Without memory for a letter what is held goes with the next frame. */
static void worker_send(const struct sw_port *port, unsigned queue)
{
	struct forwarder *forwarder = port->sw->forwarders[port->id % port->sw->worker_count];
	struct resumed *resumed = malloc(sizeof(*resumed));

	if (!resumed)
		return;
	*resumed = (struct resumed){
		.letter = {.letter = {.deliver = resumed_deliver}, .drop = resumed_drop},
		.serial = port->serial,
		.version = port->sw->version,
		.port = port->id,
		.queue = queue,
	};
	worker_post(&forwarder->worker, &resumed->letter);
}

void port_held_send(const struct sw_port *port)
{
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		if (port->out[i] && __atomic_load_n(&port->out[i]->held, __ATOMIC_RELAXED) & HELD_FRAMES)
			worker_send(port, i);
}

static void pause_is_done(struct out_queue *out)
{
	void (*done)(void *opaque) = out->pause_done;

	out->pause_done = NULL;
	done(out->pause_opaque);
}

/* No worker calls the port for it, or its aside: but its thread may. */
static void queue_paused(struct grace_item *item)
{
	struct out_queue *out = container_of(item, struct out_queue, paused);
	struct aside *aside = out->queue.port->aside;

	if (aside)
		out->pause_said = aside_pause(aside, out->number);
	else
		pause_is_done(out);
}

void port_pauses_look(struct sw_port *port)
{
	for (unsigned i = 0; i < SW_QUEUES_MAX && port->aside; i++) {
		struct out_queue *out = port->out[i];

		if (out && out->pause_done && out->pause_said && aside_said(port->aside, out->pause_said))
			pause_is_done(out);
	}
}

int sw_queue_pause(struct sw_port *port, unsigned queue, void (*done)(void *opaque), void *opaque)
{
	struct out_queue *out = queue < SW_QUEUES_MAX ? port->out[queue] : NULL;
	int err;

	if (!out || out->queue.removing || port->removing)
		return -ENOENT;
	err = hold_prepare(out);
	if (err)
		return err;
	assert(!out->pause_done && !port_paused(port, queue));
	out->pause_done = done;
	out->pause_opaque = opaque;
	out->pause_said = 0;
	out->paused.fn = queue_paused;
	/* Pairs with look_for_held() in deliver.c: who sees it finds the hold prepared. A grace period later every worker has seen it. */
	__atomic_fetch_or(&out->held, HELD_PAUSED, __ATOMIC_RELEASE);
	grace_defer(port->sw->grace, &out->paused);
	return 0;
}

void sw_queue_resume(struct sw_port *port, unsigned queue)
{
	struct out_queue *out = port->out[queue];

	assert(out && port_paused(port, queue) && !out->pause_done);
	if (out->queue.removing)
		return;
	if (port->aside)
		aside_want(port->aside, true, queue);
	/* Pairs with look_for_held() in deliver.c and deliver_held(): what the port has done meanwhile is seen. */
	__atomic_fetch_and(&out->held, (uint8_t)~HELD_PAUSED, __ATOMIC_RELEASE);
	worker_send(port, queue);
}
