/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The policy, with a clock and loads that are played: a look each second. Sources want so much of a worker's time; a worker that is asked for more than it has
 * gives each its part of it, as it does in life.
 */

#include "work/balance.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define WORKERS_MAX 8u
#define SOURCES_MAX 32u
#define MOVES_MAX   4u
#define SECOND_NS   UINT64_C(1000000000)
#define HOUR_S	    3600u

struct world {
	struct balance balance;
	struct balance_worker workers[WORKERS_MAX];
	struct balance_source sources[SOURCES_MAX], *list[SOURCES_MAX];
	unsigned wants[SOURCES_MAX]; /* thousandths of a worker's time */
	unsigned moved[SOURCES_MAX]; /* how often */
	unsigned been[SOURCES_MAX];  /* a bit for each worker that it has left */
	unsigned count, second, moves;
	bool refused; /* nothing can be moved */
	unsigned undone;
	unsigned whys[BALANCE_MEMORY + 1];
};

static void world_init(struct world *w, unsigned workers)
{
	memset(w, 0, sizeof(*w));
	w->balance = (struct balance){.workers = w->workers, .worker_count = workers};
	for (unsigned i = 0; i < workers; i++)
		w->workers[i] = (struct balance_worker){.there = true, .node = -1};
}

static struct balance_source *source_add(struct world *w, unsigned worker, unsigned wants)
{
	struct balance_source *source = &w->sources[w->count];

	*source = (struct balance_source){.worker = worker, .node = -1};
	w->wants[w->count] = wants;
	w->list[w->count++] = source;
	return source;
}

static void loads_play(struct world *w)
{
	unsigned wanted[WORKERS_MAX] = {0};

	for (unsigned i = 0; i < w->balance.worker_count; i++)
		w->workers[i].busy = w->workers[i].sources = 0;
	for (unsigned i = 0; i < w->count; i++)
		wanted[w->sources[i].worker] += w->wants[i];
	for (unsigned i = 0; i < w->count; i++) {
		struct balance_source *source = &w->sources[i];
		unsigned all = wanted[source->worker];

		source->load = all > 1000 ? w->wants[i] * 1000 / all : w->wants[i];
		w->workers[source->worker].busy += source->load;
		w->workers[source->worker].sources++;
	}
}

/* A second goes by, and what the policy says is done. Returns how many moved. */
static unsigned second(struct world *w)
{
	struct balance_move moves[MOVES_MAX];
	unsigned count;

	loads_play(w);
	count = balance_look(&w->balance, ++w->second * SECOND_NS, w->list, w->count, moves, MOVES_MAX);
	assert_true(count <= MOVES_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct balance_source *source = moves[i].source;

		assert_true(moves[i].to < w->balance.worker_count);
		assert_int_not_equal(moves[i].to, source->worker);
		assert_false(source->kept);
		assert_true(w->workers[moves[i].to].there);
		if (w->refused) {
			balance_undone(&moves[i]);
			w->undone++;
			continue;
		}
		w->been[source - w->sources] |= 1u << source->worker;
		source->worker = moves[i].to;
		w->moved[source - w->sources]++;
		w->whys[moves[i].why]++;
	}
	count = w->refused ? 0 : count;
	w->moves += count;
	return count;
}

static unsigned seconds(struct world *w, unsigned count)
{
	unsigned moves = 0;

	while (count--)
		moves += second(w);
	return moves;
}

/* Repeatable: a different row of numbers for each seed. */
static unsigned dice(uint32_t *state, unsigned below)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 8) % below;
}

/* ---- load ---- */

