/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Ports and queues come and go here, in the control thread. A new one is set up, put into the next topology and
 * published. One that goes is marked, left out of the next topology, and stays allocated (its number or id
 * taken) until a grace period has passed: then no worker calls its port for it, its addresses
 * are forgotten, and whoever asked for the removal is told. Removal cannot fail: when memory for a
 * topology is short, it just takes longer.
 *
 * Grace items run in order, so a port goes after those of its queues that were removed before it; the others go
 * with it.
 */

#include "switch/core.h"
#include "switch/topology.h"
#include "switch/forwarder.h"
#include "switch/aside.h"
#include "switch/bond.h"
#include "switch/guards.h"
#include "switch/mirror_internal.h"
#include "switch/multicast.h"
#include "switch/spread.h"
#include "switch/talk.h"
#include "switch/trace_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- queues ---- */

static struct queue *queue_get(const struct sw_port *port, bool out, unsigned number)
{
	if (number >= SW_QUEUES_MAX)
		return NULL;
	if (out)
		return port->out[number] ? &port->out[number]->queue : NULL;
	return port->in[number] ? &port->in[number]->queue : NULL;
}

static void stats_add(struct sw_queue_stats *sum, const struct sw_queue_stats *now,
		      const struct sw_queue_stats *before)
{
	sum->frames += now->frames - before->frames;
	sum->bytes += now->bytes - before->bytes;
}

/* What the queue did becomes the port's past. */
static void queue_settle(struct queue *queue)
{
	struct sw_queue_stats now;

	sw_queue_stats(queue->port, queue->out, queue->number, &now);
	stats_add(&queue->port->past[queue->out], &now, &queue->before);
}

static void queue_free(struct queue *queue)
{
	struct sw_port *port = queue->port;

	if (port->aside)
		aside_queue_free(port->aside, queue->out, queue->number);
	if (queue->out) {
		port->out[queue->number] = NULL;
		hold_end(container_of(queue, struct out_queue, queue));
		free(container_of(queue, struct out_queue, queue));
	} else {
		struct in_queue *in = container_of(queue, struct in_queue, queue);

		port->in[queue->number] = NULL;
		port->kicks[queue->number] += in->source.called;
		worker_disown(&in->source);
		free(in);
	}
}

void queue_bury(struct queue *queue)
{
	struct queue copy = *queue;

	queue_settle(queue);
	queue_free(queue);
	for (unsigned i = 0; i < copy.waiters; i++)
		copy.waiter[i].done(copy.waiter[i].opaque);
}

/* No worker uses it any more. */
static void queue_gone(struct grace_item *item)
{
	struct queue *queue = container_of(item, struct queue, gone);

	if (queue->replaced)
		queue_replaced_free(container_of(queue, struct in_queue, queue));
	else if (queue->port->aside)
		aside_detach(queue->port->aside, queue);
	else
		queue_bury(queue);
}

static void queue_init(struct queue *queue, struct sw_port *port, bool out, unsigned number)
{
	queue->port = port;
	queue->out = out;
	queue->number = number;
	queue->gone.fn = queue_gone;
	sw_queue_stats(port, out, number, &queue->before);
}

static struct worker *least_loaded(const struct sw *sw)
{
	struct worker *best = &sw->forwarders[0]->worker;

	if (sw->spread)
		return &sw->forwarders[spread_place(sw->spread)]->worker;
	for (unsigned i = 1; i < sw->worker_count; i++) {
		if (sw->forwarders[i]->worker.source_count < best->source_count)
			best = &sw->forwarders[i]->worker;
	}
	return best;
}

/* Who is to serve an in queue. */
static struct worker *worker_for(const struct sw_port *port, unsigned number, const struct in_queue *before)
{
	if (port->home[number])
		return &port->sw->forwarders[port->home[number] - 1]->worker;
	return before ? before->source.worker : least_loaded(port->sw);
}

int in_queue_new(struct sw_port *port, struct aside *aside, unsigned number, const struct in_queue *before, struct worker *worker,
		 struct in_queue **ret_in)
{
	struct in_queue *in = aligned_alloc(CACHE_LINE_BYTES, sizeof(*in));
	int err;

