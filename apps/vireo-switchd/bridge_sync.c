/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * The switch says which addresses are to be looked at (sw_watch_take()), a table knows what the bridge is to have and what it has (bridge_table.h),
 * and what differs is told it by a thread that may wait (daemon/errand.h, bridge_talk.h): one errand at a time, either a look at what is there, or
 * some changes.
 *
 *	look    at first, and whenever some interface has changed: is ours a port of a bridge, does that know VLANs, what has it of ours? What has
 *	        been told before is found again so, by this process or one before it. After what went wrong in a talk, too.
 *	walk    through the whole table of the switch: when a look has found another bridge or VLAN, when the switch has no list of what has changed, and
 *	        when there is room again for what has been left out. Not more often than WALK_MS.
 *	tell    AT_ONCE changes, and then nothing for REST_MS: so what a guest makes of addresses costs bridge and routing protocol no more than that.
 *
 * An address is told if it is behind another port that somebody is at (sw_port_serves()) and that is no uplink: what is fixed to a port whose guest
 * runs elsewhere is not said to be here. It is told in the VLAN in which its frames come out of the port. To a bridge that knows no VLANs nothing is
 * told of those that come with a tag, since it would look for them without.
 */

#include "bridge_sync.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "bridge_talk.h"
#include "daemon/errand.h"
#include "host_interface.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define AT_ONCE 64u
#define REST_MS 20u
#define WALK_MS 200u
#define LOOK_MS 100u   /* between two looks */
#define AGAIN_MS 1000u /* after a talk that went wrong, and when another process was to go on */
#define RETRY_MS 60000u /* after an address that the kernel could not take, which it may be able to by then */
#define TAKES_MAX 32u  /* of the switch's changes, in one go */

struct bridge_errand {
	struct errand errand;
	struct bridge_sync *sync; /* the control thread's */
	int interface;
	bool looks;
	int err; /* of the talk */
	struct bridge_seen seen;
	unsigned count;
	struct bridge_change *changes; /* of one that tells; so many, each with */
	int *errs;
};

struct bridge_sync {
	struct port *port;
	int interface;
	uint32_t max;
	struct bridge_table *table;
	struct sw_watch *watch;
	struct errands errands;
	struct bridge_errand *under_way;
	int changes_fd;
	struct loop_watch *changes;
	struct loop_timer *timer, *retry;
	bool retrying; /* the latter runs */
	bool looking;	     /* is to be done */
	bool walking;	     /* likewise */
	uint64_t look_ms, walk_ms, tell_ms; /* not before */
	struct bridge_link bridge; /* of_bridge: it is a port of this one */
	uint16_t pvid;
	bool said_apart, said_silent, said_refused, said_failed; /* a line of log has */
	bool held;
	void (*stopped)(struct port *port); /* it ends */
};

static void step(struct bridge_sync *sync);

/* ---- errands ---- */

static void errand_work(struct errand *errand)
{
	struct bridge_errand *talk = container_of(errand, struct bridge_errand, errand);
	int fd = -1;

	talk->err = bridge_talk_open(&fd);
	if (!talk->err && talk->looks)
		talk->err = bridge_talk_look(fd, talk->interface, &talk->seen);
	else if (!talk->err)
		talk->err = bridge_talk_tell(fd, talk->interface, talk->changes, talk->count, talk->errs);
	fd_close(&fd);
}

static void looked(struct bridge_sync *sync, const struct bridge_errand *talk);
static void told(struct bridge_sync *sync, const struct bridge_errand *talk);

static void errand_done(struct errand *errand, int err)
{
	struct bridge_errand *talk = container_of(errand, struct bridge_errand, errand);
	struct bridge_sync *sync = talk->sync;

	sync->under_way = NULL;
	if (err)
		return; /* the daemon ends */
	if (talk->looks)
		looked(sync, talk);
	else
		told(sync, talk);
	step(sync);
}

static void errand_free(struct bridge_errand *talk)
{
	free(talk->seen.addresses);
	free(talk->changes);
	free(talk->errs);
	free(talk);
}

static void errand_drop(struct errand *errand)
{
	errand_free(container_of(errand, struct bridge_errand, errand));
}

static const struct errand_ops errand_ops = {.work = errand_work, .done = errand_done, .drop = errand_drop};

/* For so many addresses that are there, or changes. NULL: there is no memory. */
static struct bridge_errand *errand_new(struct bridge_sync *sync, uint32_t addresses, uint32_t changes)
{
	struct bridge_errand *talk = calloc(1, sizeof(*talk));

