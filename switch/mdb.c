/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A port has members of a group behind it from the first report on, until it has not been heard of for as long as two questions go
 * unheard, or until it leaves: at once where the operator says that one host is behind it (fast leave), else when nobody answers the
 * questions about that group which follow. A port has a router behind it while questions come from it.
 *
 * Where nobody asks, hosts say nothing after their first reports, and who has been forgotten would hear nothing any more: so nothing is
 * filtered there, and everybody gets everything. Filtering begins when the time to answer the first question is over.
 *
 * Who asks is settled as among routers (RFC 3376, 6.6.2): the smaller address. Ours is none in IPv4, so that every router's holds
 * (RFC 4541, 2.1.1); a question without an address tells of a switch as we are, which has to hear the reports: it counts as a router.
 *
 * Workers report what they hear, under a lock that they hold for one record of a report. What they forward by is a copy that is built when
 * something has changed (mdb_view.c), so frames need no lock.
 *
 * Strangers cannot fill it: a port has so many groups and no more, and all ports together.
 */

#include "switch/mdb_internal.h"
#include "switch/scramble.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIST_ROOM 4u

bool mcast_same(const struct mcast_address *one, const struct mcast_address *other)
{
	return one->family == other->family && memcmp(one->bytes, other->bytes, sizeof(one->bytes)) == 0;
}

uint32_t mdb_hash(uint64_t seed, uint16_t vlan, const struct mcast_address *address)
{
	uint64_t half[2];

	memcpy(half, address->bytes, sizeof(half));
	half[0] = scramble((half[0] ^ half[0] >> 60) << 4, seed & SCRAMBLE_MASK);
	half[1] = scramble((half[1] + half[0]) << 4 ^ half[0], (seed + vlan * SCRAMBLE_FIRST) & SCRAMBLE_MASK);
	return (uint32_t)(half[1] >> 32);
}

/* ---- lists ---- */

