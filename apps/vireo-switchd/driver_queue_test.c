/* SPDX-License-Identifier: BSD-3-Clause */

/* A pair of rings of a device, and the device itself: libvireo's rings, over memory of this process. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "driver/ring/ring.h"
#include "driver_queue.h"
#include "lib/ring/ring.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <errno.h>

#define ENTRIES 64u
#define BUFFER_BYTES 256u
#define GPA UINT64_C(0x500000000)
#define RING_BYTES (1u << 18) /* of which tables are the most */
#define MEMORY_BYTES (2 * (RING_BYTES + ENTRIES * BUFFER_BYTES))
#define PIECES_MAX 1100u

struct side {
	struct vireo_driver_ring *driver;
	struct ring *device;
	uint8_t *buffers;
};

struct pair {
	uint8_t *memory;
	struct map *map;
	struct side rx, tx;
	struct driver_queue queue;
};

static struct pair pair;
static struct vireo_frame frames[ENTRIES];

static void side_new(struct side *side, unsigned number)
{
	uint8_t *at = pair.memory + number * (RING_BYTES + ENTRIES * BUFFER_BYTES);
	uint64_t gpa = GPA + (uint64_t)(at - pair.memory);
	struct driver_ring_setup setup = {
		.indirect = true,
		.size = ENTRIES,
		.desc = at,
		.driver = at + 2048,
		.device = at + 4096,
		.tables = at + 8192,
		.tables_gpa = gpa + 8192,
		.memory = {.host = at + RING_BYTES, .gpa = gpa + RING_BYTES, .bytes = ENTRIES * BUFFER_BYTES},
		.call_fd = -1,
	};
	struct ring_setup device = {.indirect = true,
				    .size = ENTRIES,
				    .desc = setup.desc,
				    .driver = setup.driver,
				    .device = setup.device,
				    .map = pair.map};
	const char *why;

	side->buffers = at + RING_BYTES;
	assert_int_equal(driver_ring_new(&setup, &side->driver), 0);
	assert_int_equal(ring_new(&device, &side->device, &why), 0);
}

static int pair_new(bool mergeable, unsigned offloads)
{
	struct driver_queue_setup setup = {
		.buffer_bytes = BUFFER_BYTES, .mergeable = mergeable, .indirect = true, .offloads = offloads};

	pair.memory = aligned_alloc(4096, MEMORY_BYTES);
	memset(pair.memory, 0, MEMORY_BYTES);
	pair.map = calloc(1, sizeof(*pair.map) + sizeof(pair.map->regions[0]));
	pair.map->count = 1;
	pair.map->regions[0] = (struct map_region){
		.gpa = GPA, .size_bytes = MEMORY_BYTES, .uaddr = GPA, .host = pair.memory};
	side_new(&pair.rx, 0);
	side_new(&pair.tx, 1);
	setup.rx = pair.rx.driver;
	setup.tx = pair.tx.driver;
	setup.rx_memory = pair.rx.buffers;
	setup.tx_memory = pair.tx.buffers;
	return driver_queue_init(&pair.queue, &setup);
}

static int setup(void **state)
{
	pair.queue = (struct driver_queue){.held = NULL};
	return pair_new(true, VIREO_OFFLOAD_CSUM);
}

static int setup_plain(void **state)
{
	pair.queue = (struct driver_queue){.held = NULL};
	return pair_new(false, 0);
}

static int teardown(void **state)
{
	driver_queue_fini(&pair.queue);
	driver_ring_free(pair.rx.driver);
	driver_ring_free(pair.tx.driver);
	ring_free(pair.rx.device);
	ring_free(pair.tx.device);
	free(pair.map);
	free(pair.memory);
	return 0;
}

static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + at / 256);
}

/*
 * The device receives a frame: its bytes follow the header over as many buffers as they take; what the header
 * says and how much of each buffer is used can be something else.
 */
