/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "vireo/cursor.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES 64

/* Cuts `bytes` into pieces of the given lengths (which may be 0); the last takes the rest. */
static size_t cut(struct iovec *iov, uint8_t *bytes, size_t total, const size_t *lengths, size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		iov[i] = (struct iovec){ .iov_base = bytes + at, .iov_len = lengths[i] };
		at += lengths[i];
	}
	iov[count] = (struct iovec){ .iov_base = bytes + at, .iov_len = total - at };
	return count + 1;
}

static void number(uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)(i + 1);
}

static void header_is_taken_whole_however_it_is_cut(void **state)
{
	uint8_t bytes[BYTES], header[12], rest;
	struct iovec iov[3];

	number(bytes, BYTES);
	for (size_t first = 0; first <= 13; first++) {
		for (size_t second = 0; first + second <= 13; second++) {
			size_t lengths[] = { first, second };
			struct vireo_cursor c = vireo_cursor_of(iov, cut(iov, bytes, 13, lengths, 2));

			assert_int_equal(c.left_bytes, 13);
			assert_true(vireo_cursor_take(&c, header, 12));
			assert_memory_equal(header, bytes, 12);
			assert_int_equal(c.left_bytes, 1);
			assert_false(vireo_cursor_take(&c, header, 2));
			assert_true(vireo_cursor_take(&c, &rest, 1));
			assert_int_equal(rest, 13);
			assert_int_equal(c.left_bytes, 0);
			assert_false(vireo_cursor_take(&c, &rest, 1));
			assert_true(vireo_cursor_take(&c, NULL, 0));
		}
	}
}

static void bytes_are_put_however_the_room_is_cut(void **state)
{
	uint8_t bytes[BYTES], data[20];
	struct iovec iov[4];

	number(data, sizeof(data));
	for (size_t first = 0; first <= 20; first++) {
		size_t lengths[] = { first, 0, 3 };
		struct vireo_cursor c = vireo_cursor_of(iov, cut(iov, bytes, BYTES, lengths, 3));

		memset(bytes, 0xee, sizeof(bytes));
		assert_true(vireo_cursor_put(&c, data, 5));
		assert_true(vireo_cursor_put(&c, data + 5, 15));
		assert_memory_equal(bytes, data, 20);
		assert_int_equal(bytes[20], 0xee);
		assert_int_equal(c.left_bytes, BYTES - 20);
	}
}

static void too_much_is_refused_without_a_move(void **state)
{
	uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[16] = { 0 };
	struct iovec iov[2];
	struct vireo_cursor c = vireo_cursor_of(iov, cut(iov, bytes, 8, (size_t[]){ 3 }, 1));

	assert_false(vireo_cursor_take(&c, out, 9));
	assert_int_equal(out[0], 0);
	assert_false(vireo_cursor_put(&c, out, 9));
	assert_int_equal(bytes[0], 1);
	assert_false(vireo_cursor_skip(&c, 9));
	assert_false(vireo_cursor_skip(&c, UINT64_MAX));
	assert_true(vireo_cursor_skip(&c, 4));
	assert_true(vireo_cursor_take(&c, out, 4));
	assert_memory_equal(out, bytes + 4, 4);
}

static void nothing_is_nothing(void **state)
{
	struct vireo_cursor none = vireo_cursor_none(), empty = vireo_cursor_of(NULL, 0);
	struct iovec iov[2] = { 0 };
	struct vireo_cursor hollow = vireo_cursor_of(iov, 2);
	uint8_t byte;

	assert_int_equal(none.left_bytes, 0);
	assert_false(vireo_cursor_take(&none, &byte, 1));
	assert_true(vireo_cursor_skip(&none, 0));
	assert_int_equal(vireo_cursor_copy(&none, &empty, 100), 0);
	assert_false(vireo_cursor_take(&hollow, &byte, 1));
	assert_int_equal(vireo_cursor_copy(&hollow, &none, 100), 0);
}

static void copy_goes_on_across_differently_cut_pieces(void **state)
{
	uint8_t from[BYTES], to[BYTES];
	struct iovec from_iov[4], to_iov[3];

	number(from, BYTES);
	for (size_t i = 0; i <= 20; i++) {
		size_t from_lengths[] = { i, 0, 7 }, to_lengths[] = { 20 - i, 5 };
		struct vireo_cursor src = vireo_cursor_of(from_iov, cut(from_iov, from, BYTES, from_lengths, 3));
		struct vireo_cursor dst = vireo_cursor_of(to_iov, cut(to_iov, to, 50, to_lengths, 2));

		memset(to, 0, sizeof(to));
		assert_int_equal(vireo_cursor_copy(&dst, &src, 10), 10); /* the caller's limit */
		assert_int_equal(vireo_cursor_copy(&dst, &src, UINT64_MAX), 40); /* the room */
		assert_memory_equal(to, from, 50);
		assert_int_equal(to[50], 0);
		assert_int_equal(dst.left_bytes, 0);
		assert_int_equal(src.left_bytes, BYTES - 50);
		assert_int_equal(vireo_cursor_copy(&dst, &src, 1), 0);
	}
}

static void copy_stops_at_the_end_of_the_source(void **state)
{
	uint8_t from[3] = { 1, 2, 3 }, to[8] = { 0 };
	struct iovec from_iov = { from, 3 }, to_iov = { to, 8 };
	struct vireo_cursor src = vireo_cursor_of(&from_iov, 1), dst = vireo_cursor_of(&to_iov, 1);

	assert_int_equal(vireo_cursor_copy(&dst, &src, 8), 3);
	assert_int_equal(src.left_bytes, 0);
	assert_int_equal(dst.left_bytes, 5);
	assert_memory_equal(to, "\1\2\3\0", 4);
}

static void source_and_destination_may_overlap(void **state)
{
	uint8_t bytes[BYTES], expected[BYTES];
	struct iovec from_iov = { bytes, 40 }, to_iov = { bytes + 4, 40 };
	struct vireo_cursor src = vireo_cursor_of(&from_iov, 1), dst = vireo_cursor_of(&to_iov, 1);

	number(bytes, BYTES);
	number(expected, BYTES);
	memmove(expected + 4, expected, 40);
	assert_int_equal(vireo_cursor_copy(&dst, &src, 40), 40);
	assert_memory_equal(bytes, expected, BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_is_taken_whole_however_it_is_cut),
		cmocka_unit_test(bytes_are_put_however_the_room_is_cut),
		cmocka_unit_test(too_much_is_refused_without_a_move),
		cmocka_unit_test(nothing_is_nothing),
		cmocka_unit_test(copy_goes_on_across_differently_cut_pieces),
		cmocka_unit_test(copy_stops_at_the_end_of_the_source),
		cmocka_unit_test(source_and_destination_may_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
