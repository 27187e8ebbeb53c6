/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Each second the control thread reads how long each worker was busy, and with which of its in queues (both counted by the worker, work/worker.c),
 * and whether it has a CPU; asks the policy (work/balance.c) what should move, and moves it (port_move.c), with a line for each. A queue that somebody
 * has moved by hand, or by its port's worker=, stays (sw_port.home).
 *
 * A worker that is pinned has lost its CPU when that is off-line or taken from the process (work/places.c). Where workers are not pinned, the kernel
 * finds CPUs for them; if all of them together may run on fewer than at the start, and than workers, the last workers are left without queues, since two that poll
 * on one CPU wait for each other.
 *
 * Where workers are pinned to CPUs of several nodes, they leave the address of a frame with each in queue whose frames lie in a peer's memory. The control
 * thread asks the kernel for the node of that page (work/nodes.c), which touches nothing and may be asked of memory that is gone; what
 * most answers say is where the queue's memory lies.
 */

#include "switch/spread.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/port.h"
#include "work/balance.h"
#include "work/nodes.h"
#include "work/places.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS	  1000u
#define MOVES_MAX 16u /* in one look */

struct spread_worker {
	uint64_t busy_seen; /* the worker's busy_cycles at the last look */
	uint64_t moved_in, moved_out;
	unsigned busy; /* thousandths */
};

struct spread {
	struct sw *sw;
	struct loop_timer *timer;
	struct balance balance;
	struct spread_worker *workers;
	unsigned look_ms;
	unsigned cpus_begun; /* CPUs that the process had at the start, and so the workers */
	nodes_ask_fn *ask; /* NULL: there is one node for all workers, as far as is known */
	uint64_t looked_cycles;
	struct balance_source **list; /* of this look */
	unsigned list_room;
};

/* ---- what is told to the policy ---- */

/* Of the time since the last look. A thread that counts at this moment may have said a little more than there was. */
static unsigned share(uint64_t cycles, uint64_t interval_cycles)
{
	return interval_cycles ? (unsigned)min_u64(cycles * 1000 / interval_cycles, 1000) : 0;
}

/* CPUs that the workers may run on; 1 or more. */
static unsigned cpus_count(const struct spread *spread)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < spread->sw->worker_count; i++)
		worker_places_add(&spread->sw->forwarders[i]->worker, &set);
	return CPU_COUNT(&set) ? (unsigned)CPU_COUNT(&set) : 1;
}

static bool has_cpu(const struct spread *spread, unsigned index, unsigned cpus)
{
	const struct worker *worker = &spread->sw->forwarders[index]->worker;

	if (worker->cpu >= 0)
		return worker_has_cpu(worker, spread->balance.workers[index].there);
	return index < cpus || cpus >= min_u32(spread->cpus_begun, spread->sw->worker_count);
}

static void cpu_tell(const struct spread *spread, unsigned index, bool there)
{
	const struct worker *worker = &spread->sw->forwarders[index]->worker;
	const struct vireo_log *log = &spread->sw->log;

	if (worker->cpu >= 0 && there)
		log_info(log, "worker %u: CPU %d is there again: the queues that it had come back", index, worker->cpu);
	else if (worker->cpu >= 0)
		log_warning(log, "worker %u: CPU %d is gone: its queues go to other workers", index, worker->cpu);
	else if (there)
		log_info(log, "worker %u: there are CPUs enough for it again", index);
	else
		log_warning(log, "worker %u: there are fewer CPUs than workers: its queues go to others", index);
}

static void workers_read(struct spread *spread, uint64_t interval_cycles)
{
	unsigned cpus = cpus_count(spread);

	for (unsigned i = 0; i < spread->sw->worker_count; i++) {
		const struct worker *worker = &spread->sw->forwarders[i]->worker;
		struct balance_worker *told = &spread->balance.workers[i];
		uint64_t busy = counter_read(&worker->stats.busy_cycles);
		bool there = has_cpu(spread, i, cpus);

		if (there != told->there)
			cpu_tell(spread, i, there);
		told->there = there;
		told->busy = spread->workers[i].busy = share(busy - spread->workers[i].busy_seen, interval_cycles);
		told->sources = worker->source_count;
		spread->workers[i].busy_seen = busy;
	}
}

static bool list_fits(struct spread *spread)
{
	struct balance_source **list;
	unsigned count = 0;

	for (unsigned i = 0; i < spread->sw->worker_count; i++)
		count += spread->sw->forwarders[i]->worker.source_count;
	if (count <= spread->list_room)
		return true;
	list = realloc(spread->list, 2 * count * sizeof(*list));
	if (!list)
		return false;
	spread->list = list;
	spread->list_room = 2 * count;
	return true;
}

static void node_read(const struct spread *spread, struct in_queue *in)
{
	void *sample = __atomic_load_n(&in->sample, __ATOMIC_RELAXED);
	int node;

	if (sample && !spread->ask(1, &sample, &node))
		nodes_vote(&in->vote, node);
}

static void queue_read(const struct spread *spread, struct in_queue *in, unsigned worker, uint64_t interval_cycles)
{
	uint64_t busy = counter_read(&in->source.busy_cycles);

	in->balance.worker = worker;
	in->balance.kept = in->port->home[in->number];
	if (spread->ask)
		node_read(spread, in);
	in->balance.node = nodes_voted(&in->vote);
	in->balance.load = share(busy - in->busy_seen, interval_cycles);
	in->busy_seen = busy;
}

