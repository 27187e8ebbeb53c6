/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A burst from one port is forwarded in four passes over its frames' private heads:
 *
 *   1. survey: what do they ask for, how long are they; fetch the database's cache lines that will be needed
 *   2. judge:  learn the source, look up the destination; a verdict per frame: a port id, "flood", or why not.
 *              A source that the database does not know behind this port is news, or a lie: it knows (fdb.c).
 *              A frame with the addresses of its predecessor shares its verdict without another look.
 *   3. group:  frames of the same verdict, in order; mostly all are
 *   4. hand each group to its port, or count it
 *
 * When a burst has frames to flood, each port gets those and its own in the order in which they came: a
 * conversation whose peer becomes known in the middle of a burst is not reordered. If some are to be cut for some ports,
 * the burst is flooded in stretches, see cuts.c.
 */

#include "switch/core.h"
#include "switch/cuts.h"
#include "switch/forwarder.h"
#include <endian.h>
#include <string.h>

#define FLOOD_PIECES_MIN 64u
#define MAC_BYTES        6u
#define MAC_MASK         0xffffffffffffu
#define MAC_GROUP_MASK   0x010000000000u /* multicast and broadcast: the first bit on the wire */
#define MAC_RESERVED     0x0180c2000000u /* IEEE 802.1D, 7.12.6: 01:80:c2:00:00:00 to 0f */
#define MAC_RESERVED_MASK 0xfffffffffff0u

/* A frame's head has two bytes more than both of its addresses. */
static inline uint64_t load_mac(const uint8_t *at)
{
	uint64_t eight;

	memcpy(&eight, at, sizeof(eight));
	return be64toh(eight) >> 16;
}

/* Destination and source, as they lie there: only good for being compared. */
struct addresses {
	uint64_t first;
	uint32_t rest;
};

static inline struct addresses addresses_of(const struct vireo_frame *frame)
{
	struct addresses addresses;

	memcpy(&addresses.first, frame->head, sizeof(addresses.first));
	memcpy(&addresses.rest, frame->head + sizeof(addresses.first), sizeof(addresses.rest));
	return addresses;
}

/* Works out what their look-ups need, and has it fetched. */
static inline void expect_addresses(const struct fdb *fdb, const struct vireo_frame *frame, struct addressed *ret)
{
	ret->to = fdb_address(fdb, load_mac(frame->head));
	ret->from = fdb_address(fdb, load_mac(frame->head + MAC_BYTES));
	fdb_prefetch(fdb, &ret->to);
	fdb_prefetch(fdb, &ret->from);
}

static void survey(const struct forwarder *forwarder, struct burst *burst)
{
	const struct vireo_frame *frames = burst->frames;
	struct addresses last = {0};
	uint32_t longest_bytes = 0;
	uint64_t fresh = 0;
	unsigned needs = 0;

	for (unsigned i = 0; i < burst->count; i++) {
		struct addresses these = addresses_of(&frames[i]);

		if (unlikely(frames[i].offload.gso | frames[i].offload.flags))
			needs |= offload_needs(&frames[i].offload);
		if (likely(frames[i].offload.gso == VIREO_GSO_NONE) && frames[i].len_bytes > longest_bytes)
			longest_bytes = frames[i].len_bytes;
		if (!((these.first ^ last.first) | (these.rest ^ last.rest)) && i)
			continue;
		last = these;
		fresh |= 1ull << i;
		expect_addresses(forwarder->fdb, &frames[i], &burst->addressed[i]);
	}
	burst->fresh = fresh;
	burst->needs = needs;
	burst->longest_bytes = longest_bytes;
}

/* True: learned. False: it is not the port's to use. */
static bool learn(struct forwarder *forwarder, uint64_t source, uint16_t from)
{
	enum fdb_news news = fdb_learn(forwarder->fdb, source, from, forwarder->worker.now_s);

	if (news == FDB_FIRST)
		switch_first_entry(forwarder->sw);
	return news != FDB_FOREIGN;
}

