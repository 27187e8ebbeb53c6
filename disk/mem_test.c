/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/test_disk.h"

/* Both kinds: what they answer. */
static void each_burst_is_done_when_it_is_submitted(void **state)
{
	static const char *const specs[] = {"mem:1M", "null:1M"};

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
		struct test_disk t = test_disk_open(specs[i]);
		struct disk_request requests[8], *burst[8], *done[8];
		uint8_t bytes[512] = {0};
		struct iovec iov = {bytes, sizeof(bytes)};

		for (unsigned k = 0; k < 8; k++) {
			requests[k] = (struct disk_request){.op = k % 2 ? DISK_READ : DISK_WRITE, .offset = 512 * k,
							    .bytes = 512, .iov = &iov, .iov_count = 1, .result = 1};
			burst[k] = &requests[k];
		}
		disk_queue_submit(t.queue, burst, 8);
		assert_int_equal(disk_queue_pending(t.queue), 8);
		assert_true(disk_queue_arm(t.queue, true));
		assert_int_equal(disk_queue_fd(t.queue), -1);
		assert_int_equal(disk_queue_reap(t.queue, done, 3), 3);
		assert_int_equal(disk_queue_reap(t.queue, done + 3, 8), 5);
		assert_int_equal(disk_queue_reap(t.queue, done, 8), 0);
		assert_false(disk_queue_arm(t.queue, true));
		for (unsigned k = 0; k < 8; k++)
			assert_int_equal(requests[k].result, 0);
		test_disk_close(&t);
	}
}

static void what_is_written_is_read_over_pieces_of_any_length(void **state)
{
	struct test_disk t = test_disk_open("mem:1M");
	uint8_t out[2048], in[2048] = {0};
	struct iovec write[] = {{out, 1}, {out + 1, 0}, {out + 1, 1023}, {out + 1024, 1024}};
	struct iovec read[] = {{in, 700}, {in + 700, 1348}};

	test_fill(out, sizeof(out), 1);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 512, 2048, write, 4), 0);
	assert_int_equal(test_do(&t, DISK_READ, 0, 512, 2048, read, 2), 0);
	assert_memory_equal(in, out, sizeof(in));
	test_disk_close(&t);
}

static void iovecs_shorter_than_the_request_are_refused(void **state)
{
	struct test_disk t = test_disk_open("mem:1M");
	uint8_t bytes[1024] = {0};
	struct iovec iov = {bytes, 512};

	assert_int_equal(test_do(&t, DISK_WRITE, 0, 0, 1024, &iov, 1), -EINVAL);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 1024, &iov, 1), -EINVAL);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 512, NULL, 0), -EINVAL);
	test_disk_close(&t);
}

static void what_does_not_fit_the_disk_is_refused(void **state)
{
	static const char *const specs[] = {"mem:1M", "null:1M"};

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++)
		test_bounds(specs[i]);
}

static void read_only_disk_takes_no_writes(void **state)
{
	test_read_only("mem:1M,read-only=on");
	test_read_only("null:1M,read-only=on");
}

static void zeroes_and_discards_end_where_they_should(void **state)
{
	test_zeroes("mem:1M");
}

static void resize_keeps_what_stays_and_zeroes_what_comes(void **state)
{
	struct test_disk t = test_disk_open("mem:64K");
	uint8_t bytes[512];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct disk_info info;

	test_fill(bytes, sizeof(bytes), 7);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 65536 - 512, 512, &iov, 1), 0);
	assert_int_equal(disk_resize(t.disk, 4096), 0);
	assert_int_equal(test_do(&t, DISK_READ, 0, 4096, 512, &iov, 1), -EINVAL);
	assert_int_equal(disk_resize(t.disk, 131072), 0);
	disk_info_get(t.disk, &info);
	assert_int_equal(info.size_bytes, 131072);
	assert_int_equal(test_do(&t, DISK_READ, 0, 65536 - 512, 512, &iov, 1), 0);
	assert_true(test_all(bytes, sizeof(bytes), 0));
	assert_int_equal(disk_resize(t.disk, 1000), -EINVAL);
	assert_int_equal(disk_resize(t.disk, 0), -EINVAL);
	assert_int_equal(disk_resize(t.disk, UINT64_C(1) << 40), -ENOSPC);
	test_disk_close(&t);
}

static void two_queues_see_one_disk(void **state)
{
	struct test_disk t = test_disk_open("mem:1M"), other = t;
	uint8_t out[512], in[512] = {0};
	struct iovec write = {out, 512}, read = {in, 512};

	assert_int_equal(disk_queue_open(t.disk, 1, &other.queue), 0);
	test_fill(out, sizeof(out), 3);
	assert_int_equal(test_do(&t, DISK_WRITE, DISK_FUA, 0, 512, &write, 1), 0);
	assert_int_equal(test_do(&other, DISK_READ, 0, 0, 512, &read, 1), 0);
	assert_memory_equal(in, out, sizeof(in));
	disk_queue_close(other.queue);
	test_disk_close(&t);
}

