/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MULTICAST_H
#define SWITCH_MULTICAST_H

/* Multicast snooping: multicast.c in workers, snooping.c in the control thread, querier.c asks. See multicast.c for the theory of operation. */

#include "switch/groups.h"
#include "switch/mdb.h"
#include "switch/topology.h"

struct burst;
struct forwarder;
struct loop_timer;
struct sw;
struct sw_port;

#define MEMBERSHIP_FIRST_BYTES 128u
#define MEMBERSHIP_BYTES       2048u /* of a frame, that are looked at */

struct multicast {
	/* Constant. */
	struct sw *sw;
	struct mdb *mdb;
	bool unknown_to_routers;
	struct mdb_view *view; /* published: read by workers */
	bool news;             /* atomic: set by workers, for the control thread */
	/* Control thread. */
	struct loop_timer *timer;
	bool soon; /* it has been started for news */
};

/* Who gets what is to a group: members, and routers. */
struct multicast_set {
	const struct mdb_ports *members, *routers; /* or NULL */
};

/* A worker's scratch. */
struct multicast_room {
	uint8_t bytes[MEMBERSHIP_BYTES];
	unsigned count;
	struct multicast_set sets[BURST_FRAMES]; /* of fates from FATE_MULTICAST on */
	struct topology_port *ports[SW_PORTS_MAX];
};

/* 01:00:5e:00:00:00 to 01:00:5e:7f:ff:ff, 33:33:... */
static inline bool multicast_is_ip(uint64_t mac)
{
	return mac >> 23 == 0x01005e000000u >> 23 || mac >> 32 == 0x3333;
}

/* Worker. Frames whose fate is FATE_MULTICAST get one that says more. */
void multicast_sort(struct forwarder *forwarder, struct burst *burst);
/* Worker. A group of frames with such a fate. */
void multicast_forward(struct forwarder *forwarder, struct burst *burst, const struct group *group);

/* ---- control thread; where there is no snooping, the ports' do nothing ---- */

int multicast_new(struct sw *sw, const struct sw_multicast *config, struct multicast **ret_multicast);
void multicast_free(struct multicast *multicast); /* takes NULL */
void multicast_look(struct sw *sw); /* have workers heard something? */
void multicast_port_init(struct sw_port *port, const struct sw_port_multicast *settings);
void multicast_port_add(struct sw_port *port);
void multicast_port_moved(struct sw_port *port); /* to other VLANs */
void multicast_port_remove(struct sw_port *port);

/* Asks all that is due. */
void querier_ask(struct multicast *multicast, uint64_t now_ms);

#endif
