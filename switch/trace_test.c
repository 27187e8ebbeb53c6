/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What is told of a frame, verdict by verdict: a row for each way that one may go, and each verdict is in some row. Each has a switch of its own, whose
 * port 0 is traced.
 */

#include "switch/trace.h"
#include "base/util.h"
#include "switch/core.h"
#include "switch/fake_switch.h"
#include "switch/gro_frames.h"
#include "switch/membership_frames.h"
#include "switch/mirror.h"
#include "switch/trace_internal.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#define ANY_NUMBER UINT32_MAX
#define BOND	   ((int)PORTS) /* the port "b", which no fake port is */

static const uint8_t stranger[6] = {2, 9, 9, 9, 9, 9}, reserved[6] = {0x01, 0x80, 0xc2, 0, 0, 3}, nobody[6] = {0}, some[6] = {0x03, 0, 0, 0, 0, 1};
static struct sw_port *bond;
static bool seen[SW_TRACE_WHATS];

/* ---- reading ---- */

struct got {
	unsigned count;
	struct sw_trace_frame frame[128];
};

static void take(void *opaque, const struct sw_trace_frame *frame)
{
	struct got *got = opaque;

	assert_true(got->count < ARRAY_SIZE(got->frame));
	got->frame[got->count++] = *frame;
}

/* So many more frames, which come a moment after their sender has been given them back. */
static void read_frames(struct fixture *x, struct sw_trace *trace, struct got *got, unsigned count)
{
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && got->count < count; i++) {
		sw_trace_read(trace, ARRAY_SIZE(got->frame) - got->count, take, got);
		step(x);
	}
	assert_int_equal(got->count, count);
}

static struct sw_trace *trace_add(struct fixture *x, struct sw_port *port, uint64_t frames)
{
	struct sw_trace *trace = NULL;

	assert_int_equal(sw_trace_add(port, false, frames, &trace), 0);
	loop_timer_stop(trace->timer); /* the machine may be slow */
	pass_grace(x);
	return trace;
}

/* ---- frames ---- */

static void send_to(struct fixture *x, unsigned from, const uint8_t *to)
{
	uint8_t mac[6];

	mac_of(mac, from, 0);
	send_raw(x, from, to, mac, 0);
	settle(x);
}

static void send_port(struct fixture *x, unsigned from, unsigned to)
{
	uint8_t mac[6];

	mac_of(mac, to, 0);
	send_to(x, from, mac);
}

static void introduce(struct fixture *x, unsigned p)
{
	send_to(x, p, broadcast);
	pass_grace(x);
}

/* UDP of IPv4, long enough to be cut. */
static void send_offloaded(struct fixture *x, const uint8_t *to, const struct vireo_frame_offload *offload)
{
	uint8_t frame[14 + 20 + 8 + 300] = {[12] = 0x08, [14] = 0x45, [17] = 20 + 8 + 44, [22] = 64, [23] = 17};

	frame[16] = (20 + 8 + 300) >> 8;
	frame[17] = (20 + 8 + 300) & 0xff;
	frame[38] = (8 + 300) >> 8;
	frame[39] = (8 + 300) & 0xff;
	memcpy(frame, to, 6);
	mac_of(frame + 6, 0, 0);
	fake_port_send(x->fake[0], 0, frame, sizeof(frame), offload);
	settle(x);
}

static void send_tagged(struct fixture *x, unsigned from, uint16_t tci)
{
	uint8_t frame[64] = {[12] = 0x81, [13] = 0, [14] = (uint8_t)(tci >> 8), [15] = (uint8_t)tci, [16] = 0x88, [17] = 0xb5};

	memcpy(frame, broadcast, 6);
	mac_of(frame + 6, from, 0);
	fake_port_send(x->fake[from], 0, frame, sizeof(frame), NULL);
	settle(x);
}

static void send_member_frame(struct fixture *x, unsigned from, const struct mframe *f)
{
	uint8_t data[sizeof(f->bytes)];

	memcpy(data, f->bytes, f->count);
	mac_of(data + 6, from, 0);
	fake_port_send(x->fake[from], 0, data, f->count, NULL);
	settle(x);
}

static void to_broadcast(struct fixture *x)
{
	send_to(x, 0, broadcast);
}

static void to_one(struct fixture *x)
{
	send_port(x, 0, 1);
}

static void to_itself(struct fixture *x)
{
	send_port(x, 0, 0);
}

static void to_stranger(struct fixture *x)
{
	send_to(x, 0, stranger);
}

static void to_some(struct fixture *x)
{
	send_to(x, 0, some);
}

static void to_reserved(struct fixture *x)
{
	send_to(x, 0, reserved);
}

static void from_nobody(struct fixture *x)
{
	send_raw(x, 0, stranger, nobody, 0);
	settle(x);
}

static void as_one(struct fixture *x)
{
	uint8_t mac[6];

	mac_of(mac, 1, 0);
	send_raw(x, 0, broadcast, mac, 0);
	settle(x);
}

