/* SPDX-License-Identifier: BSD-3-Clause */

/* Transmit queues: look, complete, dequeue; and what a guest may say in front of a frame. */

#include "device/device.h"
#include "model/net/net_test_guest.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN (V1 | F(MRG_RXBUF))
#define OFFLOADS (PLAIN | F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6))

/* The frame's bytes as they lie in its pieces. */
static void assert_frame(const struct vireo_frame *frame, const uint8_t *expected, size_t bytes)
{
	size_t at = 0;

	assert_int_equal(frame->len_bytes, bytes);
	for (uint32_t i = 0; i < frame->iov_count; i++) {
		assert_in_range(frame->iov[i].iov_len, 1, bytes - at);
		assert_memory_equal(frame->iov[i].iov_base, expected + at, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
	assert_int_equal(at, bytes);
	assert_memory_equal(frame->head, expected, bytes < 18 ? bytes : 18);
}

static void send_and_look(struct guest *g, const uint8_t *packet, size_t bytes, const unsigned *cuts,
			  unsigned cut_count, size_t header_bytes)
{
	struct vireo_frame frames[4];

	guest_send(g, 1, packet, bytes, cuts, cut_count);
	guest_kick(g, 1);
	assert_int_equal(vireo_net_transmit_look(g->net, 0, frames, 4), 1);
	assert_frame(&frames[0], packet + header_bytes, bytes - header_bytes);
	assert_int_equal(frames[0].offload.gso, VIREO_GSO_NONE);
	assert_int_equal(frames[0].offload.flags, 0);
	assert_int_equal(guest_used(g, 1, NULL), -1);
	vireo_net_transmit_complete(g->net, 0);
	assert_int_equal(guest_used(g, 1, NULL), 0);
}

static void header_split_over_any_number_of_descriptors_is_taken(void **state)
{
	static const struct {
		unsigned cuts[40];
		unsigned count;
	} layouts[] = {
		{{0}, 0},
		{{12}, 1},
		{{11}, 1},
		{{13}, 1},
		{{29}, 1},
		{{30}, 1},
		{{31}, 1},
		{{5, 6, 7}, 3},
		{{12, 1, 1}, 3},
		{{10, 2}, 2},
		{{1, 10, 1, 14}, 4},
		{{12, 17}, 2},
		{{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		 32},
	};
	const struct guest_config config = {.features = PLAIN};
	uint8_t packet[12 + 100] = {0};
	struct guest g;

	guest_start(&g, &config);
	frame_fill(packet + 12, 100, 7);
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++)
		for (size_t bytes = 14; bytes <= 100; bytes += bytes < 20 ? 1 : 80)
			send_and_look(&g, packet, 12 + bytes, layouts[i].cuts, layouts[i].count, 12);
	guest_stop(&g);
}

static void legacy_header_has_ten_bytes(void **state)
{
	const struct guest_config config = {.features = F(CSUM)};
	const unsigned cuts[] = {3, 7};
	uint8_t packet[10 + 64] = {0};
	struct guest g;

	guest_start(&g, &config);
	frame_fill(packet + 10, 64, 9);
	send_and_look(&g, packet, sizeof(packet), NULL, 0, 10);
	send_and_look(&g, packet, sizeof(packet), cuts, 2, 10);
	guest_stop(&g);
}

static void legacy_header_with_mergeable_buffers_has_twelve_bytes(void **state)
{
	const struct guest_config config = {.features = F(MRG_RXBUF)};
	uint8_t packet[12 + 64] = {0};
	struct guest g;

	guest_start(&g, &config);
	frame_fill(packet + 12, 64, 9);
	send_and_look(&g, packet, sizeof(packet), NULL, 0, 12);
	guest_stop(&g);
}

static void chain_shorter_than_header_and_ethernet_header_is_a_runt(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	uint8_t packet[12 + 14] = {0};
	struct vireo_frame frame;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned bytes = 1; bytes < sizeof(packet); bytes++) {
		guest_send(&g, 1, packet, bytes, NULL, 0);
		guest_kick(&g, 1);
		assert_int_equal(vireo_net_transmit_look(g.net, 0, &frame, 1), 0);
		assert_int_equal(guest_used(&g, 1, NULL), 0);
		assert_int_equal(guest_stats(&g, 1).runt, bytes);
	}
	assert_int_equal(guest_stats(&g, 1).frames, 0);
	send_and_look(&g, packet, sizeof(packet), NULL, 0, 12);
	assert_false(g.at.broken);
	guest_stop(&g);
}

/* A chain with nothing but writable parts is a header short of everything. */
static void chain_without_readable_part_is_a_runt(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct vireo_frame frame;
	struct guest g;
	struct iovec iov;

	guest_start(&g, &config);
	iov = (struct iovec){.iov_base = guest_alloc(&g, 100), .iov_len = 100};
	guest_add(&g, 1, &iov, 0, 1, NULL);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &frame, 1), 0);
	assert_int_equal(guest_used(&g, 1, NULL), 0);
	assert_int_equal(guest_stats(&g, 1).runt, 1);
	guest_stop(&g);
}

