/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Each member of the group has the four machines of IEEE 802.1AX-2014, 6.4, with independent control of collecting and distributing:
 *
 *   receive:   DISABLED -link-> EXPIRED -nothing heard-> DEFAULTED;  a LACPDU -> CURRENT -nothing heard-> EXPIRED
 *   periodic:  NONE (no link, or both ends are passive), FAST or SLOW, as the partner asks for
 *   selection: UNSELECTED (nobody is known there, or it is ourselves), SELECTED (in the aggregator), STANDBY (another partner's)
 *   mux:       DETACHED -> WAITING (2 s) -> ATTACHED -partner in sync-> COLLECTING -partner collects-> DISTRIBUTING, and back
 *
 * A change in one is looked at by all: settle() runs mux, selection and periodic until nothing changes.
 *
 * Where this differs from the letter. There is one aggregator: the first partner that can be aggregated with gets it, and keeps it while one
 * member hears of him; then the partner with most members does. Members of other partners wait in STANDBY. A member waits for its own
 * timer alone, not for those of others (Ready), so that nobody who comes and goes at one link holds up another. A partner that nothing is known of
 * is not aggregated with: without LACP at the other end nothing is carried. A link that goes down leaves the aggregator at once.
 */

#include "switch/lacp.h"
#include <string.h>

#define SYNCED (LACP_SYNCHRONIZATION | LACP_COLLECTING | LACP_DISTRIBUTING)

/* ---- comparing ends ---- */

static bool system_same(const struct lacp_end *a, const struct lacp_end *b)
{
	return a->system_priority == b->system_priority && !memcmp(a->system, b->system, sizeof(a->system)) && a->key == b->key;
}

/* Would links to the two be in one aggregator? */
static bool aggregable(const struct lacp_end *a, const struct lacp_end *b)
{
	return a->state & b->state & LACP_AGGREGATION && system_same(a, b);
}

/* But for `state`, of which these bits matter. */
static bool end_same(const struct lacp_end *a, const struct lacp_end *b, uint8_t bits)
{
	return system_same(a, b) && a->port_priority == b->port_priority && a->port == b->port && !((a->state ^ b->state) & bits);
}

bool lacp_loops(const struct lacp *lacp, unsigned member)
{
	return !memcmp(lacp->members[member].partner.system, lacp->config.system, sizeof(lacp->config.system));
}

/* ---- receive: 6.4.12 ---- */

static uint64_t timeout_ms(const struct lacp_member *m)
{
	return m->actor.state & LACP_TIMEOUT ? LACP_SHORT_MS : LACP_LONG_MS;
}

/* recordDefault: the partner that is administered is nobody. */
static void record_default(struct lacp_member *m)
{
	memset(&m->partner, 0, sizeof(m->partner));
	m->actor.state |= LACP_DEFAULTED;
}

static void receive_expired(struct lacp_member *m, uint64_t now_ms)
{
	m->receive = LACP_RECEIVE_EXPIRED;
	m->partner.state &= (uint8_t)~LACP_SYNCHRONIZATION;
	m->partner.state |= LACP_TIMEOUT;
	m->actor.state |= LACP_EXPIRED;
	m->current_ms = now_ms + LACP_SHORT_MS;
}

static void receive_defaulted(struct lacp_member *m)
{
	m->receive = LACP_RECEIVE_DEFAULTED;
	m->selected = LACP_UNSELECTED;
	record_default(m);
	m->actor.state &= (uint8_t)~LACP_EXPIRED;
	m->current_ms = LACP_NEVER;
}

static void receive_disabled(struct lacp_member *m)
{
	m->receive = LACP_RECEIVE_DISABLED;
	m->selected = LACP_UNSELECTED;
	m->partner.state &= (uint8_t)~LACP_SYNCHRONIZATION;
	m->current_ms = LACP_NEVER;
	m->ntt = false;
}

static void receive_timer(struct lacp_member *m, uint64_t now_ms)
{
	if (m->current_ms > now_ms)
		return;
	if (m->receive == LACP_RECEIVE_CURRENT)
		receive_expired(m, now_ms);
	else
		receive_defaulted(m);
}

/* Does the partner mean this link, and is it one that he goes on to speak at? See recordPDU. */
static bool partner_synced(const struct lacp_member *m, const struct lacp_pdu *pdu)
{
	uint8_t his = pdu->actor.state;
	bool kept = his & LACP_ACTIVITY || (m->actor.state & LACP_ACTIVITY && pdu->partner.state & LACP_ACTIVITY);
	bool means_us = end_same(&pdu->partner, &m->actor, LACP_AGGREGATION);

	return kept && his & LACP_SYNCHRONIZATION && (means_us || !(his & LACP_AGGREGATION));
}

static void record_pdu(struct lacp_member *m, const struct lacp_pdu *pdu)
{
	bool synced = partner_synced(m, pdu);

	m->partner = pdu->actor;
	m->partner.state &= (uint8_t)~LACP_SYNCHRONIZATION;
	m->partner.state |= synced ? LACP_SYNCHRONIZATION : 0;
	m->actor.state &= (uint8_t)~LACP_DEFAULTED;
}

static void receive_current(struct lacp_member *m, const struct lacp_pdu *pdu, uint64_t now_ms)
{
	const uint8_t told = LACP_ACTIVITY | LACP_TIMEOUT | LACP_SYNCHRONIZATION | LACP_AGGREGATION;

	if (!end_same(&pdu->actor, &m->partner, LACP_AGGREGATION)) /* update_Selected */
		m->selected = LACP_UNSELECTED;
	if (!end_same(&pdu->partner, &m->actor, told)) /* update_NTT */
		m->ntt = true;
	record_pdu(m, pdu);
	m->receive = LACP_RECEIVE_CURRENT;
	m->actor.state &= (uint8_t)~LACP_EXPIRED;
	m->current_ms = now_ms + timeout_ms(m);
}

/* ---- periodic: 6.4.13 ---- */

static enum lacp_periodic periodic_wanted(const struct lacp_member *m)
{
	if (!m->up || !((m->actor.state | m->partner.state) & LACP_ACTIVITY))
		return LACP_PERIODIC_NONE;
	return m->partner.state & LACP_TIMEOUT ? LACP_PERIODIC_FAST : LACP_PERIODIC_SLOW;
}

static void periodic_start(struct lacp_member *m, enum lacp_periodic state, uint64_t now_ms)
{
	m->periodic = state;
	m->periodic_ms = state == LACP_PERIODIC_NONE ? LACP_NEVER : now_ms + (state == LACP_PERIODIC_FAST ? LACP_FAST_MS : LACP_SLOW_MS);
}

/* Who is to be told more often than before is told at once. */
static void periodic_look(struct lacp_member *m, uint64_t now_ms)
{
	enum lacp_periodic wanted = periodic_wanted(m);

	if (m->periodic != LACP_PERIODIC_NONE && wanted != LACP_PERIODIC_NONE)
		m->ntt |= m->periodic_ms <= now_ms || (m->periodic == LACP_PERIODIC_SLOW && wanted == LACP_PERIODIC_FAST);
	if (m->periodic != wanted || m->periodic_ms <= now_ms)
		periodic_start(m, wanted, now_ms);
}

/* ---- selection: 6.4.14 ---- */

static bool eligible(const struct lacp *lacp, unsigned member)
{
	const struct lacp_member *m = &lacp->members[member];

	return m->there && m->up && !(m->actor.state & LACP_DEFAULTED) && !lacp_loops(lacp, member);
}

static bool same_group(const struct lacp *lacp, unsigned one, unsigned other)
{
	const struct lacp_end *a = &lacp->members[one].partner, *b = &lacp->members[other].partner;

	return one == other || aggregable(a, b);
}

static unsigned group_size(const struct lacp *lacp, unsigned member)
{
	unsigned size = 0;

	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
		size += eligible(lacp, i) && same_group(lacp, member, i);
	return size;
}

/* The aggregator stays who it is as long as one of its members is there: if it is not the leader, another one leads. */
static void leader_find(struct lacp *lacp)
{
	unsigned best = 0;

	if (lacp->chosen && eligible(lacp, lacp->leader) && lacp->members[lacp->leader].selected == LACP_SELECTED)
		return;
	for (unsigned i = 0; lacp->chosen && i < LACP_MEMBERS_MAX; i++) {
		if (eligible(lacp, i) && lacp->members[i].selected == LACP_SELECTED) {
			lacp->leader = i;
			return;
		}
	}
	lacp->chosen = false;
	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++) {
		unsigned size = eligible(lacp, i) ? group_size(lacp, i) : 0;

		if (size <= best)
			continue;
		best = size;
		lacp->leader = i;
		lacp->chosen = true;
	}
}