static void as_two(struct fixture *x)
{
	uint8_t mac[6];

	mac_of(mac, 2, 0);
	send_raw(x, 0, broadcast, mac, 0);
	settle(x);
}

static void tag_of_five(struct fixture *x)
{
	send_tagged(x, 0, 5 | 3 << 13);
}

static void tag_of_six(struct fixture *x)
{
	send_tagged(x, 0, 6);
}

static const uint8_t one[6] = {2, 0, 0, 1, 0, 0}; /* mac_of() port 1 */

static void wants_sum(struct fixture *x)
{
	send_offloaded(x, one, &(struct vireo_frame_offload){.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6});
}

static void wants_cut(struct fixture *x)
{
	send_offloaded(x, one, &(struct vireo_frame_offload){.gso = VIREO_GSO_UDP4, .segment_bytes = 100, .flags = VIREO_FRAME_NEEDS_CSUM,
							   .header_bytes = 42, .csum_start = 34, .csum_offset = 6});
}

static void arp_of_another(struct fixture *x)
{
	uint8_t frame[60] = {[12] = 0x08, [13] = 0x06, [14] = 0, [15] = 1, [16] = 0x08, [18] = 6, [19] = 4, [21] = 1};

	memcpy(frame, broadcast, 6);
	mac_of(frame + 6, 0, 0);
	mac_of(frame + 22, 1, 0);
	fake_port_send(x->fake[0], 0, frame, sizeof(frame), NULL);
	settle(x);
}

static void to_group(struct fixture *x)
{
	struct mframe f;

	udp4(&f, 7);
	send_member_frame(x, 0, &f);
}

/* ---- what is there before ---- */

static void as_it_is(struct fixture *x)
{
}

static void all_known(struct fixture *x)
{
	for (unsigned p = 0; p < 3; p++)
		introduce(x, p);
}

static void remade(struct fixture *x, struct sw_port_config config)
{
	remove_port(x, 0);
	add_port_with(x, 0, 1, &config);
}

static void with_five(struct fixture *x)
{
	static const uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 5};

	remade(x, (struct sw_port_config){.vlan_aware = true, .tagged = tagged, .vlan = 1});
	add_port_in(x, 3, 1, 5);
}

static void for_five(struct fixture *x)
{
	static const uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 5};
	struct sw_port_config config = {.vlan_aware = true, .tagged = tagged};

	remade(x, (struct sw_port_config){.vlan = 5});
	add_port_with(x, 3, 1, &config);
}

static void alone(struct fixture *x)
{
	remade(x, (struct sw_port_config){.vlan = 9});
}

static void locked(struct fixture *x)
{
	remade(x, (struct sw_port_config){.lock_address = true});
}

static void locked_by_now(struct fixture *x)
{
	locked(x);
	introduce(x, 0);
}

static void given(struct fixture *x, unsigned port)
{
	uint8_t mac[1][6];

	mac_of(mac[0], port, 0);
	remove_port(x, port);
	add_port_with(x, port, 1, &(struct sw_port_config){.addresses = (const uint8_t(*)[6])mac, .address_count = 1});
}

static void own_given(struct fixture *x)
{
	given(x, 0);
}

static void others_given(struct fixture *x)
{
	given(x, 1);
}

static void guarded(struct fixture *x)
{
	remade(x, (struct sw_port_config){.guard = {.neighbours = true}});
}

/* Limits: the first frame passes, and what it is too much of is owed for a minute. */
static void limited_in(struct fixture *x)
{
	sw_port_limits_set(x->port[0], &(struct sw_limits){.bytes_in = {.per_second = 1, .burst = 1}});
}

static void used_up_in(struct fixture *x)
{
	limited_in(x);
	send_to(x, 0, broadcast);
}

static void limited_out(struct fixture *x)
{
	introduce(x, 1);
	sw_port_limits_set(x->port[1], &(struct sw_limits){.bytes_out = {.per_second = 1, .burst = 1}});
}

static void used_up_out(struct fixture *x)
{
	limited_out(x);
	send_port(x, 0, 1);
}

static void limited_storm(struct fixture *x)
{
	sw_port_limits_set(x->port[0], &(struct sw_limits){.broadcast = {.per_second = 1, .burst = 1}});
}

static void used_up_storm(struct fixture *x)
{
	limited_storm(x);
	send_offloaded(x, broadcast, &(struct vireo_frame_offload){.gso = VIREO_GSO_UDP4, .segment_bytes = 4, .flags = VIREO_FRAME_NEEDS_CSUM,
								   .header_bytes = 42, .csum_start = 34, .csum_offset = 6});
}

static void classes(struct fixture *x)
{
	introduce(x, 1);
	sw_port_limits_set(x->port[1], &(struct sw_limits){.frames_out = {.per_second = 1000}, .priority = SW_PRIORITY_PCP});
}

static void isolated(struct fixture *x)
{
	remade(x, (struct sw_port_config){.isolated = true});
	remove_port(x, 1);
	add_port_with(x, 1, 1, &(struct sw_port_config){.isolated = true});
	introduce(x, 1);
}

