/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A worker goes round: say that nothing is held (RCU), take the published table, handle events and letters, have
 * each active source serve one burst. A source is
 *
 *   ACTIVE  asked in each round, and not armed
 *   ARMED   not touched at all until one of its fds tells of work
 *
 * A source is armed when it has had no work for a while though others had; all are when the worker has run dry, and has
 * waited awake for as long as that is worth it (wait.c). To arm is to ask once more whether there is work, since
 * it may have come between the last burst and the arming. All fds are in the worker's epoll for good,
 * edge-triggered and never read: work costs no system call but the epoll_wait, and what came
 * while the source was active is at worst one needless wake-up. So an idle source costs a busy worker nothing.
 *
 * The worker sleeps in epoll_wait when no source is active: without a timeout, or for a nap. At the end of a nap the sources
 * that were armed for it are active again, for a moment. Asleep it is off-line for RCU, so sources
 * can be removed without waking it. Who adds a source or a letter raises wake_fd after the fact is published; the
 * event stays pending until a later epoll_wait sees it, so none is lost.
 *
 * While off-line the worker holds no pointer into the table: events name slots, and are handled in the next
 * round, on the table of then. Slots are used again only a grace period after their source went.
 *
 * The worker's owner may have something to do at a time of its own (due_ns): no sleep is longer than until then.
 *
 * A worker that polls never sleeps. What has been silent for long is asked in some rounds only, a few in each: one that speaks again is heard of
 * within SILENT_TURN_NS, SILENT_STEP_NS and a round, however long rounds are. To ask costs a thousand cycles and more, since nothing of the source is
 * in a near cache by then. So what is silent for LEAVE_NS beside others that are not is armed, and heard of within PEEK_RARELY_NS, SILENT_STEP_NS
 * and a round. When all others have become silent, those that were armed are asked again, by and by; all are asked in each round then. What expects
 * something is neither asked seldom nor armed.
 *
 * A source without an fd cannot be armed. When nothing but such sources is active and all are idle, the worker
 * sleeps a little between rounds, longer and longer; fds and letters still wake it.
 */

#include "work/worker.h"
#include "base/fd.h"
#include "work/rcu.h"
#include "work/thread.h"
#include "work/worker_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOCK_ROUNDS  16u /* rounds between two looks at the clock */
#define KEEP_NS	      (50u * NS_PER_US) /* so long a source without work stays active while others have some */
#define SILENT_NS     (10u * NS_PER_MS) /* polled: after so long without work it is asked once in */
#define SILENT_TURN_NS NS_PER_MS	/* so long, */
#define SILENT_STEP_NS (SILENT_TURN_NS / 8) /* some of them each time that so long has passed, */
#define SILENT_ROUNDS  16u		/* or so many rounds; */
#define LEAVE_NS       (100u * NS_PER_MS) /* after so long it is armed, while others have work, */
#define RECALL_SLOTS   32u		/* and when none has, so many slots are searched in a round for what was armed */

void worker_clock_read(struct worker *worker)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	worker->now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	worker->now_s = (uint32_t)now.tv_sec;
}

/* ---- states of a source ---- */

/* How many are asked in each round: the first ones. */
static inline unsigned asked_count(const struct worker *worker)
{
	return worker->active_count - worker->silent_count;
}

static void swap(struct worker *worker, unsigned a, unsigned b)
{
	struct source *source = worker->active[a];

	worker->active[a] = worker->active[b];
	worker->active[b] = source;
}

static void source_disarm(struct source *source)
{
	source->state = SOURCE_ACTIVE;
	source->resting = false;
	source->ops->arm(source, false);
}

/* The first silent one makes room, and becomes the last: the turn comes to each after the same one as before. */
static void source_activate(struct worker *worker, struct source *source)
{
	source_disarm(source);
	source->idle_since_ns = 0;
	worker->active[worker->active_count++] = source;
	if (likely(!worker->silent_count))
		return;
	swap(worker, worker->active_count - 1, asked_count(worker) - 1);
	if (++worker->silent_next >= worker->silent_count)
		worker->silent_next = 0;
}

