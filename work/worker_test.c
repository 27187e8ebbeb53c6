/* SPDX-License-Identifier: BSD-3-Clause */

/* A worker and sources that are jobs to be counted: what it must do whatever the work is. Made to run under ThreadSanitizer as well. */

#include "work/worker.h"
#include "base/fd.h"
#include "work/grace.h"
#include "work/test_threads.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define WAIT_S_MAX  20u
#define SOURCES_MAX 40u
#define BURST       8u
#define SLOW_US     1000u /* as long as a turn of all silent ones may take */

struct jobs {
	struct source source;
	int fds[2];
	/* Atomic. */
	unsigned waiting, done;
	unsigned failed; /* calls of serve() */
	unsigned late;   /* jobs that come at the moment when the source is armed */
	bool armed, fails;
	bool endless; /* has work whenever it is asked */
	bool slow;    /* SLOW_US in each call of serve() */
	bool expecting;
	unsigned asked;
	const struct jobs *beside; /* or NULL */
	unsigned beside_asked; /* how often that had been asked when there was work here */
	struct source *next; /* as it was told last; the worker's */
};

struct fixture {
	struct worker worker;
	struct work_table *published; /* release and acquire */
	struct grace *grace;
	int event_fd;
	uint64_t version;
	struct jobs *jobs[SOURCES_MAX];
	unsigned grace_left;
	char rcu_key;
};

struct table {
	struct work_table table;
	struct fixture *fixture;
	struct work_list list;
	struct source *slots[SOURCES_MAX], *active[SOURCES_MAX];
};