/* The others are behind an uplink, and that is port 3. */
static void relayed(struct fixture *x)
{
	add_port_with(x, 3, 1, &(struct sw_port_config){.uplink = true});
	remade(x, (struct sw_port_config){.vm2vm = SW_VM2VM_HARDWARE});
	remove_port(x, 1);
	add_port_with(x, 1, 1, &(struct sw_port_config){.vm2vm = SW_VM2VM_HARDWARE});
	introduce(x, 1);
}

/* Port 0 is the uplink, and brings back what port 1 has sent. */
static void brings_back(struct fixture *x)
{
	remade(x, (struct sw_port_config){.uplink = true});
	remove_port(x, 1);
	add_port_with(x, 1, 1, &(struct sw_port_config){.vm2vm = SW_VM2VM_HARDWARE});
	introduce(x, 1);
}

/* An address is fixed to port 1, where nobody is any more, and port 0 is the uplink. */
static void gone_away(struct fixture *x)
{
	uint8_t mac[1][6];

	remade(x, (struct sw_port_config){.uplink = true});
	mac_of(mac[0], 1, 0);
	remove_port(x, 1);
	add_port_with(x, 1, 0, &(struct sw_port_config){.addresses = (const uint8_t(*)[6])mac, .address_count = 1});
}

static void many_queues(struct fixture *x)
{
	add_port(x, 3, 2);
	introduce(x, 3);
}

static void to_three(struct fixture *x)
{
	send_port(x, 0, 3);
}

static void paused(struct fixture *x)
{
	unsigned before = x->gone;

	introduce(x, 1);
	assert_int_equal(sw_queue_pause(x->port[1], 0, on_gone, x), 0);
	wait_gone(x, before + 1);
}

static void short_mtu(struct fixture *x)
{
	introduce(x, 1);
	sw_port_mtu_set(x->port[1], 20);
}

static void full(struct fixture *x)
{
	introduce(x, 1);
	x->fake[1]->room = 0;
}

static void link_down(struct fixture *x)
{
	sw_port_link_set(x->port[0], false);
	pass_grace(x);
}

static void other_down(struct fixture *x)
{
	introduce(x, 1);
	sw_port_link_set(x->port[1], false);
	pass_grace(x);
}

static void bonded(struct fixture *x)
{
	const struct sw_bond_config config = {.mode = SW_BOND_ACTIVE_BACKUP};

	assert_int_equal(sw_port_new(x->sw, &(struct sw_port_config){.name = "b", .bond = &config, .flood_copies = SW_FLOOD_ANY}, &bond), 0);
	add_port_with(x, 3, 1, &(struct sw_port_config){.member_of = "b"});
	introduce(x, 3);
}

static void is_member(struct fixture *x)
{
	const struct sw_bond_config config = {.mode = SW_BOND_ACTIVE_BACKUP};

	assert_int_equal(sw_port_new(x->sw, &(struct sw_port_config){.name = "b", .bond = &config, .flood_copies = SW_FLOOD_ANY}, &bond), 0);
	remade(x, (struct sw_port_config){.member_of = "b"});
}

/* No other port has anything that could go for it. */
static void no_room(struct fixture *x)
{
	x->sw->fdb->capacity = 0;
}

/* ---- rows ---- */

/* -1: any port, or none. ANY_NUMBER: any. */
struct expected {
	enum sw_trace_what what;
	int port;
	uint32_t n;
	const char *reason;
};

#define STEPS_MAX 24u

struct row {
	const char *name;
	void (*arrange)(struct fixture *x);
	void (*send)(struct fixture *x);
	struct expected steps[STEPS_MAX];
};

#define CAME	    {SW_TRACE_RECEIVED, 0, 0, NULL}
#define PLAIN	    CAME, {SW_TRACE_PLAIN, -1, 0, NULL}
#define PLAIN_IN    PLAIN, {SW_TRACE_VLAN_OWN, -1, 0, NULL}
#define LEARNED	    {SW_TRACE_SOURCE_LEARNED, -1, 0, NULL}
#define TO(p)	    {SW_TRACE_TO, p, 0, NULL}
#define QUEUE	    {SW_TRACE_QUEUE, -1, 0, NULL}
#define GOES(p)	    {SW_TRACE_DELIVERED, p, 1, NULL}
#define REACHES(p)  TO(p), QUEUE, GOES(p)
#define KNOWN(p)    {SW_TRACE_TO_KNOWN, p, 0, NULL}
#define FLOODED(n)  {SW_TRACE_FLOODED, -1, n, NULL}
#define ALL	    {SW_TRACE_TO_BROADCAST, -1, 0, NULL}
#define ALL_GET_IT  ALL, FLOODED(2), REACHES(1), REACHES(2)
#define LOST(p, why) {SW_TRACE_DROPPED, p, 1, why}
#define SAYS(what)  {SW_TRACE_##what, -1, 0, NULL}