/* Takes a source out of the active ones. Silent ones are the last, and stay in their order, so that each has its turn in time. */
static void source_deactivate(struct worker *worker, unsigned at, enum source_state state)
{
	struct source *source = worker->active[at];
	unsigned asked = asked_count(worker), last = --worker->active_count;

	source->state = state;
	worker->resting_count -= source->resting;
	source->resting = false;
	if (at < asked) {
		worker->active[at] = worker->active[asked - 1];
		worker->active[asked - 1] = worker->active[last];
	} else {
		memmove(&worker->active[at], &worker->active[at + 1], (last - at) * sizeof(*worker->active));
		worker->silent_count--;
	}
}

/* Polled. True: it is asked in each round, as it was. */
static bool source_listened_to(struct worker *worker, unsigned at)
{
	struct source *source = worker->active[at];

	if (!source->idle_since_ns) {
		worker_clock_read(worker); /* what it said may be many long rounds old */
		source->idle_since_ns = worker->now_ns;
	}
	if (worker->now_ns - source->idle_since_ns < SILENT_NS)
		return true;
	if (source->ops->expects && source->ops->expects(source)) {
		source->idle_since_ns = worker->now_ns;
		return true;
	}
	swap(worker, at, asked_count(worker) - 1);
	worker->silent_count++;
	return false;
}

bool worker_arm(struct worker *worker, unsigned at)
{
	struct source *source = worker->active[at];

	if (source->ops->arm(source, true)) {
		source->ops->arm(source, false);
		source->idle_since_ns = 0;
		return true;
	}
	source_deactivate(worker, at, SOURCE_ARMED);
	worker->armed_count++;
	return false;
}

/* No work. True: the source is still at this place among the active ones. */
static bool source_idle(struct worker *worker, unsigned at)
{
	struct source *source = worker->active[at];

	if (worker->poll)
		return source_listened_to(worker, at);
	if (source->resting)
		return true;
	if (!source->idle_since_ns) {
		worker_clock_read(worker); /* what it said may be many busy rounds old */
		source->idle_since_ns = worker->now_ns;
		return true;
	}
	if (worker->now_ns - source->idle_since_ns < worker->keep_ns)
		return true;
	if (!source->unarmed)
		return worker_arm(worker, at);
	source->resting = true;
	worker->resting_count++;
	return true;
}

static void source_busy(struct worker *worker, struct source *source)
{
	source->idle_since_ns = 0;
	worker->served = source;
	if (unlikely(source->resting)) {
		source->resting = false;
		worker->resting_count--;
		worker->rest_ns = REST_NS_MIN;
	}
}

static void source_dead(struct worker *worker, unsigned at)
{
	struct source *source = worker->active[at];

	source_unwatch(source);
	source_deactivate(worker, at, SOURCE_DEAD);
}

/* ---- a round ---- */

/* Sources came or went: builds the list of active ones anew. The old list and sources that went are not touched. */
static void table_adopt(struct worker *worker)
{
	const struct work_list *mine = &worker->table->lists[worker->index];

	worker->version = worker->table->version;
	worker->active = mine->active;
	worker->active_count = 0;
	worker->armed_count = 0;
	worker->resting_count = 0;
	worker->napping_count = 0;
	worker->silent_count = worker->silent_next = 0; /* soon again: they have been idle for as long as they have */
	worker->served = worker->dry_after = NULL;
	for (uint32_t slot = 0; slot < mine->slot_count; slot++) {
		struct source *source = mine->slots[slot];

		if (!source || source->state == SOURCE_DEAD)
			continue;
		if (source->state == SOURCE_NEW) {
			source_activate(worker, source);
		} else if (source->state == SOURCE_ACTIVE) {
			worker->active[worker->active_count++] = source;
			worker->resting_count += source->resting;
		} else {
			worker->armed_count++;
		}
	}
}

/* Who tells of work has waited for it, and is asked before those that have had work all the time. */
static void events_handle(struct worker *worker)
{
	const struct work_list *mine = &worker->table->lists[worker->index];
	unsigned first = 0;

	for (int i = 0; i < worker->event_count; i++) {
		uint32_t slot = worker->events[i].data.u32;
		struct source *source = slot < mine->slot_count ? mine->slots[slot] : NULL;

		if (source)
			counter_add(&source->called, 1);
		if (!source || source->state != SOURCE_ARMED)
			continue;
		worker->armed_count--;
		worker->napping_count = 0; /* where they are listed is needed */
		source_activate(worker, source);
		swap(worker, first++, asked_count(worker) - 1);
	}
	worker->event_count = 0;
}

