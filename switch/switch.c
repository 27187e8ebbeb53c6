/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The switch as a whole: set-up and end, and what the control loop does for it. Nothing here runs while nothing
 * happens: the tick that ages addresses is started by the first address learned (a worker raises event_fd)
 * and stops when the last one is forgotten.
 */

#include "switch/bond.h"
#include "switch/core.h"
#include "switch/mirror_internal.h"
#include "switch/multicast.h"
#include "switch/port.h"
#include "switch/relief.h"
#include "switch/spread.h"
#include "switch/topology.h"
#include "switch/forwarder.h"
#include "switch/talk.h"
#include "switch/trace_internal.h"
#include "base/barrier.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FDB_ENTRIES_DEFAULT 65536u
#define FDB_AGE_S_DEFAULT   300u
#define TICK_MS             1000u
#define SWEEP_TICKS_MAX     16u /* a pass over the table takes up to so many ticks, */
#define SWEEP_AGE_PART      60u /* and no more than this part of the age */

uint32_t switch_now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec;
}

void switch_first_entry(struct sw *sw)
{
	fd_event_raise(sw->event_fd);
}

static bool tick_needed(const struct sw *sw)
{
	return sw->stale || fdb_ages(sw->fdb);
}

static void tick_start(struct sw *sw)
{
	if (sw->ticking || !tick_needed(sw))
		return;
	sw->ticking = true;
	loop_timer_start(sw->tick, TICK_MS);
}

static uint32_t sweep_slice(const struct fdb *fdb)
{
	uint32_t ticks = min_u32(fdb->age_s / SWEEP_AGE_PART, SWEEP_TICKS_MAX);

	return fdb->bucket_count / (ticks ? ticks : 1) + 1;
}

static void tick(void *opaque)
{
	struct sw *sw = opaque;

	sw->ticking = false;
	fdb_sweep(sw->fdb, switch_now_s(), sweep_slice(sw->fdb));
	if (sw->stale)
		switch_publish_removal(sw);
	tick_start(sw);
}

void switch_publish_removal(struct sw *sw)
{
	sw->stale = topology_publish(sw) < 0;
	if (sw->stale)
		log_warning(&sw->log, "switch: out of memory; a removal is put off");
	tick_start(sw);
}

static void on_event(void *opaque, uint32_t events)
{
	struct sw *sw = opaque;

	fd_event_clear(sw->event_fd);
	grace_run(sw->grace);
	asides_look(sw);
	multicast_look(sw);
	bonds_look(sw);
	mirrors_look(sw);
	tick_start(sw);
}

static void sw_init(struct sw *sw, const struct sw_config *config, struct loop *loop)
{
	memset(sw, 0, sizeof(*sw));
	sw->loop = loop;
	sw->log = config->log;
	sw->mode = config->mode;
	sw->balance = config->balance;
	sw->spin_us = config->spin_us;
	sw->spin_percent = config->spin_percent;
	sw->unpaced = config->unpaced;
	sw->worker_count = config->workers ? config->workers : 1;
	sw->stall_cycles = stall_limit_cycles();
	sw->event_fd = -1;
	TAILQ_INIT(&sw->ports);
	STAILQ_INIT(&sw->unpublished);
	STAILQ_INIT(&sw->unpublished_ports);
	STAILQ_INIT(&sw->unpublished_sets);
	STAILQ_INIT(&sw->unpublished_steps);
	TAILQ_INIT(&sw->asides);
	TAILQ_INIT(&sw->bonds);
	TAILQ_INIT(&sw->mirrors);
	TAILQ_INIT(&sw->traces);
}

static int open_control(struct sw *sw, const struct sw_config *config)
{
	int err = fdb_new(config->fdb_entries ? config->fdb_entries : FDB_ENTRIES_DEFAULT,
			  config->fdb_age_s ? config->fdb_age_s : FDB_AGE_S_DEFAULT, SW_PORTS_MAX, &sw->fdb);

	if (!err)
		err = fd_event_new(&sw->event_fd);
	if (!err)
		err = loop_add(sw->loop, sw->event_fd, EPOLLIN, on_event, sw, &sw->watch);
	if (!err)
		err = loop_timer_new(sw->loop, tick, sw, &sw->tick);
	if (!err)
		err = grace_new(sw->event_fd, &sw->rcu_key, &sw->grace);
	if (!err && config->multicast.snooping)
		err = multicast_new(sw, &config->multicast, &sw->multicast);
	return err;
}

static int open_workers(struct sw *sw, const int *cpus)
{
	int err;

	if (sw->stall_cycles < UINT64_MAX && barrier_everywhere()) { /* the first of those takes a moment, while there are other threads */
		err = relief_new(sw, &sw->relief);
		if (err)
			return err;
	}
	sw->forwarders = calloc(sw->worker_count, sizeof(struct forwarder *));
	if (!sw->forwarders)
		return -ENOMEM;
	for (unsigned i = 0; i < sw->worker_count; i++) {
		err = forwarder_new(sw, i, cpus ? cpus[i] : -1, &sw->forwarders[i]);
		if (err)
			return err;
	}
	err = topology_publish(sw);
	while (!err && sw->started < sw->worker_count) {
		err = worker_start(&sw->forwarders[sw->started]->worker);
		sw->started += !err;
	}
	if (!err && sw->relief)
		err = relief_start(sw->relief);
	return err;
}

