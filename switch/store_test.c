/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka wants the four above */
#include <cmocka.h>

static uint8_t bytes[STORE_FRAME_BYTES + 1];

static bool put(struct store *store, uint32_t frame_bytes, uint32_t number)
{
	struct iovec iov[2] = {{bytes, frame_bytes / 2}, {bytes + frame_bytes / 2, frame_bytes - frame_bytes / 2}};
	struct vireo_frame frame = {.iov = iov, .iov_count = 2, .len_bytes = frame_bytes, .offload.csum_start = (uint16_t)number};

	for (uint32_t i = 0; i < frame_bytes; i += 4)
		memcpy(bytes + i, &number, frame_bytes - i < 4 ? frame_bytes - i : 4);
	memset(frame.head, 0xee, sizeof(frame.head)); /* what was decided on, whatever the memory says by now */
	return store_put(store, &frame);
}

static void expect(struct store *store, uint32_t frame_bytes, uint32_t number)
{
	struct vireo_frame frame;
	struct iovec iov;

	assert_int_equal(store_see(store, &frame, &iov, 1), 1);
	assert_int_equal(frame.len_bytes, frame_bytes);
	assert_int_equal(frame.iov_count, 1);
	assert_int_equal(frame.offload.csum_start, (uint16_t)number);
	assert_int_equal(frame.head[0], 0xee);
	assert_int_equal(((uint8_t *)iov.iov_base)[17], 0xee);
	for (uint32_t i = 20; i + 4 <= frame_bytes; i += 4)
		assert_memory_equal((uint8_t *)iov.iov_base + i, &number, 4);
	store_drop(store);
}

static void frames_come_out_as_they_went_in(void **state)
{
	struct store store;

	assert_int_equal(store_init(&store), 0);
	for (uint32_t i = 0; i < 2000; i++) { /* many times around */
		uint32_t count = i % 5 + 1, frame_bytes = 60 + i * 7919 % (STORE_FRAME_BYTES - 60);

		for (uint32_t n = 0; n < count; n++)
			assert_true(put(&store, frame_bytes, i + n));
		assert_true(store_empty(&store)); /* not shown yet */
		assert_int_equal(store_count(&store), 0);
		store_show(&store);
		assert_int_equal(store_count(&store), count);
		for (uint32_t n = 0; n < count; n++)
			expect(&store, frame_bytes, i + n);
		assert_true(store_empty(&store));
	}
	store_fini(&store);
}

static void full_store_refuses_and_loses_nothing(void **state)
{
	struct store store;

	assert_int_equal(store_init(&store), 0);
	for (uint32_t round = 0; round < 50; round++) {
		uint32_t room = store_room(&store), count = 0, more;

		while (put(&store, STORE_FRAME_BYTES - round * 1000, count))
			count++;
		assert_true(room > 20 && count >= room); /* what is promised goes in */
		store_show(&store);
		for (more = 0; more < count; more++)
			expect(&store, STORE_FRAME_BYTES - round * 1000, more);
	}
	store_fini(&store);
}

static void longer_than_any_frame_is_refused(void **state)
{
	struct store store;

	assert_int_equal(store_init(&store), 0);
	assert_false(put(&store, STORE_FRAME_BYTES + 1, 0));
	assert_true(put(&store, STORE_FRAME_BYTES, 0));
	store_fini(&store);
}

