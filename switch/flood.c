/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * When a burst has frames to flood, each port of their VLAN gets those and its own in the order in which they came: a
 * conversation whose peer becomes known in the middle of a burst is not reordered. If some are to be cut for some ports,
 * the burst is flooded in stretches, see cuts.c.
 *
 * A frame that goes to several ports costs the worker a copy for each, and each of them a buffer. So the sender has only so many
 * copies a second (sw_port.flood): what is beyond is counted, and goes nowhere. Where there is but one other port with a queue, a flooded frame
 * costs what any other does, and nobody but that port and the sender has to do with it: there is no limit then.
 * What the port's own limits of broadcasts, multicasts and unknown unicasts refuse (policing.c) does not come so far.
 *
 * A receiver that is slow, or off its CPU, has few buffers, and they are for everybody's broadcasts. Who sends many in a second (sw_port.calm)
 * leaves more of them to others, see deliver.c: an ARP request finds room beside a storm. Who may flood without limit, by flood-max=any, is never asked.
 */

#include "switch/cuts.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/trace_internal.h"

#define FLOOD_PIECES_MIN 64u
#define FLOOD_COPY_BYTES   2048u /* a longer copy counts as several */
#define FLOOD_BURST_COPIES 8192u /* may come at once */
#define FLOOD_BURST_FRAMES 16u	 /* may, too, whatever the number of ports */
#define FLOOD_CROWDS_FOR   BUCKET_SECOND /* at most, once it is calm again */
#define FLOOD_DEBT_MAX	   BUCKET_SECOND /* a frame goes whole or not at all: it may take more than there is */

/* Frames first to end - 1 of a burst. */
static uint64_t stretch(unsigned first, unsigned end)
{
	uint64_t below_end = end < 64 ? (1ull << end) - 1 : UINT64_MAX;

	return below_end & UINT64_MAX << first;
}

/* How many of these ports of a VLAN hear of what the burst's origin sends: but for itself, if it is one of them? */
static unsigned heard(const struct burst *burst, const uint16_t of_role[ROLE_COUNT], const struct topology_port *origin)
{
	unsigned sum = 0;

	for (unsigned role = 0; role < ROLE_COUNT; role++)
		sum += burst->rules->hears & ROLE_BIT(role) ? of_role[role] : 0;
	return sum - (origin && burst->rules->hears & origin->rules.is);
}

/* Who gets what is flooded, beside those who would get it if they had a queue. */
static unsigned flood_receivers(const struct burst *burst, uint16_t vlan, const struct topology_vlan *in)
{
	const struct topology_port *origin = topology_port_in(burst->topology, vlan, burst->origin->id);

	return heard(burst, in->open_of_role, origin && origin->out_count ? origin : NULL);
}

/* What a frame costs: of all who get it, so many need it cut. */
static uint64_t flood_copies(const struct vireo_frame *frame, unsigned receivers, unsigned cutters)
{
	uint64_t whole = 1 + frame->len_bytes / FLOOD_COPY_BYTES, pieces = whole;

	if (frame->offload.gso != VIREO_GSO_NONE)
		pieces = 1 + frame->len_bytes / frame->offload.segment_bytes;
	return whole * (receivers - cutters) + pieces * cutters;
}

/* What a frame takes at a receiver, at most. */
static uint64_t flood_buffers(const struct vireo_frame *frame, unsigned cutters)
{
	return flood_copies(frame, 1, cutters != 0);
}

/* So many buffers are taken at each receiver. Is that more than is the sender's due? */
static bool flood_crowds(struct bucket *calm, uint64_t buffers, uint64_t now_ns)
{
	int64_t full = bucket_cost(calm, FLOOD_CALM_BURST);
	bool crowds = bucket_left_of(calm, now_ns, full) < bucket_cost(calm, buffers);

	bucket_draw(calm, buffers, now_ns, (uint64_t)full + FLOOD_CROWDS_FOR);
	return crowds;
}

/* Those of the frames, from the first on, that the sender may have flooded now. */
static uint64_t flood_admit(struct forwarder *forwarder, struct burst *burst, uint64_t frames, unsigned receivers,
			    unsigned cutters)
{
	struct bucket *copies = &burst->from->flood;
	int64_t full = bucket_cost(copies, max_u64(FLOOD_BURST_COPIES, (uint64_t)receivers * FLOOD_BURST_FRAMES)), left;
	uint64_t taken = 0, buffers = 0, refused = frames;

	burst->crowds = false;
	if (!bucket_limits(copies))
		return frames;
	worker_clock_read(&forwarder->worker);
	left = bucket_left_of(copies, forwarder->worker.now_ns, full);
	for (; refused && bucket_cost(copies, taken) < left; refused &= refused - 1) {
		const struct vireo_frame *frame = &burst->frames[__builtin_ctzll(refused)];

		taken += flood_copies(frame, receivers, cutters);
		buffers += flood_buffers(frame, cutters);
	}
	burst->crowds = flood_crowds(&burst->from->calm, buffers, forwarder->worker.now_ns);
	bucket_draw(copies, taken, forwarder->worker.now_ns, (uint64_t)full + FLOOD_DEBT_MAX);
	if (unlikely(refused)) {
		uint64_t *counter = &burst->from->counters[forwarder->worker.index].rx_flood_limit;

		counter_add(counter, (unsigned)__builtin_popcountll(refused));
		dropped_set(forwarder, burst, counter, refused);
	}
	return frames & ~refused;
}

