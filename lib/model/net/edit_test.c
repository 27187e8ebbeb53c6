/* SPDX-License-Identifier: BSD-3-Clause */

/* Edits of frames: tags pushed and popped for one receiver, while the sender's memory stays as it is. */

#include "model/net/net_test_guest.h"
#include <stdlib.h>
#include <string.h>

#define MERGE (V1 | F(MRG_RXBUF))
#define TAGGED 0x8100u
#define SERVICE 0x88a8u
#define ROOM 4096u

/* A frame as a sender shows it, in up to three pieces. */
struct sent {
	struct vireo_frame frame;
	struct vireo_frame *pointer;
	struct iovec iov[3];
	uint8_t data[600];
};

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* `type` 0: untagged. Pieces end at the cuts, which may be 0. */
static void sent_new(struct sent *s, uint32_t bytes, unsigned type, uint32_t cut, uint32_t second_cut)
{
	memset(s, 0, sizeof(*s));
	frame_fill(s->data, bytes, 7);
	if (type) {
		put16(s->data + 12, type);
		put16(s->data + 14, 5);
	}
	s->iov[0] = (struct iovec){ s->data, cut };
	s->iov[1] = (struct iovec){ s->data + cut, second_cut };
	s->iov[2] = (struct iovec){ s->data + cut + second_cut, bytes - cut - second_cut };
	s->frame = (struct vireo_frame){ .iov = s->iov, .iov_count = 3, .len_bytes = bytes };
	if (!cut && !second_cut) {
		s->frame.iov = &s->iov[2];
		s->frame.iov_count = 1;
	}
	memcpy(s->frame.head, s->data, min_u32(bytes, VIREO_FRAME_HEAD_BYTES));
	s->pointer = &s->frame;
}

/* What is to arrive: the frame with `cut` bytes behind its addresses replaced by the tags; returns its length. */
static uint32_t expected_of(const struct sent *s, uint32_t cut, const uint8_t *tags, uint32_t tags_bytes, uint8_t *ret)
{
	memcpy(ret, s->data, 12);
	if (tags_bytes)
		memcpy(ret + 12, tags, tags_bytes);
	memcpy(ret + 12 + tags_bytes, s->data + 12 + cut, s->frame.len_bytes - 12 - cut);
	return s->frame.len_bytes - cut + tags_bytes;
}

static int deliver(struct guest *g, struct sent *s)
{
	int r = vireo_net_receive_deliver(g->net, 0, &s->pointer, 1);

	vireo_net_receive_flush(g->net, 0);
	return r;
}

/* Takes a frame of `buffers` buffers, `each` long, off the ring. */
static uint32_t collect(struct guest *g, uint32_t each, struct virtio_net_header *ret_header, uint8_t *ret)
{
	uint32_t at = 0, bytes = 0;
	unsigned left = 1;
	uint8_t whole[ROOM];

	for (unsigned i = 0; i < left; i++) {
		void *cookie;
		int used = guest_used(g, 0, &cookie);

		assert_in_range(used, 1, each);
		memcpy(whole + at, cookie, (size_t)used);
		at += (uint32_t)used;
		if (i)
			continue;
		memcpy(ret_header, whole, sizeof(*ret_header));
		left = ret_header->num_buffers;
		assert_in_range(left, 1, 100);
	}
	bytes = at - (uint32_t)sizeof(*ret_header);
	memcpy(ret, whole + sizeof(*ret_header), bytes);
	return bytes;
}

/* The edits of the tests. */
enum edit { PUSH, POP, PUSH_ON_TAG, CHANGE, PUSH_AND_BACK, EDITS };

static unsigned edit_tag(enum edit edit)
{
	return edit == POP || edit == PUSH_ON_TAG || edit == CHANGE ? TAGGED : 0;
}

