/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The control thread's part of multicast snooping: what workers have heard becomes a view that they forward by, what is too old is
 * forgotten, and what is due is asked. News wait a moment for more of them, so that who says much has little done for it. Nothing runs
 * while nothing is known and nobody is to be asked.
 */

#include "switch/multicast.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/scramble.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NEWS_MS            10u
#define TICK_MS            500u
#define INTERVAL_S_DEFAULT 125u
#define MESSAGES_PER_S     500u
#define MESSAGES_AT_ONCE   4096u /* each group of a port may be told at once */

static void view_gone(struct grace_item *item)
{
	free(container_of(item, struct mdb_view, gone));
}

static int view_new(const struct multicast *multicast, struct mdb_view **ret_view)
{
	int err = mdb_view_new(multicast->mdb, ret_view);

	if (!err)
		(*ret_view)->gone.fn = view_gone;
	return err;
}

/* Without memory, workers keep the old one until there is. */
static void view_publish(struct multicast *multicast)
{
	struct mdb_view *old = multicast->view, *view;

	if (view_new(multicast, &view)) {
		__atomic_store_n(&multicast->news, true, __ATOMIC_RELAXED);
		return;
	}
	/* Pairs with the acquire in multicast.c (multicast_sort). */
	__atomic_store_n(&multicast->view, view, __ATOMIC_RELEASE);
	if (old)
		grace_defer(multicast->sw->grace, &old->gone);
}

static void tell_full(const struct multicast *multicast)
{
	int id;

	while ((id = mdb_full_port(multicast->mdb)) >= 0) {
		const struct sw_port *port = multicast->sw->by_id[id];

		if (port)
			log_warning(&multicast->sw->log, "%s: has members of as many multicast groups as it may (%u), or as there is room for (%u): what "
				    "more it asks for does not come to it", port->name, port->multicast.groups_max, MDB_GROUPS_MAX);
	}
}

static void timer_start(struct multicast *multicast)
{
	multicast->soon = __atomic_load_n(&multicast->news, __ATOMIC_RELAXED);
	if (multicast->soon)
		loop_timer_start(multicast->timer, NEWS_MS);
	else if (!mdb_idle(multicast->mdb))
		loop_timer_start(multicast->timer, TICK_MS);
}

static void on_timer(void *opaque)
{
	struct multicast *multicast = opaque;
	uint64_t now_ms = clock_now_ms();
	bool news = __atomic_exchange_n(&multicast->news, false, __ATOMIC_RELAXED);

	news |= mdb_age(multicast->mdb, now_ms);
	if (news)
		view_publish(multicast);
	tell_full(multicast);
	querier_ask(multicast, now_ms);
	timer_start(multicast);
}

void multicast_look(struct sw *sw)
{
	if (sw->multicast && !sw->multicast->soon && __atomic_load_n(&sw->multicast->news, __ATOMIC_RELAXED))
		timer_start(sw->multicast);
}

/* ---- ports ---- */

static bool settings_valid(const struct sw_port_multicast *settings)
{
	return settings->groups_max && settings->groups_max <= SW_GROUPS_MAX;
}

void multicast_port_init(struct sw_port *port, const struct sw_port_multicast *settings)
{
	port->multicast = *settings;
	if (!settings_valid(&port->multicast))
		port->multicast.groups_max = SW_GROUPS_DEFAULT;
	bucket_fill(&port->memberships, MESSAGES_PER_S, MESSAGES_AT_ONCE);
}

void sw_port_multicast_set(struct sw_port *port, const struct sw_port_multicast *settings)
{
	struct multicast *multicast = port->sw->multicast;

	__atomic_store_n(&port->multicast.router, settings->router, __ATOMIC_RELAXED);
	port->multicast.fast_leave = settings->fast_leave;
	port->multicast.groups_max = settings_valid(settings) ? settings->groups_max : SW_GROUPS_DEFAULT;
	if (!multicast)
		return;
	mdb_port_set(multicast->mdb, port->id, &port->multicast);
	__atomic_store_n(&multicast->news, true, __ATOMIC_RELAXED);
	multicast_look(port->sw);
}

/* A trunk's other VLANs are asked when somebody there has said something. */
void multicast_port_add(struct sw_port *port)
{
	struct multicast *multicast = port->sw->multicast;

	if (!multicast)
		return;
	mdb_port_add(multicast->mdb, port->id, &port->multicast);
	if (port->rules.vlan != VLAN_NONE)
		mdb_ask_in(multicast->mdb, port->rules.vlan);
	__atomic_store_n(&multicast->news, true, __ATOMIC_RELAXED);
	multicast_look(port->sw);
}