static void who_is_not_full_keeps_all(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 0, 340);
	source_add(&w, 0, 350);
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void who_is_full_for_three_looks_gives_one_away(void **state)
{
	struct world w;
	const struct balance_source *big, *small;

	world_init(&w, 3);
	small = source_add(&w, 0, 200);
	big = source_add(&w, 0, 600);
	source_add(&w, 1, 100);
	assert_int_equal(seconds(&w, 2), 0);
	assert_int_equal(second(&w), 1);
	assert_int_equal(big->worker + small->worker, 2); /* to the idle one */
	assert_int_equal(w.whys[BALANCE_BUSY], 1);
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void a_moment_of_work_moves_nothing(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 0, 500);
	source_add(&w, 0, 500);
	for (unsigned i = 0; i < HOUR_S; i++) {
		w.wants[0] = i % 3 ? 500 : 100;
		assert_int_equal(second(&w), 0);
	}
}

static void one_that_fills_a_worker_alone_stays(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 0, 3000);
	source_add(&w, 0, 0);
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void who_shares_with_it_goes(void **state)
{
	struct world w;
	const struct balance_source *hog, *other;

	world_init(&w, 2);
	hog = source_add(&w, 0, 900);
	other = source_add(&w, 0, 90);
	assert_int_equal(seconds(&w, HOUR_S), 1);
	assert_int_equal(hog->worker, 0);
	assert_int_equal(other->worker, 1);
}

static void where_nobody_has_room_all_stay(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 0, 500);
	source_add(&w, 0, 500);
	source_add(&w, 1, 400);
	assert_int_equal(seconds(&w, HOUR_S), 0);
	w.wants[2] = 100;
	assert_int_equal(seconds(&w, HOUR_S), 1);
}

static void many_are_spread_a_few_a_minute(void **state)
{
	struct world w;
	unsigned last = 0;

	world_init(&w, 4);
	for (unsigned i = 0; i < 16; i++)
		source_add(&w, 0, 150);
	for (unsigned minute = 0; minute < 10; minute++) {
		last = seconds(&w, 60);
		assert_true(last <= 6);
	}
	assert_int_equal(last, 0);
	loads_play(&w);
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(w.workers[i].busy, 450, 1000);
	for (unsigned i = 0; i < 16; i++)
		assert_true(w.moved[i] <= 1);
}

/* Whatever constant loads there are, everything comes to rest, and nothing goes back. */
static void loads_that_stay_the_same_move_nothing_to_and_fro(void **state)
{
	for (uint32_t seed = 0; seed < 300; seed++) {
		uint32_t row = seed;
		struct world w;

		world_init(&w, 2 + dice(&row, WORKERS_MAX - 1));
		for (unsigned i = 2 + dice(&row, SOURCES_MAX - 2); i; i--)
			source_add(&w, dice(&row, w.balance.worker_count), dice(&row, 2) ? dice(&row, 100) : dice(&row, 900));
		seconds(&w, 600);
		for (unsigned i = 0; i < w.count; i++)
			assert_false(w.been[i] & 1u << w.sources[i].worker);
		assert_int_equal(seconds(&w, 600), 0);
	}
}

/* Loads that change places as fast as they can be followed. */
static void loads_that_come_and_go_are_followed_less_and_less(void **state)
{
	unsigned first_hour = 0, second_hour;
	struct world w;

	world_init(&w, 2);
	for (unsigned i = 0; i < 4; i++)
		source_add(&w, i / 2, 0);
	for (unsigned i = 0; i < 2 * HOUR_S; i++) {
		for (unsigned each = 0; each < 4; each++)
			w.wants[each] = w.sources[each].worker == i / 40 % 2 ? 500 : 50;
		second(&w);
		if (i == HOUR_S - 1)
			first_hour = w.moves;
	}
	second_hour = w.moves - first_hour;
	assert_in_range(first_hour, 4, 40);
	assert_true(second_hour <= 16);
}

static void what_somebody_has_placed_stays_and_counts(void **state)
{
	struct world w;
	struct balance_source *kept, *free_one;

	world_init(&w, 2);
	kept = source_add(&w, 0, 600);
	kept->kept = true;
	free_one = source_add(&w, 0, 300);
	free_one->kept = true;
	assert_int_equal(seconds(&w, HOUR_S), 0);
	free_one->kept = false;
	assert_int_equal(seconds(&w, HOUR_S), 1);
	assert_int_equal(free_one->worker, 1);
}

