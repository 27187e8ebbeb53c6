/* SPDX-License-Identifier: BSD-3-Clause */

/* What workers forward by: the database as it was at one moment, in one allocation; and what people are told of it. */

#include "switch/mdb_internal.h"
#include <errno.h>
#include <stdlib.h>

struct sizes {
	size_t ids; /* of all lists */
	uint32_t heads;
};

static bool is_static_router(const struct mdb *mdb, unsigned port)
{
	return mdb->ports[port].there && mdb->ports[port].settings.router == SW_ROUTER_ALWAYS;
}

static uint32_t static_routers(const struct mdb *mdb)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < SW_PORTS_MAX; i++)
		count += is_static_router(mdb, i);
	return count;
}

static struct sizes measure(const struct mdb *mdb)
{
	struct sizes sizes = {.ids = 2 * (size_t)mdb->vlan_count * static_routers(mdb), .heads = 64};

	for (unsigned i = 0; i < MDB_HEADS; i++)
		for (const struct mdb_group *group = mdb->heads[i]; group; group = group->next)
			sizes.ids += group->members.count;
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++)
		if (mdb->vlans[i])
			sizes.ids += mdb->vlans[i]->side[0].routers.count + mdb->vlans[i]->side[1].routers.count;
	while (sizes.heads < mdb->group_count)
		sizes.heads *= 2;
	return sizes;
}

static void group_fill(struct mdb_view *view, uint32_t number, const struct mdb_group *from, uint16_t **ids)
{
	struct mdb_view_group *group = &view->groups[number];
	uint32_t *head = &view->heads[mdb_hash(view->seed, from->vlan, &from->address) & view->mask];

	*group = (struct mdb_view_group){from->address, from->vlan, *head, {from->members.count, *ids}};
	*head = number + 1;
	for (uint32_t i = 0; i < from->members.count; i++)
		*(*ids)++ = from->members.ports[i].id;
}

/* Those that have been heard, and those that the operator has named. */
static void side_fill(const struct mdb *mdb, struct mdb_view_side *to, const struct mdb_side *from, bool statics, uint16_t **ids)
{
	uint16_t *first = *ids;
	uint32_t heard = 0;

	for (unsigned i = 0; statics && i < SW_PORTS_MAX; i++) {
		bool is = heard < from->routers.count && from->routers.ports[heard].id == i;

		heard += is;
		if (is || is_static_router(mdb, i))
			*(*ids)++ = (uint16_t)i;
	}
	for (uint32_t i = 0; !statics && i < from->routers.count; i++)
		*(*ids)++ = from->routers.ports[i].id;
	*to = (struct mdb_view_side){from->filters, {(uint32_t)(*ids - first), first}};
}

static void view_fill(const struct mdb *mdb, struct mdb_view *view, uint16_t *ids)
{
	bool statics = static_routers(mdb);
	uint32_t groups = 0;
	uint16_t sides = 0;

	for (unsigned i = 0; i < MDB_HEADS; i++)
		for (const struct mdb_group *group = mdb->heads[i]; group; group = group->next)
			group_fill(view, groups++, group, &ids);
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++) {
		if (!mdb->vlans[i])
			continue;
		side_fill(mdb, &view->sides[sides][0], &mdb->vlans[i]->side[0], statics, &ids);
		side_fill(mdb, &view->sides[sides][1], &mdb->vlans[i]->side[1], statics, &ids);
		view->side_of[i] = ++sides;
	}
}

static struct mdb_view *view_allocate(const struct mdb *mdb, const struct sizes *sizes, uint16_t **ret_ids)
{
	size_t sides_bytes = mdb->vlan_count * sizeof(struct mdb_view_side[2]);
	size_t groups_bytes = mdb->group_count * sizeof(struct mdb_view_group);
	size_t heads_bytes = sizes->heads * sizeof(uint32_t);
	struct mdb_view *view = calloc(1, sizeof(*view) + sides_bytes + groups_bytes + heads_bytes + sizes->ids * sizeof(uint16_t));

