/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images of a Ceph cluster: VIREO_RBD names the disk "rbd:POOL/IMAGE,conf=FILE", of 1 MiB; the same with "-large" behind IMAGE is one of 32 MiB.
 * tests/e2e/rbd.py makes them, and runs this.
 */
#include "disk/kind.h"
#include "disk/test_disk.h"

static const char *spec, *large;

static void what_does_not_fit_is_refused(void **state)
{
	test_bounds(spec);
}

static void read_only_is_not_written_to(void **state)
{
	char text[256];

	snprintf(text, sizeof(text), "%s,read-only=on", spec);
	test_read_only(text);
}

static void zeroes_and_discards(void **state)
{
	test_zeroes(spec);
}

#define PARTS 64u
#define PART  (64u << 10)

/* Many at once, each of other lengths than the pieces of an operation, and flushes in between. */
static void what_is_written_is_read(void **state)
{
	struct test_disk t = test_disk_open(large);
	uint8_t *bytes = malloc(2 * PARTS * PART), *back = malloc(2 * PARTS * PART);
	struct disk_request requests[PARTS] = {0}, *one;
	struct iovec iov[PARTS][2];

	assert_true(bytes && back);
	test_fill(bytes, 2 * PARTS * PART, 5);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < PARTS; i++) {
			size_t len = i % 8 == 7 ? 9 * PART - 512 : PART; /* some reach over the next ones, with the same bytes */
			uint8_t *at = (pass ? back : bytes) + i * PART;

			iov[i][0] = (struct iovec){at, len / 3};
			iov[i][1] = (struct iovec){at + len / 3, len - len / 3};
			requests[i] = (struct disk_request){.op = pass ? DISK_READ : DISK_WRITE, .flags = !pass && i % 5 == 0 ? DISK_FUA : 0,
							    .offset = i * PART + 512, .bytes = len, .iov = iov[i], .iov_count = 2, .result = 1};
			one = &requests[i];
			disk_queue_submit(t.queue, &one, 1);
		}
		for (unsigned i = 0; i < PARTS; i++)
			assert_int_equal(test_wait(t.queue)->result, 0);
		assert_int_equal(test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0), 0);
	}
	assert_memory_equal(bytes, back, PARTS * PART + 8 * PART - 512);
	free(bytes);
	free(back);
	test_disk_close(&t);
}

static void an_image_grows_and_shrinks(void **state)
{
	struct test_disk t = test_disk_open(large);
	struct iovec iov = {calloc(1, 512), 512};

	assert_non_null(iov.iov_base);
	assert_true(disk_size_moves(t.disk));
	assert_int_equal(disk_resize(t.disk, 48 << 20), 0);
	assert_int_equal(disk_size_below(t.disk), 48 << 20);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, (48 << 20) - 512, 512, &iov, 1), 0);
	assert_int_equal(disk_resize(t.disk, 32 << 20), 0);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, (48 << 20) - 512, 512, &iov, 1), -EINVAL);
	assert_int_equal(disk_refresh(t.disk), 0);
	free(iov.iov_base);
	test_disk_close(&t);
}

/* What has not been begun with is given up; what the cluster has is waited for. */
static void what_waits_is_cancelled(void **state)
{
	struct test_disk t = test_disk_open(large);
	struct disk_request requests[32] = {0}, *burst[32];
	uint8_t *bytes = calloc(1, 4096);
	struct iovec iov = {bytes, 4096};
	unsigned cancelled = 0;

	assert_non_null(bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		requests[i] = (struct disk_request){.op = DISK_WRITE, .offset = i * 4096, .bytes = 4096, .iov = &iov, .iov_count = 1};
		burst[i] = &requests[i];
	}
	disk_queue_submit(t.queue, burst, ARRAY_SIZE(burst)); /* of a queue that is 8 deep */
	disk_queue_cancel(t.queue);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		int result = test_wait(t.queue)->result;

		assert_true(!result || result == -ECANCELED);
		cancelled += result != 0;
	}
	assert_int_equal(cancelled, ARRAY_SIZE(requests) - 8);
	free(bytes);
	test_disk_close(&t);
}

static void an_image_has_one_writer(void **state)
{
	struct test_disk t = test_disk_open(spec);
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "", text[256];
	struct disk *second;

	assert_int_equal(disk_open(spec, &config, &second, why), -EROFS);
	assert_non_null(strstr(why, "another client has it"));
	snprintf(text, sizeof(text), "%s,read-only=on", spec);
	assert_int_equal(disk_open(text, &config, &second, why), 0);
	disk_close(second);
	test_disk_close(&t);
}

static void each_mistake_is_one_line(void **state)
{
	static const struct {
		const char *address, *because;
	} rows[] = {{"nowhere/x", "the pool"}, {"p/nowhere", "make it first"}, {"p/plain", "exclusive-lock, or say lock=off"}};
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES], text[256];
	struct disk *disk;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "rbd:%s%s", rows[i].address, strchr(spec, ','));
		assert_true(disk_open(text, &config, &disk, why) < 0);
		if (!strstr(why, rows[i].because))
			print_error("%s\n", why);
		assert_non_null(strstr(why, rows[i].because));
	}
	assert_int_equal(disk_open("rbd:p/i,conf=/nowhere/ceph.conf", &config, &disk, why), -ENOENT);
	assert_non_null(strstr(why, "conf=FILE"));
	snprintf(text, sizeof(text), "rbd:p/plain%s,lock=off", strchr(spec, ','));
	assert_int_equal(disk_open(text, &config, &disk, why), 0);
	disk_close(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(read_only_is_not_written_to),
		cmocka_unit_test(zeroes_and_discards),
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(an_image_grows_and_shrinks),
		cmocka_unit_test(what_waits_is_cancelled),
		cmocka_unit_test(an_image_has_one_writer),
		cmocka_unit_test(each_mistake_is_one_line),
	};
	static char text[256];

	spec = getenv("VIREO_RBD");
	if (!spec || !strchr(spec, ','))
		return 77;
	snprintf(text, sizeof(text), "%.*s-large%s", (int)(strchr(spec, ',') - spec), spec, strchr(spec, ','));
	large = text;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
