/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_BOND_H
#define SWITCH_BOND_H

/*
 * Bonds: ports that are made of others. bond_members.c: of whom; bond.c: the control thread decides which members carry; bond_carry.c: workers go by
 * that; bond_speak.c: what a bond says at its members; bond_show.c: what people are told; bond_past.c: and another
 * process; lacp.h: the protocol. See bond.c for the theory of
 * operation.
 */

#include "base/queue.h"
#include "switch/lacp.h"
#include "switch/switch.h"

struct burst;
struct forwarder;
struct loop_timer;
struct topology;
struct topology_bond;

_Static_assert(SW_BOND_MEMBERS_MAX == LACP_MEMBERS_MAX, "a member has one number");

#define LACPDUS_PER_S	20u
#define LACPDUS_AT_ONCE 20u

/* Who of the members (bits) is what. */
struct bond_roles {
	uint32_t up, takes, carries;
};

struct bond {
	struct sw_port *port;
	struct sw_bond_config config;
	char *primary;
	struct sw_port *member[SW_BOND_MEMBERS_MAX]; /* NULL: the number is free */
	struct bond_roles roles; /* as they are published, or will be with the next topology */
	int active; /* SW_BOND_ACTIVE_BACKUP: who carries, or has last; -1: nobody */
	bool moved;    /* shares are to be given anew: a member has gone */
	bool heard;    /* a LACPDU, and nobody has looked at what follows from it */
	bool announce; /* another one carries, and the other end is to be told who is behind us */
	uint8_t carrier[SW_BOND_SHARES];
	struct lacp lacp;
	struct loop_timer *timer;
	TAILQ_ENTRY(bond) link; /* sw.bonds */
};

/* A frame of the slow protocols, as a worker has taken it in. */
struct lacpdu {
	struct lacpdu *next;
	uint64_t serial; /* of the port, */
	uint16_t port;	 /* whose id this was */
	uint32_t bytes;
	uint8_t data[LACP_FRAME_BYTES];
};

/* ---- control thread: bond_members.c ---- */

extern const struct sw_port_ops bond_ops; /* of a port that is a bond */

int bond_new(struct sw_port *port, const struct sw_bond_config *config); /* -ENOMEM, -EINVAL */
void bond_free(struct bond *bond); /* takes NULL */
void bond_lacp_begin(struct bond *bond); /* anew, with all members */
/* The port has a name, a bond or a member_of, and is about to be published: who waits for it, or for whom it waits. */
void bond_port_came(struct sw_port *port);
void bond_port_left(struct sw_port *port); /* and of what is published next, it is no part */
/* Makes the port a member of another bond (owned from now on), or of none. Returns what it was before, to be freed. Not published. */
char *bond_member_set(struct sw_port *port, char *member_of);
void bond_offloads_look(struct sw_port *port); /* a member takes others than before */
int bond_number_of(const struct bond *bond, const struct sw_port *port); /* -1: it is no member */

struct sw_bond_end bond_end_told(const struct lacp_end *end); /* bond_show.c */

/* ---- control thread: bond.c, bond_speak.c ---- */

void bond_on_timer(void *opaque);
/* Before a topology is made: who carries from then on? */
void bonds_choose(struct sw *sw);
void bonds_fill(const struct sw *sw, struct topology *topology);
void bonds_look(struct sw *sw); /* have workers taken in something? */
void bonds_end(struct sw *sw);	/* no worker is left */
/* Frames go out of a member, whether it carries or not. Without memory they do not. */
void bond_say(struct sw_port *member, const uint8_t *frame, uint32_t bytes);
/* Tells the other end, at this member, of the addresses that are behind us. */
void bond_announce(const struct bond *bond, struct sw_port *member);

/* ---- worker ---- */

/* A burst of a port that is gated: false if nothing of it comes in; or it is the bond's now, if the port is a member. */
bool bond_gate(struct forwarder *forwarder, struct burst *burst);
void bond_deliver(struct forwarder *forwarder, const struct topology_bond *bond, struct vireo_frame **frames, unsigned count);

#endif
