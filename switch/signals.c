/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A port's driver may let signals be held back (sw_port_signals_set()): the port holds them when it is flushed or released, and is asked right
 * after that until when (signal_look()). The worker that asks looks again by then: it notes the queue in its list, once, and sleeps no longer
 * (worker.due_ns).
 *
 *	queue.look_ns	of the last entry that names the queue, in whoever's list; under the claim, or the worker's. An entry that is not
 *			later than what is held is due does for it, since it is put off as long as something is held. One in the past
 *			is not there any more.
 *	port.looked	the limits have changed, and a letter has gone to each worker, who looks at its queues once; one of them at the
 *			out queues. The next letters go a grace period later, however often the limits change.
 *
 * A list is a table, at most half full, in which a queue is found by what names it. Its place stays when nothing is owed to it any more: a driver
 * that has its limits changed all the time uses no more of them. What is not needed, or is of ports that are gone, is left out when the table
 * is made anew: if it is half full, or there is another topology.
 *
 * Lists and letters name ports by their serial numbers. A queue that is stopped signals by itself. Of one that is in no topology as the
 * port's link is down, the control thread thinks, when nobody uses it (signals_cut()); if the link is up again before that, workers look at it once
 * more. A queue that comes to another worker is looked at when that one sees it first. The thread of a port that is served aside looks by itself,
 * and for the last time when it lets a queue go (aside.c).
 */

#include "switch/signals.h"
#include "switch/aside.h"
#include "switch/claim.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/topology.h"
#include <stdlib.h>

#define SIGNALS_FIRST 16u
#define LATER_NS      UINT64_C(1000000) /* where who has the queue stands still: see relief.c */

struct owed_signal {
	uint64_t serial; /* 0: a free place */
	uint64_t at_ns; /* 0: there is nothing to look for */
	uint16_t port, queue;
	bool out;
	unsigned slot; /* of an in queue */
};

struct look_letter {
	struct worker_letter letter;
	uint64_t serial, version;
	uint16_t port;
};

/* ---- the list ---- */

/* Where it is, or is to be. */
static struct owed_signal *owed_place(const struct signal_list *list, const struct owed_signal *owed)
{
	uint64_t name = owed->serial * 2 * SW_QUEUES_MAX + 2u * owed->queue + owed->out;
	uint64_t at = name * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	for (;; at++) {
		struct owed_signal *place = &list->list[at & (list->room - 1)];

		if (!place->serial || (place->serial == owed->serial && place->queue == owed->queue && place->out == owed->out))
			return place;
	}
}

static bool remains(const struct topology *topology, const struct owed_signal *owed)
{
	const struct topology_port *to = owed->at_ns ? topology_port(topology, owed->port) : NULL;

	return to && to->port->serial == owed->serial;
}

/* Where what remains takes a quarter at most. False: there is no memory, and nothing has changed. */
static bool list_renew(struct forwarder *forwarder)
{
	const struct topology *topology = topology_of(forwarder->worker.table);
	struct signal_list *list = &forwarder->signals;
	struct signal_list fresh = {.room = SIGNALS_FIRST, .due_ns = list->due_ns, .version = topology->table.version};

	for (unsigned i = 0; i < list->room; i++)
		fresh.count += remains(topology, &list->list[i]);
	while (fresh.room < 4 * fresh.count)
		fresh.room *= 2;
	fresh.list = calloc(fresh.room, sizeof(*fresh.list));
	if (!fresh.list)
		return false;
	for (unsigned i = 0; i < list->room; i++)
		if (remains(topology, &list->list[i]))
			*owed_place(&fresh, &list->list[i]) = list->list[i];
	free(list->list);
	*list = fresh;
	return true;
}

static void list_due_at(struct signal_list *list, uint64_t at_ns)
{
	if (!list->due_ns || at_ns < list->due_ns)
		list->due_ns = at_ns;
}

/* False: there is no memory. */
static bool owed_add(struct forwarder *forwarder, const struct owed_signal *owed)
{
	struct signal_list *list = &forwarder->signals;
	struct owed_signal *place;
	uint64_t before_ns;

	if (list->count >= list->room / 2 && !list_renew(forwarder))
		return false;
	place = owed_place(list, owed);
	list->count += !place->serial;
	before_ns = place->at_ns;
	*place = *owed;
	if (before_ns)
		place->at_ns = min_u64(before_ns, owed->at_ns);
	list_due_at(list, owed->at_ns);
	worker_due_at(&forwarder->worker, owed->at_ns);
	return true;
}