/* Returns what it makes of the frame, and does it. */
static uint32_t edit_do(struct sent *s, enum edit edit, uint8_t *ret)
{
	const uint8_t tag[] = { 0x81, 0, 0x60, 0x09 }, service[] = { 0x88, 0xa8, 0x00, 0x2a };

	switch (edit) {
	case PUSH:
		assert_true(vireo_frame_tag_push(&s->frame, TAGGED, 0x6009));
		return expected_of(s, 0, tag, 4, ret);
	case POP:
		assert_true(vireo_frame_tag_pop(&s->frame));
		return expected_of(s, 4, NULL, 0, ret);
	case PUSH_ON_TAG:
		assert_true(vireo_frame_tag_push(&s->frame, SERVICE, 0x2a));
		return expected_of(s, 0, service, 4, ret);
	case CHANGE:
		assert_true(vireo_frame_tag_pop(&s->frame));
		assert_true(vireo_frame_tag_push(&s->frame, TAGGED, 0x6009));
		return expected_of(s, 4, tag, 4, ret);
	default:
		assert_true(vireo_frame_tag_push(&s->frame, TAGGED, 0x6009));
		assert_true(vireo_frame_tag_pop(&s->frame));
		assert_int_equal(s->frame.head_bytes + s->frame.head_skip, 0);
		return expected_of(s, 0, NULL, 0, ret);
	}
}

static void assert_edited(struct guest *g, enum edit edit, uint32_t bytes, uint32_t cut, uint32_t second_cut, uint32_t each)
{
	uint8_t expected[ROOM], got[ROOM];
	struct virtio_net_header header;
	uint32_t want;
	struct sent s;

	sent_new(&s, bytes, edit_tag(edit), cut, second_cut);
	want = edit_do(&s, edit, expected);
	assert_int_equal(vireo_frame_bytes(&s.frame), want);
	for (uint32_t room = 0; room < want + 12; room += each)
		guest_post(g, 0, each);
	guest_kick(g, 0);
	assert_int_equal(deliver(g, &s), 1);
	assert_int_equal(collect(g, each, &header, got), want);
	assert_memory_equal(got, expected, want);
	assert_int_equal(header.flags | header.gso_type, 0);
}

static void tags_are_pushed_and_popped_however_sender_and_receiver_cut_the_frame(void **state)
{
	static const uint32_t cuts[][2] = { { 0, 0 }, { 14, 0 }, { 1, 13 }, { 12, 4 }, { 13, 6 }, { 18, 1 }, { 5, 40 } };
	static const uint32_t each[] = { 2048, 64, 13, 12 }; /* the last ones begin and end within the head */
	const struct guest_config config = { .features = MERGE };
	uint64_t frames = 0, bytes = 0;
	struct guest g;

	guest_start(&g, &config);
	for (enum edit edit = PUSH; edit < EDITS; edit++)
		for (size_t c = 0; c < ARRAY_SIZE(cuts); c++)
			for (size_t e = 0; e < ARRAY_SIZE(each); e++)
				for (uint32_t len = 60; len < 66; len++) {
					assert_edited(&g, edit, len, cuts[c][0], cuts[c][1], each[e]);
					frames++;
					bytes += len + (edit == PUSH || edit == PUSH_ON_TAG ? 4 : 0) - (edit == POP ? 4 : 0);
					g.at.used_bytes = g.at.used_bytes > GUEST_MEMORY_BYTES / 2 ? GUEST_MEMORY_BYTES / 4 : g.at.used_bytes;
				}
	assert_int_equal(guest_stats(&g, 0).frames, frames);
	assert_int_equal(guest_stats(&g, 0).bytes, bytes); /* of what has arrived */
	guest_stop(&g);
}

#define RUN 48u

/* Frames of one call, each in one piece: edited ones beside others, short ones, those with something to say of their offload. */
static void run_make(struct sent *sent, uint8_t expected[][ROOM], uint32_t *want)
{
	static const enum edit edits[] = { PUSH, PUSH, POP, POP, PUSH_AND_BACK, PUSH_ON_TAG, CHANGE, POP, PUSH };
	static const uint32_t lengths[] = { 64, 14, 17, 18, 60, 20, 21, 22, 25, 599, 60, 26, 34, 65, 100, 500 };

	for (unsigned i = 0; i < RUN; i++) {
		enum edit edit = edits[i % ARRAY_SIZE(edits)];
		uint32_t bytes = lengths[i * 5 % ARRAY_SIZE(lengths)];

		if (bytes < 18)
			edit = PUSH; /* no place for a whole tag, to be taken out */
		sent_new(&sent[i], bytes, edit_tag(edit), 0, 0);
		want[i] = edit_do(&sent[i], edit, expected[i]);
		if (i % 7 == 6)
			sent[i].frame.offload.flags = VIREO_FRAME_DATA_VALID;
	}
}