static void device_receives(struct virtio_net_header header, uint32_t frame_bytes, uint16_t buffers,
			  uint32_t short_by)
{
	uint32_t at = 0, left = NET_HDR_BYTES + frame_bytes;
	struct iovec pieces[PIECES_MAX];
	struct vireo_chain chain;

	header.num_buffers = le16(buffers);
	while (left) {
		uint32_t part = left < BUFFER_BYTES - short_by ? left : BUFFER_BYTES - short_by;
		uint8_t *to;

		assert_int_equal(ring_pop(pair.rx.device, &chain, 1, pieces, PIECES_MAX), 1);
		to = chain.iov[0].iov_base;
		for (uint32_t i = 0; i < part; i++, at++)
			to[i] = at < NET_HDR_BYTES ? ((uint8_t *)&header)[at] : pattern(at - NET_HDR_BYTES);
		ring_push(pair.rx.device, &chain, &part, 1);
		left -= part;
	}
	ring_publish(pair.rx.device);
}

static void nothing_is_lost(void)
{
	assert_int_equal(vireo_driver_ring_free(pair.rx.driver), 0); /* all buffers are the device's again */
}

static struct sw_queue_stats stats(bool out)
{
	struct sw_queue_stats s;

	sw_queue_stats_read(out ? &pair.queue.out : &pair.queue.in, &s);
	return s;
}

static void expect_frame(const struct vireo_frame *frame, uint32_t bytes)
{
	uint32_t at = 0;

	assert_int_equal(frame->len_bytes, bytes);
	for (uint32_t i = 0; i < frame->iov_count; i++)
		for (size_t b = 0; b < frame->iov[i].iov_len; b++, at++)
			assert_int_equal(((uint8_t *)frame->iov[i].iov_base)[b], pattern(at));
	assert_int_equal(at, bytes);
	for (uint32_t i = 0; i < VIREO_FRAME_HEAD_BYTES && i < bytes; i++)
		assert_int_equal(frame->head[i], pattern(i));
}

/* ---- in ---- */

static const struct virtio_net_header plain;

static void frames_come_in_place(void **state)
{
	device_receives(plain, 60, 1, 0);
	device_receives(plain, 14, 1, 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), 2);
	expect_frame(&frames[0], 60);
	expect_frame(&frames[1], 14);
	assert_int_equal(driver_queue_release(&pair.queue), 0);
	nothing_is_lost();
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), 0);
	assert_int_equal(stats(false).frames, 2);
	assert_int_equal(stats(false).bytes, 74);
}

static void a_burst_is_as_long_as_was_asked_for(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		device_receives(plain, 60, 1, 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, 3), 3);
	assert_int_equal(driver_queue_release(&pair.queue), 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, 3), 2);
	assert_int_equal(driver_queue_release(&pair.queue), 0);
	nothing_is_lost();
}

static void a_large_frame_is_gathered(void **state)
{
	uint32_t bytes = 10 * BUFFER_BYTES - NET_HDR_BYTES;

	for (unsigned round = 0; round < 30; round++) {
		device_receives(plain, bytes, 10, 0);
		device_receives(plain, 100, 1, 0);
		assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), 2);
		assert_int_equal(frames[0].iov_count, 10);
		expect_frame(&frames[0], bytes);
		expect_frame(&frames[1], 100);
		assert_int_equal(driver_queue_release(&pair.queue), 0);
		nothing_is_lost();
	}
}

static void the_queue_goes_on(void)
{
	device_receives(plain, 60, 1, 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), 1);
	expect_frame(&frames[0], 60);
	assert_int_equal(driver_queue_release(&pair.queue), 0);
	nothing_is_lost();
}

static void a_frame_shorter_than_ethernet_is_dropped(void **state)
{
	device_receives(plain, 13, 1, 0);
	the_queue_goes_on();
	assert_int_equal(stats(false).runt, 1);
}

static void a_buffer_without_a_header_is_dropped(void **state)
{
	struct iovec pieces[PIECES_MAX];
	struct vireo_chain chain;
	uint32_t written = 5;

	assert_int_equal(ring_pop(pair.rx.device, &chain, 1, pieces, PIECES_MAX), 1);
	ring_push(pair.rx.device, &chain, &written, 1);
	ring_publish(pair.rx.device);
	the_queue_goes_on();
	assert_int_equal(stats(false).runt, 1);
}

static void a_frame_of_no_buffers_is_dropped(void **state)
{
	device_receives(plain, 60, 0, 0);
	the_queue_goes_on();
	assert_int_equal(stats(false).error, 1);
}

