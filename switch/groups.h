/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_GROUPS_H
#define SWITCH_GROUPS_H

/*
 * A verdict says of a frame in which VLAN it lies and what becomes of it there: a port's id, or one of enum fate. Frames of a
 * burst with the same verdict are a group.
 */

#include "switch/switch.h"
#include <stdint.h>

#define BURST_FRAMES 64u

enum fate { /* port ids come first */
	FATE_FLOOD = SW_PORTS_MAX,
	FATE_RESERVED,
	FATE_HAIRPIN,
	FATE_BAD_SOURCE,
	FATE_VLAN,
	FATE_SPOOFED,
	FATE_ROUTER,            /* what only a router says */
	FATE_MEMBERSHIP_BAD,
	FATE_MEMBERSHIP_LIMIT,
	FATE_NO_MEMBER,
	FATE_UNHEARD,           /* it was for routers alone, and there is none */
	FATE_MULTICAST,         /* and so many behind it: see multicast.c */
	FATE_END = FATE_MULTICAST + BURST_FRAMES,
};

typedef uint32_t verdict_t;

static inline verdict_t verdict(uint16_t vlan, unsigned fate)
{
	return (uint32_t)vlan << 16 | fate;
}

static inline unsigned verdict_fate(verdict_t verdict)
{
	return verdict & UINT16_MAX;
}

static inline uint16_t verdict_vlan(verdict_t verdict)
{
	return (uint16_t)(verdict >> 16);
}

struct group {
	verdict_t verdict;
	uint8_t older;   /* index + 1 of another group of this fate, in another VLAN; 0: none */
	uint64_t frames; /* bit i: frame i */
};

/* One worker's scratch for the burst in hand. */
struct groups {
	unsigned count;
	uint8_t newest[FATE_END]; /* index + 1; 0 between bursts */
	struct group group[BURST_FRAMES];
};

/* Groups frames 0 to count - 1; the groups come in the order of their first frames. */
void groups_make(struct groups *groups, const verdict_t *verdicts, unsigned count);
void groups_reset(struct groups *groups);
/* The frames of a verdict: 0 if there are none. */
uint64_t groups_frames(const struct groups *groups, verdict_t verdict);

#endif