static const struct row rows[] = {
	{"a broadcast", as_it_is, to_broadcast, {PLAIN_IN, LEARNED, ALL_GET_IT}},
	{"a known address", all_known, to_one, {PLAIN_IN, SAYS(SOURCE_KNOWN), KNOWN(1), REACHES(1)}},
	{"an unknown address", all_known, to_stranger, {PLAIN_IN, SAYS(SOURCE_KNOWN), SAYS(TO_UNKNOWN), FLOODED(2), REACHES(1), REACHES(2)}},
	{"multicast", as_it_is, to_some, {PLAIN_IN, LEARNED, SAYS(TO_MULTICAST), FLOODED(2), REACHES(1), REACHES(2)}},
	{"a reserved address", as_it_is, to_reserved, {PLAIN_IN, LEARNED, SAYS(TO_RESERVED), LOST(0, "rx_reserved")}},
	{"to its own port", all_known, to_itself, {PLAIN_IN, SAYS(SOURCE_KNOWN), SAYS(TO_HERE), LOST(0, "rx_hairpin")}},
	{"from nobody", as_it_is, from_nobody, {PLAIN_IN, LOST(0, "rx_bad_source")}},
	{"an address that moves", all_known, as_one, {PLAIN_IN, {SW_TRACE_SOURCE_MOVED, 1, 0, NULL}, ALL_GET_IT}},
	{"a full table", no_room, to_broadcast, {PLAIN_IN, SAYS(SOURCE_FULL), ALL_GET_IT}},
	{"the first address of a port that locks", locked, to_broadcast, {PLAIN_IN, SAYS(SOURCE_LOCKED), ALL, FLOODED(2), REACHES(1), REACHES(2)}},
	{"another than what is locked", locked_by_now, as_two, {PLAIN_IN, SAYS(SOURCE_NONE), LOST(0, "rx_spoofed")}},
	{"an address of its own", own_given, to_broadcast, {PLAIN_IN, SAYS(SOURCE_FIXED), ALL_GET_IT}},
	{"another port's own", others_given, as_one, {PLAIN_IN, {SW_TRACE_SOURCE_THERE, 1, 0, NULL}, LOST(0, "rx_spoofed")}},
	{"a tag of a VLAN that it is in", with_five, tag_of_five,
	 {PLAIN, {SW_TRACE_VLAN_TAG, -1, 3, NULL}, LEARNED, ALL, FLOODED(1), TO(3), SAYS(UNTAGGED), QUEUE, GOES(3)}},
	{"a tag of another", with_five, tag_of_six, {PLAIN, LOST(0, "rx_vlan")}},
	{"a tag for the receiver", for_five, to_broadcast, {PLAIN_IN, LEARNED, ALL, FLOODED(1), TO(3), SAYS(TAGGED), QUEUE, GOES(3)}},
	{"alone in its VLAN", alone, to_broadcast, {PLAIN_IN, LEARNED, ALL, FLOODED(0), LOST(0, "rx_no_destination")}},
	{"what a guard passes", guarded, to_broadcast, {PLAIN, SAYS(GUARDED), SAYS(VLAN_OWN), LEARNED, ALL_GET_IT}},
	{"what it does not", guarded, arp_of_another, {PLAIN, LOST(0, "rx_spoofed_arp")}},
	{"within a limit", limited_in, to_broadcast, {PLAIN, SAYS(RATE_IN), SAYS(VLAN_OWN), LEARNED, ALL_GET_IT}},
	{"beyond it", used_up_in, to_broadcast, {PLAIN, LOST(0, "rx_rate_limit")}},
	{"within storm control", limited_storm, to_broadcast, {PLAIN_IN, LEARNED, ALL, SAYS(STORM), FLOODED(2), REACHES(1), REACHES(2)}},
	{"beyond it", used_up_storm, to_broadcast, {PLAIN_IN, SAYS(SOURCE_KNOWN), ALL, LOST(0, "rx_storm_broadcast")}},
	{"within the receiver's limit", limited_out, to_one, {PLAIN_IN, LEARNED, KNOWN(1), TO(1), SAYS(RATE_OUT), QUEUE, GOES(1)}},
	{"beyond it", used_up_out, to_one, {PLAIN_IN, SAYS(SOURCE_KNOWN), KNOWN(1), TO(1), LOST(1, "tx_rate_limit")}},
	{"classes", classes, to_one, {PLAIN_IN, LEARNED, KNOWN(1), TO(1), SAYS(CLASS), SAYS(RATE_OUT), QUEUE, GOES(1)}},
	{"roles that keep apart", isolated, to_one, {PLAIN_IN, LEARNED, KNOWN(1), {SW_TRACE_APART, 1, 0, NULL}, LOST(0, "rx_isolated")}},
	{"a flood, and roles that keep apart", isolated, to_broadcast,
	 {PLAIN_IN, LEARNED, ALL, FLOODED(1), {SW_TRACE_FLOOD_APART, -1, 1, NULL}, REACHES(2)}},
	{"by way of an uplink", relayed, to_one, {PLAIN_IN, LEARNED, KNOWN(1), {SW_TRACE_RELAYED, 1, 0, NULL}, REACHES(3)}},
	{"back from there", brings_back, as_one,
	 {PLAIN_IN, {SW_TRACE_REFLECTED, 1, 0, NULL}, SAYS(SOURCE_KNOWN), ALL, FLOODED(1), {SW_TRACE_FLOOD_APART, -1, ANY_NUMBER, NULL}, REACHES(2)}},
	{"from a guest that is on another host by now", gone_away, as_one,
	 {PLAIN_IN, {SW_TRACE_SOURCE_AWAY, 1, 0, NULL}, ALL, FLOODED(2), REACHES(2), TO(1), LOST(1, "tx_no_queue")}},
	{"one of several queues", many_queues, to_three, {PLAIN_IN, LEARNED, KNOWN(3), TO(3), {SW_TRACE_QUEUE, -1, ANY_NUMBER, NULL}, GOES(3)}},
	{"a queue that pauses", paused, to_one, {PLAIN_IN, LEARNED, KNOWN(1), TO(1), QUEUE, {SW_TRACE_HELD, 1, 1, NULL}}},
	{"longer than the receiver's MTU", short_mtu, to_one, {PLAIN_IN, LEARNED, KNOWN(1), TO(1), QUEUE, LOST(1, "tx_mtu")}},
	{"no buffers", full, to_one, {PLAIN_IN, LEARNED, KNOWN(1), TO(1), QUEUE, LOST(1, "tx_lost")}},
	{"a link that is down", link_down, to_broadcast, {PLAIN, LOST(0, "rx_link_down")}},
	{"the receiver's, which is not known there any more", other_down, to_one,
	 {PLAIN_IN, LEARNED, SAYS(TO_UNKNOWN), FLOODED(2), TO(1), LOST(1, "tx_link_down"), REACHES(2)}},
	{"a checksum", all_known, wants_sum,
	 {CAME, SAYS(WANTS_SUM), SAYS(VLAN_OWN), SAYS(SOURCE_KNOWN), KNOWN(1), TO(1), QUEUE, SAYS(SUMMED), GOES(1)}},
	{"segments", all_known, wants_cut,
	 {CAME, {SW_TRACE_WANTS_CUT, -1, 100, NULL}, SAYS(VLAN_OWN), SAYS(SOURCE_KNOWN), KNOWN(1), TO(1), QUEUE, {SW_TRACE_CUT, -1, 3, NULL},
	  {SW_TRACE_DELIVERED, 1, 3, NULL}}},
	{"to a bond", bonded, to_three,
	 {PLAIN_IN, LEARNED, KNOWN(BOND), TO(BOND), {SW_TRACE_MEMBER, 3, 0, NULL}, QUEUE, GOES(3)}},
	{"from one", is_member, to_broadcast, {PLAIN, {SW_TRACE_BOND, BOND, 0, NULL}, SAYS(VLAN_OWN), LEARNED, ALL_GET_IT}},
};

