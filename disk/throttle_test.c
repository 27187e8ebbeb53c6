/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits by a clock that stands until it is told to go on; and once by the real one, asleep. */
#include "disk/test_layers.h"
#include <unistd.h>

static void submit(struct test_disk *t, unsigned first, unsigned count, enum disk_op op, uint64_t bytes)
{
	static uint8_t room[65536];
	static struct iovec iov = {room, sizeof(room)};
	struct disk_request *burst[REQUESTS];

	iov.iov_len = bytes;
	for (unsigned i = 0; i < count; i++) {
		requests[first + i] = (struct disk_request){.op = (uint8_t)op, .bytes = bytes, .iov = &iov, .iov_count = 1, .result = 1};
		burst[i] = &requests[first + i];
	}
	disk_queue_submit(t->queue, burst, count);
}

static void requests_wait_for_their_time_in_order(void **state)
{
	struct test_disk t = opened("null:1M,iops=1000,iops-burst=4");
	struct disk_request *done = &requests[0];
	struct disk_limits_info info;

	submit(&t, 0, 10, DISK_READ, 512);
	assert_int_equal(reaped(&t), 4);
	assert_int_equal(disk_queue_pending(t.queue), 6);
	for (unsigned i = 4; i < 10; i++) {
		clock_ns += MS - 1;
		assert_int_equal(reaped(&t), 0);
		clock_ns += 1;
		assert_int_equal(disk_queue_reap(t.queue, &done, 1), 1);
		assert_ptr_equal(done, &requests[i]);
		assert_int_equal(done->result, 0);
	}
	disk_limits_get(t.disk, &info);
	assert_int_equal(info.throttled, 6);
	test_disk_close(&t);
}

static void a_late_worker_loses_nothing_of_the_rate(void **state)
{
	struct test_disk t = opened("null:1M,iops=1000,iops-burst=100");
	unsigned done, next = 0;

	submit(&t, 0, REQUESTS, DISK_READ, 512);
	for (unsigned n = 0; n < 50; n++) { /* looks every 20 ms, and always has more to do */
		done = reaped(&t);
		assert_true(n < 5 || (done >= 19 && done <= 21));
		for (; done; done--, next = (next + 1) % REQUESTS) /* they are done in order */
			submit(&t, next, 1, DISK_READ, 512);
		clock_ns += 20 * MS;
	}
	disk_queue_cancel(t.queue);
	while (reaped(&t))
		;
	test_disk_close(&t);
}

static void reads_and_writes_have_limits_apart(void **state)
{
	struct test_disk t = opened("null:1M,read-iops=10,read-iops-burst=1,write-bps=1M,write-bps-burst=64K");

	submit(&t, 0, 2, DISK_READ, 512);
	submit(&t, 2, 4, DISK_WRITE, 32768);
	submit(&t, 6, 1, DISK_FLUSH, 0);
	assert_int_equal(reaped(&t), 1 + 2 + 1); /* a flush waits for nobody */
	clock_ns += 1000 * MS / 32;
	assert_int_equal(reaped(&t), 1); /* 1 MiB a second are 32 of them */
	clock_ns += 1000 * MS / 32;
	assert_int_equal(reaped(&t), 1);
	assert_int_equal(requests[1].result, 1);
	clock_ns += 38 * MS;
	assert_int_equal(reaped(&t), 1);
	test_disk_close(&t);
}

static void what_does_not_fit_is_refused_at_once_and_costs_nothing(void **state)
{
	struct test_disk t = opened("null:1M,bps=1,iops=1,iops-burst=1");

	submit(&t, 0, 4, DISK_READ, 513);
	assert_int_equal(reaped(&t), 4);
	assert_int_equal(requests[3].result, -EINVAL);
	submit(&t, 0, 1, DISK_READ, 512);
	assert_int_equal(reaped(&t), 1);
	test_disk_close(&t);
}

static void a_group_has_one_limit_and_shares_it_evenly(void **state)
{
	struct test_disk a = opened("null:1M,throttle-group=g,iops=100,iops-burst=1"), b = opened("null:1M,throttle-group=g");
	struct disk_config config = {.groups = &groups};
	unsigned done_a = 0, done_b = 0;
	struct disk *other;
	char why[DISK_WHY_BYTES];

	assert_int_equal(disk_open("null:1M,throttle-group=g,iops=101", &config, &other, why), -EEXIST);
	assert_non_null(strstr(why, "other limits"));
	submit(&a, 0, 32, DISK_READ, 512);
	submit(&b, 32, 32, DISK_WRITE, 512);
	for (unsigned i = 0; i < 20; i++) {
		done_a += reaped(&a);
		done_b += reaped(&b);
		clock_ns += 10 * MS;
	}
	assert_int_equal(done_a + done_b, 20);
	assert_true(done_a >= 9 && done_a <= 11);
	disk_queue_cancel(a.queue);
	disk_queue_cancel(b.queue);
	reaped(&a);
	reaped(&b);
	test_disk_close(&a);
	test_disk_close(&b);
	assert_null(groups.first);
}

