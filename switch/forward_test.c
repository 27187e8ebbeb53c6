/* SPDX-License-Identifier: BSD-3-Clause */

/* The rules of forwarding, on a whole switch with one worker and ports in memory. */

#include "base/util.h"
#include "switch/fake_switch.h"
#include "work/test_threads.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

static void send_numbered(struct fixture *x, unsigned from, unsigned to, unsigned number)
{
	uint8_t source[6], destination[6];

	mac_of(source, from, 0);
	mac_of(destination, to, 0);
	send_raw(x, from, destination, source, number);
}

static void send_to(struct fixture *x, unsigned from, const uint8_t *to)
{
	uint8_t source[6];

	mac_of(source, from, 0);
	send_raw(x, from, to, source, 0);
}

static void learn_all(struct fixture *x)
{
	for (unsigned p = 0; p < PORTS; p++) {
		if (x->port[p])
			send_to(x, p, broadcast);
	}
	settle(x);
	for (unsigned p = 0; p < PORTS; p++) {
		if (x->port[p])
			fake_port_forget(x->fake[p]);
	}
}

static void expect(struct fixture *x, unsigned p0, unsigned p1, unsigned p2)
{
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), p0);
	assert_int_equal(fake_port_got(x->fake[1]), p1);
	assert_int_equal(fake_port_got(x->fake[2]), p2);
}

static unsigned number_of(const struct fake_frame *frame)
{
	unsigned number;

	memcpy(&number, frame->data + 14, sizeof(number));
	return number;
}

/* ---- who gets it ---- */

static void unknown_unicast_goes_to_all_but_the_sender(void **state)
{
	struct fixture *x = *state;

	send_numbered(x, 0, 1, 1);
	expect(x, 0, 1, 1);
	assert_int_equal(stats_of(x, 0).rx_flooded, 1);
}

static void broadcast_and_multicast_go_to_all_but_the_sender(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	send_to(x, 1, broadcast);
	send_to(x, 1, (const uint8_t[]){0x01, 0x00, 0x5e, 0, 0, 1});
	expect(x, 2, 0, 2);
}

static void known_unicast_goes_to_its_port_only(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	send_numbered(x, 0, 2, 1);
	expect(x, 0, 0, 1);
	assert_int_equal(stats_of(x, 2).tx_frames, 3); /* and two broadcasts */
	assert_int_equal(stats_of(x, 2).tx_bytes, 3 * 64);
	assert_int_equal(stats_of(x, 0).rx_frames, 2);
	assert_int_equal(stats_of(x, 0).rx_bytes, 2 * 64);
}

static void address_behind_the_sender_is_not_sent_back(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];

	learn_all(x);
	mac_of(mac, 0, 0);
	send_raw(x, 0, mac, (const uint8_t[]){2, 9, 9, 9, 9, 9}, 0);
	expect(x, 0, 0, 0);
	assert_int_equal(stats_of(x, 0).rx_hairpin, 1);
}

static void reserved_addresses_are_never_forwarded(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < 17; i++)
		send_to(x, 0, (const uint8_t[]){0x01, 0x80, 0xc2, 0, 0, (uint8_t)i});
	expect(x, 0, 1, 1); /* ...:10 is an ordinary group address */
	assert_int_equal(stats_of(x, 0).rx_reserved, 16);
}

static void group_and_zero_sources_are_dropped_and_not_learned(void **state)
{
	struct fixture *x = *state;
	struct sw_fdb_stats stats;

	send_raw(x, 0, broadcast, (const uint8_t[]){3, 0, 0, 0, 0, 1}, 0);
	send_raw(x, 0, broadcast, broadcast, 0);
	send_raw(x, 0, broadcast, (const uint8_t[]){0, 0, 0, 0, 0, 0}, 0);
	expect(x, 0, 0, 0);
	assert_int_equal(stats_of(x, 0).rx_bad_source, 3);
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.entries, 0);
}

static void moved_address_is_followed(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];

	learn_all(x);
	mac_of(mac, 2, 0);
	send_raw(x, 1, broadcast, mac, 0);
	settle(x);
	fake_port_forget(x->fake[0]);
	fake_port_forget(x->fake[2]);
	send_numbered(x, 0, 2, 1);
	expect(x, 0, 1, 0);
}

static void lonely_port_has_no_destination(void **state)
{
	struct fixture *x = *state;

	remove_port(x, 1);
	remove_port(x, 2);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_no_destination, 1);
	assert_int_equal(stats_of(x, 0).rx_flooded, 0);
}

static void port_without_out_queue_is_counted(void **state)
{
	struct fixture *x = *state;

	add_port(x, 3, 0);
	learn_all(x);
	send_numbered(x, 0, 3, 1);
	settle(x);
	assert_int_equal(stats_of(x, 3).tx_no_queue, 4); /* three broadcasts before */
}

/* ---- bursts ---- */

static void mixed_burst_is_sorted_and_keeps_order(void **state)
{
	struct fixture *x = *state;
	const struct fake_list *got;

	learn_all(x);
	for (unsigned i = 0; i < 1000; i++)
		send_numbered(x, 0, 1 + i % 3 % 2, i);
	expect(x, 0, 667, 333);
	for (unsigned p = 1; p < 3; p++) {
		got = &x->fake[p]->got;
		for (unsigned i = got->first + 1; i < got->end; i++)
			assert_true(number_of(got->frames[i - 1]) < number_of(got->frames[i]));
	}
}

static void flooded_and_known_frames_keep_their_order(void **state)
{
	struct fixture *x = *state;
	const struct fake_list *got;
	uint8_t mac[6];

	learn_all(x);
	mac_of(mac, 0, 0);
	for (unsigned i = 0; i < 300; i++) {
		if (i % 5)
			send_numbered(x, 0, 1 + i % 2, i);
		else
			send_raw(x, 0, broadcast, mac, i);
	}
	settle(x);
	for (unsigned p = 1; p < 3; p++) {
		got = &x->fake[p]->got;
		assert_int_equal(got->end - got->first, 60 + 120);
		for (unsigned i = got->first + 1; i < got->end; i++)
			assert_true(number_of(got->frames[i - 1]) < number_of(got->frames[i]));
	}
}

static unsigned asked_for(struct fixture *x, unsigned p)
{
	unsigned frames;

	pthread_mutex_lock(&x->fake[p]->lock);
	frames = x->fake[p]->asked_for;
	pthread_mutex_unlock(&x->fake[p]->lock);
	return frames;
}

