/* SPDX-License-Identifier: BSD-3-Clause */

/* Receive queues: deliver and enqueue into whatever buffers a guest thinks of. */

#include "device/device.h"
#include "model/net/net_test_guest.h"
#include "wire/virtio_ring.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN V1
#define MERGE (V1 | F(MRG_RXBUF))

/* A frame as a sender shows it, in one piece. */
struct sent {
	struct vireo_frame frame;
	struct vireo_frame *pointer;
	struct iovec iov;
	uint8_t *data;
};

static void sent_new(struct sent *s, size_t bytes, uint8_t fill)
{
	memset(s, 0, sizeof(*s));
	s->data = malloc(bytes);
	frame_fill(s->data, bytes, fill);
	s->iov = (struct iovec){.iov_base = s->data, .iov_len = bytes};
	s->frame = (struct vireo_frame){.iov = &s->iov, .iov_count = 1, .len_bytes = (uint32_t)bytes};
	memcpy(s->frame.head, s->data, bytes < 18 ? bytes : 18);
	s->pointer = &s->frame;
}

static int deliver_one(struct guest *g, struct sent *s)
{
	int r = vireo_net_receive_deliver(g->net, 0, &s->pointer, 1);

	vireo_net_receive_flush(g->net, 0);
	return r;
}

static void assert_header(const uint8_t *buffer, unsigned num_buffers)
{
	const struct virtio_net_header expected = {.num_buffers = (uint16_t)num_buffers};

	assert_memory_equal(buffer, &expected, sizeof(expected));
}

static void frame_goes_behind_its_header_into_one_buffer(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct guest g;

	guest_start(&g, &config);
	for (size_t bytes = 14; bytes < 130; bytes++) {
		uint8_t *buffer = guest_post(&g, 0, 256);
		struct sent s;

		sent_new(&s, bytes, (uint8_t)bytes);
		memset(buffer, 0xee, 256);
		guest_kick(&g, 0);
		assert_int_equal(vireo_net_receive_deliver(g.net, 0, &s.pointer, 1), 1);
		assert_int_equal(guest_used(&g, 0, NULL), -1); /* not before the flush */
		vireo_net_receive_flush(g.net, 0);
		assert_int_equal(guest_used(&g, 0, NULL), 12 + bytes);
		assert_header(buffer, 1);
		assert_memory_equal(buffer + 12, s.data, bytes);
		assert_int_equal(buffer[12 + bytes], 0xee);
		free(s.data);
	}
	assert_int_equal(guest_stats(&g, 0).frames, 116);
	guest_stop(&g);
}

static void legacy_header_has_ten_bytes(void **state)
{
	const struct guest_config config = {.features = F(GUEST_CSUM)};
	uint8_t *buffer;
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	sent_new(&s, 64, 3);
	buffer = guest_post(&g, 0, 10 + 64);
	guest_kick(&g, 0);
	assert_int_equal(deliver_one(&g, &s), 1);
	assert_int_equal(guest_used(&g, 0, NULL), 10 + 64);
	assert_memory_equal(buffer, "\0\0\0\0\0\0\0\0\0\0", 10);
	assert_memory_equal(buffer + 10, s.data, 64);
	free(s.data);
	guest_stop(&g);
}

/* The sender may rewrite its frame after the decision: the first bytes come from the private copy. */
static void receiver_gets_the_private_head(void **state)
{
	const struct guest_config config = {.features = MERGE};
	uint8_t expected[64], *buffer[2];
	struct sent s;
	struct guest g;
	struct iovec split[2];

	guest_start(&g, &config);
	for (unsigned i = 0; i < 2; i++)
		buffer[i] = guest_post(&g, 0, 256);
	guest_kick(&g, 0);
	sent_new(&s, 64, 3);
	memcpy(expected, s.data, 64);
	memset(s.data, 0xff, 18);
	assert_int_equal(deliver_one(&g, &s), 1);
	split[0] = (struct iovec){.iov_base = s.data, .iov_len = 7};
	split[1] = (struct iovec){.iov_base = s.data + 7, .iov_len = 57};
	s.frame.iov = split;
	s.frame.iov_count = 2;
	assert_int_equal(deliver_one(&g, &s), 1);
	for (unsigned i = 0; i < 2; i++)
		assert_memory_equal(buffer[i] + 12, expected, 64);
	free(s.data);
	guest_stop(&g);
}