static void edit_goes_in_with_the_frame(void **state)
{
	static const uint8_t tag[] = {0x81, 0x00, 0x00, 0x2a};
	struct iovec iov[2] = {{bytes, 30}, {bytes + 30, 70}}, seen;
	struct vireo_frame frame = {.iov = iov, .iov_count = 2, .len_bytes = 100,
				    .offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 34}};
	struct vireo_frame out;
	const uint8_t *copy;
	struct store store;

	for (uint32_t i = 0; i < 100; i++)
		bytes[i] = (uint8_t)i;
	memcpy(frame.head, bytes, VIREO_FRAME_HEAD_BYTES);
	assert_int_equal(store_init(&store), 0);
	assert_true(vireo_frame_tag_push(&frame, 0x8100, 0x2a));
	assert_true(store_put(&store, &frame));
	assert_true(vireo_frame_tag_pop(&frame)); /* the next receiver's is another */
	store_show(&store);
	assert_int_equal(store_see(&store, &out, &seen, 1), 1);
	copy = seen.iov_base;
	assert_int_equal(out.len_bytes, 104);
	assert_int_equal(out.head_bytes | out.head_skip, 0);
	assert_memory_equal(copy, bytes, 12);
	assert_memory_equal(copy + 12, tag, sizeof(tag));
	assert_memory_equal(copy + 16, bytes + 12, 88);
	assert_memory_equal(out.head, copy, VIREO_FRAME_HEAD_BYTES);
	assert_int_equal(out.offload.csum_start, 38);
	store_fini(&store);
}

static void checksum_inside_an_edit_is_refused(void **state)
{
	struct iovec iov = {bytes, 100};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = 100,
				    .offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 17}};
	struct store store;

	assert_int_equal(store_init(&store), 0);
	assert_true(store_put(&store, &frame));
	assert_true(vireo_frame_tag_push(&frame, 0x8100, 0x2a));
	assert_false(store_put(&store, &frame));
	store_fini(&store);
}

/* Some of what was seen is taken, around the end and in front of it, and the rest is seen again. */
static void what_is_not_taken_is_seen_again(void **state)
{
	struct vireo_frame frames[8];
	struct iovec iov[8];
	struct store store;
	uint32_t first = 0, number = 0;

	assert_int_equal(store_init(&store), 0);
	for (unsigned i = 0; i < 400; i++) {
		while (number - first < 6)
			assert_true(put(&store, 60 + number % 7 * 9000, number)), number++;
		store_show(&store);
		assert_int_equal(store_see(&store, frames, iov, 8), 6);
		assert_int_equal(frames[5].offload.csum_start, (uint16_t)(first + 5));
		store_drop_first(&store, i % 4);
		first += i % 4;
		assert_int_equal(store_count(&store), number - first);
	}
	store_see(&store, frames, iov, 8);
	store_drop(&store);
	assert_int_equal(store_bytes(&store), 0);
	store_restart(&store);
	assert_true(put(&store, 100, 1));
	store_show(&store);
	expect(&store, 100, 1);
	store_fini(&store);
}

static uint32_t bytes_resident(const struct store *store)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE), resident = 0;
	static unsigned char pages[STORE_BYTES / 4096];

	assert_int_equal(mincore(store->bytes, STORE_BYTES, pages), 0);
	for (uint32_t i = 0; i < STORE_BYTES / page; i++)
		resident += pages[i] & 1 ? page : 0;
	return resident;
}

static void a_store_that_begins_anew_gives_back_what_it_has_used_but_for_a_little(void **state)
{
	struct store store;

	assert_int_equal(store_init(&store), 0);
	for (uint32_t round = 10; round <= 70; round += 20) { /* the last ones go around */
		for (uint32_t i = 0; i < round; i++) {
			assert_true(put(&store, 60000, i));
			store_show(&store);
			expect(&store, 60000, i);
		}
		assert_true(bytes_resident(&store) > STORE_KEPT_BYTES);
		store_restart(&store);
		assert_true(bytes_resident(&store) <= STORE_KEPT_BYTES);
		assert_true(put(&store, 60000, round));
		store_show(&store);
		expect(&store, 60000, round);
	}
	store_fini(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_went_in),
		cmocka_unit_test(full_store_refuses_and_loses_nothing),
		cmocka_unit_test(longer_than_any_frame_is_refused),
		cmocka_unit_test(edit_goes_in_with_the_frame),
		cmocka_unit_test(checksum_inside_an_edit_is_refused),
		cmocka_unit_test(what_is_not_taken_is_seen_again),
		cmocka_unit_test(a_store_that_begins_anew_gives_back_what_it_has_used_but_for_a_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
