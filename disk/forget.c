/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A layer for tests: the volatile cache of a drive, and a switch that cuts its power. What is written stays in memory of ours, and a flush
 * takes it to the disk. So a process that is killed, a disk that is closed, and disk_forget() lose all that was not flushed, and what
 * says that it is stable had better be right.
 *
 * What lies where, under the lock of the layer:
 *   held     written, and in nobody's flush; forgotten when the power is cut
 *   sinking  on its way to the disk, by the queue whose flush it is; there is one such flush at a time, and it
 *            changes no more. When it is done this is dropped; when it has failed it goes back under what is held
 * A read goes to the disk, and what it has brought is overlaid with both. It may have overtaken what sank meanwhile, or was dropped: then
 * `generation` is another, and it goes once more; the third time alone (forget_line.h), so that it comes to an end.
 *
 * A write that is to be stable at once (DISK_FUA) is held, and a flush of its own. Zeroes and discards, and writes for which there is no room, go
 * past all that: nothing sinks meanwhile, the disk does them, and what is held there is dropped when it has. So they are not forgotten, and one that
 * fails has lost nothing. What sinks goes alone, what goes past it beside others of its kind, each when its turn comes.
 * Nobody sleeps: who has to wait for another queue is woken by it.
 */
#include "disk/forget.h"
#include "disk/forget_line.h"
#include "disk/forget_store.h"
#include "disk/layer.h"
#include "disk/wake.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MAX_BYTES (UINT64_C(64) << 30)
#define SINKS	       16u /* requests of one flush that are under way at once */
#define OWN_WAY	       3u  /* in a request's `own`: enum way, or for a read: generation << TRIES_BITS, and how often it has gone */
#define TRIES_BITS     2u
#define TRIES_LAST     3u /* alone */

enum way { WAY_STRAIGHT, WAY_BESIDE, WAY_ALONE };

struct forget_layer {
	struct disk_layer layer;
	uint64_t max_pages;
	pthread_mutex_t lock;
	struct forget_store held, sinking;
	struct forget_line line;
	uint64_t generation, cuts;
	uint64_t passed, forgotten_bytes;
};

struct sink {
	struct disk_request request;
	struct iovec iov;
	bool busy;
};

struct forget_queue {
	struct layer_queue layer;
	struct forget_layer *forget;
	struct wake wake;
	struct layer_list waiting; /* until they may go; their numbers are in OWN_WAY, but for a read's */
	struct forget_place place;
	/* A flush of ours that sinks what was held. */
	struct disk_request *flush; /* NULL: none */
	const struct forget_page *page;
	unsigned sector; /* of the page: from here on */
	unsigned under_way;
	bool flushing;
	int result;
	uint64_t cuts;
	struct sink sinks[SINKS];
};

static struct forget_queue *queue_of(struct disk_queue *queue)
{
	return container_of(container_of(queue, struct layer_queue, queue), struct forget_queue, layer);
}

/* ---- sinking ---- */

/* Under the lock. */
static void sink_begin(struct forget_queue *q, struct disk_request *flush)
{
	struct forget_layer *forget = q->forget;
	struct forget_store empty = forget->sinking;

	forget->sinking = forget->held;
	forget->held = empty;
	if (forget->sinking.first)
		forget->sinking.first->at = &forget->sinking.first;
	q->flush = flush;
	q->page = forget->sinking.first;
	q->sector = 0;
	q->flushing = false;
	q->result = 0;
	q->cuts = forget->cuts;
}

static void sink_end(struct forget_queue *q)
{
	struct forget_layer *forget = q->forget;

	pthread_mutex_lock(&forget->lock);
	if (q->result && q->cuts == forget->cuts)
		forget_store_merge(&forget->held, &forget->sinking);
	else
		forget_store_clear(&forget->sinking);
	forget->generation++;
	forget_line_back(&forget->line, true);
	pthread_mutex_unlock(&forget->lock);
	disk_queue_done(&q->layer.queue, q->flush, q->result);
	q->flush = NULL;
}

/* The next stretch of sectors that are there. False: there is none. */
static bool stretch_next(struct forget_queue *q, struct disk_request *r, struct iovec *iov)
{
	while (q->page) {
		const struct forget_page *page = q->page;
		unsigned first = q->sector, end;

		while (first < FORGET_PAGE_SECTORS && !(page->sectors & 1u << first))
			first++;
		for (end = first; end < FORGET_PAGE_SECTORS && page->sectors & 1u << end;)
			end++;
		q->sector = end;
		if (first == FORGET_PAGE_SECTORS) {
			q->page = page->next;
			q->sector = 0;
			continue;
		}
		*iov = (struct iovec){(void *)(uintptr_t)(page->bytes + first * DISK_SECTOR_BYTES), (end - first) * DISK_SECTOR_BYTES};
		*r = (struct disk_request){.op = DISK_WRITE, .offset = page->number * FORGET_PAGE_BYTES + first * DISK_SECTOR_BYTES,
					   .bytes = iov->iov_len, .iov = iov, .iov_count = 1};
		if (!disk_request_problem(q->layer.queue.disk, r)) /* the disk may have become smaller */
			return true;
	}
	return false;
}