void worker_resume(struct worker *worker, struct source *source)
{
	if (source->state != SOURCE_ARMED)
		return;
	worker->armed_count--;
	worker->napping_count = 0; /* where they are listed is needed */
	source_activate(worker, source);
}

/* A nap is over: what was armed for it is active again, at the place where it still is listed. */
static void nap_end(struct worker *worker)
{
	unsigned count = worker->napping_count;

	worker->napping_count = 0;
	worker->armed_count -= count;
	for (unsigned at = 0; at < count; at++)
		source_activate(worker, worker->active[at]);
}

static __attribute__((noinline)) void due_look(struct worker *worker)
{
	worker_clock_read(worker);
	if (worker->now_ns < worker->due_ns)
		return;
	worker->due_ns = 0;
	worker->due(worker);
}

static void round_begin(struct worker *worker)
{
	rcu_quiet(worker->rcu_key);
	/* Pairs with the release of who publishes. */
	worker->table = __atomic_load_n(worker->published, __ATOMIC_ACQUIRE);
	if (unlikely(worker->table->version != worker->version))
		table_adopt(worker);
	if (!(worker->stats.loops % CLOCK_ROUNDS))
		worker_clock_read(worker);
	if (unlikely(worker->due_ns))
		due_look(worker);
	if (worker->event_count)
		events_handle(worker);
	else if (worker->napping_count)
		nap_end(worker);
	if (unlikely(letters_wait(&worker->letters)))
		letters_deliver(&worker->letters);
	counter_add(&worker->stats.loops, 1);
}

/* The one that is served after this place; NULL: it is the only one. */
static inline struct source *source_next(const struct worker *worker, unsigned at)
{
	unsigned next = at + 1 < asked_count(worker) ? at + 1 : 0;

	return next != at ? worker->active[next] : NULL;
}

struct round {
	uint64_t began, before, busy_cycles;
	unsigned served;
};

/* One burst, and what it took. Returns what serve() does. */
static inline int source_serve(struct worker *worker, struct source *source, struct source *next, struct round *round)
{
	uint64_t now, took;
	int count;

	__atomic_store_n(&worker->serving, source, __ATOMIC_RELAXED);
	__atomic_store_n(&worker->serving_since, round->before, __ATOMIC_RELEASE); /* pairs with the acquire of who looks */
	count = source->ops->serve(worker, source, next);
	__atomic_store_n(&worker->serving_since, 0, __ATOMIC_RELEASE); /* before the clock: who looked before that finds a burst that is no longer than ours */
	now = cycles_now();
	took = now - round->before;
	round->before = now;
	if (unlikely(took > worker->long_cycles)) {
		worker->took_long(worker, source, took);
		worker_clock_read(worker); /* CLOCK_ROUNDS of those are too long for who waits to be seen: round_end() */
	}
	if (likely(count > 0)) {
		round->busy_cycles += took;
		counter_add(&source->busy_cycles, took);
		source_busy(worker, source);
		round->served += (unsigned)count;
	}
	return count;
}

/* So long that silent ones wait no more rounds: by the owner's limit of what is long, or, where there is none, by what a step has been measured to take. */
static inline bool round_is_long(const struct worker *worker, const struct round *round)
{
	if (worker->took_long)
		return round->before - round->began > worker->long_cycles;
	return round->before - worker->silent_asked_cycles >= worker->silent_step_cycles;
}

/* Are silent ones to be asked in this round? At once where there is nobody whom that holds up, or where the round has been long. */
static bool silent_due(struct worker *worker, const struct round *round)
{
	return ++worker->silent_rounds >= worker->silent_wait || !asked_count(worker) || round_is_long(worker, round);
}

/*
 * How many of them: all, where nobody else is there. Beside others as many as are owed since some were asked, so that each is asked once in a
 * turn. The next ones are asked after as many rounds as take SILENT_STEP_NS, if they are as long as the last ones.
 */
