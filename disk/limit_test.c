/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/limit.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define S UINT64_C(1000000000)

static void limits_are_written_as_they_are_read(void **state)
{
	static const char *const texts[] = {
		"off", "iops=1000", "read-iops=5,write-iops=7", "iops=10,bps=1048576,iops-burst=20,bps-burst=2097152",
		"read-bps=4096,write-bps=8192,read-bps-burst=1,write-bps-burst=2",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		struct disk_limits limits = {0};
		char why[DISK_WHY_BYTES] = "", text[DISK_LIMITS_TEXT_BYTES];

		assert_int_equal(disk_limits_parse(texts[i], &limits, why), 0);
		disk_limits_write(&limits, text);
		assert_string_equal(text, texts[i]);
	}
}

static void a_change_names_what_it_changes(void **state)
{
	struct disk_limits limits = {0};
	char why[DISK_WHY_BYTES] = "", text[DISK_LIMITS_TEXT_BYTES];

	assert_int_equal(disk_limits_parse("iops=100,bps=1M,iops-burst=50", &limits, why), 0);
	assert_int_equal(disk_limits_parse("bps=2M", &limits, why), 0);
	disk_limits_write(&limits, text);
	assert_string_equal(text, "iops=100,bps=2097152,iops-burst=50");
	assert_int_equal(disk_limits_parse("iops=0", &limits, why), 0); /* and its burst with it */
	disk_limits_write(&limits, text);
	assert_string_equal(text, "bps=2097152");
	assert_int_equal(disk_limits_parse("off", &limits, why), 0);
	disk_limits_write(&limits, text);
	assert_string_equal(text, "off");
}

static void each_mistake_is_named_and_changes_nothing(void **state)
{
	static const struct {
		const char *text, *because;
	} wrong[] = {
		{"", "unknown key ''"},		    {"iops", "a number from 0"},	 {"iops=many", "a number from 0"},
		{"iops=10000001", "a number from 0"}, {"bps=-1", "bytes"},		 {"bps=2T", "bytes"},
		{"iops=1,iops=2", "given twice"},   {"throttle-group=g", "unknown key"}, {"read-only=on", "unknown key"},
		{"read-bps-burst=4K", "no read-bps"}, {"iops=5,", "unknown key ''"},	 {"iops=\x01", "control"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct disk_limits limits = {0}, before;
		char why[DISK_WHY_BYTES] = "";

		limits.of[DISK_LIMIT_IOPS].rate = 3;
		before = limits;
		assert_int_equal(disk_limits_parse(wrong[i].text, &limits, why), -EINVAL);
		if (!strstr(why, wrong[i].because))
			print_error("'%s': %s\n", wrong[i].text, why);
		assert_non_null(strstr(why, wrong[i].because));
		assert_memory_equal(&limits, &before, sizeof(limits));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_written_as_they_are_read),
		cmocka_unit_test(a_change_names_what_it_changes),
		cmocka_unit_test(each_mistake_is_named_and_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
