/* SPDX-License-Identifier: BSD-3-Clause */

/* Sources that come to a crew and leave it while they have work. Made to run under ThreadSanitizer as well. */

#include "work/crew.h"
#include "base/fd.h"
#include "base/loop.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants four of those above */
#include <cmocka.h>

#define WORKERS 2u
#define JOBS 5u
#define WAIT_S_MAX 20
#define WAIT_MS 10

struct job {
	struct crew_member member;
	struct fixture *fixture;
	int fd;
	uint32_t waiting, done; /* atomic */
	bool left;
	uint32_t done_when_left;
};

struct fixture {
	struct loop *loop;
	struct crew *crew;
	struct job jobs[JOBS];
	unsigned left, graces;
};

static int serve(struct worker *worker, struct source *source, struct source *next)
{
	struct job *job = container_of(container_of(source, struct crew_member, source), struct job, member);
	uint32_t count = __atomic_exchange_n(&job->waiting, 0, __ATOMIC_ACQUIRE);

	__atomic_add_fetch(&job->done, count, __ATOMIC_RELEASE);
	return (int)count;
}

static bool arm(struct source *source, bool on)
{
	struct job *job = container_of(container_of(source, struct crew_member, source), struct job, member);

	return on && __atomic_load_n(&job->waiting, __ATOMIC_ACQUIRE);
}

static const struct source_ops ops = {.serve = serve, .arm = arm};

static void give(struct job *job)
{
	__atomic_add_fetch(&job->waiting, 1, __ATOMIC_RELEASE);
	fd_event_raise(job->fd);
}

static uint32_t done(const struct job *job)
{
	return __atomic_load_n(&job->done, __ATOMIC_ACQUIRE);
}

/* Dispatches the loop until `is` says so. */
static void await(struct fixture *f, bool (*is)(struct fixture *f))
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		loop_dispatch(f->loop, WAIT_MS);
		clock_gettime(CLOCK_MONOTONIC, &now);
		assert_true(now.tv_sec - begin.tv_sec < WAIT_S_MAX);
	} while (!is(f));
}

static void left(struct crew_member *member)
{
	struct job *job = container_of(member, struct job, member);

	job->left = true;
	job->done_when_left = done(job);
	job->fixture->left++;
}

static struct job *job_prepared(struct fixture *f, unsigned i)
{
	struct job *job = &f->jobs[i];

	job->fixture = f;
	job->left = false;
	if (job->fd <= 0)
		assert_int_equal(fd_event_new(&job->fd), 0);
	source_init(&job->member.source, &ops, job->fd);
	return job;
}

static void job_add(struct fixture *f, unsigned i)
{
	assert_int_equal(crew_add(f->crew, &job_prepared(f, i)->member), 0);
}

static int setup(void **state)
{
	struct crew_config config = {.name = "test-worker", .workers = WORKERS};
	struct fixture *f = aligned_alloc(CACHE_LINE_BYTES, sizeof(*f));

	memset(f, 0, sizeof(*f));
	*state = f;
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(crew_new(&config, f->loop, &f->crew), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	crew_free(f->crew);
	loop_free(f->loop);
	for (unsigned i = 0; i < JOBS; i++)
		if (f->jobs[i].fd > 0)
			fd_close(&f->jobs[i].fd);
	free(f);
	return 0;
}

static bool all_have_served(struct fixture *f)
{
	for (unsigned i = 0; i < JOBS; i++)
		if (!done(&f->jobs[i]))
			return false;
	return true;
}

static void sources_are_spread_over_the_workers_and_served(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < JOBS; i++) {
		job_add(f, i);
		give(&f->jobs[i]);
	}
	await(f, all_have_served);
	assert_int_equal(crew_workers(f->crew), WORKERS);
	assert_int_equal(crew_worker(f->crew, 0)->source_count, 3);
	assert_int_equal(crew_worker(f->crew, 1)->source_count, 2);
	for (unsigned i = 0; i < JOBS; i++)
		crew_remove(&f->jobs[i].member, left);
	crew_free(f->crew); /* what is still on its way is told now */
	f->crew = NULL;
	assert_int_equal(f->left, JOBS);
}

static bool the_first_has_left(struct fixture *f)
{
	give(&f->jobs[0]);
	return f->jobs[0].left;
}

static bool the_first_has_served(struct fixture *f)
{
	return done(&f->jobs[0]) > f->jobs[0].done_when_left;
}

static void who_has_left_is_never_served_again_and_may_come_back(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 20; round++) {
		job_add(f, 0);
		give(&f->jobs[0]);
		await(f, the_first_has_served);
		crew_remove(&f->jobs[0].member, left);
		assert_false(f->jobs[0].left); /* never inside the call */
		await(f, the_first_has_left);
		give(&f->jobs[0]);
		loop_dispatch(f->loop, 1);
		assert_int_equal(done(&f->jobs[0]), f->jobs[0].done_when_left);
	}
}

static void a_source_goes_to_the_worker_that_is_named(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < JOBS; i++) {
		struct job *job = job_prepared(f, i);

		assert_int_equal(crew_add_to(f->crew, &job->member, WORKERS), -ERANGE);
		assert_int_equal(crew_add_to(f->crew, &job->member, 1), 0);
		give(job);
	}
	await(f, all_have_served);
	assert_int_equal(crew_worker(f->crew, 0)->source_count, 0);
	assert_int_equal(crew_worker(f->crew, 1)->source_count, JOBS);
	for (unsigned i = 0; i < JOBS; i++)
		crew_remove(&f->jobs[i].member, left);
}

struct grace {
	struct grace_item item;
	struct fixture *fixture;
};

static void grace_over(struct grace_item *item)
{
	container_of(item, struct grace, item)->fixture->graces++;
}

static bool grace_is_over(struct fixture *f)
{
	return f->graces;
}

static void a_grace_period_ends_while_all_workers_sleep(void **state)
{
	struct fixture *f = *state;
	struct grace grace = {.item.fn = grace_over, .fixture = f};

	crew_grace(f->crew, &grace.item);
	assert_int_equal(f->graces, 0);
	await(f, grace_is_over);
}

static void what_cannot_be_watched_is_refused(void **state)
{
	struct fixture *f = *state;
	struct job *job = &f->jobs[0];

	source_init(&job->member.source, &ops, 1 << 20);
	assert_true(crew_add(f->crew, &job->member) < 0);
	assert_int_equal(crew_worker(f->crew, 0)->source_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sources_are_spread_over_the_workers_and_served, setup, teardown),
		cmocka_unit_test_setup_teardown(who_has_left_is_never_served_again_and_may_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_source_goes_to_the_worker_that_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(a_grace_period_ends_while_all_workers_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