static void frame_that_spans_buffers_names_their_number(void **state)
{
	static const unsigned sizes[] = {12, 13, 1, 100, 2000};
	const struct guest_config config = {.features = MERGE};
	uint8_t *buffers[ARRAY_SIZE(sizes)];
	size_t left = 12 + 500, at = 0;
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		buffers[i] = guest_post(&g, 0, sizes[i]);
	guest_kick(&g, 0);
	sent_new(&s, 500, 3);
	assert_int_equal(deliver_one(&g, &s), 1);
	assert_header(buffers[0], 5);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t here = min_u64(sizes[i], left);
		size_t skip = i ? 0 : 12;
		void *cookie;

		assert_int_equal(guest_used(&g, 0, &cookie), here);
		assert_ptr_equal(cookie, buffers[i]);
		assert_memory_equal(buffers[i] + skip, s.data + at, here - skip);
		at += here - skip;
		left -= here;
	}
	assert_int_equal(guest_stats(&g, 0).frames, 1);
	assert_int_equal(guest_stats(&g, 0).bytes, 500);
	free(s.data);
	guest_stop(&g);
}

static void header_and_frame_may_be_scattered_over_descriptors(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct iovec iov[100];
	uint8_t *p;
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	p = guest_alloc(&g, 100);
	for (unsigned i = 0; i < 100; i++)
		iov[i] = (struct iovec){.iov_base = p + i, .iov_len = 1};
	guest_add(&g, 0, iov, 0, 100, p);
	guest_kick(&g, 0);
	sent_new(&s, 88, 3);
	assert_int_equal(deliver_one(&g, &s), 1);
	assert_int_equal(guest_used(&g, 0, NULL), 100);
	assert_header(p, 1);
	assert_memory_equal(p + 12, s.data, 88);
	free(s.data);
	guest_stop(&g);
}

static void too_few_buffers_are_all_left_for_the_next_frame(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct sent large, small;
	struct vireo_frame *both[2];
	uint8_t *first;
	void *cookie;
	struct guest g;

	guest_start(&g, &config);
	first = guest_post(&g, 0, 100);
	guest_post(&g, 0, 100);
	memset(first, 0xee, 100);
	guest_kick(&g, 0);
	sent_new(&large, 189, 3); /* 1 byte too long with its header */
	sent_new(&small, 60, 4);
	assert_int_equal(deliver_one(&g, &large), 0);
	assert_int_equal(guest_stats(&g, 0).no_buffer, 1);
	assert_int_equal(guest_used(&g, 0, NULL), -1);
	assert_int_equal(first[0], 0xee); /* nothing was written either */
	both[0] = &large.frame;
	both[1] = &small.frame;
	assert_int_equal(vireo_net_receive_deliver(g.net, 0, both, 2), 1);
	vireo_net_receive_flush(g.net, 0);
	assert_int_equal(guest_used(&g, 0, &cookie), 72);
	assert_ptr_equal(cookie, first);
	assert_int_equal(guest_stats(&g, 0).no_buffer, 2);
	free(large.data);
	free(small.data);
	guest_stop(&g);
}

static void without_mrg_rxbuf_a_frame_uses_one_buffer_or_is_too_long(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct sent large, small;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 4; i++)
		guest_post(&g, 0, 100);
	guest_kick(&g, 0);
	sent_new(&large, 89, 3);
	sent_new(&small, 88, 4);
	assert_int_equal(deliver_one(&g, &large), 0);
	assert_int_equal(guest_stats(&g, 0).too_long, 1);
	assert_int_equal(guest_used(&g, 0, NULL), -1);
	assert_int_equal(deliver_one(&g, &small), 1);
	assert_int_equal(guest_used(&g, 0, NULL), 100);
	assert_int_equal(guest_used(&g, 0, NULL), -1);
	free(large.data);
	free(small.data);
	guest_stop(&g);
}

static void frame_that_the_whole_ring_cannot_hold_is_too_long(void **state)
{
	const struct guest_config config = {.features = MERGE, .queue_size = 4};
	struct vireo_packet packet = {0};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 4; i++)
		guest_post(&g, 0, 100);
	guest_kick(&g, 0);
	sent_new(&s, 389, 3);
	assert_int_equal(deliver_one(&g, &s), 0);
	assert_int_equal(guest_stats(&g, 0).too_long, 1);
	packet.data = s.data;
	packet.len_bytes = 389;
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1),
			 1); /* taken: waiting would be for ever */
	packet.len_bytes = 388;
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1), 1);
	assert_int_equal(guest_stats(&g, 0).frames, 1);
	free(s.data);
	guest_stop(&g);
}

