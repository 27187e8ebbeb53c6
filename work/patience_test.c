/* SPDX-License-Identifier: BSD-3-Clause */

/* The policy with a made clock: a worker that sleeps, naps and is woken as the plan says, and what that costs. */

#include "work/patience.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define US UINT64_C(1000)
#define MS (1000 * US)
#define SECOND (1000 * MS)
#define WAKE_NS (6 * US) /* to wake by oneself takes so long */

struct world {
	struct patience p;
	struct habit h;
	uint64_t now_ns, awake_ns; /* the latter: waited awake, all together */
	uint64_t woken_ns; /* to be woken takes so long */
	unsigned found_awake, found;
};

static struct world world_new(uint32_t spin_us, unsigned percent)
{
	struct world w = {.now_ns = 5 * SECOND, .woken_ns = WAKE_NS};

	patience_init(&w.p, w.now_ns, spin_us, percent);
	return w;
}

/* Waits awake from one time to another after the worker ran dry, but not longer than until work comes. True: it came. */
static bool wait_awake(struct world *w, uint64_t from_ns, uint64_t to_ns, uint64_t gap_ns)
{
	uint64_t awake_ns = to_ns < gap_ns ? to_ns - from_ns : gap_ns > from_ns ? gap_ns - from_ns : 0;

	w->awake_ns += awake_ns;
	patience_pay(&w->p, awake_ns, gap_ns <= to_ns);
	return gap_ns <= to_ns;
}

static void found(struct world *w, uint64_t seen_ns, enum patience_found how)
{
	w->now_ns += seen_ns;
	w->found++;
	w->found_awake += how == PATIENCE_AWAKE;
	patience_learn(&w->p, &w->h, seen_ns, how);
}

/* The worker runs dry, and work comes after this gap. */
static void live(struct world *w, uint64_t gap_ns)
{
	struct patience_plan plan = patience_plan(&w->p, &w->h, w->now_ns);
	uint64_t woke_ns = plan.nap_ns + WAKE_NS;

	if (plan.spin_ns && wait_awake(w, 0, plan.spin_ns, gap_ns)) {
		found(w, gap_ns, PATIENCE_AWAKE);
	} else if (!plan.nap_ns || gap_ns < plan.nap_ns) {
		found(w, gap_ns + w->woken_ns, PATIENCE_ASLEEP);
	} else {
		patience_napped(&w->p, WAKE_NS);
		if (wait_awake(w, woke_ns, plan.nap_spin_ns > woke_ns ? plan.nap_spin_ns : woke_ns, gap_ns))
			found(w, gap_ns > woke_ns ? gap_ns : woke_ns, PATIENCE_AWAKE);
		else
			found(w, gap_ns + WAKE_NS, PATIENCE_DOZING);
	}
}

/* Gaps of about the same length; up to so much more, in no order that repeats soon. */
static void live_often(struct world *w, unsigned count, uint64_t gap_ns, uint64_t more_ns)
{
	uint32_t seed = 1;

	while (count--) {
		seed = seed * 1103515245 + 12345;
		live(w, gap_ns + (more_ns ? (seed >> 8) % more_ns : 0));
	}
}

/* From now on counts anew. */
static uint64_t count_anew(struct world *w)
{
	w->found = w->found_awake = 0;
	w->awake_ns = 0;
	return w->now_ns;
}

static void assert_sleeps(struct world *w)
{
	struct patience_plan plan = patience_plan(&w->p, &w->h, w->now_ns);

	assert_int_equal(plan.spin_ns, 0);
	assert_int_equal(plan.nap_ns, 0);
}

/* ---- habits ---- */

static void who_knows_nothing_sleeps(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);
	struct patience_plan plan = patience_plan(&w.p, NULL, w.now_ns);

	assert_int_equal(plan.spin_ns + plan.nap_ns, 0);
	assert_sleeps(&w);
	live_often(&w, PATIENCE_GAPS - 1, 5 * US, 0);
	assert_sleeps(&w);
}

static void work_that_comes_sooner_than_a_sleep_is_over_is_waited_for_awake(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 20, 5 * US, 0);
	count_anew(&w);
	live_often(&w, 1000, 5 * US, 2 * US);
	assert_int_equal(w.found_awake, 1000);
}

