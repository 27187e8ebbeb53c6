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
 *   3. group:  frames of the same verdict, which is one of a VLAN, in order; mostly all are
 *   4. hand each group to its port, or count it
 *
 * What is flooded goes first, in flood.c, and takes along what its receivers get for themselves.
 *
 * Everything is asked within a VLAN: the database is, and so is the topology. vlan.c says in which a frame lies.
 */

#include "switch/bond.h"
#include "switch/core.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/gro.h"
#include "switch/guards.h"
#include "switch/mirror_internal.h"
#include "switch/multicast.h"
#include "switch/trace_internal.h"
#include <string.h>

#define MAC_MASK         0xffffffffffffu
#define MAC_GROUP_MASK   0x010000000000u /* multicast and broadcast: the first bit on the wire */
#define MAC_RESERVED     0x0180c2000000u /* IEEE 802.1D, 7.12.6: 01:80:c2:00:00:00 to 0f */
#define MAC_RESERVED_MASK 0xfffffffffff0u

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
static inline void expect_addresses(const struct fdb_vlan *vlan, const struct vireo_frame *frame,
				    struct addressed *ret)
{
	struct fdb_address to = fdb_address_in(vlan, load_mac(frame->head));
	struct fdb_address from = fdb_address_in(vlan, load_mac(frame->head + MAC_BYTES));

	fdb_prefetch(&to);
	fdb_prefetch(&from);
	ret->to = to;
	ret->from = from;
}

__attribute__((always_inline)) static inline void survey_in(const struct forwarder *forwarder, struct burst *burst, bool aware)
{
	const struct vireo_frame *frames = burst->frames;
	struct addresses last = addresses_of(&frames[0]);
	struct fdb_vlan vlan = fdb_vlan(forwarder->fdb, frames_vlan(burst, 0));
	uint32_t longest_bytes = 0;
	uint64_t fresh = 0;
	unsigned needs = 0;

	last.first = ~last.first; /* nobody's: the first is looked up in any case */
	for (unsigned i = 0; i < burst->count; i++) {
		struct addresses these = addresses_of(&frames[i]);
		uint32_t len_bytes = frames[i].len_bytes;

		if (unlikely(!offload_is_plain(&frames[i].offload))) {
			needs |= offload_needs(&frames[i].offload);
			len_bytes = frames[i].offload.gso == VIREO_GSO_NONE ? len_bytes : 0; /* each segment is short enough */
		}
		if (aware && burst->tagged >> i & 1 && len_bytes)
			len_bytes -= VIREO_FRAME_TAG_BYTES; /* no MTU counts it, and who gets the frame without it, gets so much */
		longest_bytes = len_bytes > longest_bytes ? len_bytes : longest_bytes;
		if (these.first == last.first && these.rest == last.rest &&
		    !(aware && burst->vlan[i] != burst->vlan[i - 1]))
			continue;
		if (aware)
			vlan = fdb_vlan(forwarder->fdb, burst->vlan[i]);
		last = these;
		fresh |= 1ull << i;
		expect_addresses(&vlan, &frames[i], &burst->addressed[i]);
	}
	burst->fresh = fresh;
	burst->needs = needs;
	burst->longest_bytes = longest_bytes;
}

/* Of a port that looks at tags. */
static __attribute__((noinline)) void survey_tags(const struct forwarder *forwarder, struct burst *burst)
{
	vlan_classify(burst);
	survey_in(forwarder, burst, true);
}

static void survey(const struct forwarder *forwarder, struct burst *burst)
{
	burst->tagged = 0;
	if (likely(!burst->rules->aware))
		survey_in(forwarder, burst, false);
	else
		survey_tags(forwarder, burst);
}

/* And not because an operator has cut its link. */
static bool nobody_is_at(const struct topology_port *port)
{
	return !port->out_count && !__atomic_load_n(&port->port->cut, __ATOMIC_RELAXED);
}

/*
 * An address is fixed to a port at which nobody is, and comes from an uplink: its guest runs on another host, or has moved there. It stays
 * fixed to its port, and is not learned.
 */
static bool is_away(const struct forwarder *forwarder, const struct burst *burst, const struct fdb_address *source)
{
	int id = burst->rules->is == ROLE_BIT(ROLE_UPLINK) ? fdb_lookup(forwarder->fdb, source) : -1;
	const struct topology_port *owner = id < 0 ? NULL : topology_port(burst->topology, (unsigned)id);

	return owner && owner->port != burst->from && nobody_is_at(owner);
}

