/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/fdb.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PORTS 16u

static struct fdb *make(uint32_t capacity, uint32_t age_s)
{
	struct fdb *fdb;

	assert_int_equal(fdb_new(capacity, age_s, PORTS, &fdb), 0);
	return fdb;
}

static uint64_t mac_of(unsigned port, unsigned i)
{
	return 0x020000000000u | (uint64_t)port << 32 | (i + 1);
}

static bool known(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s)
{
	struct fdb_address address = fdb_address(fdb, mac);

	return fdb_saw(fdb, &address, port, now_s);
}

static int lookup(const struct fdb *fdb, uint64_t mac)
{
	struct fdb_address address = fdb_address(fdb, mac);

	return fdb_lookup(fdb, &address);
}

static bool saw(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s)
{
	return known(fdb, mac, port, now_s) || fdb_learn(fdb, mac, port, now_s) != FDB_FOREIGN;
}

static struct sw_fdb_stats stats_of(const struct fdb *fdb)
{
	struct sw_fdb_stats stats;

	fdb_stats(fdb, &stats);
	return stats;
}

static void sweep_all(struct fdb *fdb, uint32_t now_s)
{
	fdb_sweep(fdb, now_s, UINT32_MAX);
}

static void learned_addresses_are_found(void **state)
{
	struct fdb *fdb = make(65536, 300);

	for (unsigned i = 0; i < 10000; i++)
		saw(fdb, mac_of(i % PORTS, i), i % PORTS, 1);
	assert_int_equal(stats_of(fdb).entries, 10000);
	assert_int_equal(stats_of(fdb).evicted, 0);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(lookup(fdb, mac_of(i % PORTS, i)), i % PORTS);
	assert_int_equal(lookup(fdb, mac_of(1, 60000)), -1);
	assert_int_equal(lookup(fdb, 0), -1);
	fdb_free(fdb);
}

/* Ways in which the addresses of a data centre differ from each other. */
static uint64_t counted_at_the_end(unsigned i)
{
	return 0x525400000000u + i;
}

static uint64_t counted_by_256(unsigned i)
{
	return 0x525400000000u + ((uint64_t)i << 8);
}

static uint64_t counted_in_the_middle(unsigned i)
{
	return 0x020000000001u + ((uint64_t)i << 16);
}

static uint64_t counted_from_the_front(unsigned i)
{
	return 0x020000000000u | __builtin_bswap32(i + 1);
}

static uint64_t counted_twice(unsigned i)
{
	return 0x02f000000001u + (uint64_t)i * 0x10001;
}

/*
 * The seed is a new one each time, and with 50000 addresses in 65536 one finds both its buckets full about once in a
 * thousand tables. A hash that leaves some bits out has hundreds.
 */
static void addresses_spread_however_they_were_given(void **state)
{
	static uint64_t (*const ways[])(unsigned i) = {counted_at_the_end, counted_by_256, counted_in_the_middle,
						       counted_from_the_front, counted_twice};

	for (unsigned way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
		struct fdb *fdb = make(65536, 300);
		unsigned found = 0;

		for (unsigned i = 0; i < 50000; i++)
			saw(fdb, ways[way](i), i % PORTS, 1);
		for (unsigned i = 0; i < 50000; i++)
			found += lookup(fdb, ways[way](i)) == (int)(i % PORTS);
		assert_true(stats_of(fdb).evicted + stats_of(fdb).refused <= 4);
		assert_int_equal(found, stats_of(fdb).entries);
		fdb_free(fdb);
	}
}

static void first_entry_is_reported_once(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fdb_learn(fdb, mac_of(0, 0), 0, 1), FDB_FIRST);
	assert_int_equal(fdb_learn(fdb, mac_of(0, 1), 0, 1), FDB_LEARNED);
	fdb_flush(fdb, -1);
	assert_int_equal(fdb_learn(fdb, mac_of(0, 1), 0, 1), FDB_FIRST);
	fdb_free(fdb);
}