static void count_flooded(struct forwarder *forwarder, const struct burst *burst, uint16_t vlan, const struct topology_vlan *in,
			  uint64_t frames)
{
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	const struct topology_port *origin = topology_port_in(burst->topology, vlan, burst->origin->id);
	unsigned others = heard(burst, in->of_role, origin), count = (unsigned)__builtin_popcountll(frames);

	if (!others) {
		counter_add(&counters->rx_no_destination, count);
		dropped_set(forwarder, burst, &counters->rx_no_destination, frames);
	} else if (others > 1) {
		counter_add(&counters->rx_flooded, count);
	}
}

/* What is on its way to several ports. */
struct flood {
	uint16_t vlan;
	const struct topology_vlan *to; /* its ports */
	bool with_own; /* each gets its own of the burst's frames as well */
	uint64_t frames;
};

/* So many of the VLAN's, from the first on, may hear of it. */
static uint32_t flood_ports(const struct burst *burst, const struct topology_vlan *vlan)
{
	return burst->rules->hears == ROLE_BIT(ROLE_UPLINK) ? vlan->of_role[ROLE_UPLINK] : vlan->port_count;
}

/* Of the frames, those that are flooded go to all these ports, and each one's own among them to it. */
static void flood_frames(struct forwarder *forwarder, struct burst *burst, const struct flood *flood, uint64_t frames)
{
	const struct topology_vlan *vlan = flood->to;
	uint32_t count = flood_ports(burst, vlan);

	for (uint32_t i = 0; i < count; i++) {
		const struct topology_port *to = vlan->ports[i];
		uint64_t own = 0;

		if (to->port == burst->origin || kept_apart(burst, to))
			continue;
		if (likely(flood->with_own))
			own = groups_frames(&burst->groups, verdict(flood->vlan, to->port->id));
		if ((flood->frames | own) & frames)
			deliver(forwarder, to, burst->list, burst_list(burst, (flood->frames | own) & frames));
	}
}

/* Of what the burst asks for, what do ports not take, that would get the flooded frames, and how many of them? */
static unsigned flood_lacks(const struct burst *burst, const struct topology_vlan *vlan, unsigned *ret_ports)
{
	unsigned lacks = 0, ports = 0;
	uint32_t count = flood_ports(burst, vlan);

	for (uint32_t i = 0; i < count; i++) {
		const struct topology_port *to = vlan->ports[i];
		unsigned missing = 0;

		if (to->port != burst->origin && to->out_count && !kept_apart(burst, to))
			missing = burst->needs & ~__atomic_load_n(&to->port->offloads, __ATOMIC_ACQUIRE);
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
static unsigned flood_cut(struct forwarder *forwarder, const struct burst *burst, uint64_t flooded, unsigned first,
			  unsigned lacks)
{
	unsigned i = first;

	while (i < burst->count && (!(flooded >> i & 1) || !(offload_needs(&burst->frames[i].offload) & lacks) ||
				    cuts_add(forwarder, i)))
		i++;
	return i;
}

/* For who lacks something, at so many ports, frames are cut before they go. */
static void flood_in_stretches(struct forwarder *forwarder, struct burst *burst, const struct flood *flood, unsigned lacks,
			       unsigned ports)
{
	forwarder->pieces_left = min_u32(forwarder->pieces_left, flood_pieces(ports));
	for (unsigned first = 0, end; first < burst->count; first = end) {
		end = flood_cut(forwarder, burst, flood->frames, first, lacks);
		flood_frames(forwarder, burst, flood, stretch(first, end));
		cuts_reset(forwarder->cuts);
	}
}

static __attribute__((noinline)) void flood_trace(struct forwarder *forwarder, const struct burst *burst, const struct flood *flood)
{
	const struct topology_port *origin = topology_port_in(burst->topology, flood->vlan, burst->origin->id);
	unsigned all = flood->to->port_count - (origin != NULL), hear = heard(burst, flood->to->of_role, origin);

	trace_flooded(forwarder, burst, flood->vlan, flood->frames, hear, all - hear);
}

static void flood_to(struct forwarder *forwarder, struct burst *burst, struct flood *flood)
{
	unsigned receivers = flood_receivers(burst, flood->vlan, flood->to), ports = 0, lacks = 0;

	if (unlikely(__atomic_load_n(&burst->from->limited, __ATOMIC_RELAXED) & LIMITED_STORM))
		flood->frames = limits_storm(forwarder, burst, flood->frames);
	if (unlikely(burst->needs))
		lacks = flood_lacks(burst, flood->to, &ports);
	if (receivers > 1)
		burst->flooded = flood->frames = flood_admit(forwarder, burst, flood->frames, receivers, ports);
	if (traced(forwarder))
		flood_trace(forwarder, burst, flood);
	count_flooded(forwarder, burst, flood->vlan, flood->to, flood->frames);
	if (likely(!lacks))
		flood_frames(forwarder, burst, flood, UINT64_MAX);
	else
		flood_in_stretches(forwarder, burst, flood, lacks, ports);
	burst->flooded = 0;
}

void flood(struct forwarder *forwarder, struct burst *burst, const struct group *group)
{
	uint16_t vlan = verdict_vlan(group->verdict);
	struct flood flood = {vlan, topology_vlan(burst->topology, vlan), true, group->frames};

	flood_to(forwarder, burst, &flood);
}

void flood_some(struct forwarder *forwarder, struct burst *burst, const struct group *group, const struct topology_vlan *to)
{
	struct flood flood = {verdict_vlan(group->verdict), to, false, group->frames};

	flood_to(forwarder, burst, &flood);
}