/* Where the port is, or would be. */
static uint32_t list_place(const struct mdb_list *list, uint16_t id)
{
	uint32_t low = 0, high = list->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (list->ports[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct mdb_port_entry *list_find(const struct mdb_list *list, uint16_t id)
{
	uint32_t at = list_place(list, id);

	return at < list->count && list->ports[at].id == id ? &list->ports[at] : NULL;
}

static bool list_grow(struct mdb_list *list)
{
	uint32_t room = list->room ? 2 * list->room : LIST_ROOM;
	struct mdb_port_entry *ports = realloc(list->ports, room * sizeof(*ports));

	if (!ports)
		return false;
	list->ports = ports;
	list->room = room;
	return true;
}

/* It is not there. False: out of memory. */
static bool list_add(struct mdb_list *list, uint16_t id, uint64_t until_ms)
{
	uint32_t at = list_place(list, id);

	if (list->count == list->room && !list_grow(list))
		return false;
	memmove(&list->ports[at + 1], &list->ports[at], (list->count - at) * sizeof(*list->ports));
	list->ports[at] = (struct mdb_port_entry){id, until_ms};
	list->count++;
	return true;
}

static void list_remove(struct mdb_list *list, struct mdb_port_entry *entry)
{
	uint32_t at = (uint32_t)(entry - list->ports);

	list->count--;
	memmove(&list->ports[at], &list->ports[at + 1], (list->count - at) * sizeof(*list->ports));
}

/* ---- VLANs, and who asks ---- */

struct mdb_vlan *mdb_vlan_get(struct mdb *mdb, uint16_t vlan)
{
	if (vlan <= SW_VLAN_MAX && !mdb->vlans[vlan]) {
		mdb->vlans[vlan] = calloc(1, sizeof(*mdb->vlans[vlan]));
		if (mdb->vlans[vlan]) {
			mdb->vlans[vlan]->vlan = vlan;
			mdb->vlan_count++;
		}
	}
	return vlan <= SW_VLAN_MAX ? mdb->vlans[vlan] : NULL;
}

bool mdb_other_asks(const struct mdb_side *side, uint64_t now_ms)
{
	return side->other_until_ms > now_ms;
}

void mdb_side_asked(struct mdb_side *side, uint64_t now_ms, uint32_t response_ms)
{
	if (!side->asked)
		side->filters_ms = now_ms + response_ms;
	side->asked = true;
}

/* He is another querier, unless we ask, and by the right of the smaller address. */
static bool is_other(const struct mdb *mdb, const struct mdb_vlan *vlan, const struct membership *query)
{
	static const uint8_t nobody[16];

	if (!vlan->ours)
		return true;
	if (query->family == 4)
		return memcmp(query->source, nobody, 16) != 0;
	return memcmp(query->source, mdb->link_address, 16) < 0;
}

static bool router_heard(struct mdb *mdb, struct mdb_side *side, uint16_t port, uint64_t now_ms)
{
	struct mdb_port_entry *router = list_find(&side->routers, port);
	uint64_t until_ms = now_ms + mdb_other_ms(mdb);

	if (router)
		router->until_ms = until_ms;
	return !router && list_add(&side->routers, port, until_ms);
}

static struct mdb_group **group_place(struct mdb *mdb, uint16_t vlan, const struct mcast_address *address)
{
	struct mdb_group **at = &mdb->heads[mdb_hash(mdb->config.seed, vlan, address) % MDB_HEADS];

	while (*at && ((*at)->vlan != vlan || !mcast_same(&(*at)->address, address)))
		at = &(*at)->next;
	return at;
}

/* Members answer within this time, or are none. */
static void group_asked(struct mdb *mdb, uint16_t vlan, const struct mcast_address *address, uint64_t until_ms)
{
	struct mdb_group *group = *group_place(mdb, vlan, address);

	for (uint32_t i = 0; group && i < group->members.count; i++)
		if (group->members.ports[i].until_ms > until_ms)
			group->members.ports[i].until_ms = until_ms;
}

/*
 * Who asks about one group alone, or leaves hosts more time than we do, does not keep members alive: that he asks is no reason for us not to.
 * Nobody answers in no time.
 */
static bool query_heard(struct mdb *mdb, struct mdb_vlan *vlan, uint16_t port, const struct membership *query, uint64_t now_ms)
{
	uint32_t response_ms = query->response_ms > MDB_LAST_MS ? query->response_ms : MDB_LAST_MS;
	struct mdb_side *side = &vlan->side[query->family == 6];
	bool changed = router_heard(mdb, side, port, now_ms);

	if (query->group.family) {
		group_asked(mdb, vlan->vlan, &query->group, now_ms + MDB_ROBUSTNESS * (uint64_t)response_ms);
		return changed;
	}
	if (is_other(mdb, vlan, query) && (!vlan->ours || response_ms <= mdb_response_ms(mdb))) {
		side->other_until_ms = now_ms + mdb_other_ms(mdb);
		memcpy(side->other, query->source, sizeof(side->other));
	}
	mdb_side_asked(side, now_ms, response_ms);
	return changed;
}

enum mdb_news mdb_query(struct mdb *mdb, uint16_t vlan, uint16_t port, const struct membership *query, uint64_t now_ms)
{
	enum mdb_news news = MDB_OLD;
	struct mdb_vlan *in;

	pthread_mutex_lock(&mdb->lock);
	in = mdb_vlan_get(mdb, vlan);
	if (in && mdb->ports[port].there && mdb->ports[port].settings.router != SW_ROUTER_NEVER && query_heard(mdb, in, port, query, now_ms))
		news = MDB_CHANGED;
	pthread_mutex_unlock(&mdb->lock);
	return news;
}

/* ---- members ---- */

static void group_free(struct mdb *mdb, struct mdb_group **at)
{
	struct mdb_group *group = *at;

	*at = group->next;
	mdb->group_count--;
	free(group->members.ports);
	free(group);
}

static void member_remove(struct mdb *mdb, struct mdb_group *group, struct mdb_port_entry *member)
{
	struct mdb_port *port = &mdb->ports[member->id];

	port->groups--;
	if (port->groups <= port->settings.groups_max / 2)
		port->told = false;
	list_remove(&group->members, member);
}

static struct mdb_group *group_new(struct mdb *mdb, struct mdb_group **at, uint16_t vlan, const struct mcast_address *address)
{
	struct mdb_group *group;

	if (mdb->group_count == MDB_GROUPS_MAX || !mdb_vlan_get(mdb, vlan))
		return NULL;
	mdb_vlan_ours(mdb, mdb->vlans[vlan]);
	group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	group->address = *address;
	group->vlan = vlan;
	*at = group;
	mdb->group_count++;
	return group;
}

static enum mdb_news join(struct mdb *mdb, uint16_t vlan, uint16_t id, const struct mcast_address *address, uint64_t until_ms)
{
	struct mdb_group **at = group_place(mdb, vlan, address), *group = *at;
	struct mdb_port_entry *member = group ? list_find(&group->members, id) : NULL;
	struct mdb_port *port = &mdb->ports[id];

	if (member) {
		member->until_ms = until_ms;
		return MDB_OLD;
	}
	port->full |= port->groups >= port->settings.groups_max;
	if (port->groups >= port->settings.groups_max)
		return MDB_FULL;
	if (!group)
		group = group_new(mdb, at, vlan, address);
	if (group && list_add(&group->members, id, until_ms)) {
		port->groups++;
		return MDB_CHANGED;
	}
	if (group && !group->members.count)
		group_free(mdb, at);
	port->full = true;
	return MDB_FULL;
}

enum mdb_news mdb_join(struct mdb *mdb, uint16_t vlan, uint16_t port, const struct mcast_address *group, uint64_t now_ms)
{
	enum mdb_news news = MDB_OLD;

	pthread_mutex_lock(&mdb->lock);
	if (mdb->ports[port].there)
		news = join(mdb, vlan, port, group, now_ms + mdb_membership_ms(mdb));
	pthread_mutex_unlock(&mdb->lock);
	return news;
}

/* We ask whether somebody else is behind the port. */
static bool leave_in_doubt(struct mdb *mdb, struct mdb_group *group, struct mdb_port_entry *member, uint64_t now_ms)
{
	const struct mdb_vlan *vlan = mdb->vlans[group->vlan];
	const struct mdb_side *side = &vlan->side[group->address.family == 6];
	uint64_t until_ms = now_ms + MDB_ROBUSTNESS * (uint64_t)MDB_LAST_MS;

	if (!vlan->ours || mdb_other_asks(side, now_ms) || member->until_ms <= until_ms)
		return false;
	member->until_ms = until_ms;
	group->ask_port = group->questions ? -1 : member->id;
	group->questions = MDB_ROBUSTNESS;
	group->ask_ms = now_ms;
	return true;
}

static enum mdb_news leave(struct mdb *mdb, struct mdb_group **at, uint16_t id, uint64_t now_ms)
{
	struct mdb_group *group = *at;
	struct mdb_port_entry *member = group ? list_find(&group->members, id) : NULL;

	if (!member)
		return MDB_OLD;
	if (!mdb->ports[id].settings.fast_leave)
		return leave_in_doubt(mdb, group, member, now_ms) ? MDB_CHANGED : MDB_OLD;
	member_remove(mdb, group, member);
	if (!group->members.count)
		group_free(mdb, at);
	return MDB_CHANGED;
}

enum mdb_news mdb_leave(struct mdb *mdb, uint16_t vlan, uint16_t port, const struct mcast_address *group, uint64_t now_ms)
{
	enum mdb_news news;

	pthread_mutex_lock(&mdb->lock);
	news = leave(mdb, group_place(mdb, vlan, group), port, now_ms);
	pthread_mutex_unlock(&mdb->lock);
	return news;
}

/* ---- age ---- */

/* Those of a port, or (-1) those that are too old. */
static bool is_over(const struct mdb_port_entry *entry, int port, uint64_t now_ms)
{
	return port < 0 ? entry->until_ms <= now_ms : entry->id == port;
}

static bool group_forget(struct mdb *mdb, struct mdb_group *group, int port, uint64_t now_ms)
{
	bool changed = false;

	for (uint32_t i = group->members.count; i-- > 0;) {
		if (!is_over(&group->members.ports[i], port, now_ms))
			continue;
		member_remove(mdb, group, &group->members.ports[i]);
		changed = true;
	}
	return changed;
}

static bool side_forget(const struct mdb *mdb, const struct mdb_vlan *vlan, struct mdb_side *side, int port, uint64_t now_ms)
{
	bool changed = false, before = side->filters;

	for (uint32_t i = side->routers.count; i-- > 0;) {
		if (!is_over(&side->routers.ports[i], port, now_ms))
			continue;
		list_remove(&side->routers, &side->routers.ports[i]);
		changed = true;
	}
	if (port < 0) {
		side->asked &= vlan->ours || mdb_other_asks(side, now_ms);
		side->filters = side->asked && now_ms >= side->filters_ms;
	}
	return changed || side->filters != before;
}

static bool forget(struct mdb *mdb, int port, uint64_t now_ms)
{
	bool changed = false;

	for (unsigned i = 0; i < MDB_HEADS; i++) {
		for (struct mdb_group **at = &mdb->heads[i]; *at;) {
			changed |= group_forget(mdb, *at, port, now_ms);
			if ((*at)->members.count)
				at = &(*at)->next;
			else
				group_free(mdb, at);
		}
	}
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++)
		for (unsigned side = 0; side < 2 && mdb->vlans[i]; side++)
			changed |= side_forget(mdb, mdb->vlans[i], &mdb->vlans[i]->side[side], port, now_ms);
	return changed;
}

bool mdb_age(struct mdb *mdb, uint64_t now_ms)
{
	bool changed;

	pthread_mutex_lock(&mdb->lock);
	changed = forget(mdb, -1, now_ms);
	pthread_mutex_unlock(&mdb->lock);
	return changed;
}

/* ---- ports ---- */

void mdb_port_add(struct mdb *mdb, uint16_t port, const struct sw_port_multicast *settings)
{
	pthread_mutex_lock(&mdb->lock);
	mdb->ports[port] = (struct mdb_port){.there = true, .settings = *settings};
	pthread_mutex_unlock(&mdb->lock);
}

static void routers_forget(struct mdb *mdb, uint16_t port)
{
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++) {
		for (unsigned side = 0; side < 2 && mdb->vlans[i]; side++) {
			struct mdb_list *routers = &mdb->vlans[i]->side[side].routers;
			struct mdb_port_entry *router = list_find(routers, port);

			if (router)
				list_remove(routers, router);
		}
	}
}

void mdb_port_set(struct mdb *mdb, uint16_t port, const struct sw_port_multicast *settings)
{
	pthread_mutex_lock(&mdb->lock);
	mdb->ports[port].settings = *settings;
	mdb->ports[port].told = false; /* of another bound it is another line */
	if (settings->router == SW_ROUTER_NEVER)
		routers_forget(mdb, port);
	pthread_mutex_unlock(&mdb->lock);
}

void mdb_port_remove(struct mdb *mdb, uint16_t port)
{
	pthread_mutex_lock(&mdb->lock);
	forget(mdb, port, 0);
	mdb->ports[port].there = false;
	pthread_mutex_unlock(&mdb->lock);
}

int mdb_full_port(struct mdb *mdb)
{
	int found = -1;

	pthread_mutex_lock(&mdb->lock);
	for (unsigned i = 0; i < SW_PORTS_MAX && found < 0; i++) {
		struct mdb_port *port = &mdb->ports[i];

		if (port->there && port->full && !port->told)
			found = (int)i;
		port->told |= port->full;
		port->full = false;
	}
	pthread_mutex_unlock(&mdb->lock);
	return found;
}

/* ---- all of it ---- */

/* The address of a network card that nobody has made, and an IPv6 address out of it (RFC 4291, appendix A). */
static void address_make(uint8_t address[16], uint64_t seed)
{
	memset(address, 0, 16);
	address[0] = 0xfe;
	address[1] = 0x80;
	memcpy(address + 8, &seed, 8);
	address[8] = 0; /* the card's first byte is 02, and the bit for that is turned */
	address[11] = 0xff;
	address[12] = 0xfe;
}

int mdb_new(const struct mdb_config *config, struct mdb **ret_mdb)
{
	struct mdb *mdb = calloc(1, sizeof(*mdb));

	if (!mdb)
		return -ENOMEM;
	mdb->config = *config;
	address_make(mdb->link_address, config->seed * SCRAMBLE_SECOND);
	pthread_mutex_init(&mdb->lock, NULL);
	*ret_mdb = mdb;
	return 0;
}

void mdb_free(struct mdb *mdb)
{
	if (!mdb)
		return;
	for (unsigned i = 0; i < MDB_HEADS; i++)
		while (mdb->heads[i])
			group_free(mdb, &mdb->heads[i]);
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++) {
		if (!mdb->vlans[i])
			continue;
		free(mdb->vlans[i]->side[0].routers.ports);
		free(mdb->vlans[i]->side[1].routers.ports);
		free(mdb->vlans[i]);
	}
	pthread_mutex_destroy(&mdb->lock);
	free(mdb);
}

uint32_t mdb_groups(struct mdb *mdb)
{
	uint32_t count;

	pthread_mutex_lock(&mdb->lock);
	count = mdb->group_count;
	pthread_mutex_unlock(&mdb->lock);
	return count;
}
