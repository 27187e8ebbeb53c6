/* SPDX-License-Identifier: BSD-3-Clause */

/* The parts of vireo-bench that judge: a tool that checks others has to be right itself. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/util.h"
#include "frame.h"
#include "options.h"
#include "sequence.h"
#include "wire/virtio_net.h"
#include <cmocka.h>
#include <stdio.h>

/* ---- sequence ---- */

static void order_loss_and_duplicates_are_told_apart(void **state)
{
	struct sequence *s = calloc(1, sizeof(*s));

	assert_int_equal(sequence_add(s, 0), SEQUENCE_NEXT);
	assert_int_equal(sequence_add(s, 0), SEQUENCE_DUPLICATE);
	assert_int_equal(sequence_add(s, 3), SEQUENCE_NEXT); /* 1 and 2 are lost, or late */
	assert_int_equal(sequence_add(s, 2), SEQUENCE_LATE);
	assert_int_equal(sequence_add(s, 2), SEQUENCE_DUPLICATE);
	assert_int_equal(sequence_add(s, 3), SEQUENCE_DUPLICATE);
	assert_int_equal(sequence_add(s, 1), SEQUENCE_LATE);
	assert_int_equal(sequence_add(s, 4), SEQUENCE_NEXT);
	free(s);
}

static void window_forgets_what_is_too_old_and_nothing_else(void **state)
{
	struct sequence *s = calloc(1, sizeof(*s));
	uint64_t far = 10 * SEQUENCE_WINDOW + 17;

	for (uint64_t i = 0; i < 3 * SEQUENCE_WINDOW; i += 2) /* every other one, over several laps */
		assert_int_equal(sequence_add(s, i), SEQUENCE_NEXT);
	for (uint64_t i = 2 * SEQUENCE_WINDOW; i < 3 * SEQUENCE_WINDOW - 1; i++)
		assert_int_equal(sequence_add(s, i), i & 1 ? SEQUENCE_LATE : SEQUENCE_DUPLICATE);
	assert_int_equal(sequence_add(s, far), SEQUENCE_NEXT);
	assert_int_equal(sequence_add(s, far + 1 - SEQUENCE_WINDOW), SEQUENCE_LATE);
	assert_int_equal(sequence_add(s, far - SEQUENCE_WINDOW), SEQUENCE_STALE);
	assert_int_equal(sequence_add(s, 0), SEQUENCE_STALE);
	free(s);
}

/* ---- frame ---- */

static const uint8_t to_mac[6] = { 2, 0, 0, 0, 0, 1 }, from_mac[6] = { 2, 0, 0, 0, 0, 2 };

static struct frame_header header_of(uint32_t bytes, uint64_t number)
{
	return (struct frame_header){ .run = 7,
				      .kind = FRAME_DATA,
				      .pattern = 1,
				      .stream = 3,
				      .number = number,
				      .frame_bytes = bytes };
}

/* Cuts a frame into pieces of `piece` bytes. */
static enum frame_verdict check_cut(uint8_t *frame, uint32_t bytes, uint32_t piece, struct frame_header *ret)
{
	struct iovec iov[2000];
	unsigned count = 0;

	for (uint32_t at = 0; at < bytes; at += piece)
		iov[count++] = (struct iovec){ frame + at, bytes - at < piece ? bytes - at : piece };
	return frame_check(iov, count, bytes, to_mac, 7, ret);
}

static void frame_is_good_however_it_is_cut(void **state)
{
	static const uint32_t sizes[] = { 60, 61, 67, 590, 1514, 1999 };
	uint8_t frame[2000];
	struct frame_header got;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct frame_header header = header_of(sizes[i], i);

		frame_write(frame, to_mac, from_mac, &header);
		for (uint32_t piece = 1; piece <= sizes[i]; piece++) {
			assert_int_equal(check_cut(frame, sizes[i], piece, &got), FRAME_GOOD);
			assert_int_equal(got.number, i);
			assert_int_equal(got.stream, 3);
		}
	}
}

static void any_flipped_bit_is_seen(void **state)
{
	struct frame_header header = header_of(331, 99), got;
	uint8_t frame[331];

	frame_write(frame, to_mac, from_mac, &header);
	for (unsigned bit = 0; bit < sizeof(frame) * 8; bit++) {
		if (bit / 8 >= 6 && bit / 8 < 12) /* the source is the switch's business */
			continue;
		frame[bit / 8] ^= 1u << bit % 8;
		assert_int_equal(check_cut(frame, sizeof(frame), sizeof(frame), &got), FRAME_CORRUPT);
		assert_int_equal(check_cut(frame, sizeof(frame), 13, &got), FRAME_CORRUPT);
		frame[bit / 8] ^= 1u << bit % 8;
	}
	assert_int_equal(check_cut(frame, sizeof(frame), 13, &got), FRAME_GOOD);
}

static void cut_off_or_lengthened_frame_is_corrupt(void **state)
{
	struct frame_header header = header_of(100, 1), got;
	uint8_t frame[120] = { 0 };

	frame_write(frame, to_mac, from_mac, &header);
	assert_int_equal(check_cut(frame, 99, 200, &got), FRAME_CORRUPT);
	assert_int_equal(check_cut(frame, 101, 200, &got), FRAME_CORRUPT);
	assert_int_equal(check_cut(frame, 40, 200, &got), FRAME_CORRUPT);
}