static void buffers_that_are_not_full_are_no_frame(void **state)
{
	device_receives(plain, 600, 3, 1);
	the_queue_goes_on();
	assert_int_equal(stats(false).error, 1);
}

static void a_frame_whose_end_is_missing_is_dropped(void **state)
{
	device_receives(plain, 300, 5, 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), 0);
	assert_int_equal(stats(false).error, 1);
	nothing_is_lost();
	device_receives(plain, 60, 0xffff, 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), 0);
	nothing_is_lost();
	the_queue_goes_on();
}

static void an_offload_that_was_not_agreed_is_dropped(void **state)
{
	const struct virtio_net_header large = {.flags = NET_HDR_F_NEEDS_CSUM,
						.gso_type = NET_HDR_GSO_TCPV4,
						.gso_size = le16(100),
						.csum_start = le16(34),
						.csum_offset = le16(16)};

	device_receives(large, 200, 1, 0);
	the_queue_goes_on();
	assert_int_equal(stats(false).bad_offload, 1);
}

static void a_checksum_that_the_device_has_checked_is_believed(void **state)
{
	const struct virtio_net_header valid = {.flags = NET_HDR_F_DATA_VALID};

	device_receives(valid, 60, 1, 0);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, 1), 1);
	assert_int_equal(frames[0].offload.flags, VIREO_FRAME_DATA_VALID);
	assert_int_equal(driver_queue_release(&pair.queue), 0);
}

static void without_an_agreement_it_is_not(void **state)
{
	const struct virtio_net_header valid = {.flags = NET_HDR_F_DATA_VALID};

	device_receives(valid, 60, 9, 0); /* nor is num_buffers looked at without MRG_RXBUF */
	assert_int_equal(driver_queue_receive(&pair.queue, frames, 1), 1);
	assert_int_equal(frames[0].offload.flags, 0);
	assert_int_equal(driver_queue_release(&pair.queue), 0);
}

static void a_device_that_breaks_its_ring_is_dead(void **state)
{
	struct split_used *used = (struct split_used *)(void *)(pair.memory + 4096);

	used->ring[0].id = le32(ENTRIES);
	used->idx = le16(1);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), -EPROTO);
	assert_int_equal(driver_queue_receive(&pair.queue, frames, ENTRIES), -EPROTO);
}

/* ---- out ---- */

static int deliver(uint32_t bytes, unsigned pieces, const struct vireo_frame_offload *offload)
{
	static uint8_t data[1u << 17];
	struct iovec iov[64];
	struct vireo_frame frame = {.iov = iov, .iov_count = pieces, .len_bytes = bytes};
	struct vireo_frame *list[] = {&frame};
	uint32_t done = 0;

	for (uint32_t i = 0; i < bytes; i++)
		data[i] = pattern(i);
	for (unsigned i = 0; i < pieces; i++) {
		uint32_t end = bytes / pieces * (i + 1);

		if (i + 1 == pieces)
			end = bytes;
		iov[i] = (struct iovec){data + done, end - done};
		done = end;
	}
	memcpy(frame.head, data, bytes < VIREO_FRAME_HEAD_BYTES ? bytes : VIREO_FRAME_HEAD_BYTES);
	memset(data, 0xcc, 12); /* the sender changes its mind: what was decided on goes out */
	if (offload)
		frame.offload = *offload;
	return driver_queue_deliver(&pair.queue, list, 1);
}

/* The device sends what is next. Returns its frame's bytes, and checks them. */
static uint32_t device_sends(struct virtio_net_header *ret_header)
{
	struct iovec pieces[PIECES_MAX];
	struct vireo_chain chain;
	uint32_t at = 0;

	driver_queue_flush(&pair.queue);
	if (ring_pop(pair.tx.device, &chain, 1, pieces, PIECES_MAX) != 1)
		return 0;
	assert_int_equal(chain.writable_count, 0);
	for (uint32_t i = 0; i < chain.readable_count; i++)
		for (size_t b = 0; b < chain.iov[i].iov_len; b++, at++) {
			uint8_t byte = ((uint8_t *)chain.iov[i].iov_base)[b];

			if (at < NET_HDR_BYTES)
				((uint8_t *)ret_header)[at] = byte;
			else
				assert_int_equal(byte, pattern(at - NET_HDR_BYTES));
		}
	ring_push(pair.tx.device, &chain, NULL, 1);
	ring_publish(pair.tx.device);
	return at - NET_HDR_BYTES;
}

