/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A frame to an address of IP multicast is looked into: its first bytes are copied, and the copy is what decides. What it says of groups
 * goes into the database of members (mdb.h); where it goes is read from a view of that which is built by the control thread (snooping.c):
 *
 *   a query             to all
 *   a report, a leave   to routers: a host that hears another's says nothing itself, and its port would not be known
 *   to 224.0.0.x, ff02::x, and what is no IP packet to a group after all: to all
 *   to a group          to its members, and to routers
 *   to a group without  to all, or to routers: as the operator says
 *
 * What a guest that is heard by uplinks only (rules.h) says goes to them in any case.
 *
 * Where nobody asks for members, all of it goes to all. Who gets a group's frames is a set, which has a fate of its own in
 * the burst, and frames with it go to its ports as flooded frames go to all ports (flood.c).
 *
 * A tag that a port does not look at is payload, and so is what lies behind it.
 */

#include "switch/multicast.h"
#include "base/clock.h"
#include "base/fd.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/frame_first.h"
#include <string.h>

#define TYPE_AT   12u
#define TAG_BYTES 4u

/* What sorting looks at, for the burst. */
struct sorting {
	struct forwarder *forwarder;
	struct burst *burst;
	const struct mdb_view *view;
	struct mcast_address last; /* of the frame before; and in which VLAN, and what became of it */
	uint16_t last_vlan;
	unsigned last_fate;
};

static enum membership_kind look(const struct sorting *s, const struct vireo_frame *frame, bool tagged, struct membership *ret)
{
	uint8_t *bytes = s->forwarder->multicast_room->bytes;
	uint32_t have = min_u32(frame->len_bytes, MEMBERSHIP_FIRST_BYTES);
	uint32_t type_at = TYPE_AT + (tagged ? TAG_BYTES : 0);
	bool summed = !(frame->offload.flags & VIREO_FRAME_NEEDS_CSUM);
	enum membership_kind kind;

	frame_copy_first(frame, bytes, have);
	kind = membership_look(bytes, have, frame->len_bytes, type_at, summed, ret);
	if (kind == MEMBERSHIP_MORE) {
		have = min_u32(frame->len_bytes, MEMBERSHIP_BYTES);
		frame_copy_first(frame, bytes, have);
		kind = membership_look(bytes, have, frame->len_bytes, type_at, summed, ret);
	}
	return kind == MEMBERSHIP_MORE ? MEMBERSHIP_BAD : kind;
}

/* The set's fate; one that is there already, if it can be. */
static unsigned fate_of(const struct sorting *s, const struct mdb_ports *members, const struct mdb_ports *routers)
{
	struct multicast_room *room = s->forwarder->multicast_room;
	unsigned i = 0;

	while (i < room->count && (room->sets[i].members != members || room->sets[i].routers != routers))
		i++;
	if (i == room->count)
		room->sets[room->count++] = (struct multicast_set){members, routers}; /* at most one for each frame */
	return FATE_MULTICAST + i;
}

static unsigned to_routers(const struct sorting *s, const struct mdb_view_side *side, unsigned without)
{
	return side->routers.count ? fate_of(s, NULL, &side->routers) : without;
}

/* ---- messages ---- */

/* False: too many of them. */
static bool may_speak(const struct sorting *s)
{
	struct bucket *messages = &s->burst->from->memberships;

	worker_clock_read(&s->forwarder->worker);
	if (bucket_left(messages, s->forwarder->worker.now_ns) <= 0)
		return false;
	bucket_draw(messages, 1, s->forwarder->worker.now_ns, BUCKET_DEBT_MAX);
	return true;
}

static void tell_control(const struct sorting *s)
{
	struct multicast *multicast = s->forwarder->multicast;

	if (!__atomic_exchange_n(&multicast->news, true, __ATOMIC_RELAXED))
		fd_event_raise(s->forwarder->sw->event_fd);
}

static void hear_news(const struct sorting *s, enum mdb_news news)
{
	struct sw_port *from = s->burst->from;

	if (news != MDB_OLD)
		tell_control(s);
	if (news == MDB_FULL)
		counter_add(&from->counters[s->forwarder->worker.index].rx_membership_full, 1);
}

static unsigned hear_query(const struct sorting *s, uint16_t vlan, const struct membership *query)
{
	struct sw_port *from = s->burst->from;

	if (__atomic_load_n(&from->multicast.router, __ATOMIC_RELAXED) == SW_ROUTER_NEVER)
		return FATE_ROUTER;
	hear_news(s, mdb_query(s->forwarder->multicast->mdb, vlan, from->id, query, clock_now_ms()));
	return FATE_FLOOD;
}

static unsigned hear_report(const struct sorting *s, uint16_t vlan, struct membership *report)
{
	const struct mdb_view_side *side = mdb_view_side(s->view, vlan, report->family);
	struct mdb *mdb = s->forwarder->multicast->mdb;
	uint16_t from = s->burst->from->id;
	uint64_t now_ms = clock_now_ms();
	struct mcast_address group;
	enum membership_step says;

	while ((says = membership_next(s->forwarder->multicast_room->bytes, report, &group))) {
		if (mcast_is_local(&group))
			continue;
		if (says == MEMBERSHIP_JOIN)
			hear_news(s, mdb_join(mdb, vlan, from, &group, now_ms));
		else
			hear_news(s, mdb_leave(mdb, vlan, from, &group, now_ms));
	}
	return side && side->filters ? to_routers(s, side, FATE_UNHEARD) : FATE_FLOOD;
}