static void assert_run_arrives(struct guest *g, uint32_t header_bytes)
{
	static uint8_t expected[RUN][ROOM];
	static struct sent sent[RUN];
	struct vireo_frame *pointers[RUN];
	uint8_t *buffers[RUN];
	uint32_t want[RUN];

	run_make(sent, expected, want);
	for (unsigned i = 0; i < RUN; i++) {
		pointers[i] = &sent[i].frame;
		buffers[i] = guest_post(g, 0, i % 11 == 10 ? header_bytes + want[i] : 1024); /* some hold just so much */
	}
	guest_kick(g, 0);
	assert_int_equal(vireo_net_receive_deliver(g->net, 0, pointers, RUN), RUN);
	vireo_net_receive_flush(g->net, 0);
	for (unsigned i = 0; i < RUN; i++) {
		static const uint8_t untouched[16];
		void *cookie;

		assert_int_equal(guest_used(g, 0, &cookie), header_bytes + want[i]);
		assert_ptr_equal(cookie, buffers[i]);
		assert_memory_equal(buffers[i] + header_bytes, expected[i], want[i]);
		if (i % 11 != 10)
			assert_memory_equal(buffers[i] + header_bytes + want[i], untouched, sizeof(untouched));
	}
}

static void a_run_of_edited_frames_arrives_as_each_alone_would(void **state)
{
	static const struct { uint64_t features; uint32_t header_bytes; } rows[] = {
		{ MERGE, 12 }, { V1, 12 }, { MERGE | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT), 12 },
		{ V1 | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT), 12 }, { V1 | VIREO_FEATURE(VIREO_F_IN_ORDER_BIT), 12 },
		{ F(MRG_RXBUF), 12 }, { 0, 10 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct guest_config config = { .features = rows[i].features };
		struct guest g;

		guest_start(&g, &config);
		for (unsigned round = 0; round < 8; round++)
			assert_run_arrives(&g, rows[i].header_bytes);
		assert_int_equal(guest_stats(&g, 0).frames, 8 * RUN);
		guest_stop(&g);
	}
}

static void shortest_frames_are_edited_too(void **state)
{
	const struct guest_config config = { .features = MERGE };
	struct guest g;

	guest_start(&g, &config);
	for (uint32_t len = 14; len < 24; len++)
		for (uint32_t cut = 0; cut < 14; cut++)
			assert_edited(&g, PUSH, len, cut, 0, 256);
	for (uint32_t len = 18; len < 24; len++)
		assert_edited(&g, POP, len, 3, 0, 256);
	guest_stop(&g);
}

static void head_has_room_for_one_tag_more_and_none_is_popped_that_is_not_there(void **state)
{
	struct sent s;

	sent_new(&s, 60, 0, 0, 0);
	assert_false(vireo_frame_tag_pop(&s.frame));
	assert_int_equal(vireo_frame_bytes(&s.frame), 60);
	assert_true(vireo_frame_tag_push(&s.frame, TAGGED, 1));
	assert_false(vireo_frame_tag_push(&s.frame, SERVICE, 2));
	assert_int_equal(vireo_frame_bytes(&s.frame), 64);
	sent_new(&s, 17, 0, 0, 0); /* the type of a tag, and no whole one */
	put16(s.frame.head + 12, TAGGED);
	assert_false(vireo_frame_tag_pop(&s.frame));
}

