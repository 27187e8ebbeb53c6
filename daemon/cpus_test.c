/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/cpus.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>

static void cpu_lists_hold_ranges_and_single_cpus(void **state)
{
	int cpus[4] = {-1, -1, -1, -1};
	cpu_set_t set;
	int first = 0;
	char text[32];

	sched_getaffinity(0, sizeof(set), &set);
	while (!CPU_ISSET(first, &set))
		first++;
	snprintf(text, sizeof(text), "%d,", first);
	assert_int_equal(cpus_parse(text, cpus, 4), 1);
	assert_int_equal(cpus[0], first);
	snprintf(text, sizeof(text), "%d-%d", first, first);
	assert_int_equal(cpus_parse(text, cpus, 4), 1);
	assert_int_equal(cpus_parse("1023,", cpus, 4), -ENODEV);
	assert_int_equal(cpus_parse("0-7", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse("3-1", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse("1,1", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse("1-", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse("a", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse("", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse(",", cpus, 4), -EINVAL);
	assert_int_equal(cpus_parse("99999999999", cpus, 4), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpu_lists_hold_ranges_and_single_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