static uint16_t judge(struct forwarder *forwarder, const struct burst *burst, const struct addressed *addressed)
{
	uint64_t destination = addressed->to.mac, source = addressed->from.mac;
	uint16_t from = burst->from->id;
	int to;

	if (unlikely(!source || source & MAC_GROUP_MASK))
		return VERDICT_BAD_SOURCE;
	if (unlikely(!fdb_saw(forwarder->fdb, &addressed->from, from, forwarder->worker.now_s)) &&
	    !learn(forwarder, source, from))
		return VERDICT_SPOOFED;
	if (unlikely(destination & MAC_GROUP_MASK))
		return (destination & MAC_RESERVED_MASK) == MAC_RESERVED ? VERDICT_RESERVED : VERDICT_FLOOD;
	to = fdb_lookup(forwarder->fdb, &addressed->to);
	if (unlikely(to == from))
		return VERDICT_HAIRPIN;
	if (unlikely(to < 0 || !topology_port(burst->topology, (unsigned)to)))
		return VERDICT_FLOOD;
	return (uint16_t)to;
}

/* True: all verdicts are the same. */
static bool judge_all(struct forwarder *forwarder, struct burst *burst)
{
	bool same = true;

	burst->verdict[0] = judge(forwarder, burst, &burst->addressed[0]);
	if (likely(burst->fresh == 1) && burst->verdict[0] < VERDICT_FLOOD)
		return true; /* nobody looks at the other verdicts */
	for (unsigned i = 1; i < burst->count; i++) {
		if (burst->fresh >> i & 1)
			burst->verdict[i] = judge(forwarder, burst, &burst->addressed[i]);
		else
			burst->verdict[i] = burst->verdict[i - 1];
		same &= burst->verdict[i] == burst->verdict[0];
	}
	return same;
}

static void group_all(struct burst *burst)
{
	burst->group_count = 0;
	for (unsigned i = 0; i < burst->count; i++) {
		uint16_t verdict = burst->verdict[i];
		struct group *group;

		if (!burst->group_of[verdict]) {
			burst->groups[burst->group_count] = (struct group){.verdict = verdict};
			burst->group_of[verdict] = (uint8_t)++burst->group_count;
		}
		group = &burst->groups[burst->group_of[verdict] - 1];
		group->index[group->count++] = (uint8_t)i;
	}
}

static const struct group *group_find(const struct burst *burst, uint16_t verdict)
{
	return burst->group_of[verdict] ? &burst->groups[burst->group_of[verdict] - 1] : NULL;
}

static void count_dropped(struct port_counters *counters, uint16_t verdict, unsigned count)
{
	if (verdict == VERDICT_RESERVED)
		counter_add(&counters->rx_reserved, count);
	else if (verdict == VERDICT_HAIRPIN)
		counter_add(&counters->rx_hairpin, count);
	else if (verdict == VERDICT_SPOOFED)
		counter_add(&counters->rx_spoofed, count);
	else
		counter_add(&counters->rx_bad_source, count);
}

/* Frames first to end - 1 of a burst. */
struct stretch {
	unsigned first, end;
};

/* Lists the frames of a group, and those of a second one among them, that are in the stretch. */
static unsigned list_merged(struct burst *burst, const struct group *a, const struct group *b,
			    struct stretch stretch)
{
	static const struct group nothing;
	unsigned at_a = 0, at_b = 0, count = 0, count_a, count_b;

	b = b ? b : &nothing;
	count_a = a->count;
	count_b = b->count;
	while (at_a < count_a && a->index[at_a] < stretch.first)
		at_a++;
	while (at_b < count_b && b->index[at_b] < stretch.first)
		at_b++;
	while (count_a > at_a && a->index[count_a - 1] >= stretch.end)
		count_a--;
	while (count_b > at_b && b->index[count_b - 1] >= stretch.end)
		count_b--;
	while (at_a < count_a || at_b < count_b) {
		bool take_a = at_b >= count_b || (at_a < count_a && a->index[at_a] < b->index[at_b]);

		burst->list[count++] = &burst->frames[take_a ? a->index[at_a++] : b->index[at_b++]];
	}
	return count;
}

