/* SPDX-License-Identifier: BSD-3-Clause */
/* What the layers for tests do to which requests, by a clock that stands until it is told to go on; and once by the real one, asleep. */
#include "disk/test_layers.h"

/* `count` of one sector each, side by side from `sector` on. */
static void submit(struct test_disk *t, unsigned first, unsigned count, enum disk_op op, uint64_t sector)
{
	static uint8_t room[512];
	static const struct iovec iov = {room, sizeof(room)};
	struct disk_request *burst[REQUESTS];

	for (unsigned i = 0; i < count; i++) {
		requests[first + i] = (struct disk_request){.op = (uint8_t)op, .offset = (sector + i) * 512, .bytes = 512, .iov = &iov,
							    .iov_count = 1, .result = 1};
		burst[i] = &requests[first + i];
	}
	disk_queue_submit(t->queue, burst, count);
}

static int result(struct test_disk *t, enum disk_op op, uint64_t sector)
{
	submit(t, 0, 1, op, sector);
	assert_int_equal(reaped(t), 1);
	return requests[0].result;
}

static void refused(const char *spec, const char *because)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct disk *disk;

	assert_int_equal(disk_open(spec, &config, &disk, why), -EINVAL);
	if (!strstr(why, because))
		print_error("'%s': '%s' is not in '%s'\n", spec, because, why);
	assert_non_null(strstr(why, because));
}

static void what_cannot_be_is_refused(void **state)
{
	refused("null:1M,fail-op=read", "fail-op: there is no fail ");
	refused("null:1M,slow-nth=2,fail=EIO", "slow-nth: there is no slow-ms ");
	refused("null:1M,fail=EIO,fail-first-sector=2,fail-last-sector=1", "fail-first-sector lies behind fail-last-sector");
	refused("null:1M,slow-ms=1,slow-op=flush,slow-last-sector=1", "a flush has no sectors");
}

static void every_sort_fails_or_one_alone(void **state)
{
	struct test_disk t = opened("null:1M,fail=EIO");
	static const char *const names[DISK_ZONE] = {"read", "write", "flush", "discard", "zero", "erase"};
	char spec[60];

	for (unsigned op = 0; op < DISK_ZONE; op++)
		assert_int_equal(result(&t, op, 0), -EIO);
	assert_int_equal(result(&t, DISK_READ, 2048), -EINVAL); /* beyond the end */
	test_disk_close(&t);
	for (unsigned only = 0; only < DISK_ZONE; only++) {
		snprintf(spec, sizeof(spec), "null:1M,fail=ENOSPC,fail-op=%s", names[only]);
		t = opened(spec);
		for (unsigned op = 0; op < DISK_ZONE; op++)
			assert_int_equal(result(&t, op, 0), op == only ? -ENOSPC : 0);
		test_disk_close(&t);
	}
}

static void a_request_that_fails_has_not_reached_the_disk(void **state)
{
	struct test_disk t = opened("mem:1M,fail=EIO,fail-op=write,fail-first-sector=1");
	uint8_t bytes[1024];
	struct iovec iov = {bytes, sizeof(bytes)};

	memset(bytes, 7, sizeof(bytes));
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 0, 1024, &iov, 1), -EIO);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 1024, &iov, 1), 0);
	assert_true(test_all(bytes, 1024, 0));
	test_disk_close(&t);
}

static void sectors_from_the_first_to_the_last_fail(void **state)
{
	struct test_disk t = opened("null:1M,fail=EIO,fail-first-sector=8,fail-last-sector=9");
	struct iovec iov = {NULL, 0};

	assert_int_equal(result(&t, DISK_READ, 7), 0);
	assert_int_equal(result(&t, DISK_READ, 8), -EIO);
	assert_int_equal(result(&t, DISK_ZERO, 9), -EIO);
	assert_int_equal(result(&t, DISK_READ, 10), 0);
	assert_int_equal(result(&t, DISK_FLUSH, 8), 0);
	assert_int_equal(test_do(&t, DISK_DISCARD, 0, 0, 8 * 512, NULL, 0), 0);
	assert_int_equal(test_do(&t, DISK_DISCARD, 0, 0, 9 * 512, NULL, 0), -EIO);
	assert_int_equal(test_do(&t, DISK_DISCARD, 0, 9 * 512, 512 * 100, NULL, 0), -EIO);
	assert_int_equal(test_do(&t, DISK_READ, 0, 8 * 512, 0, &iov, 1), 0); /* of no bytes: touches none */
	test_disk_close(&t);
}

static void each_nth_of_those_that_match_fails(void **state)
{
	struct test_disk t = opened("null:1M,fail=EIO,fail-op=read,fail-nth=3");

	for (unsigned i = 1; i <= 9; i++) {
		assert_int_equal(result(&t, DISK_WRITE, 0), 0);
		assert_int_equal(result(&t, DISK_READ, 4096), -EINVAL);
		assert_int_equal(result(&t, DISK_READ, 0), i % 3 ? 0 : -EIO);
		disk_queue_close(t.queue); /* is counted over all queues */
		assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	}
	test_disk_close(&t);
}