	if (!talk)
		return NULL;
	*talk = (struct bridge_errand){
		.errand.ops = &errand_ops, .sync = sync, .interface = sync->interface, .looks = addresses > 0, .seen.room = addresses};
	talk->seen.addresses = addresses ? malloc(addresses * sizeof(talk->seen.addresses[0])) : NULL;
	talk->changes = changes ? malloc(changes * sizeof(talk->changes[0])) : NULL;
	talk->errs = changes ? malloc(changes * sizeof(talk->errs[0])) : NULL;
	if ((addresses && !talk->seen.addresses) || (changes && (!talk->changes || !talk->errs))) {
		errand_free(talk);
		return NULL;
	}
	return talk;
}

/* False: there is no thread for it, and it is the caller's still. */
static bool errand_run(struct bridge_sync *sync, struct bridge_errand *talk)
{
	if (errands_run(&sync->errands, &talk->errand))
		return false;
	sync->under_way = talk;
	return true;
}

static void later(struct bridge_sync *sync, uint64_t at_ms)
{
	uint64_t now_ms = clock_now_ms();

	loop_timer_start(sync->timer, at_ms > now_ms ? at_ms - now_ms : 1);
}

/* ---- look ---- */

static void look_later(struct bridge_sync *sync, unsigned ms)
{
	sync->looking = true;
	sync->look_ms = clock_now_ms() + ms;
	later(sync, sync->look_ms);
}

static void look(struct bridge_sync *sync)
{
	struct bridge_errand *talk = errand_new(sync, 2 * sync->max, 0);

	sync->looking = false;
	sync->look_ms = clock_now_ms() + LOOK_MS;
	if (talk && errand_run(sync, talk))
		return;
	if (talk)
		errand_free(talk);
	look_later(sync, AGAIN_MS);
}

static void apart(struct bridge_sync *sync)
{
	const char *name = sync->port->spec.at.address;

	if (!sync->said_apart)
		log_warning(&sync->port->log,
			    "learning-sync: it is no port of a bridge here, which is told of addresses as soon as it is one: ip link set dev %.15s master BRIDGE",
			    name);
	sync->said_apart = true;
	sync->said_silent = false;
	sync->bridge = (struct bridge_link){.master = 0};
	bridge_table_look_begin(sync->table);
	bridge_table_look_end(sync->table);
}

static void joined(struct bridge_sync *sync, const struct bridge_errand *talk)
{
	const struct bridge_link *bridge = &talk->seen.bridge;

	/* In which VLAN an address is told follows from these; what has changed in the switch meanwhile is in its list. */
	sync->walking |= bridge->master != sync->bridge.master || bridge->filters != sync->bridge.filters || talk->seen.pvid != sync->pvid;
	if (bridge->master != sync->bridge.master || strcmp(bridge->name, sync->bridge.name) != 0 || sync->said_apart)
		log_info(&sync->port->log, "learning-sync: bridge '%s' is told of addresses%s", bridge->name, bridge->filters ? ", in their VLANs" : "");
	sync->said_apart = sync->said_silent = sync->said_failed = false;
	sync->bridge = *bridge;
	sync->pvid = talk->seen.pvid;
	bridge_table_look_begin(sync->table);
	for (uint32_t i = 0; i < talk->seen.count; i++)
		bridge_table_found(sync->table, &talk->seen.addresses[i]);
	if (talk->seen.more)
		bridge_table_found_more(sync->table);
	bridge_table_look_end(sync->table);
}

/* Nothing is known that was not known before, and what has been told stays. */
static void silent(struct bridge_sync *sync, int err)
{
	if (!sync->said_silent)
		log_warning(&sync->port->log, "learning-sync: the kernel does not say of which bridge it is a port, and is asked again: %s", strerror(-err));
	sync->said_silent = true;
	look_later(sync, AGAIN_MS);
}

static void looked(struct bridge_sync *sync, const struct bridge_errand *talk)
{
	int err = talk->err;

	if (err == -EINTR || err == -ENOBUFS || err == -ETIMEDOUT || err == -EMSGSIZE) {
		look_later(sync, LOOK_MS);
		return;
	}
	if (err && err != -ENODEV)
		silent(sync, err);
	else if (err || !talk->seen.bridge.of_bridge)
		apart(sync);
	else
		joined(sync, talk);
}

/* ---- walk ---- */

/* In which VLAN of the bridge what lies in this one of the switch comes out of the port; false: in none. */
static bool vid_of(const struct bridge_sync *sync, uint16_t vlan, uint16_t *ret_vid)
{
	int tag = sw_port_tag(sync->port->sw, vlan);

	if (tag < 0 || (tag && !sync->bridge.filters) || (!tag && sync->bridge.filters && !sync->pvid))
		return false;
	*ret_vid = 0;
	if (sync->bridge.filters)
		*ret_vid = tag ? (uint16_t)tag : sync->pvid;
	return true;
}