/* Others wait for a turn's end: it is a frame long where each takes a millisecond. */
static void long_turns_get_shorter_and_longer_again(void **state)
{
	struct fixture *x = *state;
	unsigned sent = 0, asked = 0;

	learn_all(x);
	x->fake[1]->slow_us = 1000;
	for (unsigned i = 0; i < 70; i++)
		send_numbered(x, 0, 1, i);
	settle(x);
	assert_in_range(asked_for(x, 0), 1, 4);
	x->fake[1]->slow_us = 0;
	for (; sent < 100000 && asked < 64; sent++) {
		send_numbered(x, 0, 1, sent);
		settle(x);
		asked = asked_for(x, 0); /* once: the next turn may be interrupted, and be a long one */
	}
	assert_int_equal(asked, 64);
	expect(x, 0, 70 + sent, 0);
}

static void send_and_settle(struct fixture *x, unsigned frames, unsigned slow_us)
{
	x->fake[1]->slow_us = slow_us;
	for (unsigned i = 0; i < frames; i++) {
		send_numbered(x, 0, 1, i);
		settle(x);
	}
	x->fake[1]->slow_us = 0;
}

/* Somebody else may have had the CPU. That may happen to any turn here, too: once it has not, the next one is as long as ever. */
static void one_long_turn_among_many_changes_nothing(void **state)
{
	struct fixture *x = *state;
	unsigned asked = 0;

	learn_all(x);
	for (unsigned i = 0; i < 1000 && asked < 64; i++) {
		send_and_settle(x, 40, 0);
		send_and_settle(x, 1, 1000);
		asked = asked_for(x, 0);
	}
	assert_int_equal(asked, 64);
}

static void slow_receiver_loses_only_its_own(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	pthread_mutex_lock(&x->fake[1]->lock);
	x->fake[1]->room = 10;
	pthread_mutex_unlock(&x->fake[1]->lock);
	for (unsigned i = 0; i < 200; i++)
		send_numbered(x, 0, 1 + i % 2, i);
	expect(x, 0, 10, 100);
	assert_int_equal(stats_of(x, 1).tx_lost, 90);
	assert_int_equal(stats_of(x, 2).tx_lost, 0);
}

static void send_udp(struct fixture *x, unsigned flow, unsigned number)
{
	uint8_t frame[64] = {2, 0, 0, 3, 0, 0, 2, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 50};

	frame[23] = 17;
	frame[26] = 10;
	frame[30] = 11;
	frame[35] = (uint8_t)flow;
	frame[37] = 53;
	memcpy(frame + 42, &number, sizeof(number));
	fake_port_send(x->fake[0], 0, frame, sizeof(frame), NULL);
}

static void flows_keep_to_one_of_several_queues(void **state)
{
	struct fixture *x = *state;
	int queue_of[64];
	unsigned last[64] = {0}, used = 0;

	add_port(x, 3, 4);
	learn_all(x);
	memset(queue_of, -1, sizeof(queue_of));
	for (unsigned i = 0; i < 6400; i++)
		send_udp(x, i * 7 % 64, i + 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[3]), 6400);
	for (unsigned i = 0; i < 6400; i++) {
		const struct fake_frame *frame = x->fake[3]->got.frames[i];
		unsigned flow = frame->data[35], number;

		memcpy(&number, frame->data + 42, sizeof(number));
		assert_true(number > last[flow]);
		last[flow] = number;
		if (queue_of[flow] < 0)
			queue_of[flow] = (int)frame->queue;
		assert_int_equal(queue_of[flow], frame->queue);
		used |= 1u << frame->queue;
	}
	assert_int_equal(used, 0xf);
}

/* ---- limits and offloads ---- */

static void send_long_to(struct fixture *x, const uint8_t *to, uint32_t bytes, unsigned tags,
			 const struct vireo_frame_offload *offload)
{
	uint8_t *frame = calloc(1, bytes);

	assert_non_null(frame);
	memcpy(frame, to, 6);
	mac_of(frame + 6, 0, 0);
	for (unsigned i = 0; i < tags; i++)
		memcpy(frame + 12 + 4 * i, "\x81\x00\x00\x05", 4);
	memcpy(frame + 12 + 4 * tags, "\x08\x00\x45", 3);
	frame[23 + 4 * tags] = 6;
	frame[46 + 4 * tags] = 0x50;
	fake_port_send(x->fake[0], 0, frame, bytes, offload);
	free(frame);
}

static void send_long(struct fixture *x, uint32_t bytes, unsigned tags, const struct vireo_frame_offload *offload)
{
	uint8_t to[6];

	mac_of(to, 1, 0);
	send_long_to(x, to, bytes, tags, offload);
}

static void longer_than_the_mtu_is_dropped_and_tags_do_not_count(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	sw_port_mtu_set(x->port[1], 1500);
	send_long(x, 1514, 0, NULL);
	send_long(x, 1518, 1, NULL);
	send_long(x, 1522, 2, NULL);
	expect(x, 0, 3, 0);
	send_long(x, 1515, 0, NULL);
	send_long(x, 1519, 1, NULL);
	send_long(x, 1523, 2, NULL);
	expect(x, 0, 3, 0);
	assert_int_equal(stats_of(x, 1).tx_mtu, 3);
}

static const struct vireo_frame_offload tso4 = {
	.gso = VIREO_GSO_TCP4, .flags = VIREO_FRAME_NEEDS_CSUM, .segment_bytes = 1000, .csum_start = 34,
	.csum_offset = 16};

static void capable_receiver_gets_the_frame_as_it_is(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	sw_port_mtu_set(x->port[1], 1500);
	sw_port_offloads_set(x->port[1], VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_CSUM);
	send_long(x, 60054, 0, &tso4);
	expect(x, 0, 1, 0);
	assert_int_equal(x->fake[1]->got.frames[0]->bytes, 60054);
	assert_int_equal(x->fake[1]->got.frames[0]->offload.gso, VIREO_GSO_TCP4);
	assert_int_equal(stats_of(x, 1).tx_segmented, 0);
}

static void receiver_without_the_offload_gets_segments_in_place(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	sw_port_mtu_set(x->port[1], 1500);
	sw_port_offloads_set(x->port[1], VIREO_OFFLOAD_CSUM);
	for (unsigned i = 0; i < 20; i++) {
		send_long(x, 100 + i, 0, NULL);
		send_long(x, 60054, 0, &tso4);
	}
	expect(x, 0, 20 * 61, 0);
	for (unsigned i = 0; i < 20 * 61; i++) {
		const struct fake_frame *frame = x->fake[1]->got.frames[i];

		assert_int_equal(frame->bytes, i % 61 ? 1054 : 100 + i / 61);
		assert_int_equal(frame->offload.flags, 0);
	}
	assert_int_equal(stats_of(x, 1).tx_segmented, 20);
	assert_int_equal(stats_of(x, 1).tx_frames, 20 * 61 + 2);
}

