/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_PATIENCE_H
#define WORK_PATIENCE_H

/*
 * How an adaptive worker waits for its next work.
 *
 * To sleep and be woken costs the CPU some microseconds (round_ns, measured), and the work that wakes it about as
 * many again; to wait awake costs the CPU for as long as nothing comes. So a worker that has run dry
 *
 *   waits awake  where work has usually come within the price of a sleep,
 *   naps         where work has usually come at much the same time, later than that: it sleeps, and wakes by itself a
 *                moment before the time, to wait awake for a moment,
 *   sleeps       otherwise, until it is woken.
 *
 * What is usual is a habit: the last eight gaps that followed work of the same source. A source that does not
 * keep to its habits is slept for: to be waited for is earned.
 *
 * All waiting awake is paid out of a budget, which is a percentage of the time. Who finds work gets back what a sleep
 * would have cost, so that what pays for itself is not limited. When others have to wait for our CPU, or we for it,
 * nobody is waited for awake for a while: who sleeps gives way.
 *
 * One worker's, and no system call in here: times come from the caller, of any clock that goes on.
 */

#include "base/util.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PATIENCE_GAPS          8u
#define PATIENCE_USUAL         5u        /* of so many gaps so many are a habit, */
#define PATIENCE_ON_TIME       4u        /* and so many, when they are that much alike */
#define PATIENCE_AHEAD_LATES   2u        /* naps end at most so often their lateness earlier */
#define PATIENCE_ROUND_NS      8000u     /* what a sleep costs, until it has been measured, */
#define PATIENCE_ROUND_MIN_NS  2000u     /* and what a measurement may say */
#define PATIENCE_ROUND_MAX_NS  20000u
#define PATIENCE_NAP_MAX_NS    20000000u /* who wakes later than that has lost more than the moment */
#define PATIENCE_LOOK_EVERY_NS 10000000u /* how often it is to be looked whether others wait */
#define PATIENCE_YIELD_NS      50000000u /* how long nobody is waited for awake then */
#define PATIENCE_SAVED_NS      20000000u /* the budget of so much time may be saved up */

struct patience {
	/* Constant. */
	bool measured;    /* the price of a sleep is what it is; otherwise */
	uint32_t price_ns; /* it is said to be this; 0: nobody is ever waited for awake */
	unsigned percent;
	/* Learned. */
	uint32_t round_ns;
	uint32_t late_ns; /* how late naps end */
	int64_t budget_ns;
	uint64_t filled_ns; /* when the budget was filled last */
	/* Others that wait. */
	uint64_t looked_ns, yield_until_ns;
	uint64_t run_ns, delay_ns, preempted; /* at the last look */
	uint64_t awake_ns, sleeps;            /* since then */
};

/* What usually follows work of one source. All zeroes: nothing is known. */
struct habit {
	uint32_t gap_ns[PATIENCE_GAPS];
	uint8_t known, next; /* gaps that are known; the place of the next one */
	uint8_t soon;        /* so many of them were within a sleep's price */
	uint8_t due;         /* so many of them lie */
	uint32_t due_ns;     /* from here */
	uint32_t end_ns;     /* to there: the closest together, of those that were not soon */
	uint32_t ahead_ns;   /* naps end so much earlier, for work that has come before */
};

/* What is to be done when nothing has come. Times since the worker ran dry. */
struct patience_plan {
	uint64_t spin_ns;     /* wait awake so long, then sleep; */
	uint64_t nap_ns;      /* wake by yourself then (0: do not) */
	uint64_t nap_spin_ns; /* and wait awake until then */
};

#define PATIENCE_MEASURED UINT32_MAX

/* As users set it: 0 is what is usual (as long as a sleep costs, 10 percent of the time), PATIENCE_NEVER none. */
#define PATIENCE_NEVER UINT32_MAX
#define PATIENCE_PERCENT 10u

static inline uint32_t patience_setting(uint32_t set, uint32_t usual)
{
	if (set == PATIENCE_NEVER)
		return 0;
	return set ? set : usual;
}