	if (!in)
		return -ENOMEM;
	memset(in, 0, sizeof(*in));
	queue_init(&in->queue, port, false, number);
	if (before) {
		in->queue.before = before->queue.before;
		in->balance = before->balance;
		in->vote = before->vote;
	}
	in->ops = aside ? &aside_ops : port->ops;
	in->opaque = aside ? aside : port->opaque;
	in->port = port;
	in->number = number;
	forwarder_source_init(in);
	err = worker_adopt(worker ? worker : worker_for(port, number, before), &in->source);
	if (err) {
		free(in);
		return err;
	}
	*ret_in = in;
	return 0;
}

static bool may_hold(const struct sw_port *port, unsigned number)
{
	return port->retry_looks || (port->ops->leaves && port->ops->leaves(port->opaque, number));
}

static int out_add(struct sw_port *port, unsigned number)
{
	struct out_queue *out = aligned_alloc(CACHE_LINE_BYTES, sizeof(*out));

	if (!out)
		return -ENOMEM;
	memset(out, 0, sizeof(*out));
	queue_init(&out->queue, port, true, number);
	out->number = number;
	if (may_hold(port, number) && hold_prepare(out)) {
		free(out);
		return -ENOMEM;
	}
	port->out[number] = out;
	return 0;
}

int sw_queue_add(struct sw_port *port, bool out, unsigned queue)
{
	int err;

	if (queue >= SW_QUEUES_MAX)
		return -ERANGE;
	if (port->removing)
		return -ENODEV;
	if (queue_get(port, out, queue))
		return -EEXIST;
	err = port->aside ? aside_attach(port->aside, out, queue) : 0;
	if (err)
		return err;
	err = out ? out_add(port, queue) : in_queue_new(port, port->aside, queue, NULL, NULL, &port->in[queue]);
	if (err) {
		if (port->aside)
			aside_queue_free(port->aside, out, queue);
		return err;
	}
	err = topology_publish(port->sw);
	if (err) {
		queue_free(queue_get(port, out, queue));
		return err;
	}
	if (port->aside)
		aside_want(port->aside, out, queue);
	if (out)
		switch_port_changed(port->sw);
	else
		worker_wake(port->in[queue]->source.worker);
	return 0;
}

void sw_queue_remove(struct sw_port *port, bool out, unsigned queue, void (*done)(void *opaque), void *opaque)
{
	struct queue *victim = queue_get(port, out, queue);

	if (!victim) {
		if (done)
			done(opaque);
		return;
	}
	if (done) {
		assert(victim->waiters < QUEUE_WAITERS_MAX);
		victim->waiter[victim->waiters].done = done;
		victim->waiter[victim->waiters++].opaque = opaque;
	}
	if (victim->removing)
		return;
	victim->removing = true;
	if (out)
		switch_port_changed(port->sw);
	STAILQ_INSERT_TAIL(&port->sw->unpublished, victim, unpublished);
	switch_publish_removal(port->sw);
}

bool sw_queue_present(const struct sw_port *port, bool out, unsigned queue)
{
	const struct queue *found = queue_get(port, out, queue);

	return found && !found->removing;
}

/* ---- ports ---- */

static int id_find(const struct sw *sw, uint16_t *ret_id)
{
	for (unsigned id = 0; id < SW_PORTS_MAX; id++) {
		if (!sw->by_id[id]) {
			*ret_id = (uint16_t)id;
			return 0;
		}
	}
	return -ENOSPC;
}

static int id_take(const struct sw *sw, unsigned number, uint16_t *ret_id)
{
	if (number > SW_PORTS_MAX)
		return -ERANGE;
	*ret_id = (uint16_t)(number - 1);
	return sw->by_id[*ret_id] ? -EEXIST : 0;
}

unsigned port_counters_count(const struct sw *sw)
{
	return switch_forwarders(sw) + 2;
}

struct port_counters *port_counters_aside(const struct sw_port *port)
{
	return &port->counters[switch_forwarders(port->sw)];
}