static void ecn_needs_its_own_offload(void **state)
{
	struct fixture *x = *state;
	struct vireo_frame_offload offload = tso4;

	learn_all(x);
	offload.flags |= VIREO_FRAME_ECN;
	sw_port_offloads_set(x->port[1], VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4);
	send_long(x, 2054, 0, &offload);
	expect(x, 0, 2, 0);
	sw_port_offloads_set(x->port[1], VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_ECN);
	send_long(x, 2054, 0, &offload);
	expect(x, 0, 3, 0);
}

static void lying_headers_cost_only_that_frame(void **state)
{
	struct fixture *x = *state;
	struct vireo_frame_offload offload = tso4;

	learn_all(x);
	offload.csum_start = 50;
	send_long(x, 5000, 0, &offload);
	send_long(x, 100, 0, NULL);
	expect(x, 0, 1, 0);
	assert_int_equal(stats_of(x, 1).tx_segment_error, 1);
}

static void segments_longer_than_the_mtu_are_dropped(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	sw_port_mtu_set(x->port[1], 1000); /* segments: 1040 bytes in IP, the last 140 */
	send_long(x, 54 + 2100, 0, &tso4);
	expect(x, 0, 1, 0);
	assert_int_equal(stats_of(x, 1).tx_mtu, 2);
}

/* What is sent between the two, the worker finds together. */
static void burst_begin(struct fixture *x)
{
	unsigned gone = x->gone;

	sw_queue_remove(x->port[0], false, 0, on_gone, x);
	wait_gone(x, gone + 1);
}

static void burst_end(struct fixture *x)
{
	assert_int_equal(sw_queue_add(x->port[0], false, 0), 0);
	settle(x);
}

static void send_burst_to_cut(struct fixture *x, const uint8_t *to, uint32_t payload, uint16_t segment_bytes)
{
	struct vireo_frame_offload offload = tso4;

	burst_begin(x);
	offload.segment_bytes = segment_bytes;
	for (unsigned i = 0; i < 64; i++)
		send_long_to(x, to, 54 + payload, 0, &offload);
	burst_end(x);
}

static void tiny_segments_do_not_make_others_wait(void **state)
{
	struct fixture *x = *state;

	uint8_t to[6];

	learn_all(x);
	mac_of(to, 1, 0);
	send_burst_to_cut(x, to, 60000, 250); /* more than honest senders make */
	assert_int_equal(fake_port_got(x->fake[1]), 64 * 240);
	fake_port_forget(x->fake[1]);
	send_burst_to_cut(x, to, 2000, 1);
	assert_int_equal(stats_of(x, 0).rx_segment_limit, 64 - 16384 / 2000);
	assert_int_equal(fake_port_got(x->fake[1]), 16384 / 2000 * 2000);
}

static void flooded_frames_are_cut_once_for_all(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	send_burst_to_cut(x, broadcast, 60000, 250); /* one limit for all, and each gets all */
	expect(x, 0, 64 * 240, 64 * 240);
	assert_int_equal(stats_of(x, 0).rx_segment_limit, 0);
	fake_port_forget(x->fake[1]);
	fake_port_forget(x->fake[2]);
	send_burst_to_cut(x, broadcast, 2000, 1);
	expect(x, 0, 16384 / 2000 * 2000, 16384 / 2000 * 2000);
	assert_int_equal(stats_of(x, 0).rx_segment_limit, 64 - 16384 / 2000); /* who caused it, once */
	assert_int_equal(stats_of(x, 1).tx_segment_error + stats_of(x, 2).tx_segment_error, 0);
	assert_int_equal(stats_of(x, 1).tx_segmented, 64 + 16384 / 2000);
}

/* What a burst may be cut into is shared out among those who get it: their number does not make others wait. */
static void flooded_pieces_are_fewer_where_more_ports_receive(void **state)
{
	struct fixture *x = *state;
	unsigned frames = 2 * 16384 / 8 / 240; /* that a limit for eight receivers lets by */

	for (unsigned p = 3; p < PORTS; p++)
		add_port(x, p, 1);
	learn_all(x);
	for (unsigned p = 1; p < PORTS; p++)
		fake_port_forget(x->fake[p]);
	send_burst_to_cut(x, broadcast, 60000, 250);
	for (unsigned p = 1; p < PORTS; p++)
		assert_int_equal(fake_port_got(x->fake[p]), frames * 240);
	assert_int_equal(stats_of(x, 0).rx_segment_limit, 64 - frames);
}

static void frame_of_most_segments_is_flooded(void **state)
{
	struct fixture *x = *state;
	struct vireo_frame_offload offload = tso4;

	learn_all(x);
	offload.segment_bytes = 30;
	send_long_to(x, broadcast, 54 + 2047 * 30 + 1, 0, &offload); /* 2048 of them */
	send_long_to(x, broadcast, 54 + 90, 0, &offload);
	expect(x, 0, 2051, 2051);
}

static void flooded_pieces_keep_their_place_among_other_frames(void **state)
{
	struct fixture *x = *state;
	struct vireo_frame_offload offload = tso4;

	learn_all(x);
	sw_port_offloads_set(x->port[2], VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_CSUM);
	offload.segment_bytes = 250;
	burst_begin(x);
	for (unsigned i = 0; i < 32; i++) { /* several times what is cut at once */
		send_long_to(x, broadcast, 54 + 60000 + i, 0, &offload);
		send_numbered(x, 0, 1, i);
	}
	burst_end(x);
	expect(x, 0, 240 + 31 * 241 + 32, 32);
	for (unsigned i = 0, at = 0; i < 32; i++) {
		unsigned pieces = i ? 241 : 240;

		assert_int_equal(x->fake[1]->got.frames[at]->bytes, 54 + 250);
		assert_int_equal(x->fake[1]->got.frames[at + pieces - 1]->bytes, 54 + (i ? i : 250));
		assert_int_equal(number_of(x->fake[1]->got.frames[at + pieces]), i);
		assert_int_equal(x->fake[2]->got.frames[i]->bytes, 54 + 60000 + i);
		at += pieces + 1;
	}
}

static void flooded_lie_costs_only_that_frame(void **state)
{
	struct fixture *x = *state;
	struct vireo_frame_offload offload = tso4;

	learn_all(x);
	offload.csum_start = 50;
	burst_begin(x);
	send_long_to(x, broadcast, 5000, 0, &offload);
	send_long_to(x, broadcast, 54 + 1000, 0, &tso4);
	burst_end(x);
	expect(x, 0, 1, 1);
	assert_int_equal(stats_of(x, 1).tx_segment_error, 1);
	assert_int_equal(stats_of(x, 2).tx_segment_error, 1);
}

/* ---- limits of what is flooded ---- */

#define MORE_THAN_A_BUCKET 20000u

/* Port 3 has room for 1000 copies a second, and a bucket like all others. */
static void add_limited(struct fixture *x)
{
	struct sw_port_config config = {.ops = &fake_port_ops, .name = "p3", .flood_copies = 1000};

	x->fake[3] = fake_port_new(true);
	config.opaque = x->fake[3];
	assert_int_equal(sw_port_new(x->sw, &config, &x->port[3]), 0);
	assert_int_equal(sw_queue_add(x->port[3], false, 0), 0);
	pass_grace(x);
}