/* The same where each buffer takes two entries: two of them fill a ring of four. */
static void ring_is_full_by_entries_and_not_by_buffers(void **state)
{
	const struct guest_config config = {.features = MERGE, .queue_size = 4};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *p = guest_alloc(&g, 100);
		struct iovec iov[2] = {{.iov_base = p, .iov_len = 50}, {.iov_base = p + 50, .iov_len = 50}};

		guest_add(&g, 0, iov, 0, 2, p);
	}
	guest_kick(&g, 0);
	sent_new(&s, 189, 3);
	assert_int_equal(deliver_one(&g, &s), 0);
	assert_int_equal(guest_stats(&g, 0).too_long, 1);
	assert_int_equal(guest_stats(&g, 0).no_buffer, 0);
	free(s.data);
	guest_stop(&g);
}

static void runt_buffer_goes_back_empty_and_the_next_is_tried(void **state)
{
	const struct guest_config config = {.features = MERGE};
	uint8_t *good;
	void *cookie;
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned bytes = 1; bytes < 12; bytes++)
		guest_post(&g, 0, bytes);
	good = guest_post(&g, 0, 100);
	guest_kick(&g, 0);
	sent_new(&s, 60, 3);
	assert_int_equal(deliver_one(&g, &s), 1);
	for (unsigned bytes = 1; bytes < 12; bytes++)
		assert_int_equal(guest_used(&g, 0, NULL), 0);
	assert_int_equal(guest_used(&g, 0, &cookie), 72);
	assert_ptr_equal(cookie, good);
	assert_int_equal(guest_stats(&g, 0).runt, 11);
	free(s.data);
	guest_stop(&g);
}

static void nothing_but_runt_buffers_come_back_and_the_frame_is_lost(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 256; i++)
		guest_post(&g, 0, 11);
	guest_kick(&g, 0);
	sent_new(&s, 60, 3);
	assert_int_equal(vireo_net_receive_deliver(g.net, 0, &s.pointer, 1), 0);
	for (unsigned i = 0; i < 256; i++) /* seen without a flush: the caller had nothing to flush */
		assert_int_equal(guest_used(&g, 0, NULL), 0);
	assert_int_equal(guest_stats(&g, 0).runt, 256);
	assert_int_equal(guest_stats(&g, 0).no_buffer, 1);
	guest_poll(&g);
	assert_false(g.at.broken);
	free(s.data);
	guest_stop(&g);
}

