/* SPDX-License-Identifier: BSD-3-Clause */
/* Several queues take from one set of limits that is changed meanwhile: the rate holds for all of them together. */
#include "disk/limit.h"
#include "disk/test_disk.h"
#include <pthread.h>

#define THREADS 4u
#define RATE	1000u
#define MS	UINT64_C(1000000)

#define EACH 500u

static struct disk *disk;
static uint64_t clock_ns = 1000 * MS;

static uint64_t clock_read(void)
{
	return __atomic_load_n(&clock_ns, __ATOMIC_SEQ_CST);
}

/* One request at a time; who has to wait moves the clock. */
static void *ask(void *opaque)
{
	struct disk_request r, *one = &r, *done;
	struct disk_queue *queue = opaque;

	for (unsigned i = 0; i < EACH; i++) {
		r = (struct disk_request){.op = DISK_ZERO, .bytes = 512};
		disk_queue_submit(queue, &one, 1);
		while (!disk_queue_reap(queue, &done, 1))
			if (!disk_queue_arm(queue, true))
				__atomic_add_fetch(&clock_ns, MS / 20, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void ask_by_all(void (*meanwhile)(void))
{
	struct disk_queue *queues[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(disk_queue_open(disk, 1, &queues[i]), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, ask, queues[i]), 0);
	}
	if (meanwhile)
		meanwhile();
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		disk_queue_close(queues[i]);
	}
}

static void opened(const char *spec)
{
	struct disk_config config = {.now_ns = clock_read};
	char why[DISK_WHY_BYTES] = "";

	assert_int_equal(disk_open(spec, &config, &disk, why), 0);
}

static void the_rate_holds_for_all_queues_together(void **state)
{
	uint64_t began = clock_read();

	opened("null:1M,iops=1000,iops-burst=10");
	ask_by_all(NULL);
	assert_true(clock_read() - began >= (THREADS * EACH - 10) * MS);
	disk_close(disk);
}

/* From each rate to the other, and the count is asked for; not without end, for each change lets what waits begin anew. */
static void change(void)
{
	struct disk_limits limits = {0};
	struct disk_limits_info info;

	for (unsigned i = 0; i < 200; i++) {
		uint64_t rate = RATE + i % 2;

		limits.of[DISK_LIMIT_IOPS].rate = rate;
		assert_int_equal(disk_limits_set(disk, &limits), 0);
		disk_limits_get(disk, &info);
		assert_int_equal(info.limits.of[DISK_LIMIT_IOPS].rate, rate);
	}
}

static void limits_that_change_meanwhile_lose_no_request(void **state)
{
	struct disk_limits_info info;

	opened("null:1M,iops=1000,iops-burst=1");
	ask_by_all(change);
	disk_limits_get(disk, &info);
	assert_true(info.throttled > 0 && info.throttled <= THREADS * EACH);
	disk_close(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rate_holds_for_all_queues_together),
		cmocka_unit_test(limits_that_change_meanwhile_lose_no_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
