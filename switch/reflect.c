/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * What a guest with SW_VM2VM_HARDWARE sends goes to the uplinks alone, and so does what others send to it: the bridge behind them sends back what
 * is for another guest. So an uplink brings frames of two sorts: of strangers, and of our own ports. Their source address tells: in
 * the database it is one of our own, which is the port's by its settings or was heard of there lately, and the port takes frames. (A guest that has
 * moved to another host takes none here any more, and what it sends from there is learned at the uplink as ever.)
 *
 * Such a frame is forwarded as if its port had sent it anew: that port is its origin. So the address stays where it is, the frame does not go
 * to its sender, and of the others only those get it that have not got it directly: who hears of whom by way of the bridge is a table
 * of its own (rules.c). Frames of one burst with several origins are forwarded one origin after the other, each one's in order.
 *
 * So a guest that is kept apart could have a stranger's frames taken for its own. It gets no address that was heard of behind an uplink a moment ago,
 * and keeps the one of a stranger who was silent no longer than it goes on to lie. Where nobody is to lie at all, addresses are given to ports.
 *
 * Of ports with SW_VM2VM_OFF nothing comes back to anybody, whatever the bridge does.
 */

#include "switch/core.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/headers.h"
#include "switch/trace_internal.h"
#include <string.h>

#define OURS_S	  30u /* after so long without a frame of ours, a frame of an uplink with its source is a stranger's */
#define STRANGE_S 3u  /* a guest does not take what was heard of behind an uplink in that time */

struct part {
	unsigned count;
	struct vireo_frame frames[BURST_FRAMES];
};

/* The port of ours that has sent a frame, or NULL. */
static const struct topology_port *sender_of(const struct forwarder *forwarder, const struct burst *burst, unsigned frame)
{
	const struct topology *topology = burst->topology;
	uint16_t vlan = frames_vlan(burst, frame);
	const struct topology_port *port;
	struct fdb_address address;
	bool sure;
	int id;

	if (vlan == VLAN_NONE)
		return NULL;
	address = fdb_address(forwarder->fdb, vlan, load_mac(burst->frames[frame].head + MAC_BYTES));
	id = fdb_owner(forwarder->fdb, &address, forwarder->worker.now_s, OURS_S, &sure);
	port = id < 0 || !sure ? NULL : topology_port_in(topology, vlan, (unsigned)id);
	if (!port || !port->out_count || port->rules.is == ROLE_BIT(ROLE_UPLINK))
		return NULL;
	return topology->guests_relayed || port->rules.is == ROLE_BIT(ROLE_OFF) ? port : NULL;
}

/* True: all frames have the same one. */
static bool senders_find(const struct forwarder *forwarder, struct burst *burst, const struct topology_port **senders)
{
	bool same = true;

	senders[0] = NULL;
	burst->tagged = 0;
	if (burst->rules->aware)
		vlan_classify(burst);
	for (unsigned i = 0; i < burst->count; i++) {
		senders[i] = sender_of(forwarder, burst, i);
		same &= senders[i] == senders[0];
	}
	return same;
}

/* The frames that are in hand are all of one sender; NULL: of strangers. */
static void forward_of(struct forwarder *forwarder, struct burst *burst, const struct topology_port *sender)
{
	const struct port_rules *rules = burst->rules;
	struct port_rules back = *rules;

	if (sender) {
		counter_add(&burst->from->counters[forwarder->worker.index].rx_reflected, burst->count);
		back.hears = sender->rules.relayed;
		back.relayed = 0;
		burst->rules = &back;
		burst->origin = sender->port;
		burst->heard_s -= OURS_S; /* it was not heard of by that: the database knows of a later time */
	}
	if (traced(forwarder))
		forward_traced(forwarder, burst);
	else
		forward_admitted(forwarder, burst);
	burst->heard_s = forwarder->worker.now_s;
	burst->rules = rules;
	burst->origin = burst->from;
}

/* Takes the frames of the first one's sender out of the burst, in order, and leaves the others. */
static void take_part(struct burst *burst, const struct topology_port **senders, struct part *part)
{
	const struct topology_port *sender = senders[0];
	unsigned left = 0;

	part->count = 0;
	for (unsigned i = 0; i < burst->count; i++) {
		if (senders[i] == sender) {
			part->frames[part->count++] = burst->frames[i];
		} else {
			senders[left] = senders[i];
			burst->frames[left++] = burst->frames[i];
		}
	}
	burst->count = left;
}

void reflect_burst(struct forwarder *forwarder, struct burst *burst)
{
	const struct topology_port *senders[BURST_FRAMES];
	struct part part;

	if (senders_find(forwarder, burst, senders)) {
		forward_of(forwarder, burst, senders[0]);
		return;
	}
	while (burst->count) {
		const struct topology_port *sender = senders[0];
		struct vireo_frame *rest = burst->frames;
		unsigned left;

		take_part(burst, senders, &part);
		left = burst->count;
		burst->frames = part.frames;
		burst->count = part.count;
		forward_of(forwarder, burst, sender);
		burst->frames = rest;
		burst->count = left;
	}
}

bool reflect_taken(const struct forwarder *forwarder, const struct burst *burst, const struct fdb_address *source)
{
	bool sure;
	int id = fdb_owner(forwarder->fdb, source, forwarder->worker.now_s, STRANGE_S, &sure);
	const struct topology_port *owner = id < 0 ? NULL : topology_port(burst->topology, (unsigned)id);

	return owner && owner->rules.is == ROLE_BIT(ROLE_UPLINK) && sure;
}

static void trace_apart(struct forwarder *forwarder, const struct burst *burst, const struct topology_port *to, unsigned count)
{
	bool relayed = burst->rules->relayed & to->rules.is;
	const struct sw_trace_step step = trace_of_port(relayed ? SW_TRACE_RELAYED : SW_TRACE_APART, to->port, 0);

	trace_list(forwarder, burst->list, count, &step);
}

void reflect_apart(struct forwarder *forwarder, struct burst *burst, uint16_t vlan, const struct topology_port *to, unsigned count)
{
	const struct topology_vlan *in = topology_vlan(burst->topology, vlan);
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	struct vireo_frame *list[BURST_FRAMES];

	if (traced(forwarder))
		trace_apart(forwarder, burst, to, count);
	if (!(burst->rules->relayed & to->rules.is)) {
		counter_add(&counters->rx_isolated, count);
		dropped_list(forwarder, burst->from, &counters->rx_isolated, burst->list, count);
		return;
	}
	if (!in->of_role[ROLE_UPLINK]) {
		counter_add(&counters->rx_no_destination, count);
		dropped_list(forwarder, burst->from, &counters->rx_no_destination, burst->list, count);
	}
	for (unsigned i = 0; i < in->of_role[ROLE_UPLINK]; i++) {
		memcpy(list, burst->list, count * sizeof(list[0]));
		deliver(forwarder, in->ports[i], list, count);
	}
}
