/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The forwarding database for who keeps a copy of it, or of a part: which addresses to look at again (fdb_watch.c), and where they are now. What
 * a port is to be asked for may change as well, whether it has queues and in which VLANs it is: then all is looked at.
 */

#include "base/fd.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/fdb_watch.h"
#include "switch/port.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define CHANGES_ROOM 4096u
#define CHANGES_AT_ONCE 256u

struct sw_watch {
	struct sw *sw;
	void (*news)(void *opaque);
	void *opaque;
	int event_fd;
	struct loop_watch *event;
	struct fdb_watch *changes;
};

static void on_event(void *opaque, uint32_t events)
{
	struct sw_watch *watch = opaque;

	fd_event_clear(watch->event_fd);
	watch->news(watch->opaque);
}

int sw_watch_new(struct sw *sw, void (*news)(void *opaque), void *opaque, struct sw_watch **ret_watch)
{
	struct sw_watch *watch = malloc(sizeof(*watch));
	int err;

	if (!watch)
		return -ENOMEM;
	*watch = (struct sw_watch){.sw = sw, .news = news, .opaque = opaque, .event_fd = -1};
	err = fd_event_new(&watch->event_fd);
	if (!err)
		err = loop_add(sw->loop, watch->event_fd, EPOLLIN, on_event, watch, &watch->event);
	if (!err)
		err = fdb_watch_new(sw->fdb, CHANGES_ROOM, watch->event_fd, &watch->changes);
	if (err)
		sw_watch_free(watch);
	else
		*ret_watch = watch;
	return err;
}

/* Takes one that is half made. */
void sw_watch_free(struct sw_watch *watch)
{
	if (!watch)
		return;
	if (watch->changes)
		fdb_watch_free(watch->sw->fdb, watch->changes);
	loop_remove(&watch->event);
	fd_close(&watch->event_fd);
	free(watch);
}

static const struct sw_port *port_there(const struct sw *sw, int id)
{
	const struct sw_port *port = id < 0 ? NULL : sw->by_id[id];

	return port && !port->removing ? port : NULL;
}

static struct sw_watch_place place_of(const struct sw *sw, uint64_t mac, uint16_t vlan, int id)
{
	struct sw_watch_place place = {.vlan = vlan, .port = port_there(sw, id)};

	for (unsigned i = 0; i < sizeof(place.mac); i++)
		place.mac[i] = (uint8_t)(mac >> (40 - 8 * i));
	return place;
}

bool sw_watch_take(struct sw_watch *watch, sw_watch_fn *fn, void *opaque, bool *ret_all)
{
	struct fdb_change changes[CHANGES_AT_ONCE];
	uint32_t count = fdb_watch_take(watch->sw->fdb, watch->changes, changes, CHANGES_AT_ONCE, ret_all);

	for (uint32_t i = 0; i < count; i++) {
		struct fdb_address address = fdb_address(watch->sw->fdb, changes[i].vlan, changes[i].mac);
		struct sw_watch_place place = place_of(watch->sw, changes[i].mac, changes[i].vlan, fdb_lookup(watch->sw->fdb, &address));

		fn(opaque, &place);
	}
	return count == CHANGES_AT_ONCE;
}

struct walk {
	const struct sw *sw;
	sw_watch_fn *fn;
	void *opaque;
};

static void walk_entry(void *opaque, const struct fdb_entry *entry)
{
	const struct walk *walk = opaque;
	struct sw_watch_place place = place_of(walk->sw, entry->mac, entry->vlan, entry->port);

	if (place.port)
		walk->fn(walk->opaque, &place);
}

void sw_watch_walk(const struct sw_watch *watch, sw_watch_fn *fn, void *opaque)
{
	struct walk walk = {watch->sw, fn, opaque};

	fdb_each(watch->sw->fdb, switch_now_s(), walk_entry, &walk);
}

void switch_port_changed(struct sw *sw)
{
	fdb_watches_all(sw->fdb);
}

bool sw_port_serves(const struct sw_port *port)
{
	bool serves = port->bond;

	for (unsigned i = 0; i < SW_QUEUES_MAX && !serves; i++)
		serves = port->out[i] && !port->out[i]->queue.removing;
	return serves && !port->cut && !port->removing;
}

bool sw_port_is_uplink(const struct sw_port *port)
{
	return port->rules.is == ROLE_BIT(ROLE_UPLINK);
}

unsigned sw_port_number(const struct sw_port *port)
{
	return port->id;
}

int sw_port_tag(const struct sw_port *port, uint16_t vlan)
{
	if (!rules_in_vlan(&port->rules, vlan))
		return -ENOENT;
	return port->rules.tagged && vlan_set_has(port->rules.tagged->words, vlan) ? vlan : 0;
}