static void port_floods_no_more_copies_than_it_may(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats stats;

	remove_port(x, 2);
	learn_all(x);
	add_limited(x);
	for (unsigned i = 0; i < MORE_THAN_A_BUCKET; i++)
		send_to(x, 3, i % 2 ? broadcast : (const uint8_t[]){2, 7, 7, 7, 7, 7});
	send_numbered(x, 3, 1, 7); /* what goes to one port has no limit */
	settle(x);
	stats = stats_of(x, 3);
	assert_int_equal(stats.rx_flooded + stats.rx_flood_limit, MORE_THAN_A_BUCKET);
	assert_in_range(stats.rx_flooded, 8192 / 2, MORE_THAN_A_BUCKET - 1);
	assert_int_equal(fake_port_got(x->fake[0]), stats.rx_flooded);
	assert_int_equal(fake_port_got(x->fake[1]), stats.rx_flooded + 1);
	assert_int_equal(number_of(x->fake[1]->got.frames[x->fake[1]->got.end - 1]), 7);
}

static void flood_all(struct fixture *x)
{
	for (unsigned i = 0; i < MORE_THAN_A_BUCKET; i++)
		send_to(x, 3, broadcast);
	settle(x);
}

static void how_much_a_port_floods_changes_under_traffic(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats before;

	add_limited(x);
	sw_port_flood_set(x->port[3], SW_FLOOD_ANY);
	flood_all(x);
	before = stats_of(x, 3);
	assert_int_equal(before.rx_flooded, MORE_THAN_A_BUCKET);
	assert_int_equal(before.rx_flood_limit, 0);
	sw_port_flood_set(x->port[3], 1000);
	flood_all(x);
	assert_int_not_equal(stats_of(x, 3).rx_flood_limit, 0);
	sw_port_flood_set(x->port[3], SW_FLOOD_ANY);
	before = stats_of(x, 3);
	flood_all(x);
	assert_int_equal(stats_of(x, 3).rx_flooded, before.rx_flooded + MORE_THAN_A_BUCKET);
	assert_int_equal(stats_of(x, 3).rx_flood_limit, before.rx_flood_limit);
}

static void copies_of_large_frames_count_as_several(void **state)
{
	const struct vireo_frame_offload offload = {.gso = VIREO_GSO_TCP4, .segment_bytes = 64, .flags = VIREO_FRAME_NEEDS_CSUM};
	struct fixture *x = *state;
	uint8_t frame[8192] = {0};

	add_limited(x);
	memcpy(frame, broadcast, 6);
	frame[6] = 2;
	for (unsigned i = 0; i < 2000; i++)
		fake_port_send(x->fake[3], 0, frame, sizeof(frame), i % 2 ? &offload : NULL);
	settle(x);
	assert_in_range(stats_of(x, 3).rx_flooded, 1, 200);
}

static void frames_to_the_only_other_port_have_no_limit(void **state)
{
	struct fixture *x = *state;

	add_limited(x);
	remove_port(x, 1);
	remove_port(x, 2);
	x->fake[0]->room = MORE_THAN_A_BUCKET + 100;
	for (unsigned i = 0; i < MORE_THAN_A_BUCKET; i++)
		send_to(x, 3, broadcast);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), MORE_THAN_A_BUCKET);
	assert_int_equal(stats_of(x, 3).rx_flood_limit, 0);
}

static void flooded_frames_leave_room_for_others(void **state)
{
	struct fixture *x = *state;
	unsigned flooded;

	x->fake[1]->room = 1000 + 2;
	learn_all(x);
	for (unsigned i = 0; i < 2000; i++)
		send_to(x, 0, broadcast);
	settle(x);
	flooded = fake_port_got(x->fake[1]);
	assert_in_range(flooded, 1000 - 1000 / 4, 1000 - 1000 / 8); /* what was seen fades on a slow machine */
	assert_int_equal(fake_port_got(x->fake[2]), 2000);
	for (unsigned i = 0; i < 100; i++)
		send_numbered(x, 0, 1, i);
	expect(x, 0, flooded + 100, 2000);
	assert_int_equal(stats_of(x, 1).tx_flood_room, 2000 - flooded);
	assert_int_equal(stats_of(x, 1).tx_lost, 0);
}

/* Port 2's broadcasts, among the flood of port 0, to a receiver that is away. */
static void flood_leaves_room_for_others_broadcasts(void **state)
{
	struct fixture *x = *state;
	unsigned flooded, others = 40;

	x->fake[1]->room = 20000 + 2;
	learn_all(x);
	sw_port_flood_set(x->port[0], 1000000000);
	sw_port_flood_set(x->port[2], 0);
	for (unsigned i = 0; i < 40000; i++)
		send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_flood_limit, 0);
	flooded = fake_port_got(x->fake[1]);
	assert_in_range(flooded, 20000 / 2 - 1, 20000 - 20000 / 4 - others); /* on a slow machine, more of it is within its due */
	for (unsigned i = 0; i < others; i++)
		send_to(x, 2, broadcast);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[1]), flooded + others);
}

static void port_that_may_flood_without_limit_is_not_held_to_half(void **state)
{
	struct fixture *x = *state;

	x->fake[1]->room = 20000 + 2;
	learn_all(x);
	sw_port_flood_set(x->port[0], SW_FLOOD_ANY);
	for (unsigned i = 0; i < 40000; i++)
		send_to(x, 0, broadcast);
	settle(x);
	assert_in_range(fake_port_got(x->fake[1]), 20000 - 20000 / 4, 20000 - 20000 / 8);
}

/* Two of nine are a quarter; after some seconds of two they are not. */
static void receiver_with_fewer_buffers_than_once_hears_the_flood_again(void **state)
{
	struct fixture *x = *state;
	unsigned i;

	x->fake[1]->room = 9 + 2;
	learn_all(x);
	x->fake[1]->room = 2;
	send_to(x, 0, broadcast);
	expect(x, 0, 0, 1);
	for (i = 0; i < 100 && !fake_port_got(x->fake[1]); i++) {
		nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
		send_to(x, 0, broadcast);
		settle(x);
	}
	assert_int_equal(fake_port_got(x->fake[1]), 1);
}

/* In one burst: what is known goes on where what is flooded has to stop. */
static void known_frames_among_flooded_ones_find_room(void **state)
{
	struct fixture *x = *state;

	x->fake[1]->room = 40 + 2;
	learn_all(x);
	burst_begin(x);
	for (unsigned i = 0; i < 31; i++) {
		send_to(x, 0, broadcast);
		send_numbered(x, 0, 1, i);
	}
	burst_end(x);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[1]), 40);
	assert_in_range(stats_of(x, 1).tx_flood_room, 1, 21);
	assert_int_equal(fake_port_got(x->fake[2]), 31);
}

