/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/dirty.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_BYTES 8192u
#define OFFSET 5u /* of the log in its file */
#define BYTES 64u /* 512 pages, 2 MiB */

struct file {
	int fd;
	uint8_t *bytes;
};

static struct file file_new(void)
{
	struct file file = { .fd = memfd_create("log", 0) };

	assert_true(file.fd >= 0);
	assert_int_equal(ftruncate(file.fd, FILE_BYTES), 0);
	file.bytes = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	assert_ptr_not_equal(file.bytes, MAP_FAILED);
	return file;
}

static void file_free(struct file *file)
{
	munmap(file->bytes, FILE_BYTES);
	close(file->fd);
}

static struct dirty_log *log_new(const struct file *file, uint64_t offset, uint64_t bytes)
{
	struct dirty_log *log;
	const char *why = "";

	assert_int_equal(dirty_log_new(file->fd, offset, bytes, NULL, &log, &why), 0);
	return log;
}

static bool marked(const uint8_t *bits, unsigned page)
{
	return bits[page / 8] >> page % 8 & 1;
}

static void bit_of_each_page_that_is_touched_is_set_and_no_other(void **state)
{
	static const struct {
		uint64_t gpa, bytes;
		unsigned first, last;
	} cases[] = {
		{ 0, 1, 0, 0 },		   { 4095, 1, 0, 0 },	      { 4095, 2, 0, 1 },     { 4096, 4096, 1, 1 },
		{ 4096 * 7, 8192, 7, 8 },  { 4096 * 9 + 1, 4096, 9, 10 }, { 4096 * 3, 4096 * 40, 3, 42 }, { 511 * 4096 + 4095, 1, 511, 511 },
		{ 0, 512 * 4096, 0, 511 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct file file = file_new();
		struct dirty_log *log = log_new(&file, OFFSET, BYTES);

		dirty_log_mark(log, 4096, 0);
		dirty_log_mark(log, cases[i].gpa, cases[i].bytes);
		dirty_log_mark(log, cases[i].gpa, cases[i].bytes);
		for (unsigned page = 0; page < BYTES * 8; page++)
			assert_int_equal(marked(file.bytes + OFFSET, page), page >= cases[i].first && page <= cases[i].last);
		for (unsigned at = 0; at < FILE_BYTES; at++)
			assert_true(!file.bytes[at] || (at >= OFFSET && at < OFFSET + BYTES));
		dirty_log_unref(log);
		file_free(&file);
	}
}

static void log_covers_whole_bytes_of_pages_and_nothing_behind(void **state)
{
	struct file file = file_new();
	struct dirty_log *log = log_new(&file, OFFSET, BYTES);

	assert_true(dirty_log_covers(log, 0, 512 * 4096));
	assert_false(dirty_log_covers(log, 0, 512 * 4096 + 1));
	assert_true(dirty_log_covers(log, 512 * 4096 - 1, 1));
	assert_false(dirty_log_covers(log, 512 * 4096, 1));
	assert_true(dirty_log_covers(log, UINT64_MAX, 0));
	assert_false(dirty_log_covers(log, UINT64_MAX, 1));
	assert_false(dirty_log_covers(log, 4096, UINT64_MAX)); /* it would wrap round */
	assert_true(dirty_log_covers_map(log, NULL));
	dirty_log_unref(log);
	file_free(&file);
}

static void file_that_is_no_log_is_refused(void **state)
{
	struct file file = file_new();
	struct dirty_log *log;
	const char *why;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(dirty_log_new(pipes[0], 0, BYTES, NULL, &log, &why), -EINVAL);
	assert_int_equal(dirty_log_new(file.fd, 0, 0, NULL, &log, &why), -EINVAL);
	assert_int_equal(dirty_log_new(file.fd, 0, FILE_BYTES + 1, NULL, &log, &why), -EINVAL);
	assert_int_equal(dirty_log_new(file.fd, 1, FILE_BYTES, NULL, &log, &why), -EINVAL);
	assert_int_equal(dirty_log_new(file.fd, UINT64_MAX - 10, 11, NULL, &log, &why), -EINVAL);
	assert_int_equal(dirty_log_new(file.fd, 4096, UINT64_MAX - 4095, NULL, &log, &why), -EINVAL); /* the sum is 0 */
	close(pipes[0]);
	close(pipes[1]);
	file_free(&file);
}

static void what_is_left_in_the_old_log_is_carried_over(void **state)
{
	struct file file = file_new(), next = file_new();
	struct dirty_log *log = log_new(&file, 0, BYTES), *longer = log_new(&next, 0, 2 * BYTES), *shorter = log_new(&next, 4096, 2);

	dirty_log_mark(log, 3 * 4096, 1);
	dirty_log_mark(log, 500 * 4096, 1);
	dirty_log_mark(longer, 4 * 4096, 1);
	dirty_log_carry(longer, log);
	dirty_log_carry(shorter, log);
	for (unsigned page = 0; page < 2 * BYTES * 8; page++)
		assert_int_equal(marked(next.bytes, page), page == 3 || page == 4 || page == 500);
	assert_int_equal(next.bytes[4096], 8);
	assert_int_equal(next.bytes[4096 + 500 / 8], 0);
	dirty_log_unref(log);
	dirty_log_unref(longer);
	dirty_log_unref(shorter);
	file_free(&file);
	file_free(&next);
}

static void all_of_a_map_is_marked(void **state)
{
	struct file file = file_new();
	struct dirty_log *log = log_new(&file, 0, BYTES);
	struct map *map = calloc(1, sizeof(*map) + 2 * sizeof(map->regions[0]));

	map->count = 2;
	map->regions[0] = (struct map_region){ .gpa = 8192, .size_bytes = 4097 };
	map->regions[1] = (struct map_region){ .gpa = 100 * 4096, .size_bytes = 4096 };
	assert_true(dirty_log_covers_map(log, map));
	dirty_log_mark_map(log, map);
	for (unsigned page = 0; page < BYTES * 8; page++)
		assert_int_equal(marked(file.bytes, page), page == 2 || page == 3 || page == 100);
	map->regions[1].gpa = 512 * 4096;
	assert_false(dirty_log_covers_map(log, map));
	free(map);
	dirty_log_unref(log);
	file_free(&file);
}

/* ---- two queues ---- */

struct marker {
	struct dirty_log *log;
	uint8_t *byte;
	unsigned page, lost;
};

static void *marker_run(void *opaque)
{
	struct marker *marker = opaque;
	uint8_t bit = (uint8_t)(1u << marker->page);

	for (unsigned i = 0; i < 100000; i++) {
		__atomic_fetch_and(marker->byte, (uint8_t)~bit, __ATOMIC_SEQ_CST);
		dirty_log_mark(marker->log, (uint64_t)marker->page * 4096, 1);
		marker->lost += !(__atomic_load_n(marker->byte, __ATOMIC_SEQ_CST) & bit);
	}
	return NULL;
}

static void bits_of_two_writers_in_one_byte_are_both_set(void **state)
{
	struct file file = file_new();
	struct dirty_log *log = log_new(&file, 0, BYTES);
	struct marker markers[2];
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++) {
		markers[i] = (struct marker){ log, file.bytes, i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, marker_run, &markers[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(markers[0].lost + markers[1].lost, 0);
	dirty_log_unref(log);
	file_free(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bit_of_each_page_that_is_touched_is_set_and_no_other),
		cmocka_unit_test(log_covers_whole_bytes_of_pages_and_nothing_behind),
		cmocka_unit_test(file_that_is_no_log_is_refused),
		cmocka_unit_test(what_is_left_in_the_old_log_is_carried_over),
		cmocka_unit_test(all_of_a_map_is_marked),
		cmocka_unit_test(bits_of_two_writers_in_one_byte_are_both_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
