/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A layer for tests: requests of some sort wait for a time, and go to the disk then. All wait equally long, so that they go in the order in which
 * they came; what does not match overtakes them. Nobody sleeps here: what waits goes when the worker asks what is done, and an alarm wakes it.
 */
#include "disk/match.h"
#include "disk/wake.h"
#include <stdlib.h>

#define NS_PER_MS 1000000u
#define MS_MAX	  3600000u
#define OWN_DUE	  5u /* in a request's `own` */

struct slow_layer {
	struct disk_layer layer;
	uint64_t wait_ns;
	struct match match;
};

struct slow_queue {
	struct layer_queue layer;
	struct slow_layer *slow;
	struct wake wake;
	bool hurry;
	struct layer_list waiting;
};

static struct slow_queue *queue_of(struct disk_queue *queue)
{
	return container_of(container_of(queue, struct layer_queue, queue), struct slow_queue, layer);
}

static void slow_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct slow_queue *q = queue_of(queue);
	struct layer_burst burst = {.below = q->layer.below};
	uint64_t due = disk_now_ns(queue->disk) + q->slow->wait_ns;

	for (unsigned i = 0; i < count; i++) {
		if (match_is(&q->slow->match, queue->disk, requests[i]) && !q->hurry) {
			requests[i]->own[OWN_DUE] = due;
			layer_list_add(&q->waiting, requests[i]);
		} else {
			layer_burst_add(&burst, requests[i]);
		}
	}
	layer_burst_go(&burst);
}

static bool first_may_go(const struct slow_queue *q, uint64_t now)
{
	return q->waiting.first && (q->hurry || q->waiting.first->own[OWN_DUE] <= now);
}

static unsigned slow_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct slow_queue *q = queue_of(queue);
	struct layer_burst burst = {.below = q->layer.below};

	if (q->waiting.first) {
		uint64_t now = disk_now_ns(queue->disk);

		while (first_may_go(q, now))
			layer_burst_add(&burst, layer_list_take(&q->waiting));
		layer_burst_go(&burst);
	}
	return layer_queue_reap(&q->layer, ret_done, max);
}

static bool slow_arm(struct disk_queue *queue, bool on)
{
	struct slow_queue *q = queue_of(queue);
	bool done = layer_queue_arm(&q->layer, on);

	if (!on || !q->waiting.first)
		return done;
	if (first_may_go(q, disk_now_ns(queue->disk)))
		return true;
	wake_at(&q->wake, q->waiting.first->own[OWN_DUE]);
	return done;
}

static void slow_cancel(struct disk_queue *queue)
{
	struct slow_queue *q = queue_of(queue);

	while (q->waiting.first)
		disk_queue_done(queue, layer_list_take(&q->waiting), -ECANCELED);
	disk_queue_cancel(q->layer.below);
}

static void slow_hurry(struct disk_queue *queue)
{
	struct slow_queue *q = queue_of(queue);

	q->hurry = true;
	disk_queue_hurry(q->layer.below);
}

static void slow_queue_close(struct disk_queue *queue)
{
	struct slow_queue *q = queue_of(queue);

	layer_queue_close(&q->layer);
	wake_fini(&q->wake);
	free(q);
}

static const struct disk_queue_ops slow_ops = {
	.submit = slow_submit,
	.reap = slow_reap,
	.arm = slow_arm,
	.cancel = slow_cancel,
	.hurry = slow_hurry,
	.close = slow_queue_close,
};

static int slow_queue_open(struct disk_layer *layer, struct disk_queue *below, struct disk_queue **ret_queue)
{
	struct slow_queue *q = disk_queue_room(sizeof(*q));
	int err = q ? wake_init(&q->wake, disk_queue_fd(below)) : -ENOMEM;

	if (err) {
		free(q);
		return err;
	}
	layer_queue_init(&q->layer, &slow_ops, below);
	q->layer.queue.fd = q->wake.fd;
	q->slow = container_of(layer, struct slow_layer, layer);
	layer_list_init(&q->waiting);
	*ret_queue = &q->layer.queue;
	return 0;
}

/* ---- the layer ---- */

static const struct disk_key slow_keys[] = {
	{"slow-ms", DISK_KEY_NUMBER, "MS", 1, MS_MAX},
	MATCH_KEY_ROWS("slow"),
};

static int slow_open(const struct disk_spec *spec, struct disk *disk, struct disk_layer **ret_layer, char *why)
{
	uint64_t ms = disk_spec_number(spec, "slow-ms", 0);
	struct match match = {0};
	struct slow_layer *slow;
	int err = match_init(&match, spec, slow_keys, ARRAY_SIZE(slow_keys), why);

	if (err || !ms)
		return err;
	slow = calloc(1, sizeof(*slow));
	if (!slow)
		return -ENOMEM;
	*slow = (struct slow_layer){.layer = {disk}, .wait_ns = ms * NS_PER_MS, .match = match};
	*ret_layer = &slow->layer;
	return 0;
}

static void slow_close(struct disk_layer *layer)
{
	free(container_of(layer, struct slow_layer, layer));
}

const struct disk_layer_kind disk_slow = {
	.keys = slow_keys,
	.key_count = ARRAY_SIZE(slow_keys),
	.open = slow_open,
	.close = slow_close,
	.queue_open = slow_queue_open,
};
