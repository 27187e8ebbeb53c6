/* SPDX-License-Identifier: BSD-3-Clause */

/* CPUs that go and come: what the kernel says of a thread then is played; a real one is let run elsewhere, as the kernel does it. */

#include "work/places.h"
#include "base/loop.h"
#include "base/util.h"
#include "work/crew.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
/* cmocka wants the four above */
#include <cmocka.h>

/* Of CPUs 0 to 3: a bit each. */
static cpu_set_t set_of(unsigned bits)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < 4; i++)
		if (bits & 1u << i)
			CPU_SET(i, &set);
	return set;
}

static void what_the_kernel_says_of_a_pinned_thread_is_understood(void **state)
{
	static const struct {
		unsigned thread, process;
		enum place place;
	} rows[] = {
		{4, 15, PLACE_OWN},	/* it is pinned to CPU 2, */
		{4, 4, PLACE_OWN},	/* the only one there is; */
		{0, 11, PLACE_GONE},	/* that has gone while it slept, */
		{11, 11, PLACE_GONE},	/* and the kernel has let it run elsewhere */
		{15, 15, PLACE_WIDER},	/* until it came back; */
		{15, 11, PLACE_WIDER},	/* or in what there might be; */
		{1, 1, PLACE_GONE},	/* or all of the process has been put elsewhere; */
		{2, 15, PLACE_OTHER},	/* or somebody has said where it runs: */
		{12, 15, PLACE_OTHER},	/* there, too */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		cpu_set_t thread = set_of(rows[i].thread), process = set_of(rows[i].process);

		assert_int_equal(place_of(2, &thread, &process), rows[i].place);
	}
}

struct bench {
	struct loop *loop;
	struct crew *crew;
	const struct worker *worker;
	cpu_set_t process;
	int first, last; /* CPUs that there are; maybe the same */
};

static void begin(struct bench *b, bool pinned)
{
	assert_int_equal(sched_getaffinity(0, sizeof(b->process), &b->process), 0);
	for (b->first = 0; !CPU_ISSET(b->first, &b->process);)
		b->first++;
	for (b->last = CPU_SETSIZE - 1; !CPU_ISSET(b->last, &b->process);)
		b->last--;
	assert_int_equal(loop_new(&b->loop), 0);
	assert_int_equal(crew_new(&(struct crew_config){.name = "test", .workers = 1, .cpus = pinned ? &b->first : NULL}, b->loop, &b->crew), 0);
	b->worker = crew_worker(b->crew, 0);
}

static void end(struct bench *b)
{
	crew_free(b->crew);
	loop_free(b->loop);
}

static cpu_set_t runs_on(const struct bench *b)
{
	cpu_set_t set;

	assert_int_equal(pthread_getaffinity_np(b->worker->thread, sizeof(set), &set), 0);
	return set;
}

static void a_worker_that_may_run_anywhere_is_pinned_again_if_its_cpu_was_gone(void **state)
{
	struct bench b;
	cpu_set_t own, set;

	begin(&b, true);
	own = runs_on(&b);
	assert_int_equal(CPU_COUNT(&own), 1);
	assert_true(worker_has_cpu(b.worker, true));
	assert_int_equal(pthread_setaffinity_np(b.worker->thread, sizeof(b.process), &b.process), 0);
	assert_true(worker_has_cpu(b.worker, true)); /* it was not: somebody has said so */
	set = runs_on(&b);
	assert_true(CPU_EQUAL(&set, &b.process));
	assert_true(worker_has_cpu(b.worker, false));
	set = runs_on(&b);
	assert_true(CPU_EQUAL(&set, &own));
	end(&b);
}

/* As taskset -a does it. */
static void where_all_of_the_process_is_put_elsewhere_it_has_none_and_stays_there(void **state)
{
	struct bench b;
	cpu_set_t other, set;

	begin(&b, true);
	if (b.first == b.last) {
		end(&b);
		skip();
	}
	CPU_ZERO(&other);
	CPU_SET(b.last, &other);
	assert_int_equal(pthread_setaffinity_np(b.worker->thread, sizeof(other), &other), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(other), &other), 0);
	assert_false(worker_has_cpu(b.worker, true));
	assert_false(worker_has_cpu(b.worker, false));
	assert_int_equal(sched_setaffinity(0, sizeof(b.process), &b.process), 0);
	set = runs_on(&b);
	assert_true(CPU_EQUAL(&set, &other));
	end(&b);
}

static void where_somebody_else_has_put_it_it_stays(void **state)
{
	struct bench b;
	cpu_set_t other, set;

	begin(&b, true);
	CPU_ZERO(&other);
	CPU_SET(b.last, &other);
	assert_int_equal(pthread_setaffinity_np(b.worker->thread, sizeof(other), &other), 0);
	assert_true(worker_has_cpu(b.worker, true));
	set = runs_on(&b);
	assert_true(CPU_EQUAL(&set, &other));
	end(&b);
}

static void who_is_not_pinned_has_a_cpu(void **state)
{
	struct bench b;
	cpu_set_t set;

	begin(&b, false);
	assert_true(worker_has_cpu(b.worker, true));
	set = runs_on(&b);
	assert_true(CPU_EQUAL(&set, &b.process));
	assert_int_equal(places_count(), CPU_COUNT(&b.process));
	end(&b);
}

static void who_narrows_the_control_thread_takes_no_cpu_from_workers(void **state)
{
	struct bench b;
	cpu_set_t one, set;

	begin(&b, false);
	CPU_ZERO(&one);
	CPU_SET(b.first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	CPU_ZERO(&set);
	worker_places_add(b.worker, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(b.process), &b.process), 0);
	assert_true(CPU_EQUAL(&set, &b.process));
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_kernel_says_of_a_pinned_thread_is_understood),
		cmocka_unit_test(a_worker_that_may_run_anywhere_is_pinned_again_if_its_cpu_was_gone),
		cmocka_unit_test(where_all_of_the_process_is_put_elsewhere_it_has_none_and_stays_there),
		cmocka_unit_test(where_somebody_else_has_put_it_it_stays),
		cmocka_unit_test(who_is_not_pinned_has_a_cpu),
		cmocka_unit_test(who_narrows_the_control_thread_takes_no_cpu_from_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