	if (!view)
		return NULL;
	view->seed = mdb->config.seed;
	view->mask = sizes->heads - 1;
	view->sides = (struct mdb_view_side(*)[2])(view + 1);
	view->groups = (struct mdb_view_group *)((char *)view->sides + sides_bytes);
	view->heads = (uint32_t *)((char *)view->groups + groups_bytes);
	*ret_ids = (uint16_t *)((char *)view->heads + heads_bytes);
	return view;
}

int mdb_view_new(struct mdb *mdb, struct mdb_view **ret_view)
{
	struct mdb_view *view;
	struct sizes sizes;
	uint16_t *ids;

	pthread_mutex_lock(&mdb->lock);
	sizes = measure(mdb);
	view = view_allocate(mdb, &sizes, &ids);
	if (view)
		view_fill(mdb, view, ids);
	pthread_mutex_unlock(&mdb->lock);
	if (!view)
		return -ENOMEM;
	*ret_view = view;
	return 0;
}

const struct mdb_view_group *mdb_view_group(const struct mdb_view *view, uint16_t vlan, const struct mcast_address *address)
{
	uint32_t number = view->heads[mdb_hash(view->seed, vlan, address) & view->mask];

	while (number) {
		const struct mdb_view_group *group = &view->groups[number - 1];

		if (group->vlan == vlan && mcast_same(&group->address, address))
			return group;
		number = group->older;
	}
	return NULL;
}

/* ---- for people ---- */

typedef void each_fn(void *opaque, const struct mdb_entry *entry);

static void each_of_list(struct mdb_entry entry, const struct mdb_list *list, each_fn *fn, void *opaque)
{
	for (uint32_t i = 0; i < list->count; i++) {
		entry.port = list->ports[i].id;
		entry.until_ms = list->ports[i].until_ms;
		fn(opaque, &entry);
	}
}

static void each_router(const struct mdb *mdb, const struct mdb_vlan *vlan, each_fn *fn, void *opaque)
{
	for (unsigned side = 0; side < 2; side++)
		each_of_list((struct mdb_entry){vlan->vlan, {.family = side ? 6 : 4}, .router = true}, &vlan->side[side].routers, fn,
			     opaque);
}

void mdb_each(struct mdb *mdb, each_fn *fn, void *opaque)
{
	pthread_mutex_lock(&mdb->lock);
	for (unsigned i = 0; i < MDB_HEADS; i++)
		for (const struct mdb_group *group = mdb->heads[i]; group; group = group->next)
			each_of_list((struct mdb_entry){group->vlan, group->address, .router = false}, &group->members, fn, opaque);
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++)
		if (mdb->vlans[i])
			each_router(mdb, mdb->vlans[i], fn, opaque);
	for (unsigned i = 0; i < SW_PORTS_MAX; i++)
		if (is_static_router(mdb, i))
			fn(opaque, &(struct mdb_entry){.port = (uint16_t)i, .router = true, .until_ms = MDB_FOR_EVER});
	pthread_mutex_unlock(&mdb->lock);
}

static void side_tell(const struct mdb_vlan *vlan, unsigned number, uint64_t now_ms,
		      void (*fn)(void *opaque, const struct mdb_side_entry *side), void *opaque)
{
	const struct mdb_side *side = &vlan->side[number];
	struct mdb_side_entry entry = {.vlan = vlan->vlan, .family = number ? 6 : 4, .filters = side->filters};

	entry.own = vlan->ours && !mdb_other_asks(side, now_ms);
	if (mdb_other_asks(side, now_ms)) {
		entry.querier.family = entry.family;
		for (unsigned i = 0; i < sizeof(side->other); i++)
			entry.querier.bytes[i] = side->other[i];
	}
	fn(opaque, &entry);
}

void mdb_each_side(struct mdb *mdb, uint64_t now_ms, void (*fn)(void *opaque, const struct mdb_side_entry *side), void *opaque)
{
	pthread_mutex_lock(&mdb->lock);
	for (unsigned i = 0; i <= SW_VLAN_MAX; i++) {
		if (!mdb->vlans[i])
			continue;
		side_tell(mdb->vlans[i], 0, now_ms, fn, opaque);
		side_tell(mdb->vlans[i], 1, now_ms, fn, opaque);
	}
	pthread_mutex_unlock(&mdb->lock);
}
