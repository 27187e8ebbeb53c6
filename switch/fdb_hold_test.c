/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/fdb_place.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PORTS 16u

static struct fdb *make(uint32_t capacity)
{
	struct fdb *fdb;

	assert_int_equal(fdb_new(capacity, 300, PORTS, &fdb), 0);
	return fdb;
}

static struct fdb_address address_of(const struct fdb *fdb, unsigned port, unsigned i)
{
	return fdb_address(fdb, 0, 0x020000000000u | (uint64_t)port << 32 | (i + 1));
}

static int hold(struct fdb *fdb, unsigned port, unsigned i, uint16_t behind)
{
	struct fdb_address address = address_of(fdb, port, i);

	return fdb_hold(fdb, &address, behind, 1);
}

static int let_go(struct fdb *fdb, unsigned port, unsigned i)
{
	struct fdb_address address = address_of(fdb, port, i);

	return fdb_let_go(fdb, &address);
}

static int lookup(struct fdb *fdb, unsigned port, unsigned i)
{
	struct fdb_address address = address_of(fdb, port, i);

	return fdb_lookup(fdb, &address);
}

/* As forward.c does. */
static enum fdb_news saw(struct fdb *fdb, unsigned port, unsigned i, uint16_t behind, uint32_t now_s)
{
	struct fdb_address address = address_of(fdb, port, i);

	return fdb_saw(fdb, &address, behind, now_s) ? FDB_LEARNED : fdb_learn(fdb, &address, behind, now_s);
}

static int fix(struct fdb *fdb, unsigned port, unsigned i, uint16_t behind)
{
	struct fdb_address address = address_of(fdb, port, i);

	return fdb_fix(fdb, &address, behind, 1);
}

static struct sw_fdb_stats stats_of(const struct fdb *fdb)
{
	struct sw_fdb_stats stats;

	fdb_stats(fdb, &stats);
	return stats;
}

static void held_address_stays_whatever_happens(void **state)
{
	struct fdb *fdb = make(16);

	saw(fdb, 1, 0, 2, 1); /* somebody had it */
	assert_int_equal(hold(fdb, 1, 0, 1), 0);
	assert_int_equal(hold(fdb, 1, 0, 1), 0); /* again */
	fdb_sweep(fdb, 100000, UINT32_MAX);
	fdb_flush(fdb, 1);
	fdb_flush(fdb, -1);
	assert_int_equal(saw(fdb, 1, 0, 2, 100000), FDB_LEARNED); /* so that it is forwarded */
	for (unsigned i = 0; i < 1000; i++)
		saw(fdb, 3, i, 3, 100000 + i);
	assert_int_equal(lookup(fdb, 1, 0), 1);
	assert_int_equal(stats_of(fdb).moved, 0);
	assert_int_equal(stats_of(fdb).fixed, 1);
	assert_int_equal(stats_of(fdb).entries, 17);
	fdb_free(fdb);
}

static void what_is_held_or_of_a_port_with_fixed_ones_is_fixed(void **state)
{
	struct fdb *fdb = make(16);
	struct fdb_address held = address_of(fdb, 1, 0), learned = address_of(fdb, 1, 1), own = address_of(fdb, 2, 0);

	assert_int_equal(hold(fdb, 1, 0, 1), 0);
	saw(fdb, 1, 1, 1, 1);
	assert_int_equal(fdb_fix(fdb, &own, 2, 1), 0);
	assert_true(fdb_is_fixed(fdb, &held));
	assert_false(fdb_is_fixed(fdb, &learned));
	assert_true(fdb_is_fixed(fdb, &own));
	fdb_let_go(fdb, &held);
	assert_false(fdb_is_fixed(fdb, &held));
	fdb_unfix(fdb, 2);
	assert_false(fdb_is_fixed(fdb, &own)); /* nobody knows it */
	fdb_free(fdb);
}

static void port_with_a_held_address_learns_others(void **state)
{
	struct fdb *fdb = make(16);

	assert_int_equal(hold(fdb, 1, 0, 1), 0);
	assert_false(fdb_ages(fdb));
	assert_int_equal(saw(fdb, 1, 1, 1, 1), FDB_FIRST);
	assert_int_equal(lookup(fdb, 1, 1), 1);
	fdb_flush(fdb, 1);
	assert_int_equal(lookup(fdb, 1, 1), -1);
	assert_int_equal(lookup(fdb, 1, 0), 1);
	fdb_free(fdb);
}

static void address_that_was_let_go_is_learned_again(void **state)
{
	struct fdb *fdb = make(16);

	assert_int_equal(let_go(fdb, 1, 0), -ENOENT);
	assert_int_equal(hold(fdb, 1, 0, 1), 0);
	assert_int_equal(let_go(fdb, 1, 0), 0);
	assert_int_equal(let_go(fdb, 1, 0), -ENOENT);
	assert_int_equal(stats_of(fdb).fixed, 0);
	assert_int_equal(saw(fdb, 1, 0, 2, 1), FDB_FIRST); /* in the same place, which holds nothing any more */
	assert_int_equal(let_go(fdb, 1, 0), -EPERM);
	assert_int_equal(saw(fdb, 1, 0, 3, 1), FDB_LEARNED);
	assert_int_equal(lookup(fdb, 1, 0), 3);
	fdb_free(fdb);
}

