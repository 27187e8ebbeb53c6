/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A layer that counts how long requests take, from submit to reap, over all that lies below. Each queue has histograms of its own, so
 * workers share nothing; the control thread adds them up when it is asked. The clock is read once for a burst.
 */
#include "disk/latency.h"
#include "base/histogram.h"
#include "disk/layer.h"
#include <pthread.h>
#include <stdlib.h>

#define OWN_BEGAN  4u /* in a request's `own` */
#define P50_MILLION 500000u
#define P99_MILLION 990000u

struct latency_queue {
	struct layer_queue layer;
	struct latency_layer *latency;
	struct latency_queue *next;
	struct histogram of[DISK_OPS];
};

struct latency_layer {
	struct disk_layer layer;
	pthread_mutex_t lock;
	struct latency_queue *queues;
	struct histogram before[DISK_OPS]; /* of queues that were closed */
};

static struct latency_queue *queue_of(struct disk_queue *queue)
{
	return container_of(container_of(queue, struct layer_queue, queue), struct latency_queue, layer);
}

static void latency_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	uint64_t now = disk_now_ns(queue->disk);

	for (unsigned i = 0; i < count; i++)
		requests[i]->own[OWN_BEGAN] = now;
	disk_queue_submit(queue_of(queue)->layer.below, requests, count);
}

static unsigned latency_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct latency_queue *q = queue_of(queue);
	unsigned count = layer_queue_reap(&q->layer, ret_done, max);
	uint64_t now = count ? disk_now_ns(queue->disk) : 0;

	for (unsigned i = 0; i < count; i++)
		if (likely(ret_done[i]->op < DISK_OPS))
			histogram_add(&q->of[ret_done[i]->op], now - ret_done[i]->own[OWN_BEGAN]);
	return count;
}

static bool latency_arm(struct disk_queue *queue, bool on)
{
	return layer_queue_arm(&queue_of(queue)->layer, on);
}

static void latency_cancel(struct disk_queue *queue)
{
	disk_queue_cancel(queue_of(queue)->layer.below);
}

static void latency_hurry(struct disk_queue *queue)
{
	disk_queue_hurry(queue_of(queue)->layer.below);
}

static void latency_queue_close(struct disk_queue *queue)
{
	struct latency_queue *q = queue_of(queue), **at;

	pthread_mutex_lock(&q->latency->lock);
	for (at = &q->latency->queues; *at != q; at = &(*at)->next)
		;
	*at = q->next;
	for (unsigned op = 0; op < DISK_OPS; op++)
		histogram_merge(&q->latency->before[op], &q->of[op]);
	pthread_mutex_unlock(&q->latency->lock);
	layer_queue_close(&q->layer);
	free(q);
}

static const struct disk_queue_ops latency_ops = {
	.submit = latency_submit,
	.reap = latency_reap,
	.arm = latency_arm,
	.cancel = latency_cancel,
	.hurry = latency_hurry,
	.close = latency_queue_close,
};

static int latency_queue_open(struct disk_layer *layer, struct disk_queue *below, struct disk_queue **ret_queue)
{
	struct latency_queue *q = disk_queue_room(sizeof(*q));

	if (!q)
		return -ENOMEM;
	layer_queue_init(&q->layer, &latency_ops, below);
	q->latency = container_of(layer, struct latency_layer, layer);
	pthread_mutex_lock(&q->latency->lock);
	q->next = q->latency->queues;
	q->latency->queues = q;
	pthread_mutex_unlock(&q->latency->lock);
	*ret_queue = &q->layer.queue;
	return 0;
}

/* ---- the layer ---- */

static const struct disk_key latency_keys[] = {DISK_KEY_SWITCH("latency")};

static int latency_open(const struct disk_spec *spec, struct disk *disk, struct disk_layer **ret_layer, char *why)
{
	struct latency_layer *latency;

	if (!disk_spec_number(spec, "latency", 0))
		return 0;
	latency = calloc(1, sizeof(*latency));
	if (!latency)
		return -ENOMEM;
	latency->layer.disk = disk;
	pthread_mutex_init(&latency->lock, NULL);
	*ret_layer = &latency->layer;
	return 0;
}

static void latency_close(struct disk_layer *layer)
{
	struct latency_layer *latency = container_of(layer, struct latency_layer, layer);

	pthread_mutex_destroy(&latency->lock);
	free(latency);
}

const struct disk_layer_kind disk_latency = {
	.keys = latency_keys,
	.key_count = ARRAY_SIZE(latency_keys),
	.open = latency_open,
	.close = latency_close,
	.queue_open = latency_queue_open,
};

/* ---- for the control thread ---- */

bool disk_latency_measured(const struct disk *disk)
{
	return disk->layers[DISK_LAYER_LATENCY];
}

static void sum_up(struct latency_layer *latency, enum disk_op op, struct histogram *sum)
{
	pthread_mutex_lock(&latency->lock);
	histogram_merge(sum, &latency->before[op]);
	for (const struct latency_queue *q = latency->queues; q; q = q->next)
		histogram_merge(sum, &q->of[op]);
	pthread_mutex_unlock(&latency->lock);
}

int disk_latency_get(const struct disk *disk, enum disk_op op, struct disk_latency_info *ret_info)
{
	struct histogram *sum;

	if (!disk_latency_measured(disk))
		return -ENOTSUP;
	sum = calloc(1, sizeof(*sum));
	if (!sum)
		return -ENOMEM;
	sum_up(container_of(disk->layers[DISK_LAYER_LATENCY], struct latency_layer, layer), op, sum);
	*ret_info = (struct disk_latency_info){
		.count = sum->count,
		.min_ns = sum->min,
		.p50_ns = histogram_quantile(sum, P50_MILLION),
		.p99_ns = histogram_quantile(sum, P99_MILLION),
		.max_ns = sum->max,
	};
	free(sum);
	return 0;
}
