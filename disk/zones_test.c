/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk that is written by zones: a case per rule, at memory's, which has them. */

#include "disk/test_disk.h"
#include <pthread.h>

#define KIB UINT64_C(1024)
#define ZONE (64 * KIB)
/* 8 zones of 64 KiB, of which 48 KiB can be written; two are conventional; two may be open and three active. */
#define SPEC "mem:512K,zone-size=64K,zone-capacity=48K,zone-conventional=2,zone-max-open=2,zone-max-active=3"
#define SEQUENTIAL(n) ((2 + (n)) * ZONE)

static uint8_t data[64 * 1024];

static int write_at(struct test_disk *t, uint64_t offset, uint64_t bytes)
{
	struct iovec iov = {data, bytes};

	return test_do(t, DISK_WRITE, 0, offset, bytes, &iov, 1);
}

/* Where it went, or its error. */
static int64_t append(struct test_disk *t, uint64_t offset, uint64_t bytes)
{
	struct iovec iov = {data, bytes};
	struct disk_request r = {.op = DISK_WRITE, .flags = DISK_APPEND, .offset = offset, .bytes = bytes, .iov = &iov,
				 .iov_count = 1, .result = 1}, *one = &r;

	disk_queue_submit(t->queue, &one, 1);
	assert_ptr_equal(test_wait(t->queue), &r);
	return r.result ? r.result : (int64_t)r.offset;
}

static int act(struct test_disk *t, enum disk_zone_act what, uint64_t offset)
{
	return test_do(t, DISK_ZONE, (uint8_t)what, offset, 0, NULL, 0);
}

static struct disk_zone zone_at(struct test_disk *t, uint64_t offset)
{
	struct disk_zone zone;

	assert_int_equal(disk_zone_get(t->disk, offset, &zone), 0);
	return zone;
}

static enum disk_zone_state state_at(struct test_disk *t, uint64_t offset)
{
	return zone_at(t, offset).state;
}

static void a_disk_tells_its_zones(void **state)
{
	struct test_disk t = test_disk_open(SPEC);
	struct disk_info info;
	struct disk_zone zone;

	disk_info_get(t.disk, &info);
	assert_int_equal(info.zones.zone_bytes, ZONE);
	assert_int_equal(info.zones.open_max, 2);
	assert_int_equal(info.zones.active_max, 3);
	assert_false(info.can_discard || info.zero_unmaps);
	zone = zone_at(&t, ZONE + 512);
	assert_int_equal(zone.state, DISK_ZONE_CONVENTIONAL);
	assert_int_equal(zone.start_bytes, ZONE);
	assert_int_equal(zone.capacity_bytes, ZONE);
	zone = zone_at(&t, SEQUENTIAL(5) + 48 * KIB);
	assert_int_equal(zone.state, DISK_ZONE_EMPTY);
	assert_int_equal(zone.start_bytes, SEQUENTIAL(5));
	assert_int_equal(zone.pointer_bytes, SEQUENTIAL(5));
	assert_int_equal(zone.length_bytes, ZONE);
	assert_int_equal(zone.capacity_bytes, 48 * KIB);
	assert_int_equal(disk_zone_get(t.disk, 512 * KIB, &zone), -EINVAL);
	assert_int_equal(disk_resize(t.disk, 1024 * KIB), -ENOTSUP);
	test_disk_close(&t);
}

static void the_last_zone_may_be_shorter(void **state)
{
	struct test_disk t = test_disk_open("mem:160K,zone-size=64K,zone-capacity=48K");

	assert_int_equal(zone_at(&t, 159 * KIB).length_bytes, 32 * KIB);
	assert_int_equal(zone_at(&t, 159 * KIB).capacity_bytes, 32 * KIB);
	assert_int_equal(write_at(&t, 128 * KIB, 32 * KIB), 0);
	assert_int_equal(state_at(&t, 128 * KIB), DISK_ZONE_FULL);
	test_disk_close(&t);
}