static void so_many_in_a_million_fail_and_the_same_each_time(void **state)
{
	enum { TIMES = 20000 };
	static bool failed[TIMES];
	unsigned count = 0;

	for (unsigned again = 0; again < 2; again++) {
		struct test_disk t = opened("null:1M,fail=EIO,fail-ppm=100000");

		for (unsigned i = 0; i < TIMES; i++) {
			bool fails = result(&t, DISK_READ, 0) == -EIO;

			assert_true(!again || fails == failed[i]);
			failed[i] = fails;
			count += fails;
		}
		test_disk_close(&t);
	}
	assert_in_range(count, 2 * TIMES / 10 * 9 / 10, 2 * TIMES / 10 * 11 / 10);
}

static void what_is_slow_waits_and_the_rest_overtakes_it(void **state)
{
	struct test_disk t = opened("null:1M,slow-ms=10,slow-op=read");

	submit(&t, 0, 2, DISK_READ, 0);
	submit(&t, 2, 2, DISK_WRITE, 0);
	assert_int_equal(reaped(&t), 2);
	assert_int_equal(requests[3].result, 0);
	clock_ns += 4 * MS;
	submit(&t, 4, 1, DISK_READ, 0);
	assert_false(disk_queue_arm(t.queue, true));
	clock_ns += 6 * MS - 1;
	assert_int_equal(reaped(&t), 0);
	clock_ns += 1;
	assert_true(disk_queue_arm(t.queue, true));
	assert_int_equal(reaped(&t), 2);
	assert_int_equal(requests[4].result, 1);
	clock_ns += 4 * MS;
	assert_int_equal(reaped(&t), 1);
	assert_int_equal(requests[4].result, 0);
	test_disk_close(&t);
}

static void what_waits_can_be_given_up(void **state)
{
	struct test_disk t = opened("null:1M,slow-ms=10");

	submit(&t, 0, 3, DISK_WRITE, 0);
	disk_queue_cancel(t.queue);
	assert_true(disk_queue_arm(t.queue, true));
	assert_int_equal(reaped(&t), 3);
	assert_int_equal(requests[2].result, -ECANCELED);
	test_disk_close(&t);
}

static void a_queue_that_ends_waits_no_longer(void **state)
{
	struct test_disk t = opened("null:1M,slow-ms=10,iops=1,iops-burst=1");

	submit(&t, 0, 3, DISK_WRITE, 0);
	assert_int_equal(reaped(&t), 0);
	disk_queue_hurry(t.queue);
	assert_true(disk_queue_arm(t.queue, true));
	assert_int_equal(reaped(&t), 3);
	assert_int_equal(result(&t, DISK_READ, 0), 0);
	test_disk_close(&t);
}

/* Slow first, and then it fails; and below limits. */
static void layers_lie_upon_each_other(void **state)
{
	struct test_disk t = opened("null:1M,iops=1000,iops-burst=1,slow-ms=10,fail=EIO");

	submit(&t, 0, 2, DISK_READ, 0);
	clock_ns += 10 * MS;
	assert_int_equal(reaped(&t), 1); /* the second has had to wait for the limit, and its 10 ms begin now */
	assert_int_equal(requests[0].result, -EIO);
	clock_ns += 10 * MS - 1;
	assert_int_equal(reaped(&t), 0);
	clock_ns += 1;
	assert_int_equal(reaped(&t), 1);
	assert_int_equal(requests[1].result, -EIO);
	test_disk_close(&t);
}

static void who_sleeps_is_woken_when_its_time_has_come(void **state)
{
	static const char *const specs[] = {"null:1M,slow-ms=2", "null:1M,slow-ms=2,iops=1000,iops-burst=1", "mem:1M,slow-ms=1,fail=EIO"};
	uint8_t bytes[512];
	struct iovec iov = {bytes, sizeof(bytes)};

	for (unsigned s = 0; s < ARRAY_SIZE(specs); s++) {
		struct test_disk t = test_disk_open(specs[s]);

		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(test_do(&t, DISK_READ, 0, 0, 512, &iov, 1), strstr(specs[s], "fail") ? -EIO : 0);
		test_disk_close(&t);
	}
	test_bounds("null:1M,slow-ms=1,fail=EIO,fail-last-sector=0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(every_sort_fails_or_one_alone),
		cmocka_unit_test(a_request_that_fails_has_not_reached_the_disk),
		cmocka_unit_test(sectors_from_the_first_to_the_last_fail),
		cmocka_unit_test(each_nth_of_those_that_match_fails),
		cmocka_unit_test(so_many_in_a_million_fail_and_the_same_each_time),
		cmocka_unit_test(what_is_slow_waits_and_the_rest_overtakes_it),
		cmocka_unit_test(what_waits_can_be_given_up),
		cmocka_unit_test(a_queue_that_ends_waits_no_longer),
		cmocka_unit_test(layers_lie_upon_each_other),
		cmocka_unit_test(who_sleeps_is_woken_when_its_time_has_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