struct port_counters *port_counters_control(const struct sw_port *port)
{
	return &port->counters[switch_forwarders(port->sw) + 1];
}

static void port_release(struct sw_port *port)
{
	pthread_mutex_destroy(&port->addresses);
	free(port->counters);
	rules_free(&port->rules);
	bond_free(port->bond);
	free(port->member_of);
	free(port->guard);
	free(port->name);
	free(port);
}

static int port_allocate(struct sw *sw, const struct sw_port_config *config, struct sw_port **ret_port)
{
	size_t counters_bytes = port_counters_count(sw) * sizeof(struct port_counters);
	struct sw_port *port = calloc(1, sizeof(*port));
	int err;

	if (!port)
		return -ENOMEM;
	pthread_mutex_init(&port->addresses, NULL);
	port->name = strdup(config->name);
	port->counters = aligned_alloc(CACHE_LINE_BYTES, counters_bytes);
	port->member_of = config->member_of ? strdup(config->member_of) : NULL;
	err = port->name && port->counters && (!config->member_of || port->member_of) ? rules_new(config, &port->rules) : -ENOMEM;
	if (err) {
		port_release(port);
		return err;
	}
	memset(port->counters, 0, counters_bytes);
	port->sw = sw;
	port->ops = config->bond ? &bond_ops : config->ops;
	port->opaque = config->opaque;
	port->mtu = config->mtu;
	port->gro = config->gro;
	sw_port_flood_set(port, config->flood_copies);
	err = sw_port_guard_set(port, &config->guard);
	if (err) {
		port_release(port);
		return err;
	}
	sw_port_limits_set(port, &config->limits);
	talk_port_init(port);
	trace_port_init(port);
	sw_port_retry_set(port, &config->retry);
	multicast_port_init(port, &config->multicast);
	*ret_port = port;
	return 0;
}

static void port_forget(struct sw_port *port)
{
	fdb_unfix(port->sw->fdb, port->id);
	multicast_port_remove(port);
	port->sw->by_id[port->id] = NULL;
}

static void queues_bury(struct sw_port *port)
{
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
		if (port->in[i])
			queue_bury(&port->in[i]->queue);
		if (port->out[i])
			queue_bury(&port->out[i]->queue);
	}
}

void port_end(struct sw_port *port)
{
	void (*done)(void *opaque) = port->done;
	void *opaque = port->done_opaque;

	queues_bury(port);
	port_aside_drop(port);
	port_forget(port);
	port_release(port);
	if (done)
		done(opaque);
}

static void port_gone(struct grace_item *item)
{
	struct sw_port *port = container_of(item, struct sw_port, gone);

	port->ending = true;
	if (port->aside)
		aside_stop(port->aside); /* asides_look() goes on */
	else
		port_end(port);
}

static int port_publish(struct sw_port *port, const struct sw_port_config *config)
{
	struct sw *sw = port->sw;
	int err = port_addresses_begin(port, config);

	if (err)
		return err;
	sw->by_id[port->id] = port;
	multicast_port_add(port);
	TAILQ_INSERT_TAIL(&sw->ports, port, link);
	bond_port_came(port);
	err = topology_publish(sw);
	if (err) {
		TAILQ_REMOVE(&sw->ports, port, link);
		bond_port_left(port);
		port_forget(port);
	}
	return err;
}

int sw_port_new(struct sw *sw, const struct sw_port_config *config, struct sw_port **ret_port)
{
	struct sw_port *port;
	uint16_t id;
	int err;

	if (sw_port_find(sw, config->name))
		return -EEXIST;
	err = config->number ? id_take(sw, config->number, &id) : id_find(sw, &id);
	if (err)
		return err;
	err = port_allocate(sw, config, &port);
	if (err)
		return err;
	port->id = id;
	port->serial = ++sw->next_serial;
	port->gone.fn = port_gone;
	err = config->bond ? bond_new(port, config->bond) : 0;
	if (!err && config->aside)
		err = port_aside_start(port);
	if (!err)
		err = port_publish(port, config);
	if (!err) {
		*ret_port = port;
		return 0;
	}
	port_aside_drop(port);
	port_release(port);
	return err;
}