static void readable_part_of_a_receive_buffer_is_left_alone(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct iovec iov[2];
	uint8_t *p;
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	p = guest_alloc(&g, 200);
	memset(p, 0xee, 200);
	iov[0] = (struct iovec){.iov_base = p, .iov_len = 100};
	iov[1] = (struct iovec){.iov_base = p + 100, .iov_len = 100};
	guest_add(&g, 0, iov, 1, 1, p);
	guest_add(&g, 0, iov, 1, 0, p); /* and one with no writable part at all is a runt */
	guest_kick(&g, 0);
	sent_new(&s, 60, 3);
	assert_int_equal(deliver_one(&g, &s), 1);
	assert_int_equal(deliver_one(&g, &s), 0);
	assert_int_equal(guest_used(&g, 0, NULL), 72);
	assert_int_equal(guest_used(&g, 0, NULL), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(p[i], 0xee);
	assert_memory_equal(p + 112, s.data, 60);
	free(s.data);
	guest_stop(&g);
}

static void offload_that_the_driver_did_not_accept_is_refused(void **state)
{
	static const struct {
		struct vireo_frame_offload offload;
		uint64_t features; /* that it needs */
	} rows[] = {
		{{.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}, F(GUEST_CSUM)},
		{{.flags = VIREO_FRAME_NEEDS_CSUM,
		  .gso = VIREO_GSO_TCP4,
		  .segment_bytes = 20,
		  .csum_start = 34,
		  .csum_offset = 16},
		 F(GUEST_CSUM) | F(GUEST_TSO4)},
		{{.flags = VIREO_FRAME_NEEDS_CSUM,
		  .gso = VIREO_GSO_TCP6,
		  .segment_bytes = 20,
		  .csum_start = 54,
		  .csum_offset = 16},
		 F(GUEST_CSUM) | F(GUEST_TSO6)},
		{{.flags = VIREO_FRAME_NEEDS_CSUM | VIREO_FRAME_ECN,
		  .gso = VIREO_GSO_TCP4,
		  .segment_bytes = 20,
		  .csum_start = 34,
		  .csum_offset = 16},
		 F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_ECN)},
		{{.flags = VIREO_FRAME_NEEDS_CSUM,
		  .gso = VIREO_GSO_UDP_FRAG,
		  .segment_bytes = 20,
		  .csum_start = 34,
		  .csum_offset = 6},
		 F(GUEST_CSUM) | F(GUEST_UFO)},
		{{.flags = VIREO_FRAME_NEEDS_CSUM,
		  .gso = VIREO_GSO_UDP4,
		  .segment_bytes = 20,
		  .csum_start = 34,
		  .csum_offset = 6},
		 F(GUEST_CSUM) | F(GUEST_USO4)},
		{{.flags = VIREO_FRAME_NEEDS_CSUM,
		  .gso = VIREO_GSO_UDP6,
		  .segment_bytes = 20,
		  .csum_start = 54,
		  .csum_offset = 6},
		 F(GUEST_CSUM) | F(GUEST_USO6)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t last = UINT64_C(1) << (63 - __builtin_clzll(rows[i].features));

		if (rows[i].offload.flags & VIREO_FRAME_ECN)
			last = F(GUEST_ECN);
		for (unsigned accepted = 0; accepted < 2; accepted++) {
			const struct guest_config config = {
				.features = V1 | (accepted ? rows[i].features : rows[i].features & ~last)};
			struct virtio_net_header header;
			uint8_t *buffer;
			struct sent s;
			struct guest g;

			guest_start(&g, &config);
			buffer = guest_post(&g, 0, 300);
			guest_kick(&g, 0);
			sent_new(&s, 200, 3);
			s.frame.offload = rows[i].offload;
			assert_int_equal(deliver_one(&g, &s), accepted);
			assert_int_equal(guest_stats(&g, 0).offload_refused, !accepted);
			memcpy(&header, buffer, sizeof(header));
			assert_int_equal(header.flags, accepted ? NET_HDR_F_NEEDS_CSUM : 0);
			assert_int_equal(header.csum_start, accepted ? rows[i].offload.csum_start : 0);
			assert_int_equal(header.gso_size, accepted ? rows[i].offload.segment_bytes : 0);
			assert_int_equal(header.num_buffers, accepted);
			free(s.data);
			guest_stop(&g);
		}
	}
}

static void data_valid_is_said_only_to_a_driver_with_guest_csum(void **state)
{
	for (unsigned accepted = 0; accepted < 2; accepted++) {
		const struct guest_config config = {.features = V1 | (accepted ? F(GUEST_CSUM) : 0)};
		uint8_t *buffer;
		struct sent s;
		struct guest g;

		guest_start(&g, &config);
		buffer = guest_post(&g, 0, 300);
		guest_kick(&g, 0);
		sent_new(&s, 200, 3);
		s.frame.offload.flags = VIREO_FRAME_DATA_VALID;
		assert_int_equal(deliver_one(&g, &s), 1);
		assert_int_equal(buffer[0], accepted ? NET_HDR_F_DATA_VALID : 0);
		free(s.data);
		guest_stop(&g);
	}
}

static void frame_beyond_the_accepted_mtu_is_too_long_but_for_its_tag_and_gso(void **state)
{
	const struct guest_config config = {.features = V1 | F(MTU) | F(GUEST_CSUM) | F(GUEST_TSO4),
					    .mtu = 1500};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 4; i++)
		guest_post(&g, 0, 4000);
	guest_kick(&g, 0);
	sent_new(&s, 3000, 3);
	s.frame.len_bytes = 1514;
	assert_int_equal(deliver_one(&g, &s), 1);
	s.frame.len_bytes = 1515;
	assert_int_equal(deliver_one(&g, &s), 0);
	s.frame.head[12] = 0x81;
	s.frame.len_bytes = 1518;
	assert_int_equal(deliver_one(&g, &s), 1);
	s.frame.len_bytes = 1519;
	assert_int_equal(deliver_one(&g, &s), 0);
	s.frame.len_bytes = 3000;
	s.frame.offload = (struct vireo_frame_offload){.gso = VIREO_GSO_TCP4,
						       .flags = VIREO_FRAME_NEEDS_CSUM,
						       .segment_bytes = 1448,
						       .csum_start = 34,
						       .csum_offset = 16};
	assert_int_equal(deliver_one(&g, &s), 1);
	assert_int_equal(guest_stats(&g, 0).too_long, 2);
	free(s.data);
	guest_stop(&g);
}

