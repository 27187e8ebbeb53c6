/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Busy.  A worker that was busy for FULL of the time, in FULL_LOOKS looks one after the other, gives one source to a worker that has room: with it that
 *        one is busy for ROOM at most, and the busier one of both is less busy by GAIN than the full one was. So a source that fills a
 *        worker alone stays, and what was moved does not come back by itself: who got it was not full with it. If its load
 *        grows where it has more time, and fills that one, too, the worker that it came from has no room for it, since its other sources have grown
 *        as well. Loads that come and go could still move a source to and fro: it rests REST after a move, and twice as long after each
 *        further one. GAP lies between two moves: a look has seen what the last one did.
 * CPUs.  What a worker has that has lost its CPU goes to others at once, and back when it has had one for SETTLE.
 * Nodes. A source whose memory lies on another node than its worker's CPU goes to a worker there that has room. When there is none with
 *        room it stays, and moves as all others do.
 *
 * A source that is kept takes no part, but its load counts.
 */

#include "work/balance.h"
#include "base/util.h"
#include <stddef.h>

#define SECOND_NS  UINT64_C(1000000000)
#define FULL	   700u
#define FULL_LOOKS 3u
#define ROOM	   650u /* less than FULL: what was moved does not make full */
#define GAIN	   50u
#define GAP_NS	   (10 * SECOND_NS)
#define REST_NS	   (30 * SECOND_NS)
#define RESTS_MAX  7u /* the longest is 32 minutes */
#define SETTLE_NS  (10 * SECOND_NS)

struct look {
	struct balance *balance;
	uint64_t now_ns;
	struct balance_source *const *sources;
	unsigned count;
	struct balance_move *moves;
	unsigned move_count, max;
};

/* ---- what a source has behind it ---- */

static uint64_t rest_ns(const struct balance_source *source)
{
	return source->moves ? REST_NS << (min_u32(source->moves, RESTS_MAX) - 1) : 0;
}

static bool rested(const struct look *look, const struct balance_source *source)
{
	return look->now_ns - source->moved_ns >= rest_ns(source);
}

static void move(struct look *look, struct balance_source *source, unsigned to, enum balance_why why)
{
	struct balance_worker *workers = look->balance->workers, *from = &workers[source->worker];
	bool long_ago = look->now_ns - source->moved_ns > 4 * rest_ns(source);

	look->moves[look->move_count++] = (struct balance_move){source, to, why, from->busy, workers[to].busy, source->moves, source->driven_from};
	source->moves = long_ago ? 1 : source->moves + 1;
	source->moved_ns = look->now_ns;
	/* What comes next in this look goes by what will be. */
	from->busy -= min_u32(from->busy, source->load);
	from->sources -= from->sources != 0;
	workers[to].busy += source->load;
	workers[to].sources++;
}

/* ---- workers ---- */

static void workers_note(const struct look *look)
{
	for (unsigned i = 0; i < look->balance->worker_count; i++) {
		struct balance_worker *worker = &look->balance->workers[i];

		worker->full_looks = worker->there && worker->busy >= FULL ? worker->full_looks + 1 : 0;
		if (worker->there && worker->was_away)
			worker->back_ns = look->now_ns;
		worker->was_away = !worker->there;
	}
}

static bool has_room(const struct balance_worker *worker, const struct balance_source *source)
{
	return worker->there && worker->busy + source->load <= ROOM;
}

static bool is_near(const struct balance_worker *worker, int node)
{
	return node >= 0 && worker->node == node;
}

/* a rather than b. */
static bool is_better(const struct balance_worker *a, const struct balance_worker *b, int node)
{
	if (is_near(a, node) != is_near(b, node))
		return is_near(a, node);
	return a->busy != b->busy ? a->busy < b->busy : a->sources < b->sources;
}

/* ---- CPUs ---- */

/* NULL: nobody has a CPU. */
static struct balance_worker *refuge(const struct balance *balance, int node)
{
	struct balance_worker *best = NULL;

	for (unsigned i = 0; i < balance->worker_count; i++) {
		struct balance_worker *worker = &balance->workers[i];

		if (worker->there && (!best || is_better(worker, best, node)))
			best = worker;
	}
	return best;
}

static void drive_out(struct look *look, struct balance_source *source)
{
	const struct balance_worker *to = refuge(look->balance, source->node);
	unsigned from = source->worker;

	if (!to)
		return;
	move(look, source, (unsigned)(to - look->balance->workers), BALANCE_CPU_GONE);
	if (!source->driven_from)
		source->driven_from = from + 1;
}