/* Who has lost his partner leaves the aggregator before he comes to another. */
static void select_one(const struct lacp *lacp, unsigned member, struct lacp_member *m)
{
	bool left = m->selected == LACP_UNSELECTED && m->mux != LACP_MUX_DETACHED;

	if (!eligible(lacp, member))
		m->selected = LACP_UNSELECTED;
	else if (!left)
		m->selected = lacp->chosen && same_group(lacp, member, lacp->leader) ? LACP_SELECTED : LACP_STANDBY;
}

/* ---- mux: 6.4.15 ---- */

static enum lacp_mux mux_next(const struct lacp_member *m, uint64_t now_ms)
{
	bool in = m->selected == LACP_SELECTED, synced = m->partner.state & LACP_SYNCHRONIZATION;
	bool collects = m->partner.state & LACP_COLLECTING;

	switch (m->mux) {
	case LACP_MUX_DETACHED:
		return m->selected != LACP_UNSELECTED ? LACP_MUX_WAITING : LACP_MUX_DETACHED;
	case LACP_MUX_WAITING:
		if (m->selected == LACP_UNSELECTED)
			return LACP_MUX_DETACHED;
		return in && m->wait_ms <= now_ms ? LACP_MUX_ATTACHED : LACP_MUX_WAITING;
	case LACP_MUX_ATTACHED:
		return !in ? LACP_MUX_DETACHED : synced ? LACP_MUX_COLLECTING : LACP_MUX_ATTACHED;
	case LACP_MUX_COLLECTING:
		return !in || !synced ? LACP_MUX_ATTACHED : collects ? LACP_MUX_DISTRIBUTING : LACP_MUX_COLLECTING;
	case LACP_MUX_DISTRIBUTING:
		return !in || !synced || !collects ? LACP_MUX_COLLECTING : LACP_MUX_DISTRIBUTING;
	}
	return m->mux;
}