/* A driver that offers a buffer at a time has one for what is flooded, too. */
static void few_buffers_are_no_reason_to_get_nothing(void **state)
{
	struct fixture *x = *state;

	x->fake[1]->room = 2;
	learn_all(x);
	for (unsigned i = 0; i < 10; i++) {
		x->fake[1]->room = 1;
		send_to(x, 0, broadcast);
		settle(x);
	}
	assert_int_equal(fake_port_got(x->fake[1]), 10);
	assert_int_equal(stats_of(x, 1).tx_flood_room, 0);
}

/* ---- control ---- */

static void removed_port_takes_its_addresses_along(void **state)
{
	struct fixture *x = *state;
	struct sw_fdb_stats stats;

	learn_all(x);
	remove_port(x, 2);
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.entries, 2);
	add_port(x, 2, 1); /* may get the same id */
	send_numbered(x, 0, 2, 1);
	expect(x, 0, 1, 1); /* unknown, flooded */
}

static void names_are_unique_until_removed(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {.name = "p1", .ops = &fake_port_ops, .opaque = x->fake[1]};
	struct sw_port *port;

	assert_int_equal(sw_port_new(x->sw, &config, &port), -EEXIST);
	assert_ptr_equal(sw_port_find(x->sw, "p1"), x->port[1]);
	assert_ptr_equal(sw_port_next(x->sw, NULL), x->port[0]);
	assert_ptr_equal(sw_port_next(x->sw, x->port[2]), NULL);
	remove_port(x, 1);
	assert_null(sw_port_find(x->sw, "p1"));
}

static void queue_number_is_taken_until_it_is_gone(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(sw_queue_add(x->port[0], true, SW_QUEUES_MAX), -ERANGE);
	assert_int_equal(sw_queue_add(x->port[0], true, 0), -EEXIST);
	assert_true(sw_queue_present(x->port[0], true, 0));
	sw_queue_remove(x->port[0], true, 0, on_gone, x);
	sw_queue_remove(x->port[0], true, 0, on_gone, x);
	assert_false(sw_queue_present(x->port[0], true, 0));
	assert_int_equal(sw_queue_add(x->port[0], true, 0), -EEXIST);
	assert_int_equal(x->gone, 0);
	wait_gone(x, 2);
	assert_int_equal(sw_queue_add(x->port[0], true, 0), 0);
}

static void counters_survive_a_queue_that_comes_and_goes(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	sw_queue_remove(x->port[0], true, 0, on_gone, x);
	wait_gone(x, 1);
	assert_int_equal(stats_of(x, 0).tx_frames, 2);
	assert_int_equal(sw_queue_add(x->port[0], true, 0), 0);
	pass_grace(x);
	assert_int_equal(stats_of(x, 0).tx_frames, 2);
	send_numbered(x, 1, 0, 1);
	expect(x, 1, 0, 0);
	assert_int_equal(stats_of(x, 0).tx_frames, 3);
}

static void injected_frame_comes_from_its_port(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	mac_of(frame + 6, 7, 0);
	assert_int_equal(sw_port_inject(x->port[1], frame, 13), -EMSGSIZE);
	assert_int_equal(sw_port_inject(x->port[1], frame, sizeof(frame)), 0);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !fake_port_got(x->fake[2]); i++)
		step(x);
	expect(x, 1, 0, 1);
	assert_int_equal(stats_of(x, 1).rx_frames, 1);
	send_numbered(x, 0, 7, 1);
	expect(x, 1, 1, 1);
}

static void count_entry(void *opaque, const struct sw_fdb_entry *entry)
{
	unsigned *seen = opaque;

	assert_int_equal(entry->mac[0], 2);
	assert_int_equal(entry->port[1], '0' + entry->mac[3]);
	*seen |= 1u << entry->mac[3];
}

static void fdb_is_listed_and_flushed(void **state)
{
	struct fixture *x = *state;
	unsigned seen = 0;

	learn_all(x);
	sw_fdb_each(x->sw, count_entry, &seen);
	assert_int_equal(seen, 7);
	sw_fdb_flush(x->sw, x->port[1]);
	seen = 0;
	sw_fdb_each(x->sw, count_entry, &seen);
	assert_int_equal(seen, 5);
	sw_fdb_flush(x->sw, NULL);
	seen = 0;
	sw_fdb_each(x->sw, count_entry, &seen);
	assert_int_equal(seen, 0);
}

/* ---- VLANs ---- */

/* Ports 3 and 4 are in VLAN 7, ports 5 and 6 in 4095; 0 to 2 stay where they are. */
static void add_vlans(struct fixture *x)
{
	for (unsigned p = 3; p < 7; p++)
		add_port_in(x, p, 1, p < 5 ? 7 : 4095);
}

static void expect_all(struct fixture *x, const unsigned got[7])
{
	settle(x);
	for (unsigned p = 0; p < 7; p++)
		assert_int_equal(fake_port_got(x->fake[p]), got[p]);
}

static void flooded_frames_stay_in_their_vlan(void **state)
{
	struct fixture *x = *state;

	add_vlans(x);
	send_to(x, 3, broadcast);
	expect_all(x, (const unsigned[]){0, 0, 0, 0, 1, 0, 0});
	send_numbered(x, 6, 1, 1); /* whom nobody knows in VLAN 4095 */
	expect_all(x, (const unsigned[]){0, 0, 0, 0, 1, 1, 0});
	send_to(x, 0, broadcast);
	expect_all(x, (const unsigned[]){0, 1, 1, 0, 1, 1, 0});
	assert_int_equal(stats_of(x, 3).rx_flooded, 0); /* there is only one other */
	assert_int_equal(stats_of(x, 0).rx_flooded, 1);
}

static void address_known_in_another_vlan_is_not_known(void **state)
{
	struct fixture *x = *state;

	add_vlans(x);
	learn_all(x);
	send_numbered(x, 3, 5, 1); /* of VLAN 4095 */
	expect_all(x, (const unsigned[]){0, 0, 0, 0, 1, 0, 0});
	send_numbered(x, 3, 4, 1);
	expect_all(x, (const unsigned[]){0, 0, 0, 0, 2, 0, 0});
	send_numbered(x, 0, 2, 1);
	expect_all(x, (const unsigned[]){0, 0, 1, 0, 2, 0, 0});
}