static struct sw_port *port_of(const struct fixture *x, int port)
{
	return port == BOND ? bond : x->port[port];
}

static void step_check(const struct fixture *x, const struct row *row, unsigned i, const struct sw_trace_step *step)
{
	const struct expected *expected = &row->steps[i];

	if (step->what != expected->what)
		fail_msg("%s: step %u is %u, not %u", row->name, i, step->what, expected->what);
	if (expected->port >= 0 && strcmp(sw_trace_port_name(x->sw, step), sw_port_name(port_of(x, expected->port))) != 0)
		fail_msg("%s: step %u is of port %s", row->name, i, sw_trace_port_name(x->sw, step));
	if (expected->n != ANY_NUMBER && step->n != expected->n)
		fail_msg("%s: step %u has %u, not %u", row->name, i, step->n, expected->n);
	if (expected->reason && strcmp(sw_trace_reason(step), expected->reason) != 0)
		fail_msg("%s: step %u is %s", row->name, i, sw_trace_reason(step));
	seen[step->what] = true;
}

static unsigned steps_of(const struct row *row)
{
	unsigned count = 1; /* the first is 0 */

	while (count < STEPS_MAX && row->steps[count].what)
		count++;
	return count;
}

static void remove_bond(struct fixture *x)
{
	unsigned before = x->gone;

	if (!bond)
		return;
	sw_port_free(bond, on_gone, x);
	wait_gone(x, before + 1);
	bond = NULL;
}

static void row_check(struct fixture *x, const struct row *row)
{
	struct got got = {0};
	struct sw_trace *trace;

	row->arrange(x);
	trace = trace_add(x, x->port[0], 0);
	row->send(x);
	read_frames(x, trace, &got, 1);
	for (unsigned i = 0; i < steps_of(row) && i < got.frame[0].step_count; i++)
		step_check(x, row, i, &got.frame[0].step[i]);
	if (got.frame[0].step_count != steps_of(row))
		fail_msg("%s: %u steps, not %u", row->name, got.frame[0].step_count, steps_of(row));
	assert_int_equal(got.frame[0].more, 0);
	sw_trace_end(trace);
	remove_bond(x);
}

static void each_way_is_told_verdict_by_verdict(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		void *x = NULL;

		assert_int_equal(setup(&x), 0);
		row_check(x, &rows[i]);
		teardown(&x);
	}
}

