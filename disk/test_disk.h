/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_TEST_DISK_H
#define DISK_TEST_DISK_H

/* What the unit tests of all kinds ask a disk. */

#include "base/util.h"
#include "disk/disk.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct test_disk {
	struct disk *disk;
	struct disk_queue *queue;
};

static inline struct test_disk test_disk_open(const char *spec)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct test_disk t;
	int err = disk_open(spec, &config, &t.disk, why);

	if (err)
		print_error("%s: %s\n", spec, why);
	assert_int_equal(err, 0);
	assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	return t;
}

static inline void test_disk_close(struct test_disk *t)
{
	disk_queue_close(t->queue);
	disk_close(t->disk);
}

/* Asleep until one is done: 20 s at most. */
static inline struct disk_request *test_wait(struct disk_queue *queue)
{
	struct disk_request *done;

	while (!disk_queue_reap(queue, &done, 1)) {
		struct pollfd fd = {.fd = disk_queue_fd(queue), .events = POLLIN};

		if (disk_queue_arm(queue, true))
			continue;
		assert_int_equal(poll(&fd, 1, 20000), 1);
		disk_queue_arm(queue, false);
	}
	return done;
}

static inline int test_do(struct test_disk *t, enum disk_op op, uint8_t flags, uint64_t offset, uint64_t bytes,
			  const struct iovec *iov, uint32_t iov_count)
{
	struct disk_request r = {.op = (uint8_t)op, .flags = flags, .offset = offset, .bytes = bytes, .iov = iov,
				 .iov_count = iov_count, .result = 1}, *one = &r;

	disk_queue_submit(t->queue, &one, 1);
	assert_ptr_equal(test_wait(t->queue), &r);
	assert_int_equal(disk_queue_pending(t->queue), 0);
	return r.result;
}

static inline void test_fill(uint8_t *bytes, size_t count, uint8_t seed)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)(seed + i + i / 251);
}

static inline bool test_all(const uint8_t *bytes, size_t count, uint8_t value)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* Of 1 MiB, with blocks of 512 bytes. */
static inline void test_bounds(const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	uint8_t *bytes = aligned_alloc(4096, 4096);
	struct iovec iov = {bytes, 1024}, half = {bytes, 700};
	uint64_t size = 1 << 20;
	struct disk_info info;

	assert_non_null(bytes);
	memset(bytes, 0, 4096);
	disk_info_get(t.disk, &info);
	for (unsigned op = DISK_READ; op < DISK_OPS; op++) {
		if (op == DISK_FLUSH || op == DISK_ZONE)
			continue;
		if (op == DISK_ERASE && !info.can_erase) {
			assert_int_equal(test_do(&t, op, 0, 0, 512, NULL, 0), -EOPNOTSUPP);
			continue;
		}
		assert_int_equal(test_do(&t, op, 0, size - 1024, 1024, &iov, 1), 0);
		assert_int_equal(test_do(&t, op, 0, size - 512, 1024, &iov, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, size, 512, &iov, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, UINT64_MAX - 511, 1024, &iov, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, 512, UINT64_MAX - 511, &iov, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, 100, 512, &iov, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, 0, 700, &half, 1), -EINVAL);
		assert_int_equal(test_do(&t, op, 0, size, 0, NULL, 0), 0);
	}
	assert_int_equal(test_do(&t, DISK_OPS, 0, 0, 512, &iov, 1), -EINVAL);
	assert_int_equal(test_do(&t, DISK_FLUSH, 0, UINT64_MAX, 0, NULL, 0), 0);
	free(bytes);
	test_disk_close(&t);
}

static inline void test_read_only(const char *spec)
{
	struct test_disk t = test_disk_open(spec);
	uint8_t *bytes = aligned_alloc(4096, 4096);
	struct iovec iov = {bytes, 4096};
	struct disk_info info;

	assert_non_null(bytes);
	memset(bytes, 0, 4096);
	disk_info_get(t.disk, &info);
	assert_true(info.read_only);
	assert_int_equal(test_do(&t, DISK_READ, 0, 0, 4096, &iov, 1), 0);
	assert_int_equal(test_do(&t, DISK_FLUSH, 0, 0, 0, NULL, 0), 0);
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 0, 4096, &iov, 1), -EROFS);
	assert_int_equal(test_do(&t, DISK_DISCARD, 0, 0, 4096, NULL, 0), -EROFS);
	assert_int_equal(test_do(&t, DISK_ZERO, 0, 0, 4096, NULL, 0), -EROFS);
	free(bytes);
	test_disk_close(&t);
}

/* Zeroes, in each way, over part of 64 KiB of something else; what a discard leaves is anything, but around it nothing changes. */
static inline void test_zeroes(const char *spec)
{
	static const struct {
		enum disk_op op;
		uint8_t flags;
		uint64_t offset, bytes;
	} cases[] = {
		{DISK_ZERO, 0, 4096, 8192}, {DISK_ZERO, DISK_UNMAP, 4096, 8192}, {DISK_ZERO, DISK_UNMAP, 512, 20480},
		{DISK_ZERO, DISK_UNMAP, 4608, 1024}, {DISK_ZERO, DISK_FUA, 3584, 512}, {DISK_DISCARD, 0, 4096, 8192},
		{DISK_DISCARD, 0, 512, 20480}, {DISK_ZERO, 0, 0, 65536}, {DISK_ZERO, DISK_FUA | DISK_UNMAP, 512, 60000 / 512 * 512},
	};
	struct test_disk t = test_disk_open(spec);
	uint8_t *bytes = aligned_alloc(4096, 65536);
	struct iovec iov = {bytes, 65536};

	assert_non_null(bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t end = cases[i].offset + cases[i].bytes;

		memset(bytes, 0xA5, 65536);
		assert_int_equal(test_do(&t, DISK_WRITE, 0, 0, 65536, &iov, 1), 0);
		assert_int_equal(test_do(&t, cases[i].op, cases[i].flags, cases[i].offset, cases[i].bytes, NULL, 0), 0);
		memset(bytes, 0x5A, 65536);
		assert_int_equal(test_do(&t, DISK_READ, 0, 0, 65536, &iov, 1), 0);
		assert_true(test_all(bytes, cases[i].offset, 0xA5));
		assert_true(test_all(bytes + end, 65536 - end, 0xA5));
		if (cases[i].op == DISK_ZERO)
			assert_true(test_all(bytes + cases[i].offset, cases[i].bytes, 0));
	}
	free(bytes);
	test_disk_close(&t);
}

#endif
