/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * An in queue goes from one worker to another as it goes aside: another source takes its place. But here both call the same ops, and an in
 * queue has one worker at a time. So the old source is left out of the next topology, and the new one, which its worker watches already, is not in
 * it either (`waits`). A grace period later nobody calls the port for the old one any more, and the topology after that has the new one.
 * What comes meanwhile lies in the port's queue, and the new source is asked for it when it is seen first: nothing is lost.
 *
 * The queue may be removed, moved again or served aside meanwhile. Its grace period then ends after that of the source before it,
 * since grace items run in order: so a source that waits outlives the one that it waits for.
 */

#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/topology.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void queue_replaced_free(struct in_queue *old)
{
	struct in_queue *next = old->next;
	struct queue copy = old->queue;

	copy.port->kicks[copy.number] += old->source.called;
	worker_disown(&old->source);
	free(old);
	if (next) {
		next->waits = false;
		if (!next->queue.removing) {
			switch_publish_removal(copy.port->sw);
			worker_wake(next->source.worker);
		}
	}
	for (unsigned i = 0; i < copy.waiters; i++)
		copy.waiter[i].done(copy.waiter[i].opaque);
}

static void replace(struct sw_port *port, struct in_queue *old, struct in_queue *fresh)
{
	fresh->waits = true;
	old->next = fresh;
	old->queue.replaced = old->queue.removing = true;
	port->in[old->number] = fresh;
	STAILQ_INSERT_TAIL(&port->sw->unpublished, &old->queue, unpublished);
	switch_publish_removal(port->sw);
}

/* Nobody waits for a queue that is not being removed. */
static void waiter_add(struct queue *queue, void (*done)(void *opaque), void *opaque)
{
	assert(!queue->waiters);
	queue->waiter[0].done = done;
	queue->waiter[0].opaque = opaque;
	queue->waiters = done != NULL;
}

int sw_queue_home(const struct sw_port *port, unsigned queue)
{
	return queue < SW_QUEUES_MAX ? port->home[queue] - 1 : -1;
}

void sw_queue_anywhere(struct sw_port *port, unsigned queue)
{
	if (queue < SW_QUEUES_MAX)
		port->home[queue] = 0;
}

/* `done` is called in any case but an error. */
static int give(struct sw_port *port, unsigned queue, struct worker *worker, void (*done)(void *opaque), void *opaque)
{
	struct in_queue *old = port->in[queue], *fresh;
	int err;

	if (!old || old->queue.removing || old->source.worker == worker) {
		if (done)
			done(opaque);
		return 0;
	}
	err = in_queue_new(port, port->aside, queue, old, worker, &fresh);
	if (err)
		return err;
	waiter_add(&old->queue, done, opaque);
	replace(port, old, fresh);
	return 0;
}

int sw_queue_move(struct sw_port *port, unsigned queue, unsigned worker, void (*done)(void *opaque), void *opaque)
{
	int err;

	if (queue >= SW_QUEUES_MAX || worker >= port->sw->worker_count)
		return -ERANGE;
	err = give(port, queue, &port->sw->forwarders[worker]->worker, done, opaque);
	if (!err)
		port->home[queue] = (uint16_t)(worker + 1);
	return err;
}

int port_queue_give(struct sw_port *port, unsigned queue, unsigned worker)
{
	return give(port, queue, &port->sw->forwarders[worker]->worker, NULL, NULL);
}