/* True: learned. False: it is not the port's to use. */
static bool learn(struct forwarder *forwarder, const struct burst *burst, const struct fdb_address *source)
{
	struct sw_port *from = burst->origin;
	enum fdb_news news;

	if (unlikely(burst->rules->is & ROLES_APART) && reflect_taken(forwarder, burst, source))
		return false;
	if (unlikely(__atomic_load_n(&from->lock, __ATOMIC_RELAXED)))
		return port_lock(from, source);
	news = fdb_learn(forwarder->fdb, source, from->id, forwarder->worker.now_s);
	if (news == FDB_FIRST)
		switch_first_entry(forwarder->sw);
	return news != FDB_FOREIGN || is_away(forwarder, burst, source);
}

/* To a group address: whose it is, multicast.c says of those that IP has. */
static unsigned judge_group(const struct forwarder *forwarder, uint64_t destination)
{
	if ((destination & MAC_RESERVED_MASK) == MAC_RESERVED)
		return FATE_RESERVED;
	return unlikely(forwarder->multicast) && multicast_is_ip(destination) ? FATE_MULTICAST : FATE_FLOOD;
}

/*
 * To a port that has no queue. If the address is its own for good, its guest may be on another host by now, and is asked for at the first uplink
 * that runs; who has only been heard there is not known to be elsewhere, and what is for him does not leave the host.
 */
static __attribute__((noinline)) unsigned judge_away(const struct forwarder *forwarder, const struct burst *burst, uint16_t vlan,
						     const struct fdb_address *destination, const struct topology_port *to)
{
	const struct topology_vlan *in = topology_vlan(burst->topology, vlan);

	if (burst->rules->is == ROLE_BIT(ROLE_UPLINK) || !nobody_is_at(to) || !fdb_is_fixed(forwarder->fdb, destination))
		return to->port->id;
	for (unsigned i = 0; i < in->of_role[ROLE_UPLINK]; i++)
		if (in->ports[i]->out_count)
			return in->ports[i]->port->id;
	return to->port->id;
}

/* What becomes of a frame in its VLAN. */
static unsigned judge(struct forwarder *forwarder, const struct burst *burst, uint16_t vlan,
		      const struct addressed *addressed)
{
	uint64_t destination = addressed->to.mac, source = addressed->from.mac;
	const struct topology_port *port;
	uint16_t from = burst->origin->id;
	int to;

	if (unlikely(!source || source & MAC_GROUP_MASK))
		return FATE_BAD_SOURCE;
	if (unlikely(!fdb_saw(forwarder->fdb, &addressed->from, from, burst->heard_s)) &&
	    !learn(forwarder, burst, &addressed->from))
		return FATE_SPOOFED;
	if (unlikely(destination & MAC_GROUP_MASK))
		return judge_group(forwarder, destination);
	to = fdb_lookup(forwarder->fdb, &addressed->to);
	if (unlikely(to == from))
		return FATE_HAIRPIN;
	port = to < 0 ? NULL : topology_port_in(burst->topology, vlan, (unsigned)to);
	if (unlikely(!port))
		return FATE_FLOOD;
	return likely(port->out_count) ? (unsigned)to : judge_away(forwarder, burst, vlan, &addressed->to, port);
}

static inline verdict_t judge_frame(struct forwarder *forwarder, const struct burst *burst, bool aware, unsigned frame)
{
	uint16_t vlan = aware ? burst->vlan[frame] : burst->rules->vlan;

	if (aware && vlan == VLAN_NONE)
		return verdict(0, FATE_VLAN);
	return verdict(vlan, judge(forwarder, burst, vlan, &burst->addressed[frame]));
}

__attribute__((always_inline)) static inline bool judge_all_in(struct forwarder *forwarder, struct burst *burst, bool aware)
{
	bool same = true;

	burst->verdict[0] = judge_frame(forwarder, burst, aware, 0);
	if (likely(burst->fresh == 1) && verdict_fate(burst->verdict[0]) < FATE_FLOOD)
		return true; /* nobody looks at the other verdicts */
	for (unsigned i = 1; i < burst->count; i++) {
		if (burst->fresh >> i & 1)
			burst->verdict[i] = judge_frame(forwarder, burst, aware, i);
		else
			burst->verdict[i] = burst->verdict[i - 1];
		same &= burst->verdict[i] == burst->verdict[0];
	}
	return same;
}

static __attribute__((noinline)) bool judge_tags(struct forwarder *forwarder, struct burst *burst)
{
	return judge_all_in(forwarder, burst, true);
}