static void work_that_keeps_time_is_found_awake_for_little(void **state)
{
	static const uint64_t gaps_us[] = {100, 333, 1000, 3333, 10000};

	for (unsigned i = 0; i < ARRAY_SIZE(gaps_us); i++) {
		struct world w = world_new(PATIENCE_MEASURED, 10);

		live_often(&w, 50, gaps_us[i] * US, 4 * US);
		count_anew(&w);
		live_often(&w, 1000, gaps_us[i] * US, 4 * US);
		assert_true(w.found_awake > 900);
		assert_true(w.awake_ns / w.found < 12 * US); /* less than a wake-up costs work and CPU */
	}
}

/* What is learned of work that has cut a nap short is when it was seen, and not when it came. */
static void naps_that_work_cuts_short_become_shorter(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	w.woken_ns = 35 * US;
	live_often(&w, 100, MS, 4 * US);
	count_anew(&w);
	live_often(&w, 1000, MS, 4 * US);
	assert_true(w.found_awake > 600);
	assert_true(w.awake_ns / w.found < 30 * US);
}

static void work_that_keeps_no_time_is_slept_for(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 50, 100 * US, 5 * MS);
	count_anew(&w);
	live_often(&w, 1000, 100 * US, 5 * MS);
	assert_true(w.awake_ns / w.found < US / 2);
}

static void work_that_comes_rarely_is_slept_for(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 50, SECOND, 0);
	assert_sleeps(&w);
}

static void long_gap_among_short_ones_changes_nothing(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 50, 5 * US, 0);
	live(&w, 3 * SECOND);
	count_anew(&w);
	live_often(&w, 10, 5 * US, 0);
	assert_int_equal(w.found_awake, 10);
}

static void habits_are_given_up_within_eight_gaps(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 50, 5 * US, 0);
	live_often(&w, 4, 30 * MS, 0);
	assert_sleeps(&w);
	live_often(&w, 5, 5 * US, 0);
	assert_true(patience_plan(&w.p, &w.h, w.now_ns).spin_ns);
}

/* ---- what is allowed ---- */

static void nobody_waits_awake_longer_than_allowed(void **state)
{
	struct world w = world_new(3, 10), never = world_new(0, 10);

	live_often(&w, 50, 2 * US, 0);
	assert_in_range(patience_plan(&w.p, &w.h, w.now_ns).spin_ns, 1, 3 * US);
	live_often(&never, 50, 2 * US, 0);
	live_often(&never, 50, MS, 0);
	assert_int_equal(never.awake_ns, 0);
}

static void budget_of_nothing_is_for_nothing(void **state)
{
	struct world w = world_new(50, 0);

	live_often(&w, 50, 2 * US, 0);
	live_often(&w, 50, MS, 0);
	assert_int_equal(w.awake_ns, 0);
}

static void who_says_how_long_is_waited_for_as_long(void **state)
{
	struct world w = world_new(3000, 100);

	live_often(&w, 50, MS, 0);
	assert_int_equal(patience_plan(&w.p, &w.h, w.now_ns).spin_ns, 3 * MS);
	count_anew(&w);
	live_often(&w, 100, MS, MS / 2);
	assert_int_equal(w.found_awake, 100);
}

/* Work that promises and does not keep: soon five times, then not; the worst there is. */
static void waiting_in_vain_ends_with_the_budget(void **state)
{
	static const unsigned percents[] = {1, 3, 10};

	for (unsigned i = 0; i < ARRAY_SIZE(percents); i++) {
		struct world w = world_new(50, percents[i]);
		uint64_t begin_ns = w.now_ns, paid_ns = 0;

		live_often(&w, PATIENCE_GAPS, US, 0);
		while (w.now_ns < begin_ns + SECOND) {
			struct patience_plan plan = patience_plan(&w.p, &w.h, w.now_ns);

			patience_pay(&w.p, plan.spin_ns, false);
			paid_ns += plan.spin_ns;
			w.now_ns += 60 * US;
		}
		assert_true(paid_ns <= (SECOND + PATIENCE_SAVED_NS) * percents[i] / 100 + 50 * US);
		assert_true(paid_ns >= SECOND / 2 * percents[i] / 100);
	}
}