static void same_address_in_two_vlans_is_two_stations(void **state)
{
	struct fixture *x = *state;
	struct sw_fdb_stats stats;
	uint8_t shared[6];

	add_vlans(x);
	mac_of(shared, 8, 0);
	send_raw(x, 4, broadcast, shared, 0);
	send_raw(x, 6, broadcast, shared, 0);
	send_raw(x, 2, broadcast, shared, 0);
	settle(x);
	for (unsigned p = 0; p < 7; p++)
		fake_port_forget(x->fake[p]);
	send_to(x, 3, shared);
	send_to(x, 5, shared);
	send_to(x, 1, shared);
	expect_all(x, (const unsigned[]){0, 0, 1, 0, 1, 0, 1});
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.moved, 0);
}

static void vlan_without_another_port_has_no_destination(void **state)
{
	struct fixture *x = *state;

	add_port_in(x, 3, 1, 100);
	send_to(x, 3, broadcast);
	expect(x, 0, 0, 0);
	assert_int_equal(stats_of(x, 3).rx_no_destination, 1);
}

static void vlan_beyond_the_last_is_refused(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {.ops = &fake_port_ops, .name = "beyond", .vlan = SW_VLAN_MAX + 1};
	struct sw_port *port;

	assert_int_equal(sw_port_new(x->sw, &config, &port), -EINVAL);
}

/* ---- isolated ports ---- */

/* Ports 3 to 5; 0 to 2 are not. */
static void add_isolated(struct fixture *x)
{
	for (unsigned p = 3; p < 6; p++) {
		struct sw_port_config config = {.isolated = true};

		add_port_with(x, p, 1, &config);
	}
}

static void isolated_ports_do_not_hear_of_each_other(void **state)
{
	struct fixture *x = *state;
	static const unsigned from_3[] = {1, 1, 1, 0, 0, 0}, from_0[] = {0, 1, 1, 1, 1, 1};

	add_isolated(x);
	send_to(x, 3, broadcast);
	settle(x);
	for (unsigned p = 0; p < 6; p++) {
		assert_int_equal(fake_port_got(x->fake[p]), from_3[p]);
		fake_port_forget(x->fake[p]);
	}
	send_to(x, 0, broadcast);
	settle(x);
	for (unsigned p = 0; p < 6; p++)
		assert_int_equal(fake_port_got(x->fake[p]), from_0[p]);
	assert_int_equal(stats_of(x, 3).rx_isolated, 0);
	assert_int_equal(stats_of(x, 3).rx_flooded, 1);
}

/* Alone, and beside frames that are flooded. */
static void frames_between_isolated_ports_are_counted(void **state)
{
	struct fixture *x = *state;

	add_isolated(x);
	learn_all(x);
	send_numbered(x, 3, 4, 1);
	settle(x);
	assert_int_equal(stats_of(x, 3).rx_isolated, 1);
	pthread_mutex_lock(&x->fake[1]->lock); /* the worker stands still at the first, until all have come */
	send_to(x, 3, broadcast);
	for (unsigned i = 0; i < 10; i++)
		send_numbered(x, 3, i % 2 ? 4 : 1, i);
	send_to(x, 3, broadcast);
	pthread_mutex_unlock(&x->fake[1]->lock);
	settle(x);
	assert_int_equal(stats_of(x, 3).rx_isolated, 6);
	assert_int_equal(fake_port_got(x->fake[4]), 0);
	assert_int_equal(fake_port_got(x->fake[5]), 0);
	assert_int_equal(fake_port_got(x->fake[1]), 7);
	send_numbered(x, 1, 4, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[4]), 1);
}

static void isolated_port_among_its_like_has_no_destination(void **state)
{
	struct fixture *x = *state;

	add_isolated(x);
	for (unsigned p = 0; p < 3; p++)
		remove_port(x, p);
	pass_grace(x);
	send_to(x, 3, broadcast);
	settle(x);
	assert_int_equal(stats_of(x, 3).rx_no_destination, 1);
	assert_int_equal(fake_port_got(x->fake[4]), 0);
}

/* ---- a port whose link is down ---- */

static void nothing_passes_a_port_whose_link_is_down(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats stats;

	learn_all(x);
	sw_port_link_set(x->port[1], false);
	assert_false(sw_port_link(x->port[1]));
	pass_grace(x);
	send_to(x, 0, broadcast);
	send_numbered(x, 1, 0, 1);
	send_to(x, 1, broadcast);
	settle(x);
	stats = stats_of(x, 1);
	assert_int_equal(fake_port_got(x->fake[1]), 0);
	assert_int_equal(fake_port_got(x->fake[0]), 0);
	assert_int_equal(fake_port_got(x->fake[2]), 1);
	assert_int_equal(stats.tx_link_down, 1);
	assert_int_equal(stats.tx_no_queue, 0);
	assert_int_equal(stats.rx_link_down, 2);
	assert_true(fake_port_idle(x->fake[1])); /* its queues are emptied */
}

static void port_whose_link_is_up_again_is_as_before(void **state)
{
	struct fixture *x = *state;

	sw_port_link_set(x->port[1], false);
	pass_grace(x);
	sw_port_link_set(x->port[1], true);
	sw_port_link_set(x->port[1], true);
	pass_grace(x);
	send_to(x, 0, broadcast);
	send_to(x, 1, broadcast);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[1]), 1);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(stats_of(x, 1).rx_link_down + stats_of(x, 1).tx_link_down, 0);
}

static void addresses_behind_a_port_whose_link_goes_down_are_forgotten(void **state)
{
	struct fixture *x = *state;
	struct sw_fdb_stats before, after;

	learn_all(x);
	sw_fdb_stats(x->sw, &before);
	sw_port_link_set(x->port[1], false);
	sw_fdb_stats(x->sw, &after);
	assert_int_equal(after.entries, before.entries - 1);
	pass_grace(x);
	send_numbered(x, 1, 0, 1);
	settle(x);
	sw_fdb_stats(x->sw, &after);
	assert_int_equal(after.entries, before.entries - 1); /* and no new ones are learned */
}

/* ---- addresses that are a port's own ---- */

/* Port 3, which may use its addresses 0 and 1, and no other. */
static void add_guarded(struct fixture *x)
{
	uint8_t own[2][6];
	struct sw_port_config config = {
		.ops = &fake_port_ops, .name = "p3", .addresses = own, .address_count = ARRAY_SIZE(own)};

	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		mac_of(own[i], 3, i);
	x->fake[3] = fake_port_new(true);
	config.opaque = x->fake[3];
	assert_int_equal(sw_port_new(x->sw, &config, &x->port[3]), 0);
	assert_int_equal(sw_queue_add(x->port[3], false, 0), 0);
	assert_int_equal(sw_queue_add(x->port[3], true, 0), 0);
	pass_grace(x);
}

static void send_as(struct fixture *x, unsigned from, const uint8_t *to, unsigned owner, unsigned i)
{
	uint8_t source[6];

	mac_of(source, owner, i);
	send_raw(x, from, to, source, 0);
}