static void a_sequential_zone_is_written_at_its_pointer(void **state)
{
	struct test_disk t = test_disk_open(SPEC);
	uint64_t zone = SEQUENTIAL(0);

	assert_int_equal(write_at(&t, zone + 512, 512), -EILSEQ);
	assert_int_equal(state_at(&t, zone), DISK_ZONE_EMPTY);
	assert_int_equal(write_at(&t, zone, 4096), 0);
	assert_int_equal(state_at(&t, zone), DISK_ZONE_OPENED_BY_WRITE);
	assert_int_equal(zone_at(&t, zone).pointer_bytes, zone + 4096);
	assert_int_equal(write_at(&t, zone, 4096), -EILSEQ);
	assert_int_equal(write_at(&t, zone + 4096, 48 * KIB), -EBADRQC); /* beyond its capacity */
	assert_int_equal(write_at(&t, zone + 4096, 44 * KIB), 0);
	assert_int_equal(state_at(&t, zone), DISK_ZONE_FULL);
	assert_int_equal(write_at(&t, zone + 48 * KIB, 512), -EBADRQC);
	assert_int_equal(write_at(&t, zone, 0), 0); /* of nothing */
	test_disk_close(&t);
}

static void a_conventional_zone_is_written_anywhere(void **state)
{
	struct test_disk t = test_disk_open(SPEC);

	assert_int_equal(write_at(&t, ZONE + 4096, 512), 0);
	assert_int_equal(write_at(&t, ZONE - 512, 1024), 0); /* from one to the next */
	assert_int_equal(write_at(&t, 2 * ZONE - 512, 1024), -EBADRQC); /* to one that is not */
	assert_int_equal(append(&t, ZONE, 512), -EBADRQC);
	for (unsigned what = DISK_ZONE_OPEN; what <= DISK_ZONE_RESET; what++)
		assert_int_equal(act(&t, what, ZONE), -EBADRQC);
	assert_int_equal(state_at(&t, ZONE), DISK_ZONE_CONVENTIONAL);
	test_disk_close(&t);
}

static void nothing_crosses_to_the_next_sequential_zone(void **state)
{
	struct test_disk t = test_disk_open("mem:512K,zone-size=64K");
	struct iovec iov = {data, 1024};

	assert_int_equal(test_do(&t, DISK_READ, 0, ZONE - 512, 1024, &iov, 1), -EBADRQC);
	assert_int_equal(write_at(&t, 0, ZONE - 512), 0);
	assert_int_equal(write_at(&t, ZONE - 512, 1024), -EBADRQC);
	assert_int_equal(zone_at(&t, 0).pointer_bytes, ZONE - 512);
	test_disk_close(&t);
}

static void an_append_says_where_it_went(void **state)
{
	struct test_disk t = test_disk_open(SPEC);
	uint64_t zone = SEQUENTIAL(1);
	uint8_t in[1024] = {0};
	struct iovec iov = {in, sizeof(in)};

	test_fill(data, 1024, 3);
	assert_int_equal(append(&t, zone, 512), zone);
	assert_int_equal(append(&t, zone, 1024), zone + 512);
	assert_int_equal(append(&t, zone + 512, 512), -EBADRQC); /* not where a zone begins */
	assert_int_equal(append(&t, zone, 48 * KIB), -EBADRQC);
	assert_int_equal(test_do(&t, DISK_READ, 0, zone + 512, 1024, &iov, 1), 0);
	assert_memory_equal(in, data, 1024);
	assert_int_equal(zone_at(&t, zone).pointer_bytes, zone + 1536);
	test_disk_close(&t);
}

static void what_is_open_and_active_is_limited(void **state)
{
	struct test_disk t = test_disk_open(SPEC);

	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(0)), 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(0)), 0); /* it is already */
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(1)), 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(2)), -ETOOMANYREFS);
	assert_int_equal(write_at(&t, SEQUENTIAL(2), 512), -ETOOMANYREFS);
	assert_int_equal(append(&t, SEQUENTIAL(2), 512), -ETOOMANYREFS);
	assert_int_equal(state_at(&t, SEQUENTIAL(2)), DISK_ZONE_EMPTY);
	assert_int_equal(write_at(&t, SEQUENTIAL(0), 512), 0);
	assert_int_equal(act(&t, DISK_ZONE_CLOSE, SEQUENTIAL(0)), 0);
	assert_int_equal(write_at(&t, SEQUENTIAL(2), 512), 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(3)), -EOVERFLOW); /* a fourth active one; and a third open one, which is not said */
	assert_int_equal(act(&t, DISK_ZONE_FINISH, SEQUENTIAL(0)), 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(3)), 0); /* for it the one that was opened by a write is closed */
	assert_int_equal(state_at(&t, SEQUENTIAL(2)), DISK_ZONE_CLOSED);
	assert_int_equal(act(&t, DISK_ZONE_FINISH, SEQUENTIAL(2)), 0);
	assert_int_equal(act(&t, DISK_ZONE_RESET_ALL, 0), 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(4)), 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(5)), 0);
	test_disk_close(&t);
}