static uint64_t look(const struct sw_port_ops *ops, void *opaque, bool out, unsigned queue)
{
	return ops->signal_look ? ops->signal_look(opaque, out, queue, false) : 0;
}

/* Something is held until `owed` says; *look_ns is its queue's. */
static void owed_note(struct forwarder *forwarder, const struct owed_signal *owed, uint64_t *look_ns, const struct sw_port_ops *ops,
		      void *opaque)
{
	if (*look_ns && *look_ns <= owed->at_ns) {
		worker_clock_read(&forwarder->worker);
		if (*look_ns > forwarder->worker.now_ns)
			return;
	}
	if (owed_add(forwarder, owed))
		*look_ns = owed->at_ns;
	else
		ops->signal_look(opaque, owed->out, owed->queue, true);
}

/* Who stands in for a worker has no list. */
static bool sent_at_once(const struct forwarder *forwarder, const struct sw_port_ops *ops, void *opaque, bool out, unsigned queue)
{
	if (forwarder->stands_in && ops->signal_look)
		ops->signal_look(opaque, out, queue, true);
	return forwarder->stands_in;
}

void signals_out(struct forwarder *forwarder, const struct topology_port *to, struct out_queue *queue)
{
	const struct sw_port *port = to->port;
	struct owed_signal owed = {.serial = port->serial, .port = port->id, .queue = (uint16_t)queue->number, .out = true};

	if (__atomic_load_n(&queue->held, __ATOMIC_ACQUIRE) & HELD_PAUSED || sent_at_once(forwarder, to->ops, to->opaque, true, queue->number))
		return;
	owed.at_ns = look(to->ops, to->opaque, true, queue->number);
	if (owed.at_ns)
		owed_note(forwarder, &owed, &queue->look_ns, to->ops, to->opaque);
}

void signals_in(struct forwarder *forwarder, struct in_queue *in)
{
	struct owed_signal owed = {.serial = in->port->serial, .port = in->port->id, .queue = (uint16_t)in->number, .slot = in->source.slot};

	if (sent_at_once(forwarder, in->ops, in->opaque, false, in->number))
		return;
	owed.at_ns = look(in->ops, in->opaque, false, in->number);
	if (owed.at_ns)
		owed_note(forwarder, &owed, &in->look_ns, in->ops, in->opaque);
}

/* ---- it is time ---- */

/* When it is to be looked at again; 0: nothing is held, or the queue is not there. */
static uint64_t look_out(struct forwarder *forwarder, const struct owed_signal *owed)
{
	const struct topology_port *to = topology_port(topology_of(forwarder->worker.table), owed->port);
	struct out_queue *queue = to && to->port->serial == owed->serial ? topology_out(to, owed->queue) : NULL;
	uint64_t at_ns = 0;

	if (!queue)
		return 0;
	if (!claim(forwarder, queue))
		return forwarder->worker.now_ns + LATER_NS;
	if (!(__atomic_load_n(&queue->held, __ATOMIC_ACQUIRE) & HELD_PAUSED))
		at_ns = look(to->ops, to->opaque, true, queue->number);
	queue->look_ns = at_ns;
	unclaim(forwarder, queue);
	return at_ns;
}

static struct in_queue *in_queue_at(const struct worker *worker, unsigned slot)
{
	const struct work_list *mine = &worker->table->lists[worker->index];
	struct source *source = slot < mine->slot_count ? mine->slots[slot] : NULL;

	return source && source->state != SOURCE_DEAD ? container_of(source, struct in_queue, source) : NULL;
}

static uint64_t look_in(struct forwarder *forwarder, const struct owed_signal *owed)
{
	struct in_queue *in = in_queue_at(&forwarder->worker, owed->slot);

	if (!in || in->port->serial != owed->serial || in->number != owed->queue)
		return 0;
	return in->look_ns = look(in->ops, in->opaque, false, in->number);
}

static void list_look(struct forwarder *forwarder)
{
	struct signal_list *list = &forwarder->signals;

	list->due_ns = 0;
	for (struct owed_signal *owed = list->list; owed < list->list + list->room; owed++) {
		if (owed->at_ns && owed->at_ns <= forwarder->worker.now_ns)
			owed->at_ns = owed->out ? look_out(forwarder, owed) : look_in(forwarder, owed);
		if (owed->at_ns)
			list_due_at(list, owed->at_ns);
	}
}

