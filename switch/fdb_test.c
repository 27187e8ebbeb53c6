/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/fdb.h"
#include "base/clock.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
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
	struct fdb_address address = fdb_address(fdb, 0, mac);

	return fdb_saw(fdb, &address, port, now_s);
}

static int lookup_in(const struct fdb *fdb, uint16_t vlan, uint64_t mac)
{
	struct fdb_address address = fdb_address(fdb, vlan, mac);

	return fdb_lookup(fdb, &address);
}

static int lookup(const struct fdb *fdb, uint64_t mac)
{
	return lookup_in(fdb, 0, mac);
}

static bool sure(const struct fdb *fdb, uint64_t mac, uint32_t now_s, uint32_t recent_s)
{
	struct fdb_address address = fdb_address(fdb, 0, mac);
	bool is_sure = false;

	assert_true(fdb_owner(fdb, &address, now_s, recent_s, &is_sure) >= 0);
	return is_sure;
}

static enum fdb_news learn_in(struct fdb *fdb, uint16_t vlan, uint64_t mac, uint16_t port, uint32_t now_s)
{
	struct fdb_address address = fdb_address(fdb, vlan, mac);

	return fdb_learn(fdb, &address, port, now_s);
}

static enum fdb_news learn(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s)
{
	return learn_in(fdb, 0, mac, port, now_s);
}

static int fix(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s)
{
	struct fdb_address address = fdb_address(fdb, 0, mac);

	return fdb_fix(fdb, &address, port, now_s);
}

static bool saw(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s)
{
	return known(fdb, mac, port, now_s) || learn(fdb, mac, port, now_s) != FDB_FOREIGN;
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

	assert_int_equal(learn(fdb, mac_of(0, 0), 0, 1), FDB_FIRST);
	assert_int_equal(learn(fdb, mac_of(0, 1), 0, 1), FDB_LEARNED);
	fdb_flush(fdb, -1);
	assert_int_equal(learn(fdb, mac_of(0, 1), 0, 1), FDB_FIRST);
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

		for (unsigned i = 0; i < 200; i++)
			saw(fdb, mac_of(3, i), 3, i);
		assert_int_equal(stats_of(fdb).entries, capacity);
		assert_int_equal(stats_of(fdb).learned, 200 - stats_of(fdb).refused);
		fdb_free(fdb);
	}
}

static void what_was_seen_is_not_seen_earlier(void **state)
{
	struct fdb *fdb = make(1024, 300);

	assert_int_equal(learn(fdb, mac_of(1, 1), 1, 1000), FDB_FIRST);
	assert_true(known(fdb, mac_of(1, 1), 1, 970));
	assert_true(sure(fdb, mac_of(1, 1), 1030, 30));
	assert_false(sure(fdb, mac_of(1, 1), 1031, 30));
	assert_true(known(fdb, mac_of(1, 1), 1, 1001));
	assert_true(sure(fdb, mac_of(1, 1), 1031, 30));
	fdb_free(fdb);
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
	struct fdb_address address = fdb_address(fdb, 0, mac_of(1, 0)), other;
	unsigned i = 1;

	saw(fdb, mac_of(1, 0), 1, 1);
	saw(fdb, mac_of(2, 0), 2, 400);
	do
		other = fdb_address(fdb, 0, mac_of(2, ++i));
	while (other.first != address.first);
	saw(fdb, mac_of(2, i), 2, 400);
	assert_int_equal(lookup(fdb, mac_of(1, 0)), -1);
	assert_int_equal(fdb_owned(fdb, 2), 2);
	fdb_free(fdb);
}