void multicast_port_moved(struct sw_port *port)
{
	struct multicast *multicast = port->sw->multicast;

	if (!multicast || port->rules.vlan == VLAN_NONE)
		return;
	mdb_ask_in(multicast->mdb, port->rules.vlan);
	__atomic_store_n(&multicast->news, true, __ATOMIC_RELAXED);
	multicast_look(port->sw);
}

void multicast_port_remove(struct sw_port *port)
{
	struct multicast *multicast = port->sw->multicast;

	if (!multicast)
		return;
	mdb_port_remove(multicast->mdb, port->id);
	__atomic_store_n(&multicast->news, true, __ATOMIC_RELAXED);
	multicast_look(port->sw);
}

/* ---- the whole ---- */

static int parts_new(struct multicast *multicast, const struct sw_multicast *config)
{
	struct mdb_config mdb = {
		.interval_ms = (config->query_interval_s ? config->query_interval_s : INTERVAL_S_DEFAULT) * 1000,
		.querier = config->querier,
	};
	int err;

	if (getrandom(&mdb.seed, sizeof(mdb.seed), GRND_NONBLOCK) != sizeof(mdb.seed))
		mdb.seed = (uint64_t)(uintptr_t)multicast * SCRAMBLE_FIRST + clock_now_ms();
	err = mdb_new(&mdb, &multicast->mdb);
	if (!err)
		err = view_new(multicast, &multicast->view);
	if (!err)
		err = loop_timer_new(multicast->sw->loop, on_timer, multicast, &multicast->timer);
	return err;
}

int multicast_new(struct sw *sw, const struct sw_multicast *config, struct multicast **ret_multicast)
{
	struct multicast *multicast = calloc(1, sizeof(*multicast));
	int err;

	if (!multicast)
		return -ENOMEM;
	multicast->sw = sw;
	multicast->unknown_to_routers = config->unknown_to_routers;
	err = parts_new(multicast, config);
	if (err) {
		multicast_free(multicast);
		return err;
	}
	*ret_multicast = multicast;
	return 0;
}

/* No worker is left. */
void multicast_free(struct multicast *multicast)
{
	if (!multicast)
		return;
	if (multicast->timer)
		loop_timer_free(&multicast->timer);
	free(multicast->view);
	mdb_free(multicast->mdb);
	free(multicast);
}

/* ---- for people ---- */

struct visit {
	struct sw *sw;
	uint64_t now_ms;
	void (*entry)(void *opaque, const struct sw_mdb_entry *entry);
	void (*querier)(void *opaque, const struct sw_mdb_querier *querier);
	void *opaque;
};

static int expires_s(const struct visit *visit, uint64_t until_ms)
{
	if (until_ms == MDB_FOR_EVER)
		return -1;
	return until_ms > visit->now_ms ? (int)((until_ms - visit->now_ms + 999) / 1000) : 0;
}

static void visit_entry(void *opaque, const struct mdb_entry *found)
{
	const struct visit *visit = opaque;
	const struct sw_port *port = visit->sw->by_id[found->port];
	struct sw_mdb_entry entry = {.vlan = found->vlan, .family = found->group.family, .router = found->router};

	if (!port || port->removing)
		return;
	entry.port = port->name;
	entry.expires_s = expires_s(visit, found->until_ms);
	memcpy(entry.group, found->group.bytes, sizeof(entry.group));
	visit->entry(visit->opaque, &entry);
}

static void visit_side(void *opaque, const struct mdb_side_entry *found)
{
	const struct visit *visit = opaque;
	struct sw_mdb_querier querier = {
		.vlan = found->vlan,
		.family = found->family,
		.filters = found->filters,
		.own = found->own,
		.other = found->querier.family,
	};

	memcpy(querier.address, found->querier.bytes, sizeof(querier.address));
	visit->querier(visit->opaque, &querier);
}

bool sw_mdb_snoops(const struct sw *sw)
{
	return sw->multicast;
}

void sw_mdb_each(struct sw *sw, void (*fn)(void *opaque, const struct sw_mdb_entry *entry), void *opaque)
{
	struct visit visit = {.sw = sw, .now_ms = clock_now_ms(), .entry = fn, .opaque = opaque};

	if (sw->multicast)
		mdb_each(sw->multicast->mdb, visit_entry, &visit);
}

void sw_mdb_each_querier(struct sw *sw, void (*fn)(void *opaque, const struct sw_mdb_querier *querier), void *opaque)
{
	struct visit visit = {.sw = sw, .now_ms = clock_now_ms(), .querier = fn, .opaque = opaque};

	if (sw->multicast)
		mdb_each_side(sw->multicast->mdb, visit.now_ms, visit_side, &visit);
}

uint32_t sw_mdb_groups(struct sw *sw)
{
	return sw->multicast ? mdb_groups(sw->multicast->mdb) : 0;
}
