/* SPDX-License-Identifier: BSD-3-Clause */
/* A layer for tests: requests of some sort fail, and do not reach the disk. */
#include "disk/match.h"
#include <stdlib.h>

struct fail_layer {
	struct disk_layer layer;
	int result;
	struct match match;
};

struct fail_queue {
	struct layer_queue layer;
	struct fail_layer *fail;
};

static struct fail_queue *queue_of(struct disk_queue *queue)
{
	return container_of(container_of(queue, struct layer_queue, queue), struct fail_queue, layer);
}

static void fail_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	struct fail_queue *q = queue_of(queue);
	struct layer_burst burst = {.below = q->layer.below};

	for (unsigned i = 0; i < count; i++)
		if (match_is(&q->fail->match, queue->disk, requests[i]))
			disk_queue_done(queue, requests[i], q->fail->result);
		else
			layer_burst_add(&burst, requests[i]);
	layer_burst_go(&burst);
}

static unsigned fail_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	return layer_queue_reap(&queue_of(queue)->layer, ret_done, max);
}

static bool fail_arm(struct disk_queue *queue, bool on)
{
	return layer_queue_arm(&queue_of(queue)->layer, on);
}

static void fail_cancel(struct disk_queue *queue)
{
	disk_queue_cancel(queue_of(queue)->layer.below);
}

static void fail_hurry(struct disk_queue *queue)
{
	disk_queue_hurry(queue_of(queue)->layer.below);
}

static void fail_queue_close(struct disk_queue *queue)
{
	struct fail_queue *q = queue_of(queue);

	layer_queue_close(&q->layer);
	free(q);
}

static const struct disk_queue_ops fail_ops = {
	.submit = fail_submit,
	.reap = fail_reap,
	.arm = fail_arm,
	.cancel = fail_cancel,
	.hurry = fail_hurry,
	.close = fail_queue_close,
};

static int fail_queue_open(struct disk_layer *layer, struct disk_queue *below, struct disk_queue **ret_queue)
{
	struct fail_queue *q = disk_queue_room(sizeof(*q));

	if (!q)
		return -ENOMEM;
	layer_queue_init(&q->layer, &fail_ops, below);
	q->fail = container_of(layer, struct fail_layer, layer);
	*ret_queue = &q->layer.queue;
	return 0;
}

/* ---- the layer ---- */

static const struct disk_key fail_keys[] = {
	{"fail", DISK_KEY_CHOICE, "EIO|ENOSPC", 0, 0},
	MATCH_KEY_ROWS("fail"),
};

static int fail_open(const struct disk_spec *spec, struct disk *disk, struct disk_layer **ret_layer, char *why)
{
	static const int results[] = {-EIO, -ENOSPC}; /* as the key names them */
	uint64_t which = disk_spec_number(spec, "fail", ARRAY_SIZE(results));
	struct match match = {0};
	struct fail_layer *fail;
	int err = match_init(&match, spec, fail_keys, ARRAY_SIZE(fail_keys), why);

	if (err || which == ARRAY_SIZE(results))
		return err;
	fail = calloc(1, sizeof(*fail));
	if (!fail)
		return -ENOMEM;
	*fail = (struct fail_layer){.layer = {disk}, .result = results[which], .match = match};
	*ret_layer = &fail->layer;
	return 0;
}

static void fail_close(struct disk_layer *layer)
{
	free(container_of(layer, struct fail_layer, layer));
}

const struct disk_layer_kind disk_fail = {
	.keys = fail_keys,
	.key_count = ARRAY_SIZE(fail_keys),
	.open = fail_open,
	.close = fail_close,
	.queue_open = fail_queue_open,
};