static void waiting_that_is_shorter_than_a_sleep_costs_no_budget(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 1);

	live_often(&w, 20, 7 * US, 0);
	count_anew(&w);
	live_often(&w, 100000, 7 * US, 0); /* nearly all of the time */
	assert_int_equal(w.found_awake, 100000);
}

/* ---- others ---- */

static void look(struct world *w, uint64_t run_ns, uint64_t delay_ns, unsigned preempted)
{
	struct patience_system system = {w->p.run_ns + run_ns, w->p.delay_ns + delay_ns, w->p.preempted + preempted};

	w->now_ns = w->p.looked_ns + PATIENCE_LOOK_EVERY_NS;
	assert_true(patience_look_due(&w->p, w->now_ns));
	patience_look(&w->p, &system, w->now_ns);
	assert_false(patience_look_due(&w->p, w->now_ns));
}

static void assert_gives_way(struct world *w)
{
	assert_sleeps(w);
	w->now_ns += PATIENCE_YIELD_NS;
	assert_true(patience_plan(&w->p, &w->h, w->now_ns).spin_ns);
}

static void who_has_waited_for_the_cpu_gives_way_for_a_while(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 20, 5 * US, 0);
	look(&w, MS, MS, 0);
	assert_gives_way(&w);
}

static void who_was_put_off_the_cpu_gives_way_for_a_while(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 20, 5 * US, 0);
	look(&w, MS, 0, 5);
	assert_gives_way(&w);
}

static void one_short_delay_changes_nothing(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	live_often(&w, 20, 5 * US, 0);
	look(&w, MS, 50 * US, 1);
	assert_true(patience_plan(&w.p, &w.h, w.now_ns).spin_ns);
}

static void what_a_sleep_costs_is_measured(void **state)
{
	struct world w = world_new(PATIENCE_MEASURED, 10);

	for (unsigned i = 0; i < 50; i++) {
		for (unsigned k = 0; k < 10; k++)
			patience_slept(&w.p, 100 * US);
		look(&w, 10 * (100 + 4) * US, 0, 0);
	}
	assert_in_range(w.p.round_ns, 7 * US / 2, 9 * US / 2);
	assert_int_equal(w.p.price_ns, 2 * w.p.round_ns);
	for (unsigned i = 0; i < 50; i++) { /* nonsense is not believed */
		for (unsigned k = 0; k < 10; k++)
			patience_slept(&w.p, 0);
		look(&w, 9 * MS, 0, 0);
	}
	assert_true(w.p.round_ns <= PATIENCE_ROUND_MAX_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_knows_nothing_sleeps),
		cmocka_unit_test(work_that_comes_sooner_than_a_sleep_is_over_is_waited_for_awake),
		cmocka_unit_test(work_that_keeps_time_is_found_awake_for_little),
		cmocka_unit_test(naps_that_work_cuts_short_become_shorter),
		cmocka_unit_test(work_that_keeps_no_time_is_slept_for),
		cmocka_unit_test(work_that_comes_rarely_is_slept_for),
		cmocka_unit_test(long_gap_among_short_ones_changes_nothing),
		cmocka_unit_test(habits_are_given_up_within_eight_gaps),
		cmocka_unit_test(nobody_waits_awake_longer_than_allowed),
		cmocka_unit_test(budget_of_nothing_is_for_nothing),
		cmocka_unit_test(who_says_how_long_is_waited_for_as_long),
		cmocka_unit_test(waiting_in_vain_ends_with_the_budget),
		cmocka_unit_test(waiting_that_is_shorter_than_a_sleep_costs_no_budget),
		cmocka_unit_test(who_has_waited_for_the_cpu_gives_way_for_a_while),
		cmocka_unit_test(who_was_put_off_the_cpu_gives_way_for_a_while),
		cmocka_unit_test(one_short_delay_changes_nothing),
		cmocka_unit_test(what_a_sleep_costs_is_measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