static void on_place(void *opaque, const struct sw_watch_place *place)
{
	struct bridge_sync *sync = opaque;
	const struct sw_port *port = place->port;
	struct bridge_address address;
	bool wanted = port && port != sync->port->sw && !sw_port_is_uplink(port) && sw_port_serves(port);

	if (!vid_of(sync, place->vlan, &address.vid))
		return;
	memcpy(address.mac, place->mac, sizeof(address.mac));
	bridge_table_want(sync->table, &address, wanted ? (int)sw_port_number(port) : BRIDGE_PORT_NONE);
}

static void walk(struct bridge_sync *sync)
{
	struct bridge_table_state state;

	sync->walking = false;
	sync->walk_ms = clock_now_ms() + WALK_MS;
	bridge_table_walk_begin(sync->table);
	sw_watch_walk(sync->watch, on_place, sync);
	bridge_table_walk_end(sync->table);
	state = bridge_table_state(sync->table);
	if (state.refused && !sync->said_refused)
		log_warning(&sync->port->log, "learning-sync: there are more addresses than %u in all, or than %u of one port: others are not told",
			    sync->max, bridge_table_share(sync->max));
	sync->said_refused = state.refused;
}

static void gather(struct bridge_sync *sync)
{
	struct bridge_table_state state;
	bool more = true, all = false;

	for (unsigned i = 0; more && i < TAKES_MAX; i++) {
		more = sw_watch_take(sync->watch, on_place, sync, &all);
		sync->walking |= all;
	}
	state = bridge_table_state(sync->table);
	sync->walking |= state.refused && (state.room || !sync->said_refused);
	if (sync->walking && clock_now_ms() >= sync->walk_ms)
		walk(sync);
	else if (sync->walking)
		later(sync, sync->walk_ms);
	if (more)
		later(sync, clock_now_ms() + REST_MS);
}

/* ---- tell ---- */

/* False: there is nothing to be told, or nobody to do it. */
static bool tell(struct bridge_sync *sync)
{
	uint32_t max = sync->stopped ? sync->max : AT_ONCE;
	struct bridge_errand *talk = errand_new(sync, 0, max);

	if (!talk)
		return false;
	talk->count = bridge_table_take(sync->table, talk->changes, max);
	sync->tell_ms = clock_now_ms() + REST_MS;
	if (talk->count && errand_run(sync, talk))
		return true;
	for (unsigned i = 0; i < talk->count; i++)
		bridge_table_answer(sync->table, &talk->changes[i], -EIO);
	if (talk->count && !sync->stopped)
		look_later(sync, AGAIN_MS);
	errand_free(talk);
	return false;
}

static const char *refusal_words(int err)
{
	if (err == -EPERM)
		return ": the daemon needs CAP_NET_ADMIN";
	return err == -EEXIST ? ": it has that address itself, or was told of it by hand" : "";
}

static void refusal_say(struct bridge_sync *sync, const struct bridge_change *change, int err)
{
	if (sync->said_failed || sync->stopped)
		return;
	sync->said_failed = true;
	log_warning(&sync->port->log, "learning-sync: bridge '%s' does not take %s: %s%s", sync->bridge.name, port_mac_text(change->address.mac).text,
		    strerror(-err), refusal_words(err));
}

/* The answer will be the same whenever it is asked. */
static bool is_final(int err)
{
	return err == -EPERM || err == -EINVAL || err == -EEXIST;
}

static void retry_later(struct bridge_sync *sync)
{
	if (sync->retrying || sync->stopped)
		return;
	sync->retrying = true;
	loop_timer_start(sync->retry, RETRY_MS);
}

static void told(struct bridge_sync *sync, const struct bridge_errand *talk)
{
	for (unsigned i = 0; i < talk->count; i++) {
		int err = talk->err ? -EIO : talk->errs[i];

		if (err && err != -EIO && talk->changes[i].add)
			refusal_say(sync, &talk->changes[i], err);
		if (err && !is_final(err) && talk->changes[i].add)
			retry_later(sync);
		bridge_table_answer(sync->table, &talk->changes[i], err);
	}
	if (talk->err && !sync->stopped)
		look_later(sync, LOOK_MS); /* who knows what has been done */
}

/* ---- one after the other ---- */

static void stop_over(struct bridge_sync *sync)
{
	void (*stopped)(struct port *port) = sync->stopped;

	loop_timer_stop(sync->timer);
	loop_timer_stop(sync->retry);
	sync->stopped = NULL;
	sync->held = true;
	stopped(sync->port);
}

