/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_TEST_FILE_H
#define DISK_TEST_FILE_H

/* For unit tests of files: one of 1 MiB, and each way that there is to reach it. */

#include "disk/test_disk.h"
#include <stdio.h>
#include <unistd.h>

#define MIB (1u << 20)

struct place {
	char path[64];
	char spec[160];
};

static const char *const all_ways[] = {"io=uring", "io=sqpoll", "io=threads", "io=uring,direct=on", "io=threads,direct=on,threads=2"};

/* Not inlined: with sanitizers the compiler sees places that are NULL, which place_make() has ruled out. */
static __attribute__((noinline, unused)) const char *way_spec(struct place *place, const char *way)
{
	snprintf(place->spec, sizeof(place->spec), "file:%s%s%s", place->path, *way ? "," : "", way);
	return place->spec;
}

static inline int place_make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	int fd;

	assert_non_null(place);
	snprintf(place->path, sizeof(place->path), "/var/tmp/vireo-disk-XXXXXX");
	fd = mkstemp(place->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB), 0);
	close(fd);
	*state = place;
	return 0;
}

static inline int place_clear(void **state)
{
	struct place *place = *state;

	unlink(place->path);
	free(place);
	return 0;
}

/* Is there what this way needs? */
static inline bool can(struct place *place, const char *way)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct disk *disk;
	int err = disk_open(way_spec(place, way), &config, &disk, why);

	if (!err)
		disk_close(disk);
	else if (strstr(why, "io_uring") || strstr(why, "direct"))
		print_message("left out: %s\n", why);
	else
		fail_msg("%s", why);
	return !err;
}

static inline void for_all_ways(void **state, void (*check)(struct place *place, const char *spec))
{
	struct place *place = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(all_ways); i++)
		if (can(place, all_ways[i]))
			check(place, way_spec(place, all_ways[i]));
}

/* `because` is in the line that says why. */
static inline void refused(const char *spec, int err, const char *because)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct disk *disk;

	assert_int_equal(disk_open(spec, &config, &disk, why), err);
	if (!strstr(why, because))
		print_error("'%s': '%s' is not in '%s'\n", spec, because, why);
	assert_non_null(strstr(why, because));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_make, place_clear)

#endif