/* How long to wait awake at most (PATIENCE_MEASURED: as long as a sleep costs), and how much of the time. */
static inline void patience_init(struct patience *p, uint64_t now_ns, uint32_t spin_us, unsigned percent)
{
	memset(p, 0, sizeof(*p));
	p->measured = spin_us == PATIENCE_MEASURED;
	p->price_ns = p->measured ? 2 * PATIENCE_ROUND_NS : min_u32(spin_us, 1000000) * 1000;
	p->percent = percent;
	p->round_ns = PATIENCE_ROUND_NS;
	p->late_ns = PATIENCE_ROUND_NS;
	p->filled_ns = p->looked_ns = now_ns;
}

/* How long is waited awake after a nap. */
static inline uint32_t patience_moment_ns(const struct patience *p)
{
	return min_u32(p->round_ns + p->round_ns / 2, p->price_ns);
}

/* ---- habits ---- */

static inline unsigned habit_sort(const struct habit *h, uint32_t *sorted)
{
	for (unsigned i = 0; i < h->known; i++) {
		unsigned at = i;

		for (; at && sorted[at - 1] > h->gap_ns[i]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = h->gap_ns[i];
	}
	return h->known;
}

/* Where do most gaps lie that are longer than the price, within a moment? */
static inline void habit_settle(const struct patience *p, struct habit *h)
{
	uint32_t sorted[PATIENCE_GAPS], moment_ns = patience_moment_ns(p);
	unsigned known = habit_sort(h, sorted), end = 0;

	h->soon = h->due = 0;
	while (h->soon < known && sorted[h->soon] <= p->price_ns)
		h->soon++;
	for (unsigned first = h->soon; first < known; first++) {
		while (end < known && sorted[end] - sorted[first] <= moment_ns)
			end++;
		if (end - first <= h->due)
			continue;
		h->due = (uint8_t)(end - first);
		h->due_ns = sorted[first];
		h->end_ns = sorted[first] + moment_ns;
	}
}

/* How the worker was found by its work. */
enum patience_found {
	PATIENCE_AWAKE,
	PATIENCE_ASLEEP,
	PATIENCE_DOZING, /* asleep, but it had been awake a moment before */
};

/* Work came earlier than the worker saw it. To be woken takes longer than to wake, and longer from a long sleep. */
static inline uint64_t patience_lag_ns(const struct patience *p, enum patience_found found)
{
	if (found == PATIENCE_AWAKE)
		return 0;
	return found == PATIENCE_ASLEEP ? 2 * p->late_ns : p->late_ns / 4;
}

/* Naps that work has cut short were too long. Four of five are to end in time, which makes the others short enough. */
static inline void habit_correct(const struct patience *p, struct habit *h, enum patience_found found)
{
	if (h->due < PATIENCE_ON_TIME)
		return;
	if (found == PATIENCE_ASLEEP)
		h->ahead_ns = min_u32(h->ahead_ns + p->late_ns / 4, PATIENCE_AHEAD_LATES * p->late_ns);
	else
		h->ahead_ns -= min_u32(h->ahead_ns, p->late_ns / 16);
}

/* The worker saw work so long after it had run dry. */
static inline void patience_learn(struct patience *p, struct habit *h, uint64_t gap_ns, enum patience_found found)
{
	habit_correct(p, h, found);
	gap_ns -= min_u64(gap_ns, patience_lag_ns(p, found));
	h->gap_ns[h->next] = (uint32_t)min_u64(gap_ns, UINT32_MAX / 2);
	h->next = (h->next + 1) % PATIENCE_GAPS;
	h->known += h->known < PATIENCE_GAPS;
	habit_settle(p, h);
}

/* ---- the budget ---- */

/* Others have been waiting for our CPU lately. */
static inline bool patience_yields(const struct patience *p, uint64_t now_ns)
{
	return now_ns < p->yield_until_ns;
}

static inline bool patience_allowed(struct patience *p, uint64_t now_ns)
{
	uint64_t since_ns = min_u64(now_ns - p->filled_ns, PATIENCE_SAVED_NS);
	int64_t most_ns = (int64_t)PATIENCE_SAVED_NS * p->percent / 100;

	p->filled_ns = now_ns;
	p->budget_ns += (int64_t)(since_ns * p->percent / 100);
	if (p->budget_ns > most_ns)
		p->budget_ns = most_ns;
	return p->price_ns && p->budget_ns > 0 && !patience_yields(p, now_ns);
}

/* So long the worker has waited awake, and has found work or has not. */
static inline void patience_pay(struct patience *p, uint64_t awake_ns, bool found)
{
	uint64_t saved_ns = found ? min_u64(awake_ns, p->round_ns) : 0;

	p->budget_ns -= (int64_t)(awake_ns - saved_ns);
}

/* The worker has run dry, after work of this source (NULL: not known). */
static inline struct patience_plan patience_plan(struct patience *p, const struct habit *h, uint64_t now_ns)
{
	struct patience_plan plan = {0};
	uint32_t early_ns = p->late_ns + p->late_ns / 4 + (h ? h->ahead_ns : 0);

	if (!h || h->known < PATIENCE_GAPS || !patience_allowed(p, now_ns))
		return plan;
	if (h->soon >= PATIENCE_USUAL) {
		plan.spin_ns = p->price_ns;
	} else if (h->due >= PATIENCE_ON_TIME && h->due_ns > early_ns + p->price_ns &&
		   h->due_ns <= PATIENCE_NAP_MAX_NS) {
		plan.nap_ns = h->due_ns - early_ns;
		plan.nap_spin_ns = min_u64(h->end_ns, plan.nap_ns + early_ns + p->price_ns);
	}
	return plan;
}

/* A nap has ended so much later than it was to. */
static inline void patience_napped(struct patience *p, uint64_t late_ns)
{
	p->late_ns = p->late_ns - p->late_ns / 8 + (uint32_t)min_u64(late_ns, 2 * p->late_ns + 1000) / 8;
}

/* ---- others ---- */

/* What the system says about this thread, since it began: how long it ran, waited for a CPU, how often it was put off it. */
struct patience_system {
	uint64_t run_ns, delay_ns, preempted;
};

/* The worker has slept, and was awake for so long before. */
static inline void patience_slept(struct patience *p, uint64_t awake_ns)
{
	p->awake_ns += awake_ns;
	p->sleeps++;
}

static inline bool patience_look_due(const struct patience *p, uint64_t now_ns)
{
	return now_ns - p->looked_ns >= PATIENCE_LOOK_EVERY_NS;
}

static inline void patience_measure_round(struct patience *p, uint64_t run_ns)
{
	uint64_t each_ns;

	if (p->sleeps < 4 || run_ns <= p->awake_ns)
		return;
	each_ns = min_u64((run_ns - p->awake_ns) / p->sleeps, PATIENCE_ROUND_MAX_NS);
	if (each_ns >= PATIENCE_ROUND_MIN_NS)
		p->round_ns = p->round_ns - p->round_ns / 8 + (uint32_t)each_ns / 8;
	if (p->measured)
		p->price_ns = 2 * p->round_ns; /* for the CPU, and as much for the work that wakes it */
}

/* Looks at what the system has to say: have others been waiting for our CPU? */
static inline void patience_look(struct patience *p, const struct patience_system *now, uint64_t now_ns)
{
	uint64_t interval_ns = now_ns - p->looked_ns, delay_ns = now->delay_ns - p->delay_ns;
	uint64_t preempted = now->preempted - p->preempted;

	if (delay_ns > interval_ns / 32 + p->sleeps * p->round_ns || preempted * PATIENCE_LOOK_EVERY_NS / 2 > interval_ns)
		p->yield_until_ns = max_u64(p->yield_until_ns, now_ns + PATIENCE_YIELD_NS);
	else
		patience_measure_round(p, now->run_ns - p->run_ns);
	p->run_ns = now->run_ns;
	p->delay_ns = now->delay_ns;
	p->preempted = now->preempted;
	p->looked_ns = now_ns;
	p->awake_ns = p->sleeps = 0;
}

#endif