static void words_in_the_wrong_place_are_seen(void **state)
{
	struct frame_header header = header_of(200, 1), other = header_of(200, 2), got;
	uint8_t frame[200], next[200], word[8];

	frame_write(frame, to_mac, from_mac, &header);
	frame_write(next, to_mac, from_mac, &other);
	memcpy(word, frame + 62, 8);
	memcpy(frame + 62, frame + 70, 8);
	memcpy(frame + 70, word, 8);
	assert_int_equal(check_cut(frame, 200, 200, &got), FRAME_CORRUPT);
	frame_write(frame, to_mac, from_mac, &header);
	memcpy(frame + 192, next + 192, 8); /* the end of another frame */
	assert_int_equal(check_cut(frame, 200, 200, &got), FRAME_CORRUPT);
}

static void frames_of_others_are_foreign(void **state)
{
	struct frame_header header = header_of(60, 1), got;
	uint8_t frame[60];

	header.run = 8;
	frame_write(frame, to_mac, from_mac, &header);
	assert_int_equal(check_cut(frame, 60, 60, &got), FRAME_FOREIGN);
	memset(frame, 0xff, sizeof(frame));
	assert_int_equal(check_cut(frame, 60, 60, &got), FRAME_FOREIGN);
	assert_int_equal(check_cut(frame, 5, 60, &got), FRAME_FOREIGN);
}

/* ---- options ---- */

static enum options_result parse(struct options *o, const char *line)
{
	char copy[256], *argv[32], *save = NULL;
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	return options_parse(argc, argv, o);
}

static void options_say_what_they_mean(void **state)
{
	struct options o;

	assert_int_equal(
		parse(&o,
		      "b net --from /a --to=/b --size imix --ring packed --rate 2M --cpus 1,0 --seconds 0.5 "
		      "--wait event --mergeable=off"),
		OPTIONS_RUN);
	assert_int_equal(o.frame_bytes, SIZE_IMIX);
	assert_true(o.packed);
	assert_false(o.mergeable);
	assert_int_equal(o.rate_fps, 2000000);
	assert_int_equal(o.duration_ms, 500);
	assert_int_equal(o.cpu_count, 2);
	assert_int_equal(o.cpus[0], 1);
	assert_int_equal(o.wait, WAIT_EVENT);
	assert_int_equal(o.pieces, 1);
	assert_int_equal(parse(&o, "b net --from /a --to /b --indirect on"), OPTIONS_RUN);
	assert_int_equal(o.pieces, 2);
}

static void bad_options_are_refused(void **state)
{
	static const char *const bad[] = {
		"b",
		"b disk",
		"b net",
		"b net --from /a",
		"b net --from /a --to /a",
		"b net --from",
		"b net --from /a --to /b --size 59",
		"b net --from /a --to /b --size 65536",
		"b net --from /a --to /b --size 100x",
		"b net --from /a --to /b --size -100",
		"b net --from /a --to /b --ring round",
		"b net --from /a --to /b --ring-size 100",
		"b net --from /a --to /b --queues 0",
		"b net --from /a --to /b --queues 65",
		"b net --from /a --to /b --rate 0",
		"b net --from /a --to /b --rate k",
		"b net --from /a --to /b --rate 2000M",
		"b net --from /a --to /b --seconds 0",
		"b net --from /a --to /b --seconds nan",
		"b net --from /a --to /b --cpus ,1",
		"b net --from /a --to /b --cpus 1,",
		"b net --from /a --to /b --mergeable maybe",
		"b net --from /a --to /b --verify=yes",
		"b net --from /a --to /b --window 0",
		"b net --from /a --to /b --unknown",
		"b net --from /a --to /b stray",
		"b net --from /a --to /b --ring-size 2 --pieces 3",
	};
	struct options o;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(&o, bad[i]), OPTIONS_BAD);
}

static void buffer_count_of_zero_is_no_bad_header(void **state)
{
	static const struct {
		struct virtio_net_header header;
		bool mergeable;
		enum header_verdict verdict;
	} rows[] = {
		{ { .num_buffers = 1 }, false, HEADER_GOOD },
		{ { .num_buffers = 0 }, false, HEADER_ZERO_COUNT },
		{ { .num_buffers = 2 }, false, HEADER_BAD },
		{ { .num_buffers = 2 }, true, HEADER_GOOD },
		{ { .num_buffers = 0, .flags = 1 }, false, HEADER_BAD },
		{ { .num_buffers = 0, .gso_type = NET_HDR_GSO_TCPV4 }, false, HEADER_BAD },
		{ { .num_buffers = 1, .flags = 2 }, true, HEADER_BAD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(header_judge(&rows[i].header, rows[i].mergeable), rows[i].verdict);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_loss_and_duplicates_are_told_apart),
		cmocka_unit_test(window_forgets_what_is_too_old_and_nothing_else),
		cmocka_unit_test(frame_is_good_however_it_is_cut),
		cmocka_unit_test(any_flipped_bit_is_seen),
		cmocka_unit_test(cut_off_or_lengthened_frame_is_corrupt),
		cmocka_unit_test(words_in_the_wrong_place_are_seen),
		cmocka_unit_test(frames_of_others_are_foreign),
		cmocka_unit_test(buffer_count_of_zero_is_no_bad_header),
		cmocka_unit_test(options_say_what_they_mean),
		cmocka_unit_test(bad_options_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