/* An errand is over, the switch has news, an interface has changed, or it is time. */
static void step(struct bridge_sync *sync)
{
	uint64_t now_ms = clock_now_ms();

	if (sync->under_way || (sync->held && !sync->stopped))
		return;
	if (sync->stopped) {
		if (sync->held || !tell(sync))
			stop_over(sync);
		return;
	}
	if (sync->looking && now_ms >= sync->look_ms) {
		look(sync);
		return;
	}
	if (sync->looking)
		later(sync, sync->look_ms);
	if (!sync->bridge.of_bridge || sync->looking)
		return;
	if (now_ms < sync->tell_ms) {
		later(sync, sync->tell_ms);
		return;
	}
	gather(sync);
	if (!tell(sync) && !sync->looking && bridge_table_state(sync->table).foreign)
		look_later(sync, LOOK_MS);
}

static void on_news(void *opaque)
{
	step(opaque);
}

static void on_time(void *opaque)
{
	step(opaque);
}

static void on_retry(void *opaque)
{
	struct bridge_sync *sync = opaque;

	sync->retrying = false;
	sync->looking = true; /* what it finds makes all that was refused be told anew */
	step(sync);
}

static void on_change(void *opaque, uint32_t events)
{
	struct bridge_sync *sync = opaque;

	host_interface_changes_read(sync->changes_fd);
	sync->looking = true;
	step(sync);
}

/* ---- its life ---- */

static int parts_new(struct bridge_sync *sync)
{
	struct loop *loop = sync->port->ports->loop;
	int err = bridge_table_new(sync->max, &sync->table);

	if (!err)
		err = errands_init(&sync->errands, loop, 1);
	if (!err)
		err = loop_timer_new(loop, on_time, sync, &sync->timer);
	if (!err)
		err = loop_timer_new(loop, on_retry, sync, &sync->retry);
	if (!err)
		err = host_interface_changes(&sync->changes_fd);
	if (!err)
		err = loop_add(loop, sync->changes_fd, EPOLLIN, on_change, sync, &sync->changes);
	return err ? err : sw_watch_new(sync->port->ports->sw, on_news, sync, &sync->watch);
}

int bridge_sync_new(struct port *port, int interface, bool held, struct bridge_sync **ret_sync, char why[SPEC_WHY_BYTES])
{
	struct bridge_sync *sync = calloc(1, sizeof(*sync));
	int err = -ENOMEM;

	if (sync) {
		*sync = (struct bridge_sync){
			.port = port, .interface = interface, .max = port->spec.learning_sync, .changes_fd = -1, .held = held, .looking = true};
		err = parts_new(sync);
	}
	if (err == -ENOSPC)
		snprintf(why, SPEC_WHY_BYTES, "learning-sync: as many ports as may have it do: take it from another one");
	else if (err == -EAFNOSUPPORT)
		snprintf(why, SPEC_WHY_BYTES, "learning-sync: no netlink sockets here: RestrictAddressFamilies= of the service is to name AF_NETLINK");
	else if (err)
		snprintf(why, SPEC_WHY_BYTES, "learning-sync: %s", strerror(-err));
	if (err) {
		bridge_sync_free(sync);
		return err;
	}
	*ret_sync = sync;
	step(sync);
	return 0;
}

void bridge_sync_stop(struct bridge_sync *sync, void (*stopped)(struct port *port))
{
	sync->stopped = stopped;
	if (!sync->held)
		bridge_table_want_none(sync->table);
	step(sync);
}

/* Takes one that is half made. */
void bridge_sync_free(struct bridge_sync *sync)
{
	if (!sync)
		return;
	sw_watch_free(sync->watch);
	errands_fini(&sync->errands);
	loop_remove(&sync->changes);
	fd_close(&sync->changes_fd);
	if (sync->timer)
		loop_timer_free(&sync->timer);
	if (sync->retry)
		loop_timer_free(&sync->retry);
	bridge_table_free(sync->table);
	free(sync);
}

void bridge_sync_hold(struct bridge_sync *sync)
{
	sync->held = true;
}

void bridge_sync_go_on(struct bridge_sync *sync)
{
	if (!sync->held)
		return;
	sync->held = false;
	look_later(sync, AGAIN_MS);
}

json_t *bridge_sync_report(const struct bridge_sync *sync)
{
	struct bridge_table_state state;

	if (!sync)
		return json_null();
	state = bridge_table_state(sync->table);
	return json_pack("{s:s?, s:I, s:I, s:b}", "bridge", sync->bridge.of_bridge ? sync->bridge.name : NULL, "told", (json_int_t)state.held, "max",
			 (json_int_t)sync->max, "refused", state.refused);
}