static bool sink_one(struct forget_queue *q, struct sink *sink)
{
	if (!q->result && stretch_next(q, &sink->request, &sink->iov))
		return true;
	if (q->result || q->flushing || q->under_way)
		return false;
	q->flushing = true;
	sink->request = (struct disk_request){.op = DISK_FLUSH};
	return true;
}

static void sink_go(struct forget_queue *q)
{
	struct layer_burst burst = {.below = q->layer.below};

	if (!q->flush)
		return;
	for (unsigned i = 0; i < SINKS; i++) {
		struct sink *sink = &q->sinks[i];

		if (sink->busy || !sink_one(q, sink))
			continue;
		sink->busy = true;
		q->under_way++;
		layer_burst_add(&burst, &sink->request);
	}
	layer_burst_go(&burst);
	if (!q->under_way)
		sink_end(q);
}

/* Is it one of ours? */
static bool sink_done(struct forget_queue *q, const struct disk_request *r)
{
	uintptr_t at = (uintptr_t)r, first = (uintptr_t)q->sinks;

	if (at < first || at >= first + sizeof(q->sinks))
		return false;
	q->sinks[(at - first) / sizeof(q->sinks[0])].busy = false;
	q->under_way--;
	if (r->result && !q->result)
		q->result = r->result;
	return true;
}

/* ---- what comes ---- */

/* Under the lock. As forget_store_put(). */
static int hold(struct forget_layer *forget, const struct disk_request *r)
{
	uint64_t taken = forget->held.pages + forget->sinking.pages;

	return forget_store_put(&forget->held, r, forget->max_pages - min_u64(taken, forget->max_pages));
}

/* Does it want nobody beside it? Under the lock. */
static bool alone(const struct forget_layer *forget, const struct disk_request *r)
{
	return r->op == DISK_READ || (r->op == DISK_WRITE && r->flags & DISK_FUA) || (r->op == DISK_FLUSH && forget->held.pages);
}

/* Is it done when all that is held has sunk? What is to be stable at once is held first. Under the lock, alone. */
static bool sinks(struct forget_layer *forget, const struct disk_request *r)
{
	return r->op == DISK_FLUSH || (r->op == DISK_WRITE && !hold(forget, r));
}

/* To the disk: its turn has come. Under the lock. */
static void go(struct forget_queue *q, struct disk_request *r, struct layer_burst *burst)
{
	struct forget_layer *forget = q->forget;
	bool is_alone = alone(forget, r);

	forget_line_go(&forget->line, is_alone);
	if (is_alone && sinks(forget, r)) {
		sink_begin(q, r);
		return;
	}
	if (r->op == DISK_READ)
		r->own[OWN_WAY] = forget->generation << TRIES_BITS | TRIES_LAST;
	else
		r->own[OWN_WAY] = is_alone ? WAY_ALONE : WAY_BESIDE;
	layer_burst_add(burst, r);
}

/* To the disk, now or when its turn comes. Under the lock. */
static void pass(struct forget_queue *q, struct disk_request *r, struct layer_burst *burst)
{
	struct forget_line *line = &q->forget->line;
	uint64_t number = forget_line_number(line);

	if (forget_line_may(line, number, alone(q->forget, r))) {
		go(q, r, burst);
		return;
	}
	r->own[OWN_WAY] = number;
	if (!q->waiting.first)
		q->place.first = number;
	layer_list_add(&q->waiting, r);
}

/* May the first that waits here? Under the lock. */
static bool may_go(const struct forget_queue *q)
{
	return q->waiting.first && forget_line_may(&q->forget->line, q->place.first, alone(q->forget, q->waiting.first));
}

/* A write that need not be stable. Under the lock. */
static void take(struct forget_queue *q, struct disk_request *r, struct layer_burst *burst)
{
	int err = hold(q->forget, r);

	if (err == -ENOSPC || err == -ENOMEM) {
		q->forget->passed++;
		pass(q, r, burst);
	} else {
		disk_queue_done(&q->layer.queue, r, err);
	}
}

static void forget_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct forget_queue *q = queue_of(queue);
	struct layer_burst burst = {.below = q->layer.below};

	pthread_mutex_lock(&q->forget->lock);
	for (unsigned i = 0; i < count; i++) {
		struct disk_request *r = requests[i];

		r->own[OWN_WAY] = r->op == DISK_READ ? q->forget->generation << TRIES_BITS : WAY_STRAIGHT;
		if (r->op == DISK_READ || disk_request_problem(queue->disk, r))
			layer_burst_add(&burst, r);
		else if (r->op == DISK_WRITE && !(r->flags & DISK_FUA))
			take(q, r, &burst);
		else
			pass(q, r, &burst);
	}
	pthread_mutex_unlock(&q->forget->lock);
	layer_burst_go(&burst);
	sink_go(q);
}