static void frames_are_copied_into_the_devices_buffers(void **state)
{
	static const uint32_t sizes[] = {14, 60, BUFFER_BYTES - NET_HDR_BYTES, BUFFER_BYTES, 1514, 9000};
	struct virtio_net_header header = {0};

	for (unsigned round = 0; round < 200; round++) {
		uint32_t bytes = sizes[round % 6];

		assert_int_equal(deliver(bytes, round % 7 + 1, NULL), 1);
		assert_int_equal(device_sends(&header), bytes);
		assert_int_equal(header.flags, 0);
		assert_int_equal(header.gso_type, NET_HDR_GSO_NONE);
	}
	assert_int_equal(stats(true).frames, 200);
}

static void an_offload_is_passed_on(void **state)
{
	const struct vireo_frame_offload offload = {.gso = VIREO_GSO_TCP4,
						    .flags = VIREO_FRAME_NEEDS_CSUM,
						    .header_bytes = 54,
						    .segment_bytes = 1448,
						    .csum_start = 34,
						    .csum_offset = 16};
	struct virtio_net_header header = {0};

	assert_int_equal(deliver(5000, 3, &offload), 1);
	assert_int_equal(device_sends(&header), 5000);
	assert_int_equal(header.flags, NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(header.gso_type, NET_HDR_GSO_TCPV4);
	assert_int_equal(le16(header.gso_size), 1448);
}

/* What the device sends next, in one piece, behind its header. */
static uint32_t device_bytes(struct virtio_net_header *ret_header, uint8_t *ret)
{
	struct iovec pieces[PIECES_MAX];
	struct vireo_chain chain;
	uint32_t at = 0;

	driver_queue_flush(&pair.queue);
	assert_int_equal(ring_pop(pair.tx.device, &chain, 1, pieces, PIECES_MAX), 1);
	for (uint32_t i = 0; i < chain.readable_count; i++) {
		memcpy(ret + at, chain.iov[i].iov_base, chain.iov[i].iov_len);
		at += (uint32_t)chain.iov[i].iov_len;
	}
	ring_push(pair.tx.device, &chain, NULL, 1);
	ring_publish(pair.tx.device);
	memcpy(ret_header, ret, NET_HDR_BYTES);
	memmove(ret, ret + NET_HDR_BYTES, at - NET_HDR_BYTES);
	return at - NET_HDR_BYTES;
}

/* With it the frame is longer than a buffer. */
static void an_edit_is_applied(void **state)
{
	static const uint8_t tag[] = {0x81, 0x00, 0x00, 0x2a};
	enum { BYTES = BUFFER_BYTES - NET_HDR_BYTES };
	uint8_t data[BYTES], sent[2 * BUFFER_BYTES];
	struct iovec iov[] = {{data, 15}, {data + 15, BYTES - 15}};
	struct vireo_frame frame = {.iov = iov, .iov_count = 2, .len_bytes = BYTES,
				    .offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}};
	struct vireo_frame *list[] = {&frame};
	struct virtio_net_header header;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = pattern(i);
	memcpy(frame.head, data, VIREO_FRAME_HEAD_BYTES);
	assert_true(vireo_frame_tag_push(&frame, 0x8100, 0x2a));
	assert_int_equal(driver_queue_deliver(&pair.queue, list, 1), 1);
	assert_int_equal(device_bytes(&header, sent), BYTES + 4);
	assert_memory_equal(sent, data, 12);
	assert_memory_equal(sent + 12, tag, sizeof(tag));
	assert_memory_equal(sent + 16, data + 12, BYTES - 12);
	assert_int_equal(le16(header.csum_start), 38);
	assert_int_equal(stats(true).bytes, BYTES + 4);
	assert_true(vireo_frame_tag_pop(&frame));
	assert_int_equal(driver_queue_deliver(&pair.queue, list, 1), 1);
	assert_int_equal(device_bytes(&header, sent), BYTES);
	assert_memory_equal(sent, data, BYTES);
	assert_int_equal(le16(header.csum_start), 34);
}

