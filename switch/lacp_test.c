/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The machines of IEEE 802.1AX-2014, 6.4, row by row: from each state, by each event, to which state, with what is told then. Then two whole
 * groups that speak with each other, and what lies.
 */

#include "switch/lacp.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define T0 1000000u

static const uint8_t us[6] = {2, 0, 0, 0, 0, 1}, them[6] = {2, 0, 0, 0, 0, 2}, others[6] = {2, 0, 0, 0, 0, 3};

static struct lacp group(bool passive, bool fast, unsigned members)
{
	struct lacp_config config = {.system_priority = 0x8000, .key = 7, .passive = passive, .fast = fast};
	struct lacp lacp;

	memcpy(config.system, us, sizeof(us));
	lacp_init(&lacp, &config);
	for (unsigned i = 0; i < members; i++)
		lacp_member_add(&lacp, i, (uint16_t)(i + 1));
	return lacp;
}

/* What a partner would say who knows all of us. */
static struct lacp_pdu said(const struct lacp *lacp, unsigned member, const uint8_t system[6], uint8_t state)
{
	struct lacp_pdu pdu = {.actor = {.system_priority = 1, .key = 9, .port_priority = 2, .port = (uint16_t)(member + 40), .state = state}};

	memcpy(pdu.actor.system, system, sizeof(pdu.actor.system));
	pdu.partner = lacp->members[member].actor;
	return pdu;
}

static enum lacp_heard hear_pdu(struct lacp *lacp, unsigned member, const struct lacp_pdu *pdu, uint64_t now_ms)
{
	uint8_t frame[LACP_FRAME_BYTES], answer[LACP_FRAME_BYTES];

	lacp_pdu_put(frame, pdu);
	return lacp_hear(lacp, member, frame, sizeof(frame), now_ms, answer);
}

static void hear(struct lacp *lacp, unsigned member, const uint8_t system[6], uint8_t state, uint64_t now_ms)
{
	struct lacp_pdu pdu = said(lacp, member, system, state);

	assert_int_equal(hear_pdu(lacp, member, &pdu, now_ms), LACP_HEARD_PDU);
}

#define ALIVE (LACP_ACTIVITY | LACP_AGGREGATION)
#define IN_SYNC (ALIVE | LACP_SYNCHRONIZATION)
#define COLLECTS (IN_SYNC | LACP_COLLECTING)

/* ---- receive ---- */

enum event { LINK_UP, LINK_DOWN, PDU, PASSES_3S, PASSES_90S };

static void happen(struct lacp *lacp, enum event event, uint64_t *now_ms)
{
	switch (event) {
	case LINK_UP:
	case LINK_DOWN:
		lacp_link_set(lacp, 0, event == LINK_UP, *now_ms);
		break;
	case PDU:
		hear(lacp, 0, them, IN_SYNC, *now_ms);
		break;
	case PASSES_3S:
	case PASSES_90S:
		*now_ms += (event == PASSES_3S ? LACP_SHORT_MS : LACP_LONG_MS) - 1;
		lacp_run(lacp, *now_ms);
		*now_ms += 1;
		lacp_run(lacp, *now_ms);
		break;
	}
}

static void receive_machine(void **state)
{
	/* clang-format off */
	static const struct {
		bool fast;
		unsigned count;
		enum event events[5];
		enum lacp_receive to;
		uint8_t actor, actor_not, partner, partner_not; /* bits that are set then, and that are not */
	} rows[] = {
		{false, 0, {0}, LACP_RECEIVE_DISABLED, LACP_DEFAULTED, LACP_EXPIRED, 0, 0xff},
		{false, 1, {LINK_DOWN}, LACP_RECEIVE_DISABLED, LACP_DEFAULTED, LACP_EXPIRED, 0, 0xff},
		{false, 1, {LINK_UP}, LACP_RECEIVE_EXPIRED, LACP_EXPIRED, 0, LACP_TIMEOUT, LACP_SYNCHRONIZATION},
		{false, 2, {LINK_UP, LINK_DOWN}, LACP_RECEIVE_DISABLED, LACP_DEFAULTED, 0, 0, LACP_SYNCHRONIZATION},
		{false, 2, {LINK_UP, PASSES_3S}, LACP_RECEIVE_DEFAULTED, LACP_DEFAULTED, LACP_EXPIRED, 0, 0xff},
		{false, 3, {LINK_UP, PASSES_3S, PDU}, LACP_RECEIVE_CURRENT, 0, LACP_EXPIRED | LACP_DEFAULTED, IN_SYNC, 0},
		{false, 3, {LINK_UP, PASSES_3S, LINK_DOWN}, LACP_RECEIVE_DISABLED, LACP_DEFAULTED, 0, 0, LACP_SYNCHRONIZATION},
		{false, 2, {LINK_UP, PDU}, LACP_RECEIVE_CURRENT, 0, LACP_EXPIRED | LACP_DEFAULTED, IN_SYNC, 0},
		{false, 3, {LINK_UP, PDU, PDU}, LACP_RECEIVE_CURRENT, 0, LACP_EXPIRED | LACP_DEFAULTED, IN_SYNC, 0},
		{false, 3, {LINK_UP, PDU, LINK_DOWN}, LACP_RECEIVE_DISABLED, 0, LACP_DEFAULTED, ALIVE, LACP_SYNCHRONIZATION},
		{false, 3, {LINK_UP, PDU, PASSES_3S}, LACP_RECEIVE_CURRENT, 0, LACP_EXPIRED, IN_SYNC, 0},
		{false, 3, {LINK_UP, PDU, PASSES_90S}, LACP_RECEIVE_EXPIRED, LACP_EXPIRED, LACP_DEFAULTED, LACP_TIMEOUT, LACP_SYNCHRONIZATION},
		{true, 3, {LINK_UP, PDU, PASSES_3S}, LACP_RECEIVE_EXPIRED, LACP_EXPIRED, LACP_DEFAULTED, LACP_TIMEOUT, LACP_SYNCHRONIZATION},
		{true, 4, {LINK_UP, PDU, PASSES_3S, PDU}, LACP_RECEIVE_CURRENT, 0, LACP_EXPIRED, IN_SYNC, 0},
		{true, 4, {LINK_UP, PDU, PASSES_3S, PASSES_3S}, LACP_RECEIVE_DEFAULTED, LACP_DEFAULTED, LACP_EXPIRED, 0, 0xff},
		{true, 4, {LINK_UP, PDU, LINK_DOWN, PDU}, LACP_RECEIVE_DISABLED, 0, 0, ALIVE, LACP_SYNCHRONIZATION},
		{true, 4, {LINK_UP, PDU, LINK_DOWN, LINK_UP}, LACP_RECEIVE_EXPIRED, LACP_EXPIRED, LACP_DEFAULTED, LACP_TIMEOUT, LACP_SYNCHRONIZATION},
	};
	/* clang-format on */

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct lacp lacp = group(false, rows[i].fast, 1);
		const struct lacp_member *m = &lacp.members[0];
		uint64_t now_ms = T0;

		for (unsigned e = 0; e < rows[i].count; e++)
			happen(&lacp, rows[i].events[e], &now_ms);
		print_message("row %u\n", i);
		assert_int_equal(m->receive, rows[i].to);
		assert_int_equal(m->actor.state & rows[i].actor, rows[i].actor);
		assert_int_equal(m->actor.state & rows[i].actor_not, 0);
		assert_int_equal(m->partner.state & rows[i].partner, rows[i].partner);
		assert_int_equal(m->partner.state & rows[i].partner_not, 0);
	}
}