/* ---- CPUs ---- */

static void a_worker_without_a_cpu_is_left_at_once(void **state)
{
	struct world w;
	struct balance_source *kept;

	world_init(&w, 3);
	for (unsigned i = 0; i < 6; i++)
		source_add(&w, i / 2, 10);
	kept = source_add(&w, 1, 10);
	kept->kept = true;
	seconds(&w, 5);
	w.workers[1].there = false;
	assert_int_equal(second(&w), 2);
	assert_int_equal(w.whys[BALANCE_CPU_GONE], 2);
	assert_int_equal(w.sources[2].worker + w.sources[3].worker, 2); /* one each */
	assert_int_equal(kept->worker, 1);
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void what_it_had_comes_back_with_its_cpu(void **state)
{
	struct world w;

	world_init(&w, 2);
	for (unsigned i = 0; i < 10; i++)
		source_add(&w, i % 2, 1);
	w.workers[1].there = false;
	assert_int_equal(second(&w), MOVES_MAX); /* no more than there is room to say */
	assert_int_equal(second(&w), 5 - MOVES_MAX);
	assert_int_equal(seconds(&w, 60), 0);
	w.workers[1].there = true;
	assert_int_equal(seconds(&w, 10), 0);
	assert_int_equal(seconds(&w, 2), 5);
	assert_int_equal(w.whys[BALANCE_CPU_BACK], 5);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(w.sources[i].worker, i % 2);
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void a_cpu_that_comes_and_goes_moves_what_it_had_once(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 1, 100);
	for (unsigned i = 0; i < HOUR_S; i++) {
		w.workers[1].there = i % 6 > 2;
		second(&w);
	}
	assert_int_equal(w.moves, 1);
}

static void what_cannot_go_home_yet_does_so_later(void **state)
{
	struct world w;
	const struct balance_source *source;

	world_init(&w, 2);
	source = source_add(&w, 1, 100);
	w.workers[1].there = false;
	assert_int_equal(second(&w), 1);
	w.workers[1].there = w.refused = true;
	seconds(&w, 60);
	assert_true(w.undone > 40); /* each second, */
	w.refused = false;
	assert_int_equal(second(&w), 1);
	assert_int_equal(source->worker, 1);
	w.wants[0] = 600;
	source_add(&w, 1, 300)->kept = true;
	assert_int_equal(seconds(&w, 70), 1); /* and what was tried in vain does not make it rest longer */
}

static void what_cannot_be_moved_is_tried_again_as_often_as_before(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 0, 500);
	source_add(&w, 0, 500);
	w.refused = true;
	seconds(&w, HOUR_S);
	assert_in_range(w.undone, HOUR_S / 30, HOUR_S / 10);
}