/* ---- what is done ---- */

/* Under the lock. */
static struct disk_request *waiting_take(struct forget_queue *q)
{
	struct disk_request *r = layer_list_take(&q->waiting);

	q->place.first = q->waiting.first ? q->waiting.first->own[OWN_WAY] : FORGET_NOBODY;
	return r;
}

static void waiting_go(struct forget_queue *q)
{
	struct layer_burst burst = {.below = q->layer.below};
	bool moved = false;

	if (!q->waiting.first)
		return;
	pthread_mutex_lock(&q->forget->lock);
	for (; may_go(q); moved = true)
		go(q, waiting_take(q), &burst);
	if (moved)
		forget_line_moved(&q->forget->line);
	pthread_mutex_unlock(&q->forget->lock);
	layer_burst_go(&burst);
}

/* Under the lock. Returns whether it is done, and does not have to go once more. */
static bool overlay(struct forget_queue *q, struct disk_request *r, struct layer_burst *burst)
{
	struct forget_layer *forget = q->forget;
	uint64_t tries = r->own[OWN_WAY] & TRIES_LAST;
	bool overtaken = !r->result && r->own[OWN_WAY] >> TRIES_BITS != forget->generation;

	if (overtaken && tries + 1 == TRIES_LAST) {
		pass(q, r, burst);
	} else if (overtaken) {
		r->own[OWN_WAY] = forget->generation << TRIES_BITS | (tries < TRIES_LAST ? tries + 1 : tries);
		layer_burst_add(burst, r);
	} else {
		if (!r->result) {
			forget_store_patch(&forget->sinking, r);
			forget_store_patch(&forget->held, r);
		}
		if (tries == TRIES_LAST)
			forget_line_back(&forget->line, true);
	}
	return !overtaken;
}

/* What went past what is held is done, or has failed. Under the lock. */
static void came_back(struct forget_layer *forget, const struct disk_request *r)
{
	if (!r->result && r->op != DISK_FLUSH && forget_store_drop(&forget->held, r->offset, r->bytes))
		forget->generation++;
	forget_line_back(&forget->line, r->own[OWN_WAY] == WAY_ALONE);
}

/* Is it done? */
static bool looked_at(struct forget_queue *q, struct disk_request *r, struct layer_burst *again)
{
	bool done = true;

	if (r->op != DISK_READ && r->own[OWN_WAY] == WAY_STRAIGHT)
		return true;
	pthread_mutex_lock(&q->forget->lock);
	if (r->op == DISK_READ)
		done = overlay(q, r, again);
	else
		came_back(q->forget, r);
	pthread_mutex_unlock(&q->forget->lock);
	return done;
}

static unsigned forget_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct forget_queue *q = queue_of(queue);
	struct layer_burst again = {.below = q->layer.below};
	unsigned count, found;

	waiting_go(q);
	count = disk_queue_done_reap(queue, ret_done, max);
	found = count + disk_queue_reap(q->layer.below, ret_done + count, max - count);
	for (unsigned i = count; i < found; i++) {
		struct disk_request *r = ret_done[i];

		if (!sink_done(q, r) && looked_at(q, r, &again))
			ret_done[count++] = r;
	}
	layer_burst_go(&again);
	sink_go(q);
	return count;
}

/* What waits is looked at after the fd has been told to tell: who has ended since then wakes us. */
static bool forget_arm(struct disk_queue *queue, bool on)
{
	struct forget_queue *q = queue_of(queue);
	bool done = layer_queue_arm(&q->layer, on);

	if (!on || !q->waiting.first)
		return done;
	pthread_mutex_lock(&q->forget->lock);
	done |= may_go(q);
	pthread_mutex_unlock(&q->forget->lock);
	return done;
}

static void forget_cancel(struct disk_queue *queue)
{
	struct forget_queue *q = queue_of(queue);

	pthread_mutex_lock(&q->forget->lock);
	while (q->waiting.first)
		disk_queue_done(queue, waiting_take(q), -ECANCELED);
	forget_line_moved(&q->forget->line);
	pthread_mutex_unlock(&q->forget->lock);
	disk_queue_cancel(q->layer.below);
}

static void forget_hurry(struct disk_queue *queue)
{
	disk_queue_hurry(queue_of(queue)->layer.below);
}