static void disabled_queue_gets_nothing(void **state)
{
	const struct guest_config config = {.features = MERGE, .disabled = true};
	struct vireo_packet packet = {0};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	guest_post(&g, 0, 300);
	guest_kick(&g, 0);
	sent_new(&s, 60, 3);
	packet.data = s.data;
	packet.len_bytes = 60;
	assert_int_equal(deliver_one(&g, &s), 0);
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1), 1);
	assert_int_equal(guest_stats(&g, 0).disabled, 2);
	assert_int_equal(guest_used(&g, 0, NULL), -1);
	device_queue_enable(g.at.device, 0, true);
	assert_int_equal(deliver_one(&g, &s), 1);
	free(s.data);
	guest_stop(&g);
}

static void enqueue_takes_bursts_of_any_size_until_buffers_end(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct vireo_packet packets[300] = {0};
	uint8_t data[60];
	struct guest g;

	guest_start(&g, &config);
	frame_fill(data, sizeof(data), 3);
	for (unsigned i = 0; i < 200; i++)
		guest_post(&g, 0, 100);
	guest_kick(&g, 0);
	for (unsigned i = 0; i < 300; i++)
		packets[i] = (struct vireo_packet){.data = data, .len_bytes = sizeof(data)};
	packets[10].len_bytes = 13; /* can never go: taken, and takes no buffer */
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, packets, 300), 201);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(guest_used(&g, 0, NULL), 72);
	assert_int_equal(guest_used(&g, 0, NULL), -1);
	assert_int_equal(guest_stats(&g, 0).frames, 200);
	assert_int_equal(guest_stats(&g, 0).runt, 1);
	assert_int_equal(guest_stats(&g, 0).no_buffer, 0); /* the caller still has it */
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, packets + 201, 99), 0);
	guest_stop(&g);
}

static void room_is_what_holds_nothing_yet(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct guest_config config = {.features = MERGE | (packed ? VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) : 0)};
		struct sent s;
		struct guest g;

		guest_start(&g, &config);
		assert_int_equal(vireo_net_receive_room(g.net, 0), 0);
		assert_int_equal(vireo_net_receive_room(g.net, 7), 0);
		for (unsigned i = 0; i < 100; i++)
			guest_post(&g, 0, 256);
		guest_kick(&g, 0);
		assert_int_equal(vireo_net_receive_room(g.net, 0), 100);
		sent_new(&s, 60, 1);
		assert_int_equal(deliver_one(&g, &s), 1); /* what is popped ahead is room */
		assert_int_equal(vireo_net_receive_room(g.net, 0), 99);
		guest_stop(&g);
		free(s.data);
	}
}

static void broken_ring_says_so(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	((uint16_t *)g.at.queues[0].driver)[1] = 300; /* the available index, of a ring of 256 */
	sent_new(&s, 60, 3);
	assert_int_equal(vireo_net_receive_deliver(g.net, 0, &s.pointer, 1), -EPROTO);
	guest_poll(&g);
	assert_true(g.at.broken);
	free(s.data);
	guest_stop(&g);
}

/* ---- whatever ring and buffers: what goes in comes out ---- */

struct stream {
	struct guest from, to;
	unsigned seed;
	uint64_t sent, got; /* frames */
	uint8_t packet[12 + 3000];
};

static unsigned stream_random(struct stream *s, unsigned below)
{
	return (unsigned)rand_r(&s->seed) % below;
}

static size_t stream_bytes(uint64_t number)
{
	return 20 + (size_t)(number * 7919 % 2900);
}

static void stream_frame(uint64_t number, uint8_t *frame)
{
	frame_fill(frame, stream_bytes(number), (uint8_t)(number * 31));
	memcpy(frame + 14, &number, 4);
}

static void stream_send(struct stream *s)
{
	uint8_t packet[12 + 3000] = {0};
	unsigned cuts[4];

	stream_frame(s->sent, packet + 12);
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++)
		cuts[i] = 1 + stream_random(s, 40);
	guest_send(&s->from, 1, packet, 12 + stream_bytes(s->sent), cuts, stream_random(s, 5));
	s->sent++;
}

static void stream_post(struct stream *s, bool merge)
{
	size_t bytes = merge ? 12 + stream_random(s, 1500) : 3100;
	struct iovec iov[3];
	uint8_t *p = guest_alloc(&s->to, bytes);
	unsigned cut = 1 + stream_random(s, 11);

	iov[0] = (struct iovec){.iov_base = p, .iov_len = cut};
	iov[1] = (struct iovec){.iov_base = p + cut, .iov_len = bytes - cut};
	guest_add(&s->to, 0, iov, 0, 2, p);
}

