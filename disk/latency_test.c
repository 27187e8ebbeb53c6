/* SPDX-License-Identifier: BSD-3-Clause */
/* How long requests take, by a clock that stands until it is told to go on. */
#include "disk/latency.h"
#include "disk/test_layers.h"
#include <pthread.h>

static void submit(struct test_disk *t, unsigned index, enum disk_op op)
{
	static uint8_t room[512];
	static const struct iovec iov = {room, sizeof(room)};
	struct disk_request *one = &requests[index];

	*one = (struct disk_request){.op = (uint8_t)op, .bytes = op == DISK_FLUSH ? 0 : 512, .iov = &iov, .iov_count = 1};
	disk_queue_submit(t->queue, &one, 1);
}

static struct disk_latency_info info(const struct test_disk *t, enum disk_op op)
{
	struct disk_latency_info info;

	assert_int_equal(disk_latency_get(t->disk, op, &info), 0);
	return info;
}

static void each_sort_has_its_own(void **state)
{
	struct test_disk t = opened("null:1M,latency=on,slow-ms=5,slow-op=write");

	for (unsigned op = 0; op < DISK_OPS; op++)
		assert_int_equal(info(&t, op).count, 0);
	submit(&t, 0, DISK_WRITE);
	submit(&t, 1, DISK_READ);
	clock_ns += MS;
	assert_int_equal(reaped(&t), 1);
	clock_ns += 6 * MS;
	assert_int_equal(reaped(&t), 1);
	assert_int_equal(info(&t, DISK_READ).count, 1);
	assert_int_equal(info(&t, DISK_READ).p50_ns, MS);
	assert_int_equal(info(&t, DISK_WRITE).max_ns, 7 * MS); /* what it has waited for included */
	assert_int_equal(info(&t, DISK_FLUSH).count, 0);
	test_disk_close(&t);
}

static void percentiles_are_of_all_queues_that_are_and_were(void **state)
{
	struct test_disk t = opened("null:1M,latency=on");
	struct disk_latency_info of;

	for (unsigned i = 1; i <= 100; i++) {
		submit(&t, 0, DISK_READ);
		clock_ns += i * 1000;
		assert_int_equal(reaped(&t), 1);
		if (i == 50) {
			disk_queue_close(t.queue);
			assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
		}
	}
	of = info(&t, DISK_READ);
	assert_int_equal(of.count, 100);
	assert_int_equal(of.min_ns, 1000);
	assert_in_range(of.p50_ns, 50000, 50000 + 50000 / 64 + 1);
	assert_in_range(of.p99_ns, 99000, 99000 + 99000 / 64 + 1);
	assert_int_equal(of.max_ns, 100000);
	test_disk_close(&t);
}

static void it_is_not_there_if_nobody_asks(void **state)
{
	static const char *const specs[] = {"null:1M", "null:1M,latency=off"};
	struct disk_latency_info of;

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
		struct test_disk t = opened(specs[i]);

		assert_false(disk_latency_measured(t.disk));
		assert_int_equal(disk_latency_get(t.disk, DISK_READ, &of), -ENOTSUP);
		test_disk_close(&t);
	}
	test_bounds("mem:1M,latency=on");
}

/* For the thread sanitizer. */
static void *asks(void *opaque)
{
	struct test_disk *t = opaque;

	for (unsigned i = 0; i < 1000; i++) {
		submit(t, 0, DISK_READ);
		assert_int_equal(reaped(t), 1);
	}
	return NULL;
}

static void it_is_read_while_a_worker_counts(void **state)
{
	struct test_disk t = opened("null:1M,latency=on");
	pthread_t thread;
	uint64_t before = 0;

	assert_int_equal(pthread_create(&thread, NULL, asks, &t), 0);
	while (before < 1000) {
		uint64_t now = info(&t, DISK_READ).count;

		assert_true(now >= before);
		before = now;
	}
	pthread_join(thread, NULL);
	test_disk_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sort_has_its_own),
		cmocka_unit_test(percentiles_are_of_all_queues_that_are_and_were),
		cmocka_unit_test(it_is_not_there_if_nobody_asks),
		cmocka_unit_test(it_is_read_while_a_worker_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
