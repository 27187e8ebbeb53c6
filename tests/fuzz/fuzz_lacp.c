/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A group of links, at which anything may be said at any time, and whose cables come and go. Whatever that is: who carries is up, agreed with, and has the
 * same partner as all others who carry; nobody carries with ourselves; no member speaks more than three times a second, and what is said can be
 * read; and time alone ends: a run at the time that is due makes the due time move on.
 */
#include "fuzz.h"
#include "switch/lacp.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMBERS	  4u
#define STEPS_MAX 200u
#define SPOKEN_MAX 64u

struct world {
	struct lacp lacp;
	uint64_t now_ms;
	uint64_t spoken_ms[MEMBERS][SPOKEN_MAX];
	unsigned spoken[MEMBERS];
};

static void check_group(const struct lacp *lacp)
{
	uint32_t takes = lacp_collecting(lacp), carries = lacp_distributing(lacp);
	const struct lacp_member *first = NULL;

	assert(!(carries & ~takes));
	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++) {
		const struct lacp_member *m = &lacp->members[i];

		if (!(takes >> i & 1))
			continue;
		assert(m->there && m->up && m->selected == LACP_SELECTED && !lacp_loops(lacp, i));
		assert(m->actor.state & LACP_SYNCHRONIZATION && m->partner.state & LACP_SYNCHRONIZATION);
		assert(!(m->actor.state & LACP_DEFAULTED));
		if (first) {
			assert(!memcmp(first->partner.system, m->partner.system, 6) && first->partner.key == m->partner.key);
			assert(first->partner.state & m->partner.state & LACP_AGGREGATION);
		}
		first = m;
	}
}

/* Whatever a group has come to, another process may go on with: what is refused as a lie is none of it. */
static void check_told(const struct world *w)
{
	struct lacp_past pasts[MEMBERS];
	unsigned count = 0;

	for (unsigned i = 0; i < MEMBERS; i++)
		if (w->lacp.members[i].there && w->lacp.members[i].up)
			lacp_past_tell(&w->lacp, i, w->now_ms, &pasts[count++]);
	assert(lacp_pasts_valid(&w->lacp.config, pasts, count));
}

static void speak(struct world *w, unsigned member)
{
	uint8_t frame[LACP_FRAME_BYTES];
	struct lacp_pdu pdu;
	unsigned *spoken = &w->spoken[member];

	if (!lacp_speak(&w->lacp, member, w->now_ms, frame))
		return;
	assert(lacp_pdu_parse(frame, sizeof(frame), &pdu) == LACP_HEARD_PDU);
	assert(!memcmp(&pdu.actor.system, w->lacp.config.system, 6));
	assert(pdu.actor.state == w->lacp.members[member].actor.state);
	if (*spoken >= LACP_SENT_MAX)
		assert(w->now_ms - w->spoken_ms[member][(*spoken - LACP_SENT_MAX) % SPOKEN_MAX] >= LACP_FAST_MS);
	w->spoken_ms[member][(*spoken)++ % SPOKEN_MAX] = w->now_ms;
}

/* A frame that is mostly one that could be: what is said of us is taken from us, where the input does not say otherwise. */
static void hear(struct world *w, struct fuzz_input *in, unsigned member, uint8_t how)
{
	uint8_t frame[LACP_FRAME_BYTES], answer[LACP_FRAME_BYTES], *exact;
	const struct lacp_member *m = &w->lacp.members[member];
	struct lacp_pdu pdu = {.partner = m->actor, .actor = {.system = {2, 0, 0, 0, 0, how & 3}, .port = member, .state = fuzz_u8(in)}};
	uint32_t bytes = LACP_FRAME_BYTES;

	lacp_pdu_put(frame, &pdu);
	if (how & 4)
		fuzz_take(in, frame + 14, 60);
	if (how & 8)
		frame[fuzz_u8(in) % LACP_FRAME_BYTES] ^= fuzz_u8(in);
	if (how & 16)
		bytes = fuzz_u8(in) % (LACP_FRAME_BYTES + 1);
	exact = malloc(bytes ? bytes : 1); /* whose end the sanitizer knows */
	if (!exact)
		abort();
	memcpy(exact, frame, bytes);
	lacp_hear(&w->lacp, member, exact, bytes, w->now_ms, answer);
	free(exact);
}

/* The operator has put a port into the group: whoever was in this place before, this one has not spoken yet. */
static void member_come(struct world *w, unsigned member)
{
	lacp_member_add(&w->lacp, member, (uint16_t)(member + 1));
	w->spoken[member] = 0;
}

static void step(struct world *w, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), how = what >> 3;
	unsigned member = fuzz_u8(in) % MEMBERS;
	uint64_t due;

	switch (what & 7) {
	case 0:
		lacp_link_set(&w->lacp, member, how & 1, w->now_ms);
		break;
	case 1:
		w->now_ms += fuzz_u16(in);
		lacp_run(&w->lacp, w->now_ms);
		break;
	case 2: /* as a daemon does that sleeps until something is due */
		due = lacp_due_ms(&w->lacp, w->now_ms);
		assert(due >= w->now_ms);
		if (due == LACP_NEVER)
			break;
		w->now_ms = due;
		lacp_run(&w->lacp, w->now_ms);
		for (unsigned i = 0; i < MEMBERS; i++)
			speak(w, i);
		assert(lacp_due_ms(&w->lacp, w->now_ms) > w->now_ms);
		break;
	case 3:
		speak(w, member);
		break;
	case 4:
		if (w->lacp.members[member].there)
			lacp_member_remove(&w->lacp, member, w->now_ms);
		else
			member_come(w, member);
		break;
	default:
		hear(w, in, member, how);
	}
	check_group(&w->lacp);
	check_told(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t flags = fuzz_u8(&in);
	struct lacp_config config = {.system = {2, 0, 0, 0, 0, 1}, .system_priority = 0x8000, .key = 1, .passive = flags & 1, .fast = flags & 2};
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.now_ms = 1000;
	lacp_init(&w.lacp, &config);
	for (unsigned i = 0; i < MEMBERS; i++) {
		lacp_member_add(&w.lacp, i, (uint16_t)(i + 1));
		if (flags & 4)
			lacp_link_set(&w.lacp, i, true, w.now_ms);
	}
	for (unsigned i = 0; in.left && i < STEPS_MAX; i++)
		step(&w, &in);
	return 0;
}
