/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has a disk when the daemon ends, and what that may still need. */
#include "store/disks.h"
#include <dirent.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* A thread that looks at a disk's size on a server that does not answer closes the disk when it is through: then all else is gone. */
static void a_disk_that_a_thread_has_outlives_the_daemon(void **state)
{
	struct disks *disks = malloc(sizeof(*disks));
	struct vireo_log quiet = {0};
	struct store_disk *disk, *other;
	struct store_spec spec;
	char why[SPEC_WHY_BYTES];

	assert_non_null(disks);
	assert_int_equal(disks_init(disks, "export"), 0);
	assert_int_equal(store_spec_parse("d=mem:1M,iops=10,throttle-group=g", &spec, why), 0);
	assert_int_equal(disks_add(disks, &spec, NULL, &quiet, &disk, why), 0);
	assert_int_equal(store_spec_parse("e=mem:1M,throttle-group=g", &spec, why), 0);
	assert_int_equal(disks_add(disks, &spec, NULL, &quiet, &other, why), 0);
	store_disk_get(disk);
	assert_true(disks_fini(disks, 60000));
	memset(disks, 0xa5, sizeof(*disks));
	free(disks);
	assert_true(store_disk_bytes(disk) == 1 << 20);
	store_disk_put(disk); /* which leaves its group */
}

/* Whoever opens the file next is not to find a lock of ours. */
static bool is_open(const char *path)
{
	DIR *folder = opendir("/proc/self/fd");
	const struct dirent *entry;
	bool found = false;

	assert_non_null(folder);
	while (!found && (entry = readdir(folder))) {
		char target[100] = "";

		found = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1) > 0 && !strcmp(target, path);
	}
	closedir(folder);
	return found;
}

/* Resized, or its lock taken or given back: what came of it the control thread has not looked at, as it ends. */
static void a_disk_is_closed_if_the_thread_that_had_it_is_through(void **state)
{
	for (unsigned what = 0; what < 4; what++) {
		bool at_work = what & 1;
		char path[] = "/tmp/vireo-disks-XXXXXX", text[80], why[SPEC_WHY_BYTES];
		int fd = mkstemp(path);
		struct disks disks;
		struct vireo_log quiet = {0};
		struct store_disk *disk;
		struct store_spec spec;

		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, 1 << 20), 0);
		close(fd);
		snprintf(text, sizeof(text), "d=file:%s", path);
		assert_int_equal(disks_init(&disks, "export"), 0);
		assert_int_equal(store_spec_parse(text, &spec, why), 0);
		assert_int_equal(disks_add(&disks, &spec, NULL, &quiet, &disk, why), 0);
		store_disk_get(disk);
		disk->resizing = what < 2;
		disk->holding = what >= 2;
		if (!at_work)
			store_disk_put(disk);
		assert_true(is_open(path));
		assert_true(disks_fini(&disks, 60000));
		assert_int_equal(is_open(path), at_work);
		if (at_work)
			store_disk_put(disk);
		assert_false(is_open(path));
		unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_that_a_thread_has_outlives_the_daemon),
		cmocka_unit_test(a_disk_is_closed_if_the_thread_that_had_it_is_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