static void moved_address_follows_its_port(void **state)
{
	struct fdb *fdb = make(16, 300);

	saw(fdb, mac_of(1, 0), 1, 1);
	assert_false(known(fdb, mac_of(1, 0), 2, 2));
	saw(fdb, mac_of(1, 0), 2, 2);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 2);
	assert_int_equal(stats_of(fdb).moved, 1);
	assert_int_equal(stats_of(fdb).entries, 1);
	assert_int_equal(fdb_owned(fdb, 1), 0);
	assert_int_equal(fdb_owned(fdb, 2), 1);
	fdb_free(fdb);
}

static void unseen_address_is_forgotten_and_seen_one_stays(void **state)
{
	struct fdb *fdb = make(1000, 300);

	saw(fdb, mac_of(1, 0), 1, 100);
	saw(fdb, mac_of(1, 1), 1, 100);
	assert_true(known(fdb, mac_of(1, 1), 1, 350));
	sweep_all(fdb, 400);
	assert_int_equal(stats_of(fdb).entries, 2);
	sweep_all(fdb, 401);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), -1);
	assert_int_equal(lookup(fdb, mac_of(1, 1)), 1);
	assert_int_equal(stats_of(fdb).aged, 1);
	assert_int_equal(stats_of(fdb).entries, 1);
	fdb_free(fdb);
}

static void ageing_survives_wrap_of_the_clock(void **state)
{
	struct fdb *fdb = make(16, 300);

	saw(fdb, mac_of(1, 0), 1, UINT32_MAX - 10);
	sweep_all(fdb, 100);
	assert_int_equal(stats_of(fdb).entries, 1);
	sweep_all(fdb, 300);
	assert_int_equal(stats_of(fdb).entries, 0);
	fdb_free(fdb);
}

static void slices_of_the_sweep_add_up(void **state)
{
	struct fdb *fdb = make(1000, 10);

	for (unsigned i = 0; i < 500; i++)
		saw(fdb, mac_of(0, i), 0, 1);
	for (uint32_t done = 0; done < fdb->bucket_count; done += 7)
		fdb_sweep(fdb, 50, 7);
	assert_int_equal(stats_of(fdb).entries, 0);
	assert_int_equal(stats_of(fdb).aged, 500);
	fdb_free(fdb);
}

static void flush_of_a_port_spares_the_others(void **state)
{
	struct fdb *fdb = make(1000, 300);

	for (unsigned i = 0; i < 300; i++)
		saw(fdb, mac_of(i % 3, i), (uint16_t)(i % 3), 1);
	fdb_flush(fdb, 1);
	assert_int_equal(stats_of(fdb).entries, 200);
	assert_int_equal(fdb_owned(fdb, 1), 0);
	assert_int_equal(lookup(fdb, mac_of(1, 1)), -1);
	assert_int_equal(lookup(fdb, mac_of(2, 2)), 2);
	fdb_flush(fdb, -1);
	assert_int_equal(stats_of(fdb).entries, 0);
	fdb_free(fdb);
}

static void million_addresses_evict_only_their_own(void **state)
{
	struct fdb *fdb = make(4096, 300);

	for (unsigned i = 0; i < 500; i++)
		saw(fdb, mac_of(1, i), 1, 1);
	for (unsigned i = 0; i < 1000000; i++)
		saw(fdb, mac_of(2, i), 2, 1 + i / 100000);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(lookup(fdb, mac_of(1, i)), 1);
	assert_int_equal(stats_of(fdb).entries, 4096);
	assert_true(stats_of(fdb).evicted > 900000);
	fdb_free(fdb);
}