/* True: all verdicts are the same. */
static bool judge_all(struct forwarder *forwarder, struct burst *burst)
{
	return likely(!burst->rules->aware) ? judge_all_in(forwarder, burst, false) : judge_tags(forwarder, burst);
}

/* The same as judge_all(), of a burst that is traced. */
static bool judge_traced(struct forwarder *forwarder, struct burst *burst)
{
	bool same = true;

	for (unsigned i = 0; i < burst->count; i++) {
		if (burst->fresh >> i & 1) {
			int before = fdb_lookup(forwarder->fdb, &burst->addressed[i].from);

			burst->verdict[i] = judge_frame(forwarder, burst, burst->rules->aware, i);
			trace_source(forwarder, burst, i, before);
		} else {
			burst->verdict[i] = burst->verdict[i - 1];
			burst->addressed[i] = burst->addressed[i - 1];
			trace_source_known(forwarder, burst, i);
		}
		same &= burst->verdict[i] == burst->verdict[0];
	}
	return same;
}

static void count_dropped(struct forwarder *forwarder, const struct burst *burst, unsigned fate, uint64_t frames)
{
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	uint64_t *const of[] = {
		[FATE_RESERVED - FATE_FLOOD] = &counters->rx_reserved,
		[FATE_HAIRPIN - FATE_FLOOD] = &counters->rx_hairpin,
		[FATE_BAD_SOURCE - FATE_FLOOD] = &counters->rx_bad_source,
		[FATE_VLAN - FATE_FLOOD] = &counters->rx_vlan,
		[FATE_SPOOFED - FATE_FLOOD] = &counters->rx_spoofed,
		[FATE_ROUTER - FATE_FLOOD] = &counters->rx_router,
		[FATE_MEMBERSHIP_BAD - FATE_FLOOD] = &counters->rx_membership_bad,
		[FATE_MEMBERSHIP_LIMIT - FATE_FLOOD] = &counters->rx_membership_limit,
		[FATE_NO_MEMBER - FATE_FLOOD] = &counters->rx_no_member,
	};

	if (fate == FATE_UNHEARD)
		return;
	counter_add(of[fate - FATE_FLOOD], (unsigned)__builtin_popcountll(frames));
	dropped_set(forwarder, burst, of[fate - FATE_FLOOD], frames);
}

static void forward_to(struct forwarder *forwarder, struct burst *burst, verdict_t verdict, unsigned count)
{
	const struct topology_port *to = topology_port(burst->topology, verdict_fate(verdict));

	if (kept_apart(burst, to))
		reflect_apart(forwarder, burst, verdict_vlan(verdict), to, count);
	else
		deliver(forwarder, to, burst->list, count);
}

/* Unless it has gone with what is flooded in its VLAN. */
static void forward_own(struct forwarder *forwarder, struct burst *burst, const struct group *group)
{
	uint16_t vlan = verdict_vlan(group->verdict);
	unsigned id = verdict_fate(group->verdict);

	if (!groups_frames(&burst->groups, verdict(vlan, FATE_FLOOD)) ||
	    kept_apart(burst, topology_port(burst->topology, id)))
		forward_to(forwarder, burst, group->verdict, burst_list(burst, group->frames));
}

static void forward_groups(struct forwarder *forwarder, struct burst *burst)
{
	const struct groups *groups = &burst->groups;

	for (unsigned i = 0; i < groups->count; i++) {
		if (verdict_fate(groups->group[i].verdict) == FATE_FLOOD)
			flood(forwarder, burst, &groups->group[i]);
	}
	for (unsigned i = 0; i < groups->count; i++) {
		const struct group *group = &groups->group[i];
		unsigned fate = verdict_fate(group->verdict);

		if (unlikely(fate >= FATE_MULTICAST))
			multicast_forward(forwarder, burst, group);
		else if (fate > FATE_FLOOD)
			count_dropped(forwarder, burst, fate, group->frames);
		else if (fate < FATE_FLOOD)
			forward_own(forwarder, burst, group);
	}
}

static __attribute__((noinline)) void merge(struct forwarder *forwarder, struct burst *burst)
{
	uint64_t marks = traced(forwarder) ? trace_marks(burst) : 0;
	unsigned left = gro_merge(forwarder->gro_room, burst->frames, burst->count);

	counter_add(&burst->from->counters[forwarder->worker.index].rx_merged, burst->count - left);
	burst->count = left;
	if (traced(forwarder))
		trace_merged(forwarder, burst, marks);
}