static void port_with_addresses_sends_from_them_alone(void **state)
{
	struct fixture *x = *state;

	add_guarded(x);
	send_as(x, 3, broadcast, 3, 0);
	send_as(x, 3, broadcast, 3, 1);
	expect(x, 2, 2, 2);
	send_as(x, 3, broadcast, 3, 2);
	send_as(x, 3, broadcast, 0, 0);
	expect(x, 2, 2, 2);
	assert_int_equal(stats_of(x, 3).rx_spoofed, 2);
	send_numbered(x, 1, 0, 1); /* of port 0 nothing was learned: all get it, the liar, too */
	expect(x, 3, 2, 3);
	assert_int_equal(stats_of(x, 1).rx_spoofed, 0);
}

static void address_of_a_port_is_used_by_no_other(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	add_guarded(x);
	send_as(x, 0, broadcast, 3, 1);
	expect(x, 0, 0, 0);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
	send_numbered(x, 1, 3, 1); /* it has not said a word, and gets what is its, nobody else does */
	expect(x, 0, 0, 0);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
}

static void address_is_taken_back_from_who_had_learned_it(void **state)
{
	struct fixture *x = *state;

	send_as(x, 0, broadcast, 3, 0);
	settle(x);
	add_guarded(x);
	send_numbered(x, 1, 3, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	assert_int_equal(fake_port_got(x->fake[0]), 0);
}

static void spoofed_frames_among_others_are_taken_out(void **state)
{
	struct fixture *x = *state;

	add_guarded(x);
	for (unsigned i = 0; i < 30; i++)
		send_as(x, 3, broadcast, i % 3 ? 3 : 1, i % 2);
	expect(x, 20, 20, 20);
	assert_int_equal(stats_of(x, 3).rx_spoofed, 10);
}

static void announcement_of_a_foreign_address_goes_nowhere(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	add_guarded(x);
	mac_of(frame + 6, 1, 0);
	assert_int_equal(sw_port_inject(x->port[3], frame, sizeof(frame)), 0);
	mac_of(frame + 6, 3, 0);
	assert_int_equal(sw_port_inject(x->port[0], frame, sizeof(frame)), 0);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !(stats_of(x, 3).rx_spoofed && stats_of(x, 0).rx_spoofed); i++)
		step(x);
	assert_int_equal(stats_of(x, 3).rx_spoofed, 1);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
	expect(x, 0, 0, 0);
}

static void address_has_one_owner_until_that_is_gone(void **state)
{
	struct fixture *x = *state;
	uint8_t own[1][6];
	struct sw_port_config config = {
		.ops = &fake_port_ops, .name = "second", .addresses = own, .address_count = ARRAY_SIZE(own)};
	struct sw_port *port = NULL;
	struct sw_fdb_stats stats;

	mac_of(own[0], 3, 1);
	add_guarded(x);
	assert_int_equal(sw_port_new(x->sw, &config, &port), -EADDRINUSE);
	assert_null(sw_port_find(x->sw, "second"));
	remove_port(x, 3);
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.fixed, 0);
	assert_int_equal(sw_port_new(x->sw, &config, &port), 0);
	sw_port_free(port, on_gone, x);
	wait_gone(x, x->gone + 1);
}

static void own_addresses_outlive_a_flush(void **state)
{
	struct fixture *x = *state;

	add_guarded(x);
	sw_fdb_flush(x->sw, x->port[3]);
	sw_fdb_flush(x->sw, NULL);
	send_numbered(x, 1, 3, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	expect(x, 0, 0, 0);
}

static unsigned asked_dead(struct fixture *x, unsigned p)
{
	unsigned asked;

	pthread_mutex_lock(&x->fake[p]->lock);
	asked = x->fake[p]->asked_dead;
	pthread_mutex_unlock(&x->fake[p]->lock);
	return asked;
}

static void dead_queue_is_not_asked_again(void **state)
{
	struct fixture *x = *state;
	struct sw_worker_stats before, after;

	pthread_mutex_lock(&x->fake[0]->lock);
	x->fake[0]->dead[0] = true;
	pthread_mutex_unlock(&x->fake[0]->lock);
	send_numbered(x, 0, 1, 1);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !(asked_dead(x, 0) && others_rest()); i++)
		step(x);
	assert_true(others_rest());
	sw_worker_stats(x->sw, 0, &before);
	for (unsigned i = 0; i < 100; i++)
		step(x);
	sw_worker_stats(x->sw, 0, &after);
	assert_int_equal(asked_dead(x, 0), 1);
	assert_true(after.loops - before.loops < 10);
	remove_port(x, 0);
}

#define forward_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void set_uplink(struct fixture *x, unsigned p)
{
	assert_int_equal(sw_port_rules_set(x->port[p], &(struct sw_port_config){.uplink = true}), 0);
	pass_grace(x);
}

/* Its address is fixed to port 3, which has no queue while the guest is on another host, behind the uplink. */
static void a_guest_whose_address_is_fixed_is_reached_where_it_has_moved(void **state)
{
	struct fixture *x = *state;
	const uint8_t its[1][6] = {{2, 0, 0, 3, 0, 1}};
	uint8_t other[6];

	set_uplink(x, 0);
	add_port_with(x, 3, 0, &(struct sw_port_config){.addresses = its, .address_count = 1});
	mac_of(other, 1, 1);
	send_raw(x, 0, broadcast, its[0], 1); /* it says that it is there */
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 0);
	assert_int_equal(fake_port_got(x->fake[1]), 1);
	send_raw(x, 1, its[0], other, 2);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(fake_port_got(x->fake[2]), 1); /* nobody else gets what is for it */
	assert_int_equal(stats_of(x, 3).tx_no_queue, 1); /* the broadcast */
	send_raw(x, 2, other, its[0], 3); /* but no guest may say that he is it */
	settle(x);
	assert_int_equal(stats_of(x, 2).rx_spoofed, 1);

	assert_int_equal(sw_queue_add(x->port[3], true, 0), 0); /* it comes back */
	pass_grace(x);
	send_raw(x, 1, its[0], other, 4);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	send_raw(x, 0, other, its[0], 5);
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
}

static void what_is_for_a_guest_that_is_away_goes_nowhere_without_an_uplink(void **state)
{
	struct fixture *x = *state;
	const uint8_t its[1][6] = {{2, 0, 0, 3, 0, 1}};
	uint8_t other[6];

	add_port_with(x, 3, 0, &(struct sw_port_config){.addresses = its, .address_count = 1});
	mac_of(other, 1, 1);
	send_raw(x, 1, its[0], other, 1);
	settle(x);
	assert_int_equal(stats_of(x, 3).tx_no_queue, 1);
	send_raw(x, 0, other, its[0], 2);
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
	set_uplink(x, 0);
	send_raw(x, 0, its[0], other, 3); /* what comes from the uplink does not go back */
	settle(x);
	assert_int_equal(stats_of(x, 3).tx_no_queue, 2);
	assert_int_equal(fake_port_got(x->fake[0]), 0);
}