static void forget_queue_close(struct disk_queue *queue)
{
	struct forget_queue *q = queue_of(queue);

	pthread_mutex_lock(&q->forget->lock);
	forget_line_leave(&q->forget->line, &q->place);
	pthread_mutex_unlock(&q->forget->lock);
	layer_queue_close(&q->layer);
	wake_fini(&q->wake);
	free(q);
}

static const struct disk_queue_ops forget_ops = {
	.submit = forget_submit,
	.reap = forget_reap,
	.arm = forget_arm,
	.cancel = forget_cancel,
	.hurry = forget_hurry,
	.close = forget_queue_close,
};

static int forget_queue_open(struct disk_layer *layer, struct disk_queue *below, struct disk_queue **ret_queue)
{
	struct forget_queue *q = disk_queue_room(sizeof(*q));
	int err = q ? wake_init(&q->wake, disk_queue_fd(below)) : -ENOMEM;

	if (err) {
		free(q);
		return err;
	}
	layer_queue_init(&q->layer, &forget_ops, below);
	q->layer.queue.fd = q->wake.fd;
	q->forget = container_of(layer, struct forget_layer, layer);
	layer_list_init(&q->waiting);
	pthread_mutex_lock(&q->forget->lock);
	forget_line_join(&q->forget->line, &q->place, &q->wake);
	pthread_mutex_unlock(&q->forget->lock);
	*ret_queue = &q->layer.queue;
	return 0;
}

/* ---- the layer ---- */

static const struct disk_key forget_keys[] = {
	{"forget", DISK_KEY_SIZE, "SIZE", FORGET_PAGE_BYTES, ROOM_MAX_BYTES},
};

static void forget_close(struct disk_layer *layer)
{
	struct forget_layer *forget = container_of(layer, struct forget_layer, layer);

	forget_store_fini(&forget->held);
	forget_store_fini(&forget->sinking);
	pthread_mutex_destroy(&forget->lock);
	free(forget);
}

static int forget_open(const struct disk_spec *spec, struct disk *disk, struct disk_layer **ret_layer, char *why)
{
	uint64_t bytes = disk_spec_number(spec, "forget", 0);
	struct forget_layer *forget;

	if (!bytes)
		return 0;
	if (disk->info.logical_block_bytes > FORGET_PAGE_BYTES) {
		snprintf(why, DISK_WHY_BYTES, "forget: the blocks of this disk are larger than %u bytes: leave it out", FORGET_PAGE_BYTES);
		return -EINVAL;
	}
	if (disk->info.zones.zone_bytes) {
		snprintf(why, DISK_WHY_BYTES, "forget: a disk with zones has no such cache: leave one of them out");
		return -EINVAL;
	}
	forget = calloc(1, sizeof(*forget));
	if (!forget)
		return -ENOMEM;
	forget->layer.disk = disk;
	forget->max_pages = bytes / FORGET_PAGE_BYTES;
	pthread_mutex_init(&forget->lock, NULL);
	if (forget_store_init(&forget->held, forget->max_pages) || forget_store_init(&forget->sinking, forget->max_pages)) {
		forget_close(&forget->layer);
		return -ENOMEM;
	}
	disk->info.volatile_cache = true;
	*ret_layer = &forget->layer;
	return 0;
}

const struct disk_layer_kind disk_forgetful = {
	.keys = forget_keys,
	.key_count = ARRAY_SIZE(forget_keys),
	.open = forget_open,
	.close = forget_close,
	.queue_open = forget_queue_open,
};

/* ---- for the control thread ---- */

static struct forget_layer *layer_of(const struct disk *disk)
{
	struct disk_layer *layer = disk->layers[DISK_LAYER_FORGET];

	return layer ? container_of(layer, struct forget_layer, layer) : NULL;
}

void disk_forget_info_get(const struct disk *disk, struct disk_forget_info *ret_info)
{
	struct forget_layer *forget = layer_of(disk);

	*ret_info = (struct disk_forget_info){0};
	if (!forget)
		return;
	pthread_mutex_lock(&forget->lock);
	*ret_info = (struct disk_forget_info){
		.max_bytes = forget->max_pages * FORGET_PAGE_BYTES,
		.held_bytes = (forget->held.pages + forget->sinking.pages) * FORGET_PAGE_BYTES,
		.passed = forget->passed,
		.forgotten_bytes = forget->forgotten_bytes,
	};
	pthread_mutex_unlock(&forget->lock);
}

int64_t disk_forget(struct disk *disk)
{
	struct forget_layer *forget = layer_of(disk);
	uint64_t bytes;

	if (!forget)
		return -ENOTSUP;
	pthread_mutex_lock(&forget->lock);
	bytes = forget_store_clear(&forget->held);
	forget->forgotten_bytes += bytes;
	forget->cuts++;
	forget->generation++; /* a read that is under way sees one of the two, and not a part of each */
	pthread_mutex_unlock(&forget->lock);
	return (int64_t)bytes;
}