static void newcomer_finds_room_while_another_floods(void **state)
{
	struct fdb *fdb = make(4096, 300);

	for (unsigned i = 0; i < 100000; i++)
		saw(fdb, mac_of(2, i), 2, 1);
	for (unsigned i = 0; i < 1000; i++) {
		saw(fdb, mac_of(1, i), 1, 2);
		saw(fdb, mac_of(2, 100000 + i), 2, 2);
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(lookup(fdb, mac_of(1, i)), 1);
	assert_int_equal(fdb_owned(fdb, 1) + fdb_owned(fdb, 2), stats_of(fdb).entries);
	assert_int_equal(stats_of(fdb).entries, 4096);
	fdb_free(fdb);
}

static void table_is_bounded_at_any_capacity(void **state)
{
	for (uint32_t capacity = 1; capacity < 70; capacity++) {
		struct fdb *fdb = make(capacity, 300);

		for (unsigned i = 0; i < 1000; i++)
			saw(fdb, mac_of(3, i), 3, i);
		assert_int_equal(stats_of(fdb).entries, capacity);
		assert_int_equal(stats_of(fdb).learned, 1000 - stats_of(fdb).refused);
		fdb_free(fdb);
	}
}

static void equal_owner_is_not_evicted(void **state)
{
	struct fdb *fdb = make(2, 300);

	saw(fdb, mac_of(1, 0), 1, 1);
	saw(fdb, mac_of(2, 0), 2, 2);
	saw(fdb, mac_of(2, 1), 2, 3);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 1);
	assert_int_equal(lookup(fdb, mac_of(2, 0)), -1);
	assert_int_equal(lookup(fdb, mac_of(2, 1)), 2);
	fdb_free(fdb);
}

static void too_old_goes_first(void **state)
{
	struct fdb *fdb = make(2, 300);
	struct fdb_address address = fdb_address(fdb, mac_of(1, 0));
	const struct fdb_bucket *bucket = fdb_first(fdb, address.hash);
	unsigned i = 1;

	saw(fdb, mac_of(1, 0), 1, 1);
	saw(fdb, mac_of(2, 0), 2, 400);
	while (fdb_first(fdb, fdb_hash(fdb, mac_of(2, i))) != bucket)
		i++;
	saw(fdb, mac_of(2, i), 2, 400);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), -1);
	assert_int_equal(fdb_owned(fdb, 2), 2);
	fdb_free(fdb);
}

static void count_visit(void *opaque, uint64_t mac, uint16_t port, uint32_t age_s, bool fixed)
{
	unsigned *count = opaque;

	assert_int_equal(mac >> 32 & 0xff, port);
	assert_int_equal(age_s, 7);
	++*count;
}

static void each_shows_all_but_the_too_old(void **state)
{
	struct fdb *fdb = make(1000, 300);
	unsigned count = 0;

	for (unsigned i = 0; i < 100; i++)
		saw(fdb, mac_of(i % 5, i), (uint16_t)(i % 5), 993);
	saw(fdb, mac_of(1, 500), 1, 600);
	fdb_each(fdb, 1000, count_visit, &count);
	assert_int_equal(count, 100);
	fdb_free(fdb);
}

/* ---- fixed addresses ---- */

static void fixed_address_stays_whatever_happens(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(fdb_fix(fdb, mac_of(1, 1), 1, 1), 0);
	sweep_all(fdb, 100000);
	fdb_flush(fdb, 1);
	fdb_flush(fdb, -1);
	for (unsigned i = 0; i < 1000; i++)
		saw(fdb, mac_of(2, i), 2, 100000 + i);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 1);
	assert_int_equal(lookup(fdb, mac_of(1, 1)), 1);
	assert_true(known(fdb, mac_of(1, 0), 1, 200000));
	assert_int_equal(stats_of(fdb).fixed, 2);
	assert_int_equal(stats_of(fdb).entries, 18);
	fdb_free(fdb);
}

static void fixed_address_is_learned_nowhere_else(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(fdb_learn(fdb, mac_of(1, 0), 2, 1), FDB_FOREIGN);
	assert_false(known(fdb, mac_of(1, 0), 2, 1));
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 1);
	assert_int_equal(stats_of(fdb).moved, 0);
	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 2, 1), -EADDRINUSE);
	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 1, 1), 0); /* again */
	assert_int_equal(stats_of(fdb).fixed, 1);
	fdb_free(fdb);
}