/* ---- what has to be waited for ---- */

static bool says(const struct got *got, enum sw_trace_what what)
{
	for (unsigned i = 0; i < got->count; i++)
		for (unsigned j = 0; j < got->frame[i].step_count; j++)
			if (got->frame[i].step[j].what == what)
				return true;
	return false;
}

/* Until something is told of a frame. */
static void send_until(struct fixture *x, void (*send)(struct fixture *x), enum sw_trace_what what)
{
	struct sw_trace *trace = trace_add(x, x->port[0], 0);
	struct got got = {0};

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !says(&got, what); i++) {
		got.count = 0;
		send(x);
		sw_trace_read(trace, ARRAY_SIZE(got.frame), take, &got);
		step(x);
	}
	assert_true(says(&got, what));
	seen[what] = true;
	sw_trace_end(trace);
}

static void report(struct fixture *x)
{
	struct mframe f;

	igmp(&f, 0x16, 0, 9);
	send_member_frame(x, 0, &f);
}

static void group_with_a_member(struct fixture *x)
{
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	send_member_frame(x, 1, &f);
	to_group(x);
}

static int setup_snooping(void **state)
{
	return setup_as(state, &(struct sw_config){.workers = 1, .multicast = {.snooping = true, .querier = true, .query_interval_s = 1}});
}

static void groups_are_told_once_the_switch_knows_of_them(void **state)
{
	send_until(*state, report, SW_TRACE_TO_ROUTERS);
	send_until(*state, group_with_a_member, SW_TRACE_TO_GROUP);
}

static void segments(struct fixture *x)
{
	static unsigned number;
	struct gframe f;

	for (unsigned i = 0; i < 16; i++, number++) {
		gframe_make(&f, 0, number, 1000 + 100 * number, 100);
		fake_port_send(x->fake[0], 0, f.at, f.bytes, NULL);
	}
	settle(x);
}

static void what_is_joined_with_another_says_so(void **state)
{
	remade(*state, (struct sw_port_config){.gro = true});
	send_until(*state, segments, SW_TRACE_MERGED);
}

/* ---- who reads ---- */

#define RING TRACE_RING_FRAMES

static struct sw_trace_status status_of(const struct sw_trace *trace)
{
	struct sw_trace_status status;

	sw_trace_status(trace, &status);
	return status;
}

static void ignore(void *opaque, const struct sw_trace_frame *frame)
{
}

static void send_many(struct fixture *x, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		send_raw(x, 0, broadcast, (const uint8_t[]){2, 0, 0, 0, 0, 0}, i);
	settle(x);
	pass_grace(x); /* the last burst has been told of */
}

static void who_does_not_read_loses_what_finds_no_room_and_that_is_counted(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace = trace_add(x, x->port[0], 0);

	send_many(x, RING + 100);
	assert_int_equal(status_of(trace).lost, 100);
	assert_int_equal(sw_trace_read(trace, 1000, ignore, NULL), RING);
	send_many(x, 10);
	assert_int_equal(sw_trace_read(trace, 1000, ignore, NULL), 10);
	assert_int_equal(status_of(trace).lost, 100);
	assert_int_equal(fake_port_got(x->fake[1]), RING + 110); /* and no frame has waited for it */
	sw_trace_end(trace);
}

static void as_many_as_are_wanted(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace = trace_add(x, x->port[0], 5);

	send_many(x, 100);
	assert_int_equal(status_of(trace).state, SW_TRACE_ON);
	assert_int_equal(sw_trace_read(trace, 1000, ignore, NULL), 5);
	pass_grace(x);
	assert_int_equal(status_of(trace).state, SW_TRACE_DONE);
	assert_int_equal(status_of(trace).lost, 0);
	assert_false(x->port[0]->gated & GATE_TRACED);
	sw_trace_end(trace);
}

static void who_is_silent_has_ended_it(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace = trace_add(x, x->port[0], 0);
	unsigned id = status_of(trace).id;

	assert_true(x->port[1]->limited & PORT_TRACED);
	loop_timer_start(trace->timer, 1);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && sw_trace_find(x->sw, id); i++)
		step(x);
	assert_null(sw_trace_find(x->sw, id));
	assert_false(x->port[0]->gated & GATE_TRACED);
	assert_false(x->port[1]->limited & PORT_TRACED);
	pass_grace(x);
	assert_true(TAILQ_EMPTY(&x->sw->traces));
}

static void a_port_that_goes_leaves_what_was_told(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace = trace_add(x, x->port[0], 0);

	send_many(x, 3);
	remove_port(x, 0);
	assert_int_equal(status_of(trace).state, SW_TRACE_ON);
	assert_int_equal(sw_trace_read(trace, 1000, ignore, NULL), 3);
	assert_int_equal(status_of(trace).state, SW_TRACE_GONE);
	assert_string_equal(status_of(trace).port, "p0");
	sw_trace_end(trace);
	assert_true(TAILQ_EMPTY(&x->sw->traces));
}