static void writable_part_of_a_transmit_chain_is_left_alone(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct vireo_frame frame;
	struct iovec iov[2];
	uint8_t *p, *q;
	struct guest g;

	guest_start(&g, &config);
	p = guest_alloc(&g, 12 + 64);
	q = guest_alloc(&g, 32);
	frame_fill(p + 12, 64, 1);
	memset(q, 0xee, 32);
	iov[0] = (struct iovec){.iov_base = p, .iov_len = 12 + 64};
	iov[1] = (struct iovec){.iov_base = q, .iov_len = 32};
	guest_add(&g, 1, iov, 1, 1, p);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &frame, 1), 1);
	assert_frame(&frame, p + 12, 64);
	vireo_net_transmit_complete(g.net, 0);
	assert_int_equal(guest_used(&g, 1, NULL), 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(q[i], 0xee);
	guest_stop(&g);
}

static void frame_longer_than_any_may_be_is_dropped(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	uint8_t *packet = calloc(1, 12 + NET_FRAME_BYTES_MAX + 1);
	struct vireo_frame frame;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(packet + 12, NET_FRAME_BYTES_MAX + 1, 3);
	guest_send(&g, 1, packet, 12 + NET_FRAME_BYTES_MAX + 1, NULL, 0);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &frame, 1), 0);
	assert_int_equal(guest_stats(&g, 1).too_long, 1);
	assert_int_equal(guest_used(&g, 1, NULL), 0);
	send_and_look(&g, packet, 12 + NET_FRAME_BYTES_MAX, NULL, 0, 12);
	free(packet);
	guest_stop(&g);
}

static void offload_that_lies_costs_its_frame_and_not_the_device(void **state)
{
	static const struct {
		const char *lie;
		struct virtio_net_header header;
	} lies[] = {
		{"checksum beyond the end",
		 {.flags = NET_HDR_F_NEEDS_CSUM, .csum_start = 98, .csum_offset = 1}},
		{"checksum offset wraps",
		 {.flags = NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 0xffff}},
		{"checksum start wraps",
		 {.flags = NET_HDR_F_NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff}},
		{"unknown GSO type",
		 {.flags = NET_HDR_F_NEEDS_CSUM,
		  .gso_type = 0x17,
		  .gso_size = 10,
		  .csum_start = 34,
		  .csum_offset = 16}},
		{"UFO was not negotiated",
		 {.flags = NET_HDR_F_NEEDS_CSUM,
		  .gso_type = NET_HDR_GSO_UDP,
		  .gso_size = 10,
		  .csum_start = 34,
		  .csum_offset = 6}},
		{"ECN was not negotiated",
		 {.flags = NET_HDR_F_NEEDS_CSUM,
		  .gso_type = NET_HDR_GSO_TCPV4 | NET_HDR_GSO_ECN,
		  .gso_size = 10,
		  .csum_start = 34,
		  .csum_offset = 16}},
		{"segments of no bytes",
		 {.flags = NET_HDR_F_NEEDS_CSUM,
		  .gso_type = NET_HDR_GSO_TCPV4,
		  .gso_size = 0,
		  .csum_start = 34,
		  .csum_offset = 16}},
	};
	const struct guest_config config = {.features = OFFLOADS};
	struct vireo_frame frames[2];
	uint8_t frame[100];
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		guest_send_frame(&g, 0, &lies[i].header, frame, sizeof(frame), i & 1);
		guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
		guest_kick(&g, 1);
		if (vireo_net_transmit_look(g.net, 0, frames, 2) != 1)
			fail_msg("%s", lies[i].lie);
		vireo_net_transmit_complete(g.net, 0);
		assert_int_equal(guest_used(&g, 1, NULL), 0);
		assert_int_equal(guest_used(&g, 1, NULL), 0);
		assert_int_equal(guest_stats(&g, 1).bad_offload, i + 1);
	}
	guest_poll(&g);
	assert_false(g.at.broken);
	guest_stop(&g);
}