static void count_visit(void *opaque, const struct fdb_entry *entry)
{
	unsigned *count = opaque;

	assert_int_equal(entry->mac >> 32 & 0xff, entry->port);
	assert_int_equal(entry->age_s, 7);
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

/* ---- VLANs ---- */

static void address_has_a_port_in_each_vlan(void **state)
{
	static const uint16_t vlans[] = {0, 1, 2, 2048, 4094, 4095};
	struct fdb *fdb = make(1000, 300);

	for (unsigned i = 0; i < 6; i++)
		learn_in(fdb, vlans[i], mac_of(1, 0), (uint16_t)i, 1);
	assert_int_equal(stats_of(fdb).entries, 6);
	assert_int_equal(stats_of(fdb).moved, 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(lookup_in(fdb, vlans[i], mac_of(1, 0)), i);
	assert_int_equal(lookup_in(fdb, 3, mac_of(1, 0)), -1);
	learn_in(fdb, 2, mac_of(1, 0), 7, 1);
	assert_int_equal(lookup_in(fdb, 2, mac_of(1, 0)), 7);
	assert_int_equal(lookup_in(fdb, 1, mac_of(1, 0)), 1);
	fdb_free(fdb);
}

static void fixed_address_is_another_in_another_vlan(void **state)
{
	struct fdb *fdb = make(16, 300);
	struct fdb_address address = fdb_address(fdb, 5, mac_of(1, 0));

	assert_int_equal(fdb_fix(fdb, &address, 1, 1), 0);
	assert_int_equal(learn_in(fdb, 5, mac_of(1, 0), 2, 1), FDB_FOREIGN);
	assert_int_equal(learn_in(fdb, 6, mac_of(1, 0), 2, 1), FDB_FIRST);
	assert_int_equal(lookup_in(fdb, 5, mac_of(1, 0)), 1);
	assert_int_equal(lookup_in(fdb, 6, mac_of(1, 0)), 2);
	fdb_free(fdb);
}

static uint16_t vlan_for(uint64_t mac)
{
	return (uint16_t)(mac * 0x9e3779b97f4a7c15u >> 52);
}

static void check_visit(void *opaque, const struct fdb_entry *entry)
{
	unsigned *count = opaque;

	assert_int_equal(entry->vlan, vlan_for(entry->mac));
	assert_int_equal(entry->port, entry->mac % PORTS);
	++*count;
}

/* An entry does not hold all of its address: what is listed has been put together again. */
static void listed_entries_are_what_was_learned(void **state)
{
	static const uint32_t capacities[] = {1, 500, 5000, 200000};

	for (unsigned c = 0; c < 4; c++) {
		struct fdb *fdb = make(capacities[c], 300);
		unsigned count = 0;

		for (uint64_t mac = 0x020000000001; mac >> 47 == 0; mac += 0x01000000ffffu * 7)
			learn_in(fdb, vlan_for(mac), mac, mac % PORTS, 1);
		fdb_each(fdb, 1, check_visit, &count);
		assert_int_equal(count, stats_of(fdb).entries);
		assert_true(count);
		fdb_free(fdb);
	}
}

static void scrambling_can_be_undone(void **state)
{
	uint64_t seed = 0x123456789abcdef0u, number = 0;

	for (unsigned i = 0; i < 100000; i++, number = number * 6364136223846793005u + (1442695040888963407u & SCRAMBLE_MASK)) {
		uint64_t scrambled = scramble(number & SCRAMBLE_MASK, seed);

		assert_int_equal(scrambled & ~SCRAMBLE_MASK, 0);
		assert_int_equal(unscramble(scrambled, seed), number & SCRAMBLE_MASK);
	}
}

/* ---- readers and writers at the same time ---- */

#define STRESS_WRITERS   2u
#define STRESS_READERS   2u
#define STRESS_LEARNED   30000u /* by each writer ... */
#define STRESS_LEAST     3000u  /* ... and no fewer than this, where they take longer than */
#define STRESS_MS        3000u
#define STRESS_ADDRESSES 512u   /* of which a table of 64 holds some, each for a moment */

struct stress {
	struct fdb *fdb;
	bool done;         /* atomic */
	uint64_t wrong;    /* atomic: what was seen and has never been true */
	uint64_t found;    /* atomic */
	pthread_t threads[STRESS_WRITERS + STRESS_READERS];
};

/* An address of the stress and its VLAN; it is behind one of two ports, which no address with another parity has. */
static struct fdb_address stress_address(const struct fdb *fdb, unsigned i)
{
	return fdb_address(fdb, (uint16_t)(i % 5), mac_of(0, i));
}

static uint16_t stress_port(unsigned i, unsigned turn)
{
	return (uint16_t)(i % 8 * 2 + turn % 2);
}

static void *stress_write(void *opaque)
{
	struct stress *stress = opaque;
	unsigned random = (unsigned)(uintptr_t)&random;
	uint64_t end_ms = clock_now_ms() + STRESS_MS;

	for (unsigned turn = 0; turn < STRESS_LEARNED && (turn < STRESS_LEAST || clock_now_ms() < end_ms); turn++) {
		unsigned i = (random = random * 1103515245 + 12345) >> 16 & (STRESS_ADDRESSES - 1);
		struct fdb_address address = stress_address(stress->fdb, i);

		fdb_learn(stress->fdb, &address, stress_port(i, turn), turn / 1000);
		if (turn % 4096 == 0)
			fdb_flush(stress->fdb, stress_port(i, turn));
	}
	return NULL;
}

static void *stress_read(void *opaque)
{
	struct stress *stress = opaque;
	uint64_t wrong = 0, found = 0;

	for (unsigned i = 0; !__atomic_load_n(&stress->done, __ATOMIC_ACQUIRE); i = (i + 1) % STRESS_ADDRESSES) {
		struct fdb_address address = stress_address(stress->fdb, i);
		int port = fdb_lookup(stress->fdb, &address);

		found += port >= 0;
		wrong += port >= 0 && port / 2 != (int)(i % 8);
		wrong += fdb_saw(stress->fdb, &address, stress_port(i + 1, 0), 0); /* where it never is */
	}
	__atomic_add_fetch(&stress->wrong, wrong, __ATOMIC_RELAXED);
	__atomic_add_fetch(&stress->found, found, __ATOMIC_RELAXED);
	return NULL;
}

static void readers_see_what_was_true_while_places_change_hands(void **state)
{
	struct stress stress = {.fdb = make(64, 300)};

	for (unsigned i = 0; i < STRESS_WRITERS + STRESS_READERS; i++)
		assert_int_equal(pthread_create(&stress.threads[i], NULL, i < STRESS_WRITERS ? stress_write : stress_read, &stress), 0);
	for (unsigned i = 0; i < STRESS_WRITERS; i++)
		pthread_join(stress.threads[i], NULL);
	__atomic_store_n(&stress.done, true, __ATOMIC_RELEASE);
	for (unsigned i = STRESS_WRITERS; i < STRESS_WRITERS + STRESS_READERS; i++)
		pthread_join(stress.threads[i], NULL);
	assert_int_equal(stress.wrong, 0);
	assert_true(stress.found);
	assert_true(stats_of(stress.fdb).evicted > 1000);
	fdb_free(stress.fdb);
}

/* ---- fixed addresses ---- */

static void fixed_address_stays_whatever_happens(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(fix(fdb, mac_of(1, 1), 1, 1), 0);
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

	assert_int_equal(fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(learn(fdb, mac_of(1, 0), 2, 1), FDB_FOREIGN);
	assert_false(known(fdb, mac_of(1, 0), 2, 1));
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 1);
	assert_int_equal(stats_of(fdb).moved, 0);
	assert_int_equal(fix(fdb, mac_of(1, 0), 2, 1), -EADDRINUSE);
	assert_int_equal(fix(fdb, mac_of(1, 0), 1, 1), 0); /* again */
	assert_int_equal(stats_of(fdb).fixed, 1);
	fdb_free(fdb);
}

static void port_with_fixed_addresses_learns_no_other(void **state)
{
	struct fdb *fdb = make(16, 300);

	assert_int_equal(fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(learn(fdb, mac_of(1, 1), 1, 1), FDB_FOREIGN);
	assert_int_equal(lookup(fdb, mac_of(1, 1)), -1);
	fdb_free(fdb);
}

static void fixing_takes_the_address_from_whoever_said_it_first(void **state)
{
	struct fdb *fdb = make(16, 300);

	saw(fdb, mac_of(1, 0), 2, 1);
	assert_int_equal(fix(fdb, mac_of(1, 0), 1, 1), 0);
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
		assert_int_equal(fix(fdb, mac_of(1, i), 1, 1), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(lookup(fdb, mac_of(1, i)), 1);
	fdb_free(fdb);
}

static void no_more_are_fixed_than_there_are_places(void **state)
{
	struct fdb *fdb = make(1, 300);
	unsigned fixed = 0, refused = 0;

	for (unsigned i = 0; i < 20 * fdb->bucket_count; i++) {
		int err = fix(fdb, mac_of(1, i), 1, 1);

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

	assert_int_equal(fix(fdb, mac_of(1, 0), 1, 1), 0);
	assert_int_equal(fix(fdb, mac_of(1, 1), 1, 1), 0);
	fdb_unfix(fdb, 1);
	assert_int_equal(stats_of(fdb).entries, 0);
	assert_int_equal(stats_of(fdb).fixed, 0);
	assert_int_equal(learn(fdb, mac_of(1, 0), 2, 1), FDB_FIRST);
	assert_int_equal(learn(fdb, mac_of(3, 0), 1, 1), FDB_LEARNED);
	fdb_free(fdb);
}

static size_t pages_there(const struct fdb *fdb)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = fdb->bucket_count * sizeof(*fdb->buckets) / page;
	unsigned char *there = malloc(pages);
	size_t count = 0;

	assert_non_null(there);
	assert_int_equal(mincore(fdb->buckets, pages * page, there), 0);
	for (size_t i = 0; i < pages; i++)
		count += there[i] & 1;
	free(there);
	return count;
}

/* In pages of any size; what is there already stays. One that is larger than anybody may wait for does not come. */
static void all_of_a_table_that_is_touched_is_there(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct fdb *fdb = make(65536, 300);

	assert_int_equal(pages_there(fdb), 0);
	assert_int_equal(learn(fdb, mac_of(1, 0), 1, 1), FDB_FIRST);
	fdb_touch(fdb);
	assert_int_equal(pages_there(fdb) * page, fdb->bucket_count * sizeof(*fdb->buckets));
	assert_int_equal(lookup(fdb, mac_of(1, 0)), 1);
	assert_int_equal(stats_of(fdb).entries, 1);
	fdb_free(fdb);
	fdb = make(4u << 20, 300);
	fdb_touch(fdb);
	assert_int_equal(pages_there(fdb), 0);
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
		cmocka_unit_test(what_was_seen_is_not_seen_earlier),
		cmocka_unit_test(equal_owner_is_not_evicted),
		cmocka_unit_test(too_old_goes_first),
		cmocka_unit_test(each_shows_all_but_the_too_old),
		cmocka_unit_test(address_has_a_port_in_each_vlan),
		cmocka_unit_test(fixed_address_is_another_in_another_vlan),
		cmocka_unit_test(listed_entries_are_what_was_learned),
		cmocka_unit_test(scrambling_can_be_undone),
		cmocka_unit_test(readers_see_what_was_true_while_places_change_hands),
		cmocka_unit_test(fixed_address_stays_whatever_happens),
		cmocka_unit_test(fixed_address_is_learned_nowhere_else),
		cmocka_unit_test(port_with_fixed_addresses_learns_no_other),
		cmocka_unit_test(fixing_takes_the_address_from_whoever_said_it_first),
		cmocka_unit_test(fixed_addresses_find_room_in_a_full_table),
		cmocka_unit_test(no_more_are_fixed_than_there_are_places),
		cmocka_unit_test(unfixed_port_learns_again),
		cmocka_unit_test(all_of_a_table_that_is_touched_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