static __attribute__((noinline)) void trace_admitted(struct forwarder *forwarder, const struct burst *burst, const struct port_guard *guard)
{
	const struct sw_trace_step guarded = {.what = SW_TRACE_GUARDED}, in_rate = {.what = SW_TRACE_RATE_IN};

	if (guard)
		trace_burst(forwarder, burst, &guarded);
	if (__atomic_load_n(&burst->from->limited, __ATOMIC_RELAXED) & LIMITED_IN)
		trace_burst(forwarder, burst, &in_rate);
}

/* False: nothing is left that may come in. */
__attribute__((always_inline)) static inline bool admit(struct forwarder *forwarder, struct burst *burst, bool gated)
{
	bool in;
	/* Pairs with the release in guards.c (sw_port_guard_set). */
	const struct port_guard *guard = __atomic_load_n(&burst->from->guard, __ATOMIC_ACQUIRE);

	if (unlikely(guard) && !guards_admit(forwarder, burst, &guard->rules))
		return false;
	in = likely(!(__atomic_load_n(&burst->from->limited, __ATOMIC_RELAXED) & LIMITED_IN)) || limits_in(forwarder, burst);
	if (gated && traced(forwarder))
		trace_admitted(forwarder, burst, guard);
	return in;
}

__attribute__((always_inline)) static inline void forward_in(struct forwarder *forwarder, struct burst *burst, bool tracing)
{
	bool same;

	survey(forwarder, burst);
	if (tracing)
		trace_vlans(forwarder, burst);
	same = tracing ? judge_traced(forwarder, burst) : judge_all(forwarder, burst);
	if (likely(same && verdict_fate(burst->verdict[0]) < FATE_FLOOD)) {
		if (tracing)
			trace_destinations(forwarder, burst);
		for (unsigned i = 0; i < burst->count; i++)
			burst->list[i] = &burst->frames[i];
		forward_to(forwarder, burst, burst->verdict[0], burst->count);
		return;
	}
	if (unlikely(forwarder->multicast))
		multicast_sort(forwarder, burst);
	if (tracing)
		trace_destinations(forwarder, burst);
	groups_make(&burst->groups, burst->verdict, burst->count);
	forward_groups(forwarder, burst);
	groups_reset(&burst->groups);
}

void forward_admitted(struct forwarder *forwarder, struct burst *burst)
{
	forward_in(forwarder, burst, false);
}

void forward_traced(struct forwarder *forwarder, struct burst *burst)
{
	forward_in(forwarder, burst, true);
}

__attribute__((always_inline)) static inline void forward_open(struct forwarder *forwarder, struct burst *burst, bool gated)
{
	if (unlikely(!admit(forwarder, burst, gated)))
		return;
	if (unlikely(__atomic_load_n(&burst->from->gro, __ATOMIC_RELAXED)))
		merge(forwarder, burst);
	forwarder->pieces_left = PIECES_MAX;
	if (unlikely(burst->topology->guests_apart) && burst->rules->is == ROLE_BIT(ROLE_UPLINK))
		reflect_burst(forwarder, burst);
	else if (gated && traced(forwarder))
		forward_traced(forwarder, burst);
	else
		forward_admitted(forwarder, burst);
}

static void trace_bond(struct forwarder *forwarder, const struct burst *burst)
{
	const struct sw_trace_step bond = trace_of_port(SW_TRACE_BOND, burst->from, 0);

	if (traced(forwarder))
		trace_burst(forwarder, burst, &bond);
}

/* Of a port that is mirrored or traced, whose link is down, or that is a member of a bond: what comes in is the bond's by then. */
static __attribute__((noinline)) void forward_gated(struct forwarder *forwarder, struct burst *burst)
{
	struct sw_port *port = burst->from;
	bool in = true;

	trace_begin(forwarder, burst, port);
	mirror_in_begin(forwarder, burst, port);
	if (__atomic_load_n(&port->gated, __ATOMIC_RELAXED) & GATE_BOND)
		in = bond_gate(forwarder, burst);
	if (in && burst->from != port) {
		trace_begin(forwarder, burst, port);
		trace_bond(forwarder, burst);
		mirror_in_begin(forwarder, burst, burst->from);
	}
	if (in)
		forward_open(forwarder, burst, true);
	trace_end(forwarder);
	mirror_in_end(forwarder, burst);
}

void forward_burst(struct forwarder *forwarder, struct burst *burst)
{
	burst->origin = burst->from;
	burst->heard_s = forwarder->worker.now_s;
	if (unlikely(__atomic_load_n(&burst->from->gated, __ATOMIC_RELAXED)))
		forward_gated(forwarder, burst);
	else
		forward_open(forwarder, burst, false);
}