static void there_are_so_many_of_a_port(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *traces[SW_PORT_TRACES_MAX], *more = NULL;
	struct got got = {0};

	for (unsigned i = 0; i < SW_PORT_TRACES_MAX; i++)
		traces[i] = trace_add(x, x->port[0], 0);
	assert_int_equal(sw_trace_add(x->port[0], false, 0, &more), -ENOSPC);
	send_many(x, 1);
	for (unsigned i = 0; i < SW_PORT_TRACES_MAX; i++) {
		read_frames(x, traces[i], &got, i + 1);
		sw_trace_end(traces[i]);
	}
	pass_grace(x);
	traces[0] = trace_add(x, x->port[0], 0);
	sw_trace_end(traces[0]);
}

/* Both have their marks on the frames of a burst. */
static void a_port_is_mirrored_and_traced_at_once(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror_config config = {.source = x->port[0], .to = x->port[2], .where = "p2", .fd = -1};
	struct sw_mirror *mirror = NULL;
	struct sw_trace *trace;
	struct got got = {0};
	unsigned before;

	introduce(x, 1);
	fake_port_forget(x->fake[2]);
	assert_int_equal(sw_mirror_add(x->sw, &config, &mirror), 0);
	trace = trace_add(x, x->port[0], 0);
	to_one(x);
	read_frames(x, trace, &got, 1);
	assert_true(says(&got, SW_TRACE_DELIVERED));
	assert_int_equal(fake_port_got(x->fake[2]), 1);
	for (unsigned i = 0; i < got.frame[0].step_count; i++)
		assert_false(got.frame[0].step[i].what == SW_TRACE_DELIVERED && got.frame[0].step[i].port == x->port[2]->id);
	sw_trace_end(trace);
	before = x->gone;
	assert_int_equal(sw_mirror_remove(mirror, on_gone, x), 0);
	wait_gone(x, before + 1);
}

static void others_frames_are_not_told(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace = trace_add(x, x->port[0], 0);

	introduce(x, 1);
	assert_int_equal(sw_trace_read(trace, 1000, ignore, NULL), 0);
	sw_trace_end(trace);
}

static struct sw_trace *trace_to_add(struct fixture *x, struct sw_port *port, uint64_t frames)
{
	struct sw_trace *trace = NULL;

	assert_int_equal(sw_trace_add(port, true, frames, &trace), 0);
	loop_timer_stop(trace->timer);
	pass_grace(x);
	return trace;
}

static bool says_of(const struct sw_trace_frame *frame, enum sw_trace_what what, const struct sw_port *port)
{
	for (unsigned i = 0; i < frame->step_count; i++)
		if (frame->step[i].what == what && frame->step[i].port == port->id)
			return true;
	return false;
}

static void frames_to_a_port_are_told_whoever_sends_them(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace;
	struct got got = {0};

	all_known(x);
	trace = trace_to_add(x, x->port[2], 0);
	send_port(x, 0, 2);
	send_port(x, 0, 1); /* not to it */
	send_port(x, 2, 1); /* from it */
	send_port(x, 1, 2);
	send_to(x, 0, broadcast);
	send_to(x, 2, broadcast);
	read_frames(x, trace, &got, 3);
	for (unsigned i = 0; i < got.count; i++) {
		assert_true(says_of(&got.frame[i], SW_TRACE_RECEIVED, x->port[i == 1]));
		assert_true(says_of(&got.frame[i], SW_TRACE_DELIVERED, x->port[2]));
	}
	assert_int_equal(sw_trace_read(trace, 1000, ignore, NULL), 0);
	sw_trace_end(trace);
	for (unsigned p = 0; p < 3; p++)
		assert_false(x->port[p]->gated & GATE_TRACED);
}

static void what_is_lost_on_its_way_to_a_port_is_told(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace;
	struct got got = {0};

	all_known(x);
	sw_port_mtu_set(x->port[2], 20);
	trace = trace_to_add(x, x->port[2], 1);
	send_port(x, 0, 1);
	send_port(x, 0, 2);
	read_frames(x, trace, &got, 1);
	assert_true(says_of(&got.frame[0], SW_TRACE_DROPPED, x->port[2]));
	assert_false(says_of(&got.frame[0], SW_TRACE_DELIVERED, x->port[2]));
	sw_trace_end(trace);
}

/* Where more ports get a frame than there is room for steps, it is told all the same. */
static void who_gets_a_flood_last_is_told_of_it(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace;
	struct got got = {0};

	for (unsigned p = 3; p < PORTS; p++)
		add_port(x, p, 8);
	for (unsigned p = 1; p < PORTS; p++)
		sw_port_limits_set(x->port[p], &(struct sw_limits){.frames_out = {.per_second = 1000}, .priority = SW_PRIORITY_PCP});
	trace = trace_to_add(x, x->port[PORTS - 1], 0);
	to_broadcast(x);
	read_frames(x, trace, &got, 1);
	assert_true(got.frame[0].more);
	sw_trace_end(trace);
}