static void count_flooded(struct forwarder *forwarder, const struct burst *burst, unsigned count)
{
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	const struct topology *topology = burst->topology;
	unsigned others = topology->port_count - !!topology_port(topology, burst->from->id);

	if (!others)
		counter_add(&counters->rx_no_destination, count);
	else if (others > 1)
		counter_add(&counters->rx_flooded, count);
}

static void flood_stretch(struct forwarder *forwarder, struct burst *burst, const struct group *flood,
			  struct stretch stretch)
{
	const struct topology *topology = burst->topology;

	for (uint32_t i = 0; i < topology->port_count; i++) {
		const struct topology_port *to = &topology->ports[i];
		unsigned count;

		if (to->port == burst->from)
			continue;
		count = list_merged(burst, flood, group_find(burst, to->port->id), stretch);
		if (count)
			deliver(forwarder, to, burst->list, count);
	}
}

/* Of what the burst asks for, what do ports not take, that would get the flooded frames, and how many of them? */
static unsigned flood_lacks(const struct burst *burst, unsigned *ret_ports)
{
	const struct topology *topology = burst->topology;
	unsigned lacks = 0, ports = 0;

	for (uint32_t i = 0; i < topology->port_count; i++) {
		const struct topology_port *to = &topology->ports[i];
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

/* Cuts what has to be, from a frame of the flood on, as far as there is room. Returns the end of the stretch. */
static unsigned flood_cut(struct forwarder *forwarder, const struct burst *burst, unsigned first, unsigned lacks)
{
	unsigned i = first;

	while (i < burst->count && (burst->verdict[i] != VERDICT_FLOOD ||
				    !(offload_needs(&burst->frames[i].offload) & lacks) || cuts_add(forwarder, i)))
		i++;
	return i;
}

static void forward_flooded(struct forwarder *forwarder, struct burst *burst, const struct group *flood)
{
	unsigned ports = 0, lacks = likely(!burst->needs) ? 0 : flood_lacks(burst, &ports);
	struct stretch stretch = {0, burst->count};

	count_flooded(forwarder, burst, flood->count);
	if (likely(!lacks)) {
		flood_stretch(forwarder, burst, flood, stretch);
		return;
	}
	forwarder->pieces_left = flood_pieces(ports);
	for (; stretch.first < burst->count; stretch.first = stretch.end) {
		stretch.end = flood_cut(forwarder, burst, stretch.first, lacks);
		flood_stretch(forwarder, burst, flood, stretch);
		cuts_reset(forwarder->cuts);
	}
}

static void forward_groups(struct forwarder *forwarder, struct burst *burst)
{
	const struct group *flood = group_find(burst, VERDICT_FLOOD);

	if (flood)
		forward_flooded(forwarder, burst, flood);
	for (unsigned i = 0; i < burst->group_count; i++) {
		const struct group *group = &burst->groups[i];

		if (group->verdict > VERDICT_FLOOD)
			count_dropped(&burst->from->counters[forwarder->worker.index], group->verdict, group->count);
		else if (!flood)
			deliver(forwarder, topology_port(burst->topology, group->verdict), burst->list,
				list_merged(burst, group, NULL, (struct stretch){0, burst->count}));
		burst->group_of[group->verdict] = 0;
	}
}

void forward_burst(struct forwarder *forwarder, struct burst *burst)
{
	survey(forwarder, burst);
	forwarder->pieces_left = PIECES_MAX;
	if (likely(judge_all(forwarder, burst) && burst->verdict[0] < VERDICT_FLOOD)) {
		for (unsigned i = 0; i < burst->count; i++)
			burst->list[i] = &burst->frames[i];
		deliver(forwarder, topology_port(burst->topology, burst->verdict[0]), burst->list, burst->count);
		return;
	}
	group_all(burst);
	forward_groups(forwarder, burst);
}