static void checksum_request_without_the_feature_is_refused(void **state)
{
	const struct virtio_net_header header = {
		.flags = NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	const struct guest_config config = {.features = PLAIN};
	uint8_t frame[100];
	struct vireo_frame looked;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	guest_send_frame(&g, 0, &header, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &looked, 1), 0);
	assert_int_equal(guest_stats(&g, 1).bad_offload, 1);
	guest_stop(&g);
}

static void offload_request_is_described(void **state)
{
	const struct virtio_net_header header = {.flags = NET_HDR_F_NEEDS_CSUM,
						 .gso_type = NET_HDR_GSO_TCPV4,
						 .hdr_len = 54,
						 .gso_size = 20,
						 .csum_start = 34,
						 .csum_offset = 16};
	const struct guest_config config = {.features = OFFLOADS};
	uint8_t frame[100];
	struct vireo_frame looked;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	guest_send_frame(&g, 0, &header, frame, sizeof(frame), false);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &looked, 1), 1);
	assert_int_equal(looked.offload.gso, VIREO_GSO_TCP4);
	assert_int_equal(looked.offload.flags, VIREO_FRAME_NEEDS_CSUM);
	assert_int_equal(looked.offload.segment_bytes, 20);
	assert_int_equal(looked.offload.csum_start, 34);
	assert_int_equal(looked.offload.csum_offset, 16);
	vireo_net_transmit_complete(g.net, 0);
	guest_stop(&g);
}

static void fields_without_their_flag_are_not_used(void **state)
{
	const struct virtio_net_header header = {
		.csum_start = 0xffff, .csum_offset = 0xffff, .gso_size = 7, .hdr_len = 9};
	const struct guest_config config = {.features = OFFLOADS};
	static const struct vireo_frame_offload none;
	uint8_t frame[100];
	struct vireo_frame looked;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	guest_send_frame(&g, 0, &header, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &looked, 1), 1);
	assert_memory_equal(&looked.offload, &none, sizeof(none));
	vireo_net_transmit_complete(g.net, 0);
	guest_stop(&g);
}

/* The caller sees 0 and goes to sleep: nothing of the burst may be left behind. */
static void burst_of_nothing_but_bad_frames_is_given_back_at_once(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	uint8_t frame[64];
	struct vireo_frame frames[8];
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	for (unsigned i = 0; i < 100; i++)
		guest_send(&g, 1, frame, 5, NULL, 0);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 8), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(guest_used(&g, 1, NULL), 0);
	assert_int_equal(guest_stats(&g, 1).runt, 100);
	guest_stop(&g);
}

static void burst_may_have_any_size(void **state)
{
	static const unsigned bursts[] = {1, 3, 63, 64, 65, 200, 256, 5000};
	const struct guest_config config = {.features = PLAIN};
	struct vireo_frame *frames = calloc(5000, sizeof(*frames));
	uint8_t frame[60];

	for (size_t b = 0; b < ARRAY_SIZE(bursts); b++) {
		unsigned got = 0;
		struct guest g;

		guest_start(&g, &config);
		for (unsigned i = 0; i < 256; i++) {
			frame_fill(frame, sizeof(frame), (uint8_t)i);
			guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
		}
		guest_kick(&g, 1);
		while (got < 256) {
			int n = vireo_net_transmit_look(g.net, 0, frames, bursts[b]);

			assert_int_equal(n, min_u32(bursts[b], 256 - got));
			for (int i = 0; i < n; i++) {
				frame_fill(frame, sizeof(frame), (uint8_t)(got + (unsigned)i));
				assert_frame(&frames[i], frame, sizeof(frame));
			}
			vireo_net_transmit_complete(g.net, 0);
			got += (unsigned)n;
		}
		assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, bursts[b]), 0);
		assert_int_equal(guest_stats(&g, 1).frames, 256);
		assert_int_equal(guest_stats(&g, 1).bytes, 256 * sizeof(frame));
		guest_stop(&g);
	}
	free(frames);
}

