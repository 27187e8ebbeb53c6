/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_TRACE_H
#define SWITCH_TRACE_H

/*
 * What becomes of the frames that a port brings, or of those that are to go to one, verdict by verdict: for whoever asks why a frame went where it
 * went. Part of switch.h; control thread. While nobody traces, it costs nothing; see trace.c.
 */

#include "switch/switch.h"
#include "vireo/frame.h"

struct sw_trace;

#define SW_TRACES_MAX	    16u /* of a switch */
#define SW_PORT_TRACES_MAX  4u /* of frames from a port */
#define SW_TRACES_TO_MAX    8u /* of frames to ports, of a switch */
#define SW_TRACE_MS	    10000u /* nobody reads it for so long: it ends */
#define SW_TRACE_STEPS_MAX  40u

/* What a step says; of its other fields those hold that are named behind it. */
enum sw_trace_what {
	SW_TRACE_RECEIVED,	/* port, n: from which queue */
	SW_TRACE_BOND,		/* port: the frame is this bond's, of which the port is a member */
	SW_TRACE_PLAIN,		/* its header asks for nothing */
	SW_TRACE_WANTS_SUM,	/* its header asks for a checksum */
	SW_TRACE_WANTS_CUT,	/* n: its header asks for segments of so many bytes */
	SW_TRACE_GUARDED,	/* guards have passed it */
	SW_TRACE_RATE_IN,	/* the port's limit has passed it */
	SW_TRACE_MERGED,	/* it has become a part of a frame before it */
	SW_TRACE_VLAN_OWN,	/* vlan: it lies in the port's own */
	SW_TRACE_VLAN_TAG,	/* vlan, n: it lies in its tag's; priority */
	SW_TRACE_REFLECTED,	/* port: an uplink brings back what this port of ours has sent */
	SW_TRACE_SOURCE_KNOWN,	/* its source is known behind the port */
	SW_TRACE_SOURCE_FIXED,	/* and fixed to it */
	SW_TRACE_SOURCE_LOCKED, /* it is fixed to it from now on */
	SW_TRACE_SOURCE_LEARNED,
	SW_TRACE_SOURCE_MOVED,	/* port: where it was before */
	SW_TRACE_SOURCE_FULL,	/* it is not learned, for there is no room */
	SW_TRACE_SOURCE_AWAY,	/* port: it is this port's, whose guest is behind the uplink by now */
	SW_TRACE_SOURCE_THERE,	/* port: it is this port's, and not to be used here */
	SW_TRACE_SOURCE_NONE,	/* the port has addresses of its own, and this is none */
	SW_TRACE_TO_KNOWN,	/* port: its destination is known behind it */
	SW_TRACE_TO_HERE,	/* its destination is behind the port that it comes from */
	SW_TRACE_TO_UNKNOWN,
	SW_TRACE_TO_BROADCAST,
	SW_TRACE_TO_MULTICAST,
	SW_TRACE_TO_GROUP,	/* members of the group and routers get it */
	SW_TRACE_TO_ROUTERS,	/* nobody but routers would get it, and there is none */
	SW_TRACE_TO_RESERVED,	/* no switch forwards it */
	SW_TRACE_STORM,		/* storm control has passed it */
	SW_TRACE_FLOODED,	/* vlan, n: it goes to so many ports of it */
	SW_TRACE_FLOOD_APART,	/* n: so many others do not get it, for roles keep them apart */
	SW_TRACE_APART,		/* port: roles keep it apart */
	SW_TRACE_RELAYED,	/* port: it is reached by way of the uplinks */
	SW_TRACE_TO,		/* port: what follows is of this receiver */
	SW_TRACE_CLASS,		/* n: its class of priority */
	SW_TRACE_RATE_OUT,	/* the receiver's limit has passed it */
	SW_TRACE_MEMBER,	/* port: the member of the bond that carries it */
	SW_TRACE_TAGGED,	/* vlan: it gets the tag that it came without */
	SW_TRACE_UNTAGGED,	/* it loses its tag */
	SW_TRACE_CUT,		/* n: it is cut into so many */
	SW_TRACE_SUMMED,	/* its checksum is filled in */
	SW_TRACE_QUEUE,		/* n: the receiver's queue */
	SW_TRACE_HELD,		/* n: of it so many are held, until the queue goes on */
	SW_TRACE_DELIVERED,	/* port, n: so many have gone there */
	SW_TRACE_DROPPED,	/* port, reason, n: so many are lost there */
	SW_TRACE_WHATS,
};

struct sw_trace_step {
	uint8_t what;	 /* enum sw_trace_what */
	uint16_t port;	 /* id, */
	uint32_t serial; /* and whose it was, for ids are given again */
	uint16_t vlan;
	uint16_t reason; /* see reasons.h */
	uint32_t n;
};

struct sw_trace_frame {
	uint64_t ns; /* of the system's clock, since 1970 */
	uint32_t bytes;
	uint8_t head_bytes;
	uint8_t head[VIREO_FRAME_HEAD_BYTES]; /* the first bytes, as it came */
	uint16_t more;	     /* steps for which there was no room */
	uint16_t step_count;
	struct sw_trace_step step[SW_TRACE_STEPS_MAX];
};

enum sw_trace_state {
	SW_TRACE_ON,
	SW_TRACE_DONE, /* as many frames as were wanted have been read */
	SW_TRACE_GONE, /* its port has gone, and all has been read */
};

struct sw_trace_status {
	unsigned id;
	const char *port; /* its name, also when it has gone; valid until the loop goes on */
	enum sw_trace_state state;
	uint64_t lost; /* frames that came when there was no room for what would have been said of them */
};

/*
 * From the next burst on, of so many frames (0: any). `to`: of frames of all other ports for which this one has been a receiver, whether they have come to
 * it or not; all bursts are noted meanwhile, whoever gets them. The trace ends when it has not been read for SW_TRACE_MS, and when sw_trace_status() says that
 * nothing more comes and sw_trace_end() is called. -ENOSPC: as many as there may be, of the switch or of this port; -ENOMEM.
 */
int sw_trace_add(struct sw_port *port, bool to, uint64_t frames, struct sw_trace **ret_trace);
struct sw_trace *sw_trace_find(struct sw *sw, unsigned id); /* NULL: there is none, or it has ended */
/* The oldest frames, `max` at most, each once; they are gone then. Returns how many. */
unsigned sw_trace_read(struct sw_trace *trace, unsigned max, void (*each)(void *opaque, const struct sw_trace_frame *frame), void *opaque);
void sw_trace_status(const struct sw_trace *trace, struct sw_trace_status *ret_status);
void sw_trace_end(struct sw_trace *trace);
/* NULL: it has gone. */
const char *sw_trace_port_name(const struct sw *sw, const struct sw_trace_step *step);
const char *sw_trace_reason(const struct sw_trace_step *step); /* of SW_TRACE_DROPPED: the counter's name, as in port.show */

#endif