static unsigned hear(const struct sorting *s, uint16_t vlan, enum membership_kind kind, struct membership *message)
{
	if (!may_speak(s))
		return FATE_MEMBERSHIP_LIMIT;
	if (kind == MEMBERSHIP_BAD)
		return FATE_MEMBERSHIP_BAD;
	counter_add(&s->burst->from->counters[s->forwarder->worker.index].rx_membership, 1);
	return kind == MEMBERSHIP_QUERY ? hear_query(s, vlan, message) : hear_report(s, vlan, message);
}

/* ---- data ---- */

static unsigned data_fate(const struct sorting *s, uint16_t vlan, const struct mcast_address *to)
{
	const struct mdb_view_side *side = to->family ? mdb_view_side(s->view, vlan, to->family) : NULL;
	const struct mdb_view_group *group;

	if (!side || !side->filters || mcast_is_local(to))
		return FATE_FLOOD;
	group = mdb_view_group(s->view, vlan, to);
	if (group)
		return fate_of(s, &group->members, &side->routers);
	return s->forwarder->multicast->unknown_to_routers ? to_routers(s, side, FATE_NO_MEMBER) : FATE_FLOOD;
}

static unsigned sort_data(struct sorting *s, uint16_t vlan, const struct mcast_address *to)
{
	if (s->last_fate && vlan == s->last_vlan && to->family == s->last.family &&
	    memcmp(to->bytes, s->last.bytes, sizeof(to->bytes)) == 0)
		return s->last_fate;
	s->last = *to;
	s->last_vlan = vlan;
	s->last_fate = data_fate(s, vlan, to);
	return s->last_fate;
}

static unsigned sort(struct sorting *s, unsigned i)
{
	uint16_t vlan = verdict_vlan(s->burst->verdict[i]);
	struct membership message = {.records = 0};
	enum membership_kind kind = look(s, &s->burst->frames[i], s->burst->tagged >> i & 1, &message);

	return kind == MEMBERSHIP_NONE ? sort_data(s, vlan, &message.to) : hear(s, vlan, kind, &message);
}

/* What a guest that is kept apart says is for the bridge behind the uplinks to sort: it gets all of it. */
static unsigned sort_apart(const struct burst *burst, unsigned fate)
{
	bool sorted = fate >= FATE_MULTICAST || fate == FATE_UNHEARD || fate == FATE_NO_MEMBER;

	return sorted && burst->rules->is & ROLES_APART ? FATE_FLOOD : fate;
}

void multicast_sort(struct forwarder *forwarder, struct burst *burst)
{
	/* Pairs with the release in snooping.c (view_publish). */
	const struct mdb_view *view = __atomic_load_n(&forwarder->multicast->view, __ATOMIC_ACQUIRE);
	struct sorting s = {.forwarder = forwarder, .burst = burst, .view = view};

	forwarder->multicast_room->count = 0;
	for (unsigned i = 0; i < burst->count; i++)
		if (verdict_fate(burst->verdict[i]) == FATE_MULTICAST)
			burst->verdict[i] = verdict(verdict_vlan(burst->verdict[i]), sort_apart(burst, sort(&s, i)));
}

/* ---- to a set ---- */

static void ports_add(const struct burst *burst, struct topology_vlan *to, uint16_t vlan, uint16_t id)
{
	struct topology_port *port = topology_port_in(burst->topology, vlan, id);

	if (!port)
		return;
	to->ports[to->port_count++] = port;
	to->open_count += port->out_count != 0;
	to->of_role[rules_role(&port->rules)]++;
	to->open_of_role[rules_role(&port->rules)] += port->out_count != 0;
}

/* The smallest number that either has from these places on; SW_PORTS_MAX: none. */
static uint32_t next_id(const struct mdb_ports *a, const struct mdb_ports *b, uint32_t *a_at, uint32_t *b_at)
{
	uint32_t in_a = a && *a_at < a->count ? a->ids[*a_at] : SW_PORTS_MAX;
	uint32_t in_b = b && *b_at < b->count ? b->ids[*b_at] : SW_PORTS_MAX;
	uint32_t id = min_u32(in_a, in_b);

	*a_at += in_a == id;
	*b_at += in_b == id;
	return id;
}

/* The set's ports in the VLAN, and the sender, as who floods expects. */
static void set_ports(const struct burst *burst, const struct multicast_set *set, uint16_t vlan, struct topology_vlan *to)
{
	uint32_t member = 0, router = 0, id;
	bool sender = false;

	while ((id = next_id(set->members, set->routers, &member, &router)) < SW_PORTS_MAX) {
		ports_add(burst, to, vlan, (uint16_t)id);
		sender |= id == burst->origin->id;
	}
	if (!sender)
		ports_add(burst, to, vlan, burst->origin->id);
}

static bool has_port(const struct topology_vlan *to, const struct topology_port *port)
{
	for (uint32_t i = 0; i < to->port_count; i++)
		if (to->ports[i] == port)
			return true;
	return false;
}

/* A member that hears of the sender by the bridge behind the uplinks only has its frames go there. */
static void uplinks_add(const struct burst *burst, uint16_t vlan, struct topology_vlan *to)
{
	const struct topology_vlan *in = topology_vlan(burst->topology, vlan);

	for (uint32_t i = 0; i < in->of_role[ROLE_UPLINK]; i++)
		if (!has_port(to, in->ports[i]))
			ports_add(burst, to, vlan, in->ports[i]->port->id);
}

void multicast_forward(struct forwarder *forwarder, struct burst *burst, const struct group *group)
{
	struct multicast_room *room = forwarder->multicast_room;
	struct topology_vlan to = {.ports = room->ports};

	set_ports(burst, &room->sets[verdict_fate(group->verdict) - FATE_MULTICAST], verdict_vlan(group->verdict), &to);
	if (unlikely(burst->topology->guests_relayed))
		uplinks_add(burst, verdict_vlan(group->verdict), &to);
	flood_some(forwarder, burst, group, &to);
}