static void mux_enter(struct lacp_member *m, enum lacp_mux state, uint64_t now_ms)
{
	static const uint8_t shows[] = {
		[LACP_MUX_DETACHED] = 0,
		[LACP_MUX_WAITING] = 0,
		[LACP_MUX_ATTACHED] = LACP_SYNCHRONIZATION,
		[LACP_MUX_COLLECTING] = LACP_SYNCHRONIZATION | LACP_COLLECTING,
		[LACP_MUX_DISTRIBUTING] = SYNCED,
	};

	m->mux = state;
	m->actor.state = (uint8_t)((m->actor.state & ~SYNCED) | shows[state]);
	m->wait_ms = state == LACP_MUX_WAITING ? now_ms + LACP_WAIT_MS : LACP_NEVER;
	if (state != LACP_MUX_WAITING && m->up)
		m->ntt = true;
}

/* True: it has moved. Ends: each state is left for another only by what does not change meanwhile. */
static bool mux_look(struct lacp_member *m, uint64_t now_ms)
{
	enum lacp_mux next = mux_next(m, now_ms);
	bool moved = false;

	for (; next != m->mux; next = mux_next(m, now_ms)) {
		mux_enter(m, next, now_ms);
		moved = true;
	}
	return moved;
}

/* ---- all of them ---- */

static void settle(struct lacp *lacp, uint64_t now_ms)
{
	bool moved;

	do {
		moved = false;
		for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
			moved |= lacp->members[i].there && mux_look(&lacp->members[i], now_ms);
		leader_find(lacp);
		for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
			if (lacp->members[i].there)
				select_one(lacp, i, &lacp->members[i]);
		for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
			moved |= lacp->members[i].there && mux_look(&lacp->members[i], now_ms);
	} while (moved);
	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
		if (lacp->members[i].there)
			periodic_look(&lacp->members[i], now_ms);
}

void lacp_init(struct lacp *lacp, const struct lacp_config *config)
{
	memset(lacp, 0, sizeof(*lacp));
	lacp->config = *config;
}

void lacp_member_add(struct lacp *lacp, unsigned member, uint16_t port)
{
	const struct lacp_config *config = &lacp->config;
	struct lacp_member *m = &lacp->members[member];

	*m = (struct lacp_member){
		.there = true,
		.actor = {.system_priority = config->system_priority, .key = config->key, .port_priority = 0x8000, .port = port},
		.current_ms = LACP_NEVER,
		.periodic_ms = LACP_NEVER,
		.wait_ms = LACP_NEVER,
	};
	memcpy(m->actor.system, config->system, sizeof(m->actor.system));
	m->actor.state = LACP_AGGREGATION;
	m->actor.state |= config->passive ? 0 : LACP_ACTIVITY;
	m->actor.state |= config->fast ? LACP_TIMEOUT : 0;
	record_default(m);
}

void lacp_member_remove(struct lacp *lacp, unsigned member, uint64_t now_ms)
{
	lacp->members[member].there = false;
	lacp->members[member].selected = LACP_UNSELECTED;
	settle(lacp, now_ms);
}