static void go_back(struct look *look, struct balance_source *source)
{
	unsigned home = source->driven_from - 1;
	const struct balance_worker *worker = &look->balance->workers[home];

	if (home == source->worker) {
		source->driven_from = 0;
	} else if (worker->there && look->now_ns - worker->back_ns >= SETTLE_NS) {
		move(look, source, home, BALANCE_CPU_BACK);
		source->driven_from = 0;
	}
}

static void cpus_look(struct look *look)
{
	for (unsigned i = 0; i < look->count && look->move_count < look->max; i++) {
		struct balance_source *source = look->sources[i];

		if (source->kept)
			source->driven_from = 0;
		else if (!look->balance->workers[source->worker].there)
			drive_out(look, source);
		else if (source->driven_from)
			go_back(look, source);
	}
}

/* ---- nodes ---- */

static void node_look(struct look *look, struct balance_source *source)
{
	const struct balance *balance = look->balance;
	const struct balance_worker *best = NULL;

	for (unsigned i = 0; i < balance->worker_count; i++) {
		const struct balance_worker *worker = &balance->workers[i];

		if (worker->node == source->node && has_room(worker, source) && (!best || is_better(worker, best, source->node)))
			best = worker;
	}
	if (!best)
		return;
	move(look, source, (unsigned)(best - balance->workers), BALANCE_MEMORY);
	source->driven_from = 0; /* where it belongs is told by its memory now */
}

static void nodes_look(struct look *look)
{
	for (unsigned i = 0; i < look->count && look->move_count < look->max; i++) {
		struct balance_source *source = look->sources[i];
		int node = look->balance->workers[source->worker].node;

		if (!source->kept && source->node >= 0 && node >= 0 && node != source->node && rested(look, source))
			node_look(look, source);
	}
}

/* ---- load ---- */

struct choice {
	struct balance_source *source; /* NULL: none */
	unsigned to, gain, left; /* left: of the room there */
	bool near;
};

/* On the node of its memory; else what helps the full worker most; else where most room is left. */
static bool is_better_choice(const struct choice *a, const struct choice *b)
{
	if (!b->source || a->near != b->near)
		return !b->source || a->near;
	return a->gain != b->gain ? a->gain > b->gain : a->left > b->left;
}

static void choose_target(const struct look *look, struct balance_source *source, struct choice *best)
{
	const struct balance_worker *workers = look->balance->workers, *from = &workers[source->worker];
	unsigned left = from->busy - min_u32(from->busy, source->load);

	for (unsigned i = 0; i < look->balance->worker_count; i++) {
		unsigned with = workers[i].busy + source->load, after = (unsigned)max_u64(with, left);
		struct choice choice = {source, i, .near = source->node < 0 || workers[i].node == source->node};

		if (i == source->worker || !has_room(&workers[i], source) || from->busy < after + GAIN)
			continue;
		choice.gain = from->busy - after;
		choice.left = ROOM - with;
		if (is_better_choice(&choice, best))
			*best = choice;
	}
}

static void loads_look(struct look *look)
{
	struct balance *balance = look->balance;
	struct choice best = {0};

	if (balance->moved_ns && look->now_ns - balance->moved_ns < GAP_NS)
		return;
	for (unsigned i = 0; i < look->count; i++) {
		struct balance_source *source = look->sources[i];

		if (!source->kept && source->load && balance->workers[source->worker].full_looks >= FULL_LOOKS && rested(look, source))
			choose_target(look, source, &best);
	}
	if (!best.source)
		return;
	move(look, best.source, best.to, BALANCE_BUSY);
	best.source->driven_from = 0; /* where it belongs is told by loads now */
	balance->moved_ns = look->now_ns;
}

unsigned balance_look(struct balance *balance, uint64_t now_ns, struct balance_source *const *sources, unsigned count,
		      struct balance_move *moves, unsigned max)
{
	struct look look = {balance, now_ns, sources, count, moves, 0, max};

	workers_note(&look);
	cpus_look(&look);
	if (!look.move_count)
		nodes_look(&look);
	if (!look.move_count)
		loads_look(&look);
	return look.move_count;
}

/* The first rest remains: it has been tried. */
void balance_undone(const struct balance_move *move)
{
	move->source->moves = (unsigned)max_u64(move->moves, 1);
	move->source->driven_from = move->driven_from;
}

static bool is_roomier(const struct balance_worker *a, const struct balance_worker *b, int node)
{
	if (a->there != b->there)
		return a->there;
	return is_near(a, node) != is_near(b, node) ? is_near(a, node) : a->sources < b->sources;
}

unsigned balance_place(const struct balance *balance, int node)
{
	unsigned best = 0;

	for (unsigned i = 1; i < balance->worker_count; i++)
		if (is_roomier(&balance->workers[i], &balance->workers[best], node))
			best = i;
	return best;
}
