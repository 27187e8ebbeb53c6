/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Ports that are served aside (aside.c): from the start, because they were found to make workers wait (stall.c), or for as long as their
 * owner says that they will (sw_port_slow_set()). Control thread.
 *
 * To move a port aside, its in queues are replaced by others that call the aside's ops, and the next topology gives its out
 * queues the aside's ops as well. A grace period later no worker calls the port's own any more, and the aside's
 * thread begins. Whoever removes a queue meanwhile, or later, waits for the thread in addition.
 *
 * Back it goes only without queues: the next topology has none of the aside's ops, and a grace period later its thread is told to end.
 */

#include "base/log.h"
#include "base/system.h"
#include "switch/aside.h"
#include "switch/core.h"
#include "switch/topology.h"
#include "work/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool live(const struct queue *queue)
{
	return !queue->removing;
}

static void aside_begins(struct grace_item *item)
{
	aside_begin(container_of(item, struct aside, begin.passed));
}

int port_aside_start(struct sw_port *port)
{
	struct aside *aside;
	int err = aside_new(port, &aside);

	if (err)
		return err;
	aside_begin(aside);
	port->aside = aside;
	TAILQ_INSERT_TAIL(&port->sw->asides, port, aside_link);
	return 0;
}

void port_aside_drop(struct sw_port *port)
{
	if (!port->aside)
		return;
	TAILQ_REMOVE(&port->sw->asides, port, aside_link);
	aside_stop(port->aside);
	aside_free(port->aside);
	port->aside = NULL;
}

/* Makes what is to replace the port's queues. Nothing has changed yet. */
static int move_prepare(struct sw_port *port, struct aside *aside, struct in_queue **fresh)
{
	int err = 0;

	for (unsigned i = 0; !err && i < SW_QUEUES_MAX; i++) {
		if (port->out[i] && live(&port->out[i]->queue))
			err = aside_attach(aside, true, i);
		if (err || !port->in[i] || !live(&port->in[i]->queue))
			continue;
		err = aside_attach(aside, false, i);
		if (!err)
			err = in_queue_new(port, aside, i, port->in[i], NULL, &fresh[i]);
	}
	return err;
}

static void move_commit(struct sw_port *port, struct aside *aside, struct in_queue **fresh)
{
	struct sw *sw = port->sw;

	port->aside = aside;
	TAILQ_INSERT_TAIL(&sw->asides, port, aside_link);
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
		if (aside->queues[true][i] && !port_paused(port, i))
			aside_want(aside, true, i);
		if (!fresh[i])
			continue;
		port->in[i]->queue.replaced = port->in[i]->queue.removing = true;
		STAILQ_INSERT_TAIL(&sw->unpublished, &port->in[i]->queue, unpublished);
		port->in[i] = fresh[i];
		aside_want(aside, false, i);
	}
	aside->begin.passed.fn = aside_begins;
	STAILQ_INSERT_TAIL(&sw->unpublished_steps, &aside->begin, unpublished);
	switch_publish_removal(sw);
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
		if (fresh[i])
			worker_wake(fresh[i]->source.worker);
	}
}

static int move(struct sw_port *port)
{
	struct in_queue *fresh[SW_QUEUES_MAX] = {0};
	struct aside *aside;
	int err = aside_new(port, &aside);

	if (err)
		return err;
	err = move_prepare(port, aside, fresh);
	if (!err) {
		move_commit(port, aside, fresh);
		return 0;
	}
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
		if (fresh[i])
			worker_disown(&fresh[i]->source);
		free(fresh[i]);
	}
	aside_stop(aside);
	aside_free(aside);
	return err;
}

/* No worker sees it any more, and its thread holds no queue: the join waits for no peer. */
static void aside_ends(struct grace_item *item)
{
	struct aside *aside = container_of(item, struct aside, end.passed);

	aside_stop(aside);
	aside_free(aside);
}

static void move_back(struct sw_port *port)
{
	struct aside *aside = port->aside;

	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		assert(!port->in[i] && (!port->out[i] || (port_paused(port, i) && !port->out[i]->pause_done)));
	TAILQ_REMOVE(&port->sw->asides, port, aside_link);
	port->aside = NULL;
	aside->end.passed.fn = aside_ends;
	STAILQ_INSERT_TAIL(&port->sw->unpublished_steps, &aside->end, unpublished);
	switch_publish_removal(port->sw);
}

int sw_port_slow_set(struct sw_port *port, bool slow)
{
	int err;

	if (port->removing)
		return slow ? -ENODEV : 0;
	if (slow && !port->aside) {
		err = move(port);
		if (err)
			return err;
		port->aside_for_now = true;
	} else if (!slow && port->aside_for_now) {
		port->aside_for_now = false;
		move_back(port);
	}
	return 0;
}

static void accused_look(struct sw_port *port)
{
	int err;

	if (!__atomic_exchange_n(&port->stalls.accused, false, __ATOMIC_RELAXED) || port->aside)
		return;
	err = move(port);
	if (err)
		log_warning(&port->sw->log, "port %s makes others wait, and cannot be served aside: %s", port->name,
			    system_errno_text(-err));
	else
		log_warning(&port->sw->log,
			    "port %s has made others wait for its memory %u times in a minute: it is served aside from now on",
			    port->name, STALLS_MAX);
}

static void let_go_look(struct sw_port *port)
{
	struct queue *queue;

	port_pauses_look(port); /* before the queues that go: these have been asked for later */
	/* Who is told that the last one has gone may have the port come back. */
	while (port->aside && !port->ending && (queue = aside_let_go(port->aside)))
		queue_bury(queue);
	if (port->ending && aside_stopped(port->aside))
		port_end(port);
}

void asides_look(struct sw *sw)
{
	struct sw_port *port, *next;

	if (__atomic_exchange_n(&sw->accused, false, __ATOMIC_ACQUIRE)) {
		TAILQ_FOREACH(port, &sw->ports, link) {
			accused_look(port);
		}
	}
	for (port = TAILQ_FIRST(&sw->asides); port; port = next) {
		next = TAILQ_NEXT(port, aside_link);
		let_go_look(port);
	}
}

void asides_end(struct sw *sw)
{
	struct sw_port *port;

	while ((port = TAILQ_FIRST(&sw->asides))) {
		aside_stop(port->aside);
		aside_join(port->aside);
		port_pauses_look(port);
		port_end(port);
	}
}