/* One frame, three receivers, as a switch floods it. */
static void each_receiver_has_its_own_edit(void **state)
{
	const struct guest_config config = { .features = MERGE };
	uint8_t expected[ROOM], got[ROOM];
	struct virtio_net_header header;
	struct guest g[3];
	struct sent s;

	sent_new(&s, 100, TAGGED, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		guest_start(&g[i], &config);
		guest_post(&g[i], 0, 256);
		guest_kick(&g[i], 0);
	}
	assert_int_equal(deliver(&g[0], &s), 1);
	assert_true(vireo_frame_tag_pop(&s.frame));
	assert_int_equal(deliver(&g[1], &s), 1);
	assert_true(vireo_frame_tag_push(&s.frame, TAGGED, 77));
	assert_int_equal(deliver(&g[2], &s), 1);
	assert_int_equal(collect(&g[0], 256, &header, got), 100);
	assert_memory_equal(got, s.data, 100);
	assert_int_equal(collect(&g[1], 256, &header, got), expected_of(&s, 4, NULL, 0, expected));
	assert_memory_equal(got, expected, 96);
	assert_int_equal(collect(&g[2], 256, &header, got), expected_of(&s, 4, (uint8_t[]){ 0x81, 0, 0, 77 }, 4, expected));
	assert_memory_equal(got, expected, 100);
	for (unsigned i = 0; i < 3; i++)
		guest_stop(&g[i]);
}

static void offloads_move_with_the_edit(void **state)
{
	static const struct vireo_frame_offload rows[] = {
		{ .flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 38, .csum_offset = 16 },
		{ .flags = VIREO_FRAME_NEEDS_CSUM, .gso = VIREO_GSO_TCP4, .segment_bytes = 20, .header_bytes = 58, .csum_start = 38, .csum_offset = 16 },
		{ .flags = VIREO_FRAME_NEEDS_CSUM, .gso = VIREO_GSO_TCP6, .segment_bytes = 20, .header_bytes = 78, .csum_start = 58, .csum_offset = 16 },
		{ .flags = VIREO_FRAME_NEEDS_CSUM | VIREO_FRAME_ECN, .gso = VIREO_GSO_TCP4, .segment_bytes = 20, .header_bytes = 58, .csum_start = 38, .csum_offset = 16 },
		{ .flags = VIREO_FRAME_NEEDS_CSUM, .gso = VIREO_GSO_UDP_FRAG, .segment_bytes = 20, .header_bytes = 46, .csum_start = 38, .csum_offset = 6 },
		{ .flags = VIREO_FRAME_NEEDS_CSUM, .gso = VIREO_GSO_UDP4, .segment_bytes = 20, .header_bytes = 46, .csum_start = 38, .csum_offset = 6 },
		{ .flags = VIREO_FRAME_NEEDS_CSUM, .gso = VIREO_GSO_UDP6, .segment_bytes = 20, .header_bytes = 66, .csum_start = 58, .csum_offset = 6 },
	};
	const struct guest_config config = { .features = MERGE | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) |
							 F(GUEST_UFO) | F(GUEST_USO4) | F(GUEST_USO6) };

	for (size_t i = 0; i < 4 * ARRAY_SIZE(rows); i++) {
		const struct vireo_frame_offload *row = &rows[i / 4];
		bool whole = i & 2; /* in one piece, here and there */
		uint32_t each = whole ? 1024 : 100;
		int by = i & 1 ? -4 : 4;
		uint8_t expected[ROOM], got[ROOM];
		struct virtio_net_header header;
		uint32_t want;
		struct guest g;
		struct sent s;

		guest_start(&g, &config);
		for (unsigned n = 0; n < 10; n++)
			guest_post(&g, 0, each);
		guest_kick(&g, 0);
		sent_new(&s, 200, TAGGED, whole ? 0 : 9, whole ? 0 : 20);
		s.frame.offload = *row;
		want = edit_do(&s, i & 1 ? POP : PUSH_ON_TAG, expected);
		assert_int_equal(deliver(&g, &s), 1);
		assert_int_equal(collect(&g, each, &header, got), want);
		assert_memory_equal(got, expected, want);
		assert_int_equal(header.flags, NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(header.csum_start, row->csum_start + by);
		assert_int_equal(header.csum_offset, row->csum_offset);
		assert_int_equal(header.gso_size, row->segment_bytes);
		assert_int_equal(header.hdr_len, row->gso ? row->header_bytes + by : 0);
		assert_memory_equal(&s.frame.offload, row, sizeof(*row)); /* the next receiver's is as it was */
		guest_stop(&g);
	}
}