/* A worker has other disks: what one call moves is bounded, whatever is asked for. */
static void a_long_burst_is_done_by_turns(void **state)
{
	enum { COUNT = 8, BYTES = 3 << 20 };
	struct test_disk t = test_disk_open("mem:32M");
	struct disk_request requests[COUNT], *burst[COUNT], *done[COUNT];
	uint8_t *out = malloc(BYTES), *in = calloc(1, BYTES);
	struct iovec write[] = {{out, 5}, {out + 5, 2000000}, {out + 2000005, BYTES - 2000005}}, read = {in, BYTES};
	unsigned turns = 0, count = 0;

	assert_true(out && in);
	test_fill(out, BYTES, 9);
	for (unsigned i = 0; i < COUNT; i++) {
		requests[i] = (struct disk_request){.op = DISK_WRITE, .offset = (uint64_t)i * BYTES, .bytes = BYTES, .iov = write, .iov_count = 3};
		burst[i] = &requests[i];
	}
	disk_queue_submit(t.queue, burst, COUNT);
	while (count < COUNT) {
		unsigned reaped = disk_queue_reap(t.queue, done, COUNT);

		assert_true(reaped <= 1);
		assert_true(count + reaped == COUNT || disk_queue_arm(t.queue, true));
		count += reaped;
		turns++;
	}
	assert_true(turns >= COUNT * 3);
	assert_int_equal(disk_queue_pending(t.queue), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(requests[i].result, 0);
	assert_int_equal(test_do(&t, DISK_READ, 0, 7 * BYTES, BYTES, &read, 1), 0);
	assert_memory_equal(in, out, BYTES);
	assert_int_equal(test_do(&t, DISK_ZERO, DISK_UNMAP, 7 * BYTES + 512, BYTES - 1024, NULL, 0), 0);
	assert_int_equal(test_do(&t, DISK_READ, 0, 7 * BYTES, BYTES, &read, 1), 0);
	assert_memory_equal(in, out, 512);
	assert_true(test_all(in + 512, BYTES - 1024, 0));
	assert_memory_equal(in + BYTES - 512, out + BYTES - 512, 512);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, BYTES, &(struct iovec){in, BYTES - 512}, 1), -EINVAL);
	assert_int_equal(test_do(&t, DISK_READ, 0, 30 << 20, BYTES, &read, 1), -EINVAL);
	free(out);
	free(in);
	test_disk_close(&t);
}

/* Nobody has looked whether what stands beside a flush fits the disk. */
static void a_flush_that_waits_moves_nothing(void **state)
{
	enum { BYTES = 2 << 20 };
	struct test_disk t = test_disk_open("mem:4M");
	uint8_t *data = malloc(BYTES);
	struct iovec iov = {data, BYTES};
	struct disk_request requests[] = {
		{.op = DISK_WRITE, .bytes = BYTES, .iov = &iov, .iov_count = 1},
		{.op = DISK_FLUSH, .bytes = BYTES},
		{.op = DISK_FLUSH, .flags = DISK_UNMAP, .offset = UINT64_C(1) << 40, .bytes = UINT64_C(1) << 30},
	};
	struct disk_request *burst[] = {&requests[0], &requests[1], &requests[2]}, *done[3];

	assert_non_null(data);
	test_fill(data, BYTES, 3);
	disk_queue_submit(t.queue, burst, 3);
	for (unsigned count = 0; count < 3;)
		count += disk_queue_reap(t.queue, done, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(requests[i].result, 0);
	memset(data, 0, BYTES);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, BYTES, &iov, 1), 0);
	assert_false(test_all(data, BYTES, 0));
	free(data);
	test_disk_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_burst_is_done_when_it_is_submitted),
		cmocka_unit_test(what_is_written_is_read_over_pieces_of_any_length),
		cmocka_unit_test(iovecs_shorter_than_the_request_are_refused),
		cmocka_unit_test(what_does_not_fit_the_disk_is_refused),
		cmocka_unit_test(read_only_disk_takes_no_writes),
		cmocka_unit_test(zeroes_and_discards_end_where_they_should),
		cmocka_unit_test(resize_keeps_what_stays_and_zeroes_what_comes),
		cmocka_unit_test(a_long_burst_is_done_by_turns),
		cmocka_unit_test(a_flush_that_waits_moves_nothing),
		cmocka_unit_test(two_queues_see_one_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