static void port_with_fixed_addresses_learns_no_other(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(fdb_learn(fdb, mac_of(1, 1), 1, 1), FDB_FOREIGN);
	assert_int_equal(lookup(fdb, mac_of(1, 1)), -1);
	fdb_free(fdb);
}

static void fixing_takes_the_address_from_whoever_said_it_first(void **state)
{
	struct fdb *fdb = make(16, 300);

	saw(fdb, mac_of(1, 0), 2, 1);
	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 1);
	assert_int_equal(fdb_owned(fdb, 2), 0);
	assert_false(fdb_ages(fdb)); /* nothing is left that the clock would have to be looked at for */
	fdb_free(fdb);
}

static void fixed_addresses_find_room_in_a_full_table(void **state)
{
	struct fdb *fdb = make(64, 300);

	for (unsigned i = 0; i < 100000; i++)
		saw(fdb, mac_of(2, i), 2, 1);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(fdb_fix(fdb, mac_of(1, i), 1, 1), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(lookup(fdb, mac_of(1, i)), 1);
	fdb_free(fdb);
}

static void no_more_are_fixed_than_there_are_places(void **state)
{
	struct fdb *fdb = make(1, 300);
	unsigned fixed = 0, refused = 0;

	for (unsigned i = 0; i < 100; i++) {
		int err = fdb_fix(fdb, mac_of(1, i), 1, 1);

		assert_true(!err || err == -ENOSPC);
		fixed += !err;
		refused += err == -ENOSPC;
	}
	assert_true(fixed && refused);
	assert_int_equal(stats_of(fdb).fixed, fixed);
	saw(fdb, mac_of(2, 0), 2, 1); /* refused at worst */
	fdb_free(fdb);
}

static void unfixed_port_learns_again(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fdb_fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(fdb_fix(fdb, mac_of(1, 1), 1, 1), 0);
	fdb_unfix(fdb, 1);
	assert_int_equal(stats_of(fdb).entries, 0);
	assert_int_equal(stats_of(fdb).fixed, 0);
	assert_int_equal(fdb_learn(fdb, mac_of(1, 0), 2, 1), FDB_FIRST);
	assert_int_equal(fdb_learn(fdb, mac_of(3, 0), 1, 1), FDB_LEARNED);
	fdb_free(fdb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learned_addresses_are_found),
		cmocka_unit_test(addresses_spread_however_they_were_given),
		cmocka_unit_test(first_entry_is_reported_once),
		cmocka_unit_test(moved_address_follows_its_port),
		cmocka_unit_test(unseen_address_is_forgotten_and_seen_one_stays),
		cmocka_unit_test(ageing_survives_wrap_of_the_clock),
		cmocka_unit_test(slices_of_the_sweep_add_up),
		cmocka_unit_test(flush_of_a_port_spares_the_others),
		cmocka_unit_test(million_addresses_evict_only_their_own),
		cmocka_unit_test(newcomer_finds_room_while_another_floods),
		cmocka_unit_test(table_is_bounded_at_any_capacity),
		cmocka_unit_test(equal_owner_is_not_evicted),
		cmocka_unit_test(too_old_goes_first),
		cmocka_unit_test(each_shows_all_but_the_too_old),
		cmocka_unit_test(fixed_address_stays_whatever_happens),
		cmocka_unit_test(fixed_address_is_learned_nowhere_else),
		cmocka_unit_test(port_with_fixed_addresses_learns_no_other),
		cmocka_unit_test(fixing_takes_the_address_from_whoever_said_it_first),
		cmocka_unit_test(fixed_addresses_find_room_in_a_full_table),
		cmocka_unit_test(no_more_are_fixed_than_there_are_places),
		cmocka_unit_test(unfixed_port_learns_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
