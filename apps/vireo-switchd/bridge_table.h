/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_BRIDGE_TABLE_H
#define SWITCHD_BRIDGE_TABLE_H

/*
 * Which addresses a bridge of the kernel is to have behind one of its ports, and which it has, as far as is known: what is to be told it is the
 * difference. Nothing here talks to anybody: bridge_table.c.
 */

#include <stdbool.h>
#include <stdint.h>

struct bridge_address {
	uint8_t mac[6];
	uint16_t vid; /* 0: the bridge knows no VLANs */
};

struct bridge_change {
	struct bridge_address address;
	bool add; /* or it is taken back */
};

struct bridge_table;

#define BRIDGE_PORT_NONE (-1)

/* At most `max` addresses are wanted, or at the bridge by our doing, at a time; of one port of the switch an eighth of that. -ENOMEM */
int bridge_table_new(uint32_t max, struct bridge_table **ret_table);
void bridge_table_free(struct bridge_table *table); /* takes NULL */
uint32_t bridge_table_share(uint32_t max); /* how many of one port may be wanted */

/* The address is behind this port of the switch, a number below SW_PORTS_MAX, or not to be told: BRIDGE_PORT_NONE. */
void bridge_table_want(struct bridge_table *table, const struct bridge_address *address, int port);
/* Between the two all that are wanted are said once more; others are not wanted any longer. */
void bridge_table_walk_begin(struct bridge_table *table);
void bridge_table_walk_end(struct bridge_table *table);
void bridge_table_want_none(struct bridge_table *table);

/* Up to `max` changes to be told: first what is to be taken back. Each is answered once: 0, or what the kernel says, a negative errno. */
unsigned bridge_table_take(struct bridge_table *table, struct bridge_change *changes, unsigned max);
void bridge_table_answer(struct bridge_table *table, const struct bridge_change *change, int err);

/* The kernel has been asked what there is; nothing is to be answered. It has what was found between the two, and nothing else. */
void bridge_table_look_begin(struct bridge_table *table);
void bridge_table_found(struct bridge_table *table, const struct bridge_address *address);
void bridge_table_found_more(struct bridge_table *table); /* others, which are not said */
void bridge_table_look_end(struct bridge_table *table);

struct bridge_table_state {
	uint32_t wanted, held;
	bool refused; /* there are addresses for which there was no room, since the last walk */
	bool room;    /* by now there may be some for them: another walk would tell */
	bool foreign; /* more was found at the bridge than there is room to know of */
};
struct bridge_table_state bridge_table_state(const struct bridge_table *table);

#endif
