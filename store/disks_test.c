/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has a disk when the daemon ends, and what that may still need. */
#include "store/disks.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
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
	disk->look = LOOK_BUSY;
	assert_true(disks_fini(disks, 60000));
	memset(disks, 0xa5, sizeof(*disks));
	free(disks);
	assert_int_equal(disk->look, LOOK_GONE);
	store_disk_free(disk); /* which leaves its group */
}

static void a_disk_that_is_being_resized_or_held_is_not_closed(void **state)
{
	for (unsigned what = 0; what < 2; what++) {
		struct disks disks;
		struct vireo_log quiet = {0};
		struct store_disk *disk;
		struct store_spec spec;
		char why[SPEC_WHY_BYTES];

		assert_int_equal(disks_init(&disks, "export"), 0);
		assert_int_equal(store_spec_parse("d=mem:1M", &spec, why), 0);
		assert_int_equal(disks_add(&disks, &spec, NULL, &quiet, &disk, why), 0);
		disk->resizing = !what;
		disk->holding = what;
		assert_true(disks_fini(&disks, 60000));
		assert_true(store_disk_bytes(disk) == 1 << 20);
		store_disk_free(disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_that_a_thread_has_outlives_the_daemon),
		cmocka_unit_test(a_disk_that_is_being_resized_or_held_is_not_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