/* recordPDU: does the partner mean us, and does he go on to speak? */
static void what_a_pdu_says_of_sync(void **state)
{
	static const struct {
		bool passive; /* we are */
		uint8_t his;
		int lie; /* of the fields that he says of us, this one */
		bool synced;
	} rows[] = {
		{false, IN_SYNC, -1, true},
		{false, ALIVE, -1, false},				 /* he is not */
		{false, LACP_AGGREGATION | LACP_SYNCHRONIZATION, -1, true},  /* passive, and he knows that we are active */
		{true, LACP_AGGREGATION | LACP_SYNCHRONIZATION, -1, false},  /* both are */
		{true, IN_SYNC, -1, true},
		{false, IN_SYNC, 0, false}, {false, IN_SYNC, 1, false}, {false, IN_SYNC, 2, false}, {false, IN_SYNC, 3, false},
		{false, IN_SYNC, 4, false}, {false, IN_SYNC, 5, false},
		{false, LACP_ACTIVITY | LACP_SYNCHRONIZATION, 4, true}, /* he does not aggregate: he need not know us */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct lacp lacp = group(rows[i].passive, false, 1);
		struct lacp_pdu pdu = said(&lacp, 0, them, rows[i].his);

		pdu.partner.system_priority ^= rows[i].lie == 0;
		pdu.partner.system[5] ^= rows[i].lie == 1;
		pdu.partner.key ^= rows[i].lie == 2;
		pdu.partner.port_priority ^= rows[i].lie == 3;
		pdu.partner.port ^= rows[i].lie == 4;
		pdu.partner.state ^= rows[i].lie == 5 ? LACP_AGGREGATION : 0;
		lacp_link_set(&lacp, 0, true, T0);
		hear_pdu(&lacp, 0, &pdu, T0);
		print_message("row %u\n", i);
		assert_int_equal(!!(lacp.members[0].partner.state & LACP_SYNCHRONIZATION), rows[i].synced);
	}
}

/* ---- periodic ---- */

static unsigned spoken(struct lacp *lacp, unsigned member, uint64_t from_ms, uint64_t to_ms)
{
	uint8_t frame[LACP_FRAME_BYTES];
	unsigned count = 0;

	for (uint64_t now_ms = from_ms; now_ms < to_ms; now_ms += 10) {
		lacp_run(lacp, now_ms);
		count += lacp_speak(lacp, member, now_ms, frame);
	}
	return count;
}

static void periodic_machine(void **state)
{
	static const struct {
		bool passive;
		uint8_t his; /* 0: nobody is there */
		enum lacp_periodic to;
	} rows[] = {
		{false, 0, LACP_PERIODIC_SLOW},	  /* after 3 s of silence: the partner that is nobody wants it so */
		{true, 0, LACP_PERIODIC_NONE},
		{false, ALIVE, LACP_PERIODIC_SLOW},
		{false, ALIVE | LACP_TIMEOUT, LACP_PERIODIC_FAST},
		{false, LACP_AGGREGATION, LACP_PERIODIC_SLOW},
		{true, ALIVE, LACP_PERIODIC_SLOW},
		{true, ALIVE | LACP_TIMEOUT, LACP_PERIODIC_FAST},
		{true, LACP_AGGREGATION | LACP_TIMEOUT, LACP_PERIODIC_NONE}, /* both are passive */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct lacp lacp = group(rows[i].passive, false, 1);

		print_message("row %u\n", i);
		assert_int_equal(lacp.members[0].periodic, LACP_PERIODIC_NONE);
		lacp_link_set(&lacp, 0, true, T0);
		assert_int_equal(lacp.members[0].periodic, rows[i].passive ? LACP_PERIODIC_NONE : LACP_PERIODIC_FAST);
		lacp_run(&lacp, T0 + LACP_SHORT_MS);
		if (rows[i].his)
			hear(&lacp, 0, them, rows[i].his, T0 + LACP_SHORT_MS);
		lacp_run(&lacp, T0 + LACP_SHORT_MS);
		assert_int_equal(lacp.members[0].periodic, rows[i].to);
		lacp_link_set(&lacp, 0, false, T0 + LACP_SHORT_MS);
		assert_int_equal(lacp.members[0].periodic, LACP_PERIODIC_NONE);
	}
}

