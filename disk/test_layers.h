/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_TEST_LAYERS_H
#define DISK_TEST_LAYERS_H

/* What the unit tests of layers have in common: a clock that stands until it is told to go on, and the requests that are under way. */

#include "disk/limit.h"
#include "disk/test_disk.h"

#define MS	 UINT64_C(1000000)
#define REQUESTS 64u

static uint64_t clock_ns;
static struct disk_groups groups = DISK_GROUPS_INIT;
static struct disk_request requests[REQUESTS];

static uint64_t clock_read(void)
{
	return clock_ns;
}

static inline struct test_disk opened(const char *spec)
{
	struct disk_config config = {.groups = &groups, .now_ns = clock_read};
	char why[DISK_WHY_BYTES] = "";
	struct test_disk t = {0};
	int err = disk_open(spec, &config, &t.disk, why);

	if (err)
		print_error("%s: %s\n", spec, why);
	assert_int_equal(err, 0);
	assert_int_equal(disk_queue_open(t.disk, 8, &t.queue), 0);
	clock_ns = 1000000 * MS;
	return t;
}

static inline unsigned reaped(struct test_disk *t)
{
	struct disk_request *done[REQUESTS];

	return disk_queue_reap(t->queue, done, REQUESTS);
}

#endif
