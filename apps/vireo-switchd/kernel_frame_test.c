/* SPDX-License-Identifier: BSD-3-Clause */

/* What the kernel is given, byte for byte, whatever pieces the frame lies in. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/util.h"
#include "kernel_frame.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <errno.h>

#define FRAME_BYTES 1514u
#define TCI 0x6009u

struct sent {
	uint8_t bytes[FRAME_BYTES];
	struct iovec iov[KERNEL_PIECES + 44];
	struct vireo_frame frame;
};

static uint8_t *bounce;

static int teardown(void **state)
{
	free(bounce);
	bounce = NULL;
	return 0;
}

/* Of `pieces` that are as long as each other, but for the last. */
static void sent_new(struct sent *s, uint32_t bytes, unsigned pieces)
{
	*s = (struct sent){.frame = {.iov = s->iov, .iov_count = pieces, .len_bytes = bytes}};
	for (uint32_t i = 0; i < bytes; i++)
		s->bytes[i] = (uint8_t)(i * 7 + 1);
	for (unsigned i = 0; i < pieces; i++) {
		uint32_t at = bytes / pieces * i;

		s->iov[i] = (struct iovec){s->bytes + at, i + 1 < pieces ? bytes / pieces : bytes - at};
	}
	memcpy(s->frame.head, s->bytes, min_u32(bytes, VIREO_FRAME_HEAD_BYTES));
}

/* The sender changes its mind about what decisions were taken on. */
static void sent_lies(struct sent *s)
{
	memset(s->bytes, 0xee, min_u32(s->frame.len_bytes, VIREO_FRAME_HEAD_BYTES));
}

/* A small one is the same in one piece. */
static void assert_copied(const struct vireo_frame *frame, const uint8_t *expected, uint32_t bytes)
{
	uint8_t copy[NET_HDR_BYTES + KERNEL_SMALL_BYTES];
	const struct virtio_net_header header = net_header_build(&frame->offload);

	memset(copy, 0xcc, sizeof(copy));
	assert_int_equal(kernel_frame_copy(copy, frame, NET_HDR_BYTES), NET_HDR_BYTES + bytes);
	assert_memory_equal(copy, &header, NET_HDR_BYTES);
	assert_memory_equal(copy + NET_HDR_BYTES, expected, bytes);
	for (size_t i = NET_HDR_BYTES + bytes; i < sizeof(copy); i++)
		assert_int_equal(copy[i], 0xcc);
}

static void assert_written(const struct vireo_frame *frame, const uint8_t *expected, uint32_t bytes)
{
	uint8_t written[FRAME_BYTES + 64];
	struct iovec room[KERNEL_PIECES];
	struct kernel_frame out = {.iov = room};
	uint32_t at = 0;

	assert_int_equal(kernel_frame_lay(&out, frame, NET_HDR_BYTES, &bounce), 0);
	assert_int_equal(out.iov[0].iov_len, NET_HDR_BYTES);
	assert_in_range(out.pieces, 2, kernel_frame_room(frame));
	for (unsigned i = 1; i < out.pieces; i++) {
		assert_true(at + out.iov[i].iov_len <= sizeof(written));
		memcpy(written + at, out.iov[i].iov_base, out.iov[i].iov_len);
		at += (uint32_t)out.iov[i].iov_len;
	}
	assert_int_equal(at, bytes);
	assert_memory_equal(written, expected, bytes);
	if (bytes <= KERNEL_SMALL_BYTES)
		assert_copied(frame, expected, bytes);
}

/* One piece, some, as many as one write takes, more. */
static const unsigned pieces[] = {1, 2, 5, KERNEL_PIECES - 2, KERNEL_PIECES - 1, KERNEL_PIECES + 44};

/* Of a frame that is copied, and of longer ones: KERNEL_SMALL_BYTES with a tag. */
static const uint32_t lengths[] = {60, KERNEL_SMALL_BYTES - 4, KERNEL_SMALL_BYTES, FRAME_BYTES};

static void head_is_the_one_that_decisions_were_taken_on(void **state)
{
	uint8_t expected[FRAME_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(pieces) * ARRAY_SIZE(lengths); i++) {
		uint32_t bytes = lengths[i / ARRAY_SIZE(pieces)];
		struct sent s;

		sent_new(&s, bytes, pieces[i % ARRAY_SIZE(pieces)]);
		memcpy(expected, s.bytes, bytes);
		sent_lies(&s);
		assert_written(&s.frame, expected, bytes);
	}
}

static void short_frame_is_written_as_it_is(void **state)
{
	struct sent s;

	sent_new(&s, 14, 1);
	assert_written(&s.frame, s.bytes, 14);
	sent_new(&s, 14, 7);
	assert_written(&s.frame, s.bytes, 14);
}