static void speaks_as_often_as_the_partner_wants(void **state)
{
	struct lacp lacp = group(false, true, 1);
	uint64_t now_ms = T0;
	unsigned count;

	lacp_link_set(&lacp, 0, true, now_ms);
	hear(&lacp, 0, them, COLLECTS | LACP_DISTRIBUTING, now_ms);
	for (unsigned s = 0; s < 5; s++, now_ms += 1000) { /* until all is said */
		hear(&lacp, 0, them, COLLECTS | LACP_DISTRIBUTING, now_ms);
		spoken(&lacp, 0, now_ms, now_ms + 1000);
	}
	hear(&lacp, 0, them, COLLECTS | LACP_DISTRIBUTING, now_ms);
	count = spoken(&lacp, 0, now_ms, now_ms + 2500);
	assert_in_range(count, 0, 1); /* once in 30 s */
	now_ms += 2500;
	for (unsigned s = 0; s < 10; s++, now_ms += 1000) {
		hear(&lacp, 0, them, COLLECTS | LACP_DISTRIBUTING | LACP_TIMEOUT, now_ms);
		count = spoken(&lacp, 0, now_ms, now_ms + 1000);
		assert_in_range(count, 1, 2); /* the first one at once */
	}
}

/* 6.4.16: however often there is reason to. */
static void speaks_three_times_in_a_second_at_most(void **state)
{
	struct lacp lacp = group(false, true, 1);
	uint8_t frame[LACP_FRAME_BYTES];
	unsigned count = 0;

	lacp_link_set(&lacp, 0, true, T0);
	for (unsigned i = 0; i < 10000; i++) {
		struct lacp_pdu pdu = said(&lacp, 0, them, ALIVE);

		pdu.partner.key ^= 1; /* he has not understood us */
		hear_pdu(&lacp, 0, &pdu, T0 + i);
		count += lacp_speak(&lacp, 0, T0 + i, frame);
	}
	assert_in_range(count, 28, 31);
	assert_true(lacp_due_ms(&lacp, T0 + 9999) <= T0 + 10999);
}

/* ---- mux ---- */

static void mux_machine(void **state)
{
	static const struct {
		enum lacp_mux from, to;
		uint8_t his; /* 0: the link goes down */
		bool waited;
	} rows[] = {
		{LACP_MUX_DETACHED, LACP_MUX_WAITING, ALIVE, false},
		{LACP_MUX_WAITING, LACP_MUX_DETACHED, 0, false},
		{LACP_MUX_WAITING, LACP_MUX_WAITING, IN_SYNC, false},
		{LACP_MUX_WAITING, LACP_MUX_ATTACHED, ALIVE, true},
		{LACP_MUX_WAITING, LACP_MUX_COLLECTING, IN_SYNC, true}, /* by ATTACHED */
		{LACP_MUX_ATTACHED, LACP_MUX_DETACHED, 0, true},
		{LACP_MUX_ATTACHED, LACP_MUX_ATTACHED, ALIVE, true},
		{LACP_MUX_ATTACHED, LACP_MUX_COLLECTING, IN_SYNC, true},
		{LACP_MUX_ATTACHED, LACP_MUX_DISTRIBUTING, COLLECTS, true},
		{LACP_MUX_COLLECTING, LACP_MUX_DETACHED, 0, true},
		{LACP_MUX_COLLECTING, LACP_MUX_ATTACHED, ALIVE, true},
		{LACP_MUX_COLLECTING, LACP_MUX_COLLECTING, IN_SYNC, true},
		{LACP_MUX_COLLECTING, LACP_MUX_DISTRIBUTING, COLLECTS, true},
		{LACP_MUX_DISTRIBUTING, LACP_MUX_DETACHED, 0, true},
		{LACP_MUX_DISTRIBUTING, LACP_MUX_ATTACHED, ALIVE, true},
		{LACP_MUX_DISTRIBUTING, LACP_MUX_COLLECTING, IN_SYNC, true},
		{LACP_MUX_DISTRIBUTING, LACP_MUX_DISTRIBUTING, COLLECTS, true},
	};
	static const uint8_t brings[] = {0, ALIVE, ALIVE, IN_SYNC, COLLECTS}; /* into each state, after 2 s */
	static const uint8_t shows[] = {0, 0, LACP_SYNCHRONIZATION, LACP_SYNCHRONIZATION | LACP_COLLECTING,
					LACP_SYNCHRONIZATION | LACP_COLLECTING | LACP_DISTRIBUTING};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct lacp lacp = group(false, false, 1);
		struct lacp_member *m = &lacp.members[0];
		uint64_t now_ms = T0;

		print_message("row %u\n", i);
		lacp_link_set(&lacp, 0, true, now_ms);
		if (brings[rows[i].from])
			hear(&lacp, 0, them, brings[rows[i].from], now_ms);
		if (rows[i].from > LACP_MUX_WAITING) {
			lacp_run(&lacp, now_ms + LACP_WAIT_MS - 1);
			assert_int_equal(m->mux, LACP_MUX_WAITING);
			lacp_run(&lacp, now_ms + LACP_WAIT_MS);
		}
		assert_int_equal(m->mux, rows[i].from);
		now_ms += rows[i].waited ? LACP_WAIT_MS : 1;
		m->ntt = false;
		if (rows[i].his)
			hear(&lacp, 0, them, rows[i].his, now_ms);
		else
			lacp_link_set(&lacp, 0, false, now_ms);
		assert_int_equal(m->mux, rows[i].to);
		assert_int_equal(m->actor.state & (LACP_SYNCHRONIZATION | LACP_COLLECTING | LACP_DISTRIBUTING), shows[rows[i].to]);
		if (rows[i].his && rows[i].from != rows[i].to && rows[i].to != LACP_MUX_WAITING)
			assert_true(m->ntt);
		assert_int_equal(lacp_collecting(&lacp), rows[i].to >= LACP_MUX_COLLECTING);
		assert_int_equal(lacp_distributing(&lacp), rows[i].to == LACP_MUX_DISTRIBUTING);
	}
}

