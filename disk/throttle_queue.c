/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue whose disk has limits. A request that may go at once goes; one that may not waits in its lane, of those that read or of
 * those that write, and so does what comes behind it. Only the first of a lane stands in line at the buckets, so that queues and disks
 * that share a limit get the same share of it. Nobody sleeps here: requests that wait go when the worker asks what is
 * done, and its alarm rings when the next of them may.
 *
 * Flushes move no bytes and do not wait; a discard and zeroes are a write of no bytes. What does not fit the disk is
 * passed on to be refused.
 */
#include "disk/throttle.h"
#include <stdlib.h>

enum { LANE_READ, LANE_WRITE };

/* Requests that come due within such a time go together: buckets hold more than that unless somebody has made them smaller. */
#define NAP_NS 200000u

static struct throttle_queue *queue_of(struct disk_queue *queue)
{
	return container_of(container_of(queue, struct layer_queue, queue), struct throttle_queue, layer);
}

static struct throttle_lane *lane_of(struct throttle_queue *q, const struct disk_request *r)
{
	if (r->op == DISK_FLUSH || disk_request_problem(q->layer.queue.disk, r))
		return NULL;
	return &q->lanes[r->op == DISK_READ ? LANE_READ : LANE_WRITE];
}

/* Stands in line for all limits that it is subject to. Returns when it may go. */
static uint64_t take(struct throttle *throttle, const struct disk_request *r, uint64_t now_ns)
{
	struct throttle_bucket *of = throttle->of;
	bool read = r->op == DISK_READ;
	uint64_t bytes = read || r->op == DISK_WRITE ? r->bytes : 0;
	uint64_t due = bucket_take(&of[DISK_LIMIT_IOPS].bucket, 1, now_ns);

	due = max_u64(due, bucket_take(&of[read ? DISK_LIMIT_READ_IOPS : DISK_LIMIT_WRITE_IOPS].bucket, 1, now_ns));
	due = max_u64(due, bucket_take(&of[DISK_LIMIT_BPS].bucket, bytes, now_ns));
	return max_u64(due, bucket_take(&of[read ? DISK_LIMIT_READ_BPS : DISK_LIMIT_WRITE_BPS].bucket, bytes, now_ns));
}

static void wait_in(struct throttle_queue *q, struct throttle_lane *lane, struct disk_request *r)
{
	layer_list_add(&lane->list, r);
	q->waiting++;
	counter_add(&q->throttled, 1);
}

static void throttle_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct throttle_queue *q = queue_of(queue);
	struct layer_burst burst = {.below = q->layer.below};
	uint64_t now;

	if (!q->waiting && !__atomic_load_n(&q->throttle->limited, __ATOMIC_RELAXED)) {
		disk_queue_submit(q->layer.below, requests, count);
		return;
	}
	now = disk_now_ns(queue->disk);
	for (unsigned i = 0; i < count; i++) {
		struct throttle_lane *lane = lane_of(q, requests[i]);

		if (lane && !lane->list.first) {
			lane->due_ns = take(q->throttle, requests[i], now);
			if (lane->due_ns <= now || q->hurry)
				lane = NULL;
		}
		if (lane)
			wait_in(q, lane, requests[i]);
		else
			layer_burst_add(&burst, requests[i]);
	}
	layer_burst_go(&burst);
}

/* The limits are others: the first of each lane stands in line anew. */
static void limits_look(struct throttle_queue *q, uint64_t now)
{
	uint32_t generation = __atomic_load_n(&q->throttle->generation, __ATOMIC_ACQUIRE);

	if (likely(generation == q->generation))
		return;
	q->generation = generation;
	for (unsigned i = 0; i < ARRAY_SIZE(q->lanes); i++)
		if (q->lanes[i].list.first)
			q->lanes[i].due_ns = take(q->throttle, q->lanes[i].list.first, now);
}

