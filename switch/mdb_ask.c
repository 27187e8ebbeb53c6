/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What is to be asked, and when (RFC 3376, 8; RFC 3810, 9): of all hosts twice soon after the start, then at the interval; about a group
 * that somebody has left twice within two seconds.
 */

#include "switch/mdb_internal.h"
#include <string.h>

#define STARTUP_PART 4u

void mdb_vlan_ours(const struct mdb *mdb, struct mdb_vlan *vlan)
{
	if (!mdb->config.querier || vlan->ours)
		return;
	vlan->ours = true;
	for (unsigned side = 0; side < 2; side++)
		vlan->side[side].startup = MDB_ROBUSTNESS;
}

void mdb_ask_in(struct mdb *mdb, uint16_t vlan)
{
	struct mdb_vlan *in;

	pthread_mutex_lock(&mdb->lock);
	in = mdb->config.querier ? mdb_vlan_get(mdb, vlan) : NULL;
	if (in)
		mdb_vlan_ours(mdb, in);
	pthread_mutex_unlock(&mdb->lock);
}

static bool side_ask(const struct mdb *mdb, struct mdb_side *side, uint64_t now_ms)
{
	uint32_t interval_ms = mdb->config.interval_ms;

	if (side->ask_ms > now_ms)
		return false;
	if (side->startup) {
		side->startup--;
		interval_ms /= STARTUP_PART;
	}
	side->ask_ms = now_ms + interval_ms;
	if (mdb_other_asks(side, now_ms))
		return false;
	mdb_side_asked(side, now_ms, mdb_response_ms(mdb));
	return true;
}

static unsigned ask_all(struct mdb *mdb, uint64_t now_ms, struct mdb_question *questions, unsigned max)
{
	unsigned count = 0;

	for (unsigned vlan = 0; vlan <= SW_VLAN_MAX; vlan++)
		for (unsigned side = 0; side < 2 && count < max && mdb->vlans[vlan] && mdb->vlans[vlan]->ours; side++)
			if (side_ask(mdb, &mdb->vlans[vlan]->side[side], now_ms))
				questions[count++] = (struct mdb_question){(uint16_t)vlan, -1, {.family = side ? 6 : 4},
									   mdb_response_ms(mdb), mdb->config.interval_ms / 1000};
	return count;
}

static bool group_ask(const struct mdb *mdb, struct mdb_group *group, uint64_t now_ms, struct mdb_question *ret)
{
	if (!group->questions || group->ask_ms > now_ms)
		return false;
	group->questions--;
	group->ask_ms = now_ms + MDB_LAST_MS;
	*ret = (struct mdb_question){group->vlan, group->ask_port, group->address, MDB_LAST_MS, mdb->config.interval_ms / 1000};
	return true;
}

unsigned mdb_ask(struct mdb *mdb, uint64_t now_ms, struct mdb_question *questions, unsigned max)
{
	unsigned count;

	pthread_mutex_lock(&mdb->lock);
	count = ask_all(mdb, now_ms, questions, max);
	for (unsigned i = 0; i < MDB_HEADS && mdb->config.querier; i++)
		for (struct mdb_group *group = mdb->heads[i]; group && count < max; group = group->next)
			count += group_ask(mdb, group, now_ms, &questions[count]);
	pthread_mutex_unlock(&mdb->lock);
	return count;
}

bool mdb_idle(struct mdb *mdb)
{
	bool idle;

	pthread_mutex_lock(&mdb->lock);
	idle = !mdb->group_count && !mdb->vlan_count;
	pthread_mutex_unlock(&mdb->lock);
	return idle;
}

void mdb_source6(const struct mdb *mdb, uint8_t address[16])
{
	memcpy(address, mdb->link_address, sizeof(mdb->link_address));
}