/* ---- selection ---- */

static void come_up(struct lacp *lacp, unsigned members)
{
	for (unsigned i = 0; i < members; i++)
		lacp_link_set(lacp, i, true, T0);
}

static void members_of_one_partner_are_aggregated(void **state)
{
	struct lacp lacp = group(false, false, 3);

	come_up(&lacp, 3);
	for (unsigned i = 0; i < 3; i++)
		hear(&lacp, i, them, COLLECTS, T0);
	lacp_run(&lacp, T0 + LACP_WAIT_MS);
	assert_int_equal(lacp_distributing(&lacp), 7);
}

static void members_of_another_partner_stand_by(void **state)
{
	struct lacp lacp = group(false, false, 3);

	come_up(&lacp, 3);
	hear(&lacp, 0, them, COLLECTS, T0);
	hear(&lacp, 1, others, COLLECTS, T0);
	hear(&lacp, 2, others, COLLECTS, T0);
	lacp_run(&lacp, T0 + LACP_WAIT_MS);
	assert_int_equal(lacp_distributing(&lacp), 1); /* who was first keeps it */
	assert_int_equal(lacp.members[1].selected, LACP_STANDBY);
	assert_int_equal(lacp.members[1].mux, LACP_MUX_WAITING);
	lacp_link_set(&lacp, 0, false, T0 + LACP_WAIT_MS);
	assert_int_equal(lacp_distributing(&lacp), 6); /* they have waited already */
	lacp_link_set(&lacp, 0, true, T0 + LACP_WAIT_MS);
	hear(&lacp, 0, them, COLLECTS, T0 + LACP_WAIT_MS);
	lacp_run(&lacp, T0 + 2 * LACP_WAIT_MS);
	assert_int_equal(lacp_distributing(&lacp), 6);
	assert_int_equal(lacp.members[0].selected, LACP_STANDBY);
}

static void the_partner_with_most_members_is_chosen(void **state)
{
	struct lacp lacp = group(false, false, 3);

	come_up(&lacp, 3);
	hear(&lacp, 0, us, COLLECTS, T0); /* nobody leads meanwhile */
	lacp.members[0].partner.system[5] = 9;
	lacp.members[1].partner = lacp.members[2].partner = lacp.members[0].partner;
	memcpy(lacp.members[1].partner.system, others, 6);
	memcpy(lacp.members[2].partner.system, others, 6);
	lacp.members[1].actor.state &= (uint8_t)~LACP_DEFAULTED;
	lacp.members[2].actor.state &= (uint8_t)~LACP_DEFAULTED;
	lacp_run(&lacp, T0);
	assert_int_equal(lacp.members[0].selected, LACP_STANDBY);
	assert_int_equal(lacp.members[1].selected, LACP_SELECTED);
	assert_int_equal(lacp.members[2].selected, LACP_SELECTED);
}

/* His system, priority or key, or the port at the other end is another one. */
static void another_partner_at_the_link_means_to_begin_anew(void **state)
{
	for (unsigned field = 0; field < 6; field++) {
		struct lacp lacp = group(false, false, 1);
		struct lacp_pdu pdu;

		come_up(&lacp, 1);
		hear(&lacp, 0, them, COLLECTS, T0);
		lacp_run(&lacp, T0 + LACP_WAIT_MS);
		assert_int_equal(lacp_distributing(&lacp), 1);
		pdu = said(&lacp, 0, them, COLLECTS);
		pdu.actor.system_priority ^= field == 0;
		pdu.actor.system[5] ^= field == 1 ? 4 : 0;
		pdu.actor.key ^= field == 2;
		pdu.actor.port_priority ^= field == 3;
		pdu.actor.port ^= field == 4;
		pdu.actor.state ^= field == 5 ? LACP_AGGREGATION : 0;
		hear_pdu(&lacp, 0, &pdu, T0 + LACP_WAIT_MS);
		print_message("field %u\n", field);
		assert_int_equal(lacp_collecting(&lacp), 0);
		assert_int_equal(lacp.members[0].mux, LACP_MUX_WAITING);
		lacp_run(&lacp, T0 + 2 * LACP_WAIT_MS);
		assert_int_equal(lacp.members[0].mux >= LACP_MUX_ATTACHED, 1);
	}
}