/* A driver that goes from zone to zone has each of them opened for it, and the one that was opened first is closed. */
static void the_zone_that_was_opened_first_is_closed_for_another(void **state)
{
	struct test_disk t = test_disk_open("mem:1M,zone-size=64K,zone-max-open=3");
	const unsigned order[] = {5, 2, 9, 0, 5, 14, 2};
	const unsigned closed[] = {5, 2, 9, 0};

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		assert_true(append(&t, order[i] * ZONE, 512) >= 0);
		assert_int_equal(state_at(&t, order[i] * ZONE), DISK_ZONE_OPENED_BY_WRITE);
		if (i >= 3)
			assert_int_equal(state_at(&t, closed[i - 3] * ZONE), DISK_ZONE_CLOSED);
	}
	assert_int_equal(act(&t, DISK_ZONE_RESET, 14 * ZONE), 0); /* from within the row */
	assert_int_equal(act(&t, DISK_ZONE_OPEN, 5 * ZONE), 0);
	assert_int_equal(append(&t, 9 * ZONE, 512), 9 * ZONE + 512);
	assert_int_equal(state_at(&t, 2 * ZONE), DISK_ZONE_OPENED_BY_WRITE);
	assert_int_equal(append(&t, 0, 512), 512);
	assert_int_equal(state_at(&t, 2 * ZONE), DISK_ZONE_CLOSED);
	assert_int_equal(state_at(&t, 5 * ZONE), DISK_ZONE_OPENED);
	test_disk_close(&t);
}

/* Each state, and what each command makes of it; -EBADRQC: it stays. */
static void commands_change_the_state_as_the_table_says(void **state)
{
	static const struct {
		enum disk_zone_state from;
		int open, close, finish, reset;
	} rows[] = {
		{DISK_ZONE_EMPTY, DISK_ZONE_OPENED, -EBADRQC, DISK_ZONE_FULL, DISK_ZONE_EMPTY},
		{DISK_ZONE_OPENED_BY_WRITE, DISK_ZONE_OPENED, DISK_ZONE_CLOSED, DISK_ZONE_FULL, DISK_ZONE_EMPTY},
		{DISK_ZONE_OPENED, DISK_ZONE_OPENED, DISK_ZONE_EMPTY, DISK_ZONE_FULL, DISK_ZONE_EMPTY},
		{DISK_ZONE_CLOSED, DISK_ZONE_OPENED, DISK_ZONE_CLOSED, DISK_ZONE_FULL, DISK_ZONE_EMPTY},
		{DISK_ZONE_FULL, -EBADRQC, -EBADRQC, DISK_ZONE_FULL, DISK_ZONE_EMPTY},
	};
	struct test_disk t = test_disk_open(SPEC);
	uint64_t zone = SEQUENTIAL(0);

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const int to[] = {rows[i].open, rows[i].close, rows[i].finish, rows[i].reset};

		for (unsigned what = DISK_ZONE_OPEN; what <= DISK_ZONE_RESET; what++) {
			assert_int_equal(act(&t, DISK_ZONE_RESET, zone), 0);
			if (rows[i].from == DISK_ZONE_OPENED_BY_WRITE || rows[i].from == DISK_ZONE_CLOSED)
				assert_int_equal(write_at(&t, zone, 512), 0);
			if (rows[i].from == DISK_ZONE_CLOSED)
				assert_int_equal(act(&t, DISK_ZONE_CLOSE, zone), 0);
			if (rows[i].from == DISK_ZONE_OPENED)
				assert_int_equal(act(&t, DISK_ZONE_OPEN, zone), 0);
			if (rows[i].from == DISK_ZONE_FULL)
				assert_int_equal(act(&t, DISK_ZONE_FINISH, zone), 0);
			assert_int_equal(state_at(&t, zone), rows[i].from);
			assert_int_equal(act(&t, what, zone), to[what] < 0 ? to[what] : 0);
			assert_int_equal(state_at(&t, zone), to[what] < 0 ? (int)rows[i].from : to[what]);
		}
	}
	assert_int_equal(act(&t, DISK_ZONE_RESET_ALL + 1, zone), -EBADRQC);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, zone + 512), -EBADRQC);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, 512 * KIB), -EBADRQC);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, UINT64_MAX), -EINVAL); /* as for all that is not on the disk */
	test_disk_close(&t);
}