/* A sender may name any place: none of them may wrap around in another guest's header. */
static void checksum_that_begins_in_what_is_replaced_is_refused(void **state)
{
	static const uint16_t starts[] = { 0, 2, 12, 17 };
	const struct guest_config config = { .features = MERGE | F(GUEST_CSUM) };
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	guest_post(&g, 0, 256);
	guest_kick(&g, 0);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(starts); i++) {
		uint8_t ignored[ROOM];

		sent_new(&s, 100, TAGGED, 0, 0);
		s.frame.offload = (struct vireo_frame_offload){ .flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = starts[i / 2],
								.csum_offset = 16 };
		edit_do(&s, i & 1 ? POP : PUSH_ON_TAG, ignored);
		assert_int_equal(deliver(&g, &s), 0);
	}
	sent_new(&s, 100, TAGGED, 0, 0);
	s.frame.offload = (struct vireo_frame_offload){ .flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = UINT16_MAX - 2 };
	edit_do(&s, PUSH_ON_TAG, (uint8_t[ROOM]){ 0 });
	assert_int_equal(deliver(&g, &s), 0);
	assert_int_equal(guest_stats(&g, 0).offload_refused, 2 * ARRAY_SIZE(starts) + 1);
	assert_int_equal(guest_used(&g, 0, NULL), -1);
	guest_stop(&g);
}

static void mtu_and_vlan_filter_see_what_arrives(void **state)
{
	const struct guest_config config = { .features = MERGE | F(MTU), .mtu = 100 };
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 8; i++)
		guest_post(&g, 0, 256);
	guest_kick(&g, 0);
	sent_new(&s, 114, 0, 0, 0);
	assert_true(vireo_frame_tag_push(&s.frame, TAGGED, 5)); /* a tag comes on top of the MTU */
	assert_int_equal(deliver(&g, &s), 1);
	sent_new(&s, 118, TAGGED, 0, 0);
	assert_true(vireo_frame_tag_push(&s.frame, SERVICE, 5)); /* but not two */
	assert_int_equal(deliver(&g, &s), 0);
	sent_new(&s, 119, TAGGED, 0, 0);
	assert_true(vireo_frame_tag_pop(&s.frame));
	assert_int_equal(deliver(&g, &s), 0);
	assert_int_equal(guest_stats(&g, 0).too_long, 2);

	net_filter_mode_set(&g.net->filter, NET_FILTER_PROMISCUOUS, false);
	net_filter_mode_set(&g.net->filter, NET_FILTER_VLAN, true);
	net_filter_vlan_set(&g.net->filter, 6, true);
	sent_new(&s, 60, TAGGED, 0, 0); /* VLAN 5 */
	assert_int_equal(deliver(&g, &s), 0);
	assert_true(vireo_frame_tag_pop(&s.frame));
	assert_int_equal(deliver(&g, &s), 1);
	assert_true(vireo_frame_tag_push(&s.frame, TAGGED, 6));
	assert_int_equal(deliver(&g, &s), 1);
	assert_int_equal(guest_stats(&g, 0).filtered, 1);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_are_pushed_and_popped_however_sender_and_receiver_cut_the_frame),
		cmocka_unit_test(a_run_of_edited_frames_arrives_as_each_alone_would),
		cmocka_unit_test(shortest_frames_are_edited_too),
		cmocka_unit_test(head_has_room_for_one_tag_more_and_none_is_popped_that_is_not_there),
		cmocka_unit_test(each_receiver_has_its_own_edit),
		cmocka_unit_test(offloads_move_with_the_edit),
		cmocka_unit_test(checksum_that_begins_in_what_is_replaced_is_refused),
		cmocka_unit_test(mtu_and_vlan_filter_see_what_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