void lacp_link_set(struct lacp *lacp, unsigned member, bool up, uint64_t now_ms)
{
	struct lacp_member *m = &lacp->members[member];

	if (!m->there || m->up == up)
		return;
	m->up = m->ntt = up; /* not only in a second: the link may have been in use */
	if (up)
		receive_expired(m, now_ms);
	else
		receive_disabled(m);
	settle(lacp, now_ms);
}

/* ---- from one process to another ---- */

static uint64_t left_ms(uint64_t at_ms, uint64_t now_ms)
{
	return at_ms == LACP_NEVER ? LACP_NEVER : at_ms > now_ms ? at_ms - now_ms : 0;
}

void lacp_past_tell(const struct lacp *lacp, unsigned member, uint64_t now_ms, struct lacp_past *ret_past)
{
	const struct lacp_member *m = &lacp->members[member];

	*ret_past = (struct lacp_past){
		.leads = lacp->chosen && lacp->leader == member,
		.nobody = m->actor.state & LACP_DEFAULTED,
		.receive = m->receive,
		.periodic = m->periodic,
		.selected = m->selected,
		.mux = m->mux,
		.partner = m->partner,
		.current_ms = left_ms(m->current_ms, now_ms),
		.periodic_ms = left_ms(m->periodic_ms, now_ms),
		.wait_ms = left_ms(m->wait_ms, now_ms),
	};
}

static bool left_valid(uint64_t left, uint64_t most, bool runs)
{
	return runs ? left <= most : left == LACP_NEVER;
}

static bool machines_valid(const struct lacp_past *past)
{
	return past->receive > LACP_RECEIVE_DISABLED && past->receive <= LACP_RECEIVE_CURRENT && past->periodic <= LACP_PERIODIC_SLOW &&
	       past->selected <= LACP_SELECTED && past->mux <= LACP_MUX_DISTRIBUTING;
}

/* Of machines that can be. Each runs where its machine waits for it, and ends no later than it has been started for. */
static bool timers_valid(const struct lacp_config *config, const struct lacp_past *past)
{
	bool waits = past->receive != LACP_RECEIVE_DEFAULTED;
	uint64_t current = past->receive == LACP_RECEIVE_CURRENT && !config->fast ? LACP_LONG_MS : LACP_SHORT_MS;
	uint64_t periodic = past->periodic == LACP_PERIODIC_FAST ? LACP_FAST_MS : LACP_SLOW_MS;

	return left_valid(past->current_ms, current, waits) && left_valid(past->wait_ms, LACP_WAIT_MS, past->mux == LACP_MUX_WAITING) &&
	       left_valid(past->periodic_ms, periodic, past->periodic != LACP_PERIODIC_NONE);
}

/* As settle() leaves it: who has no partner is in no aggregator, and the mux machine has gone as far as it does. */
static bool settled(const struct lacp_past *past)
{
	bool in = past->selected == LACP_SELECTED;

	if ((past->selected == LACP_UNSELECTED) != (past->mux == LACP_MUX_DETACHED) || (!in && (past->leads || past->mux >= LACP_MUX_ATTACHED)))
		return false;
	if (past->nobody)
		return past->receive != LACP_RECEIVE_CURRENT && past->selected == LACP_UNSELECTED;
	if (past->receive == LACP_RECEIVE_DEFAULTED || (past->receive == LACP_RECEIVE_EXPIRED && past->partner.state & LACP_SYNCHRONIZATION))
		return false;
	return (past->mux < LACP_MUX_COLLECTING || past->partner.state & LACP_SYNCHRONIZATION) &&
	       (past->mux < LACP_MUX_DISTRIBUTING || past->partner.state & LACP_COLLECTING);
}

/* What no order of events comes to. */
static bool past_valid(const struct lacp_config *config, const struct lacp_past *past)
{
	if (!machines_valid(past) || !timers_valid(config, past) || !settled(past))
		return false;
	return past->selected == LACP_UNSELECTED || memcmp(past->partner.system, config->system, sizeof(config->system)) != 0; /* ourselves are no partner */
}

bool lacp_pasts_valid(const struct lacp_config *config, const struct lacp_past *pasts, unsigned count)
{
	const struct lacp_past *leader = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (!past_valid(config, &pasts[i]) || (leader && pasts[i].leads))
			return false;
		leader = pasts[i].leads ? &pasts[i] : leader;
	}
	for (unsigned i = 0; i < count; i++)
		if (pasts[i].selected == LACP_SELECTED && (!leader || (&pasts[i] != leader && !aggregable(&pasts[i].partner, &leader->partner))))
			return false;
	return true;
}

