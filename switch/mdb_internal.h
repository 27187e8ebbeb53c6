/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MDB_INTERNAL_H
#define SWITCH_MDB_INTERNAL_H

/* What lies in a multicast database: mdb.c, mdb_view.c, mdb_ask.c. All of it under lock. */

#include "switch/mdb.h"
#include <pthread.h>

#define MDB_HEADS        2048u /* a power of two */
#define MDB_RESPONSE_MS  10000u
#define MDB_LAST_MS      1000u /* a question about one group is to be answered within */
#define MDB_ROBUSTNESS   2u

struct mdb_port_entry {
	uint16_t id;
	uint64_t until_ms;
};

/* Ports, by their ids. */
struct mdb_list {
	uint32_t count, room;
	struct mdb_port_entry *ports;
};

struct mdb_group {
	struct mdb_group *next; /* of this hash */
	struct mcast_address address;
	uint16_t vlan;
	struct mdb_list members;
	uint8_t questions; /* that are still to be asked about it, */
	uint64_t ask_ms;   /* the first of them then, */
	int ask_port;      /* at this port; -1: at all */
};

/* A family in a VLAN. */
struct mdb_side {
	struct mdb_list routers;
	bool asked;              /* somebody asks, */
	uint64_t filters_ms;     /* and all have answered by then: */
	bool filters;            /* as it was when mdb_age() looked last */
	uint64_t other_until_ms; /* somebody else asks, until he has been silent for so long */
	uint8_t other[16];
	uint64_t ask_ms; /* our own next question */
	uint8_t startup; /* questions that come faster, still to be asked */
};

struct mdb_vlan {
	uint16_t vlan;
	bool ours; /* we ask there */
	struct mdb_side side[2];
};

struct mdb_port {
	bool there, full, told;
	uint32_t groups;
	struct sw_port_multicast settings;
};

struct mdb {
	/* Constant. */
	struct mdb_config config;
	uint8_t link_address[16]; /* ours: a guest's is smaller or greater, which decides who asks */

	pthread_mutex_t lock; /* innermost */
	struct mdb_group *heads[MDB_HEADS];
	uint32_t group_count;
	struct mdb_vlan *vlans[SW_VLAN_MAX + 1u];
	uint32_t vlan_count;
	struct mdb_port ports[SW_PORTS_MAX];
};

uint32_t mdb_hash(uint64_t seed, uint16_t vlan, const struct mcast_address *address);
bool mcast_same(const struct mcast_address *one, const struct mcast_address *other);
/* NULL: out of memory. */
struct mdb_vlan *mdb_vlan_get(struct mdb *mdb, uint16_t vlan);
void mdb_vlan_ours(const struct mdb *mdb, struct mdb_vlan *vlan); /* if we are a querier, we ask there from now on */
bool mdb_other_asks(const struct mdb_side *side, uint64_t now_ms);
/* Somebody asks from now on, and gives so much time for answers: from then on mdb_age() has it filter. */
void mdb_side_asked(struct mdb_side *side, uint64_t now_ms, uint32_t response_ms);

static inline uint32_t mdb_response_ms(const struct mdb *mdb)
{
	return mdb->config.interval_ms < MDB_RESPONSE_MS ? mdb->config.interval_ms : MDB_RESPONSE_MS;
}

static inline uint64_t mdb_membership_ms(const struct mdb *mdb)
{
	return (uint64_t)MDB_ROBUSTNESS * mdb->config.interval_ms + mdb_response_ms(mdb);
}

/* RFC 3376, 8.5: two questions that were not heard, and half of the time that there is to answer. */
static inline uint64_t mdb_other_ms(const struct mdb *mdb)
{
	return (uint64_t)MDB_ROBUSTNESS * mdb->config.interval_ms + mdb_response_ms(mdb) / 2;
}

#endif