static void from_and_to_are_told_at_once_to_each_his_own(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *from, *to;
	struct got of_from = {0}, of_to = {0};

	all_known(x);
	from = trace_add(x, x->port[0], 0);
	to = trace_to_add(x, x->port[1], 0);
	send_port(x, 0, 2);
	send_port(x, 2, 1);
	send_port(x, 0, 1);
	read_frames(x, from, &of_from, 2);
	read_frames(x, to, &of_to, 2);
	assert_true(says_of(&of_from.frame[0], SW_TRACE_DELIVERED, x->port[2]) && says_of(&of_from.frame[1], SW_TRACE_DELIVERED, x->port[1]));
	assert_true(says_of(&of_to.frame[0], SW_TRACE_RECEIVED, x->port[2]) && says_of(&of_to.frame[1], SW_TRACE_RECEIVED, x->port[0]));
	sw_trace_end(from);
	sw_trace_end(to);
}

static void a_port_that_comes_is_heard_too_and_one_that_goes_ends_its_own(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace = trace_to_add(x, x->port[1], 0);
	struct sw_trace_status status = {0};
	struct got got = {0};

	add_port(x, 3, 1);
	pass_grace(x);
	send_port(x, 3, 1);
	read_frames(x, trace, &got, 1);
	remove_port(x, 1);
	for (unsigned i = 0; i < WAIT_MS_MAX && status.state == SW_TRACE_ON; i++) {
		step(x);
		sw_trace_status(trace, &status);
	}
	assert_int_equal(status.state, SW_TRACE_GONE);
	assert_false(x->port[0]->gated & GATE_TRACED);
	sw_trace_end(trace);
}

static void who_has_no_room_for_frames_to_a_port_loses_those_alone(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace;
	struct sw_trace_status status;

	all_known(x);
	trace = trace_to_add(x, x->port[2], 0);
	for (unsigned i = 0; i < TRACE_RING_FRAMES + 10; i++) {
		send_port(x, 0, 1);
		send_port(x, 0, 2);
	}
	sw_trace_status(trace, &status);
	assert_int_equal(status.lost, 10);
	sw_trace_end(trace);
}

static void there_are_so_many_to_ports(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *traces[SW_TRACES_TO_MAX], *more = NULL;

	for (unsigned i = 0; i < SW_TRACES_TO_MAX; i++)
		traces[i] = trace_to_add(x, x->port[i % 3], 0);
	assert_int_equal(sw_trace_add(x->port[0], true, 0, &more), -ENOSPC);
	sw_trace_end(traces[0]);
	more = trace_to_add(x, x->port[0], 0);
	sw_trace_end(more);
	for (unsigned i = 1; i < SW_TRACES_TO_MAX; i++)
		sw_trace_end(traces[i]);
}

/* A flood to many ports does not take the place of what is lost. */
static void what_is_lost_finds_room_behind_a_flood(void **state)
{
	struct fixture *x = *state;
	struct sw_trace *trace;
	struct got got = {0};

	for (unsigned p = 3; p < PORTS; p++)
		add_port(x, p, 8);
	sw_port_mtu_set(x->port[PORTS - 1], 20);
	for (unsigned p = 1; p < PORTS - 1; p++)
		sw_port_limits_set(x->port[p], &(struct sw_limits){.frames_out = {.per_second = 1000}, .priority = SW_PRIORITY_PCP});
	trace = trace_add(x, x->port[0], 0);
	to_broadcast(x);
	read_frames(x, trace, &got, 1);
	assert_true(got.frame[0].more);
	assert_true(says(&got, SW_TRACE_DROPPED));
	sw_trace_end(trace);
}

/* The last one. */
static void each_verdict_has_been_seen(void **state)
{
	for (unsigned what = 0; what < SW_TRACE_WHATS; what++)
		if (!seen[what])
			fail_msg("verdict %u is told of no frame above", what);
}

#define trace_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_way_is_told_verdict_by_verdict),
		cmocka_unit_test_setup_teardown(groups_are_told_once_the_switch_knows_of_them, setup_snooping, teardown),
		trace_test(what_is_joined_with_another_says_so),
		trace_test(who_does_not_read_loses_what_finds_no_room_and_that_is_counted),
		trace_test(as_many_as_are_wanted),
		trace_test(who_is_silent_has_ended_it),
		trace_test(a_port_that_goes_leaves_what_was_told),
		trace_test(there_are_so_many_of_a_port),
		trace_test(a_port_is_mirrored_and_traced_at_once),
		trace_test(others_frames_are_not_told),
		trace_test(frames_to_a_port_are_told_whoever_sends_them),
		trace_test(what_is_lost_on_its_way_to_a_port_is_told),
		trace_test(who_gets_a_flood_last_is_told_of_it),
		trace_test(from_and_to_are_told_at_once_to_each_his_own),
		trace_test(a_port_that_comes_is_heard_too_and_one_that_goes_ends_its_own),
		trace_test(who_has_no_room_for_frames_to_a_port_loses_those_alone),
		trace_test(there_are_so_many_to_ports),
		trace_test(what_is_lost_finds_room_behind_a_flood),
		cmocka_unit_test(each_verdict_has_been_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
