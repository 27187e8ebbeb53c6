/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/fdb_watch.h"
#include "base/fd.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PORTS 16u
#define ROOM 16u

struct bench {
	struct fdb *fdb;
	struct fdb_watch *watch;
	int event_fd;
};

static struct bench bench_new(uint32_t capacity)
{
	struct bench b = {.event_fd = -1};

	assert_int_equal(fdb_new(capacity, 300, PORTS, &b.fdb), 0);
	assert_int_equal(fd_event_new(&b.event_fd), 0);
	assert_int_equal(fdb_watch_new(b.fdb, ROOM, b.event_fd, &b.watch), 0);
	return b;
}

static void bench_free(struct bench *b)
{
	fdb_watch_free(b->fdb, b->watch);
	fdb_free(b->fdb);
	fd_close(&b->event_fd);
}

static uint64_t mac_of(unsigned i)
{
	return 0x020000000000u | (i + 1);
}

static void learn(struct bench *b, uint16_t vlan, unsigned i, uint16_t port, uint32_t now_s)
{
	struct fdb_address address = fdb_address(b->fdb, vlan, mac_of(i));

	if (!fdb_saw(b->fdb, &address, port, now_s))
		fdb_learn(b->fdb, &address, port, now_s);
}

static bool told(const struct bench *b)
{
	struct pollfd poll_fd = {.fd = b->event_fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1;
}

/* All there is: how many changes, and `all`. */
static uint32_t take(struct bench *b, struct fdb_change *changes, uint32_t max, bool *ret_all)
{
	fd_event_clear(b->event_fd);
	return fdb_watch_take(b->fdb, b->watch, changes, max, ret_all);
}

static void expect_one(struct bench *b, uint16_t vlan, unsigned i)
{
	struct fdb_change changes[ROOM];
	bool all = true;

	assert_true(told(b));
	assert_int_equal(take(b, changes, ROOM, &all), 1);
	assert_false(all);
	assert_true(changes[0].mac == mac_of(i));
	assert_int_equal(changes[0].vlan, vlan);
	assert_false(told(b));
}

static void expect_nothing(struct bench *b)
{
	struct fdb_change changes[ROOM];
	bool all = true;

	assert_false(told(b));
	assert_int_equal(take(b, changes, ROOM, &all), 0);
	assert_false(all);
}

static void begin(struct bench *b)
{
	struct fdb_change changes[ROOM];
	bool all = false;

	assert_true(told(b));
	assert_int_equal(take(b, changes, ROOM, &all), 0);
	assert_true(all);
}

static void a_watch_begins_with_the_whole_table(void **state)
{
	struct bench b = bench_new(1024);

	begin(&b);
	expect_nothing(&b);
	bench_free(&b);
}

static void an_address_that_comes_moves_and_ages_out_is_told_each_time(void **state)
{
	struct bench b = bench_new(1024);

	begin(&b);
	learn(&b, 4095, 7, 3, 10);
	expect_one(&b, 4095, 7);
	learn(&b, 4095, 7, 3, 11); /* seen again: no news */
	expect_nothing(&b);
	learn(&b, 4095, 7, 4, 12);
	expect_one(&b, 4095, 7);
	fdb_sweep(b.fdb, 12 + 301, UINT32_MAX);
	expect_one(&b, 4095, 7);
	bench_free(&b);
}

static void what_is_fixed_held_or_flushed_is_told(void **state)
{
	struct bench b = bench_new(1024);
	struct fdb_address address = fdb_address(b.fdb, 5, mac_of(1));

	begin(&b);
	assert_int_equal(fdb_fix(b.fdb, &address, 2, 1), 0);
	expect_one(&b, 5, 1);
	fdb_unfix(b.fdb, 2);
	expect_one(&b, 5, 1);
	assert_int_equal(fdb_hold(b.fdb, &address, 3, 1), 0);
	expect_one(&b, 5, 1);
	assert_int_equal(fdb_let_go(b.fdb, &address), 0);
	expect_one(&b, 5, 1);
	learn(&b, 5, 1, 2, 1);
	expect_one(&b, 5, 1);
	fdb_flush(b.fdb, 2);
	expect_one(&b, 5, 1);
	bench_free(&b);
}

/* Who is pushed out is told of as well as the newcomer. */
static void an_address_that_another_one_pushes_out_is_told(void **state)
{
	struct bench b = bench_new(1);
	struct fdb_change changes[ROOM];
	bool all;

	take(&b, changes, ROOM, &all);
	learn(&b, 0, 1, 1, 1);
	take(&b, changes, ROOM, &all);
	learn(&b, 0, 2, 1, 2);
	assert_int_equal(take(&b, changes, ROOM, &all), 2);
	assert_true(changes[0].mac == mac_of(1));
	assert_true(changes[1].mac == mac_of(2));
	bench_free(&b);
}

static void more_than_there_is_room_for_is_the_whole_table(void **state)
{
	struct bench b = bench_new(1024);
	struct fdb_change changes[ROOM + 1];
	bool all;

	begin(&b);
	for (unsigned i = 0; i < ROOM; i++)
		learn(&b, 0, i, 1, 1);
	assert_int_equal(take(&b, changes, ROOM + 1, &all), ROOM);
	assert_false(all);
	for (unsigned i = 0; i < ROOM + 1; i++)
		learn(&b, 0, 100 + i, 1, 1);
	learn(&b, 0, 200, 1, 1); /* after that it goes on */
	assert_int_equal(take(&b, changes, ROOM + 1, &all), 1);
	assert_true(all);
	assert_true(changes[0].mac == mac_of(200));
	expect_nothing(&b);
	bench_free(&b);
}

/* The event stays down while the reader has something to take. */
static void a_reader_is_told_once(void **state)
{
	struct bench b = bench_new(1024);
	struct fdb_change change;
	bool all;

	begin(&b);
	learn(&b, 0, 1, 1, 1);
	learn(&b, 0, 2, 1, 1);
	assert_int_equal(take(&b, &change, 1, &all), 1);
	learn(&b, 0, 3, 1, 1);
	assert_false(told(&b)); /* he knows that there is more */
	assert_int_equal(take(&b, &change, 1, &all), 1);
	assert_int_equal(take(&b, &change, 1, &all), 1);
	assert_int_equal(take(&b, &change, 1, &all), 0);
	learn(&b, 0, 4, 1, 1);
	assert_true(told(&b));
	fdb_watches_all(b.fdb);
	take(&b, &change, 1, &all);
	assert_true(all);
	bench_free(&b);
}

static void watches_are_bounded_and_each_hears_all(void **state)
{
	struct bench b = bench_new(1024);
	struct fdb_watch *more[FDB_WATCHES_MAX], *one_too_many = NULL;
	struct fdb_change change;
	bool all;

	begin(&b);
	for (unsigned i = 1; i < FDB_WATCHES_MAX; i++)
		assert_int_equal(fdb_watch_new(b.fdb, ROOM, b.event_fd, &more[i]), 0);
	assert_int_equal(fdb_watch_new(b.fdb, ROOM, b.event_fd, &one_too_many), -ENOSPC);
	assert_null(one_too_many);
	learn(&b, 0, 1, 1, 1);
	assert_int_equal(take(&b, &change, 1, &all), 1);
	for (unsigned i = 1; i < FDB_WATCHES_MAX; i++) {
		assert_int_equal(fdb_watch_take(b.fdb, more[i], &change, 1, &all), 1);
		fdb_watch_free(b.fdb, more[i]);
	}
	learn(&b, 0, 2, 1, 1);
	assert_int_equal(take(&b, &change, 1, &all), 1);
	bench_free(&b);
}

/* Each of several threads makes the same addresses its port's again and again: in the end the reader's copy is the table. */
#define WRITERS 3u
#define ADDRESSES 64u
#define MOVES 20000u

struct writer {
	struct bench *bench;
	uint16_t port;
	unsigned *running; /* atomic */
};

static void *write_moves(void *opaque)
{
	struct writer *writer = opaque;

	for (unsigned i = 0; i < MOVES; i++)
		learn(writer->bench, 0, (i * 7 + writer->port) % ADDRESSES, writer->port, 1);
	__atomic_sub_fetch(writer->running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void look_up(const struct bench *b, unsigned i, int *copy)
{
	struct fdb_address address = fdb_address(b->fdb, 0, mac_of(i));

	copy[i] = fdb_lookup(b->fdb, &address);
}

static void read_changes(struct bench *b, int *copy)
{
	struct fdb_change changes[ROOM + 1]; /* one more than there can be: it is told again */
	bool all;
	uint32_t count = take(b, changes, ROOM + 1, &all);

	for (uint32_t i = 0; i < count; i++)
		look_up(b, (unsigned)(changes[i].mac & 0xffff) - 1, copy);
	for (unsigned i = 0; all && i < ADDRESSES; i++)
		look_up(b, i, copy);
}

static void a_copy_is_the_table_in_the_end(void **state)
{
	struct bench b = bench_new(1024);
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	unsigned running = WRITERS;
	int copy[ADDRESSES];

	memset(copy, -1, sizeof(copy));
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){&b, (uint16_t)i, &running};
		assert_int_equal(pthread_create(&threads[i], NULL, write_moves, &writers[i]), 0);
	}
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE))
		if (told(&b))
			read_changes(&b, copy);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	while (told(&b))
		read_changes(&b, copy);
	for (unsigned i = 0; i < ADDRESSES; i++) {
		int was = copy[i];

		look_up(&b, i, copy);
		assert_int_equal(copy[i], was);
	}
	bench_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_watch_begins_with_the_whole_table),
		cmocka_unit_test(an_address_that_comes_moves_and_ages_out_is_told_each_time),
		cmocka_unit_test(what_is_fixed_held_or_flushed_is_told),
		cmocka_unit_test(an_address_that_another_one_pushes_out_is_told),
		cmocka_unit_test(more_than_there_is_room_for_is_the_whole_table),
		cmocka_unit_test(a_reader_is_told_once),
		cmocka_unit_test(watches_are_bounded_and_each_hears_all),
		cmocka_unit_test(a_copy_is_the_table_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