/* A guest that starts anew has no queue for a while: what is for it stays in the host. */
static void what_is_for_who_was_only_heard_at_a_port_does_not_leave_by_the_uplink(void **state)
{
	struct fixture *x = *state;
	uint8_t its[6], other[6];

	set_uplink(x, 0);
	mac_of(its, 2, 1);
	mac_of(other, 1, 1);
	send_raw(x, 2, broadcast, its, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	sw_queue_remove(x->port[2], true, 0, on_gone, x);
	wait_gone(x, 1);
	send_raw(x, 1, its, other, 2);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(stats_of(x, 2).tx_no_queue, 1);
}

static void what_is_for_a_port_whose_link_was_cut_does_not_leave_by_the_uplink(void **state)
{
	struct fixture *x = *state;
	const uint8_t its[1][6] = {{2, 0, 0, 3, 0, 1}};
	uint8_t other[6];

	set_uplink(x, 0);
	add_port_with(x, 3, 0, &(struct sw_port_config){.addresses = its, .address_count = 1});
	sw_port_link_set(x->port[3], false);
	pass_grace(x);
	mac_of(other, 1, 1);
	send_raw(x, 1, its[0], other, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 0);
	assert_int_equal(stats_of(x, 3).tx_link_down, 1);
	send_raw(x, 0, other, its[0], 2); /* nor is it believed to be there */
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
}

static void of_several_uplinks_the_first_that_runs_gets_what_is_for_a_guest_that_is_away(void **state)
{
	struct fixture *x = *state;
	const uint8_t its[1][6] = {{2, 0, 0, 3, 0, 1}};
	uint8_t other[6];

	set_uplink(x, 0);
	set_uplink(x, 2);
	add_port_with(x, 3, 0, &(struct sw_port_config){.addresses = its, .address_count = 1});
	add_port(x, 4, 1);
	mac_of(other, 1, 1);
	send_raw(x, 1, its[0], other, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(fake_port_got(x->fake[2]), 0);
	assert_int_equal(fake_port_got(x->fake[4]), 0); /* another guest */
	sw_port_link_set(x->port[0], false);
	pass_grace(x);
	send_raw(x, 1, its[0], other, 2);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(fake_port_got(x->fake[2]), 1);
	assert_int_equal(fake_port_got(x->fake[4]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_guest_whose_address_is_fixed_is_reached_where_it_has_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_for_a_guest_that_is_away_goes_nowhere_without_an_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_for_who_was_only_heard_at_a_port_does_not_leave_by_the_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_for_a_port_whose_link_was_cut_does_not_leave_by_the_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(of_several_uplinks_the_first_that_runs_gets_what_is_for_a_guest_that_is_away, setup, teardown),
		forward_test(unknown_unicast_goes_to_all_but_the_sender),
		forward_test(broadcast_and_multicast_go_to_all_but_the_sender),
		forward_test(known_unicast_goes_to_its_port_only),
		forward_test(address_behind_the_sender_is_not_sent_back),
		forward_test(reserved_addresses_are_never_forwarded),
		forward_test(group_and_zero_sources_are_dropped_and_not_learned),
		forward_test(moved_address_is_followed),
		forward_test(lonely_port_has_no_destination),
		forward_test(port_without_out_queue_is_counted),
		forward_test(mixed_burst_is_sorted_and_keeps_order),
		forward_test(flooded_and_known_frames_keep_their_order),
		forward_test(long_turns_get_shorter_and_longer_again),
		forward_test(one_long_turn_among_many_changes_nothing),
		forward_test(slow_receiver_loses_only_its_own),
		forward_test(flows_keep_to_one_of_several_queues),
		forward_test(longer_than_the_mtu_is_dropped_and_tags_do_not_count),
		forward_test(capable_receiver_gets_the_frame_as_it_is),
		forward_test(receiver_without_the_offload_gets_segments_in_place),
		forward_test(ecn_needs_its_own_offload),
		forward_test(lying_headers_cost_only_that_frame),
		forward_test(segments_longer_than_the_mtu_are_dropped),
		forward_test(tiny_segments_do_not_make_others_wait),
		forward_test(flooded_frames_are_cut_once_for_all),
		forward_test(flooded_pieces_are_fewer_where_more_ports_receive),
		forward_test(frame_of_most_segments_is_flooded),
		forward_test(flooded_pieces_keep_their_place_among_other_frames),
		forward_test(flooded_lie_costs_only_that_frame),
		forward_test(port_floods_no_more_copies_than_it_may),
		forward_test(how_much_a_port_floods_changes_under_traffic),
		forward_test(copies_of_large_frames_count_as_several),
		forward_test(frames_to_the_only_other_port_have_no_limit),
		forward_test(flooded_frames_leave_room_for_others),
		forward_test(flood_leaves_room_for_others_broadcasts),
		forward_test(port_that_may_flood_without_limit_is_not_held_to_half),
		forward_test(receiver_with_fewer_buffers_than_once_hears_the_flood_again),
		forward_test(known_frames_among_flooded_ones_find_room),
		forward_test(few_buffers_are_no_reason_to_get_nothing),
		forward_test(removed_port_takes_its_addresses_along),
		forward_test(names_are_unique_until_removed),
		forward_test(queue_number_is_taken_until_it_is_gone),
		forward_test(counters_survive_a_queue_that_comes_and_goes),
		forward_test(injected_frame_comes_from_its_port),
		forward_test(fdb_is_listed_and_flushed),
		forward_test(flooded_frames_stay_in_their_vlan),
		forward_test(address_known_in_another_vlan_is_not_known),
		forward_test(same_address_in_two_vlans_is_two_stations),
		forward_test(vlan_without_another_port_has_no_destination),
		forward_test(vlan_beyond_the_last_is_refused),
		forward_test(isolated_ports_do_not_hear_of_each_other),
		forward_test(frames_between_isolated_ports_are_counted),
		forward_test(isolated_port_among_its_like_has_no_destination),
		forward_test(nothing_passes_a_port_whose_link_is_down),
		forward_test(port_whose_link_is_up_again_is_as_before),
		forward_test(addresses_behind_a_port_whose_link_goes_down_are_forgotten),
		forward_test(port_with_addresses_sends_from_them_alone),
		forward_test(address_of_a_port_is_used_by_no_other),
		forward_test(address_is_taken_back_from_who_had_learned_it),
		forward_test(spoofed_frames_among_others_are_taken_out),
		forward_test(announcement_of_a_foreign_address_goes_nowhere),
		forward_test(address_has_one_owner_until_that_is_gone),
		forward_test(own_addresses_outlive_a_flush),
		forward_test(dead_queue_is_not_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