static void without_any_cpu_all_stays(void **state)
{
	struct world w;

	world_init(&w, 2);
	source_add(&w, 0, 700);
	source_add(&w, 0, 200);
	w.workers[0].there = w.workers[1].there = false;
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

/* ---- nodes ---- */

static void two_nodes(struct world *w)
{
	world_init(w, 4);
	for (unsigned i = 0; i < 4; i++)
		w->workers[i].node = (int)i / 2;
}

static void a_source_goes_where_its_memory_lies(void **state)
{
	struct world w;
	struct balance_source *source;

	two_nodes(&w);
	source_add(&w, 2, 10);
	source = source_add(&w, 0, 10);
	seconds(&w, 5);
	source->node = 1;
	assert_int_equal(second(&w), 1);
	assert_int_equal(w.whys[BALANCE_MEMORY], 1);
	assert_int_equal(source->worker, 3);
	source->node = 0; /* memory that moves to and fro moves it once in a while */
	assert_int_equal(seconds(&w, 29), 0);
	assert_int_equal(seconds(&w, 2), 1);
	source->node = 7; /* where no worker is */
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void it_waits_for_room_there(void **state)
{
	struct world w;
	struct balance_source *source;

	two_nodes(&w);
	source_add(&w, 2, 600);
	source_add(&w, 3, 600);
	source = source_add(&w, 0, 100);
	source->node = 1;
	assert_int_equal(seconds(&w, HOUR_S), 0);
	w.wants[1] = 500;
	assert_int_equal(second(&w), 1);
	assert_int_equal(source->worker, 3);
}

/* Its memory is known late: it does not go back to where it was before. */
static void what_was_driven_out_belongs_where_its_memory_lies(void **state)
{
	struct world w;
	struct balance_source *source;

	two_nodes(&w);
	source = source_add(&w, 0, 10);
	w.workers[0].there = false;
	assert_int_equal(second(&w), 1);
	assert_int_equal(source->worker, 1);
	source->node = 1;
	assert_int_equal(seconds(&w, 60), 1);
	assert_int_equal(w.whys[BALANCE_MEMORY], 1);
	w.workers[0].there = true;
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

static void a_full_worker_gives_to_its_own_node_first(void **state)
{
	struct world w;

	two_nodes(&w);
	for (unsigned i = 0; i < 2; i++)
		source_add(&w, 0, 400)->node = 0;
	source_add(&w, 1, 200)->node = 0; /* the other node is idle */
	assert_int_equal(seconds(&w, 60), 1);
	assert_int_equal(w.sources[0].worker + w.sources[1].worker, 1);
	w.wants[0] = w.wants[1] = w.wants[2] = 550; /* the near ones are full */
	assert_int_equal(seconds(&w, 60), 1);
	assert_true(w.sources[0].worker > 1 || w.sources[1].worker > 1 || w.sources[2].worker > 1);
	assert_int_equal(seconds(&w, HOUR_S), 0);
}

/* ---- who comes ---- */

static void who_comes_goes_to_who_has_the_fewest(void **state)
{
	struct world w;

	two_nodes(&w);
	w.workers[0].sources = w.workers[1].sources = 3;
	w.workers[2].sources = 1;
	w.workers[3].sources = 2;
	assert_int_equal(balance_place(&w.balance, -1), 2);
	assert_int_equal(balance_place(&w.balance, 0), 0);
	w.workers[2].there = false;
	assert_int_equal(balance_place(&w.balance, -1), 3);
	w.workers[0].there = w.workers[1].there = false;
	assert_int_equal(balance_place(&w.balance, 0), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_not_full_keeps_all),
		cmocka_unit_test(who_is_full_for_three_looks_gives_one_away),
		cmocka_unit_test(a_moment_of_work_moves_nothing),
		cmocka_unit_test(one_that_fills_a_worker_alone_stays),
		cmocka_unit_test(who_shares_with_it_goes),
		cmocka_unit_test(where_nobody_has_room_all_stay),
		cmocka_unit_test(many_are_spread_a_few_a_minute),
		cmocka_unit_test(loads_that_stay_the_same_move_nothing_to_and_fro),
		cmocka_unit_test(loads_that_come_and_go_are_followed_less_and_less),
		cmocka_unit_test(what_somebody_has_placed_stays_and_counts),
		cmocka_unit_test(a_worker_without_a_cpu_is_left_at_once),
		cmocka_unit_test(what_it_had_comes_back_with_its_cpu),
		cmocka_unit_test(a_cpu_that_comes_and_goes_moves_what_it_had_once),
		cmocka_unit_test(what_cannot_go_home_yet_does_so_later),
		cmocka_unit_test(what_cannot_be_moved_is_tried_again_as_often_as_before),
		cmocka_unit_test(without_any_cpu_all_stays),
		cmocka_unit_test(a_source_goes_where_its_memory_lies),
		cmocka_unit_test(it_waits_for_room_there),
		cmocka_unit_test(what_was_driven_out_belongs_where_its_memory_lies),
		cmocka_unit_test(a_full_worker_gives_to_its_own_node_first),
		cmocka_unit_test(who_comes_goes_to_who_has_the_fewest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