static unsigned silent_asks(struct worker *worker, const struct round *round)
{
	uint64_t passed_ns, owed, rounds = worker->silent_rounds, cycles = round->before - worker->silent_asked_cycles;

	worker->silent_rounds = 0;
	if (!asked_count(worker))
		return worker->silent_count;
	worker_clock_read(worker);
	passed_ns = min_u64(worker->now_ns - worker->silent_asked_ns, SILENT_TURN_NS);
	worker->silent_asked_ns = worker->now_ns;
	worker->silent_asked_cycles = round->before;
	if (passed_ns && passed_ns < SILENT_TURN_NS) /* longer ones tell nothing: they were cut off above */
		worker->silent_step_cycles = cycles * SILENT_STEP_NS / passed_ns;
	worker->silent_wait = passed_ns ? (unsigned)min_u64(rounds * SILENT_STEP_NS / passed_ns, SILENT_ROUNDS) : SILENT_ROUNDS;
	owed = worker->silent_owed + worker->silent_count * passed_ns;
	worker->silent_owed = owed % SILENT_TURN_NS;
	return min_u32(worker->silent_count, (unsigned)(owed / SILENT_TURN_NS));
}

/* Where the silent one is whose turn it is after so many others. */
static inline unsigned silent_at(const struct worker *worker, unsigned others)
{
	unsigned next = worker->silent_next + others;

	return worker->active_count - 1 - (next < worker->silent_count ? next : next - worker->silent_count);
}

/* It takes the first place among the silent ones, from where all are asked; who was there comes to its place, and is asked next: none is passed over. */
static void silent_speaks(struct worker *worker, unsigned at)
{
	swap(worker, at, asked_count(worker));
	worker->silent_count--;
}

/* Was asked in vain, and is not asked again before its next turn; or, if it has been silent that long, before its notifier says so. */
static void silent_stays(struct worker *worker, unsigned at)
{
	const struct source *source = worker->active[at];

	if (source->unarmed || !asked_count(worker) || worker->now_ns - source->idle_since_ns < LEAVE_NS)
		worker->silent_next++;
	else if (worker_arm(worker, at))
		silent_speaks(worker, at);
}

/* All others are silent: what was armed beside them is asked again, and armed again as soon as one of them speaks. */
static void silent_recall(struct worker *worker)
{
	const struct work_list *mine = &worker->table->lists[worker->index];

	for (unsigned i = 0; i < RECALL_SLOTS && worker->armed_count; i++) {
		uint32_t slot = worker->recall_slot < mine->slot_count ? worker->recall_slot : 0;
		struct source *source = mine->slots[slot];

		worker->recall_slot = slot + 1;
		if (!source || source->state != SOURCE_ARMED)
			continue;
		source_disarm(source);
		worker->armed_count--;
		worker->active[worker->active_count++] = source;
		worker->silent_count++;
	}
}

/* Some of the silent ones, in turn. What the next one will look at is not in the caches: it is fetched meanwhile. */
static __attribute__((noinline)) void silent_ask(struct worker *worker, struct round *round)
{
	unsigned asks;

	if (!asked_count(worker))
		silent_recall(worker);
	asks = silent_due(worker, round) ? silent_asks(worker, round) : 0;
	for (; asks && worker->silent_count; asks--) {
		struct source *next = asks > 1 && worker->silent_count > 1 ? worker->active[silent_at(worker, 1)] : NULL;
		unsigned at = silent_at(worker, 0);
		int count = source_serve(worker, worker->active[at], next, round);

		if (count > 0)
			silent_speaks(worker, at);
		else if (count < 0)
			source_dead(worker, at);
		else
			silent_stays(worker, at);
		if (worker->silent_next >= worker->silent_count)
			worker->silent_next = 0;
	}
}

static unsigned round_sources(struct worker *worker)
{
	struct round round = {.began = cycles_now()};
	unsigned at = 0;

	round.before = round.began;
	while (at < asked_count(worker)) {
		int count = source_serve(worker, worker->active[at], source_next(worker, at), &round);

		if (likely(count > 0) || (!count && source_idle(worker, at)))
			at++;
		else if (count < 0)
			source_dead(worker, at);
	}
	if (unlikely(worker->silent_count || (worker->poll && worker->armed_count)))
		silent_ask(worker, &round);
	counter_add(&worker->stats.busy_cycles, round.busy_cycles);
	return round.served;
}

