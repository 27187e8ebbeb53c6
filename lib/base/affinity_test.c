/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/affinity.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

static void *own_cpus(void *opaque)
{
	return (void *)(intptr_t)sched_getaffinity(0, sizeof(cpu_set_t), opaque);
}

static cpu_set_t cpus_of_thread(const cpu_set_t *cpus)
{
	void *failed = NULL;
	pthread_t thread;
	cpu_set_t seen;

	CPU_ZERO(&seen);
	assert_int_equal(affinity_start(&thread, cpus, own_cpus, &seen), 0);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	return seen;
}

static cpu_set_t callers_cpus(void)
{
	cpu_set_t cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	return cpus;
}

/* The last CPU that we may run on, so that it is not where a thread lands anyway, where there are several. */
static cpu_set_t one_of(const cpu_set_t *cpus)
{
	unsigned cpu = CPU_SETSIZE - 1;
	cpu_set_t one;

	while (!CPU_ISSET(cpu, cpus))
		cpu--;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return one;
}

static void thread_runs_where_it_was_told(void **state)
{
	cpu_set_t before = callers_cpus(), one = one_of(&before), seen = cpus_of_thread(&one), after;

	assert_true(CPU_EQUAL(&seen, &one));
	after = callers_cpus();
	assert_true(CPU_EQUAL(&before, &after));
}

static void thread_that_is_told_nothing_runs_where_its_caller_does(void **state)
{
	cpu_set_t before = callers_cpus(), seen = cpus_of_thread(NULL);

	assert_true(CPU_EQUAL(&seen, &before));
}

static void cpu_that_is_not_there_starts_nothing(void **state)
{
	cpu_set_t before = callers_cpus(), none, after;
	pthread_t thread;

	CPU_ZERO(&none);
	CPU_SET(CPU_SETSIZE - 1, &none);
	if (CPU_ISSET(CPU_SETSIZE - 1, &before))
		skip();
	assert_int_equal(affinity_start(&thread, &none, own_cpus, &after), -EINVAL);
	after = callers_cpus();
	assert_true(CPU_EQUAL(&before, &after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thread_runs_where_it_was_told),
		cmocka_unit_test(thread_that_is_told_nothing_runs_where_its_caller_does),
		cmocka_unit_test(cpu_that_is_not_there_starts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
