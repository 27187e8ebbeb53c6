/* SPDX-License-Identifier: BSD-3-Clause */
#include "work/crew.h"
#include "base/fd.h"
#include "base/loop.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 100u

struct crew {
	struct loop *loop;
	struct loop_watch *watch;
	struct loop_timer *again; /* a removal waits for memory */
	struct grace *grace;
	int event_fd;
	unsigned worker_count, started;
	struct worker *workers;
	uint64_t version;
	struct crew_member *leaving; /* removed, and not yet out of the published table */
	char rcu_key;		    /* its address is what rcu.h needs */
	struct work_table *published __attribute__((aligned(CACHE_LINE_BYTES)));
};

/* ---- tables ---- */

static struct work_table *table_allocate(const struct crew *crew)
{
	size_t slots = 0, lists_bytes = crew->worker_count * sizeof(struct work_list);
	struct work_table *table;
	struct source **at;

	for (unsigned i = 0; i < crew->worker_count; i++)
		slots += crew->workers[i].slot_count;
	table = calloc(1, sizeof(*table) + lists_bytes + 2 * slots * sizeof(struct source *));
	if (!table)
		return NULL;
	table->lists = (struct work_list *)(void *)(table + 1);
	at = (struct source **)(void *)(table->lists + crew->worker_count);
	for (unsigned i = 0; i < crew->worker_count; i++) {
		struct work_list *list = &table->lists[i];

		list->slot_count = crew->workers[i].slot_count;
		list->slots = at;
		list->active = at + list->slot_count;
		at += 2 * list->slot_count;
	}
	return table;
}

static void table_fill(const struct crew *crew, struct work_table *table)
{
	for (unsigned i = 0; i < crew->worker_count; i++) {
		const struct worker *worker = &crew->workers[i];

		for (unsigned slot = 0; slot < worker->slot_count; slot++)
			if (worker->slots[slot] && !container_of(worker->slots[slot], struct crew_member, source)->removing)
				table->lists[i].slots[slot] = worker->slots[slot];
	}
}

static void table_gone(struct grace_item *item)
{
	free(container_of(item, struct work_table, gone));
}

static void leaving_defer(struct crew *crew)
{
	while (crew->leaving) {
		struct crew_member *member = crew->leaving;

		crew->leaving = member->next;
		grace_defer(crew->grace, &member->gone);
	}
}

static int publish(struct crew *crew)
{
	struct work_table *table = table_allocate(crew);

	if (!table)
		return -ENOMEM;
	table_fill(crew, table);
	table->version = ++crew->version;
	table->gone.fn = table_gone;
	work_table_publish(&crew->published, table, crew->grace);
	leaving_defer(crew);
	return 0;
}

static void publish_removal(void *opaque)
{
	struct crew *crew = opaque;

	if (publish(crew))
		loop_timer_start(crew->again, AGAIN_MS);
}

/* ---- members ---- */

static struct worker *least_loaded(const struct crew *crew)
{
	struct worker *best = &crew->workers[0];

	for (unsigned i = 1; i < crew->worker_count; i++)
		if (crew->workers[i].source_count < best->source_count)
			best = &crew->workers[i];
	return best;
}

static int add(struct crew *crew, struct crew_member *member, struct worker *worker)
{
	int err;

	member->crew = crew;
	member->removing = false;
	err = worker_adopt(worker, &member->source);
	if (err)
		return err;
	err = publish(crew);
	if (err)
		worker_disown(&member->source);
	else
		worker_wake(member->source.worker);
	return err;
}

int crew_add(struct crew *crew, struct crew_member *member)
{
	return add(crew, member, least_loaded(crew));
}

int crew_add_to(struct crew *crew, struct crew_member *member, unsigned worker)
{
	return worker < crew->worker_count ? add(crew, member, &crew->workers[worker]) : -ERANGE;
}

static void member_gone(struct grace_item *item)
{
	struct crew_member *member = container_of(item, struct crew_member, gone);

	worker_disown(&member->source);
	member->left(member);
}

void crew_remove(struct crew_member *member, void (*left)(struct crew_member *member))
{
	struct crew *crew = member->crew;

	assert(!member->removing);
	member->removing = true;
	member->left = left;
	member->gone.fn = member_gone;
	member->next = crew->leaving;
	crew->leaving = member;
	publish_removal(crew);
}

void crew_grace(struct crew *crew, struct grace_item *item)
{
	grace_defer(crew->grace, item);
}

/* ---- the crew ---- */

static void on_event(void *opaque, uint32_t events)
{
	struct crew *crew = opaque;

	fd_event_clear(crew->event_fd);
	grace_run(crew->grace);
}

static int worker_open(struct crew *crew, const struct crew_config *config, unsigned index)
{
	char name[16];
	const struct worker_config worker = {
		.name = name,
		.index = index,
		.cpu = config->cpus ? config->cpus[index] : -1,
		.poll = config->poll,
		.spin_us = config->spin_us,
		.spin_percent = config->spin_percent,
		.published = &crew->published,
		.rcu_key = &crew->rcu_key,
	};

	snprintf(name, sizeof(name), "%.10s-%u", config->name, index % 10000);
	return worker_init(&crew->workers[index], &worker);
}

static int workers_start(struct crew *crew, const struct crew_config *config)
{
	int err = 0;

	crew->workers = aligned_alloc(CACHE_LINE_BYTES, config->workers * sizeof(struct worker));
	if (!crew->workers)
		return -ENOMEM;
	while (!err && crew->worker_count < config->workers)
		err = worker_open(crew, config, crew->worker_count++);
	if (!err)
		err = publish(crew);
	while (!err && crew->started < crew->worker_count) {
		err = worker_start(&crew->workers[crew->started]);
		crew->started += !err;
	}
	return err;
}

int crew_new(const struct crew_config *config, struct loop *loop, struct crew **ret_crew)
{
	struct crew *crew = aligned_alloc(CACHE_LINE_BYTES, sizeof(*crew));
	int err;

	if (!crew)
		return -ENOMEM;
	memset(crew, 0, sizeof(*crew));
	crew->loop = loop;
	err = fd_event_new(&crew->event_fd);
	if (err)
		crew->event_fd = -1;
	if (!err)
		err = loop_add(loop, crew->event_fd, EPOLLIN, on_event, crew, &crew->watch);
	if (!err)
		err = loop_timer_new(loop, publish_removal, crew, &crew->again);
	if (!err)
		err = grace_new(crew->event_fd, &crew->rcu_key, &crew->grace);
	if (!err)
		err = workers_start(crew, config);
	if (err)
		crew_free(crew);
	else
		*ret_crew = crew;
	return err;
}

void crew_free(struct crew *crew)
{
	if (!crew)
		return;
	for (unsigned i = 0; i < crew->started; i++)
		worker_stop(&crew->workers[i]);
	if (crew->grace)
		leaving_defer(crew);
	grace_free(crew->grace);
	for (unsigned i = 0; i < crew->worker_count; i++)
		worker_fini(&crew->workers[i]);
	free(crew->workers);
	free(crew->published);
	loop_timer_free(&crew->again);
	loop_remove(&crew->watch);
	fd_close(&crew->event_fd);
	free(crew);
}

unsigned crew_workers(const struct crew *crew)
{
	return crew->worker_count;
}

const struct worker *crew_worker(const struct crew *crew, unsigned index)
{
	return &crew->workers[index];
}