static void lane_go(struct throttle_queue *q, struct throttle_lane *lane, struct layer_burst *burst, uint64_t now)
{
	while (lane->list.first && (lane->due_ns <= now || q->hurry)) {
		layer_burst_add(burst, layer_list_take(&lane->list));
		q->waiting--;
		if (lane->list.first)
			lane->due_ns = take(q->throttle, lane->list.first, now);
	}
}

static unsigned throttle_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct throttle_queue *q = queue_of(queue);
	struct layer_burst burst = {.below = q->layer.below};

	if (q->waiting) {
		uint64_t now = disk_now_ns(queue->disk);

		limits_look(q, now);
		for (unsigned i = 0; i < ARRAY_SIZE(q->lanes); i++)
			lane_go(q, &q->lanes[i], &burst, now);
		layer_burst_go(&burst);
	}
	return layer_queue_reap(&q->layer, ret_done, max);
}

static uint64_t due_next(const struct throttle_queue *q)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < ARRAY_SIZE(q->lanes); i++)
		if (q->lanes[i].list.first)
			due = min_u64(due, q->lanes[i].due_ns);
	return due;
}

static bool throttle_arm(struct disk_queue *queue, bool on)
{
	struct throttle_queue *q = queue_of(queue);
	bool done = layer_queue_arm(&q->layer, on);
	uint64_t now, due;

	if (!on || !q->waiting)
		return done;
	now = disk_now_ns(queue->disk);
	due = due_next(q);
	if (due <= now || q->hurry)
		return true;
	wake_at(&q->wake, max_u64(due, now + NAP_NS));
	/* The limits have changed after that, and then the alarm is set to ring; or they have before, and it is seen here. */
	return done || __atomic_load_n(&q->throttle->generation, __ATOMIC_SEQ_CST) != q->generation;
}

static void throttle_cancel(struct disk_queue *queue)
{
	struct throttle_queue *q = queue_of(queue);

	for (unsigned i = 0; i < ARRAY_SIZE(q->lanes); i++)
		while (q->lanes[i].list.first)
			disk_queue_done(queue, layer_list_take(&q->lanes[i].list), -ECANCELED);
	q->waiting = 0;
	disk_queue_cancel(q->layer.below);
}

static void throttle_hurry(struct disk_queue *queue)
{
	struct throttle_queue *q = queue_of(queue);

	q->hurry = true;
	disk_queue_hurry(q->layer.below);
}

static void throttle_queue_close(struct disk_queue *queue)
{
	struct throttle_queue *q = queue_of(queue), **at;

	pthread_mutex_lock(&q->throttle->lock);
	for (at = &q->throttle->queues; *at != q; at = &(*at)->next)
		;
	*at = q->next;
	q->throttle->throttled += q->throttled;
	pthread_mutex_unlock(&q->throttle->lock);
	layer_queue_close(&q->layer);
	wake_fini(&q->wake);
	free(q);
}

static const struct disk_queue_ops throttle_ops = {
	.submit = throttle_submit,
	.reap = throttle_reap,
	.arm = throttle_arm,
	.cancel = throttle_cancel,
	.hurry = throttle_hurry,
	.close = throttle_queue_close,
};

int throttle_queue_open(struct throttle *throttle, struct disk_queue *below, struct disk_queue **ret_queue)
{
	struct throttle_queue *q = disk_queue_room(sizeof(*q));
	int err = q ? wake_init(&q->wake, disk_queue_fd(below)) : -ENOMEM;

	if (err) {
		free(q);
		return err;
	}
	layer_queue_init(&q->layer, &throttle_ops, below);
	q->layer.queue.fd = q->wake.fd;
	q->throttle = throttle;
	for (unsigned i = 0; i < ARRAY_SIZE(q->lanes); i++)
		layer_list_init(&q->lanes[i].list);
	pthread_mutex_lock(&throttle->lock);
	q->generation = throttle->generation;
	q->next = throttle->queues;
	throttle->queues = q;
	pthread_mutex_unlock(&throttle->lock);
	*ret_queue = &q->layer.queue;
	return 0;
}
