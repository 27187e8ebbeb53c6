/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * When a burst has frames to flood, each port of their VLAN gets those and its own in the order in which they came: a
 * conversation whose peer becomes known in the middle of a burst is not reordered. If some are to be cut for some ports,
 * the burst is flooded in stretches, see cuts.c.
 */

#include "switch/cuts.h"
#include "switch/forwarder.h"

#define FLOOD_PIECES_MIN 64u

/* Frames first to end - 1 of a burst. */
static uint64_t stretch(unsigned first, unsigned end)
{
	uint64_t below_end = end < 64 ? (1ull << end) - 1 : UINT64_MAX;

	return below_end & UINT64_MAX << first;
}

static void count_flooded(struct forwarder *forwarder, const struct burst *burst, uint16_t vlan, unsigned count)
{
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	const struct topology *topology = burst->topology;
	unsigned others = topology_vlan(topology, vlan)->port_count;

	others -= !!topology_port_in(topology, vlan, burst->from->id);
	if (!others)
		counter_add(&counters->rx_no_destination, count);
	else if (others > 1)
		counter_add(&counters->rx_flooded, count);
}

/* Of the frames, those that are flooded go to all ports of their VLAN, and each one's own among them to it. */
static void flood_frames(struct forwarder *forwarder, struct burst *burst, const struct group *flooded,
			 uint64_t frames)
{
	uint16_t in = verdict_vlan(flooded->verdict);
	const struct topology_vlan *vlan = topology_vlan(burst->topology, in);

	for (uint32_t i = 0; i < vlan->port_count; i++) {
		const struct topology_port *to = vlan->ports[i];
		uint64_t own;

		if (to->port == burst->from)
			continue;
		own = groups_frames(&burst->groups, verdict(in, to->port->id));
		if ((flooded->frames | own) & frames)
			deliver(forwarder, to, burst->list, burst_list(burst, (flooded->frames | own) & frames));
	}
}

/* Of what the burst asks for, what do ports not take, that would get the flooded frames, and how many of them? */
static unsigned flood_lacks(const struct burst *burst, const struct topology_vlan *vlan, unsigned *ret_ports)
{
	unsigned lacks = 0, ports = 0;

	for (uint32_t i = 0; i < vlan->port_count; i++) {
		const struct topology_port *to = vlan->ports[i];
		unsigned missing = 0;

		if (to->port != burst->from && to->out_count)
			missing = burst->needs & ~__atomic_load_n(&to->port->offloads, __ATOMIC_RELAXED);
		lacks |= missing;
		ports += missing != 0;
	}
	*ret_ports = ports;
	return lacks;
}

/* Each piece is copied for each of the ports: together they get no more than two would, but a frame of 64 KiB as hosts make it. */
static unsigned flood_pieces(unsigned ports)
{
	unsigned shared = 2 * PIECES_MAX / ports;

	return ports <= 2 ? PIECES_MAX : shared > FLOOD_PIECES_MIN ? shared : FLOOD_PIECES_MIN;
}

/* Cuts what has to be, from a frame on, as far as there is room. Returns where it has to go on. */
static unsigned flood_cut(struct forwarder *forwarder, const struct burst *burst, const struct group *flooded,
			  unsigned first, unsigned lacks)
{
	unsigned i = first;

	while (i < burst->count && (!(flooded->frames >> i & 1) || !(offload_needs(&burst->frames[i].offload) & lacks) ||
				    cuts_add(forwarder, i)))
		i++;
	return i;
}

void flood(struct forwarder *forwarder, struct burst *burst, const struct group *flooded)
{
	uint16_t in = verdict_vlan(flooded->verdict);
	unsigned ports = 0, lacks = 0;

	count_flooded(forwarder, burst, in, (unsigned)__builtin_popcountll(flooded->frames));
	if (unlikely(burst->needs))
		lacks = flood_lacks(burst, topology_vlan(burst->topology, in), &ports);
	if (likely(!lacks)) {
		flood_frames(forwarder, burst, flooded, UINT64_MAX);
		return;
	}
	forwarder->pieces_left = min_u32(forwarder->pieces_left, flood_pieces(ports));
	for (unsigned first = 0, end; first < burst->count; first = end) {
		end = flood_cut(forwarder, burst, flooded, first, lacks);
		flood_frames(forwarder, burst, flooded, stretch(first, end));
		cuts_reset(forwarder->cuts);
	}
}