int sw_new(const struct sw_config *config, struct loop *loop, struct sw **ret_sw)
{
	struct sw *sw = aligned_alloc(CACHE_LINE_BYTES, sizeof(*sw));
	int err;

	if (!sw)
		return -ENOMEM;
	sw_init(sw, config, loop);
	err = open_control(sw, config);
	if (!err && config->balance && (sw->worker_count > 1 || config->cpus))
		err = spread_new(sw, config, &sw->spread);
	if (!err)
		err = open_workers(sw, config->cpus);
	if (err)
		sw_free(sw);
	else
		*ret_sw = sw;
	return err;
}

/* Not from within a completion. Takes a switch that is half open. */
void sw_free(struct sw *sw)
{
	if (!sw)
		return;
	relief_stop(sw->relief);
	for (unsigned i = 0; i < sw->started; i++)
		worker_stop(&sw->forwarders[i]->worker);
	assert(TAILQ_EMPTY(&sw->ports));
	spread_free(sw->spread);
	sw->spread = NULL;
	/* Completions that are still out run now: no worker is left to wait for. */
	if (sw->grace)
		topology_defer_removed(sw);
	grace_free(sw->grace);
	asides_end(sw);
	bonds_end(sw);
	mirrors_end(sw);
	talk_end(sw);
	traces_end(sw);
	for (unsigned i = 0; sw->forwarders && i < sw->worker_count; i++)
		forwarder_free(sw->forwarders[i]);
	free(sw->forwarders);
	relief_free(sw->relief);
	multicast_free(sw->multicast);
	if (sw->published)
		free(topology_of(sw->published));
	loop_timer_free(&sw->tick);
	loop_remove(&sw->watch);
	fd_close(&sw->event_fd);
	fdb_free(sw->fdb);
	free(sw);
}

void sw_hold(struct sw *sw)
{
	sw->held = true;
}

int sw_release(struct sw *sw)
{
	int err;

	sw->held = false;
	err = topology_publish(sw);
	sw->stale = err != 0;
	for (unsigned i = 0; i < sw->started; i++)
		worker_wake(&sw->forwarders[i]->worker);
	tick_start(sw);
	return err;
}

/* ---- forwarding database ---- */

struct fdb_visit {
	struct sw *sw;
	void (*fn)(void *opaque, const struct sw_fdb_entry *entry);
	void *opaque;
};

static void fdb_visit(void *opaque, const struct fdb_entry *found)
{
	const struct fdb_visit *visit = opaque;
	const struct sw_port *owner = visit->sw->by_id[found->port];
	struct sw_fdb_entry entry = {.vlan = found->vlan, .age_s = found->age_s, .fixed = found->fixed, .held = found->held};

	if (!owner || owner->removing)
		return;
	entry.port = owner->name;
	for (unsigned i = 0; i < sizeof(entry.mac); i++)
		entry.mac[i] = (uint8_t)(found->mac >> (40 - 8 * i));
	visit->fn(visit->opaque, &entry);
}

void sw_fdb_each(struct sw *sw, void (*fn)(void *opaque, const struct sw_fdb_entry *entry), void *opaque)
{
	struct fdb_visit visit = {sw, fn, opaque};

	fdb_each(sw->fdb, switch_now_s(), fdb_visit, &visit);
}

void sw_fdb_flush(struct sw *sw, struct sw_port *port)
{
	fdb_flush(sw->fdb, port ? port->id : -1);
}

static uint64_t mac_number(const uint8_t mac[6])
{
	uint64_t number = 0;

	for (unsigned i = 0; i < 6; i++)
		number = number << 8 | mac[i];
	return number;
}

int sw_fdb_hold(struct sw_port *port, uint16_t vlan, const uint8_t mac[6])
{
	struct fdb *fdb = port->sw->fdb;
	struct fdb_address address;

	if (mac[0] & 1 || !mac_number(mac) || port->removing || vlan > SW_VLAN_MAX || !rules_in_vlan(&port->rules, vlan))
		return -EINVAL;
	address = fdb_address(fdb, vlan, mac_number(mac));
	return fdb_hold(fdb, &address, port->id, switch_now_s());
}

void sw_fdb_learned(struct sw_port *port, uint16_t vlan, const uint8_t mac[6])
{
	struct fdb_address address;

	if (mac[0] & 1 || !mac_number(mac) || port->removing || vlan > SW_VLAN_MAX || !rules_in_vlan(&port->rules, vlan))
		return;
	address = fdb_address(port->sw->fdb, vlan, mac_number(mac));
	if (fdb_learn(port->sw->fdb, &address, port->id, switch_now_s()) == FDB_FIRST)
		switch_first_entry(port->sw);
}

int sw_fdb_let_go(struct sw *sw, uint16_t vlan, const uint8_t mac[6])
{
	struct fdb_address address;

	if (vlan > SW_VLAN_MAX)
		return -ENOENT;
	address = fdb_address(sw->fdb, vlan, mac_number(mac));
	return fdb_let_go(sw->fdb, &address);
}

void sw_fdb_let_go_all(struct sw *sw, struct sw_port *port)
{
	fdb_let_go_all(sw->fdb, port ? port->id : -1);
}

void sw_fdb_touch(const struct sw *sw)
{
	fdb_touch(sw->fdb);
}

void sw_fdb_stats(const struct sw *sw, struct sw_fdb_stats *ret_stats)
{
	fdb_stats(sw->fdb, ret_stats);
}