static void round_end(struct worker *worker, unsigned served)
{
	if (served) {
		counter_add(&worker->stats.busy_loops, 1);
		counter_add(&worker->stats.served, served);
		if (worker->dry_since_ns)
			wait_over(worker);
	} else if (worker->active_count && !worker->poll) {
		wait_dry(worker);
	}
	if (!worker->active_count && !(worker->poll && worker->armed_count)) /* who polls looks for those first */
		wait_asleep(worker);
	else if (worker->resting_count && worker->resting_count == worker->active_count)
		wait_resting(worker);
	else if (worker->armed_count && worker->now_ns - worker->events_checked_ns >= worker->peek_ns)
		wait_peek(worker);
}

static void *worker_main(void *opaque)
{
	struct worker *worker = opaque;

	worker->schedstat_fd = thread_system_open();
	if (worker->watch)
		__atomic_store_n(&worker->state_fd, thread_state_open(), __ATOMIC_RELAXED);
	worker_clock_read(worker);
	worker->woke_ns = worker->now_ns;
	patience_init(&worker->patience, worker->now_ns, worker->spin_us, worker->spin_percent);
	rcu_worker_begin();
	while (!__atomic_load_n(&worker->stop, __ATOMIC_ACQUIRE)) {
		round_begin(worker);
		round_end(worker, round_sources(worker));
	}
	rcu_worker_end(worker->rcu_key);
	fd_close(&worker->schedstat_fd);
	fd_close(&worker->state_fd);
	return NULL;
}

/* ---- control thread ---- */

int worker_init(struct worker *worker, const struct worker_config *config)
{
	memset(worker, 0, sizeof(*worker));
	worker->published = config->published;
	worker->rcu_key = config->rcu_key;
	worker->took_long = config->took_long;
	worker->due = config->due;
	worker->watch = config->watch;
	worker->long_cycles = config->took_long ? config->long_cycles : UINT64_MAX;
	worker->index = config->index;
	worker->cpu = config->cpu;
	worker->poll = config->poll;
	worker->spin_us = patience_setting(config->spin_us, PATIENCE_MEASURED);
	worker->spin_percent = patience_setting(config->spin_percent, PATIENCE_PERCENT);
	strncpy(worker->name, config->name, sizeof(worker->name) - 1);
	worker->keep_ns = KEEP_NS;
	if (worker->spin_us != PATIENCE_MEASURED && (uint64_t)worker->spin_us * NS_PER_US > KEEP_NS)
		worker->keep_ns = (uint64_t)worker->spin_us * NS_PER_US;
	worker->rest_ns = REST_NS_MIN;
	worker->peek_ns = PEEK_NS;
	worker->epoll_fd = worker->wake_fd = worker->schedstat_fd = worker->state_fd = -1;
	return worker_watch_wakes(worker);
}

int worker_start(struct worker *worker)
{
	return thread_start(&worker->thread, worker->name, worker->cpu, worker_main, worker);
}

void worker_stop(struct worker *worker)
{
	__atomic_store_n(&worker->stop, true, __ATOMIC_RELEASE);
	worker_wake(worker);
	pthread_join(worker->thread, NULL);
}

static void letters_drop(struct worker *worker)
{
	struct vireo_letter *each = letters_take(&worker->letters), *next;

	for (; each; each = next) {
		struct worker_letter *letter = container_of(each, struct worker_letter, letter);

		next = each->next;
		letter->drop(letter);
	}
}

void worker_fini(struct worker *worker)
{
	letters_drop(worker);
	fd_close(&worker->wake_fd);
	fd_close(&worker->epoll_fd);
	free(worker->slots);
}

void worker_wake(struct worker *worker)
{
	fd_event_raise(worker->wake_fd);
}

void worker_post(struct worker *worker, struct worker_letter *letter)
{
	letter->worker = worker;
	letters_post(&worker->letters, &letter->letter);
	worker_wake(worker);
}