static void a_checksum_inside_an_edit_is_refused(void **state)
{
	uint8_t data[60] = {0};
	struct iovec iov = {data, sizeof(data)};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = sizeof(data),
				    .offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 17}};
	struct vireo_frame *list[] = {&frame};

	assert_int_equal(driver_queue_deliver(&pair.queue, list, 1), 1);
	assert_true(vireo_frame_tag_push(&frame, 0x8100, 0x2a));
	assert_int_equal(driver_queue_deliver(&pair.queue, list, 1), 0);
	assert_int_equal(stats(true).offload_refused, 1);
}

static void a_full_ring_loses_the_frame_and_says_so(void **state)
{
	struct virtio_net_header header = {0};

	for (unsigned i = 0; i < ENTRIES; i++)
		assert_int_equal(deliver(60, 1, NULL), 1);
	assert_int_equal(deliver(60, 1, NULL), 0);
	assert_int_equal(stats(true).no_buffer, 1);
	assert_int_equal(device_sends(&header), 60);
	assert_int_equal(deliver(60, 1, NULL), 1); /* one is free again */
	assert_int_equal(deliver(BUFFER_BYTES, 1, NULL), 0);
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_int_equal(device_sends(&header), 60);
	assert_int_equal(device_sends(&header), 0);
	/* All buffers have come back, however they were strung together. */
	assert_int_equal(deliver(ENTRIES * BUFFER_BYTES - NET_HDR_BYTES, 1, NULL), 1);
}

static void a_device_that_breaks_its_transmit_ring_is_dead(void **state)
{
	struct split_used *used =
		(struct split_used *)(void *)(pair.memory + RING_BYTES + ENTRIES * BUFFER_BYTES + 4096);

	assert_int_equal(deliver(60, 1, NULL), 1);
	used->ring[0].id = le32(ENTRIES);
	used->idx = le16(1);
	assert_int_equal(deliver(60, 1, NULL), -EPROTO);
	assert_int_equal(deliver(60, 1, NULL), -EPROTO);
	assert_int_equal(stats(true).error, 2);
}

static void a_frame_longer_than_any_table_is_too_long(void **state)
{
	assert_int_equal(deliver(ENTRIES * BUFFER_BYTES - NET_HDR_BYTES + 1, 1, NULL), 0);
	assert_int_equal(stats(true).too_long, 1);
}

/* The port's, who may come to other rings than these. */
static void counters_go_on_with_other_rings(void **state)
{
	pair.queue.in.frames = 3;
	pair.queue.out.frames = 4;
	teardown(state);
	assert_int_equal(pair_new(true, 0), 0);
	assert_int_equal(pair.queue.in.frames, 3);
	assert_int_equal(pair.queue.out.frames, 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_come_in_place),
		TEST(counters_go_on_with_other_rings),
		TEST(a_burst_is_as_long_as_was_asked_for),
		TEST(a_large_frame_is_gathered),
		TEST(a_frame_shorter_than_ethernet_is_dropped),
		TEST(a_buffer_without_a_header_is_dropped),
		TEST(a_frame_of_no_buffers_is_dropped),
		TEST(buffers_that_are_not_full_are_no_frame),
		TEST(a_frame_whose_end_is_missing_is_dropped),
		TEST(an_offload_that_was_not_agreed_is_dropped),
		TEST(a_checksum_that_the_device_has_checked_is_believed),
		cmocka_unit_test_setup_teardown(without_an_agreement_it_is_not, setup_plain, teardown),
		TEST(a_device_that_breaks_its_ring_is_dead),
		TEST(frames_are_copied_into_the_devices_buffers),
		TEST(an_offload_is_passed_on),
		TEST(an_edit_is_applied),
		TEST(a_checksum_inside_an_edit_is_refused),
		TEST(a_full_ring_loses_the_frame_and_says_so),
		TEST(a_frame_longer_than_any_table_is_too_long),
		TEST(a_device_that_breaks_its_transmit_ring_is_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