/* Reads one frame as a driver does; false: none there. */
static bool stream_get(struct stream *s)
{
	uint8_t expected[3000];
	size_t at = 0, bytes = stream_bytes(s->got);
	unsigned buffers = 1;

	for (unsigned i = 0; i < buffers; i++) {
		void *cookie;
		int used = guest_used(&s->to, 0, &cookie);

		if (used < 0 && !i)
			return false;
		assert_true(used >= 0 && at + (size_t)used <= sizeof(s->packet));
		memcpy(s->packet + at, cookie, (size_t)used);
		at += (size_t)used;
		if (!i)
			buffers = ((struct virtio_net_header *)cookie)->num_buffers;
	}
	stream_frame(s->got, expected);
	assert_int_equal(at, 12 + bytes);
	assert_memory_equal(s->packet + 12, expected, bytes);
	s->got++;
	return true;
}

static void stream_round(struct stream *s, bool merge)
{
	struct vireo_frame frames[40], *pointers[40];
	int n;

	s->from.at.used_bytes = s->to.at.used_bytes = GUEST_MEMORY_BYTES / 2;
	for (unsigned i = stream_random(s, 20); i; i--)
		stream_send(s);
	for (unsigned i = 0; i < 110; i++)
		stream_post(s, merge);
	guest_kick(&s->from, 1);
	guest_kick(&s->to, 0);
	while ((n = vireo_net_transmit_look(s->from.net, 0, frames, 1 + stream_random(s, 40))) > 0) {
		for (int i = 0; i < n; i++)
			pointers[i] = &frames[i];
		assert_int_equal(vireo_net_receive_deliver(s->to.net, 0, pointers, (unsigned)n), n);
		vireo_net_receive_flush(s->to.net, 0);
		vireo_net_transmit_complete(s->from.net, 0);
	}
	assert_int_equal(n, 0);
	while (guest_used(&s->from, 1, NULL) >= 0)
		;
	while (stream_get(s))
		;
	assert_int_equal(s->got, s->sent);
}

/* Empties the receive ring: its buffers' memory is used again in the next round. */
static void stream_drain(struct stream *s, bool merge)
{
	struct vireo_packet packet = {.data = s->packet};
	int r;

	frame_fill(s->packet, 14, 1);
	packet.len_bytes = 14;
	do
		r = vireo_net_enqueue_burst(s->to.net, 0, &packet, 1);
	while (r == 1);
	while (guest_used(&s->to, 0, NULL) >= 0)
		;
}

static void stream_run(uint64_t ring_features, bool merge)
{
	const struct guest_config config = {.features = V1 | ring_features | (merge ? F(MRG_RXBUF) : 0)};
	struct stream s = {.seed = 42};

	guest_start(&s.from, &config);
	guest_start(&s.to, &config);
	for (unsigned i = 0; i < 60; i++) {
		stream_round(&s, merge);
		stream_drain(&s, merge);
	}
	assert_true(s.sent > 300);
	assert_false(s.from.at.broken || s.to.at.broken);
	guest_stop(&s.from);
	guest_stop(&s.to);
}

static void what_is_sent_arrives_over_every_kind_of_ring(void **state)
{
	static const unsigned bits[] = {VIREO_F_RING_PACKED_BIT, VIREO_F_RING_INDIRECT_DESC_BIT,
					VIREO_F_RING_EVENT_IDX_BIT, VIREO_F_IN_ORDER_BIT};

	for (unsigned mask = 0; mask < 16; mask++) {
		uint64_t features = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
			if (mask >> i & 1)
				features |= VIREO_FEATURE(bits[i]);
		stream_run(features, false);
		stream_run(features, true);
	}
}

static void frame_that_needs_a_thousand_buffers_is_too_long(void **state)
{
	const struct guest_config config = {.features = MERGE, .queue_size = 2048};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	guest_post(&g, 0, 12);
	for (unsigned i = 0; i < 1500; i++)
		guest_post(&g, 0, 1);
	guest_kick(&g, 0);
	sent_new(&s, 1023, 3); /* with the header 1024 buffers */
	assert_int_equal(deliver_one(&g, &s), 1);
	assert_int_equal(guest_stats(&g, 0).too_long, 0);
	free(s.data);
	guest_stop(&g);

	guest_start(&g, &config);
	guest_post(&g, 0, 12);
	for (unsigned i = 0; i < 1500; i++)
		guest_post(&g, 0, 1);
	guest_kick(&g, 0);
	sent_new(&s, 1024, 3);
	assert_int_equal(deliver_one(&g, &s), 0);
	assert_int_equal(guest_stats(&g, 0).too_long, 1);
	free(s.data);
	guest_stop(&g);
}

