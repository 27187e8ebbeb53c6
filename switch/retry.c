/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A guest may be slow to offer buffers. Where its port has retries (sw_port_retry_set()), frames that find none go into the queue's
 * hold (hold.c), and nobody waits: the worker that has met it notes the queue in its list, and looks again after a delay; and whoever has
 * frames for the queue gives it those that are held first, as far as they go. So the order is kept, and no guest can have more kept than a
 * hold takes.
 *
 *	out_queue.late		it is in some worker's list; under the queue's claim
 *	worker.due_ns		when the first of a worker's list is to be looked at: it sleeps no longer
 *	hold.gone		has changed since the last look: the guest goes on, and its looks begin anew
 *
 * After so many looks without a single buffer, what is held is lost (tx_retry_limit). A list names queues as letters do, by their port's
 * serial number: one that is in no topology any more, or whose port's link is down, is dropped from it. What is held is lost then
 * (port_link.c).
 *
 * Frames that a queue leaves because its memory is yet to come are not tried again, and not lost: a pause follows, and its end
 * (port_pause.c).
 */

#include "switch/retry.h"
#include "switch/claim.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/hold.h"
#include "switch/topology.h"
#include <stdlib.h>

#define LIST_FIRST 16u
#define NS_OF_US   1000u

struct late {
	uint64_t serial, at_ns;
	uint16_t port, queue, looks;
	uint32_t gone;
};

static unsigned looks_of(const struct sw_port *port)
{
	/* Pairs with the release in sw_port_retry_set(): the hold is prepared. */
	return __atomic_load_n(&port->retry_looks, __ATOMIC_ACQUIRE);
}

static uint64_t next_look_ns(const struct forwarder *forwarder, const struct sw_port *port)
{
	return forwarder->worker.now_ns + (uint64_t)__atomic_load_n(&port->retry_delay_us, __ATOMIC_RELAXED) * NS_OF_US;
}

/* There is room for one more. False: there is no memory. */
static bool list_grow(struct retry_list *list)
{
	unsigned room = list->room ? 2 * list->room : LIST_FIRST;
	struct late *more;

	if (list->count < list->room)
		return true;
	more = realloc(list->list, room * sizeof(*more));
	if (!more)
		return false;
	list->list = more;
	list->room = room;
	return true;
}

/* False: there is no memory. */
static bool late_add(struct forwarder *forwarder, struct out_queue *queue, unsigned looks)
{
	struct retry_list *list = &forwarder->retries;
	const struct sw_port *port = queue->queue.port;
	struct late *late;

	if (!list_grow(list))
		return false;
	worker_clock_read(&forwarder->worker);
	late = &list->list[list->count++];
	*late = (struct late){
		.serial = port->serial,
		.port = port->id,
		.queue = (uint16_t)queue->number,
		.looks = (uint16_t)looks,
		.gone = queue->hold.gone,
		.at_ns = next_look_ns(forwarder, port),
	};
	worker_due_at(&forwarder->worker, late->at_ns);
	queue->late = true;
	return true;
}

static void lose(const struct forwarder *forwarder, struct out_queue *queue)
{
	counter_add(&queue->queue.port->counters[forwarder->worker.index].tx_retry_limit, hold_drop(queue));
}

static bool starves(const struct out_queue *queue, const struct sw_port_ops *ops, void *opaque)
{
	return ops->starves && ops->starves(opaque, queue->number);
}

void retry_left(struct forwarder *forwarder, struct out_queue *queue, const struct sw_port_ops *ops, void *opaque)
{
	unsigned looks;

	if (queue->late || !queue->hold.frames || !starves(queue, ops, opaque))
		return;
	looks = looks_of(queue->queue.port);
	if (!looks || !late_add(forwarder, queue, looks))
		lose(forwarder, queue);
}

void retry_drain(struct forwarder *forwarder, struct out_queue *queue, const struct sw_port_ops *ops, void *opaque)
{
	if (queue->late && ops->room && !ops->room(opaque, queue->number))
		return;
	hold_drain(queue, ops, opaque, &queue->queue.port->counters[forwarder->worker.index]);
	retry_left(forwarder, queue, ops, opaque);
}

/* The queue is claimed. False: there is nothing to come back for. */
static bool look_at(struct forwarder *forwarder, struct late *late, const struct topology_port *to, struct out_queue *queue)
{
	unsigned looks = looks_of(to->port);

	if (__atomic_load_n(&queue->held, __ATOMIC_ACQUIRE) & HELD_PAUSED)
		return false;
	retry_drain(forwarder, queue, to->ops, to->opaque);
	if (unlikely(signals_held(to->port)))
		signals_out(forwarder, to, queue);
	if (!queue->hold.frames || !starves(queue, to->ops, to->opaque))
		return false;
	if (queue->hold.gone != late->gone)
		late->looks = (uint16_t)(looks + 1);
	late->gone = queue->hold.gone;
	if (!looks || --late->looks == 0) {
		lose(forwarder, queue);
		return false;
	}
	late->at_ns = next_look_ns(forwarder, to->port);
	return true;
}

static bool look(struct forwarder *forwarder, struct late *late)
{
	const struct topology_port *to = topology_port(topology_of(forwarder->worker.table), late->port);
	struct out_queue *queue = to && to->port->serial == late->serial ? topology_out(to, late->queue) : NULL;
	bool again;

	if (!queue)
		return false;
	if (!claim(forwarder, queue)) {
		late->at_ns = next_look_ns(forwarder, to->port);
		return true;
	}
	again = look_at(forwarder, late, to, queue);
	queue->late = again;
	unclaim(forwarder, queue);
	return again;
}

void retry_due(struct forwarder *forwarder)
{
	struct worker *worker = &forwarder->worker;
	struct retry_list *list = &forwarder->retries;
	unsigned kept = 0;

	for (unsigned i = 0; i < list->count; i++) {
		struct late late = list->list[i];

		if (late.at_ns <= worker->now_ns && !look(forwarder, &late))
			continue;
		list->list[kept++] = late;
		worker_due_at(worker, late.at_ns);
	}
	list->count = kept;
}

/* They are both at rest. What finds no memory is lost. */
void retry_pass(struct forwarder *from, struct forwarder *to)
{
	struct retry_list *list = &from->retries;

	for (unsigned i = 0; i < list->count; i++) {
		const struct topology_port *port = topology_port(topology_of(from->worker.table), list->list[i].port);
		struct out_queue *queue = port && port->port->serial == list->list[i].serial ? topology_out(port, list->list[i].queue) : NULL;

		if (!queue)
			continue;
		if (list_grow(&to->retries)) {
			to->retries.list[to->retries.count++] = list->list[i];
			worker_due_at(&to->worker, list->list[i].at_ns);
			continue;
		}
		if (!claim(from, queue)) /* other workers may use it */
			continue;
		queue->late = false;
		lose(from, queue);
		unclaim(from, queue);
	}
	list->count = 0;
	from->worker.due_ns = 0;
}

void retry_list_free(struct retry_list *list)
{
	free(list->list);
	*list = (struct retry_list){0};
}
