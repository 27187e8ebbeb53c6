/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MDB_H
#define SWITCH_MDB_H

/*
 * Multicast database: which ports have members of a group behind them, and which have routers, per VLAN. See mdb.c for the theory of
 * operation. Any thread, but for mdb_new() and mdb_free(); ports are known by their ids, times are of clock_now_ms().
 */

#include "switch/membership.h"
#include "switch/switch.h"
#include "work/grace.h"
#include <stdbool.h>
#include <stdint.h>

struct mdb;

#define MDB_GROUPS_MAX SW_MDB_GROUPS_MAX
#define MDB_FOR_EVER   UINT64_MAX

struct mdb_config {
	uint32_t interval_ms; /* between two general queries */
	bool querier;         /* we ask where nobody else does */
	uint64_t seed;        /* for what strangers must not know; and for an address of our own */
};

int mdb_new(const struct mdb_config *config, struct mdb **ret_mdb); /* -ENOMEM */
void mdb_free(struct mdb *mdb); /* takes NULL */

/* A port comes, with what it may; or goes, and with it all that is known of it. */
void mdb_port_add(struct mdb *mdb, uint16_t port, const struct sw_port_multicast *settings);
void mdb_port_set(struct mdb *mdb, uint16_t port, const struct sw_port_multicast *settings); /* one that is there may something else */
void mdb_port_remove(struct mdb *mdb, uint16_t port);

enum mdb_news {
	MDB_OLD,     /* only times have changed, if anything */
	MDB_CHANGED, /* what workers have to know, or what is to be asked */
	MDB_FULL,    /* there is no room for one more group: of this port, or at all */
};

/* The port's message has been looked at and is a query, or one record of a report. */
enum mdb_news mdb_query(struct mdb *mdb, uint16_t vlan, uint16_t port, const struct membership *query, uint64_t now_ms);
enum mdb_news mdb_join(struct mdb *mdb, uint16_t vlan, uint16_t port, const struct mcast_address *group, uint64_t now_ms);
enum mdb_news mdb_leave(struct mdb *mdb, uint16_t vlan, uint16_t port, const struct mcast_address *group, uint64_t now_ms);

/* Forgets what is too old. True: something has changed. */
bool mdb_age(struct mdb *mdb, uint64_t now_ms);
/* A port at which a bound has been met since it was asked last; -1: none. */
int mdb_full_port(struct mdb *mdb);

/* ---- what workers see ---- */

struct mdb_ports {
	uint32_t count;
	const uint16_t *ids; /* ascending */
};

/* Immutable. Of a VLAN and a family: */
struct mdb_view_side {
	bool filters; /* somebody asks for members there, and has had answers: who has not said that he is one gets nothing */
	struct mdb_ports routers;
};

struct mdb_view_group {
	struct mcast_address address;
	uint16_t vlan;
	uint32_t older; /* another one of this hash: its number + 1 */
	struct mdb_ports members;
};

struct mdb_view {
	struct grace_item gone; /* its owner's */
	uint64_t seed;
	uint32_t mask; /* of a hash */
	uint32_t *heads;
	struct mdb_view_group *groups;
	uint16_t side_of[SW_VLAN_MAX + 1u]; /* number + 1 of the VLAN's two sides: IPv4, IPv6 */
	struct mdb_view_side (*sides)[2];
};

int mdb_view_new(struct mdb *mdb, struct mdb_view **ret_view); /* one allocation: free() */
const struct mdb_view_group *mdb_view_group(const struct mdb_view *view, uint16_t vlan, const struct mcast_address *address);

static inline const struct mdb_view_side *mdb_view_side(const struct mdb_view *view, uint16_t vlan, uint8_t family)
{
	unsigned number = vlan <= SW_VLAN_MAX ? view->side_of[vlan] : 0;

	return number ? &view->sides[number - 1][family == 6] : NULL;
}

/* ---- what is to be asked ---- */

struct mdb_question {
	uint16_t vlan;
	int port; /* -1: all of the VLAN's */
	struct mcast_address group; /* of a general one, the family alone */
	uint32_t response_ms;
	uint32_t interval_s;
};

/* From now on it is asked in this VLAN, too. */
void mdb_ask_in(struct mdb *mdb, uint16_t vlan);
/* The questions that are due, at most `max` of them: if there are as many, there may be more. */
unsigned mdb_ask(struct mdb *mdb, uint64_t now_ms, struct mdb_question *questions, unsigned max);
bool mdb_idle(struct mdb *mdb); /* nothing is known that grows old, and nothing to be asked */
void mdb_source6(const struct mdb *mdb, uint8_t address[16]); /* what we ask with */

/* ---- for people ---- */

struct mdb_entry {
	uint16_t vlan;
	struct mcast_address group; /* of a router: the family alone */
	uint16_t port;
	bool router;
	uint64_t until_ms; /* MDB_FOR_EVER: the operator has said so */
};

struct mdb_side_entry {
	uint16_t vlan;
	uint8_t family;
	bool filters, own; /* we ask */
	struct mcast_address querier; /* who else asks; family 0: nobody */
};

void mdb_each(struct mdb *mdb, void (*fn)(void *opaque, const struct mdb_entry *entry), void *opaque);
void mdb_each_side(struct mdb *mdb, uint64_t now_ms, void (*fn)(void *opaque, const struct mdb_side_entry *side), void *opaque);
uint32_t mdb_groups(struct mdb *mdb);

#endif