static void who_does_not_aggregate_gets_one_link(void **state)
{
	struct lacp lacp = group(false, false, 2);

	come_up(&lacp, 2);
	hear(&lacp, 0, them, COLLECTS & ~LACP_AGGREGATION, T0);
	hear(&lacp, 1, them, COLLECTS & ~LACP_AGGREGATION, T0);
	lacp_run(&lacp, T0 + LACP_WAIT_MS);
	assert_int_equal(lacp_distributing(&lacp), 1);
	assert_int_equal(lacp.members[1].selected, LACP_STANDBY);
}

static void without_a_partner_nothing_is_carried(void **state)
{
	struct lacp lacp = group(false, true, 2);

	come_up(&lacp, 2);
	for (unsigned s = 0; s < 100; s++)
		lacp_run(&lacp, T0 + s * 1000);
	assert_int_equal(lacp_collecting(&lacp), 0);
	assert_int_equal(lacp.members[0].mux, LACP_MUX_DETACHED);
}

static void ourselves_are_no_partner(void **state)
{
	struct lacp lacp = group(false, true, 2);

	come_up(&lacp, 2);
	hear(&lacp, 0, us, COLLECTS, T0);
	hear(&lacp, 1, us, COLLECTS, T0);
	lacp_run(&lacp, T0 + LACP_WAIT_MS);
	assert_true(lacp_loops(&lacp, 0));
	assert_int_equal(lacp.members[0].selected, LACP_UNSELECTED);
	assert_int_equal(lacp_collecting(&lacp), 0);
	assert_false(lacp.chosen);
}

static void who_comes_and_goes_holds_up_nobody(void **state)
{
	struct lacp lacp = group(false, false, 2);

	come_up(&lacp, 2);
	hear(&lacp, 0, them, COLLECTS, T0);
	for (unsigned i = 0; i < 2000; i += 100) { /* its wait begins again and again */
		lacp_link_set(&lacp, 1, false, T0 + i);
		lacp_link_set(&lacp, 1, true, T0 + i);
		hear(&lacp, 1, them, COLLECTS, T0 + i);
	}
	lacp_run(&lacp, T0 + LACP_WAIT_MS);
	assert_int_equal(lacp_distributing(&lacp), 1);
	assert_int_equal(lacp.members[1].mux, LACP_MUX_WAITING);
}

static void a_member_that_is_removed_leaves_the_others(void **state)
{
	struct lacp lacp = group(false, false, 3);

	come_up(&lacp, 3);
	for (unsigned i = 0; i < 3; i++)
		hear(&lacp, i, them, COLLECTS, T0);
	lacp_run(&lacp, T0 + LACP_WAIT_MS);
	lacp_member_remove(&lacp, 0, T0 + LACP_WAIT_MS); /* who led */
	assert_int_equal(lacp_distributing(&lacp), 6);
	assert_true(lacp.chosen);
	lacp_member_add(&lacp, 0, 1);
	assert_int_equal(lacp_distributing(&lacp), 6);
}

/* ---- two groups ---- */

static void exchange(struct lacp *a, struct lacp *b, unsigned members, uint64_t now_ms)
{
	uint8_t frame[LACP_FRAME_BYTES], answer[LACP_FRAME_BYTES];

	lacp_run(a, now_ms);
	lacp_run(b, now_ms);
	for (unsigned i = 0; i < members; i++) {
		if (lacp_speak(a, i, now_ms, frame))
			assert_int_equal(lacp_hear(b, i, frame, sizeof(frame), now_ms, answer), LACP_HEARD_PDU);
		if (lacp_speak(b, i, now_ms, frame))
			assert_int_equal(lacp_hear(a, i, frame, sizeof(frame), now_ms, answer), LACP_HEARD_PDU);
	}
}

static struct lacp group_of_them(bool passive, bool fast, unsigned members)
{
	struct lacp lacp = group(passive, fast, 0);

	memcpy(lacp.config.system, them, sizeof(them));
	for (unsigned i = 0; i < members; i++)
		lacp_member_add(&lacp, i, (uint16_t)(i + 11));
	return lacp;
}

static void two_groups_agree(void **state)
{
	for (unsigned kind = 0; kind < 16; kind++) {
		struct lacp a = group(kind & 1, kind & 2, 2), b = group_of_them(kind & 4, kind & 8, 2);
		bool both_passive = kind & 1 && kind & 4;

		come_up(&a, 2);
		come_up(&b, 2);
		for (uint64_t now_ms = T0; now_ms < T0 + 6000; now_ms += 10)
			exchange(&a, &b, 2, now_ms);
		print_message("kind %u\n", kind);
		assert_int_equal(lacp_distributing(&a), both_passive ? 0 : 3);
		assert_int_equal(lacp_distributing(&b), both_passive ? 0 : 3);
		for (uint64_t now_ms = T0 + 6000; now_ms < T0 + 300000; now_ms += 10) { /* and stay so */
			exchange(&a, &b, 2, now_ms);
			assert_int_equal(lacp_distributing(&a), both_passive ? 0 : 3);
		}
	}
}