static void what_is_another_s_is_refused(void **state)
{
	struct fdb *fdb = make(16);

	assert_int_equal(hold(fdb, 1, 0, 1), 0);
	assert_int_equal(hold(fdb, 1, 0, 2), -EADDRINUSE);
	assert_int_equal(fix(fdb, 1, 0, 2), -EADDRINUSE);
	assert_int_equal(fix(fdb, 3, 0, 3), 0);
	assert_int_equal(hold(fdb, 3, 0, 1), -EADDRINUSE);
	assert_int_equal(hold(fdb, 3, 0, 3), 0); /* as it is */
	assert_int_equal(let_go(fdb, 3, 0), -EPERM);
	assert_int_equal(stats_of(fdb).fixed, 2);
	fdb_free(fdb);
}

static void port_with_fixed_addresses_may_use_a_held_one(void **state)
{
	struct fdb *fdb = make(16);

	assert_int_equal(fix(fdb, 1, 0, 1), 0);
	assert_int_equal(saw(fdb, 1, 1, 1, 1), FDB_FOREIGN);
	assert_int_equal(hold(fdb, 1, 1, 1), 0);
	assert_int_equal(saw(fdb, 1, 1, 1, 1), FDB_LEARNED);
	assert_int_equal(saw(fdb, 1, 1, 2, 1), FDB_FOREIGN);
	assert_int_equal(let_go(fdb, 1, 1), 0);
	assert_int_equal(stats_of(fdb).fixed, 1);
	fdb_free(fdb);
}

static void held_addresses_go_with_their_port(void **state)
{
	struct fdb *fdb = make(16);

	assert_int_equal(fix(fdb, 1, 0, 1), 0);
	assert_int_equal(hold(fdb, 1, 1, 1), 0);
	assert_int_equal(hold(fdb, 2, 0, 2), 0);
	assert_int_equal(hold(fdb, 2, 1, 2), 0);
	saw(fdb, 2, 2, 2, 1);
	fdb_unfix(fdb, 1);
	assert_int_equal(stats_of(fdb).entries, 3);
	assert_int_equal(stats_of(fdb).fixed, 2);
	fdb_unfix(fdb, 2);
	assert_int_equal(stats_of(fdb).entries, 0);
	assert_int_equal(stats_of(fdb).fixed, 0);
	assert_int_equal(fdb->held_entries, 0);
	fdb_free(fdb);
}

static void all_are_let_go_at_once_and_no_others(void **state)
{
	struct fdb *fdb = make(16);

	assert_int_equal(fix(fdb, 1, 0, 1), 0);
	for (unsigned port = 1; port < 4; port++)
		assert_int_equal(hold(fdb, port, 7, (uint16_t)port), 0);
	saw(fdb, 2, 0, 2, 1);
	fdb_let_go_all(fdb, 2);
	assert_int_equal(lookup(fdb, 2, 7), -1);
	assert_int_equal(lookup(fdb, 2, 0), 2);
	assert_int_equal(lookup(fdb, 3, 7), 3);
	fdb_let_go_all(fdb, -1);
	assert_int_equal(lookup(fdb, 3, 7), -1);
	assert_int_equal(lookup(fdb, 1, 0), 1);
	assert_int_equal(stats_of(fdb).fixed, 1);
	fdb_free(fdb);
}

/* Whoever holds as many as may be leaves room to those who learn. */
static void no_more_are_held_than_may_be(void **state)
{
	struct fdb *fdb = make(1);
	unsigned held = 0;
	int err = 0;

	for (unsigned i = 0; i < 20 * fdb->bucket_count && (!err || err == -ENOSPC); i++) {
		err = hold(fdb, 1, i, 1);
		held += !err;
	}
	assert_int_equal(err, -ENOBUFS);
	assert_int_equal(held, fdb_held_max(1));
	assert_int_equal(let_go(fdb, 1, 0), 0);
	assert_int_equal(hold(fdb, 1, 0, 1), 0);
	assert_int_equal(fdb_held_max(65536), 16384);
	assert_int_equal(saw(fdb, 2, 0, 2, 1), FDB_FIRST);
	assert_int_equal(lookup(fdb, 2, 0), 2);
	fdb_free(fdb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(held_address_stays_whatever_happens),
		cmocka_unit_test(what_is_held_or_of_a_port_with_fixed_ones_is_fixed),
		cmocka_unit_test(port_with_a_held_address_learns_others),
		cmocka_unit_test(address_that_was_let_go_is_learned_again),
		cmocka_unit_test(what_is_another_s_is_refused),
		cmocka_unit_test(port_with_fixed_addresses_may_use_a_held_one),
		cmocka_unit_test(held_addresses_go_with_their_port),
		cmocka_unit_test(all_are_let_go_at_once_and_no_others),
		cmocka_unit_test(no_more_are_held_than_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