static void runt_buffers_are_given_back_some_at_a_time(void **state)
{
	const struct guest_config config = {.features = MERGE, .queue_size = 1024};
	struct sent s;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 600; i++)
		guest_post(&g, 0, 11);
	guest_post(&g, 0, 100);
	guest_kick(&g, 0);
	sent_new(&s, 60, 3);
	assert_int_equal(deliver_one(&g, &s), 0);
	assert_in_range(guest_stats(&g, 0).runt, 200, 300);
	for (unsigned i = 0; i < 2; i++)
		deliver_one(&g, &s);
	assert_int_equal(guest_stats(&g, 0).runt, 600);
	assert_int_equal(guest_stats(&g, 0).frames, 1);
	free(s.data);
	guest_stop(&g);
}

/* ---- memory that is yet to come ---- */

#define LISTED 6u

/* The buffer that is posted as number `nth`: its address is nowhere yet. */
static void post_nowhere(struct guest *g, unsigned nth)
{
	struct split_desc *descs = g->at.queues[0].desc;

	guest_post(g, 0, 256);
	descs[nth].addr = htole64(GUEST_GPA + GUEST_MEMORY_BYTES + 4096);
	guest_kick(g, 0);
}

static void list_new(struct sent *sent, struct vireo_frame **list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		sent_new(&sent[i], 64 + i, (uint8_t)i);
		list[i] = sent[i].pointer;
	}
}

static void list_free(struct sent *sent, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(sent[i].data);
}

static void frames_from_the_first_that_has_to_wait_are_left(void **state)
{
	const struct guest_config config = {.features = MERGE, .lazy = true};
	struct vireo_frame *list[LISTED];
	struct sent sent[LISTED];
	struct guest g;

	guest_start(&g, &config);
	list_new(sent, list, LISTED);
	sent[1].frame.offload.gso = VIREO_GSO_TCP4; /* refused, which is no waiting */
	for (unsigned i = 0; i < 3; i++)
		guest_post(&g, 0, 256);
	post_nowhere(&g, 3);
	assert_true(vireo_queue_may_wait(vireo_device_queue(g.at.device, 0)));
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list, LISTED), 3);
	vireo_net_receive_flush(g.net, 0);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 2);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 0); /* once */
	assert_int_equal(guest_stats(&g, 0).no_buffer, 0);
	assert_int_equal(guest_stats(&g, 0).offload_refused, 1);
	guest_poll(&g);
	assert_int_equal(g.at.misses, 1);
	assert_false(g.at.broken);
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list, 1), 0); /* and again, until it has been started anew */
	assert_int_equal(vireo_net_receive_left(g.net, 0), 1);
	list_free(sent, LISTED);
	guest_stop(&g);
}

/* It is found when the queue pops ahead, behind a frame that has gone. */
static void a_queue_that_waits_has_room_for_what_is_left_to_the_caller(void **state)
{
	const struct guest_config config = {.features = MERGE, .lazy = true};
	struct vireo_frame *list[LISTED];
	struct sent sent[LISTED];
	struct guest g;

	guest_start(&g, &config);
	list_new(sent, list, LISTED);
	guest_post(&g, 0, 256);
	post_nowhere(&g, 1);
	assert_int_equal(vireo_net_receive_room(g.net, 0), 2);
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list, 2), 1);
	vireo_net_receive_flush(g.net, 0);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 1);
	assert_true(vireo_queue_waits(vireo_device_queue(g.at.device, 0)));
	assert_int_equal(vireo_net_receive_room(g.net, 0), vireo_queue_size(vireo_device_queue(g.at.device, 0)));
	list_free(sent, LISTED);
	guest_stop(&g);
}

static void who_delivers_and_does_not_offer_loses_them(void **state)
{
	const struct guest_config config = {.features = MERGE, .lazy = true};
	struct vireo_frame *list[LISTED];
	struct sent sent[LISTED];
	struct guest g;

	guest_start(&g, &config);
	list_new(sent, list, LISTED);
	post_nowhere(&g, 0);
	assert_int_equal(vireo_net_receive_deliver(g.net, 0, list, LISTED), 0);
	assert_int_equal(guest_stats(&g, 0).no_buffer, LISTED);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 0);
	list_free(sent, LISTED);
	guest_stop(&g);
}