/* Nobody takes in by a link what the other does not mean to send there yet, and nobody sends what is not taken. */
static void a_link_that_is_cut_one_way_is_given_up_in_time(void **state)
{
	struct lacp a = group(false, true, 2), b = group_of_them(false, true, 2);
	uint8_t frame[LACP_FRAME_BYTES], answer[LACP_FRAME_BYTES];
	uint64_t now_ms = T0, gone_ms = 0;

	come_up(&a, 2);
	come_up(&b, 2);
	for (; now_ms < T0 + 8000; now_ms += 10)
		exchange(&a, &b, 2, now_ms);
	assert_int_equal(lacp_distributing(&a), 3);
	for (; now_ms < T0 + 16000; now_ms += 10) { /* what b says at member 0 is lost */
		lacp_run(&a, now_ms);
		lacp_run(&b, now_ms);
		for (unsigned i = 0; i < 2; i++) {
			if (lacp_speak(&a, i, now_ms, frame))
				lacp_hear(&b, i, frame, sizeof(frame), now_ms, answer);
			if (lacp_speak(&b, i, now_ms, frame) && i == 1)
				lacp_hear(&a, i, frame, sizeof(frame), now_ms, answer);
		}
		if (!gone_ms && lacp_distributing(&a) == 2 && lacp_distributing(&b) == 2)
			gone_ms = now_ms;
	}
	assert_in_range(gone_ms, T0 + 8000 + 1900, T0 + 8000 + 3100);
	assert_int_equal(lacp_distributing(&a), 2);
}

/* ---- frames ---- */