static void a_change_holds_for_what_waits_already(void **state)
{
	struct test_disk t = opened("null:1M,iops=1,iops-burst=1");
	struct disk_limits limits = {0};
	char why[DISK_WHY_BYTES];

	submit(&t, 0, 10, DISK_READ, 512);
	assert_int_equal(reaped(&t), 1);
	assert_false(disk_queue_arm(t.queue, true));
	assert_int_equal(disk_limits_parse("iops=100", &limits, why), 0);
	assert_int_equal(disk_limits_set(t.disk, &limits), 0);
	assert_true(disk_queue_arm(t.queue, true)); /* the limits are others: look again */
	assert_int_equal(reaped(&t), 0);
	clock_ns += 50 * MS;
	assert_int_equal(reaped(&t), 5);
	assert_int_equal(disk_limits_parse("off", &limits, why), 0);
	assert_int_equal(disk_limits_set(t.disk, &limits), 0);
	assert_int_equal(reaped(&t), 4);
	test_disk_close(&t);
}

static void who_waits_asleep_is_woken_by_a_change(void **state)
{
	struct test_disk t = test_disk_open("null:1M,bps=1"); /* the second of them would go in 512 s */
	struct pollfd fd = {.fd = disk_queue_fd(t.queue), .events = POLLIN};
	struct disk_limits none = {0};

	submit(&t, 0, 30, DISK_READ, 512);
	assert_int_equal(reaped(&t), 1);
	assert_false(disk_queue_arm(t.queue, true));
	assert_int_equal(disk_limits_set(t.disk, &none), 0);
	assert_int_equal(poll(&fd, 1, 20000), 1);
	assert_int_equal(reaped(&t), 29);
	test_disk_close(&t);
}

static void limits_come_to_a_disk_that_had_none_with_its_next_queue(void **state)
{
	struct test_disk t = opened("null:1M");
	struct disk_limits limits = {0};
	char why[DISK_WHY_BYTES];

	assert_int_equal(disk_queue_fd(t.queue), -1);
	assert_int_equal(disk_limits_set(t.disk, &limits), 0);
	assert_int_equal(disk_limits_parse("iops=1,iops-burst=2", &limits, why), 0);
	assert_int_equal(disk_limits_set(t.disk, &limits), 1);
	disk_queue_close(t.queue);
	assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	clock_ns += 5000 * MS;
	submit(&t, 0, 4, DISK_READ, 512);
	assert_int_equal(reaped(&t), 2);
	disk_queue_cancel(t.queue);
	assert_int_equal(reaped(&t), 2);
	assert_int_equal(requests[3].result, -ECANCELED);
	test_disk_close(&t);
}

static void a_queue_that_ends_waits_for_no_limit(void **state)
{
	struct test_disk t = opened("null:1M,iops=1,iops-burst=1");

	submit(&t, 0, 4, DISK_READ, 512);
	assert_int_equal(reaped(&t), 1);
	disk_queue_hurry(t.queue);
	assert_true(disk_queue_arm(t.queue, true));
	assert_int_equal(reaped(&t), 3);
	submit(&t, 0, 1, DISK_READ, 512);
	assert_int_equal(reaped(&t), 1);
	/* And has paid all the same: the next queue begins with what it owes. */
	disk_queue_close(t.queue);
	assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	submit(&t, 0, 1, DISK_READ, 512);
	clock_ns += 4999 * MS;
	assert_int_equal(reaped(&t), 0);
	clock_ns += MS;
	assert_int_equal(reaped(&t), 1);
	test_disk_close(&t);
}

/* What lies below sleeps, too: its fd is heard through that of the layer. */
static void a_file_below_is_heard(void **state)
{
	char path[] = "/tmp/vireo-throttle-XXXXXX", spec[80];
	uint8_t *bytes = aligned_alloc(4096, 4096);
	struct iovec iov = {bytes, 4096};
	int fd = mkstemp(path);
	struct test_disk t;

	assert_non_null(bytes);
	assert_true(fd >= 0 && !ftruncate(fd, 1 << 20));
	for (unsigned threads = 0; threads < 2; threads++) {
		snprintf(spec, sizeof(spec), "file:%s,iops=2000,iops-burst=1%s", path, threads ? ",io=threads" : "");
		t = test_disk_open(spec);
		memset(bytes, 7, 4096);
		for (unsigned i = 0; i < 50; i++)
			assert_int_equal(test_do(&t, i % 2 ? DISK_READ : DISK_WRITE, 0, 0, 4096, &iov, 1), 0);
		test_disk_close(&t);
	}
	test_bounds("null:1M,iops=100000");
	close(fd);
	unlink(path);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_wait_for_their_time_in_order),
		cmocka_unit_test(a_late_worker_loses_nothing_of_the_rate),
		cmocka_unit_test(reads_and_writes_have_limits_apart),
		cmocka_unit_test(what_does_not_fit_is_refused_at_once_and_costs_nothing),
		cmocka_unit_test(a_group_has_one_limit_and_shares_it_evenly),
		cmocka_unit_test(a_change_holds_for_what_waits_already),
		cmocka_unit_test(who_waits_asleep_is_woken_by_a_change),
		cmocka_unit_test(limits_come_to_a_disk_that_had_none_with_its_next_queue),
		cmocka_unit_test(a_queue_that_ends_waits_for_no_limit),
		cmocka_unit_test(a_file_below_is_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