static void add(struct jobs *jobs, unsigned count, unsigned by)
{
	__atomic_add_fetch(&jobs->waiting, count, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in arm() */
	if (__atomic_load_n(&jobs->armed, __ATOMIC_RELAXED) && jobs->fds[by] >= 0)
		fd_event_raise(jobs->fds[by]);
}

static int serve(struct worker *worker, struct source *source, struct source *next)
{
	struct jobs *jobs = container_of(source, struct jobs, source);
	unsigned count = min_u32(__atomic_load_n(&jobs->waiting, __ATOMIC_ACQUIRE), BURST);

	if (__atomic_load_n(&jobs->fails, __ATOMIC_RELAXED)) {
		__atomic_add_fetch(&jobs->failed, 1, __ATOMIC_RELAXED);
		return -EIO;
	}
	__atomic_store_n(&jobs->next, next, __ATOMIC_RELAXED);
	__atomic_add_fetch(&jobs->asked, 1, __ATOMIC_RELEASE);
	if (__atomic_load_n(&jobs->slow, __ATOMIC_RELAXED))
		usleep(SLOW_US);
	if (__atomic_load_n(&jobs->endless, __ATOMIC_RELAXED))
		return (int)BURST;
	if (count && jobs->beside)
		__atomic_store_n(&jobs->beside_asked, __atomic_load_n(&jobs->beside->asked, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	__atomic_sub_fetch(&jobs->waiting, count, __ATOMIC_RELAXED);
	__atomic_add_fetch(&jobs->done, count, __ATOMIC_RELEASE);
	return (int)count;
}

static bool arm(struct source *source, bool on)
{
	struct jobs *jobs = container_of(source, struct jobs, source);

	if (on)
		__atomic_add_fetch(&jobs->waiting, __atomic_exchange_n(&jobs->late, 0, __ATOMIC_RELAXED),
				   __ATOMIC_RELAXED);
	__atomic_store_n(&jobs->armed, on, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in add() */
	return on && __atomic_load_n(&jobs->waiting, __ATOMIC_RELAXED);
}

static bool expects(struct source *source)
{
	return __atomic_load_n(&container_of(source, struct jobs, source)->expecting, __ATOMIC_RELAXED);
}

static const struct source_ops jobs_ops = {.serve = serve, .arm = arm, .expects = expects};

/* ---- the owner ---- */

static void table_gone(struct grace_item *item)
{
	struct table *table = container_of(container_of(item, struct work_table, gone), struct table, table);

	table->fixture->grace_left--;
	free(table);
}

static void publish(struct fixture *x)
{
	struct table *table = calloc(1, sizeof(*table));

	assert_non_null(table);
	table->fixture = x;
	table->list = (struct work_list){.slot_count = SOURCES_MAX, .slots = table->slots, .active = table->active};
	table->table = (struct work_table){.version = ++x->version, .lists = &table->list, .gone = {.fn = table_gone}};
	for (unsigned i = 0; i < SOURCES_MAX; i++)
		if (x->jobs[i])
			table->slots[x->jobs[i]->source.slot] = &x->jobs[i]->source;
	x->grace_left += x->published != NULL;
	work_table_publish(&x->published, &table->table, x->grace);
}

static void pass_grace(struct fixture *x)
{
	for (unsigned i = 0; i < WAIT_S_MAX * 1000 && x->grace_left; i++) {
		grace_run(x->grace);
		usleep(1000);
	}
	assert_int_equal(x->grace_left, 0);
}

static struct fixture *make_config(const struct worker_config *like)
{
	struct fixture *x = aligned_alloc(CACHE_LINE_BYTES, sizeof(*x));
	struct worker_config config = *like;

	assert_non_null(x);
	memset(x, 0, sizeof(*x));
	config.name = "test";
	config.cpu = -1;
	config.published = &x->published;
	config.rcu_key = &x->rcu_key;
	assert_int_equal(fd_event_new(&x->event_fd), 0);
	assert_int_equal(grace_new(x->event_fd, &x->rcu_key, &x->grace), 0);
	assert_int_equal(worker_init(&x->worker, &config), 0);
	publish(x);
	assert_int_equal(worker_start(&x->worker), 0);
	return x;
}

static struct fixture *make(bool poll)
{
	return make_config(&(struct worker_config){.poll = poll});
}

static struct jobs *jobs_new(struct fixture *x, unsigned at, int fd, int also)
{
	struct jobs *jobs = aligned_alloc(CACHE_LINE_BYTES, sizeof(*jobs));

	assert_non_null(jobs);
	memset(jobs, 0, sizeof(*jobs));
	jobs->fds[0] = fd;
	jobs->fds[1] = also;
	source_init(&jobs->source, &jobs_ops, fd);
	if (also >= 0)
		source_also(&jobs->source, also);
	assert_int_equal(worker_adopt(&x->worker, &jobs->source), 0);
	x->jobs[at] = jobs;
	publish(x);
	worker_wake(&x->worker);
	return jobs;
}

static int event(void)
{
	int fd = -1;

	assert_int_equal(fd_event_new(&fd), 0);
	return fd;
}

static void jobs_remove(struct fixture *x, unsigned at)
{
	struct jobs *jobs = x->jobs[at];

	x->jobs[at] = NULL;
	publish(x);
	pass_grace(x);
	worker_disown(&jobs->source);
	free(jobs);
}

static void end(struct fixture *x)
{
	for (unsigned i = 0; i < SOURCES_MAX; i++)
		if (x->jobs[i])
			jobs_remove(x, i);
	worker_stop(&x->worker);
	worker_fini(&x->worker);
	grace_free(x->grace);
	free(container_of(x->published, struct table, table));
	fd_close(&x->event_fd);
	free(x);
}

static void wait_for(const unsigned *value, unsigned count)
{
	for (unsigned i = 0; i < WAIT_S_MAX * 1000 && __atomic_load_n(value, __ATOMIC_ACQUIRE) < count; i++)
		usleep(1000);
	assert_int_equal(__atomic_load_n(value, __ATOMIC_ACQUIRE), count);
}

static void wait_more(const unsigned *value, unsigned more)
{
	unsigned before = __atomic_load_n(value, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < WAIT_S_MAX * 1000 && __atomic_load_n(value, __ATOMIC_ACQUIRE) - before < more; i++)
		usleep(1000);
	assert_true(__atomic_load_n(value, __ATOMIC_ACQUIRE) - before >= more);
}

static void wait_done(const struct jobs *jobs, unsigned count)
{
	wait_for(&jobs->done, count);
}

/* It comes to rest. */
static void settle(struct fixture *x)
{
	uint64_t before, after = counter_read(&x->worker.stats.loops);

	for (unsigned i = 0; i < WAIT_S_MAX * 50; i++) {
		before = after;
		usleep(20000);
		after = counter_read(&x->worker.stats.loops);
		if (before == after && others_rest())
			return;
	}
	fail_msg("the worker does not come to rest");
}

/* ---- rules ---- */

static void work_is_done_and_then_the_worker_sleeps(void **state)
{
	struct fixture *x = make(false);
	int fd = event();
	struct jobs *jobs = jobs_new(x, 0, fd, -1);

	for (unsigned i = 1; i <= 200; i++) {
		add(jobs, 3 * BURST, 0);
		if (i % 20 == 0)
			settle(x);
	}
	wait_done(jobs, 200 * 3 * BURST);
	assert_int_equal(counter_read(&x->worker.stats.served), 200 * 3 * BURST);
	settle(x);
	end(x);
	fd_close(&fd);
}

static void second_fd_tells_of_work_as_the_first_does(void **state)
{
	struct fixture *x = make(false);
	int fds[2] = {event(), event()};
	struct jobs *jobs = jobs_new(x, 0, fds[0], fds[1]);

	for (unsigned i = 1; i <= 20; i++) {
		settle(x);
		add(jobs, 1, i % 2);
		wait_done(jobs, i);
	}
	end(x);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void sources_may_share_an_fd(void **state)
{
	struct fixture *x = make(false);
	int fd = event(), closed = event(), other;
	struct jobs *jobs[2] = {jobs_new(x, 0, fd, -1), jobs_new(x, 1, fd, -1)}, refused;

	for (unsigned i = 1; i <= 10; i++) {
		settle(x);
		for (unsigned n = 0; n < 2; n++)
			__atomic_add_fetch(&jobs[n]->waiting, 1, __ATOMIC_RELEASE);
		fd_event_raise(fd);
		for (unsigned n = 0; n < 2; n++)
			wait_done(jobs[n], i);
	}
	/* Who cannot be adopted takes nobody's watch along. */
	other = closed;
	fd_close(&closed);
	source_init(&refused.source, &jobs_ops, other);
	source_also(&refused.source, fd);
	assert_int_equal(worker_adopt(&x->worker, &refused.source), -EBADF);
	jobs_remove(x, 1);
	settle(x);
	add(jobs[0], 1, 0);
	wait_done(jobs[0], 11);
	end(x);
	fd_close(&fd);
}

static void source_that_cannot_tell_is_asked(void **state)
{
	struct fixture *x = make(false);
	struct jobs *jobs = jobs_new(x, 0, -1, -1);

	for (unsigned i = 1; i <= 20; i++) {
		add(jobs, 1, 0);
		wait_done(jobs, i);
	}
	for (unsigned i = 0; i < WAIT_S_MAX * 1000 && counter_read(&x->worker.stats.sleeps) < 3; i++)
		usleep(1000);
	assert_true(counter_read(&x->worker.stats.sleeps) >= 3); /* not all the time */
	end(x);
}

static void work_that_comes_while_arming_is_not_left_behind(void **state)
{
	struct fixture *x = make(false);
	int fd = event();
	struct jobs *jobs = jobs_new(x, 0, fd, -1);

	for (unsigned i = 1; i <= 20; i++) {
		__atomic_store_n(&jobs->late, 1, __ATOMIC_RELAXED);
		add(jobs, 1, 0);
		wait_done(jobs, 2 * i);
	}
	end(x);
	fd_close(&fd);
}

static void dead_source_is_never_asked_again(void **state)
{
	struct fixture *x = make(false);
	int fds[3] = {event(), event(), event()};
	struct jobs *dead = jobs_new(x, 0, fds[0], -1), *alive = jobs_new(x, 1, fds[1], -1);

	settle(x);
	__atomic_store_n(&dead->fails, true, __ATOMIC_RELAXED);
	add(dead, 1, 0);
	wait_for(&dead->failed, 1);
	fd_event_raise(fds[0]);
	add(alive, 1, 0);
	wait_done(alive, 1);
	pass_grace(x);
	jobs_new(x, 2, fds[2], -1); /* another table */
	settle(x);
	wait_for(&dead->failed, 1);
	assert_int_equal(dead->done, 0);
	end(x);
	for (unsigned i = 0; i < 3; i++)
		fd_close(&fds[i]);
}

/* Who died has let go of it, and who came since has it alone. */
static void dead_source_takes_no_watch_along_when_it_goes(void **state)
{
	struct fixture *x = make(false);
	int fd = event();
	struct jobs *dead = jobs_new(x, 0, fd, -1), *alive;

	__atomic_store_n(&dead->fails, true, __ATOMIC_RELAXED);
	add(dead, 1, 0);
	wait_for(&dead->failed, 1);
	settle(x);
	alive = jobs_new(x, 1, fd, -1);
	settle(x);
	jobs_remove(x, 0);
	settle(x);
	add(alive, 1, 0);
	wait_done(alive, 1);
	end(x);
	fd_close(&fd);
}

/* The first one has work in each round, which its `asked` counts; the others are silent. Who has an fd comes to be armed. */
static void crowd_start(struct fixture *x, int *fds, bool armable)
{
	for (unsigned i = 0; i < SOURCES_MAX; i++) {
		fds[i] = armable ? event() : -1;
		jobs_new(x, i, fds[i], -1);
	}
	__atomic_store_n(&x->jobs[0]->endless, true, __ATOMIC_RELAXED);
}

static void crowd_end(struct fixture *x, int *fds)
{
	end(x);
	for (unsigned i = 0; i < SOURCES_MAX; i++)
		fd_close(&fds[i]);
}

static unsigned asked(const struct fixture *x, unsigned at)
{
	return __atomic_load_n(&x->jobs[at]->asked, __ATOMIC_ACQUIRE);
}

/* Over so many rounds, as seen from here: how often those were asked that were asked least, and all silent ones together. */
static void rounds_watch(const struct fixture *x, unsigned rounds, unsigned *ret_least, unsigned *ret_all)
{
	unsigned before[SOURCES_MAX], begin;

	for (unsigned i = 1; i < SOURCES_MAX; i++)
		before[i] = asked(x, i);
	begin = asked(x, 0);
	for (unsigned i = 0; i < WAIT_S_MAX * 10000 && asked(x, 0) - begin < rounds; i++)
		usleep(100);
	assert_true(asked(x, 0) - begin >= rounds);
	*ret_least = UINT_MAX;
	*ret_all = 0;
	for (unsigned i = 1; i < SOURCES_MAX; i++) {
		*ret_least = min_u32(*ret_least, asked(x, i) - before[i]);
		*ret_all += asked(x, i) - before[i];
	}
}

/* A quarter of them are asked in a round by then, or fewer. */
static void crowd_comes_to_be_silent(const struct fixture *x)
{
	unsigned least, all = UINT_MAX, rounds = 0;

	for (unsigned tries = 0; tries < 1000 && all > SOURCES_MAX / 4 * rounds; tries++) {
		unsigned begin = asked(x, 0);

		rounds_watch(x, 100 * SOURCES_MAX, &least, &all);
		rounds = asked(x, 0) - begin;
	}
	assert_true(all <= SOURCES_MAX / 4 * rounds);
}

static void polled_silent_sources_are_asked_seldom_and_each_in_its_turn(void **state)
{
	struct fixture *x = make(true);
	int fds[SOURCES_MAX];

	crowd_start(x, fds, false);
	crowd_comes_to_be_silent(x);
	for (unsigned i = 1; i < SOURCES_MAX; i++) /* none is passed over */
		wait_more(&x->jobs[i]->asked, 3);
	/* Who speaks again is heard, and so is who dies. */
	for (unsigned turn = 1; turn <= 3; turn++)
		for (unsigned i = 1; i < SOURCES_MAX; i += turn) {
			unsigned done = __atomic_load_n(&x->jobs[i]->done, __ATOMIC_RELAXED);

			add(x->jobs[i], 1, 0);
			wait_done(x->jobs[i], done + 1);
		}
	__atomic_store_n(&x->jobs[7]->fails, true, __ATOMIC_RELAXED);
	wait_for(&x->jobs[7]->failed, 1);
	add(x->jobs[8], 1, 0);
	wait_for(&x->jobs[7]->failed, 1);
	crowd_end(x, fds);
}

/* By rounds alone it would be the last one's turn after 39 ms, and with many more sources after seconds. */
static void polled_silent_sources_are_heard_soon_however_long_a_round_takes(void **state)
{
	struct fixture *x = make(true);
	unsigned least, all;
	int fds[SOURCES_MAX];

	crowd_start(x, fds, false);
	crowd_comes_to_be_silent(x);
	__atomic_store_n(&x->jobs[0]->slow, true, __ATOMIC_RELAXED);
	wait_more(&x->jobs[0]->asked, 2); /* each round takes as long from here on */
	rounds_watch(x, 20, &least, &all);
	assert_true(least >= 19); /* the last one may not have come to its end */
	crowd_end(x, fds);
}

static void polled_source_that_expects_something_is_asked_in_each_round(void **state)
{
	struct fixture *x = make(true);
	int fds[SOURCES_MAX];
	unsigned before;

	crowd_start(x, fds, false);
	__atomic_store_n(&x->jobs[1]->expecting, true, __ATOMIC_RELAXED);
	add(x->jobs[1], 1, 0); /* it is silent no more, if it was */
	wait_done(x->jobs[1], 1);
	crowd_comes_to_be_silent(x);
	usleep(20000); /* long enough for it to be, too */
	before = asked(x, 1);
	wait_more(&x->jobs[0]->asked, 100 * SOURCES_MAX);
	assert_true(asked(x, 1) - before >= 100 * SOURCES_MAX - 1);
	crowd_end(x, fds);
}

/* Armed long ago, and for a moment. */
static void busy_worker_hears_of_others_however_long_they_were_silent(void **state)
{
	struct fixture *x = make(false);
	int fds[SOURCES_MAX];

	crowd_start(x, fds, true);
	for (unsigned i = 1; i <= 30; i++) {
		struct jobs *jobs = x->jobs[1 + i % 3];
		unsigned done = __atomic_load_n(&jobs->done, __ATOMIC_RELAXED);

		for (unsigned wait = 0; wait < WAIT_S_MAX * 1000 && !__atomic_load_n(&jobs->armed, __ATOMIC_RELAXED); wait++)
			usleep(1000);
		assert_true(__atomic_load_n(&jobs->armed, __ATOMIC_RELAXED));
		usleep(i % 10 ? 0 : 20000); /* seldom looked for by now, or not yet */
		add(jobs, 1, 0);
		wait_done(jobs, done + 1);
	}
	crowd_end(x, fds);
}

static void took_long(struct worker *worker, struct source *source, uint64_t cycles)
{
}

/* After the turn that it came in, and not after one more; nor after as many as go by between two looks at the clock of turns that are short. */
static void who_tells_of_work_beside_one_with_long_turns_is_next(void **state)
{
	struct fixture *x = make_config(&(struct worker_config){.took_long = took_long, .long_cycles = 1000});
	int fd = event();
	struct jobs *busy = jobs_new(x, 0, -1, -1), *seldom = jobs_new(x, 1, fd, -1);
	unsigned next = 0;

	seldom->beside = busy;
	__atomic_store_n(&busy->slow, true, __ATOMIC_RELAXED);
	__atomic_store_n(&busy->endless, true, __ATOMIC_RELAXED);
	for (unsigned i = 1; i <= 20; i++) {
		unsigned asked_then;
		int turns;

		for (unsigned wait = 0; wait < WAIT_S_MAX * 1000 && !__atomic_load_n(&seldom->armed, __ATOMIC_RELAXED); wait++)
			usleep(1000);
		assert_true(__atomic_load_n(&seldom->armed, __ATOMIC_RELAXED));
		add(seldom, 1, 0);
		asked_then = asked(x, 0);
		wait_done(seldom, i);
		turns = (int)(__atomic_load_n(&seldom->beside_asked, __ATOMIC_RELAXED) - asked_then);
		assert_true(turns <= 1); /* a turn may begin just now */
		next += turns <= 0;
	}
	assert_true(next >= 10);
	end(x);
	fd_close(&fd);
}

/* All but the first one, and the dead. */
static void wait_armed(const struct fixture *x, bool armed)
{
	for (unsigned i = 1; i < SOURCES_MAX; i++) {
		const struct jobs *jobs = x->jobs[i];

		for (unsigned wait = 0; wait < WAIT_S_MAX * 1000 && __atomic_load_n(&jobs->armed, __ATOMIC_RELAXED) != armed && !jobs->fails; wait++)
			usleep(1000);
		assert_true(jobs->fails || __atomic_load_n(&jobs->armed, __ATOMIC_RELAXED) == armed);
	}
}

static void assert_nobody_else_is_asked(const struct fixture *x)
{
	unsigned before[SOURCES_MAX];

	for (unsigned i = 1; i < SOURCES_MAX; i++)
		before[i] = asked(x, i);
	wait_more(&x->jobs[0]->asked, 1000);
	for (unsigned i = 1; i < SOURCES_MAX; i++)
		assert_int_equal(asked(x, i), before[i]);
}

static void polled_sources_that_are_silent_for_long_are_not_asked_and_heard(void **state)
{
	struct fixture *x = make(true);
	int fds[SOURCES_MAX];

	crowd_start(x, fds, true);
	for (unsigned turn = 1; turn <= 3; turn++) {
		wait_armed(x, true);
		assert_nobody_else_is_asked(x);
		for (unsigned i = 1; i < SOURCES_MAX; i += turn) {
			unsigned done = __atomic_load_n(&x->jobs[i]->done, __ATOMIC_RELAXED);

			add(x->jobs[i], 1, 0);
			wait_done(x->jobs[i], done + 1);
		}
	}
	wait_armed(x, true);
	__atomic_store_n(&x->jobs[9]->late, 1, __ATOMIC_RELAXED); /* comes at the moment when it is armed again */
	add(x->jobs[9], 1, 0);
	wait_done(x->jobs[9], 4);
	wait_armed(x, true);
	__atomic_store_n(&x->jobs[7]->fails, true, __ATOMIC_RELAXED);
	add(x->jobs[7], 1, 0);
	wait_for(&x->jobs[7]->failed, 1);
	crowd_end(x, fds);
}

/* And the worker does not sleep meanwhile. */
static void polled_sources_are_all_asked_when_all_are_silent(void **state)
{
	struct fixture *x = make(true);
	int fds[SOURCES_MAX];
	uint64_t sleeps;

	crowd_start(x, fds, true);
	for (unsigned turn = 1; turn <= 2; turn++) {
		wait_armed(x, true);
		sleeps = counter_read(&x->worker.stats.sleeps);
		__atomic_store_n(&x->jobs[0]->endless, false, __ATOMIC_RELAXED);
		wait_armed(x, false);
		for (unsigned i = 0; i < SOURCES_MAX; i++)
			wait_more(&x->jobs[i]->asked, 100);
		add(x->jobs[turn], 1, 0);
		wait_done(x->jobs[turn], 1);
		__atomic_store_n(&x->jobs[0]->endless, true, __ATOMIC_RELAXED);
	}
	wait_armed(x, true);
	jobs_remove(x, 0); /* who had work is not silent, but gone */
	wait_armed(x, false);
	for (unsigned i = 1; i < SOURCES_MAX; i++)
		wait_more(&x->jobs[i]->asked, 100);
	assert_int_equal(counter_read(&x->worker.stats.sleeps), sleeps);
	crowd_end(x, fds);
}

/* Both always have work, so that none comes to be silent. */
static void polling_worker_arms_nothing_and_tells_who_is_next(void **state)
{
	struct fixture *x = make(true);
	int fds[2] = {event(), event()};
	struct jobs *jobs[2];
	uint64_t sleeps = 0;

	for (unsigned i = 0; i < 2; i++) {
		jobs[i] = jobs_new(x, i, fds[i], -1);
		__atomic_store_n(&jobs[i]->endless, true, __ATOMIC_RELAXED);
		pass_grace(x); /* all rounds are of the table with it, */
		sleeps = i ? sleeps : counter_read(&x->worker.stats.sleeps); /* before there was a source */
		for (unsigned each = 0; each <= i; each++)
			wait_more(&jobs[each]->asked, 3);
		assert_ptr_equal(__atomic_load_n(&jobs[0]->next, __ATOMIC_RELAXED), i ? &jobs[1]->source : NULL);
	}
	assert_ptr_equal(__atomic_load_n(&jobs[1]->next, __ATOMIC_RELAXED), &jobs[0]->source);
	assert_false(__atomic_load_n(&jobs[0]->armed, __ATOMIC_RELAXED) || __atomic_load_n(&jobs[1]->armed, __ATOMIC_RELAXED));
	assert_int_equal(counter_read(&x->worker.stats.sleeps), sleeps);
	end(x);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

/* ---- letters ---- */

struct note {
	struct worker_letter letter;
	unsigned number, *delivered, *dropped;
};

static void note_deliver(struct vireo_letter *letter)
{
	struct note *note = container_of(letter, struct note, letter.letter);

	/* In their order. */
	if (__atomic_load_n(note->delivered, __ATOMIC_RELAXED) == note->number)
		__atomic_add_fetch(note->delivered, 1, __ATOMIC_RELEASE);
	free(note);
}

static void note_drop(struct worker_letter *letter)
{
	struct note *note = container_of(letter, struct note, letter);

	(*note->dropped)++;
	free(note);
}

static void send_note(struct fixture *x, unsigned number, unsigned *delivered, unsigned *dropped)
{
	struct note *note = malloc(sizeof(*note));

	assert_non_null(note);
	*note = (struct note){{.letter = {.deliver = note_deliver}, .drop = note_drop}, number, delivered, dropped};
	worker_post(&x->worker, &note->letter);
}

static void letters_are_delivered_in_order_and_the_last_are_dropped(void **state)
{
	struct fixture *x = make(false);
	unsigned delivered = 0, dropped = 0;

	settle(x);
	for (unsigned i = 0; i < 1000; i++) {
		send_note(x, i, &delivered, &dropped);
		if (i == 500)
			settle(x);
	}
	wait_for(&delivered, 1000);
	worker_stop(&x->worker);
	send_note(x, 0, &delivered, &dropped);
	send_note(x, 1, &delivered, &dropped);
	worker_fini(&x->worker);
	assert_int_equal(dropped, 2);
	grace_free(x->grace);
	free(container_of(x->published, struct table, table));
	fd_close(&x->event_fd);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(work_is_done_and_then_the_worker_sleeps),
		cmocka_unit_test(second_fd_tells_of_work_as_the_first_does),
		cmocka_unit_test(sources_may_share_an_fd),
		cmocka_unit_test(source_that_cannot_tell_is_asked),
		cmocka_unit_test(work_that_comes_while_arming_is_not_left_behind),
		cmocka_unit_test(dead_source_is_never_asked_again),
		cmocka_unit_test(dead_source_takes_no_watch_along_when_it_goes),
		cmocka_unit_test(polled_silent_sources_are_asked_seldom_and_each_in_its_turn),
		cmocka_unit_test(polled_silent_sources_are_heard_soon_however_long_a_round_takes),
		cmocka_unit_test(polled_source_that_expects_something_is_asked_in_each_round),
		cmocka_unit_test(polled_sources_that_are_silent_for_long_are_not_asked_and_heard),
		cmocka_unit_test(polled_sources_are_all_asked_when_all_are_silent),
		cmocka_unit_test(busy_worker_hears_of_others_however_long_they_were_silent),
		cmocka_unit_test(who_tells_of_work_beside_one_with_long_turns_is_next),
		cmocka_unit_test(polling_worker_arms_nothing_and_tells_who_is_next),
		cmocka_unit_test(letters_are_delivered_in_order_and_the_last_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