static uint64_t ends_ms(uint64_t left, uint64_t now_ms)
{
	return left == LACP_NEVER ? LACP_NEVER : now_ms + left;
}

bool lacp_past_set(struct lacp *lacp, unsigned member, const struct lacp_past *past, uint64_t now_ms)
{
	struct lacp_member *m = &lacp->members[member];

	if (!m->there || !past_valid(&lacp->config, past))
		return false;
	lacp_member_add(lacp, member, m->actor.port);
	mux_enter(m, past->mux, now_ms);
	m->up = true;
	m->ntt = false;
	m->receive = past->receive;
	m->periodic = past->periodic;
	m->selected = past->selected;
	m->current_ms = ends_ms(past->current_ms, now_ms);
	m->periodic_ms = ends_ms(past->periodic_ms, now_ms);
	m->wait_ms = ends_ms(past->wait_ms, now_ms);
	m->actor.state |= past->receive == LACP_RECEIVE_EXPIRED ? LACP_EXPIRED : 0;
	m->partner.state = past->receive == LACP_RECEIVE_EXPIRED ? LACP_TIMEOUT : 0;
	if (!past->nobody) {
		m->partner = past->partner;
		m->actor.state &= (uint8_t)~LACP_DEFAULTED;
	}
	if (past->leads) {
		lacp->leader = member;
		lacp->chosen = true;
	}
	return true;
}

enum lacp_heard lacp_hear(struct lacp *lacp, unsigned member, const uint8_t *frame, uint32_t bytes, uint64_t now_ms,
			  uint8_t answer[LACP_FRAME_BYTES])
{
	struct lacp_member *m = &lacp->members[member];
	struct lacp_pdu pdu;
	enum lacp_heard heard = lacp_pdu_parse(frame, bytes, &pdu);

	m->counters.bad += heard == LACP_HEARD_BAD;
	m->counters.markers += heard == LACP_HEARD_MARKER;
	m->counters.heard += heard == LACP_HEARD_PDU;
	if (heard == LACP_HEARD_MARKER)
		lacp_marker_answer(answer, frame, lacp->config.system);
	if (heard == LACP_HEARD_PDU && m->there && m->up) {
		receive_current(m, &pdu, now_ms);
		settle(lacp, now_ms);
	}
	return heard;
}

void lacp_run(struct lacp *lacp, uint64_t now_ms)
{
	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
		if (lacp->members[i].there)
			receive_timer(&lacp->members[i], now_ms);
	settle(lacp, now_ms);
}

/* ---- transmit: 6.4.16 ---- */

/* From then on it may speak. */
static uint64_t may_speak_ms(const struct lacp_member *m)
{
	return m->sent < LACP_SENT_MAX ? 0 : m->sent_ms[m->sent % LACP_SENT_MAX] + LACP_FAST_MS;
}

bool lacp_speak(struct lacp *lacp, unsigned member, uint64_t now_ms, uint8_t frame[LACP_FRAME_BYTES])
{
	struct lacp_member *m = &lacp->members[member];
	const struct lacp_pdu pdu = {.actor = m->actor, .partner = m->partner};

	if (!m->there || !m->ntt)
		return false;
	if (m->periodic == LACP_PERIODIC_NONE) {
		m->ntt = false;
		return false;
	}
	if (now_ms < may_speak_ms(m))
		return false;
	m->ntt = false;
	m->sent_ms[m->sent++ % LACP_SENT_MAX] = now_ms;
	m->counters.sent++;
	lacp_pdu_put(frame, &pdu);
	return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t lacp_due_ms(const struct lacp *lacp, uint64_t now_ms)
{
	uint64_t due = LACP_NEVER;

	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++) {
		const struct lacp_member *m = &lacp->members[i];

		if (!m->there)
			continue;
		due = sooner(due, sooner(m->current_ms, m->periodic_ms));
		if (m->mux == LACP_MUX_WAITING && m->selected == LACP_SELECTED)
			due = sooner(due, m->wait_ms);
		if (m->ntt)
			due = sooner(due, may_speak_ms(m));
	}
	return due < now_ms ? now_ms : due;
}

/* ---- what is to be carried ---- */

static uint32_t members_in(const struct lacp *lacp, uint8_t state)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < LACP_MEMBERS_MAX; i++)
		bits |= (uint32_t)(lacp->members[i].there && lacp->members[i].up && lacp->members[i].actor.state & state) << i;
	return bits;
}

uint32_t lacp_collecting(const struct lacp *lacp)
{
	return members_in(lacp, LACP_COLLECTING);
}

uint32_t lacp_distributing(const struct lacp *lacp)
{
	return members_in(lacp, LACP_DISTRIBUTING);
}