static void where_there_is_no_buffer_at_all_nothing_is_left(void **state)
{
	const struct guest_config config = {.features = MERGE, .lazy = true};
	struct vireo_frame *list[LISTED];
	struct sent sent[LISTED];
	struct guest g;

	guest_start(&g, &config);
	list_new(sent, list, LISTED);
	guest_post(&g, 0, 256);
	guest_kick(&g, 0);
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list, LISTED), 1);
	vireo_net_receive_flush(g.net, 0);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 0);
	assert_int_equal(guest_stats(&g, 0).no_buffer, LISTED - 1);
	assert_int_equal(vireo_net_receive_left(g.net, 7), 0); /* no such pair */
	list_free(sent, LISTED);
	guest_stop(&g);
}

static void who_keeps_frames_is_left_those_without_a_buffer(void **state)
{
	const struct guest_config config = {.features = MERGE};
	struct vireo_frame *list[LISTED];
	struct sent sent[LISTED];
	struct guest g;

	guest_start(&g, &config);
	list_new(sent, list, LISTED);
	vireo_net_receive_keep(g.net, true);
	guest_post(&g, 0, 256);
	guest_kick(&g, 0);
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list, LISTED), 1);
	vireo_net_receive_flush(g.net, 0);
	assert_false(vireo_queue_waits(vireo_device_queue(g.at.device, 0)));
	assert_int_equal(vireo_net_receive_left(g.net, 0), LISTED - 1);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 0); /* once */
	for (unsigned i = 1; i < LISTED; i++)
		guest_post(&g, 0, 256);
	guest_kick(&g, 0);
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list + 1, LISTED - 1), LISTED - 1); /* again, when there are some */
	vireo_net_receive_flush(g.net, 0);
	assert_int_equal(guest_stats(&g, 0).no_buffer, 0);
	vireo_net_receive_keep(g.net, false);
	assert_int_equal(vireo_net_receive_offer(g.net, 0, list, LISTED), 0);
	assert_int_equal(vireo_net_receive_left(g.net, 0), 0);
	assert_int_equal(guest_stats(&g, 0).no_buffer, LISTED);
	list_free(sent, LISTED);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_keeps_frames_is_left_those_without_a_buffer),
		cmocka_unit_test(frame_goes_behind_its_header_into_one_buffer),
		cmocka_unit_test(legacy_header_has_ten_bytes),
		cmocka_unit_test(receiver_gets_the_private_head),
		cmocka_unit_test(frame_that_spans_buffers_names_their_number),
		cmocka_unit_test(header_and_frame_may_be_scattered_over_descriptors),
		cmocka_unit_test(too_few_buffers_are_all_left_for_the_next_frame),
		cmocka_unit_test(without_mrg_rxbuf_a_frame_uses_one_buffer_or_is_too_long),
		cmocka_unit_test(frame_that_the_whole_ring_cannot_hold_is_too_long),
		cmocka_unit_test(ring_is_full_by_entries_and_not_by_buffers),
		cmocka_unit_test(runt_buffer_goes_back_empty_and_the_next_is_tried),
		cmocka_unit_test(nothing_but_runt_buffers_come_back_and_the_frame_is_lost),
		cmocka_unit_test(readable_part_of_a_receive_buffer_is_left_alone),
		cmocka_unit_test(offload_that_the_driver_did_not_accept_is_refused),
		cmocka_unit_test(data_valid_is_said_only_to_a_driver_with_guest_csum),
		cmocka_unit_test(frame_beyond_the_accepted_mtu_is_too_long_but_for_its_tag_and_gso),
		cmocka_unit_test(disabled_queue_gets_nothing),
		cmocka_unit_test(enqueue_takes_bursts_of_any_size_until_buffers_end),
		cmocka_unit_test(room_is_what_holds_nothing_yet),
		cmocka_unit_test(broken_ring_says_so),
		cmocka_unit_test(what_is_sent_arrives_over_every_kind_of_ring),
		cmocka_unit_test(frame_that_needs_a_thousand_buffers_is_too_long),
		cmocka_unit_test(runt_buffers_are_given_back_some_at_a_time),
		cmocka_unit_test(frames_from_the_first_that_has_to_wait_are_left),
		cmocka_unit_test(a_queue_that_waits_has_room_for_what_is_left_to_the_caller),
		cmocka_unit_test(who_delivers_and_does_not_offer_loses_them),
		cmocka_unit_test(where_there_is_no_buffer_at_all_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