void sw_port_free(struct sw_port *port, void (*done)(void *opaque), void *opaque)
{
	struct sw *sw = port->sw;

	assert(!port->removing);
	port->removing = true;
	port->done = done;
	port->done_opaque = opaque;
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
		if (port->in[i])
			port->in[i]->queue.removing = true;
		if (port->out[i])
			port->out[i]->queue.removing = true;
	}
	TAILQ_REMOVE(&sw->ports, port, link);
	bond_port_left(port);
	mirrors_port_left(port);
	traces_port_left(port);
	switch_port_changed(sw);
	STAILQ_INSERT_TAIL(&sw->unpublished_ports, port, unpublished);
	switch_publish_removal(sw);
}

/* A port that begins to be served aside later is so a grace period after that, and this one's has ended by then. */
int sw_port_grace(struct sw_port *port, struct grace_item *item)
{
	if (port->aside)
		return -EOPNOTSUPP;
	grace_defer(port->sw->grace, item);
	return 0;
}

bool sw_port_aside(const struct sw_port *port)
{
	return port->aside;
}

const char *sw_port_name(const struct sw_port *port)
{
	return port->name;
}

void *sw_port_opaque(const struct sw_port *port)
{
	return port->opaque;
}

struct sw_port *sw_port_find(struct sw *sw, const char *name)
{
	struct sw_port *port;

	TAILQ_FOREACH(port, &sw->ports, link) {
		if (!strcmp(port->name, name))
			return port;
	}
	return NULL;
}

struct sw_port *sw_port_next(struct sw *sw, struct sw_port *previous)
{
	return previous ? TAILQ_NEXT(previous, link) : TAILQ_FIRST(&sw->ports);
}

/*
 * Workers see a change at their next burst. Frames that they have looked at by then, or hold, are delivered as they are: the port's queue may
 * refuse them. Release: who sees it sees what the port's queues take by now, too.
 */
void sw_port_offloads_set(struct sw_port *port, unsigned offloads)
{
	__atomic_store_n(&port->offloads, offloads, __ATOMIC_RELEASE);
	bond_offloads_look(port);
}

void sw_port_mtu_set(struct sw_port *port, uint16_t mtu)
{
	__atomic_store_n(&port->mtu, mtu, __ATOMIC_RELAXED);
}

void sw_port_gro_set(struct sw_port *port, bool on)
{
	__atomic_store_n(&port->gro, on, __ATOMIC_RELAXED);
}

void sw_port_limits_set(struct sw_port *port, const struct sw_limits *limits)
{
	unsigned kept = port->limited & ~LIMITED_ANY;

	__atomic_store_n(&port->limited, (uint16_t)(limits_set(&port->limits, limits) | kept), __ATOMIC_RELAXED);
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		if (port->out[i])
			hold_classes(port->out[i]);
}

int sw_port_retry_set(struct sw_port *port, const struct sw_retry *retry)
{
	for (unsigned i = 0; retry->looks && i < SW_QUEUES_MAX; i++)
		if (port->out[i] && hold_prepare(port->out[i]))
			return -ENOMEM;
	__atomic_store_n(&port->retry_delay_us, retry->delay_us, __ATOMIC_RELAXED);
	/* Pairs with looks_of() in retry.c: who looks again finds the holds prepared. */
	__atomic_store_n(&port->retry_looks, retry->looks, __ATOMIC_RELEASE);
	return 0;
}

void sw_port_flood_set(struct sw_port *port, uint32_t copies)
{
	uint32_t given = copies ? copies : SW_FLOOD_DEFAULT;

	bucket_fill(&port->flood, given == SW_FLOOD_ANY ? 0 : given, 0);
	bucket_fill(&port->calm, given == SW_FLOOD_ANY ? 0 : FLOOD_CALM, FLOOD_CALM_BURST);
}

void sw_port_steered_set(struct sw_port *port, bool on)
{
	port_limited_set(port, PORT_STEERED, on);
}