/* Those that are copied the usual way and those that are not, in one burst. */
static void each_dequeued_frame_is_counted_once(void **state)
{
	static const unsigned cut = 40;
	const struct guest_config config = {.features = PLAIN};
	uint8_t data[5][100], packet[12 + 100] = {0};
	struct vireo_packet packets[5];
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < ARRAY_SIZE(packets); i++) {
		packets[i] = (struct vireo_packet){.data = data[i], .capacity_bytes = sizeof(data[i])};
		frame_fill(packet + 12, 60 + i, (uint8_t)i);
		guest_send(&g, 1, packet, 12 + 60 + i, &cut, i % 2); /* every second in two pieces */
	}
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, packets, ARRAY_SIZE(packets)), ARRAY_SIZE(packets));
	for (unsigned i = 0; i < ARRAY_SIZE(packets); i++) {
		frame_fill(packet + 12, 60 + i, (uint8_t)i);
		assert_int_equal(packets[i].len_bytes, 60 + i);
		assert_memory_equal(data[i], packet + 12, 60 + i);
	}
	assert_int_equal(guest_stats(&g, 1).frames, ARRAY_SIZE(packets));
	assert_int_equal(guest_stats(&g, 1).bytes, 60 + 61 + 62 + 63 + 64);
	guest_stop(&g);
}

/* With indirect tables each of the ring's entries can hold more pieces than the arena has room for together.
 */
static void more_pieces_than_the_arena_holds_come_in_several_looks(void **state)
{
	const struct guest_config config = {.features =
						    PLAIN | VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT)};
	struct vireo_frame frames[256];
	uint8_t packet[12 + 100] = {0};
	unsigned cuts[63], got = 0, looks = 0;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(packet + 12, 100, 5);
	for (unsigned i = 0; i < 63; i++)
		cuts[i] = 1;
	for (unsigned i = 0; i < 256; i++)
		guest_send(&g, 1, packet, sizeof(packet), cuts, 63);
	guest_kick(&g, 1);
	for (; got < 256; looks++) {
		int n = vireo_net_transmit_look(g.net, 0, frames, 256);

		assert_true(n > 0);
		for (int i = 0; i < n; i++)
			assert_frame(&frames[i], packet + 12, 100);
		vireo_net_transmit_complete(g.net, 0);
		got += (unsigned)n;
	}
	assert_int_equal(got, 256);
	assert_true(looks > 1);
	guest_stop(&g);
}

static void disabled_queue_consumes_and_drops(void **state)
{
	const struct guest_config config = {.features = PLAIN, .disabled = true};
	uint8_t frame[60];
	struct vireo_frame looked;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	for (unsigned i = 0; i < 100; i++)
		guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &looked, 1), 0);
	assert_int_equal(guest_stats(&g, 1).disabled, 100);
	assert_int_equal(guest_stats(&g, 1).frames, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(guest_used(&g, 1, NULL), 0);
	guest_stop(&g);
}

static void dequeue_copies_bursts_of_any_size(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct vireo_packet packets[300];
	uint8_t frame[60], *store = calloc(300, 60);
	struct guest g;

	guest_start(&g, &config);
	for (unsigned i = 0; i < 128; i++) {
		frame_fill(frame, sizeof(frame), (uint8_t)i);
		guest_send_frame(&g, 0, NULL, frame, sizeof(frame), i & 1);
	}
	guest_kick(&g, 1);
	for (unsigned i = 0; i < 300; i++)
		packets[i] = (struct vireo_packet){.data = store + i * 60, .capacity_bytes = 60};
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, packets, 100), 100);
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, packets + 100, 200), 28);
	for (unsigned i = 0; i < 128; i++) {
		frame_fill(frame, sizeof(frame), (uint8_t)i);
		assert_int_equal(packets[i].len_bytes, 60);
		assert_memory_equal(packets[i].data, frame, 60);
		assert_int_equal(guest_used(&g, 1, NULL), 0);
	}
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, packets, 300), 0);
	free(store);
	guest_stop(&g);
}

