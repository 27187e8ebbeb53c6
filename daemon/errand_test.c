/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/loop.h"
#include "base/util.h"
#include "daemon/errand.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

/* What became of one, beyond its end. */
struct fate {
	sem_t let, dropped;
	pthread_t worker;
	bool worked;
	unsigned told;
	int err;
};

struct walk {
	struct errand errand;
	struct fate *fate;
};

static struct loop *loop;
static struct errands errands;

static struct walk *walk_of(struct errand *errand)
{
	return container_of(errand, struct walk, errand);
}

static void work(struct errand *errand)
{
	struct fate *fate = walk_of(errand)->fate;

	fate->worker = pthread_self();
	sem_wait(&fate->let);
	fate->worked = true;
}

static void done(struct errand *errand, int err)
{
	struct fate *fate = walk_of(errand)->fate;

	fate->told++;
	fate->err = err;
	if (!err) {
		assert_true(fate->worked);
		assert_false(pthread_equal(fate->worker, pthread_self()));
	}
}

static void drop(struct errand *errand)
{
	struct walk *walk = walk_of(errand);

	sem_post(&walk->fate->dropped);
	free(walk);
}

static const struct errand_ops ops = {.work = work, .done = done, .drop = drop};

static int run_with(const struct errand_ops *with, struct fate *fate)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int err;

	assert_non_null(walk);
	*fate = (struct fate){0};
	sem_init(&fate->let, 0, 0);
	sem_init(&fate->dropped, 0, 0);
	walk->errand.ops = with;
	walk->fate = fate;
	err = errands_run(&errands, &walk->errand);
	if (err)
		free(walk);
	return err;
}

static int run(struct fate *fate)
{
	return run_with(&ops, fate);
}

static int setup(void **state)
{
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(errands_init(&errands, loop, 2), 0);
	return 0;
}

static int teardown(void **state)
{
	errands_fini(&errands);
	loop_free(loop);
	return 0;
}

/* Who waits for ever is ended by the test's timeout. */
static void await(const struct fate *fate)
{
	while (!fate->told)
		loop_dispatch(loop, 100);
}

static void the_control_thread_hears_of_what_a_thread_has_done(void **state)
{
	struct fate slow, quick;

	assert_int_equal(run(&slow), 0);
	assert_int_equal(run(&quick), 0);
	sem_post(&quick.let);
	await(&quick);
	assert_int_equal(quick.err, 0);
	assert_int_equal(slow.told, 0);
	sem_post(&slow.let);
	await(&slow);
	sem_wait(&slow.dropped);
	sem_wait(&quick.dropped);
	assert_int_equal(slow.told + quick.told, 2);
}

static void there_are_so_many_at_a_time(void **state)
{
	struct fate fates[3];

	assert_int_equal(run(&fates[0]), 0);
	assert_int_equal(run(&fates[1]), 0);
	assert_int_equal(run(&fates[2]), -EAGAIN);
	sem_post(&fates[0].let);
	await(&fates[0]);
	sem_wait(&fates[0].dropped);
	assert_int_equal(run(&fates[0]), 0);
	for (unsigned i = 0; i < 2; i++) {
		sem_post(&fates[i].let);
		await(&fates[i]);
		sem_wait(&fates[i].dropped);
	}
	assert_int_equal(fates[2].told, 0);
}

static void one_that_hangs_when_the_daemon_ends_is_dropped_by_its_thread(void **state)
{
	struct fate fate;

	assert_int_equal(run(&fate), 0);
	errands_end(&errands);
	assert_int_equal(fate.told, 1);
	assert_int_equal(fate.err, -ECANCELED);
	assert_int_equal(sem_trywait(&fate.dropped), -1);
	sem_post(&fate.let);
	sem_wait(&fate.dropped);
	assert_int_equal(fate.told, 1);
}

static bool ending(void *opaque)
{
	unsigned *asked = opaque;

	return ++*asked > 3;
}

static void one_is_waited_for_until_the_end(void **state)
{
	struct fate fate, hangs;
	struct errand *errand;
	unsigned asked = 0;

	assert_int_equal(run(&hangs), 0);
	errand = errands.first;
	assert_int_equal(errands_wait(&errands, errand, ending, &asked), -ECANCELED);
	assert_int_equal(asked, 4);
	assert_int_equal(hangs.told, 0);
	assert_int_equal(run(&fate), 0);
	errand = errands.first;
	sem_post(&fate.let);
	while (errands_wait(&errands, errand, ending, &(unsigned){0}))
		;
	assert_int_equal(fate.told, 1);
	assert_int_equal(fate.err, 0);
	assert_int_equal(hangs.told, 0);
	sem_post(&hangs.let);
	while (errands_wait(&errands, errands.first, ending, &(unsigned){0}))
		;
	assert_int_equal(hangs.told, 1);
}

static struct fate *next_fate;
static int next_err;

static void done_and_next(struct errand *errand, int err)
{
	done(errand, err);
	next_err = run(next_fate);
}

/* Who keeps things in order has one at a time: the next one would run beside the one that hangs. */
static void who_is_told_that_the_daemon_ends_gets_no_other(void **state)
{
	static const struct errand_ops again = {.work = work, .done = done_and_next, .drop = drop};
	struct fate fate, next;

	next_fate = &next;
	assert_int_equal(run_with(&again, &fate), 0);
	errands_fini(&errands);
	assert_int_equal(fate.err, -ECANCELED);
	assert_int_equal(next_err, -EAGAIN);
	assert_int_equal(next.told, 0);
	sem_post(&fate.let);
	sem_wait(&fate.dropped);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_control_thread_hears_of_what_a_thread_has_done, setup, teardown),
		cmocka_unit_test_setup_teardown(there_are_so_many_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(one_is_waited_for_until_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_hangs_when_the_daemon_ends_is_dropped_by_its_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_told_that_the_daemon_ends_gets_no_other, setup, teardown),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