static void what_was_written_before_a_reset_is_not_read(void **state)
{
	struct test_disk t = test_disk_open(SPEC);
	struct iovec iov = {data, 48 * KIB};

	for (unsigned i = 0; i < 2; i++) {
		memset(data, 0x77, sizeof(data));
		assert_int_equal(write_at(&t, 0, ZONE), 0);
		assert_int_equal(write_at(&t, SEQUENTIAL(0), 48 * KIB), 0);
		assert_int_equal(write_at(&t, SEQUENTIAL(1), 512), 0);
		assert_int_equal(act(&t, i ? DISK_ZONE_RESET_ALL : DISK_ZONE_RESET, SEQUENTIAL(0)), 0);
		assert_int_equal(test_do(&t, DISK_READ, 0, SEQUENTIAL(0), 48 * KIB, &iov, 1), 0);
		assert_true(test_all(data, 48 * KIB, 0));
		assert_int_equal(test_do(&t, DISK_READ, 0, SEQUENTIAL(1), 48 * KIB, &iov, 1), 0);
		assert_true(test_all(data + 512, 47 * KIB, 0)); /* nobody has written there */
		assert_int_equal(data[0], i ? 0 : 0x77);
		assert_int_equal(test_do(&t, DISK_READ, 0, 0, 48 * KIB, &iov, 1), 0);
		assert_true(test_all(data, 48 * KIB, 0x77)); /* a conventional one stays */
		assert_int_equal(act(&t, DISK_ZONE_RESET_ALL, 0), 0);
	}
	test_disk_close(&t);
}

/* All of a zone is given back by turns, and others have theirs. */
static void a_large_zone_is_reset_and_appended_to_by_turns(void **state)
{
	struct test_disk t = test_disk_open("mem:16M,zone-size=8M");
	uint64_t bytes = 3 << 20;
	uint8_t *large = malloc(bytes);
	struct iovec iov = {large, bytes};
	struct disk_request r = {.op = DISK_WRITE, .flags = DISK_APPEND, .offset = 8 << 20, .bytes = bytes, .iov = &iov,
				 .iov_count = 1, .result = 1}, *one = &r;

	assert_non_null(large);
	for (unsigned i = 0; i < 2; i++) {
		r.offset = 8 << 20;
		test_fill(large, bytes, 9);
		disk_queue_submit(t.queue, &one, 1);
		assert_ptr_equal(test_wait(t.queue), &r);
		assert_int_equal(r.result, 0);
		assert_int_equal(r.offset, (8 << 20) + i * bytes);
	}
	memset(large, 0, bytes);
	assert_int_equal(test_do(&t, DISK_READ, 0, (8 << 20) + bytes, bytes, &iov, 1), 0);
	assert_int_equal(large[bytes - 1], (uint8_t)(9 + bytes - 1 + (bytes - 1) / 251));
	assert_int_equal(act(&t, DISK_ZONE_RESET, 8 << 20), 0);
	assert_int_equal(state_at(&t, 8 << 20), DISK_ZONE_EMPTY);
	assert_int_equal(test_do(&t, DISK_READ, 0, (8 << 20) + bytes, bytes, &iov, 1), 0);
	assert_true(test_all(large, bytes, 0));
	free(large);
	test_disk_close(&t);
}

#define APPENDS 200u

static char failed[] = "an append has failed";

static void *append_often(void *opaque)
{
	struct test_disk *t = opaque;
	uint8_t sector[512] = {1};
	struct iovec iov = {sector, sizeof(sector)};

	for (unsigned i = 0; i < APPENDS; i++) {
		struct disk_request r = {.op = DISK_WRITE, .flags = DISK_APPEND, .bytes = 512, .iov = &iov, .iov_count = 1}, *one = &r;

		disk_queue_submit(t->queue, &one, 1);
		if (test_wait(t->queue) != &r || r.result)
			return failed;
	}
	return NULL;
}