/* Returns how many queues there are, in spread->list; 0 without memory for it. */
static unsigned queues_read(struct spread *spread, uint64_t interval_cycles)
{
	unsigned count = 0;

	if (!list_fits(spread))
		return 0;
	for (unsigned i = 0; i < spread->sw->worker_count; i++) {
		const struct worker *worker = &spread->sw->forwarders[i]->worker;

		for (unsigned slot = 0; slot < worker->slot_count; slot++) {
			struct in_queue *in = worker->slots[slot] ? container_of(worker->slots[slot], struct in_queue, source) : NULL;

			if (!in || in->queue.removing)
				continue;
			queue_read(spread, in, i, interval_cycles);
			spread->list[count++] = &in->balance;
		}
	}
	return count;
}

/* ---- and what it answers ---- */

static void move_tell(const struct spread *spread, const struct in_queue *in, const struct balance_move *m, unsigned from)
{
	static const char *const whys[] = {
		[BALANCE_CPU_GONE] = "its worker has no CPU",
		[BALANCE_CPU_BACK] = "that one has its CPU again",
		[BALANCE_MEMORY] = "its memory is there",
	};
	const struct vireo_log *log = &spread->sw->log;

	if (m->why == BALANCE_BUSY)
		log_info(log, "port %s: queue %u goes from worker %u, which is %u %% busy, to worker %u, which is %u %% busy", in->port->name,
			 in->number, from, m->busy_from / 10, m->to, m->busy_to / 10);
	else
		log_info(log, "port %s: queue %u goes from worker %u to worker %u: %s", in->port->name, in->number, from, m->to, whys[m->why]);
}

static void stays(const struct spread *spread, struct in_queue *in, const struct balance_move *m, int err)
{
	balance_undone(m);
	if (in->stuck)
		return;
	in->stuck = true;
	log_warning(&spread->sw->log, "port %s: queue %u stays with worker %u until it can go to worker %u: %s", in->port->name, in->number,
		    in->source.worker->index, m->to, strerror(-err));
}

static void carry_out(struct spread *spread, const struct balance_move *m)
{
	struct in_queue *in = container_of(m->source, struct in_queue, balance);
	unsigned from = in->source.worker->index;
	int err = port_queue_give(in->port, in->number, m->to);

	if (err) {
		stays(spread, in, m, err);
		return;
	}
	/* The old in queue is there until the workers have been quiet. */
	move_tell(spread, in, m, from);
	spread->workers[from].moved_out++;
	spread->workers[m->to].moved_in++;
}

static void look(void *opaque)
{
	struct spread *spread = opaque;
	uint64_t cycles = cycles_now(), interval_cycles = cycles - spread->looked_cycles;
	struct balance_move moves[MOVES_MAX];
	unsigned count;

	loop_timer_start(spread->timer, spread->look_ms);
	spread->looked_cycles = cycles;
	workers_read(spread, interval_cycles);
	count = queues_read(spread, interval_cycles);
	if (!count)
		return;
	count = balance_look(&spread->balance, clock_now_ns(), spread->list, count, moves, MOVES_MAX);
	for (unsigned i = 0; i < count; i++)
		carry_out(spread, &moves[i]);
}

/* ---- for others ---- */

unsigned spread_place(const struct spread *spread)
{
	for (unsigned i = 0; i < spread->sw->worker_count; i++)
		spread->balance.workers[i].sources = spread->sw->forwarders[i]->worker.source_count;
	return balance_place(&spread->balance, -1);
}

void spread_stats(const struct spread *spread, unsigned worker, struct sw_worker_stats *stats)
{
	stats->has_cpu = spread->balance.workers[worker].there;
	stats->busy_percent = spread->workers[worker].busy / 10;
	stats->moved_in = spread->workers[worker].moved_in;
	stats->moved_out = spread->workers[worker].moved_out;
}

/* The nodes of the workers' CPUs, if they are not all on the same. */
static void nodes_begin(struct spread *spread, const struct sw_config *config)
{
	struct balance_worker *workers = spread->balance.workers;
	struct nodes nodes;
	bool differ = false;

	if (!config->cpus)
		return;
	nodes_read(config->nodes ? config->nodes->path : NODES_PATH, &nodes);
	for (unsigned i = 0; i < spread->sw->worker_count; i++) {
		workers[i].node = config->cpus[i] < CPU_SETSIZE ? nodes.of_cpu[config->cpus[i]] : -1;
		differ = differ || workers[i].node != workers[0].node;
	}
	if (differ)
		spread->ask = config->nodes ? config->nodes->ask : nodes_ask;
	spread->sw->samples = differ;
}

int spread_new(struct sw *sw, const struct sw_config *config, struct spread **ret_spread)
{
	struct spread *spread = calloc(1, sizeof(*spread));
	int err = -ENOMEM;

	if (!spread)
		return err;
	spread->sw = sw;
	spread->look_ms = config->balance_ms ? config->balance_ms : LOOK_MS;
	spread->cpus_begun = places_count();
	spread->looked_cycles = cycles_now();
	spread->workers = calloc(sw->worker_count, sizeof(*spread->workers));
	spread->balance.workers = calloc(sw->worker_count, sizeof(*spread->balance.workers));
	spread->balance.worker_count = sw->worker_count;
	if (spread->workers && spread->balance.workers)
		err = loop_timer_new(sw->loop, look, spread, &spread->timer);
	if (err) {
		spread_free(spread);
		return err;
	}
	for (unsigned i = 0; i < sw->worker_count; i++)
		spread->balance.workers[i] = (struct balance_worker){.there = true, .node = -1};
	nodes_begin(spread, config);
	loop_timer_start(spread->timer, spread->look_ms);
	*ret_spread = spread;
	return 0;
}

void spread_free(struct spread *spread)
{
	if (!spread)
		return;
	loop_timer_free(&spread->timer);
	free(spread->balance.workers);
	free(spread->workers);
	free(spread->list);
	free(spread);
}