static void tag_goes_and_comes(uint32_t bytes, unsigned piece_count)
{
	static const uint8_t tag[] = {0x81, 0x00, TCI >> 8, TCI & 0xff};
	uint8_t tagged[FRAME_BYTES + sizeof(tag)], plain[FRAME_BYTES];
	struct sent s;

	sent_new(&s, bytes, piece_count);
	memcpy(plain, s.bytes, bytes);
	memcpy(tagged, plain, 12);
	memcpy(tagged + 12, tag, sizeof(tag));
	memcpy(tagged + 12 + sizeof(tag), plain + 12, bytes - 12);
	sent_lies(&s);
	assert_true(vireo_frame_tag_push(&s.frame, 0x8100, TCI));
	assert_written(&s.frame, tagged, bytes + (uint32_t)sizeof(tag));
	assert_true(vireo_frame_tag_pop(&s.frame));
	assert_written(&s.frame, plain, bytes);
}

static void tag_is_pushed_and_popped(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pieces) * ARRAY_SIZE(lengths); i++)
		tag_goes_and_comes(lengths[i / ARRAY_SIZE(pieces)], pieces[i % ARRAY_SIZE(pieces)]);
}

static void offload_moves_with_the_edit(void **state)
{
	struct iovec room[KERNEL_PIECES];
	struct kernel_frame out = {.iov = room};
	struct sent s;

	sent_new(&s, FRAME_BYTES, 2);
	s.frame.offload = (struct vireo_frame_offload){.gso = VIREO_GSO_TCP4, .flags = VIREO_FRAME_NEEDS_CSUM, .header_bytes = 54,
						       .segment_bytes = 500, .csum_start = 34, .csum_offset = 16};
	assert_true(vireo_frame_tag_push(&s.frame, 0x8100, TCI));
	assert_int_equal(kernel_frame_lay(&out, &s.frame, NET_HDR_BYTES, &bounce), 0);
	assert_int_equal(le16(out.header.csum_start), 38);
	assert_int_equal(le16(out.header.csum_offset), 16);
	assert_int_equal(le16(out.header.hdr_len), 58);
	assert_int_equal(le16(out.header.gso_size), 500);
}

static void offload_moves_in_a_copy_as_well(void **state)
{
	uint8_t copy[NET_HDR_BYTES + KERNEL_SMALL_BYTES];
	struct virtio_net_header header;
	struct sent s;

	sent_new(&s, 100, 3);
	s.frame.offload = (struct vireo_frame_offload){.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	assert_true(vireo_frame_tag_push(&s.frame, 0x8100, TCI));
	assert_int_equal(kernel_frame_copy(copy, &s.frame, NET_HDR_BYTES), NET_HDR_BYTES + 104);
	memcpy(&header, copy, sizeof(header));
	assert_int_equal(header.flags, NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(le16(header.csum_start), 38);
	assert_int_equal(le16(header.csum_offset), 16);
}

static void header_is_as_long_as_is_asked_for(void **state)
{
	struct iovec room[KERNEL_PIECES];
	struct kernel_frame out = {.iov = room};
	struct sent s;

	sent_new(&s, FRAME_BYTES, 1);
	assert_int_equal(kernel_frame_lay(&out, &s.frame, 10, &bounce), 0);
	assert_ptr_equal(out.iov[0].iov_base, &out.header);
	assert_int_equal(out.iov[0].iov_len, 10);
	assert_int_equal(out.iov[1].iov_len, VIREO_FRAME_HEAD_BYTES);
}

static void checksum_inside_an_edit_is_refused(void **state)
{
	struct iovec room[KERNEL_PIECES];
	struct kernel_frame out = {.iov = room};
	uint8_t copy[NET_HDR_BYTES + KERNEL_SMALL_BYTES];
	struct sent s;

	sent_new(&s, 200, 1);
	s.frame.offload = (struct vireo_frame_offload){.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 17};
	assert_int_equal(kernel_frame_lay(&out, &s.frame, NET_HDR_BYTES, &bounce), 0);
	assert_true(vireo_frame_tag_push(&s.frame, 0x8100, TCI));
	assert_int_equal(kernel_frame_lay(&out, &s.frame, NET_HDR_BYTES, &bounce), -EINVAL);
	assert_int_equal(kernel_frame_copy(copy, &s.frame, NET_HDR_BYTES), -EINVAL);
}

static void what_is_too_long_to_be_laid_together_is_refused(void **state)
{
	struct iovec room[KERNEL_PIECES];
	struct kernel_frame out = {.iov = room};
	struct sent s;

	sent_new(&s, FRAME_BYTES, KERNEL_PIECES);
	s.frame.len_bytes = KERNEL_FRAME_BYTES + 1;
	assert_int_equal(kernel_frame_lay(&out, &s.frame, NET_HDR_BYTES, &bounce), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(head_is_the_one_that_decisions_were_taken_on, teardown),
		cmocka_unit_test_teardown(short_frame_is_written_as_it_is, teardown),
		cmocka_unit_test_teardown(tag_is_pushed_and_popped, teardown),
		cmocka_unit_test_teardown(offload_moves_with_the_edit, teardown),
		cmocka_unit_test_teardown(offload_moves_in_a_copy_as_well, teardown),
		cmocka_unit_test_teardown(header_is_as_long_as_is_asked_for, teardown),
		cmocka_unit_test_teardown(checksum_inside_an_edit_is_refused, teardown),
		cmocka_unit_test_teardown(what_is_too_long_to_be_laid_together_is_refused, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
