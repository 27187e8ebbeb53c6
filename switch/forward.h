/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FORWARD_H
#define SWITCH_FORWARD_H

/* A burst of frames on its way: where to (forward.c, groups.c), to all (flood.c), by which queue (flow.c), into the port (deliver.c). */

#include "base/util.h"
#include "switch/fdb.h"
#include "switch/groups.h"
#include "switch/topology.h"
#include <endian.h>
#include <string.h>

#define MAC_BYTES 6u

struct forwarder;

/* A frame's head has two bytes more than both of its addresses. */
static inline uint64_t load_mac(const uint8_t *at)
{
	uint64_t eight;

	memcpy(&eight, at, sizeof(eight));
	return be64toh(eight) >> 16;
}

struct addressed {
	struct fdb_address to, from;
};

/* One worker's scratch for the burst in hand. */
struct burst {
	const struct topology *topology;
	struct sw_port *from;
	const struct port_rules *rules; /* of that port, in the topology */
	uint32_t heard_s;       /* when its sources were heard of */
	struct sw_port *origin; /* that port; or, of what an uplink brings back, who has sent it: see reflect.c */
	struct vireo_frame *frames;
	unsigned count;
	uint16_t queue; /* of that port, from which they came */
	unsigned needs;         /* all offloads that any frame asks for */
	uint32_t longest_bytes; /* of frames that are not to be cut, without the tags of their VLANs */
	uint64_t flooded;       /* bit i: frame i is on its way to several ports; 0 unless flood() is at work */
	bool crowds;            /* those are more than the sender may have at receivers where others' want room, too */
	uint64_t fresh;         /* bit i: frame i has other addresses than its predecessor, or lies in another VLAN */
	uint64_t tagged;        /* bit i: frame i has the tag of its VLAN at the moment; see vlan.c */
	struct addressed addressed[BURST_FRAMES]; /* of fresh ones */
	verdict_t verdict[BURST_FRAMES];
	uint16_t vlan[BURST_FRAMES], tci[BURST_FRAMES]; /* if the port looks at tags */
	struct groups groups;
	struct vireo_frame *list[BURST_FRAMES];
};

/* In which a frame lies. */
static inline uint16_t frames_vlan(const struct burst *burst, unsigned frame)
{
	return likely(!burst->rules->aware) ? burst->rules->vlan : burst->vlan[frame];
}

/* What the burst's port sends, this one may not hear. */
static inline bool kept_apart(const struct burst *burst, const struct topology_port *to)
{
	return unlikely(!(burst->rules->hears & to->rules.is));
}

/* Lists frames of the burst: bit i, frame i. */
static inline unsigned burst_list(struct burst *burst, uint64_t frames)
{
	unsigned count = 0;

	for (; frames; frames &= frames - 1)
		burst->list[count++] = &burst->frames[__builtin_ctzll(frames)];
	return count;
}

/* Worker. Frames are forwarded or counted on return; topology, from, rules, frames and count are set. */
void forward_burst(struct forwarder *forwarder, struct burst *burst);

#define PIECES_MAX 16384u /* of a burst: 64 frames of 64 KiB in pieces of 256 bytes */

/* Worker. The same for frames that may come in, and have one origin. */
void forward_admitted(struct forwarder *forwarder, struct burst *burst);
/* Worker. The same for a burst that is traced. */
void forward_traced(struct forwarder *forwarder, struct burst *burst);

/* Worker. A burst that has come from an uplink, where some ports are kept apart. */
void reflect_burst(struct forwarder *forwarder, struct burst *burst);
/* Worker. An address that is news from a guest that is kept apart: is it one of those behind an uplink? */
bool reflect_taken(const struct forwarder *forwarder, const struct burst *burst, const struct fdb_address *source);
/* Worker. Frames of the burst's list, in this VLAN, for a port that may not hear them from here. */
void reflect_apart(struct forwarder *forwarder, struct burst *burst, uint16_t vlan, const struct topology_port *to, unsigned count);

/* Worker. Frames go to a port in this order: what the port lacks is made up for, what cannot go is counted. */
void deliver(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count);

/* Worker. The same for frames that the port may get: its limits have been looked at. */
void deliver_limited(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count);

/* Worker. The same for frames that are as the port is to get them: its limits and VLANs have been looked at. */
void deliver_ready(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count);

/* Worker. What the queue holds goes to the port, unless that is paused: see hold.c. */
void deliver_held(struct forwarder *forwarder, const struct topology_port *to, struct out_queue *queue);

/* Worker. A group of the burst goes to all ports of its VLAN, and what is each one's own of the burst with it. */
void flood(struct forwarder *forwarder, struct burst *burst, const struct group *group);
/* Worker. The same to some ports of the VLAN, the sender among them, and nothing with it. */
void flood_some(struct forwarder *forwarder, struct burst *burst, const struct group *group, const struct topology_vlan *to);

/* Same for all frames of a flow (addresses, protocol, ports), both before and after cutting. */
uint32_t flow_hash(const struct vireo_frame *frame);
/* The same by what a bond looks at. */
uint32_t flow_hash_of(const struct vireo_frame *frame, enum sw_bond_hash what);

/* Of these the receiver's programs lose what they do not fetch in time, and nobody sends it again. */
bool flow_is_udp(const struct vireo_frame *frame);

#endif