static void dequeue_drops_what_is_longer_than_its_packet(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	uint8_t frame[100], store[80];
	struct vireo_packet packet = {.data = store, .capacity_bytes = sizeof(store)};
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	guest_send_frame(&g, 0, NULL, frame, 81, true);
	guest_send_frame(&g, 0, NULL, frame, 80, true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, &packet, 1), 1);
	assert_int_equal(packet.len_bytes, 80);
	assert_memory_equal(store, frame, 80);
	assert_int_equal(guest_stats(&g, 1).too_long, 1);
	assert_int_equal(guest_stats(&g, 1).frames, 1);
	guest_stop(&g);
}

/* An index beyond the ring's length is the ring's to find; here it must come out as -EPROTO and end the
 * session. */
static void broken_ring_says_so_and_breaks_the_device(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct vireo_frame frame;
	struct vireo_packet packet = {0};
	struct guest g;

	guest_start(&g, &config);
	((uint16_t *)g.at.queues[1].driver)[1] = 300; /* the available index, of a ring of 256 */
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &frame, 1), -EPROTO);
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, &packet, 1), -EPROTO);
	guest_poll(&g);
	assert_true(g.at.broken);
	guest_stop(&g);
}

static void completed_frames_move_the_ring_base(void **state)
{
	const struct guest_config config = {.features = PLAIN};
	struct vireo_frame frames[8];
	uint8_t frame[60];
	uint32_t base;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	for (unsigned i = 0; i < 5; i++)
		guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 3), 3);
	vireo_net_transmit_complete(g.net, 0);
	guest_quiesce(&g);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 3), 0); /* stopped: nothing to do */
	guest_resume(&g);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 8), 2);
	vireo_net_transmit_complete(g.net, 0);
	guest_quiesce(&g);
	assert_int_equal(device_queue_stop(g.at.device, 1, &base), 0);
	assert_int_equal(base, 5);
	guest_stop(&g);
}

static void bad_frames_do_not_hold_the_worker_for_long(void **state)
{
	const struct guest_config config = {.features = PLAIN, .queue_size = 4096};
	struct vireo_frame frames[64];
	uint8_t frame[64];
	unsigned calls = 0;
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	for (unsigned i = 0; i < 4096; i++)
		guest_send(&g, 1, frame, 5, NULL, 0);
	guest_kick(&g, 1);
	while (guest_stats(&g, 1).runt < 4096 && calls++ < 100) {
		assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 64), 0);
		assert_in_range(guest_stats(&g, 1).runt, 1, calls * 1024); /* some in each call */
		/* Who goes to sleep is told that there is more. */
		assert_int_equal(vireo_net_kick_enable(g.net, 1, true), guest_stats(&g, 1).runt < 4096);
	}
	assert_int_equal(guest_stats(&g, 1).runt, 4096);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_split_over_any_number_of_descriptors_is_taken),
		cmocka_unit_test(legacy_header_has_ten_bytes),
		cmocka_unit_test(legacy_header_with_mergeable_buffers_has_twelve_bytes),
		cmocka_unit_test(chain_shorter_than_header_and_ethernet_header_is_a_runt),
		cmocka_unit_test(chain_without_readable_part_is_a_runt),
		cmocka_unit_test(writable_part_of_a_transmit_chain_is_left_alone),
		cmocka_unit_test(frame_longer_than_any_may_be_is_dropped),
		cmocka_unit_test(offload_that_lies_costs_its_frame_and_not_the_device),
		cmocka_unit_test(checksum_request_without_the_feature_is_refused),
		cmocka_unit_test(offload_request_is_described),
		cmocka_unit_test(fields_without_their_flag_are_not_used),
		cmocka_unit_test(burst_of_nothing_but_bad_frames_is_given_back_at_once),
		cmocka_unit_test(burst_may_have_any_size),
		cmocka_unit_test(each_dequeued_frame_is_counted_once),
		cmocka_unit_test(more_pieces_than_the_arena_holds_come_in_several_looks),
		cmocka_unit_test(disabled_queue_consumes_and_drops),
		cmocka_unit_test(dequeue_copies_bursts_of_any_size),
		cmocka_unit_test(dequeue_drops_what_is_longer_than_its_packet),
		cmocka_unit_test(broken_ring_says_so_and_breaks_the_device),
		cmocka_unit_test(completed_frames_move_the_ring_base),
		cmocka_unit_test(bad_frames_do_not_hold_the_worker_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