static void a_pdu_has_its_fields_where_the_standard_has_them(void **state)
{
	struct lacp lacp = group(false, true, 1);
	uint8_t frame[LACP_FRAME_BYTES];
	static const uint8_t begin[] = {1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 9, 1, 1, 1, 20, 0x80, 0, 2, 0, 0, 0, 0, 1, 0, 7, 0x80, 0, 0, 1};
	static const uint8_t partner[] = {2, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	lacp_link_set(&lacp, 0, true, T0);
	assert_true(lacp_speak(&lacp, 0, T0, frame));
	assert_memory_equal(frame, begin, sizeof(begin));
	assert_int_equal(frame[32], LACP_ACTIVITY | LACP_TIMEOUT | LACP_AGGREGATION | LACP_DEFAULTED | LACP_EXPIRED);
	assert_memory_equal(frame + 36, partner, sizeof(partner));
	assert_int_equal(frame[56], 3);
	assert_int_equal(frame[57], 16);
	assert_int_equal(frame[72], 0);
}

static void pdus_that_lie_change_nothing(void **state)
{
	/* clang-format off */
	static const struct {
		unsigned at;
		uint8_t value;
	} lies[] = {
		{0, 3}, {5, 3}, {6, 3}, {12, 8}, {13, 0}, {14, 0}, {14, 3}, {14, 10}, {15, 0}, {16, 0}, {16, 2}, {17, 0}, {17, 19}, {17, 21}, {17, 255},
		{20, 1}, {36, 1}, {36, 0}, {37, 0}, {37, 255}, {56, 0}, {57, 0}, {57, 15}, {57, 255}, {72, 1}, {73, 1}, {73, 50},
	};
	/* clang-format on */
	struct lacp lacp = group(false, true, 1), before;
	uint8_t good[LACP_FRAME_BYTES], frame[LACP_FRAME_BYTES], answer[LACP_FRAME_BYTES];
	struct lacp_pdu pdu = said(&lacp, 0, them, COLLECTS);

	lacp_link_set(&lacp, 0, true, T0);
	lacp_pdu_put(good, &pdu);
	for (unsigned i = 0; i < ARRAY_SIZE(lies) + LACP_FRAME_BYTES; i++) {
		uint32_t bytes = i < ARRAY_SIZE(lies) ? LACP_FRAME_BYTES : i - ARRAY_SIZE(lies);
		uint8_t *exact;

		memcpy(frame, good, sizeof(frame));
		if (i < ARRAY_SIZE(lies))
			frame[lies[i].at] = lies[i].value;
		exact = malloc(bytes ? bytes : 1); /* whose end the sanitizer knows */
		assert_non_null(exact);
		memcpy(exact, frame, bytes);
		memcpy(&before, &lacp, sizeof(before));
		print_message("lie %u\n", i);
		assert_int_equal(lacp_hear(&lacp, 0, exact, bytes, T0, answer), LACP_HEARD_BAD);
		free(exact);
		before.members[0].counters.bad++;
		assert_memory_equal(&lacp, &before, sizeof(lacp));
	}
	memset(frame, 0, sizeof(frame));
	memcpy(frame, good, sizeof(frame));
	memset(frame + 20, 0, 6); /* nobody's system */
	assert_int_equal(lacp_hear(&lacp, 0, frame, sizeof(frame), T0, answer), LACP_HEARD_BAD);
	assert_int_equal(lacp_hear(&lacp, 0, good, sizeof(good), T0, answer), LACP_HEARD_PDU);
}

/* 6.4.2.3: what version 2 has more lies behind what version 1 has. */
static void a_later_version_is_read_as_the_first(void **state)
{
	struct lacp lacp = group(false, true, 1);
	uint8_t frame[LACP_FRAME_BYTES], answer[LACP_FRAME_BYTES];
	struct lacp_pdu pdu = said(&lacp, 0, them, COLLECTS);

	lacp_link_set(&lacp, 0, true, T0);
	lacp_pdu_put(frame, &pdu);
	frame[15] = 2;
	frame[72] = 4; /* port algorithm */
	frame[73] = 6;
	assert_int_equal(lacp_hear(&lacp, 0, frame, sizeof(frame), T0, answer), LACP_HEARD_PDU);
	assert_int_equal(lacp.members[0].receive, LACP_RECEIVE_CURRENT);
}

static void a_marker_is_answered(void **state)
{
	struct lacp lacp = group(false, true, 1);
	uint8_t marker[LACP_FRAME_BYTES] = {1, 0x80, 0xc2, 0, 0, 2, 2, 9, 9, 9, 9, 9, 0x88, 9, 2, 1, 1, 16, 0, 4, 2, 9, 9, 9, 9, 9, 1, 2, 3, 4};
	uint8_t answer[LACP_FRAME_BYTES] = {0};

	assert_int_equal(lacp_hear(&lacp, 0, marker, sizeof(marker), T0, answer), LACP_HEARD_MARKER);
	assert_memory_equal(answer + 6, us, 6);
	assert_int_equal(answer[16], 2);
	assert_memory_equal(answer + 17, marker + 17, sizeof(marker) - 17);
	assert_memory_equal(answer, marker, 6);
	assert_int_equal(lacp_hear(&lacp, 0, answer, sizeof(answer), T0, marker), LACP_HEARD_RESPONSE);
	answer[17] = 15;
	assert_int_equal(lacp_hear(&lacp, 0, answer, sizeof(answer), T0, marker), LACP_HEARD_BAD);
	assert_int_equal(lacp.members[0].counters.markers, 1);
}

/* ---- from one process to another ---- */

/* Time has gone by as well for who takes over: by a clock of its own. */
static struct lacp handed_over(const struct lacp *from, uint64_t from_ms, uint64_t to_ms)
{
	struct lacp to = group(!(from->members[0].actor.state & LACP_ACTIVITY), from->members[0].actor.state & LACP_TIMEOUT, 3);
	struct lacp_past pasts[3];
	unsigned count = 0;

	for (unsigned i = 0; i < 3; i++) {
		struct lacp_past past;

		if (!from->members[i].up)
			continue;
		lacp_past_tell(from, i, from_ms, &past);
		assert_true(lacp_past_set(&to, i, &past, to_ms));
		pasts[count++] = past;
	}
	assert_true(lacp_pasts_valid(&to.config, pasts, count));
	return to;
}

/* One that has ended has, however long ago. */
static void same_timer(uint64_t a_ms, uint64_t b_ms, uint64_t now_ms)
{
	if (a_ms <= now_ms)
		assert_true(b_ms <= now_ms + T0);
	else
		assert_int_equal(a_ms == LACP_NEVER ? a_ms : a_ms + T0, b_ms);
}

static void same_place(const struct lacp *a, const struct lacp *b, uint64_t now_ms)
{
	for (unsigned i = 0; i < 3; i++) {
		const struct lacp_member *one = &a->members[i], *other = &b->members[i];

		assert_int_equal(one->up, other->up);
		if (!one->up)
			continue;
		assert_int_equal(one->receive, other->receive);
		assert_int_equal(one->periodic, other->periodic);
		assert_int_equal(one->selected, other->selected);
		assert_int_equal(one->mux, other->mux);
		assert_int_equal(one->actor.state, other->actor.state);
		assert_memory_equal(one->actor.system, other->actor.system, 6);
		assert_int_equal(one->actor.port, other->actor.port);
		assert_memory_equal(&one->partner, &other->partner, sizeof(one->partner));
		same_timer(one->current_ms, other->current_ms, now_ms);
		same_timer(one->periodic_ms, other->periodic_ms, now_ms);
		same_timer(one->wait_ms, other->wait_ms, now_ms);
	}
	assert_int_equal(a->chosen, b->chosen);
	if (a->chosen)
		assert_int_equal(a->leader, b->leader);
}

/* At any moment of a group's life; and what comes then changes both alike. */
static void a_group_goes_on_in_another_process(void **state)
{
	static const uint8_t says[] = {ALIVE, IN_SYNC, COLLECTS, COLLECTS, ALIVE, COLLECTS};

	for (unsigned steps = 0; steps < 64; steps++) {
		struct lacp lacp = group(steps & 1, steps & 2, 3), next;
		uint64_t now_ms = T0;

		come_up(&lacp, 2 + steps % 2);
		for (unsigned i = 0; i < steps; i++) {
			unsigned member = i * 5 % 3;

			now_ms += 700;
			if (i % 4 != 3)
				hear(&lacp, member, i % 7 == 6 ? others : them, says[(i + steps) % ARRAY_SIZE(says)], now_ms);
			if (i % 13 == 12)
				lacp_link_set(&lacp, member, !lacp.members[member].up, now_ms);
			lacp_run(&lacp, now_ms);
		}
		next = handed_over(&lacp, now_ms, now_ms + T0);
		same_place(&lacp, &next, now_ms);
		for (unsigned i = 0; i < 3; i++)
			lacp_link_set(&next, i, lacp.members[i].up, now_ms + T0);
		same_place(&lacp, &next, now_ms);
		for (unsigned i = 0; i < 200; i++) {
			now_ms += 500;
			if (i < 20)
				hear(&lacp, i % 3, them, COLLECTS, now_ms);
			if (i < 20)
				hear(&next, i % 3, them, COLLECTS, now_ms + T0);
			lacp_run(&lacp, now_ms);
			lacp_run(&next, now_ms + T0);
			same_place(&lacp, &next, now_ms);
		}
	}
}

static void past_is_tried(const struct lacp_past *past, unsigned *ret_taken)
{
	struct lacp lacp = group(false, true, 2);
	const struct lacp before = lacp;

	if (!lacp_past_set(&lacp, 0, past, T0)) {
		assert_memory_equal(&lacp, &before, sizeof(lacp));
		return;
	}
	++*ret_taken;
	for (unsigned i = 0; i < 4; i++) {
		lacp_run(&lacp, T0 + i * LACP_SLOW_MS);
		assert_true(!(lacp_distributing(&lacp) & ~lacp_collecting(&lacp)));
		assert_true(!lacp_collecting(&lacp) || !(lacp.members[0].actor.state & LACP_DEFAULTED));
		assert_true(lacp_due_ms(&lacp, T0) >= T0);
	}
	lacp_run(&lacp, T0 + 2 * LACP_LONG_MS);
	assert_int_equal(lacp_collecting(&lacp), 0); /* nobody is heard */
}

/* All that may be said of machines and timers: it is refused and changes nothing, or a group that comes to its end. */
static void a_past_that_lies_is_refused(void **state)
{
	static const uint64_t left[] = {0, LACP_WAIT_MS + 1, LACP_SLOW_MS + 1, LACP_LONG_MS + 1, LACP_NEVER};
	const unsigned count = ARRAY_SIZE(left);
	unsigned taken = 0, all = 0;

	for (unsigned n = 0; n < 5 * 4 * 4 * 6 * 2 * 2 * 3; n++) {
		struct lacp_past past = {
			.receive = n % 5,
			.periodic = n / 5 % 4,
			.selected = n / 20 % 4,
			.mux = n / 80 % 6,
			.leads = n / 480 % 2,
			.nobody = n / 960 % 2,
			.partner = {.system_priority = 1, .key = 9, .port = 40, .state = (uint8_t[]){0, COLLECTS, 0xff}[n / 1920]},
		};

		memcpy(past.partner.system, n % 3 ? them : us, 6);
		for (unsigned t = 0; t < count * count * count; t++, all++) {
			past.current_ms = left[t % count];
			past.periodic_ms = left[t / count % count];
			past.wait_ms = left[t / count / count];
			past_is_tried(&past, &taken);
		}
	}
	print_message("%u of %u were taken\n", taken, all);
	assert_true(taken > 100 && taken < all / 10);
}

/* Each by itself could be. */
static void pasts_that_do_not_go_together_are_refused(void **state)
{
	const struct lacp lacp = group(false, false, 2);
	const struct lacp_past leader = {
		.leads = true,
		.receive = LACP_RECEIVE_CURRENT,
		.periodic = LACP_PERIODIC_SLOW,
		.selected = LACP_SELECTED,
		.mux = LACP_MUX_DISTRIBUTING,
		.partner = {.system_priority = 1, .system = {2, 0, 0, 0, 0, 5}, .key = 9, .port = 40, .state = COLLECTS},
		.current_ms = LACP_LONG_MS,
		.periodic_ms = LACP_SLOW_MS,
		.wait_ms = LACP_NEVER,
	};
	struct lacp_past pasts[] = {leader, leader};

	assert_true(lacp_pasts_valid(&lacp.config, pasts, 0) && lacp_pasts_valid(&lacp.config, pasts, 1));
	assert_false(lacp_pasts_valid(&lacp.config, pasts, 2)); /* two lead */
	pasts[1].leads = false;
	assert_true(lacp_pasts_valid(&lacp.config, pasts, 2));
	pasts[0].leads = false;
	assert_false(lacp_pasts_valid(&lacp.config, pasts, 2)); /* nobody does */
	pasts[0].leads = true;
	pasts[1].partner.key++;
	assert_false(lacp_pasts_valid(&lacp.config, pasts, 2)); /* in one aggregator with another partner */
	pasts[1].selected = LACP_STANDBY;
	assert_false(lacp_pasts_valid(&lacp.config, pasts, 2)); /* and it carries */
	pasts[1].mux = LACP_MUX_WAITING;
	pasts[1].wait_ms = 0;
	assert_true(lacp_pasts_valid(&lacp.config, pasts, 2));
	memcpy(pasts[0].partner.system, lacp.config.system, 6);
	assert_false(lacp_pasts_valid(&lacp.config, pasts, 2)); /* ourselves */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receive_machine),
		cmocka_unit_test(what_a_pdu_says_of_sync),
		cmocka_unit_test(periodic_machine),
		cmocka_unit_test(speaks_as_often_as_the_partner_wants),
		cmocka_unit_test(speaks_three_times_in_a_second_at_most),
		cmocka_unit_test(mux_machine),
		cmocka_unit_test(members_of_one_partner_are_aggregated),
		cmocka_unit_test(members_of_another_partner_stand_by),
		cmocka_unit_test(the_partner_with_most_members_is_chosen),
		cmocka_unit_test(another_partner_at_the_link_means_to_begin_anew),
		cmocka_unit_test(who_does_not_aggregate_gets_one_link),
		cmocka_unit_test(without_a_partner_nothing_is_carried),
		cmocka_unit_test(ourselves_are_no_partner),
		cmocka_unit_test(who_comes_and_goes_holds_up_nobody),
		cmocka_unit_test(a_member_that_is_removed_leaves_the_others),
		cmocka_unit_test(two_groups_agree),
		cmocka_unit_test(a_link_that_is_cut_one_way_is_given_up_in_time),
		cmocka_unit_test(a_pdu_has_its_fields_where_the_standard_has_them),
		cmocka_unit_test(pdus_that_lie_change_nothing),
		cmocka_unit_test(a_later_version_is_read_as_the_first),
		cmocka_unit_test(a_marker_is_answered),
		cmocka_unit_test(a_group_goes_on_in_another_process),
		cmocka_unit_test(a_past_that_lies_is_refused),
		cmocka_unit_test(pasts_that_do_not_go_together_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