void signals_due(struct forwarder *forwarder)
{
	struct signal_list *list = &forwarder->signals;

	if (!list->due_ns)
		return;
	if (list->version != forwarder->worker.table->version)
		list_renew(forwarder);
	if (list->due_ns <= forwarder->worker.now_ns)
		list_look(forwarder);
	if (list->due_ns)
		worker_due_at(&forwarder->worker, list->due_ns);
}

void signal_list_free(struct signal_list *list)
{
	free(list->list);
	*list = (struct signal_list){0};
}

/* ---- the limits have changed ---- */

static void look_drop(struct worker_letter *letter)
{
	free(container_of(letter, struct look_letter, letter));
}

static bool keeps_out(const struct sw_port *port, const struct worker *worker)
{
	return port->id % port->sw->worker_count == worker->index;
}

void signals_out_all(struct forwarder *forwarder, const struct topology_port *to)
{
	bool has_queues = !to->bond || to->member; /* or it is a bond */

	for (uint32_t i = 0; i < to->out_count && has_queues; i++) {
		struct out_queue *queue = to->out[i];

		if (!claim(forwarder, queue))
			continue; /* who has it looks when it goes on: it flushes */
		signals_out(forwarder, to, queue);
		unclaim(forwarder, queue);
	}
}

static void look_at_all(struct forwarder *forwarder, const struct topology_port *to)
{
	struct worker *worker = &forwarder->worker;
	unsigned slots = worker->table->lists[worker->index].slot_count;

	for (unsigned slot = 0; slot < slots; slot++) {
		struct in_queue *in = in_queue_at(worker, slot);

		if (in && in->port == to->port)
			signals_in(forwarder, in);
	}
	if (keeps_out(to->port, worker))
		signals_out_all(forwarder, to);
}

static void look_deliver(struct vireo_letter *letter)
{
	struct look_letter *asked = container_of(letter, struct look_letter, letter.letter);
	struct forwarder *forwarder = container_of(asked->letter.worker, struct forwarder, worker);
	struct topology *topology = topology_of(forwarder->worker.table);
	const struct topology_port *to;

	if (topology->table.version < asked->version) { /* it has taken its topology just before: in the next round */
		worker_post(asked->letter.worker, &asked->letter);
		return;
	}
	to = topology_port(topology, asked->port);
	if (to && to->port->serial == asked->serial)
		look_at_all(forwarder, to);
	look_drop(&asked->letter);
}

/* Without memory for a letter what is held is looked at when it is due. */
static void look_send(const struct sw_port *port, struct worker *worker)
{
	struct look_letter *asked = malloc(sizeof(*asked));

	if (!asked)
		return;
	*asked = (struct look_letter){
		.letter = {.letter = {.deliver = look_deliver}, .drop = look_drop},
		.serial = port->serial,
		.version = port->sw->version,
		.port = port->id,
	};
	worker_post(worker, &asked->letter);
}

static void looks_send(struct sw_port *port);

static void looks_sent(struct grace_item *item)
{
	struct sw_port *port = container_of(item, struct sw_port, looked);
	bool again = port->looks_again;

	port->looks_pending = port->looks_again = false;
	if (again && !port->removing)
		looks_send(port);
}

static void looks_send(struct sw_port *port)
{
	port->looks_again = port->looks_pending;
	if (port->looks_pending)
		return;
	port->looks_pending = true;
	for (unsigned i = 0; i < port->sw->worker_count; i++)
		look_send(port, &port->sw->forwarders[i]->worker);
	port->looked.fn = looks_sent;
	grace_defer(port->sw->grace, &port->looked);
}

void sw_port_signals_set(struct sw_port *port, bool held)
{
	port_limited_set(port, PORT_HOLDS_SIGNALS, held);
	if (!held || port->removing)
		return;
	looks_send(port);
	if (port->aside)
		aside_look(port->aside);
}

void signals_cut(const struct sw_port *port)
{
	for (unsigned i = 0; i < SW_QUEUES_MAX && !port->aside && port->ops->signal_look; i++)
		if (port->out[i] && !port_paused(port, i))
			port->ops->signal_look(port->opaque, true, i, true);
}