static void appends_of_two_threads_lie_beside_each_other(void **state)
{
	struct test_disk t = test_disk_open("mem:512K,zone-size=256K"), other = {.disk = t.disk};
	uint8_t *all = malloc(2 * APPENDS * 512);
	struct iovec iov = {all, 2 * APPENDS * 512};
	pthread_t thread;
	void *said;

	assert_non_null(all);
	assert_int_equal(disk_queue_open(t.disk, 8, &other.queue), 0);
	assert_int_equal(pthread_create(&thread, NULL, append_often, &other), 0);
	assert_null(append_often(&t));
	assert_int_equal(pthread_join(thread, &said), 0);
	assert_null(said);
	disk_queue_close(other.queue);
	assert_int_equal(zone_at(&t, 0).pointer_bytes, 2 * APPENDS * 512);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, iov.iov_len, &iov, 1), 0);
	for (unsigned i = 0; i < 2 * APPENDS; i++)
		assert_int_equal(all[i * 512], 1);
	free(all);
	test_disk_close(&t);
}

static void what_would_go_around_the_pointer_is_refused(void **state)
{
	struct test_disk t = test_disk_open(SPEC), plain = test_disk_open("mem:512K");
	struct disk_zone zone;

	assert_int_equal(test_do(&t, DISK_ZERO, 0, SEQUENTIAL(0), 512, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(test_do(&t, DISK_DISCARD, 0, SEQUENTIAL(0), 512, NULL, 0), -EOPNOTSUPP);
	test_disk_close(&t);
	assert_int_equal(append(&plain, 0, 512), -EOPNOTSUPP); /* a disk without zones has none */
	assert_int_equal(act(&plain, DISK_ZONE_RESET_ALL, 0), -EOPNOTSUPP);
	assert_int_equal(disk_zone_get(plain.disk, 0, &zone), -EOPNOTSUPP);
	test_disk_close(&plain);
	t = test_disk_open(SPEC ",read-only=on");
	assert_int_equal(append(&t, SEQUENTIAL(0), 512), -EROFS);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, SEQUENTIAL(0)), -EROFS);
	test_disk_close(&t);
}

static void a_layer_counts_appends_as_writes(void **state)
{
	struct test_disk t = test_disk_open("mem:512K,zone-size=64K,fail=EIO,fail-op=write");

	assert_int_equal(append(&t, 0, 512), -EIO);
	assert_int_equal(zone_at(&t, 0).pointer_bytes, 0);
	assert_int_equal(act(&t, DISK_ZONE_OPEN, 0), 0);
	test_disk_close(&t);
}

static void what_no_disk_can_be_is_refused(void **state)
{
	static const char *const rows[][2] = {
		{"mem:512K,zone-size=96K", "a power of two"},
		{"mem:512K,zone-size=64K,zone-capacity=128K", "no more than zone-size"},
		{"mem:512K,zone-size=64K,zone-capacity=4100", "whole sectors"},
		{"mem:512K,zone-size=64K,zone-conventional=8", "fewer than there are zones"},
		{"mem:512K,zone-size=64K,zone-max-open=3,zone-max-active=2", "an open zone is active"},
		{"mem:512K,zone-max-open=3", "zone-size: expected"},
		{"mem:512K,zone-size=1K", "zone-size"},
		{"mem:8G,zone-size=64K", "65536 zones at most"},
		{"mem:512K,zone-size=64K,forget=64K", "leave one of them out"},
		{"null:512K,zone-size=64K", "zone-size"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct disk_config config = {0};
		char why[DISK_WHY_BYTES] = "";
		struct disk *disk;

		assert_int_equal(disk_open(rows[i][0], &config, &disk, why), -EINVAL);
		if (!strstr(why, rows[i][1]))
			fail_msg("%s: %s", rows[i][0], why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_tells_its_zones),
		cmocka_unit_test(the_last_zone_may_be_shorter),
		cmocka_unit_test(a_sequential_zone_is_written_at_its_pointer),
		cmocka_unit_test(a_conventional_zone_is_written_anywhere),
		cmocka_unit_test(nothing_crosses_to_the_next_sequential_zone),
		cmocka_unit_test(an_append_says_where_it_went),
		cmocka_unit_test(what_is_open_and_active_is_limited),
		cmocka_unit_test(the_zone_that_was_opened_first_is_closed_for_another),
		cmocka_unit_test(commands_change_the_state_as_the_table_says),
		cmocka_unit_test(what_was_written_before_a_reset_is_not_read),
		cmocka_unit_test(a_large_zone_is_reset_and_appended_to_by_turns),
		cmocka_unit_test(appends_of_two_threads_lie_beside_each_other),
		cmocka_unit_test(what_would_go_around_the_pointer_is_refused),
		cmocka_unit_test(a_layer_counts_appends_as_writes),
		cmocka_unit_test(what_no_disk_can_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
